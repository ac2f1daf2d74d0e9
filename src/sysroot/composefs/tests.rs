use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{DEPTH_MAX, MOUNT_POINTS, Mode, SYMLINK_MAX, XATTR_BYTES_MAX, XATTRS_MAX, image, mode};
use crate::ostree::Checksum;
use crate::tree::{Content, InodeId, Meta, NAME_MAX, Node, Tree, Xattrs};

fn file(tree: &mut Tree, directory: InodeId, name: &str, meta: Meta, bytes: &[u8]) -> InodeId {
    let node = Node::File(Content::bytes(bytes));
    tree.create(directory, name, meta, node)
}

fn symlink(tree: &mut Tree, directory: InodeId, name: &str, target: &[u8]) -> InodeId {
    let node = Node::Symlink(target.into());
    tree.create(directory, name, Meta::root(0o777), node)
}

/// Stands in for the importer: an object for each content.
fn object(tree: &Tree, id: InodeId) -> Option<Checksum> {
    match &tree.inode(id).node {
        Node::File(content) => Some(Checksum::of_contents(std::slice::from_ref(content)).unwrap()),
        _ => None,
    }
}

fn image_of(tree: &Tree) -> anyhow::Result<Vec<u8>> {
    image(tree, &|id| object(tree, id))
}

/// A capability as `setcap` writes it; the kernel does not show others.
const NET_BIND_SERVICE: [u8; 20] = [
    1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Something of every kind, at the edges of what inodes and directories hold in one place.
fn sample() -> Tree {
    let label = |context: &[u8]| Xattrs::new().with(b"security.selinux", context);
    let labelled = |mode, context: &[u8]| Meta {
        xattrs: label(context),
        ..Meta::root(mode)
    };
    let mut tree = Tree::new(labelled(0o555, b"system_u:object_r:root_t:s0"));
    let usr = tree.make_directories("usr", &labelled(0o755, b"system_u:object_r:usr_t:s0"));
    let bin = tree.make_directories("usr/bin", &labelled(0o755, b"system_u:object_r:bin_t:s0"));

    let mut set = labelled(0o4711, b"system_u:object_r:bin_t:s0");
    set.xattrs = set.xattrs.with(b"security.capability", &NET_BIND_SERVICE);
    set.gid = 65_536;
    file(&mut tree, bin, "set", set, b"set\n");
    let mut other = labelled(0o2755, b"system_u:object_r:bin_t:s0");
    (other.uid, other.gid, other.mtime) = (65_535, 4_294_967_294, 77);
    file(&mut tree, bin, "other", other, &[b'o'; 4097]);
    file(&mut tree, bin, "same", Meta::root(0o644), b"set\n");

    let lib = tree.make_directories("usr/lib", &Meta::root(0o1777));
    file(&mut tree, lib, "empty", Meta::root(0o600), b"");
    file(&mut tree, lib, "large", Meta::root(0o640), &[7; 300_001]);
    let mut overlay = Meta::root(0o644);
    overlay.xattrs = Xattrs::new()
        .with(b"trusted.overlay.redirect", b"/elsewhere")
        .with(b"user.comment", &[b'c'; 3000]);
    file(&mut tree, lib, "overlay", overlay, b"over\n");
    symlink(&mut tree, lib, "short", b"../bin/set");
    symlink(&mut tree, lib, "long", &[b'l'; SYMLINK_MAX]);
    let node = Node::File(Content::bytes(*b"not UTF-8\n"));
    let odd = tree.add(Meta::root(0o644), node);
    tree.link(lib, b"\xff odd", odd);
    file(
        &mut tree,
        lib,
        &"n".repeat(NAME_MAX),
        Meta::root(0o644),
        b"n",
    );

    let many = tree.make_directories("usr/many", &Meta::root(0o755));
    for number in 0..700 {
        let text = format!("number {number}\n");
        let name = format!("name-{number:04}");
        file(
            &mut tree,
            many,
            &name,
            Meta::root(0o644),
            if number % 9 == 0 {
                b""
            } else {
                text.as_bytes()
            },
        );
    }
    // The commit's own mount point stays as it is.
    tree.make_directories(
        "boot/inside",
        &labelled(0o700, b"system_u:object_r:boot_t:s0"),
    );
    symlink(&mut tree, Tree::ROOT, "lib", b"usr/lib");
    symlink(&mut tree, usr, "dangling", b"/nowhere");
    tree
}

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

/// Runs a tool; none if it is not installed and need not be.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var_os("REQUIRE_TOOLS").is_none(),
                "{program} is not installed"
            );
            println!("skipped: {program} is not installed");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The tree, the object names and the image's digest are those of libostree's own test
