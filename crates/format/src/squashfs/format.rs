//! squashfs 4.0 on disk: records and constants, no logic.
//!
//! All numbers are little-endian. Source of truth: Linux `fs/squashfs/squashfs_fs.h` and the checks
//! in `fs/squashfs/{super,inode,dir,namei,xattr_id,export}.c` (6.12); what the kernel leaves open
//! is as mksquashfs 4.5 writes it.

use zerocopy::little_endian::{I16, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "hsqs".
pub(super) const MAGIC: u32 = 0x7371_7368;
/// The only version in use; 4.0 came with Linux 2.6.29.
pub(super) const VERSION: (u16, u16) = (4, 0);
/// Smallest block size that the kernel mounts.
pub(super) const BLOCK_SIZE_MIN: u32 = 4 << 10;
/// Largest block size that the kernel mounts (`SQUASHFS_FILE_MAX_SIZE`).
pub(super) const BLOCK_SIZE_MAX: u32 = 1 << 20;
/// Bytes in a metadata block before compression; only a table's last block may hold fewer.
pub(super) const METADATA_SIZE: usize = 8 << 10;
/// Images are padded to this, so that loop devices with 4 KiB sectors see all of them.
pub(super) const IMAGE_ALIGNMENT: u64 = 4 << 10;
/// "There is none", for positions of tables.
pub(super) const NO_TABLE: u64 = u64::MAX;
/// "There is none", for fragments and sets of extended attributes.
pub(super) const NONE: u32 = u32::MAX;

/// Compressors by the numbers they have in the superblock.
pub(super) mod compressor_id {
    pub(in super::super) const GZIP: u16 = 1;
    pub(in super::super) const LZMA: u16 = 2;
    pub(in super::super) const LZO: u16 = 3;
    pub(in super::super) const XZ: u16 = 4;
    pub(in super::super) const LZ4: u16 = 5;
    pub(in super::super) const ZSTD: u16 = 6;
}

/// Bits of [`Superblock::flags`]. Except for `COMPRESSOR_OPTIONS` they tell what was asked of the
/// maker; every block says for itself whether it is compressed.
pub(super) mod flag {
    pub(in super::super) const DUPLICATES_MERGED: u16 = 0x0040;
    pub(in super::super) const EXPORTABLE: u16 = 0x0080;
    pub(in super::super) const NO_XATTRS: u16 = 0x0200;
    pub(in super::super) const COMPRESSOR_OPTIONS: u16 = 0x0400;
}

/// First record of the image, `struct squashfs_super_block`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) magic: U32,           // 0x00
    pub(super) inodes: U32,          // 0x04
    pub(super) time: U32,            // 0x08  seconds since 1970
    pub(super) block_size: U32,      // 0x0c
    pub(super) fragments: U32,       // 0x10
    pub(super) compressor: U16,      // 0x14  compressor_id
    pub(super) block_log: U16,       // 0x16  log2 of block_size
    pub(super) flags: U16,           // 0x18
    pub(super) ids: U16,             // 0x1a
    pub(super) major: U16,           // 0x1c
    pub(super) minor: U16,           // 0x1e
    pub(super) root: U64,            // 0x20  place of the root inode
    pub(super) bytes_used: U64,      // 0x28  without the padding
    pub(super) id_table: U64,        // 0x30  from here on: bytes from the image's start
    pub(super) xattr_table: U64,     // 0x38  or NO_TABLE
    pub(super) inode_table: U64,     // 0x40
    pub(super) directory_table: U64, // 0x48
    pub(super) fragment_table: U64,  // 0x50
    pub(super) lookup_table: U64,    // 0x58  or NO_TABLE
}
const _: () = assert!(size_of::<Superblock>() == 0x60);

/// Bit of a metadata block's 16-bit header: the block is stored as it is.
pub(super) const METADATA_RAW: u16 = 1 << 15;
/// Bit of a data block's or fragment's 32-bit size word: stored as it is. A word of 0 is a hole.
pub(super) const DATA_RAW: u32 = 1 << 24;

/// Options of zstd; the metadata block after the superblock, if not the default.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ZstdOptions {
    pub(super) level: U32, // 0x00
}
const _: () = assert!(size_of::<ZstdOptions>() == 0x04);

