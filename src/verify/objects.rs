//! Objects of an ostree repository of mode `bare`, against their names: what `ostree fsck` compares.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};

use crate::format::{squashfs, xfs};
use crate::ostree::{Checksum, FileHash, Kind as ObjectKind, symlink_checksum};
use crate::progress::Progress;
use crate::tree::{Follow, Kind, Look, Meta};

/// Where the objects are.
const OBJECTS: &str = "ostree/repo/objects";
/// Most objects; a system has some hundred thousand.
const OBJECTS_MAX: usize = 1 << 22;
/// Longest metadata object in bytes (libostree `OSTREE_MAX_METADATA_SIZE`).
const METADATA_MAX_BYTES: u64 = 128 << 20;
/// Bytes of a file that are read at a time.
const CHUNK: usize = 256 << 10;

/// A tree with all that goes into the checksum of a file.
pub(super) trait Repository: Look<Entry: Sync> + Sync {
    /// Owner, mode and attributes.
    fn meta(&self, entry: &Self::Entry) -> Result<Meta>;
    /// What kind of inode it is.
    fn kind<'a>(&self, entry: &'a Self::Entry) -> &'a Kind;
    /// Where it is among others, so that what lies together is read together.
    fn number(&self, entry: &Self::Entry) -> u64;
    /// The contents of a regular file.
    fn open<'a>(&'a self, entry: &'a Self::Entry) -> Result<Box<dyn Read + 'a>>;
}

impl Repository for squashfs::Reader {
    fn meta(&self, entry: &Self::Entry) -> Result<Meta> {
        Ok(Meta {
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode,
            xattrs: self.xattrs(entry)?,
            ..Meta::default()
        })
    }

    fn kind<'a>(&self, entry: &'a Self::Entry) -> &'a Kind {
        &entry.kind
    }

    fn number(&self, entry: &Self::Entry) -> u64 {
        entry.number.into()
    }

    fn open<'a>(&'a self, entry: &'a Self::Entry) -> Result<Box<dyn Read + 'a>> {
        Ok(Box::new(self.read(entry)?))
    }
}

impl Repository for xfs::reader::Reader {
    fn meta(&self, entry: &Self::Entry) -> Result<Meta> {
        Ok(Meta {
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode,
            xattrs: self.xattrs(entry)?,
            ..Meta::default()
        })
    }

    fn kind<'a>(&self, entry: &'a Self::Entry) -> &'a Kind {
        &entry.kind
    }

    fn number(&self, entry: &Self::Entry) -> u64 {
        entry.number
    }

    fn open<'a>(&'a self, entry: &'a Self::Entry) -> Result<Box<dyn Read + 'a>> {
        Ok(Box::new(self.read(entry)?))
    }
}

/// An object as it lies there.
pub(super) struct Object<E> {
    pub(super) checksum: Checksum,
    pub(super) kind: ObjectKind,
    pub(super) entry: E,
}

/// All objects, in the order in which their inodes lie.
pub(super) fn list<R: Repository>(tree: &R) -> Result<Vec<Object<R::Entry>>> {
    let directory = tree.lookup(OBJECTS, Follow::Last)?;
    let directory = directory.with_context(|| format!("there is no /{OBJECTS}"))?;
    let mut objects = Vec::new();
    for shard in tree.names(&directory)? {
        let Some(below) = tree.child(&directory, &shard)? else {
            continue;
        };
        if !tree.is_directory(&below) {
            continue;
        }
        for name in tree.names(&below)? {
            let shown = || {
                format!(
                    "/{OBJECTS}/{}/{}",
                    shard.escape_ascii(),
                    name.escape_ascii()
                )
            };
            let text = [&*shard, &*name].concat();
            let text = String::from_utf8_lossy(&text);
            let parsed = text.split_once('.').and_then(|(sum, extension)| {
                Some((sum.parse().ok()?, ObjectKind::from_extension(extension)?))
            });
            let (checksum, kind) =
                parsed.with_context(|| format!("{} is not the name of an object", shown()))?;
            let entry = tree.child(&below, &name).with_context(shown)?;
            let entry = entry.with_context(shown)?;
            objects.push(Object {
                checksum,
                kind,
                entry,
            });
            ensure!(
                objects.len() <= OBJECTS_MAX,
                "there are more than {OBJECTS_MAX} objects"
            );
        }
    }
    objects.sort_by_key(|object| (tree.number(&object.entry), object.checksum));
    Ok(objects)
}

/// Compares all objects with their names. What was compared, for people.
pub(super) fn compare<R: Repository>(
    tree: &R,
    objects: &[Object<R::Entry>],
    threads: NonZeroUsize,
    progress: &dyn Progress,
) -> Result<String> {
    let bytes = objects.iter().map(|object| match tree.kind(&object.entry) {
        Kind::File { len } => *len,
        _ => 0,
    });
    progress.begin("comparing the objects of the repository", bytes.sum());
    // Neighbours share blocks, so each thread takes a run of them.
    const RUN: usize = 64;
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), (usize, anyhow::Error)> {
        loop {
            let from = next.fetch_add(RUN, Ordering::Relaxed);
            let Some(run) = objects.get(from..objects.len().min(from + RUN)) else {
                return Ok(());
            };
            if run.is_empty() {
                return Ok(());
            }
            for (object, at) in run.iter().zip(from..) {
                if let Err(error) = compare_one(tree, object, progress) {
                    // Nobody begins another run.
                    next.store(objects.len(), Ordering::Relaxed);
                    return Err((at, error));
                }
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others
            .into_iter()
            .map(|other| other.join().expect("no worker panics"));
        others.chain([own]).collect()
    });
    progress.end();
    let first = results
        .into_iter()
        .filter_map(Result::err)
        .min_by_key(|(at, _)| *at);
    match first {
        Some((_, error)) => Err(error),
        None => Ok(format!("{} objects, each by its name", objects.len())),
    }
}

