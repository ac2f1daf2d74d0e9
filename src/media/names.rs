//! Kinds of media, and what their files are called: the names that CoreOS's own tools use.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use super::compress::Archive;
use crate::foreign::is_plain;

/// A kind of medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A live ISO for CDs, virtual media and USB sticks.
    Iso,
    /// A small live ISO that fetches its root file system over the network.
    MinimalIso,
    /// Kernel, initramfs and root file system for network boot.
    Pxe,
    /// A raw disk image for disks with sectors of 512 bytes.
    Metal,
    /// A raw disk image for disks with sectors of 4096 bytes.
    Metal4k,
    /// A disk image for QEMU.
    Qcow2,
}

impl Format {
    /// All there are, by their names on the command line.
    pub const ALL: [(&'static str, Self); 6] = [
        ("iso", Self::Iso),
        ("minimal-iso", Self::MinimalIso),
        ("pxe", Self::Pxe),
        ("metal", Self::Metal),
        ("metal4k", Self::Metal4k),
        ("qcow2", Self::Qcow2),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        let known = all.find(|(_, format)| *format == self);
        known.map_or("", |(name, _)| name)
    }

    /// Whether it boots a live system, rather than being an installed one.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Iso | Self::MinimalIso | Self::Pxe)
    }
}

/// Media as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One kind.
    One(Format),
    /// Whatever can be made of the image.
    All,
}

impl Wanted {
    /// What is behind the name for everything.
    const ALL: &'static str = "all";
    /// What people call metal images, after the ending of their names.
    const RAW: &'static str = "raw";

    /// The names that can be said.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let formats = Format::ALL.into_iter().map(|(name, _)| name);
        formats.chain([Self::ALL])
    }

    /// The kind, if it is one.
    pub fn one(self) -> Option<Format> {
        match self {
            Self::One(format) => Some(format),
            Self::All => None,
        }
    }
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    /// Takes names in either case.
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            Self::ALL => Ok(Self::All),
            Self::RAW => Ok(Self::One(Format::Metal)),
            name => match Format::ALL.iter().find(|(known, _)| *known == name) {
                Some((_, format)) => Ok(Self::One(*format)),
                None => bail!(
                    "{text:?} is not a medium; there are {}",
                    Self::names().collect::<Vec<_>>().join(", ")
                ),
            },
        }
    }
}

/// File names in the output directory.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) iso: String,
    pub(super) minimal_iso: String,
    pub(super) kernel: String,
    pub(super) initrd: String,
    pub(super) rootfs: String,
    pub(super) ipxe: String,
    pub(super) pxelinux: String,
    pub(super) grub: String,
    pub(super) metal: String,
    pub(super) metal4k: String,
    pub(super) qcow2: String,
    /// Member of rootfs.img that rebuilds the metal image.
    pub(super) osmet: String,
    /// The same for the metal4k image.
    pub(super) osmet4k: String,
}

/// Names of what describes the media, beside [`crate::record::NAME`].
pub(super) const CHECKSUMS: &str = "sha256sum.txt";
pub(super) const STREAM: &str = "stream.json";

/// Longest head: file systems take names of 255 bytes, and what is put behind has some forty.
const PREFIX_MAX_BYTES: usize = 200;

/// Checks the head of file names.
///
/// # Errors
/// One with which files would be hidden or elsewhere, or which `serve`, `hosts` or a boot loader would not take
/// for themselves.
pub fn check_prefix(prefix: &str) -> Result<()> {
    ensure!(
        is_plain(prefix) && prefix.len() <= PREFIX_MAX_BYTES,
        "{prefix:?} can't be the head of file names: it may have {PREFIX_MAX_BYTES} letters, digits and ._-+~, \
         and neither . nor - first"
    );
    Ok(())
}

impl Names {
    pub(super) fn new(prefix: &str, arch: &str, archive: Archive) -> Self {
        let ending = archive.ending();
        Self {
            iso: format!("{prefix}-live-iso.{arch}.iso"),
            minimal_iso: format!("{prefix}-live-minimal-iso.{arch}.iso"),
            kernel: format!("{prefix}-live-kernel.{arch}"),
            initrd: format!("{prefix}-live-initramfs.{arch}.img"),
            rootfs: format!("{prefix}-live-rootfs.{arch}.img"),
            ipxe: format!("{prefix}-live.{arch}.ipxe"),
            pxelinux: format!("{prefix}-live.{arch}.pxelinux.cfg"),
            grub: format!("{prefix}-live.{arch}.grub.cfg"),
            metal: format!("{prefix}-metal.{arch}.raw{ending}"),
            metal4k: format!("{prefix}-metal4k.{arch}.raw{ending}"),
            qcow2: format!("{prefix}-qemu.{arch}.qcow2"),
            osmet: format!("{prefix}-metal.{arch}.raw.osmet"),
            osmet4k: format!("{prefix}-metal4k.{arch}.raw.osmet"),
        }
    }

    /// The files of the media, and what each is in the words of CoreOS stream metadata.
    pub(super) fn of(&self, formats: &BTreeSet<Format>) -> Vec<(String, &'static str)> {
        let mut files = Vec::new();
        for format in formats {
            let own: &[(&String, &str)] = match format {
                Format::Iso => &[(&self.iso, "iso")],
                Format::MinimalIso => {
                    &[(&self.minimal_iso, "minimal-iso"), (&self.rootfs, "rootfs")]
                }
                Format::Pxe => &[
                    (&self.kernel, "kernel"),
                    (&self.initrd, "initramfs"),
                    (&self.rootfs, "rootfs"),
                    (&self.ipxe, "config"),
                    (&self.pxelinux, "config"),
                    (&self.grub, "config"),
                ],
                Format::Metal => &[(&self.metal, "metal")],
                Format::Metal4k => &[(&self.metal4k, "metal4k")],
                Format::Qcow2 => &[(&self.qcow2, "qcow2")],
            };
            for (name, role) in own {
                // A minimal ISO fetches the PXE set's root file system.
                if !files.iter().any(|(known, _)| known == *name) {
                    files.push(((*name).clone(), *role));
                }
            }
        }
        files
    }
}
