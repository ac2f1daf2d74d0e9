//! How the live root is compressed: what the image asks for, or what the user says.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::format::squashfs::Compressor;
use crate::kernel::Root;
use crate::os::ImageJson;

/// zstd level of mksquashfs when nobody names one, and so of published images.
const ZSTD_LEVEL: i32 = 15;
/// Level for people who wait: about 18 times faster for an eighth more bytes.
const FAST_LEVEL: i32 = 3;
/// mksquashfs's block size.
const BLOCK_SIZE: u32 = 128 << 10;

/// `--compression` as the user says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// As the image's `image.json` asks for.
    Image,
    /// zstd at a low level.
    Fast,
    /// This compressor.
    Exactly(Compressor),
}

impl Choice {
    /// What can be said without a level.
    pub const NAMES: [&'static str; 5] = ["image", "fast", "zstd", "gzip", "xz"];
}

impl FromStr for Choice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let compressor = match (name, level) {
            ("image", None) => return Ok(Self::Image),
            ("fast", None) => return Ok(Self::Fast),
            ("zstd", level) => Compressor::Zstd {
                level: number(level, 1, 22)?.unwrap_or(ZSTD_LEVEL),
            },
            ("gzip", level) => Compressor::Gzip {
                level: number(level, 1, 9)?.unwrap_or(9).unsigned_abs(),
            },
            ("xz", None) => Compressor::Xz,
            _ => bail!("{text:?} is none of image, fast, zstd[:LEVEL], gzip[:LEVEL], xz"),
        };
        Ok(Self::Exactly(compressor))
    }
}

fn number(text: Option<&str>, least: i32, most: i32) -> Result<Option<i32>> {
    let Some(text) = text else {
        return Ok(None);
    };
    match text.parse() {
        Ok(level) if (least..=most).contains(&level) => Ok(Some(level)),
        _ => bail!("{text:?} is not a compression level from {least} to {most}"),
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("image"),
            Self::Fast => f.write_str("fast"),
            Self::Exactly(compressor) => compressor.fmt(f),
        }
    }
}

/// Where a live medium of the image has its root, if nobody asks for another compression.
pub fn live_root(image: &ImageJson) -> Result<Root<'static>> {
    let (compressor, _) = choose(Choice::Image, image)?;
    Ok(Root::Live {
        iso: true,
        compression: Some(compressor.name()),
    })
}

/// Compressor and block size for the live root.
///
/// An image that asks for EROFS gets squashfs: every live initramfs mounts it.
pub(super) fn choose(choice: Choice, image: &ImageJson) -> Result<(Compressor, u32)> {
    let (asked, block_size) = match image.live_rootfs_fstype.as_deref() {
        None | Some("squashfs") => {
            asked_for(image.live_rootfs_fsoptions.as_deref().unwrap_or_default())?
        }
        Some("erofs") => (Compressor::Zstd { level: ZSTD_LEVEL }, BLOCK_SIZE),
        Some(other) => bail!(
            "the image's image.json asks for a live root of type {other:?}, which is neither squashfs nor erofs"
        ),
    };
    Ok(match choice {
        Choice::Image => (asked, block_size),
        Choice::Fast => (Compressor::Zstd { level: FAST_LEVEL }, block_size),
        Choice::Exactly(compressor) => (compressor, block_size),
    })
}

/// Reads mksquashfs options as they stand in `live-rootfs-fsoptions`.
fn asked_for(options: &str) -> Result<(Compressor, u32)> {
    let (mut name, mut level, mut block_size) = ("zstd", None, BLOCK_SIZE);
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "-comp" => name = words.next().unwrap_or_default(),
            "-Xcompression-level" => level = words.next(),
            "-b" => block_size = bytes(words.next().unwrap_or_default())?,
            // Other options tune mksquashfs itself or filters that we don't use.
            _ => {}
        }
    }
    let compressor = match name {
        "zstd" => Compressor::Zstd {
            level: number(level, 1, 22)?.unwrap_or(ZSTD_LEVEL),
        },
        "gzip" => Compressor::Gzip {
            level: number(level, 1, 9)?.unwrap_or(9).unsigned_abs(),
        },
        "xz" => Compressor::Xz,
        other => bail!(
            "the image's image.json asks for squashfs compression {other:?}; choose one with --compression"
        ),
    };
    Ok((compressor, block_size))
}

fn bytes(text: &str) -> Result<u32> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    match digits
        .parse::<u32>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift))
    {
        Some(size) if size.is_power_of_two() && (4 << 10..=1 << 20).contains(&size) => Ok(size),
        _ => bail!(
            "the image's image.json asks for squashfs blocks of {text:?} bytes; 4K to 1M are possible"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_options_are_understood() {
        for (options, expected) in [
            ("", (Compressor::Zstd { level: 15 }, 128 << 10)),
            (
                "-comp zstd -Xcompression-level 19 -b 1M",
                (Compressor::Zstd { level: 19 }, 1 << 20),
            ),
            ("-comp gzip", (Compressor::Gzip { level: 9 }, 128 << 10)),
            ("-b 65536 -comp xz -Xbcj x86", (Compressor::Xz, 64 << 10)),
        ] {
            assert_eq!(asked_for(options).unwrap(), expected, "{options}");
        }
        for bad in [
            "-comp lzo",
            "-b 3K",
            "-b 2M",
            "-b",
            "-comp zstd -Xcompression-level 23",
        ] {
            assert!(asked_for(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_choose() {
        assert_eq!(
            "zstd:3".parse::<Choice>().unwrap(),
            Choice::Exactly(Compressor::Zstd { level: 3 })
        );
        for bad in ["zstd:0", "zstd:x", "xz:3", "lz4", ""] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
        let erofs = ImageJson {
            live_rootfs_fstype: Some("erofs".into()),
            ..Default::default()
        };
        assert_eq!(
            choose(Choice::Image, &erofs).unwrap().0,
            Compressor::Zstd { level: 15 }
        );
    }
}
