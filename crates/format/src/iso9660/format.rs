//! ISO 9660 and its extensions on disk: structs and constants.
//!
//! Sections are those of ECMA-119 (4th edition), the El Torito specification 1.0, SUSP 1.12 and
//! RRIP 1.10.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
use zerocopy::{big_endian, little_endian};

/// Bytes per sector. Other sizes exist on paper only.
pub(super) const SECTOR: u64 = 2048;

/// Sector of the first volume descriptor; those before are the system area, which belongs to
/// whoever boots from the medium.
pub(super) const FIRST_DESCRIPTOR: u32 = 16;

/// A number in both byte orders, §7.2.3.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Both16 {
    little: little_endian::U16,
    big: big_endian::U16,
}

impl Both16 {
    pub(super) fn new(value: u16) -> Self {
        Self {
            little: value.into(),
            big: value.into(),
        }
    }
}

/// A number in both byte orders, §7.3.3.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Both32 {
    little: little_endian::U32,
    big: big_endian::U32,
}

impl Both32 {
    pub(super) fn new(value: u32) -> Self {
        Self {
            little: value.into(),
            big: value.into(),
        }
    }

    /// The little-endian one, which is what Linux takes.
    pub(super) fn get(self) -> u32 {
        self.little.get()
    }
}

/// A date in directory records and Rock Ridge, §9.1.5.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ShortDate {
    pub(super) years_from_1900: u8, // 0x00
    pub(super) month: u8,           // 0x01
    pub(super) day: u8,             // 0x02
    pub(super) hour: u8,            // 0x03
    pub(super) minute: u8,          // 0x04
    pub(super) second: u8,          // 0x05
    pub(super) zone: u8,            // 0x06  quarters of an hour east of Greenwich
}
const _: () = assert!(size_of::<ShortDate>() == 7);

/// A date in volume descriptors, §8.4.26.1; no date is sixteen `0` digits.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LongDate {
    pub(super) digits: [u8; 16], // 0x00  year 4, month 2, day 2, hour 2, minute 2, second 2, 1/100 2
    pub(super) zone: u8,         // 0x10
}
const _: () = assert!(size_of::<LongDate>() == 17);

/// Directory record up to the identifier, §9.1. The identifier follows, a zero if its length is
/// even, and the system use field.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RecordHead {
    pub(super) length: u8,            // 0x00  of the whole record, even
    pub(super) attribute_sectors: u8, // 0x01
    pub(super) sector: Both32,        // 0x02
    pub(super) bytes: Both32,         // 0x0a
    pub(super) date: ShortDate,       // 0x12
    pub(super) flags: u8,             // 0x19
    pub(super) unit_sectors: u8,      // 0x1a  not 0: interleaved
    pub(super) gap_sectors: u8,       // 0x1b
    pub(super) volume: Both16,        // 0x1c
    pub(super) identifier_length: u8, // 0x20
}
const _: () = assert!(size_of::<RecordHead>() == RECORD_HEAD);

/// Bytes of a [`RecordHead`].
pub(super) const RECORD_HEAD: usize = 33;
/// The record is a directory's, §9.1.6.
pub(super) const FLAG_DIRECTORY: u8 = 0x02;
/// Another record with the file's next part follows.
pub(super) const FLAG_MORE: u8 = 0x80;

/// Path table record up to the identifier, §9.4, with numbers in the byte order of the table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct PathHead<U32, U16> {
    pub(super) identifier_length: u8, // 0x00
    pub(super) attribute_sectors: u8, // 0x01
    pub(super) sector: U32,           // 0x02
    pub(super) parent: U16,           // 0x06  position in the table, from 1
}
const _: () = assert!(size_of::<PathHead<big_endian::U32, big_endian::U16>>() == 8);

/// What all volume descriptors begin with, §8.1.
#[derive(
    Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct DescriptorHead {
    pub(super) kind: u8,          // 0x00
    pub(super) standard: [u8; 5], // 0x01
    pub(super) version: u8,       // 0x06
}

