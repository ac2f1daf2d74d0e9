//! One of the two trees: names, directories and path tables as bytes.

use zerocopy::byteorder::{BigEndian, ByteOrder, LittleEndian, U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::format::{
    Both16, Both32, FLAG_DIRECTORY, PathHead, RECORD_HEAD, RecordHead, SECTOR, ShortDate,
};
use super::paths::{Node, Paths};
use super::{names, rock_ridge};

/// Identifier of a directory's record of itself, and of the root everywhere.
const SELF: &[u8] = &[0];
/// Identifier of a directory's record of its parent.
const PARENT: &[u8] = &[1];

/// Where something lies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Extent {
    /// First sector.
    pub(super) sector: u32,
    /// Length in bytes.
    pub(super) bytes: u32,
}

impl Extent {
    /// First byte.
    pub(super) fn offset(self) -> u64 {
        u64::from(self.sector) * SECTOR
    }

    /// The sector after the last one.
    pub(super) fn end(self) -> u64 {
        u64::from(self.sector) + u64::from(self.bytes).div_ceil(SECTOR)
    }
}

/// Where directories and files lie, by their position in [`Paths`], and where the boot catalog
/// lies; what is missing has no place yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'p> {
    pub(super) directories: &'p [Extent],
    pub(super) files: &'p [Extent],
    pub(super) catalog: Extent,
}

impl Places<'_> {
    fn of(&self, node: Node) -> Extent {
        let place = match node {
            Node::Directory(id) => self.directories.get(id),
            Node::File(id) => self.files.get(id),
            Node::Catalog => Some(&self.catalog),
        };
        place.copied().unwrap_or_default()
    }
}

/// Which of the trees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Level 1 names with Rock Ridge.
    Primary,
    /// Names in UCS-2.
    Joliet,
}

/// A tree with its names.
#[derive(Debug)]
pub(super) struct Hierarchy<'a> {
    kind: Kind,
    paths: &'a Paths<'a>,
    date: ShortDate,
    /// Identifier, name and node, by directory, in the order of their records.
    records: Vec<Vec<(Vec<u8>, &'a str, Node)>>,
    /// Identifier and id of directories in the order of the path table: by level, then by parent,
    /// then by identifier.
    table: Vec<(Vec<u8>, usize)>,
    /// Position in the path table, from 1, by directory.
    numbers: Vec<u16>,
}

