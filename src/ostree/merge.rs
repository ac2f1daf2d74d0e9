//! Union of the base and the layers, as libostree checks commits out over each other.
//!
//! For each directory of a layer, files in byte order, then directories:
//!
//! - `.wh.NAME` removes NAME, also when this layer has put it there before (as byte order has it).
//! - A file replaces what had its name, a directory too.
//! - A directory that is there keeps owner, mode and attributes, *whatever the layer says*, unless
//!   it holds `.wh..wh..opq`: then it is made anew. OCI says otherwise; nodes do as we do here, on
//!   every upgrade, so the difference is told as a warning.
//! - A directory replaces a file or symlink (libostree 2024.5 and later; before, the import of such
//!   an image failed, or wrote through the symlink).
//!
//! Source: libostree `ostree-repo-checkout.c`, mode "union files" with whiteouts.

use anyhow::{Result, ensure};

use super::layer_tree::LayerTree;
use crate::tree::{InodeId, Meta, Node, Tree};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Directories without which a deployed system does not come up: file systems are mounted on them, or
/// its own files are there. libostree 2022.7 was run: it deploys an image in which one of them is
/// something else without a word, and `/etc` is that then. `/ostree` and `/tmp` are not among them, which
/// are symlinks in most images.
const PLACES: [&str; 9] = [
    "usr", "usr/etc", "var", "boot", "sysroot", "run", "dev", "proc", "sys",
];

/// Where a file or directory of the union comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Base,
    /// The layer's position among the derived ones, and its inode there.
    Layer(usize, InodeId),
}

/// Base and layers as one tree, one inode a name.
#[derive(Debug)]
pub(super) struct Union {
    pub(super) tree: Tree,
    /// By inode.
    pub(super) origins: Vec<Origin>,
    pub(super) warnings: Vec<String>,
    layers: usize,
    has_root: bool,
}

impl Union {
    /// Nothing, or the tree of the base commit.
    pub(super) fn new(base: Option<Tree>) -> Self {
        let has_root = base.is_some();
        let tree = base.unwrap_or_else(|| Tree::new(Meta::root(0o755)));
        Self {
            origins: vec![Origin::Base; tree.len()],
            tree,
            warnings: Vec::new(),
            layers: 0,
            has_root,
        }
    }

    /// Lays the next layer on top.
    pub(super) fn add(&mut self, layer: &LayerTree) -> Result<()> {
        let (source, digest) = (&layer.tree, &layer.digest);
        if !self.has_root || source.child(Tree::ROOT, OPAQUE).is_some() {
            *self.tree.inode_mut(Tree::ROOT) = empty_directory(source, Tree::ROOT);
            self.has_root = true;
        }
        let mut lost_metadata = Vec::new();
        self.warn_if_lost(layer, Tree::ROOT, Tree::ROOT, b"", &mut lost_metadata);
        let mut open = vec![(Tree::ROOT, Tree::ROOT, Vec::new())];
        while let Some((from, to, path)) = open.pop() {
            let path_of = |name: &[u8]| match path.is_empty() {
                true => name.to_vec(),
                false => [&path, &b"/"[..], name].concat(),
            };
            for (name, id) in source.children(from) {
                if source.is_directory(id) {
                    continue;
                }
                match name.strip_prefix(WHITEOUT) {
                    Some(hidden) if !matches!(source.inode(id).node, Node::Symlink(_)) => {
                        ensure!(
                            !matches!(hidden, b"" | b"." | b".."),
                            "the whiteout {:?} names nothing that can be removed",
                            String::from_utf8_lossy(&path_of(name))
                        );
                        self.tree.unlink(to, hidden);
                    }
                    _ => {
                        let inode = source.inode(id).clone();
                        let copy = self.adopt(inode.meta, inode.node, id);
                        self.tree.link(to, name, copy);
                    }
                }
            }
            for (name, id) in source.children(from) {
                if !source.is_directory(id) {
                    continue;
                }
                let path = path_of(name);
                let is_opaque = source
                    .child(id, OPAQUE)
                    .is_some_and(|mark| !source.is_directory(mark));
                let there = self.tree.child(to, name);
                let directory = match there {
                    Some(there) if self.tree.is_directory(there) && !is_opaque => {
                        self.warn_if_lost(layer, id, there, &path, &mut lost_metadata);
                        there
                    }
                    _ => {
                        if there.is_some_and(|there| !self.tree.is_directory(there)) {
                            self.warnings.push(format!(
                                "layer {digest} puts a directory where {} was a file or symlink; \
                                 nodes with libostree before 2024.5 cannot import that",
                                shown(&path)
                            ));
                        }
                        let inode = empty_directory(source, id);
                        let copy = self.adopt(inode.meta, inode.node, id);
                        self.tree.link(to, name, copy);
                        copy
                    }
                };
                open.push((id, directory, path));
            }
        }
        if let Some(first) = lost_metadata.first() {
            self.warnings.push(format!(
                "layer {digest} changes owner, mode or attributes of {}; ostree keeps those of the \
                 layers below: {}",
                match lost_metadata.len() {
                    1 => "a directory".to_owned(),
                    count => format!("{count} directories"),
                },
                match lost_metadata.len() {
                    1 => first.clone(),
                    _ => format!("{first} and others"),
                },
            ));
        }
        self.layers += 1;
        Ok(())
    }

