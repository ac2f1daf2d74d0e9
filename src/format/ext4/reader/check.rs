//! The check of a whole file system: every block belongs to one thing, every count is right.

mod groups;
mod inodes;
mod names;
mod space;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use self::names::Inode;
use self::space::{Use, What};
use super::Reader;
use super::blocks::{Group, crc, record};
use super::disk::{Journal, Superblock, feature, flag};
use crate::format::faults::Faults;

/// Runs of blocks that a check keeps in memory, a hundred times those of a system's disk: what a
/// crafted image can cost.
const USES_MAX: usize = 1 << 24;
const JOURNAL_MAGIC: u32 = 0xc03b_3998;
const JOURNAL_SUPERBLOCK: u32 = 4;
/// Inodes of the file system's own.
const RESIZE: u32 = 7;
/// "Cleanly unmounted", and nothing else.
const CLEAN: u16 = 1;

/// A check under way.
struct Check<'a> {
    reader: &'a Reader,
    faults: Faults,
    /// Descriptors that could be read.
    groups: Vec<Option<Group>>,
    uses: Vec<Use>,
    inodes: BTreeMap<u32, Inode>,
    /// How many inodes have a block of attributes.
    attr_blocks: BTreeMap<u64, u32>,
    free_blocks: u64,
    free_inodes: u64,
}

impl Reader {
    /// Checks all of the file system, and returns every fault as one sentence; none if it is
    /// sound. Fails where it can't be checked.
    pub fn check(&self) -> Result<Vec<String>> {
        ensure!(
            !self.compat(feature::SPARSE_SUPER2) && !self.ro_compat(feature::GDT_CSUM),
            "an ext4 file system with the features sparse_super2 or uninit_bg can't be checked"
        );
        let mut check = Check {
            reader: self,
            faults: Faults::default(),
            groups: Vec::new(),
            uses: Vec::new(),
            inodes: BTreeMap::new(),
            attr_blocks: BTreeMap::new(),
            free_blocks: 0,
            free_inodes: 0,
        };
        check.run()?;
        Ok(check.faults.into_list())
    }

    /// Whether a group starts with a copy of the superblock and the descriptors.
    fn has_copy(&self, group: u32) -> bool {
        let power = |base: u32| {
            let mut power = 1u64;
            while power < u64::from(group) {
                power *= u64::from(base);
            }
            power == u64::from(group)
        };
        !self.ro_compat(feature::SPARSE_SUPER) || group <= 1 || power(3) || power(5) || power(7)
    }

    /// First block of a group.
    fn group_start(&self, group: u32) -> u64 {
        u64::from(self.superblock.first_block.get())
            + u64::from(group) * u64::from(self.superblock.group_blocks.get())
    }

    /// Blocks in a group.
    fn group_len(&self, group: u32) -> u64 {
        let left = self.blocks() - self.group_start(group);
        left.min(self.superblock.group_blocks.get().into())
    }

    /// Blocks of all descriptors.
    fn descriptor_blocks(&self) -> u64 {
        let bytes = u64::from(self.facts.groups) * self.descriptor_size() as u64;
        bytes.div_ceil(self.facts.block_size.into())
    }
}

