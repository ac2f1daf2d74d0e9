//! What the writer refuses, and how it says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cases::{file, meta};
use super::{Compressor, Options, options, write};
use crate::squashfs::CompressorError;
use bake_tree::{Content, Meta, Node, Tree, Xattrs};

/// Changes a tree that has `/d/f`, a file.
type Change = fn(&mut Tree);

fn with_xattr(tree: &mut Tree, name: &[u8], value: &[u8]) {
    let id = tree.lookup("d/f").unwrap();
    tree.inode_mut(id).meta.xattrs = Xattrs::new().with(name, value);
}

fn with_node(tree: &mut Tree, name: &[u8], node: Node) {
    let directory = tree.lookup("d").unwrap();
    let id = tree.add(meta(), node);
    tree.link(directory, name, id);
}

/// What is wrong, and what the message has to name.
const CASES: &[(Change, &[&str])] = &[
    (
        |tree| with_xattr(tree, b"system.posix_acl_access", b"x"),
        &["/d/f", "system.posix_acl_access"],
    ),
    (|tree| with_xattr(tree, b"user.", b"x"), &["/d/f", "user."]),
    (
        |tree| with_xattr(tree, &[b"user.".as_slice(), &[b'x'; 251]].concat(), b""),
        &["/d/f", "user.xxx"],
    ),
    (
        |tree| with_xattr(tree, b"user.x", &[0; 65_537]),
        &["/d/f", "user.x", "65537"],
    ),
    (|tree| with_node(tree, b"", Node::Fifo), &["/d"]),
    (
        |tree| with_node(tree, b".", Node::Fifo),
        &["/d", "a name: ."],
    ),
    (
        |tree| with_node(tree, b"..", Node::Fifo),
        &["/d", "a name: .."],
    ),
    (|tree| with_node(tree, b"a/b", Node::Fifo), &["/d", "a/b"]),
    (
        |tree| with_node(tree, b"a\0b", Node::Fifo),
        &["/d", "a\\x00b"],
    ),
    (
        |tree| with_node(tree, &[b'n'; 256], Node::Fifo),
        &["/d", "256"],
    ),
    (
        |tree| with_node(tree, b"l", Node::Symlink(Box::default())),
        &["/d/l"],
    ),
    (
        |tree| with_node(tree, b"l", Node::Symlink([b'x'; 4096].into())),
        &["/d/l", "4096"],
    ),
    (
        |tree| with_node(tree, b"c", Node::CharDevice(0x1000, 0)),
        &["/d/c", "4096:0"],
    ),
    (
        |tree| with_node(tree, b"b", Node::BlockDevice(0, 0x10_0000)),
        &["/d/b", "0:1048576"],
    ),
    (
        |tree| {
            let directory = tree.lookup("d").unwrap();
            tree.link(Tree::ROOT, b"again", directory);
        },
        &["a directory in /", "second name"],
    ),
    (
        |tree| {
            let directory = tree.lookup("d").unwrap();
            tree.link(directory, b"inside", directory);
        },
        &["/d", "inside"],
    ),
    (
        |tree| {
            let directory = tree.lookup("d").unwrap();
            tree.link(directory, b"up", Tree::ROOT);
        },
        &["/d", "up"],
    ),
    (
        |tree| {
            let short = Arc::new(tempfile::tempfile().unwrap());
            with_node(tree, b"s", Node::File(Content::range(short, 0, 10)));
        },
        &["/d/s"],
    ),
    (
        |tree| {
            let short = Arc::new(tempfile::tempfile().unwrap());
            short.set_len(9_000_000).unwrap();
            with_node(tree, b"s", Node::File(Content::range(short, 0, 10_000_000)));
        },
        &["/d/s"],
    ),
];

fn tree() -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    let directory = tree.create(Tree::ROOT, "d", meta(), Node::Directory(BTreeMap::new()));
    tree.create(directory, "f", meta(), file(b"file".to_vec()));
    tree
}

fn refusal(tree: &Tree, options: &Options) -> String {
    let out = tempfile::tempfile().unwrap();
    format!("{:#}", write(tree, options, &out, 0, &|_| ()).unwrap_err())
}

