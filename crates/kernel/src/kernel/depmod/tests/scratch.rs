//! Trees of modules on disk, indexed by depmod and by us.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Result;
use tempfile::TempDir;

use crate::kernel::depmod::{BuildFiles, Depmod, Indexes};

/// The kernel in trees made by hand.
pub(super) const RELEASE: &str = "6.1.0-test";

/// Most directories below each other that are walked.
const DEPTH_MAX: usize = 32;

/// What depmod writes.
pub(super) const INDEXES: [&str; 10] = [
    "modules.alias",
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep",
    "modules.dep.bin",
    "modules.devname",
    "modules.softdep",
    "modules.symbols",
    "modules.symbols.bin",
];

/// A tree with the modules of one kernel.
pub(super) struct Scratch {
    root: TempDir,
    release: String,
    config: Vec<(String, String)>,
}

impl Scratch {
    pub(super) fn new(release: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let scratch = Self {
            root,
            release: release.to_owned(),
            config: Vec::new(),
        };
        fs::create_dir_all(scratch.directory()).unwrap();
        fs::create_dir_all(scratch.root.path().join("depmod.d")).unwrap();
        scratch
    }

    /// Where the modules are.
    pub(super) fn directory(&self) -> PathBuf {
        self.root.path().join("lib/modules").join(&self.release)
    }

    pub(super) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.directory().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.directory().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Adds a file of depmod.d; call in the order of names.
    pub(super) fn config(&mut self, name: &str, text: &str) {
        fs::write(self.root.path().join("depmod.d").join(name), text).unwrap();
        self.config.push((name.to_owned(), text.to_owned()));
    }

    /// What we make of the tree.
    pub(super) fn ours(&self) -> Result<Indexes> {
        let config: Vec<(&str, &str)> = self
            .config
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        let mut depmod = Depmod::new(&self.release, &config)?;
        let directory = self.directory();
        for path in walk(&directory, DEPTH_MAX) {
            let path = path.strip_prefix(&directory).unwrap().to_str().unwrap();
            if depmod.wants(path) {
                depmod.add(path, &mut File::open(directory.join(path)).unwrap())?;
            }
        }
        let external = depmod.config.external.clone();
        for path in external
            .iter()
            .flat_map(|at| walk(Path::new(at), DEPTH_MAX))
        {
            let path = path.to_str().unwrap();
            if depmod.wants(path) {
                depmod.add(path, &mut File::open(path).unwrap())?;
            }
        }
        let read = |name: &str| fs::read(directory.join(name)).ok();
        let order = read("modules.order");
        let builtin = read("modules.builtin");
        let builtin_modinfo = read("modules.builtin.modinfo");
        depmod.finish(&BuildFiles {
            order: order.as_deref(),
            builtin: builtin.as_deref(),
            builtin_modinfo: builtin_modinfo.as_deref(),
        })
    }

    /// Runs depmod on the tree.
    pub(super) fn depmod(&self) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("depmod")
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .arg("-b")
            .arg(self.root.path())
            .arg("-C")
            .arg(self.root.path().join("depmod.d"))
            .arg(&self.release)
            .output()
            .unwrap()
    }

    /// What depmod makes of the tree.
    pub(super) fn theirs(&self) -> BTreeMap<&'static str, Vec<u8>> {
        let output = self.depmod();
        assert!(output.status.success(), "{output:?}");
        let directory = self.directory();
        INDEXES
            .iter()
            .filter_map(|name| Some((*name, fs::read(directory.join(name)).ok()?)))
            .collect()
    }

    /// Both are the same; returns ours.
    pub(super) fn agrees(&self) -> Indexes {
        let ours = self.ours().unwrap();
        let theirs = self.theirs();
        let names = |files: &BTreeMap<&'static str, Vec<u8>>| -> Vec<&str> {
            files.keys().copied().collect()
        };
        assert_eq!(names(&ours.files), names(&theirs));
        for (name, content) in &ours.files {
            assert!(
                *content == theirs[name],
                "{name}: {}",
                difference(content, &theirs[name])
            );
        }
        ours
    }
}

/// Where two files part.
fn difference(ours: &[u8], theirs: &[u8]) -> String {
    let at = ours
        .iter()
        .zip(theirs)
        .position(|(a, b)| a != b)
        .unwrap_or(ours.len().min(theirs.len()));
    let part = |bytes: &[u8]| {
        let end = bytes.len().min(at + 80);
        String::from_utf8_lossy(&bytes[at.saturating_sub(40)..end]).into_owned()
    };
    format!(
        "at {at} of {} and {} bytes: {:?} instead of {:?}",
        ours.len(),
        theirs.len(),
        part(ours),
        part(theirs)
    )
}

/// Regular files below a directory, links followed, sorted.
fn walk(directory: &Path, depth: usize) -> Vec<PathBuf> {
    assert!(depth > 0, "{} is too deep", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path, depth - 1));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    files
}
