//! Directories: within the inode, in one block, with one leaf, or with a tree of leaves.
//!
//! ```text
//! short   in the inode: name and inode number one behind the other
//! block   one block: entries, free space, hashes
//! leaf    blocks of entries from block 0; one leaf of hashes at block 2^23
//! node    the same with a tree of leaves, and each block's largest free space from block 2^24 on
//! ```
//!
//! Entries are in the order of names, packed without gaps.

use anyhow::Result;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout};

use super::crc::seal;
use super::format::{
    BestFree, FreeIndex, FreeRegion, HashEntry, HashedHeader, MAGIC_FREE_INDEX, MAGIC_LEAF,
    MAGIC_LEAF_BELOW_NODE, MAGIC_NAMES, MAGIC_NAMES_ALONE, NAMES_CRC, NamesHeader,
};
use super::geometry::BLOCK_LEN;
use super::hashed::{
    Fork, NODE_ENTRIES, NodeHeader, Put, fill, linked, name_hash, node_levels, parts, put_nodes,
};

/// Header of a block with entries.
#[derive(Clone, Copy, Debug, FromZeros, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct DataHeader {
    names: NamesHeader,
    best: BestFree,
}
const _: () = assert!(size_of::<DataHeader>() == 0x40);

/// Header of a block of the free index.
#[derive(Clone, Copy, Debug, FromZeros, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct FreeHeader {
    names: NamesHeader,
    index: FreeIndex,
}
const _: () = assert!(size_of::<FreeHeader>() == 0x40);

/// First block of the fork with hashes: at 32 GiB.
const LEAF_AT: u32 = 1 << 23;
/// First block of the fork with the free index: at 64 GiB.
const FREE_AT: u32 = 1 << 24;
/// Values of a block of the free index.
const FREE_VALUES: usize = (BLOCK_LEN - size_of::<FreeHeader>()) / 2;
/// Marks free space among entries.
const FREE_TAG: u16 = 0xffff;
const HEADER_LEN: usize = size_of::<DataHeader>();
/// Offset of the first entry behind `.` and `..`.
const FIRST_ENTRY: u16 = 96;

/// Type of what a name leads to, as directories tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    Regular = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    /// Inode number; only the form on disk wants it.
    pub(super) number: u64,
    pub(super) kind: FileType,
}

/// Bytes of an entry: inode, length, name, type, own offset, in units of eight.
fn entry_len(name: &[u8]) -> usize {
    (12 + name.len()).next_multiple_of(8)
}

/// Bytes of the short form with inode numbers of 4 bytes, or of 8.
pub(super) fn short_len<'a>(names: impl Iterator<Item = &'a [u8]>, wide: bool) -> usize {
    let number = if wide { 8 } else { 4 };
    names.fold(2 + number, |len, name| len + 4 + name.len() + number)
}

