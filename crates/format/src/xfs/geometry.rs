//! Where things lie: allocation groups, their headers and the log.
//!
//! ```text
//! group:  superblock, AGF, AGI, AGFL (a sector each) | 5 btree roots | log, in one group | 4 blocks
//!         for the free list | inodes and data
//! ```

use anyhow::{Result, ensure};

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;
/// Bytes of a block, as a length in memory.
pub(super) const BLOCK_LEN: usize = 4096;
/// Bytes of an inode.
pub(super) const INODE_LEN: usize = 512;
/// Inodes in a block.
pub(super) const INODES_PER_BLOCK: u32 = 8;
/// Inodes that are allocated together.
pub(super) const CHUNK_INODES: u32 = 64;
/// Blocks of those, which start at a multiple of as many.
pub(super) const CHUNK_BLOCKS: u32 = CHUNK_INODES / INODES_PER_BLOCK;
/// Blocks on the free list of a group whose free-space trees have one level.
pub(super) const FREE_LIST_BLOCKS: u32 = 4;
/// The root directory's inode number: `xfs_repair` works out where mkfs.xfs would have put it.
pub(super) const ROOT_INODE: u64 = 128;

/// Smallest file system that mkfs.xfs makes.
const MIN_BYTES: u64 = 300 << 20;
/// Smallest group that mkfs.xfs makes.
const MIN_GROUP_BLOCKS: u64 = (16 << 20) / BLOCK;
/// Largest group, in blocks: just below 1 TiB.
const MAX_GROUP_BLOCKS: u64 = (1 << 28) - 1;
/// Largest file system we make: 16 TiB.
const MAX_BYTES: u64 = 16 << 40;
/// Smallest log that mkfs.xfs makes.
const MIN_LOG_BLOCKS: u64 = (64 << 20) / BLOCK;
/// Largest log, in blocks: 2 GiB less 10 MiB.
const MAX_LOG_BLOCKS: u64 = ((2 << 30) - (10 << 20)) / BLOCK;
/// The log gets a 2048th of the file system.
const LOG_SHARE: u64 = 2048;
/// Btree roots in each group: free space by place and by size, inodes, inodes with free slots,
/// reference counts.
const ROOTS: u32 = 5;

/// A block, counted from the first of the file system without gaps. Block numbers on disk have gaps
/// between groups: see [`Geometry::fsb`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block(pub(super) u64);

impl Block {
    /// Offset in bytes from the start of the file system.
    pub(super) fn offset(self) -> u64 {
        self.0 * BLOCK
    }

    /// Disk address as metadata blocks carry it: in units of 512 bytes.
    pub(super) fn daddr(self) -> u64 {
        self.offset() / 512
    }

    /// The block `count` further.
    pub(super) fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

/// Sizes and places that follow from the options alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// All blocks.
    pub(super) blocks: u64,
    /// Blocks of each group but the last, which may have fewer.
    pub(super) group_blocks: u32,
    pub(super) groups: u32,
    /// Bits of a block number within its group.
    pub(super) group_bits: u8,
    pub(super) sector_bytes: u32,
    pub(super) log_blocks: u32,
}

impl Geometry {
    pub(super) fn new(bytes: u64, sector_bytes: u32, groups: u32) -> Result<Self> {
        ensure!(
            sector_bytes == 512 || sector_bytes == 4096,
            "the sector size of an XFS file system is 512 or 4096 bytes here, not {sector_bytes}"
        );
        ensure!(
            bytes.is_multiple_of(BLOCK),
            "the size of an XFS file system is a multiple of {BLOCK} bytes, which {bytes} is not"
        );
        ensure!(
            bytes >= MIN_BYTES,
            "an XFS file system has at least {} MiB, not {} MiB",
            MIN_BYTES >> 20,
            bytes >> 20
        );
        ensure!(
            bytes <= MAX_BYTES,
            "an XFS file system of {} GiB is not supported: {} GiB is the most",
            bytes >> 30,
            MAX_BYTES >> 30
        );
        // xfs_repair can't check a file system of one group: it compares superblocks.
        ensure!(
            groups >= 2,
            "an XFS file system has at least 2 allocation groups, not {groups}"
        );
        let blocks = bytes / BLOCK;
        let group_blocks = blocks.div_ceil(groups.into());
        let groups = blocks.div_ceil(group_blocks);
        let last = blocks - (groups - 1) * group_blocks;
        ensure!(
            last >= MIN_GROUP_BLOCKS,
            "{groups} allocation groups are too many for an XFS file system of {} MiB: each has at \
             least {} MiB",
            bytes >> 20,
            (MIN_GROUP_BLOCKS * BLOCK) >> 20
        );
        ensure!(
            group_blocks <= MAX_GROUP_BLOCKS,
            "{groups} allocation groups are too few for an XFS file system of {} GiB: it takes {}",
            bytes >> 30,
            blocks.div_ceil(MAX_GROUP_BLOCKS)
        );
        let log_blocks = log_blocks(blocks);
        let geometry = Self {
            blocks,
            // At most MAX_GROUP_BLOCKS.
            group_blocks: group_blocks.try_into()?,
            groups: groups.try_into()?,
            group_bits: group_blocks.next_power_of_two().ilog2().try_into()?,
            sector_bytes,
            log_blocks: log_blocks.try_into()?,
        };
        let group = geometry.log_group();
        ensure!(
            geometry.first_usable(group) + CHUNK_BLOCKS <= geometry.len(group),
            "{groups} allocation groups are too many for an XFS file system of {} MiB: its log of \
             {} MiB must fit into one",
            bytes >> 20,
            (log_blocks * BLOCK) >> 20
        );
        Ok(geometry)
    }

