//! A second file with the content of a first, without its blocks being written again if the file system
//! can.

use std::fs::File;
use std::io::{self, Seek};

/// Fills `copy`, which is empty, with what is in `original`. Tells whether they share their blocks.
pub(super) fn share(original: &File, copy: &mut File) -> io::Result<bool> {
    if rustix::fs::ioctl_ficlone(&*copy, original).is_ok() {
        return Ok(true);
    }
    // Any refusal means the same: other file systems, other devices, a kernel that doesn't know how.
    let mut original = original;
    original.rewind()?;
    copy.set_len(0)?;
    copy.rewind()?;
    io::copy(&mut original, copy)?;
    Ok(false)
}
