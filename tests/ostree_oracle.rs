//! Imports of whole images against what ostree-ext and libostree make of them as root.
//!
//! The small images are made here: a commit by `ostree commit`, an image of it by ostree-ext, and
//! layers on top that are as nasty as container tools may write them, and a bit nastier. What is
//! compared is every object's name, which is a hash over all that ostree stores, and every ref.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use coreos_bake::ostree::{
    self, Checksum, FileType, Imported, Importer, Kind, Labels, LayerFacts, LibostreeVersion,
    Limits, Object, Options, Source,
};
use coreos_bake::progress::Silent;
use coreos_bake::selinux::{FileKind, Policy};
use coreos_bake::tree::{Store, Tree};
use gvariant::aligned_bytes::{A8, copy_to_align};
use gvariant::{Marker, Structure, gv};
use serde_json::{Value, json};
use support::{have, is_root, run, skip};
use tempfile::TempDir;

/// An OCI layout directory with one image.
struct Oci {
    directory: PathBuf,
    manifest: Value,
    config: Value,
}

impl Oci {
    fn open(directory: &Path) -> Self {
        let json =
            |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
        let index = json(directory.join("index.json"));
        let blob = |digest: &Value| blob(directory, digest.as_str().unwrap());
        let manifest = json(blob(&index["manifests"][0]["digest"]));
        let config = json(blob(&manifest["config"]["digest"]));
        Self {
            directory: directory.to_owned(),
            manifest,
            config,
        }
    }

    /// The same image with uncompressed layers on top, in a new directory.
    fn with_layers(&self, directory: &Path, layers: &[Vec<u8>]) -> Self {
        run(Command::new("cp")
            .args(["-al"])
            .arg(&self.directory)
            .arg(directory));
        let mut image = Self {
            directory: directory.to_owned(),
            manifest: self.manifest.clone(),
            config: self.config.clone(),
        };
        for layer in layers {
            let digest = image.put(layer);
            let descriptor = json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest,
                "size": layer.len(),
            });
            image.manifest["layers"]
                .as_array_mut()
                .unwrap()
                .push(descriptor);
            image.config["rootfs"]["diff_ids"]
                .as_array_mut()
                .unwrap()
                .push(digest.into());
        }
        // Optional by the specification, demanded by ostree-ext 0.15.
        image.config["history"] = json!([{}]);
        let config = serde_json::to_vec(&image.config).unwrap();
        image.manifest["config"]["size"] = config.len().into();
        image.manifest["config"]["digest"] = image.put(&config).into();
        let manifest = serde_json::to_vec(&image.manifest).unwrap();
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": image.put(&manifest),
                "size": manifest.len(),
            }],
        });
        let path = directory.join("index.json");
        fs::remove_file(&path).unwrap();
        fs::write(path, serde_json::to_vec(&index).unwrap()).unwrap();
        image
    }

    fn put(&self, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", Checksum::of(bytes));
        fs::write(blob(&self.directory, &digest), bytes).unwrap();
        digest
    }

    fn layer(&self, index: usize) -> Result<Box<dyn Read + Send>> {
        let descriptor = &self.manifest["layers"][index];
        let file = fs::File::open(blob(
            &self.directory,
            descriptor["digest"].as_str().unwrap(),
        ))?;
        Ok(match descriptor["mediaType"].as_str().unwrap() {
            "application/vnd.oci.image.layer.v1.tar" => Box::new(file),
            _ => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(
                file,
            ))),
        })
    }

    fn facts(&self) -> Vec<LayerFacts> {
        let layers = self.manifest["layers"].as_array().unwrap().iter();
        let diff_ids = self.config["rootfs"]["diff_ids"].as_array().unwrap().iter();
        layers
            .zip(diff_ids)
            .map(|(layer, diff_id)| LayerFacts {
                digest: layer["digest"].as_str().unwrap().to_owned(),
                diff_id: diff_id.as_str().unwrap().to_owned(),
            })
            .collect()
    }

    fn reference(&self) -> String {
        format!("ostree-unverified-image:oci:{}", self.directory.display())
    }

    /// Our import, under the rules of the oracle's versions unless told otherwise.
    fn import(&self, importer: Importer, libostree: Option<LibostreeVersion>) -> Result<Imported> {
        let layers = self.facts();
        let manifest = serde_json::to_vec(&self.manifest)?;
        let config = serde_json::to_vec(&self.config)?;
        ostree::import(
            &Source {
                manifest_digest: "sha256:0",
                manifest: &manifest,
                config: &config,
                layers: &layers,
                open: &|index| self.layer(index),
            },
            &Store::create(&std::env::temp_dir(), 8 << 30)?,
            &Options {
                threads: NonZeroUsize::new(2).unwrap(),
                reference: &self.reference().parse()?,
                importer,
                libostree,
                labels: &find_labels,
                limits: Limits::default(),
            },
            &Silent,
        )
    }
}

