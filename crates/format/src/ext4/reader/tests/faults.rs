//! Faults made on purpose, each in an otherwise sound file system: whoever reads all of it is told.
//!
//! Offsets are written here once more, from the format's description, so that a wrong offset in the
//! reader shows. No damaged image is ever mounted.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mounted::{Mount, may_mount, populate, run};
use super::{LIMITS, open};
use crate::ext4::reader::{Entry, Reader};
use bake_referee::have;
use bake_tree::{Content, Follow, Kind, Look};

const BLOCK: usize = 1024;
const SUPERBLOCK: u64 = 1024;
const DESCRIPTORS: u64 = 2048;
const INODE: usize = 256;

/// An image under change, and how to undo it.
struct Lab {
    file: File,
    path: PathBuf,
    reader: Reader,
    seed: u32,
    undo: Vec<(u64, Vec<u8>)>,
}

impl Lab {
    fn get(&self, position: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, position).expect("read");
        bytes
    }

    fn put(&mut self, position: u64, bytes: &[u8]) {
        self.undo.push((position, self.get(position, bytes.len())));
        self.file.write_all_at(bytes, position).expect("write");
    }

    fn superblock(&mut self, change: impl FnOnce(&mut [u8])) {
        let mut bytes = self.get(SUPERBLOCK, BLOCK);
        change(&mut bytes);
        let sum = checksum(u32::MAX, &bytes[..1020]);
        bytes[1020..].copy_from_slice(&sum.to_le_bytes());
        self.put(SUPERBLOCK, &bytes);
    }

    fn entry(&self, path: &str) -> Entry {
        let found = self.reader.lookup(path, Follow::NotLast).expect("lookup");
        found.unwrap_or_else(|| panic!("{path} is not there"))
    }

    fn inode_position(&self, number: u32) -> u64 {
        let per_group = self.reader.superblock.inodes_per_group.get();
        let table = self.reader.inode_table((number - 1) / per_group);
        table.expect("group") * BLOCK as u64 + u64::from((number - 1) % per_group) * INODE as u64
    }

    fn inode_seed(&self, number: u32) -> u32 {
        let bytes = self.get(self.inode_position(number), INODE);
        let seed = checksum(self.seed, &number.to_le_bytes());
        checksum(seed, &bytes[0x64..0x68])
    }

    fn inode(&mut self, path: &str, change: impl FnOnce(&mut [u8])) {
        let number = self.entry(path).number;
        let position = self.inode_position(number);
        let mut bytes = self.get(position, INODE);
        change(&mut bytes);
        bytes[0x7c..0x7e].fill(0);
        bytes[0x82..0x84].fill(0);
        let sum = checksum(self.inode_seed(number), &bytes).to_le_bytes();
        bytes[0x7c..0x7e].copy_from_slice(&sum[..2]);
        bytes[0x82..0x84].copy_from_slice(&sum[2..]);
        self.put(position, &bytes);
    }

    /// Changes a block of an inode, and puts its checksum at `tail`.
    fn block(&mut self, number: u32, position: u64, tail: usize, change: impl FnOnce(&mut [u8])) {
        let mut bytes = self.get(position, BLOCK);
        change(&mut bytes);
        let end = if tail == BLOCK - 4 && bytes[tail - 1] == 0xde {
            BLOCK - 12
        } else {
            tail
        };
        let sum = checksum(self.inode_seed(number), &bytes[..end]).to_le_bytes();
        bytes[tail..tail + 4].copy_from_slice(&sum);
        self.put(position, &bytes);
    }

    fn names(&mut self, path: &str, block: u64, change: impl FnOnce(&mut [u8])) {
        let entry = self.entry(path);
        let map = self.reader.map(&entry).expect("map");
        let position = map.position(block, BLOCK as u64).expect("block");
        self.block(entry.number, position, BLOCK - 4, change);
    }

    fn tree(&mut self, path: &str, change: impl FnOnce(&mut [u8])) {
        let entry = self.entry(path);
        let map = self.reader.map(&entry).expect("map");
        self.block(entry.number, map.tree[1], 12 + 84 * 12, change);
    }

    fn restore(&mut self) {
        while let Some((position, bytes)) = self.undo.pop() {
            self.file.write_all_at(&bytes, position).expect("restore");
        }
    }
}

/// CRC-32C bit by bit, not inverted at the end.
fn checksum(from: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(from, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
        crc
    })
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Adds to a little-endian number.
fn add(bytes: &mut [u8], at: usize, len: usize, delta: i64) {
    let sum = number(bytes, at, len)
        .wrapping_add_signed(delta)
        .to_le_bytes();
    bytes[at..at + len].copy_from_slice(&sum[..len]);
}

type Fault = (&'static str, &'static str, Box<dyn Fn(&mut Lab)>);

fn fault(name: &'static str, found: &'static str, make: impl Fn(&mut Lab) + 'static) -> Fault {
    (name, found, Box::new(make))
}

fn flip(lab: &mut Lab, position: u64) {
    let byte = lab.get(position, 1)[0] ^ 1;
    lab.put(position, &[byte]);
}

