//! Reading one layer as the uncompressed tar stream it is, with every promise about it checked.
//!
//! ```text
//! disk or network -> size, digest -> decompressor -> size limit, diff-id -> caller
//! ```
//!
//! The stream is handed out before the digests can be known, so callers keep what they made of it
//! to themselves until they have read the end: `Ok(0)`, or [`LayerReader::finish`]. A tar reader
//! stops at the archive's end mark, which is not the end of the stream.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use super::blob::{Blob, CheckedBlob};
use super::digest::{Digest, Hasher};
use super::error::ImageError;
use super::media_type::Compression;

/// Most bytes that one layer may have uncompressed; far above any operating system's, and a bound
/// for what a small file full of zeros can cost.
pub const LAYER_BYTES_MAX: u64 = 64 << 30;

/// Windows of zstd frames larger than 2^27 bytes are refused. That is zstd's own default, holds
/// for everything compressed without `--long`, and keeps a decoder at 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes that are decompressed and hashed at a time: they stay in the processor's cache.
const BLOCK: usize = 128 << 10;

/// Reads one layer as uncompressed tar. Dropping it early proves nothing; see [`Self::finish`].
pub struct LayerReader {
    object: String,
    stream: Stream,
    /// None where the blob's own digest says it already.
    hasher: Option<Hasher>,
    diff_id: Digest,
    block: Box<[u8]>,
    /// The part of `block` that was not handed out yet.
    start: usize,
    end: usize,
    total_bytes: u64,
    limit_bytes: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Verified,
    Failed,
}

impl LayerReader {
    /// A reader of `source`, which holds what `blob` promises. `media_type` is for messages.
    pub(super) fn new(
        blob: Blob,
        source: Box<dyn Read + Send>,
        compression: Compression,
        media_type: &str,
        diff_id: Digest,
        limit_bytes: u64,
    ) -> Result<Self, ImageError> {
        let object = blob.object.clone();
        let same = compression == Compression::None && blob.digest == diff_id;
        let mut compressed = BufReader::with_capacity(BLOCK, CheckedBlob::new(blob, source));
        let start = compressed
            .fill_buf()
            .map_err(|source| reading(&object, source))?;
        match Compression::sniff(start) {
            Some(found) if found != compression.name() => {
                return Err(ImageError::WrongCompression {
                    object,
                    media_type: media_type.to_owned(),
                    told: compression.name(),
                    found,
                });
            }
            _ => (),
        }
        let stream =
            Stream::new(compressed, compression).map_err(|source| ImageError::Decompressing {
                object: object.clone(),
                source,
            })?;
        Ok(Self {
            object,
            stream,
            hasher: (!same).then(|| Hasher::like(&diff_id)),
            diff_id,
            block: vec![0; BLOCK].into(),
            start: 0,
            end: 0,
            total_bytes: 0,
            limit_bytes,
            state: State::Reading,
        })
    }

    /// Reads to the end and checks everything, for callers that have seen what they need.
    pub fn finish(mut self) -> io::Result<()> {
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }

    fn next_block(&mut self) -> Result<usize, ImageError> {
        let count = loop {
            match self.stream.read(&mut self.block) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(self.explain(error)),
            }
        };
        if count == 0 {
            self.check_end()?;
            return Ok(0);
        }
        self.total_bytes += count as u64;
        if self.total_bytes > self.limit_bytes {
            return Err(ImageError::TooLarge {
                object: self.object.clone(),
                limit: self.limit_bytes,
            });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.block[..count]);
        }
        Ok(count)
    }

    /// The decompressor is done: nothing may follow, and the diff-id must be right.
    fn check_end(&mut self) -> Result<(), ImageError> {
        let compression = self.stream.compression().name();
        match self.stream.compressed().fill_buf() {
            Ok([]) => (),
            Ok(_) => {
                return Err(ImageError::Trailing {
                    object: self.object.clone(),
                    compression,
                });
            }
            Err(error) => return Err(reading(&self.object, error)),
        }
        let Some(actual) = self.hasher.as_ref().map(Hasher::digest) else {
            return Ok(());
        };
        if actual == self.diff_id {
            return Ok(());
        }
        Err(ImageError::WrongDigest {
            object: self.object.clone(),
            what: "diff-id",
            expected: self.diff_id.clone(),
            actual,
        })
    }

    /// Finds the root of a failure: if the compressed bytes are not the promised ones, that is it,
    /// whatever the decompressor makes of them.
    fn explain(&mut self, error: io::Error) -> ImageError {
        let error = match error.downcast::<ImageError>() {
            Ok(error) => return error,
            Err(error) => error,
        };
        let blob = self.stream.compressed().get_mut();
        if blob.source_failed() {
            return reading(&self.object, error);
        }
        match io::copy(blob, &mut io::sink()) {
            Err(root) => reading(&self.object, root),
            Ok(_) => ImageError::Decompressing {
                object: self.object.clone(),
                source: error,
            },
        }
    }
}

/// The error of ours that `error` carries, or one that says what was read.
fn reading(object: &str, error: io::Error) -> ImageError {
    match error.downcast::<ImageError>() {
        Ok(error) => error,
        Err(source) => ImageError::Reading {
            object: object.to_owned(),
            source,
        },
    }
}

impl BufRead for LayerReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            match self.state {
                State::Reading => (),
                State::Verified => return Ok(&[]),
                State::Failed => {
                    return Err(io::Error::other(format!("{} failed before", self.object)));
                }
            }
            // Until the block is there, a caller that tries again must not see an end.
            self.state = State::Failed;
            let count = self.next_block().map_err(ImageError::into_io)?;
            (self.start, self.end) = (0, count);
            self.state = match count {
                0 => State::Verified,
                _ => State::Reading,
            };
        }
        Ok(&self.block[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// A decompressor over the compressed bytes.
enum Stream {
    Plain(BufReader<CheckedBlob>),
    /// `None` only while one member makes way for the next.
    Gzip(Option<Box<GzDecoder<BufReader<CheckedBlob>>>>),
    Zstd(zstd::Decoder<'static, BufReader<CheckedBlob>>),
}

/// Between two members; nothing there can fail.
const MEMBER: &str = "a gzip stream always has a current member";

impl Stream {
    fn new(compressed: BufReader<CheckedBlob>, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(compressed),
            Compression::Gzip => Self::Gzip(Some(Box::new(GzDecoder::new(compressed)))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(compressed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(decoder)
            }
        })
    }

    fn compression(&self) -> Compression {
        match self {
            Self::Plain(_) => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }

    /// The compressed bytes that were not looked at yet.
    fn compressed(&mut self) -> &mut BufReader<CheckedBlob> {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder.as_mut().expect(MEMBER).get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// Up to a bufferful of tar; 0 when the decompressor sees an end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Gzip(slot) => loop {
                let decoder = slot.as_mut().expect(MEMBER);
                let count = decoder.read(buffer)?;
                if count > 0 {
                    return Ok(count);
                }
                // What is no further member is left for the check at the end to find.
                match decoder.get_mut().fill_buf()? {
                    [0x1f, ..] => (),
                    _ => return Ok(0),
                }
                let rest = slot.take().expect(MEMBER).into_inner();
                *slot = Some(Box::new(GzDecoder::new(rest)));
            },
        }
    }
}
