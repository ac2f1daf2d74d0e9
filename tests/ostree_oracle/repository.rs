//! What an import has written: libostree's on disk, ours in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use coreos_bake::testing::ostree::{Checksum, Imported, Kind, Object};
use gvariant::aligned_bytes::{A8, copy_to_align};
use gvariant::{Marker, Structure, gv};

use super::oci::Oci;
use super::support::{self, run};

/// What a repository of mode `bare` holds.
pub(super) struct Repository(pub(super) PathBuf);

impl Repository {
    pub(super) fn create(path: PathBuf) -> Self {
        let repository = format!("--repo={}", path.display());
        run(Command::new("ostree").args(["init", "--mode=bare", &repository]));
        run(Command::new("ostree").args(["config", "set", "core.fsync", "false", &repository]));
        Self(path)
    }

    /// Pulls the image; what the importer says if it cannot.
    pub(super) fn pull(&self, oracle: &Path, image: &Oci) -> Result<()> {
        let output = Command::new(oracle)
            .args(["container", "image", "pull", "--quiet"])
            .arg(&self.0)
            .arg(image.reference())
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Removes what nothing refers to: versions of files that the same layer has replaced.
    pub(super) fn prune(&self) {
        let repository = format!("--repo={}", self.0.display());
        run(Command::new("ostree").args(["prune", "--refs-only", "--depth=0", &repository]));
    }

    /// Names of all objects but commits.
    pub(super) fn objects(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for shard in support::names(&self.0.join("objects")) {
            for name in support::names(&self.0.join("objects").join(&shard)) {
                names.insert(format!("{shard}{name}"));
            }
        }
        names.retain(|name| !name.ends_with(".commit"));
        names
    }

    /// Every ref of the import with the root directory of its commit.
    pub(super) fn roots(&self) -> BTreeMap<String, Root> {
        let list = run(Command::new("ostree")
            .arg("refs")
            .arg(format!("--repo={}", self.0.display())));
        let list = String::from_utf8(list.stdout).unwrap();
        let root = |name: &str| {
            let checksum = fs::read_to_string(self.0.join("refs/heads").join(name)).unwrap();
            let (shard, rest) = checksum.trim().split_at(2);
            let path = self
                .0
                .join("objects")
                .join(shard)
                .join(format!("{rest}.commit"));
            Root::of_commit(&fs::read(path).unwrap())
        };
        list.lines()
            .map(|name| (name.to_owned(), root(name)))
            .collect()
    }
}

/// Content of a commit: dirtree, dirmeta.
#[derive(Debug, PartialEq)]
pub(super) struct Root(String, String);

impl Root {
    fn of_commit(bytes: &[u8]) -> Self {
        let aligned = copy_to_align::<A8>(bytes);
        let commit = gv!("(a{sv}aya(say)sstayay)").cast(aligned.as_ref());
        let fields = commit.to_tuple();
        Self(hex::encode(fields.6), hex::encode(fields.7))
    }
}

pub(super) fn our_objects(imported: &Imported) -> BTreeSet<String> {
    let names = imported
        .objects
        .keys()
        .filter(|name| name.kind != Kind::Commit);
    names.map(ToString::to_string).collect()
}

pub(super) fn our_roots(imported: &Imported) -> BTreeMap<String, Root> {
    let root = |checksum: &Checksum| {
        let object = imported
            .objects
            .iter()
            .find(|(name, _)| name.checksum == *checksum && name.kind == Kind::Commit);
        match object.expect("refs point to commits that are there").1 {
            Object::Metadata(bytes) => Root::of_commit(bytes),
            Object::File { .. } => panic!("{checksum} is a file"),
        }
    };
    imported
        .refs
        .iter()
        .map(|(name, commit)| (name.clone(), root(commit)))
        .collect()
}
