//! Trees on the edges of the format, named after the edge.

use std::collections::BTreeMap;

use bake_tree::{Content, InodeId, Meta, Node, Tree, Xattrs};

/// A tree for a block size.
pub(super) type Case = (&'static str, fn(usize) -> Tree);

/// All of them.
pub(super) const CASES: &[Case] = &[
    ("empty", |_| tree()),
    ("file sizes around a block", file_sizes),
    ("zeros", zeros),
    ("holes", holes),
    ("equal files", equal_files),
    ("dense files", dense_files),
    ("special files", special_files),
    ("large device numbers", large_device_numbers),
    ("symlink targets", symlink_targets),
    ("names", names),
    ("hard links", hard_links),
    ("directory of 257 names", |_| directory_of(257, 8)),
    ("listing just below 64 KiB", |_| directory_of(240, 255)),
    ("listing just above 64 KiB", |_| directory_of(250, 255)),
    ("directory of 5000 names", |_| directory_of(5000, 120)),
    ("deep directories", |_| deep(200)),
    ("hard links far apart", hard_links_far_apart),
    ("300 owners", owners),
    ("modes and times", modes_and_times),
    ("xattrs of every kind of inode", xattrs_everywhere),
    ("xattr value sizes", xattr_sizes),
    ("700 xattr sets", xattr_sets),
];

fn tree() -> Tree {
    Tree::new(Meta {
        mtime: 1_600_000_000,
        ..Meta::root(0o755)
    })
}

pub(super) fn meta() -> Meta {
    Meta {
        uid: 1000,
        gid: 100,
        mtime: 1_500_000_000,
        ..Meta::root(0o644)
    }
}

fn directory() -> Node {
    Node::Directory(BTreeMap::new())
}

pub(super) fn file(bytes: Vec<u8>) -> Node {
    Node::File(Content::bytes(bytes))
}

/// Bytes that a compressor can do something with, different for every seed.
pub(super) fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        bytes.extend_from_slice(format!("line {} of {seed}\n", next(&mut state) % 1000).as_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes that it can't.
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| next(&mut state).to_le_bytes()[7])
        .collect()
}

/// A generator of numbers (splitmix64), always the same.
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn file_sizes(block: usize) -> Tree {
    let mut tree = tree();
    for len in [
        0,
        1,
        block - 1,
        block,
        block + 1,
        2 * block - 1,
        2 * block,
        5 * block + 7,
    ] {
        let bytes = text(len, len as u64);
        tree.create(Tree::ROOT, &format!("{len}"), meta(), file(bytes));
    }
    // Fragments that are filled to the last byte, and one byte short of it.
    for (name, len) in [
        ("a", block / 2),
        ("b", block / 2),
        ("c", block / 2),
        ("d", block / 2 - 1),
    ] {
        tree.create(
            Tree::ROOT,
            name,
            meta(),
            file(text(len, name.as_bytes()[0].into())),
        );
    }
    tree
}

fn zeros(block: usize) -> Tree {
    let mut tree = tree();
    for len in [1, block - 1, block, block + 1, 3 * block, 3 * block + 5] {
        tree.create(Tree::ROOT, &format!("{len}"), meta(), file(vec![0; len]));
    }
    tree
}

fn holes(block: usize) -> Tree {
    let mut tree = tree();
    // Which blocks are data; the last one is short.
    for pattern in [
        "d", ".", "d.", ".d", "d.d", "..d", "d..", "..d..d", "d.d.d.d", "......d",
    ] {
        let mut bytes = Vec::new();
        for (index, kind) in pattern.bytes().enumerate() {
            let len = if index + 1 == pattern.len() {
                block / 3
            } else {
                block
            };
            match kind {
                b'd' => bytes.extend(text(len, index as u64)),
                _ => bytes.extend(vec![0; len]),
            }
        }
        tree.create(Tree::ROOT, &pattern.replace('.', "h"), meta(), file(bytes));
    }
    // Zeros with one byte at the very end are no hole.
    let mut bytes = vec![0; 2 * block];
    bytes[2 * block - 1] = 1;
    tree.create(Tree::ROOT, "last byte", meta(), file(bytes));
    tree
}

