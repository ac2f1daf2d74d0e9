//! Directories: names in blocks, and the tree of hashes that large ones have above them.

use anyhow::{Context, Result, bail, ensure};
use zerocopy::little_endian::U32;

use super::Reader;
use super::blocks::record;
use super::extents::Map;
use super::inode::Entry;
use crate::ext4::checksum::extend;
use crate::ext4::format::{
    EntryHead, EntryTail, FLAG_INDEX, HashCounts, HashEntry, HashRoot, KIND_CHECKSUM,
};
use crate::file_type::file_type;
use bake_tree::{Kind, NAME_MAX};

/// Blocks of one directory, for a hundred million names: what a crafted image can cost.
const BLOCKS_MAX: u64 = 1 << 20;
/// Levels of hashes between the root and the leaves.
const LEVELS_MAX: u8 = 3;
const ALIGN: usize = 4;
const NAME_START: usize = size_of::<EntryHead>();
const TAIL_SIZE: usize = size_of::<EntryTail>();
/// Bytes of "." and of the shortest "..".
const SHORT_NAME: usize = 12;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: Box<[u8]>,
    /// Number of the inode.
    pub number: u32,
    pub(super) file_type: u8,
}

impl Reader {
    /// The names in a directory, in byte order.
    pub fn read_dir(&self, directory: &Entry) -> Result<Vec<Name>> {
        self.parse(directory)
            .with_context(|| format!("reading ext4 directory {}", directory.number))
    }

    /// The inode that a name stands for.
    pub fn entry_of(&self, name: &Name) -> Result<Entry> {
        let entry = self.by_number(name.number)?;
        ensure!(
            file_type(&entry.kind) == name.file_type,
            "the ext4 directory takes {} for inode {} of type {}, but it is of type {}",
            name.name.escape_ascii(),
            name.number,
            name.file_type,
            file_type(&entry.kind)
        );
        Ok(entry)
    }

