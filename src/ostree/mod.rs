//! From the layers of a container image to one merged tree and a complete ostree repository.
//!
//! ```text
//! base layers     tar of objects ──► objects, verified ──► tree of the base commit ─┐
//! derived layers  tar of files   ──► entries, contents kept ──► filtered trees ─────┴► union
//!                                                                                       │
//!       objects, refs, merge commit ◄── checksums ◄── labels from the union's policy ◄──┘
//! ```
//!
//! The result is what ostree-ext and libostree write when root imports the image into a repository
//! of mode `bare`, except that nothing depends on time, thread or hash order. All layers are read
//! at the same time, each once; the rest happens in memory, contents staying in the
//! [`Store`]. Which layers belong to the encapsulated commit is told by the label
//! `ostree.final-diffid`; an image without it is all ordinary layers.
//!
//! Left out on purpose: signatures, static deltas, composefs, and repositories of other modes.
//!
//! Truth: ostree-ext (`container/store.rs`) 0.15.3 and as it is in bootc of 2026, libostree 2022.7
//! to 2026.4. Compared with a real import by `tests/ostree_oracle.rs`.

mod archive;
mod commit;
mod description;
mod encapsulated;
mod filter;
#[cfg(fuzzing)]
pub mod fuzz;
mod gvariant;
mod hashing;
mod label;
mod layer;
mod layer_tree;
mod limits;
mod merge;
mod object;
mod parallel;
mod pax;
mod read;
mod refs;
mod source;
mod target;
#[cfg(test)]
mod tests;

pub use label::{FileType, Labels};
pub use limits::Limits;
pub use object::{Checksum, FileHash, Kind, Object, ObjectName, symlink_checksum};
pub use refs::{ContainerReference, Signature, Transport};
pub use source::{Keep, LayerFacts, OpenLayer, Source};
pub use target::LibostreeVersion;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::tree::{InodeId, Store, Tree};
use commit::{Metadata, Objects, Root};
use description::Description;
use filter::{Rules, Var};
use hashing::Checksums;
use layer::Layer;
use layer_tree::LayerTree;
use limits::Meter;
use merge::Union;
use read::Base;

/// Finds the policy of the merged tree; none if it has no SELinux.
pub type FindLabels<'a> = dyn Fn(&Tree) -> Result<Option<Box<dyn Labels>>> + 'a;

/// How an image is imported.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How many threads read layers and hash files.
    pub threads: NonZeroUsize,
    /// Under which name the node is to find the image.
    pub reference: &'a ContainerReference,
    /// Whose habits to follow where importers differ.
    pub importer: Importer,
    /// The libostree that the image will be managed by; found in the image if not given.
    pub libostree: Option<LibostreeVersion>,
    /// Finds the policy that labels come from.
    pub labels: &'a FindLabels<'a>,
    /// Most that is kept in memory.
    pub limits: Limits,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("threads", &self.threads)
            .field("reference", &self.reference)
            .field("importer", &self.importer)
            .field("libostree", &self.libostree)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Which importer's habits are followed where they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Importer {
    /// The one in bootc since 2025: empty `usr/etc/hostname` and `usr/etc/resolv.conf`, left behind
    /// by builds, are removed; layers' own commits are labelled by the merged tree's policy; the
    /// merge commit has the base commit as parent.
    #[default]
    Bootc,
    /// ostree-ext 0.15.3, as in rpm-ostree: none of that; layers' commits are labelled by the
    /// base's policy, hard links in them like what they link to, and the merge commit counts what
    /// was filtered.
    OstreeExt,
}

/// A repository's content and the tree that will be deployed.
#[derive(Debug)]
pub struct Imported {
    /// Merged tree, as committed: with `usr/etc`, without `etc`. Each name has an inode of its own;
    /// files with equal checksums are one object.
    pub tree: Tree,
    /// Every object: of the base commit, the layers' commits, object sets and the merge commit.
    pub objects: BTreeMap<ObjectName, Object>,
    /// By [`InodeId::index`] of `tree`: the object that a file or symlink is.
    pub file_checksums: Vec<Option<Checksum>>,
    /// Refs below `refs/heads`.
    pub refs: BTreeMap<String, Checksum>,
    /// The commit to be deployed.
    pub merge_commit: Checksum,
    /// SHA-256 over the root's dirtree and dirmeta: equal for equal content.
    pub content_checksum: Checksum,
    /// The encapsulated commit, if the image has one.
    pub base_commit: Option<Checksum>,
    /// The libostree that manages the deployed system.
    pub libostree: LibostreeVersion,
    /// What the user should know: filtered paths, lost directory metadata and the like.
    pub warnings: Vec<String>,
}

