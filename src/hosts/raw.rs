//! An inventory as read: texts, and the lines they stand in.

use std::path::Path;

use crate::failure::Failure;

/// What the author said of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Where, counted from 1.
    pub(super) line: u64,
    pub(super) name: String,
    pub(super) macs: Vec<String>,
    pub(super) role: Option<String>,
    pub(super) disk: Option<String>,
    pub(super) ignition: Option<String>,
    pub(super) live_ignition: Option<String>,
    pub(super) keyfiles: Vec<String>,
    pub(super) nmstate: Option<String>,
    pub(super) kargs: Vec<String>,
    pub(super) dest_kargs: Vec<String>,
}

/// What is wrong with an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Counted from 1; 0 if it is no line in particular.
    pub(super) line: u64,
    pub(super) sentence: String,
    pub(super) hint: Option<&'static str>,
}

impl Wrong {
    pub(super) fn at(line: u64, sentence: impl Into<String>) -> Self {
        Self {
            line,
            sentence: sentence.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(self, hint: &'static str) -> Self {
        let hint = Some(hint);
        Self { hint, ..self }
    }

    /// The error that the user sees.
    pub(super) fn in_file(self, path: &Path) -> anyhow::Error {
        let path = path.display();
        let sentence = match self.line {
            0 => format!("{path}: {}", self.sentence),
            line => format!("{path}:{line}: {}", self.sentence),
        };
        match self.hint {
            Some(hint) => Failure::new(sentence, hint).into(),
            None => anyhow::Error::msg(sentence),
        }
    }
}

/// `text` as words that white space separates.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The keys that a host can have.
pub(super) const KEYS: [&str; 10] = [
    "name",
    "mac",
    "role",
    "disk",
    "ignition",
    "live-ignition",
    "keyfiles",
    "nmstate",
    "kargs",
    "dest-kargs",
];

/// `key`, which is a `what`, is none of [`KEYS`].
pub(super) fn unknown(what: &str, key: &str) -> String {
    format!("unknown {what} {key:?}, known are {}", KEYS.join(", "))
}
