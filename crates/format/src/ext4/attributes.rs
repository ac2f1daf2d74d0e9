//! Extended attributes: in the inode while there is room, then in one block.

use anyhow::{Result, bail, ensure};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::checksum;
use super::format::{ATTRIBUTE_MAGIC, AttributeEntry, AttributeHeader, BODY_BYTES};
use bake_tree::{XATTR_NAME_MAX, Xattrs};

/// Name prefixes with their numbers on disk. Whole names come first.
const PREFIXES: [(&[u8], u8); 7] = [
    (ACL_ACCESS, 2),
    (ACL_DEFAULT, 3),
    (b"system.richacl", 8),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
    (b"system.", 7),
];
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Four zero bytes end a list of entries.
const END: usize = 4;

/// The attributes of one inode as they will lie on disk.
pub(super) struct Encoded {
    /// The inode's room.
    pub(super) body: [u8; BODY_BYTES],
    /// The block, if one is needed, without its checksum.
    pub(super) block: Option<Vec<u8>>,
}

struct Attribute<'a> {
    prefix: u8,
    name: &'a [u8],
    value: Vec<u8>,
}

impl Attribute<'_> {
    /// Bytes of entry and value.
    fn len(&self) -> usize {
        size_of::<AttributeEntry>()
            + self.name.len().next_multiple_of(4)
            + self.value.len().next_multiple_of(4)
    }

    fn hash(&self) -> u32 {
        let named = self
            .name
            .iter()
            .fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(named, |hash, word| {
            let mut padded = [0; 4];
            padded[..word.len()].copy_from_slice(word);
            hash.rotate_left(16) ^ u32::from_le_bytes(padded)
        })
    }
}

/// Lays out `xattrs`; an error says which attribute has no room or no form in ext4.
pub(super) fn encode(xattrs: &Xattrs, block_len: usize) -> Result<Encoded> {
    let mut attributes = xattrs
        .iter()
        .map(|(name, value)| attribute(name, value))
        .collect::<Result<Vec<_>>>()?;
    // The order that a block's entries must have.
    attributes.sort_by_key(|a| (a.prefix, a.name.len(), a.name));

    let mut room = BODY_BYTES - size_of::<u32>() - END;
    let (inside, outside): (Vec<_>, Vec<_>) = attributes.into_iter().partition(|attribute| {
        let fits = attribute.len() <= room;
        if fits {
            room -= attribute.len();
        }
        fits
    });

    let mut body = [0; BODY_BYTES];
    if !inside.is_empty() {
        body[..4].copy_from_slice(&ATTRIBUTE_MAGIC.to_le_bytes());
        // Offsets of values count from the first entry.
        fill(&mut body[4..], 0, &inside)?;
    }
    if outside.is_empty() {
        return Ok(Encoded { body, block: None });
    }
    let needed: usize = outside.iter().map(Attribute::len).sum();
    let room = block_len - size_of::<AttributeHeader>() - END;
    ensure!(
        needed <= room,
        "its extended attributes need {needed} bytes in a block of their own, and {room} are there"
    );
    let mut block = vec![0; block_len];
    let hashes = fill(&mut block, size_of::<AttributeHeader>(), &outside)?;
    // An attribute that hashes to zero keeps a block from being shared.
    let hash = if hashes.contains(&0) {
        0
    } else {
        hashes
            .iter()
            .fold(0u32, |hash, one| hash.rotate_left(16) ^ one)
    };
    let header = AttributeHeader {
        magic: U32::new(ATTRIBUTE_MAGIC),
        references: U32::new(1),
        blocks: U32::new(1),
        hash: U32::new(hash),
        checksum: U32::ZERO,
        unused: [U32::ZERO; 3],
    };
    block[..size_of::<AttributeHeader>()].copy_from_slice(header.as_bytes());
    Ok(Encoded {
        body,
        block: Some(block),
    })
}

/// Sets the checksum of an attribute block that will lie at block `place`.
pub(super) fn seal(block: &mut [u8], place: u64, seed: u32) {
    let field = std::mem::offset_of!(AttributeHeader, checksum);
    let sum = checksum::extend(checksum::extend(seed, &place.to_le_bytes()), block);
    block[field..field + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Entries from `first` on, values from the end; returns the entries' hashes.
fn fill(area: &mut [u8], first: usize, attributes: &[Attribute<'_>]) -> Result<Vec<u32>> {
    let mut at = first;
    let mut value_at = area.len();
    let mut hashes = Vec::new();
    for attribute in attributes {
        value_at -= attribute.value.len().next_multiple_of(4);
        let hash = attribute.hash();
        hashes.push(hash);
        let entry = AttributeEntry {
            name_len: attribute.name.len().try_into()?,
            prefix: attribute.prefix,
            value_offset: U16::new(if attribute.value.is_empty() {
                0
            } else {
                value_at.try_into()?
            }),
            value_inode: U32::ZERO,
            value_len: U32::new(attribute.value.len().try_into()?),
            hash: U32::new(hash),
        };
        area[at..at + size_of::<AttributeEntry>()].copy_from_slice(entry.as_bytes());
        at += size_of::<AttributeEntry>();
        area[at..at + attribute.name.len()].copy_from_slice(attribute.name);
        at += attribute.name.len().next_multiple_of(4);
        area[value_at..value_at + attribute.value.len()].copy_from_slice(&attribute.value);
    }
    Ok(hashes)
}

fn attribute<'a>(name: &'a [u8], value: &[u8]) -> Result<Attribute<'a>> {
    let shown = String::from_utf8_lossy(name);
    ensure!(
        name.len() <= XATTR_NAME_MAX,
        "the extended attribute name {shown:?} has {} bytes, and the most is {XATTR_NAME_MAX}",
        name.len()
    );
    let Some((prefix, number)) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix))
    else {
        bail!("the extended attribute {shown:?} is of a kind that ext4 does not store");
    };
    let rest = &name[prefix.len()..];
    let whole = !prefix.ends_with(b".");
    ensure!(
        rest.is_empty() == whole,
        "the extended attribute {shown:?} is of a kind that ext4 does not store"
    );
    let value = if name == ACL_ACCESS || name == ACL_DEFAULT {
        acl(&shown, value)?
    } else {
        value.to_vec()
    };
    Ok(Attribute {
        prefix: *number,
        name: rest,
        value,
    })
}

/// An access control list in ext4's form, from the form of the system call.
fn acl(name: &str, value: &[u8]) -> Result<Vec<u8>> {
    /// Version of the system call's form.
    const CALL_VERSION: u32 = 2;
    /// Version of ext4's.
    const DISK_VERSION: u32 = 1;
    /// Tags of entries that name a user or a group, and of those that do not.
    const WITH_ID: [u16; 2] = [0x02, 0x08];
    const WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];

    let malformed = || anyhow::anyhow!("the extended attribute {name:?} is no access control list");
    let (version, entries) = value.split_first_chunk::<4>().ok_or_else(malformed)?;
    if u32::from_le_bytes(*version) != CALL_VERSION || entries.len() % 8 != 0 {
        return Err(malformed());
    }
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        if WITH_ID.contains(&tag) {
            disk.extend_from_slice(entry);
        } else if WITHOUT_ID.contains(&tag) {
            disk.extend_from_slice(&entry[..4]);
        } else {
            return Err(malformed());
        }
    }
    Ok(disk)
}
