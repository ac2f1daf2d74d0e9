//! Random trees come back.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};

use super::cases::{file, noise, text};
use super::{BLOCK_SIZES, COMPRESSORS, Image, assert_same, options, seen_by_reader, seen_in_tree};
use crate::squashfs::Options;
use bake_tree::{InodeId, Meta, Node, Tree};

/// How an inode of a random tree is made: kind, size and seed of its contents, which directory,
/// name, whether it gets a second name, attributes.
type Step = (u8, usize, u64, prop::sample::Index, Vec<u8>, bool, Meta);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop::collection::vec(1u8.., 1..40).prop_filter("not a name", |name| {
        !name.contains(&b'/') && name != b"." && name != b".."
    });
    let xattrs =
        prop::collection::btree_map("(user|trusted|security)\\.[a-c]", "[x-z]{0,200}", 0..3);
    let meta = (0u32..4, any::<u32>(), 0u16..0o10000, any::<u32>(), xattrs);
    let meta = meta.prop_map(|(uid, gid, mode, mtime, xattrs)| Meta {
        uid,
        gid,
        mode,
        mtime: mtime.into(),
        xattrs: xattrs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect(),
        immutable: false,
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
    prop::collection::vec(step, 0..60)
}

fn random_tree(steps: &[Step]) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    let mut directories = vec![Tree::ROOT];
    let mut last: Option<InodeId> = None;
    for (kind, size, seed, at, name, linked, meta) in steps {
        let node = match kind {
            0 | 1 => Node::Directory(BTreeMap::new()),
            2 => Node::Symlink(name.as_slice().into()),
            3 => Node::CharDevice(u32::try_from(*seed).unwrap(), 7),
            4 => Node::Fifo,
            5 => file(vec![0; *size]),
            6 => file(noise(*size, *seed)),
            _ => file(text(*size, *seed)),
        };
        let directory = directories[at.index(directories.len())];
        // A name that is taken stays with what has it: directories must not get lost.
        if tree.child(directory, name).is_some() {
            continue;
        }
        let is_directory = matches!(node, Node::Directory(_));
        let id = tree.add(meta.clone(), node);
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
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let settings = (
        0..COMPRESSORS.len(),
        0..BLOCK_SIZES.len(),
        1usize..4,
        steps(),
    );
    TestRunner::new(config)
        .run(&settings, |(compressor, block_size, threads, steps)| {
            let tree = random_tree(&steps);
            let options = Options {
                threads: NonZeroUsize::new(threads).unwrap(),
                ..options(COMPRESSORS[compressor], BLOCK_SIZES[block_size])
            };
            let image = Image::write(&tree, &options);
            let found = seen_by_reader(&image.reader()).unwrap();
            assert_same(&found, &seen_in_tree(&tree), "random tree");
            Ok(())
        })
        .unwrap();
}
