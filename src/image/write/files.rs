//! A layout, new or with other images in it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::Image;
use super::super::blob::Blob;
use super::super::choose::REF_NAME;
use super::super::layout::{Layout, MARKER, blob_name};
use super::parts::{Part, Parts};
use super::watched::Watched;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::staging::{Staging, check_writable, is_scratch};

const INDEX: &str = "index.json";
const OCI_LAYOUT: &str = "oci-layout";
const BLOBS: &str = "blobs";
/// How skopeo calls a blob until it is whole.
const SKOPEO_BLOB: &str = "oci-put-blob";

/// Adds the image to the layout at `path`, under `tag`.
pub(super) fn write(
    parts: &Parts<'_>,
    path: &Path,
    tag: Option<&str>,
    force: bool,
    progress: &dyn Progress,
) -> Result<()> {
    // Before it is read: a killed run may have replaced its index. That index is replaced, and nothing else.
    let staging = Staging::new(path, true)?;
    let old = old_layout(path)?;
    index_without(old.as_ref(), tag, force, path)?;
    let mut blobs = parts.blobs();
    blobs.push(parts.manifest());
    blobs.retain(|part| !has(old.as_ref(), &part.blob));
    let total = blobs.iter().map(|part| part.blob.size_bytes).sum();
    let room = staging.room().clone();
    room.require(total, total)?;
    progress.begin("writing the image", total);
    let index = || index_with(parts, path, tag, force);
    store(parts, blobs, &index, path, staging, progress).map_err(|error| room.explain(error, total))
}

/// Refuses what [`write()`] would refuse when all the work is done.
pub(super) fn check(path: &Path, tag: Option<&str>, force: bool) -> Result<()> {
    check_writable(path)?;
    let old = old_layout(path)?;
    index_without(old.as_ref(), tag, force, path).map(|_| ())
}

/// How many bytes of the layers of `image` are not in the layout at `path` yet.
pub(super) fn missing_bytes(path: &Path, image: &Image) -> Result<u64> {
    let old = old_layout(path)?;
    let layers = (0..image.layers.len()).map(|index| image.layer_blob(index));
    let missing = layers.filter(|blob| !has(old.as_ref(), blob));
    Ok(missing.map(|blob| blob.size_bytes).sum())
}

fn store(
    parts: &Parts<'_>,
    blobs: Vec<Part>,
    index: &dyn Fn() -> Result<(Value, bool)>,
    path: &Path,
    staging: Staging,
    progress: &dyn Progress,
) -> Result<()> {
    let mut names = Vec::new();
    for part in blobs {
        let name = blob_name(&part.blob.digest);
        let mut file = staging.create(&name)?;
        let inner = parts.read(&part)?;
        io::copy(&mut Watched { inner, progress }, &mut file)
            .with_context(|| format!("writing {}", part.blob.object))?;
        names.push(name);
    }
    progress.end();
    // Others may have put images there while the blobs were written, which takes minutes. Of this program,
    // one at a time goes on from here; other programs know of no lock, and have the moment until the index
    // gets its name to be overlooked.
    let _lock = lock(path);
    let (index, is_new) = index()?;
    if is_new {
        staging.create(OCI_LAYOUT)?.write_all(MARKER.as_bytes())?;
        names.push(OCI_LAYOUT.to_owned());
    }
    // Last: before that, nobody sees what is new.
    serde_json::to_writer(staging.create(INDEX)?, &index).context("writing index.json")?;
    names.push(INDEX.to_owned());
    staging.publish(&names)
}

/// The index as it is now with the new image in it, and whether it is the layout's first one.
fn index_with(
    parts: &Parts<'_>,
    path: &Path,
    tag: Option<&str>,
    force: bool,
) -> Result<(Value, bool)> {
    let old = old_layout(path)?;
    let mut index = index_without(old.as_ref(), tag, force, path)?;
    if let Some(images) = index["manifests"].as_array_mut() {
        images.push(parts.descriptor(tag));
    }
    Ok((index, old.is_none()))
}

/// The lock of the layout at `path` among programs of ours; none where there are no locks.
fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.lock().ok()?;
    Some(file)
}

/// A layout that is there already, and its index.
type Old = (Layout, Vec<u8>);

/// The layout that is there already.
fn old_layout(path: &Path) -> Result<Option<Old>> {
    // What another run is about to write is not part of a layout. skopeo has blobs, a blob that it writes
    // and a marker before there is an index, and leaves them when it is killed (containers/image
    // `oci/layout/oci_dest.go`@021a796b8; 1.9.3, run).
    let is_no_image = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        is_scratch(path) || [BLOBS, OCI_LAYOUT].contains(&&*name) || name.starts_with(SKOPEO_BLOB)
    };
    let is_empty = match path.read_dir() {
        Ok(entries) => entries.flatten().all(|entry| is_no_image(&entry.path())),
        Err(_) => !path.exists(),
    };
    match is_empty {
        true => Ok(None),
        false => Layout::open(path).map(Some),
    }
}

fn has(old: Option<&Old>, blob: &Blob) -> bool {
    let len = old.and_then(|(layout, _)| layout.len_bytes(&blob.digest).ok().flatten());
    len == Some(blob.size_bytes)
}

/// The index that lists the other images, or why the new one can't be among them.
fn index_without(old: Option<&Old>, tag: Option<&str>, force: bool, path: &Path) -> Result<Value> {
    let mut index = match old {
        Some((_, index)) => serde_json::from_slice(index)
            .with_context(|| format!("parsing {}", path.join(INDEX).display()))?,
        None => json!({ "schemaVersion": 2, "manifests": [] }),
    };
    let images = index
        .get_mut("manifests")
        .and_then(Value::as_array_mut)
        .with_context(|| format!("{} lists no manifests", path.join(INDEX).display()))?;
    make_room(images, tag, force, path)?;
    Ok(index)
}

/// Takes the image out that has the tag, or refuses.
fn make_room(images: &mut Vec<Value>, tag: Option<&str>, force: bool, path: &Path) -> Result<()> {
    let Some(tag) = tag else {
        if images.is_empty() {
            return Ok(());
        }
        return Err(Failure::new(
            format!("{} has images already", path.display()),
            format!("give the new one a tag: oci:{}:TAG", path.display()),
        )
        .into());
    };
    let is_same = |image: &Value| image["annotations"][REF_NAME] == tag;
    if !force && images.iter().any(is_same) {
        return Err(Failure::new(
            format!("{} has an image {tag} already", path.display()),
            "choose another tag, or replace it with --force",
        )
        .into());
    }
    images.retain(|image| !is_same(image));
    Ok(())
}
