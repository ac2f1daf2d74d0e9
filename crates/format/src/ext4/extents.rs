//! Extent trees: which blocks of the file system are which blocks of a file.

use anyhow::{Result, ensure};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::checksum;
use super::format::{EXTENT_MAGIC, ExtentHeader, ExtentIndex, ExtentLeaf, MAP_BYTES};
use super::space::Run;

/// Bytes of the header and of either kind of entry.
const RECORD: usize = size_of::<ExtentHeader>();
/// Entries that fit the inode.
const ROOT_ENTRIES: usize = MAP_BYTES / RECORD - 1;

/// How many blocks beside the inode the tree of so many extents takes.
pub(super) fn node_count(extents: usize, block_len: usize) -> usize {
    let mut nodes = 0;
    let mut level = extents;
    while level > ROOT_ENTRIES {
        level = level.div_ceil(entries_per_block(block_len));
        nodes += level;
    }
    nodes
}

fn entries_per_block(block_len: usize) -> usize {
    block_len / RECORD - 1
}

/// A whole tree, ready to be written.
pub(super) struct ExtentTree {
    /// For the inode.
    pub(super) root: [u8; MAP_BYTES],
    /// Block number and contents of every other node.
    pub(super) nodes: Vec<(u64, Vec<u8>)>,
}

/// The tree of `runs`, with its nodes in the blocks `places`, [`node_count`] of them. `seed` is the
/// inode's, for the nodes' sums.
pub(super) fn tree(
    runs: &[Run],
    places: &[u64],
    block_len: usize,
    seed: u32,
) -> Result<ExtentTree> {
    let mut logical = 0;
    let mut level = Vec::with_capacity(runs.len());
    for run in runs {
        let entry = ExtentLeaf {
            logical: U32::new(logical),
            len: U16::new(run.len.try_into()?),
            start_high: U16::new((run.start >> 32).try_into()?),
            start: low_half(run.start),
        };
        level.push((logical, entry.as_bytes().to_vec()));
        logical += u32::try_from(run.len)?;
    }
    let mut places = places.iter();
    let mut nodes = Vec::new();
    let mut depth = 0;
    while level.len() > ROOT_ENTRIES {
        let mut above = Vec::new();
        for part in level.chunks(entries_per_block(block_len)) {
            let place = *places.next().expect("node_count places are given");
            let mut node = vec![0; block_len];
            fill(&mut node, part, depth, entries_per_block(block_len))?;
            // The sum follows the last entry there is room for.
            let tail = RECORD * (1 + entries_per_block(block_len));
            let sum = checksum::extend(seed, &node[..tail]);
            node[tail..tail + 4].copy_from_slice(&sum.to_le_bytes());
            nodes.push((place, node));
            let entry = ExtentIndex {
                logical: U32::new(part[0].0),
                node: low_half(place),
                node_high: U16::new((place >> 32).try_into()?),
                unused: U16::ZERO,
            };
            above.push((part[0].0, entry.as_bytes().to_vec()));
        }
        level = above;
        depth += 1;
    }
    ensure!(places.next().is_none(), "an extent tree has spare blocks");
    let mut root = [0; MAP_BYTES];
    fill(&mut root, &level, depth, ROOT_ENTRIES)?;
    Ok(ExtentTree { root, nodes })
}

/// The low 32 bits; the high ones are stored elsewhere.
pub(super) fn low_half(value: u64) -> U32 {
    U32::new((value & u64::from(u32::MAX)) as u32)
}

fn fill(node: &mut [u8], entries: &[(u32, Vec<u8>)], depth: u16, max: usize) -> Result<()> {
    let header = ExtentHeader {
        magic: U16::new(EXTENT_MAGIC),
        entries: U16::new(entries.len().try_into()?),
        max: U16::new(max.try_into()?),
        depth: U16::new(depth),
        generation: U32::ZERO,
    };
    node[..RECORD].copy_from_slice(header.as_bytes());
    for (slot, (_, entry)) in node[RECORD..].chunks_exact_mut(RECORD).zip(entries) {
        slot.copy_from_slice(entry);
    }
    Ok(())
}
