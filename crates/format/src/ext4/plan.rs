//! Where everything goes: inode numbers, blocks of every inode, tables of every group.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::Options;
use super::attributes;
use super::blocks::Blocks;
use super::directory;
use super::extents::node_count;
use super::format::{FIRST_INODE, LINKS_MAX, MAP_BYTES, ROOT_INODE};
use super::geometry::Geometry;
use super::space::Space;
use super::tables::{Tables, place_journal, place_tables};
use super::values::{check_time, device_map};
use bake_tree::{InodeId, Meta, NAME_MAX, Node, Tree};

/// The directory that `e2fsck` puts orphans in.
pub(super) const LOST_FOUND: &[u8] = b"lost+found";
/// Bytes that directory has from the start, so that none need be allocated in a damaged one.
const LOST_FOUND_BYTES: u64 = 16 << 10;
/// Most blocks of that directory: those an old block map names directly.
const LOST_FOUND_BLOCKS_MAX: u64 = 12;

/// A piece of a regular file, in bytes; its last block may reach past the file's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts in the file.
    pub file_offset: u64,
    /// Where it starts in the file system.
    pub image_offset: u64,
    /// How long it is; cut at the end of the file.
    pub len: u64,
}

/// A finished plan: every byte of the file system has its place.
#[derive(Debug)]
pub struct Layout<'a> {
    pub(super) tree: &'a Tree,
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) space: Space,
    pub(super) tables: Vec<Tables>,
    /// Everything with a name, by inode number from the first that is not reserved; the root first.
    pub(super) placed: Vec<Placed>,
    /// Inode numbers by [`InodeId::index`]; 0 has none.
    pub(super) numbers: Vec<u32>,
    /// Names by [`InodeId::index`].
    pub(super) links: Vec<u32>,
    /// Whether `lost+found` is ours, as the tree has none.
    pub(super) own_lost_found: bool,
    pub(super) journal: Blocks,
    /// The resize inode's double-indirect block.
    pub(super) resize_block: u64,
}

/// One inode with its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) number: u32,
    /// `None` for the `lost+found` that the tree does not have.
    pub(super) id: Option<InodeId>,
    /// The directory that names it, as an inode number; itself for the root.
    pub(super) parent: u32,
    pub(super) is_directory: bool,
    pub(super) blocks: Blocks,
}

/// What one inode needs.
struct Need {
    data: u64,
    attributes: bool,
}

impl<'a> Layout<'a> {
    /// Places `tree`. A tree that does not fit is an error that says what is needed.
    pub fn plan(tree: &'a Tree, options: &Options) -> Result<Self> {
        ensure!(
            options.label.len() <= 16,
            "the label {:?} has more than the 16 bytes that ext4 stores",
            options.label
        );
        let geometry = Geometry::new(options.size_bytes, options.block_size)?;
        let mut space = Space::new(geometry.blocks);
        let tables = place_tables(&geometry, &mut space)?;
        let journal = place_journal(&geometry, &mut space)?;
        let resize_block = space
            .allocate_one()
            .ok_or_else(|| anyhow!("the ext4 file system has no room for its resize inode"))?;

        let links = tree.link_counts();
        let mut layout = Self {
            tree,
            options: options.clone(),
            numbers: vec![0; tree.len()],
            placed: Vec::new(),
            own_lost_found: tree.child(Tree::ROOT, LOST_FOUND).is_none(),
            links,
            tables,
            journal,
            resize_block,
            geometry,
            space,
        };
        let names = layout.number()?;
        let needs = layout.needs(&names)?;
        layout.check_room(&needs)?;
        layout
            .place(&needs)
            .ok_or_else(|| anyhow!("the ext4 file system is full with its extent trees"))?;
        Ok(layout)
    }

    /// Where the contents of a regular file are; nothing for other inodes.
    pub fn extents(&self, id: InodeId) -> Vec<Extent> {
        let Node::File(content) = &self.tree.inode(id).node else {
            return Vec::new();
        };
        let block = u64::from(self.geometry.block_size);
        let number = self.numbers[id.index()];
        let Ok(index) = self.placed.binary_search_by_key(&number, |p| p.number) else {
            return Vec::new();
        };
        let mut file_offset = 0;
        let runs = &self.placed[index].blocks.data;
        runs.iter()
            .map(|run| {
                let extent = Extent {
                    file_offset,
                    image_offset: run.start * block,
                    len: (run.len * block).min(content.len() - file_offset),
                };
                file_offset += extent.len;
                extent
            })
            .collect()
    }

