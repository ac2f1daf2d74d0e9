//! The kernel of an image.

use anyhow::{Context, Result, bail};

use super::files::Files;
use crate::tree::Content;

/// Where kernels lie, each in a directory called like its release.
const MODULES: &str = "usr/lib/modules";

/// The initramfs's name in that directory; ostree takes no other.
const INITRAMFS: &str = "initramfs.img";

/// A kernel and its initramfs.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its release, as `uname -r` says it.
    pub release: String,
    /// The kernel image.
    pub vmlinuz: Content,
    /// The initramfs that it boots with.
    pub initramfs: Content,
}

impl Kernel {
    /// The file name of the initramfs in `usr/lib/modules/<release>`.
    pub fn initramfs_name(&self) -> &'static str {
        INITRAMFS
    }
}

/// The one kernel of an image with its initramfs.
pub fn kernel_in(files: &dyn Files) -> Result<Kernel> {
    let release = release_in(files)?;
    let content = |name: &str| {
        let path = format!("{MODULES}/{release}/{name}");
        files
            .content(&path)?
            .with_context(|| format!("{path} is not a regular file"))
    };
    Ok(Kernel {
        vmlinuz: content("vmlinuz")?,
        initramfs: content(INITRAMFS)?,
        release,
    })
}

/// The release of the one kernel of an image, without reading the files.
pub fn release_in(files: &dyn Files) -> Result<String> {
    let mut kernels = Vec::new();
    for release in files.list(MODULES)? {
        if files.exists(&format!("{MODULES}/{release}/vmlinuz"))? {
            kernels.push(release);
        }
    }
    let release = match kernels.as_slice() {
        [release] => release.clone(),
        [] => bail!("the image has no kernel: no {MODULES}/*/vmlinuz"),
        several => bail!(
            "the image has {} kernels ({}), and only one can be booted",
            several.len(),
            several.join(", ")
        ),
    };
    let initramfs = format!("{MODULES}/{release}/{INITRAMFS}");
    if !files.exists(&initramfs)? {
        bail!("kernel {release} has no initramfs: no {initramfs}");
    }
    Ok(release)
}
