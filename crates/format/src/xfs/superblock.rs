//! The superblock, of which each group has a copy.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::crc::seal;
use super::format::{
    FEATURES2, INCOMPATIBLE, READ_ONLY_COMPATIBLE, SUPERBLOCK_CRC, Superblock, VERSION,
    VERSION_ATTRIBUTES, VERSION_SECTORS,
};
use super::geometry::{
    BLOCK, CHUNK_BLOCKS, CHUNK_INODES, FREE_LIST_BLOCKS, INODE_LEN, INODES_PER_BLOCK, ROOT_INODE,
};
use super::plan::Layout;

/// From this size on, mkfs.xfs lets inodes take 5 % of the space, below it 25 %.
const LARGE_BYTES: u64 = 1 << 40;

/// The superblock's sector.
pub(super) fn sector(layout: &Layout<'_>) -> Vec<u8> {
    let geometry = &layout.geometry;
    let groups = &layout.groups;
    let chunks: u64 = groups.iter().map(|group| u64::from(group.chunks())).sum();
    let free_inodes: u64 = groups.iter().map(|g| u64::from(g.free_inodes())).sum();
    let free_blocks: u64 = groups
        .iter()
        .map(|group| u64::from(group.free_blocks()) + u64::from(FREE_LIST_BLOCKS))
        .sum();
    let large_sectors = geometry.sector_bytes > 512;
    let bits = |number: u64| number.ilog2() as u8;

    let mut block = Superblock::new_zeroed();
    block.magic = *b"XFSB";
    block.block_bytes = U32::new(BLOCK as u32);
    block.blocks = geometry.blocks.into();
    block.uuid = layout.options.uuid;
    block.log_start = geometry.fsb(geometry.log_start()).into();
    block.root_inode = ROOT_INODE.into();
    block.bitmap_inode = (ROOT_INODE + 1).into();
    block.summary_inode = (ROOT_INODE + 2).into();
    block.realtime_extent = U32::new(1);
    block.group_blocks = geometry.group_blocks.into();
    block.groups = geometry.groups.into();
    block.log_blocks = geometry.log_blocks.into();
    block.version = U16::new(
        VERSION
            | if layout.has_attributes {
                VERSION_ATTRIBUTES
            } else {
                0
            }
            | if large_sectors { VERSION_SECTORS } else { 0 },
    );
    block.sector_bytes = U16::new(geometry.sector_bytes as u16);
    block.inode_bytes = U16::new(INODE_LEN as u16);
    block.inodes_per_block = U16::new(INODES_PER_BLOCK as u16);
    let label = layout.options.label.as_bytes();
    block.label[..label.len()].copy_from_slice(label);
    block.block_bits = bits(BLOCK);
    block.sector_bits = bits(geometry.sector_bytes.into());
    block.inode_bits = bits(INODE_LEN as u64);
    block.inodes_per_block_bits = bits(INODES_PER_BLOCK.into());
    block.group_bits = geometry.group_bits;
    block.inode_percent = match geometry.blocks * BLOCK < LARGE_BYTES {
        true => 25,
        false => 5,
    };
    block.inodes = (chunks * u64::from(CHUNK_INODES)).into();
    block.free_inodes = free_inodes.into();
    block.free_blocks = free_blocks.into();
    block.inode_alignment = CHUNK_BLOCKS.into();
    if large_sectors {
        block.log_sector_bits = bits(geometry.sector_bytes.into());
        block.log_sector_bytes = block.sector_bytes;
        block.log_stripe = geometry.sector_bytes.into();
    } else {
        // What mkfs.xfs writes for none.
        block.log_stripe = U32::new(1);
    }
    block.features2 = FEATURES2.into();
    block.features2_again = block.features2;
    block.read_only_compatible = READ_ONLY_COMPATIBLE.into();
    block.incompatible = INCOMPATIBLE.into();
    block.sparse_alignment = U32::new(4);

    let mut bytes = vec![0; geometry.sector_bytes as usize];
    bytes[..size_of::<Superblock>()].copy_from_slice(block.as_bytes());
    seal(&mut bytes, SUPERBLOCK_CRC);
    bytes
}
