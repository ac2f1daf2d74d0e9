//! The files' paths as directories; common to both trees.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use super::names;
use bake_tree::Content;

/// Directories on the way to a file: ECMA-119 §6.8.2.1 allows eight levels, of which the root is
/// one. Deeper trees would need Rock Ridge's relocation.
const MAX_DIRECTORIES: usize = 7;

/// What a name stands for; numbers are positions in [`Paths`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Node {
    Directory(usize),
    File(usize),
    /// The boot catalog, whose content follows from where the files lie.
    Catalog,
}

/// A directory and its names in byte order.
#[derive(Debug, Default)]
pub(super) struct Directory<'a> {
    pub(super) parent: usize,
    pub(super) entries: BTreeMap<&'a str, Node>,
}

/// Directories, the root first and parents before children, and files in byte order.
#[derive(Debug)]
pub(super) struct Paths<'a> {
    pub(super) directories: Vec<Directory<'a>>,
    pub(super) files: Vec<(&'a str, &'a Content)>,
}

impl<'a> Paths<'a> {
    /// Splits the paths of `files` and of the boot catalog; refuses names and depths that an ISO
    /// can't have.
    pub(super) fn new(
        files: &'a BTreeMap<String, Content>,
        catalog: Option<&'a str>,
    ) -> Result<Self> {
        let mut paths = Self {
            directories: vec![Directory::default()],
            files: Vec::new(),
        };
        for (path, content) in files {
            ensure!(
                u32::try_from(content.len()).is_ok(),
                "{path} has {} bytes, and a file on an ISO can't have more than {}",
                content.len(),
                u32::MAX
            );
            paths.add(path, Node::File(paths.files.len()))?;
            paths.files.push((path, content));
        }
        if let Some(path) = catalog {
            paths.add(path, Node::Catalog)?;
        }
        Ok(paths)
    }

    /// Adds what is no directory, and the directories on the way to it.
    fn add(&mut self, path: &'a str, node: Node) -> Result<()> {
        let parts: Vec<&str> = path.split('/').collect();
        ensure!(
            parts.len() - 1 <= MAX_DIRECTORIES,
            "{path} lies in more than {MAX_DIRECTORIES} directories, which an ISO can't have"
        );
        let mut at = 0;
        for (depth, name) in parts.iter().enumerate() {
            names::check(name)?;
            let is_last = depth + 1 == parts.len();
            at = match self.directories[at].entries.get(name) {
                Some(Node::Directory(directory)) if !is_last => *directory,
                Some(Node::File(_) | Node::Catalog) if is_last => {
                    bail!("{path} would be two files at once")
                }
                Some(_) => bail!("{path} would be a file and a directory at once"),
                None if is_last => {
                    self.directories[at].entries.insert(name, node);
                    break;
                }
                None => self.add_directory(at, name),
            };
        }
        Ok(())
    }

    fn add_directory(&mut self, parent: usize, name: &'a str) -> usize {
        let id = self.directories.len();
        self.directories[parent]
            .entries
            .insert(name, Node::Directory(id));
        self.directories.push(Directory {
            parent,
            entries: BTreeMap::new(),
        });
        id
    }

    /// Link count of a directory: its name, its own `.`, and the `..` of those in it.
    pub(super) fn links(&self, directory: usize) -> usize {
        let below = self.directories[directory].entries.values();
        2 + below
            .filter(|node| matches!(node, Node::Directory(_)))
            .count()
    }
}
