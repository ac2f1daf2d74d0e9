//! The face that all trees have.

use anyhow::Result;

use super::Reader;
use super::inode::Entry;
use crate::ext4::format::ROOT_INODE;
use bake_tree::{Content, Kind, Look};

impl Look for Reader {
    type Entry = Entry;

    const NAME: &'static str = "an ext4 file system";

    fn root(&self) -> Result<Entry> {
        self.by_number(ROOT_INODE)
    }

    fn child(&self, directory: &Entry, name: &[u8]) -> Result<Option<Entry>> {
        let names = self.read_dir(directory)?;
        names
            .binary_search_by(|found| (*found.name).cmp(name))
            .ok()
            .map(|index| self.entry_of(&names[index]))
            .transpose()
    }

    fn names(&self, directory: &Entry) -> Result<Vec<Box<[u8]>>> {
        Ok(self
            .read_dir(directory)?
            .into_iter()
            .map(|name| name.name)
            .collect())
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

    fn content(&self, entry: &Entry) -> Result<Option<Content>> {
        match entry.kind {
            Kind::File { .. } => Ok(self.pieces(entry)?.content()),
            _ => Ok(None),
        }
    }
}
