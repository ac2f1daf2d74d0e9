//! A layout, new or with other images in it.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::layout::Layout;
use super::{MARKER, Parts, REF_NAME, Watched, blob_path};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::staging::Staging;

const INDEX: &str = "index.json";

/// Adds the image to the layout at `path`, under `tag`.
pub(super) fn write(
    parts: &Parts<'_>,
    path: &Path,
    tag: Option<&str>,
    force: bool,
    progress: &dyn Progress,
) -> Result<()> {
    let old = old_layout(path)?;
    let mut index = match &old {
        Some((_, index)) => serde_json::from_slice(index)
            .with_context(|| format!("parsing {}", path.join(INDEX).display()))?,
        None => json!({ "schemaVersion": 2, "manifests": [] }),
    };
    let images = index
        .get_mut("manifests")
        .and_then(Value::as_array_mut)
        .with_context(|| format!("{} lists no manifests", path.join(INDEX).display()))?;
    make_room(images, tag, force, path)?;
    images.push(parts.descriptor(tag));

    // The index is replaced, and nothing else.
    let staging = Staging::new(path, true)?;
    let mut names = Vec::new();
    let mut blobs = parts.blobs();
    blobs.push(parts.manifest());
    blobs.retain(|part| {
        let there = |layout: &Layout| layout.len_bytes(&part.blob.digest).ok().flatten();
        let len = old.as_ref().and_then(|(layout, _)| there(layout));
        len != Some(part.blob.size_bytes)
    });
    let total = blobs.iter().map(|part| part.blob.size_bytes).sum();
    progress.begin("writing the image", total);
    for part in blobs {
        let name = blob_path(&part.blob.digest);
        let mut file = staging.create(&name)?;
        let inner = parts.read(&part)?;
        io::copy(&mut Watched { inner, progress }, &mut file)
            .with_context(|| format!("writing {}", part.blob.object))?;
        names.push(name);
    }
    progress.end();
    if old.is_none() {
        staging.create("oci-layout")?.write_all(MARKER.as_bytes())?;
        names.push("oci-layout".to_owned());
    }
    // Last: before that, nobody sees what is new.
    serde_json::to_writer(staging.create(INDEX)?, &index).context("writing index.json")?;
    names.push(INDEX.to_owned());
    staging.publish(&names)
}

/// The layout that is there already, and its index.
fn old_layout(path: &Path) -> Result<Option<(Layout, Vec<u8>)>> {
    let is_empty = match path.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !path.exists(),
    };
    match is_empty {
        true => Ok(None),
        false => Layout::open(path).map(Some),
    }
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
