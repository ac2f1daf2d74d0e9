//! GUID partition tables.
//!
//! ```text
//! protective MBR | header | 128 entries | ... partitions ... | 128 entries | header
//! ```
//!
//! Headers, entries and the MBR are written by the crate `gpt`, piece by piece: its `GptDisk` moves
//! partitions together so that numbers with gaps are lost, and makes up GUIDs of its own. Bytes 0 to
//! 445 of the MBR, boot code and disk signature, are left as they are.
//!
//! Reading is ours too, because the crate panics on foreign tables (entry sizes other than 128 bytes)
//! and trusts their counts.
//!
//! Layout: UEFI 2.10, chapter 5. Checked by: `sgdisk -v`, OVMF, and `xorriso` for ISOs.

mod hybrid;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use hybrid::{derive_guid, make_hybrid};
pub use writer::{MAX_PARTITIONS, Partition, SectorSize, Table, TableError};

/// Type GUID of EFI system partitions.
pub const TYPE_ESP: uuid::Uuid = uuid::uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
