//! Reads the disk inside a qcow2 image. Images are taken for foreign: positions and counts are
//! checked where they are used, and what the reader can't honour is refused by name.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::DeflateDecoder;
use zerocopy::FromBytes;

use super::format::{
    COMPRESSED, Header, INCOMPATIBLE_COMPRESSION, MAGIC, OFFSET_MASK, SECTOR, VERSION, ZERO,
    compressed_shift,
};
use bake_tree::{Content, ReadAt};

/// Cluster sizes that QEMU takes: 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// Entries of a first-level table, 32 MiB of it as in QEMU.
const L1_MAX: u32 = (32 << 20) / 8;

/// Incompatible features that don't change how clusters are read: dirty refcounts.
const HARMLESS: u64 = 1;

/// The disk inside an image.
#[derive(Debug)]
pub struct Reader {
    content: Content,
    cluster_bits: u32,
    size: u64,
    zstd: bool,
    first_level: Vec<u64>,
    recent: Mutex<Recent>,
}

/// What was used last: reads come in small pieces, one after the other.
#[derive(Debug, Default)]
struct Recent {
    /// Position in the first-level table, and the second-level table there.
    table: Option<(usize, Vec<u64>)>,
    /// Number of a cluster of the disk, and its bytes unpacked.
    cluster: Option<(u64, Vec<u8>)>,
}

impl Reader {
    /// Whether `content` starts like a qcow2 image.
    pub fn probe(content: &Content) -> bool {
        let mut magic = [0; 4];
        content.read_at(0, &mut magic).is_ok() && magic == MAGIC
    }

    /// Opens an image.
    pub fn open(content: Content) -> Result<Self> {
        let mut bytes = [0; size_of::<Header>()];
        // A version 2 header is shorter, and its file not.
        content
            .read_at(0, &mut bytes)
            .context("reading the qcow2 header")?;
        let header = Header::read_from_bytes(&bytes)
            .ok()
            .context("the buffer has the header's size")?;
        ensure!(header.magic == MAGIC, "this is no qcow2 image");
        let version = header.version.get();
        ensure!(
            version == VERSION || version == 2,
            "qcow2 version {version} can't be read, only 2 and 3"
        );
        let features = match version {
            2 => 0,
            _ => header.incompatible_features.get(),
        };
        let unknown = features & !(HARMLESS | INCOMPATIBLE_COMPRESSION);
        ensure!(
            unknown == 0,
            "the qcow2 image has incompatible features {unknown:#x}, which can't be read"
        );
        ensure!(
            header.backing_file_offset.get() == 0,
            "the qcow2 image has a backing file; make one of its own with qemu-img convert"
        );
        ensure!(
            header.crypt_method.get() == 0,
            "the qcow2 image is encrypted"
        );
        let cluster_bits = header.cluster_bits.get();
        ensure!(
            CLUSTER_BITS.contains(&cluster_bits),
            "the qcow2 image has clusters of 2^{cluster_bits} bytes"
        );
        let zstd = features & INCOMPATIBLE_COMPRESSION != 0;
        ensure!(
            !zstd || header.compression_type == 1,
            "the qcow2 image has compression type {}, which can't be read",
            header.compression_type
        );
        let size = header.size.get();
        let entries = header.l1_size.get();
        let wanted = size.div_ceil(1 << (2 * cluster_bits - 3));
        ensure!(
            entries <= L1_MAX && wanted <= u64::from(entries),
            "the qcow2 image has a first-level table of {entries} entries for {size} bytes"
        );
        let reader = Self {
            first_level: read_table(&content, header.l1_table_offset.get(), entries as usize)
                .context("reading the first-level table of the qcow2 image")?,
            content,
            cluster_bits,
            size,
            zstd,
            recent: Mutex::default(),
        };
        Ok(reader)
    }

    /// The disk as content.
    pub fn into_content(self) -> Content {
        let len = self.size;
        Content::composed(std::sync::Arc::new(self), len)
    }

