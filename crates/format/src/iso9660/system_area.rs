//! The system area, where BIOS looks when the medium is a disk to it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::format::{MBR_ACTIVE, MBR_SIGNATURE, Mbr, MbrPartition};

/// Most bytes of boot code: the disk's id and partitions follow.
pub const BOOT_CODE_BYTES: usize = 440;
const _: () = assert!(BOOT_CODE_BYTES == std::mem::offset_of!(Mbr, disk_id));

/// Writes boot code for BIOS to the start of the ISO image `out`, which has its partition table
/// already, if it gets one.
///
/// Many BIOSes boot only disks that have an active partition. A protective one must not be active,
/// by UEFI 2.10 §5.2.3; so where none is, an entry of type 0, which all others pass over, becomes
/// active. Fedora's and Debian's ISOs have it too (xorriso's `--mbr-force-bootable`).
pub fn write_boot_code(out: &File, code: &[u8]) -> Result<()> {
    let mut mbr = Mbr::new_zeroed();
    out.read_exact_at(mbr.as_mut_bytes(), 0)
        .context("reading the ISO's system area")?;
    mbr.code
        .get_mut(..code.len())
        .with_context(|| {
            format!(
                "boot code of {} bytes is longer than {BOOT_CODE_BYTES}",
                code.len()
            )
        })?
        .copy_from_slice(code);
    let is_active = |partition: &MbrPartition| partition.status == MBR_ACTIVE;
    if !mbr.partitions.iter().any(is_active) {
        let empty = MbrPartition::new_zeroed();
        let free = mbr.partitions.iter_mut().find(|entry| **entry == empty);
        *free.context("the ISO's MBR has no free partition entry")? = MbrPartition {
            status: MBR_ACTIVE,
            sectors: 1.into(),
            ..empty
        };
    }
    mbr.signature = MBR_SIGNATURE;
    out.write_all_at(mbr.as_bytes(), 0)
        .context("writing the ISO's system area")
}
