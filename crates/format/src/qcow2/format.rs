//! The header, and how table entries are packed. Everything is big-endian.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `QFI` and 0xfb.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// The version with feature bits.
pub(super) const VERSION: u32 = 3;

/// Clusters that we write have 64 KiB, as QEMU's have.
pub(super) const CLUSTER_BITS: u32 = 16;

/// Refcounts have `1 << REFCOUNT_ORDER` bits.
pub(super) const REFCOUNT_ORDER: u32 = 4;

/// Incompatible feature: the field `compression_type` is not zlib.
pub(super) const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;

/// Entry of a table: nobody else uses what it points to, so it may be written in place.
pub(super) const COPIED: u64 = 1 << 63;

/// Entry of a second-level table: the cluster is compressed.
pub(super) const COMPRESSED: u64 = 1 << 62;

/// Entry of a second-level table: reads as zeros, wherever it points.
pub(super) const ZERO: u64 = 1;

/// The bits of an entry that are a position in the file, in bytes.
pub(super) const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

/// Compressed clusters are counted in pieces of this many bytes.
pub(super) const SECTOR: u64 = 512;

/// Head of the file.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 4],
    pub(super) version: U32,
    pub(super) backing_file_offset: U64,
    pub(super) backing_file_size: U32,
    pub(super) cluster_bits: U32,
    /// Length of the disk in bytes.
    pub(super) size: U64,
    pub(super) crypt_method: U32,
    /// Entries of the first-level table.
    pub(super) l1_size: U32,
    pub(super) l1_table_offset: U64,
    pub(super) refcount_table_offset: U64,
    pub(super) refcount_table_clusters: U32,
    pub(super) nb_snapshots: U32,
    pub(super) snapshots_offset: U64,
    pub(super) incompatible_features: U64,
    pub(super) compatible_features: U64,
    pub(super) autoclear_features: U64,
    pub(super) refcount_order: U32,
    pub(super) header_length: U32,
    /// 0 zlib (raw deflate), 1 zstd.
    pub(super) compression_type: u8,
    pub(super) padding: [u8; 7],
}

const _: () = assert!(size_of::<Header>() == 112);

/// Where, in an entry for a compressed cluster, the count of further sectors begins.
pub(super) fn compressed_shift(cluster_bits: u32) -> u32 {
    62 - (cluster_bits - 8)
}
