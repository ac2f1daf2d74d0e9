//! Images to push: a layout written blob by blob.

use std::fs;
use std::path::PathBuf;

use coreos_bake::testing::image::{Access, Image, open};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A layout with an index of two images, each with two layers: a small and a big one.
pub(crate) struct Layout {
    directory: TempDir,
    pub(crate) arches: [&'static str; 2],
}

impl Layout {
    pub(crate) fn new(big_len: usize) -> Self {
        let layout = Self {
            directory: TempDir::new().unwrap(),
            arches: ["amd64", "arm64"],
        };
        fs::create_dir_all(layout.path().join("blobs/sha256")).unwrap();
        fs::write(
            layout.path().join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        let entries = layout.arches.map(|arch| {
            let mut entry = layout.image(arch, big_len);
            entry["platform"] = json!({"architecture": arch, "os": "linux"});
            entry
        });
        let index_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": entries});
        let index = layout.blob(index_type, index.to_string().as_bytes());
        let top = json!({"schemaVersion": 2, "manifests": [index]});
        fs::write(layout.path().join("index.json"), top.to_string()).unwrap();
        layout
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let hex = hex::encode(Sha256::digest(bytes));
        fs::write(self.path().join("blobs/sha256").join(&hex), bytes).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()})
    }

    fn image(&self, arch: &str, big_len: usize) -> Value {
        let layers = [tar(arch, 1000), tar(arch, big_len)];
        let diff_ids = layers
            .each_ref()
            .map(|l| format!("sha256:{}", hex::encode(Sha256::digest(l))));
        let layer_type = "application/vnd.oci.image.layer.v1.tar+zstd";
        let config = json!({
            "architecture": arch,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
            "layers": layers.map(|l| self.blob(layer_type, &zstd::encode_all(&l[..], 1).unwrap())),
        });
        self.blob(manifest_type, manifest.to_string().as_bytes())
    }

    /// The same image, read from the layout.
    pub(crate) fn open(&self, arch: &str) -> Image {
        let mut access = Access::new(self.directory.path());
        access.arch = Some(arch.into());
        open(
            &format!("oci:{}", self.path().display()).parse().unwrap(),
            &access,
        )
        .unwrap()
    }
}

/// A tar with one file of bytes that do not compress, always the same for the same name.
fn tar(name: &str, len: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let mut block = Sha256::digest(name.as_bytes());
    while content.len() < len {
        content.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    content.truncate(len);
    let mut header = tar::Header::new_gnu();
    header.set_size(len as u64);
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_data(&mut header, name, &content[..])
        .unwrap();
    builder.into_inner().unwrap()
}
