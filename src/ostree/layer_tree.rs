//! A derived layer's entries made into a tree, as libostree commits a tar archive.
//!
//! ```text
//! entries ─► build's changes to base files ─► filter ─► directories, files ─► hard links ─► tree
//! ```
//!
//! - The last entry of a path wins, but hard links are made after everything else.
//! - A directory nobody mentions belongs to the owner of the first file in it, mode 0755, and then
//!   so do *all* directories above it, even those the layer has described before.
//! - Whiteouts are ordinary files here; [`super::merge`] acts on them.
//!
//! A build that changes a file of the base may change it where the base's layers have it, below
//! `sysroot/ostree/repo/objects`; then the layer has it there with a modification time, and hard
//! links at the paths one sees. The first such link becomes the file.
//!
//! Three differences to upstream, which makes commits of such layers that cannot be deployed, as
//! they have an `etc`, or fails: paths of such links are filtered like others; so are paths in PAX
//! records (as those of all names that are not ASCII), of which there is a warning; hard link
//! targets in `var` are moved with it.
//!
//! Source: ostree-ext `tar/write.rs`, libostree `ostree-repo-libarchive.c`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use super::filter::{Placed, Rules, place};
use super::layer::{Body, Entry, Layer};
use super::limits::Meter;
use crate::tree::{InodeId, Meta, Node, Tree};

/// Where base layers keep their objects.
const REPOSITORY: &str = "sysroot/ostree/repo/";

/// Longest chain of hard links to hard links; no tool writes any.
const LINK_CHAIN_MAX: usize = 16;

/// A layer by itself. One inode a name, as ostree knows no hard links. Maps and lists have at most one element for each
/// entry of the layer; entries and the bytes of their paths are counted by [`Meter`].
#[derive(Debug)]
pub(super) struct LayerTree {
    /// `sha256:…` as in the manifest.
    pub(super) digest: String,
    pub(super) tree: Tree,
    /// Hard links, and the inodes that they are links to.
    links: BTreeMap<InodeId, InodeId>,
    /// By inode: whether the layer itself says what this directory's owner and mode are.
    pub(super) described: Vec<bool>,
    /// How many entries were dropped, by name as [`Placed::Dropped`] gives it.
    pub(super) dropped: BTreeMap<String, Dropped>,
    /// Changes to files of the base that cannot be made: names without content, and the reverse.
    pub(super) lost_changes: Vec<String>,
    /// Paths that ostree-ext would leave where they are.
    pub(super) unmoved: Vec<String>,
}

/// Counts of dropped entries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Dropped {
    pub(super) entries: u32,
    /// Those that are no directories: builds leave directories behind where they mount things.
    pub(super) files: u32,
}

impl LayerTree {
    /// The inode whose content and metadata this one has from the archive: what it is a hard link
    /// to, or itself.
    pub(super) fn original(&self, id: InodeId) -> InodeId {
        self.links.get(&id).copied().unwrap_or(id)
    }

    /// Gives hard links the attributes of what they link to.
    pub(super) fn share_attributes(&mut self) {
        for (link, original) in &self.links {
            let xattrs = self.tree.inode(*original).meta.xattrs.clone();
            self.tree.inode_mut(*link).meta.xattrs = xattrs;
        }
    }

    /// What the user should know of this layer.
    pub(super) fn warnings(&self) -> Vec<String> {
        let digest = &self.digest;
        let mut warnings = Vec::new();
        let dropped = self.dropped.iter().filter(|(_, count)| count.files > 0);
        let dropped = dropped.map(|(name, count)| format!("{name} ({})", count.files));
        let dropped: Vec<String> = dropped.collect();
        if !dropped.is_empty() {
            let names = listed(&dropped);
            warnings.push(format!(
                "layer {digest} has files where ostree keeps none: {names}"
            ));
        }
        if !self.unmoved.is_empty() {
            let names = listed(&self.unmoved);
            warnings.push(format!(
                "layer {digest} has paths in PAX records that nodes would not move to their place \
                 in ostree, and then fail to deploy: {names}"
            ));
        }
        if !self.lost_changes.is_empty() {
            let names = listed(&self.lost_changes);
            warnings.push(format!(
                "layer {digest} changes files of the base by hard links of which it lacks one end; \
                 these changes are lost: {names}"
            ));
        }
        warnings
    }

    /// Empties `sysroot`: the physical root is mounted there. A flattened encapsulated image has
    /// the repository in it that its files were hard links to.
    fn empty_sysroot(&mut self) {
        if let Some(sysroot) = self.tree.lookup("sysroot")
            && self.tree.is_directory(sysroot)
        {
            self.tree.inode_mut(sysroot).node = Node::Directory(BTreeMap::new());
        }
    }
}

