//! Trees that sit on the format's edges, each with everything of one kind.

use std::collections::BTreeMap;

use bake_tree::{Content, InodeId, Meta, Node, Tree, Xattrs};

/// All of them, by name.
pub(super) fn all() -> Vec<(&'static str, Tree)> {
    vec![
        ("empty", Tree::new(Meta::root(0o755))),
        ("directories", directories()),
        ("name lengths", name_lengths()),
        ("large directories", large_directories()),
        ("symlinks", symlinks()),
        ("attributes within inodes", attributes_within()),
        ("attributes outside", attributes_outside()),
        ("ACLs", acls()),
        ("metadata", metadata()),
        ("sizes", sizes()),
    ]
}

pub(super) fn file(bytes: Vec<u8>) -> Node {
    Node::File(Content::bytes(bytes))
}

pub(super) fn directory() -> Node {
    Node::Directory(BTreeMap::new())
}

/// Bytes that differ from block to block and from seed to seed.
pub(super) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn new() -> Tree {
    Tree::new(Meta::root(0o755))
}

/// A directory with `count` names of `len` bytes, all of them for one file.
fn add_names(tree: &mut Tree, name: &str, count: usize, len: usize) -> InodeId {
    let parent = tree.create(Tree::ROOT, name, Meta::root(0o755), directory());
    let target = tree.add(Meta::root(0o644), file(b"target".to_vec()));
    for index in 0..count {
        // Mixed, so that order of names and order of hashes differ.
        let mixed = index * 7919 % 1_000_003;
        let name = format!("{mixed:0len$}");
        tree.link(parent, name.as_bytes(), target);
    }
    assert_eq!(tree.children(parent).count(), count);
    parent
}

/// Counts of names around every change of form: short names end the short form at about 40 and the
/// block form at about 150, longer ones the leaf form at 500.
fn directories() -> Tree {
    let mut tree = new();
    let counts = (0..12)
        .chain(40..48)
        .chain(80..180)
        .chain((480..512).step_by(2));
    for count in counts.chain([1006, 1007, 1008, 1009]) {
        add_names(&mut tree, &format!("short-{count}"), count, 4);
    }
    for count in 0..=12 {
        add_names(&mut tree, &format!("middle-{count}"), count, 30);
    }
    for count in (200..460).step_by(20) {
        add_names(&mut tree, &format!("long-{count}"), count, 33);
    }
    tree
}

fn name_lengths() -> Tree {
    let mut tree = new();
    for len in [7, 12, 13, 64, 69, 200, 255] {
        for count in [1, 2, 3, 13, 14, 15, 300, 600] {
            add_names(&mut tree, &format!("length-{len}-{count}"), count, len);
        }
    }
    // One block of the free index is for 2016 blocks of entries.
    add_names(&mut tree, "free-index", 31_000, 255);
    tree
}

/// With inner nodes, and with equal hashes.
fn large_directories() -> Tree {
    let mut tree = new();
    add_names(&mut tree, "20000", 20_000, 20);
    // As many names as some file systems allow for one file.
    add_names(&mut tree, "65000", 65_000, 8);
    // One node has 504 leaves of 504 hashes.
    add_names(&mut tree, "254500", 254_500, 6);
    // Where these are many, equal hashes lie on both sides of where a leaf is full.
    for others in [0, 300, 600, 900, 1200, 1500, 1800] {
        let name = format!("equal-among-{others}");
        let directory = tree.create(Tree::ROOT, &name, Meta::root(0o755), directory());
        let target = tree.add(Meta::root(0o644), Node::Fifo);
        for index in 0..256 {
            tree.link(directory, &equal_hash(index), target);
        }
        for index in 0..others {
            // Names whose hashes lie all over.
            let name = format!("{:016x}", index * 0x9e37_79b9_7f4a_7c15_u128 % (1 << 64));
            tree.link(directory, name.as_bytes(), target);
        }
    }
    tree
}

