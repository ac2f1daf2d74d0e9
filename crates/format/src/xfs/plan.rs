//! The plan: a number for every inode and blocks for every fork, all before the first write.
//!
//! Each group gets a share of the inodes by its size, in the order of paths, and their blocks with
//! them as far as it has room. Inodes come first in a group, in full chunks without gaps; data is
//! packed behind them, so all that is free lies at the end.

use anyhow::{Context, Result, ensure};

use super::attributes;
use super::census::{self, Census};
use super::extents;
use super::geometry::{self, BLOCK, CHUNK_BLOCKS, Geometry, INODES_PER_BLOCK};
use super::group::{Contents, inode_tree_levels};
use super::hashed::{Purpose, Run};
use super::shape::{Holes, Shape};
use super::space::{HEADROOM, Space};
use bake_tree::{InodeId, Node, Tree};

/// Inodes of XFS's own in the first group: bitmap and summary of the realtime section.
pub(super) const OWN_INODES: u32 = 2;
/// Longest label.
const MAX_LABEL_BYTES: usize = 12;

/// What an XFS file system is, apart from its tree.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size in bytes: a multiple of 4096, from 300 MiB to 16 TiB.
    pub size_bytes: u64,
    /// Sector size of the disk below in bytes: 512 or 4096.
    pub sector_size: u32,
    /// Allocation groups, at least 2; recent CoreOS has 2, mkfs.xfs makes 4.
    pub agcount: u32,
    /// Label, at most 12 bytes.
    pub label: String,
    /// The file system's UUID.
    pub uuid: [u8; 16],
}

/// Bytes of a file that lie in a row, counted in bytes; what no extent covers is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where they are in the file; a multiple of 4096.
    pub file_offset: u64,
    /// Where they are in the file system; a multiple of 4096.
    pub image_offset: u64,
    /// How many they are. Ends with the file, not with its last block, whose rest is zero.
    pub len: u64,
}

/// A planned file system.
#[derive(Debug)]
pub struct Layout<'a> {
    pub(super) tree: &'a Tree,
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) census: Census,
    /// By group: position in the census of its first inode; and one more for their end.
    cuts: Vec<usize>,
    pub(super) groups: Vec<Contents>,
    /// Of each inode in the order of the census: data, attributes, tree.
    runs: Vec<Run>,
    /// By position in the census: where its runs begin; and one more for their end.
    first_runs: Vec<u32>,
    pub(super) has_attributes: bool,
}

impl<'a> Layout<'a> {
    /// Lays out `tree`. An error tells what can't be stored, or which size would do.
    pub fn plan(tree: &'a Tree, options: &Options) -> Result<Self> {
        Self::plan_with_holes(tree, options, &|_| Holes::new())
    }

    /// The same where some ranges of files are known to be zero: blocks that lie wholly in one get
    /// no room, and are never read. Ranges are in bytes, in their order; one to the end of the file
    /// covers its last block.
    pub fn plan_with_holes(
        tree: &'a Tree,
        options: &Options,
        holes: &dyn Fn(InodeId) -> Holes,
    ) -> Result<Self> {
        let label = &options.label;
        ensure!(
            label.len() <= MAX_LABEL_BYTES && !label.contains('\0'),
            "the label {label:?} of an XFS file system has more than {MAX_LABEL_BYTES} bytes or a \
             zero byte"
        );
        let geometry = Geometry::new(options.size_bytes, options.sector_size, options.agcount)?;
        let census = Census::new(tree)?;
        let costs = costs(tree, &census, holes, geometry.has_wide_inodes())?;
        let too_small = || no_room(&costs, options);
        let cuts = share(&costs, &geometry);
        let groups = reserve_inodes(&cuts, &geometry).with_context(too_small)?;
        let mut layout = Self {
            tree,
            options: options.clone(),
            geometry,
            census,
            cuts,
            groups,
            runs: Vec::new(),
            first_runs: Vec::new(),
            has_attributes: false,
        };
        layout.place(holes, too_small)?;
        Ok(layout)
    }

    /// Size in bytes of a file system that holds `tree` and keeps 2 % of each group free, in whole
    /// MiB. Of the options, `size_bytes` doesn't count; holes are not looked for.
    pub fn minimum_bytes(tree: &Tree, options: &Options) -> Result<u64> {
        let census = Census::new(tree)?;
        let costs = costs(tree, &census, &|_| Holes::new(), true)?;
        smallest(&costs, options)
    }

