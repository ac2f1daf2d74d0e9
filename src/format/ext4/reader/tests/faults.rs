//! Faults made on purpose, each in an otherwise sound file system: the check must find every one.
//!
//! Offsets are written here once more, from the format's description, so that a wrong offset in the
//! reader shows. No damaged image is ever mounted.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mounted::{Mount, may_mount, populate, run};
use super::{LIMITS, open};
use crate::format::ext4::reader::{Entry, Follow, Reader};
use crate::referee::have;
use crate::tree::Content;

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

    fn superblock_at(&mut self, position: u64, change: impl FnOnce(&mut [u8])) {
        let mut bytes = self.get(position, BLOCK);
        change(&mut bytes);
        let sum = checksum(u32::MAX, &bytes[..1020]);
        bytes[1020..].copy_from_slice(&sum.to_le_bytes());
        self.put(position, &bytes);
    }

    fn superblock(&mut self, change: impl FnOnce(&mut [u8])) {
        self.superblock_at(SUPERBLOCK, change);
    }

    fn descriptor(&mut self, group: u32, change: impl FnOnce(&mut [u8])) {
        let position = DESCRIPTORS + u64::from(group) * 64;
        let mut bytes = self.get(position, 64);
        change(&mut bytes);
        bytes[30..32].fill(0);
        let sum = checksum(checksum(self.seed, &group.to_le_bytes()), &bytes);
        bytes[30..32].copy_from_slice(&sum.to_le_bytes()[..2]);
        self.put(position, &bytes);
    }

    /// Changes the bitmap of blocks (0) or inodes (1) of a group.
    fn bitmap(&mut self, group: u32, which: usize, change: impl FnOnce(&mut [u8])) {
        let descriptor = self.get(DESCRIPTORS + u64::from(group) * 64, 64);
        let block = number(&descriptor, which * 4, 4);
        let mut bytes = self.get(block * BLOCK as u64, BLOCK);
        change(&mut bytes);
        self.put(block * BLOCK as u64, &bytes);
        let superblock = self.get(SUPERBLOCK, BLOCK);
        let count = number(&superblock, [0x20, 0x28][which], 4) / 8;
        let len = usize::try_from(count).expect("small");
        let sum = checksum(self.seed, &bytes[..len]).to_le_bytes();
        self.descriptor(group, |b| {
            b[0x18 + which * 2..0x1a + which * 2].copy_from_slice(&sum[..2]);
            b[0x38 + which * 2..0x3a + which * 2].copy_from_slice(&sum[2..]);
        });
    }

    /// A group with a bitmap of blocks, some of which are free.
    fn last_used_group(&self) -> u32 {
        (0..self.reader.facts().groups)
            .rfind(|number| {
                let group = self.reader.group(*number).expect("group");
                group.flags & 2 == 0 && group.free_blocks > 100
            })
            .expect("a group with free blocks")
    }

    fn entry(&self, path: &str) -> Entry {
        let found = self.reader.lookup(path, Follow::NotLast).expect("lookup");
        found.unwrap_or_else(|| panic!("{path} is not there"))
    }

    fn inode_position(&self, number: u32) -> u64 {
        let per_group = self.reader.superblock.group_inodes.get();
        let group = self.reader.group((number - 1) / per_group).expect("group");
        group.inode_table * BLOCK as u64 + u64::from((number - 1) % per_group) * INODE as u64
    }

    fn inode_seed(&self, number: u32) -> u32 {
        let bytes = self.get(self.inode_position(number), INODE);
        let seed = checksum(self.seed, &number.to_le_bytes());
        checksum(seed, &bytes[0x64..0x68])
    }

    fn inode_numbered(&mut self, number: u32, change: impl FnOnce(&mut [u8])) {
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

    fn inode(&mut self, path: &str, change: impl FnOnce(&mut [u8])) {
        self.inode_numbered(self.entry(path).number, change);
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

    fn attributes(&mut self, path: &str, change: impl FnOnce(&mut [u8])) {
        let block = self.entry(path).attr_block;
        let mut bytes = self.get(block * BLOCK as u64, BLOCK);
        change(&mut bytes);
        bytes[16..20].fill(0);
        let sum = checksum(checksum(self.seed, &block.to_le_bytes()), &bytes);
        bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        self.put(block * BLOCK as u64, &bytes);
    }

    fn journal(&self) -> u64 {
        let entry = self.reader.by_number(8).expect("journal");
        let map = self.reader.map(&entry).expect("map");
        map.position(0, BLOCK as u64).expect("block")
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

fn header_faults() -> Vec<Fault> {
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
        fault("not clean", "not unmounted cleanly", |lab| {
            lab.superblock(|b| b[0x3a] = 0)
        }),
        fault("has errors", "not unmounted cleanly", |lab| {
            lab.superblock(|b| b[0x3a] = 3)
        }),
        fault("orphans", "deleted inodes", |lab| {
            lab.superblock(|b| b[0xe8] = 20)
        }),
        fault("free blocks", "free blocks, the groups", |lab| {
            lab.superblock(|b| add(b, 0xc, 4, 1))
        }),
        fault("free inodes", "free inodes, the groups", |lab| {
            lab.superblock(|b| add(b, 0x10, 4, 1))
        }),
        fault("inodes", "do not make", |lab| {
            lab.superblock(|b| add(b, 0, 4, 8))
        }),
        fault(
            "copy of the superblock missing",
            "copy of the ext4 superblock in group 1",
            |lab| lab.put(8193 * 1024, &[0; BLOCK]),
        ),
        fault(
            "copy of the superblock differs",
            "copy of the ext4 superblock in group 3",
            |lab| lab.superblock_at((3 * 8192 + 1) * 1024, |b| b[0x68] ^= 1),
        ),
        fault(
            "copy of another group",
            "copy of the ext4 superblock in group 3",
            |lab| lab.superblock_at((3 * 8192 + 1) * 1024, |b| b[0x5a] ^= 1),
        ),
        fault("copied descriptors differ", "descriptor of group", |lab| {
            flip(lab, 8194 * 1024 + 64)
        }),
        fault(
            "descriptor checksum",
            "descriptor of ext4 group 1: its checksum",
            |lab| flip(lab, DESCRIPTORS + 64 + 12),
        ),
        fault("group's free blocks", "free blocks, but has", |lab| {
            lab.descriptor(0, |b| add(b, 12, 2, 1))
        }),
        fault("group's free inodes", "free inodes, but has", |lab| {
            lab.descriptor(0, |b| add(b, 14, 2, 1))
        }),
        fault("group's directories", "directories, but has", |lab| {
            lab.descriptor(0, |b| add(b, 16, 2, 1))
        }),
        fault("group's unused inodes", "says it never was", |lab| {
            lab.descriptor(0, |b| {
                let count = number(b, 14, 2);
                b[28..30].copy_from_slice(&u16::try_from(count + 1).expect("small").to_le_bytes());
            })
        }),
        fault(
            "group's inode table",
            "descriptor of group 1 differs",
            |lab| lab.descriptor(1, |b| add(b, 8, 4, 1)),
        ),
        fault(
            "block bitmap checksum",
            "block bitmap of ext4 group 0: its checksum",
            |lab| {
                let at = number(&lab.get(DESCRIPTORS, 4), 0, 4) * 1024;
                flip(lab, at + 1000);
            },
        ),
        fault(
            "inode bitmap checksum",
            "inode bitmap of ext4 group 0: its checksum",
            |lab| {
                let at = number(&lab.get(DESCRIPTORS + 4, 4), 0, 4) * 1024;
                flip(lab, at);
            },
        ),
        fault("used block marked free", "but it is used", |lab| {
            lab.bitmap(0, 0, |b| b[0] &= !1)
        }),
        fault("free block marked used", "belongs to nothing", |lab| {
            let group = lab.last_used_group();
            lab.bitmap(group, 0, |b| {
                let at = b.iter().position(|byte| *byte != 0xff).expect("free");
                b[at] = 0xff;
            });
        }),
        fault("used inode marked free", "not in use|not used", |lab| {
            lab.bitmap(0, 1, |b| b[1] &= !8)
        }),
        fault("inode bitmap's end", "behind its end", |lab| {
            lab.bitmap(0, 1, |b| b[BLOCK - 1] = 0x7f)
        }),
        fault("journal with changes", "changes to replay", |lab| {
            let at = lab.journal();
            lab.put(at + 28, &[0, 0, 0, 1]);
        }),
        fault("journal's length", "in an inode of", |lab| {
            let at = lab.journal();
            flip(lab, at + 19);
        }),
        fault("journal's magic", "does not start as a journal", |lab| {
            let at = lab.journal();
            flip(lab, at);
        }),
        fault("journal's error", "given up", |lab| {
            let at = lab.journal();
            lab.put(at + 32, &[0, 0, 0, 5]);
        }),
    ]
}

fn inode_faults() -> Vec<Fault> {
    vec![
        fault("inode checksum", "its checksum is wrong", |lab| {
            let at = lab.inode_position(lab.entry("d2").number);
            flip(lab, at + 9);
        }),
        fault("links of a file", "links, but has", |lab| {
            lab.inode("contents/1", |b| add(b, 0x1a, 2, 1))
        }),
        fault("links of a directory", "links, but has", |lab| {
            lab.inode("d90", |b| add(b, 0x1a, 2, 1))
        }),
        fault("blocks of a file", "bytes in blocks, but", |lab| {
            lab.inode("contents/70000", |b| add(b, 0x1c, 4, 2))
        }),
        fault("size of a file", "behind its end", |lab| {
            lab.inode("contents/70000", |b| add(b, 4, 4, -5000))
        }),
        fault("size of a directory", "can't have|is a hole", |lab| {
            lab.inode("d2", |b| add(b, 4, 4, 1024))
        }),
        fault("deleted but named", "not used", |lab| {
            lab.inode("contents/1", |b| b[0x14] = 1)
        }),
        fault("file type in the mode", "has file type", |lab| {
            lab.inode("specials/pipe", |b| b[1] = 0xc0 | b[1] & 0xf)
        }),
        fault("blocks of two files", "belongs to", |lab| {
            let at = lab.inode_position(lab.entry("contents/512").number);
            let map = lab.get(at + 0x28, 60);
            lab.inode("contents/511", |b| b[0x28..0x64].copy_from_slice(&map));
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
        fault("file type of a name", "file type", |lab| {
            lab.names("d2", 0, |b| b[24 + 7] = 2)
        }),
        fault("length of a name", "bytes", |lab| {
            lab.names("d2", 0, |b| b[24 + 4] += 1)
        }),
        fault("name of an unused inode", "not in use or damaged", |lab| {
            let last = lab.reader.facts().inodes;
            lab.names("d2", 0, |b| b[24..28].copy_from_slice(&last.to_le_bytes()));
        }),
        fault("dot", "\".\" is not itself", |lab| {
            lab.names("d2", 0, |b| add(b, 0, 4, 1))
        }),
        fault("dot dot", "is not where its name is", |lab| {
            let other = lab.entry("d90").number;
            lab.names("d2", 0, |b| b[12..16].copy_from_slice(&other.to_le_bytes()));
        }),
        fault("name with a slash", "can't be a name", |lab| {
            lab.names("d2", 0, |b| b[32] = b'/')
        }),
        fault("hash tree's checksum", "hashes: its checksum", |lab| {
            let at = lab.reader.map(&lab.entry("d3000")).expect("map").extents[0].position;
            // In the first entry: with a level between, the root need not have another.
            flip(lab, at + 37);
        }),
        fault("attributes' checksum", "wrong checksum", |lab| {
            let at = lab.entry("attributes/v300").attr_block * 1024;
            flip(lab, at + 900);
        }),
        fault("attributes' references", "inodes, but 1 have it", |lab| {
            lab.attributes("attributes/v300", |b| b[4] = 2)
        }),
        fault("attribute's hash", "the hash of", |lab| {
            lab.attributes("attributes/v300", |b| b[32 + 12] ^= 1)
        }),
        fault("attribute's value", "cut short", |lab| {
            lab.attributes("attributes/v300", |b| b[32 + 3] = 4)
        }),
        fault("attribute's prefix", "no prefix", |lab| {
            lab.attributes("attributes/v300", |b| b[33] = 9)
        }),
    ]
}

/// What the check, or already opening, says.
fn findings(path: &Path) -> Vec<String> {
    let file = File::open(path).expect("open");
    let len = file.metadata().expect("stat").len();
    match Reader::open(Content::range(std::sync::Arc::new(file), 0, len)) {
        Ok(reader) => reader.check().expect("checking"),
        Err(error) => vec![format!("{error:#}")],
    }
}

#[test]
fn every_fault_is_found() {
    if !may_mount() || !have("mke2fs") || !have("e2fsck") {
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
    let sound = |lab: &Lab| {
        let output = Command::new("e2fsck").arg("-fn").arg(&lab.path).output();
        output.expect("e2fsck starts").status.success()
    };
    assert!(sound(&lab), "e2fsck takes the sound image for damaged");
    let with_e2fsck = std::env::var_os("REPAIR_TOO").is_some();
    let (mut missed, mut total) = (Vec::new(), 0);
    for (name, expected, make) in header_faults().into_iter().chain(inode_faults()) {
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
        if with_e2fsck && sound(&lab) {
            println!("e2fsck -fn does not see: {name}");
        }
        lab.restore();
    }
    println!("{total} faults, {} not found", missed.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(findings(&lab.path), [""; 0]);
}
