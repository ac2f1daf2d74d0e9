//! Every name in the image.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::Reader;
use super::directory::ReadDir;
use super::inode::Entry;
use bake_tree::{Kind, Look};

/// Directories inside one another. A path of this many one-byte names is as long as the kernel's
/// `PATH_MAX` allows.
const DEPTH_MAX: usize = 2048;
/// Names in an image, some ten times those of the largest system image: what a crafted image can
/// cost.
const NAMES_MAX: u64 = 1 << 24;

impl Reader {
    /// Calls `visit` with the path (no leading `/`, the root's is empty) of every name, parents
    /// before children, in byte order within a directory.
    pub fn walk(&self, mut visit: impl FnMut(&[u8], &Entry) -> Result<()>) -> Result<()> {
        let root = self.root()?;
        visit(b"", &root)?;
        let mut seen = BTreeSet::from([root.number]);
        let mut path = Vec::new();
        let mut open: Vec<(usize, ReadDir<'_>)> = vec![(0, self.read_dir(&root)?)];
        let mut names = 0;
        while let Some((path_len, names_left)) = open.last_mut() {
            path.truncate(*path_len);
            let Some(name) = names_left.next() else {
                open.pop();
                continue;
            };
            let name = name.with_context(|| format!("in /{}", path.escape_ascii()))?;
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name.name);
            names += 1;
            ensure!(
                names <= NAMES_MAX,
                "the squashfs image has more than {NAMES_MAX} names"
            );
            let entry = self
                .entry(&name)
                .with_context(|| format!("in /{}", path.escape_ascii()))?;
            visit(&path, &entry)?;
            if entry.kind == Kind::Directory {
                ensure!(
                    seen.insert(entry.number),
                    "the squashfs directory /{} has another name already",
                    path.escape_ascii()
                );
                ensure!(
                    open.len() < DEPTH_MAX,
                    "the squashfs image has more than {DEPTH_MAX} directories inside one another"
                );
                open.push((path.len(), self.read_dir(&entry)?));
            }
        }
        Ok(())
    }
}
