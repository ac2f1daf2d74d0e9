//! A driver looked up in the files of a boot stage.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::files::Files;
use super::modinfo::ModuleInfo;
use super::modules::{
    Dependencies, built_in, canonical_name, module_name, plain_aliases, soft_dependencies,
    soft_words,
};

/// Where modules lie, each kernel's in a directory called like its release. The second one is that
/// of initramfs from before `/lib` was merged into `/usr`.
const MODULE_DIRECTORIES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// Where the kernel looks for firmware, apart from directories of its own release in them.
const FIRMWARE_DIRECTORIES: [&str; 4] = [
    "usr/lib/firmware/updates",
    "usr/lib/firmware",
    "lib/firmware/updates",
    "lib/firmware",
];

/// What the kernel adds to a firmware file's name.
const FIRMWARE_SUFFIXES: [&str; 3] = ["", ".xz", ".zst"];

/// How many names are spelled out in one note.
const NOTED_NAMES: usize = 5;

/// Deepest directory and most directories looked into for a module that no index knows.
const SEARCH_DEPTH: u32 = 12;
const SEARCH_DIRECTORIES: u32 = 5000;

/// What was found of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Finding {
    /// Loading it by its name would work.
    Present(Present),
    /// It would not.
    Missing(Missing),
}

/// A driver that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Present {
    /// The driver's own module.
    #[serde(flatten)]
    pub module: Module,
    /// Everything it depends on, directly or not, in the order of loading.
    pub dependencies: Vec<Module>,
    /// What may be wrong all the same, each in a sentence.
    pub notes: Vec<String>,
}

/// A driver that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Missing {
    /// Why not, in a sentence.
    pub why: String,
}

/// One module, with the evidence for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Module {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// Whether it is part of the kernel. Then there is nothing else to say about it.
    pub built_in: bool,
    /// Path of its file in the stage's file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Size of the file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of the file, lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Which kernel it was built for, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vermagic: Option<String>,
    /// Whether a signature is appended to it; whose is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
}

impl Finding {
    /// Whether the driver is there.
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Present(_))
    }

    /// Why it is not; empty if it is.
    pub fn reason(&self) -> &str {
        match self {
            Self::Present(_) => "",
            Self::Missing(missing) => &missing.why,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(missing) => f.write_str(&missing.why),
            Self::Present(present) => {
                f.write_str(match &present.module.path {
                    Some(path) => path,
                    None => "built into the kernel",
                })?;
                for (dependency, before) in present
                    .dependencies
                    .iter()
                    .zip(std::iter::once(", after ").chain(std::iter::repeat(", ")))
                {
                    write!(f, "{before}{}", dependency.name)?;
                }
                for note in &present.notes {
                    write!(f, "; {note}")?;
                }
                Ok(())
            }
        }
    }
}

/// Whether `driver` could be loaded with these files by the kernel of that release.
///
/// Errors are for files that cannot be read; a driver that is not there, or not complete, is a
/// [`Finding::Missing`].
pub fn look_up(files: &dyn Files, kernel_release: &str, driver: &str) -> Result<Finding> {
    let name = canonical_name(driver);
    let found = match Modules::of(files, kernel_release)? {
        Some(modules) => modules.find(&name)?,
        None => Err(no_modules(files, kernel_release)?),
    };
    Ok(match found {
        Ok(present) => Finding::Present(present),
        Err(why) => Finding::Missing(Missing { why }),
    })
}

/// Something found, or the sentence that says why not.
type Found<T> = Result<T, String>;

/// The modules of one kernel.
struct Modules<'a> {
    files: &'a dyn Files,
    release: &'a str,
    /// Where they and their indexes lie.
    directory: String,
    built_in: BTreeSet<String>,
    /// None where there is no `modules.dep`.
    dependencies: Option<Dependencies>,
}

impl<'a> Modules<'a> {
    /// The modules of the kernel of that release, if there is a directory for them.
    fn of(files: &'a dyn Files, release: &'a str) -> Result<Option<Self>> {
        for parent in MODULE_DIRECTORIES {
            let directory = format!("{parent}/{release}");
            if !release.is_empty() && files.exists(&directory)? {
                let mut modules = Self {
                    files,
                    release,
                    directory,
                    built_in: BTreeSet::new(),
                    dependencies: None,
                };
                modules.built_in = built_in(&modules.index("builtin")?.unwrap_or_default());
                let text = modules.index("dep")?;
                modules.dependencies = text.map(|text| Dependencies::parse(&text));
                return Ok(Some(modules));
            }
        }
        Ok(None)
    }

