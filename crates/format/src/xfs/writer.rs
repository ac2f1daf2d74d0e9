//! Writing a planned file system: each group from front to back, the first superblock last.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::{mem, panic, thread};

use anyhow::{Context, Result, bail};
use zerocopy::{FromZeros, IntoBytes};

use super::attributes;
use super::census;
use super::crc::seal;
use super::directory::{self, Entry, FileType};
use super::extents;
use super::format::{REMOTE_CRC, RemoteHeader};
use super::geometry::{BLOCK, BLOCK_LEN, Block, CHUNK_INODES, INODE_LEN, INODES_PER_BLOCK};
use super::group::Group;
use super::hashed::{Fork, Purpose, Run, fill};
use super::inode::{self, Body, Stored};
use super::log;
use super::plan::{Extent, Layout, OWN_INODES, shape};
use super::shape::{Attributes, Data, Holes};
use super::superblock;
use crate::progress::Progress;
use bake_tree::{Content, InodeId, Node, Tree};

/// How much is gathered before it is written. Files are mostly small and follow each other, so this
/// is faster than having the kernel copy each between the two files, in its steps of 64 KiB.
const BUFFER_LEN: usize = 256 << 10;
/// How many such buffers may wait for being written.
const WAITING_BUFFERS: usize = 4;

/// Who watches contents being copied; nobody copies them if there is none.
type Watcher<'a> = Option<&'a dyn Progress>;

impl Layout<'_> {
    /// Writes the file system into `out` from byte `offset` on. What lies there must read as zeros,
    /// since blocks that nothing takes are left alone: a sparse file stays sparse. `progress` is told
    /// of every byte of content, [`Layout::content_bytes`] in all; its phase is the caller's.
    ///
    /// The first superblock comes last, so what a failure leaves is no file system.
    pub fn write(&self, out: &File, offset: u64, progress: &dyn Progress) -> Result<()> {
        self.write_parts(out, offset, Some(progress))
    }

    /// As [`Layout::write`], but for the contents of files, whose places stay as they are: for
    /// callers who put them there themselves, where [`Layout::extents`] says.
    pub fn write_metadata(&self, out: &File, offset: u64) -> Result<()> {
        self.write_parts(out, offset, None)
    }

    /// Contents are written for whoever watches them.
    fn write_parts(&self, out: &File, offset: u64, progress: Watcher<'_>) -> Result<()> {
        let end = offset + self.geometry.blocks * BLOCK;
        let status = out.metadata().context("asking for the size of the image")?;
        if status.is_file() && status.len() < end {
            out.set_len(end).context("growing the image")?;
        }
        let image = Image { out, offset };
        // One thread reads contents and builds metadata while another writes.
        thread::scope(|scope| {
            let (full, waiting) = sync_channel::<(u64, Vec<u8>)>(WAITING_BUFFERS);
            let (used, spare) = channel();
            let writing = scope.spawn(move || -> Result<()> {
                for (at, mut bytes) in waiting {
                    image.write(&bytes, at)?;
                    bytes.clear();
                    // Nobody wants it at the end.
                    let _ = used.send(bytes);
                }
                Ok(())
            });
            let sink = Sink { image, full, spare };
            let built = self.build(&sink, progress);
            drop(sink);
            let written = writing.join();
            // Where writing failed, that is the reason for what building says.
            written.unwrap_or_else(|cause| panic::resume_unwind(cause))?;
            built
        })?;
        image.write(&superblock::sector(self), 0)
    }

    /// Everything but the first superblock.
    fn build(&self, sink: &Sink<'_>, progress: Watcher<'_>) -> Result<()> {
        for group in 0..self.geometry.groups {
            self.write_group(group, sink, progress)?;
        }
        let mut log = Gather::new(sink);
        log.put(self.geometry.log_start().offset(), &self.log())?;
        log.flush()
    }

    fn log(&self) -> Vec<u8> {
        log::start(self.options.uuid, self.geometry.sector_bytes)
    }

    fn write_group(&self, number: u32, sink: &Sink<'_>, progress: Watcher<'_>) -> Result<()> {
        let image = sink.image;
        let group = Group {
            geometry: &self.geometry,
            uuid: self.options.uuid,
            number,
            contents: &self.groups[number as usize],
        };
        let mut head = group.head();
        let sector = self.geometry.sector_bytes as usize;
        if number > 0 {
            head[..sector].copy_from_slice(&superblock::sector(self));
        }
        // The first group's superblock is written at the very end.
        let skipped = if number == 0 { sector } else { 0 };
        let start = self.geometry.block(number, 0).offset();
        image.write(&head[skipped..], start + skipped as u64)?;

        let mut tree = group.inode_tree();
        // The root is in the head.
        tree.pop();
        for (place, bytes) in tree {
            image.write(&bytes, self.geometry.block(number, place).offset())?;
        }
        self.write_inodes(number, sink, progress)
    }

    fn write_inodes(&self, group: u32, sink: &Sink<'_>, progress: Watcher<'_>) -> Result<()> {
        let first = self.geometry.block(group, self.geometry.first_chunk(group));
        let place = |slot: u32| first.offset() + u64::from(slot) * INODE_LEN as u64;
        let uuid = self.options.uuid;
        let mut inodes = Gather::new(sink);
        let mut writer = InodeWriter {
            layout: self,
            blocks: Gather::new(sink),
            contents: Gather::new(sink),
            progress,
        };
        let mut slot = 0;
        for id in self.group_inodes(group) {
            let bytes = writer
                .write(*id)
                .with_context(|| format!("writing /{}", census::path(self.tree, *id)))?;
            inodes.put(place(slot), &bytes)?;
            slot += 1;
            if *id == Tree::ROOT {
                for own in 0..OWN_INODES {
                    let number = self.geometry.inode_number(group, slot);
                    inodes.put(place(slot), &inode::realtime(own == 0, number, uuid))?;
                    slot += 1;
                }
            }
        }
        let slots = slot.next_multiple_of(CHUNK_INODES);
        for slot in slot..slots {
            let number = self.geometry.inode_number(group, slot);
            inodes.put(place(slot), &inode::free(number, uuid))?;
        }
        debug_assert_eq!(slots % INODES_PER_BLOCK, 0);
        inodes.flush()?;
        writer.contents.flush()?;
        writer.blocks.flush()
    }

    fn entries(&self, id: InodeId) -> Vec<Entry<'_>> {
        let tree = self.tree;
        tree.children(id)
            .map(|(name, child)| Entry {
                name,
                number: self.number(child),
                kind: match tree.inode(child).node {
                    Node::Directory(_) => FileType::Directory,
                    Node::File(_) => FileType::Regular,
                    Node::Symlink(_) => FileType::Symlink,
                    Node::CharDevice(..) => FileType::CharDevice,
                    Node::BlockDevice(..) => FileType::BlockDevice,
                    Node::Fifo => FileType::Fifo,
                    Node::Socket => FileType::Socket,
                },
            })
            .collect()
    }
}