fn compare_one<R: Repository>(
    tree: &R,
    object: &Object<R::Entry>,
    progress: &dyn Progress,
) -> Result<()> {
    let sum = object.checksum.to_string();
    let extension = object.kind.extension();
    let path = || format!("/{OBJECTS}/{}/{}.{extension}", &sum[..2], &sum[2..]);
    let found = checksum(tree, object, progress).with_context(path)?;
    // Signatures beside a commit have its name.
    if object.kind != ObjectKind::CommitMeta && found != object.checksum {
        bail!("{} is damaged: its checksum is {found}", path());
    }
    Ok(())
}

fn checksum<R: Repository>(
    tree: &R,
    object: &Object<R::Entry>,
    progress: &dyn Progress,
) -> Result<Checksum> {
    let entry = &object.entry;
    if object.kind != ObjectKind::File {
        let bytes = tree.bytes(entry, METADATA_MAX_BYTES)?;
        return Ok(Checksum::of(&bytes.context("it is not a file")?));
    }
    let meta = tree.meta(entry)?;
    match tree.kind(entry) {
        Kind::Symlink(target) => symlink_checksum(&meta, target),
        Kind::File { .. } => {
            let mut hash = FileHash::regular(&meta);
            let mut content = tree.open(entry)?;
            let mut buffer = vec![0; CHUNK];
            loop {
                match content.read(&mut buffer)? {
                    0 => return Ok(hash.finish()),
                    read => {
                        hash.update(&buffer[..read]);
                        progress.advance(read as u64);
                    }
                }
            }
        }
        _ => bail!("it is neither a file nor a symlink"),
    }
}

/// Files among objects, by their checksums.
pub(super) fn files<E: Clone>(objects: &[Object<E>]) -> BTreeMap<Checksum, E> {
    let files = objects
        .iter()
        .filter(|object| object.kind == ObjectKind::File);
    let files = files.map(|object| (object.checksum, object.entry.clone()));
    files.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::squashfs::{Options, Reader, write};
    use crate::progress::Silent;
    use crate::tree::{Content, Node, Tree};

    /// A squashfs with these files among the objects, by their names.
    pub(in crate::verify) fn repository(files: &[(String, Node)]) -> Reader {
        let mut tree = Tree::new(Meta::root(0o755));
        for (name, node) in files {
            let (shard, rest) = name.split_at(2);
            let directory = format!("{OBJECTS}/{shard}");
            let directory = tree.make_directories(&directory, &Meta::root(0o755));
            tree.create(directory, rest, Meta::root(0o644), node.clone());
        }
        let file = tempfile::tempfile().unwrap();
        let written = write(&tree, &Options::default(), &file, 0, &|_| ()).unwrap();
        Reader::open(Content::range(Arc::new(file), 0, written.bytes)).unwrap()
    }

    /// The name that a file has as an object.
    pub(in crate::verify) fn name_of(bytes: &[u8]) -> String {
        let mut hash = FileHash::regular(&Meta::root(0o644));
        hash.update(bytes);
        format!("{}.file", hash.finish())
    }

    fn file(bytes: &[u8]) -> Node {
        Node::File(Content::bytes(bytes.to_vec()))
    }

    fn compared(files: &[(String, Node)]) -> Result<String> {
        let reader = repository(files);
        let objects = list(&reader)?;
        compare(&reader, &objects, NonZeroUsize::new(3).unwrap(), &Silent)
    }

    #[test]
    fn objects_are_what_their_names_say() {
        let target = b"../../lib".to_vec();
        let link = symlink_checksum(&Meta::root(0o644), &target).unwrap();
        let tree = Checksum::of(b"a dirtree");
        let files = [
            (name_of(b"one"), file(b"one")),
            (name_of(b""), file(b"")),
            (format!("{link}.file"), Node::Symlink(target.into())),
            (format!("{tree}.dirtree"), file(b"a dirtree")),
            // Signatures have the name of their commit.
            (format!("{tree}.commitmeta"), file(b"signed")),
        ];
        assert_eq!(compared(&files).unwrap(), "5 objects, each by its name");
        for (name, node, told) in [
            (name_of(b"one"), file(b"two"), "is damaged: its checksum is"),
            (format!("{tree}.dirtree"), file(b"other"), "is damaged"),
            (name_of(b"one"), Node::Fifo, "neither a file nor a symlink"),
            (
                "ab/cd".replace('/', ""),
                file(b""),
                "is not the name of an object",
            ),
        ] {
            let mut files = files.to_vec();
            files.retain(|(known, _)| *known != name);
            files.push((name, node));
            let error = format!("{:#}", compared(&files).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
