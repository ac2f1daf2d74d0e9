//! What can be seen of a tree, and of a mounted file system.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{IFlags, Mode, OFlags};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_128;

use crate::xfs::reader::Reader;
use bake_tree::{Kind, Look, Node, Tree, Xattrs};

/// What two file systems are compared by: for every path everything that can be seen of it.
pub(super) type Seen = BTreeMap<Vec<u8>, Facets>;

/// What can be seen of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facets {
    /// Type with size, target, or device number; contents as a checksum.
    kind: String,
    mode: u16,
    owner: (u32, u32),
    mtime: i64,
    links: u32,
    /// The first path with the same inode.
    first: Vec<u8>,
    xattrs: Xattrs,
    immutable: bool,
}

/// What should be seen of a tree.
pub(super) fn in_tree(tree: &Tree) -> Seen {
    let links = tree.link_counts();
    let mut first = BTreeMap::new();
    let mut seen = Seen::new();
    tree.walk(|path, id| {
        let inode = tree.inode(id);
        seen.insert(
            path.to_vec(),
            Facets {
                kind: match &inode.node {
                    Node::Directory(_) => "directory".to_owned(),
                    Node::File(content) => {
                        let bytes = content.to_vec(u64::MAX).unwrap();
                        file_kind(content.len(), xxh3_128(&bytes))
                    }
                    Node::Symlink(target) => symlink_kind(target),
                    Node::CharDevice(major, minor) => format!("char {major}:{minor}"),
                    Node::BlockDevice(major, minor) => format!("block {major}:{minor}"),
                    Node::Fifo => "fifo".to_owned(),
                    Node::Socket => "socket".to_owned(),
                },
                mode: inode.meta.mode,
                owner: (inode.meta.uid, inode.meta.gid),
                mtime: inode.meta.mtime,
                links: links[id.index()],
                first: first.entry(id).or_insert_with(|| path.to_vec()).clone(),
                xattrs: inode.meta.xattrs.clone(),
                immutable: inode.meta.immutable,
            },
        );
    });
    seen
}

/// What our reader sees.
pub(super) fn by_reader(reader: &Reader) -> Seen {
    let mut first = BTreeMap::new();
    let mut seen = Seen::new();
    let mut open = vec![(Vec::new(), reader.root().unwrap())];
    let mut links = Vec::new();
    while let Some((path, entry)) = open.pop() {
        if entry.kind == Kind::Directory {
            for name in reader.read_dir(&entry).unwrap() {
                let mut below: Vec<u8> = path.clone();
                if !below.is_empty() {
                    below.push(b'/');
                }
                below.extend_from_slice(&name.name);
                // Thousands of names of one inode need not be read thousands of times.
                if first.contains_key(&name.number) {
                    links.push((below, name.number));
                    continue;
                }
                first.insert(name.number, below.clone());
                open.push((below, reader.entry_of(&name).unwrap()));
            }
        }
        let facets = Facets {
            kind: match &entry.kind {
                Kind::Directory => "directory".to_owned(),
                Kind::File { len } => {
                    let bytes = reader.to_vec(&entry, *len).unwrap();
                    file_kind(*len, xxh3_128(&bytes))
                }
                Kind::Symlink(target) => symlink_kind(target),
                Kind::CharDevice(major, minor) => format!("char {major}:{minor}"),
                Kind::BlockDevice(major, minor) => format!("block {major}:{minor}"),
                Kind::Fifo => "fifo".to_owned(),
                Kind::Socket => "socket".to_owned(),
            },
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            mtime: entry.mtime,
            links: entry.links,
            first: path.clone(),
            xattrs: reader.xattrs(&entry).unwrap(),
            immutable: entry.immutable,
        };
        seen.insert(path, facets);
    }
    for (path, number) in links {
        let facets = seen[&first[&number]].clone();
        seen.insert(path, facets);
    }
    name_first_paths(&mut seen);
    seen
}

/// Makes the first of the paths with one inode the one that [`Tree::walk`] meets first. Until now it
/// may be any of them.
fn name_first_paths(seen: &mut Seen) {
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let mut firsts: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (path, facets) in &*seen {
        let first = firsts.entry(facets.first.clone()).or_insert(path.clone());
        if parts(path) < parts(first) {
            first.clone_from(path);
        }
    }
    for facets in seen.values_mut() {
        facets.first.clone_from(&firsts[&facets.first]);
    }
}

