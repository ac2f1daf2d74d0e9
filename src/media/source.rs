//! An image, read once: what every command begins with.

use std::path::Path;

use anyhow::{Context, Result};

use crate::image::{self, Access, Image, ImageRef};
use crate::ostree::{self, Imported};
use crate::progress::Progress;
use crate::selinux::Policy;
use crate::sysroot::Facts;
use crate::tree::Store;

/// Most bytes of file contents that one image may unpack to. Real ones are below 10 GiB; a bomb
/// is stopped before it fills the disk.
const CONTENTS_LIMIT: u64 = 64 << 30;

/// An image with its merged tree.
#[derive(Debug)]
pub struct Source {
    /// The image as it was read.
    pub image: Image,
    /// Its merged tree and repository.
    pub imported: Imported,
    /// SELinux policy of the merged tree.
    pub policy: Option<Policy>,
    /// What the operating system says about itself.
    pub facts: Facts,
}

/// How to read an image.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Where and as whom to look for it.
    pub access: Access,
    /// What the deployment's origin will say; by default what the image was read from.
    pub target_imgref: Option<String>,
    /// Threads to read layers with.
    pub threads: std::num::NonZeroUsize,
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
        let image = image::open(reference, &options.access)
            .with_context(|| format!("opening image {reference}"))?;
        progress.begin(
            &format!("reading {} layers", image.layers.len()),
            image.layers.iter().map(|layer| layer.size).sum(),
        );
        let store = Store::create(scratch, CONTENTS_LIMIT)
            .with_context(|| format!("making a scratch file in {}", scratch.display()))?;
        let imported = ostree::import(
            &ostree::Source {
                manifest_digest: &image.manifest_digest,
                manifest: &image.manifest,
                config: &image.config,
                layers: &image.layer_facts(),
                open: &|index| Ok(Box::new(image.layer(index)?)),
            },
            &store,
            &ostree::Options {
                threads: options.threads,
                origin: origin(reference, options.target_imgref.as_deref())?,
            },
            &|bytes| progress.advance(bytes),
        )
        .with_context(|| format!("reading image {reference}"))?;
        progress.end();
        for warning in &imported.warnings {
            progress.warn(warning);
        }
        let policy = Policy::from_tree(&imported.tree, "usr/etc")?;
        let facts = Facts::read(&imported.tree, &image.labels, &image.architecture)?;
        Ok(Self {
            image,
            imported,
            policy,
            facts,
        })
    }
}
