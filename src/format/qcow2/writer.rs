//! Writes a disk as qcow2, front to back.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use flate2::write::DeflateEncoder;
use zerocopy::IntoBytes;

use super::format::{
    CLUSTER_BITS, COMPRESSED, COPIED, Header, INCOMPATIBLE_COMPRESSION, MAGIC, REFCOUNT_ORDER,
    SECTOR, VERSION, compressed_shift,
};
use crate::format::sparse::SparseRead;

/// Bytes of a cluster.
const CLUSTER: u64 = 1 << CLUSTER_BITS;

/// Entries in a cluster of a table.
const ENTRIES: u64 = CLUSTER / 8;

/// Refcounts in a cluster.
const REFCOUNTS: u64 = CLUSTER / 2;

/// Clusters read and compressed at a time.
const BATCH: usize = 32;

/// Largest disk: 64 TiB, whose first-level table has one cluster in 64 Ki entries.
const SIZE_MAX: u64 = 64 << 40;

/// Level at which zstd is about as slow as zlib's default and smaller.
const ZSTD_LEVEL: i32 = 9;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, as published CoreOS images are; they can be written to in place.
    None,
    /// zlib: every QEMU reads it.
    Zlib,
    /// zstd: QEMU 5.1 and newer.
    Zstd,
}

impl FromStr for Compression {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "none" => Self::None,
            "zlib" => Self::Zlib,
            "zstd" => Self::Zstd,
            other => bail!("{other:?} is no qcow2 compression; there are none, zlib and zstd"),
        })
    }
}

/// Writes `disk` into the empty file `out`, with a disk of `size` bytes: what is behind the end of
/// `disk` reads as zeros. Compresses in up to `threads` threads; bytes don't depend on how many.
pub fn write(
    disk: &dyn SparseRead,
    size: u64,
    compression: Compression,
    threads: usize,
    out: &File,
    advance: &dyn Fn(u64),
) -> Result<()> {
    ensure!(
        size >= disk.len() && size <= SIZE_MAX && size.is_multiple_of(SECTOR),
        "a qcow2 disk of {size} bytes can't hold an image of {} bytes",
        disk.len()
    );
    let mut image = Image {
        out,
        // The header's cluster.
        end: CLUSTER,
        tables: Vec::new(),
        references: vec![1],
    };
    let mut batch: Vec<(u64, Vec<u8>)> = Vec::with_capacity(BATCH);
    let mut at = disk.data_from(0);
    while let Some(offset) = at {
        let cluster = offset / CLUSTER;
        let start = cluster * CLUSTER;
        let mut bytes = vec![0; usize::try_from(CLUSTER)?];
        let here = usize::try_from(CLUSTER.min(disk.len() - start))?;
        disk.read_at(start, &mut bytes[..here])
            .context("reading the disk")?;
        advance(here as u64);
        if bytes.iter().any(|byte| *byte != 0) {
            batch.push((cluster, bytes));
        }
        if batch.len() == BATCH {
            image.add(&mut batch, compression, threads)?;
        }
        at = disk.data_from(start + CLUSTER);
    }
    image.add(&mut batch, compression, threads)?;
    image.finish(size, compression).context("writing qcow2")
}

/// An image while it grows.
struct Image<'a> {
    out: &'a File,
    /// Where the next bytes go.
    end: u64,
    /// Second-level tables, by position in the first-level one; none where all is zeros.
    tables: Vec<Option<Vec<u64>>>,
    /// How often each cluster of the file is used.
    references: Vec<u16>,
}

