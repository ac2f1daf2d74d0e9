//! Where the blocks of a fork are: extent lists and extent trees.

use anyhow::{Context, Result, bail, ensure};
use zerocopy::big_endian::{U16, U64};

use super::Reader;
use super::blocks::record;
use super::inode::Fork;
use crate::xfs::format::{FORMAT_EXTENTS, FORMAT_TREE, MapTreeHeader};

/// Extents of one fork, fifty times those of the most scattered file seen: what a crafted image can
/// cost.
const EXTENTS_MAX: usize = 1 << 22;
/// Levels of an extent tree; the kernel takes at most 9 for a data fork of 4 KiB blocks.
const LEVELS_MAX: u16 = 9;
/// Blocks in one extent.
const COUNT_BITS: u32 = 21;
/// Largest offset in blocks of a fork.
const OFFSET_BITS: u32 = 54;
/// Bytes of an extent record, and of a key with its pointer.
const RECORD_SIZE: usize = 16;
const LONG_HEADER_SIZE: usize = size_of::<MapTreeHeader>();
const NO_BLOCK: u64 = u64::MAX;

/// A run of a fork's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block of the fork.
    pub offset: u64,
    /// Position in the image, in bytes.
    pub position: u64,
    /// Blocks.
    pub count: u64,
    /// Reserved, reads as zeros.
    pub unwritten: bool,
}

/// All blocks of a fork.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    /// In order of their offsets.
    pub(super) extents: Vec<Extent>,
    /// Positions in the image of the tree's own blocks.
    pub(super) tree: Vec<u64>,
}

impl Map {
    /// Position of block `offset` of the fork; none in a hole.
    pub(super) fn position(&self, offset: u64, block_size: u64) -> Option<u64> {
        let after = self
            .extents
            .partition_point(|extent| extent.offset <= offset);
        let extent = self.extents[..after].last()?;
        let inside = offset - extent.offset;
        (inside < extent.count).then(|| extent.position + inside * block_size)
    }
}

impl Reader {
    /// The blocks of a fork of inode `owner`.
    pub(super) fn map(&self, owner: u64, fork: &Fork) -> Result<Map> {
        let mut map = Map::default();
        let bytes: &[u8] = &fork.bytes;
        match fork.format {
            FORMAT_EXTENTS => {
                let count = usize::try_from(fork.extents)?;
                ensure!(
                    count <= bytes.len() / RECORD_SIZE,
                    "{count} extents do not fit the {} bytes of the fork",
                    bytes.len()
                );
                self.take_extents(bytes, 0, count, &mut map)?;
            }
            FORMAT_TREE => self.tree(owner, fork, &mut map)?,
            _ => return Ok(map),
        }
        ensure!(
            map.extents.len() as u64 == fork.extents,
            "it has {} extents instead of {}",
            map.extents.len(),
            fork.extents
        );
        Ok(map)
    }

    fn tree(&self, owner: u64, fork: &Fork, map: &mut Map) -> Result<()> {
        let bytes: &[u8] = &fork.bytes;
        ensure!(
            fork.extents > (bytes.len() / RECORD_SIZE) as u64,
            "its {} extents have a tree, but would fit the fork",
            fork.extents
        );
        let level: U16 = record(bytes, 0)?;
        let count: U16 = record(bytes, 2)?;
        let room = bytes.len().saturating_sub(4) / RECORD_SIZE;
        let (level, count) = (level.get(), usize::from(count.get()));
        ensure!(
            (1..LEVELS_MAX).contains(&level) && (1..=room).contains(&count),
            "the root of its extent tree has level {level} and {count} of {room} children"
        );
        let mut children = children(bytes, 4, count, room)?;
        let mut level = level;
        while level > 0 {
            level -= 1;
            children = self.tree_level(owner, level, &children, map)?;
        }
        Ok(())
    }

