//! What is refused, and in which words.

use std::sync::Arc;

use super::cases::{directory, file};
use super::{Options, small};
use crate::xfs::Layout;
use bake_tree::{Content, Meta, Node, Tree, Xattrs};

#[track_caller]
fn refused(tree: &Tree, options: &Options) -> String {
    format!("{:#}", Layout::plan(tree, options).unwrap_err())
}

fn with_attribute(name: &[u8], value: &[u8]) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    let meta = Meta {
        xattrs: Xattrs::new().with(name, value),
        ..Meta::root(0o644)
    };
    tree.create(Tree::ROOT, "f", meta, file(vec![]));
    tree
}

fn with_node(name: &str, node: Node) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    tree.create(Tree::ROOT, name, Meta::root(0o644), node);
    tree
}

#[test]
fn trees_that_xfs_cannot_hold() {
    let long = "n".repeat(256);
    let symlink = |len| with_node("f", Node::Symlink(vec![b't'; len].into()));
    let mut late = with_node("f", Node::Fifo);
    late.inode_mut(late.lookup("f").unwrap()).meta.mtime = 16_299_260_426 + (1 << 31);
    let mut twice = with_node("d", directory());
    twice.link(Tree::ROOT, b"e", twice.lookup("d").unwrap());
    let cases: Vec<(Tree, &str)> = vec![
        (
            with_node(&long, Node::Fifo),
            "has 256 bytes, and 255 are the most",
        ),
        (
            with_node("..", Node::Fifo),
            "laying out /: \"..\" can't be a file name",
        ),
        (
            symlink(1024),
            "laying out /f: its target has 1024 bytes, and XFS takes 1023",
        ),
        (symlink(0), "its target \"\" is empty"),
        (
            with_attribute(b"user.large", &[0; 65_537]),
            "laying out /f: storing its attribute \"user.large\": its value has 65537 bytes, and 65536 are the most",
        ),
        (
            with_attribute(b"system.nfs4_acl", b""),
            "XFS has no such namespace",
        ),
        (
            with_attribute(b"user.", b""),
            "a name has 1 to 255 bytes behind its namespace",
        ),
        (
            with_attribute(b"system.posix_acl_access", b"\x02\0\0\0\x01"),
            "its value is no POSIX ACL",
        ),
        (
            with_attribute(b"system.posix_acl_access", b"\x02\0\0\0"),
            "its value is no POSIX ACL",
        ),
        (
            with_node("f", Node::CharDevice(1 << 9, 0)),
            "its device number 512:0 is too large",
        ),
        (
            with_node("f", Node::BlockDevice(0, 1 << 18)),
            "its device number 0:262144 is too large",
        ),
        (late, "XFS has those from 1901 to 2486"),
        (twice, "is a directory with a second name"),
    ];
    for (tree, expected) in cases {
        let message = refused(&tree, &small());
        assert!(message.contains(expected), "{message}");
    }
    Layout::plan(&symlink(1023), &small()).unwrap();
    Layout::plan(&with_node(&long[1..], Node::Fifo), &small()).unwrap();
    Layout::plan(
        &with_node("f", Node::CharDevice((1 << 9) - 1, (1 << 18) - 1)),
        &small(),
    )
    .unwrap();
}

#[test]
fn options_that_make_no_file_system() {
    let tree = Tree::new(Meta::root(0o755));
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = small();
        change(&mut options);
        refused(&tree, &options)
    };
    let gib = 1 << 30;
    let cases: [(String, &str); 9] = [
        (
            with(&|o| o.size_bytes -= 4096),
            "has at least 300 MiB, not 299 MiB",
        ),
        (
            with(&|o| o.size_bytes += 512),
            "is a multiple of 4096 bytes",
        ),
        (
            with(&|o| o.size_bytes = (16 << 40) + 4096),
            "16384 GiB is the most",
        ),
        (
            with(&|o| o.sector_size = 1024),
            "512 or 4096 bytes here, not 1024",
        ),
        (
            with(&|o| o.agcount = 1),
            "has at least 2 allocation groups, not 1",
        ),
        (
            with(&|o| o.agcount = 5),
            "5 allocation groups are too many for an XFS file system of 300 MiB: its log of 64 MiB must fit into one",
        ),
        (
            with(&|o| o.agcount = 20),
            "20 allocation groups are too many for an XFS file system of 300 MiB: each has at least 16 MiB",
        ),
        (
            with(&|o| o.size_bytes = 4096 * gib),
            "2 allocation groups are too few for an XFS file system of 4096 GiB: it takes 5",
        ),
        (
            with(&|o| o.label = "thirteen-long".to_owned()),
            "the label \"thirteen-long\" of an XFS file system has more than 12 bytes",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_smallest_size_is_one_that_the_options_allow() {
    let tree = Tree::new(Meta::root(0o755));
    let with_groups = |agcount| Options { agcount, ..small() };
    for agcount in [2, 3, 4, 5, 40] {
        let options = with_groups(agcount);
        let size_bytes = Layout::minimum_bytes(&tree, &options).unwrap();
        let options = Options {
            size_bytes,
            ..options
        };
        Layout::plan(&tree, &options).unwrap();
        // The log of 64 MiB fits into a group.
        assert!(size_bytes < (u64::from(agcount) * 66 + 200) << 20);
    }
    let error = Layout::minimum_bytes(&tree, &with_groups(1)).unwrap_err();
    assert!(error.to_string().contains("at least 2 allocation groups"));
}

#[test]
fn too_much_is_refused_with_the_size_that_would_do() {
    let content = Content::range(Arc::new(tempfile::tempfile().unwrap()), 0, 5 << 30);
    let mut tree = with_node("f", Node::File(content));
    let message = refused(&tree, &small());
    let needed = Layout::minimum_bytes(&tree, &small()).unwrap();
    assert_eq!(
        message,
        format!(
            "the tree doesn't fit into an XFS file system of 300 MiB: it takes {} MiB",
            needed >> 20
        )
    );
    let enough = Options {
        size_bytes: needed,
        ..small()
    };
    Layout::plan(&tree, &enough).unwrap();

    // Too many inodes rather than too much content.
    for index in 0..500_000u32 {
        tree.link(Tree::ROOT, b"f", tree.lookup("f").unwrap());
        tree.create(
            Tree::ROOT,
            &index.to_string(),
            Meta::root(0o644),
            Node::Fifo,
        );
    }
    tree.unlink(Tree::ROOT, b"f");
    let message = refused(&tree, &small());
    assert!(message.contains("doesn't fit"), "{message}");
    let size_bytes = Layout::minimum_bytes(&tree, &small()).unwrap();
    assert!(size_bytes < 512 << 20, "{size_bytes}");
    Layout::plan(
        &tree,
        &Options {
            size_bytes,
            ..small()
        },
    )
    .unwrap();
}
