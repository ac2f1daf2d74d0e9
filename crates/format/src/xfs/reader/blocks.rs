//! Blocks: where they are, and what their headers must say.

use std::mem::offset_of;

use anyhow::{Context, Result, ensure};
use zerocopy::FromBytes;

use super::Reader;
use crate::xfs::format::{GroupTreeHeader, HashedHeader, MapTreeHeader, NamesHeader, RemoteHeader};

/// Units of block positions in headers.
const POSITION_UNIT: u64 = 512;

/// Whether `found` is the checksum of `bytes`, taken with its field at `field` zero.
pub(super) fn crc_fits(bytes: &[u8], field: usize, found: u32) -> bool {
    let (Some(before), Some(after)) = (bytes.get(..field), bytes.get(field + 4..)) else {
        return false;
    };
    let crc = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    crc32c::crc32c_append(crc, after) == found
}

/// The record at `offset` of `bytes`.
pub(super) fn record<T: FromBytes>(bytes: &[u8], offset: usize) -> Result<T> {
    bytes
        .get(offset..)
        .and_then(|bytes| T::read_from_prefix(bytes).ok())
        .map(|(record, _)| record)
        .with_context(|| format!("a record at {offset} of {} bytes is cut short", bytes.len()))
}

/// What a checksummed block says of itself.
pub(super) struct Stamp {
    pub(super) crc: u32,
    /// Own position in units of 512 bytes.
    pub(super) position: u64,
    pub(super) lsn: u64,
    pub(super) uuid: [u8; 16],
    pub(super) owner: u64,
}

/// Header of a checksummed block.
pub(super) trait Header: FromBytes {
    const CRC: usize;
    fn stamp(&self) -> Stamp;
}

macro_rules! stamped {
    ($header:ty, $owner:ident) => {
        impl Header for $header {
            const CRC: usize = offset_of!($header, crc);
            fn stamp(&self) -> Stamp {
                Stamp {
                    crc: self.crc.get(),
                    position: self.daddr.get(),
                    lsn: self.lsn.get(),
                    uuid: self.uuid,
                    owner: self.$owner.get().into(),
                }
            }
        }
    };
}

stamped!(GroupTreeHeader, group);
stamped!(MapTreeHeader, owner);
stamped!(NamesHeader, owner);
stamped!(HashedHeader, owner);
stamped!(RemoteHeader, owner);

impl Reader {
    /// Blocks of allocation group `group`.
    pub(super) fn group_len(&self, group: u32) -> u64 {
        let blocks = u64::from(self.facts.group_blocks);
        let before = u64::from(group) * blocks;
        self.superblock
            .blocks
            .get()
            .saturating_sub(before)
            .min(blocks)
    }

    /// Position in the image of block `block` of `group`, which was checked.
    pub(super) fn group_position(&self, group: u32, block: u64) -> u64 {
        (u64::from(group) * u64::from(self.facts.group_blocks) + block)
            * u64::from(self.facts.block_size)
    }

    /// Group and block in it of a block number; `count` blocks from there must be in the group.
    pub(super) fn split_block(&self, number: u64, count: u64) -> Result<(u32, u64)> {
        let log = u32::from(self.superblock.group_bits);
        let block = number & ((1 << log) - 1);
        let group = u32::try_from(number >> log)
            .ok()
            .filter(|group| *group < self.facts.groups)
            .filter(|group| {
                block
                    .checked_add(count)
                    .is_some_and(|end| end <= self.group_len(*group))
            })
            .with_context(|| format!("{count} blocks at {number:#x} are not in one group"))?;
        Ok((group, block))
    }

    /// Position in the image of a block number.
    pub(super) fn block_position(&self, number: u64) -> Result<u64> {
        let (group, block) = self.split_block(number, 1)?;
        Ok(self.group_position(group, block))
    }

    /// Bytes of a block.
    pub(super) fn block_size(&self) -> Result<usize> {
        Ok(usize::try_from(self.facts.block_size)?)
    }

    /// The block at `position` of the image, with its header verified.
    pub(super) fn block<H: Header>(&self, position: u64, owner: u64) -> Result<(H, Vec<u8>)> {
        let mut bytes = vec![0; self.block_size()?];
        self.read_at(position, &mut bytes)?;
        let header: H = record(&bytes, 0)?;
        let stamp = header.stamp();
        ensure!(
            crc_fits(&bytes, H::CRC, stamp.crc),
            "the block at {position} has a wrong checksum"
        );
        ensure!(
            stamp.position == position / POSITION_UNIT,
            "the block at {position} takes itself for sector {} instead of {}",
            stamp.position,
            position / POSITION_UNIT
        );
        ensure!(
            stamp.uuid == self.facts.metadata_uuid,
            "the block at {position} has another file system's UUID"
        );
        ensure!(
            stamp.owner == owner,
            "the block at {position} has owner {} instead of {owner}",
            stamp.owner
        );
        self.check_lsn(stamp.lsn)
            .with_context(|| format!("in the block at {position}"))?;
        Ok((header, bytes))
    }

    /// Whether the log knows of this sequence number.
    pub(super) fn check_lsn(&self, lsn: u64) -> Result<()> {
        // Values of attributes are never logged, and have this number instead.
        const NEVER_LOGGED: u64 = u64::MAX;
        ensure!(
            lsn <= self.newest_lsn || lsn == NEVER_LOGGED,
            "the log sequence number {}:{} is ahead of the log's head {}:{}",
            lsn >> 32,
            lsn & 0xffff_ffff,
            self.newest_lsn >> 32,
            self.newest_lsn & 0xffff_ffff
        );
        Ok(())
    }
}
