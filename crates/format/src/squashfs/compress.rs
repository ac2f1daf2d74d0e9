//! Compressors: how they are named, set up, told to the kernel, and applied to one block.
//!
//! Every block is compressed for itself, so [`Encoder::encode`] is a function of its input and the
//! encoder's settings and nothing else: the same block gives the same bytes on every thread, and
//! [`super::remembered`] may answer for it.
//!
//! Settings are those of mksquashfs 4.5: zstd frames carry their content size and no checksum, and
//! their window is no larger than a block; xz streams have a CRC32 check and a dictionary of one
//! block; gzip is a zlib stream. Dense data is recognised by [`super::density`] and not tried at
//! all.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use xz2::stream::{Action, Check, Filters, LzmaOptions, Stream};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::density::Density;
use super::format::{GzipOptions, METADATA_SIZE, ZstdOptions, compressor_id};

/// Level that `mksquashfs -comp zstd` has if none is given.
const ZSTD_DEFAULT: i32 = 15;
/// Level that `mksquashfs -comp gzip` has if none is given.
const GZIP_DEFAULT: u32 = 9;
/// The preset that mksquashfs uses for xz, always.
const XZ_PRESET: u32 = 6;
/// Enough for a dictionary of the largest block; liblzma's own tables come on top.
const XZ_DECODER_MEMORY: u64 = 8 << 20;
/// zlib's largest window, which the kernel's inflate has too.
const GZIP_WINDOW_BITS: u16 = 15;

/// How blocks are compressed. Written and read as `zstd:15`, `gzip:9` or `xz`; a level left out is
/// the one mksquashfs takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compressor {
    /// Zstandard, mounted by Linux 4.14 and later.
    Zstd {
        /// 1 to 22.
        level: i32,
    },
    /// zlib's deflate, mounted by every Linux.
    Gzip {
        /// 1 to 9.
        level: u32,
    },
    /// LZMA2 in .xz streams: smallest, and slow to read.
    Xz,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::Zstd {
            level: ZSTD_DEFAULT,
        }
    }
}

impl Compressor {
    /// The compression's name, whatever the level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd { .. } => "zstd",
            Self::Gzip { .. } => "gzip",
            Self::Xz => "xz",
        }
    }
}

impl fmt::Display for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zstd { level } => write!(f, "zstd:{level}"),
            Self::Gzip { level } => write!(f, "gzip:{level}"),
            Self::Xz => f.write_str("xz"),
        }
    }
}

/// What is wrong with the name of a compressor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressorError {
    /// No such compressor.
    #[error("compressor {0:?} is none of zstd, gzip, xz")]
    Unknown(String),
    /// A level out of range, or one for a compressor that has none.
    #[error("level {level:?} does not fit {name}, which takes {range}")]
    Level {
        /// The compressor.
        name: &'static str,
        /// What was given.
        level: String,
        /// What it takes.
        range: &'static str,
    },
}

impl FromStr for Compressor {
    type Err = CompressorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        // A level that is no number becomes 0, which fails the range check below.
        let compressor = match name {
            "zstd" => Self::Zstd {
                level: level.map_or(ZSTD_DEFAULT, |level| level.parse().unwrap_or(0)),
            },
            "gzip" => Self::Gzip {
                level: level.map_or(GZIP_DEFAULT, |level| level.parse().unwrap_or(0)),
            },
            "xz" if level.is_none() => Self::Xz,
            "xz" => {
                return Err(CompressorError::Level {
                    name: "xz",
                    level: level.unwrap_or_default().to_owned(),
                    range: "none",
                });
            }
            _ => return Err(CompressorError::Unknown(name.to_owned())),
        };
        compressor.check().map_err(|mut error| {
            if let CompressorError::Level { level: shown, .. } = &mut error {
                level.unwrap_or_default().clone_into(shown);
            }
            error
        })?;
        Ok(compressor)
    }
}

