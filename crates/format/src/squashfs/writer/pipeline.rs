//! Blocks and fragments: read and compressed by threads, written in the plan's order.
//!
//! Threads take jobs in order, each at most [`BATCH`] bytes of content, and put the results where
//! the writing thread picks them up, again in order. Nobody starts a job that is too far ahead of
//! the writing, which bounds the memory.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use zerocopy::little_endian::{U32, U64};

use super::plan::{Plan, PlannedFile, Unit};
use super::{Options, Sink};
use crate::squashfs::compress::{Encoder, Form};
use crate::squashfs::format::{DATA_RAW, Fragment};
use crate::squashfs::remembered::Remembered;

/// Content bytes that a job has at most, if its blocks are smaller: enough that taking and handing
/// over jobs costs nothing in comparison.
const BATCH: u64 = 256 << 10;
/// Jobs per thread that may be finished and not yet written; some slack for slow blocks.
const AHEAD: u64 = 4;

/// Where blocks ended up.
#[derive(Default)]
pub(super) struct Stored {
    /// By the file's index; meaningless for those that equal an earlier one.
    pub(super) files: Vec<StoredFile>,
    /// Size words of all blocks.
    pub(super) words: Vec<U32>,
    pub(super) fragments: Vec<Fragment>,
}

/// Where a file's blocks ended up.
#[derive(Clone, Copy, Default)]
pub(super) struct StoredFile {
    /// From the image's start.
    pub(super) start: u64,
    /// Index of its first size word.
    pub(super) first_word: usize,
    /// Bytes in blocks that are all zeros.
    pub(super) hole_bytes: u64,
}

/// Compresses and writes all units of the plan.
pub(super) fn run(
    plan: &Plan<'_>,
    options: &Options,
    sink: &mut Sink<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Stored> {
    let line = Line {
        plan,
        options,
        progress,
        state: Mutex::new(State::new(plan, options.threads)),
        room: Condvar::new(),
        finished: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads.get() {
            scope.spawn(|| {
                let _release = Release {
                    line: &line,
                    only_on_panic: true,
                };
                line.work();
            });
        }
        let _release = Release {
            line: &line,
            only_on_panic: false,
        };
        line.write(sink)
    })
}

/// Part of a unit.
#[derive(Clone, Copy)]
enum Job {
    /// Blocks of a file: its index, the first one, how many.
    Blocks(usize, u64, u64),
    /// A fragment.
    Fragment(usize),
}

/// A finished job.
#[derive(Default)]
struct Packed {
    bytes: Vec<u8>,
    /// Size words of the blocks in `bytes`.
    words: Vec<u32>,
    /// Content bytes that became holes.
    hole_bytes: u64,
}

struct Line<'a> {
    plan: &'a Plan<'a>,
    options: &'a Options,
    progress: &'a (dyn Fn(u64) + Sync),
    state: Mutex<State<'a>>,
    /// There may be a job to take, or it is time to stop.
    room: Condvar,
    /// The next job to write may be finished, or it is time to stop.
    finished: Condvar,
}

struct State<'a> {
    jobs: Jobs<'a>,
    taken: u64,
    written: u64,
    /// How far `taken` may be ahead of `written`.
    ahead: u64,
    results: BTreeMap<u64, (Job, Result<Packed>)>,
    /// Buffers to use again.
    spare: Vec<Packed>,
    stop: bool,
}

impl<'a> State<'a> {
    fn new(plan: &'a Plan<'a>, threads: NonZeroUsize) -> Self {
        Self {
            jobs: Jobs {
                plan,
                next: 0,
                done_blocks: 0,
            },
            taken: 0,
            written: 0,
            ahead: AHEAD * threads.get() as u64,
            results: BTreeMap::new(),
            spare: Vec::new(),
            stop: false,
        }
    }
}

/// Cuts units into jobs as they are asked for.
struct Jobs<'a> {
    plan: &'a Plan<'a>,
    /// Unit to go on with.
    next: usize,
    /// Blocks of it that jobs were made of.
    done_blocks: u64,
}

impl Jobs<'_> {
    fn is_done(&self) -> bool {
        self.next == self.plan.units.len()
    }
}

impl Iterator for Jobs<'_> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        let unit = *self.plan.units.get(self.next)?;
        let file = match unit {
            Unit::Fragment(fragment) => {
                self.next += 1;
                return Some(Job::Fragment(fragment));
            }
            Unit::File(file) => file,
        };
        let blocks = self.plan.files[file].blocks;
        let first = self.done_blocks;
        let batch = (BATCH / u64::from(self.plan.block_size)).max(1);
        let count = batch.min(blocks - first);
        self.done_blocks += count;
        if self.done_blocks == blocks {
            self.next += 1;
            self.done_blocks = 0;
        }
        Some(Job::Blocks(file, first, count))
    }
}

impl<'a> Line<'a> {
    fn state(&self) -> MutexGuard<'_, State<'a>> {
        // A thread that panics under the lock is seen through `stop`, not here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.state().stop = true;
        self.room.notify_all();
        self.finished.notify_all();
    }

