//! Finding inodes by their paths.

use anyhow::{Context, Result};

use super::Reader;
use super::inode::{Entry, Kind};
use crate::format::paths::{self, Follow, Names};

impl Reader {
    /// The inode at a path from the image's root; `None` if there is no such name.
    pub fn lookup(&self, path: impl AsRef<[u8]>, follow: Follow) -> Result<Option<Entry>> {
        self.lookup_below(&self.root()?, path, follow)
    }

    /// As [`Reader::lookup`], with another directory of the image for the root: paths start
    /// there, and so do absolute symlinks, and `..` does not lead out of it.
    pub fn lookup_below(
        &self,
        root: &Entry,
        path: impl AsRef<[u8]>,
        follow: Follow,
    ) -> Result<Option<Entry>> {
        let path = path.as_ref();
        paths::resolve(self, root, path, follow)
            .with_context(|| format!("looking up {} in a squashfs image", path.escape_ascii()))
    }
}

impl Names for Reader {
    type Entry = Entry;

    fn find(&self, directory: &Entry, name: &[u8]) -> Result<Option<Entry>> {
        self.child(directory, name)
    }

    fn is_directory(entry: &Entry) -> bool {
        entry.kind == Kind::Directory
    }

    fn target(entry: &Entry) -> Option<&[u8]> {
        match &entry.kind {
            Kind::Symlink(target) => Some(target),
            _ => None,
        }
    }
}
