//! Where an image's documents and blobs come from.

use std::io::Read;

use super::archive::Archive;
use super::blob::{Blob, CheckedBlob};
use super::layout::Layout;
use super::registry::Registry;

/// An opened place with blobs in it.
pub(super) enum Source {
    Layout(Layout),
    Archive(Archive),
    Registry(Registry),
}

impl Source {
    /// A manifest or index, checked against its digest.
    pub(super) fn document(&self, blob: &Blob, limit: u64) -> anyhow::Result<Vec<u8>> {
        match self {
            // Registries keep manifests apart from other blobs.
            Self::Registry(registry) => registry.manifest_by_digest(blob, limit),
            _ => self.blob(blob, limit),
        }
    }

    /// A whole blob of at most `limit` bytes, checked.
    pub(super) fn blob(&self, blob: &Blob, limit: u64) -> anyhow::Result<Vec<u8>> {
        let source = self.read(blob)?;
        Ok(CheckedBlob::new(blob.clone(), source).into_vec(limit)?)
    }

    /// A reader of a blob; what it gives is not checked.
    pub(super) fn read(&self, blob: &Blob) -> anyhow::Result<Box<dyn Read + Send>> {
        self.expect(blob)?;
        Ok(match self {
            Self::Layout(layout) => Box::new(layout.read(&blob.digest)?),
            Self::Archive(archive) => {
                let reader = archive.read(&blob.digest);
                Box::new(reader.ok_or_else(|| blob.missing())?)
            }
            Self::Registry(registry) => Box::new(registry.read(blob)),
        })
    }

    /// Checks what can be known of a blob without reading it.
    pub(super) fn expect(&self, blob: &Blob) -> anyhow::Result<()> {
        let len_bytes = match self {
            Self::Layout(layout) => layout.len_bytes(&blob.digest)?,
            Self::Archive(archive) => archive.len_bytes(&blob.digest),
            Self::Registry(_) => return Ok(()),
        };
        match len_bytes {
            None => Err(blob.missing().into()),
            Some(len) if len != blob.size_bytes => Err(blob.wrong_size(len).into()),
            Some(_) => Ok(()),
        }
    }
}
