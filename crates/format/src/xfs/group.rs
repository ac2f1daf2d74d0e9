//! Headers and btrees of an allocation group.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::crc::seal;
use super::format::{
    ChunkRecord, FREE_LIST_CRC, FREE_SPACE_CRC, FreeListHeader, FreeRecord, FreeSpaceHeader,
    GROUP_TREE_CRC, GroupTreeHeader, INODE_HEADER_CRC, InodeHeader, MAGIC_BY_PLACE, MAGIC_BY_SIZE,
    MAGIC_FREE_INODES, MAGIC_INODES, MAGIC_REFERENCES, NULL,
};
use super::geometry::{
    BLOCK_LEN, CHUNK_BLOCKS, CHUNK_INODES, FREE_LIST_BLOCKS, Geometry, INODES_PER_BLOCK,
};
use super::hashed::{fill, part, parts};

/// Inode records of a leaf.
const LEAF_CHUNKS: usize = (BLOCK_LEN - size_of::<GroupTreeHeader>()) / size_of::<ChunkRecord>();
/// Keys with pointers of a node in the trees of inodes.
const NODE_CHUNKS: usize = (BLOCK_LEN - size_of::<GroupTreeHeader>()) / (2 * size_of::<U32>());
/// Places of the roots, see [`Geometry::root`].
const ROOT_BY_PLACE: u32 = 0;
const ROOT_BY_SIZE: u32 = 1;
const ROOT_INODES: u32 = 2;
const ROOT_FREE_INODES: u32 = 3;
const ROOT_REFERENCES: u32 = 4;

/// What is in a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// Inodes in use; they take the first slots.
    pub(super) inodes: u32,
    /// Blocks of the tree of inodes beside its root, lowest level first.
    pub(super) tree_blocks: Vec<u32>,
    /// Free blocks in rows: start, count.
    pub(super) free: Vec<(u32, u32)>,
}

impl Contents {
    /// Chunks of inodes, used to the last but one.
    pub(super) fn chunks(&self) -> u32 {
        self.inodes.div_ceil(CHUNK_INODES)
    }

    /// Slots that no inode uses.
    pub(super) fn free_inodes(&self) -> u32 {
        self.chunks() * CHUNK_INODES - self.inodes
    }

    /// Free blocks, without those on the free list.
    pub(super) fn free_blocks(&self) -> u32 {
        self.free.iter().map(|(_, count)| count).sum()
    }
}

/// Blocks of each level of a group's tree of inodes, the leaves first, the root last.
pub(super) fn inode_tree_levels(chunks: u32) -> Vec<usize> {
    let mut levels = vec![parts(chunks as usize, LEAF_CHUNKS).max(1)];
    while levels[levels.len() - 1] > 1 {
        levels.push(parts(levels[levels.len() - 1], NODE_CHUNKS));
    }
    levels
}

/// A group with what marks its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) uuid: [u8; 16],
    pub(super) number: u32,
    pub(super) contents: &'a Contents,
}

