//! Inodes of all kinds.

use anyhow::{Context, Result, bail, ensure};
use zerocopy::little_endian::U32;

use super::Reader;
use super::blocks::Cursor;
use crate::squashfs::format::{
    BasicDirectory, BasicFile, Device, ExtendedDirectory, ExtendedFile, InodeHeader, LISTING_EXTRA,
    METADATA_SIZE, NONE, Place, Symlink, TARGET_MAX, kind,
};
use bake_tree::Kind;

/// An inode.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number in the image, 1 and up; names with one number are hard links.
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
    pub mtime: u32,
    /// How many names it has, as the image says.
    pub links: u32,
    /// Index of the set of attributes, or [`NONE`].
    pub(super) xattrs: u32,
    pub(super) detail: Detail,
}

/// Where an inode's names or contents are.
#[derive(Clone, Debug)]
pub(super) enum Detail {
    Directory {
        listing: Cursor,
        /// Bytes of the listing.
        size: u32,
        /// Index entries, which start at `index`.
        index_count: u16,
        index: Cursor,
    },
    File {
        hole_bytes: u64,
        /// Position of the first block in the image.
        start: u64,
        /// Index, or [`NONE`].
        fragment: u32,
        offset: u32,
        /// Size words.
        words: Cursor,
    },
    Other,
}

impl Entry {
    /// Bytes of a file in blocks that are not stored because they are zeros, at most one less than it has.
    pub fn hole_bytes(&self) -> u64 {
        match self.detail {
            Detail::File { hole_bytes, .. } => hole_bytes,
            _ => 0,
        }
    }

    /// The number that listings have for its kind.
    pub(super) fn basic(&self) -> u16 {
        match self.kind {
            Kind::Directory => kind::DIRECTORY,
            Kind::File { .. } => kind::FILE,
            Kind::Symlink(_) => kind::SYMLINK,
            Kind::BlockDevice(..) => kind::BLOCK_DEVICE,
            Kind::CharDevice(..) => kind::CHAR_DEVICE,
            Kind::Fifo => kind::FIFO,
            Kind::Socket => kind::SOCKET,
        }
    }
}

/// What the part after the header says.
struct Body {
    kind: Kind,
    links: u32,
    xattrs: u32,
    detail: Detail,
}

impl Reader {
    /// Reads the inode at `place`.
    pub(super) fn inode(&self, place: Place) -> Result<Entry> {
        self.read_inode(place).with_context(|| {
            format!(
                "reading the squashfs inode at {}:{}",
                place.block, place.offset
            )
        })
    }

    fn read_inode(&self, place: Place) -> Result<Entry> {
        let position = self.superblock.inode_table.get() + u64::from(place.block);
        let mut cursor = Cursor::new(position, usize::from(place.offset));
        let header: InodeHeader = cursor.record(self)?;
        let number = header.number.get();
        ensure!(
            (1..=self.facts.inodes).contains(&number),
            "its number {number} is not 1 to {}",
            self.facts.inodes
        );
        let body = self.body(header.kind.get(), &mut cursor)?;
        Ok(Entry {
            number,
            kind: body.kind,
            mode: header.mode.get() & 0o7777,
            uid: self.owner(header.uid.get())?,
            gid: self.owner(header.gid.get())?,
            mtime: header.mtime.get(),
            links: body.links,
            xattrs: body.xattrs,
            detail: body.detail,
        })
    }

