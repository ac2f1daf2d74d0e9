//! XFS v5 on disk: superblock, group headers, AG btrees, inodes, forks, directories and attributes.
//! All integers are big-endian, but for checksums.
//!
//! Source of truth: `fs/xfs/libxfs/xfs_format.h` and `xfs_da_format.h` of Linux 6.18.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::little_endian::U32 as LittleU32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// No block, no inode, no end of list.
pub(super) const NULL: u32 = u32::MAX;
/// The same where 64 bits are given to it.
pub(super) const NULL_WIDE: u64 = u64::MAX;

/// Superblock, at the start of each group. The rest of its sector is zero.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) magic: [u8; 4],            // 0x00  "XFSB"
    pub(super) block_bytes: U32,          // 0x04
    pub(super) blocks: U64,               // 0x08
    pub(super) realtime: [U64; 2],        // 0x10  blocks and extents of the realtime section: none
    pub(super) uuid: [u8; 16],            // 0x20
    pub(super) log_start: U64,            // 0x30  block number
    pub(super) root_inode: U64,           // 0x38
    pub(super) bitmap_inode: U64,         // 0x40  of the realtime section
    pub(super) summary_inode: U64,        // 0x48  of the realtime section
    pub(super) realtime_extent: U32,      // 0x50  blocks
    pub(super) group_blocks: U32,         // 0x54
    pub(super) groups: U32,               // 0x58
    pub(super) bitmap_blocks: U32,        // 0x5c
    pub(super) log_blocks: U32,           // 0x60
    pub(super) version: U16,              // 0x64
    pub(super) sector_bytes: U16,         // 0x66
    pub(super) inode_bytes: U16,          // 0x68
    pub(super) inodes_per_block: U16,     // 0x6a
    pub(super) label: [u8; 12],           // 0x6c
    pub(super) block_bits: u8,            // 0x78
    pub(super) sector_bits: u8,           // 0x79
    pub(super) inode_bits: u8,            // 0x7a
    pub(super) inodes_per_block_bits: u8, // 0x7b
    pub(super) group_bits: u8,            // 0x7c
    pub(super) realtime_bits: u8,         // 0x7d
    pub(super) in_progress: u8,           // 0x7e
    pub(super) inode_percent: u8,         // 0x7f  most of the space that inodes may take
    pub(super) inodes: U64,               // 0x80  allocated, used or not
    pub(super) free_inodes: U64,          // 0x88
    pub(super) free_blocks: U64,          // 0x90
    pub(super) free_realtime: U64,        // 0x98
    pub(super) quota_inodes: [U64; 2],    // 0xa0  users, groups
    pub(super) quota_flags: U16,          // 0xb0
    pub(super) flags: u8,                 // 0xb2
    pub(super) shared_version: u8,        // 0xb3
    pub(super) inode_alignment: U32,      // 0xb4  blocks
    pub(super) stripe: [U32; 2],          // 0xb8
    pub(super) directory_block_bits: u8,  // 0xc0
    pub(super) log_sector_bits: u8,       // 0xc1
    pub(super) log_sector_bytes: U16,     // 0xc2
    pub(super) log_stripe: U32,           // 0xc4
    pub(super) features2: U32,            // 0xc8
    pub(super) features2_again: U32,      // 0xcc
    pub(super) compatible: U32,           // 0xd0
    pub(super) read_only_compatible: U32, // 0xd4
    pub(super) incompatible: U32,         // 0xd8
    pub(super) log_incompatible: U32,     // 0xdc
    pub(super) crc: LittleU32,            // 0xe0
    pub(super) sparse_alignment: U32,     // 0xe4  blocks
    pub(super) project_quota_inode: U64,  // 0xe8
    pub(super) lsn: U64,                  // 0xf0
    pub(super) metadata_uuid: [u8; 16],   // 0xf8
}
const _: () = assert!(size_of::<Superblock>() == 0x108);
pub(super) const SUPERBLOCK_CRC: usize = 0xe0;

