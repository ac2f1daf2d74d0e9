//! The check of a whole file system: every block belongs to one thing, every count is right.

mod groups;
mod inodes;
mod log;
mod space;

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use self::inodes::Inode;
use self::space::{Use, What};
use super::Reader;
use crate::faults::Faults;
use crate::xfs::format::{
    FREE_INODE_TREE, METADATA_UUID, NULL, REFERENCES, REVERSE_MAP, SPARSE_INODES, Superblock,
    TREE_BLOCKS, VERSION_ATTRIBUTES, VERSION_SECTORS,
};

/// Runs of blocks and inodes that a check keeps in memory, a hundred times those of a system's disk:
/// what a crafted image can cost.
const USES_MAX: usize = 1 << 24;

/// A check under way.
struct Check<'a> {
    reader: &'a Reader,
    faults: Faults,
    uses: Vec<Use>,
    inodes: BTreeMap<u64, Inode>,
    totals: Totals,
    /// By group: blocks that may have several owners exist.
    shares: Vec<bool>,
}

/// What the groups add up to.
#[derive(Default)]
struct Totals {
    inodes: u64,
    free_inodes: u64,
    free_blocks: u64,
}

impl Reader {
    /// Checks all of the file system, and returns every fault as one sentence; none if it is
    /// sound. Fails where it can't be checked.
    pub fn check(&self) -> Result<Vec<String>> {
        let unknown = self.superblock.read_only_compatible.get()
            & !(FREE_INODE_TREE | REFERENCES | TREE_BLOCKS);
        if unknown & REVERSE_MAP != 0 {
            bail!("an xfs file system with the feature rmapbt can't be checked");
        }
        ensure!(
            unknown == 0,
            "an xfs file system with the read-only compatible features {unknown:#x} can't be checked"
        );
        ensure!(
            self.incompat(SPARSE_INODES),
            "an xfs file system without the feature sparse-inodes can't be checked"
        );
        let mut faults = Faults::default();
        let head = faults.catch(|| "checking the xfs log".to_owned(), log::head(self));
        let reader = Self {
            newest_lsn: head.unwrap_or(u64::MAX),
            ..self.clone()
        };
        let mut check = Check {
            reader: &reader,
            faults,
            uses: Vec::new(),
            inodes: BTreeMap::new(),
            totals: Totals::default(),
            shares: Vec::new(),
        };
        check.run()?;
        Ok(check.faults.into_list())
    }
}

impl Check<'_> {
    fn run(&mut self) -> Result<()> {
        self.superblock();
        for group in 0..self.reader.facts.groups {
            self.group(group)?;
        }
        self.log_space();
        self.names();
        self.space();
        let superblock = &self.reader.superblock;
        for (what, said, is) in [
            ("inodes", superblock.inodes.get(), self.totals.inodes),
            (
                "free inodes",
                superblock.free_inodes.get(),
                self.totals.free_inodes,
            ),
            (
                "free blocks",
                superblock.free_blocks.get(),
                self.totals.free_blocks,
            ),
        ] {
            self.faults.add_unless(said == is, || {
                format!("the xfs superblock counts {said} {what}, the groups have {is}")
            });
        }
        let attributes = superblock.version.get() & VERSION_ATTRIBUTES != 0;
        let has = self.inodes.values().any(|inode| inode.attributes);
        self.faults.add_unless(attributes || !has, || {
            "the xfs superblock's version lacks the bit for attributes, which inodes have"
                .to_owned()
        });
        Ok(())
    }

    fn superblock(&mut self) {
        let superblock = &self.reader.superblock;
        let log_sector = superblock.version.get() & VERSION_SECTORS != 0;
        let sector = (superblock.sector_bits, superblock.sector_bytes.get());
        let root = superblock.root_inode.get();
        let uuid_moved = self.reader.incompat(METADATA_UUID);
        let rules = [
            (
                superblock.features2.get() == superblock.features2_again.get(),
                "has two different sets of features",
            ),
            (
                superblock.compatible.get() == 0,
                "has unknown compatible features",
            ),
            (
                superblock.log_incompatible.get() == 0,
                "has features of the log, which must be empty",
            ),
            (superblock.in_progress == 0, "was not finished"),
            (
                superblock.inode_percent <= 100,
                "has a wrong share of inodes",
            ),
            (
                uuid_moved || superblock.metadata_uuid == [0; 16],
                "has a UUID for metadata, but not the feature for it",
            ),
            (
                log_sector == (sector.1 > 512),
                "has a wrong version for its sector size",
            ),
            (
                (
                    superblock.log_sector_bits,
                    superblock.log_sector_bytes.get(),
                ) == if log_sector { sector } else { (0, 0) },
                "has a log sector size of its own",
            ),
            (
                root.checked_add(1) == Some(superblock.bitmap_inode.get())
                    && root.checked_add(2) == Some(superblock.summary_inode.get()),
                "does not have the real-time inodes behind the root",
            ),
            (
                superblock.realtime[0].get() == 0
                    && superblock.realtime[1].get() == 0
                    && superblock.free_realtime.get() == 0,
                "has a real-time device",
            ),
        ];
        for (right, fault) in rules {
            self.faults
                .add_unless(right, || format!("the xfs superblock {fault}"));
        }
        if let Err(error) = self.reader.check_lsn(superblock.lsn.get()) {
            self.faults.add(format!("in the xfs superblock: {error}"));
        }
    }

    /// Compares a copy of the superblock, without what only the first keeps up to date.
    fn copy(&mut self, group: u32, copy: &Superblock) {
        let first = &self.reader.superblock;
        let shape = |s: &Superblock| {
            (
                (s.block_bytes.get(), s.blocks.get(), s.log_start.get()),
                (s.group_blocks.get(), s.groups.get(), s.log_blocks.get()),
                s.version.get() & !VERSION_ATTRIBUTES,
                (s.sector_bytes.get(), s.inode_bytes.get(), s.group_bits),
                (
                    s.features2.get(),
                    s.read_only_compatible.get(),
                    s.incompatible.get(),
                ),
                (s.uuid, s.metadata_uuid, s.label),
                (s.inode_alignment.get(), s.sparse_alignment.get()),
            )
        };
        self.faults.add_unless(shape(copy) == shape(first), || {
            format!("the copy of the xfs superblock in group {group} differs from the first")
        });
        let root = copy.root_inode.get();
        self.faults.add_unless(
            root == first.root_inode.get() || root == u64::MAX || root == 0,
            || format!("the copy of the xfs superblock in group {group} has root inode {root}"),
        );
    }

    fn take(&mut self, group: u32, block: u64, count: u64, what: What) -> Result<()> {
        ensure!(
            self.uses.len() < USES_MAX,
            "the xfs file system has more than {USES_MAX} runs of blocks"
        );
        self.uses.push(Use {
            start: u64::from(group) * u64::from(self.reader.facts.group_blocks) + block,
            count,
            what,
        });
        Ok(())
    }

    fn log_space(&mut self) {
        let superblock = &self.reader.superblock;
        let (start, count) = (superblock.log_start.get(), superblock.log_blocks.get());
        if let Ok((group, block)) = self.reader.split_block(start, count.into()) {
            // No more uses than before an error would be, so this one can't fail for long.
            let taken = self.take(group, block, count.into(), What::Log);
            self.faults.catch(|| "placing the log".to_owned(), taken);
        }
    }
}

/// A group-relative block number that may be missing.
fn known(number: u32) -> Option<u32> {
    (number != NULL).then_some(number)
}
