//! The minimal ISO: packed into the full one, and taken out of it again.
//!
//! `coreos/miniso.dat` says where on the full ISO each file of the minimal one lies, and holds what
//! is between them. Format and reader: coreos-installer `src/miniso.rs`, whose own code this is.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libcoreinst::cmdline::IsoExtractMinimalIsoConfig;
use libcoreinst::iso9660::{self, DirectoryRecord, IsoFs};
use libcoreinst::live::iso_extract_minimal_iso;
use libcoreinst::miniso::Data;

use super::customize::utf8;

/// Where the data is on the full ISO.
pub(super) const PATH: &str = "coreos/miniso.dat";

/// The same in its primary tree, whose names have eight letters and three.
const SHORT_PATH: &str = "COREOS/MINISO.DAT";

/// Bytes kept free for the data; upstream's size, which is several times what it takes.
pub(super) const ROOM: usize = 16 << 10;

/// Packs `minimal` into `full`: both were just written, from the same files.
pub(super) fn pack(full: &File, minimal: &File) -> Result<()> {
    let mut full = open(full)?;
    let mut minimal = open(minimal)?;
    let (in_full, in_minimal) = (files(&mut full)?, files(&mut minimal)?);
    let (data, ..) = Data::xzpack(minimal.as_file()?, &in_full, &in_minimal)
        .context("packing the minimal ISO")?;
    let mut packed = Vec::new();
    data.serialize(&mut packed)
        .context("packing the minimal ISO")?;
    ensure!(
        packed.len() <= ROOM,
        "the minimal ISO packs to {} bytes, and {PATH} holds {ROOM}",
        packed.len()
    );
    let place = full
        .get_path(SHORT_PATH)
        .and_then(|record| record.try_into_file())
        .with_context(|| format!("looking up {PATH}"))?;
    let mut out = full.overwrite_file(&place)?;
    out.write_all(&packed)
        .and_then(|()| out.flush())
        .with_context(|| format!("writing {PATH}"))
}

/// Takes the minimal ISO out of `full`, and tells it where its root file system is.
pub(super) fn extract(full: &Path, minimal: &Path, rootfs_url: Option<&str>) -> Result<()> {
    iso_extract_minimal_iso(IsoExtractMinimalIsoConfig {
        input: utf8(full)?,
        output_rootfs: None,
        output: utf8(minimal)?,
        rootfs_url: rootfs_url.map(str::to_owned),
    })
    .context("making the minimal ISO")?;
    // The library makes it a temporary file first, which only its owner may read.
    let permissions =
        fs::metadata(full).and_then(|full| fs::set_permissions(minimal, full.permissions()));
    permissions.context("making the minimal ISO readable")
}

fn open(file: &File) -> Result<IsoFs> {
    IsoFs::from_file(file.try_clone().context("opening the ISO again")?)
        .context("reading the ISO just written")
}

fn files(iso: &mut IsoFs) -> Result<HashMap<String, iso9660::File>> {
    iso.walk()?
        .filter_map(|record| match record {
            Ok((path, DirectoryRecord::File(file))) => Some(Ok((path, file))),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect()
}
