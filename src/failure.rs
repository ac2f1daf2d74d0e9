//! An error that comes with advice.

use thiserror::Error;

/// A sentence about what is wrong, and one about what to do.
///
/// Advice is kept apart from the sentence because they are printed on lines of their own (`error:`
/// and `hint:`), and because context is only put in front of the sentence.
#[derive(Debug, Error)]
#[error("{sentence}")]
pub struct Failure {
    sentence: String,
    hint: String,
}

impl Failure {
    /// An error saying `sentence`, with `hint` for the user.
    pub fn new(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            hint: hint.into(),
        }
    }

    /// The advice.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}
