//! Disk images compressed as a whole, as published ones are.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use flate2::write::GzEncoder;
use serde::Serialize;
use xz2::stream::{Check, MtStreamBuilder};
use xz2::write::XzEncoder;

use crate::format::sparse::{SparseRead, each};

/// Levels that the tools have by default.
const XZ_PRESET: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// What a thread packs by itself: three dictionaries, as the tool has it. Whatever the number of threads, the bytes are
/// the same.
const XZ_BLOCK_BYTES: u64 = 24 << 20;
/// Each takes some 170 MiB of memory.
const XZ_THREADS: u32 = 8;

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
    /// All there are.
    pub const ALL: [Self; 4] = [Self::None, Self::Gzip, Self::Xz, Self::Zstd];

    /// Whether it is a raw file.
    pub(super) fn is_none(self) -> bool {
        self == Self::None
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
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

    /// Writes the packed disk; xz by as many as `threads`. `advance` is told of the bytes that are not in a MiB of zeros.
    pub(super) fn write(
        self,
        disk: &dyn SparseRead,
        out: &File,
        threads: NonZeroUsize,
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
            Self::Xz => xz(threads).and_then(|stream| {
                let mut encoder = XzEncoder::new_stream(&mut out, stream);
                copy(&mut encoder)?;
                encoder.finish().map(drop)
            }),
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

fn xz(threads: NonZeroUsize) -> io::Result<xz2::stream::Stream> {
    let threads = u32::try_from(threads.get()).unwrap_or(XZ_THREADS);
    Ok(MtStreamBuilder::new()
        .threads(threads.min(XZ_THREADS))
        .block_size(XZ_BLOCK_BYTES)
        .preset(XZ_PRESET)
        .check(Check::Crc64)
        .encoder()?)
}

impl FromStr for Archive {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        let Some(archive) = all.find(|archive| archive.name() == text) else {
            bail!("{text:?} is not a way to pack a disk image; there are none, gzip, xz and zstd");
        };
        Ok(archive)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::process::Command;
    use std::sync::Arc;

    use super::*;
    use crate::format::sparse::RawFile;
    use crate::tree::ReadAt;
    use bake_referee::have;

    const MIB: u64 = 1 << 20;

    /// 60 MiB with something at its head, across the end of the first xz block, and at its end.
    fn disk() -> (RawFile, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(60 * MIB).unwrap();
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(MIB as usize)
        .collect();
        for at in [0, XZ_BLOCK_BYTES - MIB / 2, 59 * MIB] {
            file.write_all_at(&noise, at).unwrap();
        }
        let disk = RawFile::new(Arc::new(file)).unwrap();
        let mut bytes = vec![0; 60 * MIB as usize];
        disk.read_at(0, &mut bytes).unwrap();
        (disk, bytes)
    }

    #[test]
    fn tools_unpack_what_any_number_of_threads_packs_alike() {
        let (disk, bytes) = disk();
        let directory = tempfile::tempdir().unwrap();
        for tool in ["gzip", "xz", "zstd"] {
            let archive: Archive = tool.parse().unwrap();
            let pack = |threads: usize| {
                let path = directory.path().join(format!("disk{}", archive.ending()));
                let told = Cell::new(0);
                let threads = NonZeroUsize::new(threads).unwrap();
                let out = File::create(&path).unwrap();
                archive
                    .write(&disk, &out, threads, &|count| told.set(told.get() + count))
                    .unwrap();
                // At least what isn't zero; how much around it depends on the file system's holes.
                assert!(
                    (3 * MIB..=4 * MIB).contains(&told.get()),
                    "{tool}: {told:?}"
                );
                path
            };
            let alone = fs::read(pack(1)).unwrap();
            let path = pack(3);
            assert!(alone == fs::read(&path).unwrap(), "{tool}");
            if !have(tool) {
                continue;
            }
            let unpacked = Command::new(tool).arg("-dc").arg(&path).output().unwrap();
            assert!(unpacked.status.success(), "{tool}");
            assert!(unpacked.stdout == bytes, "{tool}");
            if tool == "xz" {
                let list = ["--robot", "--list"];
                let listed = Command::new(tool).args(list).arg(&path).output().unwrap();
                let listed = String::from_utf8(listed.stdout).unwrap();
                assert!(listed.contains("\nfile\t1\t3\t"), "three blocks: {listed}");
            }
        }
    }
}
