//! ext4 reader: looks into a file system, and copies files out of it.
//!
//! Opening reads the superblock; everything else is read when it is asked for. Each object is
//! checked in full where it is parsed (checksum, own claims), so a damaged one is an error and never
//! a wrong answer. Images are taken for foreign: positions, lengths and counts are checked where
//! they are used.
//!
//! Left out on purpose: what no single object shows, which is `e2fsck`'s to find; extended
//! attributes, replaying a journal (a file system that needs it is refused), inline data,
//! encryption, case folding, clusters, and the hashes in large directories, of which only the tree
//! is checked.
//!
//! Why own, judged by running it: ext4-view 1.0.0 gives wrong contents, and no error, for an extent
//! that was allocated and never written, and refuses times and symlinks that our writer makes.
//! `docs/verified.md` has all of it.
//!
//! Source of truth: `fs/ext4/` of Linux 6.18. Layout: `format`.

mod blocks;
mod directory;
mod extents;
mod file;
mod inode;
mod look;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::FromBytes;

pub use self::directory::Name;
pub use self::extents::Extent;
pub use self::inode::Entry;
use super::checksum;
use super::format::{
    CHECKSUMS, CLUSTERS, FILE_TYPES, INCOMPATIBLE_NAMES, NEEDS_RECOVERY, STORED_SEED, SUPER_MAGIC,
    SUPER_OFFSET, SuperBlock, WIDE,
};
use bake_tree::{Content, Kind, Look};

/// Groups in a file system; more than fit any image that a bake makes.
const GROUPS_MAX: u64 = 1 << 22;

/// An open file system.
#[derive(Clone, Debug)]
pub struct Reader {
    content: Content,
    superblock: SuperBlock,
    facts: Facts,
    /// What checksums start from; none if there are none.
    seed: Option<u32>,
}

/// What the superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Label, without the zeros at its end.
    pub label: Vec<u8>,
    /// UUID.
    pub uuid: [u8; 16],
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// Free bytes, those for the administrator included.
    pub free_bytes: u64,
}

impl Reader {
    /// Opens the file system in `content`; bytes behind its end are ignored.
    pub fn open(content: Content) -> Result<Self> {
        let superblock = read_superblock(&content).context("reading the ext4 superblock")?;
        let facts = check_superblock(&superblock, content.len())?;
        let reader = Self {
            seed: seed(&superblock)?,
            content,
            superblock,
            facts,
        };
        if reader.seed.is_some() {
            let mut bytes = [0; size_of::<SuperBlock>() - 4];
            reader.read_at(SUPER_OFFSET, &mut bytes)?;
            ensure!(
                checksum::of(&bytes) == reader.superblock.checksum.get(),
                "the checksum of the ext4 superblock is wrong"
            );
        }
        ensure!(
            reader.root()?.kind == Kind::Directory,
            "the ext4 root inode is not a directory"
        );
        Ok(reader)
    }

    /// What the superblock says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    fn incompat(&self, bit: u32) -> bool {
        self.superblock.incompatible.get() & bit != 0
    }

    /// Reads bytes of the image; the one way to it.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let end = position.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.facts.bytes) {
            bail!(
                "{} bytes at {position} lie beyond the end of the ext4 file system at {}",
                buffer.len(),
                self.facts.bytes
            );
        }
        self.content
            .read_at(position, buffer)
            .with_context(|| format!("reading the ext4 image at {position}"))
    }
}

fn read_superblock(content: &Content) -> Result<SuperBlock> {
    let mut bytes = [0; size_of::<SuperBlock>()];
    content.read_at(SUPER_OFFSET, &mut bytes)?;
    SuperBlock::read_from_bytes(&bytes)
        .ok()
        .context("the buffer has the superblock's size")
}

