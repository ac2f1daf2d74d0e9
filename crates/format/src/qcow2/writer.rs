//! Writes a disk as qcow2, front to back.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

use super::format::{
    CLUSTER_BITS, COMPRESSED, COPIED, Header, INCOMPATIBLE_COMPRESSION, MAGIC, REFCOUNT_ORDER,
    SECTOR, VERSION, compressed_shift,
};
use crate::forward::Forward;
use crate::sparse::SparseRead;

/// Bytes of a cluster.
const CLUSTER: u64 = 1 << CLUSTER_BITS;

/// Entries in a cluster of a table.
const ENTRIES: u64 = CLUSTER / 8;

/// Refcounts in a cluster.
const REFCOUNTS: u64 = CLUSTER / 2;

/// Clusters read and compressed at a time.
const BATCH: usize = 32;

/// Largest disk in bytes: 64 TiB, whose first-level table has one cluster in 64 Ki entries.
pub const SIZE_MAX_BYTES: u64 = 64 << 40;

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

impl Compression {
    /// All there are, by their names on the command line.
    pub const ALL: [(&'static str, Self); 3] = [
        ("none", Self::None),
        ("zlib", Self::Zlib),
        ("zstd", Self::Zstd),
    ];
}

impl FromStr for Compression {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.iter().find(|(name, _)| *name == text) {
            Some((_, compression)) => Ok(*compression),
            None => bail!("{text:?} is not a qcow2 compression; there are none, zlib and zstd"),
        }
    }
}

/// Writes `disk` into the empty file `out`, with a disk of `size` bytes: what is behind the end of
/// `disk` reads as zeros. Compresses in up to `threads` threads; bytes don't depend on how many.
///
/// Returns the file's SHA-256 where it is known: compressed clusters tell only in the end what the
/// header has to say.
pub fn write(
    disk: &dyn SparseRead,
    size: u64,
    compression: Compression,
    threads: usize,
    out: &File,
    advance: &dyn Fn(u64),
) -> Result<Option<[u8; 32]>> {
    ensure!(
        size >= disk.len() && size <= SIZE_MAX_BYTES && size.is_multiple_of(SECTOR),
        "a qcow2 disk of {size} bytes can't hold an image of {} bytes",
        disk.len()
    );
    let mut sink = Sink {
        file: Forward::new(out).context("writing qcow2")?,
        hash: None,
        end: 0,
    };
    if compression == Compression::None {
        // Sizes don't depend on what is in the clusters.
        let any = vec![0; usize::try_from(CLUSTER)?];
        let mut image = Image::new(None);
        for cluster in Clusters::of(disk) {
            let entry = image.append(&any, CLUSTER)?;
            image.enter(cluster?, entry)?;
        }
        let header = image.finish(size, compression)?;
        sink.hash = Some(Sha256::new());
        sink.write_at(0, header.as_bytes())?;
    }
    let mut image = Image::new(Some(&mut sink));
    let mut batch: Vec<(u64, Vec<u8>)> = Vec::with_capacity(BATCH);
    for cluster in Clusters::of(disk) {
        let cluster = cluster?;
        let mut bytes = vec![0; usize::try_from(CLUSTER)?];
        let here = CLUSTER.min(disk.len() - cluster * CLUSTER);
        disk.read_at(cluster * CLUSTER, &mut bytes[..usize::try_from(here)?])
            .context("reading the disk")?;
        advance(here);
        batch.push((cluster, bytes));
        if batch.len() == BATCH {
            image.add(&mut batch, compression, threads)?;
        }
    }
    image.add(&mut batch, compression, threads)?;
    let header = image.finish(size, compression)?;
    let hash = sink.finish().context("writing qcow2")?;
    if hash.is_none() {
        out.write_all_at(header.as_bytes(), 0)
            .context("writing qcow2")?;
    }
    Ok(hash)
}

/// Numbers of the clusters of a disk that are not all zeros.
struct Clusters<'a> {
    disk: &'a dyn SparseRead,
    next: u64,
}

