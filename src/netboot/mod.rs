//! Boots over the network: what iPXE, PXELINUX, GRUB and dnsmasq are told, with the kernel arguments and the URLs
//! in it.
//!
//! These are texts alone. `media` writes them beside what is booted, `serve` answers with them, and both take
//! kernel arguments and names from here, so that a machine is told the same by either.

mod dnsmasq;
mod kargs;
mod menu;
mod script;
mod url;

pub use dnsmasq::{Network, dnsmasq_lines};
pub use kargs::{Boot, OURS, ROOTFS_URL, RUN_IGNITION, is_device, rootfs_url};
pub use menu::{Menu, names_of};
pub use script::{ASK_AGAIN, INSTALLED, Single, by_mac, refusal};
pub use url::{UrlError, check_base, check_rootfs};