impl Compressor {
    /// Whether the level is one that the compressor has.
    pub(super) fn check(self) -> Result<(), CompressorError> {
        let (fits, name, level, range) = match self {
            Self::Zstd { level } => (
                (1..=22).contains(&level),
                "zstd",
                level.to_string(),
                "1 to 22",
            ),
            Self::Gzip { level } => (
                (1..=9).contains(&level),
                "gzip",
                level.to_string(),
                "1 to 9",
            ),
            Self::Xz => return Ok(()),
        };
        if fits {
            return Ok(());
        }
        Err(CompressorError::Level { name, level, range })
    }

    /// Number in the superblock.
    pub(super) fn id(self) -> u16 {
        match self {
            Self::Zstd { .. } => compressor_id::ZSTD,
            Self::Gzip { .. } => compressor_id::GZIP,
            Self::Xz => compressor_id::XZ,
        }
    }

    /// The compressor with this number in the superblock, as it is without an options block; `None`
    /// if it is not one of ours.
    pub(super) fn of_id(id: u16) -> Option<Self> {
        match id {
            compressor_id::ZSTD => Some(Self::Zstd {
                level: ZSTD_DEFAULT,
            }),
            compressor_id::GZIP => Some(Self::Gzip {
                level: GZIP_DEFAULT,
            }),
            compressor_id::XZ => Some(Self::Xz),
            _ => None,
        }
    }

    /// The options block, which mksquashfs writes only for what is not the default. For xz the
    /// default is a dictionary as long as a block, but never shorter than a metadata block.
    pub(super) fn options_block(self) -> Option<Vec<u8>> {
        match self {
            Self::Zstd { level } if level != ZSTD_DEFAULT => {
                let level = U32::new(level.unsigned_abs());
                Some(ZstdOptions { level }.as_bytes().to_vec())
            }
            Self::Gzip { level } if level != GZIP_DEFAULT => {
                let options = GzipOptions {
                    level: U32::new(level),
                    window_bits: U16::new(GZIP_WINDOW_BITS),
                    strategies: U16::new(0),
                };
                Some(options.as_bytes().to_vec())
            }
            _ => None,
        }
    }

    /// Whether compressing costs so much that looking at the data first pays, and remembering what came of it.
    pub(super) fn is_slow(self) -> bool {
        match self {
            // From here on zstd weighs alternatives; below, dense data slows it down little.
            Self::Zstd { level } => level >= 13,
            Self::Gzip { .. } | Self::Xz => true,
        }
    }
}

/// How a block came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Compressed,
    /// As it was, since compressing makes it no shorter.
    Raw,
}

/// Compresses blocks; holds one compressor's memory, so there is one per thread.
pub(super) struct Encoder {
    codec: Codec,
    density: Option<Density>,
}

enum Codec {
    Zstd(zstd::bulk::Compressor<'static>),
    Gzip(Compress),
    Xz { dictionary: u32 },
}

impl Encoder {
    /// For blocks of up to `block_size` bytes.
    pub(super) fn new(compressor: Compressor, block_size: u32) -> Result<Self> {
        let codec = match compressor {
            Compressor::Zstd { level } => {
                Codec::Zstd(zstd::bulk::Compressor::new(level).context("setting up zstd")?)
            }
            Compressor::Gzip { level } => Codec::Gzip(Compress::new(Compression::new(level), true)),
            Compressor::Xz => Codec::Xz {
                // The kernel reserves this much without being told: no options are needed.
                dictionary: block_size.max(u32::try_from(METADATA_SIZE)?),
            },
        };
        let density = compressor.is_slow().then(Density::new).transpose()?;
        Ok(Self { codec, density })
    }

    /// Appends a data block to `output`.
    pub(super) fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Form> {
        if let Some(density) = &mut self.density
            && density.is_dense(input)?
        {
            output.extend_from_slice(input);
            return Ok(Form::Raw);
        }
        self.encode_small(input, output)
    }

