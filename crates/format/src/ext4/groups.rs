//! Group descriptors, bitmaps and super blocks: what is known once everything has its place.

use anyhow::{Context, Result};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::checksum;
use super::extents::low_half;
use super::format::{
    BLOCK_UNINIT, COMPATIBLE, DESCRIPTOR_BYTES, Descriptor, EXTRA_BYTES, FIRST_INODE, INCOMPATIBLE,
    INODE_BYTES, INODE_UNINIT, JOURNAL_INODE, LOG_GROUPS_PER_FLEX, READ_ONLY_COMPATIBLE,
    SUPER_MAGIC, SuperBlock, TABLE_ZEROED,
};
use super::geometry::Geometry;
use super::plan::Layout;
use super::tables::Tables;

/// Blocks kept for root, in percent.
const RESERVED_PERCENT: u64 = 5;
/// `SuperBlock::state`: cleanly unmounted. Copies do not say so, as those of mke2fs.
const CLEAN: u16 = 1;
/// `SuperBlock::max_mount_count`: never check because of it.
const NO_MOUNT_LIMIT: u16 = 0xffff;

/// A group as it will be described.
pub(super) struct Group {
    pub(super) descriptor: Descriptor,
    pub(super) tables: Tables,
    /// `None` when it is left to whoever needs it first.
    pub(super) block_bitmap: Option<Vec<u8>>,
    /// Likewise.
    pub(super) inode_bitmap: Option<Vec<u8>>,
    free_blocks: u64,
    free_inodes: u32,
}

/// All groups, in order.
pub(super) fn describe(layout: &Layout<'_>) -> Result<Vec<Group>> {
    let geometry = &layout.geometry;
    // Numbers are given without gaps, so the last one used says which are.
    let highest = layout.placed.last().map_or(0, |placed| placed.number);
    let mut directories = vec![0u16; layout.tables.len()];
    for placed in layout.placed.iter().filter(|placed| placed.is_directory) {
        let group = (placed.number - 1) / geometry.inodes_per_group;
        directories[group as usize] += 1;
    }
    (0..geometry.groups)
        .zip(&layout.tables)
        .zip(&directories)
        .map(|((group, tables), directories)| {
            let first = group * geometry.inodes_per_group;
            let used = highest.saturating_sub(first).min(geometry.inodes_per_group);
            one(layout, group, *tables, used, *directories)
                .with_context(|| format!("describing group {group} of the ext4 file system"))
        })
        .collect()
}

fn one(
    layout: &Layout<'_>,
    group: u32,
    tables: Tables,
    used_inodes: u32,
    directories: u16,
) -> Result<Group> {
    let geometry = &layout.geometry;
    let seed = layout.checksum_seed();
    let start = geometry.group_start(group);
    let blocks = geometry.group_blocks(group);
    let used_blocks = layout.space.count_used(start, blocks);
    let free_blocks = blocks - used_blocks;
    let free_inodes = geometry.inodes_per_group - used_inodes;

    let mut flags = TABLE_ZEROED;
    // The last group's bitmap has padding; the first is where everything starts.
    let untouched = used_blocks == geometry.group_head(group);
    let block_bitmap = if untouched && group != 0 && group != geometry.groups - 1 {
        flags |= BLOCK_UNINIT;
        None
    } else {
        Some(layout.space.bitmap(start, blocks, geometry.block_len()))
    };
    let inode_bitmap = if used_inodes == 0 {
        flags |= INODE_UNINIT;
        None
    } else {
        Some(filled_bitmap(
            used_inodes,
            geometry.inodes_per_group,
            geometry.block_len(),
        )?)
    };
    let sum = |bitmap: &Option<Vec<u8>>, bits: u64| -> Result<(U16, U16)> {
        let Some(bitmap) = bitmap else {
            return Ok((U16::ZERO, U16::ZERO));
        };
        let bytes = usize::try_from(bits / 8)?;
        let [a, b, c, d] = checksum::extend(seed, &bitmap[..bytes]).to_le_bytes();
        Ok((U16::from_bytes([a, b]), U16::from_bytes([c, d])))
    };
    let blocks_sum = sum(&block_bitmap, geometry.blocks_per_group)?;
    let inodes_sum = sum(&inode_bitmap, u64::from(geometry.inodes_per_group))?;

    let mut descriptor = Descriptor {
        block_bitmap: low_half(tables.block_bitmap),
        inode_bitmap: low_half(tables.inode_bitmap),
        inode_table: low_half(tables.inode_table),
        free_blocks: U16::new(free_blocks.try_into()?),
        free_inodes: U16::new(free_inodes.try_into()?),
        directories: U16::new(directories),
        flags: U16::new(flags),
        block_bitmap_checksum: blocks_sum.0,
        inode_bitmap_checksum: inodes_sum.0,
        unused_inodes: U16::new(free_inodes.try_into()?),
        block_bitmap_high: low_half(tables.block_bitmap >> 32),
        inode_bitmap_high: low_half(tables.inode_bitmap >> 32),
        inode_table_high: low_half(tables.inode_table >> 32),
        block_bitmap_checksum_high: blocks_sum.1,
        inode_bitmap_checksum_high: inodes_sum.1,
        ..Descriptor::default()
    };
    let numbered = checksum::extend(seed, &group.to_le_bytes());
    let [a, b, ..] = checksum::extend(numbered, descriptor.as_bytes()).to_le_bytes();
    descriptor.checksum = U16::from_bytes([a, b]);
    Ok(Group {
        descriptor,
        tables,
        block_bitmap,
        inode_bitmap,
        free_blocks,
        free_inodes,
    })
}