/// Options of gzip.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct GzipOptions {
    pub(super) level: U32,       // 0x00
    pub(super) window_bits: U16, // 0x04
    pub(super) strategies: U16,  // 0x06  bits; 0 is the default strategy alone
}
const _: () = assert!(size_of::<GzipOptions>() == 0x08);

/// Inode kinds. Extended kinds, with room for more, are these plus [`kind::EXTENDED`].
pub(super) mod kind {
    pub(in super::super) const DIRECTORY: u16 = 1;
    pub(in super::super) const FILE: u16 = 2;
    pub(in super::super) const SYMLINK: u16 = 3;
    pub(in super::super) const BLOCK_DEVICE: u16 = 4;
    pub(in super::super) const CHAR_DEVICE: u16 = 5;
    pub(in super::super) const FIFO: u16 = 6;
    pub(in super::super) const SOCKET: u16 = 7;
    pub(in super::super) const EXTENDED: u16 = 7;
}

/// What every inode starts with, `struct squashfs_base_inode`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct InodeHeader {
    pub(super) kind: U16,   // 0x00
    pub(super) mode: U16,   // 0x02  permission bits; the type is the kind
    pub(super) uid: U16,    // 0x04  index into the id table
    pub(super) gid: U16,    // 0x06
    pub(super) mtime: U32,  // 0x08  seconds since 1970
    pub(super) number: U32, // 0x0c  1..=inodes
}
const _: () = assert!(size_of::<InodeHeader>() == 0x10);

/// `struct squashfs_dir_inode`, after the header.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BasicDirectory {
    pub(super) block: U32, // 0x00  of the listing, from the directory table's start
    pub(super) links: U32, // 0x04
    pub(super) size: U16,  // 0x08  bytes of listing plus LISTING_EXTRA
    pub(super) offset: U16, // 0x0a  of the listing in its block
    pub(super) parent: U32, // 0x0c  inode number
}
const _: () = assert!(size_of::<BasicDirectory>() == 0x10);

/// Added to a listing's length in the inode: positions 0, 1 and 2 are `.`, `..` and the start.
pub(super) const LISTING_EXTRA: u32 = 3;

/// `struct squashfs_ldir_inode`, after the header; index entries follow.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ExtendedDirectory {
    pub(super) links: U32,       // 0x00
    pub(super) size: U32,        // 0x04
    pub(super) block: U32,       // 0x08
    pub(super) parent: U32,      // 0x0c
    pub(super) index_count: U16, // 0x10
    pub(super) offset: U16,      // 0x12
    pub(super) xattrs: U32,      // 0x14  or NONE
}
const _: () = assert!(size_of::<ExtendedDirectory>() == 0x18);

/// `struct squashfs_dir_index`: a run of the listing one can start reading at. Its first name
/// follows.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct IndexEntry {
    pub(super) position: U32, // 0x00  bytes from the listing's start
    pub(super) block: U32,    // 0x04  from the directory table's start
    pub(super) name_len: U32, // 0x08  minus 1
}
const _: () = assert!(size_of::<IndexEntry>() == 0x0c);

/// `struct squashfs_reg_inode`, after the header; size words of the blocks follow.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BasicFile {
    pub(super) start: U32,    // 0x00  of the blocks, from the image's start
    pub(super) fragment: U32, // 0x04  index, or NONE
    pub(super) offset: U32,   // 0x08  in the fragment
    pub(super) size: U32,     // 0x0c
}
const _: () = assert!(size_of::<BasicFile>() == 0x10);

/// `struct squashfs_lreg_inode`, after the header; size words of the blocks follow.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ExtendedFile {
    pub(super) start: U64,      // 0x00
    pub(super) size: U64,       // 0x08
    pub(super) hole_bytes: U64, // 0x10  counted off st_blocks
    pub(super) links: U32,      // 0x18
    pub(super) fragment: U32,   // 0x1c
    pub(super) offset: U32,     // 0x20
    pub(super) xattrs: U32,     // 0x24
}
const _: () = assert!(size_of::<ExtendedFile>() == 0x28);

/// `struct squashfs_symlink_inode`, after the header. The target follows, and for the extended
/// kind a 32-bit index of its attributes.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Symlink {
    pub(super) links: U32,      // 0x00
    pub(super) target_len: U32, // 0x04
}
const _: () = assert!(size_of::<Symlink>() == 0x08);

