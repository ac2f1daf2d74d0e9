//! Extended attributes: in the inode, in one leaf, or in many with values apart.

use anyhow::{Context, Result, bail, ensure};
use zerocopy::big_endian::{U16, U32};

use super::Reader;
use super::blocks::record;
use super::extents::Map;
use super::inode::Entry;
use crate::xfs::format::{
    ATTRIBUTE_LOCAL, ATTRIBUTE_PARENT, ATTRIBUTE_SECURITY, ATTRIBUTE_TRUSTED, AttributeEntry,
    AttributeLeaf, FORMAT_LOCAL, HashedHeader, LocalAttribute, MAGIC_ATTRIBUTE_LEAF,
    RemoteAttribute, RemoteHeader, ShortAttribute, ShortAttributes,
};
use crate::xfs::hashed::name_hash;
use bake_tree::Xattrs;

/// Bytes of all names and values of one inode, far above what any file system gives away: what a
/// crafted image can cost.
const SET_MAX: usize = 16 << 20;
/// Longest value that Linux takes (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 65536;
const LEAF_START: usize = size_of::<HashedHeader>() + size_of::<AttributeLeaf>();
const ALIGN: usize = 4;
/// Version of access control lists in the form that programs see.
const ACL_VERSION: u32 = 2;

/// Attributes as they are found.
#[derive(Default)]
struct Set {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    /// Blocks of values.
    remote: u64,
    last_hash: u32,
}

impl Reader {
    /// The extended attributes of an inode, with their full names.
    pub fn xattrs(&self, entry: &Entry) -> Result<Xattrs> {
        self.attributes(entry).with_context(|| {
            format!(
                "reading the extended attributes of xfs inode {}",
                entry.number
            )
        })
    }

