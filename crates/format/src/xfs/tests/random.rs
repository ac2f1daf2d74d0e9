//! Random trees come back.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};

use super::cases::{directory, file, pattern};
use super::round_trip::assert_comes_back;
use super::seen::{assert_same, in_tree, on_disk};
use super::{Image, Mount, all_options, can_mount};
use bake_tree::{InodeId, Meta, Node, Tree};

/// How an inode of a random tree is made: kind, size and seed of its contents, which directory,
/// name, whether it gets a second name, attributes.
type Step = (u8, usize, u64, prop::sample::Index, Vec<u8>, bool, Meta);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop::collection::vec(1u8.., 1..60).prop_filter("not a name", |name| {
        !name.contains(&b'/') && name != b"." && name != b".."
    });
    let xattrs: prop::strategy::BoxedStrategy<BTreeMap<String, String>> =
        prop::collection::btree_map("(trusted|security)\\.[a-z]{1,9}", "[x-z]{0,300}", 0..5)
            .boxed();
    let meta = (
        any::<u32>(),
        any::<u32>(),
        0u16..0o10000,
        any::<i32>(),
        xattrs,
    );
    let meta = meta.prop_map(|(uid, gid, mode, mtime, xattrs)| Meta {
        // The last id means "none" to the kernel.
        uid: uid.min(u32::MAX - 1),
        gid: gid.min(u32::MAX - 1),
        mode,
        mtime: mtime.into(),
        xattrs: xattrs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect(),
        immutable: mode % 7 == 0,
    });
    let size = prop::sample::select(vec![0, 1, 100, 4095, 4096, 4097, 8192, 20_000, 140_000]);
    let step = (
        0u8..12,
        size,
        0u64..4,
        any::<prop::sample::Index>(),
        name,
        any::<bool>(),
        meta,
    );
    prop::collection::vec(step, 0..400)
}

fn random_tree(steps: &[Step]) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    let mut directories = vec![Tree::ROOT];
    let mut last: Option<InodeId> = None;
    for (kind, size, seed, at, name, linked, meta) in steps {
        let node = match kind {
            0 | 1 => directory(),
            2 => Node::Symlink(name.repeat(size % 17 + 1).into()),
            3 => Node::CharDevice(u32::try_from(*seed).unwrap(), 7),
            4 => Node::Fifo,
            _ => file(pattern(*size, *seed)),
        };
        let directory = directories[at.index(directories.len())];
        // A name that is taken stays with what has it: directories must not get lost.
        if tree.child(directory, name).is_some() {
            continue;
        }
        let mut meta = meta.clone();
        let is_directory = matches!(node, Node::Directory(_));
        // Of other kinds the kernel shows no such flag.
        meta.immutable &= is_directory || matches!(node, Node::File(_));
        let id = tree.add(meta, node);
        tree.link(directory, name, id);
        if is_directory {
            directories.push(id);
        } else if let (true, Some(last)) = (*linked, last) {
            let name = [name.as_slice(), b"+"].concat();
            if tree.child(directory, &name).is_none() {
                tree.link(directory, &name, last);
            }
        }
        if !is_directory {
            last = Some(id);
        }
    }
    tree
}

#[test]
fn random_trees_come_back() {
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let settings = (0..all_options().len(), steps());
    TestRunner::new(config)
        .run(&settings, |(options, steps)| {
            let tree = random_tree(&steps);
            let image = Image::write(&tree, &all_options()[options]);
            assert_comes_back(&image, &tree, "random tree");
            if image.is_clean() && can_mount() {
                let mount = Mount::read_only(&image);
                assert_same(&on_disk(&mount.0), &in_tree(&tree), "random tree");
            }
            Ok(())
        })
        .unwrap();
}
