//! Which formats make up a medium: the live system, the ISO, the PXE set, disks.

mod bake;
mod bios;
mod compress;
mod compression;
mod customize;
mod disk;
mod estimate;
mod hosts;
mod ipl;
mod iso;
mod live;
mod menu;
mod miniso;
mod names;
mod plan;
mod proof;
mod record;
mod request;
mod stream;

pub use bake::Baked;
pub use compress::Archive;
pub use compression::{Choice, live_root};
pub use customize::Customization;
pub use disk::least_disk_bytes;
pub use hosts::{
    HostFile, HostsPlan, HostsRequest, initramfs_carries_settings, iso_carries_settings, overlays,
};
pub use names::{Format, Wanted, check_prefix};
pub use plan::Plan;
pub use request::{DESCRIPTIONS, Request};
