//! Digests: names of contents, and the check that contents deserve their name.
//!
//! Only SHA-256 and SHA-512 are taken, in the one spelling that the image specification allows
//! (`descriptor.md`, "Registered algorithms": lower case, full length). A digest becomes a path
//! in layouts, so nothing else may ever be held by [`Digest`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use super::quoted::shown;

/// A content digest such as `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a digest: sha256 with 64 or sha512 with 128 lower-case hexadecimal digits is"
)]
pub struct DigestError(String);

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// The digest as it is written: algorithm, colon, hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.split().0
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.0
            .split_once(':')
            .expect("a digest has a colon, as FromStr checked")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 => hex,
            Some(("sha512", hex)) if hex.len() == 128 => hex,
            _ => return Err(DigestError(shown(text))),
        };
        if digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(DigestError(shown(text)))
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Computes a digest over bytes that pass by.
#[derive(Clone, Debug)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher of the algorithm that `expected` names.
    pub(super) fn like(expected: &Digest) -> Self {
        match expected.algorithm() {
            "sha512" => Self::Sha512(Sha512::new()),
            _ => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of everything so far.
    pub(super) fn digest(&self) -> Digest {
        Digest(match self {
            Self::Sha256(hash) => format!("sha256:{}", hex::encode(hash.clone().finalize())),
            Self::Sha512(hash) => format!("sha512:{}", hex::encode(hash.clone().finalize())),
        })
    }

    /// The digest of `bytes`, by the algorithm that `expected` names.
    pub(super) fn of(bytes: &[u8], expected: &Digest) -> Digest {
        let mut hasher = Self::like(expected);
        hasher.update(bytes);
        hasher.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Hasher};

    #[test]
    fn only_the_canonical_spelling_is_a_digest() {
        let (short, long) = ("a".repeat(64), "0".repeat(128));
        for good in [format!("sha256:{short}"), format!("sha512:{long}")] {
            let digest: Digest = good.parse().unwrap();
            assert_eq!(digest.to_string(), good);
            assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), good);
        }
        for bad in [
            String::new(),
            "sha256".into(),
            "sha256:".into(),
            short.clone(),
            format!("sha256:{}", &short[1..]),
            format!("sha256:a{short}"),
            format!("sha256:{}", short.to_uppercase()),
            format!("sha256:../{}", &short[3..]),
            format!("sha512:{short}"),
            format!("sha384:{}", "a".repeat(96)),
            format!("md5:{}", "a".repeat(32)),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
            assert!(serde_json::from_value::<Digest>(bad.into()).is_err());
        }
    }

    /// Known answers from FIPS 180-4's examples ("abc").
    #[test]
    fn digests_are_the_standard_ones() {
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::sha256(b"abc").as_str(), expected);
        let wide: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        let found = Hasher::of(b"abc", &wide);
        assert!(
            found
                .as_str()
                .starts_with("sha512:ddaf35a193617abacc417349ae204131")
        );
        assert!(found.as_str().ends_with("2a9ac94fa54ca49f"));
    }
}