    /// Reads within one cluster.
    fn read_cluster(&self, cluster: u64, start: usize, buffer: &mut [u8]) -> Result<()> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(&mut recent, cluster)?;
        if entry & COMPRESSED != 0 {
            if recent
                .cluster
                .as_ref()
                .is_none_or(|(number, _)| *number != cluster)
            {
                recent.cluster = Some((cluster, self.unpack(entry)?));
            }
            let (_, bytes) = recent.cluster.as_ref().context("kept just now")?;
            buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
            return Ok(());
        }
        let offset = entry & OFFSET_MASK;
        if entry & ZERO != 0 || offset == 0 {
            buffer.fill(0);
            return Ok(());
        }
        self.content
            .read_at(offset + start as u64, buffer)
            .with_context(|| format!("reading the qcow2 cluster at byte {offset}"))
    }

    /// The second-level entry of a cluster.
    fn entry(&self, recent: &mut Recent, cluster: u64) -> Result<u64> {
        let bits = self.cluster_bits - 3;
        let at = usize::try_from(cluster >> bits)?;
        let position = self.first_level.get(at).copied().unwrap_or(0) & OFFSET_MASK;
        if position == 0 {
            return Ok(0);
        }
        if recent
            .table
            .as_ref()
            .is_none_or(|(number, _)| *number != at)
        {
            let table = read_table(&self.content, position, 1 << bits)
                .context("reading a second-level table of the qcow2 image")?;
            recent.table = Some((at, table));
        }
        let (_, table) = recent.table.as_ref().context("kept just now")?;
        Ok(table[usize::try_from(cluster & ((1 << bits) - 1))?])
    }

    fn unpack(&self, entry: u64) -> Result<Vec<u8>> {
        let shift = compressed_shift(self.cluster_bits);
        let offset = entry & ((1 << shift) - 1);
        let sectors = (entry & (COMPRESSED - 1)) >> shift;
        let cluster = 1usize << self.cluster_bits;
        let len = (sectors + 1) * SECTOR - offset % SECTOR;
        // The last sector need not be in the file to its end.
        let len = len.min(self.content.len().saturating_sub(offset));
        let packed = self
            .content
            .slice(offset, len)
            .with_context(|| format!("the qcow2 image ends before byte {offset}"))?
            .to_vec(2 * cluster as u64 + SECTOR)?;
        let mut bytes = vec![0; cluster];
        let unpacked = match self.zstd {
            true => zstd::stream::read::Decoder::with_buffer(&packed[..])
                .and_then(|decoder| decoder.single_frame().read_exact(&mut bytes)),
            false => DeflateDecoder::new(&packed[..]).read_exact(&mut bytes),
        };
        if let Err(error) = unpacked {
            bail!("the compressed qcow2 cluster at byte {offset} is damaged: {error}");
        }
        Ok(bytes)
    }
}

fn read_table(content: &Content, offset: u64, entries: usize) -> Result<Vec<u64>> {
    let mut bytes = vec![0; entries * 8];
    content.read_at(offset, &mut bytes)?;
    let entry = |bytes: &[u8]| bytes.iter().fold(0, |value, b| value << 8 | u64::from(*b));
    Ok(bytes.chunks_exact(8).map(entry).collect())
}

impl ReadAt for Reader {
    fn read_at(&self, offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let cluster = 1u64 << self.cluster_bits;
        let mut at = offset;
        while !buffer.is_empty() {
            let start = at % cluster;
            let count = buffer
                .len()
                .min(usize::try_from(cluster - start).map_err(io::Error::other)?);
            let (part, rest) = buffer.split_at_mut(count);
            self.read_cluster(at / cluster, start as usize, part)
                .map_err(|error| io::Error::other(format!("{error:#}")))?;
            at += count as u64;
            buffer = rest;
        }
        Ok(())
    }
}
