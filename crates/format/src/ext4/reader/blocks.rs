//! Blocks, groups and checksums.

use std::mem::offset_of;

use anyhow::{Context, Result, ensure};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::Reader;
use crate::ext4::checksum;
use crate::ext4::format::{Descriptor, WIDE};

/// Bytes of a group descriptor without 64-bit numbers.
const SMALL_DESCRIPTOR: usize = 32;

/// The checksum of `bytes` with the `len` bytes at `field` taken for zeros.
pub(super) fn sum_without(from: u32, bytes: &[u8], field: usize, len: usize) -> u32 {
    let before = checksum::extend(from, &bytes[..field]);
    let zeros = checksum::extend(before, &[0; 4][..len]);
    checksum::extend(zeros, &bytes[field + len..])
}

/// The record at `offset` of `bytes`.
pub(super) fn record<T: FromBytes>(bytes: &[u8], offset: usize) -> Result<T> {
    bytes
        .get(offset..)
        .and_then(|bytes| T::read_from_prefix(bytes).ok())
        .map(|(record, _)| record)
        .with_context(|| format!("a record at {offset} of {} bytes is cut short", bytes.len()))
}

impl Reader {
    /// Blocks of the file system.
    pub(super) fn blocks(&self) -> u64 {
        self.facts.bytes / u64::from(self.facts.block_size)
    }

    /// Bytes of a block.
    pub(super) fn block_size(&self) -> Result<usize> {
        Ok(usize::try_from(self.facts.block_size)?)
    }

    /// The block with this number.
    pub(super) fn block(&self, number: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.block_size()?];
        self.read_at(self.position(number, 1)?, &mut bytes)?;
        Ok(bytes)
    }

    /// Position in the image of block `number`, which has `count - 1` more behind it. The first
    /// block is never anybody's.
    pub(super) fn position(&self, number: u64, count: u64) -> Result<u64> {
        let end = number.checked_add(count);
        ensure!(
            number > u64::from(self.superblock.first_data_block.get())
                && end.is_some_and(|end| end <= self.blocks()),
            "{count} blocks at {number} do not lie in the file system"
        );
        Ok(number * u64::from(self.facts.block_size))
    }

    /// First block of the inode table of group `number`.
    pub(super) fn inode_table(&self, number: u32) -> Result<u64> {
        self.read_group(number)
            .with_context(|| format!("reading the descriptor of ext4 group {number}"))
    }

    fn read_group(&self, number: u32) -> Result<u64> {
        let size = if self.incompat(WIDE) {
            size_of::<Descriptor>()
        } else {
            SMALL_DESCRIPTOR
        };
        let first = u64::from(self.superblock.first_data_block.get()) + 1;
        let position = first * u64::from(self.facts.block_size) + u64::from(number) * size as u64;
        let mut bytes = [0; size_of::<Descriptor>()];
        self.read_at(position, &mut bytes[..size])?;
        let raw: Descriptor = record(&bytes, 0)?;
        if let Some(seed) = self.seed {
            let from = checksum::extend(seed, &number.to_le_bytes());
            let field = offset_of!(Descriptor, checksum);
            let is = sum_without(from, &bytes[..size], field, 2);
            ensure!(
                is & 0xffff == u32::from(raw.checksum.get()),
                "its checksum is wrong"
            );
        }
        let join = |low: U32, high: U32| u64::from(low.get()) | u64::from(high.get()) << 32;
        self.position(join(raw.block_bitmap, raw.block_bitmap_high), 1)?;
        self.position(join(raw.inode_bitmap, raw.inode_bitmap_high), 1)?;
        let table = join(raw.inode_table, raw.inode_table_high);
        self.position(table, self.table_blocks())?;
        Ok(table)
    }

    /// Blocks of each group's inode table.
    fn table_blocks(&self) -> u64 {
        let bytes = u64::from(self.superblock.inodes_per_group.get())
            * u64::from(self.superblock.inode_size.get());
        bytes.div_ceil(self.facts.block_size.into())
    }
}
