//! Faults made on purpose, each in an otherwise sound file system: the check must find every one.
//!
//! Offsets are written here once more, from the format's description, so that a wrong offset in the
//! reader shows. No damaged image is ever mounted.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mounted::{Mount, may_mount, populate, run};
use super::{LIMITS, open};
use crate::xfs::reader::{Entry, Reader};
use bake_referee::have;
use bake_tree::{Content, Follow, Look};

/// Where checksums are.
const SUPERBLOCK: usize = 224;
const FREE: usize = 216;
const INODES: usize = 312;
const LIST: usize = 32;
const SHORT: usize = 52;
const LONG: usize = 64;
const INODE: usize = 100;
const NAMES: usize = 4;
const HASHES: usize = 12;
const BLOCK: usize = 4096;

/// An image under change, and how to undo it.
struct Lab {
    file: File,
    path: PathBuf,
    reader: Reader,
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

    /// Changes an object, and makes its checksum right again.
    fn edit(&mut self, position: u64, len: usize, crc: usize, change: impl FnOnce(&mut [u8])) {
        let mut bytes = self.get(position, len);
        change(&mut bytes);
        bytes[crc..crc + 4].fill(0);
        let sum = checksum(&bytes).to_le_bytes();
        bytes[crc..crc + 4].copy_from_slice(&sum);
        self.put(position, &bytes);
    }

    fn group(&self, group: u32) -> u64 {
        self.reader.group_position(group, 0)
    }

    fn sector(&mut self, group: u32, sector: u64, crc: usize, change: impl FnOnce(&mut [u8])) {
        let position = self.group(group) + sector * 512;
        self.edit(position, 512, crc, change);
    }

    /// A tree's root in group 0, by its block.
    fn root(&mut self, block: u64, change: impl FnOnce(&mut [u8])) {
        self.edit(block * BLOCK as u64, BLOCK, SHORT, change);
    }

    fn entry(&self, path: &str) -> Entry {
        let found = self.reader.lookup(path, Follow::NotLast).expect("lookup");
        found.unwrap_or_else(|| panic!("{path} is not there"))
    }

    fn inode_position(&self, number: u64) -> u64 {
        self.reader.block_position(number >> 3).expect("inode") + (number & 7) * 512
    }

    fn inode(&mut self, path: &str, change: impl FnOnce(&mut [u8])) {
        let position = self.inode_position(self.entry(path).number);
        self.edit(position, 512, INODE, change);
    }

    fn data(&self, path: &str, block: u64) -> u64 {
        let entry = self.entry(path);
        let map = self.reader.map(entry.number, &entry.data).expect("map");
        map.position(block, BLOCK as u64).expect("block")
    }

    fn attr(&self, path: &str, block: u64) -> u64 {
        let entry = self.entry(path);
        let fork = entry.attrs.as_ref().expect("attributes");
        let map = self.reader.map(entry.number, fork).expect("map");
        map.position(block, BLOCK as u64).expect("block")
    }

    fn data_block(&mut self, path: &str, block: u64, crc: usize, change: impl FnOnce(&mut [u8])) {
        self.edit(self.data(path, block), BLOCK, crc, change);
    }

    fn attr_block(&mut self, path: &str, block: u64, crc: usize, change: impl FnOnce(&mut [u8])) {
        self.edit(self.attr(path, block), BLOCK, crc, change);
    }

    /// A block of an extent tree.
    fn tree_block(&mut self, path: &str, index: usize, change: impl FnOnce(&mut [u8])) {
        let entry = self.entry(path);
        let map = self.reader.map(entry.number, &entry.data).expect("map");
        self.edit(map.tree[index], BLOCK, LONG, change);
    }

    /// An inode that exists and is not used.
    fn free_inode(&self) -> u64 {
        let root = self.reader.root().expect("root").number;
        (root..root + 100_000)
            .find(|number| {
                self.reader
                    .raw_inode(*number)
                    .is_ok_and(|raw| raw.core.mode.get() == 0)
            })
            .expect("a free inode")
    }

