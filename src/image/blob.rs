//! One blob: its promised size and digest, and the reader that holds it to them.

use std::io::{self, Read};

use super::digest::{Digest, Hasher};
use super::error::ImageError;

/// What a manifest promises about a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    /// How messages call it.
    pub(super) object: String,
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
}

impl Blob {
    pub(super) fn wrong_size(&self, actual: impl ToString) -> ImageError {
        ImageError::WrongSize {
            object: self.object.clone(),
            expected: self.size_bytes,
            actual: actual.to_string(),
        }
    }

    pub(super) fn missing(&self) -> ImageError {
        ImageError::Missing {
            object: self.object.clone(),
            digest: self.digest.clone(),
        }
    }
}

/// Bytes of a blob as they come from disk or network. Reports the end only when size and digest
/// are as promised.
pub(super) struct CheckedBlob {
    blob: Blob,
    source: Box<dyn Read + Send>,
    seen_bytes: u64,
    hasher: Hasher,
    source_failed: bool,
}

impl CheckedBlob {
    pub(super) fn new(blob: Blob, source: Box<dyn Read + Send>) -> Self {
        Self {
            hasher: Hasher::like(&blob.digest),
            blob,
            source,
            seen_bytes: 0,
            source_failed: false,
        }
    }

    /// Whether disk or network failed, so that reading on is pointless.
    pub(super) fn source_failed(&self) -> bool {
        self.source_failed
    }

    /// The whole blob in memory, for documents of at most `limit` bytes.
    pub(super) fn into_vec(mut self, limit: u64) -> Result<Vec<u8>, ImageError> {
        if self.blob.size_bytes > limit {
            return Err(ImageError::TooLarge {
                object: self.blob.object,
                limit,
            });
        }
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(match error.downcast::<ImageError>() {
                Ok(error) => error,
                Err(source) => ImageError::Reading {
                    object: self.blob.object,
                    source,
                },
            }),
        }
    }

    fn end(&mut self) -> io::Result<usize> {
        if self.source.read(&mut [0])? != 0 {
            let more = format!("more than {}", self.blob.size_bytes);
            return Err(self.blob.wrong_size(more).into_io());
        }
        let actual = self.hasher.digest();
        if actual != self.blob.digest {
            return Err(ImageError::WrongDigest {
                object: self.blob.object.clone(),
                what: "digest",
                expected: self.blob.digest.clone(),
                actual,
            }
            .into_io());
        }
        Ok(0)
    }
}

impl Read for CheckedBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = self.blob.size_bytes - self.seen_bytes;
        if left == 0 {
            return self.end();
        }
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.source.read(&mut buffer[..most]).inspect_err(|error| {
            self.source_failed |= error.kind() != io::ErrorKind::Interrupted;
        })?;
        if count == 0 {
            return Err(self.blob.wrong_size(self.seen_bytes).into_io());
        }
        self.hasher.update(&buffer[..count]);
        self.seen_bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{Blob, CheckedBlob};
    use crate::image::ImageError;
    use crate::image::digest::Digest;

    #[test]
    fn length_and_digest_decide() {
        let read = |bytes: &'static [u8], limit| {
            let blob = Blob {
                object: "it".into(),
                digest: Digest::sha256(b"abc"),
                size_bytes: 3,
            };
            CheckedBlob::new(blob, Box::new(Cursor::new(bytes))).into_vec(limit)
        };
        assert_eq!(read(b"abc", 3).unwrap(), b"abc");
        assert!(matches!(read(b"abc", 2), Err(ImageError::TooLarge { .. })));
        assert!(matches!(
            read(b"abd", 3),
            Err(ImageError::WrongDigest { .. })
        ));
        for (bytes, actual) in [(&b"ab"[..], "2"), (b"", "0"), (b"abcd", "more than 3")] {
            match read(bytes, 3) {
                Err(ImageError::WrongSize { actual: found, .. }) => assert_eq!(found, actual),
                other => panic!("{other:?}"),
            }
        }
    }
}
