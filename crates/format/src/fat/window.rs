//! A part of a file, as a disk of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// Reads and writes `bytes` of a file from `start` on.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a File,
    start: u64,
    bytes: u64,
    position: u64,
}

impl<'a> Window<'a> {
    /// The part of `file` that begins at byte `start`.
    pub(super) fn new(file: &'a File, start: u64, bytes: u64) -> Self {
        Self {
            file,
            start,
            bytes,
            position: 0,
        }
    }

    /// How many of `wanted` bytes lie between the position and the end.
    fn within(&self, wanted: usize) -> usize {
        let left = self.bytes.saturating_sub(self.position);
        usize::try_from(left).map_or(wanted, |left| left.min(wanted))
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.within(buffer.len());
        let offset = self.start + self.position;
        let count = self.file.read_at(&mut buffer[..part], offset)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let part = self.within(buffer.len());
        let offset = self.start + self.position;
        let count = self.file.write_at(&buffer[..part], offset)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.bytes.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