    fn log(&self) -> u64 {
        let superblock = self.get(0, 512);
        let start = u64::from_be_bytes(superblock[48..56].try_into().expect("8"));
        self.reader.block_position(start).expect("log")
    }

    /// The last record of the log: its header's position.
    fn last_record(&self) -> u64 {
        let log = self.log();
        let mut last = log;
        for sector in 0.. {
            let bytes = self.get(log + sector * 512, 512);
            let header = bytes[..4] == 0xfeed_babe_u32.to_be_bytes();
            let cycle = if header { &bytes[4..8] } else { &bytes[..4] };
            if cycle != 1u32.to_be_bytes() {
                break;
            }
            if header {
                last = log + sector * 512;
            }
        }
        last
    }

    fn restore(&mut self) {
        while let Some((position, bytes)) = self.undo.pop() {
            self.file.write_all_at(&bytes, position).expect("restore");
        }
    }
}

/// CRC-32C bit by bit.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
        crc
    })
}

/// Adds to a big-endian number.
fn add(bytes: &mut [u8], at: usize, len: usize, delta: i64) {
    let mut number = [0; 8];
    number[8 - len..].copy_from_slice(&bytes[at..at + len]);
    let number = u64::from_be_bytes(number)
        .wrapping_add_signed(delta)
        .to_be_bytes();
    bytes[at..at + len].copy_from_slice(&number[8 - len..]);
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len]
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

type Fault = (&'static str, &'static str, Box<dyn Fn(&mut Lab)>);

fn fault(name: &'static str, found: &'static str, make: impl Fn(&mut Lab) + 'static) -> Fault {
    (name, found, Box::new(make))
}

