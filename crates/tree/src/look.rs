//! Looking into a tree that is there already: a file system on a disk, or a [`Tree`].

use std::fmt::Debug;

use anyhow::{Context, Result};

use super::{Content, InodeId, Node, Tree};

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

/// A path leads through too many symlinks, as to one that leads to itself.
#[derive(Debug, thiserror::Error)]
#[error("there are more than {SYMLINKS_MAX} symlinks on the way")]
pub struct Circle;

/// Kind of an inode that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Bytes in it.
        len: u64,
    },
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// A symlink's target.
    pub fn target(&self) -> Option<&[u8]> {
        match self {
            Self::Symlink(target) => Some(target),
            _ => None,
        }
    }
}

/// A tree that can be looked into.
pub trait Look {
    /// An inode.
    type Entry: Clone + Debug;

    /// What messages call such a tree, article included.
    const NAME: &'static str;

    /// The root directory.
    fn root(&self) -> Result<Self::Entry>;

    /// The inode called `name` in a directory.
    fn child(&self, directory: &Self::Entry, name: &[u8]) -> Result<Option<Self::Entry>>;

    /// The names in a directory, in byte order.
    fn names(&self, directory: &Self::Entry) -> Result<Vec<Box<[u8]>>>;

    /// Whether the inode is a directory.
    fn is_directory(&self, entry: &Self::Entry) -> bool;

    /// A symlink's target; `None` for everything else.
    fn target<'a>(&'a self, entry: &'a Self::Entry) -> Option<&'a [u8]>;

    /// All of a regular file; more than `limit` bytes is an error. `None` for everything else.
    fn bytes(&self, entry: &Self::Entry, limit: u64) -> Result<Option<Vec<u8>>>;

    /// The contents of a regular file as a handle, without copying, where they lie in one piece.
    fn content(&self, _: &Self::Entry) -> Result<Option<Content>> {
        Ok(None)
    }

    /// The inode at a path from the root; `None` if there is no such name.
    fn lookup(&self, path: impl AsRef<[u8]>, follow: Follow) -> Result<Option<Self::Entry>> {
        self.lookup_below(&self.root()?, path, follow)
    }

    /// As [`Look::lookup`], with another directory for the root: paths start there, and so do absolute
    /// symlinks, and `..` does not lead out of it.
    fn lookup_below(
        &self,
        root: &Self::Entry,
        path: impl AsRef<[u8]>,
        follow: Follow,
    ) -> Result<Option<Self::Entry>> {
        let path = path.as_ref();
        let step = |entry: Self::Entry| Step {
            is_directory: self.is_directory(&entry),
            target: self.target(&entry).map(Box::from),
            entry,
        };
        walk(step(root.clone()), path, follow, |at, name| {
            Ok(self.child(at, name)?.map(step))
        })
        .with_context(|| format!("looking up {} in {}", path.escape_ascii(), Self::NAME))
    }

    /// All of the regular file at a path; `None` if there is none.
    fn read_file(
        &self,
        path: impl AsRef<[u8]>,
        follow: Follow,
        limit: u64,
    ) -> Result<Option<Vec<u8>>> {
        let found = self.lookup(path, follow)?;
        Ok(found
            .map(|entry| self.bytes(&entry, limit))
            .transpose()?
            .flatten())
    }
}

/// What a name on the way stands for.
pub struct Step<E> {
    /// The inode.
    pub entry: E,
    /// Whether a path may go on through it.
    pub is_directory: bool,
    /// Where it leads, if it is a symlink.
    pub target: Option<Box<[u8]>>,
}

