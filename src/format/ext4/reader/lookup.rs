//! Paths: names after names, with symlinks resolved inside the image.

use anyhow::{Context, Result, ensure};

use super::Reader;
use super::inode::{Entry, Kind};

/// Symlinks that one lookup follows at most, as in Linux (`MAXSYMLINKS`).
const SYMLINKS_MAX: u32 = 40;

/// Whether a symlink at the end of a path is followed; those on the way always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// To what it points to, as `stat`.
    Last,
    /// Up to itself, as `lstat`.
    NotLast,
}

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
        self.resolve(root, path, follow)
            .with_context(|| format!("looking up {} in an ext4 file system", path.escape_ascii()))
    }

    fn resolve(&self, root: &Entry, path: &[u8], follow: Follow) -> Result<Option<Entry>> {
        // Directories from the root to where we are, and names to go, the next one last.
        let mut way: Vec<Entry> = Vec::new();
        let mut names = split(path);
        let mut at = root.clone();
        let mut followed = 0;
        while let Some(name) = names.pop() {
            if at.kind != Kind::Directory {
                return Ok(None);
            }
            match &*name {
                b"." => continue,
                b".." => {
                    at = way.pop().unwrap_or_else(|| root.clone());
                    continue;
                }
                _ => {}
            }
            let Some(found) = self.find(&at, &name)? else {
                return Ok(None);
            };
            match &found.kind {
                Kind::Symlink(target) if !names.is_empty() || follow == Follow::Last => {
                    followed += 1;
                    ensure!(
                        followed <= SYMLINKS_MAX,
                        "there are more than {SYMLINKS_MAX} symlinks on the way"
                    );
                    if target.starts_with(b"/") {
                        way.clear();
                        at = root.clone();
                    }
                    names.extend(split(target));
                }
                _ => way.push(std::mem::replace(&mut at, found)),
            }
        }
        Ok(Some(at))
    }
}

/// Names of a path, the first one last. A slash at the end asks for a directory, as `.` does.
fn split(path: &[u8]) -> Vec<Box<[u8]>> {
    let mut names: Vec<Box<[u8]>> = Vec::new();
    if path.ends_with(b"/") {
        names.push(Box::from(*b"."));
    }
    names.extend(
        path.rsplit(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .map(Box::from),
    );
    names
}
