//! Inodes as they are stored.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::crc::seal;
use super::format::{
    BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, FLAG_IMMUTABLE, FLAG_NEW_BITMAP, FLAG2_BIG_TIME,
    FORMAT_DEVICE, FORMAT_EXTENTS, FORMAT_LOCAL, FORMAT_TREE, INODE_CRC, InodeCore, NULL, REGULAR,
    SOCKET, SYMLINK, timestamp,
};
use super::geometry::INODE_LEN;
use bake_tree::{Inode, Node};

/// A fork as the inode has it.
#[derive(Debug)]
pub(super) enum Stored {
    Device(u32),
    /// The bytes themselves.
    Local(Vec<u8>),
    /// So many extents.
    Extents(usize, Vec<u8>),
    /// The root of the tree of so many extents.
    Tree(usize, Vec<u8>),
}

impl Stored {
    fn format(&self) -> u8 {
        match self {
            Self::Device(_) => FORMAT_DEVICE,
            Self::Local(_) => FORMAT_LOCAL,
            Self::Extents(..) => FORMAT_EXTENTS,
            Self::Tree(..) => FORMAT_TREE,
        }
    }

    fn extents(&self) -> usize {
        match self {
            Self::Device(_) | Self::Local(_) => 0,
            Self::Extents(count, _) | Self::Tree(count, _) => *count,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Device(number) => number.to_be_bytes().to_vec(),
            Self::Local(bytes) | Self::Extents(_, bytes) | Self::Tree(_, bytes) => bytes.clone(),
        }
    }
}

/// What an inode holds beside its metadata.
#[derive(Debug)]
pub(super) struct Body {
    /// Length in bytes that the file has to its user.
    pub(super) bytes: u64,
    /// Blocks of both forks, the tree of extents included.
    pub(super) blocks: u64,
    pub(super) links: u32,
    pub(super) data: Stored,
    /// In units of 8 bytes; 0 without attributes.
    pub(super) fork_offset: u8,
    pub(super) attributes: Option<Stored>,
}

/// An inode in use.
pub(super) fn used(inode: &Inode, body: &Body, number: u64, uuid: [u8; 16]) -> Vec<u8> {
    let meta = &inode.meta;
    let kind = match inode.node {
        Node::Directory(_) => DIRECTORY,
        Node::File(_) => REGULAR,
        Node::Symlink(_) => SYMLINK,
        Node::CharDevice(..) => CHAR_DEVICE,
        Node::BlockDevice(..) => BLOCK_DEVICE,
        Node::Fifo => FIFO,
        Node::Socket => SOCKET,
    };
    let mut core = core(kind | meta.mode & 0o7777, meta.mtime, number, uuid);
    core.uid = meta.uid.into();
    core.gid = meta.gid.into();
    core.links = body.links.into();
    core.bytes = body.bytes.into();
    core.blocks = body.blocks.into();
    core.data_format = body.data.format();
    // Far below 2^31: each extent took some memory.
    core.extents = U32::new(body.data.extents() as u32);
    core.fork_offset = body.fork_offset;
    if meta.immutable {
        core.flags = FLAG_IMMUTABLE.into();
    }
    if let Some(attributes) = &body.attributes {
        core.attribute_format = attributes.format();
        // An attribute fork lies in one piece.
        core.attribute_extents = U16::new(attributes.extents() as u16);
    }
    let mut bytes = assemble(&core, &body.data.bytes());
    if let Some(attributes) = &body.attributes {
        let at = size_of::<InodeCore>() + 8 * usize::from(body.fork_offset);
        let fork = attributes.bytes();
        bytes[at..at + fork.len()].copy_from_slice(&fork);
    }
    seal(&mut bytes, INODE_CRC);
    bytes
}

/// One of XFS's own, of the realtime section that isn't there.
pub(super) fn realtime(is_bitmap: bool, number: u64, uuid: [u8; 16]) -> Vec<u8> {
    let mut core = core(REGULAR, 0, number, uuid);
    core.links = U32::new(1);
    if is_bitmap {
        core.flags = FLAG_NEW_BITMAP.into();
    }
    let mut bytes = assemble(&core, &[]);
    seal(&mut bytes, INODE_CRC);
    bytes
}

/// A free slot of a chunk.
pub(super) fn free(number: u64, uuid: [u8; 16]) -> Vec<u8> {
    let mut core = InodeCore::new_zeroed();
    core.magic = *b"IN";
    core.version = 3;
    core.next_unlinked = NULL.into();
    core.number = number.into();
    core.uuid = uuid;
    let mut bytes = assemble(&core, &[]);
    seal(&mut bytes, INODE_CRC);
    bytes
}

fn core(mode: u16, time: i64, number: u64, uuid: [u8; 16]) -> InodeCore {
    let time = timestamp(time).expect("checked when laid out");
    let mut core = InodeCore::new_zeroed();
    core.magic = *b"IN";
    core.mode = mode.into();
    core.version = 3;
    core.data_format = FORMAT_EXTENTS;
    core.attribute_format = FORMAT_EXTENTS;
    core.accessed = time;
    core.modified = time;
    core.changed = time;
    core.created = time;
    core.next_unlinked = NULL.into();
    core.change_count = 1.into();
    core.flags2 = FLAG2_BIG_TIME.into();
    core.number = number.into();
    core.uuid = uuid;
    core
}

fn assemble(core: &InodeCore, data_fork: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; INODE_LEN];
    super::hashed::fill(&mut bytes, core.as_bytes(), data_fork);
    bytes
}
