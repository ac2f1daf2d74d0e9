//! What speaks against a medium.

use serde::Serialize;

/// Something that a program would not get over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objection {
    /// What is wrong with the medium, as a sentence.
    pub reason: String,
    /// What the program says, or how its message begins; nothing where it goes on, and what it makes
    /// doesn't boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// When it matters; nothing if always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<&'static str>,
    /// Where the rule is written: repository, file and revision.
    pub source: &'static str,
}
