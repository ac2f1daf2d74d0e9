//! The directories and files of a volume, their places and their bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Seek, SeekFrom, Write};

use anyhow::{Context, Result, bail, ensure};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::format::{
    ATTRIBUTE_ARCHIVE, ATTRIBUTE_DIRECTORY, ATTRIBUTE_LABEL, FIRST_CLUSTER, FIRST_DAY,
    FS_INFO_COUNTS, FsInfoCounts, SLOT_BYTES, Slot,
};
use super::geometry::{Geometry, Run, Table};
use super::names::{self, ShortName};
use bake_tree::Content;

/// Largest directory: 65536 slots, a limit of the specification.
const MAX_DIRECTORY_BYTES: u64 = 65536 * SLOT_BYTES as u64;

/// Copied at a time.
const CHUNK: usize = 1 << 20;

#[derive(Debug)]
enum Node<'a> {
    Directory(usize),
    File(&'a str, &'a Content),
}

#[derive(Debug)]
struct Entry<'a> {
    name: &'a str,
    node: Node<'a>,
    run: Run,
}

#[derive(Debug, Default)]
struct Directory<'a> {
    parent: usize,
    entries: Vec<Entry<'a>>,
    run: Run,
}

/// The directories, the root first, parents before children.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    directories: Vec<Directory<'a>>,
    label: ShortName,
}

