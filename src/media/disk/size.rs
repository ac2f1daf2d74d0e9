//! How large a root file system has to be.
//!
//! Rule of coreos-assembler `src/estimate-commit-disk-size` and its manifests: blocks of all files
//! and half a KiB an inode, 40 % more, and a MiB. The first boot grows it to the disk it finds.

use std::collections::BTreeSet;

use crate::tree::{InodeId, Node, Tree};

const MIB: u64 = 1 << 20;

const BLOCK: u64 = 4096;

const INODE: u64 = 512;

/// Bytes of a root file system for `tree`, whole MiB.
pub(super) fn root_bytes(tree: &Tree) -> u64 {
    let mut inodes: BTreeSet<InodeId> = BTreeSet::new();
    let mut blocks = 0;
    tree.walk(|_, id| {
        if inodes.insert(id)
            && let Node::File(content) = &tree.inode(id).node
        {
            blocks += content.len() / BLOCK + 1;
        }
    });
    let data = (blocks * BLOCK).div_ceil(MIB);
    let metadata = (inodes.len() as u64 * INODE).div_ceil(MIB);
    ((data + metadata) * 7 / 5 + 1) * MIB
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta};

    #[test]
    fn files_count_once_however_many_names_they_have() {
        let mut tree = Tree::new(Meta::root(0o755));
        let content = Content::bytes(vec![0; 10 << 20]);
        let file = tree.create(Tree::ROOT, "a", Meta::root(0o644), Node::File(content));
        tree.link(Tree::ROOT, b"b", file);
        // 11 MiB of blocks, 1 of inodes.
        assert_eq!(root_bytes(&tree), 17 * MIB);
    }
}
