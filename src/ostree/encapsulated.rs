//! Base layers: the objects of an ostree commit, packed as tar.
//!
//! ```text
//! sysroot/ostree/repo/objects/ab/<62 digits>.commit, .commitmeta     commit layer only, first
//!                                            .dirtree, .dirmeta      commit layer only
//!                                            .file-xattrs            a(ayay), named by its SHA-256
//!                                            .file-xattrs-link       hard link to the above, then at once
//!                                            .file                   content, owner and mode
//! ```
//!
//! All other paths show the same files as a container sees them and are skipped. Images of the
//! first format ("v0") have `repo/xattrs/<SHA-256>` and `.file.xattrs` instead. Every object that is
//! kept is compared with its name; contents are hashed as they pass by on their way to the store.
//!
//! Left out on purpose: GPG and ed25519 signatures in `.commitmeta`.
//!
//! Source: ostree-ext `tar/import.rs`, `tar/export.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

use super::archive::{Archive, Entry, EntryKind};
use super::limits::{METADATA_OBJECT_MAX, Meter, XATTRS_MAX, check_target};
use super::object::{
    self, Checksum, DirTree, FileHash, Kind, Object, ObjectName, SYMLINK_MODE, symlink_checksum,
};
use super::source::Keep;
use crate::progress::Progress;
use crate::tree::{Content, InodeId, Meta, Node, Store, Tree, Xattrs};

pub(super) const REPOSITORY: &str = "sysroot/ostree/repo/";

/// Deepest directory of a commit: `PATH_MAX` has no room for more.
const DEPTH_MAX: usize = super::limits::PATH_MAX / 2;

/// What a base layer holds. Objects are counted by [`Meter`], with their bytes.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) objects: BTreeMap<ObjectName, Object>,
    /// The commit, in the commit layer.
    pub(super) commit: Option<Checksum>,
    /// Whether the archive has something behind its end mark.
    pub(super) goes_on: bool,
}

impl Objects {
    /// Checksums of the file objects.
    pub(super) fn files(&self) -> BTreeSet<Checksum> {
        self.objects
            .keys()
            .filter(|name| name.kind == Kind::File)
            .map(|name| name.checksum)
            .collect()
    }
}

/// What a layer is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A commit, all its metadata objects and any of its files: the first layer.
    Commit,
    /// Files only.
    Chunk,
}

/// Reads a layer to the end of its stream, and keeps the contents of the files that `keep` asks for.
pub(super) fn read(
    stream: impl Read,
    role: Role,
    store: &Store,
    keep: &dyn Fn(&Checksum) -> bool,
    meter: &Meter,
    progress: &dyn Progress,
    keep_going: &dyn Fn() -> Result<()>,
) -> Result<Objects> {
    let mut reader = Reader {
        role,
        store,
        keep,
        meter,
        progress,
        found: Objects::default(),
        is_first: true,
        xattrs: BTreeMap::new(),
        pending: None,
    };
    let mut archive = Archive::new(stream);
    while let Some(entry) = archive.next()? {
        keep_going()?;
        let Some(path) = repository_path(&entry)? else {
            continue;
        };
        reader
            .take(&path, &entry, &mut archive)
            .with_context(|| format!("reading {path}"))?;
    }
    reader.found.goes_on = archive.goes_on();
    ensure!(
        role == Role::Chunk || reader.found.commit.is_some(),
        "the layer has no ostree commit"
    );
    Ok(reader.found)
}

/// The path below the repository of what is looked at.
fn repository_path(entry: &Entry) -> Result<Option<String>> {
    if entry.kind == EntryKind::Directory {
        return Ok(None);
    }
    let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
    let Some(path) = path.strip_prefix(REPOSITORY.as_bytes()) else {
        return Ok(None);
    };
    let path = std::str::from_utf8(path).context("a path in the repository is not UTF-8")?;
    let is_settings = path == "config" || path.starts_with("refs/");
    Ok((!is_settings).then(|| path.to_owned()))
}

struct Reader<'a> {
    role: Role,
    store: &'a Store,
    keep: &'a dyn Fn(&Checksum) -> bool,
    meter: &'a Meter,
    progress: &'a dyn Progress,
    found: Objects,
    is_first: bool,
    /// Attribute sets by the SHA-256 of their serialised form, counted as objects are.
    xattrs: BTreeMap<Checksum, Xattrs>,
    /// The file that must follow, and its attributes.
    pending: Option<(Checksum, Xattrs)>,
}

