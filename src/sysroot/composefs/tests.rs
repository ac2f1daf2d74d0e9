mod referee;

use std::collections::BTreeMap;

use super::{DEPTH_MAX, SYMLINK_MAX, XATTR_BYTES_MAX, XATTRS_MAX, image};
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
const NET_BIND_SERVICE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

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
