//! ISO 9660: the file system of optical media, and of USB sticks that were written like one.
//!
//! ```text
//! system area | descriptors: primary, boot, Joliet, end | path tables L, M and directories, for
//! the primary and for the Joliet tree | boot catalog | images to boot | other files
//! ```
//!
//! Sectors have 2048 bytes. The primary tree has level 1 names, because coreos-installer looks for
//! those, with Rock Ridge for Linux and GRUB; the Joliet tree is for Windows. Every file is one run
//! of sectors that both trees point to, and so can be changed in place, which is how
//! coreos-installer customizes an ISO. The boot catalog can have a name: firmware needs none, but
//! programs that rebuild an ISO from its files do (assisted-image-service `pkg/isoeditor/isoutil.go`
//! @a55e383). The system area is empty until somebody writes boot code or a partition table there, for
//! firmware that takes the medium for a disk.
//!
//! Left out on purpose: owners and modes other than root's and read-only, symlinks, devices, files
//! of 4 GiB and more (they would need several runs), directories deeper than eight levels.
//!
//! Layout: ECMA-119, Joliet Specification 1.0, SUSP 1.12 and RRIP 1.10 (IEEE P1281, P1282), El
//! Torito 1.0. Checked by: xorriso, isoinfo, the kernel, coreos-installer's parser, OVMF, SeaBIOS.

mod boot;
mod catalog;
mod date;
mod error;
mod format;
mod hierarchy;
mod names;
mod paths;
mod reader;
mod rock_ridge;
mod system_area;
mod system_use;
mod writer;

#[cfg(test)]
mod tests;

pub use boot::{BootEntry, Platform};
pub use catalog::BootImage;
pub use error::ReadError;
pub use reader::Reader;
pub use system_area::{BOOT_CODE_BYTES, write_boot_code};
pub use writer::{Layout, MAX_ID, MAX_SET_ID, Volume};
