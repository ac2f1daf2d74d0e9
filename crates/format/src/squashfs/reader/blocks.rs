//! Decompressed blocks, a few of which are kept, and reading across metadata blocks.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use zerocopy::{FromBytes, IntoBytes};

use super::Reader;
use crate::squashfs::compress::Decoder;
use crate::squashfs::format::{DATA_RAW, METADATA_RAW, METADATA_SIZE};

/// Metadata blocks kept: half a MiB, more than a walk needs at a time.
const METADATA_KEPT: usize = 64;
/// Fragments kept: 8 MiB at most. Files of a directory share fragments.
const FRAGMENTS_KEPT: usize = 8;

/// Decompressor and caches.
pub(super) struct Blocks {
    decoder: Decoder,
    metadata: Cache<Metadata>,
    fragments: Cache<Vec<u8>>,
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks")
            .field("decoder", &self.decoder.name())
            .finish_non_exhaustive()
    }
}

impl Blocks {
    pub(super) fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            metadata: Cache::new(METADATA_KEPT),
            fragments: Cache::new(FRAGMENTS_KEPT),
        }
    }
}

/// The blocks used last, by position.
struct Cache<T> {
    room: usize,
    /// Most recently used last.
    kept: VecDeque<(u64, Arc<T>)>,
}

impl<T> Cache<T> {
    fn new(room: usize) -> Self {
        Self {
            room,
            kept: VecDeque::new(),
        }
    }

    fn get(&mut self, position: u64) -> Option<Arc<T>> {
        let at = self.kept.iter().rposition(|(p, _)| *p == position)?;
        let found = self.kept.remove(at)?;
        let block = Arc::clone(&found.1);
        self.kept.push_back(found);
        Some(block)
    }

    fn put(&mut self, position: u64, block: &Arc<T>) {
        if self.kept.len() == self.room {
            self.kept.pop_front();
        }
        self.kept.push_back((position, Arc::clone(block)));
    }
}

/// A metadata block.
struct Metadata {
    bytes: Vec<u8>,
    /// Position of the block after it.
    next: u64,
}

impl Reader {
    fn metadata(&self, position: u64) -> Result<Arc<Metadata>> {
        let mut blocks = self.blocks();
        if let Some(block) = blocks.metadata.get(position) {
            return Ok(block);
        }
        let block = Arc::new(
            self.read_metadata(position, &mut blocks.decoder)
                .with_context(|| format!("reading the squashfs metadata block at {position}"))?,
        );
        blocks.metadata.put(position, &block);
        Ok(block)
    }

    fn read_metadata(&self, position: u64, decoder: &mut Decoder) -> Result<Metadata> {
        let mut header = [0; 2];
        self.read_at(position, &mut header)?;
        let header = u16::from_le_bytes(header);
        let len = usize::from(header & !METADATA_RAW);
        ensure!(
            (1..=METADATA_SIZE).contains(&len),
            "its length {len} is not 1 to {METADATA_SIZE}"
        );
        let mut stored = vec![0; len];
        self.read_at(position + 2, &mut stored)?;
        let bytes = if header & METADATA_RAW != 0 {
            stored
        } else {
            let mut bytes = vec![0; METADATA_SIZE];
            let len = decoder.decode(&stored, &mut bytes)?;
            bytes.truncate(len);
            bytes
        };
        ensure!(!bytes.is_empty(), "it is empty");
        Ok(Metadata {
            bytes,
            next: position + 2 + len as u64,
        })
    }

    /// A fragment, decompressed.
    pub(super) fn fragment_block(&self, position: u64, word: u32) -> Result<Arc<Vec<u8>>> {
        if let Some(block) = self.blocks().fragments.get(position) {
            return Ok(block);
        }
        let mut bytes = Vec::new();
        self.data_block(position, word, &mut bytes)?;
        let block = Arc::new(bytes);
        self.blocks().fragments.put(position, &block);
        Ok(block)
    }

    /// Decompresses the data block at `position` with this size word into `output`.
    pub(super) fn data_block(&self, position: u64, word: u32, output: &mut Vec<u8>) -> Result<()> {
        self.read_data(position, word, output)
            .with_context(|| format!("reading the squashfs data block at {position}"))
    }

    fn read_data(&self, position: u64, word: u32, output: &mut Vec<u8>) -> Result<()> {
        let block_size = usize::try_from(self.facts.block_size)?;
        let len = usize::try_from(word & !DATA_RAW)?;
        ensure!(
            (1..=block_size).contains(&len),
            "its length {len} is not 1 to {block_size}"
        );
        if word & DATA_RAW != 0 {
            output.resize(len, 0);
            return self.read_at(position, output);
        }
        let mut stored = vec![0; len];
        self.read_at(position, &mut stored)?;
        output.resize(block_size, 0);
        let len = self.blocks().decoder.decode(&stored, output)?;
        output.truncate(len);
        Ok(())
    }
}

/// A position in a row of metadata blocks, to read on from.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    /// Of the block, from the image's start.
    position: u64,
    /// In the block, decompressed.
    offset: usize,
}

impl Cursor {
    pub(super) fn new(position: u64, offset: usize) -> Self {
        Self { position, offset }
    }

    /// Offset in the block.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Fills `buffer`, going on in the next blocks where one ends.
    pub(super) fn read(&mut self, reader: &Reader, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let block = reader.metadata(self.position)?;
            ensure!(
                self.offset <= block.bytes.len(),
                "offset {} lies beyond the {} bytes of the squashfs metadata block at {}",
                self.offset,
                block.bytes.len(),
                self.position
            );
            let here = &block.bytes[self.offset..];
            let count = here.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut(count);
            now.copy_from_slice(&here[..count]);
            buffer = later;
            self.offset += count;
            if self.offset == block.bytes.len() {
                *self = Self::new(block.next, 0);
            }
        }
        Ok(())
    }

    /// The next record.
    pub(super) fn record<T: FromBytes + IntoBytes>(&mut self, reader: &Reader) -> Result<T> {
        let mut record = T::new_zeroed();
        self.read(reader, record.as_mut_bytes())?;
        Ok(record)
    }

    /// The next `len` bytes; for lengths that were checked.
    pub(super) fn bytes(&mut self, reader: &Reader, len: usize) -> Result<Box<[u8]>> {
        let mut bytes = vec![0; len];
        self.read(reader, &mut bytes)?;
        Ok(bytes.into())
    }
}
