//! Records of ext4 as this reader sees them, little-endian unless a comment says otherwise.
//!
//! The writer has structs of its own on purpose: a field misplaced in one must not be misplaced in
//! both. Source of truth: `fs/ext4/ext4.h`, `ext4_extents.h` and `xattr.h` of Linux 6.18.

use zerocopy::big_endian::U32 as BigU32;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Where the superblock is, in bytes.
pub(super) const SUPERBLOCK_POSITION: u64 = 1024;
pub(super) const MAGIC: u16 = 0xef53;

/// Bits of the superblock.
pub(super) mod feature {
    pub(crate) const HAS_JOURNAL: u32 = 4;
    pub(crate) const SPARSE_SUPER2: u32 = 0x200;
    pub(crate) const ORPHAN_FILE: u32 = 0x1000;
    pub(crate) const RECOVER: u32 = 4;
    pub(crate) const BIT64: u32 = 0x80;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
    pub(crate) const SPARSE_SUPER: u32 = 1;
    pub(crate) const HUGE_FILE: u32 = 8;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const DIR_NLINK: u32 = 0x20;
    pub(crate) const BIGALLOC: u32 = 0x200;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    pub(crate) const ORPHAN_PRESENT: u32 = 0x1_0000;

    /// Names of compatible features by bit.
    pub(crate) const COMPAT: [&str; 13] = [
        "dir_prealloc",
        "imagic_inodes",
        "has_journal",
        "ext_attr",
        "resize_inode",
        "dir_index",
        "lazy_bg",
        "exclude_inode",
        "exclude_bitmap",
        "sparse_super2",
        "fast_commit",
        "stable_inodes",
        "orphan_file",
    ];
    /// Names of incompatible features by bit, with whether they are read.
    pub(crate) const INCOMPAT: [(&str, bool); 18] = [
        ("compression", false),
        ("filetype", true),
        ("needs_recovery", false),
        ("journal_dev", false),
        ("meta_bg", false),
        ("", false),
        ("extent", true),
        ("64bit", true),
        ("mmp", false),
        ("flex_bg", true),
        ("ea_inode", false),
        ("", false),
        ("dirdata", false),
        ("metadata_csum_seed", true),
        ("large_dir", true),
        ("inline_data", false),
        ("encrypt", false),
        ("casefold", false),
    ];
    /// Names of features that change nothing for who only reads, by bit.
    pub(crate) const RO_COMPAT: [&str; 17] = [
        "sparse_super",
        "large_file",
        "btree_dir",
        "huge_file",
        "uninit_bg",
        "dir_nlink",
        "extra_isize",
        "has_snapshot",
        "quota",
        "bigalloc",
        "metadata_csum",
        "replica",
        "read-only",
        "project",
        "shared_blocks",
        "verity",
        "orphan_present",
    ];
}

/// Superblock.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) inodes: U32,               // 0x000
    pub(super) blocks_low: U32,           // 0x004
    pub(super) reserved_low: U32,         // 0x008
    pub(super) free_blocks_low: U32,      // 0x00c
    pub(super) free_inodes: U32,          // 0x010
    pub(super) first_block: U32,          // 0x014
    pub(super) block_log: U32,            // 0x018  1024 << this
    pub(super) cluster_log: U32,          // 0x01c
    pub(super) group_blocks: U32,         // 0x020
    pub(super) group_clusters: U32,       // 0x024
    pub(super) group_inodes: U32,         // 0x028
    pub(super) mount_time: U32,           // 0x02c
    pub(super) write_time: U32,           // 0x030
    pub(super) mounts: U16,               // 0x034
    pub(super) mounts_max: U16,           // 0x036
    pub(super) magic: U16,                // 0x038
    pub(super) state: U16,                // 0x03a
    pub(super) on_error: U16,             // 0x03c
    pub(super) minor: U16,                // 0x03e
    pub(super) last_check: U32,           // 0x040
    pub(super) check_interval: U32,       // 0x044
    pub(super) creator: U32,              // 0x048
    pub(super) revision: U32,             // 0x04c
    pub(super) reserved_uid: U16,         // 0x050
    pub(super) reserved_gid: U16,         // 0x052
    pub(super) first_inode: U32,          // 0x054
    pub(super) inode_size: U16,           // 0x058
    pub(super) group: U16,                // 0x05a  of this copy
    pub(super) compat: U32,               // 0x05c
    pub(super) incompat: U32,             // 0x060
    pub(super) ro_compat: U32,            // 0x064
    pub(super) uuid: [u8; 16],            // 0x068
    pub(super) label: [u8; 16],           // 0x078
    pub(super) last_mounted: [u8; 64],    // 0x088
    pub(super) algorithms: U32,           // 0x0c8
    pub(super) preallocate: [u8; 2],      // 0x0cc
    pub(super) reserved_descriptors: U16, // 0x0ce  blocks
    pub(super) journal_uuid: [u8; 16],    // 0x0d0
    pub(super) journal_inode: U32,        // 0x0e0
    pub(super) journal_device: U32,       // 0x0e4
    pub(super) last_orphan: U32,          // 0x0e8
    pub(super) hash_seed: [u8; 16],       // 0x0ec
    pub(super) hash_version: u8,          // 0x0fc
    pub(super) journal_backup: u8,        // 0x0fd
    pub(super) descriptor_size: U16,      // 0x0fe
    pub(super) mount_options: U32,        // 0x100
    pub(super) first_meta_group: U32,     // 0x104
    pub(super) made: U32,                 // 0x108
    pub(super) journal_blocks: [U32; 17], // 0x10c
    pub(super) blocks_high: U32,          // 0x150
    pub(super) reserved_high: U32,        // 0x154
    pub(super) free_blocks_high: U32,     // 0x158
    pub(super) extra_size_min: U16,       // 0x15c
    pub(super) extra_size: U16,           // 0x15e
    pub(super) flags: U32,                // 0x160
    pub(super) stride: U16,               // 0x164
    pub(super) mmp_interval: U16,         // 0x166
    pub(super) mmp_block: U64,            // 0x168
    pub(super) stripe: U32,               // 0x170
    pub(super) flex_log: u8,              // 0x174
    pub(super) checksum_type: u8,         // 0x175
    pub(super) rest: [u8; 250],           // 0x176
    pub(super) checksum_seed: U32,        // 0x270
    pub(super) rest2: [u8; 12],           // 0x274
    pub(super) orphan_inode: U32,         // 0x280
    pub(super) rest3: [u8; 376],          // 0x284
    pub(super) checksum: U32,             // 0x3fc
}
const _: () = assert!(size_of::<Superblock>() == 1024);

