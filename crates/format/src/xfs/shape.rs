//! The form of each inode: what its two forks hold, and how they share the inode.

use anyhow::{Context, Result, ensure};

use super::attributes::{self, Attribute};
use super::directory::{self, Blocks};
use super::format::{InodeCore, timestamp};
use super::geometry::{BLOCK, INODE_LEN};
use bake_tree::{InodeId, Meta, NAME_MAX, Node, SYMLINK_TARGET_MAX, Tree};

/// Bytes of an inode that both forks share.
pub(super) const LITERAL_LEN: usize = INODE_LEN - size_of::<InodeCore>();
/// Where the attribute fork begins unless something speaks against it, in units of 8 bytes: where
/// the kernel puts it.
const USUAL_FORK_OFFSET: usize = 24;
/// Bounds of that place. With less, the data fork couldn't hold a tree of three extents, and the
/// kernel would damage the inode as it grows; with more, the attribute fork couldn't hold a tree.
const FORK_OFFSETS: std::ops::RangeInclusive<usize> = 7..=37;
/// Most bits of a device's minor number.
const MINOR_BITS: u32 = 18;
/// Most bits of a device's major number: the format has room for 14, but Linux looks at 9.
const MAJOR_BITS: u32 = 9;

/// What the data fork holds.
#[derive(Debug)]
pub(super) enum Data {
    Device(u32),
    /// Directory or symlink within the inode.
    Local,
    /// A directory's blocks.
    Directory(Blocks),
    /// A symlink's block.
    Target,
    /// A file's rows of blocks: first, count.
    File(Vec<(u64, u64)>),
}

/// What the attribute fork holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attributes {
    None,
    Local,
    /// So many blocks.
    Blocks(u64),
}

/// The form of an inode.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) data: Data,
    pub(super) attributes: Attributes,
    /// Where the attribute fork begins in the literal area, in units of 8 bytes; 0 without one.
    pub(super) fork_offset: u8,
}

/// Ranges of a file's bytes that are known to be zero, in their order; blocks that lie wholly in one
/// get no room.
pub type Holes = Vec<std::ops::Range<u64>>;