#[test]
fn what_squashfs_cannot_hold_is_refused_by_path() {
    for (change, named) in CASES {
        let mut tree = tree();
        change(&mut tree);
        let error = refusal(&tree, &options(Compressor::Zstd { level: 1 }, 4096));
        for name in *named {
            assert!(error.contains(name), "{name:?} is not in: {error}");
        }
    }
}

#[test]
fn what_is_just_possible_is_not_refused() {
    let mut tree = tree();
    with_xattr(
        &mut tree,
        &[b"user.".as_slice(), &[b'x'; 250]].concat(),
        &[0; 65_536],
    );
    with_node(&mut tree, &[b'n'; 255], Node::Fifo);
    with_node(&mut tree, b"l", Node::Symlink([b'x'; 4095].into()));
    with_node(&mut tree, b"c", Node::CharDevice(0xfff, 0xf_ffff));
    let out = tempfile::tempfile().unwrap();
    write(&tree, &options(Compressor::Xz, 4096), &out, 0, &|_| ()).unwrap();
}

#[test]
fn unfit_options_are_refused() {
    for block_size in [0, 1, 2048, 4095, 4097, 12_288, 2 << 20, u32::MAX] {
        let error = refusal(&tree(), &options(Compressor::Xz, block_size));
        assert!(error.contains(&block_size.to_string()), "{error}");
    }
    for level in [-1, 0, 23] {
        let error = refusal(&tree(), &options(Compressor::Zstd { level }, 4096));
        assert!(error.contains("zstd"), "{error}");
    }
    for level in [0, 10] {
        let error = refusal(&tree(), &options(Compressor::Gzip { level }, 4096));
        assert!(error.contains("gzip"), "{error}");
    }
}

#[test]
fn a_full_device_is_an_error_and_no_hang() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        println!("skipped: no /dev/full");
        return;
    };
    let mut tree = tree();
    with_node(
        &mut tree,
        b"large",
        file(super::cases::noise(10_000_000, 1)),
    );
    let options = options(Compressor::Zstd { level: 1 }, 4096);
    let error = write(&tree, &options, &full, 0, &|_| ()).unwrap_err();
    assert!(
        format!("{error:#}").contains("writing the squashfs image"),
        "{error:#}"
    );
}

#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_panicking_thread_is_no_hang() {
    let mut tree = tree();
    with_node(
        &mut tree,
        b"large",
        file(super::cases::noise(10_000_000, 1)),
    );
    let out = tempfile::tempfile().unwrap();
    let options = options(Compressor::Zstd { level: 1 }, 4096);
    let broken = |bytes| assert!(bytes == 0, "progress is broken");
    if let Err(error) = write(&tree, &options, &out, 0, &broken) {
        panic!("{error:#}");
    }
}

#[test]
fn compressors_have_names() {
    for (text, compressor) in [
        ("zstd", Compressor::Zstd { level: 15 }),
        ("zstd:1", Compressor::Zstd { level: 1 }),
        ("zstd:22", Compressor::Zstd { level: 22 }),
        ("gzip", Compressor::Gzip { level: 9 }),
        ("gzip:1", Compressor::Gzip { level: 1 }),
        ("xz", Compressor::Xz),
    ] {
        assert_eq!(text.parse(), Ok(compressor), "{text}");
        assert_eq!(compressor.to_string().parse(), Ok(compressor));
    }
    assert_eq!(Compressor::default().to_string(), "zstd:15");
    for text in [
        "zstd:0", "zstd:23", "zstd:", "zstd:x", "gzip:10", "xz:6", "xz:",
    ] {
        let error = text.parse::<Compressor>().unwrap_err();
        assert!(matches!(error, CompressorError::Level { .. }), "{text}");
        let (_, level) = text.split_once(':').unwrap();
        assert!(error.to_string().contains(&format!("{level:?}")), "{error}");
    }
    for text in ["", "lz4", "ZSTD", ":3"] {
        let error = text.parse::<Compressor>().unwrap_err();
        assert!(matches!(error, CompressorError::Unknown(_)), "{text}");
    }
}