/// How many names a warning lists.
const LISTED_MAX: usize = 5;

fn listed(names: &[String]) -> String {
    let first = names[..names.len().min(LISTED_MAX)].join(", ");
    match names.len().saturating_sub(LISTED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Builds the tree of a layer; `on_base` if the image is an encapsulated commit with layers on top.
pub(super) fn build(
    layer: &Layer,
    rules: Rules,
    on_base: bool,
    meter: &Meter,
) -> Result<LayerTree> {
    let mut builder = Builder::new(layer, rules, meter);
    for entry in &layer.entries {
        let path = &*entry.path;
        let is_moved = matches!(place(path, rules), Placed::At(at) if at != path);
        if entry.has_pax_path && is_moved {
            builder.layer.unmoved.push(path.to_owned());
        }
        if on_base {
            builder.take_on_base(entry)?;
        } else {
            builder.take(&entry.path, &entry.body, &entry.meta)?;
        }
    }
    builder.make_links()?;
    let unnamed = builder.changed.into_keys().map(str::to_owned);
    builder.layer.lost_changes.extend(unnamed);
    if !on_base {
        builder.layer.empty_sysroot();
    }
    Ok(builder.layer)
}

struct Builder<'a> {
    rules: Rules,
    meter: &'a Meter,
    layer: LayerTree,
    /// Hard links by final path: final path of what they link to.
    links: BTreeMap<String, String>,
    /// Changed files of the base, by path in [`REPOSITORY`].
    changed: BTreeMap<&'a str, &'a Entry>,
    /// Where changed files have gone.
    moved: BTreeMap<&'a str, &'a str>,
}

impl<'a> Builder<'a> {
    fn new(layer: &Layer, rules: Rules, meter: &'a Meter) -> Self {
        Self {
            rules,
            meter,
            layer: LayerTree {
                digest: layer.digest.clone(),
                tree: Tree::new(Meta::root(0o755)),
                links: BTreeMap::new(),
                described: vec![false],
                dropped: BTreeMap::new(),
                lost_changes: Vec::new(),
                unmoved: Vec::new(),
            },
            links: BTreeMap::new(),
            changed: BTreeMap::new(),
            moved: BTreeMap::new(),
        }
    }

    /// Takes an entry of a layer that lies on an encapsulated commit.
    fn take_on_base(&mut self, entry: &'a Entry) -> Result<()> {
        let path = &*entry.path;
        let is_changed = entry.meta.mtime > 0;
        match &entry.body {
            Body::File(_) if is_changed && path.starts_with(REPOSITORY) => {
                self.changed.insert(path, entry);
                Ok(())
            }
            Body::Link(target) if is_changed && target.starts_with(REPOSITORY) => {
                let target = &**target;
                if let Placed::Dropped(_) = place(path, self.rules) {
                    self.take(path, &entry.body, &entry.meta)
                } else if let Some(file) = self.changed.remove(target) {
                    self.moved.insert(target, path);
                    // ostree-ext takes the header along, but not the attributes before it.
                    let meta = Meta {
                        xattrs: Default::default(),
                        ..file.meta.clone()
                    };
                    self.take(path, &file.body, &meta)
                } else if let Some(first) = self.moved.get(target) {
                    self.take(path, &Body::Link((*first).into()), &entry.meta)
                } else {
                    self.layer.lost_changes.push(path.to_owned());
                    Ok(())
                }
            }
            _ => self.take(path, &entry.body, &entry.meta),
        }
    }

    fn take(&mut self, path: &str, body: &Body, meta: &Meta) -> Result<()> {
        match place(path, self.rules) {
            Placed::Dropped(name) => {
                let is_file = !matches!(body, Body::Directory);
                let count = self.layer.dropped.entry(name.to_owned()).or_default();
                count.entries = count.entries.saturating_add(1);
                count.files = count.files.saturating_add(is_file.into());
                Ok(())
            }
            Placed::At(path) => self.put(&path, body, meta),
        }
    }

    fn put(&mut self, path: &str, body: &Body, meta: &Meta) -> Result<()> {
        let meta = Meta {
            mtime: 0,
            ..meta.clone()
        };
        let node = match body {
            Body::Directory => return self.put_directory(path, meta),
            Body::File(content) => Node::File(content.clone()),
            Body::Symlink(target) => Node::Symlink(target.clone()),
            Body::Link(target) => {
                let Placed::At(target) = place(target, self.rules) else {
                    bail!("{path:?} is a hard link to {target:?}, which ostree does not keep");
                };
                self.parent(path, &meta)?;
                self.links.insert(path.to_owned(), target.into_owned());
                return Ok(());
            }
            Body::Other(flag) => bail!(
                "{path:?} is a device, FIFO or the like (tar type {:?}), which ostree cannot hold",
                char::from(*flag)
            ),
            Body::Unread => unreachable!("the filter drops what was not read"),
        };
        let (parent, name) = self.parent(path, &meta)?;
        let id = self.add(meta, node);
        self.name(parent, name, id, path)
    }

    fn put_directory(&mut self, path: &str, meta: Meta) -> Result<()> {
        let id = if path.is_empty() {
            Tree::ROOT
        } else {
            let (parent, name) = self.parent(path, &meta)?;
            self.directory(parent, name, path)?
        };
        self.layer.tree.inode_mut(id).meta = meta;
        self.layer.described[id.index()] = true;
        Ok(())
    }

    /// The directory that `path` goes to, made if need be, and its last component.
    fn parent<'p>(&mut self, path: &'p str, meta: &Meta) -> Result<(InodeId, &'p str)> {
        ensure!(
            !path.is_empty(),
            "a file or link stands where the root directory has to be"
        );
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(id) = self.layer.tree.lookup(above) {
            ensure!(
                self.layer.tree.is_directory(id),
                "{path:?} lies below {above:?}, which is no directory"
            );
            return Ok((id, name));
        }
        // One is missing, so all are described anew, the way libostree does it.
        let owned = Meta {
            uid: meta.uid,
            gid: meta.gid,
            ..Meta::root(0o755)
        };
        let mut at = Tree::ROOT;
        self.describe(at, &owned);
        let mut end = 0;
        for part in above.split('/') {
            end += part.len();
            // Charged each, as one long path can make thousands.
            self.meter.entry(part.len())?;
            at = self.directory(at, part, &above[..end])?;
            end += 1;
            self.describe(at, &owned);
        }
        Ok((at, name))
    }

    fn describe(&mut self, id: InodeId, meta: &Meta) {
        self.layer.tree.inode_mut(id).meta = meta.clone();
        self.layer.described[id.index()] = false;
    }

    /// The directory `name`, which is made if there is none.
    fn directory(&mut self, parent: InodeId, name: &str, path: &str) -> Result<InodeId> {
        match self.layer.tree.child(parent, name.as_bytes()) {
            Some(id) => {
                ensure!(
                    self.layer.tree.is_directory(id),
                    "{path:?} is both a directory and something else"
                );
                Ok(id)
            }
            None => {
                let id = self.add(Meta::root(0o755), Node::Directory(BTreeMap::new()));
                self.layer.tree.link(parent, name.as_bytes(), id);
                Ok(id)
            }
        }
    }

    fn add(&mut self, meta: Meta, node: Node) -> InodeId {
        let id = self.layer.tree.add(meta, node);
        self.layer.described.push(false);
        id
    }

    fn name(&mut self, parent: InodeId, name: &str, id: InodeId, path: &str) -> Result<()> {
        let tree = &mut self.layer.tree;
        let taken = tree.child(parent, name.as_bytes());
        ensure!(
            !taken.is_some_and(|taken| tree.is_directory(taken)),
            "{path:?} is both a directory and something else"
        );
        tree.link(parent, name.as_bytes(), id);
        Ok(())
    }

    fn make_links(&mut self) -> Result<()> {
        let links = std::mem::take(&mut self.links);
        for (path, target) in &links {
            let mut end = target;
            for step in 0.. {
                let Some(next) = links.get(end) else { break };
                ensure!(
                    step < LINK_CHAIN_MAX,
                    "the hard link {path:?} leads through too many others, or in a circle"
                );
                end = next;
            }
            let source = self.layer.tree.lookup(end).with_context(|| {
                format!("{path:?} is a hard link to {target:?}, which the layer does not have")
            })?;
            let inode = self.layer.tree.inode(source).clone();
            ensure!(
                !matches!(inode.node, Node::Directory(_)),
                "{path:?} is a hard link to the directory {target:?}"
            );
            let id = self.add(inode.meta, inode.node);
            self.layer.links.insert(id, source);
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parent = self.layer.tree.lookup(above);
            let parent = parent.expect("made when the link was read");
            self.name(parent, name, id, path)?;
        }
        Ok(())
    }
}
