//! qcow2 disk images, version 3 (what QEMU calls compat 1.1).
//!
//! ```text
//! header | clusters of the disk, in its order | second-level tables | first-level table
//!        | refcount blocks | refcount table
//! ```
//!
//! Written in one pass over the disk: which clusters hold anything but zeros is known only at the
//! end, so tables come last and the header after them. Clusters of zeros take no space.
//!
//! Left out on purpose: snapshots, backing files, encryption, external data files, subclusters;
//! the reader refuses images that have them.
//!
//! Layout: QEMU `docs/interop/qcow2.txt`. Checked by: `qemu-img check`, `qemu-img compare`, QEMU.

mod format;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::Reader;
pub use writer::{Compression, SIZE_MAX_BYTES, write};
