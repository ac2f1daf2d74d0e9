//! Disk images compressed as a whole, as published ones are.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use flate2::write::GzEncoder;
use serde::Serialize;
use xz2::write::XzEncoder;

use crate::format::sparse::{SparseRead, each};

/// Levels that the tools have by default.
const XZ_PRESET: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// How a metal image is packed. coreos-installer reads all of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// Not at all: a sparse raw file.
    #[default]
    None,
    /// gzip
    Gzip,
    /// xz
    Xz,
    /// zstd
    Zstd,
}

impl Archive {
    /// Whether it is a raw file.
    pub(super) fn is_none(self) -> bool {
        self == Self::None
    }

    /// What the file's name ends in.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    /// Writes the packed disk. `advance` is told of the bytes that are not in a MiB of zeros.
    pub(super) fn write(
        self,
        disk: &dyn SparseRead,
        out: &File,
        advance: &dyn Fn(u64),
    ) -> Result<()> {
        let mut out = BufWriter::new(out);
        let copy = |sink: &mut dyn Write| -> io::Result<()> {
            each(disk, 0, disk.len(), &mut |bytes| {
                if bytes.iter().any(|byte| *byte != 0) {
                    advance(bytes.len() as u64);
                }
                sink.write_all(bytes)
            })
        };
        let done = match self {
            Self::None => copy(&mut out),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(&mut out, flate2::Compression::default());
                copy(&mut encoder).and_then(|()| encoder.finish().map(drop))
            }
            Self::Xz => {
                let mut encoder = XzEncoder::new(&mut out, XZ_PRESET);
                copy(&mut encoder).and_then(|()| encoder.finish().map(drop))
            }
            Self::Zstd => zstd::Encoder::new(&mut out, ZSTD_LEVEL).and_then(|mut encoder| {
                encoder.include_checksum(true)?;
                copy(&mut encoder)?;
                encoder.finish().map(drop)
            }),
        };
        done.and_then(|()| out.flush())
            .context("compressing a disk image")
    }
}

impl FromStr for Archive {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "none" => Self::None,
            "gzip" => Self::Gzip,
            "xz" => Self::Xz,
            "zstd" => Self::Zstd,
            other => {
                bail!("{other:?} is no way to pack a disk image; there are none, gzip, xz and zstd")
            }
        })
    }
}
