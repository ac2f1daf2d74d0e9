//! Large files written front to back, past the page cache.
//!
//! What is written once and read by another machine has no business in this one's memory: it
//! drives out what the next phase reads, and is held up once a fifth of the memory waits for the
//! disk. Where a file system takes no direct writes, ordinary ones are made.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// What addresses, offsets and lengths of direct writes are multiples of: enough for every disk.
const BLOCK: usize = 4096;

/// Written at a time.
const BUFFER: usize = 4 << 20;

/// Writes a new file at growing offsets; what is skipped reads as zeros.
#[derive(Debug)]
pub struct Forward<'a> {
    file: &'a File,
    /// The flags that the file had.
    flags: OFlags,
    /// With room for the part from `head` on to begin at a multiple of [`BLOCK`].
    buffer: Vec<u8>,
    head: usize,
    /// Where in the file the buffer's bytes begin: a multiple of [`BLOCK`].
    start: u64,
    /// How many bytes of it there are.
    filled: usize,
}

impl<'a> Forward<'a> {
    /// A writer into `file`, which is empty or a hole where it is to write.
    pub fn new(file: &'a File) -> io::Result<Self> {
        let buffer = vec![0; BUFFER + BLOCK];
        let head = buffer.as_ptr().align_offset(BLOCK);
        let flags = fcntl_getfl(file)?;
        match fcntl_setfl(file, flags | OFlags::DIRECT) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            file,
            flags,
            buffer,
            head,
            start: 0,
            filled: 0,
        })
    }

    /// Writes `bytes` at `offset`, which lies behind everything written before.
    pub fn write_at(&mut self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        assert!(offset >= self.end(), "the file is written front to back");
        while !bytes.is_empty() {
            let distance = offset - self.start;
            if distance >= BUFFER as u64 || distance - self.filled as u64 >= BLOCK as u64 {
                self.flush()?;
                self.start = offset - offset % BLOCK as u64;
                continue;
            }
            // Less than the buffer's length, as was just seen.
            let at = distance as usize;
            let count = bytes.len().min(BUFFER - at);
            let buffer = &mut self.buffer[self.head..];
            buffer[self.filled..at].fill(0);
            buffer[at..at + count].copy_from_slice(&bytes[..count]);
            self.filled = at + count;
            bytes = &bytes[count..];
            offset += count as u64;
        }
        Ok(())
    }

    /// Writes what is left; the file then ends where the last bytes do, or where it did before.
    pub fn finish(mut self) -> io::Result<()> {
        let len = self.file.metadata()?.len().max(self.end());
        self.flush()?;
        // Back to what the file was for whoever goes on with it.
        fcntl_setfl(self.file, self.flags)?;
        self.file.set_len(len)
    }

    fn end(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// Writes whole blocks, zeros behind the last byte: nothing was written there yet.
    fn flush(&mut self) -> io::Result<()> {
        let padded = self.filled.next_multiple_of(BLOCK);
        let buffer = &mut self.buffer[self.head..self.head + padded];
        buffer[self.filled..].fill(0);
        match self.file.write_all_at(buffer, self.start) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                fcntl_setfl(self.file, self.flags)?;
                self.file.write_all_at(buffer, self.start)?;
            }
            done => done?,
        }
        self.start += padded as u64;
        self.filled = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs of bytes on both sides of blocks' and buffers' ends, against plain writes.
    #[test]
    fn files_are_what_plain_writes_make() {
        const MIB: u64 = 1 << 20;
        let runs: [(u64, usize); 10] = [
            (0, 512),
            (512, 3),
            (4096 - 1, 2),
            (9000, 1),
            (12_287, 1),
            (12_288, 4096),
            (3 * MIB + 77, 2 << 20),
            (6 * MIB, 9 << 20),
            (15 * MIB, 1),
            (40 * MIB - 5, 5),
        ];
        for directory in [Path::new("/dev/shm"), &std::env::temp_dir()] {
            let ours = tempfile::tempfile_in(directory).unwrap();
            let plain = tempfile::tempfile_in(directory).unwrap();
            let mut forward = Forward::new(&ours).unwrap();
            for (turn, (offset, len)) in (1..).zip(runs) {
                let bytes = vec![turn; len];
                forward.write_at(offset, &bytes).unwrap();
                plain.write_all_at(&bytes, offset).unwrap();
            }
            forward.finish().unwrap();
            assert_eq!(bytes(&ours), bytes(&plain), "{}", directory.display());
            assert!(!fcntl_getfl(&ours).unwrap().contains(OFlags::DIRECT));
        }
    }

    #[test]
    fn files_stay_as_long_as_they_were_made() {
        for (len, expected) in [(0, 5), (5, 5), (9000, 9000)] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(len).unwrap();
            let mut forward = Forward::new(&file).unwrap();
            forward.write_at(2, b"abc").unwrap();
            forward.finish().unwrap();
            assert_eq!(file.metadata().unwrap().len(), expected);
        }
    }

    fn bytes(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }
}
