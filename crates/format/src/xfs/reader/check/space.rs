//! Every block belongs to one thing.

use std::fmt;

use super::Check;

/// A run of blocks that belongs to something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Block from the image's start.
    pub(super) start: u64,
    pub(super) count: u64,
    pub(super) what: What,
}

/// What blocks can belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Headers,
    /// A tree of an allocation group.
    Tree(&'static str),
    FreeList,
    Free,
    Log,
    Inodes,
    /// An inode's contents or attributes, and the trees they are in.
    Inode(u64),
    /// Contents of an inode that may share them.
    Shared(u64),
    /// Reserved for a copy of something shared.
    Staging,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headers => write!(f, "the group's headers"),
            Self::Tree(name) => write!(f, "the {name}"),
            Self::FreeList => write!(f, "the free list"),
            Self::Free => write!(f, "the free space"),
            Self::Log => write!(f, "the log"),
            Self::Inodes => write!(f, "an inode chunk"),
            Self::Inode(number) | Self::Shared(number) => write!(f, "inode {number}"),
            Self::Staging => write!(f, "a copy under way"),
        }
    }
}

impl Check<'_> {
    /// Compares all that is used or free with all there is.
    pub(super) fn space(&mut self) {
        let mut uses = std::mem::take(&mut self.uses);
        uses.sort_by_key(|one| (one.start, one.count));
        let group_blocks = u64::from(self.reader.facts.group_blocks);
        let mut end = 0;
        let mut last = What::Headers;
        for one in &uses {
            if one.start > end {
                self.leak(end, one.start);
            }
            if one.start < end {
                let group = usize::try_from(one.start / group_blocks).unwrap_or(usize::MAX);
                let shared = matches!((last, one.what), (What::Shared(_), What::Shared(_)))
                    && self.shares.get(group).copied().unwrap_or(false);
                self.faults.add_unless(shared, || {
                    format!(
                        "xfs block {} of group {group} belongs to {last} and to {}",
                        one.start % group_blocks,
                        one.what
                    )
                });
            }
            if one.start + one.count > end {
                end = one.start + one.count;
                last = one.what;
            }
        }
        let blocks = self.reader.superblock.blocks.get();
        if end < blocks {
            self.leak(end, blocks);
        }
    }

    fn leak(&mut self, start: u64, end: u64) {
        let group_blocks = u64::from(self.reader.facts.group_blocks);
        self.faults.add(format!(
            "{} xfs blocks from {} of group {} on belong to nothing",
            end - start,
            start % group_blocks,
            start / group_blocks
        ));
    }
}
