//! Directory blocks: linear, without an index, which readers take at any size.

use anyhow::Result;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::checksum;
use super::format::{EntryHead, EntryTail, KIND_CHECKSUM};
use bake_tree::Node;

/// One name.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    /// As [`kind`] has it.
    pub(super) kind: u8,
}

/// [`kind`] of a directory.
pub(super) const DIRECTORY: u8 = 2;

/// The entry kind of a node.
pub(super) fn kind(node: &Node) -> u8 {
    match node {
        Node::File(_) => 1,
        Node::Directory(_) => DIRECTORY,
        Node::CharDevice(..) => 3,
        Node::BlockDevice(..) => 4,
        Node::Fifo => 5,
        Node::Socket => 6,
        Node::Symlink(_) => 7,
    }
}

/// Bytes of an entry whose name has `name_len` bytes.
fn entry_len(name_len: usize) -> usize {
    size_of::<EntryHead>() + name_len.next_multiple_of(4)
}

/// Bytes of a block that entries may take.
fn usable(block_len: usize) -> usize {
    block_len - size_of::<EntryTail>()
}

/// How many blocks names of these lengths take, `.` and `..` not among them.
pub(super) fn block_count(name_lens: impl Iterator<Item = usize>, block_len: usize) -> u64 {
    let mut blocks = 1;
    let mut filled = 0;
    for len in [1, 2].into_iter().chain(name_lens).map(entry_len) {
        if filled + len > usable(block_len) {
            blocks += 1;
            filled = 0;
        }
        filled += len;
    }
    blocks
}

/// The blocks of a directory, at least `least` of them. `seed` is the inode's.
pub(super) fn blocks(
    own: u32,
    parent: u32,
    entries: &[Entry<'_>],
    least: u64,
    block_len: usize,
    seed: u32,
) -> Result<Vec<u8>> {
    let dots = [(b".".as_slice(), own), (b"..", parent)].map(|(name, inode)| Entry {
        name,
        inode,
        kind: DIRECTORY,
    });
    let mut bytes: Vec<u8> = Vec::new();
    let mut block = Block::new(block_len);
    for entry in dots.iter().chain(entries) {
        if !block.fits(entry) {
            bytes.extend(block.finish(seed)?);
            block = Block::new(block_len);
        }
        block.push(entry)?;
    }
    bytes.extend(block.finish(seed)?);
    while ((bytes.len() / block_len) as u64) < least {
        bytes.extend(Block::new(block_len).finish(seed)?);
    }
    Ok(bytes)
}

struct Block {
    bytes: Vec<u8>,
    filled: usize,
    /// Where the last entry starts.
    last: usize,
}

impl Block {
    fn new(block_len: usize) -> Self {
        Self {
            bytes: vec![0; block_len],
            filled: 0,
            last: 0,
        }
    }

    fn fits(&self, entry: &Entry<'_>) -> bool {
        self.filled + entry_len(entry.name.len()) <= usable(self.bytes.len())
    }

    fn push(&mut self, entry: &Entry<'_>) -> Result<()> {
        let len = entry_len(entry.name.len());
        self.last = self.filled;
        self.head(EntryHead {
            inode: U32::new(entry.inode),
            record_len: U16::new(len.try_into()?),
            name_len: entry.name.len().try_into()?,
            kind: entry.kind,
        });
        let name = self.last + size_of::<EntryHead>();
        self.bytes[name..name + entry.name.len()].copy_from_slice(entry.name);
        self.filled += len;
        Ok(())
    }

    fn head(&mut self, head: EntryHead) {
        let end = self.last + size_of::<EntryHead>();
        self.bytes[self.last..end].copy_from_slice(head.as_bytes());
    }

    /// Stretches the last entry to the tail, and sums.
    fn finish(mut self, seed: u32) -> Result<Vec<u8>> {
        let end = usable(self.bytes.len());
        let stretched = u16::try_from(end - self.last)?;
        self.bytes[self.last + 4..self.last + 6].copy_from_slice(&stretched.to_le_bytes());
        let tail = EntryTail {
            head: EntryHead {
                inode: U32::ZERO,
                record_len: U16::new(size_of::<EntryTail>().try_into()?),
                name_len: 0,
                kind: KIND_CHECKSUM,
            },
            checksum: U32::new(checksum::extend(seed, &self.bytes[..end])),
        };
        self.bytes[end..].copy_from_slice(tail.as_bytes());
        Ok(self.bytes)
    }
}
