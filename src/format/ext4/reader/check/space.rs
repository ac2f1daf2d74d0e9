//! Every block belongs to one thing, and the bitmaps say so.

use std::fmt;

use anyhow::{Result, ensure};

use super::groups::{bit, index};
use super::{Check, RESIZE};
use crate::format::ext4::reader::disk::group_flag;

/// A run of blocks that belongs to something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub(super) start: u64,
    pub(super) count: u64,
    pub(super) what: What,
}

/// What blocks can belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A superblock and the descriptors behind it.
    Headers,
    BlockBitmap(u32),
    InodeBitmap(u32),
    InodeTable(u32),
    Attributes,
    /// An inode's contents, and the tree they are in.
    Inode(u32),
}

impl What {
    /// Whether a group has it whatever is stored.
    fn fixed(self) -> bool {
        match self {
            Self::Attributes => false,
            // It holds the room that descriptors may grow into.
            Self::Inode(number) => number == RESIZE,
            _ => true,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headers => write!(f, "a superblock and descriptors"),
            Self::BlockBitmap(group) => write!(f, "the block bitmap of group {group}"),
            Self::InodeBitmap(group) => write!(f, "the inode bitmap of group {group}"),
            Self::InodeTable(group) => write!(f, "the inode table of group {group}"),
            Self::Attributes => write!(f, "a block of attributes"),
            Self::Inode(number) => write!(f, "inode {number}"),
        }
    }
}

impl Check<'_> {
    /// Compares all that is used with the bitmaps.
    pub(super) fn space(&mut self) {
        let mut uses = std::mem::take(&mut self.uses);
        uses.sort_by_key(|one| (one.start, one.count));
        let mut end = 0;
        let mut last = What::Headers;
        for one in &uses {
            self.faults.add_unless(one.start >= end, || {
                format!(
                    "ext4 block {} belongs to {last} and to {}",
                    one.start, one.what
                )
            });
            if one.start + one.count > end {
                end = one.start + one.count;
                last = one.what;
            }
        }
        let mut from = 0;
        for group in 0..self.reader.facts.groups {
            let start = self.reader.group_start(group);
            while let Some(one) = uses.get(from)
                && one.start + one.count <= start
            {
                from += 1;
            }
            let result = self.block_bitmap(group, &uses[from..]);
            self.faults.catch(
                || format!("checking the block bitmap of ext4 group {group}"),
                result,
            );
        }
    }

    fn block_bitmap(&mut self, group: u32, uses: &[Use]) -> Result<()> {
        let Some(found) = self.groups.get(index(group)).cloned().flatten() else {
            return Ok(());
        };
        let (start, len) = (self.reader.group_start(group), self.reader.group_len(group));
        let uninitialised = found.flags & group_flag::NO_BLOCKS != 0 && self.reader.seed.is_some();
        let mut used = vec![false; usize::try_from(len)?];
        for one in uses {
            if one.start >= start + len {
                break;
            }
            ensure!(
                !uninitialised || one.what.fixed(),
                "there is none, but {} is in the group",
                one.what
            );
            let first = one.start.saturating_sub(start);
            let end = (one.start + one.count - start).min(len);
            used[usize::try_from(first)?..usize::try_from(end)?].fill(true);
        }
        let free = used.iter().filter(|used| !**used).count() as u64;
        self.free_blocks += free;
        ensure!(
            u64::from(found.free_blocks) == free,
            "its group counts {} free blocks, but has {free}",
            found.free_blocks
        );
        if uninitialised {
            return Ok(());
        }
        let meant = usize::try_from(self.reader.superblock.group_blocks.get() / 8)?;
        let bytes = self.bitmap(
            found.block_bitmap,
            meant,
            found.block_checksum,
            found.checksum_mask,
        )?;
        for (at, used) in used.iter().enumerate() {
            let said = bit(&bytes, at as u64);
            ensure!(
                said == *used,
                "it says that block {} is {}, but it {}",
                start + at as u64,
                if said { "used" } else { "free" },
                if *used {
                    "is used"
                } else {
                    "belongs to nothing"
                }
            );
        }
        let size = u64::from(self.reader.facts.block_size) * 8;
        ensure!(
            (len..size).all(|at| bit(&bytes, at)),
            "what is behind its end is not set"
        );
        Ok(())
    }
}
