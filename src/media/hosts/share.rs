//! A second file with the content of a first, without its blocks being written again if the file system
//! can.

use std::fs::File;
use std::io::{self, Read, Seek};

use crate::progress::Progress;

/// Copied between two words about how far it is.
const CHUNK_BYTES: u64 = 16 << 20;

/// Whether `copy`, which is empty and stays of no use, can share blocks with `original`.
pub(super) fn can_share(original: &File, copy: &File) -> bool {
    // Any refusal means the same: other file systems, other devices, a kernel that doesn't know how.
    rustix::fs::ioctl_ficlone(copy, original).is_ok()
}

/// Fills `copy`, which is empty, with what is in `original`. Tells whether they share their blocks.
pub(super) fn share(original: &File, copy: &mut File, progress: &dyn Progress) -> io::Result<bool> {
    if can_share(original, copy) {
        progress.advance(copy.metadata()?.len());
        return Ok(true);
    }
    let mut original = original;
    original.rewind()?;
    copy.set_len(0)?;
    copy.rewind()?;
    loop {
        let count = io::copy(&mut original.take(CHUNK_BYTES), copy)?;
        progress.advance(count);
        if count < CHUNK_BYTES {
            return Ok(false);
        }
    }
}
