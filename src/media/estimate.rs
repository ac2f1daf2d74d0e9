//! How much room a bake takes, estimated before it begins.
//!
//! ```text
//! scratch     the contents of all files of the image, unpacked; for each disk, tables of a tenth of that
//! live root   half of them; a raw disk, and a qcow2 one, all and a tenth for tables; half if it is packed
//! initramfs,  as in the image, once in everything that boots
//! kernel
//! ```
//!
//! Lengths of layers are known before they are read; packed ones are taken to hold 2.2 times their length. Of
//! the stand-in that the tests bake, 168 MiB of layers held 331 MiB, which became a live root of 172 MiB
//! (zstd:3) and raw disks of 405 MiB. At the most, its bake took 898 MiB for an ISO and a PXE set (estimated: 910)
//! and 1243 for both raw disks (1274).

use std::collections::BTreeSet;

use serde::Serialize;

use super::compress::Archive;
use super::names::{Format, Names};
use super::request::Request;
use crate::format::qcow2;
use crate::image::{Image, uname};
use crate::os::contents_of;

/// What comes with each live medium or disk besides: boot loaders, tables, areas to be filled.
const EXTRA_BYTES: u64 = 12 << 20;

/// What the tables of a disk have besides, mostly the journal of its root.
const TABLES_BYTES: u64 = 20 << 20;

/// Room that a bake takes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Estimate {
    /// The media that are written; what describes them is small.
    pub files: Vec<FileEstimate>,
    /// About what scratch files take until the bake is done.
    pub scratch_bytes: u64,
    /// What it takes at the least.
    #[serde(skip)]
    pub least_bytes: u64,
}

/// Room that a file takes.
#[derive(Clone, Debug, Serialize)]
pub struct FileEstimate {
    /// Its name.
    pub name: String,
    /// About how many bytes of the disk it takes; holes take none.
    pub bytes: u64,
}

impl Estimate {
    /// About what is needed while it runs: all of it is there when the last file gets its name.
    pub fn needed_bytes(&self) -> u64 {
        let files = self.files.iter().map(|file| file.bytes);
        files.sum::<u64>().saturating_add(self.scratch_bytes)
    }

    /// For an image whose files have `contents` bytes, with a kernel and an initramfs of these lengths.
    pub(super) fn new(
        request: &Request,
        formats: &BTreeSet<Format>,
        names: &Names,
        contents: u64,
        [kernel, initramfs]: [u64; 2],
    ) -> Self {
        let boot = kernel + initramfs;
        let root = contents / 2;
        let disk = |is_packed| match is_packed {
            true => contents / 2,
            false => contents + contents / 10 + boot + EXTRA_BYTES,
        };
        let wants = |format| formats.contains(&format);
        let is_live = formats.iter().any(|format| format.is_live());
        let has_iso = wants(Format::Iso) || wants(Format::MinimalIso);
        let is_packed = request.archive != Archive::None;
        let bytes_of = |name: &String| match name {
            name if *name == names.iso => root + boot + EXTRA_BYTES,
            name if *name == names.minimal_iso => boot + EXTRA_BYTES,
            name if *name == names.kernel => kernel,
            name if *name == names.initrd => initramfs,
            name if *name == names.rootfs => root,
            name if *name == names.metal || *name == names.metal4k => disk(is_packed),
            name if *name == names.qcow2 => disk(request.qcow2 != qcow2::Compression::None),
            _ => 0,
        };
        let named = names.of(formats);
        let files: Vec<FileEstimate> = named
            .into_iter()
            .map(|(name, _)| FileEstimate {
                bytes: bytes_of(&name),
                name,
            })
            .collect();
        // A live medium is made of the others' parts, which are written whether they are asked for or not.
        let is_written = |name: &String| files.iter().any(|file| file.name == *name);
        let mut unasked = vec![&names.rootfs, &names.initrd];
        unasked.extend(has_iso.then_some(&names.iso));
        unasked.retain(|name| is_live && !is_written(name));
        // The minimal ISO that the full one can be made to.
        let minimal = if has_iso {
            bytes_of(&names.minimal_iso)
        } else {
            0
        };
        // Live media have what both raw disks are rebuilt from.
        let raw = match is_live {
            true => 2,
            false => u64::from(wants(Format::Metal)) + u64::from(wants(Format::Metal4k)),
        };
        let disks = raw + u64::from(wants(Format::Qcow2));
        let tables = disks * (contents / 10 + TABLES_BYTES);
        let scratch = unasked.into_iter().map(bytes_of).sum::<u64>() + minimal + tables;
        let copies = u64::from(has_iso) + u64::from(wants(Format::Pxe));
        Self {
            files,
            scratch_bytes: contents + scratch,
            least_bytes: contents + copies * boot,
        }
    }
}

impl Request {
    /// About how much room a bake of `image` takes, before its layers are read.
    pub fn estimate(&self, image: &Image) -> Estimate {
        let contents = contents_of(image);
        let names = Names::new("", "", self.archive);
        // Of the stand-in they are 2 and 9 %; the larger the image, the less.
        let formats = self.formats_for(uname(&image.architecture));
        Estimate::new(
            self,
            &formats,
            &names,
            contents,
            [contents / 50, contents / 15],
        )
    }
}
