//! squashfs reader: enough to look into an image, check it, and copy files out of it.
//!
//! Everything is read when it is asked for: opening reads the superblock, a lookup the few metadata
//! blocks on its way. Memory is a fixed number of decompressed blocks, whatever the image says of
//! itself. Images are taken for foreign: positions, lengths and counts are checked where they are
//! used, names must come in order, directories may not be inside themselves, and what does not fit
//! is an error that names the place.
//!
//! Left out on purpose: lz4, lzo and lzma, versions before 4.0, writing.
//!
//! Layout: [`super::format`].

mod blocks;
mod directory;
mod file;
mod inode;
mod look;
mod walk;
mod xattrs;

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use self::blocks::{Blocks, Cursor};
pub use self::directory::{Name, ReadDir};
pub use self::file::FileReader;
pub use self::inode::Entry;
use super::compress::{Compressor, Decoder};
use super::format::{
    BLOCK_SIZE_MAX, BLOCK_SIZE_MIN, GzipOptions, MAGIC, METADATA_SIZE, NO_TABLE, Place, Superblock,
    VERSION, ZstdOptions, flag,
};
use bake_tree::{Content, Kind, Look};

/// An open image. Can be used from several threads, which then take turns at decompressing.
#[derive(Debug)]
pub struct Reader {
    content: Content,
    superblock: Superblock,
    facts: Facts,
    blocks: Mutex<Blocks>,
}

/// What the superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Compressor and, where it has one, level.
    pub compressor: Compressor,
    /// Bytes in a block before compression.
    pub block_size: u32,
    /// When the image was made, in seconds since 1970.
    pub time: u32,
    /// Inodes in it.
    pub inodes: u32,
    /// Blocks made of small files and tails.
    pub fragments: u32,
    /// Different users and groups.
    pub owners: u16,
    /// Length without padding, in bytes.
    pub bytes_used: u64,
    /// Whether inodes can be found by number, as NFS needs it.
    pub exportable: bool,
    /// Whether there are extended attributes.
    pub has_xattrs: bool,
}

impl Reader {
    /// Whether `content` starts like a squashfs image.
    pub fn probe(content: &Content) -> bool {
        let mut magic = [0; 4];
        content.read_at(0, &mut magic).is_ok() && u32::from_le_bytes(magic) == MAGIC
    }

    /// Opens the image that `content` starts with; bytes behind its end are ignored.
    pub fn open(content: Content) -> Result<Self> {
        let mut bytes = [0; size_of::<Superblock>()];
        content
            .read_at(0, &mut bytes)
            .context("reading the squashfs superblock")?;
        let superblock = Superblock::read_from_bytes(&bytes)
            .ok()
            .context("the buffer has the superblock's size")?;
        check(&superblock, content.len())?;
        let decoder = Decoder::new(superblock.compressor.get())?;
        let mut reader = Self {
            facts: facts(&superblock, Compressor::default()),
            blocks: Mutex::new(Blocks::new(decoder)),
            content,
            superblock,
        };
        reader.facts.compressor = reader.compressor()?;
        ensure!(
            matches!(reader.root()?.kind, Kind::Directory),
            "the squashfs root inode is not a directory"
        );
        Ok(reader)
    }

    /// What the superblock says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The inode with this number, for images that are exportable.
    pub fn by_number(&self, number: u32) -> Result<Entry> {
        ensure!(
            self.facts.exportable && (1..=self.facts.inodes).contains(&number),
            "the squashfs image does not list inode {number}"
        );
        let lookup = self.superblock.lookup_table.get();
        let place: U64 = self.table_record(lookup, u64::from(number) - 1)?;
        let place = Place::unpack(place)
            .with_context(|| format!("squashfs inode {number} lies nowhere"))?;
        let entry = self.inode(place)?;
        ensure!(
            entry.number == number,
            "where squashfs inode {number} should lie, inode {} does",
            entry.number
        );
        Ok(entry)
    }