    /// Reads the blocks of one level, and returns those of the next.
    fn tree_level(
        &self,
        owner: u64,
        level: u16,
        blocks: &[(u64, u64)],
        map: &mut Map,
    ) -> Result<Vec<(u64, u64)>> {
        let room = (self.block_size()? - LONG_HEADER_SIZE) / RECORD_SIZE;
        let mut below = Vec::new();
        for (index, (key, number)) in blocks.iter().enumerate() {
            let position = self.block_position(*number)?;
            ensure!(
                map.tree.len() < EXTENTS_MAX,
                "its extent tree has more than {EXTENTS_MAX} blocks"
            );
            map.tree.push(position);
            let (header, bytes) = self.block::<MapTreeHeader>(position, owner)?;
            let count = usize::from(header.records.get());
            ensure!(
                header.magic == *b"BMA3" && header.level.get() == level,
                "the block at {position} is not level {level} of an extent tree"
            );
            // Only the one child of a root may have fewer.
            let least = if blocks.len() > 1 { room / 2 } else { 1 };
            ensure!(
                (least..=room).contains(&count),
                "the extent tree block at {position} has {count} records, not {least} to {room}"
            );
            let neighbour = |index: Option<usize>| {
                index
                    .and_then(|index| blocks.get(index))
                    .map_or(NO_BLOCK, |block| block.1)
            };
            ensure!(
                header.left.get() == neighbour(index.checked_sub(1))
                    && header.right.get() == neighbour(index.checked_add(1)),
                "the extent tree block at {position} is not linked with its neighbours"
            );
            let first = if level == 0 {
                let first = map.extents.len();
                self.take_extents(&bytes, LONG_HEADER_SIZE, count, map)?;
                map.extents[first].offset
            } else {
                let found = children(&bytes, LONG_HEADER_SIZE, count, room)?;
                let first = found[0].0;
                below.extend(found);
                first
            };
            ensure!(
                first == *key,
                "the extent tree block at {position} starts at {first} instead of {key}"
            );
        }
        Ok(below)
    }

    /// Adds `count` extents that lie from `start` of `bytes` on.
    fn take_extents(&self, bytes: &[u8], start: usize, count: usize, map: &mut Map) -> Result<()> {
        for index in 0..count {
            let at = start + index * RECORD_SIZE;
            let high: U64 = record(bytes, at)?;
            let low: U64 = record(bytes, at + 8)?;
            let (high, low) = (high.get(), low.get());
            let offset = high >> 9 & ((1 << OFFSET_BITS) - 1);
            let number = (high & 0x1ff) << 43 | low >> COUNT_BITS;
            let count = low & ((1 << COUNT_BITS) - 1);
            let end = map
                .extents
                .last()
                .map_or(0, |last| last.offset + last.count);
            ensure!(
                count > 0 && offset >= end,
                "its extent of {count} blocks at {offset} comes after the one up to {end}"
            );
            if map.extents.len() >= EXTENTS_MAX {
                bail!("it has more than {EXTENTS_MAX} extents");
            }
            let (group, block) = self.split_block(number, count)?;
            map.extents.push(Extent {
                offset,
                position: self.group_position(group, block),
                count,
                unwritten: high >> 63 != 0,
            });
        }
        Ok(())
    }
}

/// Keys and block numbers of a node whose pointers follow room for `room` keys.
fn children(bytes: &[u8], start: usize, count: usize, room: usize) -> Result<Vec<(u64, u64)>> {
    let mut found: Vec<(u64, u64)> = Vec::with_capacity(count);
    for index in 0..count {
        let key: U64 = record(bytes, start + index * 8).context("reading a key")?;
        let child: U64 = record(bytes, start + (room + index) * 8).context("reading a pointer")?;
        ensure!(
            found.last().is_none_or(|last| last.0 < key.get()),
            "the keys of its extent tree are out of order at {}",
            key.get()
        );
        found.push((key.get(), child.get()));
    }
    Ok(found)
}
