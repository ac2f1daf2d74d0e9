//! The inode table with the listings between it and itself, and the tables that point into it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::Sink;
use super::listing::{self, Listing, Name};
use super::metadata::{MetadataWriter, table};
use super::pipeline::Stored;
use super::plan::{Numbered, Plan};
use crate::squashfs::compress::Encoder;
use crate::squashfs::format::{
    BasicDirectory, BasicFile, Device, ExtendedDirectory, ExtendedFile, InodeHeader, LISTING_EXTRA,
    NONE, Place, Symlink, kind,
};
use bake_tree::{InodeId, Node, Tree};

/// Where the tables are, as the superblock names them.
pub(super) struct Tables {
    pub(super) root: Place,
    pub(super) inodes: u64,
    pub(super) directories: u64,
    pub(super) fragments: u64,
    pub(super) lookup: u64,
    pub(super) ids: u64,
    pub(super) xattrs: u64,
}

/// Makes and writes all tables. Their order is the kernel's: it checks that the indices of the
/// fragment, lookup and id tables end where the next table starts.
pub(super) fn write(
    plan: &Plan<'_>,
    stored: &Stored,
    encoder: &mut Encoder,
    sink: &mut Sink<'_>,
) -> Result<Tables> {
    let mut inodes = Inodes {
        plan,
        stored,
        encoder,
        inodes: MetadataWriter::default(),
        listings: MetadataWriter::default(),
        places: vec![None; plan.inodes.len()],
        finished: BTreeMap::new(),
        record: Vec::new(),
    };
    let root = inodes.write_all()?;
    let lookup = inodes.lookup()?;
    let Inodes {
        inodes, listings, ..
    } = inodes;

    let inode_table = sink.position;
    sink.write(&inodes.finish(encoder)?)?;
    let directories = sink.position;
    sink.write(&listings.finish(encoder)?)?;
    Ok(Tables {
        root,
        inodes: inode_table,
        directories,
        fragments: table(stored.fragments.as_bytes(), encoder, sink)?,
        lookup: table(lookup.as_bytes(), encoder, sink)?,
        ids: table(plan.owners.ids().as_bytes(), encoder, sink)?,
        xattrs: plan.xattrs.write(encoder, sink)?,
    })
}

/// Inode table and listings under construction.
struct Inodes<'a, 'p> {
    plan: &'a Plan<'p>,
    stored: &'a Stored,
    encoder: &'a mut Encoder,
    inodes: MetadataWriter,
    listings: MetadataWriter,
    /// By [`InodeId::index`], of those written.
    places: Vec<Option<Place>>,
    /// Listings whose directory's inode is not written yet.
    finished: BTreeMap<InodeId, Listing>,
    /// The inode being made.
    record: Vec<u8>,
}

impl Inodes<'_, '_> {
    /// Writes inodes and listings of the whole tree; returns the root's place.
    fn write_all(&mut self) -> Result<Place> {
        for directory in &self.plan.directories {
            let number = self.plan.inodes[directory.index()].number;
            let mut names = Vec::new();
            for (name, id) in self.plan.tree.children(*directory) {
                names.push(Name {
                    name,
                    number: self.plan.inodes[id.index()].number,
                    place: self.place(id, number)?,
                    kind: basic_kind(&self.plan.tree.inode(id).node),
                });
            }
            let listing = listing::write(&names, &mut self.listings, self.encoder)
                .with_context(|| format!("listing {}", self.plan.path(*directory)))?;
            self.finished.insert(*directory, listing);
        }
        // The root's parent is a number that no inode has, as mksquashfs does it.
        self.place(Tree::ROOT, self.plan.inode_count.saturating_add(1))
    }

    /// Where an inode is; writes it first if need be. `parent` is for directories.
    fn place(&mut self, id: InodeId, parent: u32) -> Result<Place> {
        if let Some(place) = self.places[id.index()] {
            return Ok(place);
        }
        let place = self.inodes.place()?;
        self.places[id.index()] = Some(place);
        self.record.clear();
        self.make(id, parent)
            .with_context(|| format!("writing the inode of {}", self.plan.path(id)))?;
        self.inodes.put(&self.record, self.encoder)?;
        Ok(place)
    }

    /// Makes an inode's record.
    fn make(&mut self, id: InodeId, parent: u32) -> Result<()> {
        let numbered = self.plan.inodes[id.index()];
        let node = &self.plan.tree.inode(id).node;
        match node {
            Node::Directory(_) => self.directory(id, numbered, parent),
            Node::File(_) => self.file(id, numbered),
            Node::Symlink(target) => {
                let symlink = Symlink {
                    links: U32::new(numbered.links),
                    target_len: U32::new(u32::try_from(target.len())?),
                };
                self.other(id, numbered, &[symlink.as_bytes(), target])
            }
            Node::CharDevice(major, minor) | Node::BlockDevice(major, minor) => {
                let device = Device {
                    links: U32::new(numbered.links),
                    // The kernel's new_encode_dev(): eight bits of the minor, twelve of the
                    // major, and the minor's other twelve.
                    device: U32::new((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)),
                };
                self.other(id, numbered, &[device.as_bytes()])
            }
            Node::Fifo | Node::Socket => {
                self.other(id, numbered, &[U32::new(numbered.links).as_bytes()])
            }
        }
    }