/// Names with one hash. A byte's highest bit and the lowest of the byte before it are the same bit of
/// the hash, so changing both changes nothing.
fn equal_hash(index: u32) -> Vec<u8> {
    let mut name = vec![b'b'; 9];
    for bit in 0..8 {
        if index & 1 << bit != 0 {
            name[bit] ^= 0x01;
            name[bit + 1] ^= 0x80;
        }
    }
    name
}

fn symlinks() -> Tree {
    let mut tree = new();
    let label = Xattrs::new().with(b"security.selinux", b"system_u:object_r:usr_t:s0\0");
    let large = Xattrs::new().with(b"trusted.large", &[7; 200]);
    for (name, xattrs) in [("bare", Xattrs::new()), ("label", label), ("large", large)] {
        let directory = tree.create(Tree::ROOT, name, Meta::root(0o755), directory());
        let lengths = (1..=4).chain(50..60).chain(90..100).chain(180..346);
        for len in lengths.chain([1022, 1023]) {
            let target = pattern(len, 3)
                .iter()
                .map(|byte| byte % 26 + b'a')
                .collect();
            let meta = Meta {
                xattrs: xattrs.clone(),
                ..Meta::root(0o777)
            };
            tree.create(directory, &format!("{len}"), meta, Node::Symlink(target));
        }
    }
    tree
}

/// Attributes of a total length from one to more than an inode holds, on all kinds of inodes.
fn attributes_within() -> Tree {
    let mut tree = new();
    let kinds = [
        ("file", file(vec![1; 5000])),
        ("directory", directory()),
        ("symlink", Node::Symlink(vec![b't'; 40].into())),
        ("device", Node::CharDevice(4, 65)),
        ("fifo", Node::Fifo),
    ];
    for (name, node) in kinds {
        let parent = tree.create(Tree::ROOT, name, Meta::root(0o755), directory());
        for len in 0..=330usize {
            let mut xattrs = Xattrs::new().with(b"trusted.a", &pattern(len.min(255), 1));
            if len > 255 {
                xattrs = xattrs.with(b"security.b", &pattern(len - 255, 2));
            }
            let meta = Meta {
                xattrs,
                ..Meta::root(0o700)
            };
            let id = tree.create(parent, &format!("{len}"), meta, node.clone());
            if name == "directory" {
                // Names too, which share the inode with the attributes.
                for child in 0..len % 24 {
                    let name = format!("child-{child}");
                    tree.create(id, &name, Meta::root(0o644), Node::Socket);
                }
            }
        }
    }
    tree
}

fn attributes_outside() -> Tree {
    let mut tree = new();
    let mut add = |name: &str, xattrs: Xattrs| {
        for (kind, node) in [
            ("file", file(b"content".to_vec())),
            ("directory", directory()),
            ("symlink", Node::Symlink(b"target".to_vec().into())),
        ] {
            let meta = Meta {
                xattrs: xattrs.clone(),
                ..Meta::root(0o755)
            };
            tree.create(Tree::ROOT, &format!("{name}-{kind}"), meta, node);
        }
    };
    let lengths = [
        0, 1, 255, 256, 257, 4000, 4039, 4040, 4041, 8080, 8081, 65_000, 65_536,
    ];
    for len in lengths.into_iter().chain(3050..3072) {
        let value = Xattrs::new().with(b"trusted.value", &pattern(len, 1));
        add(&format!("value-{len}"), value.clone());
        add(
            &format!("and-label-{len}"),
            value.with(b"security.selinux", b"label\0"),
        );
    }
    for count in [2, 3, 10, 100, 1000] {
        let names: Vec<String> = (0..count).map(|n| format!("trusted.name-{n}")).collect();
        for len in [0, 60, 300] {
            let value = pattern(len, 2);
            let xattrs = names
                .iter()
                .map(|name| (name.as_bytes(), &*value))
                .collect();
            add(&format!("count-{count}-{len}"), xattrs);
        }
    }
    let long = format!("trusted.{}", "n".repeat(247));
    add(
        "long-name",
        Xattrs::new().with(long.as_bytes(), &pattern(5000, 4)),
    );
    // Values outside, of attributes in several leaves.
    let names: Vec<String> = (0..200).map(|n| format!("trusted.far-{n}")).collect();
    let value = pattern(5000, 5);
    let near = pattern(900, 5);
    let xattrs = names.iter().enumerate().map(|(index, name)| {
        (
            name.as_bytes(),
            if index % 9 == 0 { &*value } else { &*near },
        )
    });
    add("many-outside", xattrs.collect());
    tree
}

