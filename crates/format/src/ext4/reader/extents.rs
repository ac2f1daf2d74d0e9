//! Where the blocks of an inode are: extent trees, and the older lists of blocks.

use anyhow::{Context, Result, ensure};
use zerocopy::little_endian::U32;

use super::Reader;
use super::blocks::record;
use super::inode::Entry;
use crate::ext4::checksum;
use crate::ext4::format::{EXTENT_MAGIC, ExtentHeader, ExtentIndex, ExtentLeaf, FLAG_EXTENTS};

/// Levels of a tree, as in the kernel.
const DEPTH_MAX: u16 = 5;
/// Extents of one inode, fifty times those of the most scattered file seen: what a crafted image
/// can cost.
const EXTENTS_MAX: usize = 1 << 22;
/// Blocks in one written extent; an unwritten one has one less, and counts from here.
const WRITTEN_MAX: u16 = 1 << 15;
const HEADER_SIZE: usize = size_of::<ExtentHeader>();
const RECORD_SIZE: usize = size_of::<ExtentLeaf>();
/// Direct blocks in an inode's list of blocks.
const DIRECT: usize = 12;

/// A run of an inode's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block of the contents.
    pub offset: u64,
    /// Position in the image, in bytes.
    pub position: u64,
    /// Blocks.
    pub count: u64,
    /// Reserved, reads as zeros.
    pub unwritten: bool,
}

/// All blocks of an inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    /// In order of their offsets.
    pub(super) extents: Vec<Extent>,
    /// Positions in the image of the tree's own blocks.
    pub(super) tree: Vec<u64>,
}

impl Map {
    /// Position of block `offset` of the contents; none in a hole.
    pub(super) fn position(&self, offset: u64, block_size: u64) -> Option<u64> {
        let after = self
            .extents
            .partition_point(|extent| extent.offset <= offset);
        let extent = self.extents[..after].last()?;
        let inside = offset - extent.offset;
        (inside < extent.count).then(|| extent.position + inside * block_size)
    }

    fn end(&self) -> u64 {
        self.extents
            .last()
            .map_or(0, |last| last.offset + last.count)
    }

    fn push(&mut self, extent: Extent) -> Result<()> {
        ensure!(
            self.extents.len() < EXTENTS_MAX,
            "it has more than {EXTENTS_MAX} extents"
        );
        ensure!(
            extent.count > 0 && extent.offset >= self.end(),
            "its extent of {} blocks at {} comes after the one up to {}",
            extent.count,
            extent.offset,
            self.end()
        );
        self.extents.push(extent);
        Ok(())
    }
}

impl Reader {
    /// The blocks of an inode.
    pub(super) fn map(&self, entry: &Entry) -> Result<Map> {
        let mut map = Map::default();
        if entry.inline {
            return Ok(map);
        }
        if entry.flags & FLAG_EXTENTS != 0 {
            let header: ExtentHeader = record(&entry.block, 0)?;
            ensure!(
                header.depth.get() <= DEPTH_MAX,
                "its extent tree has {} levels",
                header.depth.get()
            );
            self.extent_block(entry, &entry.block, header.depth.get(), 0, &mut map)
                .context("in the extent tree's root")?;
        } else {
            self.block_list(entry, &mut map)?;
        }
        Ok(map)
    }

