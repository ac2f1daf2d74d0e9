//! The log: closed, and where it will go on.

use anyhow::{Context, Result, bail, ensure};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::xfs::reader::Reader;
use crate::xfs::reader::blocks::record;

/// Units of the log, whatever the sector size.
const UNIT: usize = 512;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
const MAGIC: u32 = 0xfeed_babe;
/// Bytes of a record that one block of its header can describe.
const PER_HEADER: u32 = 32768;
const UNMOUNT: u8 = 0x20;
/// Byte order of a record written on a little-endian machine; other machines differ.
const FORMATS: std::ops::RangeInclusive<u32> = 1..=3;

/// Header of a record up to what is looked at.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: U32,        // 0
    cycle: U32,        // 4
    version: U32,      // 8
    len: U32,          // 12   of the body
    lsn: U64,          // 16
    tail: U64,         // 24
    crc: U32,          // 32
    previous: U32,     // 36
    operations: U32,   // 40
    cycles: [U32; 64], // 44
    format: U32,       // 300
    uuid: [u8; 16],    // 304
    size: U32,         // 320
}
const _: () = assert!(size_of::<Header>() == 324);

/// First operation in a record's body.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Operation {
    cycle: U32, // 0    in place of the transaction
    len: U32,   // 4
    client: u8, // 8
    flags: u8,  // 9
    reserved: [u8; 2],
}
const _: () = assert!(size_of::<Operation>() == 12);

/// What a pass over the log finds.
#[derive(Default)]
struct Scan {
    /// Cycle of the first unit.
    first: u32,
    /// First unit of another cycle: the log goes on there.
    head: Option<u64>,
    /// Last header before the head, and last of all.
    last: Option<u64>,
    last_of_all: Option<u64>,
}

/// The sequence number at which the log goes on; an error if there is something to replay.
pub(super) fn head(reader: &Reader) -> Result<u64> {
    let superblock = &reader.superblock;
    let blocks = u64::from(superblock.log_blocks.get());
    ensure!(
        superblock.log_start.get() != 0,
        "it is on a device of its own"
    );
    let (group, block) = reader.split_block(superblock.log_start.get(), blocks)?;
    let start = reader.group_position(group, block);
    let len = blocks * u64::from(reader.facts.block_size);
    let units = len / UNIT as u64;
    let scan = scan(reader, start, len)?;
    let head = scan.head.unwrap_or(units);
    let at = scan
        .last
        .or(scan.last_of_all)
        .context("it has no record, not even one of being closed")?;
    check_record(reader, start, at, head, units)?;
    let cycle = u64::from(scan.first);
    Ok(if head == units {
        (cycle + 1) << 32
    } else {
        cycle << 32 | head
    })
}

fn scan(reader: &Reader, start: u64, len: u64) -> Result<Scan> {
    let mut scan = Scan::default();
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < len {
        let count = usize::try_from((len - done).min(CHUNK as u64))?;
        reader.read_at(start + done, &mut buffer[..count])?;
        for (index, unit) in buffer[..count].chunks_exact(UNIT).enumerate() {
            let at = done / UNIT as u64 + index as u64;
            let stamp: U32 = record(unit, 0)?;
            let header = stamp.get() == MAGIC;
            let cycle = if header {
                record::<U32>(unit, 4)?.get()
            } else {
                stamp.get()
            };
            if at == 0 {
                scan.first = cycle;
                ensure!(cycle != 0, "its first block was never written");
            }
            match scan.head {
                None if cycle == scan.first => {}
                None => scan.head = Some(at),
                Some(_) => {}
            }
            let expected = scan.first - u32::from(scan.head.is_some());
            ensure!(
                cycle == expected,
                "its sector {at} is of cycle {cycle}, where {expected} is due"
            );
            if header {
                scan.last_of_all = Some(at);
                if scan.head.is_none() {
                    scan.last = Some(at);
                }
            }
        }
        done += count as u64;
    }
    Ok(scan)
}

/// Checks the last record, in unit `at` of the log: it must say that the log was closed.
fn check_record(reader: &Reader, start: u64, at: u64, head: u64, units: u64) -> Result<()> {
    let unit = |at: u64| -> Result<[u8; UNIT]> {
        let mut bytes = [0; UNIT];
        reader.read_at(start + at % units * UNIT as u64, &mut bytes)?;
        Ok(bytes)
    };
    let bytes = unit(at)?;
    let header: Header = record(&bytes, 0)?;
    let lsn = u64::from(header.cycle.get()) << 32 | at;
    ensure!(
        header.version.get() == 2 && header.lsn.get() == lsn,
        "the record in its sector {at} takes itself for {}:{}",
        header.lsn.get() >> 32,
        header.lsn.get() & 0xffff_ffff
    );
    ensure!(
        FORMATS.contains(&header.format.get()),
        "the record in its sector {at} has the unknown format {}",
        header.format.get()
    );
    ensure!(
        header.uuid == reader.facts.uuid || header.uuid == reader.facts.metadata_uuid,
        "the record in its sector {at} has another file system's UUID"
    );
    let header_units = u64::from(header.size.get().div_ceil(PER_HEADER).max(1));
    let len = u64::from(header.len.get());
    ensure!(
        len > 0 && len.is_multiple_of(UNIT as u64),
        "the record in its sector {at} has {len} bytes"
    );
    let end = at + header_units + len / UNIT as u64;
    ensure!(
        end == head || end.checked_sub(units) == Some(head),
        "the record in its sector {at} ends at {end}, where the log goes on at {head}"
    );
    let body = unit(at + header_units)?;
    let operation: Operation = record(&body, 0)?;
    if header.operations.get() != 1 || operation.flags & UNMOUNT == 0 {
        bail!("it was not closed: there are changes to replay");
    }
    ensure!(
        header.tail.get() <= lsn,
        "the record in its sector {at} keeps others from {}:{} on, which is behind it",
        header.tail.get() >> 32,
        header.tail.get() & 0xffff_ffff
    );
    Ok(())
}