/// What is seen of a mounted file system.
pub(super) fn on_disk(root: &Path) -> Seen {
    let mut open = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(path) = open.pop() {
        if path.symlink_metadata().unwrap().is_dir() {
            open.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        }
        paths.push(path);
    }
    // As Tree::walk orders them, so that "first" means the same.
    paths.sort_by_cached_key(|path| path.iter().map(|name| name.to_owned()).collect::<Vec<_>>());
    let mut first: BTreeMap<u64, (Vec<u8>, Facets)> = BTreeMap::new();
    let mut seen = Seen::new();
    for path in paths {
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        let status = path.symlink_metadata().unwrap();
        // Thousands of names of one inode need not be read thousands of times.
        let (_, facets) = first
            .entry(status.ino())
            .or_insert_with(|| (relative.to_vec(), facets(&path, &status, relative)));
        seen.insert(relative.to_vec(), facets.clone());
    }
    seen
}

fn facets(path: &Path, status: &std::fs::Metadata, first: &[u8]) -> Facets {
    let kind = status.file_type();
    let device = || {
        let device = status.rdev();
        format!(
            "{}:{}",
            rustix::fs::major(device),
            rustix::fs::minor(device)
        )
    };
    let immutable = (kind.is_dir() || kind.is_file()) && {
        let file = rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap();
        let flags = rustix::fs::ioctl_getflags(&file).unwrap();
        flags.contains(IFlags::IMMUTABLE)
    };
    Facets {
        kind: if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            symlink_kind(path.read_link().unwrap().as_os_str().as_bytes())
        } else if kind.is_char_device() {
            format!("char {}", device())
        } else if kind.is_block_device() {
            format!("block {}", device())
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else if kind.is_socket() {
            "socket".to_owned()
        } else {
            let bytes = std::fs::read(path).unwrap();
            file_kind(bytes.len() as u64, xxh3_128(&bytes))
        },
        mode: u16::try_from(status.mode() & 0o7777).unwrap(),
        owner: (status.uid(), status.gid()),
        mtime: status.mtime(),
        links: u32::try_from(status.nlink()).unwrap(),
        first: first.to_vec(),
        xattrs: xattrs_on_disk(path),
        immutable,
    }
}

fn xattrs_on_disk(path: &Path) -> Xattrs {
    let names = in_buffer(|buffer| rustix::fs::llistxattr(path, buffer)).unwrap();
    let mut found: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|n| !n.is_empty()) {
        // An ACL as XFS keeps it, which root sees beside the one everybody sees.
        if name.starts_with(b"trusted.SGI_ACL_") {
            continue;
        }
        let shown = OsStr::from_bytes(name);
        let value = in_buffer(|buffer| rustix::fs::lgetxattr(path, shown, buffer)).unwrap();
        found.push((name, value));
    }
    found
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect()
}

/// What `fill` puts into a buffer. First into a small one, since the kernel clears as much for each
/// of many thousand files, then into one of the largest size there is.
fn in_buffer(
    mut fill: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    let len = match fill(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer = vec![0; 64 << 10];
            fill(&mut buffer)?
        }
        other => other?,
    };
    buffer.truncate(len);
    Ok(buffer)
}

fn file_kind(len: u64, hash: u128) -> String {
    format!("file {len} {hash:032x}")
}

fn symlink_kind(target: &[u8]) -> String {
    format!("symlink {}", target.escape_ascii())
}

/// Compares with a message that shows the first difference, not thousands of lines.
#[track_caller]
pub(super) fn assert_same(found: &Seen, expected: &Seen, what: &str) {
    for (path, expected) in expected {
        let name = path.escape_ascii().to_string();
        assert_eq!(found.get(path), Some(expected), "{what}: /{name}");
    }
    let more: Vec<_> = found
        .keys()
        .filter(|path| !expected.contains_key(*path))
        .collect();
    assert!(more.is_empty(), "{what}: unexpected {more:?}");
}