    /// Takes a block of an extent tree and all below it; `from` is the first block of the contents
    /// that it may be about.
    fn extent_block(
        &self,
        entry: &Entry,
        bytes: &[u8],
        depth: u16,
        from: u64,
        map: &mut Map,
    ) -> Result<()> {
        let header: ExtentHeader = record(bytes, 0)?;
        let room = (bytes.len() - HEADER_SIZE) / RECORD_SIZE;
        let count = usize::from(header.entries.get());
        ensure!(
            header.magic.get() == EXTENT_MAGIC && header.depth.get() == depth,
            "it is not a block {depth} levels above the leaves"
        );
        ensure!(
            count <= room && usize::from(header.max.get()) == room,
            "it has {count} of {} records, where {room} fit",
            header.max.get()
        );
        if depth == 0 {
            for index in 0..count {
                let extent: ExtentLeaf = record(bytes, HEADER_SIZE + index * RECORD_SIZE)?;
                let (said, offset) = (extent.len.get(), u64::from(extent.logical.get()));
                let count = u64::from(if said > WRITTEN_MAX {
                    said - WRITTEN_MAX
                } else {
                    said
                });
                ensure!(
                    index > 0 || offset == from || map.extents.is_empty(),
                    "it starts at {offset} instead of {from}"
                );
                let block =
                    u64::from(extent.start.get()) | u64::from(extent.start_high.get()) << 32;
                map.push(Extent {
                    offset,
                    position: self.position(block, count)?,
                    count,
                    unwritten: said > WRITTEN_MAX,
                })?;
            }
            return Ok(());
        }
        ensure!(count > 0, "it has nothing below");
        for index in 0..count {
            let child: ExtentIndex = record(bytes, HEADER_SIZE + index * RECORD_SIZE)?;
            let offset = u64::from(child.logical.get());
            ensure!(
                offset >= map.end() && (index > 0 || offset == from || map.tree.is_empty()),
                "its part from {offset} on is out of order"
            );
            let number = u64::from(child.node.get()) | u64::from(child.node_high.get()) << 32;
            let below = self.tree_block(number, map)?;
            self.check_extent_tail(entry, &below)
                .and_then(|()| self.extent_block(entry, &below, depth - 1, offset, map))
                .with_context(|| format!("in the extent tree's block {number}"))?;
        }
        Ok(())
    }

    fn check_extent_tail(&self, entry: &Entry, bytes: &[u8]) -> Result<()> {
        let Some(seed) = entry.seed else {
            return Ok(());
        };
        let header: ExtentHeader = record(bytes, 0)?;
        let end = HEADER_SIZE + usize::from(header.max.get()) * RECORD_SIZE;
        let said: U32 = record(bytes, end)?;
        ensure!(
            checksum::extend(seed, &bytes[..end]) == said.get(),
            "its checksum is wrong"
        );
        Ok(())
    }

    /// Reads a block of a tree or list.
    fn tree_block(&self, number: u64, map: &mut Map) -> Result<Vec<u8>> {
        // A tree that leads into itself ends here.
        ensure!(
            map.tree.len() < EXTENTS_MAX / 64,
            "its map has more than {} blocks",
            EXTENTS_MAX / 64
        );
        map.tree.push(self.position(number, 1)?);
        self.block(number)
    }

    fn block_list(&self, entry: &Entry, map: &mut Map) -> Result<()> {
        let per_block = u64::from(self.facts.block_size) / 4;
        let mut offset = 0;
        for index in 0..DIRECT + 3 {
            let number: U32 = record(&entry.block, index * 4)?;
            let depth = u32::try_from(index.saturating_sub(DIRECT - 1))?;
            self.listed(number.get(), depth, offset, map)?;
            offset += per_block.pow(depth);
        }
        Ok(())
    }

    /// Takes block `number` of a list: contents, or `depth` levels of lists.
    fn listed(&self, number: u32, depth: u32, offset: u64, map: &mut Map) -> Result<()> {
        if number == 0 {
            return Ok(());
        }
        let block_size = u64::from(self.facts.block_size);
        if depth == 0 {
            let position = self.position(number.into(), 1)?;
            if let Some(last) = map.extents.last_mut()
                && last.offset + last.count == offset
                && last.position + last.count * block_size == position
            {
                last.count += 1;
                return Ok(());
            }
            return map.push(Extent {
                offset,
                position,
                count: 1,
                unwritten: false,
            });
        }
        let bytes = self.tree_block(number.into(), map)?;
        let per_child = (block_size / 4).pow(depth - 1);
        for index in 0..bytes.len() / 4 {
            let child: U32 = record(&bytes, index * 4)?;
            let offset = offset + index as u64 * per_child;
            self.listed(child.get(), depth - 1, offset, map)?;
        }
        Ok(())
    }
}
