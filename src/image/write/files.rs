//! A layout, new or with other images in it.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::Image;
use super::super::blob::Blob;
use super::super::layout::Layout;
use super::{MARKER, Part, Parts, REF_NAME, Watched, blob_path};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::staging::{Staging, check_writable, is_scratch};

const INDEX: &str = "index.json";

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
    let mut index = index_without(old.as_ref(), tag, force, path)?;
    if let Some(images) = index["manifests"].as_array_mut() {
        images.push(parts.descriptor(tag));
    }
    let mut blobs = parts.blobs();
    blobs.push(parts.manifest());
    blobs.retain(|part| !has(old.as_ref(), &part.blob));
    let total = blobs.iter().map(|part| part.blob.size_bytes).sum();
    let room = staging.room().clone();
    room.require(total, total)?;
    progress.begin("writing the image", total);
    store(parts, blobs, &index, old.is_none(), staging, progress)
        .map_err(|error| room.explain(error, total))
}

/// Refuses what [`write`] would refuse when all the work is done.
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
    index: &Value,
    is_new: bool,
    staging: Staging,
    progress: &dyn Progress,
) -> Result<()> {
    let mut names = Vec::new();
    for part in blobs {
        let name = blob_path(&part.blob.digest);
        let mut file = staging.create(&name)?;
        let inner = parts.read(&part)?;
        io::copy(&mut Watched { inner, progress }, &mut file)
            .with_context(|| format!("writing {}", part.blob.object))?;
        names.push(name);
    }
    progress.end();
    if is_new {
        staging.create("oci-layout")?.write_all(MARKER.as_bytes())?;
        names.push("oci-layout".to_owned());
    }
    // Last: before that, nobody sees what is new.
    serde_json::to_writer(staging.create(INDEX)?, index).context("writing index.json")?;
    names.push(INDEX.to_owned());
    staging.publish(&names)
}

/// A layout that is there already, and its index.
type Old = (Layout, Vec<u8>);

/// The layout that is there already.
fn old_layout(path: &Path) -> Result<Option<Old>> {
    let is_empty = match path.read_dir() {
        // What another program is about to write is none of a layout.
        Ok(entries) => entries.flatten().all(|entry| is_scratch(&entry.path())),
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
