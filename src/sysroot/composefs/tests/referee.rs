//! Tools and a kernel that we did not write, about images of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use super::super::{MOUNT_POINTS, image};
use super::{NET_BIND_SERVICE, file, image_of, object, sample, symlink};
use crate::ostree::Checksum;
use crate::tree::{Meta, Node, Tree};
use bake_referee::have;

/// What is expected in the image: the tree, and the mount points that it does not have.
fn expected(tree: &Tree) -> BTreeMap<Vec<u8>, (Meta, Node, u32)> {
    let links = tree.link_counts();
    let mut all = BTreeMap::new();
    tree.walk(|path, id| {
        let inode = tree.inode(id);
        let links = links[id.index()];
        all.insert(
            path.to_vec(),
            (inode.meta.clone(), inode.node.clone(), links),
        );
    });
    for name in MOUNT_POINTS {
        if tree.lookup(name).is_none() {
            let node = Node::Directory(BTreeMap::new());
            all.insert(name.into(), (Meta::root(0o755), node, 2));
            all.get_mut(&b""[..]).unwrap().2 += 1;
        }
    }
    all
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Permissions, path, content and object of each file in the tree of libostree's own test
/// (`tests/test-composefs.sh` and `libtest.sh` there).
const LIBOSTREES: &str = "\
644 firstfile first 72025f89381e39d03baeb8605d7caa013b4f628605b8acc95ec2bffc7432ba0f
644 baz/cow moo f6a517d53831a40cff3886a965c70d57aa50797a8e5ea965b2c49cc575a6ff51
600 baz/cowro mooro cdcf4b15fd075eac0d8649f4fd7b4ffcee3739af84e78bf3910c8242ebac1ac1
644 baz/saucer alien cd96f3f802dd20400b05aa7348b558fa33254c06aecaead04d48a9335cb9eca1
644 baz/another/y x 90bb74838c1594a2bcad43400970f0d03e4e0b8fcdd9398c86fc92e3d0506f9c
644 baz/deeper/ohyeah hi fbf7cf77a1b50d9f074cb6e9ef6ddb65b6532ea89e4f4ca1b07a05b4cd1be259
755 baz/deeper/ohyeahx hix 9e16065db4626068b0a0941669cd56d481d22932c89b277732620889774ee016
";

/// What `ostree checkout --composefs-noverity` of libostree 2026.4 with libcomposefs 1.0.8 made of
/// it. (The digest in upstream's script is that of an older libcomposefs.)
#[test]
fn libostree_writes_the_same_bytes() {
    let mut tree = Tree::new(Meta::root(0o755));
    let mut objects = BTreeMap::new();
    for row in LIBOSTREES.lines() {
        let fields: Vec<&str> = row.split(' ').collect();
        let (above, leaf) = fields[1].rsplit_once('/').unwrap_or(("", fields[1]));
        let directory = tree.make_directories(above, &Meta::root(0o755));
        let meta = Meta::root(u16::from_str_radix(fields[0], 8).unwrap());
        let bytes = format!("{}\n", fields[2]).into_bytes();
        let id = file(&mut tree, directory, leaf, meta, &bytes);
        objects.insert(id, fields[3].parse::<Checksum>().unwrap());
    }
    symlink(&mut tree, Tree::ROOT, "somelink", b"nosuchfile");
    let baz = tree.lookup("baz").unwrap();
    symlink(&mut tree, baz, "alink", b"nonexistent");

    let image = image(&tree, &|id| objects.get(&id).copied()).unwrap();
    assert_eq!(
        hex::encode(Sha256::digest(&image)),
        "b8f1346fd71cbfe0588414852bd0bd6eb85872d900486565e1a924171c38222c"
    );
}

/// The sample as text for `mkcomposefs --from-file`.
fn dump(tree: &Tree) -> String {
    let escape = |bytes: &[u8]| -> String {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"./_".contains(byte);
        let escaped = |byte: &u8| match plain(byte) {
            true => char::from(*byte).to_string(),
            false => format!("\\x{byte:02x}"),
        };
        bytes.iter().map(escaped).collect()
    };
    let mut text = String::new();
    for (path, (meta, node, links)) in expected(tree) {
        let (kind, size, payload) = match &node {
            Node::Directory(_) => (0o040_000, 0, "-".to_owned()),
            Node::Symlink(target) => (0o120_000, target.len() as u64, escape(target)),
            Node::File(content) if content.is_empty() => (0o100_000, 0, "-".to_owned()),
            Node::File(content) => {
                let name = Checksum::of_contents(std::slice::from_ref(content)).unwrap();
                let name = name.to_string();
                let payload = format!("{}/{}.file", &name[..2], &name[2..]);
                (0o100_000, content.len(), payload)
            }
            _ => unreachable!("not in the sample"),
        };
        let Meta { uid, gid, .. } = meta;
        let mode = kind | meta.mode;
        text += &format!(
            "/{} {size} {mode:o} {links} {uid} {gid} 0 0.0 {payload} - -",
            escape(&path)
        );
        for (name, value) in meta.xattrs.iter() {
            text += &format!(" {}={}", escape(name), escape(value));
        }
        text += "\n";
    }
    text
}

#[test]
fn mkcomposefs_writes_the_same_bytes() {
    let tree = sample();
    let image = image_of(&tree).unwrap();
    // What version 1.0.8 made, which Debian 12 does not have.
    assert_eq!(
        hex::encode(Sha256::digest(&image)),
        "2d18897f57e9823782f77d1f47d2eac45520b71ce2292909aa754da51a9a5bb4"
    );
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("dump"), dump(&tree)).unwrap();
    let output = Command::new("mkcomposefs")
        .args(["--max-version=0", "--from-file"])
        .args([at("dump"), at("image")])
        .output();
    match output {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
            assert_eq!(std::fs::read(at("image")).unwrap(), image);
        }
        Err(_) => println!("skipped: mkcomposefs is not installed"),
    }
}

