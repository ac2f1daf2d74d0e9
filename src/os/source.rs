//! An image and its merged tree: with labels and checksums, or without.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;

use super::contents::{CONTENTS_MAX_BYTES, contents_of};
use super::facts::Facts;
use super::parts::Parts;
use crate::image::{self, Access, Image, ImageRef, Select, Version};
use crate::ostree::{
    self, ContainerReference, FileType, FindLabels, Imported, Importer, Labels, LayerFacts, Limits,
    Signature, Transport,
};
use crate::progress::Progress;
use crate::selinux::{FileKind, Policy};
use crate::staging::clear_leftovers;
use crate::tree::{Store, Tree};

/// An image with its merged tree.
#[derive(Debug)]
pub struct Source {
    /// The image as it was read.
    pub image: Image,
    /// Its merged tree and repository.
    pub imported: Imported,
    /// SELinux policy of the merged tree.
    pub policy: Option<Arc<Policy>>,
    /// What the operating system says about itself.
    pub facts: Facts,
    /// What the deployment's origin says: where the installed system looks for updates.
    pub origin: ContainerReference,
    /// Bytes of file contents that were kept.
    pub content_bytes: u64,
}

/// How to read an image.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Where and as whom to look for it.
    pub access: Access,
    /// What the deployment's origin shall say, instead of what the image was read from.
    pub target_imgref: Option<ContainerReference>,
    /// Threads to read layers with.
    pub threads: NonZeroUsize,
}

/// Directories of programs, libraries and documentation: half of an image, and nothing of it tells
/// whether a driver is there.
const NOT_LOOKED_AT: [&str; 6] = [
    "usr/bin/",
    "usr/sbin/",
    "usr/libexec/",
    "usr/lib64/",
    "usr/share/locale/",
    "usr/share/doc/",
];

/// Whether anybody looks into the file at `path` who only glances at an image.
fn is_looked_at(path: &str) -> bool {
    let is_library = |path: &str| {
        let directory = path
            .strip_prefix("usr/lib/")
            .and_then(|rest| rest.split_once('/'));
        directory.is_some_and(|(name, _)| name.contains("-linux-gnu"))
    };
    let is_elsewhere = |directory: &&str| !path.starts_with(*directory);
    let is_in_reach = !is_library(path) && NOT_LOOKED_AT.iter().all(is_elsewhere);
    // libostree's version decides about `/var`.
    is_in_reach || path.contains("ostree")
}

/// An image with its merged tree only, for those who write no media.
#[derive(Debug)]
pub struct Glance {
    /// The image as it was read.
    pub image: Image,
    /// Its merged tree, without labels; programs and libraries have no contents.
    pub tree: Tree,
    /// What the operating system says about itself.
    pub facts: Facts,
    /// What the origin of its deployment would say.
    pub origin: ContainerReference,
}

impl Glance {
    /// Reads the image once, as [`Source::read`] does.
    pub fn read(
        reference: &ImageRef,
        options: &ReadOptions,
        scratch: &Path,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Opened::new(reference, options, scratch)?.glance(options, progress)
    }

    /// What a boot of it consists of.
    pub fn parts(&self) -> Parts<'_> {
        self.facts.parts(&self.tree)
    }
}

impl Opened {
    /// Reads the layers, as [`Glance::read`] does.
    pub fn glance(self, options: &ReadOptions, progress: &dyn Progress) -> Result<Glance> {
        let opened = self;
        for warning in &opened.image.warnings {
            progress.warn(warning);
        }
        let no_labels = |_: &Tree| Ok(None);
        let (tree, warnings) = opened
            .with(options, &no_labels, |source, options| {
                ostree::read_tree(source, &opened.store, &is_looked_at, options, progress)
            })
            .with_context(|| format!("reading image {}", opened.image.reference))?;
        for warning in &warnings {
            progress.warn(warning);
        }
        let Opened { image, origin, .. } = opened;
        Ok(Glance {
            facts: Facts::read(&tree, &image.labels, &image.architecture)?,
            image,
            tree,
            origin,
        })
    }
}

impl Source {
    /// Reads the image once, from first to last layer. Contents of its files stay in a file without
    /// a name in `scratch`.
    pub fn read(
        reference: &ImageRef,
        options: &ReadOptions,
        scratch: &Path,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Opened::new(reference, options, scratch)?.read(options, progress)
    }

    /// Whether installed nodes would take an image on the machine that bakes for their own: nobody said what
    /// the origin shall be, and the image is in no registry.
    pub fn origin_is_local(&self) -> bool {
        self.origin.registry_name().is_none() && self.origin == origin_of(&self.image)
    }

    /// When the image was made, as its configuration says it: RFC 3339.
    pub fn created_text(&self) -> String {
        const UNKNOWN: &str = "1970-01-01T00:00:00Z";
        let config: Option<Value> = serde_json::from_slice(&self.image.config).ok();
        config
            .as_ref()
            .and_then(|config| config["created"].as_str())
            .unwrap_or(UNKNOWN)
            .to_owned()
    }
}

