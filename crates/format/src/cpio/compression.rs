//! The compressions that segments of an initramfs come in.
//!
//! Each decoder ends with its own stream and leaves what follows in the input, since the kernel
//! lets one segment follow directly upon another. Their memory is bounded.

use std::fmt;
use std::io::{self, BufRead, Read};

use anyhow::{Result, bail};
use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use xz2::stream::{Action, Status, Stream};

use super::input::Input;

/// Most memory xz and lzma streams may ask for; `xz -9` needs 65 MiB to decompress.
const XZ_MEMORY_MAX: u64 = 96 << 20;

/// Largest zstd window, as a power of two; the kernel's limit, too, is 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// What a legacy lz4 stream begins with, and what may stand between its blocks.
const LZ4_LEGACY_MAGIC: u32 = 0x184c_2102;

/// Most bytes that one block of a legacy lz4 stream expands to.
const LZ4_LEGACY_BLOCK: usize = 8 << 20;

/// Most bytes such a block is compressed to: incompressible data grows a little.
const LZ4_LEGACY_BLOCK_COMPRESSED: usize = LZ4_LEGACY_BLOCK + LZ4_LEGACY_BLOCK / 255 + 16;

/// How a segment is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// lzma, the format before xz ("lzma alone").
    Lzma,
    /// lz4 as `lz4 -l` writes it, which is what the kernel knows.
    Lz4Legacy,
    /// lz4's frame format.
    Lz4,
    /// zstd.
    Zstd,
}

impl Compression {
    /// The compression of a segment that begins with `start` (at least six bytes of it, if it has
    /// that many); None if it is none that we know.
    pub(super) fn detect(start: &[u8]) -> Option<Self> {
        Some(match start {
            [0x1f, 0x8b | 0x9e, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [0x5d, 0, ..] => Self::Lzma,
            [0x02, 0x21, 0x4c, 0x18, ..] => Self::Lz4Legacy,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => return None,
        })
    }

    /// What the segment expands to. Reading it to the end also checks what the stream has to say
    /// about itself.
    pub(super) fn decoder<'a, R: Read>(
        self,
        input: &'a mut Input<R>,
    ) -> Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => bail!("data that is not compressed needs no decoder"),
            Self::Gzip => Box::new(GzDecoder::new(input)),
            Self::Bzip2 => Box::new(BzDecoder::new(input)),
            Self::Xz => Box::new(Xz {
                stream: Stream::new_stream_decoder(XZ_MEMORY_MAX, 0)?,
                input,
                done: false,
            }),
            Self::Lzma => Box::new(Xz {
                stream: Stream::new_lzma_decoder(XZ_MEMORY_MAX)?,
                input,
                done: false,
            }),
            Self::Lz4Legacy => Box::new(Lz4Legacy::new(input)),
            Self::Lz4 => Box::new(Lz4Frame {
                decoder: FrameDecoder::new(Endless(input)),
                done: false,
            }),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lz4Legacy => "lz4 (legacy)",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "compressed data ends too early")
}

/// One xz or lzma stream; the crate's own reader takes what follows it for damage.
struct Xz<R> {
    stream: Stream,
    input: R,
    done: bool,
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.done && !out.is_empty() {
            let bytes = self.input.fill_buf()?;
            let at_end = bytes.is_empty();
            let action = if at_end { Action::Finish } else { Action::Run };
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(bytes, out, action)?;
            // No more than the lengths of the two slices.
            let consumed = (self.stream.total_in() - before_in) as usize;
            let produced = (self.stream.total_out() - before_out) as usize;
            self.input.consume(consumed);
            self.done = status == Status::StreamEnd;
            if produced > 0 {
                return Ok(produced);
            }
            if !self.done && (at_end || consumed == 0) {
                return Err(cut_short());
            }
        }
        Ok(0)
    }
}

/// One frame; the decoder would begin another when asked for more.
struct Lz4Frame<R: Read> {
    decoder: FrameDecoder<Endless<R>>,
    done: bool,
}

impl<R: Read> Read for Lz4Frame<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.done || out.is_empty() {
            return Ok(0);
        }
        let count = self.decoder.read(out)?;
        self.done = count == 0;
        Ok(count)
    }
}

/// Input that must not end: the frame decoder takes an end between blocks for the frame's.
struct Endless<R>(R);

impl<R: Read> Read for Endless<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 if !out.is_empty() => Err(cut_short()),
            count => Ok(count),
        }
    }
}

/// A legacy stream: the magic, then blocks with their compressed size in front. It has no end mark;
/// like the kernel, we take it to end where no block can begin.
struct Lz4Legacy<'a, R> {
    input: &'a mut Input<R>,
    compressed: Vec<u8>,
    block: Vec<u8>,
    /// The part of `block` that was not read yet.
    ready: std::ops::Range<usize>,
}

impl<'a, R: Read> Lz4Legacy<'a, R> {
    fn new(input: &'a mut Input<R>) -> Self {
        Self {
            input,
            compressed: Vec::new(),
            block: Vec::new(),
            ready: 0..0,
        }
    }

    /// Decompresses the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let size = loop {
            let Ok(word) = <[u8; 4]>::try_from(self.input.peek(4)?) else {
                return Ok(false);
            };
            match u32::from_le_bytes(word) {
                LZ4_LEGACY_MAGIC => self.take(4)?,
                0 => return Ok(false),
                size => match usize::try_from(size) {
                    Ok(size) if size <= LZ4_LEGACY_BLOCK_COMPRESSED => break size,
                    _ => return Ok(false),
                },
            }
        };
        self.take(4)?;
        self.take(size)?;
        self.block.resize(LZ4_LEGACY_BLOCK, 0);
        let expanded = lz4_flex::block::decompress_into(&self.compressed, &mut self.block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.ready = 0..expanded;
        Ok(true)
    }

    /// Moves `count` bytes of input to `compressed`.
    fn take(&mut self, count: usize) -> io::Result<()> {
        self.compressed.clear();
        let mut part = Read::take(&mut *self.input, count as u64);
        if part.read_to_end(&mut self.compressed)? < count {
            return Err(cut_short());
        }
        Ok(())
    }
}

impl<R: Read> Read for Lz4Legacy<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = self.ready.len().min(out.len());
        out[..count].copy_from_slice(&self.block[self.ready.start..][..count]);
        self.ready.start += count;
        Ok(count)
    }
}
