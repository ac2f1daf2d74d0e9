//! Where things lie on a volume that was formatted, and its table of clusters.

use std::io::{Read, Seek};

use anyhow::Result;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::format::{BootSector, FIRST_CLUSTER, SLOT_BYTES};

/// Cluster counts that make a volume FAT16; the kind follows from nothing else. Fewer are FAT12,
/// more are FAT32.
pub(super) const FAT16_CLUSTERS: std::ops::RangeInclusive<u64> = 4085..=65524;

/// How wide an entry of the table is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

/// Where things lie on a formatted volume; offsets and sizes in bytes.
#[derive(Debug)]
pub(super) struct Geometry {
    pub(super) kind: Kind,
    /// Every copy of the table.
    pub(super) fats: Vec<u64>,
    /// FAT12/16: the root directory before the clusters, offset and room.
    pub(super) root: Option<(u64, u64)>,
    /// FAT32: the FSInfo sector.
    pub(super) fs_info: Option<u64>,
    first_cluster: u64,
    pub(super) cluster_bytes: u64,
    pub(super) clusters: u32,
}

impl Geometry {
    /// Reads it back from the boot sector.
    pub(super) fn read(disk: &mut (impl Read + Seek)) -> Result<Self> {
        let mut boot = BootSector::new_zeroed();
        disk.rewind()?;
        disk.read_exact(boot.as_mut_bytes())?;
        let sector = u64::from(boot.bytes_per_sector.get());
        let is_fat32 = boot.sectors_per_fat_16.get() == 0;
        let or = |small: U16, large: U32| match small.get() {
            0 => u64::from(large.get()),
            small => u64::from(small),
        };
        let fat_sectors = or(boot.sectors_per_fat_16, boot.sectors_per_fat_32);
        let sectors = or(boot.sectors_16, boot.sectors_32);
        let reserved = u64::from(boot.reserved_sectors.get());
        let root = reserved + u64::from(boot.fats) * fat_sectors;
        let root_bytes = u64::from(boot.root_entries.get()) * SLOT_BYTES as u64;
        let data = root + root_bytes.div_ceil(sector);
        let clusters = (sectors - data) / u64::from(boot.sectors_per_cluster);
        Ok(Self {
            kind: match clusters {
                _ if is_fat32 => Kind::Fat32,
                few if few < *FAT16_CLUSTERS.start() => Kind::Fat12,
                _ => Kind::Fat16,
            },
            fats: (0..u64::from(boot.fats))
                .map(|copy| (reserved + copy * fat_sectors) * sector)
                .collect(),
            root: (!is_fat32).then_some((root * sector, root_bytes)),
            fs_info: is_fat32.then(|| u64::from(boot.fs_info_sector.get()) * sector),
            first_cluster: data * sector,
            cluster_bytes: u64::from(boot.sectors_per_cluster) * sector,
            clusters: u32::try_from(clusters)?,
        })
    }

    /// Offset of a cluster.
    pub(super) fn cluster_offset(&self, cluster: u32) -> u64 {
        self.first_cluster + u64::from(cluster - FIRST_CLUSTER) * self.cluster_bytes
    }
}

/// Clusters that follow each other; none for empty files and for a root directory that lies before
/// the clusters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// The used part of the table: which cluster follows which.
#[derive(Debug)]
pub(super) struct Table {
    kind: Kind,
    next: Vec<u32>,
}

impl Table {
    /// A table whose clusters from `end` on are free.
    pub(super) fn new(kind: Kind, end: u32) -> Self {
        // The entries of the two clusters that don't exist hold the media byte (hard disk) and the
        // mark of an end, which on FAT16/32 also says that the volume was left in order.
        let mut next = vec![0xffff_fff8, u32::MAX];
        next.resize(end as usize, 0);
        Self { kind, next }
    }

    /// Makes a chain of the run.
    pub(super) fn chain(&mut self, run: Run) {
        let end = run.first + run.count;
        for cluster in run.first..end {
            self.next[cluster as usize] = match cluster + 1 {
                next if next == end => u32::MAX,
                next => next,
            };
        }
    }

    /// The entries as they lie on disk.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self.kind {
            Kind::Fat12 => {
                let pairs = self.next.chunks(2);
                pairs
                    .flat_map(|pair| {
                        let second = pair.get(1).copied().unwrap_or(0);
                        let [a, b, c, _] = (pair[0] & 0xfff | (second & 0xfff) << 12).to_le_bytes();
                        [a, b, c]
                    })
                    .collect()
            }
            Kind::Fat16 => {
                let entries = self.next.iter();
                // The lower half: the upper one is only set in marks.
                entries
                    .flat_map(|next| ((next & 0xffff) as u16).to_le_bytes())
                    .collect()
            }
            Kind::Fat32 => {
                let entries = self.next.iter();
                entries
                    .flat_map(|next| (next & 0x0fff_ffff).to_le_bytes())
                    .collect()
            }
        }
    }
}
