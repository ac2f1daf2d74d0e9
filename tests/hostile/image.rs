//! Images in OCI layouts, of which everything can be changed before they are written.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use bake_format::progress::Silent;
use bake_tree::Node;
use coreos_bake::testing::image::Access;
use coreos_bake::testing::os::{ReadOptions, Source};
use coreos_bake::testing::ostree::{Checksum, Kind, Object, ObjectName};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tar::{Tar, UID, header, put, seal};

pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Changes a document before it is written.
type Edit = Box<dyn Fn(&mut Value) + Send + Sync>;

#[derive(Clone)]
struct Layer {
    media_type: String,
    blob: Vec<u8>,
    diff_id: String,
}

/// One image, to be written as a layout.
pub(crate) struct Image {
    layers: Vec<Layer>,
    labels: Value,
    config: Vec<Edit>,
    manifest: Vec<Edit>,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Writes a blob, and gives its descriptor.
pub(crate) fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    fs::write(blob_path(layout, &digest), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

/// Where the blob of that digest lies.
pub(crate) fn blob_path(layout: &Path, digest: &str) -> std::path::PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Writes an `index.json` with these entries.
pub(crate) fn top(layout: &Path, entries: &[Value]) {
    let index = json!({ "schemaVersion": 2, "manifests": entries });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// The entries of a layout's `index.json`.
pub(crate) fn entries(layout: &Path) -> Vec<Value> {
    let text = fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&text).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

/// The smallest system that the readers take for one.
fn tiny() -> Tar {
    let mut tar = Tar::new();
    for directory in [
        "boot/",
        "dev/",
        "etc/",
        "proc/",
        "run/",
        "sys/",
        "sysroot/",
        "usr/",
        "usr/bin/",
        "usr/lib/",
        "usr/lib/dir/",
        "usr/lib/modules/",
        "usr/lib/modules/6.1.0/",
        "var/",
    ] {
        tar = tar.dir(directory);
    }
    tar.file("etc/passwd", "root")
        .file("usr/bin/tool", "tool")
        .file("usr/lib/dir/a", "a")
        .symlink("usr/lib/link", "../bin/tool")
        .file("usr/lib/modules/6.1.0/vmlinuz", "kernel")
        .file("usr/lib/modules/6.1.0/initramfs.img", "initramfs")
        .file("usr/lib/os-release", "ID=tiny\nVERSION_ID=1\n")
}

impl Image {
    pub(crate) fn of(layers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let image = Self {
            layers: Vec::new(),
            labels: json!({ "containers.bootc": "1" }),
            config: Vec::new(),
            manifest: Vec::new(),
        };
        layers.into_iter().fold(image, Self::layer)
    }

    /// The tiny base, in one layer.
    pub(crate) fn tiny() -> Self {
        Self::of([tiny().end()])
    }

    /// The tiny base as an encapsulated commit, in three layers: metadata, and two with files.
    pub(crate) fn encapsulated() -> Self {
        let layers = &ENCAPSULATED.layers;
        let last = digest(layers.last().unwrap());
        Self::of(layers.clone()).label("ostree.final-diffid", &last)
    }

    pub(crate) fn layer(self, tar: Vec<u8>) -> Self {
        self.blob(TAR, tar.clone(), &tar)
    }

    /// A layer whose stored form is `blob`.
    pub(crate) fn blob(mut self, media_type: &str, blob: Vec<u8>, tar: &[u8]) -> Self {
        self.layers.push(Layer {
            media_type: media_type.to_owned(),
            blob,
            diff_id: digest(tar),
        });
        self
    }

    /// The same layers in another order, or some of them twice.
    pub(crate) fn order(mut self, order: &[usize]) -> Self {
        self.layers = order.iter().map(|at| self.layers[*at].clone()).collect();
        self
    }

    /// What layer `at` is called in the manifest.
    pub(crate) fn diff_id(&self, at: usize) -> String {
        self.layers[at].diff_id.clone()
    }

    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels[name] = json!(value);
        self
    }

    pub(crate) fn config(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.config.push(Box::new(edit));
        self
    }

    pub(crate) fn manifest(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.manifest.push(Box::new(edit));
        self
    }

    pub(crate) fn write(&self, layout: &Path) {
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| blob(layout, &layer.media_type, &layer.blob))
            .collect();
        let diff_ids: Vec<&String> = self.layers.iter().map(|layer| &layer.diff_id).collect();
        let mut config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": { "Labels": self.labels },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        self.config.iter().for_each(|edit| edit(&mut config));
        let config = blob(layout, CONFIG, config.to_string().as_bytes());
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        self.manifest.iter().for_each(|edit| edit(&mut manifest));
        let mut entry = blob(layout, MANIFEST, manifest.to_string().as_bytes());
        entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        top(layout, &[entry]);
        let marker = r#"{"imageLayoutVersion":"1.0.0"}"#;
        fs::write(layout.join("oci-layout"), marker).unwrap();
    }
}

/// The tiny base as a commit in layers.
pub(crate) struct Encapsulated {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) commit: String,
}

