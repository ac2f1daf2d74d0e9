//! Inodes of all kinds.

use std::mem::offset_of;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::big_endian::U32;

use super::Reader;
use super::blocks::{crc_fits, record};
use crate::xfs::format::{
    BIG_TIME, BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, FLAG_IMMUTABLE, FLAG_REALTIME,
    FLAG2_BIG_TIME, FLAG2_MANY_EXTENTS, FLAG2_SHARED, FORMAT_DEVICE, FORMAT_EXTENTS, FORMAT_LOCAL,
    FORMAT_TREE, InodeCore, MANY_EXTENTS, NULL, REGULAR, RemoteHeader, SOCKET, SYMLINK, TYPE_MASK,
};
use bake_tree::Kind;

/// Longest symlink target.
const TARGET_MAX: u64 = bake_tree::SYMLINK_TARGET_MAX as u64;
/// Positions where the attribute fork may start, in eight bytes: room for an extent tree's root of
/// three records before it and of two behind it. Outside, the kernel damages the inode when a fork
/// grows.
const FORK_OFFSET_MIN: usize = 7;
const ATTR_FORK_MIN: usize = 36;
/// Where it starts in inodes that are only a number before it.
const FORK_OFFSET_DEVICE: u8 = 1;
/// Seconds before 1970 at which the big timestamps start.
const BIGTIME_EPOCH: i64 = 1 << 31;
const NANOSECONDS: u64 = 1_000_000_000;

/// An inode.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number; names with one number are hard links.
    pub number: u64,
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
    /// How many names it has, as the inode says.
    pub links: u32,
    /// Whether it can't be changed (`chattr +i`).
    pub immutable: bool,
    /// Bytes as the inode says: of a file, a target, or a directory's listing.
    pub(super) size: u64,
    /// Blocks as the inode says.
    pub(super) blocks: u64,
    pub(super) reflink: bool,
    pub(super) data: Fork,
    pub(super) attrs: Option<Fork>,
}

/// Contents, names or attributes of an inode: here, or where they are.
#[derive(Clone, Debug)]
pub(super) struct Fork {
    pub(super) format: u8,
    pub(super) extents: u64,
    pub(super) bytes: Box<[u8]>,
}

/// An inode as it lies there, used or not.
pub(super) struct RawInode {
    pub(super) core: InodeCore,
    pub(super) bytes: Vec<u8>,
}

impl Reader {
    /// The inode with this number.
    pub fn by_number(&self, number: u64) -> Result<Entry> {
        self.raw_inode(number)
            .and_then(|raw| self.entry(number, &raw))
            .with_context(|| format!("reading xfs inode {number}"))
    }

    /// Reads an inode and verifies what used and unused ones have in common.
    pub(super) fn raw_inode(&self, number: u64) -> Result<RawInode> {
        let log = u32::from(self.superblock.inodes_per_block_bits);
        let position = self.block_position(number >> log)?;
        let size = u64::from(self.superblock.inode_bytes.get());
        let mut bytes = vec![0; usize::try_from(size)?];
        self.read_at(position + (number & ((1 << log) - 1)) * size, &mut bytes)?;
        let core: InodeCore = record(&bytes, 0)?;
        ensure!(
            crc_fits(&bytes, offset_of!(InodeCore, crc), core.crc.get()),
            "its checksum is wrong"
        );
        ensure!(
            core.magic == *b"IN" && core.version == 3,
            "it is not an inode of version 3"
        );
        ensure!(
            core.number.get() == number,
            "it takes itself for inode {}",
            core.number.get()
        );
        ensure!(
            core.uuid == self.facts.metadata_uuid,
            "it has another file system's UUID"
        );
        self.check_lsn(core.lsn.get())?;
        Ok(RawInode { core, bytes })
    }

    /// A used inode.
    pub(super) fn entry(&self, number: u64, raw: &RawInode) -> Result<Entry> {
        let core = &raw.core;
        let type_bits = core.mode.get() & TYPE_MASK;
        ensure!(core.mode.get() != 0, "it is not used");
        ensure!(
            core.next_unlinked.get() == NULL,
            "it is in a list of unlinked inodes"
        );
        ensure!(
            core.flags.get() & FLAG_REALTIME == 0,
            "its contents are on a real-time device, which is not read"
        );
        let device = matches!(type_bits, CHAR_DEVICE | BLOCK_DEVICE | FIFO | SOCKET);
        let (data, attrs) = self.forks(raw, device)?;
        let size = core.bytes.get();
        let (mtime, mtime_nanoseconds) = self.time(core)?;
        let mut entry = Entry {
            number,
            kind: Kind::Directory,
            mode: core.mode.get() & 0o7777,
            uid: core.uid.get(),
            gid: core.gid.get(),
            mtime,
            mtime_nanoseconds,
            links: core.links.get(),
            immutable: core.flags.get() & FLAG_IMMUTABLE != 0,
            size,
            blocks: core.blocks.get(),
            reflink: core.flags2.get() & FLAG2_SHARED != 0,
            data,
            attrs,
        };
        entry.kind = match type_bits {
            DIRECTORY => Kind::Directory,
            REGULAR => {
                ensure!(
                    i64::try_from(size).is_ok() && entry.data.format != FORMAT_LOCAL,
                    "it can't be a file of {size} bytes with data format {}",
                    entry.data.format
                );
                Kind::File { len: size }
            }
            SYMLINK => Kind::Symlink(self.target(&entry)?),
            CHAR_DEVICE | BLOCK_DEVICE => {
                let device: U32 = record(&entry.data.bytes, 0)?;
                let (major, minor) = (device.get() >> 18, device.get() & 0x3_ffff);
                if type_bits == CHAR_DEVICE {
                    Kind::CharDevice(major, minor)
                } else {
                    Kind::BlockDevice(major, minor)
                }
            }
            FIFO => Kind::Fifo,
            SOCKET => Kind::Socket,
            other => bail!("there is no file type {other:#o}"),
        };
        ensure!(
            !device || size == 0,
            "it is a device, pipe or socket of {size} bytes"
        );
        Ok(entry)
    }