fn equal_files(block: usize) -> Tree {
    let mut tree = tree();
    for (at, len) in [1, block / 2, block, block + 1, 3 * block + 100]
        .into_iter()
        .enumerate()
    {
        for copy in 0..3 {
            let node = file(text(len, 1));
            let directory = tree.make_directories(&format!("d{copy}"), &meta());
            tree.create(directory, &format!("equal{at}"), meta(), node);
        }
        // As long, but different in the last byte.
        let mut bytes = text(len, 1);
        bytes[len - 1] ^= 1;
        tree.create(Tree::ROOT, &format!("other{at}"), meta(), file(bytes));
    }
    tree
}

fn dense_files(block: usize) -> Tree {
    let mut tree = tree();
    for len in [100, block - 1, block, 2 * block + 300] {
        tree.create(
            Tree::ROOT,
            &format!("noise{len}"),
            meta(),
            file(noise(len, len as u64)),
        );
        // Noise that repeats compresses, though its bytes are evenly distributed.
        let mut twice = noise(len.div_ceil(2), 9);
        twice.extend_from_within(..len / 2);
        tree.create(Tree::ROOT, &format!("twice{len}"), meta(), file(twice));
    }
    tree
}

fn special_files(_: usize) -> Tree {
    let mut tree = tree();
    for (name, node) in [
        ("char", Node::CharDevice(1, 3)),
        ("block", Node::BlockDevice(8, 1)),
        ("fifo", Node::Fifo),
        ("socket", Node::Socket),
    ] {
        tree.create(Tree::ROOT, name, meta(), node);
    }
    tree
}

fn large_device_numbers(_: usize) -> Tree {
    let mut tree = tree();
    for (name, major, minor) in [
        ("largest", 0xfff, 0xf_ffff),
        ("minor", 1, 256),
        ("mixed", 259, 0x1_0203),
    ] {
        tree.create(
            Tree::ROOT,
            &format!("c {name}"),
            meta(),
            Node::CharDevice(major, minor),
        );
        tree.create(
            Tree::ROOT,
            &format!("b {name}"),
            meta(),
            Node::BlockDevice(major, minor),
        );
    }
    tree
}

fn symlink_targets(_: usize) -> Tree {
    let mut tree = tree();
    for len in [1, 59, 60, 255, 4095] {
        let target = vec![b'x'; len].into();
        tree.create(Tree::ROOT, &format!("{len}"), meta(), Node::Symlink(target));
    }
    tree.create(
        Tree::ROOT,
        "raw",
        meta(),
        Node::Symlink((*b"\xff \\/..").into()),
    );
    tree
}

fn names(_: usize) -> Tree {
    let mut tree = tree();
    for name in [
        &b"a"[..],
        b"A",
        b"\xff",
        b"\x80\x81",
        b"b c",
        b"...",
        b"\\",
        b"\x01",
        &[b'n'; 255],
    ] {
        let id = tree.add(meta(), file(name.to_vec()));
        tree.link(Tree::ROOT, name, id);
    }
    tree
}

fn hard_links(block: usize) -> Tree {
    let mut tree = tree();
    let nodes = [
        file(text(block + 3, 1)),
        file(text(10, 2)),
        file(Vec::new()),
        Node::Symlink((*b"target").into()),
        Node::CharDevice(1, 3),
        Node::Fifo,
        Node::Socket,
    ];
    for (at, node) in nodes.into_iter().enumerate() {
        let id = tree.create(Tree::ROOT, &format!("m{at}"), meta(), node);
        for path in ["a/b", "z"] {
            let directory = tree.make_directories(path, &meta());
            tree.link(directory, format!("link{at}").as_bytes(), id);
        }
        tree.link(Tree::ROOT, format!("n{at}").as_bytes(), id);
    }
    tree
}

pub(super) fn directory_of(count: usize, name_len: usize) -> Tree {
    let mut tree = tree();
    let large = tree.create(Tree::ROOT, "large", meta(), directory());
    for at in 0..count {
        let name = format!("{:0name_len$}", at * 7);
        let node = match at % 50 {
            0 => file(text(at % 400, at as u64)),
            1 => directory(),
            2 => Node::Symlink((*b"target").into()),
            _ => file(Vec::new()),
        };
        tree.create(large, &name, meta(), node);
    }
    tree.create(Tree::ROOT, "after", meta(), file(b"after".to_vec()));
    tree
}

pub(super) fn deep(depth: usize) -> Tree {
    let mut tree = tree();
    let path = vec!["d"; depth].join("/");
    let last = tree.make_directories(&path, &meta());
    tree.create(last, "file", meta(), file(b"deep".to_vec()));
    tree
}

