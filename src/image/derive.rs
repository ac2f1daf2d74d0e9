//! An image with one more layer: its manifest and configuration, as builders write them.
//!
//! Documents are changed as JSON, so that what this program knows nothing of stays. The time is that
//! of the image below: the same layer on the same image gives the same digest.
//!
//! Truth: image specification, `config.md` and `manifest.md`; annotations as buildah sets them.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::media_type::{DOCKER_CONFIG, DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST};
use super::{Digest, Image};
use crate::tree::Content;

const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The annotation by which an image names the one that it is built on.
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// A layer that no image has yet.
#[derive(Clone, Debug)]
pub struct NewLayer {
    /// The tar stream, gzip-compressed.
    pub blob: Content,
    /// Digest of [`NewLayer::blob`].
    pub digest: Digest,
    /// Digest of the tar stream.
    pub diff_id: Digest,
    /// What made it, for the image's history.
    pub created_by: String,
}

/// An image with one more layer, not stored anywhere.
#[derive(Clone, Debug)]
pub struct Derived {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Its digest: the new image's name.
    pub digest: Digest,
    /// Its media type.
    pub media_type: &'static str,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// Its digest.
    pub config_digest: Digest,
    /// The layer on top.
    pub layer: NewLayer,
}

impl Image {
    /// This image with `layer` on top.
    pub fn derive(&self, layer: NewLayer) -> Result<Derived> {
        let mut manifest: Value =
            serde_json::from_slice(&self.manifest).context("parsing the image's manifest")?;
        let mut config: Value =
            serde_json::from_slice(&self.config).context("parsing the image's configuration")?;

        list(&mut config, "/rootfs/diff_ids")?.push(json!(layer.diff_id));
        let created = config.get("created").cloned();
        // Without one the image says nothing of its layers; an entry for one of many would be wrong.
        if let Ok(history) = list(&mut config, "/history") {
            let mut entry = Map::new();
            entry.extend(created.map(|time| ("created".to_owned(), time)));
            entry.insert("created_by".to_owned(), json!(layer.created_by));
            history.push(entry.into());
        }
        let config = serde_json::to_vec(&config)?;
        let config_digest = Digest::sha256(&config);

        let docker = manifest["config"]["mediaType"] == DOCKER_CONFIG;
        let (media_type, config_type, layer_type) = match docker {
            true => (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER),
            false => (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
        };
        manifest["config"] = json!({
            "mediaType": config_type,
            "digest": config_digest,
            "size": config.len(),
        });
        list(&mut manifest, "/layers")?.push(json!({
            "mediaType": layer_type,
            "digest": layer.digest,
            "size": layer.blob.len(),
        }));
        if !docker {
            // Docker's manifests have none.
            if !manifest["annotations"].is_object() {
                manifest["annotations"] = json!({});
            }
            manifest["annotations"][BASE_DIGEST] = json!(self.manifest_digest);
        }
        let manifest = serde_json::to_vec(&manifest)?;
        Ok(Derived {
            digest: Digest::sha256(&manifest),
            manifest,
            media_type,
            config,
            config_digest,
            layer,
        })
    }
}

fn list<'a>(document: &'a mut Value, pointer: &str) -> Result<&'a mut Vec<Value>> {
    document
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .with_context(|| format!("the image has no list {pointer}"))
}
