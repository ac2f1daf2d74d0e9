//! What people name where a bake directory is asked for.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{NAME, Record};
use crate::failure::Failure;
use crate::format::{iso9660, qcow2};
use crate::image::ImageRef;
use crate::tree::Content;

/// How names of images begin.
const TRANSPORTS: [&str; 4] = ["oci:", "oci-archive:", "docker://", "containers-storage:"];

/// The file by which a directory is an OCI layout.
const OCI_LAYOUT: &str = "oci-layout";

/// Why `path` can't be a bake directory or a record, if it is something that people take for one.
pub(super) fn mistake(path: &Path) -> Option<Failure> {
    let shown = path.display();
    let name = path.to_str().unwrap_or_default();
    let is_named = TRANSPORTS.iter().any(|start| name.starts_with(start));
    if is_named && !path.exists() && name.parse::<ImageRef>().is_ok() {
        return Some(Failure::new(
            format!("{shown} is an image, and not what bake has made of one"),
            format!("bake it first (coreos-bake bake {shown} -o DIR), and give that directory"),
        ));
    }
    if path.is_dir() && path.join(OCI_LAYOUT).is_file() && !path.join(NAME).exists() {
        return Some(Failure::new(
            format!("{shown} is an image, and not what bake has made of one"),
            format!("bake it first (coreos-bake bake oci:{shown} -o DIR), and give that directory"),
        ));
    }
    let what = medium(path)?;
    let hint = match beside(path) {
        Some(directory) => format!("give the directory that it is in: {}", directory.display()),
        None => "give the directory that `coreos-bake bake -o` wrote".to_owned(),
    };
    Some(Failure::new(
        format!("{shown} is {what}, and not a bake directory"),
        hint,
    ))
}

/// What kind of medium is in a file, with its article.
fn medium(path: &Path) -> Option<&'static str> {
    if !path.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let content = Content::range(Arc::new(file), 0, length);
    if qcow2::Reader::probe(&content) {
        return Some("a qcow2 disk image");
    }
    match iso9660::Reader::open(content) {
        Err(iso9660::ReadError::NotIso) => None,
        // One that is damaged is one all the same.
        _ => Some("an ISO"),
    }
}

/// The bake directory that a medium is in.
fn beside(path: &Path) -> Option<PathBuf> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Not `Record::read`, which would ask here again of a medium that is called like the record.
    let record = File::open(directory.join(NAME)).ok()?;
    let record = Record::read_from(record, &directory.join(NAME)).ok()?;
    let name = path.file_name()?.to_str()?;
    let is_its = record.files.iter().any(|file| file.name == name);
    is_its.then(|| directory.to_owned())
}