    fn body(&self, number: u16, cursor: &mut Cursor) -> Result<Body> {
        let (basic, extended) = match number.checked_sub(kind::EXTENDED) {
            Some(basic) if basic > 0 => (basic, true),
            _ => (number, false),
        };
        match (basic, extended) {
            (kind::DIRECTORY, _) => self.directory(extended, cursor),
            (kind::FILE, _) => self.file(extended, cursor),
            (kind::SYMLINK, _) => self.symlink(extended, cursor),
            (kind::BLOCK_DEVICE | kind::CHAR_DEVICE, _) => {
                let device: Device = cursor.record(self)?;
                let packed = device.device.get();
                let major = packed >> 8 & 0xfff;
                let minor = packed & 0xff | packed >> 12 & 0xf_ff00;
                let kind = if basic == kind::BLOCK_DEVICE {
                    Kind::BlockDevice(major, minor)
                } else {
                    Kind::CharDevice(major, minor)
                };
                self.other(kind, device.links, extended, cursor)
            }
            (kind::FIFO | kind::SOCKET, _) => {
                let links: U32 = cursor.record(self)?;
                let kind = if basic == kind::FIFO {
                    Kind::Fifo
                } else {
                    Kind::Socket
                };
                self.other(kind, links, extended, cursor)
            }
            _ => bail!("its kind {number} is unknown"),
        }
    }

    fn directory(&self, extended: bool, cursor: &mut Cursor) -> Result<Body> {
        let record: ExtendedDirectory = if extended {
            cursor.record(self)?
        } else {
            let basic: BasicDirectory = cursor.record(self)?;
            ExtendedDirectory {
                links: basic.links,
                size: U32::from(basic.size),
                block: basic.block,
                parent: basic.parent,
                offset: basic.offset,
                index_count: 0.into(),
                xattrs: U32::new(NONE),
            }
        };
        ensure!(
            usize::from(record.offset.get()) < METADATA_SIZE,
            "its listing lies nowhere"
        );
        let position = self.superblock.directory_table.get() + u64::from(record.block.get());
        Ok(Body {
            kind: Kind::Directory,
            links: record.links.get(),
            xattrs: record.xattrs.get(),
            detail: Detail::Directory {
                listing: Cursor::new(position, usize::from(record.offset.get())),
                // Up to 3 is how an empty directory is written.
                size: record.size.get().saturating_sub(LISTING_EXTRA),
                index_count: record.index_count.get(),
                index: cursor.clone(),
            },
        })
    }

    fn file(&self, extended: bool, cursor: &mut Cursor) -> Result<Body> {
        let record: ExtendedFile = if extended {
            cursor.record(self)?
        } else {
            let basic: BasicFile = cursor.record(self)?;
            ExtendedFile {
                start: basic.start.into(),
                size: basic.size.into(),
                hole_bytes: 0.into(),
                links: 1.into(),
                fragment: basic.fragment,
                offset: basic.offset,
                xattrs: U32::new(NONE),
            }
        };
        let len = record.size.get();
        ensure!(
            record.fragment.get() == NONE || !len.is_multiple_of(u64::from(self.facts.block_size)),
            "it has a fragment, but no bytes for it"
        );
        Ok(Body {
            kind: Kind::File { len },
            links: record.links.get(),
            xattrs: record.xattrs.get(),
            detail: Detail::File {
                hole_bytes: record.hole_bytes.get(),
                start: record.start.get(),
                fragment: record.fragment.get(),
                offset: record.offset.get(),
                words: cursor.clone(),
            },
        })
    }

    fn symlink(&self, extended: bool, cursor: &mut Cursor) -> Result<Body> {
        let record: Symlink = cursor.record(self)?;
        let len = usize::try_from(record.target_len.get())?;
        ensure!(
            (1..=TARGET_MAX).contains(&len),
            "its target's length {len} is not 1 to {TARGET_MAX}"
        );
        let target = cursor.bytes(self, len)?;
        self.other(Kind::Symlink(target), record.links, extended, cursor)
    }

    fn other(&self, kind: Kind, links: U32, extended: bool, cursor: &mut Cursor) -> Result<Body> {
        let xattrs = if extended {
            cursor.record::<U32>(self)?.get()
        } else {
            NONE
        };
        Ok(Body {
            kind,
            links: links.get(),
            xattrs,
            detail: Detail::Other,
        })
    }

    fn owner(&self, index: u16) -> Result<u32> {
        ensure!(
            index < self.facts.owners,
            "its owner {index} is not below {}",
            self.facts.owners
        );
        let id: U32 = self.table_record(self.superblock.id_table.get(), u64::from(index))?;
        Ok(id.get())
    }
}