fn blob(directory: &Path, digest: &str) -> PathBuf {
    directory.join("blobs").join(digest.replace(':', "/"))
}

struct PolicyLabels(Policy);

impl Labels for PolicyLabels {
    fn label(&self, path: &[u8], file_type: FileType) -> Option<Arc<[u8]>> {
        let kind = match file_type {
            FileType::Directory => FileKind::Directory,
            FileType::Regular => FileKind::Regular,
            FileType::Symlink => FileKind::Symlink,
        };
        self.0.label(path, kind)
    }

    fn check(&self) -> Result<()> {
        Ok(self.0.check()?)
    }
}

fn find_labels(tree: &Tree) -> Result<Option<Box<dyn Labels>>> {
    let policy = Policy::from_tree(tree, "usr/etc")?;
    Ok(policy.map(|policy| Box::new(PolicyLabels(policy)) as Box<dyn Labels>))
}

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

/// What a repository of mode `bare` holds.
struct Repository(PathBuf);

impl Repository {
    fn create(path: PathBuf) -> Self {
        let repository = format!("--repo={}", path.display());
        run(Command::new("ostree").args(["init", "--mode=bare", &repository]));
        run(Command::new("ostree").args(["config", "set", "core.fsync", "false", &repository]));
        Self(path)
    }

