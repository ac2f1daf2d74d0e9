//! Which formats make up a medium: the live system, the ISO, the PXE set, disks.

mod bake;
mod bios;
mod compress;
mod compression;
mod customize;
mod disk;
mod estimate;
mod hosts;
mod identity;
mod installed;
mod ipl;
mod iso;
mod live;
mod live_root;
mod medium;
mod menu;
mod miniso;
mod names;
mod payload;
mod place;
mod plan;
mod proof;
mod pxe;
mod record;
mod request;
mod soundness;
mod stream;

pub use bake::Baked;
pub use compress::Archive;
pub use compression::{Choice, live_root};
pub use customize::Customization;
pub use disk::least_disk_bytes;
pub use hosts::{
    HostFile, HostsPlan, HostsRequest, initramfs_carries_settings, iso_carries_settings, overlays,
};
pub use identity::Beside;
pub use installed::Installed;
pub use iso::IGNITION_AREA_BYTES;
pub use live_root::LiveRoot;
pub use medium::{Live, Medium, System, disk_of};
pub use names::{Format, Wanted, check_prefix};
pub use place::{Found, Place, Rootless, unmatched};
pub use plan::Plan;
pub use request::{DESCRIPTIONS, Request};
pub use soundness::Soundness;