impl Opened {
    /// Reads the layers, as [`Source::read`] does.
    pub fn read(self, options: &ReadOptions, progress: &dyn Progress) -> Result<Source> {
        let opened = self;
        for warning in &opened.image.warnings {
            progress.warn(warning);
        }
        let policy = RefCell::new(None);
        let labels = |tree: &Tree| {
            let found = Policy::from_tree(tree, "usr/etc")?.map(Arc::new);
            policy.replace(found.clone());
            Ok(found.map(|policy| Box::new(PolicyLabels(policy)) as Box<dyn Labels>))
        };
        let imported = opened
            .with(options, &labels, |source, options| {
                ostree::import(source, &opened.store, options, progress)
            })
            .with_context(|| format!("reading image {}", opened.image.reference))?;
        for warning in &imported.warnings {
            progress.warn(warning);
        }
        let Opened {
            image,
            store,
            origin,
        } = opened;
        Ok(Source {
            content_bytes: store.len(),
            facts: Facts::read(&imported.tree, &image.labels, &image.architecture)?,
            policy: policy.into_inner(),
            image,
            imported,
            origin,
        })
    }
}

/// An image whose layers are yet to be read.
#[derive(Debug)]
pub struct Opened {
    /// What is known of it.
    pub image: Image,
    store: Store,
    origin: ContainerReference,
}

impl Opened {
    /// Opens an image, whose contents are going to be kept in a file without a name in `scratch`. What killed
    /// runs have left there is cleared.
    pub fn new(reference: &ImageRef, options: &ReadOptions, scratch: &Path) -> Result<Self> {
        // That of others' output, if they have it there, is theirs to hear of.
        let _ = clear_leftovers(scratch);
        let image = image::open(reference, &options.access)
            .with_context(|| format!("opening image {reference}"))?;
        let store = Store::create(scratch, CONTENTS_MAX_BYTES)
            .with_context(|| format!("making a scratch file in {}", scratch.display()))?;
        let origin = match &options.target_imgref {
            Some(origin) => origin.clone(),
            None => origin_of(&image),
        };
        Ok(Self {
            image,
            store,
            origin,
        })
    }

    /// About how many bytes of scratch [`Self::read`] takes.
    pub fn read_bytes(&self) -> u64 {
        contents_of(&self.image)
    }

    /// About how many bytes of scratch [`Self::glance`] takes: half of an image is not kept.
    pub fn glance_bytes(&self) -> u64 {
        contents_of(&self.image) / 2
    }

    /// Has `import` read the layers.
    fn with<T>(
        &self,
        options: &ReadOptions,
        labels: &FindLabels<'_>,
        import: impl FnOnce(&ostree::Source<'_>, &ostree::Options<'_>) -> Result<T>,
    ) -> Result<T> {
        let image = &self.image;
        let layers: Vec<LayerFacts> = image
            .layers
            .iter()
            .map(|layer| LayerFacts {
                digest: layer.digest.to_string(),
                diff_id: layer.diff_id.to_string(),
                size_bytes: layer.size_bytes,
            })
            .collect();
        let source = ostree::Source {
            manifest_digest: image.manifest_digest.as_str(),
            manifest: &image.manifest,
            config: &image.config,
            layers: &layers,
            open: &|index| Ok(Box::new(image.layer(index)?)),
        };
        let options = ostree::Options {
            threads: options.threads,
            reference: &self.origin,
            importer: Importer::default(),
            libostree: None,
            labels,
            limits: Limits::default(),
        };
        import(&source, &options)
    }
}

/// The name under which installed systems find the image again. One from a registry is pinned to
/// the digest that was read, so that it equals an `osImageURL` and the first boot doesn't pivot.
fn origin_of(image: &Image) -> ContainerReference {
    match &image.reference {
        ImageRef::Registry(name) => ContainerReference::registry(match &name.version {
            Version::Digest(digest) => format!("{}@{digest}", name.name()),
            Version::Tag(_) => format!("{}@{}", name.name(), image.manifest_digest),
        }),
        ImageRef::Layout { path, select } => local(Transport::Oci, path, select),
        ImageRef::Archive { path, select } => local(Transport::OciArchive, path, select),
        ImageRef::Storage(name) => ContainerReference {
            signature: Signature::Unverified,
            transport: Transport::ContainersStorage,
            name: name.clone(),
        },
    }
}

/// An image in a file: where it was on this machine says nothing to the installed one, and must
/// not show in the media. What is left is its name, which is no path of any machine.
fn local(transport: Transport, path: &Path, select: &Select) -> ContainerReference {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ContainerReference {
        signature: Signature::Unverified,
        transport,
        name: match select {
            Select::Only => name.into_owned(),
            Select::Tag(tag) => format!("{name}:{tag}"),
            Select::Digest(digest) => format!("{name}@{digest}"),
        },
    }
}

/// The tree's own policy, as the import asks it.
struct PolicyLabels(Arc<Policy>);

impl Labels for PolicyLabels {
    fn label(&self, path: &[u8], file_type: FileType) -> Option<Arc<[u8]>> {
        let kind = match file_type {
            FileType::Directory => FileKind::Directory,
            FileType::Regular => FileKind::Regular,
            FileType::Symlink => FileKind::Symlink,
        };
        self.0.label(path, kind)
    }

    fn check(&self) -> Result<()> {
        Ok(self.0.check()?)
    }
}
