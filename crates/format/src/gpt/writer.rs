//! Checks a partition table and writes it.

use std::fs::File;

use anyhow::{Context, Result, anyhow};
use gpt::disk::LogicalBlockSize;
use gpt::header::{Header, HeaderBuilder, HeaderError};
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{OperatingSystem, Type};
use thiserror::Error;
use uuid::Uuid;

/// Entries in a table. The specification asks for at least that many, and nobody has more.
pub const MAX_PARTITIONS: u32 = 128;

/// Bytes of an entry.
const ENTRY_BYTES: u32 = 128;

/// Longest name in UTF-16 units.
const MAX_NAME: usize = 36;

/// Sector size of the disk that a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorSize {
    /// 512 bytes.
    B512,
    /// 4096 bytes.
    B4096,
}

impl SectorSize {
    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.block_size().as_u64()
    }

    fn block_size(self) -> LogicalBlockSize {
        match self {
            Self::B512 => LogicalBlockSize::Lb512,
            Self::B4096 => LogicalBlockSize::Lb4096,
        }
    }

    /// Sectors at the end of a disk that hold the second copy of the table.
    pub(super) fn backup_sectors(self) -> u64 {
        u64::from(MAX_PARTITIONS * ENTRY_BYTES).div_ceil(self.bytes()) + 1
    }
}

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1 to [`MAX_PARTITIONS`].
    pub number: u32,
    /// What Linux shows as PARTLABEL, up to 36 characters.
    pub name: String,
    /// What the partition is for.
    pub type_guid: Uuid,
    /// What Linux shows as PARTUUID.
    pub guid: Uuid,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, which still belongs to the partition.
    pub last_lba: u64,
    /// Attribute bits; bit 2 is "legacy BIOS bootable".
    pub attributes: u64,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The disk's own GUID.
    pub disk_guid: Uuid,
    /// Size of the disk, a multiple of the sector size.
    pub disk_bytes: u64,
    /// Sector size of the disk.
    pub sector_size: SectorSize,
    /// The partitions, in any order.
    pub partitions: Vec<Partition>,
}

/// Why a table can't be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TableError {
    /// The disk is not made of whole sectors or has no room for a table.
    #[error("a disk of {bytes} bytes can't have a partition table")]
    Disk {
        /// Its size.
        bytes: u64,
    },
    /// The partition's number is not free.
    #[error("partition {number} ({name:?}) does not exist or is there twice")]
    Number {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
    },
    /// The partition's name is too long.
    #[error("the partition name {name:?} is longer than 36 characters")]
    Name {
        /// Its name.
        name: String,
    },
    /// The partition ends before it begins or lies over a copy of the table.
    #[error(
        "partition {name:?} has sectors {first} to {last}, and {usable_first} to {usable_last} are for partitions"
    )]
    Outside {
        /// Its name.
        name: String,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
        /// First sector that partitions can have.
        usable_first: u64,
        /// Last sector that partitions can have.
        usable_last: u64,
    },
    /// Two partitions have sectors in common.
    #[error("partitions {first:?} and {second:?} overlap")]
    Overlap {
        /// Name of the one.
        first: String,
        /// Name of the other.
        second: String,
    },
}

impl Table {
    /// Whether the table can be written.
    pub fn check(&self) -> Result<(), TableError> {
        self.headers().map(drop)
    }

