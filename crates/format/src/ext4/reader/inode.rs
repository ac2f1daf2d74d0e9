//! Inodes of all kinds.

use std::mem::offset_of;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::little_endian::U32;

use super::Reader;
use super::blocks::{record, sum_without};
use crate::ext4::checksum;
use crate::ext4::format::{
    BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, FLAG_EXTENTS, FLAG_IMMUTABLE, InodeRecord,
    MAP_BYTES, OLD_INODE_BYTES, REGULAR, SOCKET, SYMLINK, TYPE_MASK,
};
use bake_tree::Kind;

/// Longest target that lies in the inode.
const INLINE_TARGET_MAX: u64 = MAP_BYTES as u64 - 1;
const NANOSECONDS: u32 = 1_000_000_000;

/// An inode.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number; names with one number are hard links.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds to add to them.
    pub mtime_nanoseconds: u32,
    /// How many names it has, as the inode says; 1 in directories with too many.
    pub links: u32,
    /// Whether it can't be changed (`chattr +i`).
    pub immutable: bool,
    pub(super) size: u64,
    pub(super) flags: u32,
    /// What lies in the inode in place of contents.
    pub(super) block: [u8; MAP_BYTES],
    /// Whether that is all there is.
    pub(super) inline: bool,
    /// What checksums of its blocks start from.
    pub(super) seed: Option<u32>,
}

impl Reader {
    /// The inode with this number.
    pub fn by_number(&self, number: u32) -> Result<Entry> {
        self.inode(number)
            .with_context(|| format!("reading ext4 inode {number}"))
    }

    fn inode(&self, number: u32) -> Result<Entry> {
        let inodes = self.superblock.inodes.get();
        ensure!(
            (1..=inodes).contains(&number),
            "its number is not 1 to {inodes}"
        );
        let per_group = self.superblock.inodes_per_group.get();
        let table = self.inode_table((number - 1) / per_group)?;
        let size = self.superblock.inode_size.get();
        let index = (number - 1) % per_group;
        let position = self.position(table, 1)? + u64::from(index) * u64::from(size);
        let mut bytes = vec![0; size.into()];
        self.read_at(position, &mut bytes)?;
        // The later half of small inodes reads as zeros.
        let mut whole = bytes.clone();
        whole.resize(bytes.len().max(size_of::<InodeRecord>()), 0);
        let raw: InodeRecord = record(&whole, 0)?;
        let seed = self
            .seed
            .map(|seed| checksum::inode_seed(seed, number, raw.generation.get()));
        // Inodes that were never written are zeros throughout.
        if let Some(seed) = seed
            && bytes.iter().any(|byte| *byte != 0)
        {
            check_sum(&raw, &bytes, seed)?;
        }
        ensure!(
            raw.mode.get() != 0 && raw.links.get() != 0 && raw.dtime.get() == 0,
            "it is not used"
        );
        self.entry(number, &raw, bytes.len(), seed)
    }

    /// What a record of `len` bytes says.
    fn entry(
        &self,
        number: u32,
        raw: &InodeRecord,
        len: usize,
        seed: Option<u32>,
    ) -> Result<Entry> {
        let extra = usize::from(raw.extra_size.get());
        let large = len > OLD_INODE_BYTES;
        ensure!(
            !large || (extra.is_multiple_of(4) && OLD_INODE_BYTES + extra <= len),
            "it has {extra} more bytes than inodes once had"
        );
        let join = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let size = u64::from(raw.size.get()) | u64::from(raw.size_high.get()) << 32;
        ensure!(
            i64::try_from(size).is_ok(),
            "its size {size} is more than a file can have"
        );
        let mut entry = Entry {
            number,
            kind: Kind::Directory,
            mode: raw.mode.get() & 0o7777,
            uid: join(raw.uid.get(), raw.uid_high.get()),
            gid: join(raw.gid.get(), raw.gid_high.get()),
            mtime: i64::from(i32::from_le_bytes(raw.mtime.to_bytes())),
            mtime_nanoseconds: 0,
            links: raw.links.get().into(),
            immutable: raw.flags.get() & FLAG_IMMUTABLE != 0,
            size,
            flags: raw.flags.get(),
            block: raw.map,
            inline: true,
            seed,
        };
        if large && OLD_INODE_BYTES + extra >= offset_of!(InodeRecord, mtime_extra) + 4 {
            let more = raw.mtime_extra.get();
            entry.mtime += i64::from(more & 3) << 32;
            entry.mtime_nanoseconds = more >> 2;
            ensure!(
                entry.mtime_nanoseconds < NANOSECONDS,
                "its time has {} nanoseconds",
                entry.mtime_nanoseconds
            );
        }
        entry.kind = self.kind(raw.mode.get() & TYPE_MASK, &mut entry)?;
        Ok(entry)
    }

    fn kind(&self, type_bits: u16, entry: &mut Entry) -> Result<Kind> {
        Ok(match type_bits {
            DIRECTORY => {
                entry.inline = false;
                Kind::Directory
            }
            REGULAR => {
                entry.inline = false;
                Kind::File { len: entry.size }
            }
            SYMLINK => {
                entry.inline = entry.flags & FLAG_EXTENTS == 0 && entry.size <= INLINE_TARGET_MAX;
                Kind::Symlink(self.target(entry)?)
            }
            CHAR_DEVICE | BLOCK_DEVICE => {
                let (major, minor) = device(&entry.block)?;
                if type_bits == CHAR_DEVICE {
                    Kind::CharDevice(major, minor)
                } else {
                    Kind::BlockDevice(major, minor)
                }
            }
            FIFO => Kind::Fifo,
            SOCKET => Kind::Socket,
            other => bail!("there is no file type {other:#o}"),
        })
    }

    fn target(&self, entry: &Entry) -> Result<Box<[u8]>> {
        let most = u64::from(self.facts.block_size) - 1;
        ensure!(
            (1..=most).contains(&entry.size),
            "a symlink target can't have {} bytes",
            entry.size
        );
        let len = usize::try_from(entry.size)?;
        let target: Box<[u8]> = if entry.inline {
            entry.block[..len].into()
        } else {
            let map = self.map(entry)?;
            let position = map
                .position(0, self.facts.block_size.into())
                .context("its target is in a hole")?;
            let mut target = vec![0; len];
            self.read_at(position, &mut target)?;
            target.into()
        };
        ensure!(!target.contains(&0), "its target has a zero byte");
        Ok(target)
    }
}

fn check_sum(raw: &InodeRecord, bytes: &[u8], seed: u32) -> Result<()> {
    let low_at = offset_of!(InodeRecord, checksum);
    let high_at = offset_of!(InodeRecord, checksum_high);
    let (old, new) = bytes.split_at(OLD_INODE_BYTES);
    let start = sum_without(seed, old, low_at, 2);
    let low = u32::from(raw.checksum.get());
    let (is, said) = if !new.is_empty() && raw.extra_size.get() >= 4 {
        let high = u32::from(raw.checksum_high.get());
        (
            sum_without(start, new, high_at - OLD_INODE_BYTES, 2),
            low | high << 16,
        )
    } else {
        (checksum::extend(start, new) & 0xffff, low)
    };
    ensure!(is == said, "its checksum is wrong");
    Ok(())
}

/// Major and minor number, in the old form or the new one.
fn device(block: &[u8]) -> Result<(u32, u32)> {
    let old: U32 = record(block, 0)?;
    let new: U32 = record(block, 4)?;
    let (old, new) = (old.get(), new.get());
    Ok(if old != 0 {
        (old >> 8 & 0xff, old & 0xff)
    } else {
        (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00)
    })
}