impl Imported {
    /// The object that a file or symlink of the tree is; none for directories.
    pub fn file_checksum(&self, id: InodeId) -> Option<Checksum> {
        self.file_checksums.get(id.index()).copied().flatten()
    }
}

/// The merged tree of an image alone: without labels, objects and commits, which take as long again.
/// Contents are kept in `store`, at least those of the files that `keep` asks for by their paths,
/// which have no slash at their beginning. Also gives what the user should know.
pub fn read_tree(
    source: &Source,
    store: &Store,
    keep: Keep<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(Tree, Vec<String>)> {
    let (image, base, merged) = read_and_merge(source, store, Some(keep), options, progress)?;
    let warnings = warnings(&image, &base, &merged);
    Ok((merged.union.tree, warnings))
}

/// Imports an image, keeping contents in `store`.
pub fn import(
    source: &Source,
    store: &Store,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Imported> {
    let (image, mut base, merged) = read_and_merge(source, store, None, options, progress)?;
    let Merged { union, layers, .. } = &merged;
    let hashed = hashing::run(
        union,
        layers,
        &base.checksums,
        &base.objects,
        options.threads,
        progress,
    )?;
    for (layer, checksums) in layers.iter().zip(&hashed.layers) {
        let commit = commit_layer(layer, checksums, &image, &mut base.objects)?;
        base.refs.insert(refs::blob(&layer.digest), commit);
    }
    let root = commit::write_tree(&union.tree, &hashed.union, &mut base.objects)?;
    let merge_commit = commit_union(root, &merged, &image, &mut base, options.importer);
    base.refs
        .insert(refs::image(options.reference), merge_commit);

    Ok(Imported {
        warnings: warnings(&image, &base, &merged),
        tree: merged.union.tree,
        objects: base.objects,
        file_checksums: hashed.union,
        refs: base.refs,
        merge_commit,
        content_checksum: root.content_checksum(),
        base_commit: base.commit,
        libostree: merged.libostree,
    })
}

fn read_and_merge<'a>(
    source: &Source<'a>,
    store: &Store,
    keep: Option<Keep<'_>>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(Description<'a>, Base, Merged)> {
    let image = Description::read(source)?;
    let meter = Meter::new(options.limits);
    let (mut base, derived) = read::layers(
        source,
        image.base_layers,
        store,
        keep,
        &meter,
        options.threads,
        progress,
    )?;
    progress.begin("merging layers", 0);
    let merged = merge_layers(base.tree.take(), derived, &meter, options)?;
    progress.end();
    Ok((image, base, merged))
}

fn warnings(image: &Description<'_>, base: &Base, merged: &Merged) -> Vec<String> {
    let layers = merged.layers.iter().flat_map(LayerTree::warnings);
    image
        .warnings
        .iter()
        .cloned()
        .chain(image.doubt_about(base.commit))
        .chain(base.warnings.iter().chain(&merged.union.warnings).cloned())
        .chain(layers)
        .collect()
}

/// Base and layers, labelled.
struct Merged {
    union: Union,
    /// The derived layers by themselves.
    layers: Vec<LayerTree>,
    libostree: LibostreeVersion,
}

fn merge_layers(
    base: Option<Tree>,
    layers: Vec<Layer>,
    meter: &Meter,
    options: &Options,
) -> Result<Merged> {
    let base_policy = match (&base, options.importer) {
        (Some(tree), Importer::OstreeExt) if !layers.is_empty() => (options.labels)(tree)?,
        _ => None,
    };
    let (mut layers, libostree) = layer_trees(layers, base.as_ref(), meter, options)?;
    let mut union = Union::new(base);
    for layer in &layers {
        let added = union.add(layer);
        added.with_context(|| format!("importing layer {}", layer.digest))?;
    }
    union.warn_of_places(&layers);
    let policy = (options.labels)(&union.tree)?;
    let layer_policy = match options.importer {
        Importer::Bootc => {
            union.remove_build_leftovers();
            &policy
        }
        Importer::OstreeExt => &base_policy,
    };
    if let Some(labels) = layer_policy {
        for layer in &mut layers {
            label::relabel(&mut layer.tree, &**labels)?;
            if options.importer == Importer::OstreeExt {
                layer.share_attributes();
            }
        }
    }
    if let Some(labels) = &policy {
        label::relabel(&mut union.tree, &**labels)?;
    }
    Ok(Merged {
        union,
        layers,
        libostree,
    })
}

const IMPORTER_KEY: &str = "ostree.importer.version";
const IMPORTER: &str = concat!("coreos-bake ", env!("CARGO_PKG_VERSION"));

/// The commit of a layer by itself; later imports of images with the same layer begin there.
fn commit_layer(
    layer: &LayerTree,
    checksums: &Checksums,
    image: &Description,
    objects: &mut Objects,
) -> Result<Checksum> {
    let root = commit::write_tree(&layer.tree, checksums, objects)?;
    let metadata = Metadata::default().string(IMPORTER_KEY, IMPORTER);
    Ok(commit::write_commit(
        &metadata,
        None,
        image.created,
        root,
        objects,
    ))
}

/// The commit that is deployed; queries and upgrades on the node read the image's description
/// from it.
fn commit_union(
    root: Root,
    merged: &Merged,
    image: &Description,
    base: &mut Base,
    importer: Importer,
) -> Checksum {
    let metadata = Metadata::default()
        .string(IMPORTER_KEY, IMPORTER)
        .string("ostree.manifest-digest", image.manifest_digest)
        .string("ostree.manifest", image.manifest)
        .string("ostree.container.image-config", image.config);
    let (metadata, parent) = match importer {
        Importer::Bootc => (metadata, base.commit),
        Importer::OstreeExt => {
            let dropped = merged
                .layers
                .iter()
                .filter(|layer| !layer.dropped.is_empty());
            let counts = dropped.map(|layer| {
                let counts = layer.dropped.iter();
                let counts = counts.map(|(name, count)| (name.clone(), count.entries));
                (layer.digest.clone(), counts.collect())
            });
            (
                metadata.counts("ostree.tar-filtered", &counts.collect()),
                None,
            )
        }
    };
    commit::write_commit(&metadata, parent, image.created, root, &mut base.objects)
}

/// Trees of the derived layers, and the libostree they are made for.
///
/// What becomes of `/var` depends on it, so the layers are first laid out as for a recent one and
/// searched, uppermost first.
fn layer_trees(
    layers: Vec<Layer>,
    base: Option<&Tree>,
    meter: &Meter,
    options: &Options,
) -> Result<(Vec<LayerTree>, LibostreeVersion)> {
    let keep_foreign = match base {
        Some(tree) => target::has_overlay_root(tree)?,
        None => true,
    };
    let build = |var| -> Result<Vec<LayerTree>> {
        let rules = Rules { keep_foreign, var };
        let build = |layer: &Layer| {
            layer_tree::build(layer, rules, base.is_some(), meter)
                .with_context(|| format!("importing layer {}", layer.digest))
        };
        layers.iter().map(build).collect()
    };
    let trees = build(Var::Keep)?;
    let version = match options.libostree {
        Some(version) => version,
        None => {
            let uppermost_first = trees.iter().rev().map(|layer| &layer.tree).chain(base);
            let mut found = uppermost_first.filter_map(|tree| {
                target::libostree_version(tree)
                    .context("looking for the image's libostree")
                    .transpose()
            });
            found
                .next()
                .transpose()?
                .unwrap_or(LibostreeVersion::ASSUMED)
        }
    };
    let trees = match version.keeps_var() {
        true => trees,
        false => build(Var::Factory)?,
    };
    Ok((trees, version))
}
