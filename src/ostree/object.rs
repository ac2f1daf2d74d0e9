//! ostree objects: names, serialised forms, checksums.
//!
//! ```text
//! dirmeta      (uuua(ayay))       uid, gid, mode with S_IFDIR, xattrs
//! dirtree      (a(say)a(sayay))   files: name, checksum; directories: name, dirtree, dirmeta
//! file header  (uuuusa(ayay))     uid, gid, mode with type, 0, symlink target or "", xattrs
//! ```
//!
//! Numbers are big-endian. A metadata object is named by the SHA-256 of its bytes, a file by that
//! of the header's length (u32, big-endian), four zero bytes, the header and the content. Names in
//! `a(ayay)` end in NUL, values are raw, order is that of `strcmp`.
//!
//! Format: libostree `ostree-core.h`, `ostree-core.c`.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::gvariant::{self, Array, BYTES, Member, Tuple, U32};
use super::limits::{check_owner, check_xattrs};
use crate::tree::{Content, Meta, NAME_MAX, Node, Xattrs};

/// File type bits of a mode (`S_IFDIR`, `S_IFREG`, `S_IFLNK`).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// Permission bits of every symlink, as Linux reports them.
pub(super) const SYMLINK_MODE: u16 = 0o777;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of these contents, one after the other.
    pub fn of_contents(contents: &[Content]) -> io::Result<Self> {
        let mut hash = Sha256::new();
        for content in contents {
            feed(content, &mut |bytes| hash.update(bytes))?;
        }
        Ok(Self(hash.finalize().into()))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_slice(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes
            .try_into()
            .context("a checksum is not 32 bytes long")?;
        Ok(Self(bytes))
    }
}

impl From<[u8; 32]> for Checksum {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = anyhow::Error;

    /// Reads 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 32];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        ensure!(
            lower && hex::decode_to_slice(text, &mut bytes).is_ok(),
            "{text:?} is not a SHA-256 in lower-case hexadecimal"
        );
        Ok(Self(bytes))
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A commit.
    Commit,
    /// Signatures and the like beside a commit; has the commit's name, not its own hash.
    CommitMeta,
    /// Names in a directory.
    DirTree,
    /// Owner, mode and attributes of a directory.
    DirMeta,
    /// A regular file or symlink with owner, mode and attributes.
    File,
}

impl Kind {
    /// The file name extension of its objects in a repository of mode `bare`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::CommitMeta => "commitmeta",
            Self::DirTree => "dirtree",
            Self::DirMeta => "dirmeta",
            Self::File => "file",
        }
    }

    /// The kind that such objects have.
    pub fn from_extension(extension: &str) -> Option<Self> {
        [
            Self::Commit,
            Self::CommitMeta,
            Self::DirTree,
            Self::DirMeta,
            Self::File,
        ]
        .into_iter()
        .find(|kind| kind.extension() == extension)
    }
}

/// Name of an object: `<checksum>.<extension>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its checksum.
    pub checksum: Checksum,
    /// What it is.
    pub kind: Kind,
}

impl ObjectName {
    pub(super) fn new(checksum: Checksum, kind: Kind) -> Self {
        Self { checksum, kind }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.checksum, self.kind.extension())
    }
}

/// An object's content.
#[derive(Clone, Debug)]
pub enum Object {
    /// A commit, its detached metadata, a dirtree or a dirmeta, as stored.
    Metadata(Arc<[u8]>),
    /// A file: in a `bare` repository, the inode itself.
    File {
        /// Owner, mode, attributes.
        meta: Meta,
        /// [`Node::File`] or [`Node::Symlink`], nothing else.
        node: Node,
    },
}

/// Computes a file's checksum while its content passes by.
#[derive(Debug)]
pub struct FileHash(Sha256);

impl FileHash {
    /// Of a regular file; its content follows.
    pub fn regular(meta: &Meta) -> Self {
        Self::new(meta, REGULAR, "")
    }