/// The short form.
pub(super) fn short(parent: u64, entries: &[Entry<'_>]) -> Vec<u8> {
    let numbers = || entries.iter().map(|entry| entry.number).chain([parent]);
    let large = numbers().filter(|n| *n > u64::from(u32::MAX)).count();
    let push = |bytes: &mut Vec<u8>, number: u64| match large {
        0 => bytes.extend_from_slice(&number.to_be_bytes()[4..]),
        _ => bytes.extend_from_slice(&number.to_be_bytes()),
    };
    // The form is chosen where there are far fewer than 255 of either.
    let mut bytes = vec![entries.len() as u8, large as u8];
    push(&mut bytes, parent);
    let mut offset = FIRST_ENTRY;
    for entry in entries {
        bytes.push(entry.name.len() as u8);
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(entry.name);
        bytes.push(entry.kind as u8);
        push(&mut bytes, entry.number);
        offset += entry_len(entry.name) as u16;
    }
    bytes
}

/// A directory outside its inode: where each entry goes, and how its hashes are laid out.
#[derive(Debug)]
pub(super) struct Blocks {
    /// For `.`, `..` and every name: its entry's offset in the fork, divided by 8.
    addresses: Vec<u32>,
    /// Bytes in use from the start of each block with entries.
    used: Vec<u16>,
    /// Hash and address of all of them, sorted.
    hashes: Vec<(u32, u32)>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Block,
    Leaf,
    Node,
}

impl Blocks {
    /// Lays out a directory of these names, in this order.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let all = || [&b"."[..], b".."].into_iter().chain(names.clone());
        let mut used = Vec::new();
        let mut offset = HEADER_LEN;
        let mut addresses = Vec::new();
        for name in all() {
            let len = entry_len(name);
            if offset + len > BLOCK_LEN {
                used.push(offset as u16);
                offset = HEADER_LEN;
            }
            // 2^23 blocks of entries hold more names than there are inodes.
            addresses.push(((used.len() * BLOCK_LEN + offset) / 8) as u32);
            offset += len;
        }
        used.push(offset as u16);
        let mut hashes: Vec<(u32, u32)> = all().map(name_hash).zip(addresses.clone()).collect();
        hashes.sort_unstable();

        let hashes_len = hashes.len() * size_of::<HashEntry>();
        let form = if used.len() == 1 && offset + hashes_len + 8 <= BLOCK_LEN {
            Form::Block
        } else if size_of::<NodeHeader>() + hashes_len + 2 * used.len() + 4 <= BLOCK_LEN {
            Form::Leaf
        } else {
            Form::Node
        };
        Self {
            addresses,
            used,
            hashes,
            form,
        }
    }

    /// Length of the directory in bytes: of its entries, that is.
    pub(super) fn bytes(&self) -> u64 {
        (self.used.len() * BLOCK_LEN) as u64
    }

    /// The rows of blocks that the fork needs: first block, count.
    pub(super) fn ranges(&self) -> Vec<(u64, u64)> {
        let data = (0, self.used.len() as u64);
        match self.form {
            Form::Block => vec![data],
            Form::Leaf => vec![data, (LEAF_AT.into(), 1)],
            Form::Node => {
                let leaves = parts(self.hashes.len(), NODE_ENTRIES);
                let nodes: usize = node_levels(leaves).iter().sum();
                let free = parts(self.used.len(), FREE_VALUES);
                vec![
                    data,
                    (LEAF_AT.into(), (nodes + leaves) as u64),
                    (FREE_AT.into(), free as u64),
                ]
            }
        }
    }

    /// Puts all blocks of directory `fork.owner`.
    pub(super) fn put(
        &self,
        parent: u64,
        entries: &[Entry<'_>],
        fork: &Fork<'_>,
        put: &mut Put<'_>,
    ) -> Result<()> {
        let dot = |name, number| Entry {
            name,
            number,
            kind: FileType::Directory,
        };
        let dots = [dot(b".", fork.owner), dot(b"..", parent)];
        let mut all = dots.iter().chain(entries).zip(&self.addresses).peekable();
        for index in 0..self.used.len() {
            let mut bytes = vec![0; BLOCK_LEN];
            while let Some((entry, address)) =
                all.next_if(|(_, address)| **address as usize * 8 / BLOCK_LEN == index)
            {
                write_entry(&mut bytes, *address as usize * 8 % BLOCK_LEN, entry);
            }
            self.finish_data(index, &mut bytes, fork, put)?;
        }
        match self.form {
            Form::Block => Ok(()),
            Form::Leaf => {
                let mut bytes = leaf(linked(MAGIC_LEAF, LEAF_AT, 0, 1), &self.hashes);
                let bests = BLOCK_LEN - 4 - 2 * self.used.len();
                for index in 0..self.used.len() {
                    let best = self.free(index).to_be_bytes();
                    bytes[bests + 2 * index..][..2].copy_from_slice(&best);
                }
                bytes[BLOCK_LEN - 4..].copy_from_slice(&(self.used.len() as u32).to_be_bytes());
                fork.put_hashed(LEAF_AT.into(), &mut bytes, put)
            }
            Form::Node => self.put_tree(fork, put),
        }
    }

    /// Bytes free in block `index` of entries.
    fn free(&self, index: usize) -> u16 {
        let tail = match self.form {
            Form::Block => self.hashes.len() * size_of::<HashEntry>() + 8,
            _ => 0,
        };
        (BLOCK_LEN - tail) as u16 - self.used[index]
    }

    /// Header, free space and, in the block form, hashes of block `index` of entries.
    fn finish_data(
        &self,
        index: usize,
        bytes: &mut [u8],
        fork: &Fork<'_>,
        put: &mut Put<'_>,
    ) -> Result<()> {
        let block = fork.locate(index as u64);
        let mut header = DataHeader::new_zeroed();
        header.names.magic = MAGIC_NAMES;
        header.names.daddr = block.daddr().into();
        header.names.uuid = fork.uuid;
        header.names.owner = fork.owner.into();
        let (used, free) = (self.used[index], self.free(index));
        if free > 0 {
            header.best.regions[0] = FreeRegion {
                offset: used.into(),
                bytes: free.into(),
            };
            let region = &mut bytes[used.into()..][..free.into()];
            region[..2].copy_from_slice(&FREE_TAG.to_be_bytes());
            region[2..4].copy_from_slice(&free.to_be_bytes());
            region[usize::from(free) - 2..].copy_from_slice(&used.to_be_bytes());
        }
        if self.form == Form::Block {
            header.names.magic = MAGIC_NAMES_ALONE;
            let hashes = on_disk(&self.hashes);
            let start = usize::from(used + free);
            bytes[start..][..hashes.as_bytes().len()].copy_from_slice(hashes.as_bytes());
            let counts = [U32::new(hashes.len() as u32), U32::ZERO];
            bytes[BLOCK_LEN - 8..].copy_from_slice(counts.as_bytes());
        }
        bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
        seal(bytes, NAMES_CRC);
        put(block, bytes)
    }

    /// Nodes, leaves and free index.
    fn put_tree(&self, fork: &Fork<'_>, put: &mut Put<'_>) -> Result<()> {
        // Equal hashes may lie in two leaves.
        let leaves: Vec<&[(u32, u32)]> = self.hashes.chunks(NODE_ENTRIES).collect();
        let last_hashes: Vec<u32> = leaves.iter().map(|leaf| leaf[leaf.len() - 1].0).collect();
        put_nodes(&last_hashes, LEAF_AT, fork, put)?;
        let nodes: usize = node_levels(leaves.len()).iter().sum();
        let first = LEAF_AT + nodes as u32;
        for (index, hashes) in leaves.iter().enumerate() {
            let header = linked(MAGIC_LEAF_BELOW_NODE, first, index, leaves.len());
            let mut bytes = leaf(header, hashes);
            fork.put_hashed(u64::from(first) + index as u64, &mut bytes, put)?;
        }
        let values: Vec<U16> = (0..self.used.len())
            .map(|index| self.free(index).into())
            .collect();
        for (index, values) in values.chunks(FREE_VALUES).enumerate() {
            let at = u64::from(FREE_AT) + index as u64;
            let block = fork.locate(at);
            let mut header = FreeHeader::new_zeroed();
            header.names.magic = MAGIC_FREE_INDEX;
            header.names.daddr = block.daddr().into();
            header.names.uuid = fork.uuid;
            header.names.owner = fork.owner.into();
            header.index.first = U32::new((index * FREE_VALUES) as u32);
            // A block without free space counts as used: its value is 0, not "none".
            header.index.valid = U32::new(values.len() as u32);
            header.index.used = header.index.valid;
            let mut bytes = vec![0; BLOCK_LEN];
            fill(&mut bytes, header.as_bytes(), values.as_bytes());
            seal(&mut bytes, NAMES_CRC);
            put(block, &bytes)?;
        }
        Ok(())
    }
}

fn write_entry(bytes: &mut [u8], offset: usize, entry: &Entry<'_>) {
    let len = entry_len(entry.name);
    let place = &mut bytes[offset..offset + len];
    place[..8].copy_from_slice(&entry.number.to_be_bytes());
    // Names have at most 255 bytes.
    place[8] = entry.name.len() as u8;
    place[9..9 + entry.name.len()].copy_from_slice(entry.name);
    place[9 + entry.name.len()] = entry.kind as u8;
    place[len - 2..].copy_from_slice(&(offset as u16).to_be_bytes());
}

fn on_disk(hashes: &[(u32, u32)]) -> Vec<HashEntry> {
    let entry = |(hash, address): &(u32, u32)| HashEntry {
        hash: (*hash).into(),
        address: (*address).into(),
    };
    hashes.iter().map(entry).collect()
}

/// A leaf of these hashes, not yet sealed.
fn leaf(hashed: HashedHeader, hashes: &[(u32, u32)]) -> Vec<u8> {
    let mut header = NodeHeader::new_zeroed();
    header.hashed = hashed;
    header.counts.count = U16::new(hashes.len() as u16);
    let mut bytes = vec![0; BLOCK_LEN];
    fill(&mut bytes, header.as_bytes(), on_disk(hashes).as_bytes());
    bytes
}
