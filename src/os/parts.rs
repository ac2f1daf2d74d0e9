//! What a boot of a system consists of.

use anyhow::{Context, Result};

use crate::kernel::{Files, Initramfs};
use crate::tree::Content;

/// What a boot consists of.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The initramfs, as the kernel gets it.
    pub initrd: &'a Content,
    /// The root file system.
    pub root: &'a dyn Files,
    /// The kernel's release.
    pub release: &'a str,
    /// The kernel's arguments; several may be in one string.
    pub arguments: &'a [String],
}

impl Parts<'_> {
    /// Reads the initramfs, to its end.
    pub fn read_initramfs(&self) -> Result<Initramfs> {
        Initramfs::read(self.initrd.reader()).context("reading the initramfs")
    }
}
