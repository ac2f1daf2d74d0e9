//! What is asked for: an installation, and what is known of its media and of other manifests.

use std::collections::BTreeSet;

use super::boot_images::BootImages;
use super::driver::Driver;
use super::image_reference::OsImage;
use super::machine_os_config::Seed;
use super::pull_secret::PullSecret;
use super::release::Release;
use super::role::Role;

/// What is to be installed.
#[derive(Clone, Debug)]
pub struct Request {
    /// The release.
    pub release: Release,
    /// The release that the install directory is of, if it tells and that matters.
    pub told_release: Option<ToldRelease>,
    /// The machines that are installed from the media.
    pub roles: BTreeSet<Role>,
    /// What the media were baked from.
    pub media: Option<Media>,
    /// The image that the nodes are to run, as the user gave it: `osImageURL`.
    pub os_image: Option<String>,
    /// Whether nodes may run the release's own image instead.
    pub release_image: bool,
    /// Pools whose image manifests name that are there.
    pub imaged_pools: BTreeSet<String>,
    /// What that image was derived from.
    pub os_image_derivation: Derivation,
    /// Whether it is, by its digest, the image that the media were baked from.
    pub os_image_is_baked: bool,
    /// The drivers, with what the image doesn't do for them.
    pub drivers: Vec<Driver>,
    /// Kernel arguments of the nodes, one an item.
    pub kernel_arguments: Vec<String>,
    /// What on-cluster builds need, if they are to own the pools' images from the start.
    pub seed: Option<Seed>,
    /// The boot images, if the cluster is to be told about them.
    pub boot_images: Option<BootImages>,
    /// The cluster's pull secret.
    pub pull_secret: Option<PullSecret>,
    /// Whether the image can be pulled without credentials.
    pub anonymous_pull: bool,
    /// What other manifests say that matters here.
    pub found: Vec<Found>,
}

/// What the media were baked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The image as the origin of the installed deployment names it, without ostree's words before
    /// it, if that is a registry's name.
    pub registry_name: Option<String>,
    /// Digest of the manifest that was baked, `sha256:…`; never that of an index.
    pub manifest_digest: Option<String>,
    /// What it was derived from.
    pub derivation: Derivation,
}

impl Media {
    /// Whether a node that is installed from them runs this image already, by its name.
    pub fn is(&self, image: &OsImage) -> bool {
        self.registry_name.as_deref() == Some(image.to_string().as_str())
    }
}

/// The release that an install directory was made by or for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldRelease {
    /// The file that says so.
    pub file: String,
    /// Its major and minor number.
    pub minor: (u16, u16),
}

/// Whether an image has OpenShift in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// It has: it is derived from the release's node image.
    Node,
    /// It hasn't: it is derived from the plain OS.
    Base,
    /// Nobody looked.
    Unknown,
}

/// A manifest of somebody else's, as far as it decides about pools' images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The file it is in.
    pub file: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The pool it is for: its role label, or what its spec names, or its own name.
    pub pool: String,
    /// The image that it sets, by `osImageURL` or as a seed.
    pub os_image: Option<String>,
    /// The stream that it sets: `osImageStream.name` of a pool.
    pub stream: Option<String>,
}