impl<'a> Hierarchy<'a> {
    /// Names the tree; all dates are `date`. More than 65535 directories are too many for a path
    /// table: `None`.
    pub(super) fn new(kind: Kind, paths: &'a Paths<'a>, date: ShortDate) -> Option<Self> {
        let records: Vec<Vec<_>> = paths
            .directories
            .iter()
            .map(|directory| {
                named(
                    kind,
                    &directory
                        .entries
                        .iter()
                        .map(|(n, id)| (*n, *id))
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        let mut table = vec![(SELF.to_vec(), 0)];
        let mut numbers = vec![0; paths.directories.len()];
        let mut at = 0;
        // Parents are taken in order, and their directories are in order, so all are.
        while let Some((_, id)) = table.get(at) {
            numbers[*id] = u16::try_from(at + 1).ok()?;
            let below = records[*id]
                .iter()
                .filter_map(|(identifier, _, node)| match node {
                    Node::Directory(child) => Some((identifier.clone(), *child)),
                    Node::File(_) | Node::Catalog => None,
                });
            table.extend(below.collect::<Vec<_>>());
            at += 1;
        }
        Some(Self {
            kind,
            paths,
            date,
            records,
            table,
            numbers,
        })
    }

    /// Number of directories.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Ids of the directories in the order in which they are laid out.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        self.table.iter().map(|(_, id)| *id)
    }

    /// The records of a directory, in whole sectors. Places don't change the length.
    pub(super) fn directory(&self, id: usize, places: Places<'_>) -> Vec<u8> {
        let parent = self.paths.directories[id].parent;
        let is_primary = self.kind == Kind::Primary;
        let rock_ridge = |entries: &dyn Fn() -> Vec<u8>| match is_primary {
            true => entries(),
            false => Vec::new(),
        };
        let mut bytes = Vec::new();
        let mut add = |identifier: &[u8], node: Node, entries: &dyn Fn() -> Vec<u8>| {
            let record = self.record(identifier, node, places, &rock_ridge(entries));
            let left = SECTOR as usize - bytes.len() % SECTOR as usize;
            if record.len() > left {
                bytes.resize(bytes.len() + left, 0);
            }
            bytes.extend_from_slice(&record);
        };
        let links = |id| self.paths.links(id);
        add(SELF, Node::Directory(id), &|| match id {
            0 => rock_ridge::root(links(id), self.date),
            _ => rock_ridge::dots(links(id), self.date),
        });
        add(PARENT, Node::Directory(parent), &|| {
            rock_ridge::dots(links(parent), self.date)
        });
        for (identifier, name, node) in &self.records[id] {
            add(identifier, *node, &|| match node {
                Node::Directory(child) => rock_ridge::directory(name, links(*child), self.date),
                Node::File(_) | Node::Catalog => rock_ridge::file(name, self.date),
            });
        }
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        bytes
    }

    /// The root's record for the volume descriptor.
    pub(super) fn root(&self, places: Places<'_>) -> RecordHead {
        self.head(SELF, Node::Directory(0), places, RECORD_HEAD + SELF.len())
    }

    fn record(
        &self,
        identifier: &[u8],
        node: Node,
        places: Places<'_>,
        system_use: &[u8],
    ) -> Vec<u8> {
        let mut length = RECORD_HEAD + identifier.len();
        length = length.next_multiple_of(2) + system_use.len();
        length = length.next_multiple_of(2);
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(self.head(identifier, node, places, length).as_bytes());
        bytes.extend_from_slice(identifier);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes.extend_from_slice(system_use);
        bytes.resize(length, 0);
        bytes
    }

    fn head(&self, identifier: &[u8], node: Node, places: Places<'_>, length: usize) -> RecordHead {
        let extent = places.of(node);
        let byte = |n: usize| u8::try_from(n).expect("names were checked to fit into a record");
        RecordHead {
            length: byte(length),
            sector: Both32::new(extent.sector),
            bytes: Both32::new(extent.bytes),
            date: self.date,
            flags: match node {
                Node::Directory(_) => FLAG_DIRECTORY,
                Node::File(_) | Node::Catalog => 0,
            },
            volume: Both16::new(1),
            identifier_length: byte(identifier.len()),
            ..RecordHead::new_zeroed()
        }
    }

    /// The path table for machines that count from the little end.
    pub(super) fn path_table_l(&self, places: Places<'_>) -> Vec<u8> {
        self.path_table::<LittleEndian>(places)
    }

    /// The path table for machines that count from the big end.
    pub(super) fn path_table_m(&self, places: Places<'_>) -> Vec<u8> {
        self.path_table::<BigEndian>(places)
    }

    fn path_table<O: ByteOrder>(&self, places: Places<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (identifier, id) in &self.table {
            let parent = self.paths.directories[*id].parent;
            let head = PathHead::<U32<O>, U16<O>> {
                identifier_length: u8::try_from(identifier.len())
                    .expect("names were checked to fit into a record"),
                attribute_sectors: 0,
                sector: places.of(Node::Directory(*id)).sector.into(),
                parent: self.numbers[parent].into(),
            };
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(identifier);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
        }
        bytes
    }
}

/// Identifiers for the entries of a directory, sorted by them.
fn named<'a>(kind: Kind, entries: &[(&'a str, Node)]) -> Vec<(Vec<u8>, &'a str, Node)> {
    let list: Vec<(&str, bool)> = entries
        .iter()
        .map(|(name, node)| (*name, matches!(node, Node::Directory(_))))
        .collect();
    let identifiers = match kind {
        Kind::Primary => names::level_1(&list),
        Kind::Joliet => names::joliet(&list),
    };
    let mut records: Vec<_> = identifiers
        .into_iter()
        .zip(entries)
        .map(|(identifier, (name, node))| (identifier, *name, *node))
        .collect();
    records
        .sort_by_cached_key(|(identifier, ..)| names::sort_key(identifier, kind == Kind::Joliet));
    records
}
