//! Reading all layers: what the base ones hold, put together, and the derived ones by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use anyhow::{Context, Result, ensure};

use super::encapsulated::{self, Role};
use super::hashing::Checksums;
use super::layer::{self, Layer};
use super::limits::Meter;
use super::object::Checksum;
use super::parallel::in_parallel;
use super::source::{Keep, LayerFacts, Source};
use super::{commit, refs};
use crate::progress::Progress;
use crate::tree::{Store, Tree};

/// What the base layers hold; empty in an image without ostree.
#[derive(Default)]
pub(super) struct Base {
    pub(super) commit: Option<Checksum>,
    pub(super) objects: commit::Objects,
    /// Refs of the layers, of which [`crate::image`] gives 500 at most.
    pub(super) refs: BTreeMap<String, Checksum>,
    /// What the user should know of how the layers are packed.
    pub(super) warnings: Vec<String>,
    /// The commit's tree, and its files' checksums by inode.
    pub(super) tree: Option<Tree>,
    pub(super) checksums: Checksums,
}

enum ReadLayer {
    Base(encapsulated::Objects),
    Derived(Layer),
}

impl ReadLayer {
    /// Whether the archive has something behind its end mark.
    fn goes_on(&self) -> bool {
        match self {
            Self::Base(objects) => objects.goes_on,
            Self::Derived(layer) => layer.goes_on,
        }
    }
}

/// A first layer up to this length is read before the others where not all contents are kept: it
/// tells what their files are. Real ones have less than 1 MB; beside a longer one, the others are
/// kept whole rather than read later.
const COMMIT_LAYER_BYTES: u64 = 16 << 20;

/// Reads all layers at the same time, of which the first `base_layers` are an encapsulated commit.
pub(super) fn layers(
    source: &Source,
    base_layers: usize,
    store: &Store,
    keep: Option<Keep<'_>>,
    meter: &Meter,
    threads: NonZeroUsize,
    progress: &dyn Progress,
) -> Result<(Base, Vec<Layer>)> {
    ensure!(!source.layers.is_empty(), "the image has no layers");
    progress.begin("reading layers", 0);
    // The largest first: none is left that takes longer than all others together.
    let mut order: Vec<usize> = (0..source.layers.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(source.layers[*index].size_bytes));
    let read =
        |index: usize, files: Option<&BTreeSet<Checksum>>, keep_going: &dyn Fn() -> Result<()>| {
            let LayerFacts { digest, .. } = &source.layers[index];
            let read = || {
                let stream = (source.open)(index)?;
                if index < base_layers {
                    let role = match index {
                        0 => Role::Commit,
                        _ => Role::Chunk,
                    };
                    let keep = |file: &Checksum| files.is_none_or(|files| files.contains(file));
                    encapsulated::read(stream, role, store, &keep, meter, progress, keep_going)
                        .map(ReadLayer::Base)
                } else {
                    let keep = keep.unwrap_or(&|_| true);
                    layer::read(stream, digest, store, keep, meter, progress, keep_going)
                        .map(ReadLayer::Derived)
                }
            };
            read().with_context(|| format!("importing layer {digest}"))
        };
    let mut done = Vec::new();
    let mut files = None;
    let is_short = source.layers[0].size_bytes <= COMMIT_LAYER_BYTES;
    if let Some(keep) = keep
        && base_layers > 1
        && is_short
    {
        let first = read(0, None, &|| Ok(()))?;
        if let ReadLayer::Base(objects) = &first {
            files = Some(encapsulated::files_at(objects, keep, &meter.anew())?);
        }
        done.push((0, first));
        order.retain(|index| *index != 0);
    }
    let layers_read = in_parallel(threads, order.len(), |turn, keep_going| {
        read(order[turn], files.as_ref(), keep_going)
    })?;
    progress.end();

    let mut layers = done;
    layers.extend(order.into_iter().zip(layers_read));
    layers.sort_by_key(|(index, _)| *index);
    let layers = layers.into_iter().map(|(_, layer)| layer);
    let mut base = Base::default();
    let mut derived = Vec::new();
    for (facts, layer) in source.layers.iter().zip(layers) {
        if layer.goes_on() {
            base.warnings.push(format!(
                "layer {} goes on behind the end of its archive; podman and nodes don't look there",
                facts.digest
            ));
        }
        match layer {
            ReadLayer::Derived(layer) => derived.push(layer),
            ReadLayer::Base(layer) => {
                let commit = match layer.commit {
                    Some(commit) => {
                        base.commit = Some(commit);
                        commit
                    }
                    None => commit::write_object_set(&layer.files(), &mut base.objects),
                };
                base.refs.insert(refs::blob(&facts.digest), commit);
                base.objects.extend(layer.objects);
            }
        }
    }
    if let Some(commit) = base.commit {
        let (tree, checksums) = encapsulated::tree_of_commit(&base.objects, commit, meter)
            .with_context(|| format!("reading the base commit {commit}"))?;
        (base.tree, base.checksums) = (Some(tree), checksums);
    }
    Ok((base, derived))
}
