//! The boot catalog read back.

use serde_json::{Value, json};
use zerocopy::FromBytes;

use super::boot::{Platform, word_sum};
use super::error::ReadError;
use super::format::{
    BOOTABLE, CATALOG_ENTRY, CatalogEntry, SECTION_EXTENSION, SECTION_LAST, SECTION_MORE, SECTOR,
    SectionHeader, VALIDATION_KEY, ValidationEntry,
};

/// An image that a boot catalog names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootImage {
    /// Whose firmware it is for; see [`Platform`].
    pub platform: u8,
    /// Whether firmware may boot it.
    pub is_bootable: bool,
    /// Which disk it emulates; 0 for none.
    pub emulation: u8,
    /// How much is loaded, in units of 512 bytes; UEFI takes 0 and 1 for all to the end.
    pub load_sectors: u16,
    /// Where it lies, in bytes from the start of the volume.
    pub offset: u64,
}

impl BootImage {
    fn new(platform: u8, entry: &CatalogEntry) -> Self {
        Self {
            platform,
            is_bootable: entry.indicator == BOOTABLE,
            // The upper bits say other things.
            emulation: entry.media & 0x0f,
            load_sectors: entry.load.get(),
            offset: u64::from(entry.sector.get()) * SECTOR,
        }
    }

    pub(super) fn facts(&self) -> Value {
        let platform = match self.platform {
            p if p == Platform::Bios as u8 => "bios".to_owned(),
            p if p == Platform::Uefi as u8 => "uefi".to_owned(),
            other => format!("{other:#04x}"),
        };
        json!({
            "platform": platform,
            "bootable": self.is_bootable,
            "offset": self.offset,
            "load-sectors": self.load_sectors,
        })
    }
}

/// The images of a catalog, of which only the first sector is looked at.
pub(super) fn parse(sector: &[u8]) -> Result<Vec<BootImage>, ReadError> {
    let damaged = || ReadError::Damaged("its boot catalog is none".to_owned());
    let mut entries = sector.chunks_exact(CATALOG_ENTRY);
    let first = entries.next().ok_or_else(damaged)?;
    let validation = ValidationEntry::ref_from_bytes(first).map_err(|_| damaged())?;
    if validation.header != 1 || validation.key != VALIDATION_KEY || word_sum(first) != 0 {
        return Err(damaged());
    }
    let entry = |bytes| CatalogEntry::ref_from_bytes(bytes).map_err(|_| damaged());
    let mut images = Vec::new();
    if let Some(bytes) = entries.next() {
        images.push(BootImage::new(validation.platform, entry(bytes)?));
    }
    while let Some(header) = entries
        .next()
        .and_then(|bytes| SectionHeader::ref_from_bytes(bytes).ok())
        .filter(|header| matches!(header.indicator, SECTION_MORE | SECTION_LAST))
    {
        let mut left = header.entries.get();
        while left > 0
            && let Some(bytes) = entries.next()
        {
            let entry = entry(bytes)?;
            if entry.indicator != SECTION_EXTENSION {
                images.push(BootImage::new(header.platform, entry));
                left -= 1;
            }
        }
        if header.indicator == SECTION_LAST {
            break;
        }
    }
    Ok(images)
}
