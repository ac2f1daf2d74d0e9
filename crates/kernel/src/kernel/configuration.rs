//! What a system's configuration says about loading modules: modprobe.d and modules-load.d.
//!
//! ```text
//! modprobe.d        blacklist NAME            its aliases do not load it
//!                   install NAME COMMAND…     the command is run instead of loading it
//!                   alias PATTERN NAME        before modules.alias, and before names of modules
//!                   softdep NAME pre: … post: …
//! modules-load.d    NAME                      a line each; loaded early by systemd
//! ```
//!
//! Files are read in the order of their names; of several with one name only the one in the first
//! of the directories counts, which is how a file in `/etc` replaces or empties one in `/usr/lib`.
//! `modules.softdep` is read as one of them. Options are passed over.
//!
//! Semantics: `modprobe.d(5)`, kmod 30 `libkmod-config.c`; `modules-load.d(5)`, systemd 252.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::files::Files;
use super::glob;
use super::kmod_text::{logical_lines, underscores};

/// Parents of the directories; the first one that has a file counts. The second one stands for the
/// first in the commit of an image.
const PARENTS: [&str; 6] = ["etc", "usr/etc", "run", "usr/local/lib", "usr/lib", "lib"];

/// Most files of one kind; systems have a dozen.
const FILES_MAX: usize = 4096;

/// Largest such file that is taken.
const FILE_MAX_BYTES: usize = 4 << 20;

/// Something that was said, and the file that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) file: String,
    pub(super) what: String,
}

/// A line `softdep`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Soft {
    /// Name of a module, or a pattern for it.
    pub(super) of: String,
    /// Loaded before it, if they are there.
    pub(super) before: Vec<String>,
    /// Loaded after it.
    pub(super) after: Vec<String>,
}

/// modprobe.d.
#[derive(Clone, Debug, Default)]
pub(super) struct Modprobe {
    /// By module.
    blacklist: BTreeMap<String, Said>,
    /// Commands by module.
    install: BTreeMap<String, Said>,
    /// Pattern, and module.
    pub(super) aliases: Vec<(String, Said)>,
    softdeps: Vec<Soft>,
}

impl Modprobe {
    /// Reads the configuration; `modules` is the directory with `modules.softdep`.
    pub(super) fn read(files: &dyn Files, modules: &str) -> Result<Self> {
        let mut paths = paths(files, "modprobe.d", &[".conf", ".alias"])?;
        let softdep = "modules.softdep";
        paths.insert(softdep.to_owned(), format!("{modules}/{softdep}"));
        let mut all = Self::default();
        for path in paths.into_values() {
            for line in logical_lines(&text(files, &path)?) {
                all.take(&path, &line);
            }
        }
        Ok(all)
    }

    fn take(&mut self, file: &str, line: &str) {
        let said = |what: String| Said {
            file: file.to_owned(),
            what,
        };
        let (command, rest) = word(line);
        let (name, rest) = word(rest);
        let name = underscores(name);
        // What was said first counts.
        match command {
            _ if name.is_empty() => {}
            "blacklist" => {
                self.blacklist.entry(name).or_insert(said(String::new()));
            }
            "install" if !rest.is_empty() => {
                let command = said(rest.trim().to_owned());
                self.install.entry(name).or_insert(command);
            }
            "alias" if !rest.is_empty() => {
                self.aliases.push((name, said(underscores(word(rest).0))));
            }
            "softdep" if !rest.is_empty() => self.softdeps.push(soft(name, rest)),
            _ => {}
        }
    }

    /// Which file blacklists a module.
    pub(super) fn blacklisted(&self, module: &str) -> Option<&str> {
        self.blacklist.get(module).map(|said| said.file.as_str())
    }

    /// The command that is run instead of loading a module.
    pub(super) fn install(&self, module: &str) -> Option<&Said> {
        self.install.get(module)
    }

    /// The modules that are meant by a name, if that is an alias here: indexes do not count then.
    pub(super) fn meant(&self, name: &str) -> Option<Vec<&Said>> {
        let aliases = self.aliases.iter();
        let found = aliases.filter(|(pattern, _)| glob::matches(pattern, name));
        let found: Vec<&Said> = found.map(|(_, said)| said).collect();
        (!found.is_empty()).then_some(found)
    }

    /// Soft dependencies of a module: only the first line of one counts.
    pub(super) fn soft(&self, module: &str) -> Option<&Soft> {
        let mut lines = self.softdeps.iter();
        lines.find(|soft| glob::matches(&soft.of, module))
    }

    /// All lines of soft dependencies.
    pub(super) fn softdeps(&self) -> &[Soft] {
        &self.softdeps
    }
}

/// Names in modules-load.d, each with the file that it is in.
pub(super) fn modules_load(files: &dyn Files) -> Result<Vec<Said>> {
    let mut found = Vec::new();
    for path in paths(files, "modules-load.d", &[".conf"])?.into_values() {
        for line in text(files, &path)?.lines() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with(['#', ';']) {
                found.push(Said {
                    file: path.clone(),
                    what: line.to_owned(),
                });
            }
        }
    }
    Ok(found)
}

/// The files of that kind that count, by name.
fn paths(
    files: &dyn Files,
    directory: &str,
    suffixes: &[&str],
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let deployed = files.exists(&format!("etc/{directory}"))?;
    for parent in PARENTS {
        if parent == "usr/etc" && deployed {
            continue;
        }
        let directory = format!("{parent}/{directory}");
        for name in files.list(&directory)? {
            let hidden = name.starts_with('.');
            if !hidden && suffixes.iter().any(|suffix| name.ends_with(suffix)) {
                let path = format!("{directory}/{name}");
                found.entry(name).or_insert(path);
            }
            ensure!(
                found.len() <= FILES_MAX,
                "{directory} has more than {FILES_MAX} files"
            );
        }
    }
    Ok(found)
}

/// The text of a file; none where it is a link to nothing, or to `/dev/null`.
fn text(files: &dyn Files, path: &str) -> Result<String> {
    let bytes = files.read(path)?.unwrap_or_default();
    ensure!(
        bytes.len() <= FILE_MAX_BYTES,
        "{path} has {} bytes, where at most {FILE_MAX_BYTES} are taken",
        bytes.len()
    );
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first word, and what is behind it.
fn word(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches([' ', '\t']);
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_start_matches([' ', '\t']))
}

/// The lines of `modules.softdep`.
pub(super) fn soft_lines(text: &str) -> impl Iterator<Item = Soft> {
    logical_lines(text).into_iter().filter_map(|line| {
        let (command, rest) = word(&line);
        let (of, words) = word(rest);
        (command == "softdep").then(|| soft(underscores(of), words))
    })
}

/// The soft dependencies in the words after a module's name; what stands before `pre:` and `post:`
/// comes to nothing.
pub(super) fn soft(of: String, words: &str) -> Soft {
    let mut soft = Soft {
        of,
        ..Soft::default()
    };
    let mut list = None;
    for word in words.split_ascii_whitespace() {
        match (word, &list) {
            ("pre:", _) => list = Some(true),
            ("post:", _) => list = Some(false),
            (name, Some(true)) => soft.before.push(underscores(name)),
            (name, Some(false)) => soft.after.push(underscores(name)),
            (_, None) => {}
        }
    }
    soft
}

#[cfg(test)]
mod tests {
    use super::soft;

    #[test]
    fn soft_dependencies_before_and_after() {
        let soft = soft("x".into(), "gone pre: a-b c post: d pre: e");
        assert_eq!(soft.before, ["a_b", "c", "e"]);
        assert_eq!(soft.after, ["d"]);
    }
}
