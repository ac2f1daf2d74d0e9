//! Directories: names in the inode, in one block, or in many with hashes apart.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::big_endian::{U16, U32, U64};

use super::Reader;
use super::blocks::record;
use super::extents::Map;
use super::hashes::ENTRIES;
use super::inode::Entry;
use crate::file_type::file_type;
use crate::xfs::format::{
    BestFree, FORMAT_LOCAL, FreeIndex, HashCounts, HashEntry, HashedHeader, MAGIC_FREE_INDEX,
    MAGIC_LEAF, MAGIC_LEAF_BELOW_NODE, MAGIC_NAMES, MAGIC_NAMES_ALONE, NamesHeader,
};
use crate::xfs::hashed::name_hash;
use bake_tree::{Kind, NAME_MAX};

/// Blocks of names in one directory, for a hundred million names: what a crafted image can cost.
const NAME_BLOCKS_MAX: u64 = 1 << 20;
/// Bytes at which hashes, and the index of free space, start in the directory's own numbering.
const HASHES_START: u64 = 32 << 30;
const FREE_START: u64 = 64 << 30;
/// "No free space known": the block of names does not exist.
const NO_BLOCK: u16 = u16::MAX;
const FREE_TAG: u16 = u16::MAX;
const ALIGN: usize = 8;
const NAMES_START: usize = size_of::<NamesHeader>() + size_of::<BestFree>();
/// Where names start in the block that a short form would be: behind "." and "..".
const SHORT_START: usize = NAMES_START + 16 + 16;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: Box<[u8]>,
    /// Number of the inode.
    pub number: u64,
    pub(super) file_type: u8,
}

/// All of a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In byte order; neither "." nor "..".
    pub(super) names: Vec<Name>,
    /// The directory that ".." is.
    pub(super) parent: u64,
}

/// What blocks of names say, to be compared with the hashes.
#[derive(Default)]
struct Found {
    listing: Listing,
    /// Hash of every name by address, "." and ".." included.
    hashes: BTreeMap<u32, u32>,
    /// Longest free region by block of names.
    longest: BTreeMap<u32, u16>,
    dot: Option<u64>,
    dot_dot: Option<u64>,
}

impl Reader {
    /// The names in a directory, in byte order.
    pub fn read_dir(&self, directory: &Entry) -> Result<Vec<Name>> {
        Ok(self.listing(directory)?.names)
    }

    /// The inode that a name stands for.
    pub fn entry_of(&self, name: &Name) -> Result<Entry> {
        let entry = self.by_number(name.number)?;
        ensure!(
            file_type(&entry.kind) == name.file_type,
            "the xfs directory takes {} for inode {} of type {}, but it is of type {}",
            name.name.escape_ascii(),
            name.number,
            name.file_type,
            file_type(&entry.kind)
        );
        Ok(entry)
    }

    /// All of a directory, verified as far as it goes without other inodes.
    pub(super) fn listing(&self, directory: &Entry) -> Result<Listing> {
        self.parse(directory)
            .with_context(|| format!("reading xfs directory {}", directory.number))
    }