/// Group descriptor; those of 32 bytes end after `checksum`.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) block_bitmap_low: U32,    // 0x00
    pub(super) inode_bitmap_low: U32,    // 0x04
    pub(super) inode_table_low: U32,     // 0x08
    pub(super) free_blocks_low: U16,     // 0x0c
    pub(super) free_inodes_low: U16,     // 0x0e
    pub(super) directories_low: U16,     // 0x10
    pub(super) flags: U16,               // 0x12
    pub(super) exclude_low: U32,         // 0x14
    pub(super) block_checksum_low: U16,  // 0x18
    pub(super) inode_checksum_low: U16,  // 0x1a
    pub(super) unused_low: U16,          // 0x1c  inodes at the table's end
    pub(super) checksum: U16,            // 0x1e
    pub(super) block_bitmap_high: U32,   // 0x20
    pub(super) inode_bitmap_high: U32,   // 0x24
    pub(super) inode_table_high: U32,    // 0x28
    pub(super) free_blocks_high: U16,    // 0x2c
    pub(super) free_inodes_high: U16,    // 0x2e
    pub(super) directories_high: U16,    // 0x30
    pub(super) unused_high: U16,         // 0x32
    pub(super) exclude_high: U32,        // 0x34
    pub(super) block_checksum_high: U16, // 0x38
    pub(super) inode_checksum_high: U16, // 0x3a
    pub(super) reserved: U32,            // 0x3c
}
const _: () = assert!(size_of::<Descriptor>() == 64);

/// Flags of groups.
pub(super) mod group_flag {
    pub(crate) const NO_INODES: u16 = 1;
    pub(crate) const NO_BLOCKS: u16 = 2;
}

/// Inode up to the fields that this reader wants; those of 128 bytes end before `extra_size`.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeCore {
    pub(super) mode: U16,          // 0x00
    pub(super) uid_low: U16,       // 0x02
    pub(super) size_low: U32,      // 0x04
    pub(super) atime: U32,         // 0x08
    pub(super) ctime: U32,         // 0x0c
    pub(super) mtime: U32,         // 0x10
    pub(super) dtime: U32,         // 0x14
    pub(super) gid_low: U16,       // 0x18
    pub(super) links: U16,         // 0x1a
    pub(super) blocks_low: U32,    // 0x1c
    pub(super) flags: U32,         // 0x20
    pub(super) version: U32,       // 0x24
    pub(super) block: [u8; 60],    // 0x28
    pub(super) generation: U32,    // 0x64
    pub(super) acl_low: U32,       // 0x68  block of attributes
    pub(super) size_high: U32,     // 0x6c
    pub(super) fragment: U32,      // 0x70
    pub(super) blocks_high: U16,   // 0x74
    pub(super) acl_high: U16,      // 0x76
    pub(super) uid_high: U16,      // 0x78
    pub(super) gid_high: U16,      // 0x7a
    pub(super) checksum_low: U16,  // 0x7c
    pub(super) reserved: U16,      // 0x7e
    pub(super) extra_size: U16,    // 0x80  bytes from here on
    pub(super) checksum_high: U16, // 0x82
    pub(super) ctime_extra: U32,   // 0x84
    pub(super) mtime_extra: U32,   // 0x88
}
const _: () = assert!(size_of::<InodeCore>() == 0x8c);

