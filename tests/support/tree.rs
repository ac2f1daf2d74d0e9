//! Unpacked and mounted trees, compared name by name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::run;

/// A file system image mounted by the kernel, until dropped. Never one with injected faults: those
/// can hang the machine.
pub struct Mounted {
    path: PathBuf,
    /// The mount point, where it is ours.
    _own: Option<TempDir>,
}

impl Mounted {
    pub fn new(image: &Path, kind: &str, options: &str) -> Self {
        let own = tempfile::tempdir().expect("making a mount point");
        let mut mounted = Self::at(own.path(), image, kind, options);
        mounted._own = Some(own);
        mounted
    }

    /// On a directory that exists.
    pub fn at(path: &Path, image: &Path, kind: &str, options: &str) -> Self {
        run(Command::new("mount")
            .args(["-t", kind, "-o"])
            .arg(format!("loop,{options}"))
            .arg(image)
            .arg(path));
        Self {
            path: path.to_owned(),
            _own: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        super::unmount(self.path());
    }
}

/// All that a file system says of one name, apart from contents.
#[derive(Debug, PartialEq)]
struct Entry {
    kind: char,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    size: u64,
    /// How many of its names are in `/boot` of the same file system.
    boot_links: u64,
    target: Option<PathBuf>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn entry(path: &Path, metadata: &Metadata, boot: &[u64]) -> Entry {
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_dir() => 'd',
        () if file_type.is_symlink() => 'l',
        () if file_type.is_file() => '-',
        () if file_type.is_char_device() => 'c',
        () => '?',
    };
    Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        // A directory's count and size are the file system's own business.
        links: if kind == 'd' { 0 } else { metadata.nlink() },
        size: if kind == '-' { metadata.len() } else { 0 },
        boot_links: boot
            .iter()
            .filter(|inode| **inode == metadata.ino())
            .count() as u64,
        target: (kind == 'l').then(|| fs::read_link(path).unwrap()),
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut list).unwrap();
    list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let name = OsStr::from_bytes(name);
            let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(length);
            (name.as_bytes().to_vec(), value)
        })
        .collect()
}

/// Every name below `top`, by its path.
fn walk(top: &Path) -> BTreeMap<PathBuf, Entry> {
    let root = top
        .ancestors()
        .find(|path| path.join("ostree/repo").exists())
        .map(|root| root.join("boot"));
    let boot: Vec<u64> = root.iter().flat_map(|root| inodes(root)).collect();
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let full = top.join(&path);
        let metadata = fs::symlink_metadata(&full).unwrap();
        if metadata.is_dir() {
            for child in fs::read_dir(&full).unwrap() {
                open.push(path.join(child.unwrap().file_name()));
            }
        }
        found.insert(path, entry(&full, &metadata, &boot));
    }
    found
}

/// Inode numbers of all files below a directory, one for each name.
fn inodes(directory: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for child in fs::read_dir(directory).unwrap() {
        let path = child.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        match metadata.is_dir() {
            true => found.extend(inodes(&path)),
            false => found.push(metadata.ino()),
        }
    }
    found
}

/// Differences between two trees, a line each.
pub fn differences(ours: &Path, theirs: &Path, ignore: impl Fn(&Path) -> bool) -> Vec<String> {
    let (mut a, mut b) = (walk(ours), walk(theirs));
    // On one file system with /boot, libostree links the kernel there; a disk's /boot is another.
    for entry in b.values_mut().filter(|entry| entry.boot_links > 0) {
        entry.links -= std::mem::take(&mut entry.boot_links);
    }
    // Where SELinux is off, libostree labels the files of its copy of /etc, not directories and links;
    // the originals in usr/etc are compared in full.
    for (path, entry) in a.iter_mut().filter(|(path, _)| path.starts_with("etc")) {
        let label = b"security.selinux".as_slice();
        assert!(entry.xattrs.contains_key(label), "{}", path.display());
        if b.get(path)
            .is_some_and(|theirs| theirs.kind != '-' && theirs.xattrs.is_empty())
        {
            entry.xattrs.remove(label);
        }
    }
    assert!(a.len() > 100 && b.len() > 100, "both trees are there");
    let mut lines = Vec::new();
    for path in a
        .keys()
        .chain(b.keys().filter(|path| !a.contains_key(*path)))
    {
        if ignore(path) {
            continue;
        }
        match (a.get(path), b.get(path)) {
            (Some(x), Some(y)) if x != y => {
                lines.push(format!("{}: ours {x:?}, libostree's {y:?}", path.display()));
            }
            (Some(x), Some(_)) if x.kind == '-' => {
                if fs::read(ours.join(path)).unwrap() != fs::read(theirs.join(path)).unwrap() {
                    lines.push(format!("{}: contents differ", path.display()));
                }
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) => lines.push(format!("{}: only in ours", path.display())),
            (None, _) => lines.push(format!("{}: only in libostree's", path.display())),
        }
    }
    lines
}