impl<'a> Clusters<'a> {
    fn of(disk: &'a dyn SparseRead) -> Self {
        Self { disk, next: 0 }
    }

    fn find(&mut self) -> io::Result<Option<u64>> {
        // Most that are no holes say so at once.
        let mut part = [0; 4096];
        while let Some(offset) = self.disk.data_from(self.next) {
            let cluster = offset / CLUSTER;
            self.next = (cluster + 1) * CLUSTER;
            let end = self.next.min(self.disk.len());
            for at in (cluster * CLUSTER..end).step_by(part.len()) {
                let part = &mut part[..(end - at).min(4096) as usize];
                self.disk.read_at(at, part)?;
                if part.iter().any(|byte| *byte != 0) {
                    return Ok(Some(cluster));
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Clusters<'_> {
    type Item = Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        self.find().context("reading the disk").transpose()
    }
}

/// The file, with its checksum where it is written from its first byte to its last.
struct Sink<'a> {
    file: Forward<'a>,
    hash: Option<Sha256>,
    end: u64,
}

impl Sink<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if let Some(hash) = &mut self.hash {
            hash.update(vec![0; usize::try_from(offset - self.end)?]);
            hash.update(bytes);
        }
        self.end = offset + bytes.len() as u64;
        self.file.write_at(offset, bytes).context("writing qcow2")
    }

    fn finish(self) -> io::Result<Option<[u8; 32]>> {
        self.file.finish()?;
        Ok(self.hash.map(|hash| hash.finalize().into()))
    }
}

/// An image while it grows.
struct Image<'a, 'b> {
    /// Nothing where only its size is of interest.
    out: Option<&'b mut Sink<'a>>,
    /// Where the next bytes go.
    end: u64,
    /// Second-level tables, by position in the first-level one; none where all is zeros.
    tables: Vec<Option<Vec<u64>>>,
    /// How often each cluster of the file is used.
    references: Vec<u16>,
}

impl<'a, 'b> Image<'a, 'b> {
    fn new(out: Option<&'b mut Sink<'a>>) -> Self {
        Self {
            out,
            // The header's cluster.
            end: CLUSTER,
            tables: Vec::new(),
            references: vec![1],
        }
    }

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
            self.enter(cluster, entry)?;
        }
        Ok(())
    }

    fn enter(&mut self, cluster: u64, entry: u64) -> Result<()> {
        let table = usize::try_from(cluster / ENTRIES)?;
        if self.tables.len() <= table {
            self.tables.resize(table + 1, None);
        }
        let entries = self.tables[table].get_or_insert_with(|| vec![0; ENTRIES as usize]);
        entries[usize::try_from(cluster % ENTRIES)?] = entry;
        Ok(())
    }

    /// Appends bytes at a multiple of `alignment` and counts the clusters they lie in; returns
    /// where they are.
    fn append(&mut self, bytes: &[u8], alignment: u64) -> Result<u64> {
        let at = self.end.next_multiple_of(alignment);
        self.write_at(at, bytes)?;
        self.end = at + bytes.len() as u64;
        // Whole sectors count, so the last one's end decides.
        let last = self.end.next_multiple_of(SECTOR) - 1;
        self.reference(at / CLUSTER, last / CLUSTER)?;
        Ok(at)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        match &mut self.out {
            Some(out) => out.write_at(at, bytes),
            None => Ok(()),
        }
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

    /// Writes the tables; the header that is returned goes to the beginning.
    fn finish(mut self, size: u64, compression: Compression) -> Result<Header> {
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
        self.write_at(self.end, &counts)?;
        let refcount_table: Vec<u64> = (0..blocks).map(|at| (before + at) * CLUSTER).collect();
        let mut refcount_table = big_endian(&refcount_table);
        refcount_table.resize(usize::try_from(table_clusters * CLUSTER)?, 0);
        let refcount_table_offset = (before + blocks) * CLUSTER;
        self.write_at(refcount_table_offset, &refcount_table)?;

        let zstd = compression == Compression::Zstd;
        Ok(Header {
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
        })
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
