//! Tools and crates we did not write: the crate `gvariant`, `ostree fsck`, `ostree commit`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use gvariant::{Marker, SerializeTo, VariantWrap, gv};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

use super::super::commit::{self, Metadata, Objects, Root};
use super::super::filter::{Rules, Var};
use super::super::limits::Meter;
use super::super::merge::Union;
use super::super::object::{self, DirTree};
use super::super::{
    Checksum, Imported, Kind, Limits, Object, ObjectName, hashing, layer, layer_tree,
};
use super::fixture::{Image, Tar};
use crate::progress::Silent;
use crate::tree::{Meta, Node, Store, Xattrs};

fn xattrs_strategy() -> impl Strategy<Value = Xattrs> {
    let pair = (
        "[a-z.]{1,12}",
        proptest::collection::vec(any::<u8>(), 0..300),
    );
    proptest::collection::vec(pair, 0..5).prop_map(|pairs| {
        pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), &value[..]))
            .collect()
    })
}

/// As `a(ayay)` is given to the crate: names end in NUL.
fn pairs(xattrs: &Xattrs) -> Vec<(Vec<u8>, Vec<u8>)> {
    xattrs
        .iter()
        .map(|(name, value)| ([name, b"\0"].concat(), value.to_vec()))
        .collect()
}

/// Values of a commit's metadata, for the crate to write.
#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Counts(&'a [(&'a str, &'a [(&'a str, u32)])]),
}

impl SerializeTo<gvariant::Variant> for Value<'_> {
    fn serialize(self, f: &mut impl std::io::Write) -> std::io::Result<usize> {
        match self {
            Value::Text(text) => VariantWrap(gv!("s"), text).serialize(f),
            Value::Counts(counts) => VariantWrap(gv!("a{sa{su}}"), counts).serialize(f),
        }
    }
}

/// Of a directory: dirtree, dirmeta.
type DirectoryChecksums = ([u8; 32], [u8; 32]);

/// Compares a listing with what the crate writes, and reads it back.
fn check_dirtree(
    files: &[(String, [u8; 32])],
    directories: &[(String, DirectoryChecksums)],
) -> usize {
    let checksum = |bytes: &[u8; 32]| hex::encode(bytes).parse::<Checksum>().unwrap();
    let listing = DirTree {
        files: files
            .iter()
            .map(|(name, file)| (&**name, checksum(file)))
            .collect(),
        directories: directories
            .iter()
            .map(|(name, (tree, meta))| (&**name, checksum(tree), checksum(meta)))
            .collect(),
    };
    let bytes = listing.serialise();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, file)| (&**name, &file[..]))
        .collect();
    let directories: Vec<(&str, &[u8], &[u8])> = directories
        .iter()
        .map(|(name, (tree, meta))| (&**name, &tree[..], &meta[..]))
        .collect();
    let expected = gv!("(a(say)a(sayay))").serialize_to_vec(&(&files[..], &directories[..]));
    assert_eq!(bytes, expected);
    assert_eq!(DirTree::parse(&bytes).unwrap().serialise(), bytes);
    bytes.len()
}

