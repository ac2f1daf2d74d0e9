//! Why a configuration is refused.

use super::report::Report;

/// Why a configuration is refused. The name of the file is for the caller to add.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More bytes than anything that Ignition is ever given.
    #[error("the config has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// What there is.
        bytes: usize,
        /// What is read.
        limit: usize,
    },
    /// Not JSON.
    #[error("the config is no JSON: {0}")]
    NotJson(serde_json::Error),
    /// JSON, but not an object with `ignition.version` in it.
    #[error("the config has no ignition.version, so it is no Ignition config of spec 3")]
    NoVersion,
    /// A version outside 3.0.0 to 3.6.0.
    #[error("the config has version {0:?}, known are 3.0.0 to 3.6.0")]
    UnknownVersion(String),
    /// A version that changes meaning between releases of Ignition.
    #[error("the config has version {0:?}, which no released CoreOS accepts")]
    Experimental(String),
    /// Ignition would refuse it too.
    #[error("the config is not valid: {0}")]
    Invalid(Report),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownVersion(version) if version.starts_with("2.") => {
                Some("specs before 3.0.0 are of OpenShift 4.5 and older; write the config anew")
            }
            Self::Experimental(_) => Some("use the released version of the spec"),
            _ => None,
        }
    }
}
