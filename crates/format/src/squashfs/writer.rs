//! squashfs writer: one pass over a tree, blocks compressed by all processors.
//!
//! ```text
//! superblock | options | blocks and fragments | inodes | listings | fragment, lookup, id, xattr tables | padding
//! ```
//!
//! 1. [`plan`] numbers the inodes, counts their names, checks what squashfs can't hold, and puts
//!    tails and small files into fragments: all that lengths and names decide.
//! 2. [`duplicates`] finds equal files, which are stored once.
//! 3. [`pipeline`] reads and compresses blocks in threads and writes them in the plan's order, so
//!    that the image does not depend on how many threads there are.
//! 4. [`inodes`] makes the tables, which are small enough for memory, and the superblock goes last.
//!
//! Memory is a few blocks per thread, plus metadata: about 40 bytes for an inode, 4 for a block, and
//! the compressed tables.
//!
//! Left out on purpose: uncompressed tables, other versions than 4.0, xz filters. What squashfs has
//! no place for: times before 1970 and after 2106 become the nearest that fits, fractions of
//! seconds and the immutable flag are dropped; attributes without a prefix that squashfs knows are
//! an error, for an access control list that vanishes would open or close a file unnoticed.
//!
//! Layout: [`super::format`]. Checked by: `unsquashfs`, kernel mount.

mod duplicates;
mod inodes;
mod listing;
mod metadata;
mod owners;
mod pipeline;
mod plan;
mod xattrs;

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use self::inodes::Tables;
use self::plan::Plan;
use super::compress::{Compressor, Encoder};
use super::format::{
    BLOCK_SIZE_MAX, BLOCK_SIZE_MIN, IMAGE_ALIGNMENT, MAGIC, METADATA_RAW, Superblock, VERSION, flag,
};
use crate::cache::Cache;
use bake_tree::Tree;

/// How an image is to be made.
#[derive(Clone, Debug)]
pub struct Options {
    /// What blocks and tables are compressed with.
    pub compressor: Compressor,
    /// Bytes in a block before compression: a power of two, 4 KiB to 1 MiB.
    pub block_size: u32,
    /// How many threads compress. The image does not depend on it.
    pub threads: NonZeroUsize,
    /// Time of making that the image carries, in seconds since 1970.
    pub time: u32,
    /// Where blocks from earlier runs are, and those of this one go. The image does not depend on it.
    pub cache: Option<Arc<Cache>>,
}

