//! Which image is meant, where there are several: by tag, by digest, by architecture.
//!
//! An index may list images, further indexes, and things that are no images (attestations,
//! signatures). All images below what the user named are collected; one must remain.
//!
//! Two equal entries of a layout are one image. skopeo 1.9.3 and buildah 1.28.2 were run: they refuse such
//! a layout unless a tag is named, and take the first then (containers/image
//! oci/layout/oci_transport.go@df7e80d2, `getManifestDescriptor`). The user hears of it.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::image::{Descriptor, ImageIndex};

use super::arch;
use super::blob::Blob;
use super::digest::Digest;
use super::error::ImageError;
use super::manifest::{Config, Document, MANIFEST_BYTES_MAX, blob, config_blob};
use super::media_type::{is_index, is_manifest};
use super::quoted::shown;
use super::reference::Select;
use super::source::Source;

/// How deep indexes may be nested. Tools write one level, two in layouts.
const DEPTH_MAX: usize = 4;

/// How many indexes are read at most, so that indexes that list each other many times end.
const INDEXES_MAX: usize = 64;

/// How many images are looked at, since some of them have to be opened to learn their
/// architecture.
const IMAGES_MAX: usize = 1024;

/// The annotation by which BuildKit marks what belongs to an image but is none.
const BUILDKIT_KIND: &str = "vnd.docker.reference.type";

/// The annotation that holds a tag in a layout.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The one image that is meant.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) manifest: Blob,
    /// The manifest itself, where it was read on the way.
    pub(super) bytes: Option<Vec<u8>>,
    /// The outermost index that the image was chosen from.
    pub(super) index: Option<Digest>,
    /// What an index said the image is for, GOARCH.
    pub(super) architecture: Option<String>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

/// An image that may be meant.
#[derive(Clone, Debug)]
struct Candidate {
    manifest: Blob,
    index: Option<Digest>,
    tag: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl Candidate {
    fn describe(&self) -> String {
        let name = match &self.tag {
            Some(tag) => format!(":{}", shown(tag).escape_debug()),
            None => format!("@{}", self.manifest.digest),
        };
        match &self.architecture {
            Some(architecture) => format!("{name} ({})", shown(architecture).escape_debug()),
            None => name,
        }
    }
}

/// Chooses from a layout, whose `index.json` is `top`.
pub(super) fn from_layout(
    source: &Source,
    image: &str,
    top: &[u8],
    select: &Select,
    wanted: Option<&str>,
) -> anyhow::Result<Chosen> {
    let object = format!("index.json of {image}");
    let Document::Index(top) = Document::parse(top, &object)? else {
        return Err(ImageError::Malformed {
            object,
            reason: "it is a manifest, not an index".to_owned(),
        }
        .into());
    };
    let mut collection = Collection::new(source, image);
    for descriptor in top.manifests() {
        let fits = match select {
            Select::Only => true,
            Select::Tag(tag) => tag_of(descriptor) == Some(tag),
            Select::Digest(digest) => descriptor.digest().as_ref() == digest.as_str(),
        };
        if fits {
            collection.add(descriptor, None, None, 0)?;
        }
    }
    // An image inside an index can be named as well.
    if let (Select::Digest(digest), []) = (select, &collection.found[..]) {
        let mut everything = Collection::new(source, image);
        everything.add_all(&top, None, None, 0)?;
        let inside =
            |c: &Candidate| c.manifest.digest == *digest || c.index.as_ref() == Some(digest);
        collection.found = everything.found.into_iter().filter(inside).collect();
    }
    if collection.found.is_empty() {
        let mut available = top.manifests().iter().map(describe).collect::<Vec<_>>();
        available.dedup();
        return Err(ImageError::NoSuchEntry {
            image: image.to_owned(),
            available,
        }
        .into());
    }
    let mut chosen = collection.choose(wanted)?;
    let digest = chosen.index.as_ref().unwrap_or(&chosen.manifest.digest);
    let entries = top.manifests();
    let is_repeated = |(at, entry): (usize, &Descriptor)| {
        entry.digest().as_ref() == digest.as_str() && entries[..at].contains(entry)
    };
    if entries.iter().enumerate().any(is_repeated) {
        chosen.warnings.push(format!(
            "{object} lists {digest} twice; podman and skopeo take that only by a tag"
        ));
    }
    Ok(chosen)
}

/// Chooses from an index that a registry sent.
pub(super) fn from_index(
    source: &Source,
    image: &str,
    index: &ImageIndex,
    digest: &Digest,
    wanted: Option<&str>,
) -> anyhow::Result<Chosen> {
    let mut collection = Collection::new(source, image);
    collection.add_all(index, Some(digest), None, 1)?;
    collection.choose(wanted)
}

fn tag_of(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(REF_NAME)
}

fn describe(descriptor: &Descriptor) -> String {
    match tag_of(descriptor) {
        Some(tag) => format!(":{}", shown(tag).escape_debug()),
        None => format!("@{}", shown(descriptor.digest().as_ref())),
    }
}

/// Images found so far, each once.
struct Collection<'a> {
    source: &'a Source,
    image: &'a str,
    found: Vec<Candidate>,
    /// What was looked at, with the size that its first entry gives: not more than `IMAGES_MAX` and `INDEXES_MAX`.
    seen: BTreeMap<Digest, u64>,
    indexes: usize,
}

impl<'a> Collection<'a> {
    fn new(source: &'a Source, image: &'a str) -> Self {
        Self {
            source,
            image,
            found: Vec::new(),
            seen: BTreeMap::new(),
            indexes: 0,
        }
    }

