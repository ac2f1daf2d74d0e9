//! GRUB's records, those that are told where things lie: structs and constants.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// BIOS counts in sectors of this size, whatever those of the medium are.
pub(super) const SECTOR: usize = 512;

/// Where the kernel runs, and what its ELF file is linked for.
pub(super) const KERNEL_ADDRESS: u32 = 0x9000;

/// Where `boot.img` and its like jump to: they load a sector there.
pub(super) const DISKBOOT_ADDRESS: u16 = 0x8000;

/// Low memory above this is not GRUB's.
pub(super) const LOW_MEMORY_END: usize = 0x7_8000;

/// Modules and what is stored like them begin at multiples of this.
pub(super) const ALIGNMENT: usize = 4;

/// Follows the kernel, before the first [`ObjectHeader`]; numbers are in the machine's byte order.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ModuleInfo<Word> {
    pub(super) magic: Word,  // 0x00  MODULE_MAGIC
    pub(super) offset: Word, // 0x04  of the first object from here on
    pub(super) bytes: Word,  // 0x08  of this and all objects
}
const _: () = assert!(size_of::<ModuleInfo<U32>>() == 12);

/// Says that a [`ModuleInfo`] is one: `mimg`, of which the `m` comes first on a PC.
pub(super) const MODULE_MAGIC: u32 = u32::from_le_bytes(*b"mimg");

/// Precedes a module or something else that the kernel is given.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ObjectHeader<Word> {
    pub(super) kind: Word,  // 0x00
    pub(super) bytes: Word, // 0x04  of header, object and padding
}
const _: () = assert!(size_of::<ObjectHeader<U32>>() == 8);

/// A module's ELF file.
pub(super) const OBJECT_MODULE: u32 = 0;
/// Commands to run at start, as text that ends with a NUL.
pub(super) const OBJECT_CONFIG: u32 = 2;
/// Where modules and `grub.cfg` are, as text that ends with a NUL.
pub(super) const OBJECT_PREFIX: u32 = 3;

/// How `lzma_decompress.img` begins.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DecompressHead {
    pub(super) jump: [u8; 5],           // 0x00  over this
    pub(super) reserved: [u8; 3],       // 0x05
    pub(super) compressed_bytes: U32,   // 0x08
    pub(super) uncompressed_bytes: U32, // 0x0c
    pub(super) redundancy_bytes: U32,   // 0x10  Reed-Solomon; 0: none
    pub(super) unprotected_bytes: U16,  // 0x14  that redundancy can't cover
    pub(super) reserved_too: [u8; 2],   // 0x16
    pub(super) boot_device: [u8; 3],    // 0x18  partitions; 0xff: go by the prefix
    pub(super) boot_drive: u8,          // 0x1b  set by what loads it
}
const _: () = assert!(size_of::<DecompressHead>() == 0x1c);

/// Far jump, what [`DecompressHead`] begins with.
pub(super) const FAR_JUMP: u8 = 0xea;

/// Ends `diskboot.img`: where the rest of the core image lies.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Blocklist {
    pub(super) first: U64,   // 0x1f4  sector on the disk
    pub(super) sectors: U16, // 0x1fc
    pub(super) segment: U16, // 0x1fe  where they are loaded, BLOCKLIST_SEGMENT
}
const _: () = assert!(size_of::<Blocklist>() == 12);

/// Right behind the sector at [`DISKBOOT_ADDRESS`].
pub(super) const BLOCKLIST_SEGMENT: u16 = (DISKBOOT_ADDRESS + SECTOR as u16) >> 4;

/// Start of `boot.img`, which becomes that of the MBR.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BootHead {
    pub(super) jump: [u8; 3],        // 0x00
    pub(super) parameters: [u8; 87], // 0x03  for a BIOS parameter block
    pub(super) address: U16,         // 0x5a  DISKBOOT_ADDRESS
    pub(super) core: U64,            // 0x5c  sector of the core image
    pub(super) drive: u8,            // 0x64  DRIVE_OF_BIOS, or a drive's number
    pub(super) no_interrupts: u8,    // 0x65  an instruction
    pub(super) drive_check: [u8; 2], // 0x66  a short jump over a check of the drive's number
}
const _: () = assert!(size_of::<BootHead>() == 0x68);

/// The drive that BIOS says it booted from.
pub(super) const DRIVE_OF_BIOS: u8 = 0xff;

/// Short jump: an opcode and a distance.
pub(super) const SHORT_JUMP: u8 = 0xeb;
/// Twice the instruction that does nothing.
pub(super) const TWO_NOPS: [u8; 2] = [0x90; 2];

/// Where `boot_hybrid.img` has the sector of the core image, 8 bytes long.
pub(super) const HYBRID_CORE_AT: usize = 0x1b0;

/// Ends a boot sector.
pub(super) const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// Length of `cdboot.img`, which a CD's core image begins with.
pub(super) const CDBOOT_BYTES: usize = 2048;

/// How `cdboot.img` counts the sectors of a CD that follow its own: 2047 is added to the image's
/// length, which is then shifted by 11. That is one too many, as its own is counted as well.
pub(super) const CDBOOT_COUNT: [u8; 11] = [
    0x66, 0x81, 0xc1, 0xff, 0x07, 0x00, 0x00, // add ecx, 2047
    0x66, 0xc1, 0xe9, 0x0b, // shr ecx, 11
];

/// The same without the sector too many.
pub(super) const CDBOOT_EXACT_COUNT: [u8; CDBOOT_COUNT.len()] = [
    0x66, 0x81, 0xc1, 0xff, 0xff, 0xff, 0xff, // add ecx, -1
    0x66, 0xc1, 0xe9, 0x0b, // shr ecx, 11
];
