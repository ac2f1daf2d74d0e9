//! The records on disk: structs and constants, no logic. Little-endian, but for the journal's.
//!
//! Offsets are those of the kernel's "ext4 Data Structures and Algorithms".

use zerocopy::big_endian::U32 as BigU32;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of an inode record, as mke2fs makes them.
pub(super) const INODE_BYTES: usize = 256;
/// Bytes of a group descriptor with the 64bit feature.
pub(super) const DESCRIPTOR_BYTES: usize = 64;
/// Where the super block is, in bytes, whatever the block size.
pub(super) const SUPER_OFFSET: u64 = 1024;
/// Groups whose bitmaps and inode tables lie together: 2 to this power.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;

/// The root directory's inode.
pub(super) const ROOT_INODE: u32 = 2;
/// The inode that owns the reserved descriptor blocks.
pub(super) const RESIZE_INODE: u32 = 7;
/// The journal's inode.
pub(super) const JOURNAL_INODE: u32 = 8;
/// The first inode that is not reserved; mke2fs gives it to `lost+found`.
pub(super) const FIRST_INODE: u32 = 11;

/// has_journal, ext_attr, resize_inode, dir_index.
pub(super) const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
/// filetype, extents, 64bit, flex_bg, metadata_csum_seed.
pub(super) const INCOMPATIBLE: u32 = FILE_TYPES | 0x40 | WIDE | 0x200 | STORED_SEED;
/// sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
pub(super) const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | CHECKSUMS;

/// Incompatible: names have file types; there is a journal to replay; numbers of blocks have two
/// halves; checksums start from [`SuperBlock::checksum_seed`].
pub(super) const FILE_TYPES: u32 = 0x2;
pub(super) const NEEDS_RECOVERY: u32 = 0x4;
pub(super) const WIDE: u32 = 0x80;
pub(super) const STORED_SEED: u32 = 0x2000;
/// Read-only compatible: space is given away in clusters; metadata has checksums.
pub(super) const CLUSTERS: u32 = 0x200;
pub(super) const CHECKSUMS: u32 = 0x400;

