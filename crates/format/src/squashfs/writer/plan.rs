//! What names and lengths decide, before a byte of content is read: numbers, links, owners,
//! attributes, the order of blocks, and what goes into which fragment.
//!
//! Contents lie in the order of a walk that takes a directory's files before its subdirectories, so
//! that small files of one directory share fragments. Inodes lie directory by directory, those below
//! first, because a directory's inode needs its listing's place, and that the places of the inodes in
//! it.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};

use super::owners::Owners;
use super::xattrs::XattrSets;
use crate::squashfs::format::{MAJOR_MAX, MINOR_MAX, NONE, TARGET_MAX};
use bake_tree::{Content, Inode, InodeId, NAME_MAX, Node, Tree};

/// A tree, numbered and checked.
pub(super) struct Plan<'a> {
    pub(super) tree: &'a Tree,
    pub(super) block_size: u32,
    /// Directories, each after all that are below it; the root is last.
    pub(super) directories: Vec<InodeId>,
    /// By [`InodeId::index`]; number 0 if it has no name.
    pub(super) inodes: Vec<Numbered>,
    /// How many inodes have a name.
    pub(super) inode_count: u32,
    pub(super) owners: Owners,
    pub(super) xattrs: XattrSets<'a>,
    /// Regular files in the order of their contents.
    pub(super) files: Vec<PlannedFile<'a>>,
    /// What is compressed and written, in this order.
    pub(super) units: Vec<Unit>,
    /// For each fragment its part of `pieces`.
    pub(super) fragments: Vec<Range<usize>>,
    /// Indices of files whose tails make up the fragments.
    pub(super) pieces: Vec<usize>,
}

/// What an inode is called in the image.
#[derive(Clone, Copy, Default)]
pub(super) struct Numbered {
    /// 1 and up, in the order of the inode table.
    pub(super) number: u32,
    pub(super) links: u32,
    /// Index of the set, or [`NONE`].
    pub(super) xattrs: u32,
    /// Index of a regular file in [`Plan::files`].
    pub(super) file: usize,
    /// Index into the id table.
    pub(super) uid: u16,
    pub(super) gid: u16,
}

/// A regular file and where its bytes go.
pub(super) struct PlannedFile<'a> {
    pub(super) id: InodeId,
    pub(super) content: &'a Content,
    /// Index of the first file with the same bytes; its own if there is none before it.
    pub(super) same_as: usize,
    /// Blocks of its own, the last one perhaps short.
    pub(super) blocks: u64,
    /// Fragment that its tail is in, or [`NONE`].
    pub(super) fragment: u32,
    /// Offset of the tail in the fragment.
    pub(super) offset: u32,
}

impl PlannedFile<'_> {
    /// How many bytes are in the fragment, for a file that has one.
    pub(super) fn tail_len(&self, block_size: u32) -> u64 {
        self.content.len() % u64::from(block_size)
    }
}

/// What is written in one go.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// The blocks of a file, by its index.
    File(usize),
    /// A fragment, by its index.
    Fragment(usize),
}

impl<'a> Plan<'a> {
    /// Numbers and checks what can be reached from the root.
    pub(super) fn new(tree: &'a Tree, block_size: u32) -> Result<Self> {
        let mut plan = Self {
            tree,
            block_size,
            directories: Vec::new(),
            inodes: vec![Numbered::default(); tree.len()],
            inode_count: 0,
            owners: Owners::default(),
            xattrs: XattrSets::default(),
            files: Vec::new(),
            units: Vec::new(),
            fragments: Vec::new(),
            pieces: Vec::new(),
        };
        plan.walk()?;
        plan.order_directories();
        plan.number()?;
        Ok(plan)
    }

    /// Path of an inode, for messages; searched for, since they are rare.
    pub(super) fn path(&self, wanted: InodeId) -> String {
        let mut found = None;
        self.tree.walk(|path, id| {
            if id == wanted && found.is_none() {
                found = Some(format!("/{}", String::from_utf8_lossy(path)));
            }
        });
        found.unwrap_or_else(|| "an inode without a name".to_owned())
    }