    /// What every compressing thread does.
    fn work(&self) {
        let mut worker = Worker::new(self);
        while let Some((number, job, mut packed)) = self.take() {
            let result = match &mut worker {
                Ok(worker) => worker.pack(job, &mut packed).map(|()| packed),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            let mut state = self.state();
            state.results.insert(number, (job, result));
            if number == state.written {
                self.finished.notify_one();
            }
        }
    }

    /// The next job with its number and a buffer, once there is room for its result.
    fn take(&self) -> Option<(u64, Job, Packed)> {
        let mut state = self.state();
        while !state.stop && state.taken >= state.written + state.ahead {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.stop {
            return None;
        }
        let job = state.jobs.next()?;
        let number = state.taken;
        state.taken += 1;
        Some((number, job, state.spare.pop().unwrap_or_default()))
    }

    /// The result of the job with this number, or `None` if there is no such job.
    fn result(&self, number: u64) -> Result<Option<(Job, Packed)>> {
        let mut state = self.state();
        loop {
            if let Some((job, result)) = state.results.remove(&number) {
                return Ok(Some((job, result?)));
            }
            if state.stop {
                bail!("a compressing thread ended before its work did");
            }
            if number == state.taken && state.jobs.is_done() {
                return Ok(None);
            }
            state = self
                .finished
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What the writing thread does: results in order, into the image.
    fn write(&self, sink: &mut Sink<'_>) -> Result<Stored> {
        let mut stored = Stored {
            files: vec![StoredFile::default(); self.plan.files.len()],
            ..Stored::default()
        };
        for number in 0.. {
            let Some((job, mut packed)) = self.result(number)? else {
                break;
            };
            stored.note(job, &packed, sink.position)?;
            sink.write(&packed.bytes)?;
            packed.bytes.clear();
            packed.words.clear();
            packed.hole_bytes = 0;
            let mut state = self.state();
            state.written += 1;
            state.spare.push(packed);
            drop(state);
            self.room.notify_one();
        }
        Ok(stored)
    }
}

impl Stored {
    fn note(&mut self, job: Job, packed: &Packed, position: u64) -> Result<()> {
        match job {
            Job::Fragment(_) => self.fragments.push(Fragment {
                start: U64::new(position),
                size: U32::new(*packed.words.first().context("a fragment is one block")?),
                unused: U32::new(0),
            }),
            Job::Blocks(file, first, _) => {
                let file = &mut self.files[file];
                if first == 0 {
                    file.start = position;
                    file.first_word = self.words.len();
                }
                file.hole_bytes += packed.hole_bytes;
                self.words
                    .extend(packed.words.iter().copied().map(U32::new));
            }
        }
        Ok(())
    }
}

/// A compressing thread's own memory.
struct Worker<'a> {
    plan: &'a Plan<'a>,
    progress: &'a (dyn Fn(u64) + Sync),
    encoder: Encoder,
    remembered: Option<Remembered>,
    /// One block, uncompressed.
    block: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(line: &Line<'a>) -> Result<Self> {
        let Options {
            compressor,
            block_size,
            ref cache,
            ..
        } = *line.options;
        Ok(Self {
            plan: line.plan,
            progress: line.progress,
            encoder: Encoder::new(compressor, block_size)?,
            remembered: cache
                .clone()
                .filter(|_| compressor.is_slow())
                .map(|cache| Remembered::new(cache, compressor, block_size)),
            block: vec![0; usize::try_from(block_size)?],
        })
    }

    /// Does one job into `packed`, which is empty.
    fn pack(&mut self, job: Job, packed: &mut Packed) -> Result<()> {
        let done = match job {
            Job::Fragment(fragment) => self.pack_fragment(fragment, packed)?,
            Job::Blocks(file, first, count) => {
                let mut done = 0;
                for block in first..first + count {
                    done += self.pack_block(&self.plan.files[file], block, packed)?;
                }
                done
            }
        };
        (self.progress)(done);
        Ok(())
    }

    fn pack_block(
        &mut self,
        file: &PlannedFile<'_>,
        block: u64,
        packed: &mut Packed,
    ) -> Result<u64> {
        let start = block * u64::from(self.plan.block_size);
        let len = (file.content.len() - start).min(u64::from(self.plan.block_size));
        let bytes = &mut self.block[..usize::try_from(len)?];
        file.content
            .read_at(start, bytes)
            .with_context(|| format!("reading {}", self.plan.path(file.id)))?;
        if is_zero(bytes) {
            packed.words.push(0);
            packed.hole_bytes += len;
        } else {
            encode(&mut self.encoder, self.remembered.as_ref(), bytes, packed)?;
        }
        Ok(len)
    }

    fn pack_fragment(&mut self, fragment: usize, packed: &mut Packed) -> Result<u64> {
        let mut filled = 0;
        for piece in self.plan.fragments[fragment].clone() {
            let file = &self.plan.files[self.plan.pieces[piece]];
            let len = file.tail_len(self.plan.block_size);
            let end = filled + usize::try_from(len)?;
            file.content
                .read_at(file.content.len() - len, &mut self.block[filled..end])
                .with_context(|| format!("reading {}", self.plan.path(file.id)))?;
            filled = end;
        }
        let block = &self.block[..filled];
        encode(&mut self.encoder, self.remembered.as_ref(), block, packed)?;
        Ok(filled as u64)
    }
}

/// Appends one block and its size word.
fn encode(
    encoder: &mut Encoder,
    remembered: Option<&Remembered>,
    block: &[u8],
    packed: &mut Packed,
) -> Result<()> {
    let start = packed.bytes.len();
    let form = match remembered {
        Some(remembered) => remembered.encode(encoder, block, &mut packed.bytes)?,
        None => encoder.encode(block, &mut packed.bytes)?,
    };
    let len = u32::try_from(packed.bytes.len() - start)?;
    packed.words.push(match form {
        Form::Compressed => len,
        Form::Raw => len | DATA_RAW,
    });
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    // In parts, so that data is told at its first bytes and zeros at the speed of memory.
    bytes
        .chunks(256)
        .all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Releases whoever waits, when its holder ends.
struct Release<'l, 'a> {
    line: &'l Line<'a>,
    /// Only if it ends by a panic; else other threads go on.
    only_on_panic: bool,
}

impl Drop for Release<'_, '_> {
    fn drop(&mut self) {
        if !self.only_on_panic || std::thread::panicking() {
            self.line.stop();
        }
    }
}
