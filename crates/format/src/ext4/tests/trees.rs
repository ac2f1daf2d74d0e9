//! A tree with something of everything.

use bake_tree::{Content, InodeId, Meta, Node, Tree, Xattrs};

/// Bytes that no two offsets share by accident, and no block of which is zero.
pub(super) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

pub(super) fn file(tree: &mut Tree, directory: InodeId, name: &str, bytes: Vec<u8>) -> InodeId {
    let meta = Meta::root(0o644);
    tree.create(directory, name, meta, Node::File(Content::bytes(bytes)))
}

/// An access control list as the system call has it: the owner, user 1000, group, mask, others.
fn acl() -> Vec<u8> {
    let none = u32::MAX;
    let entries = [
        (0x01u16, 6u16, none),
        (0x02, 4, 1000),
        (0x04, 4, none),
        (0x10, 4, none),
        (0x20, 4, none),
    ];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// CAP_NET_RAW, effective, in the form of version 2; the kernel refuses to show nonsense.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Every kind of inode, and names, lengths, times, owners and attributes at their edges.
pub(super) fn varied(block_size: usize) -> Tree {
    let root = Meta {
        xattrs: Xattrs::new().with(b"security.selinux", b"system_u:object_r:boot_t:s0\0"),
        ..Meta::root(0o755)
    };
    let mut tree = Tree::new(root.clone());
    let plain = Meta::root(0o755);

    let sizes = tree.make_directories("sizes", &plain);
    for len in [
        0,
        1,
        block_size - 1,
        block_size,
        block_size + 1,
        12 * block_size + 1,
        (1 << 20) - 1,
        (1 << 20) + 1,
        // Beyond a group of 8 MiB.
        (19 << 20) + 7,
    ] {
        file(
            &mut tree,
            sizes,
            &format!("{len}"),
            pattern(len, len as u64),
        );
    }
    let mut holes = vec![0; 5 * block_size + 3];
    holes[2 * block_size] = 1;
    file(&mut tree, sizes, "holes", holes);
    file(&mut tree, sizes, "zeros", vec![0; 3 * block_size]);

    let links = tree.make_directories("links", &plain);
    for len in [1, 59, 60, 61, 255, 1023, block_size - 1] {
        let target = vec![b'x'; len].into();
        let meta = Meta::root(0o777);
        tree.create(links, &format!("to-{len}"), meta, Node::Symlink(target));
    }
    let hard = file(&mut tree, links, "hard", b"several names".to_vec());
    for nth in 0..5 {
        tree.link(links, format!("hard-{nth}").as_bytes(), hard);
    }
    tree.link(Tree::ROOT, b"hard-above", hard);

    let names = tree.make_directories("names", &plain);
    for name in [&[b'n'; 255][..], b"\xff\xfe", b"new\nline", b" ", b"..."] {
        let id = tree.add(Meta::root(0o600), Node::Fifo);
        tree.link(names, name, id);
    }
    let every: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let id = tree.add(Meta::root(0o600), Node::Fifo);
    tree.link(names, &every, id);

    let kinds = tree.make_directories("kinds", &plain);
    let mode = || Meta::root(0o640);
    tree.create(kinds, "null", mode(), Node::CharDevice(1, 3));
    tree.create(kinds, "wide", mode(), Node::CharDevice(511, 0xf_ffff));
    tree.create(kinds, "loop", mode(), Node::BlockDevice(7, 255));
    tree.create(kinds, "loop-256", mode(), Node::BlockDevice(7, 256));
    tree.create(kinds, "socket", mode(), Node::Socket);

    let owners = tree.make_directories("owners", &plain);
    let table = [
        (0, 0, 0o7777, 0),
        (65_535, 65_536, 0o4755, 1),
        (u32::MAX - 1, 1, 0, i64::from(i32::MAX)),
        (1, u32::MAX - 1, 0o1000, i64::from(i32::MAX) + 1),
        (2, 2, 0o644, -1),
        (2, 2, 0o644, i64::from(i32::MIN)),
        (2, 2, 0o644, (3 << 32) - (1 << 31) - 1),
        (2, 2, 0o644, (1 << 32) + 5),
    ];
    for (nth, (uid, gid, mode, mtime)) in table.into_iter().enumerate() {
        let meta = Meta {
            uid,
            gid,
            mtime,
            ..Meta::root(mode)
        };
        tree.create(
            owners,
            &format!("{nth}"),
            meta,
            Node::File(Content::bytes(*b"")),
        );
    }
    let fixed = Meta {
        immutable: true,
        ..root
    };
    tree.create(
        owners,
        "fixed",
        fixed.clone(),
        Node::File(Content::bytes(*b"x")),
    );
    tree.create(
        owners,
        "fixed-directory",
        fixed,
        Node::Directory(Default::default()),
    );

    attributes(&mut tree, block_size);
    let depth = vec!["d"; 40].join("/");
    tree.make_directories(&format!("deep/{depth}"), &plain);
    tree
}

fn attributes(tree: &mut Tree, block_size: usize) {
    let directory = tree.make_directories("attributes", &Meta::root(0o755));
    let with = |pairs: &[(&str, Vec<u8>)]| Meta {
        xattrs: pairs.iter().map(|(n, v)| (n.as_bytes(), &**v)).collect(),
        ..Meta::root(0o644)
    };
    // In the inode: 92 bytes less 4 at the end; an entry has 16, its name and its value.
    let mut sets = vec![
        ("empty-value", with(&[("user.e", vec![])])),
        ("fills-inode", with(&[("user.abcd", vec![1; 68])])),
        ("leaves-inode", with(&[("user.abcd", vec![1; 69])])),
        (
            "both",
            with(&[
                (
                    "security.selinux",
                    b"system_u:object_r:boot_t:s0\0".to_vec(),
                ),
                ("user.large", pattern(300, 1)),
                ("trusted.t", pattern(3, 2)),
                ("user.a", vec![9]),
            ]),
        ),
        ("acl", with(&[("system.posix_acl_access", acl())])),
        (
            "capability",
            with(&[("security.capability", CAPABILITY.to_vec())]),
        ),
        (
            // Head 32, end 4, entry 16 with a name of 4.
            "fills-block",
            with(&[("user.abcd", pattern(block_size - 32 - 4 - 20, 4))]),
        ),
    ];
    let names: Vec<String> = (0..20)
        .map(|n| format!("user.{}", "n".repeat(n + 1)))
        .collect();
    let many: Vec<(&str, Vec<u8>)> = names.iter().map(|n| (&**n, vec![n.len() as u8])).collect();
    sets.push(("many", with(&many)));
    for (name, meta) in sets {
        tree.create(directory, name, meta, Node::File(Content::bytes(*b"a")));
    }
    let default = Meta {
        xattrs: Xattrs::new().with(b"system.posix_acl_default", &acl()),
        ..Meta::root(0o755)
    };
    tree.create(
        directory,
        "inherits",
        default,
        Node::Directory(Default::default()),
    );
    let labelled = with(&[("security.selinux", pattern(200, 5))]);
    tree.create(directory, "link", labelled, Node::Symlink((*b"acl").into()));
}
