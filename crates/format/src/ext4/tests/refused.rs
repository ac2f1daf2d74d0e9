//! What has no place or no form in ext4, and what the error says.

use super::trees::file;
use super::{MIB, options};
use crate::ext4::{Layout, Options};
use bake_tree::{Content, Meta, Node, Tree, Xattrs};

fn refusal(tree: &Tree, options: &Options) -> String {
    format!("{:#}", Layout::plan(tree, options).unwrap_err())
}

fn with_meta(meta: Meta) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    tree.create(Tree::ROOT, "it", meta, Node::File(Content::bytes(*b"")));
    tree
}

fn with_xattr(name: &[u8], value: &[u8]) -> Tree {
    with_meta(Meta {
        xattrs: Xattrs::new().with(name, value),
        ..Meta::root(0o644)
    })
}

fn with_node(node: Node) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    tree.create(Tree::ROOT, "it", Meta::root(0o644), node);
    tree
}

#[test]
fn a_full_file_system_says_what_it_needs() {
    let mut tree = Tree::new(Meta::root(0o755));
    let options = options(16, 1024);
    let free = Layout::plan(&tree, &options).unwrap().free_bytes();
    let id = file(&mut tree, Tree::ROOT, "just", vec![1; free as usize]);
    let full = Layout::plan(&tree, &options).unwrap();
    assert_eq!(full.free_bytes(), 0);
    super::referees::check(super::image(&tree, &options).path());
    tree.inode_mut(id).node = Node::File(Content::bytes(vec![1; free as usize + 1]));
    assert_eq!(
        refusal(&tree, &options),
        "the ext4 file system needs 17 MiB, and has 16 MiB"
    );
    tree.inode_mut(id).node = Node::File(Content::bytes(vec![1; (30 * MIB) as usize]));
    assert_eq!(
        refusal(&tree, &options),
        "the ext4 file system needs 33 MiB, and has 16 MiB"
    );
}

#[test]
fn too_many_inodes_are_counted() {
    let mut tree = Tree::new(Meta::root(0o755));
    for nth in 0..4096 - 11 {
        file(&mut tree, Tree::ROOT, &format!("{nth}"), Vec::new());
    }
    super::referees::check(super::image(&tree, &options(16, 4096)).path());
    file(&mut tree, Tree::ROOT, "more", Vec::new());
    assert_eq!(
        refusal(&tree, &options(16, 4096)),
        "the ext4 file system needs 4097 inodes, and has 4096"
    );
}

#[test]
fn what_ext4_cannot_say_is_refused() {
    let link = |len| with_node(Node::Symlink(vec![b'x'; len].into()));
    let time = |mtime| {
        with_meta(Meta {
            mtime,
            ..Meta::root(0o644)
        })
    };
    let cases = [
        (link(1024), "its target has 1024 bytes"),
        (link(0), "its target has 0 bytes"),
        (
            with_xattr(b"user.abcd", &[1; 1024 - 32 - 4 - 19]),
            "placing /it: its extended attributes need 992 bytes in a block of their own, and 988 are there",
        ),
        (
            with_xattr(b"btrfs.compression", b""),
            "\"btrfs.compression\" is of a kind",
        ),
        (with_xattr(b"user.", b""), "\"user.\" is of a kind"),
        (
            with_xattr(b"system.posix_acl_accessory", b""),
            "is of a kind",
        ),
        (
            with_xattr(b"system.posix_acl_access", &[2, 0, 0, 0, 1]),
            "is no access control list",
        ),
        (
            with_xattr(b"system.posix_acl_access", &[1, 0, 0, 0]),
            "is no access control list",
        ),
        (time(i64::from(i32::MIN) - 1), "its time of -2147483649 s"),
        (time((3 << 32) - (1 << 31)), "its time of 10737418240 s"),
        (
            with_node(Node::CharDevice(4096, 0)),
            "the device number 4096:0",
        ),
        (
            with_node(Node::BlockDevice(0, 1 << 20)),
            "the device number 0:1048576",
        ),
    ];
    for (tree, sentence) in cases {
        let said = refusal(&tree, &options(16, 1024));
        assert!(
            said.contains(sentence) && said.starts_with("placing /it"),
            "{said}"
        );
    }
}

#[test]
fn names_that_no_kernel_gives_are_refused() {
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'n'; 256]] {
        let mut tree = Tree::new(Meta::root(0o755));
        let id = tree.add(Meta::root(0o644), Node::Fifo);
        tree.link(Tree::ROOT, name, id);
        let said = refusal(&tree, &options(16, 1024));
        assert!(said.starts_with("naming an entry of /: "), "{said}");
    }
}

#[test]
fn links_end_at_65_000() {
    let mut tree = Tree::new(Meta::root(0o755));
    let directory = tree.make_directories("d", &Meta::root(0o755));
    let id = file(&mut tree, directory, "0", Vec::new());
    for nth in 1..65_000 {
        tree.link(directory, format!("{nth}").as_bytes(), id);
    }
    super::referees::check(super::image(&tree, &options(32, 1024)).path());
    tree.link(directory, b"65000", id);
    assert_eq!(
        refusal(&tree, &options(32, 1024)),
        "placing /d/0: it has 65001 links, and ext4 takes at most 65000"
    );
}

#[test]
fn directories_have_one_name_and_lost_found_is_one() {
    let mut tree = Tree::new(Meta::root(0o755));
    let directory = tree.make_directories("d", &Meta::root(0o755));
    tree.link(Tree::ROOT, b"e", directory);
    assert_eq!(
        refusal(&tree, &options(16, 1024)),
        "the directory /e has two names"
    );
    let mut tree = Tree::new(Meta::root(0o755));
    tree.create(Tree::ROOT, "lost+found", Meta::root(0o644), Node::Fifo);
    assert_eq!(
        refusal(&tree, &options(16, 1024)),
        "/lost+found is not a directory"
    );
}

#[test]
fn sizes_and_labels_have_their_limits() {
    let tree = Tree::new(Meta::root(0o755));
    let label = Options {
        label: "seventeen-letters".into(),
        ..options(16, 1024)
    };
    assert!(refusal(&tree, &label).contains("more than the 16 bytes"));
    assert!(refusal(&tree, &options(16, 2048)).contains("blocks of 2048 bytes"));
    assert!(refusal(&tree, &options(1, 1024)).contains("1 MiB is too small for a journal"));
    assert!(refusal(&tree, &options(7, 4096)).contains("7 MiB is too small for a journal"));
    assert!(refusal(&tree, &options(1 << 17, 4096)).contains("of 128 GiB is not made"));
}
