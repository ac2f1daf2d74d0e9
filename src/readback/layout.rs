//! Where the parts of live media are, and what live systems go by.
//!
//! Contract: osbuild `stages/org.osbuild.coreos.live-artifacts.mono`, fedora-coreos-config `35coreos-live`,
//! coreos-installer `src/live`.

use std::ops::RangeInclusive;

use serde::Deserialize;

/// Kernel, initramfs and root file system in an ISO.
pub const ISO_KERNEL: &str = "images/pxeboot/vmlinuz";
/// See [`ISO_KERNEL`].
pub const ISO_INITRD: &str = "images/pxeboot/initrd.img";
/// See [`ISO_KERNEL`].
pub const ISO_ROOTFS: &str = "images/pxeboot/rootfs.img";

/// Where an ISO says where its kernel arguments are.
pub const ISO_KARGS: &str = "coreos/kargs.json";

/// Where an ISO says where its Ignition config goes, and where that is if it doesn't.
pub const IGNITION_INFO: &str = "coreos/igninfo.json";
/// See [`IGNITION_INFO`].
pub const IGNITION_AREA: &str = "images/ignition.img";

/// coreos-installer's description of where an Ignition config goes.
#[derive(Debug, Deserialize)]
pub struct IgnitionInfo {
    /// The file that it goes into.
    pub file: String,
    /// Where in that, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// How many bytes are for it; else all that follow.
    pub length: Option<u64>,
}

impl Default for IgnitionInfo {
    /// What holds where nothing is said: in ISOs of 2021 and older.
    fn default() -> Self {
        Self {
            file: IGNITION_AREA.to_owned(),
            offset: 0,
            length: None,
        }
    }
}

/// Room for Ignition configs in bytes; installers take the file's length as the limit. Published ISOs
/// have the least; live systems hold it in memory.
pub const IGNITION_AREA_BYTES: RangeInclusive<u64> = 256 << 10..=64 << 20;

/// The kernel argument by which the live system of a whole ISO finds the ISO.
pub const LIVE_ISO: &str = "coreos.liveiso=";

/// Stamp in the live initramfs: its existence is the test for "is this live".
pub const INITRAMFS_STAMP: &str = "etc/coreos-live-initramfs";

/// What the system can do, in the live initramfs.
pub const FEATURES: &str = "etc/coreos/features.json";

/// The stream hash of the rootfs.img that the initramfs takes.
pub const WANTED_ROOTFS: &str = "etc/coreos-live-want-rootfs";

/// The same stamp in rootfs.img; when the two differ, a PXE boot stops.
pub const ROOTFS_STAMP: &str = "etc/coreos-live-rootfs";