#[test]
fn erofs_utils_find_every_entry() {
    if !have("fsck.erofs") || !have("dump.erofs") {
        return;
    }
    let tree = sample();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image_of(&tree).unwrap()).unwrap();
    let path = path.to_str().unwrap();
    run("fsck.erofs", &[path]);
    for (name, (meta, node, links)) in expected(&tree) {
        // One directory of many files is enough to look for by another process each.
        let Ok(name) = String::from_utf8(name) else {
            continue;
        };
        if name.starts_with("usr/many/") && !name.ends_with('8') {
            continue;
        }
        let text = run("dump.erofs", &[&format!("--path=/{name}"), path]);
        let words: Vec<&str> = text.split_whitespace().collect();
        let after = |word: &str| {
            let at = words.iter().position(|w| *w == word).unwrap();
            words[at + 1]
        };
        assert_eq!(after("Links:"), links.to_string(), "{name}");
        assert_eq!(after("Uid:"), meta.uid.to_string(), "{name}");
        // As a signed number in version 1.5.
        let gid: i64 = after("Gid:").parse().unwrap();
        assert_eq!(gid as u32, meta.gid, "{name}");
        let access = format!("{:04o}/", meta.mode & 0o777);
        assert!(after("Access:").starts_with(&access), "{name}: {text}");
        assert_eq!(after("Timestamp:"), "1970-01-01", "{name}");
        let (kind, size) = match &node {
            Node::Directory(_) => ("directory", None),
            Node::File(content) => ("regular file", Some(content.len())),
            Node::Symlink(target) => ("symlink", Some(target.len() as u64)),
            _ => unreachable!("not in the sample"),
        };
        assert!(text.contains(kind), "{name}: {text}");
        if let Some(size) = size {
            assert_eq!(after("Size:"), size.to_string(), "{name}");
        }
    }
}

