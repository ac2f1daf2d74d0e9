//! A disk image before it is a file.
//!
//! Everything but contents of files, partition tables, file system metadata and boot code, lies in
//! a sparse scratch file; contents of files stay where they are stored. A raw file, a qcow2 image, a
//! checksum and an osmet file are all made from this, so none needs another one on disk.

use std::fs::File;
use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::format::forward::Forward;
use crate::format::sparse::{RawFile, Run, SparseRead, runs};
use crate::tree::{Content, ReadAt};

/// Zeros are left out of raw files in pieces of this length.
const GRAIN: usize = 64 << 10;

/// A piece of a file's content on the disk.
#[derive(Clone, Debug)]
pub(in crate::media) struct Piece {
    /// Where it begins on the disk, in bytes.
    pub(in crate::media) offset: u64,
    /// Its length in bytes; what is behind the content's end reads as zeros.
    pub(in crate::media) len: u64,
    /// The file's content.
    pub(in crate::media) content: Content,
    /// Where in the content it begins.
    pub(in crate::media) from: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// How many bytes of the piece come from the content.
    fn content_len(&self) -> u64 {
        self.len.min(self.content.len().saturating_sub(self.from))
    }
}

/// A disk, composed.
#[derive(Clone, Debug)]
pub(in crate::media) struct Image {
    metadata: Arc<RawFile>,
    /// In the order of the disk.
    pieces: Arc<Vec<Piece>>,
}

impl Image {
    /// A disk as long as `metadata`, with `pieces` over it.
    pub(in crate::media) fn new(metadata: Arc<File>, mut pieces: Vec<Piece>) -> Result<Self> {
        pieces.retain(|piece| piece.len > 0);
        pieces.sort_by_key(|piece| piece.offset);
        let raw = RawFile::new(metadata).context("looking at the disk image")?;
        let mut end = 0;
        for piece in &pieces {
            ensure!(
                piece.offset >= end && piece.end() <= raw.len(),
                "two files lie at byte {} of the disk image",
                piece.offset
            );
            end = piece.end();
        }
        Ok(Self {
            metadata: Arc::new(raw),
            pieces: Arc::new(pieces),
        })
    }

    /// Reads the disk once, front to back: its SHA-256, and into the empty file `copy`, if there is
    /// one, its bytes; that stays sparse. `advance` is told of every byte that is not in a hole.
    pub(in crate::media) fn sha256(
        &self,
        copy: Option<&File>,
        advance: &dyn Fn(u64),
    ) -> Result<[u8; 32]> {
        let mut copy = match copy {
            Some(file) => {
                file.set_len(self.len()).context("making room")?;
                Some(Forward::new(file).context("making room")?)
            }
            None => None,
        };
        let mut hash = Sha256::new();
        let mut at = 0;
        runs(self, 0, self.len(), &mut |run| {
            at += match run {
                Run::Hole(len) => {
                    hash_zeros(&mut hash, len);
                    len
                }
                Run::Data(bytes) => {
                    hash.update(bytes);
                    if let Some(copy) = &mut copy {
                        write_sparse(copy, at, bytes)?;
                    }
                    advance(bytes.len() as u64);
                    bytes.len() as u64
                }
            };
            Ok(())
        })
        .context("reading the disk image")?;
        if let Some(copy) = copy {
            copy.finish().context("writing the disk image")?;
        }
        Ok(hash.finalize().into())
    }

    /// The pieces that overlap with `start..`.
    fn from(&self, start: u64) -> &[Piece] {
        let first = self.pieces.partition_point(|piece| piece.end() <= start);
        &self.pieces[first..]
    }
}

impl ReadAt for Image {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        let mut at = offset;
        // The scratch file is read between contents only: holes cost as much as data to read.
        let between = |from: u64, to: u64, buffer: &mut [u8]| match from < to {
            true => {
                let part = &mut buffer[(from - offset) as usize..(to - offset) as usize];
                self.metadata.read_at(from, part)
            }
            false => Ok(()),
        };
        for piece in self.from(offset).iter().take_while(|p| p.offset < end) {
            let start = piece.offset.max(offset);
            let stop = piece.end().min(end);
            between(at, start, buffer)?;
            let part = &mut buffer[(start - offset) as usize..(stop - offset) as usize];
            let from = start - piece.offset;
            let here = (piece.content_len().saturating_sub(from)).min(part.len() as u64);
            let (bytes, zeros) = part.split_at_mut(here as usize);
            if !bytes.is_empty() {
                piece.content.read_at(piece.from + from, bytes)?;
            }
            zeros.fill(0);
            at = stop;
        }
        between(at, end, buffer)
    }
}