    /// The path of an inode, for messages.
    pub(super) fn path(&self, placed: &Placed) -> String {
        let mut found = shown(LOST_FOUND);
        self.tree.walk(|path, id| {
            if placed.id == Some(id) {
                found = shown(path);
            }
        });
        found
    }

    /// Bytes of the file system; less than asked for where a last group would have no use.
    pub fn size_bytes(&self) -> u64 {
        self.geometry.blocks * u64::from(self.geometry.block_size)
    }

    /// Bytes that nothing uses, those reserved for root among them.
    pub fn free_bytes(&self) -> u64 {
        self.space.free() * u64::from(self.geometry.block_size)
    }

    /// Gives every inode its number, in the order of the walk, and checks names on the way.
    /// Returns a path for each, for messages.
    fn number(&mut self) -> Result<Vec<Vec<u8>>> {
        let tree = self.tree;
        let mut paths = Vec::new();
        let mut next = FIRST_INODE + 1;
        let mut fault = None;
        let mut numbers = std::mem::take(&mut self.numbers);
        let mut placed = Vec::new();
        let mut directories = BTreeSet::new();
        tree.walk(|path, id| {
            if fault.is_some() {
                return;
            }
            let is_directory = tree.is_directory(id);
            if is_directory && !directories.insert(id.index()) {
                fault = Some(anyhow!("the directory {} has two names", shown(path)));
                return;
            }
            if numbers[id.index()] != 0 {
                return;
            }
            let number = match path {
                b"" => ROOT_INODE,
                LOST_FOUND => FIRST_INODE,
                _ => {
                    next += 1;
                    next - 1
                }
            };
            if number == FIRST_INODE && !is_directory {
                fault = Some(anyhow!("/lost+found is not a directory"));
            }
            numbers[id.index()] = number;
            paths.push(path.to_vec());
            placed.push((number, id, is_directory));
        });
        self.numbers = numbers;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let inodes = self.geometry.inodes();
        ensure!(
            next - 1 <= inodes,
            "the ext4 file system needs {} inodes, and has {inodes}",
            next - 1
        );
        let mut parents = vec![ROOT_INODE; tree.len()];
        for ((number, id, _), path) in placed.iter().zip(&paths) {
            for (name, child) in tree.children(*id) {
                check_name(name).with_context(|| format!("naming an entry of {}", shown(path)))?;
                parents[child.index()] = *number;
            }
        }
        self.placed = placed
            .iter()
            .map(|(number, id, is_directory)| Placed {
                number: *number,
                id: Some(*id),
                parent: parents[id.index()],
                is_directory: *is_directory,
                blocks: Blocks::default(),
            })
            .collect();
        if self.own_lost_found {
            self.placed.push(Placed {
                number: FIRST_INODE,
                id: None,
                parent: ROOT_INODE,
                is_directory: true,
                blocks: Blocks::default(),
            });
            paths.push(LOST_FOUND.to_vec());
            self.links[Tree::ROOT.index()] += 1;
        }
        // In number order: the root, lost+found, the others as walked.
        let mut both: Vec<_> = self.placed.drain(..).zip(paths).collect();
        both.sort_by_key(|(placed, _)| placed.number);
        let (placed, paths): (Vec<_>, _) = both.into_iter().unzip();
        self.placed = placed;
        Ok(paths)
    }

    fn needs(&self, paths: &[Vec<u8>]) -> Result<Vec<Need>> {
        self.placed
            .iter()
            .zip(paths)
            .map(|(placed, path)| {
                self.need(placed)
                    .with_context(|| format!("placing {}", shown(path)))
            })
            .collect()
    }