    /// Pulls the image; what the importer says if it cannot.
    fn pull(&self, oracle: &Path, image: &Oci) -> Result<()> {
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
    fn prune(&self) {
        let repository = format!("--repo={}", self.0.display());
        run(Command::new("ostree").args(["prune", "--refs-only", "--depth=0", &repository]));
    }

    /// Names of all objects but commits.
    fn objects(&self) -> BTreeSet<String> {
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
    fn roots(&self) -> BTreeMap<String, Root> {
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
struct Root(String, String);

impl Root {
    fn of_commit(bytes: &[u8]) -> Self {
        let aligned = copy_to_align::<A8>(bytes);
        let commit = gv!("(a{sv}aya(say)sstayay)").cast(aligned.as_ref());
        let fields = commit.to_tuple();
        Self(hex::encode(fields.6), hex::encode(fields.7))
    }
}

fn our_objects(imported: &Imported) -> BTreeSet<String> {
    let names = imported
        .objects
        .keys()
        .filter(|name| name.kind != Kind::Commit);
    names.map(ToString::to_string).collect()
}

fn our_roots(imported: &Imported) -> BTreeMap<String, Root> {
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

/// Imports the image both ways; what differs.
fn compare(name: &str, image: &Oci, oracle: &Path, scratch: &Path) -> Result<()> {
    let repository = Repository::create(scratch.join(format!("{name}.repo")));
    let theirs = repository.pull(oracle, image).context("their import");
    let ours = image.import(Importer::OstreeExt, Some(host_libostree()));
    let ours = ours.context("our import")?;
    theirs?;
    repository.prune();
    let (our_roots, their_roots) = (our_roots(&ours), repository.roots());
    ensure!(
        our_roots == their_roots,
        "ours: {our_roots:#?}, theirs: {their_roots:#?}"
    );
    let (ours, theirs) = (our_objects(&ours), repository.objects());
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

/// A tar archive in the making.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(
        mut self,
        kind: tar::EntryType,
        path: &str,
        owner: (u64, u64),
        mode: u32,
        data: &[u8],
        link: &str,
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mode(mode);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        if link.len() > 100 {
            self.0.append_link(&mut header, path, link).unwrap();
            return self;
        }
        if !link.is_empty() {
            header.set_link_name_literal(link).unwrap();
        }
        if path.len() < 100 {
            // Literally, as the builder refuses what layers may well have.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            self.0.append(&header, data).unwrap();
        } else {
            self.0.append_data(&mut header, path, data).unwrap();
        }
        self
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.owned(path, (0, 0), 0o644, data)
    }

    fn owned(self, path: &str, owner: (u64, u64), mode: u32, data: &str) -> Self {
        self.entry(
            tar::EntryType::Regular,
            path,
            owner,
            mode,
            data.as_bytes(),
            "",
        )
    }

    fn directory(self, path: &str) -> Self {
        self.mode(path, (0, 0), 0o755)
    }

    fn mode(self, path: &str, owner: (u64, u64), mode: u32) -> Self {
        self.entry(tar::EntryType::Directory, path, owner, mode, b"", "")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Symlink, path, (0, 0), 0o777, b"", target)
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Link, path, (0, 0), 0o644, b"", target)
    }

    fn device(self, path: &str) -> Self {
        self.entry(tar::EntryType::Char, path, (0, 0), 0o600, b"", "")
    }

    /// PAX records for the entry that comes next.
    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0
            .append_pax_extensions(records.iter().copied())
            .unwrap();
        self
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

const CONTEXTS: &str = "\
/.*\tsystem_u:object_r:default_t:s0
/\t-d\tsystem_u:object_r:root_t:s0
/usr(/.*)?\tsystem_u:object_r:usr_t:s0
/usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0
/usr/lib/.*\\.so\t--\tsystem_u:object_r:lib_t:s0
/etc(/.*)?\tsystem_u:object_r:etc_t:s0
/mnt\t-d\tsystem_u:object_r:mnt_t:s0
/proc\t-d\t<<none>>
/var(/.*)?\tsystem_u:object_r:var_t:s0
";

/// What the small base commit has, with or without a policy.
fn base_tree(policy: bool) -> Tar {
    let mut tar = Tar::new();
    for path in [
        "./",
        "usr/",
        "usr/bin/",
        "usr/lib/",
        "usr/lib/dir/",
        "usr/etc/",
        "proc/",
        "run/",
        "var/",
        "sysroot/",
    ] {
        tar = tar.directory(path);
    }
    tar = tar
        .mode("tmp/", (0, 0), 0o1777)
        .mode("usr/lib/private/", (3, 4), 0o2750)
        .file("usr/bin/tool", "tool")
        .owned("usr/bin/su", (0, 0), 0o4755, "su")
        .file("usr/bin/empty", "")
        .file("usr/lib/dir/a", "a")
        .file("usr/lib/dir/b", "b")
        .file("usr/lib/private/c", "c")
        .file("usr/lib/x.so", "so")
        .link("usr/lib/hard", "usr/lib/x.so")
        .symlink("usr/lib/odd", "../..//bin/tool")
        .symlink("usr/lib64", "lib")
        .symlink("bin", "usr/bin")
        .file("usr/etc/passwd", "root:x:0:0")
        .pax(&[("SCHILY.xattr.security.capability", CAPABILITY)])
        .file("usr/bin/ping", "ping");
    if policy {
        tar = tar
            .file(
                "usr/etc/selinux/config",
                "SELINUX=enforcing\nSELINUXTYPE=mini\n",
            )
            .file(
                "usr/etc/selinux/mini/contexts/files/file_contexts",
                CONTEXTS,
            )
            .file(
                "usr/etc/selinux/mini/contexts/files/file_contexts.subs_dist",
                "/usr/etc /etc\n",
            )
            .file("usr/etc/selinux/mini/policy/policy.33", "binary");
    }
    tar
}

/// `cap_net_raw=ep`, as the kernel stores it (`struct vfs_cap_data`, version 2).
const CAPABILITY: &[u8] = &[
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Makes an image of a tree with the oracle's own encapsulation.
fn encapsulate(oracle: &Path, directory: &Path, tree: Tar, policy: bool) -> Oci {
    let repository = Repository::create(directory.join("base.repo"));
    let archive = directory.join("base.tar");
    fs::write(&archive, tree.finish()).unwrap();
    let mut commit = Command::new("ostree");
    commit
        .arg(format!("--repo={}", repository.0.display()))
        .args([
            "commit",
            "--branch=base",
            "--no-bindings",
            "--tar-autocreate-parents",
        ])
        .args([
            "--timestamp=2024-01-01T00:00:00Z",
            "--add-metadata-string=version=1",
        ])
        .arg(format!("--tree=tar={}", archive.display()));
    if policy {
        let root = directory.join("policy");
        fs::create_dir(&root).unwrap();
        run(Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .arg("-C")
            .arg(&root)
            .arg("usr/etc/selinux"));
        commit.arg(format!("--selinux-policy={}", root.display()));
    }
    run(&mut commit);
    let image = directory.join("base.oci");
    run(Command::new(oracle)
        .args(["container", "encapsulate", "--repo"])
        .arg(&repository.0)
        .arg("base")
        .arg(format!("oci:{}", image.display())));
    Oci::open(&image)
}

/// Images made of the small base: a name for each, its layers, whether the base has a policy.
fn nasty() -> Vec<(&'static str, bool, Vec<Tar>)> {
    let tar = Tar::new;
    let long = format!("usr/share/{}/{}", "long".repeat(40), "name".repeat(40));
    vec![
        ("no_layers", true, vec![]),
        ("empty_layer", true, vec![tar()]),
        (
            "plain_files",
            true,
            vec![
                tar()
                    .directory("usr/")
                    .directory("usr/share/")
                    .file("usr/share/new", "new")
                    .symlink("usr/share/link", "new"),
            ],
        ),
        (
            "symlink_targets",
            true,
            vec![
                tar()
                    .symlink("usr/lib/a", "..//share/./new")
                    .symlink("usr/lib/b", "./x/../y//")
                    .symlink("usr/lib/c", "//usr/x/.")
                    .symlink("usr/lib/d", &format!("{}//x", "d".repeat(97)))
                    .symlink("usr/lib/e", &format!("{}//x", "d".repeat(98)))
                    .pax(&[("linkpath", b"a//b")])
                    .symlink("usr/lib/f", "a//b")
                    .symlink("usr/lib/g", "./."),
            ],
        ),
        (
            "whiteouts",
            true,
            vec![
                tar()
                    .file("usr/lib/dir/.wh.a", "")
                    .file("usr/lib/.wh.private", "")
                    .file("usr/.wh.nothing", "")
                    .file("etc/.wh.passwd", "")
                    .file("usr/.wh.lib64", ""),
            ],
        ),
        (
            "whiteout_and_again",
            true,
            vec![
                tar()
                    .file("usr/lib/.wh.dir", "")
                    .mode("usr/lib/dir/", (5, 6), 0o700)
                    .file("usr/lib/dir/new", "x"),
                tar()
                    .file("usr/lib/dir/.wh.new", "")
                    .file("usr/lib/dir/newer", "y"),
            ],
        ),
        // '+' comes before '.', so the file is there when its whiteout is processed.
        (
            "whiteout_of_its_own_file",
            true,
            vec![
                tar()
                    .file("usr/share/+x", "1")
                    .file("usr/share/.wh.+x", "")
                    .file("usr/share/x", "2")
                    .file("usr/share/.wh.x", ""),
            ],
        ),
        (
            "whiteout_with_content_or_as_symlink",
            true,
            vec![
                tar()
                    .file("usr/lib/dir/.wh.a", "content")
                    .symlink("usr/lib/dir/.wh.b", "x"),
            ],
        ),
        (
            "opaque",
            true,
            vec![
                tar()
                    .mode("usr/lib/private/", (7, 8), 0o711)
                    .file("usr/lib/private/.wh..wh..opq", "")
                    .file("usr/lib/private/d", "d")
                    .file("usr/lib/fresh/.wh..wh..opq", "")
                    .file("usr/lib/fresh/x", "x"),
            ],
        ),
        (
            "opaque_root",
            false,
            vec![
                tar()
                    .mode("./", (1, 1), 0o751)
                    .file(".wh..wh..opq", "")
                    .file("usr/x", "x"),
                tar().file("usr/.wh..wh..opq", "").file("usr/y", "y"),
            ],
        ),
        (
            "hard_links",
            true,
            vec![
                tar()
                    .file("usr/share/a", "a")
                    .link("usr/share/b", "usr/share/a")
                    .link("usr/bin/c", "/usr/share/a")
                    .file("etc/conf", "conf")
                    .link("etc/conf2", "etc/conf")
                    .link("usr/lib/conf3", "./etc/conf")
                    .file("usr/share/empty", "")
                    .link("usr/share/empty2", "usr/share/empty")
                    .symlink("usr/share/s", "a")
                    .link("usr/share/s2", "usr/share/s"),
            ],
        ),
        (
            "link_before_its_target",
            true,
            vec![
                tar()
                    .link("usr/share/b", "usr/share/a")
                    .file("usr/share/a", "a"),
            ],
        ),
        (
            "filtered",
            true,
            vec![
                tar()
                    .directory("opt/")
                    .file("opt/x", "x")
                    .file("boot/y", "y")
                    .directory("run/")
                    .file("run/foo/z", "z")
                    .file("tmp/foo", "t")
                    .device("dev/null")
                    .directory("dev/")
                    .file("bin/through-symlink", "b")
                    .file("toplevel", "")
                    .file("usr/share/kept", "k"),
            ],
        ),
        (
            "etc_and_var",
            true,
            vec![
                tar()
                    .directory("etc/")
                    .mode("etc/d/", (0, 9), 0o750)
                    .file("etc/d/f", "f")
                    .directory("var/")
                    .mode("var/lib/", (2, 2), 0o700)
                    .file("var/lib/state", "s")
                    .file("usr/etc/direct", "d"),
            ],
        ),
        (
            "file_over_directory",
            true,
            vec![
                tar().file("usr/lib/dir", "file now"),
                tar().symlink("usr/lib/private", "dir"),
                tar().file("usr/bin", ""),
            ],
        ),
        (
            "missing_parents",
            true,
            vec![tar().owned("usr/a/b/c/file", (11, 12), 0o600, "x")],
        ),
        // A missing parent makes libostree describe all directories above it anew.
        (
            "missing_parent_below_described_one",
            true,
            vec![
                tar()
                    .mode("usr/p/", (1, 2), 0o700)
                    .file("usr/p/f", "f")
                    .owned("usr/p/q/r", (3, 4), 0o600, "r"),
            ],
        ),
        (
            "described_after_missing_parent",
            true,
            vec![
                tar()
                    .owned("usr/p/q/r", (3, 4), 0o600, "r")
                    .mode("usr/p/", (1, 2), 0o700),
            ],
        ),
        (
            "directory_metadata",
            true,
            vec![
                tar()
                    .mode("usr/lib/private/", (0, 0), 0o777)
                    .mode("usr/lib/dir/", (9, 9), 0o1700)
                    .mode("./", (1, 2), 0o700),
            ],
        ),
        (
            "modes_and_capabilities",
            true,
            vec![
                tar()
                    .owned("usr/bin/s", (5, 6), 0o6755, "s")
                    .owned("usr/bin/t", (0, 0), 0o1000, "")
                    .pax(&[("SCHILY.xattr.security.capability", CAPABILITY)])
                    .owned("usr/bin/cap", (0, 0), 0o755, "cap")
                    .pax(&[("SCHILY.xattr.security.aa", b"a\0b\0\0")])
                    .mode("usr/lib/xdir/", (0, 0), 0o755),
            ],
        ),
        (
            "user_attributes",
            false,
            vec![
                tar()
                    .pax(&[
                        ("SCHILY.xattr.user.b", b"2"),
                        ("SCHILY.xattr.user.a", b"\xff\0"),
                    ])
                    .file("usr/bin/u", "u")
                    .pax(&[("SCHILY.xattr.user.d", b"d")])
                    .directory("usr/lib/udir/"),
            ],
        ),
        (
            "duplicates",
            true,
            vec![
                tar()
                    .file("usr/share/f", "1")
                    .link("usr/share/g", "usr/share/f")
                    .owned("usr/share/f", (1, 1), 0o600, "2")
                    .directory("usr/share/d/")
                    .mode("usr/share/d/", (4, 4), 0o711)
                    .symlink("usr/share/s", "a")
                    .file("usr/share/s", "b"),
            ],
        ),
        (
            "names",
            true,
            vec![
                tar()
                    .file(&long, "long")
                    .file("usr/share/späße", "u")
                    .link("usr/share/l", &long)
                    .symlink("usr/share/longlink", &"t/".repeat(80))
                    .file("/usr/share/absolute", "a")
                    .file("./usr//share/./dots", "d")
                    .pax(&[("path", b"usr/share/from-pax")])
                    .file("usr/share/other", "p"),
            ],
        ),
        (
            "changed_base_file",
            true,
            vec![
                tar()
                    .file("sysroot/ostree/repo/objects/00/00.file", "changed")
                    .link("usr/bin/tool", "sysroot/ostree/repo/objects/00/00.file")
                    .link("usr/bin/tool2", "sysroot/ostree/repo/objects/00/00.file")
                    .link("usr/bin/lost", "sysroot/ostree/repo/objects/11/11.file"),
            ],
        ),
        (
            "build_leftovers",
            true,
            vec![
                tar()
                    .file("etc/hostname", "")
                    .file("etc/resolv.conf", "")
                    .file("etc/hosts", ""),
            ],
        ),
        (
            "new_policy",
            true,
            vec![
                tar()
                    .file(
                        "etc/selinux/mini/contexts/files/file_contexts",
                        &CONTEXTS.replace("bin_t", "tool_t"),
                    )
                    .file("usr/bin/n", "n"),
                tar().file("usr/bin/m", "m"),
            ],
        ),
        (
            "same_layer_twice",
            true,
            vec![
                tar().file("usr/share/x", "x"),
                tar().file("usr/share/.wh.x", ""),
                tar().file("usr/share/x", "x"),
            ],
        ),
    ]
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

/// Layers that libostree cannot import, and neither can we: what our error says.
fn impossible() -> Vec<(&'static str, &'static str, Tar)> {
    let tar = Tar::new;
    vec![
        (
            "device",
            "which ostree cannot hold",
            tar().device("usr/lib/null"),
        ),
        (
            "link_to_lower_layer",
            "which the layer does not have",
            tar().link("usr/lib/y.so", "usr/lib/x.so"),
        ),
        (
            "link_to_dropped_file",
            "which ostree does not keep",
            tar().file("opt/x", "x").link("usr/x", "opt/x"),
        ),
        ("upwards", "leads upwards", tar().file("usr/../../x", "x")),
        (
            "not_utf8",
            "is not UTF-8",
            tar().pax(&[("path", b"usr/\xff")]).file("usr/x", "x"),
        ),
        (
            "file_over_own_directory",
            "both a directory and something else",
            tar().directory("usr/d/").file("usr/d", "x"),
        ),
        (
            "file_as_root",
            "the root is no directory",
            tar().file("./", "x"),
        ),
        (
            "whiteout_of_nothing",
            "names nothing",
            tar().file("usr/.wh.", ""),
        ),
        (
            "user_attribute_of_symlink",
            "has user attributes",
            tar()
                .pax(&[("SCHILY.xattr.user.a", b"1")])
                .symlink("usr/s", "x"),
        ),
        (
            "foreign_attribute",
            "Linux has no attribute",
            tar()
                .pax(&[("SCHILY.xattr.com.apple.x", b"1")])
                .file("usr/s", "x"),
        ),
        (
            "through_own_symlink",
            "which is no directory",
            tar().symlink("usr/s", "lib").file("usr/s/x", "x"),
        ),
        (
            "long_name",
            "longer than 255",
            tar().file(&format!("usr/{}", "n".repeat(256)), "x"),
        ),
    ]
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