    /// The text of `modules.<name>`.
    fn index(&self, name: &str) -> Result<Option<String>> {
        let bytes = self
            .files
            .read(&format!("{}/modules.{name}", self.directory))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn find(&self, name: &str) -> Result<Found<Present>> {
        if self.built_in.contains(name) {
            return Ok(Ok(Present {
                module: Module {
                    name: name.to_owned(),
                    built_in: true,
                    path: None,
                    size: None,
                    sha256: None,
                    vermagic: None,
                    signed: None,
                },
                dependencies: Vec::new(),
                notes: Vec::new(),
            }));
        }
        let entry = self.dependencies.as_ref().and_then(|all| all.get(name));
        let (Some(all), Some(entry)) = (&self.dependencies, entry) else {
            return Ok(Err(self.unknown(name)?));
        };
        // kmod reads this form of the index only.
        if !self
            .files
            .exists(&format!("{}/modules.dep.bin", self.directory))?
        {
            return Ok(Err(format!(
                "{} has a modules.dep, but no modules.dep.bin: depmod was not run there",
                self.directory
            )));
        }
        let (module, info) = match self.module(name, &entry.path)? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let mut dependencies = Vec::new();
        for path in &entry.dependencies {
            let dependency = module_name(path).unwrap_or_else(|| path.clone());
            match self.module(&dependency, path)? {
                Ok((module, _)) => dependencies.push(module),
                Err(why) => return Ok(Err(format!("its dependency {dependency}: {why}"))),
            }
        }
        for needed in info.depends().map(canonical_name) {
            let listed = dependencies.iter().any(|module| module.name == needed);
            if !listed && !self.built_in.contains(&needed) {
                return Ok(Err(match all.path(&needed) {
                    Some(_) => format!(
                        "it depends on {needed}, which modules.dep does not say: depmod was not run after it was installed"
                    ),
                    None => format!("it depends on {needed}, and there is no such module"),
                }));
            }
        }
        let notes = self.notes(name, &module, &dependencies, &info)?;
        Ok(Ok(Present {
            module,
            dependencies,
            notes,
        }))
    }

    /// The module in a file that an index names.
    fn module(&self, name: &str, path: &str) -> Result<Found<(Module, ModuleInfo)>> {
        let path = match path.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => format!("{}/{path}", self.directory),
        };
        let Some(bytes) = self.files.read(&path)? else {
            return Ok(Err(format!("modules.dep names {path}, which is not there")));
        };
        let info = match ModuleInfo::read(&bytes) {
            Ok(info) => info,
            Err(error) => return Ok(Err(format!("{path} is no usable module: {error:#}"))),
        };
        match info.release() {
            Some(release) if release == self.release => {}
            Some(release) => {
                return Ok(Err(format!(
                    "{path} was built for kernel {release}, and {} boots",
                    self.release
                )));
            }
            None => {
                return Ok(Err(format!(
                    "{path} does not say for which kernel it was built"
                )));
            }
        }
        let module = Module {
            name: name.to_owned(),
            built_in: false,
            size: Some(bytes.len() as u64),
            sha256: Some(hex::encode(Sha256::digest(&bytes))),
            vermagic: info
                .vermagic()
                .map(|vermagic| vermagic.trim_end().to_owned()),
            signed: Some(info.signed),
            path: Some(path),
        };
        Ok(Ok((module, info)))
    }

    /// Why no index names the module.
    fn unknown(&self, name: &str) -> Result<String> {
        let mut search = Search {
            files: self.files,
            name,
            directories_left: SEARCH_DIRECTORIES,
        };
        if let Some(path) = search.below(&self.directory, 0)? {
            return Ok(match self.dependencies {
                Some(_) => format!(
                    "{path} is there, but modules.dep does not name it: depmod was not run after it was installed"
                ),
                None => format!("{path} is there, but there is no modules.dep: depmod was not run"),
            });
        }
        for other in releases(self.files)? {
            if other == self.release {
                continue;
            }
            if let Some(modules) = Modules::of(self.files, &other)?
                && search.below(&modules.directory, 0)?.is_some()
            {
                return Ok(format!(
                    "module {name} is there for kernel {other}, and {} boots",
                    self.release
                ));
            }
        }
        Ok(format!(
            "kernel {} has no module {name} here, neither as a file nor built in",
            self.release
        ))
    }