    fn attributes(&self, entry: &Entry) -> Result<Xattrs> {
        let Some(fork) = &entry.attrs else {
            return Ok(Xattrs::new());
        };
        let mut set = Set::default();
        if fork.format == FORMAT_LOCAL {
            short(&fork.bytes, &mut set)?;
        } else if fork.extents > 0 {
            let map = self.map(entry.number, fork)?;
            let leaves = self.leaves(entry.number, &map, 0, MAGIC_ATTRIBUTE_LEAF, |bytes| {
                self.leaf(entry.number, &map, bytes, &mut set)
            })?;
            let mapped: u64 = map.extents.iter().map(|extent| extent.count).sum();
            let used = leaves.len() as u64 + set.remote;
            ensure!(
                mapped == used,
                "they have {mapped} blocks, of which {used} are in use"
            );
        }
        set.pairs.sort();
        if let Some(pair) = set.pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            bail!("{} is there twice", pair[0].0.escape_ascii());
        }
        let pairs = set.pairs.iter();
        Ok(pairs.map(|(name, value)| (&name[..], &value[..])).collect())
    }

    /// Takes a leaf's attributes, and returns its last hash.
    fn leaf(&self, owner: u64, map: &Map, bytes: &[u8], set: &mut Set) -> Result<Option<u32>> {
        let header: AttributeLeaf = record(bytes, size_of::<HashedHeader>())?;
        let count = usize::from(header.count.get());
        let table_end = LEAF_START + count * size_of::<AttributeEntry>();
        ensure!(
            table_end <= bytes.len(),
            "a leaf has {count} attributes, more than fit"
        );
        let mut used = Vec::with_capacity(count);
        for index in 0..count {
            let entry: AttributeEntry =
                record(bytes, LEAF_START + index * size_of::<AttributeEntry>())?;
            let start = usize::from(entry.offset.get());
            let len = self.attribute(owner, map, bytes, &entry, set)?;
            used.push((start, len));
        }
        check_space(&header, bytes.len(), table_end, used)?;
        Ok((count > 0).then_some(set.last_hash))
    }

    /// Takes one attribute of a leaf, and returns how many bytes it has there.
    fn attribute(
        &self,
        owner: u64,
        map: &Map,
        bytes: &[u8],
        entry: &AttributeEntry,
        set: &mut Set,
    ) -> Result<usize> {
        let at = usize::from(entry.offset.get());
        let local = entry.flags & ATTRIBUTE_LOCAL != 0;
        let (name_at, name_len, value_len, block);
        if local {
            let head: LocalAttribute = record(bytes, at)?;
            name_at = at + size_of::<LocalAttribute>();
            name_len = usize::from(head.name_len);
            value_len = usize::from(head.value_len.get());
            block = None;
        } else {
            let head: RemoteAttribute = record(bytes, at)?;
            name_at = at + size_of::<RemoteAttribute>();
            name_len = usize::from(head.name_len);
            value_len = usize::try_from(head.value_len.get())?;
            block = Some(u64::from(head.block.get()));
        }
        let name = bytes
            .get(name_at..name_at + name_len)
            .context("a name is cut short")?;
        let hashed = name_hash(name);
        // Parent pointers hash their values as well, and are no attributes that anybody sees.
        ensure!(
            hashed == entry.hash.get() || entry.flags & ATTRIBUTE_PARENT != 0,
            "{} has hash {hashed:#x}, but is listed with {:#x}",
            name.escape_ascii(),
            entry.hash.get()
        );
        ensure!(
            set.last_hash <= entry.hash.get(),
            "the hashes are out of order at {}",
            name.escape_ascii()
        );
        set.last_hash = entry.hash.get();
        ensure!(value_len <= VALUE_MAX, "a value has {value_len} bytes");
        let value_at = name_at + name_len;
        match block {
            None => {
                let value = bytes
                    .get(value_at..value_at + value_len)
                    .context("a value is cut short")?;
                set.take(entry.flags & !ATTRIBUTE_LOCAL, name, value)?;
                Ok((value_at + value_len - at).next_multiple_of(ALIGN))
            }
            Some(block) => {
                let (value, blocks) = self
                    .value(owner, map, block, value_len)
                    .with_context(|| format!("reading the value of {}", name.escape_ascii()))?;
                set.remote += blocks;
                set.take(entry.flags, name, &value)?;
                // The kernel counts two bytes of padding in the fixed part.
                Ok((size_of::<RemoteAttribute>() + 2 + name_len).next_multiple_of(ALIGN))
            }
        }
    }

    /// Reads a value from blocks of its own.
    fn value(&self, owner: u64, map: &Map, first: u64, len: usize) -> Result<(Vec<u8>, u64)> {
        let block_size = u64::from(self.facts.block_size);
        let mut value = Vec::with_capacity(len);
        let mut blocks = 0;
        while value.len() < len {
            let position = map
                .position(first + blocks, block_size)
                .context("it is cut short")?;
            let (header, bytes) = self.block::<RemoteHeader>(position, owner)?;
            let start = size_of::<RemoteHeader>();
            let here = (len - value.len()).min(bytes.len() - start);
            ensure!(
                header.magic == *b"XARM"
                    && usize::try_from(header.offset.get())? == value.len()
                    && usize::try_from(header.bytes.get())? == here,
                "the block at {position} is not the value from {} on",
                value.len()
            );
            value.extend_from_slice(&bytes[start..start + here]);
            blocks += 1;
        }
        Ok((value, blocks))
    }
}

impl Set {
    fn take(&mut self, flags: u8, name: &[u8], value: &[u8]) -> Result<()> {
        self.bytes += name.len() + value.len();
        ensure!(self.bytes <= SET_MAX, "they have more than {SET_MAX} bytes");
        let prefix: &[u8] = match flags {
            0 => b"user.",
            ATTRIBUTE_TRUSTED => match name {
                b"SGI_ACL_FILE" => return self.take_acl(b"system.posix_acl_access", value),
                b"SGI_ACL_DEFAULT" => return self.take_acl(b"system.posix_acl_default", value),
                _ => b"trusted.",
            },
            ATTRIBUTE_SECURITY => b"security.",
            ATTRIBUTE_PARENT => return Ok(()),
            other => bail!("{} has the flags {other:#x}", name.escape_ascii()),
        };
        ensure!(
            !name.is_empty() && !name.contains(&0),
            "{:?} can't be a name",
            name.escape_ascii().to_string()
        );
        self.pairs.push(([prefix, name].concat(), value.to_vec()));
        Ok(())
    }

