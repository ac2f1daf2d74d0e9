//! Which inodes of a tree are stored, in which order, and how they hang together.

use anyhow::{Result, ensure};

use bake_tree::{InodeId, Tree};

/// Most names of an inode.
const MAX_LINKS: u32 = i32::MAX as u32;
/// Stands for inodes without a name.
const NOWHERE: u32 = u32::MAX;

/// The inodes that can be reached from the root, in the order in which [`Tree::walk`] meets them, so
/// that what lies in one directory lies together on disk.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) order: Vec<InodeId>,
    /// By [`InodeId::index`]: position in `order`.
    positions: Vec<u32>,
    /// By [`InodeId::index`]: the directory of a directory.
    parents: Vec<InodeId>,
    /// By [`InodeId::index`].
    links: Vec<u32>,
}

impl Census {
    pub(super) fn new(tree: &Tree) -> Result<Self> {
        let mut census = Self {
            order: Vec::new(),
            positions: vec![NOWHERE; tree.len()],
            parents: vec![Tree::ROOT; tree.len()],
            links: tree.link_counts(),
        };
        let mut open = vec![Tree::ROOT];
        while let Some(id) = open.pop() {
            if census.positions[id.index()] != NOWHERE {
                ensure!(
                    !tree.is_directory(id),
                    "/{} is a directory with a second name",
                    path(tree, id)
                );
                continue;
            }
            census.positions[id.index()] = u32::try_from(census.order.len())?;
            census.order.push(id);
            ensure!(
                census.links[id.index()] <= MAX_LINKS,
                "/{} has {} names, and XFS takes {MAX_LINKS}",
                path(tree, id),
                census.links[id.index()]
            );
            let first = open.len();
            for (_, child) in tree.children(id) {
                if tree.is_directory(child) {
                    census.parents[child.index()] = id;
                }
                open.push(child);
            }
            open[first..].reverse();
        }
        Ok(census)
    }

    /// Where the inode is in the order; `None` if it has no name.
    pub(super) fn position(&self, id: InodeId) -> Option<usize> {
        let position = self.positions[id.index()];
        (position != NOWHERE).then_some(position as usize)
    }

    /// The directory that a directory is in; the root is in itself.
    pub(super) fn parent(&self, id: InodeId) -> InodeId {
        self.parents[id.index()]
    }

    pub(super) fn links(&self, id: InodeId) -> u32 {
        self.links[id.index()]
    }
}

/// The first path of an inode, for messages.
pub(super) fn path(tree: &Tree, wanted: InodeId) -> String {
    let mut found = None;
    tree.walk(|path, id| {
        if id == wanted && found.is_none() {
            found = Some(path.escape_ascii().to_string());
        }
    });
    found.unwrap_or_default()
}
