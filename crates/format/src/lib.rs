//! Bytes on disk, one folder per format. Nothing here knows of OpenShift, ostree or OCI.

pub mod cache;
pub mod cpio;
pub mod ext4;
pub mod fat;
mod faults;
mod file_type;
pub mod forward;
pub mod gpt;
pub mod grub;
pub mod iso9660;
mod pieces;
pub mod progress;
pub mod qcow2;
pub mod sparse;
pub mod squashfs;
pub mod xfs;
pub mod xz;
