//! What directories and attributes share: name hashes, blocks sorted by hash, and the nodes above
//! them.
//!
//! A tree of these lies in one fork: the root first, lower nodes behind it, then the leaves.

use anyhow::Result;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout};

use super::crc::seal;
use super::format::{HASHED_CRC, HashCounts, HashEntry, HashedHeader, MAGIC_NODE};
use super::geometry::{BLOCK_LEN, Block};

/// Header of a node, and of a directory's leaves.
#[derive(Clone, Copy, Debug, FromZeros, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct NodeHeader {
    pub(super) hashed: HashedHeader,
    pub(super) counts: HashCounts,
}
const _: () = assert!(size_of::<NodeHeader>() == 0x40);

/// Entries of a node, and of a directory's leaf below nodes.
pub(super) const NODE_ENTRIES: usize =
    (BLOCK_LEN - size_of::<NodeHeader>()) / size_of::<HashEntry>();

/// A row of blocks of a fork that lie side by side on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block within the file or fork.
    pub(super) at: u64,
    pub(super) start: Block,
    pub(super) blocks: u32,
    pub(super) purpose: Purpose,
}

/// What a row of blocks holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// The data fork.
    Data,
    /// The attribute fork.
    Attributes,
    /// The data fork's tree of extents.
    Tree,
}

/// What a fork's metadata blocks are marked with, and where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork<'a> {
    /// In the order of [`Run::at`].
    pub(super) runs: &'a [Run],
    pub(super) uuid: [u8; 16],
    /// Inode number.
    pub(super) owner: u64,
}

/// Takes finished blocks to their place.
pub(super) type Put<'a> = dyn FnMut(Block, &[u8]) -> Result<()> + 'a;

impl Fork<'_> {
    /// Where block `at` of the fork lies.
    pub(super) fn locate(&self, at: u64) -> Block {
        let after = self.runs.partition_point(|run| run.at <= at);
        let run = &self.runs[after - 1];
        debug_assert!(at - run.at < u64::from(run.blocks));
        run.start.plus(at - run.at)
    }

    /// Marks and seals a block that starts with a [`HashedHeader`], and puts it at block `at` of the
    /// fork.
    pub(super) fn put_hashed(&self, at: u64, bytes: &mut [u8], put: &mut Put<'_>) -> Result<()> {
        let block = self.locate(at);
        bytes[0x10..0x18].copy_from_slice(&block.daddr().to_be_bytes());
        bytes[0x20..0x30].copy_from_slice(&self.uuid);
        bytes[0x30..0x38].copy_from_slice(&self.owner.to_be_bytes());
        seal(bytes, HASHED_CRC);
        put(block, bytes)
    }
}

/// The hash by which names are sorted.
pub(super) fn name_hash(name: &[u8]) -> u32 {
    name.iter()
        .fold(0u32, |hash, byte| hash.rotate_left(7) ^ u32::from(*byte))
}

/// How many parts of at most `most` things, as even as can be, make up `count`; part `index` is
/// [`part`].
pub(super) fn parts(count: usize, most: usize) -> usize {
    count.div_ceil(most)
}

/// Which things are in part `index` of `parts`.
pub(super) fn part(count: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    index * count / parts..(index + 1) * count / parts
}

/// Nodes of each level above `leaves` leaves, lowest first; none above a single leaf.
pub(super) fn node_levels(leaves: usize) -> Vec<usize> {
    let mut levels = Vec::new();
    let mut below = leaves;
    while below > 1 {
        below = parts(below, NODE_ENTRIES);
        levels.push(below);
    }
    levels
}

/// Puts the nodes above leaves with these last hashes; the root is block `base` of the fork, and the
/// leaves follow the nodes.
pub(super) fn put_nodes(
    last_hashes: &[u32],
    base: u32,
    fork: &Fork<'_>,
    put: &mut Put<'_>,
) -> Result<()> {
    let levels = node_levels(last_hashes.len());
    let nodes: usize = levels.iter().sum();
    // Block numbers of a fork have 32 bits here.
    let mut children_at = base + nodes as u32;
    let mut hashes = last_hashes.to_vec();
    for (index, count) in levels.iter().enumerate() {
        let at = children_at - *count as u32;
        let mut above = Vec::with_capacity(*count);
        for node in 0..*count {
            let range = part(hashes.len(), *count, node);
            let entries: Vec<HashEntry> = range
                .clone()
                .map(|child| HashEntry {
                    hash: hashes[child].into(),
                    address: (children_at + child as u32).into(),
                })
                .collect();
            above.push(hashes[range.end - 1]);
            let mut bytes = vec![0; BLOCK_LEN];
            let mut header = NodeHeader::new_zeroed();
            header.hashed = linked(MAGIC_NODE, at, node, *count);
            header.counts.count = U16::new(entries.len() as u16);
            header.counts.level_or_stale = U16::new(index as u16 + 1);
            fill(&mut bytes, header.as_bytes(), entries.as_bytes());
            fork.put_hashed(u64::from(at) + node as u64, &mut bytes, put)?;
        }
        hashes = above;
        children_at = at;
    }
    Ok(())
}

/// Header of block `index` of `count` that follow each other from block `first` of the fork.
pub(super) fn linked(magic: u16, first: u32, index: usize, count: usize) -> HashedHeader {
    let mut header = HashedHeader::new_zeroed();
    header.magic = magic.into();
    if index > 0 {
        header.previous = U32::new(first + index as u32 - 1);
    }
    if index + 1 < count {
        header.next = U32::new(first + index as u32 + 1);
    }
    header
}

/// Puts `head` at the start of `bytes` and `body` behind it.
pub(super) fn fill(bytes: &mut [u8], head: &[u8], body: &[u8]) {
    bytes[..head.len()].copy_from_slice(head);
    bytes[head.len()..head.len() + body.len()].copy_from_slice(body);
}