/// A run's inode numbers are 16-bit distances; here they don't fit.
fn hard_links_far_apart(_: usize) -> Tree {
    let mut tree = tree();
    let first = tree.make_directories("a", &meta());
    let last = tree.make_directories("z", &meta());
    let mut ids: Vec<InodeId> = Vec::new();
    for at in 0..34_000u32 {
        let node = Node::Fifo;
        let id = tree.create(first, &format!("{at:05}"), meta(), node);
        if at % 1000 == 0 {
            ids.push(id);
        }
    }
    for (at, id) in ids.into_iter().enumerate() {
        tree.link(last, format!("old{at}").as_bytes(), id);
        tree.create(last, &format!("olf{at}"), meta(), Node::Fifo);
    }
    tree
}

fn owners(_: usize) -> Tree {
    let mut tree = tree();
    for at in 0..150 {
        let owned = Meta {
            uid: at,
            gid: u32::MAX - 1 - at,
            ..meta()
        };
        tree.create(Tree::ROOT, &format!("{at}"), owned, file(Vec::new()));
    }
    tree
}

fn modes_and_times(_: usize) -> Tree {
    let mut tree = tree();
    for mode in [0, 0o7777, 0o4755, 0o2755, 0o1777, 0o111, 0o444] {
        let file_meta = Meta { mode, ..meta() };
        tree.create(
            Tree::ROOT,
            &format!("f{mode:o}"),
            file_meta.clone(),
            file(b"x".to_vec()),
        );
        tree.create(Tree::ROOT, &format!("d{mode:o}"), file_meta, directory());
    }
    for mtime in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let dated = Meta { mtime, ..meta() };
        tree.create(Tree::ROOT, &format!("t{mtime:x}"), dated, file(Vec::new()));
    }
    tree
}

fn xattrs_everywhere(block: usize) -> Tree {
    let set = Xattrs::new()
        .with(b"security.selinux", b"system_u:object_r:usr_t:s0\0")
        .with(
            b"security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        )
        .with(b"trusted.overlay.opaque", b"y");
    let labelled = Meta {
        xattrs: set.clone(),
        ..meta()
    };
    let mut tree = Tree::new(Meta {
        mtime: 1,
        xattrs: set.with(b"trusted.overlay.opaque", b""),
        ..Meta::root(0o755)
    });
    // User attributes are for files and directories only.
    let user = Meta {
        xattrs: set.with(b"user.comment", b"a comment"),
        ..meta()
    };
    tree.create(
        Tree::ROOT,
        "user file",
        user.clone(),
        file(text(block * 2 + 1, 3)),
    );
    tree.create(Tree::ROOT, "user directory", user, directory());
    for (name, node) in [
        ("file", file(text(100, 1))),
        ("large file", file(text(block * 2, 2))),
        ("directory", directory()),
        ("symlink", Node::Symlink((*b"target").into())),
        ("char", Node::CharDevice(1, 3)),
        ("block", Node::BlockDevice(8, 1)),
        ("fifo", Node::Fifo),
        ("socket", Node::Socket),
    ] {
        tree.create(Tree::ROOT, name, labelled.clone(), node);
    }
    tree
}

/// With values that several sets share, stored once if they are long.
pub(super) fn xattr_sizes(_: usize) -> Tree {
    let mut tree = tree();
    for len in [0, 1, 127, 128, 129, 8191, 8192, 8193, 20_000, 65_536] {
        for copy in ["a", "b", "c"] {
            let xattrs = Xattrs::new()
                .with(b"user.value", &noise(len, 5))
                .with(b"user.copy", copy.as_bytes());
            let valued = Meta { xattrs, ..meta() };
            tree.create(
                Tree::ROOT,
                &format!("{len}{copy}"),
                valued,
                file(Vec::new()),
            );
        }
    }
    let long_name = [b"user.", &[b'n'; 250][..]].concat();
    let named = Meta {
        xattrs: Xattrs::new().with(&long_name, b"v").with(b"user.n", b"v"),
        ..meta()
    };
    tree.create(Tree::ROOT, "long name", named, file(Vec::new()));
    tree
}

fn xattr_sets(_: usize) -> Tree {
    let mut tree = tree();
    for at in 0..1400 {
        let value = format!("value {}", at / 2);
        let xattrs = Xattrs::new()
            .with(b"security.selinux", value.as_bytes())
            .with(b"trusted.fixed", b"fixed");
        let labelled = Meta { xattrs, ..meta() };
        tree.create(Tree::ROOT, &format!("{at}"), labelled, file(Vec::new()));
    }
    tree
}