fn header_faults() -> Vec<Fault> {
    vec![
        fault(
            "superblock checksum",
            "checksum of the xfs superblock",
            |lab| {
                let byte = lab.get(110, 1)[0] ^ 1;
                lab.put(110, &[byte]);
            },
        ),
        fault("superblock free blocks", "free blocks", |lab| {
            lab.sector(0, 0, SUPERBLOCK, |b| add(b, 144, 8, 1))
        }),
        fault("superblock free inodes", "free inodes", |lab| {
            lab.sector(0, 0, SUPERBLOCK, |b| add(b, 136, 8, 1))
        }),
        fault("superblock inodes", "inodes, the groups", |lab| {
            lab.sector(0, 0, SUPERBLOCK, |b| add(b, 128, 8, 64))
        }),
        fault(
            "superblock lacks the attribute bit",
            "bit for attributes",
            |lab| lab.sector(0, 0, SUPERBLOCK, |b| b[101] &= !0x10),
        ),
        fault("superblock features differ", "two different sets", |lab| {
            lab.sector(0, 0, SUPERBLOCK, |b| b[207] ^= 0x40)
        }),
        fault("superblock in progress", "was not finished", |lab| {
            lab.sector(0, 0, SUPERBLOCK, |b| b[126] = 1)
        }),
        fault(
            "copy of the superblock missing",
            "copy of the xfs superblock in group 1",
            |lab| {
                let position = lab.group(1);
                lab.put(position, &[0; 512]);
            },
        ),
        fault(
            "copy of the superblock differs",
            "copy of the xfs superblock in group 1",
            |lab| lab.sector(1, 0, SUPERBLOCK, |b| add(b, 84, 4, 1)),
        ),
        fault(
            "free space header checksum",
            "checksum of the free space header",
            |lab| {
                let position = lab.group(1) + 512;
                let byte = lab.get(position + 100, 1)[0] ^ 1;
                lab.put(position + 100, &[byte]);
            },
        ),
        fault("free space header counts", "free blocks, but", |lab| {
            lab.sector(1, 1, FREE, |b| add(b, 52, 4, 1))
        }),
        fault("longest free run", "longest free run", |lab| {
            lab.sector(1, 1, FREE, |b| add(b, 56, 4, -1))
        }),
        fault(
            "free space tree blocks",
            "blocks of trees of free space",
            |lab| lab.sector(1, 1, FREE, |b| add(b, 60, 4, 1)),
        ),
        fault(
            "free space header UUID",
            "another file system's UUID",
            |lab| lab.sector(1, 1, FREE, |b| b[64] ^= 1),
        ),
        fault(
            "free space header from the future",
            "ahead of the log",
            |lab| {
                lab.sector(1, 1, FREE, |b| {
                    b[208..216].copy_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0])
                })
            },
        ),
        fault("group length", "header has", |lab| {
            lab.sector(1, 1, FREE, |b| add(b, 12, 4, -1))
        }),
        fault(
            "reference count blocks",
            "tree of reference counts",
            |lab| lab.sector(1, 1, FREE, |b| add(b, 84, 4, 1)),
        ),
        fault(
            "free list block out of range",
            "free list has block",
            |lab| {
                let first = number(&lab.get(512, 512), 40, 4);
                lab.sector(0, 3, LIST, |b| b[36 + first * 4..40 + first * 4].fill(0x7f));
            },
        ),
        fault("free list one shorter", "belong to nothing", |lab| {
            lab.sector(0, 1, FREE, |b| {
                add(b, 48, 4, -1);
                add(b, 44, 4, -1);
            })
        }),
        fault("inode header free inodes", "free inodes, but", |lab| {
            lab.sector(0, 2, INODES, |b| add(b, 28, 4, 1))
        }),
        fault("inode header inodes", "inodes, but", |lab| {
            lab.sector(0, 2, INODES, |b| add(b, 16, 4, 64))
        }),
        fault("newest chunk", "newest inode chunk", |lab| {
            lab.sector(0, 2, INODES, |b| add(b, 32, 4, 1))
        }),
        fault("unlinked bucket", "unlinked inodes", |lab| {
            lab.sector(0, 2, INODES, |b| b[40..44].copy_from_slice(&[0, 0, 0, 131]))
        }),
        fault("inode tree blocks", "blocks of the tree of inodes", |lab| {
            lab.sector(0, 2, INODES, |b| add(b, 336, 4, 1))
        }),
        fault(
            "free inode tree blocks",
            "blocks of the tree of free inodes",
            |lab| lab.sector(0, 2, INODES, |b| add(b, 340, 4, 1)),
        ),
    ]
}

fn tree_faults() -> Vec<Fault> {
    vec![
        fault("free run shorter", "trees of free space", |lab| {
            lab.root(1, |b| add(b, 60, 4, -1))
        }),
        fault(
            "free run shorter in both trees",
            "belong to nothing",
            |lab| {
                // The last run by start ends the group, and is the longest.
                let records = number(&lab.get(4096, 4096), 6, 2);
                lab.root(1, |b| add(b, 60 + (records - 1) * 8, 4, -1));
                let records = number(&lab.get(8192, 4096), 6, 2);
                lab.root(2, |b| add(b, 60 + (records - 1) * 8, 4, -1));
            },
        ),
        fault("free run longer than free", "belongs to", |lab| {
            let records = number(&lab.get(4096, 4096), 6, 2);
            lab.root(1, |b| {
                add(b, 56 + (records - 1) * 8, 4, -1);
                add(b, 60 + (records - 1) * 8, 4, 1);
            });
            let records = number(&lab.get(8192, 4096), 6, 2);
            lab.root(2, |b| {
                add(b, 56 + (records - 1) * 8, 4, -1);
                add(b, 60 + (records - 1) * 8, 4, 1);
            });
        }),
        fault("tree owner", "has owner", |lab| {
            lab.root(1, |b| add(b, 48, 4, 1))
        }),
        fault("tree position", "takes itself for sector", |lab| {
            lab.root(2, |b| add(b, 16, 8, 8))
        }),
        fault("tree level", "is not level", |lab| {
            lab.root(3, |b| b[5] = 1)
        }),
        fault("used inode marked free", "in use, but its chunk", |lab| {
            lab.root(3, |b| {
                b[56 + 7] += 1;
                b[56 + 15] |= 8;
            })
        }),
        fault("chunk counts wrong", "inode chunk at", |lab| {
            lab.root(3, |b| b[56 + 7] ^= 1)
        }),
        fault("free inode tree incomplete", "tree of free inodes", |lab| {
            lab.root(4, |b| add(b, 6, 2, if b[7] > 0 { -1 } else { 1 }))
        }),
    ]
}