impl Check<'_> {
    fn run(&mut self) -> Result<()> {
        self.superblock();
        for group in 0..self.reader.facts.groups {
            let found = self.reader.group(group);
            let found = self.faults.catch(|| "checking groups".to_owned(), found);
            self.groups.push(found);
        }
        for group in 0..self.reader.facts.groups {
            self.layout(group)?;
        }
        for group in 0..self.reader.facts.groups {
            self.inode_table(group)?;
        }
        self.names();
        self.attribute_blocks()?;
        self.space();
        let superblock = &self.reader.superblock;
        let block_size = u64::from(self.reader.facts.block_size);
        for (what, said, is) in [
            (
                "free blocks",
                self.reader.facts.free_bytes / block_size,
                self.free_blocks,
            ),
            (
                "free inodes",
                superblock.free_inodes.get().into(),
                self.free_inodes,
            ),
        ] {
            self.faults.add_unless(said == is, || {
                format!("the ext4 superblock counts {said} {what}, the groups have {is}")
            });
        }
        if self.reader.compat(feature::HAS_JOURNAL) {
            let result = self.journal();
            self.faults
                .catch(|| "checking the ext4 journal".to_owned(), result);
        }
        Ok(())
    }

    fn superblock(&mut self) {
        let superblock = &self.reader.superblock;
        let rules = [
            (superblock.state.get() == CLEAN, "was not unmounted cleanly"),
            (
                superblock.last_orphan.get() == 0
                    && !self.reader.ro_compat(feature::ORPHAN_PRESENT),
                "knows of deleted inodes that are still there",
            ),
            (
                superblock.journal_device.get() == 0,
                "has its journal on a device of its own",
            ),
            (
                superblock.group_clusters == superblock.group_blocks
                    && superblock.cluster_log == superblock.block_log,
                "has clusters, but not the feature for it",
            ),
            (
                superblock.group.get() == 0,
                "takes itself for that of another group",
            ),
            (
                superblock.first_inode.get() >= 11,
                "has too few inodes of its own",
            ),
        ];
        for (right, fault) in rules {
            self.faults
                .add_unless(right, || format!("the ext4 superblock {fault}"));
        }
    }

    /// Compares a copy of the superblock, without what only the first keeps up to date.
    fn copy(&mut self, group: u32) -> Result<()> {
        let position = self.reader.group_start(group) * u64::from(self.reader.facts.block_size);
        let mut bytes = [0; size_of::<Superblock>()];
        self.reader.read_at(position, &mut bytes)?;
        let copy: Superblock = record(&bytes, 0)?;
        let first = &self.reader.superblock;
        if self.reader.seed.is_some() {
            let end = size_of::<Superblock>() - 4;
            ensure!(
                crc(u32::MAX, &bytes[..end]) == copy.checksum.get(),
                "its checksum is wrong"
            );
        }
        let volatile = feature::ORPHAN_PRESENT;
        let shape = |s: &Superblock| {
            (
                (
                    s.magic.get(),
                    s.inodes.get(),
                    s.blocks_low.get(),
                    s.blocks_high.get(),
                ),
                (s.block_log.get(), s.first_block.get(), s.group_blocks.get()),
                (
                    s.group_inodes.get(),
                    s.inode_size.get(),
                    s.first_inode.get(),
                ),
                (
                    s.compat.get(),
                    s.incompat.get(),
                    s.ro_compat.get() & !volatile,
                ),
                (s.uuid, s.label, s.checksum_seed.get(), s.checksum_type),
                (
                    s.descriptor_size.get(),
                    s.reserved_descriptors.get(),
                    s.flex_log,
                ),
                (s.journal_inode.get(), s.hash_seed),
            )
        };
        ensure!(shape(&copy) == shape(first), "it differs from the first");
        ensure!(
            u32::from(copy.group.get()) == group,
            "it takes itself for that of group {}",
            copy.group.get()
        );
        self.copied_descriptors(group)
    }

    /// Compares where the copied descriptors say that things are.
    fn copied_descriptors(&mut self, group: u32) -> Result<()> {
        let size = self.reader.descriptor_size();
        let block_size = u64::from(self.reader.facts.block_size);
        let start = (self.reader.group_start(group) + 1) * block_size;
        let first = (u64::from(self.reader.superblock.first_block.get()) + 1) * block_size;
        let mut bytes = vec![0; self.groups.len() * size];
        let mut firsts = bytes.clone();
        self.reader.read_at(start, &mut bytes)?;
        self.reader.read_at(first, &mut firsts)?;
        for (index, (copy, first)) in bytes.chunks(size).zip(firsts.chunks(size)).enumerate() {
            // Three block numbers, whose upper halves follow 32 bytes later.
            let same = copy[..12] == first[..12] && (size <= 32 || copy[32..44] == first[32..44]);
            ensure!(
                same,
                "its descriptor of group {index} differs from the first"
            );
        }
        Ok(())
    }

    fn journal(&self) -> Result<()> {
        let number = self.reader.superblock.journal_inode.get();
        let entry = self.reader.by_number(number)?;
        let map = self.reader.map(&entry)?;
        let position = map
            .position(0, self.reader.facts.block_size.into())
            .context("its first block is a hole")?;
        let mut bytes = [0; 1024];
        self.reader.read_at(position, &mut bytes)?;
        let journal: Journal = record(&bytes, 0)?;
        let block_size = self.reader.facts.block_size;
        ensure!(
            journal.magic.get() == JOURNAL_MAGIC && journal.kind.get() == JOURNAL_SUPERBLOCK,
            "it does not start as a journal"
        );
        ensure!(
            journal.block_size.get() == block_size
                && u64::from(journal.blocks.get()) * u64::from(block_size) == entry.size,
            "it has {} blocks of {} bytes, in an inode of {}",
            journal.blocks.get(),
            journal.block_size.get(),
            entry.size
        );
        let mapped: u64 = map.extents.iter().map(|extent| extent.count).sum();
        ensure!(
            mapped == u64::from(journal.blocks.get()),
            "{mapped} of its {} blocks are there",
            journal.blocks.get()
        );
        ensure!(
            journal.start.get() == 0,
            "it has changes to replay from block {} on",
            journal.start.get()
        );
        ensure!(journal.error.get() == 0, "it was given up with an error");
        ensure!(
            (1..journal.blocks.get()).contains(&journal.first.get())
                && journal.expected.get() != 0
                && journal.users.get() == 1,
            "its start is not sound"
        );
        ensure!(
            journal.uuid == self.reader.facts.uuid || journal.uuid == [0; 16],
            "it belongs to another file system"
        );
        ensure!(
            entry.flags & flag::INDEX == 0,
            "its inode has flags of a directory"
        );
        Ok(())
    }

    fn take(&mut self, start: u64, count: u64, what: What) -> Result<()> {
        ensure!(
            self.uses.len() < USES_MAX,
            "the ext4 file system has more than {USES_MAX} runs of blocks"
        );
        self.uses.push(Use { start, count, what });
        Ok(())
    }
}