    /// Access control lists have another form on disk than programs see.
    fn take_acl(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        let count: U32 = record(value, 0)?;
        let count = usize::try_from(count.get())?;
        let entries = value.get(4..).unwrap_or_default();
        ensure!(
            entries.len() == count.saturating_mul(12),
            "an access control list of {count} entries has {} bytes",
            value.len()
        );
        let mut seen = ACL_VERSION.to_le_bytes().to_vec();
        for entry in entries.chunks_exact(12) {
            let tag = u16::try_from(record::<U32>(entry, 0)?.get())?;
            let permissions = record::<U16>(entry, 8)?.get();
            seen.extend(tag.to_le_bytes());
            seen.extend(permissions.to_le_bytes());
            // The owner and the group owner have no number; programs see all ones.
            let number = match tag {
                2 | 8 => record::<U32>(entry, 4)?.get(),
                _ => u32::MAX,
            };
            seen.extend(number.to_le_bytes());
        }
        self.pairs.push((name.to_vec(), seen));
        Ok(())
    }
}

/// Attributes in the inode.
fn short(bytes: &[u8], set: &mut Set) -> Result<()> {
    let header: ShortAttributes = record(bytes, 0)?;
    let total = usize::from(header.total.get());
    let bytes = bytes
        .get(..total)
        .with_context(|| format!("their {total} bytes do not fit the inode"))?;
    let mut at = size_of::<ShortAttributes>();
    for _ in 0..header.count {
        let entry: ShortAttribute = record(bytes, at)?;
        let name_at = at + size_of::<ShortAttribute>();
        let value_at = name_at + usize::from(entry.name_len);
        let end = value_at + usize::from(entry.value_len);
        let (Some(name), Some(value)) = (bytes.get(name_at..value_at), bytes.get(value_at..end))
        else {
            bail!("they are cut short");
        };
        set.take(entry.flags, name, value)?;
        at = end;
    }
    ensure!(at == total, "they have {at} bytes instead of {total}");
    Ok(())
}

/// Checks what a leaf says of its space against what its attributes use.
fn check_space(
    header: &AttributeLeaf,
    size: usize,
    table_end: usize,
    mut used: Vec<(usize, usize)>,
) -> Result<()> {
    used.sort_unstable();
    let mut end = table_end;
    for (start, len) in &used {
        ensure!(
            *start >= end && start.is_multiple_of(ALIGN) && start + len <= size,
            "the attribute at {start} in a leaf overlaps what is before it"
        );
        end = start + len;
    }
    let bytes: usize = used.iter().map(|(_, len)| len).sum();
    ensure!(
        usize::from(header.used_bytes.get()) == bytes,
        "a leaf counts {} used bytes instead of {bytes}",
        header.used_bytes.get()
    );
    let first = used.first().map_or(size, |(start, _)| *start);
    // A full 64 KiB block can't say where its end is.
    let said = match usize::from(header.first_used.get()) {
        0 => 1 << 16,
        said => said,
    };
    ensure!(
        said <= first,
        "a leaf's first attribute is at {first}, before {said}"
    );
    let mut free = Vec::new();
    for region in &header.free_map {
        let (start, len) = (
            usize::from(region.offset.get()),
            usize::from(region.bytes.get()),
        );
        if len == 0 {
            continue;
        }
        let clear = used
            .iter()
            .chain(&free)
            .all(|(other, other_len)| start + len <= *other || *other + other_len <= start);
        ensure!(
            start >= table_end && start + len <= size && clear,
            "a leaf takes {len} bytes at {start} for free, which they are not"
        );
        free.push((start, len));
    }
    let free: usize = free.iter().map(|(_, len)| len).sum();
    ensure!(
        header.holes != 0 || table_end + bytes + free == size,
        "a leaf has {} free bytes, of which it lists {free}",
        size - table_end - bytes
    );
    Ok(())
}
