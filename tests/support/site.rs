//! Install directories of openshift-install, the program that prepares them, and all there is to see
//! of them.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::support::{open_up, run};

pub const IMAGE: &str =
    "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Install directories as `scripts/install-dirs` makes them, and the program.
pub struct Site(pub TempDir);

impl Site {
    /// With these directories, or all there are.
    pub fn new(names: &[&str]) -> Self {
        let site = tempfile::Builder::new()
            .prefix("coreos-bake-test-")
            .tempdir_in("/var/tmp")
            .expect("making a working directory");
        open_up(site.path());
        let program = site.path().join("coreos-bake");
        fs::copy(env!("CARGO_BIN_EXE_coreos-bake"), program).expect("copying the program");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install-dirs");
        run(Command::new(script).arg(site.path()).args(names));
        Self(site)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn prepare(&self, name: &str) -> Command {
        let mut command = Command::new(self.path("coreos-bake"));
        command.arg("prepare").arg(self.path(name));
        command
    }

    pub fn undo(&self, name: &str) {
        run(self.prepare(name).arg("--undo"));
    }
}

/// All there is to see of a directory but access times.
pub type Seen = BTreeMap<PathBuf, Entry>;

#[derive(Clone, PartialEq)]
pub struct Entry {
    mode: u32,
    pub owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
}

/// The content would fill the screen.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:o} {:?} {:?} {} bytes",
            self.mode,
            self.owner,
            self.modified,
            self.content.len()
        )
    }
}

pub fn seen(directory: &Path) -> Seen {
    let mut all = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_dir() => {
                open.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
                Vec::new()
            }
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => Vec::new(),
        };
        let entry = Entry {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            content,
        };
        all.insert(path, entry);
    }
    all
}

pub fn is_late(name: &str) -> bool {
    name.ends_with("-ignition")
}

/// What is asked of a directory: all that is possible at its stage.
pub fn wanted(name: &str) -> Vec<String> {
    let (release, _) = name.split_once('/').unwrap();
    let mut words = vec!["--release", release, "--driver", "acme_nic"];
    words.extend(["--driver-option", "acme_nic:lanes=4"]);
    match is_late(name) {
        // An image comes too late there.
        true => words.push("--allow-release-image"),
        false => words.extend(["--os-image", IMAGE, "--karg-append", "acme_nic.debug=1"]),
    }
    words.into_iter().map(str::to_owned).collect()
}

pub fn json_of(command: &mut Command) -> Value {
    let output = run(command.args(["--format", "json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn edit(directory: &Path, file: &str, from: &str, to: &str) {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

pub fn put(directory: &Path, file: &str, content: &str) {
    let path = directory.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
