//! Errors as people read them: one sentence, and advice.

use std::error::Error as StdError;
use std::iter;

use serde_json::Value;
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
    facts: Option<Value>,
}

impl Failure {
    /// An error saying `sentence`, with `hint` for the user.
    pub fn new(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            hint: hint.into(),
            facts: None,
        }
    }

    /// The same with what a program should know, such as the verdicts behind the sentence.
    pub fn with_facts(mut self, facts: Value) -> Self {
        self.facts = Some(facts);
        self
    }

    /// What a program should know.
    pub fn facts(&self) -> Option<&Value> {
        self.facts.as_ref()
    }

    /// The advice.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// An error with its causes as one sentence: `what: why: why that`.
///
/// Libraries differ in whether an error's text has its cause in it. A cause that was said already is
/// not said again.
pub fn sentence(error: &(dyn StdError + 'static)) -> String {
    let mut sentence = error.to_string();
    for cause in iter::successors(error.source(), |cause| (*cause).source()) {
        let cause = cause.to_string();
        if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests;