impl Shape {
    /// Chooses the form of inode `id` of `tree`. `wide` tells whether inode numbers may need 64
    /// bits.
    pub(super) fn new(
        tree: &Tree,
        id: InodeId,
        attributes: &[Attribute<'_>],
        holes: &dyn Fn(InodeId) -> Holes,
        wide: bool,
    ) -> Result<Self> {
        let inode = tree.inode(id);
        check_meta(&inode.meta)?;
        let short = match attributes {
            [] => Some(0),
            _ => attributes::short_len(attributes),
        };
        let local_len = match &inode.node {
            Node::CharDevice(major, minor) | Node::BlockDevice(major, minor) => {
                return Ok(Self::device(
                    device_number(*major, *minor)?,
                    short,
                    attributes,
                ));
            }
            Node::Fifo | Node::Socket => return Ok(Self::device(0, short, attributes)),
            Node::File(content) => {
                let data = Data::File(rows(content.len(), &holes(id)));
                return Ok(Self::new_with(None, short, attributes, || data));
            }
            Node::Directory(names) => {
                names.keys().try_for_each(|name| check_name(name))?;
                directory::short_len(names.keys().map(|name| &**name), wide)
            }
            Node::Symlink(target) => {
                check_target(target)?;
                target.len()
            }
        };
        Ok(Self::new_with(
            Some(local_len),
            short,
            attributes,
            || match &inode.node {
                Node::Directory(names) => {
                    Data::Directory(Blocks::new(names.keys().map(|name| &**name)))
                }
                _ => Data::Target,
            },
        ))
    }

    fn device(number: u32, short: Option<usize>, attributes: &[Attribute<'_>]) -> Self {
        // Nothing grows in the data fork, so the attributes get all else.
        let fits = short.is_some_and(|len| len <= LITERAL_LEN - 8);
        Self {
            data: Data::Device(number),
            fork_offset: u8::from(!attributes.is_empty()),
            attributes: attribute_form(attributes, fits),
        }
    }

    /// The form of an inode whose data has `local` bytes if it lies within, or can't; `short` is the
    /// length of its attributes' short form. `outside` is where the data goes otherwise.
    fn new_with(
        local: Option<usize>,
        short: Option<usize>,
        attributes: &[Attribute<'_>],
        outside: impl FnOnce() -> Data,
    ) -> Self {
        if attributes.is_empty() {
            return Self {
                data: match local.is_some_and(|len| len <= LITERAL_LEN) {
                    true => Data::Local,
                    false => outside(),
                },
                attributes: Attributes::None,
                fork_offset: 0,
            };
        }
        // In the order of preference: all within, data outside, attributes outside, all outside.
        let choices = [(local, short), (None, short), (local, None), (None, None)];
        for (local, short) in choices {
            let Some(offset) = fork_offset(local.unwrap_or(0), short.unwrap_or(0)) else {
                continue;
            };
            return Self {
                data: match local {
                    Some(_) => Data::Local,
                    None => outside(),
                },
                attributes: attribute_form(attributes, short.is_some()),
                fork_offset: offset as u8,
            };
        }
        unreachable!("forks that hold nothing fit")
    }

    /// Bytes of the data fork.
    pub(super) fn data_len(&self) -> usize {
        match self.fork_offset {
            0 => LITERAL_LEN,
            offset => usize::from(offset) * 8,
        }
    }

    /// Bytes of the attribute fork.
    pub(super) fn attribute_len(&self) -> usize {
        LITERAL_LEN - self.data_len()
    }

    /// Rows of blocks that the data fork needs, apart from a tree of extents.
    pub(super) fn rows(&self) -> Vec<(u64, u64)> {
        match &self.data {
            Data::Device(_) | Data::Local => Vec::new(),
            Data::Directory(blocks) => blocks.ranges(),
            Data::Target => vec![(0, 1)],
            Data::File(rows) => rows.clone(),
        }
    }

    /// Blocks of the attribute fork.
    pub(super) fn attribute_blocks(&self) -> u64 {
        match self.attributes {
            Attributes::Blocks(count) => count,
            Attributes::None | Attributes::Local => 0,
        }
    }
}

fn attribute_form(attributes: &[Attribute<'_>], fits: bool) -> Attributes {
    match (attributes, fits) {
        ([], _) => Attributes::None,
        (_, true) => Attributes::Local,
        _ => Attributes::Blocks(attributes::Blocks::new(attributes).count()),
    }
}

/// The place between forks of these lengths nearest to the usual one.
fn fork_offset(data: usize, attributes: usize) -> Option<usize> {
    let least = data.div_ceil(8).max(*FORK_OFFSETS.start());
    let most = (LITERAL_LEN.checked_sub(attributes)? / 8).min(*FORK_OFFSETS.end());
    (least <= most).then(|| USUAL_FORK_OFFSET.clamp(least, most))
}

/// The rows of blocks of a file of `len` bytes that do not lie wholly in holes.
fn rows(len: u64, holes: &Holes) -> Vec<(u64, u64)> {
    let blocks = len.div_ceil(BLOCK);
    let mut rows = Vec::new();
    let mut at = 0;
    for hole in holes {
        let start = hole.start.div_ceil(BLOCK).max(at);
        let end = match hole.end >= len {
            true => blocks,
            false => hole.end / BLOCK,
        };
        if start >= end {
            continue;
        }
        if start > at {
            rows.push((at, start - at));
        }
        at = end;
    }
    if at < blocks {
        rows.push((at, blocks - at));
    }
    rows
}

fn check_meta(meta: &Meta) -> Result<()> {
    timestamp(meta.mtime).with_context(|| {
        format!(
            "storing its time, {} seconds after 1970: XFS has those from 1901 to 2486",
            meta.mtime
        )
    })?;
    Ok(())
}

fn check_name(name: &[u8]) -> Result<()> {
    let shown = || name.escape_ascii();
    ensure!(
        name.len() <= NAME_MAX,
        "the name {:?} has {} bytes, and {NAME_MAX} are the most",
        shown().to_string(),
        name.len()
    );
    ensure!(
        !name.is_empty()
            && name != b"."
            && name != b".."
            && !name.iter().any(|b| b"/\0".contains(b)),
        "{:?} can't be a file name",
        shown().to_string()
    );
    Ok(())
}

fn check_target(target: &[u8]) -> Result<()> {
    ensure!(
        target.len() <= SYMLINK_TARGET_MAX,
        "its target has {} bytes, and XFS takes {SYMLINK_TARGET_MAX}",
        target.len()
    );
    ensure!(
        !target.is_empty() && !target.contains(&0),
        "its target {:?} is empty or holds a zero byte",
        target.escape_ascii().to_string()
    );
    Ok(())
}

fn device_number(major: u32, minor: u32) -> Result<u32> {
    ensure!(
        major < 1 << MAJOR_BITS && minor < 1 << MINOR_BITS,
        "its device number {major}:{minor} is too large for XFS"
    );
    Ok(major << MINOR_BITS | minor)
}
