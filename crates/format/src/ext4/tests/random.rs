//! Random small trees, and the same bytes twice.

use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::proptest;

use super::trees::{pattern, varied};
use super::{image, options};
use bake_tree::{Content, InodeId, Meta, Node, Tree};

fn metas() -> impl Strategy<Value = Meta> {
    let attributes = vec((0..6u8, vec(any::<u8>(), 0..120)), 0..5);
    (
        any::<(u32, u32, bool)>(),
        0..0o10_000u16,
        -2_147_483_648..10_737_418_240i64,
        attributes,
    )
        .prop_map(|((uid, gid, immutable), mode, mtime, attributes)| Meta {
            uid,
            gid,
            mode,
            mtime,
            immutable,
            xattrs: attributes
                .iter()
                .map(|(nth, value)| {
                    let names: [&[u8]; 6] = [
                        b"security.selinux",
                        b"user.a",
                        b"user.longer-name",
                        b"trusted.x",
                        b"user.b",
                        b"security.ima",
                    ];
                    (names[usize::from(*nth)], &**value)
                })
                .collect(),
        })
}

fn nodes() -> impl Strategy<Value = Node> {
    prop_oneof![
        5 => (0..40_000usize, any::<u64>()).prop_map(|(len, seed)| {
            Node::File(Content::bytes(pattern(len, seed)))
        }),
        4 => proptest::strategy::Just(()).prop_map(|()| Node::Directory(Default::default())),
        2 => vec(1..=255u8, 1..300).prop_map(|target| Node::Symlink(target.into())),
        1 => (0..4096u32, 0..0x10_0000u32).prop_map(|(a, b)| Node::CharDevice(a, b)),
        1 => (0..4096u32, 0..0x10_0000u32).prop_map(|(a, b)| Node::BlockDevice(a, b)),
        1 => proptest::strategy::Just(()).prop_map(|()| Node::Fifo),
    ]
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    vec(
        any::<u8>().prop_filter("of a name", |b| !matches!(b, 0 | b'/' | b'.')),
        1..80,
    )
}

/// The kernel shows nobody the user attributes of what is neither a file nor a directory.
fn showable(mut meta: Meta, node: &Node) -> Meta {
    if !matches!(node, Node::File(_) | Node::Directory(_)) {
        meta.xattrs = meta
            .xattrs
            .iter()
            .filter(|(name, _)| !name.starts_with(b"user."))
            .collect();
    }
    meta
}

/// Each inode hangs below one of the directories before it; some have a second name.
fn trees() -> impl Strategy<Value = Tree> {
    let inode = (metas(), nodes(), names(), any::<u16>(), any::<bool>());
    (metas(), vec(inode, 0..60)).prop_map(|(root, inodes)| {
        let mut tree = Tree::new(root);
        let mut directories = vec![Tree::ROOT];
        let mut last: Option<InodeId> = None;
        for (meta, node, name, place, again) in inodes {
            let directory = directories[usize::from(place) % directories.len()];
            if tree.child(directory, &name).is_some() {
                continue;
            }
            if let (true, Some(last)) = (again, last) {
                tree.link(directory, &name, last);
                continue;
            }
            let id = tree.add(showable(meta, &node), node);
            tree.link(directory, &name, id);
            if tree.is_directory(id) {
                directories.push(id);
            } else {
                last = Some(id);
            }
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_trees_are_clean_and_read_back(tree in trees(), large in any::<bool>()) {
        let block_size = if large { 4096 } else { 1024 };
        let image = image(&tree, &options(16, block_size));
        super::read_back::agree(image.path(), &options(16, block_size), &tree);
        super::kernel::compare_mounted(image.path(), &tree);
    }
}

#[test]
fn the_same_tree_makes_the_same_bytes() {
    let read = || {
        let mut bytes = Vec::new();
        let image = image(&varied(1024), &options(64, 1024));
        image.reopen().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert!(read() == read());
}
