//! How a command ended, or what was wrong with what was said.

use std::error::Error;

use crate::failure::Failure;
use crate::image;

/// Exit code for arguments that are wrong, as clap has it.
pub(super) const USAGE: u8 = 2;

/// How a command ended, apart from errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Done, and every promise holds.
    Done,
    /// A check that was the whole point found something missing.
    Failed,
    /// Done, but a check does not hold.
    Doubtful,
}

/// Something is wrong with the options that clap does not see. Ends the program as what clap finds does.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(super) struct Usage {
    sentence: String,
    hint: Option<String>,
}

impl Usage {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { hint, ..self }
    }
}

/// The first advice that any error in the chain has.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|cause| {
        let usage = cause.downcast_ref::<Usage>();
        let failure = cause.downcast_ref::<Failure>();
        usage
            .and_then(|usage| usage.hint.clone())
            .or_else(|| failure.map(|failure| failure.hint().to_owned()))
            .or_else(|| image::hint(cause))
    })
}
