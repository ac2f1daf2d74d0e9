//! A directory in OCI image layout.
//!
//! ```text
//! DIR/oci-layout  DIR/index.json  DIR/blobs/<algorithm>/<hex digits>
//! ```
//!
//! Truth: image specification 1.1, `image-layout.md`. `oci-layout` may be missing, though the
//! specification says that it must not: skopeo 1.9.3 and buildah 1.28.2 were run, and take such a layout
//! without a word. We do too, with one; if it is there, its version must be one we know.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::digest::Digest;
use super::error::ImageError;
use super::manifest::MANIFEST_BYTES_MAX;
use super::quoted::{fault, shown};
use crate::limited;

/// The only version there is.
const LAYOUT_VERSION: &str = "1.0.0";

/// What the file `oci-layout` says.
pub(super) const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Most bytes of the file `oci-layout`, which holds one short object.
const MARKER_BYTES_MAX: u64 = 64 << 10;

/// An opened layout.
#[derive(Debug)]
pub(super) struct Layout {
    path: PathBuf,
    warning: Option<String>,
}

impl Layout {
    /// Opens the layout and returns it with the text of its `index.json`.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, Vec<u8>)> {
        let mut layout = Self {
            path: path.to_owned(),
            warning: None,
        };
        let fail = |reason: &str, hint: Option<String>| ImageError::NotALayout {
            path: path.display().to_string(),
            reason: reason.to_owned(),
            hint,
        };
        let metadata = path
            .metadata()
            .with_context(|| format!("looking at {}", path.display()))?;
        if !metadata.is_dir() {
            let hint = format!("for an archive, write oci-archive:{}", path.display());
            return Err(fail("it is not a directory", Some(hint)).into());
        }
        match layout.document("oci-layout", MARKER_BYTES_MAX)? {
            Some(marker) => check_marker(&marker).map_err(|reason| fail(&reason, None))?,
            None => layout.warning = Some(without_marker(&path.display().to_string())),
        }
        let index = layout.document("index.json", MANIFEST_BYTES_MAX)?;
        let index = index.ok_or_else(|| {
            let hint = path.join("manifest.json").is_file().then(|| {
                format!(
                    "it looks like a dir: image; convert it with skopeo copy dir:{} oci:DIR",
                    path.display()
                )
            });
            fail("there is no index.json in it", hint)
        })?;
        Ok((layout, index))
    }

    /// What the user should know of it.
    pub(super) fn warning(&self) -> Option<&String> {
        self.warning.as_ref()
    }

    /// Length of a blob, if it is there.
    pub(super) fn len_bytes(&self, digest: &Digest) -> anyhow::Result<Option<u64>> {
        let path = self.path.join(blob_name(digest));
        regular_file(&path).with_context(|| format!("looking at {}", path.display()))
    }

    /// Opens a blob that is there.
    pub(super) fn read(&self, digest: &Digest) -> anyhow::Result<File> {
        let path = self.path.join(blob_name(digest));
        File::open(&path).with_context(|| format!("opening {}", path.display()))
    }

    fn document(&self, name: &str, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let object = path.display().to_string();
        let reading = || format!("reading {object}");
        if regular_file(&path).with_context(reading)?.is_none() {
            return Ok(None);
        }
        let read = File::open(&path).and_then(|file| limited::stream(file, limit));
        match read.with_context(reading)? {
            None => Err(ImageError::TooLarge { object, limit }.into()),
            bytes => Ok(bytes),
        }
    }
}

/// Length of a regular file; none if there is nothing, an error if it is something else, which
/// might block when opened.
fn regular_file(path: &Path) -> io::Result<Option<u64>> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
        Ok(_) => Err(io::Error::other("not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is said of a layout that does not say that it is one.
pub(super) fn without_marker(name: &str) -> String {
    format!("{name} has no file oci-layout, which all OCI layouts have to have")
}

/// Whether the text of `oci-layout` names the version we know.
pub(super) fn check_marker(text: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    match serde_json::from_slice::<Marker>(text) {
        Ok(marker) if marker.image_layout_version == LAYOUT_VERSION => Ok(()),
        Ok(marker) => Err(format!(
            "its layout version is {:?}, and only {LAYOUT_VERSION} is known",
            shown(&marker.image_layout_version)
        )),
        Err(error) => Err(format!("its oci-layout is malformed: {}", fault(&error))),
    }
}

/// Where a blob lies in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