    /// Writes both copies of the table and a protective MBR onto a disk image, which must have its
    /// full length already. Boot code and disk signature in the MBR stay.
    pub fn write(&self, out: &File) -> Result<()> {
        let (mut primary, mut backup) = self.headers()?;
        let block_size = self.sector_size.block_size();
        let mut disk = out;
        for header in [&primary, &backup] {
            gpt::partition::Partition::write_zero_entries_to_device(
                &mut disk,
                0,
                MAX_PARTITIONS.into(),
                header.part_start,
                block_size,
                ENTRY_BYTES,
            )
            .context("clearing the partition table")?;
            for partition in &self.partitions {
                partition
                    .entry()
                    .write_to_device(
                        &mut disk,
                        u64::from(partition.number - 1),
                        header.part_start,
                        block_size,
                        ENTRY_BYTES,
                    )
                    .with_context(|| {
                        format!("writing the entry of partition {}", partition.name)
                    })?;
            }
        }
        // The headers hold checksums of the entries, which the crate reads back.
        backup
            .write_backup(&mut disk, block_size)
            .and_then(|_| primary.write_primary(&mut disk, block_size))
            .map_err(|e| anyhow!("{e}"))
            .context("writing the partition table's headers")?;
        let sectors = self.disk_bytes / self.sector_size.bytes();
        ProtectiveMBR::with_lb_size(u32::try_from(sectors - 1).unwrap_or(u32::MAX))
            .update_conservative(&mut disk)
            .map_err(|e| anyhow!("{e}"))
            .context("writing the protective MBR")?;
        Ok(())
    }

    /// Primary and backup header, after all checks.
    fn headers(&self) -> Result<(Header, Header), TableError> {
        let bad_disk = TableError::Disk {
            bytes: self.disk_bytes,
        };
        let sector_bytes = self.sector_size.bytes();
        let last = (self.disk_bytes / sector_bytes)
            .checked_sub(1)
            .filter(|_| self.disk_bytes.is_multiple_of(sector_bytes))
            .ok_or(bad_disk.clone())?;
        let build = |is_primary| -> Result<Header, HeaderError> {
            HeaderBuilder::new()
                .disk_guid(self.disk_guid)
                .backup_lba(last)
                .num_parts(MAX_PARTITIONS)
                .primary(is_primary)
                .build(self.sector_size.block_size())
        };
        let primary = build(true).map_err(|_| bad_disk.clone())?;
        let backup = build(false).map_err(|_| bad_disk)?;
        self.check_partitions(&primary)?;
        Ok((primary, backup))
    }

    fn check_partitions(&self, header: &Header) -> Result<(), TableError> {
        let mut numbers = vec![false; MAX_PARTITIONS as usize];
        for partition in &self.partitions {
            let slot = (partition.number as usize)
                .checked_sub(1)
                .and_then(|at| numbers.get_mut(at))
                .filter(|taken| !**taken);
            match slot {
                Some(taken) => *taken = true,
                None => {
                    return Err(TableError::Number {
                        number: partition.number,
                        name: partition.name.clone(),
                    });
                }
            }
            if partition.name.encode_utf16().count() > MAX_NAME {
                return Err(TableError::Name {
                    name: partition.name.clone(),
                });
            }
            if partition.first_lba > partition.last_lba
                || partition.first_lba < header.first_usable
                || partition.last_lba > header.last_usable
            {
                return Err(TableError::Outside {
                    name: partition.name.clone(),
                    first: partition.first_lba,
                    last: partition.last_lba,
                    usable_first: header.first_usable,
                    usable_last: header.last_usable,
                });
            }
        }
        let mut sorted: Vec<&Partition> = self.partitions.iter().collect();
        sorted.sort_by_key(|partition| partition.first_lba);
        match sorted.windows(2).find(|w| w[0].last_lba >= w[1].first_lba) {
            None => Ok(()),
            Some(pair) => Err(TableError::Overlap {
                first: pair[0].name.clone(),
                second: pair[1].name.clone(),
            }),
        }
    }
}

impl Partition {
    fn entry(&self) -> gpt::partition::Partition {
        gpt::partition::Partition {
            part_type_guid: Type {
                guid: self.type_guid,
                // Not written.
                os: OperatingSystem::None,
            },
            part_guid: self.guid,
            first_lba: self.first_lba,
            last_lba: self.last_lba,
            flags: self.attributes,
            name: self.name.clone(),
        }
    }
}
