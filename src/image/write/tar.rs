//! A layout in a tar archive.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::super::layout::{MARKER, blob_name};
use super::parts::Parts;
use super::watched::Watched;
use crate::progress::Progress;
use crate::staging::{Staging, check_free, check_writable};

/// Writes the archive `path` with the image alone in it.
pub(super) fn write(
    parts: &Parts<'_>,
    path: &Path,
    tag: Option<&str>,
    force: bool,
    progress: &dyn Progress,
) -> Result<()> {
    let (directory, name) = place(path)?;
    let staging = Staging::new(directory, force)?;
    staging.check_free([name])?;
    let room = staging.room().clone();
    let blobs = parts.blobs();
    let total = blobs.iter().map(|part| part.blob.size_bytes).sum();
    room.require(total, total)?;
    store(parts, path, tag, staging, progress).map_err(|error| room.explain(error, total))
}

/// Refuses what [`write()`] would refuse when all the work is done.
pub(super) fn check(path: &Path, force: bool) -> Result<()> {
    let (directory, name) = place(path)?;
    check_writable(directory)?;
    check_free(directory, [name], force)
}

/// The directory that an archive is in, and its name there.
pub(super) fn place(path: &Path) -> Result<(&Path, &str)> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} is no name for an archive", path.display()))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((directory, name))
}

fn store(
    parts: &Parts<'_>,
    path: &Path,
    tag: Option<&str>,
    staging: Staging,
    progress: &dyn Progress,
) -> Result<()> {
    let (_, name) = place(path)?;
    let index = json!({ "schemaVersion": 2, "manifests": [parts.descriptor(tag)] });
    let mut blobs = parts.blobs();
    blobs.push(parts.manifest());
    let total = blobs.iter().map(|part| part.blob.size_bytes).sum();
    progress.begin("writing the image", total);
    let mut archive = Builder::new(io::BufWriter::new(staging.create(name)?));
    for (name, text) in [
        ("oci-layout", MARKER.to_owned()),
        ("index.json", index.to_string()),
    ] {
        append(&mut archive, name, text.len() as u64, &mut text.as_bytes())?;
    }
    // By name, so that the order says nothing of how the image was made.
    let blobs: BTreeMap<String, _> = blobs
        .into_iter()
        .map(|part| (blob_name(&part.blob.digest), part))
        .collect();
    for (name, part) in blobs {
        let inner = parts.read(&part)?;
        let size = part.blob.size_bytes;
        append(&mut archive, &name, size, &mut Watched { inner, progress })
            .with_context(|| format!("writing {}", part.blob.object))?;
    }
    archive
        .into_inner()
        .and_then(|mut out| out.flush())
        .with_context(|| format!("writing {}", path.display()))?;
    progress.end();
    staging.publish(&[name.to_owned()])
}

fn append(
    archive: &mut Builder<impl Write>,
    name: &str,
    size: u64,
    data: &mut dyn Read,
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    // Takes what the reader has, checks included, which is as long as promised.
    archive.append_data(&mut header, name, data)?;
    Ok(())
}
