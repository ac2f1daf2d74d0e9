//! What is said about a Containerfile.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The build fails, or a node boots without what was asked for.
    Error,
    /// It goes wrong under circumstances, or may do something else than meant.
    Warning,
    /// Nothing breaks.
    Note,
}

/// One thing about a Containerfile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remark {
    /// Line, from one; None if it is about the whole.
    pub line: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// Which rule, one of [`super::RULES`].
    pub rule: &'static str,
    /// What is so, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Remark {
    pub(super) fn new(
        severity: Severity,
        rule: &'static str,
        line: impl Into<Option<u32>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            line: line.into(),
            severity,
            rule,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn error(
        rule: &'static str,
        line: impl Into<Option<u32>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, rule, line, message)
    }

    pub(super) fn warning(
        rule: &'static str,
        line: impl Into<Option<u32>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, rule, line, message)
    }

    pub(super) fn note(
        rule: &'static str,
        line: impl Into<Option<u32>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Note, rule, line, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
