//! The face that all trees have.

use anyhow::{Context, Result};

use super::Reader;
use super::inode::Entry;
use crate::squashfs::format::Place;
use bake_tree::{Kind, Look};

impl Look for Reader {
    type Entry = Entry;

    const NAME: &'static str = "a squashfs image";

    fn root(&self) -> Result<Entry> {
        let place =
            Place::unpack(self.superblock.root).context("the squashfs root inode lies nowhere")?;
        self.inode(place)
    }

    fn child(&self, directory: &Entry, name: &[u8]) -> Result<Option<Entry>> {
        self.child_of(directory, name)
    }

    fn names(&self, directory: &Entry) -> Result<Vec<Box<[u8]>>> {
        self.read_dir(directory)?
            .map(|name| Ok(name?.name))
            .collect()
    }

    fn is_directory(&self, entry: &Entry) -> bool {
        entry.kind == Kind::Directory
    }

    fn target<'a>(&'a self, entry: &'a Entry) -> Option<&'a [u8]> {
        entry.kind.target()
    }

    fn bytes(&self, entry: &Entry, limit: u64) -> Result<Option<Vec<u8>>> {
        match entry.kind {
            Kind::File { .. } => self.to_vec(entry, limit).map(Some),
            _ => Ok(None),
        }
    }
}
