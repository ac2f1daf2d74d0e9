//! Imports of whole images against what ostree-ext and libostree make of them as root.
//!
//! The small images are made here: a commit by `ostree commit`, an image of it by ostree-ext, and
//! layers on top that are as nasty as container tools may write them, and a bit nastier. What is
//! compared is every object's name, which is a hash over all that ostree stores, and every ref.

mod support;

#[path = "ostree_oracle/archive.rs"]
mod archive;
#[path = "ostree_oracle/layers.rs"]
mod layers;
#[path = "ostree_oracle/oci.rs"]
mod oci;
#[path = "ostree_oracle/repository.rs"]
mod repository;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use archive::Tar;
use coreos_bake::testing::ostree::{Checksum, Imported, Importer, Kind, LibostreeVersion};
use layers::{base_tree, encapsulate, impossible, nasty};
use oci::Oci;
use repository::{Repository, our_objects, our_roots};
use support::{have, is_root, run, skip};
use tempfile::TempDir;

/// The libostree that the oracle runs on, where it decides about `/var`.
fn host_libostree() -> LibostreeVersion {
    let output = run(Command::new("ostree").arg("--version"));
    let text = String::from_utf8(output.stdout).unwrap();
    let (year, release) = text.split('\'').nth(1).unwrap().split_once('.').unwrap();
    LibostreeVersion::new(year.parse().unwrap(), release.parse().unwrap())
}

/// The program that carries ostree-ext, made by `scripts/sample/build`.
fn oracle() -> Option<PathBuf> {
    if !is_root() {
        return skip("needs root");
    }
    if !have("ostree") || !have("skopeo") {
        return None;
    }
    let program = support::sample()?.join("tools/ostree-ext-cli");
    program
        .exists()
        .then_some(program)
        .or_else(|| skip("no ostree-ext-cli"))
}

/// Imports the image both ways; what differs.
fn compare(name: &str, image: &Oci, oracle: &Path, scratch: &Path) -> Result<()> {
    let repository = Repository::create(scratch.join(format!("{name}.repo")));
    let theirs = repository.pull(oracle, image).context("their import");
    let ours = image.import(Importer::OstreeExt, Some(host_libostree()));
    let ours = ours.context("our import")?;
    theirs?;
    repository.prune();
    differences(&ours, &repository)
}

/// What differs between an import of ours and libostree's repository.
fn differences(ours: &Imported, theirs: &Repository) -> Result<()> {
    let (our_roots, their_roots) = (our_roots(ours), theirs.roots());
    ensure!(
        our_roots == their_roots,
        "ours: {our_roots:#?}, theirs: {their_roots:#?}"
    );
    let (ours, theirs) = (our_objects(ours), theirs.objects());
    let differing: Vec<&String> = ours.symmetric_difference(&theirs).collect();
    ensure!(differing.is_empty(), "objects differ: {differing:#?}");
    Ok(())
}

/// Fails with all differences of all images at once.
fn expect_equal(images: impl Iterator<Item = (String, Result<()>)>) {
    let (mut count, mut failed) = (0, String::new());
    for (name, result) in images {
        count += 1;
        if let Err(error) = result {
            failed += &format!("{name}: {error:?}\n");
        }
    }
    assert!(count > 0 && failed.is_empty(), "{failed}");
}

#[test]
fn the_sample_is_imported_as_libostree_does() {
    let Some(oracle) = oracle() else { return };
    let scratch = TempDir::new_in("/var/tmp").unwrap();
    let sample = support::sample().unwrap();
    expect_equal(["stock", "layered"].into_iter().map(|name| {
        let image = Oci::open(&sample.join(format!("{name}.oci")));
        (
            name.to_owned(),
            compare(name, &image, &oracle, scratch.path()),
        )
    }));
}

