//! Groups: where their tables are, and their inodes against bitmap and counts.

use anyhow::{Result, ensure};

use super::Check;
use super::space::What;
use crate::format::ext4::reader::blocks::{Group, crc};
use crate::format::ext4::reader::disk::group_flag;

impl Check<'_> {
    /// Takes the blocks that a group has for itself, and checks its copies.
    pub(super) fn layout(&mut self, group: u32) -> Result<()> {
        if self.reader.has_copy(group) {
            let start = self.reader.group_start(group);
            let count = 1 + self.reader.descriptor_blocks();
            self.take(start, count, What::Headers)?;
            if group > 0 {
                let result = self.copy(group);
                self.faults.catch(
                    || format!("checking the copy of the ext4 superblock in group {group}"),
                    result,
                );
            }
        }
        if let Some(found) = self.groups.get(index(group)).cloned().flatten() {
            self.take(found.block_bitmap, 1, What::BlockBitmap(group))?;
            self.take(found.inode_bitmap, 1, What::InodeBitmap(group))?;
            self.take(
                found.inode_table,
                self.reader.table_blocks(),
                What::InodeTable(group),
            )?;
        }
        Ok(())
    }

    /// A bitmap with its checksum verified; `len` bytes of it are meant.
    pub(super) fn bitmap(&self, block: u64, len: usize, said: u32, mask: u32) -> Result<Vec<u8>> {
        let bytes = self.reader.block(block)?;
        if let Some(seed) = self.reader.seed {
            ensure!(
                crc(seed, &bytes[..len]) & mask == said & mask,
                "its checksum is wrong"
            );
        }
        Ok(bytes)
    }

    /// Checks a group's inodes.
    pub(super) fn inode_table(&mut self, group: u32) -> Result<()> {
        let Some(found) = self.groups.get(index(group)).cloned().flatten() else {
            return Ok(());
        };
        let result = self.inode_bitmap(&found);
        let bitmap = self.faults.catch(
            || format!("checking the inode bitmap of ext4 group {group}"),
            result,
        );
        let Some(bitmap) = bitmap else {
            return Ok(());
        };
        let per_group = self.reader.superblock.group_inodes.get();
        let first = group * per_group + 1;
        let (mut free, mut directories) = (0, 0);
        for slot in 0..per_group {
            let used = bit(&bitmap, slot.into());
            free += u32::from(!used);
            if slot >= per_group.saturating_sub(found.unused) {
                self.faults.add_unless(!used, || {
                    format!(
                        "ext4 inode {} is used, but its group says it never was",
                        first + slot
                    )
                });
                if !used {
                    continue;
                }
            }
            let number = first + slot;
            let result = self.inode(found.inode_table, number, used);
            let directory = self
                .faults
                .catch(|| format!("checking ext4 inode {number}"), result);
            directories += u32::from(directory.unwrap_or(false));
        }
        for (what, said, is) in [
            ("free inodes", found.free_inodes, free),
            ("directories", found.directories, directories),
        ] {
            self.faults.add_unless(said == is, || {
                format!("ext4 group {group} counts {said} {what}, but has {is}")
            });
        }
        self.free_inodes += u64::from(free);
        Ok(())
    }

    fn inode_bitmap(&self, group: &Group) -> Result<Vec<u8>> {
        let per_group = self.reader.superblock.group_inodes.get();
        if group.flags & group_flag::NO_INODES != 0 && self.reader.seed.is_some() {
            ensure!(
                group.unused == per_group && group.free_inodes == per_group,
                "there is none, but the group has inodes"
            );
            return Ok(vec![0; usize::try_from(per_group)?.div_ceil(8)]);
        }
        ensure!(
            group.unused <= per_group,
            "its group has {} unused inodes",
            group.unused
        );
        let bytes = self.bitmap(
            group.inode_bitmap,
            usize::try_from(per_group / 8)?,
            group.inode_checksum,
            group.checksum_mask,
        )?;
        let size = u64::from(self.reader.facts.block_size) * 8;
        ensure!(
            (per_group.into()..size).all(|slot| bit(&bytes, slot)),
            "what is behind its end is not set"
        );
        Ok(bytes)
    }
}

/// Bit `at` of a bitmap; those behind its end are not set.
pub(super) fn bit(bytes: &[u8], at: u64) -> bool {
    usize::try_from(at / 8)
        .ok()
        .and_then(|index| bytes.get(index))
        .is_some_and(|byte| byte >> (at % 8) & 1 != 0)
}

/// A group's place in the list of groups.
pub(super) fn index(group: u32) -> usize {
    usize::try_from(group).unwrap_or(usize::MAX)
}
