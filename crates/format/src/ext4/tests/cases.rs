//! Trees and sizes at the edges of the format.

use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use super::kernel::compare_mounted;
use super::referees::{check, debugfs, run, text};
use super::trees::{file, pattern, varied};
use super::{MIB, image, options};
use crate::ext4::extents::node_count;
use crate::ext4::space::Run;
use crate::ext4::{Layout, Options};
use bake_tree::{Content, Meta, Node, ReadAt, Tree};

#[test]
fn an_empty_tree_is_clean_at_every_size() {
    for mib in [8, 16, 17, 64, 127, 384, 1024, 1025, 4097, 9000] {
        for block_size in [1024, 4096] {
            let tree = Tree::new(Meta::root(0o755));
            println!("{mib} MiB, {block_size}");
            check(image(&tree, &options(mib, block_size)).path());
        }
    }
}

#[test]
fn a_size_that_no_block_divides_leaves_a_rest() {
    let odd = Options {
        size_bytes: 20 * MIB + 4095,
        ..options(0, 4096)
    };
    let tree = Tree::new(Meta::root(0o755));
    assert_eq!(Layout::plan(&tree, &odd).unwrap().size_bytes(), 20 * MIB);
    check(image(&tree, &odd).path());
}

#[test]
fn what_is_zero_is_not_written() {
    let mut tree = Tree::new(Meta::root(0o755));
    let zeros = vec![0; (100 * MIB) as usize];
    file(&mut tree, Tree::ROOT, "zeros", zeros);
    let image = image(&tree, &options(384, 1024));
    let allocated = image.as_file().metadata().unwrap().blocks() * 512;
    // Super blocks and descriptors, bitmaps, a few inodes, the resize inode's blocks.
    assert!(allocated < MIB, "{allocated} bytes");
    compare_mounted(image.path(), &tree);
}

#[test]
fn the_place_in_the_output_changes_nothing() {
    let tree = varied(1024);
    let options = options(64, 1024);
    let alone = image(&tree, &options);
    let within = tempfile::tempfile().unwrap();
    let (offset, len) = (3 * MIB + 512, options.size_bytes);
    within.set_len(offset + len + MIB).unwrap();
    Layout::plan(&tree, &options)
        .unwrap()
        .write(&within, offset)
        .unwrap();
    let read = |file: &std::fs::File, at, len: u64| {
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    assert!(read(&within, offset, len) == read(alone.as_file(), 0, len));
    assert!(read(&within, 0, offset).iter().all(|byte| *byte == 0));
    assert!(
        read(&within, offset + len, MIB)
            .iter()
            .all(|byte| *byte == 0)
    );
}

/// Every 8 bytes say where they are.
#[derive(Debug)]
struct Counting;

impl ReadAt for Counting {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (at, byte) in (offset..).zip(buffer) {
            *byte = (at / 8 + 1).to_le_bytes()[(at % 8) as usize];
        }
        Ok(())
    }
}

/// Past the copies of the super block, the tables of later groups and the journal.
#[test]
fn a_file_across_most_groups_has_a_tree_of_extents() {
    let mut tree = Tree::new(Meta::root(0o755));
    let content = Content::composed(Arc::new(Counting), 330 * MIB + 77);
    let meta = Meta::root(0o644);
    let id = tree.create(Tree::ROOT, "large", meta, Node::File(content));
    for block_size in [1024, 4096] {
        let options = options(384, block_size);
        let extents = Layout::plan(&tree, &options).unwrap().extents(id);
        if block_size == 1024 {
            assert!(extents.len() > 10, "{extents:?}");
        }
        let image = image(&tree, &options);
        check(image.path());
        compare_mounted(image.path(), &tree);
    }
}

/// No plan makes a file of a thousand pieces, so the test makes one: a level above the leaves' own.
#[test]
fn an_extent_tree_of_two_levels_is_read() {
    let blocks = 1000;
    let mut empty = Tree::new(Meta::root(0o755));
    let mut full = empty.clone();
    file(&mut empty, Tree::ROOT, "pieces", Vec::new());
    file(&mut full, Tree::ROOT, "pieces", pattern(blocks * 1024, 1));
    let options = options(64, 1024);
    let mut layout = Layout::plan(&empty, &options).unwrap();
    layout.tree = &full;
    let placed = layout.placed.last_mut().unwrap();
    for nth in 0..blocks as u64 {
        let start = 17_000 + 2 * nth;
        layout.space.take(start, 1);
        placed.blocks.data.push(Run { start, len: 1 });
    }
    for _ in 0..node_count(blocks, 1024) {
        let node = layout.space.allocate_one().unwrap();
        placed.blocks.nodes.push(node);
    }
    assert_eq!(placed.blocks.nodes.len(), 12 + 1);
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(options.size_bytes).unwrap();
    layout.write(image.as_file(), 0).unwrap();
    check(image.path());
    if let Some(said) = debugfs(image.path(), "extents /pieces") {
        assert!(said.contains(" 0/ 2"), "{said}");
    }
    compare_mounted(image.path(), &full);
}

/// The reserved descriptor blocks are there to be used.
#[test]
fn it_can_grow() {
    for block_size in [1024, 4096] {
        let tree = varied(block_size as usize);
        let image = image(&tree, &options(64, block_size));
        image.as_file().set_len(700 * MIB).unwrap();
        let Some(output) = run("resize2fs", &[], image.path()) else {
            return;
        };
        assert!(output.status.success(), "{}", text(&output));
        check(image.path());
        compare_mounted(image.path(), &tree);
    }
}