/// Inode flags.
pub(super) mod flag {
    pub(crate) const IMMUTABLE: u32 = 0x10;
    pub(crate) const INDEX: u32 = 0x1000;
    pub(crate) const HUGE_FILE: u32 = 0x4_0000;
    pub(crate) const EXTENTS: u32 = 0x8_0000;
}

/// File types in `mode`.
pub(super) mod mode {
    pub(crate) const MASK: u16 = 0o170_000;
    pub(crate) const FIFO: u16 = 0o010_000;
    pub(crate) const CHAR_DEVICE: u16 = 0o020_000;
    pub(crate) const DIRECTORY: u16 = 0o040_000;
    pub(crate) const BLOCK_DEVICE: u16 = 0o060_000;
    pub(crate) const FILE: u16 = 0o100_000;
    pub(crate) const SYMLINK: u16 = 0o120_000;
    pub(crate) const SOCKET: u16 = 0o140_000;
}

/// Start of every block of an extent tree.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ExtentHeader {
    pub(super) magic: U16,      // 0   0xf30a
    pub(super) count: U16,      // 2
    pub(super) room: U16,       // 4
    pub(super) depth: U16,      // 6   0 in leaves
    pub(super) generation: U32, // 8
}
const _: () = assert!(size_of::<ExtentHeader>() == 12);

/// A run of blocks.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ExtentRecord {
    pub(super) offset: U32,     // 0
    pub(super) count: U16,      // 4   more than 32768: unwritten
    pub(super) block_high: U16, // 6
    pub(super) block_low: U32,  // 8
}
const _: () = assert!(size_of::<ExtentRecord>() == 12);

/// A block below.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ExtentIndex {
    pub(super) offset: U32,     // 0
    pub(super) block_low: U32,  // 4
    pub(super) block_high: U16, // 8
    pub(super) unused: U16,     // 10
}
const _: () = assert!(size_of::<ExtentIndex>() == 12);

/// A name in a directory; the name follows.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct NameHeader {
    pub(super) inode: U32,    // 0
    pub(super) len: U16,      // 4   to the next
    pub(super) name_len: u8,  // 6
    pub(super) file_type: u8, // 7
}
const _: () = assert!(size_of::<NameHeader>() == 8);

/// End of a block of names.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct NamesTail {
    pub(super) header: NameHeader, // 0   no inode, 12 bytes, no name, type 0xde
    pub(super) checksum: U32,      // 8
}
const _: () = assert!(size_of::<NamesTail>() == 12);

/// Start of the entries in a block of a directory's hash tree, in the first one's place.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashCounts {
    pub(super) room: U16,  // 0
    pub(super) count: U16, // 2
    pub(super) block: U32, // 4   of the first entry
}
const _: () = assert!(size_of::<HashCounts>() == 8);

/// An entry of a directory's hash tree.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashEntry {
    pub(super) hash: U32,  // 0
    pub(super) block: U32, // 4
}
const _: () = assert!(size_of::<HashEntry>() == 8);

/// What follows the two names in the root of a directory's hash tree.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashRoot {
    pub(super) reserved: U32, // 0
    pub(super) version: u8,   // 4
    pub(super) len: u8,       // 5   of this record
    pub(super) levels: u8,    // 6   between it and the leaves
    pub(super) flags: u8,     // 7
}
const _: () = assert!(size_of::<HashRoot>() == 8);

/// Block of attributes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrHeader {
    pub(super) magic: U32,         // 0    0xea020000
    pub(super) references: U32,    // 4
    pub(super) blocks: U32,        // 8
    pub(super) hash: U32,          // 12
    pub(super) checksum: U32,      // 16
    pub(super) reserved: [U32; 3], // 20
}
const _: () = assert!(size_of::<AttrHeader>() == 32);

/// An attribute; the name follows.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrEntry {
    pub(super) name_len: u8,      // 0
    pub(super) prefix: u8,        // 1
    pub(super) value_offset: U16, // 2
    pub(super) value_inode: U32,  // 4
    pub(super) value_len: U32,    // 8
    pub(super) hash: U32,         // 12
}
const _: () = assert!(size_of::<AttrEntry>() == 16);

/// Start of the journal, big-endian.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Journal {
    pub(super) magic: BigU32,      // 0x00  0xc03b3998
    pub(super) kind: BigU32,       // 0x04  4: superblock, second version
    pub(super) sequence: BigU32,   // 0x08
    pub(super) block_size: BigU32, // 0x0c
    pub(super) blocks: BigU32,     // 0x10
    pub(super) first: BigU32,      // 0x14
    pub(super) expected: BigU32,   // 0x18  next transaction
    pub(super) start: BigU32,      // 0x1c  0 if there is nothing to replay
    pub(super) error: BigU32,      // 0x20
    pub(super) compat: BigU32,     // 0x24
    pub(super) incompat: BigU32,   // 0x28
    pub(super) ro_compat: BigU32,  // 0x2c
    pub(super) uuid: [u8; 16],     // 0x30
    pub(super) users: BigU32,      // 0x40
}
const _: () = assert!(size_of::<Journal>() == 0x44);
