//! Contents by handle: bytes in memory, a range of an open file, or what somebody else composes.
//!
//! The store is one file without a name. Readers of layers append to it from several threads, each
//! into a range reserved beforehand, so what lies where depends on timing; nothing may show it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::Xxh3;

/// Contents of a regular file, cheap to clone.
#[derive(Clone, Debug)]
pub struct Content {
    place: Place,
    len: u64,
}

/// Bytes at positions, for contents that lie neither in memory nor in one piece of a file, like the
/// disk inside a qcow2 image.
pub trait ReadAt: std::fmt::Debug + Send + Sync {
    /// Fills `buffer` with the bytes from `offset` on.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<[u8]>),
    Composed {
        source: Arc<dyn ReadAt>,
        offset: u64,
    },
    File {
        file: Arc<File>,
        offset: u64,
        /// XXH3-128 of the bytes, where they passed through our hands.
        fingerprint: Option<u128>,
    },
    LeftOut,
}

impl Content {
    /// Bytes held in memory; for what we make ourselves, not for what we are given.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            len: bytes.len() as u64,
            place: Place::Memory(bytes),
        }
    }

    /// `len` bytes of `file` from `offset` on; the file must not change while the handle lives.
    pub fn range(file: Arc<File>, offset: u64, len: u64) -> Self {
        Self {
            place: Place::File {
                file,
                offset,
                fingerprint: None,
            },
            len,
        }
    }

    /// The first `len` bytes of what `source` composes, the same at every reading.
    pub fn composed(source: Arc<dyn ReadAt>, len: u64) -> Self {
        Self {
            place: Place::Composed { source, offset: 0 },
            len,
        }
    }

    /// `len` bytes that nobody will ask for, and that were not kept; reading them is an error.
    pub fn left_out(len: u64) -> Self {
        Self {
            place: Place::LeftOut,
            len,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buffer` with the bytes from `offset` on; reading past the end is an error.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &self.place {
            Place::Memory(bytes) => {
                // Within the slice, as checked above, so the offset fits a usize.
                let start = offset as usize;
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
                Ok(())
            }
            Place::File {
                file, offset: base, ..
            } => file.read_exact_at(buffer, base + offset),
            Place::Composed {
                source,
                offset: base,
            } => source.read_at(base + offset, buffer),
            Place::LeftOut => Err(io::Error::other("its contents were not kept")),
        }
    }

    /// A reader from the first byte to the last.
    pub fn reader(&self) -> ContentReader {
        ContentReader {
            content: self.clone(),
            position: 0,
        }
    }

    /// All bytes, for small files; more than `limit` bytes is an error.
    pub fn to_vec(&self, limit: u64) -> io::Result<Vec<u8>> {
        if self.len > limit {
            return Err(io::Error::other(format!(
                "{} bytes, where at most {limit} are taken",
                self.len
            )));
        }
        let mut bytes = vec![0; usize::try_from(self.len).map_err(io::Error::other)?];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// XXH3-128 of the bytes, if known without reading them again. Equal contents have equal
    /// fingerprints, but equal fingerprints are only a hint: compare the bytes.
    pub fn fingerprint(&self) -> Option<u128> {
        match &self.place {
            Place::Memory(bytes) => Some(xxhash_rust::xxh3::xxh3_128(bytes)),
            Place::File { fingerprint, .. } => *fingerprint,
            Place::Composed { .. } | Place::LeftOut => None,
        }
    }

    /// `len` bytes of these from `offset` on; `None` when there are fewer.
    pub fn slice(&self, offset: u64, len: u64) -> Option<Self> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        Some(match &self.place {
            Place::Memory(bytes) => {
                // Within the slice, as checked above.
                let start = offset as usize;
                Self::bytes(&bytes[start..start + len as usize])
            }
            Place::File {
                file, offset: base, ..
            } => Self::range(Arc::clone(file), base + offset, len),
            Place::Composed {
                source,
                offset: base,
            } => Self {
                place: Place::Composed {
                    source: Arc::clone(source),
                    offset: base + offset,
                },
                len,
            },
            Place::LeftOut => Self::left_out(len),
        })
    }

    /// Whether both handles name the same stored bytes.
    pub fn same_place(&self, other: &Self) -> bool {
        self.len == other.len
            && match (&self.place, &other.place) {
                (Place::Memory(a), Place::Memory(b)) => Arc::ptr_eq(a, b),
                (
                    Place::File {
                        file: a, offset: x, ..
                    },
                    Place::File {
                        file: b, offset: y, ..
                    },
                ) => Arc::ptr_eq(a, b) && x == y,
                (
                    Place::Composed {
                        source: a,
                        offset: x,
                    },
                    Place::Composed {
                        source: b,
                        offset: y,
                    },
                ) => Arc::ptr_eq(a, b) && x == y,
                _ => false,
            }
    }
}

/// Reads a [`Content`] from start to end.
#[derive(Debug)]
pub struct ContentReader {
    content: Content,
    position: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len - self.position;
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.content.read_at(self.position, &mut buffer[..count])?;
        self.position += count as u64;
        Ok(count)
    }
}

/// Where file contents are kept between reading the layers and writing the media.
#[derive(Debug)]
pub struct Store {
    file: Arc<File>,
    reserved: AtomicU64,
    limit: u64,
}

/// How much is copied at a time; large enough to make system calls cheap.
const CHUNK: usize = 256 << 10;

impl Store {
    /// An empty store: a file without a name in `directory`, at most `limit` bytes long.
    pub fn create(directory: &Path, limit: u64) -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(tempfile::tempfile_in(directory)?),
            reserved: AtomicU64::new(0),
            limit,
        })
    }

    /// Bytes stored so far.
    pub fn len(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Whether nothing was stored so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores the next `len` bytes of `reader`, showing them to `observe` on the way. Fewer bytes
    /// are an error, and so is a store that would grow past its limit.
    pub fn keep(
        &self,
        len: u64,
        reader: &mut impl Read,
        mut observe: impl FnMut(&[u8]),
    ) -> io::Result<Content> {
        let offset = self.reserve(len)?;
        let mut hash = Xxh3::new();
        let mut buffer = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
        let mut done = 0;
        while done < len {
            let count = buffer
                .len()
                .min(usize::try_from(len - done).unwrap_or(usize::MAX));
            let part = &mut buffer[..count];
            reader.read_exact(part)?;
            hash.update(part);
            observe(part);
            self.file.write_all_at(part, offset + done)?;
            done += count as u64;
        }
        Ok(Content {
            place: Place::File {
                file: Arc::clone(&self.file),
                offset,
                fingerprint: Some(hash.digest128()),
            },
            len,
        })
    }

    fn reserve(&self, len: u64) -> io::Result<u64> {
        self.reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                at.checked_add(len).filter(|end| *end <= self.limit)
            })
            .map_err(|_| {
                io::Error::other(format!(
                    "the image's files exceed {} GiB, the most that is taken",
                    self.limit >> 30
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_bytes_come_back() {
        let store = Store::create(&std::env::temp_dir(), 1 << 20).unwrap();
        let mut seen = Vec::new();
        let first = store
            .keep(3, &mut &b"abc"[..], |b| seen.extend_from_slice(b))
            .unwrap();
        let second = store.keep(2, &mut &b"de"[..], |_| ()).unwrap();
        assert_eq!(seen, b"abc");
        assert_eq!(second.to_vec(2).unwrap(), b"de");
        assert_eq!(first.fingerprint(), Content::bytes(*b"abc").fingerprint());
        assert!(!first.same_place(&second));
    }

    #[test]
    fn slices_stay_within() {
        let content = Content::bytes(*b"abcdef");
        assert_eq!(content.slice(2, 3).unwrap().to_vec(9).unwrap(), b"cde");
        assert!(content.slice(2, 5).is_none());
        assert!(content.slice(u64::MAX, 2).is_none());
    }

    #[test]
    fn what_was_left_out_has_a_length_and_no_bytes() {
        let content = Content::left_out(6).slice(2, 3).unwrap();
        assert_eq!(content.len(), 3);
        assert!(content.to_vec(9).is_err());
        assert!(content.fingerprint().is_none());
    }

    #[test]
    fn short_input_long_reads_and_full_stores_are_errors() {
        let store = Store::create(&std::env::temp_dir(), 8).unwrap();
        assert!(store.keep(4, &mut &b"abc"[..], |_| ()).is_err());
        let kept = store.keep(3, &mut &b"abc"[..], |_| ()).unwrap();
        assert!(kept.read_at(1, &mut [0; 3]).is_err());
        assert!(kept.to_vec(2).is_err());
        assert!(store.keep(2, &mut &b"ab"[..], |_| ()).is_err());
    }
}
