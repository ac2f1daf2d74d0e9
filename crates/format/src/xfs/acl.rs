//! POSIX ACLs: from the form in which Linux shows them as attributes to the one XFS keeps.
//!
//! Shown: version 2, then tag, permissions and id of each entry, little-endian (Linux
//! `include/uapi/linux/posix_acl_xattr.h`). Kept: count, then tag, id and permissions, big-endian,
//! under a name of XFS's own (`fs/xfs/libxfs/xfs_format.h`).

use anyhow::{Result, ensure};
use zerocopy::big_endian;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An entry as Linux shows it.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ShownEntry {
    tag: U16,         // 0x0
    permissions: U16, // 0x2
    id: U32,          // 0x4
}
const _: () = assert!(size_of::<ShownEntry>() == 8);

/// An entry as XFS keeps it.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct KeptEntry {
    tag: big_endian::U32,         // 0x0
    id: big_endian::U32,          // 0x4
    permissions: big_endian::U16, // 0x8
    spare: big_endian::U16,       // 0xa
}
const _: () = assert!(size_of::<KeptEntry>() == 12);

const SHOWN_VERSION: u32 = 2;
/// Tags of entries: owner, a user, group, a group, mask, others.
const TAGS: [u16; 6] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20];
/// Those of them whose id means something.
const TAGS_WITH_ID: [u16; 2] = [0x02, 0x08];
/// The id of all others.
const NO_ID: u32 = u32::MAX;
/// Most entries that Linux takes from XFS v5: as many as an attribute of 64 KiB holds.
const MAX_ENTRIES: usize = ((64 << 10) - 4) / size_of::<KeptEntry>();

/// The name under which XFS keeps an ACL, without namespace; `None` for all other attributes.
pub(super) fn stored_name(shown: &[u8]) -> Option<&'static [u8]> {
    match shown {
        b"system.posix_acl_access" => Some(b"SGI_ACL_FILE"),
        b"system.posix_acl_default" => Some(b"SGI_ACL_DEFAULT"),
        _ => None,
    }
}

/// The ACL as XFS keeps it.
pub(super) fn to_disk(shown: &[u8]) -> Result<Vec<u8>> {
    let entries = U32::read_from_prefix(shown)
        .ok()
        .filter(|(version, _)| version.get() == SHOWN_VERSION)
        .and_then(|(_, rest)| <[ShownEntry]>::ref_from_bytes(rest).ok())
        .filter(|entries| {
            entries
                .iter()
                .all(|entry| TAGS.contains(&entry.tag.get()) && entry.permissions.get() <= 0o7)
        });
    ensure!(
        entries.is_some_and(|entries| !entries.is_empty()),
        "its value is no POSIX ACL"
    );
    let entries = entries.unwrap_or_default();
    ensure!(
        entries.len() <= MAX_ENTRIES,
        "its ACL has {} entries, and XFS takes {MAX_ENTRIES}",
        entries.len()
    );
    let kept: Vec<KeptEntry> = entries
        .iter()
        .map(|entry| KeptEntry {
            tag: u32::from(entry.tag.get()).into(),
            id: match TAGS_WITH_ID.contains(&entry.tag.get()) {
                true => entry.id.get().into(),
                false => NO_ID.into(),
            },
            permissions: entry.permissions.get().into(),
            spare: 0.into(),
        })
        .collect();
    // At most MAX_ENTRIES.
    let count = big_endian::U32::new(kept.len() as u32);
    Ok([count.as_bytes(), kept.as_bytes()].concat())
}
