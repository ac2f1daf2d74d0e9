//! Derived images stored: in a layout, in an archive, in a registry.
//!
//! Only blobs that are not there are written. A layout or an archive appears whole or not at all;
//! of a registry, the manifest comes last, so that nobody can pull half an image.

mod files;
mod tar;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;

use super::blob::{Blob, CheckedBlob};
use super::registry::Registry;
use super::{
    Access, Derived, Digest, Image, ImageRef, ReferenceError, RegistryName, Select, Version,
};
use crate::progress::Progress;
use crate::staging::Room;
use crate::tree::Content;

/// Where an image is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A directory in OCI image layout, made if it is not there.
    Layout {
        /// The directory.
        path: PathBuf,
        /// Its name in there.
        tag: Option<String>,
    },
    /// An OCI image layout in a tar archive, of its own.
    Archive {
        /// The file.
        path: PathBuf,
        /// Its name in there.
        tag: Option<String>,
    },
    /// A repository in a registry, and the tag.
    Registry(RegistryName),
}

impl Target {
    /// The place that a user names. A path without a prefix is refused with the one it needs.
    pub fn named(text: &str) -> Result<Self, ReferenceError> {
        // What is there may be of any kind; it has to be named as an image either way.
        ImageRef::named(text)?;
        text.parse()
    }
}

impl FromStr for Target {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refused = |reason: &str, hint: &str| ReferenceError::new(text, reason).with_hint(hint);
        let digest = || {
            refused(
                "its digest is not known before the image is made",
                "name a tag",
            )
        };
        let tag = |select| match select {
            Select::Only => Ok(None),
            Select::Tag(tag) => Ok(Some(tag)),
            Select::Digest(_) => Err(digest()),
        };
        Ok(match text.parse()? {
            ImageRef::Layout { path, select } => Self::Layout {
                path,
                tag: tag(select)?,
            },
            ImageRef::Archive { path, select } => Self::Archive {
                path,
                tag: tag(select)?,
            },
            ImageRef::Registry(name) => match name.version {
                Version::Tag(_) => Self::Registry(name),
                Version::Digest(_) => return Err(digest()),
            },
            ImageRef::Storage(_) => {
                return Err(refused(
                    "nothing is written to containers-storage",
                    "write an oci-archive: and load it with podman load",
                ));
            }
        })
    }
}

impl Target {
    /// Refuses a target that could not be written to when all the work is done: an image is there already, and
    /// not to be replaced with `force`, or nothing can be written there. Registries are not asked.
    pub fn check(&self, force: bool) -> Result<()> {
        match self {
            Self::Layout { path, tag } => files::check(path, tag.as_deref(), force),
            Self::Archive { path, .. } => tar::check(path, force),
            Self::Registry(_) => Ok(()),
        }
    }

    /// The directory that is written to.
    pub fn directory(&self) -> Result<Option<&Path>> {
        Ok(match self {
            Self::Layout { path, .. } => Some(path),
            Self::Archive { path, .. } => Some(tar::place(path)?.0),
            Self::Registry(_) => None,
        })
    }

    /// The room where it is, and how many bytes an image made from `image` takes there, without its new layer.
    /// None of a registry.
    pub fn room(&self, image: &Image) -> Result<Option<(Room, u64)>> {
        Ok(match self {
            Self::Layout { path, .. } => Some((Room::of(path), files::missing_bytes(path, image)?)),
            Self::Archive { path, .. } => {
                let layers = image.layers.iter();
                let bytes = layers.map(|layer| layer.size_bytes).sum();
                Some((Room::of(tar::place(path)?.0), bytes))
            }
            Self::Registry(_) => None,
        })
    }
}

/// Stores `derived`, which was made from `image`. With `force`, an archive or a tag in a layout is
/// replaced; in a registry, tags always move. Returns the name by which it can be found again.
pub fn write(
    image: &Image,
    derived: &Derived,
    target: &Target,
    access: &Access,
    force: bool,
    progress: &dyn Progress,
) -> Result<String> {
    let parts = Parts { image, derived };
    match target {
        Target::Layout { path, tag } => {
            files::write(&parts, path, tag.as_deref(), force, progress)?;
            Ok(match tag {
                Some(tag) => format!("oci:{}:{tag}", path.display()),
                None => format!("oci:{}", path.display()),
            })
        }
        Target::Archive { path, tag } => {
            tar::write(&parts, path, tag.as_deref(), force, progress)?;
            Ok(format!("oci-archive:{}", path.display()))
        }
        Target::Registry(name) => {
            Registry::connect(name, access)?.push(&parts, progress)?;
            Ok(format!("docker://{}@{}", name.name(), derived.digest))
        }
    }
}

/// The blobs of a derived image.
pub(super) struct Parts<'a> {
    image: &'a Image,
    derived: &'a Derived,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) blob: Blob,
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
    pub(super) fn blobs(&self) -> Vec<Part> {
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
        let mut seen = std::collections::BTreeSet::new();
        blobs.retain(|part| seen.insert(part.blob.digest.clone()));
        blobs
    }

    /// The manifest, as a blob like others.
    fn manifest(&self) -> Part {
        let content = Content::bytes(self.derived.manifest.clone());
        Part::new("the new manifest", &self.derived.digest, content)
    }

    pub(super) fn derived(&self) -> &Derived {
        self.derived
    }

    /// The repository that the image below is in, if it is in a registry.
    pub(super) fn origin(&self) -> Option<&RegistryName> {
        match &self.image.reference {
            ImageRef::Registry(name) => Some(name),
            _ => None,
        }
    }

    /// The bytes of a blob as they are stored. Those of the image below are checked while they are
    /// read.
    pub(super) fn read(&self, part: &Part) -> Result<Box<dyn Read + Send>> {
        Ok(match &part.from {
            From::Base => {
                let source = self.image.source.read(&part.blob)?;
                Box::new(CheckedBlob::new(part.blob.clone(), source))
            }
            From::Content(content) => Box::new(content.reader()),
        })
    }

    /// What an `index.json` says of the image.
    fn descriptor(&self, tag: Option<&str>) -> serde_json::Value {
        let derived = self.derived;
        let mut descriptor = serde_json::json!({
            "mediaType": derived.media_type,
            "digest": derived.digest,
            "size": derived.manifest.len(),
            "platform": { "architecture": self.image.architecture, "os": "linux" },
        });
        if let Some(tag) = tag {
            descriptor["annotations"] = serde_json::json!({ REF_NAME: tag });
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

/// The annotation that holds a tag in a layout.
const REF_NAME: &str = super::choose::REF_NAME;

/// Where a blob lies in a layout.
fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// What the file `oci-layout` says.
const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Tells `progress` of what is read.
struct Watched<'a, R> {
    inner: R,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}
