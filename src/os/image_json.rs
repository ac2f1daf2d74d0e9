//! The coreos-assembler's description of an image.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::CONFIG_MAX_BYTES;
use crate::failure::Failure;
use crate::foreign::check_arguments;
use crate::format::qcow2;
use crate::kernel::Files;

/// `usr/share/coreos-assembler/image.json`, as far as media depend on it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ImageJson {
    /// Size of cloud and qemu images in GiB; [`ImageJson::disk_bytes`] is what can be made.
    pub size: Option<u64>,
    /// Kernel arguments of every platform.
    pub extra_kargs: Vec<String>,
    /// File system of the live root: `squashfs` (default) or `erofs`.
    pub live_rootfs_fstype: Option<String>,
    /// Options for the tool that upstream makes it with: `-comp zstd`.
    pub live_rootfs_fsoptions: Option<String>,
}

/// Where it is.
const IMAGE_JSON: &str = "usr/share/coreos-assembler/image.json";

/// Largest disk that an image can ask for, in GiB.
const DISK_MAX_GIB: u64 = qcow2::SIZE_MAX_BYTES >> 30;

impl ImageJson {
    /// Length in bytes of the cloud and qemu images that it asks for, if it does.
    pub fn disk_bytes(&self) -> Result<Option<u64>> {
        let bytes = |gib: u64| match gib <= DISK_MAX_GIB {
            true => Ok(gib << 30),
            false => Err(Failure::new(
                format!("{IMAGE_JSON}: a size of {gib} GiB is larger than any disk image can be"),
                format!("give the image a size of at most {DISK_MAX_GIB} GiB"),
            )),
        };
        Ok(self.size.map(bytes).transpose()?)
    }

    /// Refuses what can't be done, before anything is made of it.
    pub(super) fn check(&self) -> Result<()> {
        check_arguments(&format!("{IMAGE_JSON}, extra-kargs"), &self.extra_kargs)?;
        self.disk_bytes().map(drop)
    }

    /// The description in a system's root; an empty one if it has none.
    pub fn of(root: &dyn Files) -> Result<Self> {
        let Some(bytes) = root.read(IMAGE_JSON)? else {
            return Ok(Self::default());
        };
        ensure!(
            bytes.len() as u64 <= CONFIG_MAX_BYTES,
            "{IMAGE_JSON} has more than {CONFIG_MAX_BYTES} bytes"
        );
        serde_json::from_slice(&bytes).with_context(|| format!("parsing {IMAGE_JSON}"))
    }
}