/// Incompatible features by bit, with whether they are read.
pub(super) const INCOMPATIBLE_NAMES: [(&str, bool); 18] = [
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

/// Super block, 1024 bytes at [`SUPER_OFFSET`] and at the start of some groups.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct SuperBlock {
    pub(super) inodes: U32,                     // 0x000
    pub(super) blocks_low: U32,                 // 0x004
    pub(super) reserved_blocks: U32,            // 0x008  for root
    pub(super) free_blocks: U32,                // 0x00c
    pub(super) free_inodes: U32,                // 0x010
    pub(super) first_data_block: U32,           // 0x014
    pub(super) log_block_size: U32,             // 0x018  2^(10 + n) bytes
    pub(super) log_cluster_size: U32,           // 0x01c
    pub(super) blocks_per_group: U32,           // 0x020
    pub(super) clusters_per_group: U32,         // 0x024
    pub(super) inodes_per_group: U32,           // 0x028
    pub(super) mount_time: U32,                 // 0x02c
    pub(super) write_time: U32,                 // 0x030
    pub(super) mount_count: U16,                // 0x034
    pub(super) max_mount_count: U16,            // 0x036
    pub(super) magic: U16,                      // 0x038
    pub(super) state: U16,                      // 0x03a  1 clean
    pub(super) errors: U16,                     // 0x03c  1 continue
    pub(super) minor_revision: U16,             // 0x03e
    pub(super) last_check: U32,                 // 0x040
    pub(super) check_interval: U32,             // 0x044
    pub(super) creator_os: U32,                 // 0x048  0 Linux
    pub(super) revision: U32,                   // 0x04c  1 dynamic
    pub(super) reserved_owner: [U16; 2],        // 0x050
    pub(super) first_inode: U32,                // 0x054
    pub(super) inode_size: U16,                 // 0x058
    pub(super) group: U16,                      // 0x05a  that this copy is in
    pub(super) compatible: U32,                 // 0x05c
    pub(super) incompatible: U32,               // 0x060
    pub(super) read_only_compatible: U32,       // 0x064
    pub(super) uuid: [u8; 16],                  // 0x068
    pub(super) label: [u8; 16],                 // 0x078
    pub(super) last_mounted: [u8; 64],          // 0x088
    pub(super) compression: U32,                // 0x0c8
    pub(super) preallocate: [u8; 2],            // 0x0cc
    pub(super) reserved_descriptor_blocks: U16, // 0x0ce
    pub(super) journal_uuid: [u8; 16],          // 0x0d0  of an external one
    pub(super) journal_inode: U32,              // 0x0e0
    pub(super) journal_device: U32,             // 0x0e4
    pub(super) orphans: U32,                    // 0x0e8
    pub(super) hash_seed: [u8; 16],             // 0x0ec
    pub(super) hash_version: u8,                // 0x0fc  1 half MD4
    pub(super) journal_backup_type: u8,         // 0x0fd  1: inode below
    pub(super) descriptor_size: U16,            // 0x0fe
    pub(super) mount_options: U32,              // 0x100  0xc: user_xattr, acl
    pub(super) first_meta_group: U32,           // 0x104
    pub(super) made_time: U32,                  // 0x108
    pub(super) journal_backup: [U32; 17],       // 0x10c  block map, size high, low
    pub(super) blocks_high: U32,                // 0x150
    pub(super) reserved_blocks_high: U32,       // 0x154
    pub(super) free_blocks_high: U32,           // 0x158
    pub(super) min_extra_inode_size: U16,       // 0x15c
    pub(super) want_extra_inode_size: U16,      // 0x15e
    pub(super) flags: U32,                      // 0x160  1: hashes of signed chars
    pub(super) unused_164: [u8; 16],            // 0x164  RAID, multi-mount
    pub(super) log_groups_per_flex: u8,         // 0x174
    pub(super) checksum_type: u8,               // 0x175  1 crc32c
    pub(super) unused_176: [u8; 2],             // 0x176
    pub(super) kib_written: U64,                // 0x178
    pub(super) unused_180: [u8; 200],           // 0x180  snapshots, error log, quota
    pub(super) overhead_blocks: U32,            // 0x248
    pub(super) unused_24c: [u8; 36],            // 0x24c
    pub(super) checksum_seed: U32,              // 0x270
    pub(super) unused_274: [u8; 392],           // 0x274
    pub(super) checksum: U32,                   // 0x3fc
}
const _: () = assert!(size_of::<SuperBlock>() == 1024);

/// `SuperBlock::magic`.
pub(super) const SUPER_MAGIC: u16 = 0xef53;

/// Group descriptor; one without the 64bit feature ends after `checksum`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) block_bitmap: U32,               // 0x00
    pub(super) inode_bitmap: U32,               // 0x04
    pub(super) inode_table: U32,                // 0x08
    pub(super) free_blocks: U16,                // 0x0c
    pub(super) free_inodes: U16,                // 0x0e
    pub(super) directories: U16,                // 0x10
    pub(super) flags: U16,                      // 0x12
    pub(super) exclude: U32,                    // 0x14
    pub(super) block_bitmap_checksum: U16,      // 0x18
    pub(super) inode_bitmap_checksum: U16,      // 0x1a
    pub(super) unused_inodes: U16,              // 0x1c  at the table's end
    pub(super) checksum: U16,                   // 0x1e  taken with this field zero
    pub(super) block_bitmap_high: U32,          // 0x20
    pub(super) inode_bitmap_high: U32,          // 0x24
    pub(super) inode_table_high: U32,           // 0x28
    pub(super) counts_high: [U16; 4],           // 0x2c  free blocks, inodes, dirs, unused
    pub(super) exclude_high: U32,               // 0x34
    pub(super) block_bitmap_checksum_high: U16, // 0x38
    pub(super) inode_bitmap_checksum_high: U16, // 0x3a
    pub(super) unused_3c: U32,                  // 0x3c
}
const _: () = assert!(size_of::<Descriptor>() == DESCRIPTOR_BYTES);

/// The inode bitmap is not written: no inode is used.
pub(super) const INODE_UNINIT: u16 = 1;
/// The block bitmap is not written: nothing but the group's own descriptors is used.
pub(super) const BLOCK_UNINIT: u16 = 2;
/// The inode table is all zeros where unused.
pub(super) const TABLE_ZEROED: u16 = 4;

