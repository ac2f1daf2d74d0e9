//! osmet files: how a live system rebuilds a metal image from the objects of its own repository, so
//! that the ISO installs without a network.
//!
//! ```text
//! header | partitions, each with its mappings | SHA-256 and size of the disk | xz: the disk without
//!                                                                                  what is mapped
//! ```
//!
//! The first three parts are `bincode` with variable-length integers, little-endian. Extents come
//! from the file system writers, who put them there; upstream asks a mounted file system.
//!
//! Format: coreos-installer `src/osmet/{mod,file,unpacker}.rs`, version 1. Checked by: its
//! `OsmetUnpacker`.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::{Context, Result};

use crate::format::sparse::{Run, SparseRead, runs};
use crate::format::xz;
use crate::ostree::Checksum;

const MAGIC: [u8; 8] = *b"OSMET\0\0\0";

const VERSION: u64 = 1;

/// Bytes of a partition that an object of the repository has.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// Where in the partition, in bytes.
    pub(super) physical: u64,
    /// Where in the object, in bytes.
    pub(super) logical: u64,
    /// Length in bytes; zeros behind the object's end.
    pub(super) len: u64,
    /// The object.
    pub(super) object: Checksum,
}

/// A partition with mapped extents.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    /// Where it begins on the disk, in bytes.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) len: u64,
    /// In the order of the partition, not overlapping.
    pub(super) mappings: Vec<Mapping>,
}

/// What is told of the disk.
#[derive(Clone, Debug)]
pub(super) struct Description<'a> {
    /// Sector size of the disks that the image is for.
    pub(super) sector_size: u64,
    /// Name and version of the operating system.
    pub(super) os: &'a str,
    /// Architecture as `uname -m` says it.
    pub(super) architecture: &'a str,
}

/// Writes the osmet file of `disk`, whose SHA-256 is `checksum`. Partitions are in the order of the
/// disk.
pub(super) fn write(
    disk: &dyn SparseRead,
    checksum: &[u8; 32],
    description: &Description<'_>,
    partitions: &[Mapped],
    out: &mut File,
) -> Result<()> {
    let mut out = BufWriter::new(out);
    out.write_all(&head(disk.len(), checksum, description, partitions))
        .context("writing the osmet file")?;
    let mut xz = xz::Writer::new(&mut out)?;
    let mut pack = |start, end| {
        runs(disk, start, end, &mut |run| match run {
            Run::Data(bytes) => xz.write(bytes),
            Run::Hole(count) => {
                xz.zeros(count);
                Ok(())
            }
        })
    };
    let mut at = 0;
    for partition in partitions {
        for mapping in &partition.mappings {
            let start = partition.offset + mapping.physical;
            pack(at, start)?;
            at = start + mapping.len;
        }
    }
    pack(at, disk.len())
        .and_then(|()| xz.finish()?.flush())
        .context("packing the osmet file")
}

fn head(
    size: u64,
    checksum: &[u8; 32],
    description: &Description<'_>,
    partitions: &[Mapped],
) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    let text = |head: &mut Vec<u8>, text: &str| {
        varint(head, text.len() as u64);
        head.extend_from_slice(text.as_bytes());
    };
    varint(&mut head, VERSION);
    text(
        &mut head,
        concat!("coreos-bake ", env!("CARGO_PKG_VERSION")),
    );
    varint(&mut head, description.sector_size);
    text(&mut head, description.os);
    text(&mut head, description.architecture);
    varint(&mut head, partitions.len() as u64);
    for partition in partitions {
        varint(&mut head, partition.offset);
        varint(&mut head, partition.offset + partition.len);
        varint(&mut head, partition.mappings.len() as u64);
        for mapping in &partition.mappings {
            varint(&mut head, mapping.logical);
            varint(&mut head, mapping.physical);
            varint(&mut head, mapping.len);
            head.extend_from_slice(mapping.object.as_bytes());
        }
    }
    head.extend_from_slice(checksum);
    varint(&mut head, size);
    head
}

/// bincode's variable-length integers.
fn varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=250 => out.push(value as u8),
        251..=0xffff => {
            out.push(251);
            out.extend_from_slice(&(value as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(252);
            out.extend_from_slice(&(value as u32).to_le_bytes());
        }
        _ => {
            out.push(253);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}