#[test]
fn nasty_layers_are_merged_as_libostree_does() {
    let Some(oracle) = oracle() else { return };
    let scratch = TempDir::new_in("/var/tmp").unwrap();
    let bases = [false, true].map(|policy| {
        let directory = scratch.path().join(format!("base-{policy}"));
        fs::create_dir(&directory).unwrap();
        encapsulate(&oracle, &directory, base_tree(policy), policy)
    });
    expect_equal(nasty().into_iter().map(|(name, policy, layers)| {
        let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::finish).collect();
        let image = bases[usize::from(policy)].with_layers(&scratch.path().join(name), &layers);
        (
            name.to_owned(),
            compare(name, &image, &oracle, scratch.path()),
        )
    }));
}

#[test]
fn what_libostree_cannot_import_is_refused() {
    let Some(oracle) = oracle() else { return };
    let scratch = TempDir::new_in("/var/tmp").unwrap();
    let base = encapsulate(&oracle, scratch.path(), base_tree(true), true);
    for (name, expected, layer) in impossible() {
        let image = base.with_layers(&scratch.path().join(name), &[layer.finish()]);
        let repository = Repository::create(scratch.path().join(format!("{name}.repo")));
        assert!(
            repository.pull(&oracle, &image).is_err(),
            "{name}: libostree imports it"
        );
        let error = image.import(Importer::Bootc, None).expect_err(name);
        let text = format!("{error:#}");
        let digest = image.manifest["layers"].as_array().unwrap().last().unwrap()["digest"]
            .as_str()
            .unwrap();
        assert!(
            text.contains(expected) && text.contains(digest),
            "{name}: {text}"
        );
    }
}

/// An object too few, an object that is another, a ref that points elsewhere.
#[test]
fn the_comparison_can_fail() {
    let Some(oracle) = oracle() else { return };
    let scratch = TempDir::new_in("/var/tmp").unwrap();
    let base = encapsulate(&oracle, scratch.path(), base_tree(true), true);
    let layer = Tar::new().file("usr/x", "x").finish();
    let image = base.with_layers(&scratch.path().join("image"), &[layer]);
    let repository = Repository::create(scratch.path().join("repo"));
    repository.pull(&oracle, &image).unwrap();
    let changed = |change: &dyn Fn(&mut Imported)| {
        let importer = Importer::OstreeExt;
        let mut imported = image.import(importer, Some(host_libostree())).unwrap();
        change(&mut imported);
        differences(&imported, &repository)
    };
    let first_file = |imported: &Imported| {
        let mut names = imported.objects.keys();
        *names.find(|name| name.kind == Kind::File).unwrap()
    };
    assert!(changed(&|_| ()).is_ok());
    assert!(changed(&|imported| drop(imported.objects.remove(&first_file(imported)))).is_err());
    let rename = |imported: &mut Imported| {
        let mut name = first_file(imported);
        let object = imported.objects.remove(&name).unwrap();
        name.checksum = Checksum::of(b"something else");
        imported.objects.insert(name, object);
    };
    assert!(changed(&rename).is_err());
    let redirect = |imported: &mut Imported| {
        let base = imported.base_commit.unwrap();
        imported.refs.values_mut().for_each(|commit| *commit = base);
    };
    assert!(changed(&redirect).is_err());
}

/// A later importer's habits: the same content, but for what builds leave behind.
#[test]
fn importers_differ_in_leftovers_only() {
    let Some(oracle) = oracle() else { return };
    let scratch = TempDir::new_in("/var/tmp").unwrap();
    let base = encapsulate(&oracle, scratch.path(), base_tree(true), true);
    let files = Tar::new()
        .file("etc/hosts", "h")
        .file("usr/share/x", "x")
        .finish();
    let leftovers = Tar::new()
        .file("etc/hostname", "")
        .file("etc/resolv.conf", "")
        .file("etc/machine-id", "")
        .finish();
    for (layer, differs) in [(files, false), (leftovers, true)] {
        let image = base.with_layers(&scratch.path().join(format!("differs-{differs}")), &[layer]);
        let old = image.import(Importer::OstreeExt, None).unwrap();
        let new = image.import(Importer::Bootc, None).unwrap();
        assert_eq!(old.content_checksum != new.content_checksum, differs);
        assert!(new.tree.lookup("usr/etc/hostname").is_none());
        assert_eq!(new.tree.lookup("usr/etc/machine-id").is_some(), differs);
    }
}
