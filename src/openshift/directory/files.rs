//! Files of the directory: read up to a limit, told apart by their hash, given to whose the directory is.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::limited;

/// A whole file of the directory, if it isn't longer than it can be.
pub(super) fn read_limited(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let metadata = path.metadata();
    let metadata = metadata.with_context(|| format!("reading {}", path.display()))?;
    // Opening a pipe would wait for somebody to write to it.
    if !metadata.is_file() {
        bail!("{} is no regular file", path.display());
    }
    limited::whole(path, limit_bytes)
}

/// In lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// User and group.
pub(super) fn owner(metadata: &Metadata) -> (u32, u32) {
    (metadata.uid(), metadata.gid())
}

/// Whoever owns the directory has to be able to read what is new in it, also if we are root.
pub(super) fn give_to_owner_of(directory: &Path, new: &Path) -> io::Result<()> {
    let theirs = owner(&fs::metadata(directory)?);
    let is_root = rustix::process::geteuid().is_root();
    match is_root && theirs != owner(&fs::metadata(new)?) {
        true => chown(new, Some(theirs.0), Some(theirs.1)),
        false => Ok(()),
    }
}