/// Offsets of one, two and four bytes, on both sides of each edge.
#[test]
fn listings_of_all_sizes_are_what_the_crate_writes() {
    let mut sizes = Vec::new();
    for count in (0..12).chain(690..720) {
        let files: Vec<(String, [u8; 32])> =
            (0..count).map(|n| (format!("{n:055}"), [7; 32])).collect();
        sizes.push(check_dirtree(&files, &[]));
        let directories: Vec<_> = (0..count)
            .map(|n| (format!("{n:023}"), ([7; 32], [8; 32])))
            .collect();
        sizes.push(check_dirtree(&[], &directories));
    }
    for edge in [0x100, 0x1_0000] {
        assert!(sizes.iter().any(|size| *size < edge) && sizes.iter().any(|size| *size > edge));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dirmeta_is_what_the_crate_writes(uid: u32, gid: u32, mode in 0u16..0o10000, xattrs in xattrs_strategy()) {
        let meta = Meta { uid, gid, mode, xattrs, ..Meta::default() };
        let bytes = object::dirmeta(&meta);
        let pairs = pairs(&meta.xattrs);
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        let mode = 0o040_000 | u32::from(mode);
        let value = (uid.to_be(), gid.to_be(), mode.to_be(), &pairs[..]);
        assert_eq!(bytes, gv!("(uuua(ayay))").serialize_to_vec(&value));
        assert_eq!(object::parse_dirmeta(&bytes).unwrap(), meta);
    }

    #[test]
    fn dirtree_is_what_the_crate_writes(
        files in proptest::collection::btree_map("[a-zé]{1,40}", any::<[u8; 32]>(), 0..40),
        directories in proptest::collection::btree_map("[A-Z]{1,9}", any::<([u8; 32], [u8; 32])>(), 0..40),
    ) {
        check_dirtree(&files.into_iter().collect::<Vec<_>>(), &directories.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn commits_are_what_the_crate_writes(
        timestamp: u64,
        parent in any::<Option<[u8; 32]>>(),
        root: ([u8; 32], [u8; 32]),
        text in ".{0,300}",
        counts in proptest::collection::btree_map("[a-z]{1,20}", proptest::collection::btree_map("[a-z]{0,9}", any::<u32>(), 0..4), 0..4),
    ) {
        let text = text.replace('\0', "");
        let checksum = |bytes: [u8; 32]| hex::encode(bytes).parse::<Checksum>().unwrap();
        let metadata = Metadata::default().string("zz.text", &text).counts("a.counts", &counts);
        let mut objects = Objects::new();
        let name = commit::write_commit(
            &metadata,
            parent.map(checksum),
            timestamp,
            Root { dirtree: checksum(root.0), dirmeta: checksum(root.1) },
            &mut objects,
        );
        let Some(Object::Metadata(bytes)) = objects.get(&ObjectName::new(name, Kind::Commit)) else {
            panic!("the commit is there");
        };

        let counts: Vec<(&str, Vec<(&str, u32)>)> = counts
            .iter()
            .map(|(layer, names)| (&**layer, names.iter().map(|(name, count)| (&**name, *count)).collect()))
            .collect();
        let counts: Vec<(&str, &[(&str, u32)])> = counts.iter().map(|(layer, names)| (*layer, &names[..])).collect();
        let entries = [("a.counts", Value::Counts(&counts)), ("zz.text", Value::Text(&text))];
        let parent = parent.as_ref().map_or(&[][..], |parent| &parent[..]);
        let related: &[(&str, &[u8])] = &[];
        let value = (&entries[..], parent, related, "", "", timestamp.to_be(), &root.0[..], &root.1[..]);
        assert_eq!(**bytes, gv!("(a{sv}aya(say)sstayay)").serialize_to_vec(&value));
        assert_eq!(object::commit_root(bytes).unwrap(), (checksum(root.0), checksum(root.1)));
    }
}

/// Writes every object to a repository of mode `archive`, which needs no root.
fn write_archive(imported: &Imported, repository: &Path) {
    let text = format!("--repo={}", repository.display());
    let status = Command::new("ostree")
        .args(["init", "--mode=archive", &text])
        .status()
        .unwrap();
    assert!(status.success());
    for (name, object) in &imported.objects {
        let checksum = name.checksum.to_string();
        let directory = repository.join("objects").join(&checksum[..2]);
        fs::create_dir_all(&directory).unwrap();
        let (bytes, extension) = match object {
            Object::Metadata(bytes) => (bytes.to_vec(), name.kind.extension()),
            Object::File { meta, node } => (filez(meta, node), "filez"),
        };
        fs::write(
            directory.join(format!("{}.{extension}", &checksum[2..])),
            bytes,
        )
        .unwrap();
    }
    for (name, checksum) in &imported.refs {
        let path = repository.join("refs/heads").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{checksum}\n")).unwrap();
    }
}

/// `(tuuuusa(ayay))` with its length before and the deflated content after it.
fn filez(meta: &Meta, node: &Node) -> Vec<u8> {
    let (size, file_type, target, data) = match node {
        Node::File(content) => (
            content.len(),
            0o100_000,
            "",
            content.to_vec(1 << 20).unwrap(),
        ),
        Node::Symlink(target) => (
            0,
            0o120_000,
            std::str::from_utf8(target).unwrap(),
            Vec::new(),
        ),
        _ => unreachable!(),
    };
    let pairs = pairs(&meta.xattrs);
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let mode = file_type | u32::from(meta.mode);
    let value = (
        size.to_be(),
        meta.uid.to_be(),
        meta.gid.to_be(),
        mode.to_be(),
        0u32,
        target,
        &pairs[..],
    );
    let header = gv!("(tuuuusa(ayay))").serialize_to_vec(&value);
    let mut bytes = u32::try_from(header.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(header);
    if matches!(node, Node::File(_)) {
        let mut deflate = DeflateEncoder::new(bytes, Compression::fast());
        deflate.write_all(&data).unwrap();
        bytes = deflate.finish().unwrap();
    }
    bytes
}

fn have_ostree() -> bool {
    let found = Command::new("ostree").arg("--version").output().is_ok();
    assert!(
        found || std::env::var_os("REQUIRE_TOOLS").is_none(),
        "ostree is not installed"
    );
    if !found {
        println!("skipped: ostree is not installed");
    }
    found
}

/// What `ostree` prints; it must succeed.
fn ostree(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ostree").args(arguments).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn fsck_accepts_every_object_and_ls_shows_the_tree() {
    if !have_ostree() {
        return;
    }
    let layer = Tar::new()
        .pax(&[
            ("SCHILY.xattr.user.k", b"v\0\n"),
            ("SCHILY.xattr.trusted.t", b"t"),
        ])
        .file("usr/bin/k", "k")
        .file("usr/lib/dir/.wh.a", "")
        .file("opt/dropped", "")
        .symlink("etc/link", "passwd");
    let image = Image::on_base([layer, Tar::new().file("var/x", "x")]);
    let imported = image.import().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("repo");
    write_archive(&imported, &repository);
    let repo = format!("--repo={}", repository.display());

    let told = ostree(&["fsck", "--add-tombstones", &repo]).unwrap();
    assert!(told.contains("fsck of"), "{told}");
    let listed = ostree(&["ls", "-R", "-X", &repo, &imported.merge_commit.to_string()]).unwrap();
    for part in [
        " /usr/etc/link -> passwd",
        " /var/x",
        "/usr/lib/odd -> ../..//bin/tool",
        "-04755 3 4",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let line = listed
        .lines()
        .find(|line| line.ends_with("/usr/bin/k"))
        .unwrap();
    let position = |name| line.find(name).unwrap();
    assert!(
        position("security.selinux") < position("trusted.t")
            && position("trusted.t") < position("user.k")
    );
    let shown = ostree(&[
        "show",
        "--print-metadata-key=ostree.manifest-digest",
        &repo,
        &imported.merge_commit.to_string(),
    ]);
    assert_eq!(shown.unwrap().trim(), "'sha256:ab'");
    let refs = ostree(&["refs", &repo]).unwrap();
    let refs: BTreeSet<&str> = refs.lines().collect();
    assert!(refs.into_iter().eq(imported.refs.keys()));

    // A check that cannot fail checks nothing.
    let spoilt = imported
        .objects
        .iter()
        .find(|(name, _)| name.kind == Kind::DirTree)
        .unwrap()
        .0;
    let checksum = spoilt.checksum.to_string();
    let path = repository
        .join("objects")
        .join(&checksum[..2])
        .join(format!("{}.dirtree", &checksum[2..]));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.first_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(ostree(&["fsck", &repo]).is_err());
}

/// An entry of a random layer. Directories and files have different names, so that no path is both.
#[derive(Clone, Debug)]
enum Random {
    Directory {
        path: Vec<&'static str>,
        mode: u32,
        uid: u64,
    },
    File {
        path: Vec<&'static str>,
        name: &'static str,
        content: u8,
        mode: u32,
        uid: u64,
    },
    Link {
        path: Vec<&'static str>,
        name: &'static str,
        target: usize,
    },
}

fn random_entry() -> impl Strategy<Value = Random> {
    let path = || proptest::collection::vec(select(&["d", "e", "ü"][..]), 0..4);
    let name = || select(&["f", "g", "+h", ".wh.f"][..]);
    let mode = || select(&[0o644u32, 0o755, 0o4711, 0o1777][..]);
    prop_oneof![
        (path(), mode(), 0u64..3).prop_map(|(path, mode, uid)| Random::Directory {
            path,
            mode,
            uid
        }),
        (path(), name(), 0u8..3, mode(), 0u64..3).prop_map(|(path, name, content, mode, uid)| {
            Random::File {
                path,
                name,
                content,
                mode,
                uid,
            }
        }),
        (path(), name(), any::<usize>()).prop_map(|(path, name, target)| Random::Link {
            path,
            name,
            target
        }),
    ]
}

fn random_layer(entries: &[Random]) -> Vec<u8> {
    let join = |path: &[&str], name: &str| {
        let mut text = String::from("usr");
        path.iter()
            .chain([&name])
            .for_each(|part| write!(text, "/{part}").unwrap());
        text
    };
    let files: Vec<String> = entries
        .iter()
        .filter_map(|entry| match entry {
            Random::File { path, name, .. } => Some(join(path, name)),
            _ => None,
        })
        .collect();
    let links: Vec<String> = entries
        .iter()
        .filter_map(|entry| match entry {
            Random::Link { path, name, .. } => Some(join(path, name)),
            _ => None,
        })
        .collect();
    entries
        .iter()
        .fold(Tar::new(), |tar, entry| match entry {
            Random::Directory { path, mode, uid } => {
                let mut header = super::fixture::header(b'5', &join(path, ""), *mode, 0, "");
                header.set_uid(*uid);
                tar.raw(header, b"")
            }
            Random::File {
                path,
                name,
                content,
                mode,
                uid,
            } => {
                let data = vec![b'x'; usize::from(*content)];
                let mut header =
                    super::fixture::header(b'0', &join(path, name), *mode, data.len() as u64, "");
                header.set_uid(*uid);
                tar.raw(header, &data)
            }
            // libostree makes links in the order of a hash table: links to links have no certain result.
            Random::Link { path, name, target } => {
                let path = join(path, name);
                let is_only = links.iter().filter(|link| **link == path).count() == 1;
                match files.get(target % files.len().max(1)) {
                    Some(file) if is_only && !links.contains(file) => tar.link(&path, file),
                    _ => tar,
                }
            }
        })
        .finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// A layer by itself: what `ostree commit` makes of the archive, called as ostree-ext does.
    #[test]
    fn layers_are_committed_as_libostree_does(entries in proptest::collection::vec(random_entry(), 0..12)) {
        if have_ostree() {
            check_layer(&random_layer(&entries));
        }
    }
}

fn check_layer(archive: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let repo = format!("--repo={}", directory.path().join("repo").display());
    ostree(&["init", "--mode=archive", &repo]).unwrap();
    let mut child = Command::new("ostree")
        .args([
            "commit",
            "--no-bindings",
            "--tar-autocreate-parents",
            "--tree=tar=/proc/self/fd/0",
        ])
        .args(["--branch=layer", "--fsync=false", &repo])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    assert!(child.wait().unwrap().success());
    let root = ostree(&["ls", "-d", "-C", &repo, "layer", "/"]).unwrap();

    let store = Store::create(directory.path(), 1 << 20).unwrap();
    let meter = Meter::new(Limits::default());
    let layer = layer::read(
        archive,
        "sha256:0",
        &store,
        &|_| true,
        &meter,
        &Silent,
        &|| Ok(()),
    )
    .unwrap();
    let rules = Rules {
        keep_foreign: true,
        var: Var::Keep,
    };
    let layers = [layer_tree::build(&layer, rules, true, &meter).unwrap()];
    let mut objects = Objects::new();
    let one = std::num::NonZeroUsize::MIN;
    let hashed = hashing::run(&Union::new(None), &layers, &vec![], &objects, one, &Silent).unwrap();
    let ours = commit::write_tree(&layers[0].tree, &hashed.layers[0], &mut objects).unwrap();
    let expected = format!("{} {} /", ours.dirtree, ours.dirmeta);
    assert!(
        root.trim().ends_with(&expected),
        "{root}: ours is {expected}"
    );
}