/// Bytes of an inode's block map, extent root or fast symlink.
pub(super) const MAP_BYTES: usize = 60;

/// Inode, with the room for attributes in its own record; one of 128 bytes ends before `extra_size`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct InodeRecord {
    pub(super) mode: U16,              // 0x00
    pub(super) uid: U16,               // 0x02
    pub(super) size: U32,              // 0x04
    pub(super) atime: U32,             // 0x08
    pub(super) ctime: U32,             // 0x0c
    pub(super) mtime: U32,             // 0x10
    pub(super) dtime: U32,             // 0x14
    pub(super) gid: U16,               // 0x18
    pub(super) links: U16,             // 0x1a
    pub(super) sectors: U32,           // 0x1c  of 512 bytes
    pub(super) flags: U32,             // 0x20
    pub(super) version: U32,           // 0x24
    pub(super) map: [u8; MAP_BYTES],   // 0x28
    pub(super) generation: U32,        // 0x64
    pub(super) attributes: U32,        // 0x68  block of more attributes
    pub(super) size_high: U32,         // 0x6c
    pub(super) fragment: U32,          // 0x70
    pub(super) sectors_high: U16,      // 0x74
    pub(super) attributes_high: U16,   // 0x76
    pub(super) uid_high: U16,          // 0x78
    pub(super) gid_high: U16,          // 0x7a
    pub(super) checksum: U16,          // 0x7c  both halves zero when taken
    pub(super) unused_7e: U16,         // 0x7e
    pub(super) extra_size: U16,        // 0x80
    pub(super) checksum_high: U16,     // 0x82
    pub(super) ctime_extra: U32,       // 0x84  epoch in bits 0 and 1
    pub(super) mtime_extra: U32,       // 0x88
    pub(super) atime_extra: U32,       // 0x8c
    pub(super) crtime: U32,            // 0x90
    pub(super) crtime_extra: U32,      // 0x94
    pub(super) version_high: U32,      // 0x98
    pub(super) project: U32,           // 0x9c
    pub(super) body: [u8; BODY_BYTES], // 0xa0  attributes
}
const _: () = assert!(size_of::<InodeRecord>() == INODE_BYTES);

/// `InodeRecord::extra_size`: the fields from 0x80 to 0xa0.
pub(super) const EXTRA_BYTES: u16 = 32;
/// Room for attributes in an inode.
pub(super) const BODY_BYTES: usize = 96;
/// Bytes of an inode as in ext2; what is behind them came later.
pub(super) const OLD_INODE_BYTES: usize = 128;

/// File types in `InodeRecord::mode`.
pub(super) const TYPE_MASK: u16 = 0o170_000;
pub(super) const FIFO: u16 = 0o010_000;
pub(super) const CHAR_DEVICE: u16 = 0o020_000;
pub(super) const DIRECTORY: u16 = 0o040_000;
pub(super) const BLOCK_DEVICE: u16 = 0o060_000;
pub(super) const REGULAR: u16 = 0o100_000;
pub(super) const SYMLINK: u16 = 0o120_000;
pub(super) const SOCKET: u16 = 0o140_000;

/// `chattr +i`.
pub(super) const FLAG_IMMUTABLE: u32 = 0x10;
/// The directory has a tree of hashes above its names.
pub(super) const FLAG_INDEX: u32 = 0x1000;
/// The map is an extent tree's root.
pub(super) const FLAG_EXTENTS: u32 = 0x8_0000;
/// Most names of one inode.
pub(super) const LINKS_MAX: u32 = 65_000;

/// Head of every node of an extent tree.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ExtentHeader {
    pub(super) magic: U16,      // 0x00
    pub(super) entries: U16,    // 0x02
    pub(super) max: U16,        // 0x04
    pub(super) depth: U16,      // 0x06  0 in a leaf
    pub(super) generation: U32, // 0x08
}
/// Entry of a leaf.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ExtentLeaf {
    pub(super) logical: U32,    // 0x00
    pub(super) len: U16,        // 0x04  above 32768: not initialised
    pub(super) start_high: U16, // 0x06
    pub(super) start: U32,      // 0x08
}
/// Entry of a node above the leaves.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ExtentIndex {
    pub(super) logical: U32,   // 0x00
    pub(super) node: U32,      // 0x04
    pub(super) node_high: U16, // 0x08
    pub(super) unused: U16,    // 0x0a
}
const _: () = assert!(size_of::<ExtentHeader>() == 12);
const _: () = assert!(size_of::<ExtentLeaf>() == 12);
const _: () = assert!(size_of::<ExtentIndex>() == 12);
/// `ExtentHeader::magic`.
pub(super) const EXTENT_MAGIC: u16 = 0xf30a;
/// Most blocks in one extent that holds data.
pub(super) const EXTENT_BLOCKS_MAX: u64 = 32_768;

