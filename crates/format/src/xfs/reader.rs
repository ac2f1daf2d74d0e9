//! XFS version 5 reader: looks into a file system, copies files out of it, and checks all of it.
//!
//! Opening reads the superblock; everything else is read when it is asked for. Each object is
//! checked in full where it is parsed (checksum, UUID, owner, own position, and what it claims about
//! itself), so a damaged one is an error and never a wrong answer. [`Reader::check`] adds what no
//! single object shows: space and inode maps against real use, link counts, counters, the log.
//!
//! Records are those of the writer. Images are taken for foreign: positions, lengths and counts are
//! checked where they are used.
//!
//! Left out on purpose: version 4, directory blocks larger than a file system block, real-time
//! devices, external logs, replaying a log (a dirty one is a fault of the check). The reverse map
//! and the numbers in the reference count tree are not compared with real use.
//!
//! Source of truth: the verifiers of `fs/xfs/libxfs`, Linux 6.18. Layout: `format`.

mod attrs;
mod blocks;
mod check;
mod directory;
mod extents;
mod file;
mod hashes;
mod inode;
mod look;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::FromBytes;

use self::blocks::crc_fits;
pub use self::directory::Name;
pub use self::extents::Extent;
pub use self::inode::Entry;
use crate::xfs::format::{
    INCOMPATIBLE_NAMES, METADATA_UUID, READ_ONLY_COMPATIBLE_NAMES, Superblock, VERSION_MASK,
};
use bake_tree::{Content, Kind, Look};

/// An open file system.
#[derive(Clone, Debug)]
pub struct Reader {
    content: Content,
    superblock: Superblock,
    facts: Facts,
    /// Log sequence numbers above this one are from the future.
    newest_lsn: u64,
}

/// What the superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Label, without the zeros at its end.
    pub label: Vec<u8>,
    /// UUID that users see.
    pub uuid: [u8; 16],
    /// UUID in the metadata.
    pub metadata_uuid: [u8; 16],
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// Bytes in a sector.
    pub sector_size: u32,
    /// Allocation groups.
    pub groups: u32,
    /// Blocks of every group but the last, which may have fewer.
    pub group_blocks: u32,
    /// Names of the features that are on.
    pub features: Vec<&'static str>,
    /// Free bytes.
    pub free_bytes: u64,
    /// Inodes with room on disk, used or not.
    pub inodes: u64,
    /// Those that are not used.
    pub free_inodes: u64,
}

impl Reader {
    /// Whether `content` starts like XFS.
    pub fn probe(content: &Content) -> bool {
        let mut magic = [0; 4];
        content.read_at(0, &mut magic).is_ok() && magic == *b"XFSB"
    }

    /// Opens the file system that `content` starts with; bytes behind its end are ignored.
    pub fn open(content: Content) -> Result<Self> {
        let mut bytes = [0; size_of::<Superblock>()];
        content
            .read_at(0, &mut bytes)
            .context("reading the xfs superblock")?;
        let superblock = Superblock::read_from_bytes(&bytes)
            .ok()
            .context("the buffer has the superblock's size")?;
        check_superblock(&superblock, content.len())?;
        let mut sector = vec![0; usize::from(superblock.sector_bytes.get())];
        content
            .read_at(0, &mut sector)
            .context("reading the xfs superblock")?;
        ensure!(
            crc_fits(
                &sector,
                std::mem::offset_of!(Superblock, crc),
                superblock.crc.get()
            ),
            "the checksum of the xfs superblock is wrong"
        );
        let reader = Self {
            facts: facts(&superblock),
            content,
            superblock,
            newest_lsn: u64::MAX,
        };
        ensure!(
            reader.root()?.kind == Kind::Directory,
            "the xfs root inode is not a directory"
        );
        Ok(reader)
    }

    /// What the superblock says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether a feature is on that readers must know.
    fn incompat(&self, bit: u32) -> bool {
        self.superblock.incompatible.get() & bit != 0
    }

    /// Reads bytes of the image; the one way to it.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let end = position.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.facts.bytes) {
            bail!(
                "{} bytes at {position} lie beyond the end of the xfs file system at {}",
                buffer.len(),
                self.facts.bytes
            );
        }
        self.content
            .read_at(position, buffer)
            .with_context(|| format!("reading the xfs image at {position}"))
    }
}

