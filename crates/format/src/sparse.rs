//! Disks with holes: what image writers read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{SeekFrom, seek};

use bake_tree::ReadAt;

/// Read at a time.
const CHUNK: u64 = 1 << 20;

/// A disk whose empty parts need not be read.
pub trait SparseRead: ReadAt {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether it has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first position at or behind `offset` that may hold something but zeros; `None` if only
    /// zeros follow. Says too much rather than too little: results must not depend on it.
    fn data_from(&self, offset: u64) -> Option<u64>;
}

/// A raw file of this length.
#[derive(Debug)]
pub struct RawFile {
    file: Arc<File>,
    len: u64,
}

impl RawFile {
    /// The whole of `file`.
    pub fn new(file: Arc<File>) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl ReadAt for RawFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl SparseRead for RawFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn data_from(&self, offset: u64) -> Option<u64> {
        if offset >= self.len {
            return None;
        }
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(at) => Some(at).filter(|at| *at < self.len),
            Err(rustix::io::Errno::NXIO) => None,
            // A file system that knows no holes.
            Err(_) => Some(offset),
        }
    }
}

/// Shows the bytes from `start` to `end` in order, a MiB at a time; holes are not read.
pub fn each(
    disk: &dyn SparseRead,
    start: u64,
    end: u64,
    show: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let zeros = vec![0; CHUNK as usize];
    runs(disk, start, end, &mut |run| match run {
        Run::Data(bytes) => show(bytes),
        Run::Hole(mut left) => {
            while left > 0 {
                let count = left.min(CHUNK);
                show(&zeros[..count as usize])?;
                left -= count;
            }
            Ok(())
        }
    })
}

/// A part of a disk.
#[derive(Debug)]
pub enum Run<'a> {
    /// Bytes, at most a MiB of them; they may be zeros as well.
    Data(&'a [u8]),
    /// So many zeros.
    Hole(u64),
}

/// Shows data and holes from `start` to `end` in order.
pub fn runs(
    disk: &dyn SparseRead,
    start: u64,
    end: u64,
    show: &mut dyn FnMut(Run<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min(end.saturating_sub(start)) as usize];
    let mut at = start;
    while at < end {
        let data = disk.data_from(at).unwrap_or(end).min(end);
        if data > at {
            show(Run::Hole(data - at))?;
            at = data;
            continue;
        }
        let part = &mut buffer[..CHUNK.min(end - at) as usize];
        disk.read_at(at, part)?;
        show(Run::Data(part))?;
        at += part.len() as u64;
    }
    Ok(())
}