/// Head of a directory entry; the name follows, padded to 4 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct EntryHead {
    pub(super) inode: U32,      // 0x00
    pub(super) record_len: U16, // 0x04
    pub(super) name_len: u8,    // 0x06
    pub(super) kind: u8,        // 0x07
}
/// Looks like an unused entry and ends every directory block.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct EntryTail {
    pub(super) head: EntryHead, // 0x00  inode 0, name_len 0, kind 0xde
    pub(super) checksum: U32,   // 0x08
}
const _: () = assert!(size_of::<EntryTail>() == 12);
/// `EntryHead::kind` of an [`EntryTail`].
pub(super) const KIND_CHECKSUM: u8 = 0xde;

/// What follows the two names in the root of a directory's tree of hashes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct HashRoot {
    pub(super) reserved: U32, // 0x00
    pub(super) version: u8,   // 0x04
    pub(super) len: u8,       // 0x05  of this record
    pub(super) levels: u8,    // 0x06  between it and the leaves
    pub(super) flags: u8,     // 0x07
}
const _: () = assert!(size_of::<HashRoot>() == 8);
/// Start of the entries in a block of hashes, in the first one's place.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct HashCounts {
    pub(super) room: U16,  // 0x00
    pub(super) count: U16, // 0x02
    pub(super) block: U32, // 0x04  of the first entry
}
/// An entry of a block of hashes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct HashEntry {
    pub(super) hash: U32,  // 0x00
    pub(super) block: U32, // 0x04
}
const _: () = assert!(size_of::<HashCounts>() == size_of::<HashEntry>());

/// Start of attributes, in an inode and in a block.
pub(super) const ATTRIBUTE_MAGIC: u32 = 0xea02_0000;
/// Head of a block of attributes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct AttributeHeader {
    pub(super) magic: U32,       // 0x00
    pub(super) references: U32,  // 0x04
    pub(super) blocks: U32,      // 0x08  1
    pub(super) hash: U32,        // 0x0c  of the entries' hashes
    pub(super) checksum: U32,    // 0x10  taken with this field zero
    pub(super) unused: [U32; 3], // 0x14
}
const _: () = assert!(size_of::<AttributeHeader>() == 32);
/// One attribute; its name follows, padded to 4 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct AttributeEntry {
    pub(super) name_len: u8,      // 0x00
    pub(super) prefix: u8,        // 0x01
    pub(super) value_offset: U16, // 0x02
    pub(super) value_inode: U32,  // 0x04
    pub(super) value_len: U32,    // 0x08
    pub(super) hash: U32,         // 0x0c
}
const _: () = assert!(size_of::<AttributeEntry>() == 16);

/// The journal's first block, big-endian; the rest of the block is zero.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct JournalSuper {
    pub(super) magic: BigU32,         // 0x00
    pub(super) kind: BigU32,          // 0x04  4: second version
    pub(super) transaction: BigU32,   // 0x08
    pub(super) block_size: BigU32,    // 0x0c
    pub(super) blocks: BigU32,        // 0x10
    pub(super) first: BigU32,         // 0x14
    pub(super) sequence: BigU32,      // 0x18
    pub(super) start: BigU32,         // 0x1c  0: nothing to replay
    pub(super) error: BigU32,         // 0x20
    pub(super) features: [BigU32; 3], // 0x24
    pub(super) uuid: [u8; 16],        // 0x30
    pub(super) users: BigU32,         // 0x40
}
const _: () = assert!(size_of::<JournalSuper>() == 0x44);
/// `JournalSuper::magic`.
pub(super) const JOURNAL_MAGIC: u32 = 0xc03b_3998;