/// Writes what hangs on inodes.
struct InodeWriter<'w> {
    layout: &'w Layout<'w>,
    blocks: Gather<'w>,
    contents: Gather<'w>,
    progress: Watcher<'w>,
}

impl InodeWriter<'_> {
    /// Writes all blocks of an inode, and returns the inode itself.
    fn write(&mut self, id: InodeId) -> Result<Vec<u8>> {
        let layout = self.layout;
        let inode = layout.tree.inode(id);
        let wide = layout.geometry.has_wide_inodes();
        // Files have their rows already.
        let (shape, _) = shape(layout.tree, id, &|_| Holes::new(), wide)?;
        let number = layout.number(id);
        let fork = |purpose| Fork {
            runs: layout.runs(id, purpose),
            uuid: layout.options.uuid,
            owner: number,
        };
        let data_fork = fork(Purpose::Data);
        let (bytes, local) = match &inode.node {
            Node::File(content) => {
                if let Some(progress) = self.progress {
                    for extent in layout.extents(id) {
                        self.contents.copy(content, &extent, progress)?;
                    }
                }
                (content.len(), Vec::new())
            }
            Node::Directory(_) => {
                let parent = layout.number(layout.census.parent(id));
                let entries = layout.entries(id);
                match &shape.data {
                    Data::Directory(blocks) => {
                        blocks.put(parent, &entries, &data_fork, &mut self.blocks.put_block())?;
                        (blocks.bytes(), Vec::new())
                    }
                    _ => {
                        let bytes = directory::short(parent, &entries);
                        (bytes.len() as u64, bytes)
                    }
                }
            }
            Node::Symlink(target) => {
                if matches!(shape.data, Data::Target) {
                    self.write_target(target, &data_fork)?;
                }
                (target.len() as u64, target.to_vec())
            }
            _ => (0, Vec::new()),
        };
        let tree_blocks = blocks_of(layout.runs(id, Purpose::Tree));
        let mut blocks = tree_blocks.len() as u64;
        let data = match shape.data {
            Data::Device(number) => Stored::Device(number),
            Data::Local => Stored::Local(local),
            _ => {
                blocks += count_blocks(data_fork.runs);
                self.store_extents(&data_fork, shape.data_len(), &tree_blocks)?
            }
        };
        let attributes = attributes::from_tree(&inode.meta.xattrs)?;
        let attributes = match shape.attributes {
            Attributes::None => None,
            Attributes::Local => Some(Stored::Local(attributes::short(&attributes))),
            Attributes::Blocks(count) => {
                let fork = fork(Purpose::Attributes);
                attributes::Blocks::new(&attributes).put(&fork, &mut self.blocks.put_block())?;
                blocks += count;
                Some(self.store_extents(&fork, shape.attribute_len(), &[])?)
            }
        };
        let body = Body {
            bytes,
            blocks,
            links: layout.census.links(id),
            data,
            fork_offset: shape.fork_offset,
            attributes,
        };
        Ok(inode::used(inode, &body, number, layout.options.uuid))
    }

    fn store_extents(
        &mut self,
        fork: &Fork<'_>,
        fork_len: usize,
        tree_blocks: &[Block],
    ) -> Result<Stored> {
        let count = fork.runs.len();
        let put = &mut self.blocks.put_block();
        let bytes = extents::put(fork, fork_len, tree_blocks, &self.layout.geometry, put)?;
        Ok(match extents::fit_inline(count, fork_len) {
            true => Stored::Extents(count, bytes),
            false => Stored::Tree(count, bytes),
        })
    }

    fn write_target(&mut self, target: &[u8], fork: &Fork<'_>) -> Result<()> {
        let block = fork.locate(0);
        let mut header = RemoteHeader::new_zeroed();
        header.magic = *b"XSLM";
        // At most 1023.
        header.bytes = (target.len() as u32).into();
        header.uuid = fork.uuid;
        header.owner = fork.owner.into();
        header.daddr = block.daddr().into();
        let mut bytes = vec![0; BLOCK_LEN];
        fill(&mut bytes, header.as_bytes(), target);
        seal(&mut bytes, REMOTE_CRC);
        self.blocks.put(block.offset(), &bytes)
    }
}

