//! What is wrong with a configuration, and where.

use std::fmt;

/// Whether a finding stops Ignition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Ignition refuses the config.
    Error,
    /// Ignition goes on, and it is probably not what was meant.
    Warning,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is fatal.
    pub level: Level,
    /// Where, as Ignition writes it: `$.storage.files.0.path`.
    pub path: String,
    /// What, without the place.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All that is wrong with a configuration, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether Ignition would refuse the config.
    pub fn is_fatal(&self) -> bool {
        self.errors().next().is_some()
    }

    /// What makes Ignition refuse it.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.of(Level::Error)
    }

    fn of(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| f.level == level)
    }

    pub(super) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(Level::Error, path.into(), message.into());
    }

    pub(super) fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(Level::Warning, path.into(), message.into());
    }

    fn push(&mut self, level: Level, path: String, message: String) {
        self.findings.push(Finding {
            level,
            path,
            message,
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.errors().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}