    fn add_all(
        &mut self,
        index: &ImageIndex,
        outermost: Option<&Digest>,
        tag: Option<&String>,
        depth: usize,
    ) -> anyhow::Result<()> {
        for descriptor in index.manifests() {
            self.add(descriptor, outermost, tag, depth)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        descriptor: &Descriptor,
        outermost: Option<&Digest>,
        tag: Option<&String>,
        depth: usize,
    ) -> anyhow::Result<()> {
        let media_type = descriptor.media_type().to_string();
        let tag = tag_of(descriptor).or(tag);
        let what = if is_index(&media_type) {
            "index"
        } else if is_manifest(&media_type) && is_for_linux(descriptor) {
            "manifest"
        } else {
            return Ok(());
        };
        let manifest = blob(
            descriptor,
            format!(
                "{what} {} of {}",
                shown(descriptor.digest().as_ref()),
                self.image
            ),
        )?;
        match self
            .seen
            .insert(manifest.digest.clone(), manifest.size_bytes)
        {
            Some(size) if size == manifest.size_bytes => return Ok(()),
            Some(_) => return Err(malformed(&manifest, "two entries give it different sizes")),
            None => (),
        }
        if what == "index" {
            self.indexes += 1;
            if depth == DEPTH_MAX || self.indexes > INDEXES_MAX {
                return Err(malformed(
                    &manifest,
                    "indexes are nested too deep or too often",
                ));
            }
            let bytes = self.source.document(&manifest, MANIFEST_BYTES_MAX)?;
            let Document::Index(index) = Document::parse(&bytes, &manifest.object)? else {
                return Err(malformed(&manifest, "it is a manifest, not an index"));
            };
            let outermost = outermost.unwrap_or(&manifest.digest);
            return self.add_all(&index, Some(outermost), tag, depth + 1);
        }
        if self.found.len() == IMAGES_MAX {
            return Err(malformed(
                &manifest,
                &format!("it is one of more than {IMAGES_MAX} images"),
            ));
        }
        let platform = descriptor.platform().as_ref();
        self.found.push(Candidate {
            manifest,
            index: outermost.cloned(),
            tag: tag.cloned(),
            architecture: platform.map(|platform| platform.architecture().to_string()),
            variant: platform.and_then(|platform| platform.variant().clone()),
        });
        Ok(())
    }

    fn choose(self, wanted: Option<&str>) -> anyhow::Result<Chosen> {
        let Self {
            source,
            image,
            mut found,
            ..
        } = self;
        let none = |wanted: &str, found: &[Candidate]| ImageError::NoSuchArch {
            image: image.to_owned(),
            wanted: wanted.to_owned(),
            available: found.iter().map(Candidate::describe).collect(),
        };
        let wanted = wanted.map(arch::goarch);
        if found.len() > 1 {
            for candidate in &mut found {
                if candidate.architecture.is_none() {
                    candidate.architecture = Some(architecture_inside(source, candidate)?);
                }
            }
        }
        let architectures: BTreeSet<_> = found.iter().map(|c| c.architecture.clone()).collect();
        let wanted = match wanted {
            Some(wanted) => Some(wanted),
            // With one architecture only, that is the one.
            None if architectures.len() <= 1 => None,
            None => Some(arch::host()),
        };
        let mut fitting = found.clone();
        if let Some(wanted) = wanted {
            // What does not say what it is for is found out when it is opened.
            fitting.retain(|c| c.architecture.as_deref().is_none_or(|a| a == wanted));
        }
        if fitting.len() > 1 && fitting.iter().any(|c| c.variant.is_none()) {
            fitting.retain(|c| c.variant.is_none());
        }
        match <[Candidate; 1]>::try_from(fitting) {
            Ok([one]) => Ok(Chosen {
                manifest: one.manifest,
                bytes: None,
                index: one.index,
                architecture: one.architecture,
                warnings: Vec::new(),
            }),
            Err(none_fits) if none_fits.is_empty() => {
                Err(none(wanted.unwrap_or("Linux"), &found).into())
            }
            Err(several) => Err(ImageError::Ambiguous {
                image: image.to_owned(),
                available: several.iter().map(Candidate::describe).collect(),
            }
            .into()),
        }
    }
}

fn malformed(manifest: &Blob, reason: &str) -> anyhow::Error {
    ImageError::Malformed {
        object: manifest.object.clone(),
        reason: reason.to_owned(),
    }
    .into()
}

/// Whether an entry of an index can be the image of a Linux system.
fn is_for_linux(descriptor: &Descriptor) -> bool {
    let marked = descriptor
        .annotations()
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(BUILDKIT_KIND));
    let system = descriptor.platform().as_ref().map(|p| p.os().to_string());
    !marked && system.is_none_or(|system| matches!(system.as_str(), "linux" | ""))
}

/// The architecture that an image's own configuration names.
fn architecture_inside(source: &Source, candidate: &Candidate) -> anyhow::Result<String> {
    let object = &candidate.manifest.object;
    let bytes = source.document(&candidate.manifest, MANIFEST_BYTES_MAX)?;
    let Document::Image(manifest) = Document::parse(&bytes, object)? else {
        return Err(malformed(
            &candidate.manifest,
            "it is an index, not a manifest",
        ));
    };
    let config = config_blob(&manifest, object)?;
    let bytes = source.blob(&config, super::manifest::CONFIG_BYTES_MAX)?;
    Ok(Config::parse(&bytes, &config.object)?.architecture)
}
