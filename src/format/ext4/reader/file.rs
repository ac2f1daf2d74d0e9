//! Contents of regular files.

use std::io::{self, Read};

use anyhow::{Context, Result, bail, ensure};

use super::Reader;
use super::extents::{Extent, Map};
use super::inode::{Entry, Kind};
use crate::tree::Content;

/// Reads a file from start to end; holes and blocks never written are zeros.
#[derive(Debug)]
pub struct FileReader<'a> {
    reader: &'a Reader,
    /// For messages.
    number: u32,
    len: u64,
    position: u64,
    map: Map,
    /// The extent to look at next.
    next: usize,
}

impl Reader {
    /// A reader of a file's contents.
    pub fn read(&self, file: &Entry) -> Result<FileReader<'_>> {
        let Kind::File { len } = file.kind else {
            bail!("ext4 inode {} is not a regular file", file.number);
        };
        Ok(FileReader {
            reader: self,
            number: file.number,
            len,
            position: 0,
            map: self.file_map(file)?,
            next: 0,
        })
    }

    /// All of a file, for small ones; more than `limit` bytes is an error.
    pub fn to_vec(&self, file: &Entry, limit: u64) -> Result<Vec<u8>> {
        let mut reader = self.read(file)?;
        ensure!(
            reader.len <= limit,
            "ext4 inode {} has {} bytes, where at most {limit} are taken",
            file.number,
            reader.len
        );
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The runs of a file's contents in the image: offset in the file, position in the image, and
    /// length, all in bytes and not beyond the file's end. Between them are zeros.
    pub fn extents(&self, file: &Entry) -> Result<Vec<(u64, u64, u64)>> {
        let Kind::File { len } = file.kind else {
            bail!("ext4 inode {} is not a regular file", file.number);
        };
        let block_size = u64::from(self.facts.block_size);
        let map = self.file_map(file)?;
        let written = map.extents.iter().filter(|extent| !extent.unwritten);
        Ok(written
            .filter_map(|extent| {
                let start = bytes_at(extent.offset, block_size);
                let count = (extent.count * block_size).min(len.saturating_sub(start));
                (count > 0).then_some((start, extent.position, count))
            })
            .collect())
    }

    /// The contents of a file as a handle, without copying, where they lie in one piece.
    pub fn content(&self, file: &Entry) -> Result<Option<Content>> {
        let Kind::File { len } = file.kind else {
            return Ok(None);
        };
        Ok(match self.extents(file)?[..] {
            [] if len == 0 => Some(Content::bytes(Vec::new())),
            [(0, position, count)] if count == len => self.content.slice(position, len),
            _ => None,
        })
    }

    fn file_map(&self, file: &Entry) -> Result<Map> {
        self.map(file)
            .with_context(|| format!("reading the extents of ext4 inode {}", file.number))
    }
}

/// Offset in bytes; one that is beyond the largest file is beyond every file.
fn bytes_at(block: u64, block_size: u64) -> u64 {
    block.saturating_mul(block_size)
}

impl FileReader<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let block_size = u64::from(self.reader.facts.block_size);
        let end_of = |extent: &Extent| bytes_at(extent.offset + extent.count, block_size);
        while let Some(extent) = self.map.extents.get(self.next)
            && end_of(extent) <= self.position
        {
            self.next += 1;
        }
        let left = self.len - self.position;
        let extent = self.map.extents.get(self.next);
        let start = extent.map_or(u64::MAX, |extent| bytes_at(extent.offset, block_size));
        let (run, source) = match extent {
            Some(extent) if start <= self.position => {
                let inside = self.position - start;
                let source = (!extent.unwritten).then_some(extent.position + inside);
                (end_of(extent) - self.position, source)
            }
            _ => (start - self.position, None),
        };
        let count = usize::try_from(run.min(left).min(buffer.len() as u64))?;
        match source {
            Some(position) => self.reader.read_at(position, &mut buffer[..count])?,
            None => buffer[..count].fill(0),
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.len || buffer.is_empty() {
            return Ok(0);
        }
        self.fill(buffer)
            .with_context(|| format!("reading the contents of ext4 inode {}", self.number))
            .map_err(io::Error::other)
    }
}
