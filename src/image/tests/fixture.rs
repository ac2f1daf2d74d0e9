//! Images for tests: a layout in a temporary directory, written blob by blob.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::image::digest::Digest;
use crate::image::media_type::{DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::image::{Access, Image, hint, open};
pub(super) use bake_referee::have;

pub(super) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A layer before it is in an image.
#[derive(Clone)]
pub(super) struct TestLayer {
    pub(super) media_type: String,
    pub(super) blob: Vec<u8>,
    pub(super) diff_id: Digest,
}

impl TestLayer {
    /// A layer with `tar` in it, which `blob` is the stored form of.
    pub(super) fn new(media_type: &str, blob: Vec<u8>, tar: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            blob,
            diff_id: Digest::sha256(tar),
        }
    }
}

/// A tar with one file, whose name and contents are `text`.
pub(super) fn tar(text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, text, text.as_bytes())
        .unwrap();
    builder.into_inner().unwrap()
}

/// Bytes that do not compress well, always the same.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0] & 0x3f
    };
    (0..len).map(|_| step()).collect()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

pub(super) fn gzip_layer(text: &str) -> TestLayer {
    let tar = tar(text);
    TestLayer::new(GZIP, gzip(&tar), &tar)
}

pub(super) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    /// A layout without anything in it.
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for path in ["layout/blobs/sha256", "layout/blobs/sha512"] {
            std::fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        let fixture = Self { directory };
        fixture.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        fixture
    }

    /// A layout with one image without a tag.
    pub(super) fn with_layers(layers: &[TestLayer]) -> Self {
        let fixture = Self::new();
        let image = fixture.image("amd64", layers);
        fixture.top(&[image]);
        fixture
    }

    /// The temporary directory, with the layout in `layout`.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn layout(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.layout().join(path), bytes).unwrap();
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.as_str().replace(':', "/");
        self.layout().join("blobs").join(name)
    }

    /// Stores a blob and returns its descriptor.
    pub(super) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::sha256(bytes);
        std::fs::write(self.blob_path(&digest), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.as_str(), "size": bytes.len()})
    }

    pub(super) fn json(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, &serde_json::to_vec(document).unwrap())
    }

    /// Stores an image and returns the descriptor of its manifest.
    pub(super) fn image(&self, arch: &str, layers: &[TestLayer]) -> Value {
        self.changed_image(arch, layers, |_| ())
    }

    /// The same with a manifest that `change` has changed.
    pub(super) fn changed_image(
        &self,
        arch: &str,
        layers: &[TestLayer],
        change: impl FnOnce(&mut Value),
    ) -> Value {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": arch,
            "os": "linux",
            "created": "2025-01-02T03:04:05Z",
            "config": {"Labels": {"containers.bootc": "1", "arch": arch}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        });
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| {
                let mut descriptor = self.blob(&layer.media_type, &layer.blob);
                descriptor["annotations"] = json!({"size": layer.blob.len().to_string()});
                descriptor
            })
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.json(OCI_CONFIG, &config),
            "layers": layers,
            "annotations": {"for": arch},
        });
        change(&mut manifest);
        let media_type = match manifest["mediaType"].as_str() {
            Some(DOCKER_MANIFEST) => DOCKER_MANIFEST,
            _ => OCI_MANIFEST,
        };
        self.json(media_type, &manifest)
    }

    /// Stores an index and returns its descriptor.
    pub(super) fn index(&self, entries: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        self.json(OCI_INDEX, &index)
    }

    /// Writes `index.json`.
    pub(super) fn top(&self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        self.write("index.json", index.to_string().as_bytes());
    }

    pub(super) fn access(&self) -> Access {
        Access::new(self.directory())
    }

    /// Opens the layout; `select` is what follows the path in the reference.
    pub(super) fn open(&self, select: &str) -> anyhow::Result<Image> {
        self.open_for(select, None)
    }

    pub(super) fn open_for(&self, select: &str, arch: Option<&str>) -> anyhow::Result<Image> {
        let reference = format!("oci:{}{select}", self.layout().display());
        let mut access = self.access();
        access.arch = arch.map(str::to_owned);
        open(&reference.parse()?, &access)
    }
}

/// `descriptor` with a tag.
pub(super) fn tagged(descriptor: &Value, tag: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
    descriptor
}

/// `descriptor` with a platform.
pub(super) fn on(descriptor: &Value, arch: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["platform"] = json!({"architecture": arch, "os": "linux"});
    descriptor
}

pub(super) fn digest_of(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

/// All bytes of a layer, or the error with its causes.
pub(super) fn read(image: &Image, index: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut reader = image.layer(index).map_err(|error| format!("{error:#}"))?;
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            // What failed once must not look like an end later.
            assert!(reader.read(&mut [0; 16]).is_err(), "an end after: {error}");
            Err(format!("{:#}", anyhow::Error::new(error)))
        }
    }
}

/// The message and the hint of an error, for looking into.
pub(super) fn told<T: std::fmt::Debug>(outcome: anyhow::Result<T>) -> String {
    let error = outcome.unwrap_err();
    let hint = error.chain().find_map(hint).unwrap_or_default();
    format!("{error:#}\n{hint}")
}

pub(super) fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(tool).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    output.stdout
}
