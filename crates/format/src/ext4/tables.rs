//! Places of what every file system has: bitmaps, inode tables, the journal.

use anyhow::{Result, anyhow};

use super::blocks::Blocks;
use super::extents::node_count;
use super::format::EXTENT_BLOCKS_MAX;
use super::geometry::Geometry;
use super::space::{Run, Space};

/// Where a group's bitmaps and inode table are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tables {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
}

/// Gives every group its bitmaps and inode table, those of a flex group together, and takes the
/// blocks of super blocks and descriptors.
pub(super) fn place_tables(geometry: &Geometry, space: &mut Space) -> Result<Vec<Tables>> {
    space.take(0, geometry.first_data_block);
    for group in 0..geometry.groups {
        space.take(geometry.group_start(group), geometry.group_head(group));
    }
    let mut tables = vec![Tables::default(); usize::try_from(geometry.groups)?];
    let full = || anyhow!("the ext4 file system has no room for its own tables");
    for flex in geometry.flex_groups() {
        let start = geometry.group_start(flex.start);
        let groups = &mut tables[flex.start as usize..flex.end as usize];
        let count = groups.len() as u64;
        let block_bitmaps = space.allocate_together(start, count).ok_or_else(full)?;
        let inode_bitmaps = space
            .allocate_together(block_bitmaps, count)
            .ok_or_else(full)?;
        for (nth, group) in (0..).zip(groups) {
            *group = Tables {
                block_bitmap: block_bitmaps + nth,
                inode_bitmap: inode_bitmaps + nth,
                inode_table: space
                    .allocate_together(inode_bitmaps, geometry.table_blocks)
                    .ok_or_else(full)?,
            };
        }
    }
    Ok(tables)
}

/// The journal lies in the middle, as mke2fs has it, in one piece if there is one.
pub(super) fn place_journal(geometry: &Geometry, space: &mut Space) -> Result<Blocks> {
    let full = || anyhow!("the ext4 file system has no room for its journal");
    let middle = geometry.group_start(geometry.groups / 2);
    let mut blocks = Blocks::default();
    match space.allocate_together(middle, geometry.journal_blocks) {
        Some(start) => {
            let mut left = geometry.journal_blocks;
            while left > 0 {
                let len = left.min(EXTENT_BLOCKS_MAX);
                let start = start + geometry.journal_blocks - left;
                blocks.data.push(Run { start, len });
                left -= len;
            }
        }
        None => blocks.data = space.allocate(geometry.journal_blocks).ok_or_else(full)?,
    }
    for _ in 0..node_count(blocks.data.len(), geometry.block_len()) {
        blocks.nodes.push(space.allocate_one().ok_or_else(full)?);
    }
    Ok(blocks)
}
