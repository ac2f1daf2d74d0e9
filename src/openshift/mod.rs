//! What the installer and the cluster are told about an image with drivers.
//!
//! ```text
//! release            what a release of OpenShift can do
//! role               the machines that are installed
//! kernel_arguments   those of a pool, and what a node's first boot does about them
//! image_reference    an image as nodes and on-cluster builds name it
//! driver, firmware   files and units for a machine's Ignition config
//! machine_config     the pool's image, kernel arguments, files and units
//! machine_os_config  who builds the pool's image from the day of installation on
//! boot_images        boot images that the cluster has to leave alone
//! pull_secret        whether the cluster may pull the image
//! manifest           an object as a file of the install directory
//! request            what is asked for
//! notes              what the admin has to know
//! objects            all of it for one request, or why the cluster would not come up
//! reruns             what has initramfs made anew on nodes
//! directory          an install directory: what it has, what is added to it, and back again
//! paths              the ways to install from baked media, as files and steps
//! ```
//!
//! Plain data in, plain data out: nothing but `directory` reads or writes files, and nothing talks to a
//! cluster.
//!
//! The rules are those of openshift/installer (main 5f2b0d3dc3) and openshift/machine-config-operator (main
//! 7ff337a) and their release branches; `docs/verified.md` says what of it real programs have confirmed.
//! Objects are checked by the cluster's own definitions in `tests/openshift.rs`.

pub mod directory;
pub mod paths;

mod boot_images;
mod driver;
mod firmware;
mod image_reference;
mod kernel_arguments;
mod machine_config;
mod machine_os_config;
mod manifest;
mod notes;
mod objects;
mod pull_secret;
mod release;
mod request;
mod reruns;
mod role;

#[cfg(test)]
mod tests;

pub use boot_images::{BootImages, DayTwo};
pub use driver::{Driver, named_in};
pub use firmware::{FIRMWARE_MAX_BYTES, Firmware};
pub use image_reference::{OsImage, PushSpec};
pub use kernel_arguments::FirstBoot;
pub use machine_config::{MachineConfig, ObjectError};
pub(crate) use machine_os_config::is_subdomain;
pub use machine_os_config::{CONTAINERFILE_MAX_CHARS, PushSecret, Seed};
pub(crate) use manifest::yaml;
pub use manifest::{Folder, Manifest};
pub use notes::Note;
pub use objects::{Objects, RequestError, objects};
pub use pull_secret::PullSecret;
pub use release::Release;
pub use request::{Derivation, Found, Media, Request, ToldRelease};
pub use reruns::reruns;
pub use role::Role;
