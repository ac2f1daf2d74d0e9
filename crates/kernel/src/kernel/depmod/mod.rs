//! The indexes of a kernel's modules, as depmod writes them: what modprobe reads instead of the
//! modules.
//!
//! ```text
//! module     what the indexes need to know of a module, read from its object file
//! config     depmod.d: which of two modules with one name counts
//! catalog    the modules that count, in their order, and what each depends on
//! hash       the order in which depmod comes across modules and symbols
//! output     the files of text, and what goes into the binary ones
//! trie       the binary files
//! ```
//!
//! [`Depmod::add`] is given one module after the other and keeps names only; nothing is run, no
//! directory is walked, and modules may be of any architecture. The files are those of
//! `depmod -b DIRECTORY RELEASE`, byte for byte, except where depmod goes by the order of a
//! directory on disk (two modules of one name and one priority): here they come sorted by path.
//!
//! Left out on purpose: the map files that kernels before 2.6 had (`modules.pcimap`), `System.map`
//! and `Module.symvers` (`-F`, `-E`; they add warnings), versions of symbols, which depmod compares
//! for warnings only. Where depmod passes over a module that it cannot read, this is an error.
//!
//! Semantics: kmod 30, `depmod(8)`, `depmod.d(5)`, `modules.dep(5)`. Checked against depmod.

mod catalog;
mod config;
mod hash;
mod module;
mod output;
#[cfg(test)]
mod tests;
mod trie;

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, ensure};

use self::catalog::Catalog;
pub use self::catalog::Cycle;
use self::config::Config;
use self::module::Facts;
pub use self::output::{BuildFiles, Indexes};
use super::files::Files;
use super::modules::module_name;

/// What a binary index begins with; kmod reads no other (libkmod `libkmod-index.c`, `INDEX_MAGIC`).
pub(super) const INDEX_MAGIC: [u8; 4] = trie::MAGIC.to_be_bytes();

/// Whether a file is an index that kmod reads, by how it begins: one that depmod could not write, on
/// a full disk, is empty.
pub fn is_index(files: &dyn Files, path: &str) -> Result<bool> {
    let bytes = files.read(path)?;
    Ok(bytes.is_some_and(|bytes| bytes.starts_with(&INDEX_MAGIC)))
}

/// Where depmod looks for its configuration, best first; a file hides those of its name in later
/// ones (`depmod.d(5)`). `usr/etc` is where a commit of ostree has `/etc`.
const CONFIGURATION: [&str; 5] = [
    "run/depmod.d",
    "etc/depmod.d",
    "usr/etc/depmod.d",
    "usr/local/lib/depmod.d",
    "usr/lib/depmod.d",
];

/// Most modules of a kernel; a distribution has some 7000, and depmod itself counts in 16 bits.
const MODULES_MAX: usize = 65_534;

/// Most memory for what is kept of all modules; a distribution's take some 10 MB.
const FACTS_MAX_BYTES: usize = 256 << 20;

/// Longest path of a module (`PATH_MAX`, without the zero).
const PATH_MAX_BYTES: usize = 4095;

/// Names and texts of depmod's configuration in a root, in the order in which they count.
pub fn depmod_configuration(root: &dyn Files) -> Result<Vec<(String, String)>> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for directory in CONFIGURATION {
        for name in root.list(directory)? {
            if !name.ends_with(".conf") || found.contains_key(&name) {
                continue;
            }
            if let Some(bytes) = root.read(&format!("{directory}/{name}"))? {
                found.insert(name, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// The modules of one kernel, being collected.
#[derive(Debug)]
pub struct Depmod {
    config: Config,
    modules: BTreeMap<String, Facts>,
    held_bytes: usize,
}

impl Depmod {
    /// Begins with the files of depmod.d in the order in which they count: the names sorted, of
    /// several with one name only that in the first directory (`/run`, `/etc`, `/usr/local/lib`,
    /// `/lib`). Each is a name for messages and the text.
    pub fn new(release: &str, config: &[(&str, &str)]) -> Result<Self> {
        Ok(Self {
            config: Config::parse(release, config)?,
            modules: BTreeMap::new(),
            held_bytes: 0,
        })
    }

    /// Whether depmod would look at the file: by its name it is a module, it is not below `build` or
    /// `source`, and if the path is absolute, it is in an external directory. Paths are as for
    /// [`Depmod::add`].
    pub fn wants(&self, path: &str) -> bool {
        let Some(path) = self.config.below_top(path) else {
            return false;
        };
        let mut names = path.rsplit('/');
        names.next();
        module_name(path).is_some() && !names.any(|name| name == "build" || name == "source")
    }

    /// The place that a module is at, if depmod.d names it: a directory of `search`, or the module's own
    /// path in an `override`.
    pub(super) fn names_place(&self, path: &str) -> Option<String> {
        self.config.names_place(path)
    }

    /// Takes a module file, compressed or not. The path is relative to `/usr/lib/modules/RELEASE`,
    /// or absolute for one in an external directory; for a symbolic link it is the link's own, and
    /// the bytes are those of its target. The order of calls does not matter.
    pub fn add(&mut self, path: &str, file: &mut dyn Read) -> Result<()> {
        ensure!(
            self.wants(path) && path.len() <= PATH_MAX_BYTES && !path.contains(['\n', '\0']),
            "{path:?} is no path of a module"
        );
        ensure!(
            self.modules.len() < MODULES_MAX,
            "there are more than {MODULES_MAX} modules"
        );
        let facts = Facts::read(file).with_context(|| format!("reading module {path}"))?;
        self.held_bytes += facts.held_bytes() + path.len();
        ensure!(
            self.held_bytes <= FACTS_MAX_BYTES,
            "names of symbols and aliases of all modules take more than {FACTS_MAX_BYTES} bytes"
        );
        let earlier = self.modules.insert(path.to_owned(), facts);
        ensure!(earlier.is_none(), "module {path} was given twice");
        Ok(())
    }

    /// Makes the indexes. Fails with [`Cycle`] in the chain where modules need each other.
    pub fn finish(self, build: &BuildFiles<'_>) -> Result<Indexes> {
        let catalog = Catalog::new(&self.config, self.modules, build.order)?;
        output::indexes(&catalog, build)
    }
}