impl DescriptorHead {
    pub(super) const fn new(kind: u8) -> Self {
        Self {
            kind,
            standard: *b"CD001",
            version: 1,
        }
    }
}

/// Descriptor of where to boot from.
pub(super) const DESCRIPTOR_BOOT: u8 = 0;
/// Descriptor of the tree that every reader understands.
pub(super) const DESCRIPTOR_PRIMARY: u8 = 1;
/// Descriptor of another tree, such as Joliet.
pub(super) const DESCRIPTOR_SUPPLEMENTARY: u8 = 2;
/// The last descriptor.
pub(super) const DESCRIPTOR_END: u8 = 255;

/// Primary and supplementary volume descriptor, §8.4 and §8.5.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct TreeDescriptor {
    pub(super) head: DescriptorHead,              // 0x000
    pub(super) flags: u8,                         // 0x007
    pub(super) system_id: [u8; 32],               // 0x008
    pub(super) volume_id: [u8; 32],               // 0x028
    pub(super) unused: [u8; 8],                   // 0x048
    pub(super) sectors: Both32,                   // 0x050
    pub(super) escapes: [u8; 32],                 // 0x058  only supplementary
    pub(super) volumes: Both16,                   // 0x078
    pub(super) volume: Both16,                    // 0x07c
    pub(super) sector_bytes: Both16,              // 0x080
    pub(super) path_table_bytes: Both32,          // 0x084
    pub(super) path_table_l: little_endian::U32,  // 0x08c
    pub(super) path_table_l2: little_endian::U32, // 0x090
    pub(super) path_table_m: big_endian::U32,     // 0x094
    pub(super) path_table_m2: big_endian::U32,    // 0x098
    pub(super) root: RecordHead,                  // 0x09c
    pub(super) root_identifier: u8,               // 0x0bd
    pub(super) set_id: [u8; 128],                 // 0x0be
    pub(super) publisher: [u8; 128],              // 0x13e
    pub(super) preparer: [u8; 128],               // 0x1be
    pub(super) application: [u8; 128],            // 0x23e
    pub(super) copyright_file: [u8; 37],          // 0x2be
    pub(super) abstract_file: [u8; 37],           // 0x2e3
    pub(super) bibliographic_file: [u8; 37],      // 0x308
    pub(super) created: LongDate,                 // 0x32d
    pub(super) modified: LongDate,                // 0x33e
    pub(super) expires: LongDate,                 // 0x34f
    pub(super) effective: LongDate,               // 0x360
    pub(super) structure_version: u8,             // 0x371
    pub(super) reserved: [u8; 1166],              // 0x372
}
const _: () = assert!(size_of::<TreeDescriptor>() == SECTOR as usize);

/// Joliet level 3 (UCS-2) as an ISO 2022 escape sequence.
pub(super) const ESCAPE_JOLIET: [u8; 3] = *b"%/E";
/// All of Joliet's levels.
pub(super) const ESCAPES_JOLIET: [[u8; 3]; 3] = [*b"%/@", *b"%/C", ESCAPE_JOLIET];

/// Boot record volume descriptor, El Torito figure 7.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BootDescriptor {
    pub(super) head: DescriptorHead,        // 0x00
    pub(super) system_id: [u8; 32],         // 0x07  BOOT_SYSTEM_ID and zeros
    pub(super) unused: [u8; 32],            // 0x27
    pub(super) catalog: little_endian::U32, // 0x47  sector
    pub(super) unused_too: [u8; 1973],      // 0x4b
}
const _: () = assert!(size_of::<BootDescriptor>() == SECTOR as usize);

/// Says that a boot record is of El Torito's kind.
pub(super) const BOOT_SYSTEM_ID: &[u8; 23] = b"EL TORITO SPECIFICATION";

/// Every entry of the boot catalog.
pub(super) const CATALOG_ENTRY: usize = 32;

