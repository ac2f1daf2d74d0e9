//! depmod.d: which of two modules with one name counts.
//!
//! ```text
//! search DIRECTORY…              best first; also the words built-in and external
//! override MODULE RELEASE DIRECTORY
//! external RELEASE DIRECTORY     absolute
//! make_map_files yes|no          of kernels before 2.6; passed over
//! ```
//!
//! `RELEASE` is `*` or a regular expression for some part of the release.

use anyhow::{Result, ensure};
use regex::RegexBuilder;

use crate::kernel::kmod_text::logical_lines;

/// Most entries of all kinds, which every path of a name that is there twice is compared with.
const ENTRIES_MAX: usize = 4096;

/// Most memory for the pattern of a release.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// A word of `search`.
#[derive(Clone, Debug)]
enum Search {
    /// Below this directory.
    Directory(String),
    /// In a directory that nothing else is said of.
    BuiltIn,
    /// In one of the external directories.
    External,
}

/// A place of the search list, as modules are compared.
enum Place<'a> {
    Directory(&'a str),
    External(&'a str),
    BuiltIn,
}

/// What depmod.d says for one kernel.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The best last: a place later in the list wins, and so does a later line.
    search: Vec<Search>,
    /// Paths of modules without the ending, the latest line first.
    overrides: Vec<String>,
    /// Absolute directories, the latest line first.
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
        config.external.reverse();
        Ok(config)
    }

    fn take(&mut self, release: &str, line: &str) {
        let matches = |pattern: &str| {
            let mut builder = RegexBuilder::new(pattern);
            let regex = builder.size_limit(PATTERN_MAX_BYTES).build();
            // depmod as well takes a pattern that is none for one that does not match.
            pattern == "*" || regex.is_ok_and(|regex| regex.is_match(release))
        };
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
        let (mut best_new, mut best_old, mut built_in) = (None, None, None);
        for (rank, place) in self.places().enumerate() {
            match place {
                Place::Directory(directory) if below(new, directory) => best_new = Some(rank),
                // As in depmod, what is in the same directory does not get its rank.
                Place::Directory(directory) if below(old, directory) => best_old = Some(rank),
                Place::Directory(_) => {}
                Place::External(directory) => {
                    if below(new, directory) {
                        best_new = Some(rank);
                    }
                    if below(old, directory) {
                        best_old = Some(rank);
                    }
                }
                Place::BuiltIn => built_in = Some(rank),
            }
        }
        best_new.or(built_in) > best_old.or(built_in)
    }

    /// The search list with every external directory, the best last.
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let external = || self.external.iter().map(|at| Place::External(at));
        self.search.iter().flat_map(move |search| {
            let (one, several) = match search {
                Search::Directory(directory) => (Some(Place::Directory(directory)), None),
                Search::BuiltIn => (Some(Place::BuiltIn), None),
                Search::External => (None, Some(external())),
            };
            one.into_iter().chain(several.into_iter().flatten())
        })
    }

    /// The directory of `search` that a module is below, or its path, if `override` has that.
    pub(super) fn names_place(&self, path: &str) -> Option<String> {
        let own = without_ending(path);
        if self.overrides.iter().any(|path| path == own) {
            return Some(format!("override of {path}"));
        }
        let directory = self.places().find_map(|place| match place {
            Place::Directory(at) | Place::External(at) if below(path, at) => Some(at),
            _ => None,
        })?;
        Some(format!("search {directory}"))
    }

    /// When depmod comes to the directory of a path: the kernel's own first.
    pub(super) fn visit(&self, path: &str) -> usize {
        let found = self.external.iter().position(|at| below(path, at));
        found.map_or(0, |at| at + 1)
    }

    /// The path from the directory on in which modules are looked for. None if it is in none.
    pub(super) fn below_top<'a>(&self, path: &'a str) -> Option<&'a str> {
        if !path.starts_with('/') {
            return Some(path);
        }
        let mut external = self.external.iter();
        external.find_map(|at| path.strip_prefix(at.as_str())?.strip_prefix('/'))
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