    fn notes(
        &self,
        name: &str,
        module: &Module,
        dependencies: &[Module],
        info: &ModuleInfo,
    ) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let unsigned: Vec<&str> = std::iter::once(module)
            .chain(dependencies)
            .filter(|module| module.signed == Some(false))
            .map(|module| module.name.as_str())
            .collect();
        if !unsigned.is_empty() {
            notes.push(format!(
                "not signed, so refused under Secure Boot: {}",
                some_of(&unsigned)
            ));
        }
        let absent = self.absent_soft_dependencies(name, info)?;
        if !absent.is_empty() {
            notes.push(format!(
                "soft dependencies that are not there: {}",
                some_of(&absent)
            ));
        }
        let absent = self.absent_firmware(info)?;
        if !absent.is_empty() {
            notes.push(format!("firmware that is not there: {}", some_of(&absent)));
        }
        Ok(notes)
    }

    /// Soft dependencies for which there is neither a module nor an alias.
    fn absent_soft_dependencies(&self, name: &str, info: &ModuleInfo) -> Result<Vec<String>> {
        let mut wanted = soft_dependencies(&self.index("softdep")?.unwrap_or_default(), name);
        let own = info.all("softdep");
        wanted.extend(own.flat_map(|words| soft_words(words.split_ascii_whitespace())));
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|soft| {
            let known = self.dependencies.as_ref().and_then(|all| all.get(soft));
            known.is_none() && !self.built_in.contains(soft)
        });
        if !wanted.is_empty() {
            let aliases = plain_aliases(&self.index("alias")?.unwrap_or_default());
            wanted.retain(|soft| !aliases.contains_key(soft));
        }
        Ok(wanted)
    }

    fn absent_firmware(&self, info: &ModuleInfo) -> Result<Vec<String>> {
        let mut absent = Vec::new();
        // Newer modules name groups of files with wildcards, of which no single one is needed.
        for name in info.all("firmware").filter(|name| !name.contains('*')) {
            if !self.has_firmware(name)? {
                absent.push(name.to_owned());
            }
        }
        absent.sort_unstable();
        absent.dedup();
        Ok(absent)
    }

    fn has_firmware(&self, name: &str) -> Result<bool> {
        for directory in FIRMWARE_DIRECTORIES {
            for directory in [
                directory.to_owned(),
                format!("{directory}/{}", self.release),
            ] {
                for suffix in FIRMWARE_SUFFIXES {
                    if self.files.exists(&format!("{directory}/{name}{suffix}"))? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// A search for a module file, whatever the indexes say.
struct Search<'a> {
    files: &'a dyn Files,
    name: &'a str,
    directories_left: u32,
}

impl Search<'_> {
    /// The path of the first one below a directory.
    fn below(&mut self, directory: &str, depth: u32) -> Result<Option<String>> {
        if depth > SEARCH_DEPTH || self.directories_left == 0 {
            return Ok(None);
        }
        self.directories_left -= 1;
        for entry in self.files.list(directory)? {
            let path = format!("{directory}/{entry}");
            match module_name(&entry) {
                Some(name) if name == self.name => return Ok(Some(path)),
                Some(_) => {}
                // Links out of the directory: to where the kernel was built.
                None if depth == 0 && matches!(&*entry, "build" | "source") => {}
                None => {
                    if let Some(found) = self.below(&path, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Kernel releases that have a directory of modules, sorted.
fn releases(files: &dyn Files) -> Result<Vec<String>> {
    let mut releases = Vec::new();
    for directory in MODULE_DIRECTORIES {
        releases.extend(files.list(directory)?);
    }
    releases.sort_unstable();
    releases.dedup();
    Ok(releases)
}

/// What is said where a kernel has no directory of modules at all.
fn no_modules(files: &dyn Files, release: &str) -> Result<String> {
    let others = releases(files)?;
    Ok(match others.is_empty() {
        true => format!("there are no modules for kernel {release}"),
        false => format!(
            "there are no modules for kernel {release}, only for {}",
            some_of(&others)
        ),
    })
}

/// The first few of some names, and how many more there are.
fn some_of(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(NOTED_NAMES).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