/// The number in `version`, without its flags.
pub(super) const VERSION_MASK: u16 = 0x000f;
/// Version 5, with: aligned inodes, version 2 log, extent flags, version 2 directories, more bits in
/// `features2`.
pub(super) const VERSION: u16 = 0xb4a5;
/// Some inode has an attribute.
pub(super) const VERSION_ATTRIBUTES: u16 = 0x0010;
/// Sectors are larger than 512 bytes.
pub(super) const VERSION_SECTORS: u16 = 0x0800;
/// Lazy counters, attributes version 2, 32-bit project ids, checksums.
pub(super) const FEATURES2: u32 = 0x2 | 0x8 | 0x80 | 0x100;
/// Tree of inodes with free slots, reference counts, block counts of the inode trees.
pub(super) const READ_ONLY_COMPATIBLE: u32 = FREE_INODE_TREE | REFERENCES | TREE_BLOCKS;
/// File types in directories, sparse inode chunks, timestamps beyond 2038.
pub(super) const INCOMPATIBLE: u32 = FILE_TYPES | SPARSE_INODES | BIG_TIME;

/// Bits of [`Superblock::read_only_compatible`].
pub(super) const FREE_INODE_TREE: u32 = 0x1;
pub(super) const REVERSE_MAP: u32 = 0x2;
pub(super) const REFERENCES: u32 = 0x4;
pub(super) const TREE_BLOCKS: u32 = 0x8;
/// Their names.
pub(super) const READ_ONLY_COMPATIBLE_NAMES: [&str; 4] =
    ["finobt", "rmapbt", "reflink", "inobtcount"];

/// Bits of [`Superblock::incompatible`].
pub(super) const FILE_TYPES: u32 = 0x1;
pub(super) const SPARSE_INODES: u32 = 0x2;
pub(super) const METADATA_UUID: u32 = 0x4;
pub(super) const BIG_TIME: u32 = 0x8;
pub(super) const MANY_EXTENTS: u32 = 0x20;
/// Their names, with whether they are read.
pub(super) const INCOMPATIBLE_NAMES: [(&str, bool); 10] = [
    ("ftype", true),
    ("sparse-inodes", true),
    ("meta-uuid", true),
    ("bigtime", true),
    ("needs-repair", false),
    ("nrext64", true),
    ("exchange-range", true),
    ("parent-pointers", true),
    ("metadata-directory", false),
    ("zoned", false),
];

/// Free space of a group (AGF), in the group's second sector.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FreeSpaceHeader {
    pub(super) magic: [u8; 4],        // 0x00  "XAGF"
    pub(super) version: U32,          // 0x04
    pub(super) group: U32,            // 0x08
    pub(super) blocks: U32,           // 0x0c
    pub(super) roots: [U32; 3],       // 0x10  by place, by size, reverse map
    pub(super) levels: [U32; 3],      // 0x1c
    pub(super) list_first: U32,       // 0x28  slots of the free list
    pub(super) list_last: U32,        // 0x2c
    pub(super) list_count: U32,       // 0x30
    pub(super) free_blocks: U32,      // 0x34
    pub(super) longest: U32,          // 0x38
    pub(super) tree_blocks: U32,      // 0x3c  beside the roots
    pub(super) uuid: [u8; 16],        // 0x40
    pub(super) reverse_blocks: U32,   // 0x50
    pub(super) reference_blocks: U32, // 0x54
    pub(super) reference_root: U32,   // 0x58
    pub(super) reference_levels: U32, // 0x5c
    pub(super) spare: [U64; 14],      // 0x60
    pub(super) lsn: U64,              // 0xd0
    pub(super) crc: LittleU32,        // 0xd8
    pub(super) spare2: U32,           // 0xdc
}
const _: () = assert!(size_of::<FreeSpaceHeader>() == 0xe0);
pub(super) const FREE_SPACE_CRC: usize = 0xd8;

