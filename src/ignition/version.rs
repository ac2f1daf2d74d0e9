//! The versions of the configuration's spec that there are.

use std::fmt;

use super::error::Error;

/// A released version of spec 3, by its minor number: 2 is "3.2.0".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u8);

impl Version {
    /// 3.0.0, the first one.
    pub const V3_0: Self = Self(0);
    /// 3.1.0: sha256, compressed configs, HTTP headers, proxies.
    pub const V3_1: Self = Self(1);
    /// 3.2.0: LUKS, resized partitions; what openshift-install writes.
    pub const V3_2: Self = Self(2);
    /// 3.3.0: kernel arguments.
    pub const V3_3: Self = Self(3);
    /// 3.4.0: `arn:` URLs, LUKS discard and open options.
    pub const V3_4: Self = Self(4);
    /// 3.6.0: setuid, setgid and sticky bits.
    pub const V3_6: Self = Self(6);
    /// The newest that is understood here.
    pub const NEWEST: Self = Self::V3_6;

    /// Its minor number.
    pub fn minor(self) -> u8 {
        self.0
    }

    pub(super) const fn of_minor(minor: u8) -> Self {
        Self(minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}.0", self.0)
    }
}

impl std::str::FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::NoVersion);
        }
        let unknown = || Error::UnknownVersion(text.to_string());
        if let Some(released) = text.strip_suffix("-experimental") {
            let looks_right = released.starts_with("3.");
            return Err(if looks_right {
                Error::Experimental(text.to_string())
            } else {
                unknown()
            });
        }
        (Self::V3_0.0..=Self::NEWEST.0)
            .map(Self)
            .find(|version| version.to_string() == text)
            .ok_or_else(unknown)
    }
}
