//! Paths in file systems that are read: names after names, with symlinks resolved inside the image.

use anyhow::{Result, ensure};

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

/// What a file system has to tell so that paths can be followed in it.
pub(super) trait Names {
    /// An inode.
    type Entry: Clone;

    /// The inode called `name` in a directory.
    fn find(&self, directory: &Self::Entry, name: &[u8]) -> Result<Option<Self::Entry>>;

    /// Whether the inode is a directory.
    fn is_directory(entry: &Self::Entry) -> bool;

    /// A symlink's target; `None` for everything else.
    fn target(entry: &Self::Entry) -> Option<&[u8]>;
}

/// The inode at a path that starts at `root`, where absolute symlinks start too and out of which `..`
/// does not lead; `None` if there is no such name.
pub(super) fn resolve<N: Names>(
    names: &N,
    root: &N::Entry,
    path: &[u8],
    follow: Follow,
) -> Result<Option<N::Entry>> {
    // Directories from the root to where we are, and names to go, the next one last.
    let mut way: Vec<N::Entry> = Vec::new();
    let mut ahead = split(path);
    let mut at = root.clone();
    let mut followed = 0;
    while let Some(name) = ahead.pop() {
        if !N::is_directory(&at) {
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
        let Some(found) = names.find(&at, &name)? else {
            return Ok(None);
        };
        match N::target(&found) {
            Some(target) if !ahead.is_empty() || follow == Follow::Last => {
                followed += 1;
                ensure!(
                    followed <= SYMLINKS_MAX,
                    "there are more than {SYMLINKS_MAX} symlinks on the way"
                );
                if target.starts_with(b"/") {
                    way.clear();
                    at = root.clone();
                }
                ahead.extend(split(target));
            }
            _ => way.push(std::mem::replace(&mut at, found)),
        }
    }
    Ok(Some(at))
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
