//! Whether media are as they were made: byte for byte where checksums lie beside them, and part by part where
//! the formats have checksums of their own.
//!
//! ```text
//! sums      files against bake.json or sha256sum.txt; a stick against the ISO that was written to it
//! parts     what a medium consists of, each judged by what is in it
//!  ├ objects   every object of the ostree repository against its name
//!  └ osmet     disk images that a live system rebuilds, against the checksum that is in them
//! ```
//!
//! Nothing is mounted, and nothing is written. What no checksum covers, and is not looked at for another reason,
//! is told: files of `/etc` and `/var` on disks, the composefs image, what is between the parts.

mod objects;
mod osmet;
mod parts;
mod sums;
mod verified;

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::Result;

use crate::failure::{Failure, sentence};
use crate::progress::Progress;
use crate::readback::Place;

use sums::Sums;
pub use verified::{Part, Verified};

/// What is to be verified.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// A medium, a device that one was written to, or a directory of media.
    pub path: &'a Path,
    /// The root file system that a minimal ISO fetches.
    pub rootfs: Option<&'a Path>,
    /// A `bake.json` or `sha256sum.txt` elsewhere than beside the media.
    pub sums: Option<&'a Path>,
    /// Threads to work with.
    pub threads: NonZeroUsize,
}

fn is_file(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}

/// Looks at everything up to the first thing that is damaged.
///
/// # Errors
/// What is not there, can't be read at all, or is not a medium.
pub fn verify(request: &Request<'_>, progress: &dyn Progress) -> Result<Verified> {
    let mut verified = Verified::default();
    let sums = Sums::find(request.path, request.sums)?;
    let has_sums = match &sums {
        Some(sums) => sums.compare(request.path, &mut verified, progress)?,
        None => false,
    };
    if !verified.is_sound() {
        return Ok(verified);
    }
    if !has_sums {
        verified.notes.push(
            "no bake.json and no sha256sum.txt tells what the bytes have to be: what no checksum in the media covers \
             was not compared"
                .to_owned(),
        );
    }
    let place = match Place::open(request.path, request.rootfs) {
        Ok(place) => place,
        // It is what was baked, byte for byte, and no medium by itself, as a packed disk image or a kernel.
        Err(error) if has_sums => {
            verified.notes.push(sentence(&*error));
            return Ok(verified);
        }
        // What comes with advice is something else than a damaged medium.
        Err(error)
            if !error.chain().any(|cause| cause.is::<Failure>()) && is_file(request.path) =>
        {
            let name = sums::name_of(request.path);
            verified.note(&name, "medium", Err(error));
            return Ok(verified);
        }
        Err(error) => return Err(error),
    };
    verified.notes.extend(place.notes.iter().cloned());
    for found in &place.media {
        if !parts::look(found, request.threads, progress, &mut verified) {
            break;
        }
    }
    Ok(verified)
}