fn blocks_of(runs: &[Run]) -> Vec<Block> {
    runs.iter()
        .flat_map(|run| (0..run.blocks).map(|index| run.start.plus(index.into())))
        .collect()
}

fn count_blocks(runs: &[Run]) -> u64 {
    runs.iter().map(|run| u64::from(run.blocks)).sum()
}

/// The file system's place in the file it is written to.
#[derive(Clone, Copy)]
struct Image<'a> {
    out: &'a File,
    offset: u64,
}

impl Image<'_> {
    /// `at` is an offset in the file system.
    fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.out
            .write_all_at(bytes, self.offset + at)
            .with_context(|| format!("writing the image at byte {}", self.offset + at))
    }
}

/// Where buffers go to be written, by another thread.
struct Sink<'a> {
    image: Image<'a>,
    full: SyncSender<(u64, Vec<u8>)>,
    /// Buffers that were written, to be filled again.
    spare: Receiver<Vec<u8>>,
}

/// Gathers pieces that follow each other, to write them at once.
struct Gather<'a> {
    sink: &'a Sink<'a>,
    bytes: Vec<u8>,
    /// Where the gathered bytes belong, as an offset in the file system.
    at: u64,
}

impl<'a> Gather<'a> {
    fn new(sink: &'a Sink<'a>) -> Self {
        Self {
            sink,
            bytes: Vec::new(),
            at: 0,
        }
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let follows = at == self.at + self.bytes.len() as u64;
        if !follows || self.bytes.len() + bytes.len() > BUFFER_LEN {
            self.flush()?;
            self.at = at;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn put_block(&mut self) -> impl FnMut(Block, &[u8]) -> Result<()> {
        |block, bytes| self.put(block.offset(), bytes)
    }

    /// Copies the content of a file to its place, to the end of a block.
    fn copy(&mut self, content: &Content, extent: &Extent, progress: &dyn Progress) -> Result<()> {
        let mut done = 0;
        while done < extent.len {
            let at = extent.image_offset + done;
            if at != self.at + self.bytes.len() as u64 || self.bytes.len() == BUFFER_LEN {
                self.flush()?;
                self.at = at;
            }
            let start = self.bytes.len();
            let room = (BUFFER_LEN - start) as u64;
            let count = (extent.len - done).min(room);
            // Both are at most the buffer's length.
            self.bytes.resize(start + count as usize, 0);
            content
                .read_at(extent.file_offset + done, &mut self.bytes[start..])
                .context("reading its contents")?;
            self.bytes
                .resize(self.bytes.len().next_multiple_of(BLOCK_LEN), 0);
            progress.advance(count);
            done += count;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let next = self.sink.spare.try_recv();
        let next = next.unwrap_or_else(|_| Vec::with_capacity(BUFFER_LEN));
        let bytes = mem::replace(&mut self.bytes, next);
        if self.sink.full.send((self.at, bytes)).is_err() {
            bail!("writing the image has ended early");
        }
        Ok(())
    }
}
