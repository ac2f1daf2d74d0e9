//! What somebody is to be called for, and where what looks for it runs.

use std::str::FromStr;

use super::schedule::Schedule;
use crate::cluster::tool::ToolImage;
use crate::openshift::is_subdomain;

/// The namespace that is made for the CronJob if no other is named.
const OWN_NAMESPACE: &str = "coreos-bake";
/// Longest name of a namespace, in bytes (RFC 1123 label).
const LABEL_MAX: usize = 63;

/// What somebody is to be called for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertOptions {
    /// The CronJob that looks for what has no metric; without it, nothing looks.
    pub watch: Option<Watch>,
}

/// A CronJob that runs `coreos-bake cluster status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The image that it runs in; `coreos-bake` has to be on its PATH.
    pub image: ToolImage,
    /// When.
    pub schedule: Schedule,
    /// A namespace that is there already. Without it, `coreos-bake` is made.
    pub namespace: Option<Namespace>,
    /// The PersistentVolumeClaim, in the same namespace, that logs of failed builds are kept in.
    pub logs_claim: Option<Claim>,
}

impl Watch {
    /// The namespace that it is in.
    pub fn namespace(&self) -> &str {
        self.namespace
            .as_ref()
            .map_or(OWN_NAMESPACE, |name| &name.0)
    }
}

/// Why an option can't be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlertOptionError {
    /// The namespace.
    #[error(
        "{0:?} can't be the name of a namespace: small letters, digits and inner dashes, at most {LABEL_MAX}"
    )]
    Namespace(String),
    /// The claim.
    #[error("{0:?} can't be the name of a PersistentVolumeClaim")]
    Claim(String),
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl FromStr for Namespace {
    type Err = AlertOptionError;

    fn from_str(text: &str) -> Result<Self, AlertOptionError> {
        let is_label = text.len() <= LABEL_MAX && !text.contains('.') && is_subdomain(text);
        match is_label {
            true => Ok(Self(text.to_owned())),
            false => Err(AlertOptionError::Namespace(text.to_owned())),
        }
    }
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(pub(super) String);

impl FromStr for Claim {
    type Err = AlertOptionError;

    fn from_str(text: &str) -> Result<Self, AlertOptionError> {
        match is_subdomain(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(AlertOptionError::Claim(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Namespace};

    #[test]
    fn names_that_a_cluster_would_refuse_are_refused() {
        let long = "a".repeat(64);
        for (name, is_namespace, is_claim) in [
            ("ops-tools", true, true),
            ("ops.tools", false, true),
            (&*long, false, true),
            ("Ops", false, false),
            ("-ops", false, false),
            ("", false, false),
        ] {
            assert_eq!(name.parse::<Namespace>().is_ok(), is_namespace, "{name}");
            assert_eq!(name.parse::<Claim>().is_ok(), is_claim, "{name}");
        }
    }
}