    fn parse(&self, directory: &Entry) -> Result<Listing> {
        ensure!(directory.kind == Kind::Directory, "it is not a directory");
        let mut listing = match directory.data.format {
            FORMAT_LOCAL => short(directory, self.block_size()?)?,
            _ => self.blocks_of_names(directory)?,
        };
        listing.names.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = listing
            .names
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            bail!("it has {} twice", pair[0].name.escape_ascii());
        }
        Ok(listing)
    }

    fn blocks_of_names(&self, directory: &Entry) -> Result<Listing> {
        let map = self.map(directory.number, &directory.data)?;
        let block_size = u64::from(self.facts.block_size);
        let blocks = directory.size / block_size;
        ensure!(
            directory.size.is_multiple_of(block_size) && (1..=NAME_BLOCKS_MAX).contains(&blocks),
            "a directory can't have {} bytes",
            directory.size
        );
        ensure!(
            map.extents.iter().all(|extent| !extent.unwritten),
            "it has blocks that were never written"
        );
        let mut found = Found::default();
        let single = blocks == 1
            && map.extents.iter().all(|extent| extent.offset == 0)
            && map.extents.iter().map(|extent| extent.count).sum::<u64>() == 1;
        for block in 0..blocks {
            let Some(position) = map.position(block, block_size) else {
                ensure!(
                    block > 0 && block + 1 < blocks,
                    "its block {block} is a hole"
                );
                continue;
            };
            let (header, bytes) = self.block::<NamesHeader>(position, directory.number)?;
            ensure!(
                header.magic
                    == if single {
                        MAGIC_NAMES_ALONE
                    } else {
                        MAGIC_NAMES
                    },
                "the block at {position} is not one of names"
            );
            let end = if single { tail(&bytes)? } else { bytes.len() };
            let number = u32::try_from(block)?;
            names_block(&bytes, number, end, &mut found)
                .with_context(|| format!("in block {block} of its names"))?;
            if single {
                let mut hashes = Hashes::default();
                let counts: U32 = record(&bytes, bytes.len() - 4)?;
                hashes.take(&bytes[end..bytes.len() - 8])?;
                ensure!(
                    hashes.stale == u64::from(counts.get()),
                    "it does not have {} stale hashes",
                    counts.get()
                );
                hashes.compare(&found)?;
            }
        }
        ensure!(
            found.dot == Some(directory.number),
            "its \".\" is not itself"
        );
        found.listing.parent = found.dot_dot.context("it has no \"..\"")?;
        if !single {
            self.hashes_of(directory, &map, blocks, &found)?;
        }
        Ok(found.listing)
    }

    /// Compares the hashes of a directory of several blocks, and its index of free space.
    fn hashes_of(&self, directory: &Entry, map: &Map, blocks: u64, found: &Found) -> Result<()> {
        let block_size = u64::from(self.facts.block_size);
        let root = u32::try_from(HASHES_START / block_size)?;
        let mut hashes = Hashes::default();
        let (header, bytes) = self.hash_block(directory.number, map, root)?;
        let mut used = found.longest.len() as u64;
        if header.magic.get() == MAGIC_LEAF {
            used += 1;
            ensure!(
                header.next.get() == 0 && header.previous.get() == 0,
                "its only leaf has neighbours"
            );
            let bests: U32 = record(&bytes, bytes.len() - 4)?;
            let bests = usize::try_from(bests.get())?;
            ensure!(
                bests as u64 == blocks,
                "its leaf knows of {bests} instead of {blocks} blocks of names"
            );
            let room = (bytes.len() - 4 - ENTRIES) / 2;
            ensure!(bests <= room, "its leaf has no room for {bests} blocks");
            let start = bytes.len() - 4 - bests * 2;
            hashes.leaf(&bytes[..start])?;
            compare_free(&bytes[start..], 0, bests, found)?;
        } else {
            let leaves = self.leaves(
                directory.number,
                map,
                root,
                MAGIC_LEAF_BELOW_NODE,
                |bytes| hashes.leaf(bytes),
            )?;
            used += leaves.len() as u64;
            used += self.free_index(directory.number, map, blocks, found)?;
        }
        hashes.compare(found)?;
        let mapped: u64 = map.extents.iter().map(|extent| extent.count).sum();
        ensure!(
            mapped == used,
            "it has {mapped} blocks, of which {used} are in use"
        );
        Ok(())
    }

    /// Checks the index of free space, and counts its blocks.
    fn free_index(&self, owner: u64, map: &Map, blocks: u64, found: &Found) -> Result<u64> {
        let block_size = u64::from(self.facts.block_size);
        let start = NAMES_START;
        let room = (self.block_size()? - start) / 2;
        let count = blocks.div_ceil(room as u64);
        let mut present = 0;
        for index in 0..count {
            let first = index * room as u64;
            let Some(position) = map.position(FREE_START / block_size + index, block_size) else {
                let known = found.longest.range(u32::try_from(first)?..).next();
                ensure!(
                    known.is_none_or(|(block, _)| u64::from(*block) >= first + room as u64),
                    "block {index} of its free index is a hole"
                );
                continue;
            };
            present += 1;
            let (header, bytes) = self.block::<NamesHeader>(position, owner)?;
            let free: FreeIndex = record(&bytes, size_of::<NamesHeader>())?;
            ensure!(
                header.magic == MAGIC_FREE_INDEX && u64::from(free.first.get()) == first,
                "the block at {position} is not block {index} of its free index"
            );
            let valid = usize::try_from(free.valid.get())?;
            ensure!(
                valid <= room && (valid as u64) >= (blocks - first).min(room as u64),
                "block {index} of its free index covers {valid} blocks of names"
            );
            let values = &bytes[start..start + valid * 2];
            let used = compare_free(values, u32::try_from(first)?, valid, found)
                .with_context(|| format!("in block {index} of its free index"))?;
            ensure!(
                used == free.used.get(),
                "block {index} of its free index counts {} blocks in use instead of {used}",
                free.used.get()
            );
        }
        Ok(present)
    }
}

/// Hashes as leaves have them.
#[derive(Default)]
struct Hashes {
    by_address: BTreeMap<u32, u32>,
    last: u32,
    stale: u64,
}

