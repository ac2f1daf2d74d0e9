//! The machines that are installed, by what their first config makes of them.

use std::fmt;
use std::str::FromStr;

/// What a machine is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The machine that brings the others up, and is none of the cluster's.
    Bootstrap,
    /// A node of the control plane.
    Master,
    /// A node for work.
    Worker,
    /// The third vote of a control plane of two.
    Arbiter,
}

/// A text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role; there are bootstrap, master, worker and arbiter")]
pub struct RoleError(String);

impl Role {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Bootstrap, Self::Master, Self::Worker, Self::Arbiter];

    /// Its name, as the installer's configs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Master => "master",
            Self::Worker => "worker",
            Self::Arbiter => "arbiter",
        }
    }

    /// The machine config pool of its nodes; the bootstrap machine is in none.
    pub fn pool(self) -> Option<&'static str> {
        match self {
            Self::Bootstrap => None,
            node => Some(node.as_str()),
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError(text.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
