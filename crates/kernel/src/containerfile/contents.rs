//! What a Containerfile puts into the image, for those who know what else goes in there.

use super::packages::{self, entitled, extension_of, install, kernel_type_of};
use super::parse::{Action, File, Step};
use super::paths::{below, copied, is_variable, normal, written};
use super::shell::Command;

/// What a Containerfile puts into the image, as far as its text tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Packages that are installed, in any stage.
    pub packages: Vec<Package>,
    /// The first line that names a repository of Red Hat's that takes an entitlement.
    pub entitled: Option<u32>,
    /// Whether it brings repositories of its own.
    pub has_repositories: bool,
    /// What becomes of files of the image, in the order of the text. Paths in `/var`, and what links there, are
    /// left out: nodes keep their own.
    pub files: Vec<FileChange>,
    /// Units that are switched, in the order of the text.
    pub units: Vec<UnitChange>,
}

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Line, from one.
    pub line: u32,
    /// As written: a name, or the path or URL of a file.
    pub text: String,
    /// Whether it is in the image: a stage that is only copied from is not.
    pub is_in_image: bool,
    /// The extension of the OS that it belongs to, which nodes get from their MachineConfig.
    pub extension: Option<&'static str>,
    /// The kind of kernel that it belongs to, which nodes get from their MachineConfig.
    pub kernel_type: Option<&'static str>,
}

impl Package {
    /// Whether it comes from a repository, and not from a file.
    pub fn is_by_name(&self) -> bool {
        !self.text.contains('/') && !self.text.ends_with(".rpm")
    }
}

/// Something that is done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Line, from one.
    pub line: u32,
    /// Where the file is, or the directory that is removed.
    pub path: String,
    /// What becomes of it.
    pub becomes: Becomes,
}

impl FileChange {
    /// Whether something becomes of the file at `path`.
    pub fn touches(&self, path: &str) -> bool {
        match self.becomes {
            Becomes::Removed => below(path, &self.path),
            _ => self.path == path,
        }
    }
}

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It has this text, and the mode of a new file.
    Text(String),
    /// It is written, and the text does not tell with what.
    Written,
    /// It is a link.
    Link,
    /// It is not there, nor is what is below it.
    Removed,
}

/// A unit that is switched by `systemctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitChange {
    /// Line, from one.
    pub line: u32,
    /// With its suffix: `chronyd.service`.
    pub name: String,
    /// As in `disable`.
    pub verb: &'static str,
}

/// Ways to switch a unit.
const VERBS: [&str; 4] = ["enable", "disable", "mask", "unmask"];

/// What `content`, a Containerfile, puts into the image; nothing if it can't be read.
pub fn contents(content: &[u8]) -> Contents {
    let Ok(file) = File::parse(content) else {
        return Contents::default();
    };
    let chain = file.chain();
    let mut contents = Contents::default();
    for (index, stage) in file.stages.iter().enumerate() {
        for step in &stage.steps {
            contents.step(step, chain.contains(&index));
        }
    }
    contents.files.retain(|file| !is_variable(&file.path));
    contents
}

/// Whether a release of OpenShift, such as (4, 19), has an extension of the OS.
pub fn has_extension(release: (u16, u16), name: &str) -> bool {
    packages::has_extension(release, name)
}

impl Contents {
    fn step(&mut self, step: &Step, is_in_image: bool) {
        match &step.action {
            Action::Run(run) => {
                for command in &run.commands {
                    self.command(command, is_in_image);
                }
            }
            Action::Copy(copy) => {
                let paths = copied(copy);
                self.has_repositories |= paths.iter().any(|path| is_repository(path));
                if !is_in_image {
                    return;
                }
                let only = match (&*copy.texts, &*copy.sources, &*paths) {
                    ([text], [], [path]) => Some((text.clone(), path)),
                    _ => None,
                };
                match only {
                    Some((text, path)) => self.file(step.line, path, Becomes::Text(text)),
                    None => paths
                        .iter()
                        .for_each(|path| self.file(step.line, path, Becomes::Written)),
                }
            }
            _ => {}
        }
    }

    fn command(&mut self, command: &Command, is_in_image: bool) {
        let line = command.line;
        if self.entitled.is_none() && entitled(command).is_some() {
            self.entitled = Some(line);
        }
        let adds = |word: &String| word.starts_with("--repofrompath") || word == "config-manager";
        self.has_repositories |= command.words.iter().any(adds);
        self.has_repositories |= command.name() == "yum-config-manager";
        let paths = written(command);
        self.has_repositories |= paths.iter().any(|path| is_repository(path));
        if let Some(install) = install(command) {
            let packages = install.packages.iter().map(|package| Package {
                line,
                text: (*package).to_owned(),
                is_in_image,
                extension: extension_of(package),
                kernel_type: kernel_type_of(package),
            });
            self.packages.extend(packages);
        }
        if !is_in_image {
            return;
        }
        let plain = || {
            let words = command.arguments().iter();
            words.filter(|word| !word.starts_with('-'))
        };
        match command.name() {
            "rm" | "unlink" => {
                for path in plain().filter(|path| path.starts_with('/')) {
                    let path = normal(path.trim_end_matches(['/', '*']));
                    self.file(line, &path, Becomes::Removed);
                }
            }
            "systemctl" => {
                let mut words = plain();
                let verb = words.next();
                let verb = VERBS
                    .iter()
                    .find(|known| verb.is_some_and(|verb| verb == *known));
                if let Some(verb) = verb {
                    let changes = words.map(|unit| UnitChange {
                        line,
                        name: match unit.contains('.') {
                            true => unit.clone(),
                            false => format!("{unit}.service"),
                        },
                        verb,
                    });
                    self.units.extend(changes);
                }
            }
            // What is in it is told by those who write there.
            "mkdir" => {}
            "ln" => paths
                .iter()
                .for_each(|path| self.file(line, path, Becomes::Link)),
            _ => paths
                .iter()
                .for_each(|path| self.file(line, path, Becomes::Written)),
        }
    }

    fn file(&mut self, line: u32, path: &str, becomes: Becomes) {
        if path.is_empty() {
            return;
        }
        let path = path.to_owned();
        self.files.push(FileChange {
            line,
            path,
            becomes,
        });
    }
}

fn is_repository(path: &str) -> bool {
    path.starts_with("/etc/yum.repos.d")
}
