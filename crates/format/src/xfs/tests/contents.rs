//! Contents: where they lie, holes, copying.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use super::cases::{file, pattern};
use super::round_trip::assert_comes_back;
use super::seen::{assert_same, in_tree, on_disk};
use super::{Image, Mount, Options, can_mount, small};
use crate::xfs::{Extent, Holes, Layout};
use bake_tree::{Content, InodeId, Meta, Node, Tree, Xattrs};

/// A sparse file of `extents` blocks with a hole of a block behind each, and what are its holes.
fn comb(extents: u64) -> (Content, Holes) {
    let source = tempfile::tempfile().unwrap();
    source.set_len(extents * 8192).unwrap();
    for index in 0..extents {
        source
            .write_all_at(&(index + 1).to_be_bytes(), index * 8192 + index % 4000)
            .unwrap();
    }
    let holes = (0..extents)
        .map(|index| index * 8192 + 4096..(index + 1) * 8192)
        .collect();
    (Content::range(Arc::new(source), 0, extents * 8192), holes)
}

/// Checks that the extents hold the contents, and that what they leave out is zero.
fn check_extents(layout: &Layout<'_>, image: &File, id: InodeId, content: &Content) {
    let mut at = 0;
    let expect_zeros = |start: u64, end: u64| {
        let mut bytes = vec![0; usize::try_from((end - start).min(1 << 20)).unwrap()];
        content.read_at(start, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0), "{start}..{end}");
    };
    for extent in layout.extents(id) {
        let Extent {
            file_offset,
            image_offset,
            len,
        } = extent;
        expect_zeros(at, file_offset);
        let mut stored = vec![0; usize::try_from(len).unwrap()];
        let mut expected = stored.clone();
        image.read_exact_at(&mut stored, image_offset).unwrap();
        content.read_at(file_offset, &mut expected).unwrap();
        assert!(stored == expected, "{extent:?}");
        at = file_offset + len;
    }
    expect_zeros(at, content.len());
}

#[test]
fn trees_of_extents() {
    let mut tree = Tree::new(Meta::root(0o755));
    let mut holes: BTreeMap<InodeId, Holes> = BTreeMap::new();
    // The smallest data fork, the usual one, the largest: they hold 3, 12 and 21 extents, or roots
    // of 3, 11 and 20 leaves of 251.
    let smallest = Xattrs::new()
        .with(b"trusted.a", &[1; 255])
        .with(b"trusted.b", &[1; 10]);
    let usual = Xattrs::new().with(b"trusted.a", &[1; 100]);
    let counts: [(&str, Xattrs, &[u64]); 3] = [
        ("smallest", smallest, &[3, 4, 251, 252, 753, 754]),
        ("usual", usual, &[11, 12, 13, 2761, 2762]),
        (
            "largest",
            Xattrs::new(),
            &[20, 21, 22, 251, 252, 502, 503, 5020, 5021],
        ),
    ];
    for (name, xattrs, counts) in counts {
        for count in counts {
            let meta = Meta {
                xattrs: xattrs.clone(),
                ..Meta::root(0o644)
            };
            let (content, gaps) = comb(*count);
            let node = Node::File(content);
            let id = tree.create(Tree::ROOT, &format!("{name}-{count}"), meta, node);
            holes.insert(id, gaps);
        }
    }
    let options = Options {
        size_bytes: 512 << 20,
        ..small()
    };
    check_holes(&tree, &options, &holes);
}

#[test]
fn a_tree_of_extents_with_two_nodes() {
    let mut tree = Tree::new(Meta::root(0o755));
    // A node has 251 leaves of 251.
    let (content, gaps) = comb(63_100);
    let id = tree.create(Tree::ROOT, "file", Meta::root(0o644), Node::File(content));
    let options = Options {
        size_bytes: 512 << 20,
        ..small()
    };
    check_holes(&tree, &options, &BTreeMap::from([(id, gaps)]));
}

/// Writes with holes, asks the referees, and checks extents.
fn check_holes(tree: &Tree, options: &Options, holes: &BTreeMap<InodeId, Holes>) {
    let of = |id: InodeId| holes.get(&id).cloned().unwrap_or_default();
    let layout = Layout::plan_with_holes(tree, options, &of).unwrap();
    let image = Image::of(&layout);
    let out = File::open(image.path()).unwrap();
    for id in holes.keys() {
        let Node::File(content) = &tree.inode(*id).node else {
            panic!("only files have holes");
        };
        check_extents(&layout, &out, *id, content);
    }
    assert_comes_back(&image, tree, "holes");
    if image.is_clean() && can_mount() {
        let mount = Mount::read_only(&image);
        assert_same(&on_disk(&mount.0), &in_tree(tree), "holes");
    }
}

/// Length of a file, its holes, and the offsets and lengths of its extents, in bytes.
type HoleCase = (
    &'static str,
    u64,
    &'static [[u64; 2]],
    &'static [(u64, u64)],
);

const HOLE_CASES: [HoleCase; 9] = [
    ("empty", 0, &[], &[]),
    ("no holes", 5000, &[], &[(0, 5000)]),
    ("all", 12_288, &[[0, 12_288]], &[]),
    ("all and a part of a block", 8193, &[[0, 8193]], &[]),
    ("beyond the end", 8193, &[[4096, u64::MAX]], &[(0, 4096)]),
    ("start", 8193, &[[0, 4096]], &[(4096, 4097)]),
    ("within a block", 8192, &[[1, 4096]], &[(0, 8192)]),
    (
        "not whole blocks",
        12_288,
        &[[1, 12_287]],
        &[(0, 4096), (8192, 4096)],
    ),
    (
        "side by side",
        16_384,
        &[[4096, 8192], [8192, 12_288]],
        &[(0, 4096), (12_288, 4096)],
    ),
];

