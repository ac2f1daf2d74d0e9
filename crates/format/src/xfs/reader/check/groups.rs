//! Allocation groups: headers, trees, and how they fit one another.

use std::mem::offset_of;

use anyhow::{Context, Result, ensure};
use zerocopy::FromBytes;
use zerocopy::big_endian::U32;

use super::space::What;
use super::{Check, known};
use crate::xfs::format::{
    ChunkRecord, FREE_INODE_TREE, FreeListHeader, FreeRecord, FreeSpaceHeader, GroupTreeHeader,
    InodeHeader, MAGIC_BY_PLACE, MAGIC_BY_SIZE, MAGIC_FREE_INODES, MAGIC_INODES, MAGIC_REFERENCES,
    NULL, REFERENCES, SharedRecord, Superblock, TREE_BLOCKS,
};
use crate::xfs::reader::blocks::{crc_fits, record};

/// Levels of a tree; the kernel takes at most 5 in groups as large as they get.
const LEVELS_MAX: u32 = 9;
/// Inodes in a chunk, and those that one bit of its holes stands for.
const CHUNK: u32 = 64;
const PER_HOLE: u32 = 4;
/// Set in records of blocks that are reserved for a copy.
const STAGING: u32 = 1 << 31;

/// A tree to be read.
struct Tree {
    name: &'static str,
    magic: [u8; 4],
    root: u32,
    levels: u32,
    /// Bytes at the start of records that are keys in nodes.
    key: usize,
}

/// A tree that was read.
struct Records<T> {
    records: Vec<T>,
    blocks: u32,
}