    fn new(meta: &Meta, file_type: u32, target: &str) -> Self {
        let header = Tuple::new()
            .fixed(meta.uid.to_be_bytes())
            .fixed(meta.gid.to_be_bytes())
            .fixed((file_type | u32::from(meta.mode)).to_be_bytes())
            .fixed(0u32.to_be_bytes())
            .string(target)
            .variable(&xattrs(&meta.xattrs), BYTES)
            .finish();
        let length = u32::try_from(header.len()).expect("attributes are limited to a megabyte");
        let mut hash = Sha256::new();
        hash.update(length.to_be_bytes());
        hash.update([0; 4]);
        hash.update(&header);
        Self(hash)
    }

    /// The next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum.
    pub fn finish(self) -> Checksum {
        Checksum(self.0.finalize().into())
    }
}

/// Checksum of a symlink; its target must be UTF-8 without NUL.
pub fn symlink_checksum(meta: &Meta, target: &[u8]) -> Result<Checksum> {
    let target = std::str::from_utf8(target).context("the symlink's target is not UTF-8")?;
    ensure!(!target.contains('\0'), "the symlink's target contains NUL");
    Ok(FileHash::new(meta, SYMLINK, target).finish())
}

/// Checksum of a file or symlink, reading its content.
pub(super) fn file_checksum(meta: &Meta, node: &Node) -> Result<Checksum> {
    match node {
        Node::File(content) => {
            let mut hash = FileHash::regular(meta);
            feed(content, &mut |bytes| hash.update(bytes))?;
            Ok(hash.finish())
        }
        Node::Symlink(target) => symlink_checksum(meta, target),
        _ => unreachable!("layers yield files, symlinks and directories only"),
    }
}

/// How much of a content is read at a time.
const CHUNK_BYTES: u64 = 256 << 10;

fn feed(content: &Content, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; content.len().min(CHUNK_BYTES) as usize];
    let mut position = 0;
    while position < content.len() {
        let count = (content.len() - position).min(CHUNK_BYTES) as usize;
        content.read_at(position, &mut buffer[..count])?;
        take(&buffer[..count]);
        position += count as u64;
    }
    Ok(())
}

/// `a(ayay)`.
pub(super) fn xattrs(set: &Xattrs) -> Vec<u8> {
    let mut array = Array::new(BYTES);
    for (name, value) in set.iter() {
        array.push(
            &Tuple::new()
                .variable(&gvariant::string(name), BYTES)
                .variable(value, BYTES)
                .finish(),
        );
    }
    array.finish()
}

/// Reads `a(ayay)`; a set out of order reads as the sorted one.
pub(super) fn parse_xattrs(bytes: &[u8]) -> Result<Xattrs> {
    let layout = [Member::Variable(BYTES), Member::Variable(BYTES)];
    let mut pairs = Vec::new();
    for element in gvariant::elements(bytes)? {
        let [name, value] = gvariant::members(element, layout)?;
        let (last, name) = element[name]
            .split_last()
            .context("an attribute has no name")?;
        ensure!(
            *last == 0 && !name.is_empty() && !name.contains(&0),
            "an attribute's name does not end at its first NUL"
        );
        pairs.push((name, &element[value]));
    }
    let set = pairs.into_iter().collect();
    check_xattrs(&set)?;
    Ok(set)
}

/// Serialises a directory's metadata.
pub(super) fn dirmeta(meta: &Meta) -> Vec<u8> {
    Tuple::new()
        .fixed(meta.uid.to_be_bytes())
        .fixed(meta.gid.to_be_bytes())
        .fixed((DIRECTORY | u32::from(meta.mode)).to_be_bytes())
        .variable(&xattrs(&meta.xattrs), BYTES)
        .finish()
}

pub(super) fn parse_dirmeta(bytes: &[u8]) -> Result<Meta> {
    let layout = [
        Member::Fixed(U32),
        Member::Fixed(U32),
        Member::Fixed(U32),
        Member::Variable(BYTES),
    ];
    let [uid, gid, mode, xattrs] = gvariant::members(bytes, layout)?;
    let number = |range: std::ops::Range<usize>| {
        bytes[range]
            .try_into()
            .map(u32::from_be_bytes)
            .context("a number is not four bytes long")
    };
    let mode = number(mode)?;
    ensure!(
        mode & !0o7777 == DIRECTORY,
        "mode {mode:o} is not that of a directory"
    );
    let (uid, gid) = (number(uid)?, number(gid)?);
    check_owner(uid)?;
    check_owner(gid)?;
    Ok(Meta {
        uid,
        gid,
        mode: permissions(mode),
        xattrs: parse_xattrs(&bytes[xattrs])?,
        ..Meta::default()
    })
}

