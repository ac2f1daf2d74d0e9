//! Reads a FAT16 or FAT32 volume as far as it takes to see that it is whole: both tables, directories, and files
//! to their ends. Volumes are taken for foreign: positions, lengths and counts are checked.
//!
//! Left out on purpose: FAT12, long names.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use zerocopy::FromBytes;

use super::format::{
    ATTRIBUTE_DIRECTORY, ATTRIBUTE_LABEL, BootSector, FIRST_CLUSTER, SLOT_BYTES, Slot,
};
use bake_tree::Content;

/// Longest table in bytes: that of a volume with a FAT32's most clusters.
const TABLE_MAX_BYTES: u64 = 4 << 28;
/// Most files and directories, and directories inside one another.
const NAMES_MAX: usize = 1 << 16;
const DEPTH_MAX: usize = 64;
/// Longest directory in bytes (Microsoft, as below).
const LISTING_MAX_BYTES: u64 = 2 << 20;
/// How the slot of a removed file begins.
const REMOVED: u8 = 0xe5;
/// From which number of clusters on a volume is FAT16, and FAT32 (Microsoft, "FAT32 File System Specification").
const FAT16_CLUSTERS: u64 = 4085;
const FAT32_CLUSTERS: u64 = 65525;

/// A volume that was read.
pub struct Reader {
    volume: Content,
    cluster_bytes: u64,
    /// Where the first cluster is, in bytes.
    clusters: u64,
    /// What each cluster says of the next.
    next: Vec<u32>,
    /// From which number on a cluster is the last.
    last: u32,
    root: Root,
}

enum Root {
    /// Between tables and clusters.
    Fixed {
        start: u64,
        bytes: u64,
    },
    Cluster(u32),
}

impl Reader {
    /// Opens a volume, whose tables have to be the same.
    pub fn open(volume: Content) -> Result<Self> {
        let mut bytes = [0; size_of::<BootSector>()];
        volume
            .read_at(0, &mut bytes)
            .context("reading the FAT boot sector")?;
        let boot = BootSector::read_from_bytes(&bytes).expect("as many bytes as it has");
        let sector = u64::from(boot.bytes_per_sector.get());
        ensure!(
            [512, 1024, 2048, 4096].contains(&sector) && boot.sectors_per_cluster.is_power_of_two(),
            "it does not begin with the boot sector of a FAT volume"
        );
        let sectors = match boot.sectors_16.get() {
            0 => u64::from(boot.sectors_32.get()),
            short => u64::from(short),
        };
        let table = match boot.sectors_per_fat_16.get() {
            0 => u64::from(boot.sectors_per_fat_32.get()),
            short => u64::from(short),
        } * sector;
        ensure!(
            sectors * sector <= volume.len() && (1..=TABLE_MAX_BYTES).contains(&table),
            "the FAT boot sector claims {sectors} sectors and tables of {table} bytes"
        );
        let first_table = u64::from(boot.reserved_sectors.get()) * sector;
        let read = |number: u64| {
            let content = volume.slice(first_table + number * table, table);
            let content = content.context("a FAT goes past the end of the volume")?;
            content.to_vec(TABLE_MAX_BYTES).context("reading a FAT")
        };
        let tables = u64::from(boot.fats);
        ensure!((1..=2).contains(&tables), "the volume claims {tables} FATs");
        let entries = read(0)?;
        ensure!(
            tables == 1 || read(1)? == entries,
            "the two FATs of the volume are not the same"
        );
        let fixed = u64::from(boot.root_entries.get()) * SLOT_BYTES as u64;
        let root_start = first_table + tables * table;
        let clusters = root_start + fixed.next_multiple_of(sector);
        let cluster_bytes = u64::from(boot.sectors_per_cluster) * sector;
        let count = (sectors * sector).saturating_sub(clusters) / cluster_bytes;
        ensure!(
            count >= FAT16_CLUSTERS,
            "a volume with {count} clusters is FAT12"
        );
        let is_wide = count >= FAT32_CLUSTERS;
        let known = count as usize + FIRST_CLUSTER as usize;
        let next: Vec<u32> = match is_wide {
            true => entries
                .chunks_exact(4)
                .map(|entry| {
                    u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) & 0x0fff_ffff
                })
                .take(known)
                .collect(),
            false => entries
                .chunks_exact(2)
                .map(|entry| u16::from_le_bytes([entry[0], entry[1]]).into())
                .take(known)
                .collect(),
        };
        ensure!(
            next.len() == known,
            "the FATs are too short for {count} clusters"
        );
        Ok(Self {
            cluster_bytes,
            clusters,
            next,
            last: if is_wide { 0x0fff_fff8 } else { 0xfff8 },
            root: match is_wide {
                true => Root::Cluster(boot.root_cluster.get()),
                false => Root::Fixed {
                    start: root_start,
                    bytes: fixed,
                },
            },
            volume,
        })
    }

    /// The SHA-256 of each file, by its path of short names, with `/` in front.
    pub fn files(&self) -> Result<BTreeMap<String, [u8; 32]>> {
        let mut files = BTreeMap::new();
        let mut names = 0;
        let mut ahead = vec![(String::new(), self.root()?, 0)];
        while let Some((path, listing, depth)) = ahead.pop() {
            for slot in listing.chunks_exact(SLOT_BYTES) {
                let slot = Slot::read_from_bytes(slot).expect("as many bytes as it has");
                let first = slot.name[0];
                if first == 0 {
                    break;
                }
                // A removed one, a part of a long name, the volume's label, the directory itself, and its parent.
                let is_label = slot.attributes & ATTRIBUTE_LABEL != 0;
                if first == REMOVED || is_label || first == b'.' {
                    continue;
                }
                names += 1;
                ensure!(
                    names <= NAMES_MAX,
                    "the volume has more than {NAMES_MAX} names"
                );
                let path = format!("{path}/{}", name(&slot));
                let cluster =
                    u32::from(slot.cluster_high.get()) << 16 | u32::from(slot.cluster_low.get());
                let of_path = || format!("reading {} of the FAT volume", path.escape_default());
                if slot.attributes & ATTRIBUTE_DIRECTORY == 0 {
                    let hash = self.hash(cluster, slot.bytes.get().into());
                    files.insert(path.clone(), hash.with_context(of_path)?);
                    continue;
                }
                ensure!(
                    depth < DEPTH_MAX,
                    "the volume has more than {DEPTH_MAX} directories inside one another"
                );
                let listing = self.listing(cluster).with_context(of_path)?;
                ahead.push((path, listing, depth + 1));
            }
        }
        Ok(files)
    }

    fn root(&self) -> Result<Vec<u8>> {
        match self.root {
            Root::Cluster(cluster) => self.listing(cluster),
            Root::Fixed { start, bytes } => {
                let content = self.volume.slice(start, bytes);
                let content = content.context("the root directory goes past the end")?;
                Ok(content.to_vec(LISTING_MAX_BYTES)?)
            }
        }
    }

    fn listing(&self, first: u32) -> Result<Vec<u8>> {
        let mut listing = Vec::new();
        self.chain(first, &mut |cluster| {
            listing.extend_from_slice(cluster);
            ensure!(
                listing.len() as u64 <= LISTING_MAX_BYTES,
                "a directory has more than {LISTING_MAX_BYTES} bytes"
            );
            Ok(())
        })?;
        Ok(listing)
    }

    fn hash(&self, first: u32, bytes: u64) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let mut left = bytes;
        if bytes > 0 {
            let mut chained = 0;
            self.chain(first, &mut |cluster| {
                let of_file = left.min(cluster.len() as u64);
                hash.update(&cluster[..of_file as usize]);
                left -= of_file;
                chained += cluster.len() as u64;
                Ok(())
            })?;
            ensure!(
                chained == bytes.next_multiple_of(self.cluster_bytes),
                "it has {bytes} bytes, and clusters for {chained}"
            );
        }
        Ok(hash.finalize().into())
    }

    /// Calls `visit` for each cluster of a chain.
    fn chain(&self, first: u32, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut cluster = vec![0; self.cluster_bytes as usize];
        let mut at = first;
        for _ in 0..self.next.len() {
            let next = self.next.get(at as usize).filter(|_| at >= FIRST_CLUSTER);
            let Some(next) = next else {
                bail!("cluster {at} is not one of the volume");
            };
            let position = self.clusters + u64::from(at - FIRST_CLUSTER) * self.cluster_bytes;
            self.volume.read_at(position, &mut cluster)?;
            visit(&cluster)?;
            if *next >= self.last {
                return Ok(());
            }
            at = *next;
        }
        bail!("a chain of clusters leads back to itself")
    }
}

