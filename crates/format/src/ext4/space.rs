//! Which blocks are used: a bitmap, and first-fit allocation in runs.

use super::format::EXTENT_BLOCKS_MAX;

/// Blocks next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block.
    pub(super) start: u64,
    /// How many, at most what one extent holds.
    pub(super) len: u64,
}

/// One bit a block, from block 0 on.
#[derive(Clone, Debug)]
pub(super) struct Space {
    words: Vec<u64>,
    blocks: u64,
    free: u64,
    /// No block below is free.
    low: u64,
}

impl Space {
    pub(super) fn new(blocks: u64) -> Self {
        Self {
            words: vec![0; blocks.div_ceil(64) as usize],
            blocks,
            free: blocks,
            low: 0,
        }
    }

    pub(super) fn free(&self) -> u64 {
        self.free
    }

    pub(super) fn is_used(&self, block: u64) -> bool {
        self.words[(block / 64) as usize] >> (block % 64) & 1 == 1
    }

    /// Takes blocks whose place is given.
    ///
    /// # Panics
    /// When one is taken already: places that are given are ours, and never overlap.
    pub(super) fn take(&mut self, start: u64, len: u64) {
        for block in start..start + len {
            assert!(!self.is_used(block), "block {block} is taken once");
            self.words[(block / 64) as usize] |= 1 << (block % 64);
        }
        self.free -= len;
    }

    /// `len` blocks in one piece, from `goal` on or anywhere.
    pub(super) fn allocate_together(&mut self, goal: u64, len: u64) -> Option<u64> {
        let start = self
            .find_together(goal, len)
            .or_else(|| self.find_together(0, len))?;
        self.take(start, len);
        Some(start)
    }

    fn find_together(&self, goal: u64, len: u64) -> Option<u64> {
        let mut start = goal;
        loop {
            start = self.next_free(start)?;
            let end = self.next_used(start, start + len);
            if end == start + len {
                return (end <= self.blocks).then_some(start);
            }
            start = end;
        }
    }

    /// The lowest free block.
    pub(super) fn allocate_one(&mut self) -> Option<u64> {
        self.allocate(1).map(|runs| runs[0].start)
    }

    /// The lowest free blocks, in as many pieces as need be; `None` when there are fewer.
    pub(super) fn allocate(&mut self, len: u64) -> Option<Vec<Run>> {
        if len > self.free {
            return None;
        }
        let mut runs = Vec::new();
        let mut left = len;
        while left > 0 {
            let start = self.next_free(self.low)?;
            let most = start + left.min(EXTENT_BLOCKS_MAX);
            let end = self.next_used(start, most.min(self.blocks));
            self.take(start, end - start);
            self.low = end;
            left -= end - start;
            runs.push(Run {
                start,
                len: end - start,
            });
        }
        Some(runs)
    }

    fn next_free(&self, mut block: u64) -> Option<u64> {
        while block < self.blocks {
            if block.is_multiple_of(64) && self.words[(block / 64) as usize] == u64::MAX {
                block += 64;
            } else if self.is_used(block) {
                block += 1;
            } else {
                return Some(block);
            }
        }
        None
    }

    /// The first used block from `block` on, or `end`; the space's end counts as used.
    fn next_used(&self, mut block: u64, end: u64) -> u64 {
        while block < end && block < self.blocks && !self.is_used(block) {
            block += 1;
        }
        block
    }

    /// Used blocks from `start` on.
    pub(super) fn count_used(&self, start: u64, len: u64) -> u64 {
        (start..start + len)
            .filter(|block| self.is_used(*block))
            .count() as u64
    }

    /// A group's bitmap in `bytes` bytes; bits past the group's end are set.
    pub(super) fn bitmap(&self, start: u64, len: u64, bytes: usize) -> Vec<u8> {
        let mut bitmap = vec![0xff; bytes];
        for block in (start..start + len).filter(|block| !self.is_used(*block)) {
            let bit = block - start;
            bitmap[(bit / 8) as usize] &= !(1 << (bit % 8));
        }
        bitmap
    }
}
