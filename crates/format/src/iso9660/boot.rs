//! El Torito: the catalog of what firmware can boot.

use std::io;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::format::{
    BOOT_INFO_END, BOOTABLE, BootInfo, CATALOG_ENTRY, CatalogEntry, FIRST_DESCRIPTOR, GRUB_REST_AT,
    GRUB_REST_SECTORS, GrubRest, SECTION_LAST, SECTION_MORE, SECTOR, SectionHeader, VALIDATION_KEY,
    ValidationEntry,
};
use super::hierarchy::Extent;
use bake_tree::Content;

/// Most images: the catalog is one sector, and each image after the first has a section.
pub(super) const MAX_ENTRIES: usize = 1 + (SECTOR as usize / CATALOG_ENTRY - 2) / 2;

/// Sectors in the catalog are of this size, whatever those of the medium are.
const CATALOG_SECTOR: u64 = 512;

/// Whose firmware an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Platform {
    /// PC BIOS.
    Bios = 0x00,
    /// UEFI; the image is a FAT volume.
    Uefi = 0xef,
}

/// An image in the boot catalog.
#[derive(Clone, Debug)]
pub struct BootEntry {
    /// Whose firmware it is for.
    pub platform: Platform,
    /// Path of the image among the volume's files.
    pub path: String,
    /// How much firmware loads, in units of 512 bytes; `None` for the whole image.
    pub load_sectors: Option<u16>,
    /// Whether the image is told its place at byte 8, as isolinux and GRUB expect. The file on the
    /// ISO then differs from the content given.
    pub boot_info_table: bool,
    /// Whether the image is a core image of GRUB for CDs, the parts of which are told their place
    /// too (xorriso's `--grub2-boot-info`).
    pub grub_boot_info: bool,
}

impl BootEntry {
    /// s390x loads an image of `len` bytes as a whole, and takes its length from the file; the catalog
    /// can name at most 32 MiB (assisted-image-service `pkg/isoeditor/isoutil.go`@a55e383 writes the
    /// same).
    pub fn s390x(path: impl Into<String>, len: u64) -> Self {
        let sectors = len.div_ceil(CATALOG_SECTOR).next_multiple_of(4);
        Self {
            platform: Platform::Bios,
            path: path.into(),
            load_sectors: Some(u16::try_from(sectors).unwrap_or(u16::MAX)),
            boot_info_table: false,
            grub_boot_info: false,
        }
    }

    /// UEFI reads the whole image, a FAT volume, as it likes.
    pub fn uefi(path: impl Into<String>) -> Self {
        Self {
            platform: Platform::Uefi,
            path: path.into(),
            load_sectors: None,
            boot_info_table: false,
            grub_boot_info: false,
        }
    }

    /// BIOS loads the first 2 KiB, which load the rest with the help of the boot info table.
    pub fn bios(path: impl Into<String>) -> Self {
        Self {
            platform: Platform::Bios,
            path: path.into(),
            load_sectors: Some(4),
            boot_info_table: true,
            grub_boot_info: false,
        }
    }

    /// As [`BootEntry::bios`], and boot code in the system area can start the image as well.
    pub fn grub(path: impl Into<String>) -> Self {
        Self {
            grub_boot_info: true,
            ..Self::bios(path)
        }
    }

    /// Bytes that the image has at least.
    pub(super) fn least_bytes(&self) -> u64 {
        [
            (
                self.grub_boot_info,
                GRUB_REST_AT + size_of::<GrubRest>() as u64,
            ),
            (self.boot_info_table, BOOT_INFO_END),
        ]
        .into_iter()
        .find_map(|(is_told, bytes)| is_told.then_some(bytes))
        .unwrap_or(1)
    }
}

/// The catalog: a validation entry, the first image, and a section with one image for each of the
/// others. `images` must not be empty.
pub(super) fn catalog(images: &[(&BootEntry, Extent)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, (entry, extent)) in images.iter().enumerate() {
        match at {
            0 => bytes.extend_from_slice(validation(entry.platform).as_bytes()),
            _ => {
                let header = SectionHeader {
                    indicator: match at + 1 == images.len() {
                        true => SECTION_LAST,
                        false => SECTION_MORE,
                    },
                    platform: entry.platform as u8,
                    entries: U16::new(1),
                    id: [0; 28],
                };
                bytes.extend_from_slice(header.as_bytes());
            }
        }
        let whole = u64::from(extent.bytes).div_ceil(CATALOG_SECTOR);
        let image = CatalogEntry {
            indicator: BOOTABLE,
            // Too long to say: 0 is "to the end of the medium", UEFI 2.10 §13.3.2.1.
            load: U16::new(
                entry
                    .load_sectors
                    .unwrap_or_else(|| u16::try_from(whole).unwrap_or(0)),
            ),
            sector: U32::new(extent.sector),
            ..CatalogEntry::new_zeroed()
        };
        bytes.extend_from_slice(image.as_bytes());
    }
    bytes.resize(SECTOR as usize, 0);
    bytes
}

fn validation(platform: Platform) -> ValidationEntry {
    let mut entry = ValidationEntry {
        header: 1,
        platform: platform as u8,
        key: VALIDATION_KEY,
        ..ValidationEntry::new_zeroed()
    };
    entry.checksum = U16::new(word_sum(entry.as_bytes()).wrapping_neg());
    entry
}

/// Sum of the little-endian 16-bit words; 0 for an intact [`ValidationEntry`].
pub(super) fn word_sum(bytes: &[u8]) -> u16 {
    bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .fold(0, u16::wrapping_add)
}

/// What an image is told about itself. `rest` is what it is told besides.
pub(super) fn boot_info(
    content: &Content,
    extent: Extent,
    rest: Option<GrubRest>,
) -> io::Result<BootInfo> {
    let mut checksum = 0u32;
    let mut at = BOOT_INFO_END;
    let mut buffer = [0; 1 << 16];
    while at < content.len() {
        let left = usize::try_from(content.len() - at).unwrap_or(usize::MAX);
        let part = left.min(buffer.len());
        content.read_at(at, &mut buffer[..part])?;
        // A last word that is not complete is filled with zeros.
        buffer[part..part.next_multiple_of(4)].fill(0);
        checksum = checksum.wrapping_add(sum(&buffer[..part.next_multiple_of(4)]));
        at += part as u64;
    }
    if let Some(rest) = rest {
        let mut given = GrubRest::new_zeroed();
        content.read_at(GRUB_REST_AT, given.as_mut_bytes())?;
        checksum = checksum
            .wrapping_sub(sum(given.as_bytes()))
            .wrapping_add(sum(rest.as_bytes()));
    }
    Ok(BootInfo {
        descriptor: U32::new(FIRST_DESCRIPTOR),
        sector: U32::new(extent.sector),
        bytes: U32::new(extent.bytes),
        checksum: U32::new(checksum),
        reserved: [0; 40],
    })
}

/// What a core image of GRUB is told about its rest.
pub(super) fn grub_rest(extent: Extent) -> GrubRest {
    GrubRest {
        sector: U64::new(extent.offset() / CATALOG_SECTOR + GRUB_REST_SECTORS),
    }
}

/// Sum of the little-endian 32-bit words.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .fold(0, u32::wrapping_add)
}