    fn forks(&self, raw: &RawInode, device: bool) -> Result<(Fork, Option<Fork>)> {
        let core = &raw.core;
        let literal = &raw.bytes[size_of::<InodeCore>()..];
        let many = core.flags2.get() & FLAG2_MANY_EXTENTS != 0;
        ensure!(
            !many || self.incompat(MANY_EXTENTS),
            "it counts extents in a way that the file system does not have"
        );
        let (extents, attr_extents) = if many {
            (core.many_extents.get(), core.extents.get())
        } else {
            ensure!(
                core.many_extents.get() == 0,
                "bytes that should be zero are not"
            );
            (
                core.extents.get().into(),
                core.attribute_extents.get().into(),
            )
        };
        let split = usize::from(core.fork_offset) * 8;
        let fits = match (core.fork_offset, device) {
            (0, _) => true,
            (offset, true) => offset == FORK_OFFSET_DEVICE,
            (_, false) => split >= FORK_OFFSET_MIN * 8 && split + ATTR_FORK_MIN <= literal.len(),
        };
        ensure!(
            fits,
            "its attribute fork at {} can't be {}",
            core.fork_offset,
            if device {
                "anywhere but at 1 in a device, pipe or socket".to_owned()
            } else {
                format!(
                    "outside of {FORK_OFFSET_MIN} to {}",
                    (literal.len() - ATTR_FORK_MIN) / 8
                )
            }
        );
        ensure!(
            device == (core.data_format == FORMAT_DEVICE) && core.data_format <= FORMAT_TREE,
            "its data format can't be {}",
            core.data_format
        );
        let (data, attrs) = if split == 0 {
            ensure!(
                core.attribute_format == FORMAT_EXTENTS && attr_extents == 0,
                "it has no attribute fork, but one of format {} with {attr_extents} extents",
                core.attribute_format
            );
            (literal, None)
        } else {
            ensure!(
                (FORMAT_LOCAL..=FORMAT_TREE).contains(&core.attribute_format),
                "its attribute format can't be {}",
                core.attribute_format
            );
            let (data, attrs) = literal.split_at(split);
            (data, Some(attrs))
        };
        ensure!(
            extents == 0 || core.data_format > FORMAT_LOCAL,
            "it has {extents} extents, but data format {}",
            core.data_format
        );
        ensure!(
            attr_extents == 0 || core.attribute_format > FORMAT_LOCAL,
            "it has {attr_extents} extents of attributes, but attribute format {}",
            core.attribute_format
        );
        let attrs = attrs.map(|bytes| Fork {
            format: core.attribute_format,
            extents: attr_extents.into(),
            bytes: bytes.into(),
        });
        let data = Fork {
            format: core.data_format,
            extents,
            bytes: data.into(),
        };
        Ok((data, attrs))
    }

    fn time(&self, core: &InodeCore) -> Result<(i64, u32)> {
        let stored = core.modified.get();
        let big = core.flags2.get() & FLAG2_BIG_TIME != 0;
        ensure!(
            !big || self.incompat(BIG_TIME),
            "it has big timestamps, which the file system does not have"
        );
        if big {
            let seconds = i64::try_from(stored / NANOSECONDS)? - BIGTIME_EPOCH;
            return Ok((seconds, u32::try_from(stored % NANOSECONDS)?));
        }
        // Two signed 32-bit numbers.
        let bytes = stored.to_be_bytes();
        let seconds = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let nanoseconds = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        ensure!(
            u64::from(nanoseconds) < NANOSECONDS,
            "its time has {nanoseconds} nanoseconds"
        );
        Ok((seconds.into(), nanoseconds))
    }

    fn target(&self, entry: &Entry) -> Result<Box<[u8]>> {
        ensure!(
            (1..=TARGET_MAX).contains(&entry.size),
            "a symlink target can't have {} bytes",
            entry.size
        );
        let len = usize::try_from(entry.size)?;
        let mut target = Vec::with_capacity(len);
        if entry.data.format == FORMAT_LOCAL {
            let inside = entry.data.bytes.get(..len);
            target.extend_from_slice(inside.context("its target does not fit the inode")?);
        } else {
            let map = self.map(entry.number, &entry.data)?;
            let block_size = u64::from(self.facts.block_size);
            let mut block = 0;
            while target.len() < len {
                let position = map
                    .position(block, block_size)
                    .context("its target is cut short")?;
                let (header, bytes) = self.block::<RemoteHeader>(position, entry.number)?;
                let start = size_of::<RemoteHeader>();
                let expected = (len - target.len()).min(bytes.len() - start);
                ensure!(
                    header.magic == *b"XSLM"
                        && usize::try_from(header.offset.get())? == target.len()
                        && usize::try_from(header.bytes.get())? == expected,
                    "the block at {position} is not its target from {} on",
                    target.len()
                );
                target.extend_from_slice(&bytes[start..start + expected]);
                block += 1;
            }
        }
        ensure!(!target.contains(&0), "its target has a zero byte");
        Ok(target.into())
    }
}