    /// Where the contents of a regular file lie, in the order of the file; nothing for other inodes
    /// and for those without a name.
    pub fn extents(&self, id: InodeId) -> Vec<Extent> {
        let Node::File(content) = &self.tree.inode(id).node else {
            return Vec::new();
        };
        self.runs(id, Purpose::Data)
            .iter()
            .map(|run| {
                let file_offset = run.at * BLOCK;
                Extent {
                    file_offset,
                    image_offset: run.start.offset(),
                    len: (u64::from(run.blocks) * BLOCK).min(content.len() - file_offset),
                }
            })
            .collect()
    }

    /// Bytes of file contents that [`Layout::write`] copies and tells its progress about.
    pub fn content_bytes(&self) -> u64 {
        let extents = self.census.order.iter().flat_map(|id| self.extents(*id));
        extents.map(|extent| extent.len).sum()
    }

    /// The number of an inode that has a name.
    pub(super) fn number(&self, id: InodeId) -> u64 {
        let position = self
            .census
            .position(id)
            .expect("only named inodes are stored");
        let group = self.cuts.partition_point(|cut| *cut <= position) - 1;
        let mut slot = position - self.cuts[group];
        // The root is the first; then come those of XFS's own.
        if group == 0 && slot > 0 {
            slot += OWN_INODES as usize;
        }
        self.geometry.inode_number(group as u32, slot as u32)
    }

    /// The inodes of a group in the order of their numbers.
    pub(super) fn group_inodes(&self, group: u32) -> &[InodeId] {
        &self.census.order[self.cuts[group as usize]..self.cuts[group as usize + 1]]
    }

    /// Rows of blocks of an inode.
    pub(super) fn runs(&self, id: InodeId, purpose: Purpose) -> &[Run] {
        let Some(position) = self.census.position(id) else {
            return &[];
        };
        let all =
            &self.runs[self.first_runs[position] as usize..self.first_runs[position + 1] as usize];
        let start = all.partition_point(|run| run.purpose < purpose);
        let end = all.partition_point(|run| run.purpose <= purpose);
        &all[start..end]
    }

    /// Finds blocks for every inode.
    fn place(
        &mut self,
        holes: &dyn Fn(InodeId) -> Holes,
        too_small: impl Fn() -> String,
    ) -> Result<()> {
        let geometry = self.geometry;
        let wide = geometry.has_wide_inodes();
        let firsts: Vec<u32> = (0..geometry.groups)
            .zip(&self.groups)
            .map(|(group, contents)| first_free(group, contents, &geometry))
            .collect();
        let mut space = Space::new(&geometry, &firsts);
        let mut group = 0;
        for (position, id) in self.census.order.iter().enumerate() {
            while position >= self.cuts[group as usize + 1] {
                group += 1;
            }
            self.first_runs.push(u32::try_from(self.runs.len())?);
            let (shape, has_attributes) = shape(self.tree, *id, holes, wide)?;
            self.has_attributes |= has_attributes;
            ensure!(
                shape.attribute_blocks() <= u64::from(extents::MAX_EXTENT_BLOCKS),
                "the attributes of /{} take more than {} GiB",
                census::path(self.tree, *id),
                (u64::from(extents::MAX_EXTENT_BLOCKS) * BLOCK) >> 30
            );
            let runs = &mut self.runs;
            let before = runs.len();
            space
                .take(group, &shape.rows(), Purpose::Data, false, runs)
                .with_context(&too_small)?;
            let tree_levels = extents::tree_levels(runs.len() - before, shape.data_len());
            let attributes = (0, shape.attribute_blocks());
            let tree = (0, tree_levels.iter().sum::<usize>() as u64);
            for (row, purpose) in [(attributes, Purpose::Attributes), (tree, Purpose::Tree)] {
                if row.1 > 0 {
                    let in_one_piece = purpose == Purpose::Attributes;
                    space
                        .take(group, &[row], purpose, in_one_piece, runs)
                        .with_context(&too_small)?;
                }
            }
        }
        self.first_runs.push(u32::try_from(self.runs.len())?);
        for (group, contents) in (0..).zip(&mut self.groups) {
            let gap = geometry.first_usable(group)..geometry.first_chunk(group);
            let rest = space.next(group)..geometry.len(group);
            // Without inodes, what follows the gap is free as well.
            let gap = if contents.inodes > 0 { gap } else { 0..0 };
            contents.free = [gap, rest]
                .into_iter()
                .filter(|free| !free.is_empty())
                .map(|free| (free.start, free.end - free.start))
                .collect();
        }
        Ok(())
    }
}