impl<'a> Plan<'a> {
    /// Sorts files into directories; refuses names that FAT can't hold.
    pub(super) fn new(files: &'a BTreeMap<String, Content>, label: ShortName) -> Result<Self> {
        let mut plan = Self {
            directories: vec![Directory::default()],
            label,
        };
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        // FAT names are equal when they differ in case only.
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        let mut claim = |path: &'a str| match seen.insert(path.to_uppercase(), path) {
            Some(other) => bail!("{other} and {path} are the same name on a FAT volume"),
            None => Ok(()),
        };
        for (path, content) in files {
            ensure!(
                u32::try_from(content.len()).is_ok(),
                "{path} has {} bytes, and a file on a FAT volume can't have more than {}",
                content.len(),
                u32::MAX
            );
            let (mut at, mut start) = (0, 0);
            for (end, _) in path.match_indices('/') {
                at = match known.get(&path[..end]) {
                    Some(&directory) => directory,
                    None => {
                        claim(&path[..end])?;
                        let directory = plan.add_directory(at, &path[start..end])?;
                        known.insert(&path[..end], directory);
                        directory
                    }
                };
                start = end + 1;
            }
            claim(path)?;
            plan.add(at, &path[start..], Node::File(path, content))?;
        }
        Ok(plan)
    }

    fn add_directory(&mut self, parent: usize, name: &'a str) -> Result<usize> {
        let id = self.directories.len();
        self.add(parent, name, Node::Directory(id))?;
        self.directories.push(Directory {
            parent,
            ..Directory::default()
        });
        Ok(id)
    }

    fn add(&mut self, parent: usize, name: &'a str, node: Node<'a>) -> Result<()> {
        names::check(name)?;
        self.directories[parent].entries.push(Entry {
            name,
            node,
            run: Run::default(),
        });
        Ok(())
    }

    /// Gives every directory and file its clusters and returns the first one left over.
    pub(super) fn place(&mut self, geometry: &Geometry) -> Result<u32> {
        let mut next = FIRST_CLUSTER;
        let mut take = |bytes: u64| -> Result<Run> {
            let count = u32::try_from(bytes.div_ceil(geometry.cluster_bytes))?;
            let end = next
                .checked_add(count)
                .filter(|end| *end - FIRST_CLUSTER <= geometry.clusters);
            let run = match count {
                0 => Run::default(),
                _ => Run { first: next, count },
            };
            next = end.context("there is not enough room")?;
            Ok(run)
        };
        for id in 0..self.directories.len() {
            // Slots don't depend on the runs, so those that are rendered now have the final length.
            let bytes = self.render(id).len() as u64;
            ensure!(
                bytes <= MAX_DIRECTORY_BYTES,
                "a directory on a FAT volume can't have more than {} slots",
                MAX_DIRECTORY_BYTES / SLOT_BYTES as u64
            );
            match geometry.root {
                Some((_, room)) if id == 0 => ensure!(
                    bytes <= room,
                    "the root directory has {} slots, and there is room for {}",
                    bytes / SLOT_BYTES as u64,
                    room / SLOT_BYTES as u64
                ),
                _ => self.directories[id].run = take(bytes)?,
            }
        }
        for id in 0..self.directories.len() {
            for at in 0..self.directories[id].entries.len() {
                self.directories[id].entries[at].run = match self.directories[id].entries[at].node {
                    Node::Directory(child) => self.directories[child].run,
                    Node::File(_, content) => take(content.len())?,
                };
            }
        }
        Ok(next)
    }

    /// The slots of a directory.
    fn render(&self, id: usize) -> Vec<u8> {
        let directory = &self.directories[id];
        let mut bytes = Vec::new();
        if id == 0 {
            bytes.extend_from_slice(slot(self.label, ATTRIBUTE_LABEL, 0, 0).as_bytes());
        } else {
            // The root is cluster 0 here, also where it has one.
            let parent = match directory.parent {
                0 => 0,
                parent => self.directories[parent].run.first,
            };
            for (name, cluster) in [
                (b".          ", directory.run.first),
                (b"..         ", parent),
            ] {
                bytes.extend_from_slice(slot(*name, ATTRIBUTE_DIRECTORY, cluster, 0).as_bytes());
            }
        }
        let mut taken = BTreeSet::new();
        for entry in &directory.entries {
            let (short, says_all) = names::shorten(entry.name, &mut taken);
            if !says_all {
                for long in names::long_slots(entry.name, &short) {
                    bytes.extend_from_slice(long.as_bytes());
                }
            }
            let slot = match entry.node {
                Node::Directory(_) => slot(short, ATTRIBUTE_DIRECTORY, entry.run.first, 0),
                // Checked when the plan was made.
                Node::File(_, content) => slot(
                    short,
                    ATTRIBUTE_ARCHIVE,
                    entry.run.first,
                    content.len() as u32,
                ),
            };
            bytes.extend_from_slice(slot.as_bytes());
        }
        bytes
    }

    /// Writes directories, files and the table of clusters, of which those before `used` are.
    pub(super) fn write(
        &self,
        disk: &mut (impl Write + Seek),
        geometry: &Geometry,
        used: u32,
    ) -> Result<()> {
        let mut put = |offset: u64, bytes: &[u8]| -> io::Result<()> {
            disk.seek(SeekFrom::Start(offset))?;
            disk.write_all(bytes)
        };
        let mut table = Table::new(geometry.kind, used);
        let mut buffer = vec![0; CHUNK];
        for (id, directory) in self.directories.iter().enumerate() {
            let offset = match geometry.root {
                Some((offset, _)) if id == 0 => offset,
                _ => geometry.cluster_offset(directory.run.first),
            };
            put(offset, &self.render(id))?;
            table.chain(directory.run);
            for entry in &directory.entries {
                let Node::File(path, content) = entry.node else {
                    continue;
                };
                table.chain(entry.run);
                let mut done = 0;
                while done < content.len() {
                    let left = usize::try_from(content.len() - done).unwrap_or(usize::MAX);
                    let part = &mut buffer[..left.min(CHUNK)];
                    content
                        .read_at(done, part)
                        .with_context(|| format!("reading contents of {path}"))?;
                    put(geometry.cluster_offset(entry.run.first) + done, part)?;
                    done += part.len() as u64;
                }
            }
        }
        let table = table.to_bytes();
        for offset in &geometry.fats {
            put(*offset, &table)?;
        }
        if let Some(offset) = geometry.fs_info {
            let counts = FsInfoCounts {
                free_clusters: U32::new(geometry.clusters - (used - FIRST_CLUSTER)),
                next_free: U32::new(used),
            };
            put(offset + FS_INFO_COUNTS, counts.as_bytes())?;
        }
        Ok(())
    }
}

fn slot(name: ShortName, attributes: u8, cluster: u32, bytes: u32) -> Slot {
    let date = U16::new(FIRST_DAY);
    Slot {
        name,
        attributes,
        created_date: date,
        accessed_date: date,
        modified_date: date,
        // The halves of a u32.
        cluster_high: U16::new((cluster >> 16) as u16),
        cluster_low: U16::new((cluster & 0xffff) as u16),
        bytes: U32::new(bytes),
        ..Slot::new_zeroed()
    }
}
