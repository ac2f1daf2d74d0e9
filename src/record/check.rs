//! What a record can't say: names that lead out of its directory, and more than any bake writes.

use anyhow::{Result, bail};

use super::{Artifact, Record};
use crate::image::Digest;
use crate::stages::Stage;

/// Most files of a bake. One of all media has eleven.
const FILES_MAX: usize = 64;

/// Most layers. Runtimes take fewer than a hundred and thirty.
const LAYERS_MAX: usize = 4096;

/// Most drivers that are asked for.
const DRIVERS_MAX: usize = 1024;

/// Most things that roots are mounted with; a bake has some ten.
const MOUNTS_MAX: usize = 256;

/// Longest name of a file, in bytes: what file systems take.
const NAME_MAX_BYTES: usize = 255;

/// Longest text, in bytes: a kernel's command line has 4096 at most, and the evidence is counted by
/// [`super::MAX_BYTES`] alone.
const TEXT_MAX_BYTES: usize = 64 << 10;

/// Fails with the key that can't be.
pub(super) fn check(record: &Record) -> Result<()> {
    few("files", record.files.len(), FILES_MAX)?;
    few("image.layers", record.image.layers.len(), LAYERS_MAX)?;
    few(
        "drivers",
        record.drivers.len(),
        DRIVERS_MAX * Stage::ALL.len(),
    )?;
    few("mounts", record.mounts.len(), MOUNTS_MAX)?;
    few("stages", record.stages.len(), Stage::ALL.len())?;
    let (image, os, options) = (&record.image, &record.os, &record.options);
    for (key, text) in [
        ("image.reference", &image.reference),
        ("image.architecture", &image.architecture),
        ("os.name", &os.name),
        ("os.version", &os.version),
        ("os.pretty-name", &os.pretty_name),
        ("os.kernel", &os.kernel),
        ("options.live-kargs", &options.live_kargs),
    ] {
        if text.len() > TEXT_MAX_BYTES {
            bail!("{key} is longer than {TEXT_MAX_BYTES} bytes");
        }
    }
    digest("image.manifest-digest", &image.manifest_digest)?;
    for (index, layer) in image.layers.iter().enumerate() {
        digest(&format!("image.layers[{index}].digest"), &layer.digest)?;
        digest(&format!("image.layers[{index}].diff-id"), &layer.diff_id)?;
    }
    for (key, rows) in [("drivers", &record.drivers), ("mounts", &record.mounts)] {
        for (index, row) in rows.iter().enumerate() {
            if row.driver.len() > TEXT_MAX_BYTES {
                bail!("{key}[{index}].driver is longer than {TEXT_MAX_BYTES} bytes");
            }
        }
    }
    for (index, file) in record.files.iter().enumerate() {
        check_file(index, file)?;
        let mut before = record.files[..index].iter();
        if before.any(|other| other.name == file.name) {
            bail!("files[{index}].name {:?} is there twice", file.name);
        }
    }
    Ok(())
}

fn check_file(index: usize, file: &Artifact) -> Result<()> {
    let name = &file.name;
    if name.is_empty()
        || name.len() > NAME_MAX_BYTES
        || name.starts_with('.')
        || name.contains(|c: char| c == '/' || c.is_control())
    {
        bail!("files[{index}].name {name:?} is not the name of a file in the directory");
    }
    sha256(&format!("files[{index}].sha256"), &file.sha256)?;
    if let Some(sum) = &file.uncompressed_sha256 {
        sha256(&format!("files[{index}].uncompressed-sha256"), sum)?;
    }
    Ok(())
}

fn few(key: &str, count: usize, most: usize) -> Result<()> {
    match count <= most {
        true => Ok(()),
        false => bail!("{key} has {count} entries, and {most} are the most"),
    }
}

fn digest(key: &str, text: &str) -> Result<()> {
    match text.parse::<Digest>() {
        Ok(_) => Ok(()),
        Err(error) => bail!("{key}: {error}"),
    }
}

fn sha256(key: &str, text: &str) -> Result<()> {
    let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.len() == 64 && is_hex {
        true => Ok(()),
        false => bail!("{key} {text:?} does not have 64 lower-case hex digits"),
    }
}