fn faults() -> Vec<Fault> {
    vec![
        fault(
            "superblock checksum",
            "checksum of the ext4 superblock",
            |lab| flip(lab, SUPERBLOCK + 0x78),
        ),
        fault("needs recovery", "journal must be replayed", |lab| {
            lab.superblock(|b| b[0x60] |= 4)
        }),
        fault("unknown feature", "is not read", |lab| {
            lab.superblock(|b| b[0x62] |= 0x80)
        }),
        fault("inodes", "do not make", |lab| {
            lab.superblock(|b| add(b, 0, 4, 8))
        }),
        fault(
            "descriptor checksum",
            "descriptor of ext4 group 1: its checksum",
            |lab| flip(lab, DESCRIPTORS + 64 + 12),
        ),
        fault("inode checksum", "its checksum is wrong", |lab| {
            let at = lab.inode_position(lab.entry("d2").number);
            flip(lab, at + 9);
        }),
        fault("size of a directory", "can't have|is a hole", |lab| {
            lab.inode("d2", |b| add(b, 4, 4, 1024))
        }),
        fault("deleted but named", "not used", |lab| {
            lab.inode("contents/1", |b| b[0x14] = 1)
        }),
        fault("file type in the mode", "but it is of type", |lab| {
            lab.inode("specials/pipe", |b| b[1] = 0xc0 | b[1] & 0xf)
        }),
        fault("extent beyond the end", "do not lie", |lab| {
            lab.inode("contents/511", |b| b[0x28 + 12 + 10] = 0x7f)
        }),
        fault("extent header", "levels above the leaves", |lab| {
            lab.inode("contents/511", |b| b[0x28] ^= 1)
        }),
        fault("extent tree checksum", "its checksum is wrong", |lab| {
            let at = lab
                .reader
                .map(&lab.entry("contents/holes-3000"))
                .expect("map")
                .tree[1];
            flip(lab, at + 30);
        }),
        fault(
            "extent tree order",
            "comes after|out of order|instead of",
            |lab| lab.tree("contents/holes-3000", |b| b[12..16].fill(0x7f)),
        ),
        fault("extent tree depth", "levels above", |lab| {
            lab.tree("contents/holes-3000", |b| b[6] ^= 1)
        }),
        fault("time", "nanoseconds", |lab| {
            lab.inode("contents/1", |b| b[0x88..0x8c].fill(0xff))
        }),
        fault("extra size", "more bytes", |lab| {
            lab.inode("contents/1", |b| b[0x80] = 250)
        }),
        fault("names' checksum", "its checksum is wrong", |lab| {
            let at = lab.reader.map(&lab.entry("d2")).expect("map").extents[0].position;
            flip(lab, at + 40);
        }),
        fault("names' tail", "does not end with a checksum", |lab| {
            lab.names("d2", 0, |b| b[BLOCK - 8] = 13)
        }),
        fault("file type of a name", "but it is of type", |lab| {
            lab.names("d2", 0, |b| b[24 + 7] = 2)
        }),
        fault("length of a name", "bytes", |lab| {
            lab.names("d2", 0, |b| b[24 + 4] += 1)
        }),
        fault("name of an unused inode", "is not used", |lab| {
            let last = lab.reader.superblock.inodes.get();
            lab.names("d2", 0, |b| b[24..28].copy_from_slice(&last.to_le_bytes()));
        }),
        fault("dot", "\".\" is not itself", |lab| {
            lab.names("d2", 0, |b| add(b, 0, 4, 1))
        }),
        fault("name with a slash", "can't be a name", |lab| {
            lab.names("d2", 0, |b| b[32] = b'/')
        }),
        fault("hash tree's checksum", "hashes: its checksum", |lab| {
            let at = lab.reader.map(&lab.entry("d3000")).expect("map").extents[0].position;
            // In the first entry: with a level between, the root need not have another.
            flip(lab, at + 37);
        }),
    ]
}

/// What opening says, or each thing that can be read.
fn findings(path: &Path) -> Vec<String> {
    let file = File::open(path).expect("open");
    let len = file.metadata().expect("stat").len();
    let reader = match Reader::open(Content::range(std::sync::Arc::new(file), 0, len)) {
        Ok(reader) => reader,
        Err(error) => return vec![format!("{error:#}")],
    };
    let mut open = vec![reader.root().expect("root")];
    let mut found = Vec::new();
    while let Some(entry) = open.pop() {
        let read = match entry.kind {
            Kind::Directory => reader.read_dir(&entry).map(|names| {
                for name in names {
                    match reader.entry_of(&name) {
                        Ok(entry) => open.push(entry),
                        Err(error) => found.push(format!("{error:#}")),
                    }
                }
            }),
            Kind::File { .. } => reader.extents(&entry).map(|_| ()),
            _ => Ok(()),
        };
        found.extend(read.err().map(|error| format!("{error:#}")));
    }
    found
}

#[test]
fn every_fault_is_found() {
    if !may_mount() || !have("mke2fs") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let image = folder.path().join("image");
    File::create(&image)
        .and_then(|file| file.set_len(200 << 20))
        .expect("create");
    run(Command::new("mke2fs")
        .args([
            "-q",
            "-t",
            "ext4",
            "-b",
            "1024",
            "-I",
            "256",
            "-O",
            "metadata_csum_seed",
        ])
        .arg(&image));
    {
        let on = folder.path().join("mount");
        let _mount = Mount::new(&image, &on);
        populate(&on, &LIMITS);
    }
    let mut lab = Lab {
        file: OpenOptions::new()
            .read(true)
            .write(true)
            .open(&image)
            .expect("open"),
        reader: open(&image),
        path: image,
        seed: 0,
        undo: Vec::new(),
    };
    lab.seed = u32::try_from(number(&lab.get(SUPERBLOCK + 0x270, 4), 0, 4)).expect("four bytes");
    assert_eq!(findings(&lab.path), [""; 0]);
    let (mut missed, mut total) = (Vec::new(), 0);
    for (name, expected, make) in faults() {
        total += 1;
        make(&mut lab);
        let found = findings(&lab.path);
        if !expected
            .split('|')
            .any(|part| found.iter().any(|fault| fault.contains(part)))
        {
            let first = found.get(..5).unwrap_or(&found);
            missed.push(format!("{name}: {expected:?} is not in {first:#?}"));
        }
        lab.restore();
    }
    println!("{total} faults, {} not found", missed.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(findings(&lab.path), [""; 0]);
}