/// Mounts image and overlay in a mount namespace of its own, says what is in them.
const MOUNT: &str = r#"
set -eu
cd "$1"
mkdir image new old
mount -t erofs -o ro image.cfs image
find image -type c -printf x
printf '\n--\n'
find image ! -type c -printf '%P|%y|%m|%U|%G|%s|%T@|%n|%l\n'
echo --
cd image
getfattr -h -d -m - -e hex . usr/bin/set usr/lib/overlay usr/lib/empty
cd ..
echo --
# Objects behind `::` are for redirects only; older kernels know `:`, where they are a layer.
mount -t overlay -o ro,metacopy=on,redirect_dir=on,lowerdir=image::objects composefs new
mount -t overlay -o ro,metacopy=on,redirect_dir=on,lowerdir=image:objects composefs old
for root in new old; do
    cd $root
    find . -type f -exec sha256sum --zero {} + | tr '\0' '\n'
    echo --
    ls -A
    echo --
    stat -c '%n %f %u %g %s' usr/bin/*
    echo --
    cd ..
done
"#;

#[test]
fn a_kernel_reads_the_objects_through_it() {
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| filesystems.split_whitespace().any(|word| word == name);
    let mut probe = Command::new("unshare");
    let may_mount = probe
        .args(["-m", "true"])
        .status()
        .is_ok_and(|s| s.success());
    let has_loops = Path::new("/dev/loop-control").exists();
    if !may_mount || !has_loops || !has("erofs") || !has("overlay") {
        println!("skipped: needs root, loop devices and a kernel with erofs and overlay");
        return;
    }
    if !have("getfattr") {
        return;
    }
    let tree = sample();
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path();
    std::fs::write(at.join("image.cfs"), image_of(&tree).unwrap()).unwrap();
    put_objects(&tree, &at.join("objects"));

    let arguments = ["-m", "sh", "-c", MOUNT, "sh", at.to_str().unwrap()];
    let output = Command::new("unshare").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut parts = split(&output.stdout).into_iter();
    let mut next = || parts.next().unwrap();

    assert_eq!(next(), ["x".repeat(256)]);

    let expected = expected(&tree);
    let entries: BTreeSet<String> = expected.iter().map(|(p, e)| line(p, e)).collect();
    let found = next().into_iter().map(without_directory_size).collect();
    assert_eq!(entries.symmetric_difference(&found).next(), None);

    let object = Checksum::of(b"over\n").to_string();
    let redirect = format!("/{}/{}.file", &object[..2], &object[2..]);
    let mut wanted: Vec<String> = [
        ("security.capability", &NET_BIND_SERVICE[..]),
        ("security.selinux", b"system_u:object_r:root_t:s0"),
        ("security.selinux", b"system_u:object_r:bin_t:s0"),
        ("trusted.overlay.opaque", b"y"),
        ("trusted.overlay.overlay.redirect", b"/elsewhere"),
        ("trusted.overlay.redirect", redirect.as_bytes()),
        ("user.comment", &[b'c'; 3000]),
    ]
    .map(|(name, value)| format!("{name}=0x{}", hex::encode(value)))
    .into();
    let set = Checksum::of(b"set\n").to_string();
    let redirect = format!("/{}/{}.file", &set[..2], &set[2..]);
    let redirect = hex::encode(redirect);
    wanted.push(format!("trusted.overlay.redirect=0x{redirect}"));
    wanted.extend(["trusted.overlay.metacopy=0x"; 2].map(str::to_owned));
    wanted.sort();
    let mut attributes = next();
    attributes.retain(|line| line.contains('='));
    attributes.sort();
    assert_eq!(attributes, wanted);

    let mut contents = BTreeSet::new();
    for (path, (_, node, _)) in &expected {
        if let Node::File(content) = node {
            let sum = Checksum::of_contents(std::slice::from_ref(content)).unwrap();
            contents.insert(format!("{sum}  ./{}", path.escape_ascii()));
        }
    }
    for root in ["new", "old"] {
        let read: BTreeSet<String> = next().into_iter().collect();
        assert_eq!(contents.symmetric_difference(&read).next(), None, "{root}");
        assert_eq!(next(), ["boot", "etc", "lib", "sysroot", "usr", "var"]);
        let stat = [
            "usr/bin/other 85ed 65535 4294967294 4097",
            "usr/bin/same 81a4 0 0 4",
            "usr/bin/set 89c9 0 65536 4",
        ];
        assert_eq!(next(), stat, "{root}");
    }
}

/// Parts of an output, with a line of two dashes after each; bytes that are no text escaped.
fn split(output: &[u8]) -> Vec<Vec<String>> {
    let mut parts = vec![Vec::new()];
    for line in output.split(|byte| *byte == b'\n') {
        match line {
            b"" => {}
            b"--" => parts.push(Vec::new()),
            line => parts
                .last_mut()
                .unwrap()
                .push(line.escape_ascii().to_string()),
        }
    }
    parts
}

/// What `find` says of an entry; of a directory without its size.
fn line(path: &[u8], (meta, node, links): &(Meta, Node, u32)) -> String {
    let (kind, size, target) = match node {
        Node::Directory(_) => ("d", String::new(), &b""[..]),
        Node::File(content) => ("f", content.len().to_string(), &b""[..]),
        Node::Symlink(target) => ("l", target.len().to_string(), &**target),
        _ => unreachable!("not in the sample"),
    };
    let Meta { mode, uid, gid, .. } = meta;
    let (path, target) = (path.escape_ascii(), target.escape_ascii());
    format!("{path}|{kind}|{mode:o}|{uid}|{gid}|{size}|0.0000000000|{links}|{target}")
}

fn without_directory_size(line: String) -> String {
    let mut fields: Vec<&str> = line.split('|').collect();
    if fields[1] == "d" {
        fields[5] = "";
    }
    fields.join("|")
}

fn put_objects(tree: &Tree, directory: &Path) {
    std::fs::create_dir(directory).unwrap();
    tree.walk(|_, id| {
        if let Node::File(content) = &tree.inode(id).node {
            let name = object(tree, id).unwrap().to_string();
            let shard = directory.join(&name[..2]);
            std::fs::create_dir_all(&shard).unwrap();
            let bytes = content.to_vec(1 << 20).unwrap();
            std::fs::write(shard.join(format!("{}.file", &name[2..])), bytes).unwrap();
        }
    });
}
