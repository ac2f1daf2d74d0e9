//! Extended attributes: in the inode, and in one block, which inodes may share.

use anyhow::{Context, Result, bail, ensure};
use zerocopy::little_endian::{U16, U32};

use super::Reader;
use super::blocks::{crc, crc_without, record};
use super::disk::{AttrEntry, AttrHeader};
use super::inode::Entry;
use crate::tree::Xattrs;

const MAGIC: u32 = 0xea02_0000;
const ALIGN: usize = 4;
/// Version of access control lists on disk, and in the form that programs see.
const ACL_STORED: u32 = 1;
const ACL_SEEN: u32 = 2;

/// Names start with these, by number.
const PREFIXES: [&[u8]; 8] = [
    b"",
    b"user.",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
    b"trusted.",
    b"",
    b"security.",
    b"system.",
];

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

impl Reader {
    /// The extended attributes of an inode, with their full names.
    pub fn xattrs(&self, entry: &Entry) -> Result<Xattrs> {
        self.attributes(entry).with_context(|| {
            format!(
                "reading the extended attributes of ext4 inode {}",
                entry.number
            )
        })
    }

    fn attributes(&self, entry: &Entry) -> Result<Xattrs> {
        let mut pairs = Pairs::new();
        let magic: Option<U32> = record(&entry.attr_bytes, 0).ok();
        if magic.is_some_and(|magic| magic.get() == MAGIC) {
            // Values are counted from the first entry on.
            set(&entry.attr_bytes[4..], 0, false, &mut pairs)?;
        }
        if entry.attr_block != 0 {
            let bytes = self.attr_block(entry.attr_block)?.1;
            set(&bytes, size_of::<AttrHeader>(), true, &mut pairs)?;
        }
        pairs.sort();
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            bail!("{} is there twice", pair[0].0.escape_ascii());
        }
        Ok(pairs
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect())
    }

    /// A block of attributes, with its header verified.
    pub(super) fn attr_block(&self, number: u64) -> Result<(AttrHeader, Vec<u8>)> {
        let bytes = self.block(number)?;
        let header: AttrHeader = record(&bytes, 0)?;
        ensure!(
            header.magic.get() == MAGIC && header.blocks.get() == 1,
            "block {number} is not one of attributes"
        );
        if let Some(seed) = self.seed {
            let from = crc(seed, &number.to_le_bytes());
            let field = std::mem::offset_of!(AttrHeader, checksum);
            ensure!(
                crc_without(from, &bytes, field, 4) == header.checksum.get(),
                "block {number} of attributes has a wrong checksum"
            );
        }
        Ok((header, bytes))
    }
}

/// Takes the attributes that are listed from `start` on; in blocks they are sorted and have hashes.
fn set(bytes: &[u8], start: usize, in_block: bool, pairs: &mut Pairs) -> Result<()> {
    let mut at = start;
    let mut values: Vec<(usize, usize)> = Vec::new();
    let mut last: Option<(u8, u8, Vec<u8>)> = None;
    while record::<U32>(bytes, at)?.get() != 0 {
        let entry: AttrEntry = record(bytes, at)?;
        let name_at = at + size_of::<AttrEntry>();
        let name_len = usize::from(entry.name_len);
        let name = bytes
            .get(name_at..name_at + name_len)
            .context("a name is cut short")?;
        ensure!(
            entry.value_inode.get() == 0,
            "{} has its value in an inode of its own",
            name.escape_ascii()
        );
        let value_at = usize::from(entry.value_offset.get());
        let len = usize::try_from(entry.value_len.get())?;
        let value = value_at
            .checked_add(len)
            .and_then(|end| bytes.get(value_at..end))
            .with_context(|| format!("the value of {} is cut short", name.escape_ascii()))?;
        if len > 0 {
            values.push((value_at, len.next_multiple_of(ALIGN)));
        }
        if in_block {
            let place = (entry.prefix, entry.name_len, name.to_vec());
            ensure!(
                last.is_none_or(|last| last < place),
                "{} is out of order",
                name.escape_ascii()
            );
            last = Some(place);
        }
        // Inside inodes, older programs left the hash empty.
        let hash = entry.hash.get();
        ensure!(
            (hash == 0 && !in_block)
                || hash == entry_hash(name, value, false)
                || hash == entry_hash(name, value, true),
            "the hash of {} is wrong",
            name.escape_ascii()
        );
        pairs.push(pair(entry.prefix, name, value)?);
        at = (name_at + name_len).next_multiple_of(ALIGN);
    }
    values.sort_unstable();
    let mut end = at + 4;
    for (value_at, len) in values {
        ensure!(
            value_at >= end && value_at.is_multiple_of(ALIGN) && value_at + len <= bytes.len(),
            "the value at {value_at} overlaps what is before it"
        );
        end = value_at + len;
    }
    Ok(())
}

/// Full name and value.
fn pair(prefix: u8, name: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let start = PREFIXES
        .get(usize::from(prefix))
        .filter(|prefix| !prefix.is_empty())
        .with_context(|| format!("there is no prefix {prefix}"))?;
    let acl = matches!(prefix, 2 | 3);
    ensure!(
        name.is_empty() == acl && !name.contains(&0),
        "{:?} can't be a name",
        name.escape_ascii().to_string()
    );
    let value = if acl { list(value)? } else { value.to_vec() };
    Ok(([start, name].concat(), value))
}

/// Access control lists have another form on disk than programs see.
fn list(stored: &[u8]) -> Result<Vec<u8>> {
    let version: U32 = record(stored, 0)?;
    ensure!(
        version.get() == ACL_STORED,
        "an access control list has version {}",
        version.get()
    );
    let mut seen = ACL_SEEN.to_le_bytes().to_vec();
    let mut at = 4;
    while at < stored.len() {
        let tag: U16 = record(stored, at)?;
        let permissions: U16 = record(stored, at + 2)?;
        at += 4;
        // Only named users and groups have a number.
        let number = if matches!(tag.get(), 2 | 8) {
            at += 4;
            record::<U32>(stored, at - 4)?.get()
        } else {
            u32::MAX
        };
        seen.extend(tag.get().to_le_bytes());
        seen.extend(permissions.get().to_le_bytes());
        seen.extend(number.to_le_bytes());
    }
    Ok(seen)
}

/// Hash of an attribute; machines differed in whether bytes of names have a sign.
fn entry_hash(name: &[u8], value: &[u8], signed: bool) -> u32 {
    let mut hash = 0u32;
    for byte in name {
        let byte = if signed {
            u32::from_ne_bytes(i32::from(byte.cast_signed()).to_ne_bytes())
        } else {
            u32::from(*byte)
        };
        hash = hash.rotate_left(5) ^ byte;
    }
    for chunk in value.chunks(ALIGN) {
        let mut word = [0; ALIGN];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = hash.rotate_left(16) ^ u32::from_le_bytes(word);
    }
    hash
}