    /// Blocks of a group.
    pub(super) fn len(&self, group: u32) -> u32 {
        let before = u64::from(group) * u64::from(self.group_blocks);
        let left = self.blocks.saturating_sub(before);
        left.min(self.group_blocks.into()) as u32
    }

    /// Blocks taken by the four header sectors.
    fn header_blocks(&self) -> u32 {
        (4 * u64::from(self.sector_bytes)).div_ceil(BLOCK) as u32
    }

    /// Place in its group of btree root `index`, 0 to 4.
    pub(super) fn root(&self, index: u32) -> u32 {
        self.header_blocks() + index
    }

    /// The group with the log: the middle one.
    pub(super) fn log_group(&self) -> u32 {
        self.groups / 2
    }

    /// First block of the log.
    pub(super) fn log_start(&self) -> Block {
        self.block(self.log_group(), self.root(ROOTS))
    }

    /// Place in its group of the first block on the free list.
    pub(super) fn free_list(&self, group: u32) -> u32 {
        let log = match group == self.log_group() {
            true => self.log_blocks,
            false => 0,
        };
        self.root(ROOTS) + log
    }

    /// Place in its group of the first block that is free in an empty file system.
    pub(super) fn first_usable(&self, group: u32) -> u32 {
        self.free_list(group) + FREE_LIST_BLOCKS
    }

    /// Place in its group of the first inode chunk.
    pub(super) fn first_chunk(&self, group: u32) -> u32 {
        self.first_usable(group).next_multiple_of(CHUNK_BLOCKS)
    }

    /// The block at `place` of a group.
    pub(super) fn block(&self, group: u32, place: u32) -> Block {
        Block(u64::from(group) * u64::from(self.group_blocks) + u64::from(place))
    }

    /// The block's number as extents on disk have it: group and place side by side.
    pub(super) fn fsb(&self, block: Block) -> u64 {
        let group = block.0 / u64::from(self.group_blocks);
        let place = block.0 % u64::from(self.group_blocks);
        group << self.group_bits | place
    }

    /// Inode number of slot `slot` behind the group's first chunk.
    pub(super) fn inode_number(&self, group: u32, slot: u32) -> u64 {
        let within = u64::from(self.first_chunk(group)) * u64::from(INODES_PER_BLOCK);
        u64::from(group) << (self.group_bits + 3) | (within + u64::from(slot))
    }

    /// Whether inode numbers may need more than 32 bits.
    pub(super) fn has_wide_inodes(&self) -> bool {
        self.inode_number(self.groups, 0) > u64::from(u32::MAX)
    }
}

/// Blocks of the log of a file system, as mkfs.xfs has it.
pub(super) fn log_blocks(blocks: u64) -> u64 {
    (blocks / LOG_SHARE).clamp(MIN_LOG_BLOCKS, MAX_LOG_BLOCKS)
}

/// Bytes of the smallest file system whose groups hold `needed` blocks in all and keep one block of
/// `headroom` free. Where no file system with these groups can be that large, the error says so.
pub(super) fn smallest(needed: u64, sector_bytes: u32, groups: u32, headroom: u64) -> Result<u64> {
    // What a group loses before its inodes, by inodes without use, and by rounding.
    let fixed = u64::from(groups) * u64::from(4 * CHUNK_BLOCKS);
    let mut bytes = MIN_BYTES;
    loop {
        let blocks = bytes / BLOCK;
        let taken = log_blocks(blocks) + fixed + blocks / headroom;
        let short = needed.saturating_sub(blocks.saturating_sub(taken));
        let geometry = Geometry::new(bytes, sector_bytes, groups);
        if short == 0 && geometry.is_ok() {
            return Ok(bytes);
        }
        // The log may need larger groups than the tree does. Steps grow, so that what can never be is
        // soon given up.
        bytes = (bytes + (short * BLOCK).max(bytes / 256)).next_multiple_of(1 << 20);
        if bytes > MAX_BYTES {
            return geometry
                .and_then(|_| Geometry::new(bytes, sector_bytes, groups))
                .map(|_| bytes);
        }
    }
}