/// As `setfacl -m u:1000:rw,g:70000:r` makes it of mode 644: owner, user, group, group, mask, others.
fn acl() -> Vec<u8> {
    let entries: [(u16, u16, u32); 6] = [
        (0x01, 6, u32::MAX),
        (0x02, 6, 1000),
        (0x04, 4, u32::MAX),
        (0x08, 4, 70_000),
        (0x10, 6, u32::MAX),
        (0x20, 4, u32::MAX),
    ];
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

/// A file with an ACL, and a directory with one for itself and one for what is made in it.
pub(super) fn acls() -> Tree {
    let mut tree = new();
    let access = Xattrs::new().with(b"system.posix_acl_access", &acl());
    let both = access.with(b"system.posix_acl_default", &acl());
    // The group's bits are the mask's.
    let meta = |xattrs| Meta {
        xattrs,
        ..Meta::root(0o664)
    };
    tree.create(Tree::ROOT, "file", meta(access), file(vec![1]));
    tree.create(Tree::ROOT, "directory", meta(both), directory());
    tree
}

fn metadata() -> Tree {
    let mut tree = new();
    let inodes = [
        ("setuid", 0o4755, file(vec![1])),
        ("setgid", 0o2755, directory()),
        ("sticky", 0o1777, directory()),
        ("none", 0, file(vec![2])),
        ("char", 0o600, Node::CharDevice(511, 262_143)),
        ("block", 0o660, Node::BlockDevice(8, 17)),
        ("fifo", 0o644, Node::Fifo),
        ("socket", 0o666, Node::Socket),
    ];
    for (name, mode, node) in inodes {
        tree.create(Tree::ROOT, name, Meta::root(mode), node);
    }
    let times = [
        0,
        1,
        -1,
        -(1 << 31),
        (1 << 31) - 1,
        1 << 31,
        1 << 32,
        8_589_934_592,
        16_299_260_425,
    ];
    for mtime in times {
        let meta = Meta {
            mtime,
            ..Meta::root(0o644)
        };
        tree.create(Tree::ROOT, &format!("time{mtime}"), meta, file(vec![]));
    }
    for id in [1000, 65_534, 65_536, 1 << 31, u32::MAX - 1] {
        let meta = Meta {
            uid: id,
            gid: id - 1,
            ..Meta::root(0o640)
        };
        tree.create(Tree::ROOT, &format!("owner{id}"), meta, file(vec![]));
    }
    for (name, node) in [("locked-directory", directory()), ("locked", file(vec![3]))] {
        let meta = Meta {
            immutable: true,
            ..Meta::root(0o755)
        };
        tree.create(Tree::ROOT, name, meta, node);
    }
    let deep: Vec<String> = (0..60).map(|n| format!("level-{n}")).collect();
    let last = tree.make_directories(&deep.join("/"), &Meta::root(0o711));
    let linked = tree.create(last, "one", Meta::root(0o644), file(b"linked".to_vec()));
    tree.link(Tree::ROOT, b"two", linked);
    tree.link(last, b"three", linked);
    tree.add(Meta::root(0o644), file(b"without a name".to_vec()));
    tree
}

fn sizes() -> Tree {
    let mut tree = new();
    for len in [
        0,
        1,
        511,
        4095,
        4096,
        4097,
        8191,
        8192,
        8193,
        1 << 20,
        (5 << 20) + 1,
    ] {
        let bytes = pattern(len, len as u64);
        tree.create(
            Tree::ROOT,
            &format!("{len}"),
            Meta::root(0o644),
            file(bytes),
        );
    }
    tree
}
