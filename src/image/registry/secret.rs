//! What proves who we are to a registry. It is never shown.

use std::fmt;

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// User name and password.
    Basic(String, String),
    /// A refresh token, good for getting access tokens.
    Identity(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(user, _) => write!(f, "Basic({user:?})"),
            Self::Identity(_) => write!(f, "Identity"),
        }
    }
}
