//! Inodes of all kinds.

use std::mem::offset_of;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::little_endian::U32;

use super::Reader;
use super::blocks::{crc, crc_without, record};
use super::disk::{InodeCore, feature, flag, mode};

/// Bytes of an inode as in ext2; what is behind them came later.
pub(super) const OLD_SIZE: usize = 128;
/// Bytes of a target that fits in the inode.
const INLINE_TARGET_MAX: u64 = 59;
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
    /// Bytes in blocks as the inode says.
    pub(super) stored_bytes: u64,
    pub(super) flags: u32,
    /// What lies in the inode in place of contents.
    pub(super) block: [u8; 60],
    /// Whether that is all there is.
    pub(super) inline: bool,
    /// What checksums of its blocks start from.
    pub(super) seed: Option<u32>,
    /// Block of attributes, or 0.
    pub(super) attr_block: u64,
    /// Attributes in the inode.
    pub(super) attr_bytes: Box<[u8]>,
}

/// Kind of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Bytes in it.
        len: u64,
    },
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// The number that directories have for it.
    pub(super) fn file_type(&self) -> u8 {
        match self {
            Self::File { .. } => 1,
            Self::Directory => 2,
            Self::CharDevice(..) => 3,
            Self::BlockDevice(..) => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink(_) => 7,
        }
    }
}

/// An inode as it lies there, used or not.
pub(super) struct RawInode {
    pub(super) core: InodeCore,
    pub(super) bytes: Vec<u8>,
    seed: Option<u32>,
}

impl Reader {
    /// The inode with this number.
    pub fn by_number(&self, number: u32) -> Result<Entry> {
        self.raw_inode(number)
            .and_then(|raw| self.entry(number, &raw))
            .with_context(|| format!("reading ext4 inode {number}"))
    }

    /// Reads an inode as it lies there, with its checksum verified.
    pub(super) fn raw_inode(&self, number: u32) -> Result<RawInode> {
        ensure!(
            (1..=self.facts.inodes).contains(&number),
            "its number is not 1 to {}",
            self.facts.inodes
        );
        let per_group = self.superblock.group_inodes.get();
        let group = self.group((number - 1) / per_group)?;
        self.raw_inode_in(group.inode_table, number)
    }

    /// As [`Reader::raw_inode`], for a group whose inode table is known.
    pub(super) fn raw_inode_in(&self, table: u64, number: u32) -> Result<RawInode> {
        let index = (number - 1) % self.superblock.group_inodes.get();
        let size = u64::from(self.facts.inode_size);
        let position = self.position(table, 1)? + u64::from(index) * size;
        let mut bytes = vec![0; usize::try_from(size)?];
        self.read_at(position, &mut bytes)?;
        // The later half of small inodes reads as zeros.
        let mut whole = bytes.clone();
        whole.resize(bytes.len().max(size_of::<InodeCore>()), 0);
        let core: InodeCore = record(&whole, 0)?;
        let mut raw = RawInode {
            core,
            bytes,
            seed: None,
        };
        if let Some(seed) = self.seed {
            let from = crc(seed, &number.to_le_bytes());
            let from = crc(from, &raw.core.generation.get().to_le_bytes());
            raw.seed = Some(from);
            // Inodes that were never written are zeros throughout.
            if raw.bytes.iter().any(|byte| *byte != 0) {
                check_crc(&raw, from)?;
            }
        }
        Ok(raw)
    }

    /// A used inode.
    pub(super) fn entry(&self, number: u32, raw: &RawInode) -> Result<Entry> {
        let core = &raw.core;
        ensure!(
            core.mode.get() != 0 && core.links.get() != 0 && core.dtime.get() == 0,
            "it is not used"
        );
        self.used(number, raw)
    }