/// First entry of the boot catalog, El Torito §2.1.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ValidationEntry {
    pub(super) header: u8,                   // 0x00  1
    pub(super) platform: u8,                 // 0x01
    pub(super) reserved: [u8; 2],            // 0x02
    pub(super) id: [u8; 24],                 // 0x04
    pub(super) checksum: little_endian::U16, // 0x1c  makes the sum of all 16 words 0
    pub(super) key: [u8; 2],                 // 0x1e  VALIDATION_KEY
}
const _: () = assert!(size_of::<ValidationEntry>() == CATALOG_ENTRY);

/// End of a [`ValidationEntry`].
pub(super) const VALIDATION_KEY: [u8; 2] = [0x55, 0xaa];

/// Head of a section of the boot catalog, El Torito §2.3.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SectionHeader {
    pub(super) indicator: u8,               // 0x00
    pub(super) platform: u8,                // 0x01
    pub(super) entries: little_endian::U16, // 0x02
    pub(super) id: [u8; 28],                // 0x04
}
const _: () = assert!(size_of::<SectionHeader>() == CATALOG_ENTRY);

/// Another section follows.
pub(super) const SECTION_MORE: u8 = 0x90;
/// The last section.
pub(super) const SECTION_LAST: u8 = 0x91;
/// An entry of a section goes on here.
pub(super) const SECTION_EXTENSION: u8 = 0x44;

/// Something to boot, El Torito §2.2 and §2.4.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct CatalogEntry {
    pub(super) indicator: u8,               // 0x00  BOOTABLE or 0
    pub(super) media: u8,                   // 0x01  0: no emulation of a disk
    pub(super) segment: little_endian::U16, // 0x02  0: 0x7c0
    pub(super) system: u8,                  // 0x04
    pub(super) unused: u8,                  // 0x05
    pub(super) load: little_endian::U16,    // 0x06  sectors of 512 bytes
    pub(super) sector: little_endian::U32,  // 0x08
    pub(super) criteria: [u8; 20],          // 0x0c
}
const _: () = assert!(size_of::<CatalogEntry>() == CATALOG_ENTRY);

/// Indicator of an entry that can be booted.
pub(super) const BOOTABLE: u8 = 0x88;

/// What isolinux and GRUB expect at byte 8 of the image that BIOS loads (mkisofs(8),
/// `-boot-info-table`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BootInfo {
    pub(super) descriptor: little_endian::U32, // 0x08  sector of the primary descriptor
    pub(super) sector: little_endian::U32,     // 0x0c  the image's own
    pub(super) bytes: little_endian::U32,      // 0x10
    pub(super) checksum: little_endian::U32,   // 0x14  sum of the words from BOOT_INFO_END on
    pub(super) reserved: [u8; 40],             // 0x18
}
const _: () = assert!(BOOT_INFO_AT as usize + size_of::<BootInfo>() == BOOT_INFO_END as usize);

/// Where [`BootInfo`] lies in the image.
pub(super) const BOOT_INFO_AT: u64 = 8;
/// Where the image's own bytes go on.
pub(super) const BOOT_INFO_END: u64 = 64;

/// What GRUB expects in the sector of a core image that follows `cdboot.img` (xorrisofs(1),
/// `--grub2-boot-info`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GrubRest {
    pub(super) sector: little_endian::U64, // 0x9f4  of 512 bytes, of what follows
}
const _: () = assert!(size_of::<GrubRest>() == 8);

/// Where [`GrubRest`] lies in the image.
pub(super) const GRUB_REST_AT: u64 = 0x9f4;
/// Sectors of 512 bytes in the image before the rest: `cdboot.img` and `diskboot.img`.
pub(super) const GRUB_REST_SECTORS: u64 = 5;

/// The system area's first sector of 512 bytes, which is the MBR of the medium as a disk (UEFI 2.10
/// §5.2.1).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Mbr {
    pub(super) code: [u8; 440],               // 0x000
    pub(super) disk_id: [u8; 4],              // 0x1b8
    pub(super) reserved: [u8; 2],             // 0x1bc
    pub(super) partitions: [MbrPartition; 4], // 0x1be
    pub(super) signature: [u8; 2],            // 0x1fe  MBR_SIGNATURE
}
const _: () = assert!(size_of::<Mbr>() == 512);