impl Group<'_> {
    /// The group's first blocks: three header sectors behind room for the superblock, and the roots.
    pub(super) fn head(&self) -> Vec<u8> {
        let geometry = self.geometry;
        let sector = geometry.sector_bytes as usize;
        let mut bytes = vec![0; geometry.root(0) as usize * BLOCK_LEN];
        for (index, header) in [self.free_space(), self.inodes(), self.free_list()]
            .into_iter()
            .enumerate()
        {
            bytes[(index + 1) * sector..][..sector].copy_from_slice(&header);
        }
        let by_place = self.free_records();
        let mut by_size = by_place.clone();
        by_size.sort_by_key(|record| (record.blocks.get(), record.start.get()));
        let trees = [
            self.leaf(MAGIC_BY_PLACE, ROOT_BY_PLACE, &by_place),
            self.leaf(MAGIC_BY_SIZE, ROOT_BY_SIZE, &by_size),
            self.inode_tree().pop().expect("a tree has a root").1,
            self.leaf(MAGIC_FREE_INODES, ROOT_FREE_INODES, &self.free_chunk()),
            self.leaf::<ChunkRecord>(MAGIC_REFERENCES, ROOT_REFERENCES, &[]),
        ];
        trees.iter().for_each(|tree| bytes.extend_from_slice(tree));
        bytes
    }

    /// Blocks of the tree of inodes with their places in the group, lowest level first, the root
    /// last.
    pub(super) fn inode_tree(&self) -> Vec<(u32, Vec<u8>)> {
        let records = self.chunk_records();
        let levels = inode_tree_levels(self.contents.chunks());
        let root = self.geometry.root(ROOT_INODES);
        let mut places = self.contents.tree_blocks.iter().copied().chain([root]);
        let mut blocks = Vec::new();
        let mut below: Vec<(U32, U32)> = Vec::new();
        for (level, count) in levels.iter().enumerate() {
            let here: Vec<u32> = places.by_ref().take(*count).collect();
            let mut above = Vec::new();
            for (index, place) in here.iter().enumerate() {
                let mut header = self.tree_header(MAGIC_INODES, *place);
                header.level = U16::new(level as u16);
                header.left = index.checked_sub(1).map_or(NULL, |left| here[left]).into();
                header.right = here.get(index + 1).copied().unwrap_or(NULL).into();
                let mut bytes = vec![0; BLOCK_LEN];
                let first;
                if level == 0 {
                    let range = part(records.len(), *count, index);
                    header.records = U16::new(range.len() as u16);
                    first = records
                        .get(range.start)
                        .map_or(U32::ZERO, |record| record.first);
                    fill(&mut bytes, header.as_bytes(), records[range].as_bytes());
                } else {
                    let range = part(below.len(), *count, index);
                    header.records = U16::new(range.len() as u16);
                    first = below[range.start].0;
                    let (keys, pointers): (Vec<U32>, Vec<U32>) =
                        below[range].iter().copied().unzip();
                    fill(&mut bytes, header.as_bytes(), keys.as_bytes());
                    let at = size_of::<GroupTreeHeader>() + NODE_CHUNKS * size_of::<U32>();
                    fill(&mut bytes[at..], &[], pointers.as_bytes());
                }
                seal(&mut bytes, GROUP_TREE_CRC);
                above.push((first, U32::new(*place)));
                blocks.push((*place, bytes));
            }
            below = above;
        }
        blocks
    }

    /// Number within the group of the first inode of chunk `index`.
    fn chunk_start(&self, index: u32) -> u32 {
        (self.geometry.first_chunk(self.number) + index * CHUNK_BLOCKS) * INODES_PER_BLOCK
    }

    fn chunk_records(&self) -> Vec<ChunkRecord> {
        let chunks = self.contents.chunks();
        let free = self.contents.free_inodes();
        (0..chunks)
            .map(|index| {
                // Only the last chunk has free slots, and fewer than all.
                let free = if index + 1 == chunks { free } else { 0 };
                let mut record = ChunkRecord::new_zeroed();
                record.first = self.chunk_start(index).into();
                record.count = CHUNK_INODES as u8;
                record.free_count = free as u8;
                record.free = match free {
                    0 => 0.into(),
                    _ => (u64::MAX << (CHUNK_INODES - free)).into(),
                };
                record
            })
            .collect()
    }

    /// The chunk that has free slots.
    fn free_chunk(&self) -> Vec<ChunkRecord> {
        self.chunk_records()
            .into_iter()
            .filter(|record| record.free_count > 0)
            .collect()
    }

    fn free_records(&self) -> Vec<FreeRecord> {
        let record = |(start, blocks): &(u32, u32)| FreeRecord {
            start: (*start).into(),
            blocks: (*blocks).into(),
        };
        self.contents.free.iter().map(record).collect()
    }

    fn tree_header(&self, magic: [u8; 4], place: u32) -> GroupTreeHeader {
        let mut header = GroupTreeHeader::new_zeroed();
        header.magic = magic;
        header.left = NULL.into();
        header.right = NULL.into();
        header.daddr = self.geometry.block(self.number, place).daddr().into();
        header.uuid = self.uuid;
        header.group = self.number.into();
        header
    }

    /// A tree that is nothing but a root with these records.
    fn leaf<R: IntoBytes + Immutable>(&self, magic: [u8; 4], root: u32, records: &[R]) -> Vec<u8> {
        let mut header = self.tree_header(magic, self.geometry.root(root));
        header.records = U16::new(records.len() as u16);
        let mut bytes = vec![0; BLOCK_LEN];
        fill(&mut bytes, header.as_bytes(), records.as_bytes());
        seal(&mut bytes, GROUP_TREE_CRC);
        bytes
    }

    fn sector(&self, header: &[u8], body: &[u8], crc: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.geometry.sector_bytes as usize];
        fill(&mut bytes, header, body);
        seal(&mut bytes, crc);
        bytes
    }

    fn free_space(&self) -> Vec<u8> {
        let geometry = self.geometry;
        let longest = self.contents.free.iter().map(|(_, count)| *count).max();
        let mut header = FreeSpaceHeader::new_zeroed();
        header.magic = *b"XAGF";
        header.version = U32::new(1);
        header.group = self.number.into();
        header.blocks = geometry.len(self.number).into();
        header.roots[0] = geometry.root(ROOT_BY_PLACE).into();
        header.roots[1] = geometry.root(ROOT_BY_SIZE).into();
        header.levels[0] = U32::new(1);
        header.levels[1] = U32::new(1);
        header.list_first = U32::new(1);
        header.list_last = FREE_LIST_BLOCKS.into();
        header.list_count = FREE_LIST_BLOCKS.into();
        header.free_blocks = self.contents.free_blocks().into();
        header.longest = longest.unwrap_or(0).into();
        header.uuid = self.uuid;
        header.reference_blocks = U32::new(1);
        header.reference_root = geometry.root(ROOT_REFERENCES).into();
        header.reference_levels = U32::new(1);
        self.sector(header.as_bytes(), &[], FREE_SPACE_CRC)
    }

    fn inodes(&self) -> Vec<u8> {
        let geometry = self.geometry;
        let chunks = self.contents.chunks();
        let levels = inode_tree_levels(chunks);
        let mut header = InodeHeader::new_zeroed();
        header.magic = *b"XAGI";
        header.version = U32::new(1);
        header.group = self.number.into();
        header.blocks = geometry.len(self.number).into();
        header.inodes = (chunks * CHUNK_INODES).into();
        header.root = geometry.root(ROOT_INODES).into();
        header.levels = U32::new(levels.len() as u32);
        header.free = self.contents.free_inodes().into();
        header.newest = match chunks {
            0 => NULL,
            _ => self.chunk_start(chunks - 1),
        }
        .into();
        header.directory = NULL.into();
        header.unlinked = [NULL.into(); 64];
        header.uuid = self.uuid;
        header.free_root = geometry.root(ROOT_FREE_INODES).into();
        header.free_levels = U32::new(1);
        header.tree_blocks = U32::new(levels.iter().sum::<usize>() as u32);
        header.free_tree_blocks = U32::new(1);
        self.sector(header.as_bytes(), &[], INODE_HEADER_CRC)
    }

    fn free_list(&self) -> Vec<u8> {
        let mut header = FreeListHeader::new_zeroed();
        header.magic = *b"XAFL";
        header.group = self.number.into();
        header.uuid = self.uuid;
        let slots = (self.geometry.sector_bytes as usize - size_of::<FreeListHeader>()) / 4;
        let mut list = vec![U32::new(NULL); slots];
        // As mkfs.xfs does: the list begins at slot 1.
        let first = self.geometry.free_list(self.number);
        for index in 0..FREE_LIST_BLOCKS {
            list[index as usize + 1] = U32::new(first + index);
        }
        self.sector(header.as_bytes(), list.as_bytes(), FREE_LIST_CRC)
    }
}