#[test]
fn holes_at_the_edges() {
    let mut tree = Tree::new(Meta::root(0o755));
    let mut holes: BTreeMap<InodeId, Holes> = BTreeMap::new();
    for (name, len, gaps, _) in HOLE_CASES {
        let mut bytes = vec![0x5a; usize::try_from(len).unwrap()];
        for [start, end] in gaps {
            let end = usize::try_from((*end).min(len)).unwrap();
            bytes[usize::try_from(*start).unwrap()..end].fill(0);
        }
        let id = tree.create(Tree::ROOT, name, Meta::root(0o644), file(bytes));
        holes.insert(id, gaps.iter().map(|[start, end]| *start..*end).collect());
    }
    let options = small();
    let of = |id: InodeId| holes.get(&id).cloned().unwrap_or_default();
    let layout = Layout::plan_with_holes(&tree, &options, &of).unwrap();
    for (name, _, _, expected) in HOLE_CASES {
        let found: Vec<(u64, u64)> = layout
            .extents(tree.lookup(name).unwrap())
            .iter()
            .map(|extent| (extent.file_offset, extent.len))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
    check_holes(&tree, &options, &holes);
}

#[test]
fn a_file_larger_than_the_disk_with_a_hole() {
    let source = tempfile::tempfile().unwrap();
    let len = 100 << 30;
    source.set_len(len).unwrap();
    source.write_all_at(b"start", 0).unwrap();
    source.write_all_at(b"middle", 70 << 30).unwrap();
    let mut tree = Tree::new(Meta::root(0o755));
    let content = Content::range(Arc::new(source), 0, len);
    let id = tree.create(Tree::ROOT, "file", Meta::root(0o644), Node::File(content));
    let of = |_| vec![4096..70 << 30, (70 << 30) + 4096..len];
    let image = Image::write_with_holes(&tree, &small(), &of);
    if image.is_clean() && can_mount() {
        let mount = Mount::read_only(&image);
        let found = File::open(mount.0.join("file")).unwrap();
        let status = found.metadata().unwrap();
        assert_eq!((status.len(), status.blocks()), (len, 16));
        let mut bytes = [0; 8];
        found.read_exact_at(&mut bytes, (70 << 30) - 1).unwrap();
        assert_eq!(&bytes, b"\0middle\0");
    }
    let layout = Layout::plan_with_holes(&tree, &small(), &of).unwrap();
    assert_eq!(layout.extents(id).len(), 2);
}

#[test]
fn contents_come_from_files_and_go_to_offsets() {
    let bytes = pattern(3 << 20, 9);
    let source = tempfile::tempfile().unwrap();
    source.write_all_at(&bytes, 12_345).unwrap();
    let source = Arc::new(source);
    let mut tree = Tree::new(Meta::root(0o755));
    let range = |offset: u64, len| Content::range(Arc::clone(&source), 12_345 + offset, len);
    let mut add = |name, content| {
        tree.create(Tree::ROOT, name, Meta::root(0o644), Node::File(content));
    };
    add("large", range(0, 3 << 20));
    add("odd", range(77, 100_001));
    add("memory", Content::bytes(bytes[5..70_000].to_vec()));
    let options = small();
    let layout = Layout::plan(&tree, &options).unwrap();
    let image = Image::of(&layout);
    let out = File::open(image.path()).unwrap();
    for (_, id) in tree.children(Tree::ROOT) {
        let Node::File(content) = &tree.inode(id).node else {
            panic!("all are files");
        };
        check_extents(&layout, &out, id, content);
    }
    // Behind something else, and where nothing is but zeros: into memory's file system, into which
    // the kernel may not copy from the disk's.
    let shifted = File::create_new(image.directory.path().join("shifted")).unwrap();
    let offset = 1 << 20;
    layout
        .write(&shifted, offset, &crate::progress::Silent)
        .unwrap();
    let shifted = File::open(image.directory.path().join("shifted")).unwrap();
    let mut start = 0;
    while start < options.size_bytes {
        let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        out.read_exact_at(&mut a, start).unwrap();
        shifted.read_exact_at(&mut b, offset + start).unwrap();
        assert!(
            a == b,
            "the image at {start} differs from one at another offset"
        );
        start += 1 << 20;
    }
    let used = out.metadata().unwrap().blocks() * 512;
    assert!(
        used < 8 << 20,
        "{used} bytes are taken by 3 MiB of contents"
    );
}

#[test]
fn a_source_that_is_too_short_is_an_error() {
    let source = tempfile::tempfile().unwrap();
    source.set_len(5000).unwrap();
    let mut tree = Tree::new(Meta::root(0o755));
    let content = Content::range(Arc::new(source), 0, 10_000);
    tree.create(Tree::ROOT, "short", Meta::root(0o644), Node::File(content));
    let out = tempfile::tempfile().unwrap();
    let layout = Layout::plan(&tree, &small()).map(|layout| {
        let error = layout.write(&out, 0, &crate::progress::Silent).unwrap_err();
        let message = format!("{error:#}");
        assert!(
            message.starts_with("writing /short: reading its contents"),
            "{message}"
        );
    });
    assert!(layout.is_ok());
    // What is left is no file system.
    let mut magic = [0; 4];
    out.read_exact_at(&mut magic, 0).unwrap();
    assert_eq!(magic, [0; 4]);
}
