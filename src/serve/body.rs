//! A part of a file on its way to a client.
//!
//! What the kernel has in memory is read at once, without a task of its own; only what must come
//! from the disk goes to a thread that may wait. Buffers are shared by all transfers, so that a few
//! that stay in the processor's cache serve a whole rack.
//!
//! A client that stops reading keeps one buffer, until the connection is given up. So there are only so
//! many large ones; whoever comes when all are taken is served with small ones.

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
const CHUNK_BYTES: usize = 128 << 10;

/// Large buffers, 12 MiB in all.
const MAX_BUFFERS: usize = 96;

/// Of these, what is kept while nobody reads: 2 MiB.
const MAX_IDLE: usize = 16;

/// For everyone else; a thousand have 8 MiB.
const SMALL_CHUNK_BYTES: usize = 8 << 10;

/// Buffers that wait for the next reader.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Buffers>);

#[derive(Debug, Default)]
struct Buffers {
    idle: Vec<Vec<u8>>,
    /// All large ones, those that are being sent too.
    large: usize,
}

impl Pool {
    fn take(self: &Arc<Self>) -> Buffer {
        let bytes = self.bytes();
        let pool = Arc::clone(self);
        Buffer { bytes, pool }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = buffers.idle.pop() {
            return bytes;
        }
        if buffers.large >= MAX_BUFFERS {
            return vec![0; SMALL_CHUNK_BYTES];
        }
        buffers.large += 1;
        vec![0; CHUNK_BYTES]
    }

    fn give(&self, bytes: Vec<u8>) {
        if bytes.len() < CHUNK_BYTES {
            return;
        }
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match buffers.idle.len() < MAX_IDLE {
            true => buffers.idle.push(bytes),
            false => buffers.large -= 1,
        }
    }
}

/// A buffer, which goes back to its pool.
struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}

/// What was read into a buffer.
struct Filled {
    buffer: Buffer,
    length: usize,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.bytes[..self.length]
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
    reading: Option<JoinHandle<(Buffer, io::Result<usize>)>>,
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

    /// How much of what is left goes into a buffer of `room` bytes.
    fn wanted(&self, room: usize) -> usize {
        usize::try_from(self.end - self.offset).map_or(room, |left| left.min(room))
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
    fn frame(&mut self, buffer: Buffer, length: usize) -> io::Result<Frame<Bytes>> {
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
        Ok(Frame::data(Bytes::from_owner(Filled { buffer, length })))
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
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let mut buffer = self.pool.take();
        let wanted = self.wanted(buffer.bytes.len());
        if let Some(length) = self.read_cached(&mut buffer.bytes[..wanted])? {
            return Poll::Ready(Some(self.frame(buffer, length)));
        }
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        self.reading = Some(spawn_blocking(move || {
            let length = file.read_at(&mut buffer.bytes[..wanted], offset);
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

    use super::{CHUNK_BYTES, FileBody, MAX_BUFFERS, MAX_IDLE, Pool, SMALL_CHUNK_BYTES};

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
    fn buffers_are_counted_and_given_back() {
        let pool = Arc::new(Pool::default());
        let mut large: Vec<_> = (0..MAX_BUFFERS).map(|_| pool.take()).collect();
        assert!(large.iter().all(|buffer| buffer.bytes.len() == CHUNK_BYTES));
        let small = pool.take();
        assert_eq!(small.bytes.len(), SMALL_CHUNK_BYTES);
        drop(small);
        large.pop();
        assert_eq!(pool.take().bytes.len(), CHUNK_BYTES);
        drop(large);
        let buffers = pool.0.lock().unwrap();
        assert_eq!((buffers.idle.len(), buffers.large), (MAX_IDLE, MAX_IDLE));
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