/// The tiny base's encapsulation, made once.
pub(crate) static ENCAPSULATED: LazyLock<Encapsulated> = LazyLock::new(encapsulate);

/// Objects are those that an import makes; how they are
/// packed is ostree-ext's `tar/export.rs`.
fn encapsulate() -> Encapsulated {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("image");
    Image::tiny().write(&layout);
    let options = ReadOptions {
        access: Access::new(directory.path()),
        target_imgref: None,
        threads: std::num::NonZeroUsize::MIN,
    };
    let reference = format!("oci:{}", layout.display()).parse().unwrap();
    let source = Source::read(&reference, &options, directory.path(), &Silent).unwrap();
    let objects = &source.imported.objects;
    let commit = source.imported.merge_commit;
    let mut layers = [Tar::new(), Tar::new(), Tar::new()];
    let mut add = |layer: usize, change: &dyn Fn(Tar) -> Tar| {
        layers[layer] = change(std::mem::take(&mut layers[layer]));
    };
    let names = objects.keys();
    let (first, rest): (Vec<&ObjectName>, Vec<&ObjectName>) =
        names.partition(|name| name.checksum == commit);
    // The layer's own commit is not part of the encapsulated one.
    let rest = rest.into_iter().filter(|name| name.kind != Kind::Commit);
    let no_xattrs = Checksum::of(b"");
    let set = object_path(no_xattrs, "file-xattrs");
    for (turn, name) in first.into_iter().chain(rest).enumerate() {
        let name: &ObjectName = name;
        let path = object_path(name.checksum, name.kind.extension());
        match &objects[name] {
            Object::Metadata(bytes) => {
                add(0, &|tar: Tar| tar.entry(b'0', &path, "", bytes.as_ref()));
            }
            Object::File { meta, node } => {
                let link = object_path(name.checksum, "file-xattrs-link");
                let (kind, data, target) = match node {
                    Node::File(content) => (b'0', content.to_vec(1 << 20).unwrap(), ""),
                    Node::Symlink(target) => (
                        b'2',
                        Vec::new(),
                        std::str::from_utf8(target.as_ref()).unwrap(),
                    ),
                    _ => unreachable!("ostree has files and symlinks"),
                };
                let mut header = header(kind, &path, data.len() as u64);
                put(&mut header, super::tar::LINK, target.as_bytes());
                put(
                    &mut header,
                    super::tar::MODE,
                    format!("{:07o}", meta.mode).as_bytes(),
                );
                put(&mut header, UID, format!("{:07o}", meta.uid).as_bytes());
                seal(&mut header);
                add(1 + turn % 2, &|tar| {
                    let tar = tar.entry(b'0', &set, "", b"").link(&link, &set);
                    tar.raw(&header, &data)
                });
            }
        }
    }
    Encapsulated {
        layers: layers.into_iter().map(Tar::end).collect(),
        commit: commit.to_string(),
    }
}

fn object_path(checksum: Checksum, extension: &str) -> String {
    let name = checksum.to_string();
    let (shard, rest) = name.split_at(2);
    format!("sysroot/ostree/repo/objects/{shard}/{rest}.{extension}")
}
