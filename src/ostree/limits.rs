//! How much a hostile or broken image may make us hold in memory.
//!
//! Contents go to the store, which has a limit of its own. What stays in memory is one record a
//! file, directory and object; it is counted here, by all readers of layers together.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

use crate::failure::Failure;
use crate::tree::{SYMLINK_TARGET_MAX, XATTR_NAME_MAX, XATTR_VALUE_MAX, Xattrs};

/// Longest path in a layer, in bytes (`PATH_MAX`, which libostree checks too).
pub(super) const PATH_MAX: usize = 4096;

/// Largest metadata object in bytes, as in libostree (`OSTREE_MAX_METADATA_SIZE`) of 2022.
pub(super) const METADATA_OBJECT_MAX: u64 = 10 << 20;

/// Largest set of extended attributes of one file in bytes, as in ostree-ext.
pub(super) const XATTRS_MAX: u64 = 1 << 20;

/// The owner that chown(2) takes for "leave it as it is". buildah 1.28.2 was run: files of this
/// owner come out as root's. libostree would check them out likewise, and call the object corrupt.
const NO_OWNER: u32 = u32::MAX;

/// What a file or directory is charged with besides its name and attributes: entry, inodes, object
/// and their places in trees, roughly, in bytes.
const RECORD_BYTES: u64 = 512;

/// Most of everything that is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of all layers, and files and directories of the base commit.
    pub entries: u64,
    /// Bytes of names, attributes and metadata objects, with a lump sum for each entry.
    pub metadata_bytes: u64,
}

impl Default for Limits {
    /// Ten times what large images need: Fedora CoreOS has some 80 000 entries.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            metadata_bytes: 512 << 20,
        }
    }
}

/// Counts against [`Limits`], from several threads.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// One that counts from nothing, for what is kept for a moment only.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.limits)
    }

    /// Counts one file or directory with this much of names and attributes.
    pub(super) fn entry(&self, bytes: usize) -> Result<()> {
        let before = self.entries.fetch_add(1, Ordering::Relaxed);
        ensure!(
            before < self.limits.entries,
            "the image has more than {} files and directories",
            self.limits.entries
        );
        self.metadata(RECORD_BYTES.saturating_add(bytes as u64))
    }

    /// Counts bytes that are kept.
    pub(super) fn metadata(&self, bytes: u64) -> Result<()> {
        // Cannot overflow: one call adds less than a layer is long, and the first to pass the
        // limit ends the import.
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        ensure!(
            before.saturating_add(bytes) <= self.limits.metadata_bytes,
            "the image's metadata exceeds {} MiB",
            self.limits.metadata_bytes >> 20
        );
        Ok(())
    }
}

/// Refuses a user or group that no file can have.
pub(super) fn check_owner(id: u32) -> Result<()> {
    if id == NO_OWNER {
        return Err(Failure::new(
            format!("the owner {id} is -1 to chown(2), which leaves the owner as it is"),
            "give the file another owner in the Containerfile, with COPY --chown or chown",
        )
        .into());
    }
    Ok(())
}

/// Refuses a symlink's target that installed roots have no room for, before anything is written.
pub(super) fn check_target(target: &[u8]) -> Result<()> {
    ensure!(
        target.len() <= SYMLINK_TARGET_MAX,
        "the symlink's target has {} bytes, and XFS, which nodes have their root on, takes \
         {SYMLINK_TARGET_MAX}",
        target.len()
    );
    Ok(())
}

/// Refuses attributes that Linux has no room for; an import as root fails on them.
pub(super) fn check_xattrs(set: &Xattrs) -> Result<()> {
    for (name, value) in set.iter() {
        let shown = || name[..name.len().min(XATTR_NAME_MAX)].escape_ascii();
        ensure!(
            name.len() <= XATTR_NAME_MAX,
            "the name of the attribute \"{}…\" has {} bytes, and Linux takes {XATTR_NAME_MAX}",
            shown(),
            name.len()
        );
        ensure!(
            value.len() <= XATTR_VALUE_MAX,
            "the attribute \"{}\" has {} bytes, and Linux takes {XATTR_VALUE_MAX}",
            shown(),
            value.len()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_that_fits_is_taken() {
        let meter = Meter::new(Limits {
            entries: 2,
            metadata_bytes: u64::MAX,
        });
        assert!(meter.entry(1).is_ok());
        assert!(meter.entry(1).is_ok());
        assert!(meter.entry(1).is_err());
    }

    #[test]
    fn bytes_are_counted_over_calls() {
        let meter = Meter::new(Limits {
            entries: 9,
            metadata_bytes: RECORD_BYTES + 10,
        });
        assert!(meter.entry(4).is_ok());
        assert!(meter.metadata(6).is_ok());
        assert!(meter.metadata(1).is_err());
    }
}
