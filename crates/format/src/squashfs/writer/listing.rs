//! Directory listings: runs of names, and an index for long ones.

use anyhow::{Context, Result};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I16, U16, U32};

use super::metadata::MetadataWriter;
use crate::squashfs::compress::Encoder;
use crate::squashfs::format::{IndexEntry, ListingEntry, METADATA_SIZE, Place, RUN_MAX, RunHeader};

/// A name to be listed, and what it stands for.
pub(super) struct Name<'a> {
    pub(super) name: &'a [u8],
    pub(super) number: u32,
    pub(super) place: Place,
    pub(super) kind: u16,
}

/// A listing that was written.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) place: Place,
    /// Bytes in the table.
    pub(super) size: u32,
    /// Index entries as they follow the inode.
    pub(super) index: Vec<u8>,
    pub(super) index_count: u16,
}

/// Writes the names, which come in byte order. At least every 8 KiB a run starts that the index
/// names, so that a lookup decompresses one or two metadata blocks, however long the listing.
pub(super) fn write(
    mut names: &[Name<'_>],
    table: &mut MetadataWriter,
    encoder: &mut Encoder,
) -> Result<Listing> {
    let mut listing = Listing {
        place: table.place()?,
        ..Listing::default()
    };
    let mut position = 0;
    let mut indexed = 0;
    while let Some(first) = names.first() {
        let room = indexed + METADATA_SIZE - position.min(indexed + METADATA_SIZE);
        if run_size(first) > room {
            let entry = IndexEntry {
                position: U32::new(u32::try_from(position)?),
                block: U32::new(table.place()?.block),
                name_len: U32::new(u32::try_from(first.name.len() - 1)?),
            };
            listing.index.extend_from_slice(entry.as_bytes());
            listing.index.extend_from_slice(first.name);
            listing.index_count = listing
                .index_count
                .checked_add(1)
                .context("a directory's listing exceeds 512 MiB")?;
            indexed = position;
            continue;
        }
        let (run, rest) = names.split_at(run_len(names, room)?);
        position += write_run(run, table, encoder)?;
        names = rest;
    }
    listing.size = u32::try_from(position)?;
    Ok(listing)
}

/// Bytes of a run with one name.
fn run_size(name: &Name<'_>) -> usize {
    size_of::<RunHeader>() + entry_size(name)
}

fn entry_size(name: &Name<'_>) -> usize {
    size_of::<ListingEntry>() + name.name.len()
}

/// How many of the names the next run takes, which has `room` bytes.
fn run_len(names: &[Name<'_>], room: usize) -> Result<usize> {
    let first = names.first().context("a run has at least one name")?;
    let mut size = size_of::<RunHeader>();
    let len = names
        .iter()
        .take(RUN_MAX)
        .take_while(|name| {
            size += entry_size(name);
            size <= room && name.place.block == first.place.block && delta(first, name).is_some()
        })
        .count();
    Ok(len)
}

fn delta(first: &Name<'_>, name: &Name<'_>) -> Option<i16> {
    i16::try_from(i64::from(name.number) - i64::from(first.number)).ok()
}

fn write_run(run: &[Name<'_>], table: &mut MetadataWriter, encoder: &mut Encoder) -> Result<usize> {
    let first = run.first().context("a run has at least one name")?;
    let header = RunHeader {
        count: U32::new(u32::try_from(run.len() - 1)?),
        block: U32::new(first.place.block),
        number: U32::new(first.number),
    };
    table.put(header.as_bytes(), encoder)?;
    let mut size = size_of::<RunHeader>();
    for name in run {
        let entry = ListingEntry {
            offset: U16::new(name.place.offset),
            number_delta: I16::new(delta(first, name).context("numbers of a run lie close")?),
            kind: U16::new(name.kind),
            name_len: U16::new(u16::try_from(name.name.len() - 1)?),
        };
        table.put(entry.as_bytes(), encoder)?;
        table.put(name.name, encoder)?;
        size += entry_size(name);
    }
    Ok(size)
}