    /// An inode whose state was looked at; those of the file system's own have no links.
    pub(super) fn used(&self, number: u32, raw: &RawInode) -> Result<Entry> {
        let core = &raw.core;
        let extra = usize::from(core.extra_size.get());
        let large = raw.bytes.len() > OLD_SIZE;
        ensure!(
            !large || (extra.is_multiple_of(4) && OLD_SIZE + extra <= raw.bytes.len()),
            "it has {extra} more bytes than inodes once had"
        );
        let join = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let size = u64::from(core.size_low.get()) | u64::from(core.size_high.get()) << 32;
        ensure!(
            i64::try_from(size).is_ok(),
            "its size {size} is more than a file can have"
        );
        let mut entry = Entry {
            number,
            kind: Kind::Directory,
            mode: core.mode.get() & 0o7777,
            uid: join(core.uid_low.get(), core.uid_high.get()),
            gid: join(core.gid_low.get(), core.gid_high.get()),
            mtime: i64::from(i32::from_le_bytes(core.mtime.get().to_le_bytes())),
            mtime_nanoseconds: 0,
            links: core.links.get().into(),
            immutable: core.flags.get() & flag::IMMUTABLE != 0,
            size,
            stored_bytes: self.stored_bytes(core),
            flags: core.flags.get(),
            block: core.block,
            inline: true,
            seed: raw.seed,
            attr_block: u64::from(core.acl_low.get()) | u64::from(core.acl_high.get()) << 32,
            attr_bytes: if large {
                raw.bytes[OLD_SIZE + extra..].into()
            } else {
                Box::default()
            },
        };
        if large && OLD_SIZE + extra >= offset_of!(InodeCore, mtime_extra) + 4 {
            let more = core.mtime_extra.get();
            entry.mtime += i64::from(more & 3) << 32;
            entry.mtime_nanoseconds = more >> 2;
            ensure!(
                entry.mtime_nanoseconds < NANOSECONDS,
                "its time has {} nanoseconds",
                entry.mtime_nanoseconds
            );
        }
        entry.kind = self.kind(core.mode.get() & mode::MASK, &mut entry)?;
        Ok(entry)
    }

    fn kind(&self, type_bits: u16, entry: &mut Entry) -> Result<Kind> {
        Ok(match type_bits {
            mode::DIRECTORY => {
                entry.inline = false;
                Kind::Directory
            }
            mode::FILE => {
                entry.inline = false;
                Kind::File { len: entry.size }
            }
            mode::SYMLINK => {
                entry.inline = entry.flags & flag::EXTENTS == 0 && entry.size <= INLINE_TARGET_MAX;
                Kind::Symlink(self.target(entry)?)
            }
            mode::CHAR_DEVICE | mode::BLOCK_DEVICE => {
                let (major, minor) = device(&entry.block)?;
                if type_bits == mode::CHAR_DEVICE {
                    Kind::CharDevice(major, minor)
                } else {
                    Kind::BlockDevice(major, minor)
                }
            }
            mode::FIFO => Kind::Fifo,
            mode::SOCKET => Kind::Socket,
            other => bail!("there is no file type {other:#o}"),
        })
    }

    fn stored_bytes(&self, core: &InodeCore) -> u64 {
        let mut units = u64::from(core.blocks_low.get());
        if self.ro_compat(feature::HUGE_FILE) {
            units |= u64::from(core.blocks_high.get()) << 32;
            if core.flags.get() & flag::HUGE_FILE != 0 {
                return units * u64::from(self.facts.block_size);
            }
        }
        units * 512
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

fn check_crc(raw: &RawInode, from: u32) -> Result<()> {
    let core = &raw.core;
    let low_at = offset_of!(InodeCore, checksum_low);
    let high_at = offset_of!(InodeCore, checksum_high);
    let start = crc_without(from, &raw.bytes[..OLD_SIZE], low_at, 2);
    let has_high = raw.bytes.len() > OLD_SIZE && core.extra_size.get() >= 4;
    let (is, said) = if has_high {
        let is = crc_without(start, &raw.bytes[OLD_SIZE..], high_at - OLD_SIZE, 2);
        let high = u32::from(core.checksum_high.get());
        (is, u32::from(core.checksum_low.get()) | high << 16)
    } else {
        let is = crc(start, &raw.bytes[OLD_SIZE..]);
        (is & 0xffff, core.checksum_low.get().into())
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