impl Check<'_> {
    /// Checks a group and the inodes in it.
    pub(super) fn group(&mut self, group: u32) -> Result<()> {
        let sector = usize::try_from(self.reader.facts.sector_size)?;
        let mut bytes = vec![0; sector * 4];
        self.reader
            .read_at(self.reader.group_position(group, 0), &mut bytes)?;
        let mut sectors = bytes.chunks_exact(sector);
        let mut next = || sectors.next().context("four sectors were read");
        let (superblock, free, inodes, list) = (next()?, next()?, next()?, next()?);
        let header_blocks = (sector * 4).div_ceil(self.reader.block_size()?);
        self.take(group, 0, header_blocks as u64, What::Headers)?;
        self.shares.push(false);
        if group > 0 {
            let checked = check_copy(superblock);
            let copy = self.faults.catch(
                || format!("reading the copy of the xfs superblock in group {group}"),
                checked,
            );
            if let Some(copy) = copy {
                self.copy(group, &copy);
            }
        }
        let result = self.free_space(group, free, list);
        self.faults.catch(
            || format!("checking the free space of xfs group {group}"),
            result,
        );
        let result = self.inode_trees(group, inodes);
        let chunks = self.faults.catch(
            || format!("checking the inode trees of xfs group {group}"),
            result,
        );
        for chunk in chunks.unwrap_or_default() {
            self.chunk(group, &chunk)?;
        }
        Ok(())
    }

    fn free_space(&mut self, group: u32, bytes: &[u8], list: &[u8]) -> Result<()> {
        let header: FreeSpaceHeader = record(bytes, 0)?;
        let crc = (offset_of!(FreeSpaceHeader, crc), header.crc.get());
        self.header(
            "free space header",
            group,
            bytes,
            crc,
            &header.uuid,
            header.lsn.get(),
        )?;
        ensure!(
            header.magic == *b"XAGF" && header.version.get() == 1 && header.group.get() == group,
            "its header is not that of group {group}"
        );
        let len = self.reader.group_len(group);
        ensure!(
            u64::from(header.blocks.get()) == len,
            "its header has {} blocks instead of {len}",
            header.blocks.get()
        );
        let starts: Records<FreeRecord> = self.tree(
            group,
            &Tree {
                name: "tree of free space by start",
                magic: MAGIC_BY_PLACE,
                root: header.roots[0].get(),
                levels: header.levels[0].get(),
                key: 8,
            },
        )?;
        let lengths: Records<FreeRecord> = self.tree(
            group,
            &Tree {
                name: "tree of free space by length",
                magic: MAGIC_BY_SIZE,
                root: header.roots[1].get(),
                levels: header.levels[1].get(),
                key: 8,
            },
        )?;
        self.free_list(group, &header, list)?;
        self.shared(group, &header)?;
        let free = self.free_extents(group, &starts.records, &lengths.records)?;
        let longest = starts.records.iter().map(|one| one.blocks.get()).max();
        let btree_blocks = (starts.blocks - 1) + (lengths.blocks - 1);
        for (what, said, is) in [
            ("free blocks", u64::from(header.free_blocks.get()), free),
            (
                "blocks in its longest free run",
                header.longest.get().into(),
                longest.unwrap_or(0).into(),
            ),
            (
                "blocks of trees of free space",
                header.tree_blocks.get().into(),
                btree_blocks.into(),
            ),
        ] {
            self.faults.add_unless(said == is, || {
                format!("xfs group {group} counts {said} {what}, but there are {is}")
            });
        }
        self.totals.free_blocks +=
            free + u64::from(header.list_count.get()) + u64::from(btree_blocks);
        Ok(())
    }

    fn free_extents(
        &mut self,
        group: u32,
        starts: &[FreeRecord],
        lengths: &[FreeRecord],
    ) -> Result<u64> {
        let mut sum = 0;
        let mut end = None;
        for one in starts {
            let (start, count) = (u64::from(one.start.get()), u64::from(one.blocks.get()));
            ensure!(
                count > 0
                    && end.is_none_or(|end| start > end)
                    && start + count <= self.reader.group_len(group),
                "the free run of {count} blocks at {start} is out of order"
            );
            self.take(group, start, count, What::Free)?;
            sum += count;
            end = Some(start + count);
        }
        let mut sorted = starts.to_vec();
        sorted.sort_by_key(|one| (one.blocks.get(), one.start.get()));
        ensure!(
            sorted == lengths,
            "its trees of free space by start and by length differ"
        );
        Ok(sum)
    }

    /// The blocks kept for trees of free space to grow.
    fn free_list(&mut self, group: u32, header: &FreeSpaceHeader, bytes: &[u8]) -> Result<()> {
        let list: FreeListHeader = record(bytes, 0)?;
        let crc = (offset_of!(FreeListHeader, crc), list.crc.get());
        self.header("free list", group, bytes, crc, &list.uuid, list.lsn.get())?;
        ensure!(
            list.magic == *b"XAFL" && list.group.get() == group,
            "its free list is not that of group {group}"
        );
        let slots = u32::try_from((bytes.len() - size_of::<FreeListHeader>()) / 4)?;
        let (first, last) = (header.list_first.get(), header.list_last.get());
        let count = header.list_count.get();
        ensure!(
            first < slots
                && last < slots
                && (last + slots - first + 1) % slots == count % slots
                && count <= slots,
            "its free list from {first} to {last} of {slots} does not have {count} blocks"
        );
        for index in 0..count {
            let slot = usize::try_from((first + index) % slots)?;
            let block: U32 = record(bytes, size_of::<FreeListHeader>() + slot * 4)?;
            ensure!(
                u64::from(block.get()) < self.reader.group_len(group),
                "its free list has block {}",
                block.get()
            );
            self.take(group, block.get().into(), 1, What::FreeList)?;
        }
        Ok(())
    }

    fn shared(&mut self, group: u32, header: &FreeSpaceHeader) -> Result<()> {
        if self.reader.superblock.read_only_compatible.get() & REFERENCES == 0 {
            return Ok(());
        }
        let shared: Records<SharedRecord> = self.tree(
            group,
            &Tree {
                name: "tree of reference counts",
                magic: MAGIC_REFERENCES,
                root: header.reference_root.get(),
                levels: header.reference_levels.get(),
                key: 4,
            },
        )?;
        self.faults
            .add_unless(shared.blocks == header.reference_blocks.get(), || {
                format!(
                    "xfs group {group} counts {} blocks of the tree of reference counts, but there are {}",
                    header.reference_blocks.get(),
                    shared.blocks
                )
            });
        for one in &shared.records {
            let start = one.start.get() & !STAGING;
            let count = u64::from(one.blocks.get());
            ensure!(
                u64::from(start) + count <= self.reader.group_len(group),
                "its reference counts have {count} blocks at {start}"
            );
            if one.start.get() & STAGING != 0 {
                self.take(group, start.into(), count, What::Staging)?;
            } else if let Some(shares) = self.shares.last_mut() {
                ensure!(
                    one.owners.get() > 1,
                    "its reference counts have blocks with {} owners at {start}",
                    one.owners.get()
                );
                *shares = true;
            }
        }
        Ok(())
    }

    fn inode_trees(&mut self, group: u32, bytes: &[u8]) -> Result<Vec<ChunkRecord>> {
        let header: InodeHeader = record(bytes, 0)?;
        let crc = (offset_of!(InodeHeader, crc), header.crc.get());
        self.header(
            "inode header",
            group,
            bytes,
            crc,
            &header.uuid,
            header.lsn.get(),
        )?;
        ensure!(
            header.magic == *b"XAGI" && header.version.get() == 1 && header.group.get() == group,
            "its header is not that of group {group}"
        );
        let len = self.reader.group_len(group);
        ensure!(
            u64::from(header.blocks.get()) == len,
            "its header has {} blocks instead of {len}",
            header.blocks.get()
        );
        ensure!(
            header.unlinked.iter().all(|bucket| bucket.get() == NULL),
            "it has unlinked inodes that are still there"
        );
        ensure!(
            known(header.directory.get()).is_none(),
            "its header has a field set that nothing uses any more"
        );
        let all: Records<ChunkRecord> = self.tree(
            group,
            &Tree {
                name: "tree of inodes",
                magic: MAGIC_INODES,
                root: header.root.get(),
                levels: header.levels.get(),
                key: 4,
            },
        )?;
        let ro_compat = self.reader.superblock.read_only_compatible.get();
        let mut blocks = vec![("the tree of inodes", header.tree_blocks.get(), all.blocks)];
        if ro_compat & FREE_INODE_TREE != 0 {
            let free: Records<ChunkRecord> = self.tree(
                group,
                &Tree {
                    name: "tree of free inodes",
                    magic: MAGIC_FREE_INODES,
                    root: header.free_root.get(),
                    levels: header.free_levels.get(),
                    key: 4,
                },
            )?;
            let expected = all.records.iter().filter(|chunk| chunk.free_count > 0);
            self.faults
                .add_unless(free.records.iter().eq(expected), || {
                    format!(
                        "the tree of free inodes of xfs group {group} does not have the chunks with free inodes"
                    )
                });
            blocks.push((
                "the tree of free inodes",
                header.free_tree_blocks.get(),
                free.blocks,
            ));
        }
        if ro_compat & TREE_BLOCKS != 0 {
            for (name, said, is) in blocks {
                self.faults.add_unless(said == is, || {
                    format!("xfs group {group} counts {said} blocks of {name}, but there are {is}")
                });
            }
        }
        self.chunks(group, &header, &all.records)?;
        Ok(all.records)
    }

    fn chunks(&mut self, group: u32, header: &InodeHeader, chunks: &[ChunkRecord]) -> Result<()> {
        let per_block = u32::from(self.reader.superblock.inodes_per_block.get());
        let align = self.reader.superblock.inode_alignment.get().max(1);
        let sparse_align = self.reader.superblock.sparse_alignment.get().max(1);
        let (mut count, mut free) = (0u64, 0u64);
        let mut end = 0;
        for chunk in chunks {
            let first = chunk.first.get();
            let holes = chunk.holes.get();
            let align = if holes == 0 { align } else { sparse_align };
            ensure!(
                first.is_multiple_of(per_block * align) && u64::from(first) >= end,
                "its inode chunk at {first} is out of place"
            );
            end = u64::from(first) + u64::from(CHUNK);
            let exist = (0..CHUNK)
                .filter(|slot| holes >> (slot / PER_HOLE) & 1 == 0)
                .fold(0u64, |mask, slot| mask | 1 << slot);
            let (is_count, is_free) = (exist.count_ones(), (exist & chunk.free.get()).count_ones());
            ensure!(
                (u32::from(chunk.count), u32::from(chunk.free_count)) == (is_count, is_free)
                    && (exist | chunk.free.get()) == u64::MAX,
                "its inode chunk at {first} counts {} inodes and {} free ones instead of {is_count} and {is_free}",
                chunk.count,
                chunk.free_count
            );
            count += u64::from(is_count);
            free += u64::from(is_free);
        }
        for (what, said, is) in [
            ("inodes", header.inodes.get(), count),
            ("free inodes", header.free.get(), free),
        ] {
            self.faults.add_unless(u64::from(said) == is, || {
                format!("xfs group {group} counts {said} {what}, but there are {is}")
            });
        }
        let newest = known(header.newest.get());
        self.faults.add_unless(
            newest.is_none_or(|newest| chunks.iter().any(|chunk| chunk.first.get() == newest)),
            || format!("the newest inode chunk of xfs group {group} is not there"),
        );
        self.totals.inodes += count;
        self.totals.free_inodes += free;
        Ok(())
    }

    /// Verifies what the headers of a group have in common.
    fn header(
        &self,
        name: &str,
        group: u32,
        bytes: &[u8],
        (field, crc): (usize, u32),
        uuid: &[u8; 16],
        lsn: u64,
    ) -> Result<()> {
        ensure!(
            crc_fits(bytes, field, crc),
            "the checksum of the {name} of group {group} is wrong"
        );
        ensure!(
            *uuid == self.reader.facts.metadata_uuid,
            "the {name} of group {group} has another file system's UUID"
        );
        self.reader
            .check_lsn(lsn)
            .with_context(|| format!("in the {name} of group {group}"))
    }

    /// Reads all records of a tree, and takes its blocks for used.
    fn tree<T: FromBytes>(&mut self, group: u32, tree: &Tree) -> Result<Records<T>> {
        self.read_tree(group, tree)
            .with_context(|| format!("reading the {}", tree.name))
    }

    fn read_tree<T: FromBytes>(&mut self, group: u32, tree: &Tree) -> Result<Records<T>> {
        ensure!(
            (1..=LEVELS_MAX).contains(&tree.levels),
            "it has {} levels",
            tree.levels
        );
        let mut records = Vec::new();
        let mut count = 0u32;
        let mut blocks: Vec<(u32, Vec<u8>)> = vec![(tree.root, Vec::new())];
        for level in (0..tree.levels).rev() {
            let mut below = Vec::new();
            for (index, (block, key)) in blocks.iter().enumerate() {
                let at = u64::from(*block);
                ensure!(
                    at < self.reader.group_len(group),
                    "its block {at} lies outside of the group"
                );
                count += 1;
                // A tree that leads into itself ends here.
                ensure!(
                    u64::from(count) <= self.reader.group_len(group),
                    "it has more blocks than the group"
                );
                self.take(group, at, 1, What::Tree(tree.name))?;
                let position = self.reader.group_position(group, at);
                let (header, bytes) = self
                    .reader
                    .block::<GroupTreeHeader>(position, group.into())?;
                let neighbour = |index: Option<usize>| {
                    index
                        .and_then(|index| blocks.get(index))
                        .map_or(NULL, |(block, _)| *block)
                };
                ensure!(
                    header.magic == tree.magic
                        && u32::from(header.level.get()) == level
                        && header.left.get() == neighbour(index.checked_sub(1))
                        && header.right.get() == neighbour(index.checked_add(1)),
                    "its block {at} is not level {level}, linked with its neighbours"
                );
                let entry = if level == 0 {
                    size_of::<T>()
                } else {
                    tree.key + 4
                };
                let start = size_of::<GroupTreeHeader>();
                let room = (bytes.len() - start) / entry;
                let used = usize::from(header.records.get());
                let least = match (blocks.len(), level) {
                    (1, 0) => 0,
                    (1, _) => 1,
                    _ => room / 2,
                };
                ensure!(
                    (least..=room).contains(&used),
                    "its block {at} has {used} records, not {least} to {room}"
                );
                let stride = if level == 0 { entry } else { tree.key };
                ensure!(
                    used == 0 || bytes[start..].starts_with(key),
                    "its block {at} does not start as the one above says"
                );
                for index in 0..used {
                    let record_at = start + index * stride;
                    if level == 0 {
                        records.push(record(&bytes, record_at)?);
                    } else {
                        let pointer = start + room * tree.key + index * 4;
                        let child: U32 = record(&bytes, pointer)?;
                        let key = bytes[record_at..record_at + tree.key].to_vec();
                        below.push((child.get(), key));
                    }
                }
            }
            blocks = below;
        }
        Ok(Records {
            records,
            blocks: count,
        })
    }
}

fn check_copy(bytes: &[u8]) -> Result<Superblock> {
    let copy: Superblock = record(bytes, 0)?;
    ensure!(copy.magic == *b"XFSB", "there is none");
    ensure!(
        crc_fits(bytes, offset_of!(Superblock, crc), copy.crc.get()),
        "its checksum is wrong"
    );
    Ok(copy)
}
