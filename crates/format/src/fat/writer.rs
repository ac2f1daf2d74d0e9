//! A FAT volume: formatting it and filling it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read, Seek, Write};

use anyhow::{Context, Result, ensure};
use fatfs::FormatVolumeOptions;

use super::geometry::{FAT16_CLUSTERS, Geometry};
use super::plan::Plan;
use super::window::Window;
use bake_tree::Content;

/// Largest volume that is made in memory; larger ones belong into a file. An `efiboot.img` has
/// 6 to 20 MiB.
const MAX_MEMORY_BYTES: u64 = 256 << 20;

/// From here on a volume is FAT32, as mkfs.fat has it; below, it is FAT16.
const FAT32_FROM_BYTES: u64 = 512 << 20;

/// Most sectors that a FAT16 volume has before its clusters: boot sector, two FATs of 65536 entries
/// and a root directory of 512 entries, in sectors of 512 bytes.
const FAT16_OVERHEAD_SECTORS: u64 = 1 + 2 * 256 + 32;

/// Sectors per cluster in the order tried: mkfs.fat's default for hard disks up to 128 MiB, then
/// smaller ones for volumes that would have too few clusters for FAT16, then larger ones.
const CLUSTER_SECTORS: [u32; 7] = [4, 2, 1, 8, 16, 32, 64];

/// What a FAT volume is, apart from its files.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Label in boot sector and root directory: up to 11 upper-case letters, digits, `-`, `_`, ` `.
    pub label: String,
    /// Volume id, which Linux shows as `XXXX-XXXX`.
    pub id: u32,
    /// Size in bytes, a multiple of the sector size.
    pub bytes: u64,
    /// Sector size of the disk below: 512 or 4096.
    pub bytes_per_sector: u16,
}

/// A volume size with room to spare for `files`: as much as a tar of them, and 2 MiB more, which is
/// how CoreOS sizes `efiboot.img` (osbuild `osbuild/util/makeefi.py`). Some firmware wants the free
/// space.
pub fn roomy_bytes(files: &BTreeMap<String, Content>) -> u64 {
    const TAR_RECORD: u64 = 512;
    const TAR_END: u64 = 2 * TAR_RECORD;
    const SLACK: u64 = 2 << 20;
    let contents: u64 = files
        .values()
        .map(|content| TAR_RECORD + content.len().next_multiple_of(TAR_RECORD))
        .sum();
    let directories: BTreeSet<&str> = files
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]))
        .collect();
    contents + directories.len() as u64 * TAR_RECORD + TAR_END + SLACK
}

impl Volume {
    /// Writes the volume into `out` at byte `offset`; the files' keys are paths like
    /// `EFI/BOOT/BOOTX64.EFI`, and directories follow from them. What lies there must read as zeros:
    /// clusters that no file takes are left alone, so that a sparse file stays sparse.
    pub fn write(&self, files: &BTreeMap<String, Content>, out: &File, offset: u64) -> Result<()> {
        self.fill(Window::new(out, offset, self.bytes), files)
    }

    /// The volume's bytes, for small ones like `efiboot.img`.
    pub fn to_vec(&self, files: &BTreeMap<String, Content>) -> Result<Vec<u8>> {
        ensure!(
            self.bytes <= MAX_MEMORY_BYTES,
            "a FAT volume of {} bytes is too large to be made in memory",
            self.bytes
        );
        let mut image = vec![0; usize::try_from(self.bytes)?];
        self.fill(Cursor::new(image.as_mut_slice()), files)?;
        Ok(image)
    }

    fn fill(
        &self,
        mut disk: impl Read + Write + Seek,
        files: &BTreeMap<String, Content>,
    ) -> Result<()> {
        let label = padded_label(&self.label)?;
        let mut plan = Plan::new(files, label)?;
        fatfs::format_volume(&mut disk, self.format_options(label)?)
            .with_context(|| format!("formatting FAT volume {:?}", self.label))?;
        let geometry = Geometry::read(&mut disk)?;
        let used = plan.place(&geometry).with_context(|| {
            format!(
                "placing {} files on FAT volume {:?} of {} bytes",
                files.len(),
                self.label,
                self.bytes
            )
        })?;
        plan.write(&mut disk, &geometry, used)
            .with_context(|| format!("writing FAT volume {:?}", self.label))
    }

    fn format_options(&self, label: [u8; 11]) -> Result<FormatVolumeOptions> {
        ensure!(
            matches!(self.bytes_per_sector, 512 | 4096),
            "a FAT volume with sectors of {} bytes is not supported",
            self.bytes_per_sector
        );
        let sector_bytes = u64::from(self.bytes_per_sector);
        ensure!(
            self.bytes.is_multiple_of(sector_bytes),
            "a FAT volume of {} bytes does not fill its sectors of {sector_bytes} bytes",
            self.bytes
        );
        let sectors = u32::try_from(self.bytes / sector_bytes)
            .with_context(|| format!("a FAT volume can't have {} bytes", self.bytes))?;
        let options = FormatVolumeOptions::new()
            .bytes_per_sector(self.bytes_per_sector)
            .total_sectors(sectors)
            .volume_id(self.id)
            .volume_label(label);
        Ok(
            match fat16_cluster_bytes(self.bytes, self.bytes_per_sector) {
                Some(cluster_bytes) => options.bytes_per_cluster(cluster_bytes),
                None => options,
            },
        )
    }
}

/// Cluster size that makes the volume FAT16 wherever the crate's own arithmetic puts the edges;
/// nothing for sizes at which it can't be or shouldn't be FAT16.
fn fat16_cluster_bytes(bytes: u64, bytes_per_sector: u16) -> Option<u32> {
    if bytes >= FAT32_FROM_BYTES {
        return None;
    }
    let sectors = bytes / u64::from(bytes_per_sector);
    CLUSTER_SECTORS
        .into_iter()
        .find(|&per_cluster| {
            let most = sectors / u64::from(per_cluster);
            let least = sectors.saturating_sub(FAT16_OVERHEAD_SECTORS) / u64::from(per_cluster);
            FAT16_CLUSTERS.contains(&most) && FAT16_CLUSTERS.contains(&least)
        })
        .map(|per_cluster| per_cluster * u32::from(bytes_per_sector))
}

fn padded_label(label: &str) -> Result<[u8; 11]> {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_ ".contains(&b);
    let mut padded = [b' '; 11];
    ensure!(
        !label.trim().is_empty() && label.len() <= padded.len() && label.bytes().all(fits),
        "{label:?} is not a FAT label: 1 to 11 upper-case letters, digits, -, _ and spaces"
    );
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}