/// A partition in the [`Mbr`].
#[derive(
    Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct MbrPartition {
    pub(super) status: u8,                  // 0x00  MBR_ACTIVE or 0
    pub(super) first_chs: [u8; 3],          // 0x01
    pub(super) kind: u8,                    // 0x04
    pub(super) last_chs: [u8; 3],           // 0x05
    pub(super) first: little_endian::U32,   // 0x08
    pub(super) sectors: little_endian::U32, // 0x0c
}
const _: () = assert!(size_of::<MbrPartition>() == 16);

/// Status of the partition that is booted.
pub(super) const MBR_ACTIVE: u8 = 0x80;
/// Ends an [`Mbr`].
pub(super) const MBR_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// What every system use entry begins with, SUSP §4.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UseHead {
    pub(super) signature: [u8; 2], // 0x00
    pub(super) length: u8,         // 0x02
    pub(super) version: u8,        // 0x03  1
}
const _: () = assert!(size_of::<UseHead>() == 4);

/// `SP`: system use entries are in use, SUSP §5.3. Only in the root's own record.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UseSharing {
    pub(super) head: UseHead,  // 0x00
    pub(super) check: [u8; 2], // 0x04  SHARING_CHECK
    pub(super) skip: u8,       // 0x06  bytes before the entries of all other records
}
const _: () = assert!(size_of::<UseSharing>() == 7);

/// Proof that `SP` is one.
pub(super) const SHARING_CHECK: [u8; 2] = [0xbe, 0xef];

/// `CE`: entries go on elsewhere, SUSP §5.1.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UseContinuation {
    pub(super) head: UseHead,  // 0x00
    pub(super) sector: Both32, // 0x04
    pub(super) offset: Both32, // 0x0c
    pub(super) bytes: Both32,  // 0x14
}
const _: () = assert!(size_of::<UseContinuation>() == 28);

/// `ER`: which extension the entries are of, SUSP §5.5. Identifier, description and source follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UseExtension {
    pub(super) head: UseHead,          // 0x00
    pub(super) identifier_length: u8,  // 0x04
    pub(super) description_length: u8, // 0x05
    pub(super) source_length: u8,      // 0x06
    pub(super) version: u8,            // 0x07
}
const _: () = assert!(size_of::<UseExtension>() == 8);

/// Rock Ridge's identifier in `ER`.
pub(super) const ROCK_RIDGE: &[u8; 10] = b"RRIP_1991A";

/// `PX`: POSIX attributes, RRIP §4.1.1.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UseAttributes {
    pub(super) head: UseHead, // 0x00
    pub(super) mode: Both32,  // 0x04  with the file type
    pub(super) links: Both32, // 0x0c
    pub(super) uid: Both32,   // 0x14
    pub(super) gid: Both32,   // 0x1c
}
const _: () = assert!(size_of::<UseAttributes>() == 36);

/// `TF`: times, RRIP §4.1.6, with the three that [`TIMES`] names.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UseTimes {
    pub(super) head: UseHead,       // 0x00
    pub(super) flags: u8,           // 0x04
    pub(super) modified: ShortDate, // 0x05
    pub(super) accessed: ShortDate, // 0x0c
    pub(super) changed: ShortDate,  // 0x13
}
const _: () = assert!(size_of::<UseTimes>() == 26);

/// Contents changed, read, attributes changed.
pub(super) const TIMES: u8 = 0x02 | 0x04 | 0x08;

/// `NM`: the name, RRIP §4.1.4, which follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct UseName {
    pub(super) head: UseHead, // 0x00
    pub(super) flags: u8,     // 0x04
}
const _: () = assert!(size_of::<UseName>() == 5);

/// The name goes on in the next `NM`.
pub(super) const NAME_MORE: u8 = 0x01;
