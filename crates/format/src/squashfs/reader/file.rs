//! Contents of regular files.

use std::io::{self, Read};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::little_endian::U32;

use super::Reader;
use super::blocks::Cursor;
use super::inode::{Detail, Entry};
use crate::squashfs::format::{DATA_RAW, Fragment, NONE};
use bake_tree::Kind;

/// Reads a file from start to end.
#[derive(Debug)]
pub struct FileReader<'a> {
    reader: &'a Reader,
    /// For messages.
    number: u32,
    /// Bytes not loaded yet.
    left: u64,
    /// Position of the next block in the image.
    position: u64,
    words: Cursor,
    fragment: u32,
    fragment_offset: u32,
    /// The current block and how much of it was given away.
    block: Vec<u8>,
    used: usize,
    /// A block could not be read, so none after it is.
    failed: bool,
}

impl Reader {
    /// A reader of a file's contents.
    pub fn read(&self, file: &Entry) -> Result<FileReader<'_>> {
        let (
            Kind::File { len },
            Detail::File {
                start,
                fragment,
                offset,
                words,
                ..
            },
        ) = (&file.kind, &file.detail)
        else {
            bail!("squashfs inode {} is not a regular file", file.number);
        };
        Ok(FileReader {
            reader: self,
            number: file.number,
            left: *len,
            position: *start,
            words: words.clone(),
            fragment: *fragment,
            fragment_offset: *offset,
            block: Vec::new(),
            used: 0,
            failed: false,
        })
    }

    /// All of a file, for small ones; more than `limit` bytes is an error.
    pub fn to_vec(&self, file: &Entry, limit: u64) -> Result<Vec<u8>> {
        let mut reader = self.read(file)?;
        ensure!(
            reader.left <= limit,
            "squashfs inode {} has {} bytes, where at most {limit} are taken",
            file.number,
            reader.left
        );
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn fragment(&self, index: u32) -> Result<Arc<Vec<u8>>> {
        ensure!(
            index < self.facts.fragments,
            "fragment {index} is not below {}",
            self.facts.fragments
        );
        let positions = self.superblock.fragment_table.get();
        let fragment: Fragment = self.table_record(positions, index.into())?;
        self.fragment_block(fragment.start.get(), fragment.size.get())
    }
}

impl FileReader<'_> {
    /// Makes the next block the current one, which is empty.
    fn load(&mut self) -> Result<()> {
        let block_size = u64::from(self.reader.facts.block_size);
        let len = usize::try_from(self.left.min(block_size))?;
        if self.left < block_size && self.fragment != NONE {
            self.load_fragment(len)?;
        } else {
            self.load_block(len)?;
        }
        self.left -= len as u64;
        Ok(())
    }

    fn load_block(&mut self, len: usize) -> Result<()> {
        let word = self.words.record::<U32>(self.reader)?.get();
        if word == 0 {
            self.block.resize(len, 0);
            return Ok(());
        }
        self.reader
            .data_block(self.position, word, &mut self.block)?;
        ensure!(
            self.block.len() == len,
            "the data block at {} has {} bytes instead of {len}",
            self.position,
            self.block.len()
        );
        self.position = self
            .position
            .checked_add(u64::from(word & !DATA_RAW))
            .context("a data block ends beyond the largest file")?;
        Ok(())
    }

    fn load_fragment(&mut self, len: usize) -> Result<()> {
        let fragment = self.reader.fragment(self.fragment)?;
        let start = usize::try_from(self.fragment_offset)?;
        let bytes = start
            .checked_add(len)
            .and_then(|end| fragment.get(start..end))
            .with_context(|| {
                format!(
                    "{len} bytes at {start} are not in fragment {} of {} bytes",
                    self.fragment,
                    fragment.len()
                )
            })?;
        self.block.extend_from_slice(bytes);
        Ok(())
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() && self.left > 0 {
            if self.failed {
                return Err(io::Error::other("an earlier block could not be read"));
            }
            self.failed = true;
            self.block.clear();
            self.used = 0;
            self.load()
                .with_context(|| format!("reading the contents of squashfs inode {}", self.number))
                .map_err(io::Error::other)?;
            self.failed = false;
        }
        let count = buffer.len().min(self.block.len() - self.used);
        buffer[..count].copy_from_slice(&self.block[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}