/// The inode at a path that starts at `root`, where absolute symlinks start too and out of which `..`
/// does not lead; `None` if there is no such name. `find` says what a name in a directory stands for.
///
/// # Errors
/// Those of `find`, and [`Circle`] for more symlinks than Linux follows.
pub fn walk<E: Clone>(
    root: Step<E>,
    path: &[u8],
    follow: Follow,
    mut find: impl FnMut(&E, &[u8]) -> Result<Option<Step<E>>>,
) -> Result<Option<E>> {
    // Directories from the root to where we are, and names to go, the next one last.
    let mut way: Vec<E> = Vec::new();
    let mut ahead = split(path);
    let mut is_directory = root.is_directory;
    let root = root.entry;
    let mut at = root.clone();
    let mut followed = 0;
    while let Some(name) = ahead.pop() {
        if !is_directory {
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
        let Some(found) = find(&at, &name)? else {
            return Ok(None);
        };
        match found.target {
            Some(target) if !ahead.is_empty() || follow == Follow::Last => {
                followed += 1;
                if followed > SYMLINKS_MAX {
                    return Err(Circle.into());
                }
                if target.starts_with(b"/") {
                    way.clear();
                    at = root.clone();
                }
                ahead.extend(split(&target));
            }
            _ => {
                is_directory = found.is_directory;
                way.push(std::mem::replace(&mut at, found.entry));
            }
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

impl Look for Tree {
    type Entry = InodeId;

    const NAME: &'static str = "the tree";

    fn root(&self) -> Result<InodeId> {
        Ok(Self::ROOT)
    }

    fn child(&self, directory: &InodeId, name: &[u8]) -> Result<Option<InodeId>> {
        Ok(self.child(*directory, name))
    }

    fn names(&self, directory: &InodeId) -> Result<Vec<Box<[u8]>>> {
        Ok(self
            .children(*directory)
            .map(|(name, _)| name.into())
            .collect())
    }

    fn is_directory(&self, entry: &InodeId) -> bool {
        self.is_directory(*entry)
    }

    fn target(&self, entry: &InodeId) -> Option<&[u8]> {
        match &self.inode(*entry).node {
            Node::Symlink(target) => Some(target),
            _ => None,
        }
    }

    fn bytes(&self, entry: &InodeId, limit: u64) -> Result<Option<Vec<u8>>> {
        let content = self.content(entry)?;
        Ok(content.map(|content| content.to_vec(limit)).transpose()?)
    }

    fn content(&self, entry: &InodeId) -> Result<Option<Content>> {
        Ok(match &self.inode(*entry).node {
            Node::File(content) => Some(content.clone()),
            _ => None,
        })
    }
}

/// A directory of a tree as the root of one: paths and absolute symlinks start there.
#[derive(Debug)]
pub struct Rooted<T: Look> {
    /// The whole tree.
    pub tree: T,
    top: T::Entry,
}

impl<T: Look> Rooted<T> {
    /// The directory `top` of `tree`.
    pub fn new(tree: T, top: T::Entry) -> Self {
        Self { tree, top }
    }
}

impl<T: Look> Look for Rooted<T> {
    type Entry = T::Entry;

    const NAME: &'static str = T::NAME;

    fn root(&self) -> Result<T::Entry> {
        Ok(self.top.clone())
    }

    fn child(&self, directory: &T::Entry, name: &[u8]) -> Result<Option<T::Entry>> {
        self.tree.child(directory, name)
    }

    fn names(&self, directory: &T::Entry) -> Result<Vec<Box<[u8]>>> {
        self.tree.names(directory)
    }

    fn is_directory(&self, entry: &T::Entry) -> bool {
        self.tree.is_directory(entry)
    }

    fn target<'a>(&'a self, entry: &'a T::Entry) -> Option<&'a [u8]> {
        self.tree.target(entry)
    }

    fn bytes(&self, entry: &T::Entry, limit: u64) -> Result<Option<Vec<u8>>> {
        self.tree.bytes(entry, limit)
    }

    fn content(&self, entry: &T::Entry) -> Result<Option<Content>> {
        self.tree.content(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;

    fn tree(links: &[(&str, &str)], files: &[&str]) -> Tree {
        let mut tree = Tree::new(Meta::root(0o755));
        let nodes = links
            .iter()
            .map(|(path, target)| (*path, Node::Symlink(target.as_bytes().into())))
            .chain(files.iter().map(|path| (*path, Node::Fifo)));
        for (path, node) in nodes {
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            let directory = tree.make_directories(directory, &Meta::root(0o755));
            tree.create(directory, name, Meta::root(0o644), node);
        }
        tree
    }

    #[test]
    fn links_are_followed_as_the_kernel_follows_them() {
        let tree = tree(
            &[
                ("lib", "usr/lib"),
                ("usr/lib/abs", "/lib/./modules/"),
                ("usr/up", "../../lib/x"),
                ("a", "b"),
                ("b", "a"),
            ],
            &["usr/lib/x/y", "usr/lib/modules/6.1", "z"],
        );
        let cases = [
            ("usr/lib/x", Some("usr/lib/x")),
            ("lib/x", Some("usr/lib/x")),
            ("/lib//abs/6.1", Some("usr/lib/modules/6.1")),
            ("usr/up/y", Some("usr/lib/x/y")),
            ("usr/../../z", Some("z")),
            ("z/", None),
            ("z/..", None),
            ("none/../z", None),
            ("", Some("")),
        ];
        for (path, expected) in cases {
            let found = Look::lookup(&tree, path, Follow::Last).unwrap();
            assert_eq!(found, expected.and_then(|path| tree.lookup(path)), "{path}");
            assert_eq!(found.is_some(), expected.is_some(), "{path}");
        }
        assert!(Look::lookup(&tree, "a", Follow::NotLast).unwrap().is_some());
        let error = Look::lookup(&tree, "a/x", Follow::Last).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "looking up a/x in the tree: there are more than 40 symlinks on the way"
        );
    }

    #[test]
    fn another_root_is_not_left() {
        let tree = tree(&[("d/out", "../../x"), ("d/abs", "/x")], &["d/x", "x"]);
        let top = tree.lookup("d").unwrap();
        let below = Rooted::new(tree, top);
        let x = below.tree.lookup("d/x");
        for path in ["x", "out", "abs", "../x"] {
            assert_eq!(below.lookup(path, Follow::Last).unwrap(), x, "{path}");
        }
    }
}