fn inode_faults() -> Vec<Fault> {
    vec![
        fault("inode checksum", "its checksum is wrong", |lab| {
            let position = lab.inode_position(lab.entry("d2").number);
            let byte = lab.get(position + 9, 1)[0] ^ 1;
            lab.put(position + 9, &[byte]);
        }),
        fault("inode UUID", "another file system's UUID", |lab| {
            lab.inode("d2", |b| b[160] ^= 1)
        }),
        fault("inode number", "takes itself for inode", |lab| {
            lab.inode("d2", |b| add(b, 152, 8, 1))
        }),
        fault("inode from the future", "ahead of the log", |lab| {
            lab.inode("d2", |b| {
                b[112..120].copy_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0])
            })
        }),
        // The clock decides which of the two is seen first: read as small ones, its times may be none.
        fault("small timestamps", "small timestamps|nanoseconds", |lab| {
            lab.inode("contents/1", |b| b[127] &= !8)
        }),
        fault("links of a file", "links, but has", |lab| {
            lab.inode("contents/1", |b| add(b, 16, 4, 1))
        }),
        fault("links of a directory", "links, but has", |lab| {
            lab.inode("d90", |b| add(b, 16, 4, 1))
        }),
        fault("blocks of a file", "blocks, but has", |lab| {
            lab.inode("contents/70000", |b| add(b, 64, 8, 1))
        }),
        fault("attribute fork too early", "attribute fork at 6", |lab| {
            lab.inode("attributes/m2true", |b| {
                let attrs: Vec<u8> = b[176 + usize::from(b[82]) * 8..].to_vec();
                b[176 + 48..].fill(0);
                let len = attrs.len().min(336 - 48);
                b[176 + 48..176 + 48 + len].copy_from_slice(&attrs[..len]);
                b[82] = 6;
            });
        }),
        fault("attribute fork too late", "attribute fork at 38", |lab| {
            lab.inode("attributes/m40false", |b| b[82] = 38)
        }),
        fault("attribute fork of a device", "attribute fork at 2", |lab| {
            lab.inode("specials/null-labelled", |b| {
                b.copy_within(184..184 + 100, 192);
                b[82] = 2;
            });
        }),
        fault(
            "attribute format without a fork",
            "no attribute fork",
            |lab| lab.inode("contents/1", |b| b[82..84].copy_from_slice(&[0, 1])),
        ),
        fault(
            "free inode never written",
            "not an inode of version 3|checksum",
            |lab| {
                let position = lab.inode_position(lab.free_inode());
                lab.put(position, &[0; 512]);
            },
        ),
        fault("free inode in a list", "in use, but its chunk", |lab| {
            let position = lab.inode_position(lab.free_inode());
            lab.edit(position, 512, INODE, |b| {
                b[96..100].copy_from_slice(&[0, 0, 0, 5])
            });
        }),
        fault("used inode in a list", "list of unlinked", |lab| {
            lab.inode("contents/1", |b| b[96..100].copy_from_slice(&[0, 0, 0, 5]))
        }),
        fault(
            "file type in the mode",
            "file type|attribute fork at",
            |lab| lab.inode("contents/1", |b| b[2] = 0xc0 | b[2] & 0x0f),
        ),
        fault("nanoseconds between forks", "should be zero", |lab| {
            lab.inode("contents/1", |b| b[24] = 1)
        }),
        fault("extents overlap", "comes after", |lab| {
            lab.inode("contents/holes-2", |b| b.copy_within(176..192, 192))
        }),
        fault("blocks of two files", "belongs to", |lab| {
            let position = lab.inode_position(lab.entry("contents/4096").number);
            let record = lab.get(position + 176, 16);
            lab.inode("contents/511", |b| b[176..192].copy_from_slice(&record));
        }),
        fault("extent tree block too empty", "records, not", |lab| {
            lab.tree_block("contents/holes-3000", 1, |b| {
                b[6..8].copy_from_slice(&[0, 100])
            })
        }),
        fault(
            "extent tree not linked",
            "not linked with its neighbours",
            |lab| lab.tree_block("contents/holes-3000", 1, |b| add(b, 16, 8, 1)),
        ),
        fault("extent tree owner", "has owner", |lab| {
            lab.tree_block("contents/holes-3000", 0, |b| add(b, 56, 8, 1))
        }),
        fault("extent count", "extents instead of", |lab| {
            lab.inode("contents/holes-3000", |b| add(b, 76, 4, 1))
        }),
        fault("long target's owner", "has owner", |lab| {
            lab.data_block("specials/l1023", 0, HASHES, |b| add(b, 32, 8, 1))
        }),
        fault("long target's length", "is not its target", |lab| {
            lab.data_block("specials/l1023", 0, HASHES, |b| add(b, 8, 4, -1))
        }),
    ]
}

