//! The layer as a tar stream, compressed and hashed on its way to a file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::Layer;
use crate::image::{Digest, NewLayer};
use crate::progress::Progress;
use crate::tree::{Content, Meta, Tree};

/// Most of the layer is an initramfs, which is compressed already.
const LEVEL: u32 = 6;

/// Writes the layer into the empty file `out`. Directories of its files are those of `tree`, the
/// merged tree of the image below; `time` is in seconds since 1970, `created_by` for the history.
pub fn write(
    layer: &Layer,
    tree: &Tree,
    time: u64,
    created_by: &str,
    out: File,
    progress: &dyn Progress,
) -> Result<NewLayer> {
    let total = layer.files.values().map(Content::len).sum();
    progress.begin("writing the layer", total);
    let out = Arc::new(out);
    let blob = Hashing::new(BufWriter::new(&*out));
    let gzip = GzEncoder::new(blob, Compression::new(LEVEL));
    let mut archive = Archive {
        builder: Builder::new(Hashing::new(gzip)),
        tree,
        time,
        directories: BTreeSet::new(),
    };
    for path in &layer.removed {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        archive.file(&format!("{directory}/.wh.{name}"), &Content::bytes([]))?;
    }
    for (path, content) in &layer.files {
        archive
            .file(path, content)
            .with_context(|| format!("writing {path} into the layer"))?;
        progress.advance(content.len());
    }
    let (gzip, diff_id) = archive.builder.into_inner()?.finish();
    let (mut blob, digest) = gzip.finish().context("compressing the layer")?.finish();
    blob.flush().context("writing the layer")?;
    drop(blob);
    progress.end();
    let len = out.metadata()?.len();
    Ok(NewLayer {
        blob: Content::range(Arc::clone(&out), 0, len),
        digest,
        diff_id,
        created_by: created_by.to_owned(),
    })
}

struct Archive<'a, W: Write> {
    builder: Builder<W>,
    tree: &'a Tree,
    time: u64,
    /// Those that the archive has already.
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<'_, W> {
    fn file(&mut self, path: &str, content: &Content) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            let directory = &path[..end];
            if self.directories.insert(directory.to_owned()) {
                // Said again as it is: what a layer doesn't mention, ostree gives a new owner.
                let meta = match self.tree.lookup(directory) {
                    Some(id) => self.tree.inode(id).meta.clone(),
                    None => Meta::root(0o755),
                };
                let mut header = self.header(&meta, EntryType::Directory, 0);
                let name = format!("{directory}/");
                self.builder.append_data(&mut header, name, io::empty())?;
            }
        }
        let meta = match self.tree.lookup(path) {
            Some(id) => self.tree.inode(id).meta.clone(),
            None => Meta::root(0o644),
        };
        let mut header = self.header(&meta, EntryType::Regular, content.len());
        self.builder
            .append_data(&mut header, path, content.reader())?;
        Ok(())
    }

    fn header(&self, meta: &Meta, kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(u32::from(meta.mode));
        header.set_uid(meta.uid.into());
        header.set_gid(meta.gid.into());
        header.set_size(size);
        header.set_mtime(self.time);
        header
    }
}

/// Hashes what passes by.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    fn finish(self) -> (W, Digest) {
        let digest = format!("sha256:{}", hex::encode(self.hash.finalize()));
        (
            self.inner,
            digest.parse().expect("this is how digests are spelled"),
        )
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
