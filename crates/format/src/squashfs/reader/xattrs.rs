//! Extended attributes.

use anyhow::{Context, Result, ensure};
use zerocopy::little_endian::U64;

use super::Reader;
use super::blocks::Cursor;
use super::inode::Entry;
use crate::squashfs::format::{
    NONE, Place, XATTR_ELSEWHERE, XATTR_PREFIXES, XattrName, XattrSet, XattrTable, XattrValue,
};
use bake_tree::{XATTR_NAME_MAX, XATTR_VALUE_MAX, Xattrs};

/// Bytes of all names and values of one inode, far above what any file system gives away: what a
/// crafted image can cost.
const SET_MAX: usize = 16 << 20;

impl Reader {
    /// The extended attributes of an inode.
    pub fn xattrs(&self, entry: &Entry) -> Result<Xattrs> {
        if entry.xattrs == NONE || !self.facts.has_xattrs {
            return Ok(Xattrs::new());
        }
        self.read_set(entry.xattrs).with_context(|| {
            format!(
                "reading the extended attributes of squashfs inode {}",
                entry.number
            )
        })
    }

    fn read_set(&self, index: u32) -> Result<Xattrs> {
        let position = self.superblock.xattr_table.get();
        let mut table = XattrTable::default();
        self.read_at(position, zerocopy::IntoBytes::as_mut_bytes(&mut table))?;
        ensure!(
            index < table.sets.get(),
            "set {index} is not below {}",
            table.sets
        );
        let start = table.start.get();
        let positions = position
            .checked_add(size_of::<XattrTable>() as u64)
            .context("the table lies beyond the largest file")?;
        let set: XattrSet = self.table_record(positions, index.into())?;
        let mut cursor = cursor_at(start, set.place)?;
        let mut pairs = Vec::new();
        let mut size = 0;
        for _ in 0..set.count.get() {
            let (name, value) = self.read_pair(start, &mut cursor)?;
            size += name.len() + value.len();
            ensure!(size <= SET_MAX, "they have more than {SET_MAX} bytes");
            pairs.push((name, value));
        }
        Ok(pairs
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect())
    }

    fn read_pair(&self, start: u64, cursor: &mut Cursor) -> Result<(Vec<u8>, Box<[u8]>)> {
        let header: XattrName = cursor.record(self)?;
        let number = header.prefix.get() & !XATTR_ELSEWHERE;
        let prefix = XATTR_PREFIXES
            .get(usize::from(number))
            .with_context(|| format!("there is no prefix {number}"))?;
        let mut name = prefix.to_vec();
        let len = usize::from(header.len.get());
        ensure!(
            len > 0 && name.len() + len <= XATTR_NAME_MAX,
            "a name has {len} bytes after its prefix"
        );
        name.extend_from_slice(&cursor.bytes(self, len)?);
        if header.prefix.get() & XATTR_ELSEWHERE == 0 {
            return Ok((name, self.read_value(cursor)?));
        }
        let len = cursor.record::<XattrValue>(self)?.len.get();
        ensure!(
            len == 8,
            "the place of a value has {len} bytes instead of 8"
        );
        let mut elsewhere = cursor_at(start, cursor.record(self)?)?;
        Ok((name, self.read_value(&mut elsewhere)?))
    }

    fn read_value(&self, cursor: &mut Cursor) -> Result<Box<[u8]>> {
        let len = usize::try_from(cursor.record::<XattrValue>(self)?.len.get())?;
        ensure!(
            len <= XATTR_VALUE_MAX,
            "a value has {len} bytes, where at most {XATTR_VALUE_MAX} are taken"
        );
        cursor.bytes(self, len)
    }
}

fn cursor_at(start: u64, place: U64) -> Result<Cursor> {
    let place = Place::unpack(place).context("they lie nowhere")?;
    let position = start
        .checked_add(u64::from(place.block))
        .context("they lie beyond the largest file")?;
    Ok(Cursor::new(position, usize::from(place.offset)))
}