/// Inodes of a group (AGI), in the group's third sector.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeHeader {
    pub(super) magic: [u8; 4],        // 0x000  "XAGI"
    pub(super) version: U32,          // 0x004
    pub(super) group: U32,            // 0x008
    pub(super) blocks: U32,           // 0x00c
    pub(super) inodes: U32,           // 0x010
    pub(super) root: U32,             // 0x014
    pub(super) levels: U32,           // 0x018
    pub(super) free: U32,             // 0x01c
    pub(super) newest: U32,           // 0x020  first inode of the chunk allocated last
    pub(super) directory: U32,        // 0x024  unused
    pub(super) unlinked: [U32; 64],   // 0x028
    pub(super) uuid: [u8; 16],        // 0x128
    pub(super) crc: LittleU32,        // 0x138
    pub(super) spare: U32,            // 0x13c
    pub(super) lsn: U64,              // 0x140
    pub(super) free_root: U32,        // 0x148  tree of chunks with free slots
    pub(super) free_levels: U32,      // 0x14c
    pub(super) tree_blocks: U32,      // 0x150  root included
    pub(super) free_tree_blocks: U32, // 0x154  root included
}
const _: () = assert!(size_of::<InodeHeader>() == 0x158);
pub(super) const INODE_HEADER_CRC: usize = 0x138;

/// The free list (AGFL), in the group's fourth sector; slots of four bytes fill the rest of it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FreeListHeader {
    pub(super) magic: [u8; 4], // 0x00  "XAFL"
    pub(super) group: U32,     // 0x04
    pub(super) uuid: [u8; 16], // 0x08
    pub(super) lsn: U64,       // 0x18
    pub(super) crc: LittleU32, // 0x20
}
const _: () = assert!(size_of::<FreeListHeader>() == 0x24);
pub(super) const FREE_LIST_CRC: usize = 0x20;

/// Header of a btree block within a group.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GroupTreeHeader {
    pub(super) magic: [u8; 4], // 0x00
    pub(super) level: U16,     // 0x04  0 = leaf
    pub(super) records: U16,   // 0x06
    pub(super) left: U32,      // 0x08
    pub(super) right: U32,     // 0x0c
    pub(super) daddr: U64,     // 0x10
    pub(super) lsn: U64,       // 0x18
    pub(super) uuid: [u8; 16], // 0x20
    pub(super) group: U32,     // 0x30
    pub(super) crc: LittleU32, // 0x34
}
const _: () = assert!(size_of::<GroupTreeHeader>() == 0x38);
pub(super) const GROUP_TREE_CRC: usize = 0x34;

pub(super) const MAGIC_BY_PLACE: [u8; 4] = *b"AB3B";
pub(super) const MAGIC_BY_SIZE: [u8; 4] = *b"AB3C";
pub(super) const MAGIC_INODES: [u8; 4] = *b"IAB3";
pub(super) const MAGIC_FREE_INODES: [u8; 4] = *b"FIB3";
pub(super) const MAGIC_REFERENCES: [u8; 4] = *b"R3FC";

/// Free blocks in a row, in both trees of free space.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct FreeRecord {
    pub(super) start: U32,
    pub(super) blocks: U32,
}
const _: () = assert!(size_of::<FreeRecord>() == 8);

/// A chunk of 64 inodes, in both trees of inodes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct ChunkRecord {
    pub(super) first: U32,     // 0x0  inode number within the group
    pub(super) holes: U16,     // 0x4  none
    pub(super) count: u8,      // 0x6
    pub(super) free_count: u8, // 0x7
    pub(super) free: U64,      // 0x8  bit n: slot n is free
}
const _: () = assert!(size_of::<ChunkRecord>() == 16);

/// Blocks with several owners, in the tree of reference counts.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SharedRecord {
    pub(super) start: U32,  // 0    top bit: reserved for a copy
    pub(super) blocks: U32, // 4
    pub(super) owners: U32, // 8
}
const _: () = assert!(size_of::<SharedRecord>() == 12);

