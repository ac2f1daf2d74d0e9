//! Listings: all names of a directory, or one of them.

use anyhow::{Context, Result, bail, ensure};

use super::Reader;
use super::blocks::Cursor;
use super::inode::{Detail, Entry};
use crate::squashfs::format::{IndexEntry, ListingEntry, METADATA_SIZE, Place, RUN_MAX, RunHeader};
use bake_tree::NAME_MAX;

/// One name in a directory.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name.
    pub name: Box<[u8]>,
    /// Number of the inode.
    pub number: u32,
    place: Place,
    kind: u16,
}

/// Names of a directory in byte order. After an error there are no more.
#[derive(Debug)]
pub struct ReadDir<'a> {
    reader: &'a Reader,
    cursor: Cursor,
    /// Bytes of listing left.
    left: u32,
    /// Entries of the current run left.
    run_left: u32,
    run: RunHeader,
    last: Option<Box<[u8]>>,
}

impl Reader {
    /// The names in a directory.
    pub fn read_dir(&self, directory: &Entry) -> Result<ReadDir<'_>> {
        let Detail::Directory { listing, size, .. } = &directory.detail else {
            bail!("squashfs inode {} is not a directory", directory.number);
        };
        Ok(self.names(listing.clone(), *size))
    }

    /// The inode that a name stands for.
    pub fn entry(&self, name: &Name) -> Result<Entry> {
        let entry = self.inode(name.place)?;
        ensure!(
            entry.number == name.number && entry.basic() == name.kind,
            "the squashfs listing takes {} for inode {} of kind {}, but it is {} of kind {}",
            name.name.escape_ascii(),
            name.number,
            name.kind,
            entry.number,
            entry.basic()
        );
        Ok(entry)
    }

    /// The inode called `name` in a directory; through the index, if it has one.
    pub(super) fn child_of(&self, directory: &Entry, name: &[u8]) -> Result<Option<Entry>> {
        let Detail::Directory {
            listing,
            size,
            index_count,
            index,
        } = &directory.detail
        else {
            return Ok(None);
        };
        let (mut from, mut left) = (listing.clone(), *size);
        let mut index = index.clone();
        for _ in 0..*index_count {
            let record: IndexEntry = index.record(self)?;
            let first = index.bytes(self, name_len(record.name_len.get())?)?;
            if *first > *name {
                break;
            }
            let position = record.position.get();
            left = size
                .checked_sub(position)
                .context("a squashfs directory index points behind the listing")?;
            let block = self.superblock.directory_table.get() + u64::from(record.block.get());
            let offset = (listing.offset() as u64 + u64::from(position)) % METADATA_SIZE as u64;
            from = Cursor::new(block, usize::try_from(offset)?);
        }
        for found in self.names(from, left) {
            let found = found?;
            match (*found.name).cmp(name) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return self.entry(&found).map(Some),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    fn names(&self, cursor: Cursor, left: u32) -> ReadDir<'_> {
        ReadDir {
            reader: self,
            cursor,
            left,
            run_left: 0,
            run: RunHeader::default(),
            last: None,
        }
    }
}

impl ReadDir<'_> {
    fn next_name(&mut self) -> Result<Name> {
        if self.run_left == 0 {
            self.take(size_of::<RunHeader>())?;
            self.run = self.cursor.record(self.reader)?;
            self.run_left = self
                .run
                .count
                .get()
                .checked_add(1)
                .filter(|count| usize::try_from(*count).is_ok_and(|count| count <= RUN_MAX))
                .with_context(|| format!("a run has more than {RUN_MAX} names"))?;
        }
        self.run_left -= 1;
        self.take(size_of::<ListingEntry>())?;
        let entry: ListingEntry = self.cursor.record(self.reader)?;
        let len = name_len(entry.name_len.get().into())?;
        self.take(len)?;
        let name = self.cursor.bytes(self.reader, len)?;
        ensure!(
            !name.contains(&b'/') && !name.contains(&0) && *name != *b"." && *name != *b"..",
            "{:?} can't be a name",
            name.escape_ascii().to_string()
        );
        if let Some(last) = &self.last {
            ensure!(
                **last < *name,
                "{} comes after {}",
                name.escape_ascii(),
                last.escape_ascii()
            );
        }
        self.last = Some(name.clone());
        let offset = entry.offset.get();
        ensure!(usize::from(offset) < METADATA_SIZE, "an inode lies nowhere");
        Ok(Name {
            name,
            number: self
                .run
                .number
                .get()
                .checked_add_signed(entry.number_delta.get().into())
                .context("an inode number is out of range")?,
            place: Place {
                block: self.run.block.get(),
                offset,
            },
            kind: entry.kind.get(),
        })
    }

    fn take(&mut self, len: usize) -> Result<()> {
        self.left = u32::try_from(len)
            .ok()
            .and_then(|len| self.left.checked_sub(len))
            .context("it is cut short")?;
        Ok(())
    }
}

impl Iterator for ReadDir<'_> {
    type Item = Result<Name>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 && self.run_left == 0 {
            return None;
        }
        let name = self.next_name().context("reading a squashfs listing");
        if name.is_err() {
            (self.left, self.run_left) = (0, 0);
        }
        Some(name)
    }
}

/// A name's length from the number that records have for it.
fn name_len(less_one: u32) -> Result<usize> {
    usize::try_from(less_one)
        .ok()
        .and_then(|len| len.checked_add(1))
        .filter(|len| *len <= NAME_MAX)
        .with_context(|| format!("a name is longer than {NAME_MAX} bytes"))
}
