//! A plan, written down: descriptors, tables, and the contents of every inode.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use zerocopy::IntoBytes;

use super::checksum;
use super::directory;
use super::format::{
    FIRST_INODE, INODE_BYTES, InodeRecord, JOURNAL_INODE, RESIZE_INODE, ROOT_INODE, SUPER_OFFSET,
};
use super::geometry::Geometry;
use super::groups;
use super::inode::{self, Written};
use super::journal;
use super::plan::{Layout, Placed};
use super::resize::resize_inode;
use bake_tree::{Content, Meta, Node};

/// How much of a file is read at a time; a multiple of every block size.
const CHUNK: usize = 1 << 20;

/// The file system's range of the output file.
struct Target<'a> {
    out: &'a File,
    offset: u64,
    block_size: u64,
}

impl Target<'_> {
    fn bytes(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all_at(bytes, self.offset + at)
            .context("writing the ext4 file system")
    }

    fn block(&self, block: u64, bytes: &[u8]) -> Result<()> {
        self.bytes(block * self.block_size, bytes)
    }
}

impl Layout<'_> {
    /// Writes the file system into `out` from `offset` on. What is there must be zeros: they are
    /// not written again, so the file stays sparse.
    pub fn write(&self, out: &File, offset: u64) -> Result<()> {
        let target = Target {
            out,
            offset,
            block_size: u64::from(self.geometry.block_size),
        };
        let journal = inode::journal(self)?;
        let journal_map = journal.record.map;
        self.write_own_inodes(&target, journal)?;
        for placed in &self.placed {
            let written = inode::of_tree(self, placed)?;
            self.write_inode(&target, placed.number, &written)?;
            self.write_contents(&target, placed)?;
        }
        let first = self.journal.data.iter().map(|run| run.start).next();
        if let Some(block) = first {
            let head = journal::first_block(&self.geometry, self.options.uuid)?;
            target.block(block, &head)?;
        }
        self.write_groups(&target, &journal_map)
    }

    fn write_own_inodes(&self, target: &Target<'_>, journal: Written) -> Result<()> {
        for number in 1..FIRST_INODE {
            match number {
                ROOT_INODE => {}
                JOURNAL_INODE => self.write_inode(target, number, &journal)?,
                RESIZE_INODE => {
                    let made = resize_inode(&self.geometry, self.resize_block)?;
                    let written = inode::resize(self, made)?;
                    self.write_inode(target, number, &written)?;
                }
                _ => {
                    let written = Written {
                        record: inode::unused(self, number),
                        nodes: Vec::new(),
                    };
                    self.write_inode(target, number, &written)?;
                }
            }
        }
        Ok(())
    }

    fn write_inode(&self, target: &Target<'_>, number: u32, written: &Written) -> Result<()> {
        let per_group = self.geometry.inodes_per_group;
        let table = self.tables[((number - 1) / per_group) as usize].inode_table;
        let within = u64::from((number - 1) % per_group) * INODE_BYTES as u64;
        let record: &InodeRecord = &written.record;
        target.bytes(table * target.block_size + within, record.as_bytes())?;
        for (block, bytes) in &written.nodes {
            target.block(*block, bytes)?;
        }
        Ok(())
    }

    fn write_contents(&self, target: &Target<'_>, placed: &Placed) -> Result<()> {
        let node = placed.id.map(|id| &self.tree.inode(id).node);
        let content = match node {
            None | Some(Node::Directory(_)) => {
                let entries = placed.id.map(|id| self.entries(id)).unwrap_or_default();
                let least = if placed.number == FIRST_INODE {
                    self.lost_found_blocks()
                } else {
                    1
                };
                Content::bytes(directory::blocks(
                    placed.number,
                    placed.parent,
                    &entries,
                    least,
                    self.geometry.block_len(),
                    self.inode_seed(placed.number),
                )?)
            }
            Some(Node::File(content)) => content.clone(),
            Some(Node::Symlink(bytes)) => Content::bytes(&**bytes),
            Some(_) => return Ok(()),
        };
        let mut buffer = Vec::new();
        let mut done = 0;
        for run in &placed.blocks.data {
            let mut at = run.start * target.block_size;
            let end = done + (run.len * target.block_size).min(content.len() - done);
            while done < end {
                buffer.resize(CHUNK.min(usize::try_from(end - done)?), 0);
                content
                    .read_at(done, &mut buffer)
                    .with_context(|| format!("reading {}", self.path(placed)))?;
                self.write_sparse(target, at, &buffer)?;
                done += buffer.len() as u64;
                at += buffer.len() as u64;
            }
        }
        Ok(())
    }

    /// Leaves out blocks of zeros.
    fn write_sparse(&self, target: &Target<'_>, at: u64, bytes: &[u8]) -> Result<()> {
        let block = self.geometry.block_len();
        let is_zero = |block: &&[u8]| block.iter().all(|byte| *byte == 0);
        let mut from = 0;
        while from < bytes.len() {
            let zeros = bytes[from..].chunks(block).take_while(is_zero).count();
            from = (from + zeros * block).min(bytes.len());
            let filled = bytes[from..]
                .chunks(block)
                .take_while(|block| !is_zero(block))
                .count();
            let end = (from + filled * block).min(bytes.len());
            if end > from {
                target.bytes(at + from as u64, &bytes[from..end])?;
            }
            from = end;
        }
        Ok(())
    }

    fn write_groups(&self, target: &Target<'_>, journal_map: &[u8]) -> Result<()> {
        let groups = groups::describe(self)?;
        for group in &groups {
            if let Some(bitmap) = &group.block_bitmap {
                target.block(group.tables.block_bitmap, bitmap)?;
            }
            if let Some(bitmap) = &group.inode_bitmap {
                target.block(group.tables.inode_bitmap, bitmap)?;
            }
        }
        let mut descriptors = Vec::new();
        for group in &groups {
            descriptors.extend_from_slice(group.descriptor.as_bytes());
        }
        for group in (0..self.geometry.groups).filter(|group| Geometry::has_super(*group)) {
            let start = self.geometry.group_start(group);
            let head = groups::super_block(self, &groups, group, journal_map)?;
            let at = if group == 0 {
                SUPER_OFFSET
            } else {
                start * target.block_size
            };
            target.bytes(at, head.as_bytes())?;
            target.block(start + 1, &descriptors)?;
        }
        Ok(())
    }

    /// What all metadata sums start from: the first UUID's, kept when the UUID changes.
    pub(super) fn checksum_seed(&self) -> u32 {
        checksum::of(&self.options.uuid)
    }

    /// What the sums of one inode's records start from; generations are all 0.
    pub(super) fn inode_seed(&self, number: u32) -> u32 {
        checksum::inode_seed(self.checksum_seed(), number, 0)
    }

    /// Owner and times of the inodes that belong to the file system itself.
    pub(super) fn own_meta(&self) -> Meta {
        Meta {
            mtime: i64::from(self.options.time),
            ..Meta::root(0o600)
        }
    }
}
