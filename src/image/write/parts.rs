//! What a derived image consists of.

use std::collections::BTreeSet;
use std::io::Read;

use anyhow::Result;
use serde_json::{Value, json};

use crate::image::blob::{Blob, CheckedBlob};
use crate::image::choose::REF_NAME;
use crate::image::{Derived, Digest, Image, ImageRef, RegistryName};
use crate::tree::Content;

/// The blobs of a derived image.
pub(in crate::image) struct Parts<'a> {
    pub(super) image: &'a Image,
    pub(super) derived: &'a Derived,
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::image) struct Part {
    pub(in crate::image) blob: Blob,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    /// A layer of the image below.
    Base,
    Content(Content),
}

impl Parts<'_> {
    /// Layers and configuration, in the order in which they are stored; no blob twice.
    pub(in crate::image) fn blobs(&self) -> Vec<Part> {
        let derived = self.derived;
        let base = (0..self.image.layers.len()).map(|index| Part {
            blob: self.image.layer_blob(index),
            from: From::Base,
        });
        let new = [
            (
                "the new layer",
                &derived.layer.digest,
                derived.layer.blob.clone(),
            ),
            (
                "the new configuration",
                &derived.config_digest,
                Content::bytes(derived.config.clone()),
            ),
        ];
        let mut blobs: Vec<Part> = base
            .chain(new.map(|(object, digest, content)| Part::new(object, digest, content)))
            .collect();
        let mut seen = BTreeSet::new();
        blobs.retain(|part| seen.insert(part.blob.digest.clone()));
        blobs
    }

    /// The manifest, as a blob like others.
    pub(super) fn manifest(&self) -> Part {
        let content = Content::bytes(self.derived.manifest.clone());
        Part::new("the new manifest", &self.derived.digest, content)
    }

    pub(in crate::image) fn derived(&self) -> &Derived {
        self.derived
    }

    /// The repository that the image below is in, if it is in a registry.
    pub(in crate::image) fn origin(&self) -> Option<&RegistryName> {
        match &self.image.reference {
            ImageRef::Registry(name) => Some(name),
            _ => None,
        }
    }

    /// The bytes of a blob as they are stored. Those of the image below are checked while they are
    /// read.
    pub(in crate::image) fn read(&self, part: &Part) -> Result<Box<dyn Read + Send>> {
        Ok(match &part.from {
            From::Base => {
                let source = self.image.source.read(&part.blob)?;
                Box::new(CheckedBlob::new(part.blob.clone(), source))
            }
            From::Content(content) => Box::new(content.reader()),
        })
    }

    /// What an `index.json` says of the image.
    pub(super) fn descriptor(&self, tag: Option<&str>) -> Value {
        let derived = self.derived;
        let mut descriptor = json!({
            "mediaType": derived.media_type,
            "digest": derived.digest,
            "size": derived.manifest.len(),
            "platform": { "architecture": self.image.architecture, "os": "linux" },
        });
        if let Some(tag) = tag {
            descriptor["annotations"] = json!({ REF_NAME: tag });
        }
        descriptor
    }
}

impl Part {
    fn new(object: &str, digest: &Digest, content: Content) -> Self {
        Self {
            blob: Blob {
                object: object.to_owned(),
                digest: digest.clone(),
                size_bytes: content.len(),
            },
            from: From::Content(content),
        }
    }
}
