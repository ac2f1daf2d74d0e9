//! A tar archive as a tree: what the writers in these programs are fed with.
//!
//! Takes what GNU tar writes with `--format=pax --xattrs`: trusted input, errors end the program.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use anyhow::{Context, Result, bail};
use bake_tree::{InodeId, Meta, Node, Store, Tree, Xattrs};

/// What tar puts before the name of an extended attribute.
const XATTR_KEY: &str = "SCHILY.xattr.";

/// The archive as a tree. Directories that it does not list are root's.
pub(crate) fn read(archive: impl Read, store: &Store) -> Result<Tree> {
    let mut tree = Tree::new(Meta::root(0o755));
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, archive));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .context("a path that is not UTF-8")?;
        add(&mut tree, &mut entry, &path, store).with_context(|| format!("reading {path}"))?;
    }
    Ok(tree)
}

fn add(
    tree: &mut Tree,
    entry: &mut tar::Entry<impl Read>,
    path: &str,
    store: &Store,
) -> Result<()> {
    let meta = meta(entry)?;
    let path = path.trim_start_matches("./").trim_end_matches('/');
    if path.is_empty() {
        tree.inode_mut(Tree::ROOT).meta = meta;
        return Ok(());
    }
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = tree.make_directories(parent, &Meta::root(0o755));
    let header = entry.header();
    let numbers = || {
        Ok::<_, std::io::Error>((
            header.device_major()?.unwrap_or(0),
            header.device_minor()?.unwrap_or(0),
        ))
    };
    let node = match header.entry_type() {
        tar::EntryType::Directory => match tree.child(parent, name.as_bytes()) {
            Some(id) => {
                tree.inode_mut(id).meta = meta;
                return Ok(());
            }
            None => Node::Directory(BTreeMap::new()),
        },
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            Node::File(store.keep(entry.size(), entry, |_| ())?)
        }
        tar::EntryType::Symlink => Node::Symlink(target(entry)?.as_slice().into()),
        tar::EntryType::Link => {
            let id = linked(tree, &target(entry)?)?;
            tree.link(parent, name.as_bytes(), id);
            return Ok(());
        }
        tar::EntryType::Char => {
            let (major, minor) = numbers()?;
            Node::CharDevice(major, minor)
        }
        tar::EntryType::Block => {
            let (major, minor) = numbers()?;
            Node::BlockDevice(major, minor)
        }
        tar::EntryType::Fifo => Node::Fifo,
        other => bail!("an entry of type {other:?}"),
    };
    tree.create(parent, name, meta, node);
    Ok(())
}

fn target(entry: &tar::Entry<impl Read>) -> Result<Vec<u8>> {
    let target = entry.link_name_bytes().context("a link without a target")?;
    Ok(target.into_owned())
}

fn linked(tree: &Tree, target: &[u8]) -> Result<InodeId> {
    let target = std::str::from_utf8(target)?;
    tree.lookup(target.trim_start_matches("./"))
        .with_context(|| format!("a hard link to {target}, which is not there"))
}

fn meta(entry: &mut tar::Entry<impl Read>) -> Result<Meta> {
    let mut attributes: Vec<(String, Vec<u8>)> = Vec::new();
    for record in entry.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        if let Some(name) = record.key()?.strip_prefix(XATTR_KEY) {
            attributes.push((name.to_owned(), record.value_bytes().to_owned()));
        }
    }
    let header = entry.header();
    let mode = header.mode()? & 0o7777;
    Ok(Meta {
        uid: u32::try_from(header.uid()?)?,
        gid: u32::try_from(header.gid()?)?,
        mode: u16::try_from(mode)?,
        mtime: i64::try_from(header.mtime()?)?,
        xattrs: attributes
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_slice()))
            .collect::<Xattrs>(),
        immutable: false,
    })
}
