//! Finished media, read back: what a path leads to, what boots from it, and whether its parts belong together.
//!
//! ```text
//! Place ──► Found ─┬─► Medium ─┬─► Live       ISO or PXE set: payload, live root
//!                  │           └─► Installed  disk: partitions, boot entry, deployment
//!                  └─► Rootless               a minimal ISO without what it fetches
//! ```
//!
//! What writers and readers of live media have to agree on is in `layout` and `rootfs`.

mod identity;
mod installed;
mod layout;
mod live_root;
mod medium;
mod payload;
mod place;
mod rootfs;
mod soundness;

pub use identity::Beside;
pub use installed::Installed;
pub use layout::{
    FEATURES, IGNITION_AREA, IGNITION_AREA_BYTES, IGNITION_INFO, INITRAMFS_STAMP, ISO_INITRD,
    ISO_KARGS, ISO_KERNEL, ISO_ROOTFS, IgnitionInfo, LIVE_ISO, ROOTFS_STAMP, WANTED_ROOTFS,
};
pub use live_root::LiveRoot;
pub use medium::{Live, Medium, System, disk_of};
pub use payload::Payload;
pub use place::{Found, Place, Rootless, unmatched};
pub use rootfs::{HASH_CHUNK, SQUASHFS_NAME, SQUASHFS_OFFSET, sha256, stream_hash};
pub use soundness::Soundness;
