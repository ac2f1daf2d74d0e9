//! Images as nodes and on-cluster builds name them.
//!
//! ```text
//! osImageURL            HOST[:PORT]/PATH@sha256:DIGEST   compared with the booted one as a string
//! renderedImagePushSpec HOST.TLD[:PORT]/[NAMESPACE/]NAME:TAG
//! ```
//!
//! Source: openshift/machine-config-operator main 7ff337a, `pkg/daemon/rpm-ostree.go`
//! `GetBootedOSImageURL`; openshift/api, `machineosconfigs` definition.

use std::fmt;
use std::str::FromStr;

use crate::image::{ImageRef, RegistryName, Version};

/// Longest push spec (`machineosconfigs` definition, `renderedImagePushSpec`).
const PUSH_SPEC_MAX: usize = 447;

/// Longest part of a path in it.
const SEGMENT_MAX: usize = 61;

/// An image that a pool's nodes run: a registry, a repository and a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsImage(RegistryName);

/// Where on-cluster builds push to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSpec(String);

/// Why a text can't name a pool's image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OsImageError {
    /// Not an image in a registry at all.
    #[error("{text:?} does not name an image as osImageURL has to: {reason}")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tag may point elsewhere tomorrow.
    #[error("{0:?} has no digest, and a tag may point to another image for each node")]
    Tag(String),
    /// A tag and a digest.
    #[error("{0:?} has a tag and a digest; nodes would not find themselves on that image")]
    TagAndDigest(String),
    /// Another digest than SHA-256.
    #[error("{0:?} is not named by a sha256 digest, the only kind that the operator takes")]
    NotSha256(String),
    /// A seeded image's name goes into a status that takes less.
    #[error("{text:?} can't be the image of an on-cluster build: {reason}")]
    NotForBuilds {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not where a build could push.
    #[error("{text:?} is no place that on-cluster builds could push to: {reason}")]
    PushSpec {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl OsImage {
    /// Host, with a port if it has one.
    pub fn registry(&self) -> &str {
        &self.0.registry
    }

    /// Path at the registry.
    pub fn repository(&self) -> &str {
        &self.0.repository
    }

    /// Its digest, `sha256:…`.
    pub fn digest(&self) -> &str {
        match &self.0.version {
            Version::Digest(digest) => digest.as_str(),
            Version::Tag(_) => unreachable!("an OsImage is parsed from a name with a digest"),
        }
    }

    /// Fails if the status of an on-cluster build could not hold this name.
    pub fn check_for_builds(&self) -> Result<(), OsImageError> {
        let wrong = |reason| OsImageError::NotForBuilds {
            text: self.to_string(),
            reason,
        };
        is_build_name(self.registry(), self.repository()).map_err(wrong)
    }
}

impl FromStr for OsImage {
    type Err = OsImageError;

    fn from_str(text: &str) -> Result<Self, OsImageError> {
        let malformed = |reason: String| OsImageError::Malformed {
            text: text.to_owned(),
            reason,
        };
        if text.contains("://") {
            return Err(malformed("it must not have a transport".to_owned()));
        }
        if let Some((name, digest)) = text.split_once('@') {
            if name
                .rsplit('/')
                .next()
                .is_some_and(|last| last.contains(':'))
                && name.contains('/')
            {
                return Err(OsImageError::TagAndDigest(text.to_owned()));
            }
            if digest.contains(':') && !digest.starts_with("sha256:") {
                return Err(OsImageError::NotSha256(text.to_owned()));
            }
        }
        let reference: ImageRef = format!("docker://{text}")
            .parse()
            .map_err(|error| malformed(reason(&error)))?;
        let ImageRef::Registry(name) = reference else {
            return Err(malformed("it is in no registry".to_owned()));
        };
        if let Version::Tag(_) = name.version {
            return Err(OsImageError::Tag(text.to_owned()));
        }
        if name.to_string() != text {
            return Err(malformed("its registry has to be written out".to_owned()));
        }
        Ok(Self(name))
    }
}

/// What an error says after the text that it is about.
fn reason(error: &crate::image::ReferenceError) -> String {
    let said = error.to_string();
    match said.split_once("reference: ") {
        Some((_, reason)) => reason.to_owned(),
        None => said,
    }
}

impl fmt::Display for OsImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PushSpec {
    /// Registry and path, without the tag.
    pub fn name(&self) -> &str {
        // The port is before the path.
        self.0.rsplit_once(':').map_or(&*self.0, |(name, _)| name)
    }
}

impl FromStr for PushSpec {
    type Err = OsImageError;

    fn from_str(text: &str) -> Result<Self, OsImageError> {
        let wrong = |reason: &str| OsImageError::PushSpec {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        if text.len() > PUSH_SPEC_MAX {
            return Err(wrong("it is longer than 447 bytes"));
        }
        if text.contains('@') {
            return Err(wrong("it has to end in a tag, not in a digest"));
        }
        let (host, path) = text
            .split_once('/')
            .ok_or_else(|| wrong("it has no registry"))?;
        let (path, tag) = path
            .rsplit_once(':')
            .ok_or_else(|| wrong("it has no tag"))?;
        let is_tag = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || !tag.chars().all(is_tag) {
            return Err(wrong("its tag is none"));
        }
        is_build_name(host, path).map_err(|reason| wrong(&reason))?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PushSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule for the digested name of a finished build, which is stricter than the one for the push
/// spec: a build that pushed elsewhere could never be recorded.
fn is_build_name(registry: &str, path: &str) -> Result<(), String> {
    let (host, port) = match registry.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let has_labels = host.split('.').all(|label| !label.is_empty());
    if !host.contains('.') || !has_labels || !host.chars().all(is_host) {
        return Err(format!("its registry {host:?} is no host name with a dot"));
    }
    let is_port = |port: &str| (2..=5).contains(&port.len()) && port.parse::<u16>().is_ok();
    if port.is_some_and(|port| !is_port(port)) {
        return Err("its port does not have two to five digits".to_owned());
    }
    let (namespace, name) = match path.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, path),
    };
    if name.contains('/') {
        return Err("its path has more than one namespace before the name".to_owned());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if let Some(namespace) = namespace {
        let fits = (1..=SEGMENT_MAX).contains(&namespace.len());
        if !fits || !namespace.chars().all(is_plain) {
            return Err(format!(
                "its namespace {namespace:?} is not 1 to {SEGMENT_MAX} letters, digits, - and _"
            ));
        }
    }
    let is_name = |c: char| is_plain(c) || c == '.';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("its last part {name:?} is no name"));
    }
    Ok(())
}
