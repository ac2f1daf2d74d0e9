//! Writing objects: directories of a tree, and commits of three kinds.
//!
//! ```text
//! commit  (a{sv}aya(say)sstayay)   metadata, parent, related, subject, body, time, dirtree, dirmeta
//! ```
//!
//! The time is seconds since 1970, big-endian. Nothing here asks the clock, and metadata is
//! written in the order of its keys (upstream's order is random, and nobody reads it), so the same
//! image gives the same commits.
//!
//! Source: libostree `ostree-repo-commit.c`, ostree-ext `container/store.rs`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::gvariant::{self, Array, BYTES, Tuple, U32, U64};
use super::object::{self, Checksum, DirTree, Kind, Object, ObjectName};
use crate::tree::{InodeId, Meta, Node, Tree};

/// Objects by name.
pub(super) type Objects = BTreeMap<ObjectName, Object>;

/// A directory as a commit refers to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) dirtree: Checksum,
    pub(super) dirmeta: Checksum,
}

impl Root {
    /// What two importers of one image agree on, though their commits differ.
    pub(super) fn content_checksum(&self) -> Checksum {
        Checksum::of(&[*self.dirtree.as_bytes(), *self.dirmeta.as_bytes()].concat())
    }
}

/// Adds the objects of all directories of `tree`, and of its files by the checksums given.
pub(super) fn write_tree(
    tree: &Tree,
    checksums: &[Option<Checksum>],
    objects: &mut Objects,
) -> Result<Root> {
    let mut directories = Vec::new();
    tree.walk(|_, id| match &tree.inode(id).node {
        Node::Directory(_) => directories.push(id),
        node => {
            let name = ObjectName::new(checksum_of(checksums, id), Kind::File);
            objects.entry(name).or_insert_with(|| Object::File {
                meta: tree.inode(id).meta.clone(),
                node: node.clone(),
            });
        }
    });
    // Parents were visited first, so backwards every directory comes after all it contains.
    let mut done: BTreeMap<InodeId, Root> = BTreeMap::new();
    for id in directories.into_iter().rev() {
        let mut listing = DirTree::default();
        for (name, child) in tree.children(id) {
            let name = std::str::from_utf8(name).context("a file name is not UTF-8")?;
            object::check_name(name)?;
            match done.remove(&child) {
                Some(root) => listing.directories.push((name, root.dirtree, root.dirmeta)),
                None => listing.files.push((name, checksum_of(checksums, child))),
            }
        }
        let root = Root {
            dirtree: put(objects, Kind::DirTree, listing.serialise()),
            dirmeta: put(
                objects,
                Kind::DirMeta,
                object::dirmeta(&tree.inode(id).meta),
            ),
        };
        done.insert(id, root);
    }
    let root = done.remove(&Tree::ROOT);
    Ok(root.expect("the root directory is visited"))
}

fn checksum_of(checksums: &[Option<Checksum>], id: InodeId) -> Checksum {
    checksums[id.index()].expect("every file of the tree has been hashed")
}

fn put(objects: &mut Objects, kind: Kind, bytes: Vec<u8>) -> Checksum {
    let checksum = Checksum::of(&bytes);
    objects
        .entry(ObjectName::new(checksum, kind))
        .or_insert_with(|| Object::Metadata(bytes.into()));
    checksum
}

/// Metadata of a commit, `a{sv}`: serialised variants by key.
#[derive(Debug, Default)]
pub(super) struct Metadata(BTreeMap<&'static str, Vec<u8>>);

impl Metadata {
    /// Adds a string; it must not contain NUL.
    pub(super) fn string(mut self, key: &'static str, value: &str) -> Self {
        let value = gvariant::variant(&gvariant::string(value.as_bytes()), "s");
        self.0.insert(key, value);
        self
    }

    /// Adds counts of names by layer, `a{sa{su}}`.
    pub(super) fn counts(
        mut self,
        key: &'static str,
        layers: &BTreeMap<String, BTreeMap<String, u32>>,
    ) -> Self {
        let mut outer = Array::new(U32);
        for (layer, names) in layers {
            let mut inner = Array::new(U32);
            for (name, count) in names {
                inner.push(
                    &Tuple::new()
                        .string(name)
                        .fixed(count.to_le_bytes())
                        .finish(),
                );
            }
            outer.push(
                &Tuple::new()
                    .string(layer)
                    .variable(&inner.finish(), U32)
                    .finish(),
            );
        }
        let value = gvariant::variant(&outer.finish(), "a{sa{su}}");
        self.0.insert(key, value);
        self
    }

    fn serialise(&self) -> Vec<u8> {
        let mut array = Array::new(U64);
        for (key, value) in &self.0 {
            array.push(&Tuple::new().string(key).variable(value, U64).finish());
        }
        array.finish()
    }
}

/// Adds a commit.
pub(super) fn write_commit(
    metadata: &Metadata,
    parent: Option<Checksum>,
    timestamp: u64,
    root: Root,
    objects: &mut Objects,
) -> Checksum {
    let parent = parent.as_ref().map_or(&[][..], |parent| parent.as_bytes());
    let bytes = Tuple::new()
        .variable(&metadata.serialise(), U64)
        .variable(parent, BYTES)
        .variable(&[], BYTES) // related commits
        .string("") // subject
        .string("") // body
        .fixed(timestamp.to_be_bytes())
        .variable(root.dirtree.as_bytes(), BYTES)
        .variable(root.dirmeta.as_bytes(), BYTES)
        .finish();
    put(objects, Kind::Commit, bytes)
}

/// Adds the commit that keeps a chunk's files alive: one directory, each file named by itself.
pub(super) fn write_object_set(files: &BTreeSet<Checksum>, objects: &mut Objects) -> Checksum {
    let names: Vec<String> = files.iter().map(Checksum::to_string).collect();
    let listing = DirTree {
        files: names
            .iter()
            .map(String::as_str)
            .zip(files.iter().copied())
            .collect(),
        directories: Vec::new(),
    };
    let root = Root {
        dirtree: put(objects, Kind::DirTree, listing.serialise()),
        dirmeta: put(objects, Kind::DirMeta, object::dirmeta(&Meta::root(0o755))),
    };
    write_commit(&Metadata::default(), None, 0, root, objects)
}
