//! Inode records.

use anyhow::Result;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::attributes;
use super::blocks::Blocks;
use super::checksum;
use super::extents::{self, low_half};
use super::format::{
    BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, EXTRA_BYTES, FIFO, FLAG_EXTENTS, FLAG_IMMUTABLE,
    INODE_BYTES, InodeRecord, JOURNAL_INODE, MAP_BYTES, REGULAR, RESIZE_INODE, SOCKET, SYMLINK,
};
use super::plan::{Layout, Placed};
use super::resize::ResizeInode;
use super::values::{device_map, halves, time};
use bake_tree::{Meta, Node};

/// An inode, and the blocks beside it that hold its extent tree and attributes.
pub(super) struct Written {
    pub(super) record: InodeRecord,
    pub(super) nodes: Vec<(u64, Vec<u8>)>,
}

/// A record with no contents: times, owner, permissions and what they need.
fn blank(meta: &Meta, kind: u16, links: u32) -> Result<InodeRecord> {
    let mut record = InodeRecord::new_zeroed();
    record.mode = U16::new(kind | meta.mode & 0o7777);
    (record.uid, record.uid_high) = halves(meta.uid);
    (record.gid, record.gid_high) = halves(meta.gid);
    record.links = U16::new(links.try_into()?);
    record.extra_size = U16::new(EXTRA_BYTES);
    let (time, extra) = time(meta.mtime);
    record.atime = time;
    record.ctime = time;
    record.mtime = time;
    record.crtime = time;
    record.atime_extra = extra;
    record.ctime_extra = extra;
    record.mtime_extra = extra;
    record.crtime_extra = extra;
    // e2fsck clears the flag of anything else, and chattr does not set it.
    if meta.immutable && matches!(kind, REGULAR | DIRECTORY) {
        record.flags = U32::new(FLAG_IMMUTABLE);
    }
    Ok(record)
}

/// The inode of something in the tree; `size` is what its directory blocks take, if it is one.
pub(super) fn of_tree(layout: &Layout<'_>, placed: &Placed) -> Result<Written> {
    let meta = layout.meta(placed);
    let block = u64::from(layout.geometry.block_size);
    let allocated = placed.blocks.data.iter().map(|run| run.len).sum::<u64>() * block;
    let (kind, size, links) = match placed.id {
        None => (DIRECTORY, allocated, 2),
        Some(id) => {
            let (kind, size) = match &layout.tree.inode(id).node {
                Node::Directory(_) => (DIRECTORY, allocated),
                Node::File(content) => (REGULAR, content.len()),
                Node::Symlink(target) => (SYMLINK, target.len() as u64),
                Node::CharDevice(..) => (CHAR_DEVICE, 0),
                Node::BlockDevice(..) => (BLOCK_DEVICE, 0),
                Node::Fifo => (FIFO, 0),
                Node::Socket => (SOCKET, 0),
            };
            (kind, size, layout.links[id.index()])
        }
    };
    let mut record = blank(&meta, kind, links)?;
    set_size(&mut record, size);
    set_blocks(&mut record, placed.blocks.count(), block)?;

    let seed = layout.inode_seed(placed.number);
    let mut nodes = Vec::new();
    match placed.id.map(|id| &layout.tree.inode(id).node) {
        None | Some(Node::Directory(_) | Node::File(_)) => {
            nodes = set_extents(&mut record, &placed.blocks, layout, seed)?;
        }
        Some(Node::Symlink(target)) if target.len() < MAP_BYTES => {
            record.map[..target.len()].copy_from_slice(target);
        }
        Some(Node::Symlink(_)) => nodes = set_extents(&mut record, &placed.blocks, layout, seed)?,
        Some(Node::CharDevice(major, minor) | Node::BlockDevice(major, minor)) => {
            record.map = device_map(*major, *minor)?;
        }
        Some(Node::Fifo | Node::Socket) => {}
    }

    let encoded = attributes::encode(&meta.xattrs, layout.geometry.block_len())?;
    record.body = encoded.body;
    if let (Some(mut bytes), Some(place)) = (encoded.block, placed.blocks.attributes) {
        attributes::seal(&mut bytes, place, layout.checksum_seed());
        record.attributes = low_half(place);
        record.attributes_high = U16::new((place >> 32).try_into()?);
        nodes.push((place, bytes));
    }
    seal(&mut record, seed);
    Ok(Written { record, nodes })
}

/// The journal's inode.
pub(super) fn journal(layout: &Layout<'_>) -> Result<Written> {
    let block = u64::from(layout.geometry.block_size);
    let mut record = blank(&layout.own_meta(), REGULAR, 1)?;
    set_size(&mut record, layout.geometry.journal_blocks * block);
    set_blocks(&mut record, layout.journal.count(), block)?;
    let seed = layout.inode_seed(JOURNAL_INODE);
    let nodes = set_extents(&mut record, &layout.journal, layout, seed)?;
    seal(&mut record, seed);
    Ok(Written { record, nodes })
}

/// The resize inode.
pub(super) fn resize(layout: &Layout<'_>, made: ResizeInode) -> Result<Written> {
    let block = u64::from(layout.geometry.block_size);
    let mut record = blank(&layout.own_meta(), REGULAR, 1)?;
    set_size(&mut record, made.size);
    set_blocks(&mut record, made.blocks, block)?;
    record.map = made.map;
    seal(&mut record, layout.inode_seed(RESIZE_INODE));
    Ok(Written {
        record,
        nodes: made.nodes,
    })
}

/// A reserved inode that nothing uses.
pub(super) fn unused(layout: &Layout<'_>, number: u32) -> InodeRecord {
    let mut record = InodeRecord::new_zeroed();
    seal(&mut record, layout.inode_seed(number));
    record
}

fn set_extents(
    record: &mut InodeRecord,
    blocks: &Blocks,
    layout: &Layout<'_>,
    seed: u32,
) -> Result<Vec<(u64, Vec<u8>)>> {
    let tree = extents::tree(
        &blocks.data,
        &blocks.nodes,
        layout.geometry.block_len(),
        seed,
    )?;
    record.map = tree.root;
    record.flags |= U32::new(FLAG_EXTENTS);
    Ok(tree.nodes)
}

fn set_size(record: &mut InodeRecord, size: u64) {
    record.size = low_half(size);
    record.size_high = low_half(size >> 32);
}

fn set_blocks(record: &mut InodeRecord, blocks: u64, block_size: u64) -> Result<()> {
    let sectors = blocks * (block_size / 512);
    record.sectors = low_half(sectors);
    record.sectors_high = U16::new((sectors >> 32).try_into()?);
    Ok(())
}

/// Sets a record's checksum.
fn seal(record: &mut InodeRecord, seed: u32) {
    let (low, high) = halves(checksum::extend(seed, record.as_bytes()));
    record.checksum = low;
    // A record that does not reach the upper half has the lower only.
    if record.extra_size.get() > 0 {
        record.checksum_high = high;
    }
}

const _: () = assert!(INODE_BYTES == 256);
