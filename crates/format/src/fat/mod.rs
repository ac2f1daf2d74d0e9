//! FAT volumes: the ESP of a disk, and `efiboot.img`, the ESP inside an ISO.
//!
//! ```text
//! boot sector | FAT | FAT | root directory (FAT12/16) | clusters: directories, then files
//! ```
//!
//! The crate `fatfs` chooses the geometry and formats the volume. Directories and files are written
//! by our own code, because `fatfs` 0.3.6 can't do it: with its feature `alloc` it puts long-name
//! slots before `.` and `..`, which `fsck.fat` takes for damage, and without it long names are lost.
//! Everything is known beforehand, so every directory and file is one run of clusters, in path order,
//! and the same files give the same bytes.
//!
//! Left out on purpose: times, because nobody reads them on an ESP and FAT's have no time zone (every
//! entry says 1980-01-01); owners and modes, which FAT doesn't have.
//!
//! Layout: Microsoft, "FAT: General Overview of On-Disk Format", 1.03. Checked by: `fsck.fat -n`,
//! `mtools`, OVMF.

mod format;
mod geometry;
mod names;
mod plan;
mod reader;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::Reader;
pub use writer::{Volume, roomy_bytes};