impl Image<'_> {
    /// Writes clusters in the order of the disk.
    fn add(
        &mut self,
        batch: &mut Vec<(u64, Vec<u8>)>,
        compression: Compression,
        threads: usize,
    ) -> Result<()> {
        let packed = pack(batch, compression, threads)?;
        for ((cluster, bytes), packed) in batch.drain(..).zip(packed) {
            let entry = match packed {
                // Compressed ones follow each other without gaps.
                Some(packed) => {
                    let at = self.append(&packed, 1)?;
                    let more = (at % SECTOR + packed.len() as u64 - 1) / SECTOR;
                    at | more << compressed_shift(CLUSTER_BITS) | COMPRESSED
                }
                None => self.append(&bytes, CLUSTER)? | COPIED,
            };
            let table = usize::try_from(cluster / ENTRIES)?;
            if self.tables.len() <= table {
                self.tables.resize(table + 1, None);
            }
            let entries = self.tables[table].get_or_insert_with(|| vec![0; ENTRIES as usize]);
            entries[usize::try_from(cluster % ENTRIES)?] = entry;
        }
        Ok(())
    }

    /// Appends bytes at a multiple of `alignment` and counts the clusters they lie in; returns
    /// where they are.
    fn append(&mut self, bytes: &[u8], alignment: u64) -> Result<u64> {
        let at = self.end.next_multiple_of(alignment);
        self.out.write_all_at(bytes, at).context("writing qcow2")?;
        self.end = at + bytes.len() as u64;
        // Whole sectors count, so the last one's end decides.
        let last = self.end.next_multiple_of(SECTOR) - 1;
        self.reference(at / CLUSTER, last / CLUSTER)?;
        Ok(at)
    }

    fn reference(&mut self, first: u64, last: u64) -> Result<()> {
        let last = usize::try_from(last)?;
        if self.references.len() <= last {
            self.references.resize(last + 1, 0);
        }
        for count in &mut self.references[usize::try_from(first)?..=last] {
            *count = count
                .checked_add(1)
                .context("one qcow2 cluster holds too many compressed ones")?;
        }
        Ok(())
    }

    fn finish(mut self, size: u64, compression: Compression) -> Result<()> {
        let tables = std::mem::take(&mut self.tables);
        let mut first_level = vec![0u64; usize::try_from(size.div_ceil(CLUSTER * ENTRIES))?];
        for (entry, table) in first_level.iter_mut().zip(&tables) {
            if let Some(table) = table {
                *entry = self.append(&big_endian(table), CLUSTER)? | COPIED;
            }
        }
        let l1_table_offset = self.append(&big_endian(&first_level), CLUSTER)?;

        // Refcount blocks count themselves and their table, so their number is the smallest that
        // is enough for all.
        let before = self.end.div_ceil(CLUSTER);
        let (mut blocks, mut table_clusters) = (0, 0);
        loop {
            let wanted = (before + blocks + table_clusters).div_ceil(REFCOUNTS);
            let table_wanted = wanted.div_ceil(ENTRIES);
            if (wanted, table_wanted) == (blocks, table_clusters) {
                break;
            }
            (blocks, table_clusters) = (wanted, table_wanted);
        }
        self.reference(before, before + blocks + table_clusters - 1)?;
        self.end = before * CLUSTER;
        let mut counts: Vec<u8> = self
            .references
            .iter()
            .flat_map(|count| count.to_be_bytes())
            .collect();
        counts.resize(usize::try_from(blocks * CLUSTER)?, 0);
        self.out.write_all_at(&counts, self.end)?;
        let refcount_table: Vec<u64> = (0..blocks).map(|at| (before + at) * CLUSTER).collect();
        let refcount_table_offset = (before + blocks) * CLUSTER;
        self.out
            .write_all_at(&big_endian(&refcount_table), refcount_table_offset)?;
        self.out
            .set_len(refcount_table_offset + table_clusters * CLUSTER)?;

        let zstd = compression == Compression::Zstd;
        let header = Header {
            magic: MAGIC,
            version: VERSION.into(),
            backing_file_offset: 0.into(),
            backing_file_size: 0.into(),
            cluster_bits: CLUSTER_BITS.into(),
            size: size.into(),
            crypt_method: 0.into(),
            l1_size: u32::try_from(first_level.len())?.into(),
            l1_table_offset: l1_table_offset.into(),
            refcount_table_offset: refcount_table_offset.into(),
            refcount_table_clusters: u32::try_from(table_clusters)?.into(),
            nb_snapshots: 0.into(),
            snapshots_offset: 0.into(),
            incompatible_features: if zstd { INCOMPATIBLE_COMPRESSION } else { 0 }.into(),
            compatible_features: 0.into(),
            autoclear_features: 0.into(),
            refcount_order: REFCOUNT_ORDER.into(),
            header_length: 112.into(),
            compression_type: u8::from(zstd),
            padding: [0; 7],
        };
        self.out.write_all_at(header.as_bytes(), 0)?;
        Ok(())
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|e| e.to_be_bytes()).collect()
}

/// Each cluster compressed, or none where that would save nothing.
fn pack(
    batch: &[(u64, Vec<u8>)],
    compression: Compression,
    threads: usize,
) -> Result<Vec<Option<Vec<u8>>>> {
    if compression == Compression::None {
        return Ok(vec![None; batch.len()]);
    }
    let mut packed = vec![None; batch.len()];
    let share = batch.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = batch
            .chunks(share)
            .zip(packed.chunks_mut(share))
            .map(|(clusters, results)| {
                scope.spawn(move || -> io::Result<()> {
                    for ((_, bytes), result) in clusters.iter().zip(results) {
                        let small = compress(bytes, compression)?;
                        *result = Some(small).filter(|small| small.len() < bytes.len());
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("compressing does not panic"))
    })
    .context("compressing a qcow2 cluster")?;
    Ok(packed)
}

fn compress(bytes: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        // Raw deflate with a window of 4 KiB in QEMU's own writer; any window inflates.
        Compression::Zlib => {
            let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
        Compression::None => Ok(bytes.to_vec()),
    }
}
