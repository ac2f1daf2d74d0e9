//! Derived images stored: in a layout, in an archive, in a registry.
//!
//! Only blobs that are not there are written. A layout or an archive appears whole or not at all;
//! of a registry, the manifest comes last, so that nobody can pull half an image.

mod files;
mod parts;
mod tar;
mod watched;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;

use super::registry::Registry;
use super::{Access, Derived, Image, ImageRef, ReferenceError, RegistryName, Select, Version};
use crate::progress::Progress;
use crate::staging::Room;
pub(super) use parts::{Part, Parts};

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
