//! Blocks, groups and checksums.

use std::mem::offset_of;

use anyhow::{Context, Result, ensure};
use zerocopy::FromBytes;

use super::Reader;
use super::disk::{Descriptor, feature};

/// Bytes of a group descriptor without 64-bit numbers.
const SMALL_DESCRIPTOR: usize = 32;

/// Remainders of single bytes in CRC-32C, whose polynomial is written here with its lowest power in
/// the highest bit.
const REMAINDERS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        // Below 256.
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = rest >> 1 ^ if rest & 1 != 0 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

/// Goes on with a CRC-32C as ext4 takes it: not inverted at the end.
pub(super) fn crc(from: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(from, |crc, byte| {
        crc >> 8 ^ REMAINDERS[usize::from(crc.to_le_bytes()[0] ^ byte)]
    })
}

/// The checksum of `bytes` with the `len` bytes at `field` taken for zeros.
pub(super) fn crc_without(from: u32, bytes: &[u8], field: usize, len: usize) -> u32 {
    let before = crc(from, &bytes[..field]);
    let zeros = crc(before, &[0; 4][..len]);
    crc(zeros, &bytes[field + len..])
}

/// The record at `offset` of `bytes`.
pub(super) fn record<T: FromBytes>(bytes: &[u8], offset: usize) -> Result<T> {
    bytes
        .get(offset..)
        .and_then(|bytes| T::read_from_prefix(bytes).ok())
        .map(|(record, _)| record)
        .with_context(|| format!("a record at {offset} of {} bytes is cut short", bytes.len()))
}

/// A group descriptor, with the halves of its numbers joined.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// Inodes at the table's end that were never used.
    pub(super) unused: u32,
    pub(super) flags: u16,
    /// Checksums of the bitmaps, and how many bits of them there are.
    pub(super) block_checksum: u32,
    pub(super) inode_checksum: u32,
    pub(super) checksum_mask: u32,
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
            number > u64::from(self.superblock.first_block.get())
                && end.is_some_and(|end| end <= self.blocks()),
            "{count} blocks at {number} do not lie in the file system"
        );
        Ok(number * u64::from(self.facts.block_size))
    }

    /// Bytes of a group descriptor.
    pub(super) fn descriptor_size(&self) -> usize {
        if self.incompat(feature::BIT64) {
            size_of::<Descriptor>()
        } else {
            SMALL_DESCRIPTOR
        }
    }

    /// Descriptor of group `number`.
    pub(super) fn group(&self, number: u32) -> Result<Group> {
        self.read_group(number)
            .with_context(|| format!("reading the descriptor of ext4 group {number}"))
    }

    fn read_group(&self, number: u32) -> Result<Group> {
        let size = self.descriptor_size();
        let first = u64::from(self.superblock.first_block.get()) + 1;
        let position = first * u64::from(self.facts.block_size) + u64::from(number) * size as u64;
        let mut bytes = [0; size_of::<Descriptor>()];
        self.read_at(position, &mut bytes[..size])?;
        let raw: Descriptor = record(&bytes, 0)?;
        if let Some(seed) = self.seed {
            let from = crc(seed, &number.to_le_bytes());
            let field = offset_of!(Descriptor, checksum);
            let is = crc_without(from, &bytes[..size], field, 2);
            ensure!(
                is & 0xffff == u32::from(raw.checksum.get()),
                "its checksum is wrong"
            );
        }
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let join_short = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let group = Group {
            block_bitmap: join(raw.block_bitmap_low.get(), raw.block_bitmap_high.get()),
            inode_bitmap: join(raw.inode_bitmap_low.get(), raw.inode_bitmap_high.get()),
            inode_table: join(raw.inode_table_low.get(), raw.inode_table_high.get()),
            free_blocks: join_short(raw.free_blocks_low.get(), raw.free_blocks_high.get()),
            free_inodes: join_short(raw.free_inodes_low.get(), raw.free_inodes_high.get()),
            directories: join_short(raw.directories_low.get(), raw.directories_high.get()),
            unused: join_short(raw.unused_low.get(), raw.unused_high.get()),
            flags: raw.flags.get(),
            block_checksum: join_short(raw.block_checksum_low.get(), raw.block_checksum_high.get()),
            inode_checksum: join_short(raw.inode_checksum_low.get(), raw.inode_checksum_high.get()),
            checksum_mask: if size > SMALL_DESCRIPTOR {
                u32::MAX
            } else {
                0xffff
            },
        };
        self.position(group.block_bitmap, 1)?;
        self.position(group.inode_bitmap, 1)?;
        self.position(group.inode_table, self.table_blocks())?;
        Ok(group)
    }

    /// Blocks of each group's inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        let bytes =
            u64::from(self.superblock.group_inodes.get()) * u64::from(self.facts.inode_size);
        bytes.div_ceil(self.facts.block_size.into())
    }
}
