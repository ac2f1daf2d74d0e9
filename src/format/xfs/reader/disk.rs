//! Records of XFS version 5 as this reader sees them, big-endian unless a comment says otherwise.
//!
//! The writer has structs of its own on purpose: a field misplaced in one must not be misplaced in
//! both. Source of truth: `fs/xfs/libxfs/xfs_format.h` and `xfs_da_format.h` of Linux 6.18.

use std::mem::offset_of;

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::little_endian::U32 as LittleU32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// "No such block" in 32-bit pointers.
pub(super) const NULL32: u32 = u32::MAX;

/// Bits of the superblock.
pub(super) mod feature {
    pub(crate) const VERSION_MASK: u16 = 0x000f;
    pub(crate) const VERSION_ATTR: u16 = 0x0010;
    pub(crate) const VERSION_SECTOR: u16 = 0x0800;
    pub(crate) const RO_FINOBT: u32 = 1;
    pub(crate) const RO_RMAPBT: u32 = 2;
    pub(crate) const RO_REFLINK: u32 = 4;
    pub(crate) const RO_INOBTCOUNT: u32 = 8;
    pub(crate) const SPARSE_INODES: u32 = 2;
    pub(crate) const META_UUID: u32 = 4;
    pub(crate) const BIGTIME: u32 = 8;
    pub(crate) const NREXT64: u32 = 0x20;

    /// Names of incompatible features by bit, with whether they are read.
    pub(crate) const INCOMPAT: [(&str, bool); 10] = [
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
    /// Names of features that change nothing for who only reads, by bit.
    pub(crate) const RO_COMPAT: [&str; 4] = ["finobt", "rmapbt", "reflink", "inobtcount"];
}

/// Superblock, at the start of every allocation group.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) magic: [u8; 4],           // 0    "XFSB"
    pub(super) block_size: U32,          // 4
    pub(super) blocks: U64,              // 8
    pub(super) rt_blocks: U64,           // 16
    pub(super) rt_extents: U64,          // 24
    pub(super) uuid: [u8; 16],           // 32
    pub(super) log_start: U64,           // 48
    pub(super) root: U64,                // 56
    pub(super) rt_bitmap: U64,           // 64
    pub(super) rt_summary: U64,          // 72
    pub(super) rt_extent_size: U32,      // 80
    pub(super) ag_blocks: U32,           // 84
    pub(super) ag_count: U32,            // 88
    pub(super) rt_bitmap_blocks: U32,    // 92
    pub(super) log_blocks: U32,          // 96
    pub(super) version: U16,             // 100
    pub(super) sector_size: U16,         // 102
    pub(super) inode_size: U16,          // 104
    pub(super) inodes_per_block: U16,    // 106
    pub(super) label: [u8; 12],          // 108
    pub(super) block_log: u8,            // 120
    pub(super) sector_log: u8,           // 121
    pub(super) inode_log: u8,            // 122
    pub(super) inodes_per_block_log: u8, // 123
    pub(super) ag_block_log: u8,         // 124
    pub(super) rt_extents_log: u8,       // 125
    pub(super) in_progress: u8,          // 126
    pub(super) inode_percent: u8,        // 127
    pub(super) inodes: U64,              // 128
    pub(super) free_inodes: U64,         // 136
    pub(super) free_blocks: U64,         // 144
    pub(super) free_rt_extents: U64,     // 152
    pub(super) user_quota: U64,          // 160
    pub(super) group_quota: U64,         // 168
    pub(super) quota_flags: U16,         // 176
    pub(super) flags: u8,                // 178
    pub(super) shared_version: u8,       // 179
    pub(super) inode_align: U32,         // 180
    pub(super) stripe_unit: U32,         // 184
    pub(super) stripe_width: U32,        // 188
    pub(super) dir_block_log: u8,        // 192
    pub(super) log_sector_log: u8,       // 193
    pub(super) log_sector_size: U16,     // 194
    pub(super) log_stripe_unit: U32,     // 196
    pub(super) features2: U32,           // 200
    pub(super) features2_again: U32,     // 204
    pub(super) compat: U32,              // 208
    pub(super) ro_compat: U32,           // 212
    pub(super) incompat: U32,            // 216
    pub(super) log_incompat: U32,        // 220
    pub(super) crc: LittleU32,           // 224
    pub(super) sparse_align: U32,        // 228
    pub(super) project_quota: U64,       // 232
    pub(super) lsn: U64,                 // 240
    pub(super) meta_uuid: [u8; 16],      // 248
}
const _: () = assert!(size_of::<Superblock>() == 264);

