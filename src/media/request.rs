//! What a bake is asked for, and what no image could be made into.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Result;

use super::compress::Archive;
use super::compression::Choice;
use super::customize::Customization;
use super::names::{CHECKSUMS, Format, Names, STREAM};
use crate::cache::Cache;
use crate::failure::Failure;
use crate::format::qcow2;
use crate::image::{Image, uname};
use crate::kernel::check_argument;
use crate::netboot::rootfs_url;
use crate::record;

/// Files beside the media that describe them.
pub const DESCRIPTIONS: [&str; 3] = [CHECKSUMS, STREAM, record::NAME];

/// What the user asks for, apart from the image.
#[derive(Debug)]
pub struct Request {
    /// Media to write.
    pub formats: BTreeSet<Format>,
    /// Besides those, every medium that can be made of the image.
    pub all_formats: bool,
    /// Drivers that have to be there.
    pub drivers: Vec<String>,
    /// Bake even if one is missing.
    pub allow_missing_driver: bool,
    /// Whether only nodes boot the media, and no bootstrap machine.
    pub nodes_only: bool,
    /// How to compress the live root.
    pub compression: Choice,
    /// How to compress metal images.
    pub archive: Archive,
    /// How to compress the clusters of a qcow2 image.
    pub qcow2: qcow2::Compression,
    /// Length of disk images in bytes, where they shall not be as long as upstream makes them.
    pub disk_bytes: Option<u64>,
    /// Room for Ignition configs in the ISO, in bytes, within [`crate::readback::IGNITION_AREA_BYTES`].
    pub ignition_area_bytes: u64,
    /// Head of file names instead of name and version of the operating system.
    pub prefix: Option<String>,
    /// Where PXE clients will fetch the root file system.
    pub rootfs_url: Option<String>,
    /// What the media shall carry.
    pub customization: Customization,
    /// Threads to compress with.
    pub threads: NonZeroUsize,
    /// Blocks of the live root that earlier bakes have compressed.
    pub cache: Option<Arc<Cache>>,
}

impl Request {
    /// Refuses what no image could be made into.
    ///
    /// # Errors
    /// One that says what is missing.
    pub fn check(&self) -> Result<()> {
        let named = self.formats.iter();
        let mut hindrances = named.filter_map(|format| hindrance(*format, self, None));
        hindrances
            .next()
            .map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// The media that are written for an architecture: of everything, what can be made.
    pub(super) fn formats_for(&self, architecture: &str) -> BTreeSet<Format> {
        let all = Format::ALL.into_iter().map(|(_, format)| format);
        let can_be = |format: &Format| hindrance(*format, self, Some(architecture)).is_none();
        let wanted = all.filter(|format| self.all_formats && can_be(format));
        wanted.chain(self.formats.iter().copied()).collect()
    }

    /// Names of files that are written, as far as they are known before the layers of the image are read: with
    /// `image`, those with the prefix that was asked for, too.
    pub fn known_files(&self, image: Option<&Image>) -> Vec<String> {
        let mut files = DESCRIPTIONS.map(str::to_owned).to_vec();
        if let (Some(prefix), Some(image)) = (&self.prefix, image) {
            let names = Names::new(prefix, uname(&image.architecture), self.archive);
            let formats = self.formats_for(uname(&image.architecture));
            files.extend(names.of(&formats).into_iter().map(|(name, _)| name));
        }
        files
    }
}

/// Why a medium can't be made; of an architecture, where that is known already.
///
/// On s390x the firmware starts a disk by a map of the kernel's blocks, which zipl writes and we don't.
/// coreos-installer runs zipl on whatever it has installed (`src/install.rs`, 0.27.0), so live media and
/// what they install don't need one.
pub(super) fn hindrance(
    format: Format,
    request: &Request,
    architecture: Option<&str>,
) -> Option<Failure> {
    match format {
        Format::MinimalIso => match &request.rootfs_url {
            None => Some(Failure::new(
                "a minimal ISO has to know where its root file system is",
                "give the URL of the file that is written beside it with --rootfs-url",
            )),
            // coreos-installer writes it into the boot menu as it is (`src/live/mod.rs`, 0.27.0).
            Some(url) => check_argument(&rootfs_url(url)).err().map(|error| {
                Failure::new(
                    format!("a minimal ISO can't fetch from that --rootfs-url: {error}"),
                    "write such characters as % and two digits, or serve the file at another URL",
                )
            }),
        },
        Format::Qcow2 if architecture == Some("s390x") => Some(Failure::new(
            "a qcow2 disk for s390x would not boot: zipl has to write a boot map onto it, on that \
             architecture",
            "bake -f iso, pxe or metal, and let coreos-installer install the machine: it runs zipl",
        )),
        _ => None,
    }
}