/// A bitmap whose first `used` bits are set, and those past `bits`.
fn filled_bitmap(used: u32, bits: u32, bytes: usize) -> Result<Vec<u8>> {
    let mut bitmap = vec![0xff; bytes];
    for bit in usize::try_from(used)?..usize::try_from(bits)? {
        bitmap[bit / 8] &= !(1 << (bit % 8));
    }
    Ok(bitmap)
}

/// The super block, or its copy in `group`.
pub(super) fn super_block(
    layout: &Layout<'_>,
    groups: &[Group],
    group: u32,
    journal_map: &[u8],
) -> Result<SuperBlock> {
    let geometry = &layout.geometry;
    let options = &layout.options;
    let time = U32::new(options.time);
    let per_group = U32::new(geometry.blocks_per_group.try_into()?);
    let log_block_size = U32::new(geometry.block_size.trailing_zeros() - 10);
    let free_blocks: u64 = groups.iter().map(|group| group.free_blocks).sum();
    let reserved = geometry.blocks * RESERVED_PERCENT / 100;

    let mut head = SuperBlock::new_zeroed();
    head.inodes = U32::new(geometry.inodes());
    head.blocks_low = low_half(geometry.blocks);
    head.blocks_high = low_half(geometry.blocks >> 32);
    head.reserved_blocks = low_half(reserved);
    head.reserved_blocks_high = low_half(reserved >> 32);
    head.free_blocks = low_half(free_blocks);
    head.free_blocks_high = low_half(free_blocks >> 32);
    head.free_inodes = U32::new(groups.iter().map(|group| group.free_inodes).sum());
    head.first_data_block = low_half(geometry.first_data_block);
    head.log_block_size = log_block_size;
    head.log_cluster_size = log_block_size;
    head.blocks_per_group = per_group;
    head.clusters_per_group = per_group;
    head.inodes_per_group = U32::new(geometry.inodes_per_group);
    head.write_time = time;
    head.last_check = time;
    head.made_time = time;
    head.max_mount_count = U16::new(NO_MOUNT_LIMIT);
    head.magic = U16::new(SUPER_MAGIC);
    head.state = U16::new(if group == 0 { CLEAN } else { 0 });
    head.errors = U16::new(1);
    head.revision = U32::new(1);
    head.first_inode = U32::new(FIRST_INODE);
    head.inode_size = U16::new(INODE_BYTES.try_into()?);
    head.group = U16::new(group.try_into()?);
    head.compatible = U32::new(COMPATIBLE);
    head.incompatible = U32::new(INCOMPATIBLE);
    head.read_only_compatible = U32::new(READ_ONLY_COMPATIBLE);
    head.uuid = options.uuid;
    head.label[..options.label.len()].copy_from_slice(options.label.as_bytes());
    head.reserved_descriptor_blocks = U16::new(geometry.reserved_descriptor_blocks.try_into()?);
    head.journal_inode = U32::new(JOURNAL_INODE);
    head.hash_seed = options.hash_seed();
    head.hash_version = 1;
    head.journal_backup_type = 1;
    head.descriptor_size = U16::new(DESCRIPTOR_BYTES.try_into()?);
    head.mount_options = U32::new(0xc);
    for (slot, word) in head
        .journal_backup
        .iter_mut()
        .zip(journal_map.chunks_exact(4))
    {
        slot.as_mut_bytes().copy_from_slice(word);
    }
    let journal_bytes = geometry.journal_blocks * u64::from(geometry.block_size);
    head.journal_backup[15] = low_half(journal_bytes >> 32);
    head.journal_backup[16] = low_half(journal_bytes);
    head.min_extra_inode_size = U16::new(EXTRA_BYTES);
    head.want_extra_inode_size = U16::new(EXTRA_BYTES);
    head.flags = U32::new(1);
    head.log_groups_per_flex = LOG_GROUPS_PER_FLEX;
    head.checksum_type = 1;
    head.kib_written = U64::ZERO;
    head.overhead_blocks = low_half(overhead(geometry));
    head.checksum_seed = U32::new(layout.checksum_seed());
    let sum = checksum::of(&head.as_bytes()[..size_of::<SuperBlock>() - size_of::<U32>()]);
    head.checksum = U32::new(sum);
    Ok(head)
}

/// Blocks that hold no files and no directories.
fn overhead(geometry: &Geometry) -> u64 {
    let heads: u64 = (0..geometry.groups)
        .map(|group| geometry.group_head(group))
        .sum();
    let tables = u64::from(geometry.groups) * (2 + geometry.table_blocks);
    geometry.first_data_block + heads + tables + geometry.journal_blocks
}