/// Inode, version 3; the literal area with both forks fills the rest of its 512 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeCore {
    pub(super) magic: [u8; 2],         // 0x00  "IN"
    pub(super) mode: U16,              // 0x02
    pub(super) version: u8,            // 0x04
    pub(super) data_format: u8,        // 0x05
    pub(super) old_links: U16,         // 0x06
    pub(super) uid: U32,               // 0x08
    pub(super) gid: U32,               // 0x0c
    pub(super) links: U32,             // 0x10
    pub(super) project: [U16; 2],      // 0x14
    pub(super) many_extents: U64,      // 0x18  with nrext64, else zero
    pub(super) accessed: U64,          // 0x20
    pub(super) modified: U64,          // 0x28
    pub(super) changed: U64,           // 0x30
    pub(super) bytes: U64,             // 0x38
    pub(super) blocks: U64,            // 0x40  of both forks, their trees included
    pub(super) extent_hint: U32,       // 0x48
    pub(super) extents: U32,           // 0x4c  of the data fork; with nrext64, of the attributes
    pub(super) attribute_extents: U16, // 0x50
    pub(super) fork_offset: u8,        // 0x52  of the attribute fork in the literal area, / 8
    pub(super) attribute_format: u8,   // 0x53
    pub(super) dm_mask: U32,           // 0x54
    pub(super) dm_state: U16,          // 0x58
    pub(super) flags: U16,             // 0x5a
    pub(super) generation: U32,        // 0x5c
    pub(super) next_unlinked: U32,     // 0x60
    pub(super) crc: LittleU32,         // 0x64
    pub(super) change_count: U64,      // 0x68
    pub(super) lsn: U64,               // 0x70
    pub(super) flags2: U64,            // 0x78
    pub(super) copy_hint: U32,         // 0x80
    pub(super) spare2: [u8; 12],       // 0x84
    pub(super) created: U64,           // 0x90
    pub(super) number: U64,            // 0x98
    pub(super) uuid: [u8; 16],         // 0xa0
}
const _: () = assert!(size_of::<InodeCore>() == 0xb0);
pub(super) const INODE_CRC: usize = 0x64;

/// File types in `mode`.
pub(super) const TYPE_MASK: u16 = 0o170_000;
pub(super) const FIFO: u16 = 0o010_000;
pub(super) const CHAR_DEVICE: u16 = 0o020_000;
pub(super) const DIRECTORY: u16 = 0o040_000;
pub(super) const BLOCK_DEVICE: u16 = 0o060_000;
pub(super) const REGULAR: u16 = 0o100_000;
pub(super) const SYMLINK: u16 = 0o120_000;
pub(super) const SOCKET: u16 = 0o140_000;

/// The data fork is a device number.
pub(super) const FORMAT_DEVICE: u8 = 0;
/// The fork holds the bytes themselves.
pub(super) const FORMAT_LOCAL: u8 = 1;
/// The fork holds extents.
pub(super) const FORMAT_EXTENTS: u8 = 2;
/// The fork holds the root of a tree of extents.
pub(super) const FORMAT_TREE: u8 = 3;
/// `flags`: its data lies in the realtime section.
pub(super) const FLAG_REALTIME: u16 = 0x1;
/// `flags`: no one may change it.
pub(super) const FLAG_IMMUTABLE: u16 = 0x8;
/// `flags`: the realtime bitmap is of the newer kind.
pub(super) const FLAG_NEW_BITMAP: u16 = 0x4;
/// `flags2`: blocks may be shared with other files.
pub(super) const FLAG2_SHARED: u64 = 0x2;
/// `flags2`: extents are counted in `many_extents`.
pub(super) const FLAG2_MANY_EXTENTS: u64 = 0x10;
/// `flags2`: times count nanoseconds.
pub(super) const FLAG2_BIG_TIME: u64 = 0x8;

/// Header of a block in a file's tree of extents.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct MapTreeHeader {
    pub(super) magic: [u8; 4], // 0x00  "BMA3"
    pub(super) level: U16,     // 0x04
    pub(super) records: U16,   // 0x06
    pub(super) left: U64,      // 0x08
    pub(super) right: U64,     // 0x10
    pub(super) daddr: U64,     // 0x18
    pub(super) lsn: U64,       // 0x20
    pub(super) uuid: [u8; 16], // 0x28
    pub(super) owner: U64,     // 0x38
    pub(super) crc: LittleU32, // 0x40
    pub(super) spare: U32,     // 0x44
}
const _: () = assert!(size_of::<MapTreeHeader>() == 0x48);
pub(super) const MAP_TREE_CRC: usize = 0x40;