impl Reader<'_> {
    fn take(&mut self, path: &str, entry: &Entry, archive: &mut Archive<impl Read>) -> Result<()> {
        if let Some(name) = path.strip_prefix("xattrs/") {
            let name = name.parse()?;
            return self.take_xattrs(name, entry, archive);
        }
        let Some(path) = path.strip_prefix("objects/") else {
            return Ok(());
        };
        let (checksum, extension) = parse_object_path(path)?;
        let was_first = std::mem::replace(&mut self.is_first, false);
        match extension {
            "file" => self.take_file(checksum, entry, archive),
            "file-xattrs" => self.take_xattrs(checksum, entry, archive),
            "file-xattrs-link" | "file.xattrs" => self.take_link(checksum, entry, archive),
            other => {
                let kind = Kind::from_extension(other).context("unknown kind of object")?;
                ensure!(
                    self.role == Role::Commit,
                    "metadata objects belong into the first layer"
                );
                ensure!(
                    was_first == (kind == Kind::Commit),
                    "a commit must come first, and only there"
                );
                self.take_metadata(ObjectName::new(checksum, kind), entry, archive)
            }
        }
    }

    fn take_metadata(
        &mut self,
        name: ObjectName,
        entry: &Entry,
        archive: &mut Archive<impl Read>,
    ) -> Result<()> {
        expect_regular(entry)?;
        let bytes = archive.bytes(METADATA_OBJECT_MAX)?;
        self.meter.entry(bytes.len())?;
        if name.kind == Kind::CommitMeta {
            ensure!(
                Some(name.checksum) == self.found.commit,
                "it belongs to another commit"
            );
        } else {
            expect_checksum(Checksum::of(&bytes), name.checksum)?;
        }
        if name.kind == Kind::Commit {
            self.found.commit = Some(name.checksum);
        }
        let object = Object::Metadata(bytes.into());
        self.found.objects.insert(name, object);
        Ok(())
    }

    fn take_xattrs(
        &mut self,
        checksum: Checksum,
        entry: &Entry,
        archive: &mut Archive<impl Read>,
    ) -> Result<()> {
        expect_regular(entry)?;
        let bytes = archive.bytes(XATTRS_MAX)?;
        self.meter.entry(bytes.len())?;
        expect_checksum(Checksum::of(&bytes), checksum)?;
        self.xattrs.insert(checksum, object::parse_xattrs(&bytes)?);
        Ok(())
    }

    fn take_link(
        &mut self,
        file: Checksum,
        entry: &Entry,
        archive: &mut Archive<impl Read>,
    ) -> Result<()> {
        ensure!(
            self.pending.is_none(),
            "the attributes before it have no file"
        );
        let xattrs = match &entry.kind {
            EntryKind::Link(target) => {
                let target = std::str::from_utf8(target).context("its target is not UTF-8")?;
                let checksum = match target.rsplit_once("/xattrs/") {
                    Some((_, name)) => name.parse()?,
                    None => parse_object_path(target)?.0,
                };
                let set = self.xattrs.get(&checksum);
                set.with_context(|| format!("the layer has no attributes {checksum}"))?
                    .clone()
            }
            // Stands in for a link where a file system would take no more of them.
            EntryKind::Regular(_) => object::parse_xattrs(&archive.bytes(XATTRS_MAX)?)?,
            _ => bail!("it is neither a hard link nor a regular file"),
        };
        self.pending = Some((file, xattrs));
        Ok(())
    }

    fn take_file(
        &mut self,
        checksum: Checksum,
        entry: &Entry,
        archive: &mut Archive<impl Read>,
    ) -> Result<()> {
        let (_, xattrs) = self
            .pending
            .take()
            .filter(|(file, _)| *file == checksum)
            .context("its attributes do not come right before it")?;
        let mut meta = Meta {
            uid: entry.meta.uid,
            gid: entry.meta.gid,
            mode: entry.meta.mode,
            xattrs,
            ..Meta::default()
        };
        let (node, actual) = match &entry.kind {
            EntryKind::Regular(size) if !(self.keep)(&checksum) => {
                self.meter.entry(0)?;
                self.progress.advance(*size);
                (Node::File(Content::left_out(*size)), checksum)
            }
            EntryKind::Regular(size) => {
                self.meter.entry(0)?;
                let mut hash = FileHash::regular(&meta);
                let content = self.store.keep(*size, &mut archive.content(), |part| {
                    hash.update(part);
                    self.progress.advance(part.len() as u64);
                })?;
                (Node::File(content), hash.finish())
            }
            EntryKind::Symlink(target, _) => {
                self.meter.entry(target.len())?;
                check_target(target)?;
                meta.mode = SYMLINK_MODE;
                let actual = symlink_checksum(&meta, target)?;
                (Node::Symlink(target.as_slice().into()), actual)
            }
            _ => bail!("it is neither a regular file nor a symlink"),
        };
        expect_checksum(actual, checksum)?;
        let object = Object::File { meta, node };
        let name = ObjectName::new(checksum, Kind::File);
        let before = self.found.objects.insert(name, object);
        ensure!(
            before.is_none() || self.role == Role::Commit,
            "the layer has it twice"
        );
        Ok(())
    }
}