fn directory_faults() -> Vec<Fault> {
    const LEAF: u64 = 1 << 23;
    const FREE_INDEX: u64 = 1 << 24;
    vec![
        fault("short form offset", "has offset", |lab| {
            lab.inode("d2", |b| add(b, 176 + 6 + 1, 2, -8))
        }),
        fault("short form parent", "is not where its name is", |lab| {
            lab.inode("d2", |b| add(b, 178, 4, 3))
        }),
        fault("short form file type", "file type", |lab| {
            lab.inode("d2", |b| {
                let len = usize::from(b[182]);
                b[182 + 3 + len] = 2;
            })
        }),
        fault(
            "short form wide count",
            "cut short|inode numbers need|size is|has offset",
            |lab| lab.inode("d2", |b| b[177] = 1),
        ),
        fault("short form size", "size is|cut short", |lab| {
            lab.inode("d2", |b| add(b, 56, 8, 4))
        }),
        fault("name of an unused inode", "not in use or damaged", |lab| {
            let free = lab.free_inode();
            lab.inode("d2", |b| {
                let at = 182 + 3 + usize::from(b[182]) + 1;
                let low = u32::try_from(free).expect("small").to_be_bytes();
                b[at..at + 4].copy_from_slice(&low);
            });
        }),
        fault("best free region", "list of free regions", |lab| {
            lab.data_block("d90", 0, NAMES, |b| add(b, 50, 2, -8))
        }),
        fault("hash in a block", "has hash|out of order", |lab| {
            lab.data_block("d90", 0, NAMES, |b| {
                let count = number(b, BLOCK - 8, 4);
                add(b, BLOCK - 8 - count * 8 + 3, 1, 1);
            })
        }),
        fault("hash count in a block", "hashes|free region", |lab| {
            lab.data_block("d90", 0, NAMES, |b| add(b, BLOCK - 4, 4, 1))
        }),
        fault("file type in a block", "file type", |lab| {
            lab.data_block("d90", 0, NAMES, |b| {
                let at = 96 + 9 + usize::from(b[96 + 8]);
                b[at] = 7;
            })
        }),
        fault("tag in a block", "its tag is", |lab| {
            lab.data_block("d90", 0, NAMES, |b| b[64 + 15] ^= 8)
        }),
        fault("dot", "\".\"", |lab| {
            lab.data_block("d90", 0, NAMES, |b| add(b, 64, 8, 1))
        }),
        fault("dot dot", "is not where its name is", |lab| {
            lab.data_block("d90", 0, NAMES, |b| add(b, 80, 8, 3))
        }),
        fault("owner of names", "has owner", |lab| {
            lab.data_block("d250", 1, NAMES, |b| add(b, 40, 8, 1))
        }),
        fault("position of names", "takes itself for sector", |lab| {
            lab.data_block("d250", 1, NAMES, |b| add(b, 8, 8, 8))
        }),
        fault("leaf's longest free", "free bytes in a row", |lab| {
            lab.data_block("d250", LEAF, HASHES, |b| add(b, BLOCK - 6, 2, 8))
        }),
        fault("leaf's blocks", "blocks of names", |lab| {
            lab.data_block("d250", LEAF, HASHES, |b| add(b, BLOCK - 4, 4, 1))
        }),
        fault("leaf's order", "out of order", |lab| {
            lab.data_block("d250", LEAF, HASHES, |b| b[64..68].fill(0xff))
        }),
        fault("leaf's stale count", "stale", |lab| {
            lab.data_block("d250", LEAF, HASHES, |b| add(b, 58, 2, 1))
        }),
        fault(
            "node's hash",
            "hash that its parent says|out of order",
            |lab| lab.data_block("d3000", LEAF, HASHES, |b| add(b, 64, 4, 1)),
        ),
        fault("node's level", "level", |lab| {
            lab.data_block("d3000", LEAF, HASHES, |b| b[59] = 2)
        }),
        fault("leaf of a node not linked", "not linked", |lab| {
            let second = number(&lab.get(lab.data("d3000", LEAF), BLOCK), 64 + 12, 4);
            lab.data_block("d3000", second as u64, HASHES, |b| add(b, 4, 4, 1));
        }),
        fault("free index value", "free bytes in a row", |lab| {
            lab.data_block("d3000", FREE_INDEX, NAMES, |b| add(b, 64, 2, 8))
        }),
        fault("free index used", "in use", |lab| {
            lab.data_block("d3000", FREE_INDEX, NAMES, |b| add(b, 56, 4, -1))
        }),
        fault("free index first", "block 0 of its free index", |lab| {
            lab.data_block("d3000", FREE_INDEX, NAMES, |b| add(b, 48, 4, 1))
        }),
        fault("free index covers too few", "covers", |lab| {
            lab.data_block("d3000", FREE_INDEX, NAMES, |b| add(b, 52, 4, -1))
        }),
    ]
}