/// (`tests/test-composefs.sh` and `libtest.sh` there), in which `ostree checkout
/// --composefs-noverity` makes the image.
#[test]
fn libostree_writes_the_same_bytes() {
    let mut tree = Tree::new(Meta::root(0o755));
    let mut objects = BTreeMap::new();
    for (path, mode, text, name) in [
        (
            "firstfile",
            0o644,
            "first\n",
            "72025f89381e39d03baeb8605d7caa013b4f628605b8acc95ec2bffc7432ba0f",
        ),
        (
            "baz/cow",
            0o644,
            "moo\n",
            "f6a517d53831a40cff3886a965c70d57aa50797a8e5ea965b2c49cc575a6ff51",
        ),
        (
            "baz/cowro",
            0o600,
            "mooro\n",
            "cdcf4b15fd075eac0d8649f4fd7b4ffcee3739af84e78bf3910c8242ebac1ac1",
        ),
        (
            "baz/saucer",
            0o644,
            "alien\n",
            "cd96f3f802dd20400b05aa7348b558fa33254c06aecaead04d48a9335cb9eca1",
        ),
        (
            "baz/another/y",
            0o644,
            "x\n",
            "90bb74838c1594a2bcad43400970f0d03e4e0b8fcdd9398c86fc92e3d0506f9c",
        ),
        (
            "baz/deeper/ohyeah",
            0o644,
            "hi\n",
            "fbf7cf77a1b50d9f074cb6e9ef6ddb65b6532ea89e4f4ca1b07a05b4cd1be259",
        ),
        (
            "baz/deeper/ohyeahx",
            0o755,
            "hix\n",
            "9e16065db4626068b0a0941669cd56d481d22932c89b277732620889774ee016",
        ),
    ] {
        let (above, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = tree.make_directories(above, &Meta::root(0o755));
        let meta = Meta::root(mode);
        let id = file(&mut tree, directory, leaf, meta, text.as_bytes());
        objects.insert(id, name.parse::<Checksum>().unwrap());
    }
    symlink(&mut tree, Tree::ROOT, "somelink", b"nosuchfile");
    let baz = tree.lookup("baz").unwrap();
    symlink(&mut tree, baz, "alink", b"nonexistent");

    let image = image(&tree, &|id| objects.get(&id).copied()).unwrap();
    assert_eq!(
        hex::encode(Sha256::digest(&image)),
        "78f873a76ccfea3ad7c86312ba0e06f8e0bca54ab4912b23871b31caafe59c24"
    );
}

#[test]
fn erofs_utils_find_every_entry() {
    let tree = sample();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image_of(&tree).unwrap()).unwrap();
    let path = path.to_str().unwrap();
    if run("fsck.erofs", &[path]).is_none() {
        return;
    }
    for (name, (meta, node, links)) in expected(&tree) {
        // One directory of many files is enough to look for by another process each.
        let Ok(name) = String::from_utf8(name) else {
            continue;
        };
        if name.starts_with("usr/many/") && !name.ends_with('8') {
            continue;
        }
        let Some(text) = run("dump.erofs", &[&format!("--path=/{name}"), path]) else {
            return;
        };
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
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|meta| {
        use std::os::unix::fs::MetadataExt;
        meta.uid() == 0
    });
    if !is_root || !has("erofs") || !has("overlay") {
        println!("skipped: needs root and a kernel with erofs and overlay");
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

#[test]
fn equal_trees_make_equal_images() {
    let mut reverse = Tree::new(Meta::root(0o755));
    let mut forward = reverse.clone();
    let names = ["b", "a", "c/x", "c/w"];
    let add = |tree: &mut Tree, path: &str, mtime| {
        let (above, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = tree.make_directories(above, &Meta::root(0o755));
        let meta = Meta {
            mtime,
            immutable: mtime > 0,
            ..Meta::root(0o644)
        };
        file(tree, directory, leaf, meta, path.as_bytes());
    };
    for path in names {
        add(&mut forward, path, 0);
    }
    for path in names.into_iter().rev() {
        add(&mut reverse, path, 1_700_000_000);
    }
    let image = image_of(&forward).unwrap();
    assert_eq!(image, image_of(&reverse).unwrap());

    let a = reverse.lookup("a").unwrap();
    reverse.inode_mut(a).meta.gid = 1;
    assert_ne!(image, image_of(&reverse).unwrap());
}

#[test]
fn what_an_image_cannot_hold_is_refused() {
    let with = |change: &dyn Fn(&mut Tree, InodeId)| {
        let mut tree = Tree::new(Meta::root(0o755));
        let directory = tree.make_directories("usr/d", &Meta::root(0o755));
        change(&mut tree, directory);
        image_of(&tree).map(|_| ()).map_err(|e| format!("{e:#}"))
    };
    let xattrs = |count: usize, length: usize| Meta {
        xattrs: (0..count)
            .map(|n| format!("user.{n:03}"))
            .collect::<Vec<_>>()
            .iter()
            .map(|name| (name.as_bytes(), &[0u8; XATTR_BYTES_MAX][..length]))
            .collect(),
        ..Meta::root(0o644)
    };
    let many = |count, length| {
        with(&move |tree, at| {
            file(tree, at, "f", xattrs(count, length), b"x");
        })
    };
    assert_eq!(many(XATTRS_MAX, 0), Ok(()));
    assert_eq!(many(1, XATTR_BYTES_MAX - 8), Ok(()));
    for refused in [many(XATTRS_MAX + 1, 0), many(1, XATTR_BYTES_MAX - 7)] {
        let message = refused.unwrap_err();
        assert!(message.starts_with("/usr/d/f has "), "{message}");
    }

    let link = |length: usize| {
        with(&move |tree, at| {
            symlink(tree, at, "l", &vec![b'x'; length]);
        })
    };
    assert_eq!(link(SYMLINK_MAX), Ok(()));
    for refused in [link(SYMLINK_MAX + 1), link(0)] {
        let message = refused.unwrap_err();
        assert!(message.contains("the symlink /usr/d/l has"), "{message}");
    }

    let deep = |directories: usize| {
        with(&move |tree, at| {
            let mut at = at;
            for _ in 2..directories {
                let node = Node::Directory(BTreeMap::new());
                at = tree.create(at, "d", Meta::root(0o755), node);
            }
        })
    };
    assert_eq!(deep(DEPTH_MAX), Ok(()));
    assert!(
        deep(DEPTH_MAX + 1)
            .unwrap_err()
            .contains("directories deep")
    );

    let fifo = with(&|tree, at| {
        tree.create(at, "p", Meta::root(0o644), Node::Fifo);
    });
    assert!(fifo.unwrap_err().starts_with("/usr/d/p is neither"));

    let mut tree = Tree::new(Meta::root(0o755));
    file(&mut tree, Tree::ROOT, "f", Meta::root(0o644), b"x");
    let error = image(&tree, &|_| None).unwrap_err();
    assert_eq!(error.to_string(), "/f has no object");
}

fn mode_of(files: &[(&str, &str)]) -> anyhow::Result<Mode> {
    let mut tree = Tree::new(Meta::root(0o755));
    for (above, text) in files {
        let directory = tree.make_directories(above, &Meta::root(0o755));
        let meta = Meta::root(0o644);
        file(
            &mut tree,
            directory,
            "prepare-root.conf",
            meta,
            text.as_bytes(),
        );
    }
    mode(&tree)
}

const VENDOR: &str = "usr/lib/ostree";
const LOCAL: &str = "usr/etc/ostree";

#[test]
fn the_configuration_is_read_as_prepare_root_reads_it() {
    for (text, expected) in [
        ("", Mode::No),
        ("[composefs]\nenabled=yes\n", Mode::Yes),
        ("[composefs]\nenabled = true", Mode::Yes),
        ("[composefs]\n enabled=1 \n", Mode::Yes),
        ("[composefs]\nenabled=maybe\n", Mode::Maybe),
        ("[composefs]\nenabled=no\n", Mode::No),
        ("[composefs]\nenabled=false\n", Mode::No),
        ("[composefs]\nenabled=0\n", Mode::No),
        ("[composefs]\n# enabled=yes\n", Mode::No),
        ("[root]\nenabled=yes\n[etc]\ntransient=true\n", Mode::No),
        ("[composefs]\nkeypath=/k\n[root]\nenabled=yes\n", Mode::No),
        (
            "[sysroot]\nreadonly=true\n\n[composefs]\r\nenabled=yes\r\n",
            Mode::Yes,
        ),
        ("[composefs]\nenabled=no\nenabled=yes\n", Mode::Yes),
    ] {
        assert_eq!(mode_of(&[(VENDOR, text)]).unwrap(), expected, "{text:?}");
    }
    assert_eq!(mode_of(&[]).unwrap(), Mode::No);
    let (yes, no) = ("[composefs]\nenabled=yes\n", "[composefs]\nenabled=no\n");
    assert_eq!(mode_of(&[(VENDOR, yes), (LOCAL, no)]).unwrap(), Mode::No);
    assert_eq!(mode_of(&[(VENDOR, no), (LOCAL, yes)]).unwrap(), Mode::Yes);
    // The second file replaces the first, also where it says nothing.
    assert_eq!(mode_of(&[(VENDOR, yes), (LOCAL, "")]).unwrap(), Mode::No);
}

#[test]
fn verity_and_nonsense_are_refused() {
    for value in ["signed", "verity"] {
        let text = format!("[composefs]\nenabled={value}\n");
        let error = mode_of(&[(VENDOR, &text)]).unwrap_err();
        assert!(error.to_string().contains(value), "{error}");
        let failure = error.downcast_ref::<crate::failure::Failure>().unwrap();
        assert!(failure.hint().contains("enabled = yes"));
    }
    for value in ["Yes", "on", "", "yes please"] {
        let text = format!("[composefs]\nenabled={value}\n");
        let error = mode_of(&[(VENDOR, &text)]).unwrap_err();
        assert!(error.to_string().contains("none of yes"), "{error}");
    }
}
