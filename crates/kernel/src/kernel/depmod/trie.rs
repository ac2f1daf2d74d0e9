//! The binary indexes: a trie of keys on disk, in which each key has values with a priority.
//!
//! ```text
//! magic | version | root | nodes, each after its children
//! node:  [prefix 0] [first last child…] [count (priority value 0)…]
//! ```
//!
//! All numbers are of 32 bits, big endian. What a node consists of is in the top bits of the number
//! that leads to it; its other bits are the place in the file. Children are those for the bytes
//! `first` to `last`, 0 where there is none. The root never has a prefix.

use std::cmp::Reverse;

use anyhow::{Result, ensure};
use zerocopy::byteorder::big_endian::U32;
use zerocopy::{Immutable, IntoBytes};

/// What the file begins with.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    magic: U32,   // 0x0
    version: U32, // 0x4  major in the upper half
    root: U32,    // 0x8
}
const _: () = assert!(size_of::<Header>() == 0xc);

pub(super) const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;

/// Parts of a node.
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// Largest place of a node; the bits above are for its parts.
const PLACE_MAX: usize = 0x0fff_ffff;

/// Longest key: an alias, of which the longest ones have some 300 bytes. It also bounds the depth.
const KEY_MAX_BYTES: usize = 2048;

/// A trie, being filled.
#[derive(Debug, Default)]
pub(super) struct Trie {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Vec<u8>,
    priority: u32,
    value: Vec<u8>,
}

impl Trie {
    /// Adds a value to those of a key. Equal priorities: what comes later goes first.
    pub(super) fn insert(&mut self, key: Vec<u8>, value: Vec<u8>, priority: u32) -> Result<()> {
        ensure!(
            key.is_ascii(),
            "{:?} can be no key of an index, which are ASCII",
            String::from_utf8_lossy(&key)
        );
        ensure!(
            key.len() <= KEY_MAX_BYTES,
            "a key of an index has {} bytes, where at most {KEY_MAX_BYTES} are taken",
            key.len()
        );
        self.entries.push(Entry {
            key,
            priority,
            value,
        });
        Ok(())
    }

    /// The file.
    pub(super) fn bytes(self) -> Result<Vec<u8>> {
        let mut order: Vec<(usize, &Entry)> = self.entries.iter().enumerate().collect();
        order.sort_unstable_by_key(|(at, entry)| (&entry.key, entry.priority, Reverse(*at)));
        let entries: Vec<&Entry> = order.into_iter().map(|(_, entry)| entry).collect();
        let mut file = vec![0; size_of::<Header>()];
        let root = write_node(&mut file, &entries, 0, 0)?;
        let header = Header {
            magic: MAGIC.into(),
            version: VERSION.into(),
            root: root.into(),
        };
        file[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        Ok(file)
    }
}

/// Writes the node of `entries`, which have their first `prefix_end` bytes in common; those up to
/// `start` are said by the nodes above. Returns what leads to it.
fn write_node(
    file: &mut Vec<u8>,
    entries: &[&Entry],
    start: usize,
    prefix_end: usize,
) -> Result<u32> {
    let (own, below) = entries.split_at(entries.partition_point(|e| e.key.len() == prefix_end));
    let mut children: Vec<(u8, u32)> = Vec::new();
    for group in below.chunk_by(|a, b| a.key[prefix_end] == b.key[prefix_end]) {
        let (first, last) = (&group[0].key, &group[group.len() - 1].key);
        let rest = first[prefix_end..].iter().zip(&last[prefix_end..]);
        // Sorted, so what the first and the last one have in common all have.
        let common = prefix_end + rest.take_while(|(a, b)| a == b).count();
        let child = write_node(file, group, prefix_end + 1, common)?;
        children.push((first[prefix_end], child));
    }
    ensure!(
        file.len() <= PLACE_MAX,
        "an index would have more than {PLACE_MAX} bytes"
    );
    let mut leads = u32::try_from(file.len())?;
    if let Some(entry) = entries.first()
        && start < prefix_end
    {
        leads |= HAS_PREFIX;
        file.extend_from_slice(&entry.key[start..prefix_end]);
        file.push(0);
    }
    if let (Some((first, _)), Some((last, _))) = (children.first(), children.last()) {
        leads |= HAS_CHILDREN;
        file.extend([first, last]);
        let mut given = children.iter().peekable();
        for byte in *first..=*last {
            let child = given.next_if(|(of, _)| *of == byte);
            let child = child.map_or(0, |(_, leads)| *leads);
            file.extend(child.to_be_bytes());
        }
    }
    if !own.is_empty() {
        leads |= HAS_VALUES;
        file.extend(u32::try_from(own.len())?.to_be_bytes());
        for entry in own {
            file.extend(entry.priority.to_be_bytes());
            file.extend_from_slice(&entry.value);
            file.push(0);
        }
    }
    Ok(leads)
}
