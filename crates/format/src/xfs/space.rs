//! Handing out the blocks of the groups: in each from the front to the back, never one back.

use super::extents::MAX_EXTENT_BLOCKS;
use super::geometry::{Block, Geometry};
use super::hashed::{Purpose, Run};

/// A group keeps one block of so many free, as long as another has room: the kernel reserves some
/// for its trees at mount, and complains where there are none.
pub(super) const HEADROOM: u64 = 50;

/// What is left of each group.
#[derive(Debug)]
pub(super) struct Space<'a> {
    geometry: &'a Geometry,
    rooms: Vec<Room>,
}

/// Blocks by their place in the group.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// The first that is free; all behind it are.
    next: u32,
    /// Where headroom begins.
    soft_end: u32,
    end: u32,
}

/// How far into a group blocks may be taken.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Soft,
    Hard,
}

impl Room {
    fn left(&self, limit: Limit) -> u64 {
        let end = match limit {
            Limit::Soft => self.soft_end,
            Limit::Hard => self.end,
        };
        end.saturating_sub(self.next).into()
    }
}

impl<'a> Space<'a> {
    /// Groups that are free from these places on.
    pub(super) fn new(geometry: &'a Geometry, firsts: &[u32]) -> Self {
        let rooms = firsts.iter().zip(0..).map(|(next, group)| {
            let end = geometry.len(group);
            let headroom = u64::from(end).div_ceil(HEADROOM) as u32;
            Room {
                next: *next,
                soft_end: end - headroom,
                end,
            }
        });
        Self {
            geometry,
            rooms: rooms.collect(),
        }
    }

    /// The first free block of a group.
    pub(super) fn next(&self, group: u32) -> u32 {
        self.rooms[group as usize].next
    }

    /// Takes blocks for these rows of a fork, in one piece if some group has room for it, first of
    /// all `group`; else in several. `None` if there are too few, or none of the needed size.
    pub(super) fn take(
        &mut self,
        group: u32,
        rows: &[(u64, u64)],
        purpose: Purpose,
        in_one_piece: bool,
        runs: &mut Vec<Run>,
    ) -> Option<()> {
        let mut wanted: u64 = rows.iter().map(|(_, count)| count).sum();
        let mut rows = Rows::new(rows, purpose);
        let count = self.rooms.len();
        let groups = || (0..count).map(|step| (group as usize + step) % count);
        for limit in [Limit::Soft, Limit::Hard] {
            if let Some(group) = groups().find(|g| self.rooms[*g].left(limit) >= wanted) {
                self.cut(group, wanted, &mut rows, runs);
                return Some(());
            }
            let left: u64 = self.rooms.iter().map(|room| room.left(limit)).sum();
            if in_one_piece || left < wanted {
                continue;
            }
            for group in groups() {
                let count = self.rooms[group].left(limit).min(wanted);
                self.cut(group, count, &mut rows, runs);
                wanted -= count;
            }
            return Some(());
        }
        None
    }

    fn cut(&mut self, group: usize, count: u64, rows: &mut Rows<'_>, runs: &mut Vec<Run>) {
        let room = &mut self.rooms[group];
        let start = self.geometry.block(group as u32, room.next);
        // At most what was left of the group.
        room.next += count as u32;
        rows.place(start, count, runs);
    }
}

/// Rows of a fork that blocks are being found for.
struct Rows<'r> {
    rows: &'r [(u64, u64)],
    /// How many blocks of the first row have their place.
    done: u64,
    purpose: Purpose,
}

impl<'r> Rows<'r> {
    fn new(rows: &'r [(u64, u64)], purpose: Purpose) -> Self {
        Self {
            rows,
            done: 0,
            purpose,
        }
    }

    /// Places the next `count` blocks at `start`.
    fn place(&mut self, mut start: Block, mut count: u64, runs: &mut Vec<Run>) {
        while count > 0 {
            let (at, len) = self.rows[0];
            let blocks = (len - self.done).min(count).min(MAX_EXTENT_BLOCKS.into());
            runs.push(Run {
                at: at + self.done,
                start,
                blocks: blocks as u32,
                purpose: self.purpose,
            });
            start = start.plus(blocks);
            count -= blocks;
            self.done += blocks;
            if self.done == len {
                self.rows = &self.rows[1..];
                self.done = 0;
            }
        }
    }
}