/// `struct squashfs_dev_inode`, after the header; for the extended kind a 32-bit index of its
/// attributes follows.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Device {
    pub(super) links: U32,  // 0x00
    pub(super) device: U32, // 0x04  as new_encode_dev() packs it
}
const _: () = assert!(size_of::<Device>() == 0x08);

/// Largest major number that fits into [`Device::device`].
pub(super) const MAJOR_MAX: u32 = 0xfff;
/// Largest minor number that fits into [`Device::device`].
pub(super) const MINOR_MAX: u32 = 0xf_ffff;

/// Start of a run in a listing, `struct squashfs_dir_header`. Its entries' inodes start in one
/// metadata block.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RunHeader {
    pub(super) count: U32,  // 0x00  minus 1
    pub(super) block: U32,  // 0x04  of the inodes, from the inode table's start
    pub(super) number: U32, // 0x08  inode number that the entries' are relative to
}
const _: () = assert!(size_of::<RunHeader>() == 0x0c);

/// Most entries in a run (`SQUASHFS_DIR_COUNT`).
pub(super) const RUN_MAX: usize = 256;

/// One name in a listing, `struct squashfs_dir_entry`; the name follows.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ListingEntry {
    pub(super) offset: U16,       // 0x00  of the inode in its block
    pub(super) number_delta: I16, // 0x02
    pub(super) kind: U16,         // 0x04  never an extended one
    pub(super) name_len: U16,     // 0x06  minus 1
}
const _: () = assert!(size_of::<ListingEntry>() == 0x08);

/// `struct squashfs_fragment_entry`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Fragment {
    pub(super) start: U64,  // 0x00  from the image's start
    pub(super) size: U32,   // 0x08  size word
    pub(super) unused: U32, // 0x0c
}
const _: () = assert!(size_of::<Fragment>() == 0x10);

/// `struct squashfs_xattr_entry`: prefix and length of a name; the rest of the name follows.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct XattrName {
    pub(super) prefix: U16, // 0x00  index into XATTR_PREFIXES, perhaps with XATTR_ELSEWHERE
    pub(super) len: U16,    // 0x02  without the prefix
}
const _: () = assert!(size_of::<XattrName>() == 0x04);

/// Prefixes that names can have, by number.
pub(super) const XATTR_PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// Bit of [`XattrName::prefix`]: in the value's stead there is the place of a value.
pub(super) const XATTR_ELSEWHERE: u16 = 0x100;

/// `struct squashfs_xattr_val`; the value follows.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct XattrValue {
    pub(super) len: U32, // 0x00
}
const _: () = assert!(size_of::<XattrValue>() == 0x04);

/// One set of attributes, `struct squashfs_xattr_id`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct XattrSet {
    pub(super) place: U64, // 0x00  from XattrTable::start
    pub(super) count: U32, // 0x08
    pub(super) size: U32,  // 0x0c  of all names with prefixes and NULs, and of all values
}
const _: () = assert!(size_of::<XattrSet>() == 0x10);

/// `struct squashfs_xattr_id_table`; positions of the blocks of sets follow.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct XattrTable {
    pub(super) start: U64,  // 0x00  of names and values, from the image's start
    pub(super) sets: U32,   // 0x08
    pub(super) unused: U32, // 0x0c
}
const _: () = assert!(size_of::<XattrTable>() == 0x10);

/// Longest symlink target that Linux resolves: `PATH_MAX` without the NUL.
pub(super) const TARGET_MAX: usize = 4095;

/// Where something starts in a table of metadata blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Position of the block as stored, from the table's start.
    pub(super) block: u32,
    /// Offset in the block once decompressed.
    pub(super) offset: u16,
}

impl Place {
    /// The packed form: block above, offset in the low 16 bits.
    pub(super) fn packed(self) -> U64 {
        U64::new(u64::from(self.block) << 16 | u64::from(self.offset))
    }

    /// From the packed form; `None` when it points where no block can hold it.
    pub(super) fn unpack(packed: U64) -> Option<Self> {
        let packed = packed.get();
        Some(Self {
            block: u32::try_from(packed >> 16).ok()?,
            offset: u16::try_from(packed & 0xffff)
                .ok()
                .filter(|offset| usize::from(*offset) < METADATA_SIZE)?,
        })
    }
}