impl SparseRead for Image {
    fn len(&self) -> u64 {
        self.metadata.len()
    }

    fn data_from(&self, offset: u64) -> Option<u64> {
        let piece = self.from(offset).first().map(|p| p.offset.max(offset));
        [piece, self.metadata.data_from(offset)]
            .into_iter()
            .flatten()
            .min()
    }
}

fn hash_zeros(hash: &mut Sha256, mut left: u64) {
    let zeros = [0; GRAIN];
    while left > 0 {
        let count = left.min(GRAIN as u64);
        hash.update(&zeros[..count as usize]);
        left -= count;
    }
}

/// Writes bytes at `offset` where they are not all zero.
fn write_sparse(out: &mut Forward<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let is_empty = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    let mut at = 0;
    while at < bytes.len() {
        let mut end = at;
        for part in bytes[at..].chunks(GRAIN).take_while(|part| !is_empty(part)) {
            end += part.len();
        }
        out.write_at(offset + at as u64, &bytes[at..end])?;
        // Zeros ended the run, or there is nothing more.
        at = (end + GRAIN).min(bytes.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn image(metadata: &[(u64, &[u8])], pieces: Vec<Piece>) -> Result<Image> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 << 20).unwrap();
        for (at, bytes) in metadata {
            file.write_all_at(bytes, *at).unwrap();
        }
        Image::new(Arc::new(file), pieces)
    }

    fn piece(offset: u64, len: u64, content: Content, from: u64) -> Piece {
        Piece {
            offset,
            len,
            content,
            from,
        }
    }

    #[test]
    fn reads_and_raw_files_show_the_same() {
        let stored = tempfile::tempfile().unwrap();
        stored.write_all_at(&[9; 10_000], 0).unwrap();
        let stored = Content::range(Arc::new(stored), 100, 9000);
        let image = image(
            &[(0, b"table"), (1 << 20, b"inode")],
            vec![
                piece((1 << 20) + 8192, 4096, Content::bytes(vec![7; 5000]), 4096),
                piece((1 << 20) + 4096, 4096, Content::bytes(vec![7; 5000]), 0),
                piece(3 << 20, 12_288, stored, 0),
            ],
        )
        .unwrap();
        let mut expected = vec![0; 4 << 20];
        expected[..5].copy_from_slice(b"table");
        expected[1 << 20..(1 << 20) + 5].copy_from_slice(b"inode");
        expected[(1 << 20) + 4096..(1 << 20) + 4096 + 5000].fill(7);
        expected[3 << 20..(3 << 20) + 9000].fill(9);

        let out = tempfile::tempfile().unwrap();
        let checksum = image.sha256(Some(&out), &|_| ()).unwrap();
        assert_eq!(checksum, *Sha256::digest(&expected));
        assert_eq!(checksum, image.sha256(None, &|_| ()).unwrap());
        let mut written = vec![1; 4 << 20];
        out.read_exact_at(&mut written, 0).unwrap();
        assert!(written == expected);
        for size in [1000, 4096, 65_536, 4 << 20] {
            for (number, part) in expected.chunks(size).enumerate() {
                let mut buffer = vec![1; part.len()];
                image.read_at((number * size) as u64, &mut buffer).unwrap();
                assert!(buffer == part, "{number} of {size}");
            }
        }
        let mut at = 0;
        while let Some(start) = image.data_from(at) {
            assert!(
                expected[at as usize..start as usize]
                    .iter()
                    .all(|b| *b == 0)
            );
            at = start + 512;
        }
        assert!(expected[at as usize..].iter().all(|b| *b == 0));
    }

    #[test]
    fn pieces_over_each_other_are_refused() {
        let twice = |offset| piece(offset, 4096, Content::bytes(*b"x"), 0);
        assert!(image(&[], vec![twice(0), twice(2048)]).is_err());
        assert!(image(&[], vec![twice((4 << 20) - 512)]).is_err());
    }
}