/// What the superblock says, if it can be true.
fn check_superblock(superblock: &SuperBlock, len: u64) -> Result<Facts> {
    ensure!(
        superblock.magic.get() == SUPER_MAGIC,
        "there is no ext4 file system: its magic number is not there"
    );
    ensure!(
        superblock.revision.get() == 1,
        "the ext4 revision is {}; only 1 is read",
        superblock.revision.get()
    );
    check_features(superblock)?;
    let log = superblock.log_block_size.get();
    ensure!(log <= 6, "the ext4 block size 1024 << {log} is too large");
    let block_size = 1024u32 << log;
    let first = u32::from(log == 0);
    ensure!(
        superblock.first_data_block.get() == first,
        "the ext4 file system starts at block {} instead of {first}",
        superblock.first_data_block.get()
    );
    let inode_size = superblock.inode_size.get();
    ensure!(
        inode_size.is_power_of_two() && inode_size >= 128 && u32::from(inode_size) <= block_size,
        "ext4 inodes can't have {inode_size} bytes"
    );
    let group_blocks = superblock.blocks_per_group.get();
    let group_inodes = superblock.inodes_per_group.get();
    for (what, count) in [("blocks", group_blocks), ("inodes", group_inodes)] {
        ensure!(
            (8..=block_size * 8).contains(&count) && count.is_multiple_of(8),
            "ext4 groups can't have {count} {what}"
        );
    }
    let wide = superblock.incompatible.get() & WIDE != 0;
    let join = |low: u32, high: u32| u64::from(low) | if wide { u64::from(high) << 32 } else { 0 };
    let blocks = join(superblock.blocks_low.get(), superblock.blocks_high.get());
    let bytes = blocks
        .checked_mul(block_size.into())
        .filter(|bytes| *bytes <= len && i64::try_from(*bytes).is_ok())
        .with_context(|| {
            format!("the ext4 file system is cut short: {len} bytes of {blocks} blocks are there")
        })?;
    ensure!(
        blocks > u64::from(first) + 1,
        "ext4 can't have {blocks} blocks"
    );
    let groups = (blocks - u64::from(first)).div_ceil(group_blocks.into());
    ensure!(
        groups <= GROUPS_MAX
            && groups * u64::from(group_inodes) == u64::from(superblock.inodes.get()),
        "{groups} ext4 groups of {group_inodes} inodes do not make {}",
        superblock.inodes.get()
    );
    let size = superblock.descriptor_size.get();
    ensure!(
        if wide {
            size == 64
        } else {
            matches!(size, 0 | 32)
        },
        "ext4 group descriptors of {size} bytes are not read"
    );
    let label = &superblock.label;
    let label_len = label
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(label.len());
    let free = join(
        superblock.free_blocks.get(),
        superblock.free_blocks_high.get(),
    );
    Ok(Facts {
        label: label[..label_len].to_vec(),
        uuid: superblock.uuid,
        bytes,
        block_size,
        free_bytes: free.saturating_mul(block_size.into()),
    })
}

fn check_features(superblock: &SuperBlock) -> Result<()> {
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
            Some((name, false)) if incompat & NEEDS_RECOVERY == 1 << bit => {
                bail!(
                    "the ext4 file system was not unmounted: its journal must be replayed ({name})"
                )
            }
            Some((name, false)) if !name.is_empty() => {
                bail!("the ext4 feature {name} is not read")
            }
            _ => bail!("the ext4 feature with incompatible bit {bit} is not read"),
        }
    }
    ensure!(
        incompat & FILE_TYPES != 0,
        "the ext4 file system has no file types in names, which is not read"
    );
    ensure!(
        superblock.read_only_compatible.get() & CLUSTERS == 0,
        "the ext4 feature bigalloc is not read"
    );
    Ok(())
}

fn seed(superblock: &SuperBlock) -> Result<Option<u32>> {
    if superblock.read_only_compatible.get() & CHECKSUMS == 0 {
        return Ok(None);
    }
    ensure!(
        superblock.checksum_type == 1,
        "ext4 checksums of type {} are not known",
        superblock.checksum_type
    );
    Ok(Some(if superblock.incompatible.get() & STORED_SEED != 0 {
        superblock.checksum_seed.get()
    } else {
        checksum::of(&superblock.uuid)
    }))
}
