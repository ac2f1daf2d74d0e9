//! Adding files to the disk's tree with the labels that no commit brings.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::selinux::{FileKind, Policy};
use crate::tree::{Content, InodeId, Meta, Node, Tree, Xattrs};

/// The disk's tree while it grows.
pub(super) struct Plot<'a> {
    tree: Tree,
    policy: Option<&'a Policy>,
}

/// Everything of ours on the physical root has the label of `/`, `/boot` has its own rules
/// (fedora-coreos-config `overlay.d/07fix-selinux-labels`).
fn policy_path(path: &str) -> &str {
    match path.strip_prefix("boot") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => path,
        _ => "",
    }
}

impl<'a> Plot<'a> {
    pub(super) fn new(policy: Option<&'a Policy>, root: Meta) -> Self {
        let mut plot = Self {
            tree: Tree::new(root.clone()),
            policy,
        };
        plot.tree.inode_mut(Tree::ROOT).meta.xattrs = plot.label("", FileKind::Directory);
        plot
    }

    pub(super) fn finish(self) -> Tree {
        self.tree
    }

    pub(super) fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Makes a directory and its missing parents, root:root 0755.
    pub(super) fn directory(&mut self, path: &str) -> InodeId {
        let mut at = Tree::ROOT;
        let mut done = String::new();
        for part in path.split('/') {
            if !done.is_empty() {
                done.push('/');
            }
            done.push_str(part);
            at = match self.tree.child(at, part.as_bytes()) {
                Some(id) => id,
                None => {
                    let meta = self.meta(&done, 0o755, FileKind::Directory);
                    self.tree
                        .create(at, part, meta, Node::Directory(BTreeMap::new()))
                }
            };
        }
        at
    }

    /// Makes a directory with other permissions.
    pub(super) fn directory_with_mode(&mut self, path: &str, mode: u16) -> InodeId {
        let id = self.directory(path);
        self.tree.inode_mut(id).meta.mode = mode;
        id
    }

    /// Adds a file of our making, root:root.
    pub(super) fn file(&mut self, path: &str, mode: u16, text: impl Into<Vec<u8>>) -> InodeId {
        let bytes: Arc<[u8]> = text.into().into();
        self.content(path, Meta::root(mode), Content::bytes(bytes))
    }

    /// Adds a file with this content, owner and mode; its label is the path's.
    pub(super) fn content(&mut self, path: &str, mut meta: Meta, content: Content) -> InodeId {
        meta.xattrs = self.label(policy_path(path), FileKind::Regular);
        self.add(path, meta, Node::File(content))
    }

    /// Adds a symbolic link.
    pub(super) fn symlink(&mut self, path: &str, target: &str) -> InodeId {
        let meta = self.meta(path, 0o777, FileKind::Symlink);
        self.add(path, meta, Node::Symlink(target.as_bytes().into()))
    }

    /// `security.selinux` for an absolute path given without its first `/`, with the trailing NUL
    /// that setfiles writes.
    pub(super) fn label(&self, path: &str, kind: FileKind) -> Xattrs {
        self.label_bytes(path.as_bytes(), kind, true)
    }

    /// The same for a path in bytes; libostree writes labels at deploy time without the NUL.
    pub(super) fn label_bytes(&self, path: &[u8], kind: FileKind, nul: bool) -> Xattrs {
        let absolute = [b"/", path].concat();
        match self.policy.and_then(|p| p.label(&absolute, kind)) {
            Some(context) => {
                let mut value = context.to_vec();
                value.extend(nul.then_some(0));
                Xattrs::new().with(b"security.selinux", &value)
            }
            None => Xattrs::new(),
        }
    }

    fn meta(&self, path: &str, mode: u16, kind: FileKind) -> Meta {
        // A symlink or directory on the physical root is labelled as `/` is: by its path, a
        // directory, whatever it is itself.
        let (path, kind) = match policy_path(path) {
            "" => ("", FileKind::Directory),
            path => (path, kind),
        };
        Meta {
            xattrs: self.label(path, kind),
            ..Meta::root(mode)
        }
    }

    fn add(&mut self, path: &str, mut meta: Meta, node: Node) -> InodeId {
        if policy_path(path).is_empty() {
            meta.xattrs = self.label("", FileKind::Directory);
        }
        let (directory, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (self.directory(parent), name),
            None => (Tree::ROOT, path),
        };
        self.tree.create(directory, name, meta, node)
    }
}
