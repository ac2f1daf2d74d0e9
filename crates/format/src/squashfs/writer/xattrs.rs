//! The tables of extended attributes: sets that inodes share, and large values that sets share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::Sink;
use super::metadata::{MetadataWriter, blocks};
use crate::squashfs::compress::Encoder;
use crate::squashfs::format::{
    NO_TABLE, NONE, XATTR_ELSEWHERE, XATTR_PREFIXES, XattrName, XattrSet, XattrTable, XattrValue,
};
use bake_tree::{XATTR_NAME_MAX, XATTR_VALUE_MAX, Xattrs};

/// Values longer than this are stored once and pointed to; as in mksquashfs. For short ones the
/// pointer, and the jump to another block that it costs the reader, don't pay.
const SHARED_VALUE_MIN: usize = 128;

/// Different sets in the order in which they came.
#[derive(Default)]
pub(super) struct XattrSets<'a> {
    sets: Vec<&'a Xattrs>,
    indices: HashMap<&'a Xattrs, u32>,
}

impl<'a> XattrSets<'a> {
    /// The index of a set, which is added if need be; [`NONE`] for the empty one.
    pub(super) fn index(&mut self, set: &'a Xattrs) -> Result<u32> {
        if set.is_empty() {
            return Ok(NONE);
        }
        match self.indices.entry(set) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => {
                check(set)?;
                let index = u32::try_from(self.sets.len())?;
                self.sets.push(set);
                Ok(*entry.insert(index))
            }
        }
    }

    /// Whether no inode has attributes.
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Writes the tables and returns the position that the superblock names.
    pub(super) fn write(&self, encoder: &mut Encoder, sink: &mut Sink<'_>) -> Result<u64> {
        if self.is_empty() {
            return Ok(NO_TABLE);
        }
        let mut pairs = MetadataWriter::default();
        let mut shared: HashMap<&[u8], U64> = HashMap::new();
        let mut sets = Vec::with_capacity(self.sets.len());
        for set in &self.sets {
            sets.push(XattrSet {
                place: pairs.place()?.packed(),
                count: U32::new(u32::try_from(set.len())?),
                size: U32::new(listed_size(set)?),
            });
            for (name, value) in set.iter() {
                write_pair(&mut pairs, encoder, name, value, &mut shared)?;
            }
        }
        let start = sink.position;
        sink.write(&pairs.finish(encoder)?)?;
        let positions = blocks(sets.as_bytes(), encoder, sink)?;
        let position = sink.position;
        let table = XattrTable {
            start: U64::new(start),
            sets: U32::new(u32::try_from(sets.len())?),
            unused: U32::new(0),
        };
        sink.write(table.as_bytes())?;
        sink.write(positions.as_bytes())?;
        Ok(position)
    }
}

fn write_pair<'a>(
    pairs: &mut MetadataWriter,
    encoder: &mut Encoder,
    name: &[u8],
    value: &'a [u8],
    shared: &mut HashMap<&'a [u8], U64>,
) -> Result<()> {
    let (prefix, rest) = split(name)?;
    let stored = shared.get(value).copied();
    let elsewhere = if stored.is_some() { XATTR_ELSEWHERE } else { 0 };
    let header = XattrName {
        prefix: U16::new(prefix | elsewhere),
        len: U16::new(u16::try_from(rest.len())?),
    };
    pairs.put(header.as_bytes(), encoder)?;
    pairs.put(rest, encoder)?;
    let place = pairs.place()?.packed();
    let bytes = stored.as_ref().map_or(value, |place| place.as_bytes());
    let len = U32::new(u32::try_from(bytes.len())?);
    pairs.put(XattrValue { len }.as_bytes(), encoder)?;
    pairs.put(bytes, encoder)?;
    if stored.is_none() && value.len() > SHARED_VALUE_MIN {
        shared.insert(value, place);
    }
    Ok(())
}

/// Names with their prefixes and NULs, and values: the sum that mksquashfs notes.
fn listed_size(set: &Xattrs) -> Result<u32> {
    let size: usize = set
        .iter()
        .map(|(name, value)| name.len() + 1 + value.len())
        .sum();
    Ok(u32::try_from(size)?)
}

/// The prefix's number and the rest of a name.
fn split(name: &[u8]) -> Result<(u16, &[u8])> {
    for (number, prefix) in (0..).zip(XATTR_PREFIXES) {
        if let Some(rest) = name.strip_prefix(prefix) {
            return Ok((number, rest));
        }
    }
    bail!(
        "squashfs has no place for the extended attribute {}, only for user., trusted. and security.",
        name.escape_ascii()
    );
}

fn check(set: &Xattrs) -> Result<()> {
    for (name, value) in set.iter() {
        let (_, rest) = split(name)?;
        ensure!(
            !rest.is_empty() && name.len() <= XATTR_NAME_MAX && !name.contains(&0),
            "{} can't be the name of an extended attribute",
            name.escape_ascii()
        );
        ensure!(
            value.len() <= XATTR_VALUE_MAX,
            "the extended attribute {} has {} bytes, where at most {XATTR_VALUE_MAX} are taken",
            name.escape_ascii(),
            value.len()
        );
    }
    listed_size(set).context("summing up extended attributes")?;
    Ok(())
}