    /// Contents of all files, in order.
    pub(super) fn contents(&self) -> Vec<&'a Content> {
        self.files.iter().map(|file| file.content).collect()
    }

    /// Counts links, checks what squashfs can hold, and finds the order of the files.
    fn walk(&mut self) -> Result<()> {
        let mut open = vec![Tree::ROOT];
        self.inodes[Tree::ROOT.index()].links = 2;
        while let Some(directory) = open.pop() {
            let first = open.len();
            for (name, id) in self.tree.children(directory) {
                check_name(name)
                    .with_context(|| format!("placing a name in {}", self.path(directory)))?;
                let seen = self.inodes[id.index()].links > 0;
                if self.tree.is_directory(id) {
                    // Also what ends the walk if a directory were inside itself.
                    if seen {
                        bail!(
                            "a directory in {} has a second name: {}",
                            self.path(directory),
                            name.escape_ascii()
                        );
                    }
                    self.inodes[id.index()].links = 2;
                    self.inodes[directory.index()].links += 1;
                    open.push(id);
                    continue;
                }
                self.inodes[id.index()].links += 1;
                if let (Node::File(content), false) = (&self.tree.inode(id).node, seen) {
                    self.inodes[id.index()].file = self.files.len();
                    self.files.push(PlannedFile {
                        id,
                        content,
                        same_as: self.files.len(),
                        blocks: 0,
                        fragment: NONE,
                        offset: 0,
                    });
                }
            }
            open[first..].reverse();
        }
        Ok(())
    }

    /// Makes [`Plan::directories`]: subdirectories in byte order, then the directory itself.
    fn order_directories(&mut self) {
        let mut open = vec![Tree::ROOT];
        while let Some(directory) = open.pop() {
            self.directories.push(directory);
            open.extend(
                self.tree
                    .children(directory)
                    .map(|(_, id)| id)
                    .filter(|id| self.tree.is_directory(*id)),
            );
        }
        self.directories.reverse();
    }

    fn number(&mut self) -> Result<()> {
        for at in 0..self.directories.len() {
            for (_, id) in self.tree.children(self.directories[at]) {
                if self.inodes[id.index()].number == 0 {
                    self.number_inode(id)?;
                }
            }
        }
        self.number_inode(Tree::ROOT)
    }

    fn number_inode(&mut self, id: InodeId) -> Result<()> {
        let inode = self.tree.inode(id);
        self.inode_count += 1;
        self.inodes[id.index()].number = self.inode_count;
        self.describe_inode(id, inode)
            .with_context(|| format!("placing {}", self.path(id)))
    }

    fn describe_inode(&mut self, id: InodeId, inode: &'a Inode) -> Result<()> {
        check_node(&inode.node)?;
        let uid = self.owners.index(inode.meta.uid)?;
        let gid = self.owners.index(inode.meta.gid)?;
        let xattrs = self.xattrs.index(&inode.meta.xattrs)?;
        let numbered = &mut self.inodes[id.index()];
        (numbered.uid, numbered.gid, numbered.xattrs) = (uid, gid, xattrs);
        Ok(())
    }

    /// Decides blocks and fragments, now that it is known which files are equal: `same_as` has for
    /// every file the index of the first one with its bytes.
    pub(super) fn pack(&mut self, same_as: &[usize]) -> Result<()> {
        let mut packer = Packer::default();
        for (index, first) in same_as.iter().enumerate() {
            let file = &mut self.files[index];
            file.same_as = *first;
            if *first != index {
                continue;
            }
            let tail = file.tail_len(self.block_size);
            let whole = file.content.len() / u64::from(self.block_size);
            if tail > 0 && goes_into_fragment(whole) {
                let tail = u32::try_from(tail)?;
                if packer.filled + tail > self.block_size {
                    packer.close(&mut self.fragments, &mut self.units, self.pieces.len());
                }
                file.fragment = u32::try_from(self.fragments.len())?;
                file.offset = packer.filled;
                file.blocks = whole;
                packer.filled += tail;
                self.pieces.push(index);
            } else {
                file.blocks = whole + u64::from(tail > 0);
            }
            if file.blocks > 0 {
                self.units.push(Unit::File(index));
            }
        }
        if packer.filled > 0 {
            packer.close(&mut self.fragments, &mut self.units, self.pieces.len());
        }
        Ok(())
    }
}

/// The fragment that is being filled.
#[derive(Default)]
struct Packer {
    filled: u32,
    first_piece: usize,
}

impl Packer {
    fn close(&mut self, fragments: &mut Vec<Range<usize>>, units: &mut Vec<Unit>, end: usize) {
        units.push(Unit::Fragment(fragments.len()));
        fragments.push(self.first_piece..end);
        *self = Self {
            filled: 0,
            first_piece: end,
        };
    }
}

/// Whether a tail after `whole` blocks goes into a fragment: only that of a file without blocks, as
/// in mksquashfs. Packing every tail saved nothing where it was measured (programs, libraries,
/// modules: 0.02 % more at zstd 3), and costs the reader a fragment more for each large file.
fn goes_into_fragment(whole: u64) -> bool {
    whole == 0
}

fn check_name(name: &[u8]) -> Result<()> {
    let shown = name.escape_ascii();
    ensure!(
        (1..=NAME_MAX).contains(&name.len()),
        "a name of {} bytes is not 1 to {NAME_MAX} long: {shown}",
        name.len()
    );
    ensure!(
        name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0),
        "this can't be a name: {shown}"
    );
    Ok(())
}

fn check_node(node: &Node) -> Result<()> {
    match node {
        Node::Symlink(target) => ensure!(
            (1..=TARGET_MAX).contains(&target.len()) && !target.contains(&0),
            "a symlink target of {} bytes is not 1 to {TARGET_MAX} long, or has a NUL",
            target.len()
        ),
        Node::CharDevice(major, minor) | Node::BlockDevice(major, minor) => ensure!(
            *major <= MAJOR_MAX && *minor <= MINOR_MAX,
            "device number {major}:{minor} is above {MAJOR_MAX}:{MINOR_MAX}"
        ),
        Node::Directory(_) | Node::File(_) | Node::Fifo | Node::Socket => {}
    }
    Ok(())
}
