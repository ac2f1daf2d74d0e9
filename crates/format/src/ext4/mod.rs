//! ext4: the boot partition's file system, as `mkfs.ext4 -O metadata_csum_seed` makes it.
//!
//! [`Layout::plan`] gives every inode and block its place, [`Layout::extents`] says where files are,
//! and [`Layout::write`] writes it all. Features and sizes are those of e2fsprogs 1.46 without
//! `orphan_file`, so that el9's kernel and every GRUB read it. First boot changes the UUID, which
//! the stored checksum seed permits.
//!
//! ```text
//! group 0: super block | descriptors | reserved ones | bitmaps and inode tables of 16 groups | data
//! groups 1 and powers of 3, 5, 7: the first three again | data;   the journal: about the middle
//! ```
//!
//! Left out: directory indexes, attributes in inodes of their own, attribute blocks shared between
//! inodes. Contents are read through [`bake_tree::Content`], and blocks of zeros stay holes of the
//! image, not of the file. Source of truth: the kernel's `Documentation/filesystems/ext4`.
//!
//! Why own, judged by their sources: arcbox-ext4 0.1.2 has attributes and hard links but neither
//! checksums nor a journal, with blocks of 4096 only. ext4-mkfs 0.1.0 binds the C library lwext4 and
//! makes empty file systems. Neither gives what first boot's `tune2fs -U` needs.

mod attributes;
mod blocks;
mod checksum;
mod directory;
mod extents;
mod format;
mod geometry;
mod groups;
mod inode;
mod journal;
mod plan;
mod resize;
mod space;
mod tables;
mod values;
mod writer;

pub mod reader;

#[cfg(test)]
mod tests;

pub use plan::{Extent, Layout};

/// What a file system is made with; the rest is as mke2fs has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes there are; what does not fill a block is left over.
    pub size_bytes: u64,
    /// 1024, or 4096 for disks with such sectors.
    pub block_size: u32,
    /// Name of the file system, at most 16 bytes.
    pub label: String,
    /// Identity; metadata checksums start from it for good.
    pub uuid: [u8; 16],
    /// When it was made, in seconds since 1970; also the time of what is not in the tree.
    pub time: u32,
}

impl Options {
    /// The seed for directory hashes: the UUID in other clothes, so that no clock or chance is in it.
    fn hash_seed(&self) -> [u8; 16] {
        let mut seed = self.uuid;
        for (nth, word) in (1u32..).zip(seed.chunks_exact_mut(4)) {
            let sum = checksum::inode_seed(checksum::of(&self.uuid), nth, 0);
            word.copy_from_slice(&sum.to_le_bytes());
        }
        seed
    }
}