fn attribute_and_log_faults() -> Vec<Fault> {
    vec![
        fault(
            "short attributes' length",
            "bytes instead of|cut short",
            |lab| {
                lab.inode("attributes/capability", |b| {
                    let at = 176 + usize::from(b[82]) * 8;
                    add(b, at, 2, 1);
                })
            },
        ),
        fault("short attribute's space", "has the flags", |lab| {
            lab.inode("attributes/capability", |b| {
                let at = 176 + usize::from(b[82]) * 8 + 4;
                b[at + 2] = 6;
            })
        }),
        fault("leaf's free map", "for free, which they are not", |lab| {
            lab.attr_block("attributes/m40false", 0, HASHES, |b| {
                let slot = (0..3)
                    .find(|slot| number(b, 66 + slot * 4, 2) > 0)
                    .expect("free");
                add(b, 66 + slot * 4, 2, 8);
            })
        }),
        fault("leaf's free map too small", "of which it lists", |lab| {
            lab.attr_block("attributes/m2one", 0, HASHES, |b| add(b, 66, 2, -8))
        }),
        fault("leaf's used bytes", "used bytes instead", |lab| {
            lab.attr_block("attributes/m40false", 0, HASHES, |b| add(b, 58, 2, 4))
        }),
        fault("leaf's first used", "first attribute is at", |lab| {
            lab.attr_block("attributes/m40false", 0, HASHES, |b| {
                b[60..62].copy_from_slice(&[0x0f, 0xfc])
            })
        }),
        fault("attribute's hash", "is listed with", |lab| {
            lab.attr_block("attributes/m40false", 0, HASHES, |b| add(b, 83, 1, 1))
        }),
        fault("attributes' order", "out of order", |lab| {
            lab.attr_block("attributes/m40false", 0, HASHES, |b| {
                let first: [u8; 8] = b[80..88].try_into().expect("8");
                b.copy_within(88..96, 80);
                b[88..96].copy_from_slice(&first);
            })
        }),
        fault("attribute's owner", "has owner", |lab| {
            lab.attr_block("attributes/m300false", 0, HASHES, |b| add(b, 48, 8, 1))
        }),
        fault("remote value's offset", "is not the value from", |lab| {
            lab.attr_block("attributes/v8080", 2, HASHES, |b| add(b, 4, 4, 4))
        }),
        fault("remote value's length", "is not the value from", |lab| {
            lab.attr_block("attributes/v8080", 2, HASHES, |b| add(b, 8, 4, -4))
        }),
        fault("remote value's owner", "has owner", |lab| {
            lab.attr_block("attributes/v4041", 1, HASHES, |b| add(b, 32, 8, 1))
        }),
        fault("log all zero", "never written", |lab| {
            let (log, len) = (lab.log(), 8 << 20);
            lab.put(log, &vec![0; len]);
        }),
        fault("log record's position", "takes itself for", |lab| {
            let at = lab.last_record();
            lab.put(at + 16, &[0, 0, 0, 1, 0, 0, 0x7f, 0xff]);
        }),
        fault("log not closed", "changes to replay", |lab| {
            let at = lab.last_record();
            lab.put(at + 512 + 9, &[0]);
        }),
        fault(
            "log of another file system",
            "another file system's UUID",
            |lab| {
                let at = lab.last_record();
                lab.put(at + 304, &[0x55; 16]);
            },
        ),
        fault("log with a stray cycle", "is of cycle", |lab| {
            let log = lab.log();
            lab.put(log + (6 << 20), &[0, 0, 0, 7]);
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
    if !may_mount() || !have("mkfs.xfs") || !have("xfs_repair") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let image = folder.path().join("image");
    File::create(&image)
        .and_then(|file| file.set_len(320 << 20))
        .expect("create");
    run(Command::new("mkfs.xfs")
        .args(["-q", "-d", "agcount=2"])
        .arg(&image));
    {
        let on = folder.path().join("mount");
        let _mount = Mount::new(&image, &on);
        populate(&on, &LIMITS);
        // An attribute leaf that never lost anything.
        fs::write(on.join("attributes/m2one"), "x").expect("write");
        let name = on.join("attributes/m2one");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(&name, "user.long", &[b'l'; 700], flags).expect("setxattr");
    }
    let mut lab = Lab {
        file: OpenOptions::new()
            .read(true)
            .write(true)
            .open(&image)
            .expect("open"),
        reader: open(&image),
        path: image,
        undo: Vec::new(),
    };
    assert_eq!(findings(&lab.path), [""; 0]);
    let repair = |lab: &Lab| {
        let output = Command::new("xfs_repair").arg("-n").arg(&lab.path).output();
        output.expect("xfs_repair starts").status.success()
    };
    assert!(repair(&lab), "xfs_repair takes the sound image for damaged");
    let with_repair = std::env::var_os("REPAIR_TOO").is_some();
    let (mut missed, mut total) = (Vec::new(), 0);
    for (name, expected, make) in [
        header_faults(),
        tree_faults(),
        inode_faults(),
        directory_faults(),
        attribute_and_log_faults(),
    ]
    .into_iter()
    .flatten()
    {
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
        if with_repair && repair(&lab) {
            println!("xfs_repair -n does not see: {name}");
        }
        lab.restore();
    }
    println!("{total} faults, {} not found", missed.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(findings(&lab.path), [""; 0]);
}
