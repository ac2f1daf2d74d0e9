//! The name of a driver, as people write it: the one parser for all that ask for names.
//!
//! ```text
//! megaraid_sas   megaraid-sas      `-` and `_` are the same to kmod
//! megaraid_sas.ko[.xz|.gz|.zst]    a module's file
//! /usr/lib/…/megaraid_sas.ko.xz    with its path
//! ```
//!
//! All of them are the name `megaraid_sas`. What could not be a module's name is refused, so that a
//! list in one name is not looked for as one module.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::modules::module_name;

/// Longest name of a module: Linux `include/linux/module.h`, `MODULE_NAME_LEN`, where an address has
/// 64 bits, without the NUL at its end.
const NAME_MAX_BYTES: usize = 55;

/// A kernel module's name, with `_` for `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DriverName(String);

/// Why a text is not the name of a driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverNameError {
    /// There is nothing.
    #[error("the name of a driver is empty")]
    Empty,
    /// It is several names, or something else with a space and the like in it.
    #[error(
        "{0:?} is not the name of a kernel module; a name has letters, digits, _ and -, and several \
         names are separated by commas"
    )]
    Character(String),
    /// It has directories before it, but is not a module's file.
    #[error(
        "{0:?} is not the file of a kernel module, which ends in .ko, .ko.xz, .ko.gz or .ko.zst"
    )]
    Path(String),
    /// The kernel takes no name of that length.
    #[error(
        "{0:?} has more than {NAME_MAX_BYTES} bytes, the most that the name of a kernel module can have"
    )]
    Long(String),
}

impl DriverName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DriverName {
    type Err = DriverNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(DriverNameError::Empty);
        }
        let name = module_name(text).unwrap_or_else(|| text.replace('-', "_"));
        if name.contains('/') {
            return Err(DriverNameError::Path(text.to_owned()));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // One that begins like an option is none that was meant.
        if !name.chars().all(is_plain) || text.starts_with('-') {
            return Err(DriverNameError::Character(text.to_owned()));
        }
        match name.len() > NAME_MAX_BYTES {
            true => Err(DriverNameError::Long(text.to_owned())),
            false => Ok(Self(name)),
        }
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DriverName> for String {
    fn from(name: DriverName) -> Self {
        name.0
    }
}

/// Most changes by which a name may differ from the one that was meant.
const CHANGES_MAX: usize = 2;

/// Names shorter than this are not guessed at: anything is near to them.
const GUESSED_MIN_BYTES: usize = 4;

/// The name that was likely meant by `name`: the nearest one, by the alphabet where several are.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if !(GUESSED_MIN_BYTES..=NAME_MAX_BYTES).contains(&name.len()) {
        return None;
    }
    known
        .filter(|other| *other != name && other.len().abs_diff(name.len()) <= CHANGES_MAX)
        .map(|other| (changes(name.as_bytes(), other.as_bytes()), other))
        .filter(|(changes, _)| *changes <= CHANGES_MAX)
        .min()
        .map(|(_, other)| other)
}

/// How many letters have to be put in, taken out, exchanged or swapped with the next one.
pub fn changes(from: &[u8], to: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let exchanged = last[j] + usize::from(letter != other);
            let mut least = exchanged.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == to[j - 1] && from[i - 1] == *other {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_name_are_one_name() {
        for text in [
            "megaraid_sas",
            "megaraid-sas",
            "megaraid_sas.ko",
            "megaraid-sas.ko.xz",
            "megaraid_sas.ko.gz",
            "megaraid_sas.ko.zst",
            "/usr/lib/modules/6.1/extra/megaraid_sas.ko.xz",
            "./megaraid-sas.ko",
        ] {
            let name: DriverName = text.parse().unwrap();
            assert_eq!(name.as_str(), "megaraid_sas", "{text}");
        }
        let longest = "a".repeat(NAME_MAX_BYTES);
        assert!(longest.parse::<DriverName>().is_ok());
        assert!(format!("{longest}.ko").parse::<DriverName>().is_ok());
    }

    #[test]
    fn what_could_not_be_a_name_is_refused() {
        let error = |text: &str| text.parse::<DriverName>().unwrap_err();
        assert_eq!(error(""), DriverNameError::Empty);
        for text in [
            "a b", "a;b", "a,b", "a:b", "a\nb", "é", "-a", "a.lz4", "it's", ".ko", "*",
        ] {
            assert_eq!(error(text), DriverNameError::Character(text.to_owned()));
        }
        for text in ["a/b", "../a", "extra/", "a.ko/b"] {
            assert_eq!(error(text), DriverNameError::Path(text.to_owned()));
        }
        let long = "a".repeat(NAME_MAX_BYTES + 1);
        assert_eq!(error(&long), DriverNameError::Long(long));
    }

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let known = [
            "megaraid_mbox",
            "megaraid_sas",
            "mpt3sas",
            "nvme",
            "nvmet",
            "ahci",
        ];
        for (name, meant) in [
            ("megaraidsas", Some("megaraid_sas")),
            ("megaraid_sa", Some("megaraid_sas")),
            ("mgearaid_sas", Some("megaraid_sas")),
            ("mpt2sas", Some("mpt3sas")),
            ("nvmee", Some("nvme")),
            ("megaraid", None),
            ("achi", Some("ahci")),
            ("nvm", None),
            ("no_such_driver", None),
            ("megaraid_sas", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), meant, "{name}");
            assert_eq!(nearest(name, known.into_iter().rev()), meant, "{name}");
        }
        assert_eq!(changes(b"abc", b""), 3);
        assert_eq!(changes(b"ab", b"ba"), 1);
    }
}
