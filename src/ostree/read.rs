//! Reading all layers: what the base ones hold, put together, and the derived ones by themselves.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use anyhow::{Context, Result, ensure};

use super::encapsulated::{self, Role};
use super::hashing::Checksums;
use super::layer::{self, Layer};
use super::limits::Meter;
use super::object::Checksum;
use super::parallel::in_parallel;
use super::{Source, commit, refs};
use crate::progress::Progress;
use crate::tree::{Store, Tree};

/// What the base layers hold; empty in an image without ostree.
#[derive(Default)]
pub(super) struct Base {
    pub(super) commit: Option<Checksum>,
    pub(super) objects: commit::Objects,
    /// Refs of the layers.
    pub(super) refs: BTreeMap<String, Checksum>,
    /// The commit's tree, and its files' checksums by inode.
    pub(super) tree: Option<Tree>,
    pub(super) checksums: Checksums,
}

enum ReadLayer {
    Base(encapsulated::Objects),
    Derived(Layer),
}

/// Reads all layers at the same time, of which the first `base_layers` are an encapsulated commit.
pub(super) fn layers(
    source: &Source,
    base_layers: usize,
    store: &Store,
    meter: &Meter,
    threads: NonZeroUsize,
    progress: &dyn Progress,
) -> Result<(Base, Vec<Layer>)> {
    ensure!(!source.layers.is_empty(), "the image has no layers");
    progress.begin("reading layers", 0);
    // The largest first: none is left that takes longer than all others together.
    let mut order: Vec<usize> = (0..source.layers.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(source.layers[*index].size_bytes));
    let layers = in_parallel(threads, order.len(), |turn, keep_going| {
        let index = order[turn];
        let digest = &source.layers[index].digest;
        let read = || {
            let stream = (source.open)(index)?;
            if index < base_layers {
                let role = if index == 0 {
                    Role::Commit
                } else {
                    Role::Chunk
                };
                encapsulated::read(stream, role, store, meter, progress, keep_going)
                    .map(ReadLayer::Base)
            } else {
                layer::read(stream, digest, store, meter, progress, keep_going)
                    .map(ReadLayer::Derived)
            }
        };
        read().with_context(|| format!("importing layer {digest}"))
    })?;
    progress.end();

    let mut layers: Vec<(usize, ReadLayer)> = order.into_iter().zip(layers).collect();
    layers.sort_by_key(|(index, _)| *index);
    let layers = layers.into_iter().map(|(_, layer)| layer);
    let mut base = Base::default();
    let mut derived = Vec::new();
    for (facts, layer) in source.layers.iter().zip(layers) {
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
