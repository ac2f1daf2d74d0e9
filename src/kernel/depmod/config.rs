//! depmod.d: which of two modules with one name counts.
//!
//! ```text
//! search DIRECTORY…              best first; also the words built-in and external
//! override MODULE RELEASE DIRECTORY
//! external RELEASE DIRECTORY     absolute
//! make_map_files yes|no          of kernels before 2.6; passed over
//! ```

use anyhow::{Result, ensure};

/// Most entries of one kind.
const ENTRIES_MAX: usize = 4096;

/// Where a module may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Search {
    /// Below this directory.
    Directory(String),
    /// In a directory that nothing else is said of.
    BuiltIn,
    /// In one of the external directories.
    External,
}

/// What depmod.d says for one kernel.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The best last: a place later in the list wins, and so does a later line.
    search: Vec<Search>,
    /// Paths of modules without the ending, the latest line first.
    overrides: Vec<String>,
    /// Absolute directories.
    pub(super) external: Vec<String>,
}

impl Config {
    /// Reads the files, given as name and text.
    pub(super) fn parse(release: &str, files: &[(&str, &str)]) -> Result<Self> {
        let mut config = Self {
            search: Vec::new(),
            overrides: Vec::new(),
            external: Vec::new(),
        };
        for (name, text) in files {
            for line in logical_lines(text) {
                config.take(release, &line);
            }
            let count = config.search.len() + config.overrides.len() + config.external.len();
            ensure!(
                count <= ENTRIES_MAX,
                "{name} has more entries than the {ENTRIES_MAX} that are taken"
            );
        }
        if config.search.is_empty() {
            config.search = vec![Search::Directory("updates".to_owned()), Search::BuiltIn];
        }
        config.search.reverse();
        config.overrides.reverse();
        Ok(config)
    }

    fn take(&mut self, release: &str, line: &str) {
        let matches = |pattern: &str| pattern == "*" || pattern == release;
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        match words.next() {
            Some("search") => self.search.extend(words.map(|word| match word {
                "built-in" => Search::BuiltIn,
                "external" => Search::External,
                directory => Search::Directory(directory.to_owned()),
            })),
            Some("override") => {
                if let (Some(module), Some(pattern), Some(directory)) =
                    (words.next(), words.next(), words.next())
                    && matches(pattern)
                {
                    self.overrides.push(format!("{directory}/{module}"));
                }
            }
            Some("external") => {
                if let (Some(pattern), Some(directory)) = (words.next(), words.next())
                    && matches(pattern)
                {
                    self.external.push(directory.to_owned());
                }
            }
            // depmod warns of what it does not know and goes on.
            _ => {}
        }
    }

    /// Whether a module at the path `new` counts more than one of the same name at `old`.
    pub(super) fn prefers(&self, new: &str, old: &str) -> bool {
        for path in &self.overrides {
            if without_ending(new) == path {
                return true;
            }
            if without_ending(old) == path {
                return false;
            }
        }
        self.rank(new) > self.rank(old)
    }

    /// Place of a path in the search list, the higher the better.
    fn rank(&self, path: &str) -> Option<usize> {
        let found = self.search.iter().rposition(|place| match place {
            Search::Directory(directory) => below(path, directory),
            Search::BuiltIn => false,
            Search::External => self.external.iter().any(|directory| below(path, directory)),
        });
        let built_in = || self.search.iter().rposition(|at| *at == Search::BuiltIn);
        found.or_else(built_in)
    }
}

fn below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The path up to the first dot of the file's name.
fn without_ending(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let end = path[name..].find('.').map_or(path.len(), |at| name + at);
    &path[..end]
}

/// Lines without comments; a `\` at the end joins a line with the next one.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for part in text.lines() {
        match part.strip_suffix('\\') {
            Some(part) => line.push_str(part),
            None => {
                line.push_str(part);
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
    lines
}
