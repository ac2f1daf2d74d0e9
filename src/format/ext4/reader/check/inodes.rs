//! Inodes one by one: blocks, attributes, and whether they are used as their group says.

use anyhow::{Context, Result, ensure};

use super::space::What;
use super::{Check, Inode, RESIZE};
use crate::format::ext4::reader::disk::flag;
use crate::format::ext4::reader::extents::Map;
use crate::format::ext4::reader::inode::{Entry, Kind, RawInode};

impl Check<'_> {
    /// Checks an inode; returns whether it is a directory.
    pub(super) fn inode(&mut self, table: u64, number: u32, used: bool) -> Result<bool> {
        let raw = self.reader.raw_inode_in(table, number)?;
        let core = &raw.core;
        if !used {
            ensure!(
                core.links.get() == 0,
                "it has links, but its group says it is not used"
            );
            return Ok(false);
        }
        if number < self.reader.superblock.first_inode.get() && core.mode.get() == 0 {
            // One that the file system keeps for itself and has no use for.
            ensure!(
                core.links.get() == 0 && core.blocks_low.get() == 0,
                "it has no type, but links or blocks"
            );
            return Ok(false);
        }
        let entry = self.reader.entry(number, &raw)?;
        let directory = entry.kind == Kind::Directory;
        // Known from here on, so that what else is wrong with it does not make its names wrong.
        self.inodes.insert(number, Inode::new(&entry));
        self.contents(&entry, &raw)?;
        Ok(directory)
    }

    fn contents(&mut self, entry: &Entry, raw: &RawInode) -> Result<()> {
        let block_size = u64::from(self.reader.facts.block_size);
        let map = self.reader.map(entry).context("in its blocks")?;
        let mut blocks = map.tree.len() as u64;
        for extent in &map.extents {
            blocks += extent.count;
            self.take(
                extent.position / block_size,
                extent.count,
                What::Inode(entry.number),
            )?;
        }
        for position in &map.tree {
            self.take(position / block_size, 1, What::Inode(entry.number))?;
        }
        if entry.attr_block != 0 {
            blocks += 1;
            *self.attr_blocks.entry(entry.attr_block).or_default() += 1;
        }
        ensure!(
            entry.stored_bytes == blocks * block_size,
            "it counts {} bytes in blocks, but has {}",
            entry.stored_bytes,
            blocks * block_size
        );
        ensure!(
            raw.core.flags.get() & flag::EXTENTS == 0 || !entry.inline,
            "it has extents, which its kind has not"
        );
        self.reader.xattrs(entry)?;
        check_end(entry, &map, block_size)
    }

    /// Checks the blocks of attributes, which inodes may share.
    pub(super) fn attribute_blocks(&mut self) -> Result<()> {
        for (block, users) in std::mem::take(&mut self.attr_blocks) {
            self.take(block, 1, What::Attributes)?;
            // One that can't be read was reported with its inode.
            let Ok((header, _)) = self.reader.attr_block(block) else {
                continue;
            };
            self.faults
                .add_unless(header.references.get() == users, || {
                    format!(
                        "ext4 block {block} of attributes counts {} inodes, but {users} have it",
                        header.references.get()
                    )
                });
        }
        Ok(())
    }
}

/// Checks a size against the blocks.
fn check_end(entry: &Entry, map: &Map, block_size: u64) -> Result<()> {
    let written = map.extents.iter().filter(|extent| !extent.unwritten);
    let end = written.map(|extent| extent.offset + extent.count).max();
    // The resize inode's size is that of all it could ever cover.
    ensure!(
        entry.inline
            || entry.number == RESIZE
            || end.unwrap_or(0) <= entry.size.div_ceil(block_size),
        "it has written blocks up to {} behind its end at {} bytes",
        end.unwrap_or(0),
        entry.size
    );
    Ok(())
}