    fn directory(&mut self, id: InodeId, numbered: Numbered, parent: u32) -> Result<()> {
        let listing = self
            .finished
            .remove(&id)
            .context("a directory's listing comes before its inode")?;
        let size = listing
            .size
            .checked_add(LISTING_EXTRA)
            .context("a directory's listing exceeds 4 GiB")?;
        let basic = u16::try_from(size)
            .ok()
            .filter(|_| listing.index_count == 0 && numbered.xattrs == NONE);
        if let Some(size) = basic {
            self.header(id, numbered, kind::DIRECTORY);
            let directory = BasicDirectory {
                block: U32::new(listing.place.block),
                links: U32::new(numbered.links),
                size: U16::new(size),
                offset: U16::new(listing.place.offset),
                parent: U32::new(parent),
            };
            self.record.extend_from_slice(directory.as_bytes());
        } else {
            self.header(id, numbered, kind::DIRECTORY + kind::EXTENDED);
            let directory = ExtendedDirectory {
                links: U32::new(numbered.links),
                size: U32::new(size),
                block: U32::new(listing.place.block),
                parent: U32::new(parent),
                index_count: U16::new(listing.index_count),
                offset: U16::new(listing.place.offset),
                xattrs: U32::new(numbered.xattrs),
            };
            self.record.extend_from_slice(directory.as_bytes());
            self.record.extend_from_slice(&listing.index);
        }
        Ok(())
    }

    fn file(&mut self, id: InodeId, numbered: Numbered) -> Result<()> {
        // An equal file that came first has the blocks.
        let file = &self.plan.files[self.plan.files[numbered.file].same_as];
        let stored = self.stored.files[self.plan.files[numbered.file].same_as];
        let len = file.content.len();
        let basic = u32::try_from(stored.start)
            .ok()
            .zip(u32::try_from(len).ok())
            .filter(|_| numbered.links == 1 && numbered.xattrs == NONE && stored.hole_bytes == 0);
        if let Some((start, size)) = basic {
            self.header(id, numbered, kind::FILE);
            let record = BasicFile {
                start: U32::new(start),
                fragment: U32::new(file.fragment),
                offset: U32::new(file.offset),
                size: U32::new(size),
            };
            self.record.extend_from_slice(record.as_bytes());
        } else {
            self.header(id, numbered, kind::FILE + kind::EXTENDED);
            let record = ExtendedFile {
                start: U64::new(stored.start),
                size: U64::new(len),
                // Never the whole length: the kernel subtracts it before rounding up.
                hole_bytes: U64::new(stored.hole_bytes.min(len.saturating_sub(1))),
                links: U32::new(numbered.links),
                fragment: U32::new(file.fragment),
                offset: U32::new(file.offset),
                xattrs: U32::new(numbered.xattrs),
            };
            self.record.extend_from_slice(record.as_bytes());
        }
        let words = stored.first_word..stored.first_word + usize::try_from(file.blocks)?;
        self.record
            .extend_from_slice(self.stored.words[words].as_bytes());
        Ok(())
    }

    /// Everything whose extended form is the basic one with the attributes at the end.
    fn other(&mut self, id: InodeId, numbered: Numbered, parts: &[&[u8]]) -> Result<()> {
        let extended = numbered.xattrs != NONE;
        let basic = basic_kind(&self.plan.tree.inode(id).node);
        self.header(
            id,
            numbered,
            basic + if extended { kind::EXTENDED } else { 0 },
        );
        for part in parts {
            self.record.extend_from_slice(part);
        }
        if extended {
            self.record
                .extend_from_slice(U32::new(numbered.xattrs).as_bytes());
        }
        Ok(())
    }

    fn header(&mut self, id: InodeId, numbered: Numbered, kind: u16) {
        let meta = &self.plan.tree.inode(id).meta;
        let header = InodeHeader {
            kind: U16::new(kind),
            mode: U16::new(meta.mode & 0o7777),
            uid: U16::new(numbered.uid),
            gid: U16::new(numbered.gid),
            mtime: U32::new(nearest_time(meta.mtime)),
            number: U32::new(numbered.number),
        };
        self.record.extend_from_slice(header.as_bytes());
    }

    /// Places by inode number, for `open_by_handle_at` and NFS.
    fn lookup(&self) -> Result<Vec<U64>> {
        let mut lookup = vec![U64::new(0); usize::try_from(self.plan.inode_count)?];
        for (numbered, place) in self.plan.inodes.iter().zip(&self.places) {
            if let Some(place) = place {
                lookup[usize::try_from(numbered.number)? - 1] = place.packed();
            }
        }
        Ok(lookup)
    }
}

/// The time that squashfs can hold which is nearest to `seconds`.
fn nearest_time(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

fn basic_kind(node: &Node) -> u16 {
    match node {
        Node::Directory(_) => kind::DIRECTORY,
        Node::File(_) => kind::FILE,
        Node::Symlink(_) => kind::SYMLINK,
        Node::BlockDevice(..) => kind::BLOCK_DEVICE,
        Node::CharDevice(..) => kind::CHAR_DEVICE,
        Node::Fifo => kind::FIFO,
        Node::Socket => kind::SOCKET,
    }
}
