//! A file system tree in memory: inodes, names, and contents by handle.
//!
//! This is the one shape in which a file system travels through the house. `ostree` makes one from
//! layers, `sysroot` lays out the deployed disk as one, and every writer in `format` is fed from
//! one. Hard links are two names for one [`InodeId`]; contents stay where they were stored and are
//! read through [`Content`]. Names and symlink targets are bytes, as in the kernel.

mod content;
mod look;

pub use content::{Content, ContentReader, ReadAt, Store};
pub use look::{Circle, Follow, Kind, Look, Rooted};
pub use look::{Step, walk};

use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest file name that Linux file systems take, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// Longest target of a symlink, in bytes: what XFS, the file system of installed roots, takes (one
/// less than `XFS_SYMLINK_MAXLEN`; Linux `fs/xfs/xfs_symlink.c`). Other file systems take more.
pub const SYMLINK_TARGET_MAX: usize = 1023;

/// Longest name of an extended attribute, its namespace included (`XATTR_NAME_MAX` of Linux
/// `include/uapi/linux/limits.h`).
pub const XATTR_NAME_MAX: usize = 255;

/// Largest value of an extended attribute, in bytes (`XATTR_SIZE_MAX`, same file).
pub const XATTR_VALUE_MAX: usize = 64 << 10;

/// Position of an inode in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(u32);

impl InodeId {
    /// Index for tables that run parallel to the tree's inodes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Extended attributes in `strcmp` order of their names; names carry no trailing NUL.
///
/// Sets repeat across tens of thousands of inodes, so clones share one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattrs(Option<Arc<Vec<Xattr>>>);

/// Name and value of one extended attribute.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

impl Xattrs {
    /// No attributes at all.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Name and value pairs in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .flat_map(|list| list.iter())
            .map(|(name, value)| (&**name, &**value))
    }

    /// The value of `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The same set with `name` set to `value`.
    pub fn with(&self, name: &[u8], value: &[u8]) -> Self {
        self.iter()
            .filter(|(n, _)| *n != name)
            .chain([(name, value)])
            .collect()
    }

    /// The same set without `name`.
    pub fn without(&self, name: &[u8]) -> Self {
        self.iter().filter(|(n, _)| *n != name).collect()
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Xattrs {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(pairs: I) -> Self {
        // A map, so that a name given twice keeps its last value, as setxattr would.
        let map: BTreeMap<&[u8], &[u8]> = pairs.into_iter().collect();
        if map.is_empty() {
            return Self::new();
        }
        Self(Some(Arc::new(
            map.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
        )))
    }
}

/// Owner, permissions and attributes: what every kind of inode has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Permission bits with setuid, setgid and sticky (`mode & 0o7777`); the file type is the
    /// [`Node`].
    pub mode: u16,
    /// Seconds since 1970; 0 in everything that ostree checks out.
    pub mtime: i64,
    /// Extended attributes, `security.selinux` among them.
    pub xattrs: Xattrs,
    /// The immutable inode flag (`chattr +i`), where a format can hold it.
    pub immutable: bool,
}

impl Meta {
    /// Root's, with these permission bits.
    pub fn root(mode: u16) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }
}

/// What kind of inode it is, with what only that kind has.
#[derive(Clone, Debug)]
pub enum Node {
    /// Names in byte order.
    Directory(BTreeMap<Box<[u8]>, InodeId>),
    /// A regular file.
    File(Content),
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

/// One inode.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Owner, permissions, attributes.
    pub meta: Meta,
    /// Kind and contents.
    pub node: Node,
}

/// A tree of inodes. Inode 0 is the root directory and its own parent.
#[derive(Clone, Debug)]
pub struct Tree {
    inodes: Vec<Inode>,
}

impl Tree {
    /// The root directory's id.
    pub const ROOT: InodeId = InodeId(0);

    /// A tree with nothing but its root directory.
    pub fn new(root: Meta) -> Self {
        Self {
            inodes: vec![Inode {
                meta: root,
                node: Node::Directory(BTreeMap::new()),
            }],
        }
    }

