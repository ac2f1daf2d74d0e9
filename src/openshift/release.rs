//! What a release of OpenShift can do, as far as an installation with drivers depends on it.
//!
//! Source: the release branches of openshift/installer (read up to main 5f2b0d3dc3, 2026-08-01) and of
//! openshift/machine-config-operator (up to main 7ff337a, 2026-08-20). What of it was run is in
//! `docs/verified.md`.

use std::fmt;
use std::str::FromStr;

/// The first release that takes an image of one's own as `osImageURL`.
const OLDEST: (u16, u16) = (4, 12);

/// A release of OpenShift, such as 4.19 or 4.19.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    major: u16,
    minor: u16,
    patch: Option<u16>,
}

/// Whether a MachineOSConfig may be there when the cluster is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeding {
    /// The release ignores it, and later builds an image that replaces the installed one.
    Missing,
    /// The code is in the release's branch, but no document says that it may be used.
    Unannounced,
    /// It is there.
    There,
}

/// Why a text names no release that is known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Something else.
    #[error("{0:?} is not a release of OpenShift, such as 4.19 or 4.19.3")]
    Malformed(String),
    /// One whose rules are not known.
    #[error("OpenShift {0} is not known; there are 4.12 to 4.x and 5.x")]
    Unknown(String),
}

impl Release {
    /// The release without its patch number: 4.19.
    pub fn minor(self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// Major and minor number of what names a version of OpenShift: `4.19.3`, `v4.19.0-202506…`, the tag
    /// `4.19.3-x86_64`. None for what does not, such as `unreleased-master-…`.
    pub fn minor_in(version: &str) -> Option<(u16, u16)> {
        let version = version.strip_prefix('v').unwrap_or(version);
        let (major, rest) = version.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        let (major, minor) = (number(major)?, number(minor)?);
        // Some tags of the installer's repository have other numbers.
        (major >= OLDEST.0).then_some((major, minor))
    }

    fn from(self, major: u16, minor: u16) -> bool {
        self.minor() >= (major, minor)
    }

    /// Whether the release's node image is put over the `/usr` of a bootstrap node whose own image
    /// has no OpenShift in it.
    pub fn bootstrap_overlays(self) -> bool {
        self.from(4, 19)
    }

    /// Whether the bootstrap machine of installer-provisioned bare metal boots the live ISO, which it
    /// then hands on to the control plane. Before, it boots a disk image of its own (installer
    /// release-4.21 still does; main changed on 2026-03-09).
    pub fn bootstraps_from_iso(self) -> bool {
        self.from(4, 22)
    }

    /// Whether a node's first boot in the cluster looks at the kernel arguments that it has, and does
    /// not take them for none (machine-config-operator f2877d6, 2023-09-08).
    pub fn compares_kernel_arguments(self) -> bool {
        self.from(4, 15)
    }

    /// Whether a node's first boot deploys an image again if its digest is that of an index for several
    /// architectures, and the node's skopeo is older than 1.22.2 (machine-config-operator
    /// `pkg/daemon/update.go` `skopeoSupportsMultiArchSigstore`, release-4.22 and main).
    pub fn redeploys_indexes(self) -> bool {
        self.from(4, 22)
    }

    /// Whether a MachineOSConfig may be there when the cluster is installed.
    pub fn seeding(self) -> Seeding {
        match self.minor() {
            (4, ..=20) => Seeding::Missing,
            (4, 21) => Seeding::Unannounced,
            _ => Seeding::There,
        }
    }

    /// Whether on-cluster builds take `osImageURL` for their base, and not the payload's image.
    pub fn builds_on_os_image(self) -> bool {
        self.from(4, 22)
    }

    /// Whether boot images that are too old keep the cluster from upgrading.
    pub fn enforces_skew(self) -> bool {
        self.from(4, 22)
    }

    /// The stream that a cluster gets if nobody says otherwise.
    pub fn default_stream(self) -> &'static str {
        match self.major {
            ..=4 => "rhel-9",
            _ => "rhel-10",
        }
    }

    /// The tag of the node image of that stream in the payload.
    pub fn payload_tag(self, stream: &str) -> &'static str {
        match (self.minor(), stream.starts_with("rhel-10")) {
            ((4, 12), _) => "rhel-coreos-8",
            (_, true) => "rhel-coreos-10",
            (_, false) => "rhel-coreos",
        }
    }

    /// The release with its patch number, as boot image records have it.
    pub fn exact(self) -> Option<String> {
        self.patch.map(|_| self.to_string())
    }
}

impl FromStr for Release {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let malformed = || ReleaseError::Malformed(text.to_owned());
        // As tags of repositories have it.
        let number_only = text.strip_prefix('v').unwrap_or(text);
        // A candidate has the rules of what it will become: 4.20.0-rc.1, 4.20.0-0.nightly-….
        let plain = match number_only.split_once('-') {
            Some((plain, build)) if !build.is_empty() && plain.matches('.').count() == 2 => plain,
            Some(_) => return Err(malformed()),
            None => number_only,
        };
        let numbers = plain
            .split('.')
            .map(number)
            .collect::<Option<Vec<u16>>>()
            .ok_or_else(malformed)?;
        let (major, minor, patch) = match numbers[..] {
            [major, minor] => (major, minor, None),
            [major, minor, patch] => (major, minor, Some(patch)),
            _ => return Err(malformed()),
        };
        if (major, minor) < OLDEST || major > 5 {
            return Err(ReleaseError::Unknown(text.to_owned()));
        }
        Ok(Self {
            major,
            minor,
            patch,
        })
    }
}

/// A number without sign and leading zeros.
fn number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    (is_plain && is_short).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.patch {
            Some(patch) => write!(f, ".{patch}"),
            None => Ok(()),
        }
    }
}