    fn compressor(&self) -> Result<Compressor> {
        let compressor = Compressor::of_id(self.superblock.compressor.get())
            .context("a decoder was found for the compressor")?;
        if self.superblock.flags.get() & flag::COMPRESSOR_OPTIONS == 0 {
            return Ok(compressor);
        }
        let mut options = Cursor::new(size_of::<Superblock>() as u64, 0);
        Ok(match compressor {
            Compressor::Zstd { .. } => Compressor::Zstd {
                level: i32::try_from(options.record::<ZstdOptions>(self)?.level.get())?,
            },
            Compressor::Gzip { .. } => Compressor::Gzip {
                level: options.record::<GzipOptions>(self)?.level.get(),
            },
            Compressor::Xz => Compressor::Xz,
        })
    }

    /// Record `index` of a table whose blocks' positions start at `positions`.
    fn table_record<T: FromBytes + zerocopy::IntoBytes>(
        &self,
        positions: u64,
        index: u64,
    ) -> Result<T> {
        let per_block = (METADATA_SIZE / size_of::<T>()) as u64;
        let at = positions
            .checked_add(index / per_block * size_of::<U64>() as u64)
            .context("a squashfs table lies beyond the largest file")?;
        let mut position = [0; size_of::<U64>()];
        self.read_at(at, &mut position)
            .context("reading a squashfs table")?;
        let offset = usize::try_from(index % per_block)? * size_of::<T>();
        Cursor::new(u64::from_le_bytes(position), offset).record(self)
    }

    /// Reads bytes of the image as they are stored.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let end = position.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.facts.bytes_used) {
            bail!(
                "{} bytes at {position} lie beyond the squashfs image's end at {}",
                buffer.len(),
                self.facts.bytes_used
            );
        }
        self.content
            .read_at(position, buffer)
            .with_context(|| format!("reading the squashfs image at {position}"))
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        // What a panicking thread leaves behind is a cache, complete or without the block.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(superblock: &Superblock, len: u64) -> Result<()> {
    ensure!(
        superblock.magic.get() == MAGIC,
        "there is no squashfs image: it does not start with \"hsqs\""
    );
    let version = (superblock.major.get(), superblock.minor.get());
    ensure!(
        version == VERSION,
        "the image is squashfs {}.{}; only 4.0 is read",
        version.0,
        version.1
    );
    let block_size = superblock.block_size.get();
    ensure!(
        block_size.is_power_of_two()
            && (BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&block_size)
            && block_size.ilog2() == u32::from(superblock.block_log.get()),
        "the squashfs block size {block_size} (2^{}) is not a power of two from 4096 to 1048576",
        superblock.block_log
    );
    let bytes_used = superblock.bytes_used.get();
    // Below 2^63, so that a position inside plus a 32-bit distance can't overflow.
    ensure!(
        bytes_used <= len && i64::try_from(bytes_used).is_ok(),
        "the squashfs image is cut short: {len} of {bytes_used} bytes are there"
    );
    for (name, position) in [
        ("inode", superblock.inode_table),
        ("directory", superblock.directory_table),
        ("id", superblock.id_table),
    ] {
        ensure!(
            (size_of::<Superblock>() as u64..bytes_used).contains(&position.get()),
            "the squashfs {name} table at {position} lies outside of the image"
        );
    }
    Ok(())
}

fn facts(superblock: &Superblock, compressor: Compressor) -> Facts {
    Facts {
        compressor,
        block_size: superblock.block_size.get(),
        time: superblock.time.get(),
        inodes: superblock.inodes.get(),
        fragments: superblock.fragments.get(),
        owners: superblock.ids.get(),
        bytes_used: superblock.bytes_used.get(),
        exportable: superblock.lookup_table.get() != NO_TABLE,
        has_xattrs: superblock.xattr_table.get() != NO_TABLE,
    }
}