/// Free space of an allocation group, its second sector.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FreeHeader {
    pub(super) magic: [u8; 4],       // 0    "XAGF"
    pub(super) version: U32,         // 4
    pub(super) number: U32,          // 8
    pub(super) length: U32,          // 12
    pub(super) roots: [U32; 3],      // 16   by start, by length, reverse map
    pub(super) levels: [U32; 3],     // 28
    pub(super) list_first: U32,      // 40
    pub(super) list_last: U32,       // 44
    pub(super) list_count: U32,      // 48
    pub(super) free_blocks: U32,     // 52
    pub(super) longest: U32,         // 56
    pub(super) btree_blocks: U32,    // 60   other than the roots
    pub(super) uuid: [u8; 16],       // 64
    pub(super) rmap_blocks: U32,     // 80
    pub(super) refcount_blocks: U32, // 84
    pub(super) refcount_root: U32,   // 88
    pub(super) refcount_level: U32,  // 92
    pub(super) spare: [u8; 112],     // 96
    pub(super) lsn: U64,             // 208
    pub(super) crc: LittleU32,       // 216
}
const _: () = assert!(size_of::<FreeHeader>() == 220);

/// Inodes of an allocation group, its third sector.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeHeader {
    pub(super) magic: [u8; 4],        // 0    "XAGI"
    pub(super) version: U32,          // 4
    pub(super) number: U32,           // 8
    pub(super) length: U32,           // 12
    pub(super) count: U32,            // 16
    pub(super) root: U32,             // 20
    pub(super) level: U32,            // 24
    pub(super) free: U32,             // 28
    pub(super) newest: U32,           // 32
    pub(super) directory: U32,        // 36
    pub(super) unlinked: [U32; 64],   // 40
    pub(super) uuid: [u8; 16],        // 296
    pub(super) crc: LittleU32,        // 312
    pub(super) pad: U32,              // 316
    pub(super) lsn: U64,              // 320
    pub(super) free_root: U32,        // 328
    pub(super) free_level: U32,       // 332
    pub(super) inode_blocks: U32,     // 336
    pub(super) free_tree_blocks: U32, // 340
}
const _: () = assert!(size_of::<InodeHeader>() == 344);

/// Blocks kept for the free-space trees, the fourth sector; slots of four bytes follow.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ListHeader {
    pub(super) magic: [u8; 4], // 0    "XAFL"
    pub(super) number: U32,    // 4
    pub(super) uuid: [u8; 16], // 8
    pub(super) lsn: U64,       // 24
    pub(super) crc: LittleU32, // 32
}
const _: () = assert!(size_of::<ListHeader>() == 36);

/// Inode version 3; the forks follow.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeCore {
    pub(super) magic: [u8; 2],       // 0    "IN"
    pub(super) mode: U16,            // 2
    pub(super) version: u8,          // 4
    pub(super) format: u8,           // 5
    pub(super) old_links: U16,       // 6
    pub(super) uid: U32,             // 8
    pub(super) gid: U32,             // 12
    pub(super) links: U32,           // 16
    pub(super) project_low: U16,     // 20
    pub(super) project_high: U16,    // 22
    pub(super) many_extents: U64,    // 24   with nrext64, else zero
    pub(super) atime: U64,           // 32
    pub(super) mtime: U64,           // 40
    pub(super) ctime: U64,           // 48
    pub(super) size: U64,            // 56
    pub(super) blocks: U64,          // 64
    pub(super) extent_size: U32,     // 72
    pub(super) extents: U32,         // 76   of the attributes with nrext64
    pub(super) attr_extents: U16,    // 80
    pub(super) fork_offset: u8,      // 82   in eight bytes
    pub(super) attr_format: u8,      // 83
    pub(super) dmapi: [u8; 6],       // 84
    pub(super) flags: U16,           // 90
    pub(super) generation: U32,      // 92
    pub(super) next_unlinked: U32,   // 96
    pub(super) crc: LittleU32,       // 100
    pub(super) change_count: U64,    // 104
    pub(super) lsn: U64,             // 112
    pub(super) flags2: U64,          // 120
    pub(super) cow_extent_size: U32, // 128
    pub(super) pad: [u8; 12],        // 132
    pub(super) crtime: U64,          // 144
    pub(super) number: U64,          // 152
    pub(super) uuid: [u8; 16],       // 160
}
const _: () = assert!(size_of::<InodeCore>() == 176);