    /// Number of inodes ever added, those without a name included.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Always false: a tree has at least its root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The inode behind `id`.
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    /// The inode behind `id`, to change its metadata or contents.
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.index()]
    }

    /// Adds an inode that has no name so far; [`Tree::link`] gives it one or several.
    ///
    /// # Panics
    /// On the 2^32nd inode; readers of foreign input stop long before.
    pub fn add(&mut self, meta: Meta, node: Node) -> InodeId {
        let id = u32::try_from(self.inodes.len()).expect("fewer than 2^32 inodes");
        self.inodes.push(Inode { meta, node });
        InodeId(id)
    }

    /// Gives `id` the name `name` in `directory`, replacing what had it.
    ///
    /// # Panics
    /// When `directory` is not a directory: callers look it up first.
    pub fn link(&mut self, directory: InodeId, name: &[u8], id: InodeId) {
        self.children_mut(directory).insert(name.into(), id);
    }

    /// Takes the name `name` out of `directory`; the inode stays for its other names.
    pub fn unlink(&mut self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        self.children_mut(directory).remove(name)
    }

    /// The names in a directory; empty for everything else.
    pub fn children(&self, id: InodeId) -> impl Iterator<Item = (&[u8], InodeId)> {
        match &self.inode(id).node {
            Node::Directory(names) => Some(names),
            _ => None,
        }
        .into_iter()
        .flat_map(|names| names.iter().map(|(name, id)| (&**name, *id)))
    }

    /// The inode called `name` in directory `id`.
    pub fn child(&self, id: InodeId, name: &[u8]) -> Option<InodeId> {
        match &self.inode(id).node {
            Node::Directory(names) => names.get(name).copied(),
            _ => None,
        }
    }

    /// Whether `id` is a directory.
    pub fn is_directory(&self, id: InodeId) -> bool {
        matches!(self.inode(id).node, Node::Directory(_))
    }

    /// The inode at a `/`-separated path below the root; symlinks are not followed.
    pub fn lookup(&self, path: &str) -> Option<InodeId> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .try_fold(Self::ROOT, |at, part| self.child(at, part.as_bytes()))
    }

    /// The content of the regular file at `path`; symlinks are not followed.
    pub fn file(&self, path: &str) -> Option<&Content> {
        match &self.inode(self.lookup(path)?).node {
            Node::File(content) => Some(content),
            _ => None,
        }
    }

    /// Makes every missing directory of a `/`-separated path with `meta`, and returns the last.
    ///
    /// # Panics
    /// When the path runs through something that is no directory: for paths of our own making.
    pub fn make_directories(&mut self, path: &str, meta: &Meta) -> InodeId {
        let mut at = Self::ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = match self.child(at, part.as_bytes()) {
                Some(id) => id,
                None => self.create(at, part, meta.clone(), Node::Directory(BTreeMap::new())),
            };
        }
        at
    }

    /// Adds an inode and names it `name` in `directory`.
    pub fn create(&mut self, directory: InodeId, name: &str, meta: Meta, node: Node) -> InodeId {
        let id = self.add(meta, node);
        self.link(directory, name.as_bytes(), id);
        id
    }

    /// How many names each inode has, by [`InodeId::index`]; a directory counts as the kernel
    /// counts it: its name, its `.`, and a `..` for every directory in it. Inodes that cannot be
    /// reached from the root have 0.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.inodes.len()];
        counts[Self::ROOT.index()] = 2;
        let mut open = vec![Self::ROOT];
        while let Some(directory) = open.pop() {
            for (_, id) in self.children(directory) {
                if self.is_directory(id) {
                    counts[directory.index()] += 1;
                    // A second name is the caller's mistake; entering once ends even a circle.
                    if counts[id.index()] == 0 {
                        counts[id.index()] = 2;
                        open.push(id);
                    }
                } else {
                    counts[id.index()] += 1;
                }
            }
        }
        counts
    }

    /// Calls `visit` with the path (no leading `/`, the root's is empty) of every name, parents
    /// before children, in byte order within a directory.
    pub fn walk(&self, mut visit: impl FnMut(&[u8], InodeId)) {
        let mut open = vec![(Vec::new(), Self::ROOT)];
        // A directory has one name. Should one have two, its names are visited once, so that even a
        // directory within itself comes to an end.
        let mut entered = vec![false; self.inodes.len()];
        while let Some((path, id)) = open.pop() {
            visit(&path, id);
            if std::mem::replace(&mut entered[id.index()], true) {
                continue;
            }
            let first = open.len();
            open.extend(self.children(id).map(|(name, child)| {
                let mut path = path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                (path, child)
            }));
            open[first..].reverse();
        }
    }

    /// The directory `id` and what is below it as a tree of its own, hard links kept. Inodes get
    /// new ids.
    pub fn subtree(&self, id: InodeId) -> Self {
        let mut below = Self::new(self.inode(id).meta.clone());
        let mut known = BTreeMap::from([(id, Self::ROOT)]);
        let mut open = vec![(id, Self::ROOT)];
        while let Some((from, to)) = open.pop() {
            for (name, child) in self.children(from) {
                let copy = *known.entry(child).or_insert_with(|| {
                    let Inode { meta, node } = self.inode(child);
                    let node = match node {
                        Node::Directory(_) => Node::Directory(BTreeMap::new()),
                        node => node.clone(),
                    };
                    let copy = below.add(meta.clone(), node);
                    if self.is_directory(child) {
                        open.push((child, copy));
                    }
                    copy
                });
                below.link(to, name, copy);
            }
        }
        below
    }

    fn children_mut(&mut self, id: InodeId) -> &mut BTreeMap<Box<[u8]>, InodeId> {
        match &mut self.inode_mut(id).node {
            Node::Directory(names) => names,
            _ => panic!("names live in directories only"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xattrs_are_sorted_and_replaced() {
        let set = Xattrs::new()
            .with(b"user.b", b"1")
            .with(b"security.selinux", b"x")
            .with(b"user.b", b"2");
        let names: Vec<&[u8]> = set.iter().map(|(n, _)| n).collect();
        assert_eq!(names, [&b"security.selinux"[..], b"user.b"]);
        assert_eq!(set.get(b"user.b"), Some(&b"2"[..]));
        assert!(
            set.without(b"user.b")
                .without(b"security.selinux")
                .is_empty()
        );
    }

    #[test]
    fn links_are_counted_as_the_kernel_counts_them() {
        let mut tree = Tree::new(Meta::root(0o755));
        let usr = tree.make_directories("usr/lib", &Meta::root(0o755));
        let file = tree.create(usr, "a", Meta::root(0o644), Node::Fifo);
        tree.link(Tree::ROOT, b"b", file);
        let counts = tree.link_counts();
        assert_eq!(counts[Tree::ROOT.index()], 3);
        assert_eq!(counts[tree.lookup("usr").unwrap().index()], 3);
        assert_eq!(counts[file.index()], 2);
    }

    #[test]
    fn a_directory_within_itself_comes_to_an_end() {
        let mut tree = Tree::new(Meta::root(0o755));
        let directory = tree.make_directories("d", &Meta::root(0o755));
        tree.link(directory, b"inside", directory);
        tree.link(directory, b"up", Tree::ROOT);
        let mut names = 0;
        tree.walk(|_, _| names += 1);
        assert_eq!(names, 4);
        tree.link_counts();
    }

    #[test]
    fn a_subtree_has_what_is_below_and_its_links() {
        let mut tree = Tree::new(Meta::root(0o755));
        let boot = tree.make_directories("boot", &Meta::root(0o700));
        let inner = tree.make_directories("boot/grub2", &Meta::root(0o755));
        let file = tree.create(inner, "a", Meta::root(0o644), Node::Fifo);
        tree.link(boot, b"b", file);
        tree.make_directories("usr", &Meta::root(0o755));
        let below = tree.subtree(boot);
        assert_eq!(below.len(), 3);
        assert_eq!(below.inode(Tree::ROOT).meta.mode, 0o700);
        assert_eq!(below.lookup("grub2/a"), below.lookup("b"));
        assert!(below.lookup("b").is_some());
    }

    #[test]
    fn walk_visits_parents_first_in_byte_order() {
        let mut tree = Tree::new(Meta::root(0o755));
        for path in ["b/c", "a", "b/a"] {
            tree.make_directories(path, &Meta::root(0o755));
        }
        let mut seen = Vec::new();
        tree.walk(|path, _| seen.push(String::from_utf8(path.to_vec()).unwrap()));
        assert_eq!(seen, ["", "a", "b", "b/a", "b/c"]);
    }
}
