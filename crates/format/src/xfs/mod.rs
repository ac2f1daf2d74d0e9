//! XFS, the root file system of an installed CoreOS, as `mkfs.xfs` of RHEL 9 makes it: version 5 with
//! checksums, written in one pass from a finished [`bake_tree::Tree`].
//!
//! ```text
//! group:  superblock, 3 header sectors | btree roots | log, in the middle group | free list |
//!         inodes | their blocks: contents, directories, attributes, trees of extents | free space
//! ```
//!
//! [`Layout::plan`] decides where everything lies; [`Layout::write`] puts it there, the first
//! superblock last. The kernel finds it unmounted, with room in each group, and may change and grow
//! it at once. All times of an inode are its mtime, and generations are 0: same tree, same bytes.
//!
//! [`reader`] looks into such a file system and checks it; it shares nothing with the writer.
//!
//! Left out on purpose: looking for zeros in contents (holes are what the caller knows of, see
//! [`Layout::plan_with_holes`]), reverse mapping, large extent counters, quotas, project ids and a
//! realtime section, none of which CoreOS has at first boot.
//!
//! Layout: "XFS Algorithms & Data Structures", 3rd edition; Linux `fs/xfs/libxfs/xfs_format.h` and
//! `xfs_da_format.h`. Checked by: `xfs_repair -n`, `mkfs.xfs` byte by byte, kernel mounts.

mod acl;
mod attributes;
mod census;
mod crc;
mod directory;
mod extents;
mod format;
mod geometry;
mod group;
mod hashed;
mod inode;
mod log;
mod plan;
mod shape;
mod space;
mod superblock;
mod writer;

pub mod reader;

#[cfg(test)]
mod tests;

pub use plan::{Extent, Layout, Options};
pub use shape::Holes;