fn name(slot: &Slot) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (stem, extension) = (text(&slot.name[..8]), text(&slot.name[8..]));
    match extension.is_empty() {
        true => stem,
        false => format!("{stem}.{extension}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Volume;
    use super::*;

    fn volume(bytes: u64) -> (std::fs::File, Vec<String>) {
        let content = |len: usize| Content::bytes(vec![7; len]);
        let files: BTreeMap<String, Content> = [
            ("EFI/BOOT/BOOTX64.EFI", 100_000),
            ("EFI/BOOT/EMPTY", 0),
            ("EFI/a long name that is not short/grub.cfg", 77),
        ]
        .map(|(path, len)| (path.to_owned(), content(len)))
        .into();
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        let volume = Volume {
            label: "EFI-SYSTEM".into(),
            id: 1,
            bytes,
            bytes_per_sector: 512,
        };
        volume.write(&files, &file, 0).unwrap();
        (file, files.into_keys().collect())
    }

    fn open(file: &std::fs::File) -> Result<BTreeMap<String, [u8; 32]>> {
        let len = file.metadata().unwrap().len();
        let content = Content::range(Arc::new(file.try_clone().unwrap()), 0, len);
        Reader::open(content)?.files()
    }

    #[test]
    fn volumes_of_both_kinds_are_read() {
        for bytes in [16 << 20, 127 << 20] {
            let (file, names) = volume(bytes);
            let files = open(&file).unwrap();
            assert_eq!(files.len(), names.len());
            let hash: [u8; 32] = Sha256::digest(vec![7; 100_000]).into();
            assert_eq!(files["/EFI/BOOT/BOOTX64.EFI"], hash);
        }
    }

    #[test]
    fn damaged_volumes_are_refused_and_nothing_panics() {
        use std::os::unix::fs::FileExt;
        let (file, _) = volume(16 << 20);
        let whole = open(&file).unwrap();
        let mut found = 0;
        // Boot sector, both tables, directories, and the first clusters.
        for at in (0..200_000).step_by(37) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
            found += usize::from(open(&file).ok().as_ref() != Some(&whole));
            file.write_all_at(&byte, at).unwrap();
        }
        assert!(found > 2000, "{found}");
    }
}
