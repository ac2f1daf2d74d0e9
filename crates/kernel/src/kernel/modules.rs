//! Names of modules, and the text indexes that depmod and the kernel's build leave beside them.

use std::collections::{BTreeMap, BTreeSet};

use super::glob;
use super::kmod_text::underscores;

/// What a module file's name ends in; kmod knows these.
const SUFFIXES: [&str; 4] = [".ko", ".ko.xz", ".ko.gz", ".ko.zst"];

/// A module's name as the kernel writes it: `-` and `_` are the same to kmod.
pub fn canonical_name(name: &str) -> String {
    match module_name(name) {
        Some(name) => name,
        None => name.replace('-', "_"),
    }
}

/// The name of the module in a file (`kernel/fs/nls/nls_utf8.ko.xz`, `nls_utf8`); None if it is no
/// name of a module file.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let name = SUFFIXES
        .iter()
        .find_map(|suffix| file.strip_suffix(suffix))
        .filter(|name| !name.is_empty())?;
    Some(name.replace('-', "_"))
}

/// `modules.dep`: the files of modules, and what has to be loaded before each.
#[derive(Clone, Debug, Default)]
pub struct Dependencies(BTreeMap<String, Entry>);

/// A line of `modules.dep`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The module's file, relative to the directory of `modules.dep` unless it begins with `/`.
    pub(super) path: String,
    /// Files of everything it depends on, directly or not, in the order in which they are loaded.
    pub(super) dependencies: Vec<String>,
}

impl Dependencies {
    /// Parses the text of `modules.dep`. Lines that make no sense are passed over, as kmod does.
    pub fn parse(text: &str) -> Self {
        let mut map = BTreeMap::new();
        for line in text.lines() {
            let Some((path, dependencies)) = line.split_once(':') else {
                continue;
            };
            let Some(name) = module_name(path) else {
                continue;
            };
            // depmod writes them in the order of unloading.
            let dependencies = dependencies.split_ascii_whitespace().rev();
            map.entry(name).or_insert_with(|| Entry {
                path: path.to_owned(),
                dependencies: dependencies.map(str::to_owned).collect(),
            });
        }
        Self(map)
    }

    /// The file of a module, by its canonical name.
    pub fn path(&self, name: &str) -> Option<&str> {
        self.get(name).map(|entry| &*entry.path)
    }

    /// Files of everything the module depends on, directly or not, in the order of loading.
    pub fn dependencies(&self, name: &str) -> Option<&[String]> {
        self.get(name).map(|entry| &*entry.dependencies)
    }

    /// Names of modules that depend on one, directly or not; sorted.
    pub(super) fn users<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(_, entry)| {
                let mut paths = entry.dependencies.iter();
                paths.any(|path| module_name(path).as_deref() == Some(name))
            })
            .map(|(user, _)| user.as_str())
    }

    /// Names of all modules, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }
}

/// Names of the modules that are part of the kernel, from the text of `modules.builtin`.
pub(super) fn built_in(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| module_name(line.trim()))
        .collect()
}

/// `modules.alias`: by which names modules are asked for, most of them patterns for hardware.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases(BTreeMap<String, Vec<String>>);

impl Aliases {
    /// Parses the text (`alias pci:v00001000d00000014sv* megaraid_sas`).
    pub(super) fn parse(text: &str) -> Self {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(alias), Some(module)) =
                (words.next(), words.next(), words.next())
            {
                let aliases = map.entry(canonical_name(module)).or_default();
                aliases.push(alias.to_owned());
            }
        }
        Self(map)
    }

    /// The aliases of a module.
    pub(super) fn of(&self, module: &str) -> &[String] {
        self.0.get(module).map_or(&[], Vec::as_slice)
    }

    /// Modules that have a name, which is as kmod compares it, for an alias; sorted.
    pub(super) fn modules<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(|(_, aliases)| {
                let mut aliases = aliases.iter();
                aliases.any(|alias| glob::matches(&underscores(alias), name))
            })
            .map(|(module, _)| module.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_module_files() {
        let cases = [
            ("kernel/fs/nls/nls_utf8.ko", Some("nls_utf8")),
            ("kernel/crypto/crc32c-intel.ko.xz", Some("crc32c_intel")),
            ("a.ko.gz", Some("a")),
            ("a.ko.zst", Some("a")),
            ("a.ko.lz4", None),
            ("a.kox", None),
            (".ko", None),
            ("modules.dep", None),
        ];
        for (path, expected) in cases {
            assert_eq!(module_name(path).as_deref(), expected, "{path}");
        }
        assert_eq!(canonical_name("snd-hda-intel"), "snd_hda_intel");
        assert_eq!(canonical_name("extra/my-driver.ko.xz"), "my_driver");
    }

    #[test]
    fn dependencies_come_in_the_order_of_loading() {
        let dep = Dependencies::parse("k/c.ko: k/b.ko k/a.ko\nk/a.ko:\nnonsense\nx.txt: y\n");
        assert_eq!(dep.names().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(dep.path("c"), Some("k/c.ko"));
        assert_eq!(dep.dependencies("c").unwrap(), ["k/a.ko", "k/b.ko"]);
        assert_eq!(dep.dependencies("a").unwrap(), [] as [&str; 0]);
        assert_eq!(dep.path("b"), None);
    }

    #[test]
    fn aliases_are_names_and_patterns() {
        let text = "# x\nalias pci:v00001000d* disk-a\nalias fs-x disk_a\nalias pci:v0* b\n";
        let aliases = Aliases::parse(text);
        assert_eq!(aliases.of("disk_a"), ["pci:v00001000d*", "fs-x"]);
        let name = "pci:v00001000d1";
        assert_eq!(aliases.modules(name).collect::<Vec<_>>(), ["b", "disk_a"]);
        assert_eq!(aliases.modules("fs_x").collect::<Vec<_>>(), ["disk_a"]);
    }
}