impl Default for Options {
    /// As mksquashfs: zstd 15, 128 KiB; all processors; 1970.
    fn default() -> Self {
        Self {
            compressor: Compressor::default(),
            block_size: 128 << 10,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            time: 0,
            cache: None,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Length of the image with its padding to 4 KiB.
    pub bytes: u64,
    /// Inodes in it.
    pub inodes: u32,
    /// Length of all files' contents, those with several names once.
    pub content_bytes: u64,
    /// Of these, not stored because an equal file is.
    pub duplicate_bytes: u64,
    /// Files that share an equal file's blocks.
    pub duplicates: u32,
    /// Of the content's bytes, not stored because their whole block is zeros.
    pub hole_bytes: u64,
    /// What blocks and fragments take in the image.
    pub data_bytes: u64,
    /// What all tables take.
    pub metadata_bytes: u64,
    /// Blocks made of small files.
    pub fragments: u32,
}

/// Writes `tree` as a squashfs image into `out`, from byte `offset` of the file on; what lies
/// before stays, what lies behind is overwritten as far as the image reaches.
///
/// `progress` is called from several threads with further bytes of content done, in sum
/// [`Written::content_bytes`].
///
/// # Errors
/// Unfit options; a tree with names, targets, device numbers or attributes that squashfs can't
/// hold, or with a directory in two places, named by path; errors of reading and writing.
pub fn write(
    tree: &Tree,
    options: &Options,
    out: &File,
    offset: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written> {
    options.compressor.check()?;
    ensure!(
        options.block_size.is_power_of_two()
            && (BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&options.block_size),
        "block size {} is not a power of two from 4096 to 1048576",
        options.block_size
    );
    write_checked(tree, options, out, offset, progress)
}

/// [`write()`] with options that are known to fit; tests take one that does not.
pub(super) fn write_checked(
    tree: &Tree,
    options: &Options,
    out: &File,
    offset: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written> {
    let mut plan = Plan::new(tree, options.block_size)?;
    let same_as = duplicates::find(&plan.contents(), options.threads).map_err(|unreadable| {
        let path = plan.path(plan.files[unreadable.file].id);
        anyhow::Error::new(unreadable.error).context(format!("reading {path}"))
    })?;
    plan.pack(&same_as)?;
    let mut written = count(&plan)?;
    progress(written.duplicate_bytes);

    let mut sink = Sink {
        out,
        offset,
        position: size_of::<Superblock>() as u64,
    };
    if let Some(block) = options.compressor.options_block() {
        let header = U16::new(u16::try_from(block.len())? | METADATA_RAW);
        sink.write(header.as_bytes())?;
        sink.write(&block)?;
    }
    let data_start = sink.position;
    let stored = pipeline::run(&plan, options, &mut sink, progress)?;
    let tables_start = sink.position;
    let mut encoder = Encoder::new(options.compressor, options.block_size)?;
    let tables = inodes::write(&plan, &stored, &mut encoder, &mut sink)?;
    let bytes_used = sink.position;
    sink.pad()?;

    let superblock = superblock(&plan, options, &tables, bytes_used)?;
    sink.rewrite_start(superblock.as_bytes())?;
    written.bytes = sink.position;
    written.hole_bytes = stored.files.iter().map(|file| file.hole_bytes).sum();
    written.data_bytes = tables_start - data_start;
    written.metadata_bytes = bytes_used - tables_start;
    Ok(written)
}

/// What the plan knows of the result.
fn count(plan: &Plan<'_>) -> Result<Written> {
    let mut written = Written {
        inodes: plan.inode_count,
        fragments: u32::try_from(plan.fragments.len())?,
        ..Written::default()
    };
    for (index, file) in plan.files.iter().enumerate() {
        written.content_bytes += file.content.len();
        if file.same_as != index {
            written.duplicates += 1;
            written.duplicate_bytes += file.content.len();
        }
    }
    Ok(written)
}

fn superblock(
    plan: &Plan<'_>,
    options: &Options,
    tables: &Tables,
    bytes_used: u64,
) -> Result<Superblock> {
    let mut flags = flag::DUPLICATES_MERGED | flag::EXPORTABLE;
    if options.compressor.options_block().is_some() {
        flags |= flag::COMPRESSOR_OPTIONS;
    }
    if plan.xattrs.is_empty() {
        flags |= flag::NO_XATTRS;
    }
    Ok(Superblock {
        magic: U32::new(MAGIC),
        inodes: U32::new(plan.inode_count),
        time: U32::new(options.time),
        block_size: U32::new(options.block_size),
        fragments: U32::new(u32::try_from(plan.fragments.len())?),
        compressor: U16::new(options.compressor.id()),
        block_log: U16::new(u16::try_from(options.block_size.ilog2())?),
        flags: U16::new(flags),
        ids: U16::new(plan.owners.count()),
        major: U16::new(VERSION.0),
        minor: U16::new(VERSION.1),
        root: tables.root.packed(),
        bytes_used: U64::new(bytes_used),
        id_table: U64::new(tables.ids),
        xattr_table: U64::new(tables.xattrs),
        inode_table: U64::new(tables.inodes),
        directory_table: U64::new(tables.directories),
        fragment_table: U64::new(tables.fragments),
        lookup_table: U64::new(tables.lookup),
    })
}

/// The part of a file that the image goes into.
struct Sink<'a> {
    out: &'a File,
    /// Where the image starts in the file.
    offset: u64,
    /// Next byte to write, from the image's start.
    position: u64,
}

impl Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_at(self.position, bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to the next multiple of [`IMAGE_ALIGNMENT`].
    fn pad(&mut self) -> Result<()> {
        let padding = self.position.next_multiple_of(IMAGE_ALIGNMENT) - self.position;
        self.write(&vec![0; usize::try_from(padding)?])
    }

    /// Replaces the first bytes; the position stays.
    fn rewrite_start(&self, bytes: &[u8]) -> Result<()> {
        self.write_at(0, bytes)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let at = self
            .offset
            .checked_add(position)
            .context("the image would end beyond the largest file")?;
        self.out
            .write_all_at(bytes, at)
            .context("writing the squashfs image")
    }
}