    /// Appends a block that is not worth a look beforehand, such as metadata.
    pub(super) fn encode_small(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Form> {
        let start = output.len();
        match self.codec.encode(input, output)? {
            Some(len) if len < input.len() => {
                output.truncate(start + len);
                Ok(Form::Compressed)
            }
            _ => {
                output.truncate(start);
                output.extend_from_slice(input);
                Ok(Form::Raw)
            }
        }
    }
}

impl Codec {
    /// Leaves at least the compressed bytes at the end of `output`; `None` when they would be no
    /// fewer than those of `input`.
    fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>> {
        let start = output.len();
        match self {
            Self::Zstd(zstd) => {
                output.resize(start + zstd::zstd_safe::compress_bound(input.len()), 0);
                let len = zstd
                    .compress_to_buffer(input, &mut output[start..])
                    .context("compressing with zstd")?;
                Ok(Some(len))
            }
            Self::Gzip(deflate) => {
                output.resize(start + input.len(), 0);
                deflate.reset();
                let status = deflate
                    .compress(input, &mut output[start..], FlushCompress::Finish)
                    .context("compressing with gzip")?;
                let done = status == flate2::Status::StreamEnd;
                Ok(done
                    .then(|| usize::try_from(deflate.total_out()))
                    .transpose()?)
            }
            Self::Xz { dictionary } => {
                output.resize(start + input.len(), 0);
                let mut options = LzmaOptions::new_preset(XZ_PRESET)?;
                options.dict_size(*dictionary);
                let mut filters = Filters::new();
                filters.lzma2(&options);
                let mut stream =
                    Stream::new_stream_encoder(&filters, Check::Crc32).context("setting up xz")?;
                let status = stream
                    .process(input, &mut output[start..], Action::Finish)
                    .context("compressing with xz")?;
                let done = status == xz2::stream::Status::StreamEnd;
                Ok(done
                    .then(|| usize::try_from(stream.total_out()))
                    .transpose()?)
            }
        }
    }
}

/// Decompresses blocks.
pub(super) enum Decoder {
    Zstd(zstd::bulk::Decompressor<'static>),
    Gzip(Decompress),
    Xz,
}

impl Decoder {
    /// For the compressor with this number in the superblock.
    pub(super) fn new(id: u16) -> Result<Self> {
        let name = match id {
            compressor_id::ZSTD => {
                let zstd = zstd::bulk::Decompressor::new().context("setting up zstd")?;
                return Ok(Self::Zstd(zstd));
            }
            compressor_id::GZIP => return Ok(Self::Gzip(Decompress::new(true))),
            compressor_id::XZ => return Ok(Self::Xz),
            compressor_id::LZMA => "lzma",
            compressor_id::LZO => "lzo",
            compressor_id::LZ4 => "lz4",
            other => bail!("squashfs has no compressor number {other}"),
        };
        bail!("the image is compressed with {name}; only zstd, gzip and xz are read");
    }

    /// The compressor's name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Zstd(_) => "zstd",
            Self::Gzip(_) => "gzip",
            Self::Xz => "xz",
        }
    }

    /// Decompresses all of `input` to the front of `output` and returns how many bytes came out.
    /// More than `output` holds is an error.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize> {
        match self {
            Self::Zstd(zstd) => zstd
                .decompress_to_buffer(input, output)
                .context("decompressing zstd data"),
            Self::Gzip(inflate) => {
                inflate.reset(true);
                let status = inflate
                    .decompress(input, output, FlushDecompress::Finish)
                    .context("decompressing gzip data")?;
                ensure!(
                    status == flate2::Status::StreamEnd,
                    "gzip data is cut short or longer than a block"
                );
                Ok(usize::try_from(inflate.total_out())?)
            }
            Self::Xz => {
                let mut stream =
                    Stream::new_stream_decoder(XZ_DECODER_MEMORY, 0).context("setting up xz")?;
                let status = stream
                    .process(input, output, Action::Finish)
                    .context("decompressing xz data")?;
                ensure!(
                    status == xz2::stream::Status::StreamEnd,
                    "xz data is cut short or longer than a block"
                );
                Ok(usize::try_from(stream.total_out())?)
            }
        }
    }
}
