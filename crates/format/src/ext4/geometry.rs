//! How many blocks, groups and inodes there are: mke2fs's arithmetic.

use anyhow::{Result, bail, ensure};

use super::format::{DESCRIPTOR_BYTES, INODE_BYTES, LOG_GROUPS_PER_FLEX};

/// Largest file system made; a boot partition is far below, and bitmaps are held in memory.
const SIZE_MAX: u64 = 64 << 30;
/// mke2fs's type "small" ends here; above, inodes are fewer.
const SMALL_BYTES: u64 = 512 << 20;
/// mke2fs's type "floppy" ends here.
const FLOPPY_BYTES: u64 = 3 << 20;
/// Blocks that a last group must have besides its overhead, or it is cut off.
const LAST_GROUP_SPARE: u64 = 50;
/// How far a file system can grow by the descriptor blocks reserved, as a multiple of its size.
const GROWTH: u64 = 1024;

/// Sizes and counts; nothing here depends on what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a block.
    pub(super) block_size: u32,
    /// Blocks, those before the first group included.
    pub(super) blocks: u64,
    /// 1 when the boot sector has a block of its own.
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    /// Blocks of one group's inode table.
    pub(super) table_blocks: u64,
    /// Blocks of all group descriptors.
    pub(super) descriptor_blocks: u64,
    /// Blocks kept free after them for more.
    pub(super) reserved_descriptor_blocks: u64,
    pub(super) journal_blocks: u64,
}

impl Geometry {
    pub(super) fn new(size_bytes: u64, block_size: u32) -> Result<Self> {
        ensure!(
            block_size == 1024 || block_size == 4096,
            "ext4 blocks of {block_size} bytes are not made, only of 1024 and 4096"
        );
        ensure!(
            size_bytes <= SIZE_MAX,
            "an ext4 file system of {} GiB is not made, only up to {} GiB",
            size_bytes >> 30,
            SIZE_MAX >> 30
        );
        let block = u64::from(block_size);
        let mut blocks = size_bytes / block;
        loop {
            let geometry = Self::of_blocks(blocks, block_size, size_bytes)?;
            let last = geometry.groups - 1;
            let rest = (blocks - geometry.first_data_block) % geometry.blocks_per_group;
            let overhead = 2 + geometry.table_blocks + geometry.group_head(last);
            if rest == 0 || rest >= overhead + LAST_GROUP_SPARE {
                return Ok(geometry);
            }
            if last == 0 {
                bail!(
                    "an ext4 file system of {} MiB has no room for its own tables",
                    size_bytes >> 20
                );
            }
            blocks -= rest;
        }
    }

    fn of_blocks(blocks: u64, block_size: u32, size_bytes: u64) -> Result<Self> {
        let block = u64::from(block_size);
        let journal_blocks = match blocks {
            0..2048 => bail!(
                "an ext4 file system of {} MiB is too small for a journal",
                size_bytes >> 20
            ),
            2048..32_768 => 1024,
            32_768..0x4_0000 => 4096,
            0x4_0000..0x8_0000 => 8192,
            0x8_0000..0x40_0000 => 16_384,
            0x40_0000..0x80_0000 => 32_768,
            0x80_0000..0x100_0000 => 65_536,
            0x100_0000..0x200_0000 => 131_072,
            _ => 262_144,
        };
        let first_data_block = u64::from(block_size == 1024);
        let blocks_per_group = block * 8;
        let groups = (blocks - first_data_block).div_ceil(blocks_per_group);
        let ratio = match size_bytes {
            0..FLOPPY_BYTES => 8192,
            FLOPPY_BYTES..SMALL_BYTES => 4096,
            _ => 16_384,
        };
        let per_block = block / INODE_BYTES as u64;
        // One bitmap block has a bit for each.
        let wanted = (size_bytes / ratio).div_ceil(groups).min(block * 8);
        let table_blocks = wanted.div_ceil(per_block);
        // Bitmaps are whole bytes.
        let inodes_per_group = (table_blocks * per_block) & !7;
        let table_blocks = inodes_per_group.div_ceil(per_block);

        let descriptors_per_block = block / DESCRIPTOR_BYTES as u64;
        let descriptor_blocks = groups.div_ceil(descriptors_per_block);
        let grown = (blocks * GROWTH).min(u64::from(u32::MAX));
        let reserved = (grown - first_data_block)
            .div_ceil(blocks_per_group)
            .div_ceil(descriptors_per_block)
            .saturating_sub(descriptor_blocks)
            // The resize inode's one double-indirect block names them all.
            .min(block / 4);
        Ok(Self {
            block_size,
            blocks,
            first_data_block,
            blocks_per_group,
            groups: groups.try_into()?,
            inodes_per_group: inodes_per_group.try_into()?,
            table_blocks,
            descriptor_blocks,
            reserved_descriptor_blocks: reserved,
            journal_blocks,
        })
    }

    /// First block of a group.
    pub(super) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * self.blocks_per_group
    }

    /// Blocks in a group; the last may have fewer.
    pub(super) fn group_blocks(&self, group: u32) -> u64 {
        (self.blocks - self.group_start(group)).min(self.blocks_per_group)
    }

    /// Whether a group starts with a copy of the super block and the descriptors.
    pub(super) fn has_super(group: u32) -> bool {
        let power_of = |base: u32| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        group <= 1 || power_of(3) || power_of(5) || power_of(7)
    }

    /// Blocks at a group's start: super block, descriptors, reserved ones.
    pub(super) fn group_head(&self, group: u32) -> u64 {
        if Self::has_super(group) {
            1 + self.descriptor_blocks + self.reserved_descriptor_blocks
        } else {
            0
        }
    }

    /// The groups whose bitmaps and tables lie together, by the first one.
    pub(super) fn flex_groups(&self) -> impl Iterator<Item = std::ops::Range<u32>> {
        let step = 1 << LOG_GROUPS_PER_FLEX;
        (0..self.groups)
            .step_by(step)
            .map(move |first| first..(first + step as u32).min(self.groups))
    }

    /// Inodes of all groups.
    pub(super) fn inodes(&self) -> u32 {
        self.groups * self.inodes_per_group
    }

    /// Bytes of a block, as a slice's length.
    pub(super) fn block_len(&self) -> usize {
        self.block_size as usize
    }

    /// Blocks that `bytes` bytes take.
    pub(super) fn blocks_for(&self, bytes: u64) -> u64 {
        bytes.div_ceil(u64::from(self.block_size))
    }
}