fn check_superblock(superblock: &Superblock, len: u64) -> Result<()> {
    ensure!(
        superblock.magic == *b"XFSB",
        "there is no xfs file system: it does not start with \"XFSB\""
    );
    let version = superblock.version.get();
    ensure!(
        version & VERSION_MASK == 5,
        "the file system is xfs version {}; only 5 is read",
        version & VERSION_MASK
    );
    check_features(superblock)?;
    for (name, value, log, least, most) in [
        (
            "block",
            superblock.block_bytes.get(),
            superblock.block_bits,
            1024,
            65536,
        ),
        (
            "sector",
            superblock.sector_bytes.get().into(),
            superblock.sector_bits,
            512,
            32768,
        ),
        (
            "inode",
            superblock.inode_bytes.get().into(),
            superblock.inode_bits,
            512,
            2048,
        ),
    ] {
        ensure!(
            value.is_power_of_two()
                && (least..=most).contains(&value)
                && value.ilog2() == u32::from(log),
            "the xfs {name} size {value} (2^{log}) is not a power of two from {least} to {most}"
        );
    }
    let block = superblock.block_bytes.get();
    let inodes = block / u32::from(superblock.inode_bytes.get());
    ensure!(
        u32::from(superblock.sector_bytes.get()) <= block
            && inodes == u32::from(superblock.inodes_per_block.get())
            && inodes.ilog2() == u32::from(superblock.inodes_per_block_bits),
        "the xfs sector, inode and block sizes do not fit one another"
    );
    ensure!(
        superblock.directory_block_bits == 0,
        "the xfs directory blocks are larger than file system blocks, which is not read"
    );
    check_groups(superblock, len)
}

fn check_features(superblock: &Superblock) -> Result<()> {
    let incompat = superblock.incompatible.get();
    for bit in 0..u32::BITS {
        if incompat & 1 << bit == 0 {
            continue;
        }
        match usize::try_from(bit)
            .ok()
            .and_then(|bit| INCOMPATIBLE_NAMES.get(bit))
        {
            Some((_, true)) => {}
            Some((name, false)) => bail!("the xfs feature {name} is not read"),
            None => bail!("the xfs feature with incompatible bit {bit} is not read"),
        }
    }
    ensure!(
        incompat & 1 != 0,
        "the xfs file system has no file types in names, which is not read"
    );
    Ok(())
}

fn check_groups(superblock: &Superblock, len: u64) -> Result<()> {
    let (groups, blocks) = (superblock.groups.get(), superblock.group_blocks.get());
    let total = superblock.blocks.get();
    // At least one block in the last group, and none beyond it.
    ensure!(
        groups > 0
            && blocks >= GROUP_BLOCKS_MIN
            && total > u64::from(groups - 1) * u64::from(blocks)
            && total <= u64::from(groups) * u64::from(blocks),
        "{groups} xfs allocation groups of {blocks} blocks do not make {total} blocks"
    );
    ensure!(
        blocks.next_power_of_two().ilog2() == u32::from(superblock.group_bits),
        "the xfs allocation groups have {blocks} blocks, which 2^{} does not suit",
        superblock.group_bits
    );
    let bytes = total.checked_mul(superblock.block_bytes.get().into());
    ensure!(
        bytes.is_some_and(|bytes| bytes <= len && i64::try_from(bytes).is_ok()),
        "the xfs file system is cut short: {len} bytes of {total} blocks are there"
    );
    Ok(())
}

/// Smallest group that the kernel takes.
const GROUP_BLOCKS_MIN: u32 = 64;

fn facts(superblock: &Superblock) -> Facts {
    let label = &superblock.label;
    let label_len = label
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(label.len());
    let block_size = superblock.block_bytes.get();
    let on = |bits: u32, bit: usize| bits >> bit & 1 != 0;
    let ro_compat = superblock.read_only_compatible.get();
    let incompat = superblock.incompatible.get();
    Facts {
        label: label[..label_len].to_vec(),
        uuid: superblock.uuid,
        metadata_uuid: if incompat & METADATA_UUID != 0 {
            superblock.metadata_uuid
        } else {
            superblock.uuid
        },
        bytes: superblock.blocks.get() * u64::from(block_size),
        block_size,
        sector_size: superblock.sector_bytes.get().into(),
        groups: superblock.groups.get(),
        group_blocks: superblock.group_blocks.get(),
        features: (0..INCOMPATIBLE_NAMES.len())
            .filter(|bit| on(incompat, *bit))
            .map(|bit| INCOMPATIBLE_NAMES[bit].0)
            .chain(
                (0..READ_ONLY_COMPATIBLE_NAMES.len())
                    .filter(|bit| on(ro_compat, *bit))
                    .map(|bit| READ_ONLY_COMPATIBLE_NAMES[bit]),
            )
            .collect(),
        free_bytes: superblock
            .free_blocks
            .get()
            .saturating_mul(block_size.into()),
        inodes: superblock.inodes.get(),
        free_inodes: superblock.free_inodes.get(),
    }
}