/// Inode flags.
pub(super) mod flag {
    pub(crate) const REALTIME: u16 = 1;
    pub(crate) const IMMUTABLE: u16 = 8;
    pub(crate) const REFLINK: u64 = 2;
    pub(crate) const BIGTIME: u64 = 8;
    pub(crate) const NREXT64: u64 = 0x10;
}

/// What a fork holds.
pub(super) mod fork {
    pub(crate) const DEVICE: u8 = 0;
    pub(crate) const LOCAL: u8 = 1;
    pub(crate) const EXTENTS: u8 = 2;
    pub(crate) const BTREE: u8 = 3;
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

/// What a checksummed block says of itself.
pub(super) struct Stamp {
    pub(super) crc: u32,
    /// Own position in units of 512 bytes.
    pub(super) position: u64,
    pub(super) lsn: u64,
    pub(super) uuid: [u8; 16],
    pub(super) owner: u64,
}

/// Header of a checksummed block.
pub(super) trait Header: FromBytes + Immutable + KnownLayout + Unaligned {
    const CRC: usize;
    fn stamp(&self) -> Stamp;
}

macro_rules! stamped {
    ($header:ty) => {
        impl Header for $header {
            const CRC: usize = offset_of!($header, crc);
            fn stamp(&self) -> Stamp {
                Stamp {
                    crc: self.crc.get(),
                    position: self.position.get(),
                    lsn: self.lsn.get(),
                    uuid: self.uuid,
                    owner: self.owner.get().into(),
                }
            }
        }
    };
}

/// Block of a tree within one allocation group.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ShortHeader {
    pub(super) magic: [u8; 4], // 0
    pub(super) level: U16,     // 4
    pub(super) count: U16,     // 6
    pub(super) left: U32,      // 8
    pub(super) right: U32,     // 12
    pub(super) position: U64,  // 16
    pub(super) lsn: U64,       // 24
    pub(super) uuid: [u8; 16], // 32
    pub(super) owner: U32,     // 48   group number
    pub(super) crc: LittleU32, // 52
}
const _: () = assert!(size_of::<ShortHeader>() == 56);
stamped!(ShortHeader);

/// Block of an extent tree.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LongHeader {
    pub(super) magic: [u8; 4], // 0    "BMA3"
    pub(super) level: U16,     // 4
    pub(super) count: U16,     // 6
    pub(super) left: U64,      // 8
    pub(super) right: U64,     // 16
    pub(super) position: U64,  // 24
    pub(super) lsn: U64,       // 32
    pub(super) uuid: [u8; 16], // 40
    pub(super) owner: U64,     // 56   inode
    pub(super) crc: LittleU32, // 64
    pub(super) pad: U32,       // 68
}
const _: () = assert!(size_of::<LongHeader>() == 72);
stamped!(LongHeader);

/// Block of names, or of the index of free space among them.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct NamesHeader {
    pub(super) magic: [u8; 4], // 0    "XDB3", "XDD3" or "XDF3"
    pub(super) crc: LittleU32, // 4
    pub(super) position: U64,  // 8
    pub(super) lsn: U64,       // 16
    pub(super) uuid: [u8; 16], // 24
    pub(super) owner: U64,     // 40
}
const _: () = assert!(size_of::<NamesHeader>() == 48);
stamped!(NamesHeader);

/// Block of hashes: leaf or node of a directory, or of attributes.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashHeader {
    pub(super) forward: U32,   // 0
    pub(super) back: U32,      // 4
    pub(super) magic: U16,     // 8
    pub(super) pad: U16,       // 10
    pub(super) crc: LittleU32, // 12
    pub(super) position: U64,  // 16
    pub(super) lsn: U64,       // 24
    pub(super) uuid: [u8; 16], // 32
    pub(super) owner: U64,     // 48
}
const _: () = assert!(size_of::<HashHeader>() == 56);
stamped!(HashHeader);

/// Block of a long symlink target or attribute value.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RemoteHeader {
    pub(super) magic: [u8; 4], // 0    "XSLM" or "XARM"
    pub(super) offset: U32,    // 4    in the whole
    pub(super) bytes: U32,     // 8
    pub(super) crc: LittleU32, // 12
    pub(super) uuid: [u8; 16], // 16
    pub(super) owner: U64,     // 32
    pub(super) position: U64,  // 40
    pub(super) lsn: U64,       // 48
}
const _: () = assert!(size_of::<RemoteHeader>() == 56);
stamped!(RemoteHeader);

