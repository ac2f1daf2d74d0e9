//! Contents of a regular file that lie in the image in pieces, as those of ext4 and XFS do.

use std::io::{self, Read};

use anyhow::{Context, Result, ensure};

use bake_tree::Content;

/// Where a file's contents are.
pub(super) struct Pieces {
    image: Content,
    /// For messages.
    inode: String,
    len: u64,
    list: Vec<Piece>,
}

/// Offset in the file, position in the image, and length, all in bytes.
pub(super) type Piece = (u64, u64, u64);

impl Pieces {
    /// Contents of `len` bytes, those that `inode` has. `list` is in order of offsets and may reach
    /// beyond their end; between the pieces are zeros.
    pub(super) fn new(
        image: &Content,
        inode: String,
        len: u64,
        list: impl Iterator<Item = Piece>,
    ) -> Self {
        let list = list.filter_map(|(start, position, count)| {
            let count = count.min(len.saturating_sub(start));
            (count > 0).then_some((start, position, count))
        });
        Self {
            image: image.clone(),
            inode,
            len,
            list: list.collect(),
        }
    }

    pub(super) fn into_list(self) -> Vec<Piece> {
        self.list
    }

    pub(super) fn reader(self) -> FileReader {
        FileReader {
            pieces: self,
            position: 0,
            next: 0,
        }
    }

    /// All of them; more than `limit` bytes is an error.
    pub(super) fn into_vec(self, limit: u64) -> Result<Vec<u8>> {
        ensure!(
            self.len <= limit,
            "{} has {} bytes, where at most {limit} are taken",
            self.inode,
            self.len
        );
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A handle, where they lie in one piece.
    pub(super) fn content(&self) -> Option<Content> {
        match self.list[..] {
            [] if self.len == 0 => Some(Content::bytes(Vec::new())),
            [(0, position, count)] if count == self.len => self.image.slice(position, self.len),
            _ => None,
        }
    }
}

/// Reads a file from start to end; holes and blocks never written are zeros.
pub struct FileReader {
    pieces: Pieces,
    position: u64,
    /// The piece to look at next.
    next: usize,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Pieces {
            image,
            inode,
            len,
            list,
        } = &self.pieces;
        while let Some((start, _, count)) = list.get(self.next)
            && start + count <= self.position
        {
            self.next += 1;
        }
        let (run, source) = match list.get(self.next) {
            Some((start, position, count)) if *start <= self.position => {
                let inside = self.position - start;
                (count - inside, Some(position + inside))
            }
            Some((start, ..)) => (start - self.position, None),
            None => (u64::MAX, None),
        };
        let most = run.min(len - self.position).min(buffer.len() as u64);
        let count = usize::try_from(most).map_err(io::Error::other)?;
        match source {
            Some(position) => image
                .read_at(position, &mut buffer[..count])
                .with_context(|| format!("reading the contents of {inode}"))
                .map_err(io::Error::other)?,
            None => buffer[..count].fill(0),
        }
        self.position += most;
        Ok(count)
    }
}
