//! Metadata blocks: 8 KiB each, compressed one by one, with a 16-bit header.

use anyhow::{Context, Result};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U64};

use super::Sink;
use crate::squashfs::compress::{Encoder, Form};
use crate::squashfs::format::{METADATA_RAW, METADATA_SIZE, Place};

/// A table under construction, compressed as far as it goes.
#[derive(Default)]
pub(super) struct MetadataWriter {
    /// Finished blocks with their headers.
    done: Vec<u8>,
    /// The block that is being filled, never a full one.
    open: Vec<u8>,
}

impl MetadataWriter {
    /// Where the next byte goes.
    pub(super) fn place(&self) -> Result<Place> {
        Ok(Place {
            block: u32::try_from(self.done.len())
                .context("a table of the image exceeds 4 GiB, the most that is addressed")?,
            offset: u16::try_from(self.open.len())?,
        })
    }

    /// Appends bytes; records may go on in the next block.
    pub(super) fn put(&mut self, mut bytes: &[u8], encoder: &mut Encoder) -> Result<()> {
        while !bytes.is_empty() {
            let room = METADATA_SIZE - self.open.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.open.extend_from_slice(now);
            bytes = later;
            if self.open.len() == METADATA_SIZE {
                self.close(encoder)?;
            }
        }
        Ok(())
    }

    /// Ends the last block and returns the table's bytes.
    pub(super) fn finish(mut self, encoder: &mut Encoder) -> Result<Vec<u8>> {
        if !self.open.is_empty() {
            self.close(encoder)?;
        }
        Ok(self.done)
    }

    fn close(&mut self, encoder: &mut Encoder) -> Result<()> {
        append_block(&self.open, encoder, &mut self.done)?;
        self.open.clear();
        Ok(())
    }
}

/// Writes `records` as metadata blocks, then the positions of these blocks, and returns where the
/// positions start, which is how such a table is found.
pub(super) fn table(records: &[u8], encoder: &mut Encoder, sink: &mut Sink<'_>) -> Result<u64> {
    let positions = blocks(records, encoder, sink)?;
    let start = sink.position;
    sink.write(positions.as_bytes())?;
    Ok(start)
}

/// Writes `records` as metadata blocks and returns the blocks' positions in the image.
pub(super) fn blocks(
    records: &[u8],
    encoder: &mut Encoder,
    sink: &mut Sink<'_>,
) -> Result<Vec<U64>> {
    let mut positions = Vec::new();
    let mut block = Vec::with_capacity(2 * METADATA_SIZE);
    for part in records.chunks(METADATA_SIZE) {
        positions.push(U64::new(sink.position));
        block.clear();
        append_block(part, encoder, &mut block)?;
        sink.write(&block)?;
    }
    Ok(positions)
}

/// Appends one block with its header.
fn append_block(block: &[u8], encoder: &mut Encoder, output: &mut Vec<u8>) -> Result<()> {
    let header = output.len();
    output.extend_from_slice(&[0; 2]);
    let form = encoder.encode_small(block, output)?;
    let len = u16::try_from(output.len() - header - size_of::<U16>())?;
    let word = match form {
        Form::Compressed => len,
        Form::Raw => len | METADATA_RAW,
    };
    output[header..header + size_of::<U16>()].copy_from_slice(U16::new(word).as_bytes());
    Ok(())
}