/// A free region that a block of names lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FreeRegion {
    pub(super) offset: U16, // 0
    pub(super) len: U16,    // 2
}
const _: () = assert!(size_of::<FreeRegion>() == 4);

/// What follows [`NamesHeader`] in blocks of names.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BestFree {
    pub(super) regions: [FreeRegion; 3], // 48   longest first
    pub(super) pad: U32,                 // 60
}
const _: () = assert!(size_of::<BestFree>() == 16);

/// What follows [`NamesHeader`] in blocks of the free index; two bytes per block of names follow.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FreeIndex {
    pub(super) first: U32, // 48   block of names
    pub(super) valid: U32, // 52
    pub(super) used: U32,  // 56
    pub(super) pad: U32,   // 60
}
const _: () = assert!(size_of::<FreeIndex>() == 16);

/// Hash of a name and where the name is, in units of eight bytes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashEntry {
    pub(super) hash: U32,    // 0
    pub(super) address: U32, // 4    zero if the name is gone
}
const _: () = assert!(size_of::<HashEntry>() == 8);

/// What follows [`HashHeader`] in leaves and nodes.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct HashCounts {
    pub(super) count: U16,          // 56
    pub(super) stale_or_level: U16, // 58
    pub(super) pad: U32,            // 60
}
const _: () = assert!(size_of::<HashCounts>() == 8);

/// What follows [`HashHeader`] in leaves of attributes.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrLeaf {
    pub(super) count: U16,            // 56
    pub(super) used_bytes: U16,       // 58
    pub(super) first_used: U16,       // 60
    pub(super) holes: u8,             // 62
    pub(super) pad: u8,               // 63
    pub(super) free: [FreeRegion; 3], // 64
    pub(super) pad2: U32,             // 76
}
const _: () = assert!(size_of::<AttrLeaf>() == 24);

/// An attribute in a leaf.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrEntry {
    pub(super) hash: U32,   // 0
    pub(super) offset: U16, // 4
    pub(super) flags: u8,   // 6
    pub(super) pad: u8,     // 7
}
const _: () = assert!(size_of::<AttrEntry>() == 8);

/// Flags of attributes.
pub(super) mod attr {
    pub(crate) const LOCAL: u8 = 1;
    pub(crate) const TRUSTED: u8 = 2;
    pub(crate) const SECURITY: u8 = 4;
    pub(crate) const PARENT: u8 = 8;
}

/// Name and value that lie in the leaf; both follow.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrLocal {
    pub(super) value_len: U16, // 0
    pub(super) name_len: u8,   // 2
}
const _: () = assert!(size_of::<AttrLocal>() == 3);

/// Name whose value lies elsewhere; the name follows.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrRemote {
    pub(super) block: U32,     // 0
    pub(super) value_len: U32, // 4
    pub(super) name_len: u8,   // 8
}
const _: () = assert!(size_of::<AttrRemote>() == 9);

/// Attributes in the inode; entries follow.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrShort {
    pub(super) total: U16, // 0
    pub(super) count: u8,  // 2
    pub(super) pad: u8,    // 3
}
const _: () = assert!(size_of::<AttrShort>() == 4);

/// One attribute in the inode; name and value follow.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AttrShortEntry {
    pub(super) name_len: u8,  // 0
    pub(super) value_len: u8, // 1
    pub(super) flags: u8,     // 2
}
const _: () = assert!(size_of::<AttrShortEntry>() == 3);

/// 64 inodes in the trees of inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Chunk {
    pub(super) first: U32,     // 0
    pub(super) hole_mask: U16, // 4
    pub(super) count: u8,      // 6
    pub(super) free: u8,       // 7
    pub(super) free_mask: U64, // 8
}
const _: () = assert!(size_of::<Chunk>() == 16);

/// Free blocks in the trees of free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FreeExtent {
    pub(super) start: U32, // 0
    pub(super) count: U32, // 4
}
const _: () = assert!(size_of::<FreeExtent>() == 8);

/// Shared blocks.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Shared {
    pub(super) start: U32,  // 0    top bit: reserved for a copy
    pub(super) count: U32,  // 4
    pub(super) owners: U32, // 8
}
const _: () = assert!(size_of::<Shared>() == 12);