    /// Names but "." and "..", verified as far as it goes without other inodes.
    fn parse(&self, directory: &Entry) -> Result<Vec<Name>> {
        ensure!(directory.kind == Kind::Directory, "it is not a directory");
        let map = self.map(directory)?;
        let block_size = u64::from(self.facts.block_size);
        let blocks = directory.size / block_size;
        ensure!(
            directory.size.is_multiple_of(block_size) && (1..=BLOCKS_MAX).contains(&blocks),
            "a directory can't have {} bytes",
            directory.size
        );
        let indexed = directory.flags & FLAG_INDEX != 0;
        let hashes = if indexed {
            self.hashes(directory, &map, blocks)
                .context("in the tree of its hashes")?
        } else {
            Vec::new()
        };
        let mut found = Vec::new();
        for block in 0..blocks {
            let bytes = self.contents(&map, block)?;
            let above = hashes.binary_search(&block).is_ok();
            self.names(directory, block, &bytes, above, &mut found)
                .with_context(|| format!("in block {block} of its names"))?;
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = found.windows(2).find(|pair| pair[0].name == pair[1].name) {
            bail!("it has {} twice", pair[0].name.escape_ascii());
        }
        Ok(found)
    }

    fn contents(&self, map: &Map, block: u64) -> Result<Vec<u8>> {
        let position = map
            .position(block, self.facts.block_size.into())
            .with_context(|| format!("its block {block} is a hole"))?;
        let mut bytes = vec![0; self.block_size()?];
        self.read_at(position, &mut bytes)?;
        Ok(bytes)
    }

    /// Takes the names of a block, which has hashes in it if it is `above` the leaves.
    fn names(
        &self,
        directory: &Entry,
        block: u64,
        bytes: &[u8],
        above: bool,
        found: &mut Vec<Name>,
    ) -> Result<()> {
        let mut end = bytes.len();
        if let Some(seed) = directory.seed
            && !above
        {
            end -= TAIL_SIZE;
            let tail: EntryTail = record(bytes, end)?;
            let header = &tail.head;
            ensure!(
                header.inode.get() == 0
                    && usize::from(header.record_len.get()) == TAIL_SIZE
                    && header.name_len == 0
                    && header.kind == KIND_CHECKSUM,
                "it does not end with a checksum"
            );
            ensure!(
                extend(seed, &bytes[..end]) == tail.checksum.get(),
                "its checksum is wrong"
            );
        }
        let mut at = 0;
        let mut count = 0;
        while at < end {
            let header: EntryHead = record(bytes, at)?;
            let (len, name_len) = (
                stored_len(header.record_len.get()),
                usize::from(header.name_len),
            );
            let needed = (NAME_START + name_len).next_multiple_of(ALIGN);
            ensure!(
                len.is_multiple_of(ALIGN) && len >= needed && len <= end - at,
                "the name at {at} has {len} bytes"
            );
            if header.inode.get() != 0 {
                let name = &bytes[at + NAME_START..at + NAME_START + name_len];
                match (block, count) {
                    (0, 0) => ensure!(
                        name == b"." && header.inode.get() == directory.number && header.kind == 2,
                        "its \".\" is not itself"
                    ),
                    (0, 1) => {
                        ensure!(
                            name == b".." && header.kind == 2,
                            "it has no \"..\" as its second name"
                        );
                    }
                    _ => {
                        ensure!(!above, "the block is for hashes, but has names");
                        found.push(checked(name, &header)?);
                    }
                }
                count += 1;
            }
            at += len;
        }
        ensure!(block > 0 || count >= 2, "it has no \"..\"");
        Ok(())
    }

    /// Checks the tree of hashes, and returns the blocks it is in, sorted.
    fn hashes(&self, directory: &Entry, map: &Map, blocks: u64) -> Result<Vec<u64>> {
        let bytes = self.contents(map, 0)?;
        let start = 2 * SHORT_NAME;
        let root: HashRoot = record(&bytes, start)?;
        ensure!(
            root.reserved.get() == 0
                && usize::from(root.len) == size_of::<HashRoot>()
                && root.levels <= LEVELS_MAX
                && root.version <= 6,
            "its root is not one"
        );
        let mut above = vec![0];
        let mut level = self.hash_block(directory, &bytes, start + size_of::<HashRoot>())?;
        for _ in 0..root.levels {
            let mut below = Vec::new();
            for block in level {
                ensure!(block < blocks, "it leads to block {block} of {blocks}");
                ensure!(
                    above.len() as u64 <= blocks,
                    "it leads to the same block twice"
                );
                above.push(block);
                let bytes = self.contents(map, block)?;
                below.extend(
                    self.hash_block(directory, &bytes, NAME_START)
                        .with_context(|| format!("in block {block}"))?,
                );
            }
            level = below;
        }
        above.sort_unstable();
        let mut all = level;
        all.extend(&above);
        all.sort_unstable();
        ensure!(
            all.iter().copied().eq(0..blocks),
            "it does not lead to every block once"
        );
        Ok(above)
    }

    /// Children of a block of hashes, whose entries start at `start`.
    fn hash_block(&self, directory: &Entry, bytes: &[u8], start: usize) -> Result<Vec<u64>> {
        let counts: HashCounts = record(bytes, start)?;
        let (room, count) = (
            usize::from(counts.room.get()),
            usize::from(counts.count.get()),
        );
        let tail = if directory.seed.is_some() { 8 } else { 0 };
        let fits = (bytes.len() - start - tail) / size_of::<HashEntry>();
        ensure!(
            room == fits && (1..=room).contains(&count),
            "it has {count} of {room} hashes, where {fits} fit"
        );
        if let Some(seed) = directory.seed {
            let end = start + count * size_of::<HashEntry>();
            let tail_at = start + room * size_of::<HashEntry>();
            let said: U32 = record(bytes, tail_at + 4)?;
            let mut is = extend(seed, &bytes[..end]);
            is = extend(is, &bytes[tail_at..tail_at + 4]);
            is = extend(is, &[0; 4]);
            ensure!(is == said.get(), "its checksum is wrong");
        }
        let mut children = vec![u64::from(counts.block.get())];
        let mut last = 0;
        for index in 1..count {
            let entry: HashEntry = record(bytes, start + index * size_of::<HashEntry>())?;
            ensure!(
                entry.hash.get() >= last,
                "its hashes are out of order at {:#x}",
                entry.hash.get()
            );
            last = entry.hash.get();
            children.push(entry.block.get().into());
        }
        Ok(children)
    }
}

/// Bytes to the next name; 64 KiB do not fit the field.
fn stored_len(len: u16) -> usize {
    match len {
        0 | u16::MAX => 1 << 16,
        len => (usize::from(len) & !3) | (usize::from(len) & 3) << 16,
    }
}

fn checked(name: &[u8], header: &EntryHead) -> Result<Name> {
    ensure!(
        (1..=NAME_MAX).contains(&name.len())
            && !name.contains(&b'/')
            && !name.contains(&0)
            && name != b"."
            && name != b"..",
        "{:?} can't be a name",
        name.escape_ascii().to_string()
    );
    ensure!(
        (1..=7).contains(&header.kind),
        "{} has file type {}",
        name.escape_ascii(),
        header.kind
    );
    Ok(Name {
        name: name.into(),
        number: header.inode.get(),
        file_type: header.kind,
    })
}