    fn need(&self, placed: &Placed) -> Result<Need> {
        let geometry = &self.geometry;
        let Some(id) = placed.id else {
            return Ok(Need {
                data: self.lost_found_blocks(),
                attributes: false,
            });
        };
        let inode = self.tree.inode(id);
        check_time(inode.meta.mtime)?;
        let links = self.links[id.index()];
        ensure!(
            links <= LINKS_MAX,
            "it has {links} links, and ext4 takes at most {LINKS_MAX}"
        );
        let data = match &inode.node {
            Node::Directory(_) => {
                let entries = self.entries(id);
                let lens = entries.iter().map(|entry| entry.name.len());
                let blocks = directory::block_count(lens, geometry.block_len());
                if placed.number == FIRST_INODE {
                    blocks.max(self.lost_found_blocks())
                } else {
                    blocks
                }
            }
            Node::File(content) => {
                let blocks = geometry.blocks_for(content.len());
                ensure!(
                    blocks < u64::from(u32::MAX),
                    "it has {blocks} blocks, more than an ext4 file may have"
                );
                blocks
            }
            Node::Symlink(target) => {
                let most = geometry.block_len() - 1;
                ensure!(
                    (1..=most).contains(&target.len()),
                    "its target has {} bytes, and ext4 takes 1 to {most} with such blocks",
                    target.len()
                );
                u64::from(target.len() >= MAP_BYTES)
            }
            Node::CharDevice(major, minor) | Node::BlockDevice(major, minor) => {
                device_map(*major, *minor)?;
                0
            }
            Node::Fifo | Node::Socket => 0,
        };
        let encoded = attributes::encode(&inode.meta.xattrs, geometry.block_len())?;
        Ok(Need {
            data,
            attributes: encoded.block.is_some(),
        })
    }

    /// A directory's names in byte order, `lost+found` among the root's.
    pub(super) fn entries(&self, id: InodeId) -> Vec<directory::Entry<'a>> {
        let tree = self.tree;
        let mut entries: Vec<_> = tree
            .children(id)
            .map(|(name, child)| directory::Entry {
                name,
                inode: self.numbers[child.index()],
                kind: directory::kind(&tree.inode(child).node),
            })
            .collect();
        if id == Tree::ROOT && self.own_lost_found {
            let at = entries.partition_point(|entry| entry.name < LOST_FOUND);
            let own = directory::Entry {
                name: LOST_FOUND,
                inode: FIRST_INODE,
                kind: directory::DIRECTORY,
            };
            entries.insert(at, own);
        }
        entries
    }

    /// Owner and permissions of an inode; those of a `lost+found` of our own are root's alone.
    pub(super) fn meta(&self, placed: &Placed) -> Meta {
        match placed.id {
            Some(id) => self.tree.inode(id).meta.clone(),
            None => Meta {
                mtime: i64::from(self.options.time),
                ..Meta::root(0o700)
            },
        }
    }

    /// Blocks that `lost+found` has at least.
    pub(super) fn lost_found_blocks(&self) -> u64 {
        self.geometry
            .blocks_for(LOST_FOUND_BYTES)
            .min(LOST_FOUND_BLOCKS_MAX)
    }

    fn check_room(&self, needs: &[Need]) -> Result<()> {
        let block = u64::from(self.geometry.block_size);
        let mib = |blocks: u64| (blocks * block).div_ceil(1 << 20);
        let needed: u64 = needs
            .iter()
            .map(|need| need.data + u64::from(need.attributes))
            .sum();
        let free = self.space.free();
        if needed > free {
            let tables = self.geometry.blocks - free;
            bail!(
                "the ext4 file system needs {} MiB, and has {} MiB",
                mib(tables + needed),
                mib(self.geometry.blocks)
            );
        }
        Ok(())
    }

    fn place(&mut self, needs: &[Need]) -> Option<()> {
        let space = &mut self.space;
        for (placed, need) in self.placed.iter_mut().zip(needs) {
            let blocks = &mut placed.blocks;
            if need.attributes {
                blocks.attributes = Some(space.allocate_one()?);
            }
            blocks.data = space.allocate(need.data)?;
            let nodes = node_count(blocks.data.len(), self.geometry.block_len());
            for _ in 0..nodes {
                blocks.nodes.push(space.allocate_one()?);
            }
        }
        Some(())
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    let plain = !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
    ensure!(plain, "{:?} is no file name", String::from_utf8_lossy(name));
    Ok(())
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
