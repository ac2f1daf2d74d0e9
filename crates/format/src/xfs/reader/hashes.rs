//! Trees of name hashes, which large directories and large sets of attributes have.

use anyhow::{Context, Result, ensure};

use super::Reader;
use super::blocks::record;
use super::extents::Map;
use crate::xfs::format::{HashCounts, HashEntry, HashedHeader, MAGIC_NODE};

/// Levels above the leaves; the kernel takes at most 5 with them.
const LEVELS_MAX: u16 = 5;
/// Where entries start in nodes and in leaves of directories.
pub(super) const ENTRIES: usize = size_of::<HashedHeader>() + size_of::<HashCounts>();
/// Blocks of one tree, for a hundred million names: what a crafted image can cost.
const BLOCKS_MAX: usize = 1 << 18;

/// A block of a tree, and the last hash in it as the block above says.
#[derive(Clone, Copy)]
struct Child {
    hash: Option<u32>,
    block: u32,
}

impl Reader {
    /// Calls `leaf` for every leaf of the tree with root `root`, in order; it returns the last hash
    /// of the leaf, if there is any.
    pub(super) fn leaves(
        &self,
        owner: u64,
        map: &Map,
        root: u32,
        leaf_magic: u16,
        mut leaf: impl FnMut(&[u8]) -> Result<Option<u32>>,
    ) -> Result<Vec<u32>> {
        let (header, bytes) = self.hash_block(owner, map, root)?;
        let mut level = 0;
        if header.magic.get() == MAGIC_NODE {
            level = record::<HashCounts>(&bytes, size_of::<HashedHeader>())?
                .level_or_stale
                .get();
            ensure!(
                (1..LEVELS_MAX).contains(&level),
                "the root of its hashes has level {level}"
            );
        }
        let mut blocks = vec![Child {
            hash: None,
            block: root,
        }];
        let mut all = vec![root];
        loop {
            let mut below = Vec::new();
            for (index, child) in blocks.iter().enumerate() {
                let last = self
                    .tree_block(owner, map, &blocks, index, |header, bytes| {
                        if level == 0 {
                            ensure!(header.magic.get() == leaf_magic, "it is not a leaf");
                            return leaf(bytes);
                        }
                        let children = node(header, bytes, level)?;
                        below.extend_from_slice(&children);
                        Ok(children.last().and_then(|child| child.hash))
                    })
                    .with_context(|| format!("in block {:#x} of its hashes", child.block))?;
                ensure!(
                    child.hash.is_none() || child.hash == last,
                    "block {:#x} of its hashes does not end with the hash that its parent says",
                    child.block
                );
            }
            if level == 0 {
                return Ok(all);
            }
            ensure!(
                all.len() + below.len() <= BLOCKS_MAX,
                "its hashes have more than {BLOCKS_MAX} blocks"
            );
            all.extend(below.iter().map(|child| child.block));
            level -= 1;
            blocks = below;
        }
    }

    /// Reads block `index` of one level's `blocks`, and has it parsed.
    fn tree_block(
        &self,
        owner: u64,
        map: &Map,
        blocks: &[Child],
        index: usize,
        parse: impl FnOnce(&HashedHeader, &[u8]) -> Result<Option<u32>>,
    ) -> Result<Option<u32>> {
        let (header, bytes) = self.hash_block(owner, map, blocks[index].block)?;
        let neighbour = |index: Option<usize>| {
            index
                .and_then(|index| blocks.get(index))
                .map_or(0, |child| child.block)
        };
        ensure!(
            header.previous.get() == neighbour(index.checked_sub(1))
                && header.next.get() == neighbour(index.checked_add(1)),
            "it is not linked with its neighbours"
        );
        parse(&header, &bytes)
    }

    /// Block `block` of a fork, which must be one of hashes.
    pub(super) fn hash_block(
        &self,
        owner: u64,
        map: &Map,
        block: u32,
    ) -> Result<(HashedHeader, Vec<u8>)> {
        let position = map
            .position(block.into(), self.facts.block_size.into())
            .with_context(|| format!("block {block:#x} of its hashes is in a hole"))?;
        self.block::<HashedHeader>(position, owner)
    }
}

/// Children of a node.
fn node(header: &HashedHeader, bytes: &[u8], level: u16) -> Result<Vec<Child>> {
    let counts: HashCounts = record(bytes, size_of::<HashedHeader>())?;
    let count = usize::from(counts.count.get());
    let room = (bytes.len() - ENTRIES) / size_of::<HashEntry>();
    ensure!(
        header.magic.get() == MAGIC_NODE
            && counts.level_or_stale.get() == level
            && (1..=room).contains(&count),
        "it is not a node of level {level} with 1 to {room} children"
    );
    let mut children: Vec<Child> = Vec::with_capacity(count);
    for index in 0..count {
        let entry: HashEntry = record(bytes, ENTRIES + index * size_of::<HashEntry>())?;
        let hash = Some(entry.hash.get());
        ensure!(
            children.last().is_none_or(|last| last.hash <= hash),
            "its hashes are out of order"
        );
        children.push(Child {
            hash,
            block: entry.address.get(),
        });
    }
    Ok(children)
}