/// The permission bits of a mode, with setuid, setgid and sticky.
pub(super) fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits fit")
}

/// Names in a directory, each list in byte order.
#[derive(Debug, Default)]
pub(super) struct DirTree<'a> {
    /// Files and symlinks.
    pub(super) files: Vec<(&'a str, Checksum)>,
    /// Directories: dirtree, dirmeta.
    pub(super) directories: Vec<(&'a str, Checksum, Checksum)>,
}

impl<'a> DirTree<'a> {
    pub(super) fn serialise(&self) -> Vec<u8> {
        let mut files = Array::new(BYTES);
        for (name, checksum) in &self.files {
            let entry = Tuple::new().string(name).variable(&checksum.0, BYTES);
            files.push(&entry.finish());
        }
        let mut directories = Array::new(BYTES);
        for (name, tree, meta) in &self.directories {
            let entry = Tuple::new()
                .string(name)
                .variable(&tree.0, BYTES)
                .variable(&meta.0, BYTES);
            directories.push(&entry.finish());
        }
        Tuple::new()
            .variable(&files.finish(), BYTES)
            .variable(&directories.finish(), BYTES)
            .finish()
    }

    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        const PART: Member = Member::Variable(BYTES);
        let [files, directories] = gvariant::members(bytes, [PART; 2])?;
        let mut tree = Self::default();
        for element in gvariant::elements(&bytes[files])? {
            let [name, checksum] = gvariant::members(element, [PART; 2])?;
            tree.files.push((
                gvariant::text(&element[name])?,
                Checksum::from_slice(&element[checksum])?,
            ));
        }
        for element in gvariant::elements(&bytes[directories])? {
            let [name, contents, meta] = gvariant::members(element, [PART; 3])?;
            tree.directories.push((
                gvariant::text(&element[name])?,
                Checksum::from_slice(&element[contents])?,
                Checksum::from_slice(&element[meta])?,
            ));
        }
        tree.check_names()?;
        Ok(tree)
    }

    fn check_names(&self) -> Result<()> {
        let files = self.files.iter().map(|(name, ..)| *name);
        let directories = self.directories.iter().map(|(name, ..)| *name);
        for name in files.clone().chain(directories.clone()) {
            check_name(name)?;
        }
        ensure!(
            files.is_sorted_by(|a, b| a < b) && directories.clone().is_sorted_by(|a, b| a < b),
            "the names are not in order"
        );
        for name in directories {
            ensure!(
                self.files
                    .binary_search_by(|(file, _)| (*file).cmp(name))
                    .is_err(),
                "{name:?} is both a file and a directory"
            );
        }
        Ok(())
    }
}

/// Refuses what cannot be a name in a directory.
pub(super) fn check_name(name: &str) -> Result<()> {
    ensure!(
        !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']),
        "{name:?} cannot be a file name"
    );
    ensure!(
        name.len() <= NAME_MAX,
        "the name {name:?} is longer than {NAME_MAX} bytes"
    );
    Ok(())
}

/// Root directory of a serialised commit: dirtree, dirmeta.
pub(super) fn commit_root(bytes: &[u8]) -> Result<(Checksum, Checksum)> {
    const PART: Member = Member::Variable(BYTES);
    let layout = [
        Member::Variable(gvariant::U64), // metadata
        PART,                            // parent
        PART,                            // related
        PART,                            // subject
        PART,                            // body
        Member::Fixed(gvariant::U64),    // timestamp
        PART,                            // root dirtree
        PART,                            // root dirmeta
    ];
    let [.., tree, meta] = gvariant::members(bytes, layout)?;
    Ok((
        Checksum::from_slice(&bytes[tree])?,
        Checksum::from_slice(&bytes[meta])?,
    ))
}
