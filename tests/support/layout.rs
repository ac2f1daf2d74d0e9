//! Small OCI layouts made by tests: layers from lists of entries.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// One entry of a layer.
pub enum Item {
    File(&'static str, Vec<u8>),
    Symlink(&'static str, &'static str),
    HardLink(&'static str, &'static str),
}

/// A file with this text.
pub fn file(path: &'static str, text: &str) -> Item {
    Item::File(path, text.as_bytes().to_vec())
}

/// The layer's tar. Names go into the header as they are, `..` and all, which `tar` would refuse.
pub fn tar(items: &[Item]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for item in items {
        let (path, kind, target, data): (_, _, _, &[u8]) = match item {
            Item::File(path, data) => (path, EntryType::Regular, None, data),
            Item::Symlink(path, target) => (path, EntryType::Symlink, Some(target), &[]),
            Item::HardLink(path, target) => (path, EntryType::Link, Some(target), &[]),
        };
        let mut header = Header::new_gnu();
        let raw = header.as_old_mut();
        raw.name[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(target) = target {
            raw.linkname[..target.len()].copy_from_slice(target.as_bytes());
        }
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A layout with one image, which tests damage before or after it is written.
pub struct Layout {
    pub layers: Vec<Vec<u8>>,
    pub diff_ids: Vec<String>,
    pub media_type: String,
    pub architecture: String,
    pub labels: Value,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Layout {
    /// An image of uncompressed layers.
    pub fn new(layers: Vec<Vec<u8>>) -> Self {
        Self {
            diff_ids: layers.iter().map(|layer| digest(layer)).collect(),
            layers,
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
            architecture: "amd64".to_owned(),
            labels: json!({ "containers.bootc": "1" }),
        }
    }

    /// Writes it as `directory`; returns where each layer's blob is.
    pub fn write(&self, directory: &Path) -> Vec<PathBuf> {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let store = |bytes: &[u8]| {
            let digest = digest(bytes);
            let path = blobs.join(&digest["sha256:".len()..]);
            fs::write(&path, bytes).unwrap();
            (digest, bytes.len(), path)
        };
        let mut paths = Vec::new();
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let (digest, size, path) = store(layer);
                paths.push(path);
                json!({ "mediaType": self.media_type, "digest": digest, "size": size })
            })
            .collect();
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": { "Labels": self.labels },
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids },
        });
        let (config, config_size, _) = store(config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": config_size,
            },
            "layers": layers,
        });
        let (manifest, manifest_size, _) = store(manifest.to_string().as_bytes());
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest,
                "size": manifest_size,
                "platform": { "os": "linux", "architecture": self.architecture },
            }],
        });
        fs::write(directory.join("index.json"), index.to_string()).unwrap();
        fs::write(
            directory.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        paths
    }
}

/// Adds a layer to the one image of a layout, and makes it one for `architecture` (Go's name).
pub fn derive(layout: &Path, layer: &[u8], architecture: &str) {
    let (layer, size) = store(layout, layer);
    edit(layout, |entry, manifest, config| {
        config["architecture"] = json!(architecture);
        let diff_ids = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
        diff_ids.push(json!(layer));
        config["history"] = json!([]);
        let layers = manifest["layers"].as_array_mut().unwrap();
        layers.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size,
        }));
        entry["platform"]["architecture"] = json!(architecture);
    });
}

/// Gives the one image of a layout a label. Returns the image's digest.
pub fn label(layout: &Path, name: &str, value: &str) -> String {
    edit(layout, |_, _, config| {
        config["config"]["Labels"][name] = json!(value)
    })
}

/// Stores a blob; its digest and length.
fn store(layout: &Path, bytes: &[u8]) -> (String, usize) {
    let digest = digest(bytes);
    let blobs = layout.join("blobs/sha256");
    fs::write(blobs.join(&digest["sha256:".len()..]), bytes).unwrap();
    (digest, bytes.len())
}

/// Changes entry, manifest and configuration of the one image of a layout. Returns the image's digest.
fn edit(layout: &Path, change: impl FnOnce(&mut Value, &mut Value, &mut Value)) -> String {
    let load = |digest: &Value| -> Value {
        let name = &digest.as_str().unwrap()["sha256:".len()..];
        let path = layout.join("blobs/sha256").join(name);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let index_path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&index_path).unwrap()).unwrap();
    let mut manifest = load(&index["manifests"][0]["digest"]);
    let mut config = load(&manifest["config"]["digest"]);
    change(&mut index["manifests"][0], &mut manifest, &mut config);
    let (config, size) = store(layout, config.to_string().as_bytes());
    manifest["config"]["digest"] = json!(config);
    manifest["config"]["size"] = json!(size);
    let (digest, size) = store(layout, manifest.to_string().as_bytes());
    let entry = &mut index["manifests"][0];
    entry["digest"] = json!(digest);
    entry["size"] = json!(size);
    // A new file: the old one may be a hard link to the sample's.
    fs::remove_file(&index_path).unwrap();
    fs::write(index_path, index.to_string()).unwrap();
    digest
}
