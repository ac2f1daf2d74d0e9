//! The journal: empty and clean, so one block says it all.

use anyhow::Result;
use zerocopy::IntoBytes;
use zerocopy::big_endian::U32 as BigU32;

use super::format::{JOURNAL_MAGIC, JournalSuper};
use super::geometry::Geometry;

/// The first block of an empty journal; the others are zeros.
pub(super) fn first_block(geometry: &Geometry, uuid: [u8; 16]) -> Result<Vec<u8>> {
    let head = JournalSuper {
        magic: BigU32::new(JOURNAL_MAGIC),
        kind: BigU32::new(4),
        transaction: BigU32::ZERO,
        block_size: BigU32::new(geometry.block_size),
        blocks: BigU32::new(geometry.journal_blocks.try_into()?),
        first: BigU32::new(1),
        sequence: BigU32::new(1),
        start: BigU32::ZERO,
        error: BigU32::ZERO,
        features: [BigU32::ZERO; 3],
        uuid,
        users: BigU32::new(1),
    };
    let mut block = head.as_bytes().to_vec();
    block.resize(geometry.block_len(), 0);
    Ok(block)
}
