//! The resize inode: an old-style block map that owns the reserved descriptor blocks.
//!
//! Its double-indirect block names the reserved blocks of the first group, and each of those,
//! taken as an indirect block, names its copies in the other groups that have one.

use anyhow::Result;

use super::format::MAP_BYTES;
use super::geometry::Geometry;

/// Direct and single-indirect slots of a block map, before the double-indirect one.
const DOUBLE_SLOT: usize = 13;
/// Blocks that a map names directly.
const DIRECT: u64 = 12;

/// What the resize inode is made of.
pub(super) struct ResizeInode {
    /// For the inode.
    pub(super) map: [u8; MAP_BYTES],
    /// File size, as if every block number were in use.
    pub(super) size: u64,
    /// Blocks it owns.
    pub(super) blocks: u64,
    /// Block number and contents of the blocks that name others.
    pub(super) nodes: Vec<(u64, Vec<u8>)>,
}

/// Makes it, with its double-indirect block at `double`.
pub(super) fn resize_inode(geometry: &Geometry, double: u64) -> Result<ResizeInode> {
    let addresses = u64::from(geometry.block_size) / 4;
    let copies: Vec<u32> = (1..geometry.groups)
        .filter(|group| Geometry::has_super(*group))
        .collect();
    let first = geometry.first_data_block + 1 + geometry.descriptor_blocks;
    let reserved = geometry.reserved_descriptor_blocks;

    let mut nodes = Vec::new();
    let mut names = vec![0; geometry.block_len()];
    for nth in 0..reserved {
        let block = first + nth;
        let slot = (geometry.descriptor_blocks + nth) % addresses;
        put(&mut names, slot, block)?;
        let mut indirect = vec![0; geometry.block_len()];
        for (slot, group) in (0..).zip(&copies) {
            let copy = block + u64::from(*group) * geometry.blocks_per_group;
            put(&mut indirect, slot, copy)?;
        }
        nodes.push((block, indirect));
    }
    nodes.push((double, names));

    let mut map = [0; MAP_BYTES];
    put(&mut map, DOUBLE_SLOT as u64, double)?;
    Ok(ResizeInode {
        map,
        size: (DIRECT + addresses + addresses * addresses) * u64::from(geometry.block_size),
        blocks: 1 + reserved * (1 + copies.len() as u64),
        nodes,
    })
}

fn put(block: &mut [u8], slot: u64, number: u64) -> Result<()> {
    let at = usize::try_from(slot)? * 4;
    block[at..at + 4].copy_from_slice(&u32::try_from(number)?.to_le_bytes());
    Ok(())
}