    /// Warns of what stands where a directory has to be.
    pub(super) fn warn_of_places(&mut self, layers: &[LayerTree]) {
        for place in PLACES {
            let Some(id) = self.tree.lookup(place) else {
                continue;
            };
            let what = match self.tree.inode(id).node {
                Node::Directory(_) => continue,
                Node::Symlink(_) => "a symlink",
                _ => "a file",
            };
            let whose = match self.origins[id.index()] {
                Origin::Base => "the ostree commit".to_owned(),
                Origin::Layer(layer, _) => format!("layer {}", layers[layer].digest),
            };
            let place = place.trim_start_matches("usr/");
            self.warnings.push(format!(
                "{whose} has {what} where the directory /{place} has to be; no machine comes up with that"
            ));
        }
    }

    /// Adds an inode of the layer being laid on top.
    fn adopt(&mut self, meta: Meta, node: Node, from: InodeId) -> InodeId {
        self.origins.push(Origin::Layer(self.layers, from));
        self.tree.add(meta, node)
    }

    fn warn_if_lost(
        &self,
        layer: &LayerTree,
        from: InodeId,
        to: InodeId,
        path: &[u8],
        lost: &mut Vec<String>,
    ) {
        let wanted = &layer.tree.inode(from).meta;
        let kept = &self.tree.inode(to).meta;
        let essence = |meta: &Meta| {
            let xattrs = meta.xattrs.without(b"security.selinux");
            (meta.uid, meta.gid, meta.mode, xattrs)
        };
        if layer.described[from.index()] && essence(wanted) != essence(kept) {
            lost.push(shown(path));
        }
    }

    /// Removes empty files that a build leaves at these paths, which it mounts its own over.
    pub(super) fn remove_build_leftovers(&mut self) {
        let Some(etc) = self.tree.lookup("usr/etc") else {
            return;
        };
        for name in [&b"hostname"[..], b"resolv.conf"] {
            let is_empty_file = self.tree.child(etc, name).is_some_and(
                |id| matches!(&self.tree.inode(id).node, Node::File(content) if content.is_empty()),
            );
            if is_empty_file {
                self.tree.unlink(etc, name);
            }
        }
    }
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

fn empty_directory(source: &Tree, id: InodeId) -> crate::tree::Inode {
    crate::tree::Inode {
        meta: source.inode(id).meta.clone(),
        node: Node::Directory(Default::default()),
    }
}
