//! What was seen of media.

use anyhow::Result;

use crate::failure::sentence;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The medium's name.
    pub medium: String,
    /// What of it.
    pub name: &'static str,
    /// What it was compared with, or how much there was; or what is wrong.
    pub told: Result<String, String>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// In the order of looking; the last one is the one that is damaged, if one is.
    pub parts: Vec<Part>,
    /// What was not looked at, each in a sentence.
    pub notes: Vec<String>,
}

impl Verified {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.parts.iter().all(|part| part.told.is_ok())
    }

    /// Notes what came of a look. False if something is damaged.
    pub(super) fn note(
        &mut self,
        medium: &str,
        name: &'static str,
        looked: Result<String>,
    ) -> bool {
        let told = looked.map_err(|error| sentence(&*error));
        let is_sound = told.is_ok();
        self.parts.push(Part {
            medium: medium.to_owned(),
            name,
            told,
        });
        is_sound
    }
}
