//! One change of an install directory.

use super::files::sha256;

/// One file that will be another one.
#[derive(Clone, PartialEq, Eq)]
pub struct Edit {
    /// Its name, as seen from the install directory.
    pub path: String,
    /// Its content now, if it is there.
    pub before: Option<Vec<u8>>,
    /// Its content then.
    pub after: Vec<u8>,
    /// Whether nobody should see that on a screen.
    pub is_secret: bool,
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.after.len())
    }
}

impl Edit {
    /// SHA-256 of its content then, lower-case hex.
    pub fn sha256(&self) -> String {
        sha256(&self.after)
    }
}