impl Hashes {
    /// Takes the entries that fill `bytes`.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        for index in 0..bytes.len() / size_of::<HashEntry>() {
            let entry: HashEntry = record(bytes, index * size_of::<HashEntry>())?;
            let (hash, address) = (entry.hash.get(), entry.address.get());
            ensure!(
                self.last <= hash,
                "its hashes are out of order at {hash:#x}"
            );
            self.last = hash;
            if address == 0 {
                self.stale += 1;
            } else {
                ensure!(
                    self.by_address.insert(address, hash).is_none(),
                    "it has two hashes for the name at {address:#x}"
                );
            }
        }
        Ok(())
    }

    /// Takes a leaf, which ends where something else starts.
    fn leaf(&mut self, bytes: &[u8]) -> Result<Option<u32>> {
        let counts: HashCounts = record(bytes, size_of::<HashedHeader>())?;
        let len = usize::from(counts.count.get()) * size_of::<HashEntry>();
        let before = self.stale;
        let entries = bytes
            .get(ENTRIES..ENTRIES + len)
            .with_context(|| format!("a leaf has {} hashes", counts.count.get()))?;
        self.take(entries)?;
        ensure!(
            self.stale - before == u64::from(counts.level_or_stale.get()),
            "it does not have {} stale hashes",
            counts.level_or_stale.get()
        );
        Ok((len > 0).then_some(self.last))
    }

    fn compare(&self, found: &Found) -> Result<()> {
        for (address, hash) in &found.hashes {
            match self.by_address.get(address) {
                Some(known) => ensure!(
                    known == hash,
                    "the name at {address:#x} has hash {hash:#x}, but is listed with {known:#x}"
                ),
                None => bail!("the name at {address:#x} is not among its hashes"),
            }
        }
        ensure!(
            self.by_address.len() == found.hashes.len(),
            "it has {} hashes for {} names",
            self.by_address.len(),
            found.hashes.len()
        );
        Ok(())
    }
}

/// Compares the longest free regions of `count` blocks of names from `first` on with what is said
/// of them; returns how many blocks exist.
fn compare_free(said: &[u8], first: u32, count: usize, found: &Found) -> Result<u32> {
    let mut used = 0;
    for index in 0..count {
        let block = first + u32::try_from(index)?;
        let said: U16 = record(said, index * 2)?;
        let is = found.longest.get(&block).copied();
        ensure!(
            said.get() == is.unwrap_or(NO_BLOCK),
            "block {block} of its names has {} free bytes in a row, not {}",
            is.unwrap_or(NO_BLOCK),
            said.get()
        );
        used += u32::from(is.is_some());
    }
    Ok(used)
}

/// Where the hashes at the end of an only block start.
fn tail(bytes: &[u8]) -> Result<usize> {
    let count: U32 = record(bytes, bytes.len() - 8)?;
    usize::try_from(count.get())?
        .checked_mul(size_of::<HashEntry>())
        .and_then(|len| (bytes.len() - 8).checked_sub(len))
        .filter(|start| *start >= NAMES_START)
        .with_context(|| format!("its block has {} hashes", count.get()))
}

/// Parses names up to `end` of a block.
fn names_block(bytes: &[u8], block: u32, end: usize, found: &mut Found) -> Result<()> {
    let best: BestFree = record(bytes, size_of::<NamesHeader>())?;
    let mut free: Vec<(u16, u16)> = Vec::new();
    let mut at = NAMES_START;
    let mut after_free = false;
    while at < end {
        let tag: U16 = record(bytes, at)?;
        let here = u16::try_from(at)?;
        if tag.get() == FREE_TAG {
            let len: U16 = record(bytes, at + 2)?;
            let len_bytes = usize::from(len.get());
            ensure!(
                len_bytes >= ALIGN && len_bytes.is_multiple_of(ALIGN) && len_bytes <= end - at,
                "the free region at {at} has {len_bytes} bytes"
            );
            ensure!(!after_free, "two free regions meet at {at}");
            let own: U16 = record(bytes, at + len_bytes - 2)?;
            ensure!(own.get() == here, "the free region at {at} ends wrongly");
            free.push((len.get(), here));
            after_free = true;
            at += len_bytes;
            continue;
        }
        after_free = false;
        at += name_in_block(&bytes[..end], at, block, found)
            .with_context(|| format!("in the name at {at}"))?;
    }
    check_best(&best, &mut free)?;
    found
        .longest
        .insert(block, free.first().map_or(0, |(len, _)| *len));
    Ok(())
}

