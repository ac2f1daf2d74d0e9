//! The kernel of an image.

use anyhow::{Context, Result, bail, ensure};

use super::files::Files;
use bake_tree::Content;

/// Where kernels lie, each in a directory called like its release.
const MODULES: &str = "usr/lib/modules";

/// Most kernels that are named where there is more than one.
const SHOWN_MAX: usize = 8;

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

/// Where an x86 kernel image has the magic of its header, and what that is; behind it is where its
/// version is, counted from the second sector.
const X86_MAGIC_OFFSET: usize = 0x202;
const X86_MAGIC: &[u8; 4] = b"HdrS";
const X86_VERSION_OFFSET: usize = 0x20e;
const X86_SECTOR_BYTES: usize = 0x200;

/// The release of a kernel image, if it tells: those of x86 do.
///
/// Source: Linux `Documentation/arch/x86/boot.rst`, `kernel_version`.
pub fn release_of(image: &[u8]) -> Option<String> {
    let magic = image.get(X86_MAGIC_OFFSET..)?.get(..X86_MAGIC.len())?;
    let offset = image.get(X86_VERSION_OFFSET..)?.first_chunk::<2>()?;
    let version = image.get(usize::from(u16::from_le_bytes(*offset)) + X86_SECTOR_BYTES..)?;
    let end = version.iter().position(|byte| matches!(byte, 0 | b' '))?;
    let release = std::str::from_utf8(&version[..end]).ok()?;
    (magic == X86_MAGIC && !release.is_empty()).then(|| release.to_owned())
}

/// The one kernel of an image with its initramfs, neither of them empty.
pub fn kernel_in(files: &dyn Files) -> Result<Kernel> {
    let release = release_in(files)?;
    let content = |name: &str| {
        let path = format!("{MODULES}/{release}/{name}");
        let content = files
            .content(&path)?
            .with_context(|| format!("{path} is not a regular file"))?;
        ensure!(!content.is_empty(), "{path} is empty");
        Ok(content)
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
            several
                .iter()
                .take(SHOWN_MAX)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let initramfs = format!("{MODULES}/{release}/{INITRAMFS}");
    if !files.exists(&initramfs)? {
        bail!("kernel {release} has no initramfs: no {initramfs}");
    }
    Ok(release)
}

#[cfg(test)]
mod tests {
    use super::{X86_MAGIC, X86_MAGIC_OFFSET, X86_VERSION_OFFSET, release_of};

    #[test]
    fn x86_kernels_tell_their_release() {
        let mut image = vec![0; 0x1000];
        image[X86_MAGIC_OFFSET..][..4].copy_from_slice(X86_MAGIC);
        image[X86_VERSION_OFFSET..][..2].copy_from_slice(&0x0600_u16.to_le_bytes());
        assert_eq!(release_of(&image), None);
        let version = b"6.1.0-43-amd64 (x@y) #1 SMP";
        image[0x0800..][..version.len()].copy_from_slice(version);
        assert_eq!(release_of(&image).as_deref(), Some("6.1.0-43-amd64"));
        for len in 0..image.len() {
            let cut = release_of(&image[..len]);
            assert!(cut.is_none() || len > 0x0800, "{len}");
        }
        image[X86_MAGIC_OFFSET] = 0;
        assert_eq!(release_of(&image), None);
        image[X86_VERSION_OFFSET..][..2].copy_from_slice(&[0xff; 2]);
        assert_eq!(release_of(&image), None);
    }
}
