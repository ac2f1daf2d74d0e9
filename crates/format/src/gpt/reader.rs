//! Reads a partition table. Tables are taken for foreign: sizes and counts are limited, checksums
//! compared. Our own code, because the crate `gpt` panics on tables with entries of other sizes.

use anyhow::{Context, Result, bail, ensure};
use uuid::Uuid;

use super::writer::{Partition, SectorSize, Table};
use bake_tree::Content;

const SIGNATURE: &[u8; 8] = b"EFI PART";

/// Bytes of a header that we know.
const HEADER: usize = 92;

/// Entries and their size, as far as anybody has them.
const ENTRIES_MAX: u32 = 1024;
const ENTRY_BYTES: std::ops::RangeInclusive<u32> = 128..=4096;

impl Table {
    /// Reads the primary table of a disk; `None` if it has none.
    pub fn read(disk: &Content) -> Result<Option<Self>> {
        for sector_size in [SectorSize::B512, SectorSize::B4096] {
            let mut header = [0; HEADER];
            if disk.read_at(sector_size.bytes(), &mut header).is_ok()
                && header.starts_with(SIGNATURE)
            {
                return parse(disk, sector_size).map(Some);
            }
        }
        Ok(None)
    }
}

/// One of the two copies of a table: its header and its entries, both with the right checksums.
struct Copy {
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_bytes: usize,
}

impl Copy {
    /// Reads the copy whose header is in sector `lba`.
    fn read(disk: &Content, sector_size: SectorSize, lba: u64) -> Result<Self> {
        let position = lba
            .checked_mul(sector_size.bytes())
            .context("the partition table's header has no place on any disk")?;
        let mut start = [0; HEADER];
        disk.read_at(position, &mut start)
            .context("reading the partition table's header")?;
        ensure!(
            start.starts_with(SIGNATURE),
            "there is no partition table's header in sector {lba}"
        );
        let length = u32_at(&start, 12);
        ensure!(
            (HEADER as u32..=512).contains(&length),
            "the partition table's header claims {length} bytes"
        );
        let mut header = vec![0; length as usize];
        disk.read_at(position, &mut header)
            .context("reading the partition table's header")?;
        header[16..20].fill(0);
        ensure!(
            crc32fast::hash(&header) == u32_at(&start, 16),
            "the partition table's header has a wrong checksum"
        );
        let (count, size) = (u32_at(&header, 80), u32_at(&header, 84));
        if count > ENTRIES_MAX || !ENTRY_BYTES.contains(&size) {
            bail!("the partition table claims {count} entries of {size} bytes");
        }
        let place = u64_at(&header, 72)
            .checked_mul(sector_size.bytes())
            .context("the partition table's entries have no place on any disk")?;
        let mut entries = vec![0; count as usize * size as usize];
        disk.read_at(place, &mut entries)
            .context("reading the partition table's entries")?;
        ensure!(
            crc32fast::hash(&entries) == u32_at(&header, 88),
            "the partition table's entries have a wrong checksum"
        );
        Ok(Self {
            header,
            entries,
            entry_bytes: size as usize,
        })
    }

    /// Sectors of this header and of the other one.
    fn lbas(&self) -> (u64, u64) {
        (u64_at(&self.header, 24), u64_at(&self.header, 32))
    }
}

impl Table {
    /// Compares the backup of a disk's table with the table. What follows the backup is not looked at: a disk may
    /// be larger than the image that was written to it.
    ///
    /// # Errors
    /// A copy that is damaged, or not like the other one.
    pub fn compare_backup(&self, disk: &Content) -> Result<()> {
        let primary = Copy::read(disk, self.sector_size, 1)?;
        let (own, other) = primary.lbas();
        let backup = Copy::read(disk, self.sector_size, other)
            .context("reading the backup of the partition table")?;
        ensure!(
            own == 1 && backup.lbas() == (other, own),
            "the partition table and its backup do not lie where they say of each other"
        );
        ensure!(
            primary.entries == backup.entries && primary.header[56..72] == backup.header[56..72],
            "the partition table and its backup are not the same"
        );
        Ok(())
    }
}

fn parse(disk: &Content, sector_size: SectorSize) -> Result<Table> {
    let Copy {
        header,
        entries,
        entry_bytes: size,
    } = Copy::read(disk, sector_size, 1)?;
    let partitions: Vec<Partition> = entries
        .chunks_exact(size)
        .zip(1..)
        .filter(|(entry, _)| entry[..16] != [0; 16])
        .map(|(entry, number)| Partition {
            number,
            name: name(&entry[56..128]),
            type_guid: guid(entry, 0),
            guid: guid(entry, 16),
            first_lba: u64_at(entry, 32),
            last_lba: u64_at(entry, 40),
            attributes: u64_at(entry, 48),
        })
        .collect();
    for partition in &partitions {
        ensure!(
            partition
                .bytes(sector_size)
                .is_some_and(|(start, len)| start
                    .checked_add(len)
                    .is_some_and(|end| end <= disk.len())),
            "partition {} has sectors {} to {}, and the disk {}",
            partition.number,
            partition.first_lba,
            partition.last_lba,
            disk.len() / sector_size.bytes()
        );
    }
    Ok(Table {
        disk_guid: guid(&header, 56),
        disk_bytes: disk.len(),
        sector_size,
        partitions,
    })
}

impl Partition {
    /// Where it begins and how long it is, in bytes; none of numbers that can't be.
    fn bytes(&self, sector_size: SectorSize) -> Option<(u64, u64)> {
        let sectors = self.last_lba.checked_sub(self.first_lba)?.checked_add(1)?;
        Some((
            self.first_lba.checked_mul(sector_size.bytes())?,
            sectors.checked_mul(sector_size.bytes())?,
        ))
    }

    /// The partition's bytes on a disk of this sector size; none if it reaches past the end.
    pub fn content(&self, disk: &Content, sector_size: SectorSize) -> Option<Content> {
        let (start, len) = self.bytes(sector_size)?;
        disk.slice(start, len)
    }
}

fn name(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

/// The first three fields of a GUID are little-endian on disk.
fn guid(bytes: &[u8], at: usize) -> Uuid {
    let mut guid = [0; 16];
    guid.copy_from_slice(&bytes[at..at + 16]);
    Uuid::from_bytes_le(guid)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}