/// Parses one name, and returns its length in bytes.
fn name_in_block(bytes: &[u8], at: usize, block: u32, found: &mut Found) -> Result<usize> {
    let number: U64 = record(bytes, at)?;
    let len: u8 = record(bytes, at + 8)?;
    let name_end = at + 9 + usize::from(len);
    let name = bytes.get(at + 9..name_end).context("it is cut short")?;
    let file_type: u8 = record(bytes, name_end)?;
    let size = (12 + usize::from(len)).next_multiple_of(ALIGN);
    let tag: U16 = record(bytes, at + size - 2)?;
    ensure!(
        usize::from(tag.get()) == at,
        "its tag is {} instead",
        tag.get()
    );
    let address =
        (u64::from(block) * (bytes.len().next_power_of_two() as u64) + at as u64) / ALIGN as u64;
    found
        .hashes
        .insert(u32::try_from(address)?, name_hash(name));
    let first = match (block, at) {
        (0, NAMES_START) => Some((&b"."[..], &mut found.dot)),
        (0, at) if at == NAMES_START + 16 => Some((&b".."[..], &mut found.dot_dot)),
        _ => None,
    };
    if let Some((expected, place)) = first {
        ensure!(
            name == expected && file_type == 2,
            "it is not {} of a directory's type",
            expected.escape_ascii()
        );
        *place = Some(number.get());
    } else {
        found
            .listing
            .names
            .push(checked(name, number.get(), file_type)?);
    }
    Ok(size)
}

fn check_best(best: &BestFree, free: &mut [(u16, u16)]) -> Result<()> {
    free.sort_by(|a, b| b.cmp(a));
    for (index, region) in best.regions.iter().enumerate() {
        let said = (region.bytes.get(), region.offset.get());
        let fits = match free.get(index) {
            // Of regions equally long, any may be listed.
            Some((len, _)) => said.0 == *len && free.contains(&said),
            None => said == (0, 0),
        };
        ensure!(
            fits && (said.0 == 0 || !best.regions[..index].contains(region)),
            "the list of free regions has {} bytes at {}",
            said.0,
            said.1
        );
    }
    Ok(())
}

/// Names in the inode.
fn short(directory: &Entry, block_size: usize) -> Result<Listing> {
    let len = usize::try_from(directory.size)?;
    let bytes = directory
        .data
        .bytes
        .get(..len)
        .with_context(|| format!("{len} bytes of names do not fit it"))?;
    let count: u8 = record(bytes, 0)?;
    let wide_count: u8 = record(bytes, 1)?;
    let mut at = 2;
    let mut wide = 0;
    let mut number = |at: usize| -> Result<u64> {
        let number = if wide_count > 0 {
            record::<U64>(bytes, at)?.get()
        } else {
            record::<U32>(bytes, at)?.get().into()
        };
        wide += u32::from(u32::try_from(number).is_err());
        Ok(number)
    };
    let number_len = if wide_count > 0 { 8 } else { 4 };
    let mut listing = Listing {
        names: Vec::new(),
        parent: number(at)?,
    };
    at += number_len;
    let mut offset = SHORT_START;
    for _ in 0..count {
        let name_len: u8 = record(bytes, at)?;
        let said: U16 = record(bytes, at + 1)?;
        let name_end = at + 3 + usize::from(name_len);
        let name = bytes
            .get(at + 3..name_end)
            .context("its names are cut short")?;
        let file_type: u8 = record(bytes, name_end)?;
        let said = usize::from(said.get());
        // Names that were removed leave gaps.
        ensure!(
            said >= offset && said.is_multiple_of(ALIGN),
            "{} has offset {said}, where {offset} or more is right",
            name.escape_ascii()
        );
        offset = said + (12 + usize::from(name_len)).next_multiple_of(ALIGN);
        listing
            .names
            .push(checked(name, number(name_end + 1)?, file_type)?);
        at = name_end + 1 + number_len;
    }
    ensure!(
        at == len,
        "its names have {at} bytes, where its size is {len}"
    );
    ensure!(
        wide == u32::from(wide_count),
        "{wide} of its inode numbers need eight bytes, not {wide_count}"
    );
    let hashes = (usize::from(count) + 2) * size_of::<HashEntry>() + 8;
    ensure!(
        offset + hashes <= block_size,
        "its names do not fit a block once they leave the inode"
    );
    Ok(listing)
}

fn checked(name: &[u8], number: u64, file_type: u8) -> Result<Name> {
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
        (1..=7).contains(&file_type),
        "{} has file type {file_type}",
        name.escape_ascii()
    );
    Ok(Name {
        name: name.into(),
        number,
        file_type,
    })
}
