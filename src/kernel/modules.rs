//! Names of modules, and the text indexes that depmod and the kernel's build leave beside them.

use std::collections::{BTreeMap, BTreeSet};

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

/// The soft dependencies of a module: loaded with it if they are there.
///
/// `text` is `modules.softdep`; lines are `softdep NAME [pre: OTHER…] [post: OTHER…]`, and what
/// stands before any of the two words comes to nothing.
pub(super) fn soft_dependencies(text: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("softdep")
            && words
                .next()
                .is_some_and(|word| canonical_name(word) == name)
        {
            found.extend(soft_words(words));
        }
    }
    found
}

/// Names in the words of a soft dependency.
pub(super) fn soft_words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words
        .skip_while(|word| !matches!(*word, "pre:" | "post:"))
        .filter(|word| !matches!(*word, "pre:" | "post:"))
        .map(canonical_name)
        .collect()
}

/// Modules by the aliases without wildcards in the text of `modules.alias`
/// (`alias crypto-crc32c crc32c_generic`).
pub(super) fn plain_aliases(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some("alias"), Some(alias), Some(module)) =
            (words.next(), words.next(), words.next())
            && !alias.contains(['*', '?', '['])
        {
            let modules = map.entry(canonical_name(alias)).or_default();
            modules.push(canonical_name(module));
        }
    }
    map
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
    fn soft_dependencies_of_one_module() {
        let text = "# comment\nsoftdep ext4 pre: crypto-crc32c\nsoftdep cifs gcm\n\
                    softdep a-b post: c-d e pre: f\nsoftdep a_b pre: g\n";
        assert_eq!(soft_dependencies(text, "ext4"), ["crypto_crc32c"]);
        assert_eq!(soft_dependencies(text, "cifs"), [] as [&str; 0]);
        assert_eq!(soft_dependencies(text, "a_b"), ["c_d", "e", "f", "g"]);
    }
}
