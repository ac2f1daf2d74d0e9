//! A part of a file on its way to a client.
//!
//! What the kernel has in memory is read at once, without a task of its own; only what must come
//! from the disk goes to a thread that may wait. Buffers are shared by all transfers, so that a few
//! that stay in the processor's cache serve a whole rack.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::{JoinHandle, spawn_blocking};

use super::board::Transfer;

/// Large enough that a system call costs little, small enough for a processor's cache.
const CHUNK_BYTES: usize = 256 << 10;

/// Idle buffers that are kept, 16 MiB in all.
const MAX_IDLE: usize = 64;

/// Buffers that wait for the next reader.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| vec![0; CHUNK_BYTES])
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() == CHUNK_BYTES && idle.len() < MAX_IDLE {
            idle.push(buffer);
        }
    }
}

/// A filled buffer, which goes back to its pool once it is sent.
struct Filled {
    buffer: Vec<u8>,
    length: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

/// The bytes of a file from one offset to another.
pub(super) struct FileBody {
    file: Arc<File>,
    pool: Arc<Pool>,
    offset: u64,
    end: u64,
    /// Whether the file system can say that it would have to wait.
    asks_cache: bool,
    reading: Option<JoinHandle<(Vec<u8>, io::Result<usize>)>>,
    transfer: Option<Transfer>,
}

impl FileBody {
    /// The bytes of `file` from `offset` up to but without `end`; `transfer` hears how far it is.
    pub(super) fn new(
        file: File,
        (offset, end): (u64, u64),
        pool: Arc<Pool>,
        transfer: Option<Transfer>,
    ) -> Self {
        // Only advice: a file system that takes none reads as well.
        let _ = rustix::fs::fadvise(&file, offset, None, rustix::fs::Advice::Sequential);
        Self {
            file: Arc::new(file),
            pool,
            offset,
            end,
            asks_cache: true,
            reading: None,
            transfer,
        }
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.end - self.offset).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))
    }

    /// Reads what is in memory already; nothing if that would mean waiting.
    fn read_cached(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.asks_cache {
            return Ok(None);
        }
        let slices = &mut [IoSliceMut::new(buffer)];
        match preadv2(&self.file, slices, self.offset, ReadWriteFlags::NOWAIT) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.asks_cache = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes note of `length` bytes read into `buffer`.
    fn frame(&mut self, buffer: Vec<u8>, length: usize) -> io::Result<Frame<Bytes>> {
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was sent",
            ));
        }
        let sent = u64::try_from(length).map_err(io::Error::other)?;
        self.offset += sent;
        if let Some(transfer) = &self.transfer {
            transfer.advance(sent);
        }
        let pool = Arc::clone(&self.pool);
        Ok(Frame::data(Bytes::from_owner(Filled {
            buffer,
            length,
            pool,
        })))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(reading) = &mut self.reading {
            let finished = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            let (buffer, length) = finished.map_err(io::Error::other)?;
            return Poll::Ready(Some(self.frame(buffer, length?)));
        }
        let wanted = self.wanted();
        if wanted == 0 {
            return Poll::Ready(None);
        }
        let mut buffer = self.pool.take();
        if let Some(length) = self.read_cached(&mut buffer[..wanted])? {
            return Poll::Ready(Some(self.frame(buffer, length)));
        }
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        self.reading = Some(spawn_blocking(move || {
            let length = file.read_at(&mut buffer[..wanted], offset);
            (buffer, length)
        }));
        self.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.offset == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.offset)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::future::poll_fn;
    use std::io::{self, Write};
    use std::pin::Pin;
    use std::sync::Arc;

    use http_body::Body;
    use tokio::runtime::Runtime;

    use super::{CHUNK_BYTES, FileBody, Pool};

    fn read(file: &File, range: (u64, u64), asks_cache: bool) -> io::Result<Vec<u8>> {
        let pool = Arc::new(Pool::default());
        let mut body = FileBody::new(file.try_clone().unwrap(), range, pool, None);
        body.asks_cache = asks_cache;
        Runtime::new().unwrap().block_on(async {
            let mut bytes = Vec::new();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                bytes.extend_from_slice(&frame?.into_data().unwrap());
            }
            Ok(bytes)
        })
    }

    #[test]
    fn with_and_without_the_cache_it_is_the_same_file() {
        let content: Vec<u8> = (0..3 * CHUNK_BYTES + 1)
            .map(|at| {
                let bytes = at.to_le_bytes();
                bytes
                    .iter()
                    .fold(0u8, |sum, byte| sum.wrapping_mul(3) ^ byte)
            })
            .collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let all = content.len();
        for (start, end) in [
            (0, 0),
            (0, 1),
            (0, CHUNK_BYTES),
            (1, CHUNK_BYTES + 2),
            (all - 1, all),
            (0, all),
        ] {
            let range = (start.try_into().unwrap(), end.try_into().unwrap());
            for asks_cache in [true, false] {
                let bytes = read(&file, range, asks_cache).unwrap();
                assert!(bytes == content[start..end], "{range:?}, {asks_cache}");
            }
        }
        let beyond = (0, u64::try_from(all).unwrap() + 1);
        for asks_cache in [true, false] {
            let error = read(&file, beyond, asks_cache).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
