//! FAT on disk: structs and constants.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What all kinds of FAT have at the start of the boot sector.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BootSector {
    pub(super) jump: [u8; 3],           // 0x00
    pub(super) oem_name: [u8; 8],       // 0x03
    pub(super) bytes_per_sector: U16,   // 0x0b
    pub(super) sectors_per_cluster: u8, // 0x0d
    pub(super) reserved_sectors: U16,   // 0x0e  before the first FAT
    pub(super) fats: u8,                // 0x10
    pub(super) root_entries: U16,       // 0x11  0 on FAT32
    pub(super) sectors_16: U16,         // 0x13  0 if it doesn't fit
    pub(super) media: u8,               // 0x15
    pub(super) sectors_per_fat_16: U16, // 0x16  0 on FAT32
    pub(super) sectors_per_track: U16,  // 0x18
    pub(super) heads: U16,              // 0x1a
    pub(super) hidden_sectors: U32,     // 0x1c
    pub(super) sectors_32: U32,         // 0x20
    pub(super) sectors_per_fat_32: U32, // 0x24  only on FAT32, as is all that follows
    pub(super) flags: U16,              // 0x28
    pub(super) version: U16,            // 0x2a
    pub(super) root_cluster: U32,       // 0x2c
    pub(super) fs_info_sector: U16,     // 0x30
}
const _: () = assert!(size_of::<BootSector>() == 0x32);

/// The two numbers of FAT32's FSInfo sector that change, at [`FS_INFO_COUNTS`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FsInfoCounts {
    pub(super) free_clusters: U32, // 0x1e8
    pub(super) next_free: U32,     // 0x1ec  where to look first
}
const _: () = assert!(size_of::<FsInfoCounts>() == 8);

/// Offset of [`FsInfoCounts`] in its sector.
pub(super) const FS_INFO_COUNTS: u64 = 0x1e8;

/// Directory slot of a file, directory or volume label.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Slot {
    pub(super) name: [u8; 11], // 0x00  name and extension, padded with spaces
    pub(super) attributes: u8, // 0x0b
    pub(super) case: u8,       // 0x0c
    pub(super) created_tenths: u8, // 0x0d
    pub(super) created_time: U16, // 0x0e
    pub(super) created_date: U16, // 0x10
    pub(super) accessed_date: U16, // 0x12
    pub(super) cluster_high: U16, // 0x14  0 on FAT12/16
    pub(super) modified_time: U16, // 0x16
    pub(super) modified_date: U16, // 0x18
    pub(super) cluster_low: U16, // 0x1a  first cluster; 0 for an empty file
    pub(super) bytes: U32,     // 0x1c  0 for directories
}
const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// Directory slot with 13 characters of a long name. They precede the file's own slot, the last
/// part of the name first.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LongNameSlot {
    pub(super) order: u8, // 0x00  1 and up; LAST_LONG_SLOT is set in the first on disk
    pub(super) part_1: [U16; 5], // 0x01  UTF-16
    pub(super) attributes: u8, // 0x0b  ATTRIBUTES_LONG_NAME
    pub(super) kind: u8,  // 0x0c  0
    pub(super) checksum: u8, // 0x0d  of the short name
    pub(super) part_2: [U16; 6], // 0x0e
    pub(super) cluster: U16, // 0x1a  0
    pub(super) part_3: [U16; 2], // 0x1c
}
const _: () = assert!(size_of::<LongNameSlot>() == SLOT_BYTES);

/// Every directory slot.
pub(super) const SLOT_BYTES: usize = 32;
/// UTF-16 units of a long name in one slot.
pub(super) const LONG_SLOT_UNITS: usize = 13;
/// Marks the slot with a long name's end.
pub(super) const LAST_LONG_SLOT: u8 = 0x40;

/// The slot is the volume's label.
pub(super) const ATTRIBUTE_LABEL: u8 = 0x08;
/// The slot is a directory.
pub(super) const ATTRIBUTE_DIRECTORY: u8 = 0x10;
/// The slot is a file that was changed since the last backup, as every new file is.
pub(super) const ATTRIBUTE_ARCHIVE: u8 = 0x20;
/// The slot is part of a long name: read-only, hidden, system and label together.
pub(super) const ATTRIBUTES_LONG_NAME: u8 = 0x0f;

/// 1980-01-01, FAT's first day: bits 9 and up year - 1980, 5 to 8 month, 0 to 4 day.
pub(super) const FIRST_DAY: u16 = 1 << 5 | 1;

/// The number of the first cluster.
pub(super) const FIRST_CLUSTER: u32 = 2;