/// One extent: file block at bit 73, block number at bit 21, count below.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ExtentRecord {
    pub(super) high: U64,
    pub(super) low: U64,
}
const _: () = assert!(size_of::<ExtentRecord>() == 16);

/// Header of a block of a symlink target, or of an attribute's value outside its leaf.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RemoteHeader {
    pub(super) magic: [u8; 4], // 0x00  "XSLM" or "XARM"
    pub(super) offset: U32,    // 0x04  within the whole
    pub(super) bytes: U32,     // 0x08
    pub(super) crc: LittleU32, // 0x0c
    pub(super) uuid: [u8; 16], // 0x10
    pub(super) owner: U64,     // 0x20
    pub(super) daddr: U64,     // 0x28
    pub(super) lsn: U64,       // 0x30
}
const _: () = assert!(size_of::<RemoteHeader>() == 0x38);
pub(super) const REMOTE_CRC: usize = 0x0c;

/// Header of a block of names, or of the index of free space among them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct NamesHeader {
    pub(super) magic: [u8; 4], // 0x00  "XDB3", "XDD3" or "XDF3"
    pub(super) crc: LittleU32, // 0x04
    pub(super) daddr: U64,     // 0x08
    pub(super) lsn: U64,       // 0x10
    pub(super) uuid: [u8; 16], // 0x18
    pub(super) owner: U64,     // 0x28
}
const _: () = assert!(size_of::<NamesHeader>() == 0x30);
pub(super) const NAMES_CRC: usize = 0x04;

pub(super) const MAGIC_NAMES_ALONE: [u8; 4] = *b"XDB3";
pub(super) const MAGIC_NAMES: [u8; 4] = *b"XDD3";
pub(super) const MAGIC_FREE_INDEX: [u8; 4] = *b"XDF3";

/// A free region that a block lists.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct FreeRegion {
    pub(super) offset: U16,
    pub(super) bytes: U16,
}

/// What follows [`NamesHeader`] in blocks of names.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BestFree {
    pub(super) regions: [FreeRegion; 3], // 0x30  largest first
    pub(super) spare: U32,               // 0x3c
}
const _: () = assert!(size_of::<BestFree>() == 0x10);

/// What follows [`NamesHeader`] in blocks of the free index; two bytes per block of names follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FreeIndex {
    pub(super) first: U32, // 0x30  block of names that the first value is of
    pub(super) valid: U32, // 0x34
    pub(super) used: U32,  // 0x38
    pub(super) spare: U32, // 0x3c
}
const _: () = assert!(size_of::<FreeIndex>() == 0x10);

/// Header of every block sorted by hash: leaf or node, of a directory or of attributes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashedHeader {
    pub(super) next: U32,      // 0x00  block of the fork; 0 = none
    pub(super) previous: U32,  // 0x04
    pub(super) magic: U16,     // 0x08
    pub(super) spare: U16,     // 0x0a
    pub(super) crc: LittleU32, // 0x0c
    pub(super) daddr: U64,     // 0x10
    pub(super) lsn: U64,       // 0x18
    pub(super) uuid: [u8; 16], // 0x20
    pub(super) owner: U64,     // 0x30
}
const _: () = assert!(size_of::<HashedHeader>() == 0x38);
pub(super) const HASHED_CRC: usize = 0x0c;
/// [`HashedHeader::magic`] of a node, of a directory's only leaf, of one below nodes, and of a leaf of
/// attributes.
pub(super) const MAGIC_NODE: u16 = 0x3ebe;
pub(super) const MAGIC_LEAF: u16 = 0x3df1;
pub(super) const MAGIC_LEAF_BELOW_NODE: u16 = 0x3dff;
pub(super) const MAGIC_ATTRIBUTE_LEAF: u16 = 0x3bee;

/// What follows [`HashedHeader`] in a node, and in a directory's leaves.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashCounts {
    pub(super) count: U16,          // 0x38
    pub(super) level_or_stale: U16, // 0x3a  of a node, 1 above leaves; of a leaf, names that are gone
    pub(super) spare: U32,          // 0x3c
}
const _: () = assert!(size_of::<HashCounts>() == 8);

