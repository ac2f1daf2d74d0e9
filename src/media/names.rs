//! Kinds of media, and what their files are called: the names that CoreOS's own tools use.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::Serialize;

use super::compress::Archive;

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
    const ALL: [(&'static str, Self); 6] = [
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

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.iter().find(|(name, _)| *name == text) {
            Some((_, format)) => Ok(*format),
            None => bail!(
                "{text:?} is no medium; there are {}",
                Self::ALL.map(|(name, _)| name).join(", ")
            ),
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
