//! Tests of writer and reader against each other, and against tools we did not write.

mod cases;
mod foreign;
mod hostile;
mod random;
mod referee;
mod refused;
mod remembered;
mod round_trip;

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use xxhash_rust::xxh3::xxh3_128;

use super::{Compressor, Options, Reader, Written, write};
use bake_referee::have;
use bake_tree::{Content, Kind, Node, Tree, Xattrs};

/// Settings that the tables are run with.
const COMPRESSORS: [Compressor; 4] = [
    Compressor::Zstd { level: 3 },
    Compressor::Zstd { level: 15 },
    Compressor::Gzip { level: 9 },
    Compressor::Xz,
];
const BLOCK_SIZES: [u32; 3] = [4 << 10, 128 << 10, 1 << 20];

/// Every combination of compressor and block size but the largest blocks with slow compressors:
/// cases are so many blocks large.
fn all_options() -> impl Iterator<Item = Options> {
    COMPRESSORS
        .into_iter()
        .flat_map(|compressor| BLOCK_SIZES.map(|block_size| options(compressor, block_size)))
        .filter(|options| options.block_size < 1 << 20 || options.compressor == COMPRESSORS[0])
}

fn options(compressor: Compressor, block_size: u32) -> Options {
    Options {
        compressor,
        block_size,
        threads: NonZeroUsize::new(2).unwrap(),
        time: 1_700_000_000,
        cache: None,
    }
}

/// An image in a directory of its own, removed with it.
struct Image {
    directory: tempfile::TempDir,
    written: Written,
    offset: u64,
}

impl Image {
    fn write(tree: &Tree, options: &Options) -> Self {
        Self::write_at(tree, options, 0)
    }

    fn write_at(tree: &Tree, options: &Options, offset: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create_new(directory.path().join("image")).unwrap();
        let done = AtomicU64::new(0);
        let written = write(tree, options, &file, offset, &|bytes| {
            done.fetch_add(bytes, Ordering::Relaxed);
        })
        .unwrap();
        assert_eq!(done.into_inner(), written.content_bytes, "progress");
        assert_eq!(file.metadata().unwrap().len(), offset + written.bytes);
        assert_eq!(written.bytes % 4096, 0);
        Self {
            directory,
            written,
            offset,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    fn reader(&self) -> Reader {
        let file = Arc::new(File::open(self.path()).unwrap());
        Reader::open(Content::range(file, self.offset, self.written.bytes)).unwrap()
    }
}

/// What two file systems are compared by: for every path everything that can be seen of it.
type Seen = BTreeMap<Vec<u8>, Facets>;

/// What can be seen of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facets {
    /// Type with size, target, or device number; contents as a checksum.
    kind: String,
    mode: u16,
    owner: (u32, u32),
    mtime: u32,
    links: u32,
    /// The first path with the same inode.
    first: Vec<u8>,
    xattrs: Xattrs,
}

/// What should be seen of a tree.
fn seen_in_tree(tree: &Tree) -> Seen {
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
                    Node::File(content) => file_kind(&content.to_vec(u64::MAX).unwrap()),
                    Node::Symlink(target) => symlink_kind(target),
                    Node::CharDevice(major, minor) => format!("char {major}:{minor}"),
                    Node::BlockDevice(major, minor) => format!("block {major}:{minor}"),
                    Node::Fifo => "fifo".to_owned(),
                    Node::Socket => "socket".to_owned(),
                },
                mode: inode.meta.mode,
                owner: (inode.meta.uid, inode.meta.gid),
                mtime: u32::try_from(inode.meta.mtime).unwrap(),
                links: links[id.index()],
                first: first.entry(id).or_insert_with(|| path.to_vec()).clone(),
                xattrs: inode.meta.xattrs.clone(),
            },
        );
    });
    seen
}

/// What our reader sees.
fn seen_by_reader(reader: &Reader) -> Result<Seen> {
    let mut first = BTreeMap::new();
    let mut seen = Seen::new();
    reader.walk(|path, entry| {
        seen.insert(
            path.to_vec(),
            Facets {
                kind: match &entry.kind {
                    Kind::Directory => "directory".to_owned(),
                    Kind::File { .. } => file_kind(&reader.to_vec(entry, 64 << 20)?),
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
                first: first
                    .entry(entry.number)
                    .or_insert_with(|| path.to_vec())
                    .clone(),
                xattrs: reader.xattrs(entry)?,
            },
        );
        Ok(())
    })?;
    Ok(seen)
}

fn file_kind(bytes: &[u8]) -> String {
    format!("file {} {:032x}", bytes.len(), xxh3_128(bytes))
}

fn symlink_kind(target: &[u8]) -> String {
    // Every byte as the character of its number, so that none is lost.
    let target: String = target.iter().map(|byte| char::from(*byte)).collect();
    format!("symlink {target}")
}

/// Compares with a message that shows the first difference, not thousands of lines.
#[track_caller]
fn assert_same(found: &Seen, expected: &Seen, what: &str) {
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

/// Runs a tool to its end and returns what it printed; its failure is ours.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?} failed:\n{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stdout.into_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What is seen of a directory on disk, without its xattrs if these can't be expected.
fn seen_on_disk(root: &Path, with_xattrs: bool) -> Seen {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let mut first = BTreeMap::new();
    let mut seen = Seen::new();
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
    for path in paths {
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        let status = path.symlink_metadata().unwrap();
        let kind = status.file_type();
        let device = || {
            let device = status.rdev();
            format!(
                "{}:{}",
                rustix::fs::major(device),
                rustix::fs::minor(device)
            )
        };
        let facets = Facets {
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
                file_kind(&std::fs::read(&path).unwrap())
            },
            mode: u16::try_from(status.mode() & 0o7777).unwrap(),
            owner: (status.uid(), status.gid()),
            mtime: u32::try_from(status.mtime()).unwrap(),
            links: u32::try_from(status.nlink()).unwrap(),
            first: first
                .entry(status.ino())
                .or_insert_with(|| relative.to_vec())
                .clone(),
            xattrs: if with_xattrs {
                xattrs_on_disk(&path)
            } else {
                Xattrs::new()
            },
        };
        seen.insert(relative.to_vec(), facets);
    }
    seen
}

fn xattrs_on_disk(path: &Path) -> Xattrs {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use rustix::io::Errno;

    let names = match in_buffer(|buffer| rustix::fs::llistxattr(path, buffer)) {
        Ok(names) => names,
        // What Linux says of an image that has none at all.
        Err(Errno::NOTSUP) => return Xattrs::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let mut xattrs = Xattrs::new();
    for name in names.split(|byte| *byte == 0).filter(|n| !n.is_empty()) {
        let shown = OsStr::from_bytes(name);
        let value = in_buffer(|buffer| rustix::fs::lgetxattr(path, shown, buffer)).unwrap();
        xattrs = xattrs.with(name, &value);
    }
    xattrs
}

/// What `fill` puts into a buffer. First into a small one, since the kernel clears as much for each
/// of many thousand files, then into one of the largest size there is.
fn in_buffer(
    mut fill: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    let len = match fill(&mut buffer) {
        Err(rustix::io::Errno::RANGE) => {
            buffer = vec![0; 64 << 10];
            fill(&mut buffer)?
        }
        other => other?,
    };
    buffer.truncate(len);
    Ok(buffer)
}