fn expect_regular(entry: &Entry) -> Result<()> {
    ensure!(
        matches!(entry.kind, EntryKind::Regular(_)),
        "it is no regular file"
    );
    Ok(())
}

fn expect_checksum(actual: Checksum, named: Checksum) -> Result<()> {
    ensure!(actual == named, "it is corrupt: its checksum is {actual}");
    Ok(())
}

/// `…/ab/<62 digits>.extension` as checksum and extension.
fn parse_object_path(path: &str) -> Result<(Checksum, &str)> {
    let parse = || {
        let (directories, name) = path.rsplit_once('/')?;
        let shard = directories.rsplit('/').next()?;
        let (rest, extension) = name.split_once('.')?;
        let checksum = [shard, rest].concat().parse().ok()?;
        (shard.len() == 2).then_some((checksum, extension))
    };
    parse().with_context(|| format!("{path:?} is not the path of an object"))
}

/// Makes the tree of a commit from its objects, with the checksums of its files by inode.
pub(super) fn tree_of_commit(
    objects: &BTreeMap<ObjectName, Object>,
    commit: Checksum,
    meter: &Meter,
) -> Result<(Tree, Vec<Option<Checksum>>)> {
    let bytes = metadata(objects, ObjectName::new(commit, Kind::Commit))?;
    let (root, root_meta) =
        object::commit_root(bytes).with_context(|| format!("reading {commit}.commit"))?;
    let mut tree = Tree::new(directory_meta(objects, root_meta)?);
    let mut checksums = vec![None];
    let mut open: Vec<(Checksum, InodeId, usize)> = vec![(root, Tree::ROOT, 0)];
    while let Some((dirtree, directory, depth)) = open.pop() {
        ensure!(
            depth <= DEPTH_MAX,
            "the commit's directories are nested deeper than {DEPTH_MAX}"
        );
        let name = ObjectName::new(dirtree, Kind::DirTree);
        let listing =
            DirTree::parse(metadata(objects, name)?).with_context(|| format!("reading {name}"))?;
        for (file, checksum) in listing.files {
            meter.entry(file.len())?;
            let name = ObjectName::new(checksum, Kind::File);
            let Some(Object::File { meta, node }) = objects.get(&name) else {
                bail!("the image lacks the object {name}, which is {file:?} in {dirtree}.dirtree");
            };
            let id = tree.add(meta.clone(), node.clone());
            checksums.push(Some(checksum));
            tree.link(directory, file.as_bytes(), id);
        }
        for (name, contents, meta) in listing.directories {
            meter.entry(name.len())?;
            let meta = directory_meta(objects, meta)?;
            let id = tree.add(meta, Node::Directory(BTreeMap::new()));
            checksums.push(None);
            tree.link(directory, name.as_bytes(), id);
            open.push((contents, id, depth + 1));
        }
    }
    Ok((tree, checksums))
}

/// Checksums of a commit's files with a path that `keep` asks for.
///
/// Nothing is said of directories that are missing or corrupt: [`tree_of_commit`] does that.
pub(super) fn files_at(
    objects: &Objects,
    keep: Keep<'_>,
    meter: &Meter,
) -> Result<BTreeSet<Checksum>> {
    let objects = &objects.objects;
    let listing = |checksum| {
        let bytes = metadata(objects, ObjectName::new(checksum, Kind::DirTree)).ok()?;
        DirTree::parse(bytes).ok()
    };
    let commits = objects.keys().filter(|name| name.kind == Kind::Commit);
    let roots = commits.filter_map(|name| object::commit_root(metadata(objects, *name).ok()?).ok());
    let mut open: Vec<(Checksum, String)> = roots.map(|(root, _)| (root, String::new())).collect();
    let mut found = BTreeSet::new();
    // Directories may hold each other many times over.
    while let Some((dirtree, path)) = open.pop() {
        let Some(listing) = listing(dirtree) else {
            continue;
        };
        for (name, ..) in &listing.directories {
            meter.entry(path.len() + name.len())?;
        }
        let files = listing.files.into_iter();
        found.extend(
            files.filter_map(|(name, file)| keep(&format!("{path}{name}")).then_some(file)),
        );
        let directories = listing.directories.into_iter();
        let directories =
            directories.map(|(name, contents, _)| (contents, format!("{path}{name}/")));
        open.extend(directories);
    }
    Ok(found)
}

fn directory_meta(objects: &BTreeMap<ObjectName, Object>, checksum: Checksum) -> Result<Meta> {
    let name = ObjectName::new(checksum, Kind::DirMeta);
    object::parse_dirmeta(metadata(objects, name)?).with_context(|| format!("reading {name}"))
}

fn metadata(objects: &BTreeMap<ObjectName, Object>, name: ObjectName) -> Result<&[u8]> {
    match objects.get(&name) {
        Some(Object::Metadata(bytes)) => Ok(bytes),
        _ => bail!("the image lacks the object {name}"),
    }
}
