//! Extended attributes: within the inode, or in a fork of blocks sorted by hash.
//!
//! ```text
//! short   in the inode: name and value one behind the other
//! blocks  one leaf, or a tree of leaves; then the values that are too large for a leaf
//! ```

use std::borrow::Cow;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout};

use super::acl;
use super::crc::seal;
use super::format::{
    ATTRIBUTE_LOCAL, ATTRIBUTE_SECURITY, ATTRIBUTE_TRUSTED, AttributeEntry, AttributeLeaf,
    FreeRegion, HashedHeader, MAGIC_ATTRIBUTE_LEAF, REMOTE_CRC, RemoteHeader,
};
use super::geometry::BLOCK_LEN;
use super::hashed::{Fork, Put, fill, linked, name_hash, node_levels, put_nodes};
use bake_tree::{XATTR_VALUE_MAX, Xattrs};

/// Header of a leaf.
#[derive(Clone, Copy, Debug, FromZeros, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct LeafHeader {
    hashed: HashedHeader,
    leaf: AttributeLeaf,
}
const _: () = assert!(size_of::<LeafHeader>() == 0x50);

/// Bytes of a value in each of its blocks.
const VALUE_BLOCK_BYTES: usize = BLOCK_LEN - size_of::<RemoteHeader>();
/// Longest name without its namespace: its length has one byte.
const MAX_NAME_BYTES: usize = 255;
/// Largest value in the short form: its length has one byte.
const MAX_SHORT_VALUE_BYTES: usize = 255;
/// From this size on, a name with its value is too large for a leaf: three quarters of it.
const MIN_REMOTE_BYTES: usize = BLOCK_LEN / 4 * 3;

/// Namespaces by the prefix that names have outside.
const NAMESPACES: [(&[u8], u8); 3] = [
    (b"user.", 0),
    (b"trusted.", ATTRIBUTE_TRUSTED),
    (b"security.", ATTRIBUTE_SECURITY),
];

/// An attribute as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Attribute<'a> {
    namespace: u8,
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// The attributes of an inode; an error names the one that can't be stored.
pub(super) fn from_tree(xattrs: &Xattrs) -> Result<Vec<Attribute<'_>>> {
    let mut attributes: Vec<Attribute<'_>> = Vec::with_capacity(xattrs.len());
    for (name, value) in xattrs.iter() {
        let attribute = convert(name, value).with_context(|| {
            format!(
                "storing its attribute {:?}",
                name.escape_ascii().to_string()
            )
        })?;
        // An ACL may be there twice: as Linux shows it, and as XFS keeps it.
        ensure!(
            !attributes
                .iter()
                .any(|a| (a.namespace, a.name) == (attribute.namespace, attribute.name)),
            "its attribute {:?} is there twice",
            name.escape_ascii().to_string()
        );
        attributes.push(attribute);
    }
    Ok(attributes)
}

fn convert<'a>(name: &'a [u8], value: &'a [u8]) -> Result<Attribute<'a>> {
    ensure!(
        value.len() <= XATTR_VALUE_MAX,
        "its value has {} bytes, and {XATTR_VALUE_MAX} are the most",
        value.len()
    );
    if let Some(stored) = acl::stored_name(name) {
        return Ok(Attribute {
            namespace: ATTRIBUTE_TRUSTED,
            name: stored,
            value: acl::to_disk(value)?.into(),
        });
    }
    for (prefix, namespace) in NAMESPACES {
        let Some(name) = name.strip_prefix(prefix) else {
            continue;
        };
        ensure!(
            (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains(&0),
            "a name has 1 to {MAX_NAME_BYTES} bytes behind its namespace, none of them zero"
        );
        return Ok(Attribute {
            namespace,
            name,
            value: value.into(),
        });
    }
    bail!("XFS has no such namespace")
}

impl Attribute<'_> {
    /// Bytes in a leaf, if its value is there too.
    fn local_len(&self) -> usize {
        (3 + self.name.len() + self.value.len()).next_multiple_of(4)
    }

    fn is_remote(&self) -> bool {
        self.local_len() >= MIN_REMOTE_BYTES
    }

    /// Bytes in a leaf.
    fn leaf_len(&self) -> usize {
        match self.is_remote() {
            // Block, length and name, and what else the kernel's struct has.
            true => (11 + self.name.len()).next_multiple_of(4),
            false => self.local_len(),
        }
    }

    fn value_blocks(&self) -> usize {
        match self.is_remote() {
            true => self.value.len().div_ceil(VALUE_BLOCK_BYTES),
            false => 0,
        }
    }
}