/// The form of an inode, and whether it has attributes.
pub(super) fn shape(
    tree: &Tree,
    id: InodeId,
    holes: &dyn Fn(InodeId) -> Holes,
    wide: bool,
) -> Result<(Shape, bool)> {
    let make = || -> Result<_> {
        let attributes = attributes::from_tree(&tree.inode(id).meta.xattrs)?;
        let shape = Shape::new(tree, id, &attributes, holes, wide)?;
        Ok((shape, !attributes.is_empty()))
    };
    make().with_context(|| format!("laying out /{}", census::path(tree, id)))
}

/// What each inode takes, itself included, in eighths of a block; in the order of the census.
fn costs(
    tree: &Tree,
    census: &Census,
    holes: &dyn Fn(InodeId) -> Holes,
    wide: bool,
) -> Result<Vec<u64>> {
    let cost = |id: &InodeId| {
        let (shape, _) = shape(tree, *id, holes, wide)?;
        let rows = shape.rows();
        let data: u64 = rows.iter().map(|(_, count)| count).sum();
        let tree: usize = extents::tree_levels(rows.len(), shape.data_len())
            .iter()
            .sum();
        let blocks = data + tree as u64 + shape.attribute_blocks();
        Ok(blocks * u64::from(INODES_PER_BLOCK) + 1)
    };
    census.order.iter().map(cost).collect()
}

/// Shares the inodes out among the groups, by the room these have: the position of each group's
/// first, and their end.
fn share(costs: &[u64], geometry: &Geometry) -> Vec<usize> {
    let rooms: Vec<u64> = (0..geometry.groups)
        .map(|group| {
            let len = geometry.len(group);
            u64::from(len.saturating_sub(geometry.first_chunk(group)))
        })
        .collect();
    let all_room: u64 = rooms.iter().sum();
    let all_cost: u64 = costs.iter().sum();
    let mut cuts = vec![0];
    let (mut position, mut before, mut room) = (0, 0, 0);
    for group_room in rooms {
        room += group_room;
        // Whether the inode begins within the room up to here.
        while position < costs.len()
            && u128::from(before) * u128::from(all_room) < u128::from(room) * u128::from(all_cost)
        {
            before += costs[position];
            position += 1;
        }
        cuts.push(position);
    }
    cuts
}

/// Chunks of inodes and their tree in every group; `None` if one has no room for them.
fn reserve_inodes(cuts: &[usize], geometry: &Geometry) -> Option<Vec<Contents>> {
    let mut groups = Vec::with_capacity(cuts.len() - 1);
    for (group, cut) in (0..).zip(cuts.windows(2)) {
        let own = if group == 0 { OWN_INODES } else { 0 };
        let mut contents = Contents {
            inodes: u32::try_from(cut[1] - cut[0]).ok()?.checked_add(own)?,
            ..Contents::default()
        };
        let first = first_free(group, &contents, geometry);
        let levels = inode_tree_levels(contents.chunks());
        // The root has its place.
        let tree_blocks = levels.iter().sum::<usize>() as u32 - 1;
        contents.tree_blocks = (first..first + tree_blocks).collect();
        if first + tree_blocks > geometry.len(group) {
            return None;
        }
        groups.push(contents);
    }
    Some(groups)
}

/// The first place in a group behind its inodes and the blocks of their tree.
fn first_free(group: u32, contents: &Contents, geometry: &Geometry) -> u32 {
    match contents.chunks() {
        0 => geometry.first_usable(group),
        chunks => {
            let inodes = chunks.saturating_mul(CHUNK_BLOCKS);
            let tree = contents.tree_blocks.len() as u32;
            geometry.first_chunk(group).saturating_add(inodes) + tree
        }
    }
}

/// What to say of a file system that is too small.
fn no_room(costs: &[u64], options: &Options) -> String {
    let too_small = format!(
        "the tree doesn't fit into an XFS file system of {} MiB",
        options.size_bytes >> 20
    );
    match smallest(costs, options) {
        Ok(bytes) => format!("{too_small}: it takes {} MiB", bytes >> 20),
        Err(reason) => format!("{too_small}, and {reason}"),
    }
}

/// Bytes of a file system that the inodes fit into.
fn smallest(costs: &[u64], options: &Options) -> Result<u64> {
    // Blocks of the trees of inodes are at least half full, and hold a chunk of 64 in 16 bytes.
    let tree_blocks = (costs.len() as u64).div_ceil(64 * 120);
    let eighths: u64 = costs.iter().sum();
    let needed = eighths.div_ceil(INODES_PER_BLOCK.into()) + tree_blocks;
    geometry::smallest(needed, options.sector_size, options.agcount, HEADROOM)
}
