//! Checksums of the files of the merged tree and of the layers, none computed twice.
//!
//! Files of the base bring theirs along; they are hashed again only if their label has changed.
//! Files of layers are hashed once for each label they have: the layer's own commit and the merged
//! tree label them by the same path, and hard links in one directory mostly get the same label.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use anyhow::{Context, Result};

use super::commit::Objects;
use super::layer_tree::LayerTree;
use super::merge::{Origin, Union};
use super::object::{self, Checksum, Kind, Object, ObjectName};
use super::parallel::in_parallel;
use crate::progress::Progress;
use crate::tree::{InodeId, Meta, Node, Tree, Xattrs};

/// Checksums by inode; directories and inodes without a name have none.
pub(super) type Checksums = Vec<Option<Checksum>>;

/// Checksums of all files.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) union: Checksums,
    pub(super) layers: Vec<Checksums>,
}

/// Finds or computes all checksums, once everything has its label. `base` has those of the base
/// commit's files by inode of the union, `objects` what these files were before.
pub(super) fn run(
    union: &Union,
    layers: &[LayerTree],
    base: &Checksums,
    objects: &Objects,
    threads: NonZeroUsize,
    progress: &dyn Progress,
) -> Result<Hashed> {
    let mut jobs = Jobs::default();
    let mut layer_plans = Vec::with_capacity(layers.len());
    for (position, layer) in layers.iter().enumerate() {
        layer_plans.push(plan(&layer.tree, |id, meta, node| {
            let content = Source::Layer(position, layer.original(id));
            Known::ByJob(jobs.add(content, meta, node))
        }));
    }
    let union_plan = plan(&union.tree, |id, meta, node| {
        let content = match union.origins[id.index()] {
            Origin::Base => {
                let checksum = base[id.index()].expect("files of the base have checksums");
                if has_xattrs(objects, checksum, &meta.xattrs) {
                    return Known::Already(checksum);
                }
                Source::Base(checksum)
            }
            Origin::Layer(position, inode) => {
                Source::Layer(position, layers[position].original(inode))
            }
        };
        Known::ByJob(jobs.add(content, meta, node))
    });
    let results = jobs.run(threads, progress)?;
    let resolve = |plan: Vec<Option<Known>>| {
        let checksum = |known| match known {
            Known::Already(checksum) => checksum,
            Known::ByJob(job) => results[job],
        };
        plan.into_iter().map(|known| known.map(checksum)).collect()
    };
    Ok(Hashed {
        union: resolve(union_plan),
        layers: layer_plans.into_iter().map(resolve).collect(),
    })
}

fn has_xattrs(objects: &Objects, checksum: Checksum, xattrs: &Xattrs) -> bool {
    let name = ObjectName::new(checksum, Kind::File);
    matches!(objects.get(&name), Some(Object::File { meta, .. }) if meta.xattrs == *xattrs)
}

/// How a file's checksum is known.
#[derive(Clone, Copy, Debug)]
enum Known {
    Already(Checksum),
    /// From the job at this position.
    ByJob(usize),
}

/// Asks for every file that has a name.
fn plan(tree: &Tree, mut ask: impl FnMut(InodeId, &Meta, &Node) -> Known) -> Vec<Option<Known>> {
    let mut plan = vec![None; tree.len()];
    tree.walk(|_, id| {
        let inode = tree.inode(id);
        if !matches!(inode.node, Node::Directory(_)) {
            plan[id.index()] = Some(ask(id, &inode.meta, &inode.node));
        }
    });
    plan
}

/// Where content and metadata but for the attributes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Base(Checksum),
    Layer(usize, InodeId),
}

/// Files to be hashed.
#[derive(Debug, Default)]
struct Jobs {
    files: Vec<(Meta, Node)>,
    positions: BTreeMap<(Source, Xattrs), usize>,
}

impl Jobs {
    /// Takes a file and returns its position among the results.
    fn add(&mut self, source: Source, meta: &Meta, node: &Node) -> usize {
        let files = &mut self.files;
        *self
            .positions
            .entry((source, meta.xattrs.clone()))
            .or_insert_with(|| {
                files.push((meta.clone(), node.clone()));
                files.len() - 1
            })
    }

    /// Hashes all files on several threads.
    fn run(self, threads: NonZeroUsize, progress: &dyn Progress) -> Result<Vec<Checksum>> {
        progress.begin("hashing files of layers", self.bytes());
        let results = in_parallel(threads, self.files.len(), |index, keep_going| {
            keep_going()?;
            let (meta, node) = &self.files[index];
            let checksum = object::file_checksum(meta, node)?;
            progress.advance(bytes_of(node));
            Ok(checksum)
        })
        .context("hashing the files of layers")?;
        progress.end();
        Ok(results)
    }

    fn bytes(&self) -> u64 {
        // Below the store's limit, times the few labels a file can have.
        self.files
            .iter()
            .map(|(_, node)| bytes_of(node))
            .fold(0, u64::saturating_add)
    }
}

fn bytes_of(node: &Node) -> u64 {
    match node {
        Node::File(content) => content.len(),
        _ => 0,
    }
}
