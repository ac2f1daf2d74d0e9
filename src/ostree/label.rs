//! SELinux labels of the tree's files: `security.selinux`, with the NUL that commits have.
//!
//! Every path is looked up as it is in the commit, `/usr/etc/passwd` for what will be
//! `/etc/passwd`: policies of ostree systems have an alias for that. What the policy has no label
//! for keeps the one it has.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::tree::{Node, Tree, Xattrs};

const SELINUX: &[u8] = b"security.selinux";

/// What a path names, for the lookup of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
}

/// A policy's answer to "which label does this path get".
pub trait Labels: Sync {
    /// The label of an absolute path, without NUL at its end; none if the policy says nothing.
    fn label(&self, path: &[u8], file_type: FileType) -> Option<Arc<[u8]>>;

    /// An error if an earlier answer cannot be trusted; asked when all are labelled.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Labels everything in `tree`, whose inodes have one name each.
pub(super) fn relabel(tree: &mut Tree, labels: &dyn Labels) -> Result<()> {
    let mut labelled = Vec::with_capacity(tree.len());
    tree.walk(|path, id| {
        let file_type = match tree.inode(id).node {
            Node::Directory(_) => FileType::Directory,
            Node::Symlink(_) => FileType::Symlink,
            _ => FileType::Regular,
        };
        let absolute = [b"/", path].concat();
        // libostree asks so, as policies give /proc no label: ostree-sepolicy.c.
        let asked = match &absolute[..] {
            b"/proc" => b"/mnt",
            path => path,
        };
        if let Some(label) = labels.label(asked, file_type) {
            labelled.push((id, label));
        }
    });
    let mut sets = SharedSets::default();
    for (id, label) in labelled {
        let meta = &mut tree.inode_mut(id).meta;
        meta.xattrs = sets.with_label(&meta.xattrs, label);
    }
    labels.check().context("labelling files")
}

/// Attribute sets by what they were made of: a few hundred for a hundred thousand files, and never more than there are
/// inodes, which [`super::limits::Meter`] counts.
#[derive(Default)]
struct SharedSets(HashMap<(Xattrs, Arc<[u8]>), Xattrs>);

impl SharedSets {
    fn with_label(&mut self, before: &Xattrs, label: Arc<[u8]>) -> Xattrs {
        self.0
            .entry((before.clone(), label))
            .or_insert_with_key(|(before, label)| {
                before.with(SELINUX, &[label, &b"\0"[..]].concat())
            })
            .clone()
    }
}