/// Bytes of the short form; `None` if a value is too large for it.
pub(super) fn short_len(attributes: &[Attribute<'_>]) -> Option<usize> {
    attributes.iter().try_fold(4, |len, attribute| {
        let fits = attribute.value.len() <= MAX_SHORT_VALUE_BYTES;
        fits.then_some(len + 3 + attribute.name.len() + attribute.value.len())
    })
}

/// The short form. It is chosen where everything fits into the inode.
pub(super) fn short(attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut bytes = vec![0, 0, attributes.len() as u8, 0];
    for attribute in attributes {
        bytes.push(attribute.name.len() as u8);
        bytes.push(attribute.value.len() as u8);
        bytes.push(attribute.namespace);
        bytes.extend_from_slice(attribute.name);
        bytes.extend_from_slice(&attribute.value);
    }
    let len = (bytes.len() as u16).to_be_bytes();
    bytes[..2].copy_from_slice(&len);
    bytes
}

/// Attributes outside their inode.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    /// By hash.
    sorted: Vec<(u32, &'a Attribute<'a>)>,
    /// Where each leaf ends among them.
    ends: Vec<usize>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(attributes: &'a [Attribute<'a>]) -> Self {
        let mut sorted: Vec<(u32, &Attribute<'_>)> = attributes
            .iter()
            .map(|attribute| (name_hash(attribute.name), attribute))
            .collect();
        sorted.sort_by_key(|(hash, attribute)| (*hash, attribute.name, attribute.namespace));
        let mut ends = Vec::new();
        let mut used = size_of::<LeafHeader>();
        for (index, (_, attribute)) in sorted.iter().enumerate() {
            let len = size_of::<AttributeEntry>() + attribute.leaf_len();
            if used + len > BLOCK_LEN {
                ends.push(index);
                used = size_of::<LeafHeader>();
            }
            used += len;
        }
        ends.push(sorted.len());
        Self { sorted, ends }
    }

    /// Blocks above and of the leaves.
    fn tree_blocks(&self) -> usize {
        node_levels(self.ends.len()).iter().sum::<usize>() + self.ends.len()
    }

    /// Blocks of the fork.
    pub(super) fn count(&self) -> u64 {
        let values = self.sorted.iter().map(|(_, a)| a.value_blocks());
        (self.tree_blocks() + values.sum::<usize>()) as u64
    }

    /// Puts all blocks of the fork.
    pub(super) fn put(&self, fork: &Fork<'_>, put: &mut Put<'_>) -> Result<()> {
        let last_hashes: Vec<u32> = self.ends.iter().map(|end| self.sorted[end - 1].0).collect();
        put_nodes(&last_hashes, 0, fork, put)?;
        let mut values_at = self.tree_blocks();
        let first = values_at - self.ends.len();
        let mut start = 0;
        for (index, end) in self.ends.iter().enumerate() {
            let mut header = LeafHeader::new_zeroed();
            header.hashed = linked(MAGIC_ATTRIBUTE_LEAF, first as u32, index, self.ends.len());
            let mut bytes = leaf(header, &self.sorted[start..*end], values_at);
            fork.put_hashed((first + index) as u64, &mut bytes, put)?;
            for (_, attribute) in &self.sorted[start..*end] {
                if attribute.is_remote() {
                    put_value(&attribute.value, values_at, fork, put)?;
                    values_at += attribute.value_blocks();
                }
            }
            start = *end;
        }
        Ok(())
    }
}

/// A leaf, not yet sealed; its large values begin at block `values_at` of the fork.
fn leaf(
    mut header: LeafHeader,
    attributes: &[(u32, &Attribute<'_>)],
    mut values_at: usize,
) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_LEN];
    let mut end = BLOCK_LEN;
    let mut entries = Vec::with_capacity(attributes.len());
    for (hash, attribute) in attributes {
        end -= attribute.leaf_len();
        let place = &mut bytes[end..end + attribute.leaf_len()];
        let name_len = attribute.name.len() as u8;
        let mut flags = attribute.namespace;
        if attribute.is_remote() {
            place[..4].copy_from_slice(&(values_at as u32).to_be_bytes());
            place[4..8].copy_from_slice(&(attribute.value.len() as u32).to_be_bytes());
            place[8] = name_len;
            place[9..9 + attribute.name.len()].copy_from_slice(attribute.name);
            values_at += attribute.value_blocks();
        } else {
            flags |= ATTRIBUTE_LOCAL;
            place[..2].copy_from_slice(&(attribute.value.len() as u16).to_be_bytes());
            place[2] = name_len;
            fill(&mut place[3..], attribute.name, &attribute.value);
        }
        entries.push(AttributeEntry {
            hash: (*hash).into(),
            offset: U16::new(end as u16),
            flags,
            spare: 0,
        });
    }
    let entries_end = size_of::<LeafHeader>() + entries.as_bytes().len();
    header.leaf.count = U16::new(entries.len() as u16);
    header.leaf.used_bytes = U16::new((BLOCK_LEN - end) as u16);
    header.leaf.first_used = U16::new(end as u16);
    header.leaf.free_map[0] = FreeRegion {
        offset: U16::new(entries_end as u16),
        bytes: U16::new((end - entries_end) as u16),
    };
    fill(&mut bytes, header.as_bytes(), entries.as_bytes());
    bytes
}

fn put_value(value: &[u8], at: usize, fork: &Fork<'_>, put: &mut Put<'_>) -> Result<()> {
    for (index, part) in value.chunks(VALUE_BLOCK_BYTES).enumerate() {
        let block = fork.locate((at + index) as u64);
        let mut header = RemoteHeader::new_zeroed();
        header.magic = *b"XARM";
        header.offset = U32::new((index * VALUE_BLOCK_BYTES) as u32);
        header.bytes = U32::new(part.len() as u32);
        header.uuid = fork.uuid;
        header.owner = fork.owner.into();
        header.daddr = block.daddr().into();
        let mut bytes = vec![0; BLOCK_LEN];
        fill(&mut bytes, header.as_bytes(), part);
        seal(&mut bytes, REMOTE_CRC);
        put(block, &bytes)?;
    }
    Ok(())
}