/// Entry of a node: the last hash below a child, and the child's block in the fork. In a directory's
/// leaf: a name's hash, and where its entry is in units of eight bytes; zero if the name is gone.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct HashEntry {
    pub(super) hash: U32,
    pub(super) address: U32,
}
const _: () = assert!(size_of::<HashEntry>() == 8);

/// What follows [`HashedHeader`] in a leaf of attributes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttributeLeaf {
    pub(super) count: U16,                // 0x38
    pub(super) used_bytes: U16,           // 0x3a  of names and values
    pub(super) first_used: U16,           // 0x3c
    pub(super) holes: u8,                 // 0x3e  free space that the map below leaves out
    pub(super) spare: u8,                 // 0x3f
    pub(super) free_map: [FreeRegion; 3], // 0x40
    pub(super) spare2: U32,               // 0x4c
}
const _: () = assert!(size_of::<AttributeLeaf>() == 0x18);

/// Entry of a leaf of attributes; names and values are packed from its end.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttributeEntry {
    pub(super) hash: U32,   // 0x0
    pub(super) offset: U16, // 0x4
    pub(super) flags: u8,   // 0x6
    pub(super) spare: u8,   // 0x7
}
const _: () = assert!(size_of::<AttributeEntry>() == 8);

/// Flags of attributes: the value lies beside the name; namespaces; a name of the inode itself.
pub(super) const ATTRIBUTE_LOCAL: u8 = 1;
pub(super) const ATTRIBUTE_TRUSTED: u8 = 2;
pub(super) const ATTRIBUTE_SECURITY: u8 = 4;
pub(super) const ATTRIBUTE_PARENT: u8 = 8;

/// Name and value that lie in the leaf; both follow.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LocalAttribute {
    pub(super) value_len: U16, // 0
    pub(super) name_len: u8,   // 2
}
const _: () = assert!(size_of::<LocalAttribute>() == 3);

/// Name whose value lies elsewhere; the name follows.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RemoteAttribute {
    pub(super) block: U32,     // 0
    pub(super) value_len: U32, // 4
    pub(super) name_len: u8,   // 8
}
const _: () = assert!(size_of::<RemoteAttribute>() == 9);

/// Attributes in the inode; entries follow.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ShortAttributes {
    pub(super) total: U16, // 0
    pub(super) count: u8,  // 2
    pub(super) pad: u8,    // 3
}
const _: () = assert!(size_of::<ShortAttributes>() == 4);

/// One attribute in the inode; name and value follow.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ShortAttribute {
    pub(super) name_len: u8,  // 0
    pub(super) value_len: u8, // 1
    pub(super) flags: u8,     // 2
}
const _: () = assert!(size_of::<ShortAttribute>() == 3);

/// Header of a log record; the rest of its 512 bytes is as below.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LogRecord {
    pub(super) magic: U32,             // 0x000
    pub(super) cycle: U32,             // 0x004
    pub(super) version: U32,           // 0x008
    pub(super) bytes: U32,             // 0x00c  behind this header
    pub(super) lsn: [U32; 2],          // 0x010  cycle, block
    pub(super) tail: [U32; 2],         // 0x018
    pub(super) crc: LittleU32,         // 0x020  0: not summed up
    pub(super) previous: U32,          // 0x024
    pub(super) operations: U32,        // 0x028
    pub(super) first_words: [U32; 64], // 0x02c  of the blocks behind, which hold the cycle instead
    pub(super) format: U32,            // 0x12c
    pub(super) uuid: [u8; 16],         // 0x130
    pub(super) buffer_bytes: U32,      // 0x140
    pub(super) rest: [u8; 188],        // 0x144
}
const _: () = assert!(size_of::<LogRecord>() == 512);

/// Seconds as XFS stores times since they may lie beyond 2038: nanoseconds since 1901.
pub(super) fn timestamp(seconds: i64) -> Option<U64> {
    let since = u64::try_from(seconds.checked_add(1 << 31)?).ok()?;
    Some(U64::new(since.checked_mul(1_000_000_000)?))
}
