//! Extents of a fork: in the inode, or in a tree whose root is in the inode.

use anyhow::Result;
use zerocopy::big_endian::{U16, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::crc::seal;
use super::format::{ExtentRecord, MAP_TREE_CRC, MapTreeHeader, NULL_WIDE};
use super::geometry::{BLOCK_LEN, Block, Geometry};
use super::hashed::{Fork, Put, Run, fill, part, parts};

/// Most blocks of an extent: the record has 21 bits for them.
pub(super) const MAX_EXTENT_BLOCKS: u32 = (1 << 21) - 1;
/// Records of a leaf, and keys with pointers of a node.
const BLOCK_RECORDS: usize = (BLOCK_LEN - size_of::<MapTreeHeader>()) / size_of::<ExtentRecord>();
/// Bytes of the root before its keys: level, count.
const ROOT_HEADER_LEN: usize = 4;
const KEY_LEN: usize = size_of::<U64>();

/// Whether that many extents fit into a fork of the inode without a tree.
pub(super) fn fit_inline(extents: usize, fork_len: usize) -> bool {
    extents <= fork_len / size_of::<ExtentRecord>()
}

/// Blocks of each level of the tree of that many extents, leaves first; none if they fit into the
/// fork. The root is in the fork.
pub(super) fn tree_levels(extents: usize, fork_len: usize) -> Vec<usize> {
    let mut levels = Vec::new();
    if fit_inline(extents, fork_len) {
        return levels;
    }
    let mut below = extents;
    loop {
        below = parts(below, BLOCK_RECORDS);
        levels.push(below);
        if below <= root_records(fork_len) {
            return levels;
        }
    }
}

/// Keys and pointers that the root has room for; at least 2, else trees would never end.
fn root_records(fork_len: usize) -> usize {
    let records = (fork_len - ROOT_HEADER_LEN) / (2 * KEY_LEN);
    assert!(records >= 2, "a fork of {fork_len} bytes can't hold a tree");
    records
}

fn records(runs: &[Run], geometry: &Geometry) -> Vec<ExtentRecord> {
    let record = |run: &Run| {
        let block = geometry.fsb(run.start);
        ExtentRecord {
            high: (run.at << 9 | block >> 43).into(),
            low: (block << 21 | u64::from(run.blocks)).into(),
        }
    };
    runs.iter().map(record).collect()
}

/// The fork's bytes in the inode; blocks of the tree go to `tree_blocks`, leaves first.
pub(super) fn put(
    fork: &Fork<'_>,
    fork_len: usize,
    tree_blocks: &[Block],
    geometry: &Geometry,
    put: &mut Put<'_>,
) -> Result<Vec<u8>> {
    let records = records(fork.runs, geometry);
    let levels = tree_levels(records.len(), fork_len);
    if levels.is_empty() {
        return Ok(records.as_bytes().to_vec());
    }
    let mut keys: Vec<U64> = fork.runs.iter().map(|run| run.at.into()).collect();
    let mut pointers: Vec<U64> = Vec::new();
    let mut blocks = tree_blocks;
    for (level, count) in levels.iter().enumerate() {
        let (here, rest) = blocks.split_at(*count);
        blocks = rest;
        let pointer = |index: Option<usize>| {
            let block = index.and_then(|index| here.get(index));
            U64::new(block.map_or(NULL_WIDE, |block| geometry.fsb(*block)))
        };
        let mut keys_above = Vec::with_capacity(*count);
        for (index, block) in here.iter().enumerate() {
            let range = part(keys.len(), *count, index);
            let mut header = MapTreeHeader::new_zeroed();
            header.magic = *b"BMA3";
            header.level = U16::new(level as u16);
            header.records = U16::new(range.len() as u16);
            header.left = pointer(index.checked_sub(1));
            header.right = pointer(Some(index + 1));
            header.daddr = block.daddr().into();
            header.uuid = fork.uuid;
            header.owner = fork.owner.into();
            let mut bytes = vec![0; BLOCK_LEN];
            if level == 0 {
                fill(
                    &mut bytes,
                    header.as_bytes(),
                    records[range.clone()].as_bytes(),
                );
            } else {
                fill(
                    &mut bytes,
                    header.as_bytes(),
                    keys[range.clone()].as_bytes(),
                );
                let at = size_of::<MapTreeHeader>() + BLOCK_RECORDS * KEY_LEN;
                fill(&mut bytes[at..], &[], pointers[range.clone()].as_bytes());
            }
            seal(&mut bytes, MAP_TREE_CRC);
            put(*block, &bytes)?;
            keys_above.push(keys[range.start]);
        }
        pointers = (0..*count).map(|index| pointer(Some(index))).collect();
        keys = keys_above;
    }
    let mut root = vec![0; fork_len];
    let head = [U16::new(levels.len() as u16), U16::new(keys.len() as u16)];
    fill(&mut root, head.as_bytes(), keys.as_bytes());
    // Pointers lie behind room for as many keys as the fork could hold.
    let at = ROOT_HEADER_LEN + root_records(fork_len) * KEY_LEN;
    fill(&mut root[at..], &[], pointers.as_bytes());
    Ok(root)
}
