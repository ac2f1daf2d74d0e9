//! Contents of regular files.

use anyhow::{Context, Result, bail};

use super::Reader;
use super::inode::Entry;
use crate::pieces::{FileReader, Pieces};
use bake_tree::Kind;

impl Reader {
    /// A reader of a file's contents.
    pub fn read(&self, file: &Entry) -> Result<FileReader> {
        Ok(self.pieces(file)?.reader())
    }

    /// All of a file, for small ones; more than `limit` bytes is an error.
    pub fn to_vec(&self, file: &Entry, limit: u64) -> Result<Vec<u8>> {
        self.pieces(file)?.into_vec(limit)
    }

    /// The runs of a file's contents in the image: offset in the file, position in the image, and
    /// length, all in bytes and not beyond the file's end. Between them are zeros.
    pub fn extents(&self, file: &Entry) -> Result<Vec<(u64, u64, u64)>> {
        Ok(self.pieces(file)?.into_list())
    }

    pub(super) fn pieces(&self, file: &Entry) -> Result<Pieces> {
        let inode = format!("xfs inode {}", file.number);
        let Kind::File { len } = file.kind else {
            bail!("{inode} is not a regular file");
        };
        let map = self
            .map(file.number, &file.data)
            .with_context(|| format!("reading the extents of {inode}"))?;
        let block_size = u64::from(self.facts.block_size);
        let written = map.extents.iter().filter(|extent| !extent.unwritten);
        // An offset beyond the largest file is beyond every file.
        let list = written.map(|extent| {
            let start = extent.offset.saturating_mul(block_size);
            (start, extent.position, extent.count * block_size)
        });
        Ok(Pieces::new(&self.content, inode, len, list))
    }
}
