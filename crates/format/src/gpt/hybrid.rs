//! A partition table on an ISO, so that firmware starts it from a USB stick too.
//!
//! The table's only partition is the ESP image inside the ISO. The ISO as a whole has no entry: it
//! would overlap, which `sgdisk` and others take for damage, and nobody needs one, because Linux
//! finds the label on the whole disk. From a CD, with sectors of 2048 bytes, the table is not
//! visible and firmware takes the boot catalog.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::TYPE_ESP;
use super::writer::{Partition, SectorSize, Table};

/// USB sticks have such sectors.
const SECTOR_SIZE: SectorSize = SectorSize::B512;

/// Partitions end with a sector of the ISO, the rest of which is empty.
const ISO_SECTOR: u64 = 2048;

/// The image becomes a multiple of this long, as isohybrid makes it.
const ALIGNMENT: u64 = 1 << 20;

/// Makes the ISO image `out` bootable from USB sticks: the ESP image in it, `length` bytes from
/// byte `offset` on, becomes a partition. The file grows by the second copy of the table, up to the
/// next MiB. GUIDs follow from `seed`.
pub fn make_hybrid(out: &File, offset: u64, length: u64, seed: &str) -> Result<()> {
    let sector_bytes = SECTOR_SIZE.bytes();
    ensure!(
        length > 0 && offset.is_multiple_of(sector_bytes),
        "an ESP image of {length} bytes at {offset} can't be a partition"
    );
    let iso_bytes = out.metadata().context("measuring the ISO")?.len();
    let disk_bytes =
        (iso_bytes + SECTOR_SIZE.backup_sectors() * sector_bytes).next_multiple_of(ALIGNMENT);
    let table = Table {
        disk_guid: derive_guid(seed, "disk"),
        disk_bytes,
        sector_size: SECTOR_SIZE,
        partitions: vec![Partition {
            number: 1,
            // Not EFI-SYSTEM, which installed systems look for.
            name: "ISO-ESP".to_owned(),
            type_guid: TYPE_ESP,
            guid: derive_guid(seed, "ESP"),
            first_lba: offset / sector_bytes,
            last_lba: (offset + length).next_multiple_of(ISO_SECTOR) / sector_bytes - 1,
            attributes: 0,
        }],
    };
    table.check()?;
    out.set_len(disk_bytes).context("lengthening the ISO")?;
    table.write(out)
}

/// A GUID that is the same whenever `seed` and `purpose` are: version 8 of RFC 9562, made of a
/// SHA-256.
pub fn derive_guid(seed: &str, purpose: &str) -> Uuid {
    let hash = Sha256::new()
        .chain_update((seed.len() as u64).to_le_bytes())
        .chain_update(seed)
        .chain_update(purpose)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
