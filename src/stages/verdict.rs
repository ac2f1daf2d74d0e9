//! What is said of a driver at a stage.

use std::fmt;

use serde::Serialize;

use super::Presence;
use crate::kernel::Finding;

/// A verdict at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It is there.
    Yes,
    /// It may not be, or nobody can say yet.
    Doubt,
    /// It is not.
    No,
}

/// What was found or judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many as drivers times stages: a handful"
)]
pub enum Verdict {
    /// Of files that were looked at.
    Found(Finding),
    /// By rules of the installer or the cluster.
    Judged(Judged),
}

/// A verdict by rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Judged {
    /// The driver will be there.
    Holds {
        /// Why, in a sentence.
        because: String,
        /// What may be lost all the same, each in a sentence.
        warnings: Vec<String>,
    },
    /// It will not.
    Fails {
        /// Why, in a sentence.
        why: String,
    },
    /// That depends on what is not known here.
    Open {
        /// On what, and how to make it known.
        why: String,
    },
}

impl Verdict {
    pub(super) fn holds(because: impl Into<String>, warnings: Vec<String>) -> Self {
        Self::Judged(Judged::Holds {
            because: because.into(),
            warnings,
        })
    }

    pub(super) fn fails(why: impl Into<String>) -> Self {
        Self::Judged(Judged::Fails { why: why.into() })
    }

    pub(super) fn open(why: impl Into<String>) -> Self {
        Self::Judged(Judged::Open { why: why.into() })
    }

    /// This verdict of a stage that goes on with what another one has: it is not better than
    /// `before`, the worst of what it goes on with.
    pub(super) fn after(self, before: Option<&Presence>) -> Self {
        let Some(before) = before else { return self };
        let stage = before.stage.name();
        match (self, before.verdict.mark()) {
            (Self::Judged(Judged::Holds { .. } | Judged::Open { .. }), Mark::No) => Self::fails(
                format!("it is missing at {stage} already, and nothing brings it"),
            ),
            (Self::Judged(Judged::Holds { because, .. }), Mark::Doubt)
                if before.verdict.is_open() =>
            {
                Self::open(format!(
                    "{because}; what is open at {stage} is open here as well"
                ))
            }
            (
                Self::Judged(Judged::Holds {
                    because,
                    mut warnings,
                }),
                Mark::Doubt,
            ) => {
                warnings.push(format!("the warnings of {stage} hold here as well"));
                Self::holds(because, warnings)
            }
            (own, _) => own,
        }
    }

    /// The same verdict, whose complaints say that they are of `medium`, which is one of several.
    pub fn of_medium(mut self, medium: &str) -> Self {
        let name = |text: &mut String| *text = format!("{medium}: {text}");
        match &mut self {
            Self::Found(Finding::Missing(missing)) => name(&mut missing.why),
            Self::Found(Finding::Present(present)) => present.warnings.iter_mut().for_each(name),
            Self::Judged(Judged::Holds { warnings, .. }) => warnings.iter_mut().for_each(name),
            Self::Judged(Judged::Fails { why } | Judged::Open { why }) => name(why),
        }
        self
    }

    /// Whether nobody can say yet.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Judged(Judged::Open { .. }))
    }

    /// The verdict at a glance.
    pub fn mark(&self) -> Mark {
        match self {
            Self::Found(Finding::Missing(_)) | Self::Judged(Judged::Fails { .. }) => Mark::No,
            Self::Found(Finding::Present(present)) if present.warnings.is_empty() => Mark::Yes,
            Self::Judged(Judged::Holds { warnings, .. }) if warnings.is_empty() => Mark::Yes,
            _ => Mark::Doubt,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(finding) => finding.fmt(f),
            Self::Judged(Judged::Holds { because, warnings }) => {
                f.write_str(because)?;
                warnings
                    .iter()
                    .try_for_each(|warning| write!(f, "; {warning}"))
            }
            Self::Judged(Judged::Fails { why } | Judged::Open { why }) => f.write_str(why),
        }
    }
}
