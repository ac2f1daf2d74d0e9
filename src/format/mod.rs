//! Bytes on disk, one folder per format. Nothing here knows of OpenShift, ostree or OCI.

pub mod cpio;
pub mod fat;
pub mod gpt;
pub mod iso9660;
pub mod squashfs;
