//! Which formats make up a medium: the live system, the ISO, the PXE set, disks.

mod bake;
mod bios;
mod compress;
mod compression;
mod customize;
mod disk;
mod hosts;
mod installed;
mod ipl;
mod iso;
mod live;
mod medium;
mod menu;
mod miniso;
mod names;
mod plan;
mod proof;
mod pxe;
mod record;
mod soundness;
mod source;
mod stream;

pub use bake::Baked;
pub use compress::Archive;
pub use compression::{Choice, live_root};
pub use customize::Customization;
pub use disk::least_disk_bytes;
pub use hosts::{HostFile, HostsPlan, HostsRequest, overlays};
pub use installed::Installed;
pub use iso::IGNITION_AREA_BYTES;
pub use medium::{Live, LiveRoot, Medium, System};
pub use names::{Format, Wanted, check_prefix};
pub use plan::{Plan, Request};
pub use soundness::Soundness;
pub use source::{Glance, ReadOptions, Source};
