//! The sectors that start a core image, and how they are told where it lies.

use anyhow::{Context, Result, ensure};
use zerocopy::FromBytes;

use super::format::{
    BLOCKLIST_SEGMENT, BOOT_SIGNATURE, Blocklist, BootHead, CDBOOT_BYTES, DISKBOOT_ADDRESS,
    DRIVE_OF_BIOS, HYBRID_CORE_AT, SECTOR, SHORT_JUMP, TWO_NOPS,
};
use super::modules::Modules;

const DISKBOOT: &str = "diskboot.img";
const BOOT: &str = "boot.img";
const BOOT_HYBRID: &str = "boot_hybrid.img";

/// Bytes of an MBR that are code; the disk's signature and the partitions follow.
pub const BOOT_CODE_BYTES: usize = 0x1b8;

/// Boot code for the MBR of a disk whose core image begins at sector `core_lba`.
pub fn boot_sector(modules: &Modules, core_lba: u64) -> Result<[u8; BOOT_CODE_BYTES]> {
    let mut sector = sector(modules, BOOT)?;
    ensure!(
        sector[SECTOR - BOOT_SIGNATURE.len()..] == BOOT_SIGNATURE,
        "GRUB's {BOOT} is not a boot sector"
    );
    let (head, _) = BootHead::mut_from_prefix(&mut sector)
        .ok()
        .filter(|(head, _)| {
            head.address.get() == DISKBOOT_ADDRESS
                && (head.drive_check[0] == SHORT_JUMP || head.drive_check == TWO_NOPS)
        })
        .with_context(|| format!("GRUB's {BOOT} does not begin as it should"))?;
    head.core = core_lba.into();
    head.drive = DRIVE_OF_BIOS;
    // The check that the jump leaves out takes numbers that no hard disk has for 0x80, which some
    // BIOSes need.
    head.drive_check = TWO_NOPS;
    Ok(code(&sector))
}

/// Boot code for the MBR of an ISO, so that BIOS starts it from a USB stick too: `image_offset` is
/// where its core image of [`Kind::Cd`](super::Kind::Cd) lies, in bytes.
pub fn hybrid_boot_sector(modules: &Modules, image_offset: u64) -> Result<[u8; BOOT_CODE_BYTES]> {
    let mut sector = sector(modules, BOOT_HYBRID)?;
    ensure!(
        sector[SECTOR - BOOT_SIGNATURE.len()..] == BOOT_SIGNATURE,
        "GRUB's {BOOT_HYBRID} is not a boot sector"
    );
    ensure!(
        image_offset.is_multiple_of(SECTOR as u64),
        "GRUB's core image at byte {image_offset} does not begin with a sector"
    );
    let core_lba = (image_offset + CDBOOT_BYTES as u64) / SECTOR as u64;
    sector[HYBRID_CORE_AT..BOOT_CODE_BYTES].copy_from_slice(&core_lba.to_le_bytes());
    Ok(code(&sector))
}

/// Tells a core image of [`Kind::Disk`](super::Kind::Disk) that it begins at sector `core_lba` of
/// the disk.
pub fn install_blocklist(core: &mut [u8], core_lba: u64) -> Result<()> {
    let rest = core_lba
        .checked_add(1)
        .with_context(|| format!("sector {core_lba} can't hold a core image"))?;
    core.get_mut(..SECTOR)
        .and_then(|sector| Blocklist::mut_from_suffix(sector).ok())
        .filter(|(_, list)| list.segment.get() == BLOCKLIST_SEGMENT)
        .context("what shall be told its place is not a core image for disks")?
        .1
        .first = rest.into();
    Ok(())
}

/// `diskboot.img`, for a core image of that many bytes more.
pub(super) fn diskboot(modules: &Modules, core_bytes: usize) -> Result<[u8; SECTOR]> {
    let mut sector = sector(modules, DISKBOOT)?;
    let (_, list) = Blocklist::mut_from_suffix(&mut sector)
        .ok()
        .filter(|(_, list)| list.segment.get() == BLOCKLIST_SEGMENT)
        .with_context(|| format!("GRUB's {DISKBOOT} does not end as it should"))?;
    list.sectors = u16::try_from(core_bytes.div_ceil(SECTOR))
        .context("GRUB's core image has too many sectors")?
        .into();
    Ok(sector)
}

fn sector(modules: &Modules, name: &str) -> Result<[u8; SECTOR]> {
    let bytes = modules.file(name)?;
    bytes
        .try_into()
        .ok()
        .with_context(|| format!("GRUB's {name} has {} bytes, not {SECTOR}", bytes.len()))
}

fn code(sector: &[u8; SECTOR]) -> [u8; BOOT_CODE_BYTES] {
    let mut code = [0; BOOT_CODE_BYTES];
    code.copy_from_slice(&sector[..BOOT_CODE_BYTES]);
    code
}
