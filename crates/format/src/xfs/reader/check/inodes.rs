//! Inodes against their chunks, and names against inodes.

use anyhow::{Context, Result, ensure};

use super::Check;
use super::space::What;
use crate::file_type::file_type;
use crate::xfs::format::{BIG_TIME, ChunkRecord, FLAG2_BIG_TIME, NULL};
use crate::xfs::reader::extents::Map;
use crate::xfs::reader::inode::{Entry, RawInode};
use bake_tree::Kind;

/// What the names are compared with.
pub(super) struct Inode {
    file_type: u8,
    /// As it says, and as they were found.
    links: u32,
    found: u32,
    /// For directories: the one it has a name in.
    named_in: Option<u64>,
    /// For directories: the one its ".." is.
    parent: Option<u64>,
    pub(super) attributes: bool,
}

const SLOTS: u32 = 64;
const PER_HOLE: u32 = 4;

impl Check<'_> {
    /// Checks the inodes of a chunk.
    pub(super) fn chunk(&mut self, group: u32, chunk: &ChunkRecord) -> Result<()> {
        let superblock = &self.reader.superblock;
        let per_block_log = superblock.inodes_per_block_bits;
        let group_shift = u32::from(superblock.group_bits) + u32::from(per_block_log);
        let per_block = 1u32 << per_block_log;
        for slot in 0..SLOTS {
            if chunk.holes.get() >> (slot / PER_HOLE) & 1 != 0 {
                continue;
            }
            let in_group = u64::from(chunk.first.get()) + u64::from(slot);
            if in_group.is_multiple_of(per_block.into()) {
                let block = in_group >> per_block_log;
                if block >= self.reader.group_len(group) {
                    self.faults.add(format!(
                        "the inode chunk at {} of xfs group {group} lies outside of it",
                        chunk.first
                    ));
                    return Ok(());
                }
                self.take(group, block, 1, What::Inodes)?;
            }
            let number = u64::from(group) << group_shift | in_group;
            let free = chunk.free.get() >> slot & 1 != 0;
            let result = self
                .reader
                .raw_inode(number)
                .and_then(|raw| self.inode(number, &raw, free));
            self.faults
                .catch(|| format!("checking xfs inode {number}"), result);
        }
        Ok(())
    }

    fn inode(&mut self, number: u64, raw: &RawInode, free: bool) -> Result<()> {
        let core = &raw.core;
        if free {
            ensure!(
                core.mode.get() == 0
                    && core.links.get() == 0
                    && core.blocks.get() == 0
                    && core.next_unlinked.get() == NULL,
                "it is in use, but its chunk says it is not"
            );
            return Ok(());
        }
        let entry = self.reader.entry(number, raw)?;
        // Known from here on, so that what else is wrong with it does not make its names wrong.
        self.inodes.insert(
            number,
            Inode {
                file_type: file_type(&entry.kind),
                links: entry.links,
                found: 0,
                named_in: None,
                parent: None,
                attributes: entry.attrs.is_some(),
            },
        );
        let big = core.flags2.get() & FLAG2_BIG_TIME != 0;
        ensure!(
            big || !self.reader.incompat(BIG_TIME),
            "it has small timestamps, where the file system has big ones"
        );
        let data = self.reader.map(number, &entry.data)?;
        let attrs = match &entry.attrs {
            Some(fork) => self.reader.map(number, fork).context("in its attributes")?,
            None => Map::default(),
        };
        let mut blocks = 0;
        for map in [&data, &attrs] {
            blocks += map.tree.len() as u64;
            blocks += map.extents.iter().map(|extent| extent.count).sum::<u64>();
        }
        let reflink = entry.reflink && matches!(entry.kind, Kind::File { .. });
        self.take_map(&data, number, reflink)?;
        self.take_map(&attrs, number, false)?;
        ensure!(
            attrs.extents.iter().all(|extent| !extent.unwritten),
            "its attributes have blocks that were never written"
        );
        ensure!(
            blocks == entry.blocks,
            "it counts {} blocks, but has {blocks}",
            entry.blocks
        );
        self.reader.xattrs(&entry)?;
        check_symlink(&entry, &data, self.reader.facts.block_size)
    }

    fn take_map(&mut self, map: &Map, number: u64, shared: bool) -> Result<()> {
        let block_size = u64::from(self.reader.facts.block_size);
        // Extents lie within one group, so numbers from the image's start will do.
        for extent in &map.extents {
            let what = if shared {
                What::Shared(number)
            } else {
                What::Inode(number)
            };
            self.take(0, extent.position / block_size, extent.count, what)?;
        }
        for position in &map.tree {
            self.take(0, position / block_size, 1, What::Inode(number))?;
        }
        Ok(())
    }

    /// Reads all directories, and compares names and links.
    pub(super) fn names(&mut self) {
        let superblock = &self.reader.superblock;
        let root = superblock.root_inode.get();
        let directories: Vec<u64> = self
            .inodes
            .iter()
            .filter(|(_, inode)| inode.file_type == file_type(&Kind::Directory))
            .map(|(number, _)| *number)
            .collect();
        for number in directories {
            let result = self.directory(number);
            self.faults
                .catch(|| format!("checking xfs directory {number}"), result);
        }
        let own: Vec<u64> = [
            superblock.bitmap_inode.get(),
            superblock.summary_inode.get(),
            superblock.quota_inodes[0].get(),
            superblock.quota_inodes[1].get(),
            superblock.project_quota_inode.get(),
        ]
        .into_iter()
        .filter(|number| ![0, u64::MAX].contains(number))
        .collect();
        for number in &own {
            match self.inodes.get_mut(number) {
                Some(inode) => inode.found += 1,
                None => self
                    .faults
                    .add(format!("the superblock's xfs inode {number} is not in use")),
            }
        }
        self.links(root, &own);
    }

    fn directory(&mut self, number: u64) -> Result<()> {
        let entry = self.reader.by_number(number)?;
        let listing = self.reader.listing(&entry)?;
        let mut directories = 0;
        for name in &listing.names {
            let Some(inode) = self.inodes.get_mut(&name.number) else {
                self.faults.add(format!(
                    "{} in xfs directory {number} is inode {}, which is not in use or damaged",
                    name.name.escape_ascii(),
                    name.number
                ));
                continue;
            };
            self.faults
                .add_unless(inode.file_type == name.file_type, || {
                    format!(
                        "{} in xfs directory {number} has file type {}, its inode {} has {}",
                        name.name.escape_ascii(),
                        name.file_type,
                        name.number,
                        inode.file_type
                    )
                });
            inode.found = inode.found.saturating_add(1);
            if inode.file_type == file_type(&Kind::Directory) {
                directories += 1;
                let before = inode.named_in.replace(number);
                self.faults.add_unless(before.is_none(), || {
                    format!("xfs directory {} has two names", name.number)
                });
            }
        }
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.parent = Some(listing.parent);
            // Its "." and the ".." of those in it.
            inode.found = inode.found.saturating_add(1 + directories);
        }
        Ok(())
    }

    fn links(&mut self, root: u64, own: &[u64]) {
        let mut faults = std::mem::take(&mut self.faults);
        if let Some(inode) = self.inodes.get_mut(&root) {
            // The root's ".." is itself.
            inode.found = inode.found.saturating_add(1);
            faults.add_unless(
                inode.named_in.is_none() && inode.parent.is_none_or(|parent| parent == root),
                || "the xfs root directory lies in another one".to_owned(),
            );
        }
        for (number, inode) in &self.inodes {
            faults.add_unless(inode.links == inode.found, || {
                format!(
                    "xfs inode {number} counts {} links, but has {}",
                    inode.links, inode.found
                )
            });
            let directory = inode.file_type == file_type(&Kind::Directory);
            if directory && *number != root {
                faults.add_unless(
                    inode.parent.is_none() || inode.parent == inode.named_in,
                    || format!("the \"..\" of xfs directory {number} is not where its name is"),
                );
                faults.add_unless(self.reached(*number, root), || {
                    format!("xfs directory {number} can't be reached from the root")
                });
            }
            faults.add_unless(
                directory || !own.contains(number) || inode.found == 1,
                || format!("xfs inode {number} is the file system's own, but has a name"),
            );
        }
        self.faults = faults;
    }

    /// Whether going up from a directory leads to the root.
    fn reached(&self, number: u64, root: u64) -> bool {
        let mut at = number;
        for _ in 0..DEPTH_MAX {
            if at == root {
                return true;
            }
            match self.inodes.get(&at).and_then(|inode| inode.named_in) {
                Some(above) => at = above,
                None => return false,
            }
        }
        false
    }
}

/// Directories inside one another. A path of this many one-byte names is as long as the kernel's
/// `PATH_MAX` allows.
const DEPTH_MAX: usize = 2048;

fn check_symlink(entry: &Entry, data: &Map, block_size: u32) -> Result<()> {
    let blocks: u64 = data.extents.iter().map(|extent| extent.count).sum();
    ensure!(
        !matches!(entry.kind, Kind::Symlink(_)) || blocks <= 1024 / u64::from(block_size) + 1,
        "its target has {blocks} blocks"
    );
    Ok(())
}
