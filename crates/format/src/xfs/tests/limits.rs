//! Sizes: of groups, of inode trees, of file systems; and what is left free.

use super::cases::{self, file, pattern};
use super::round_trip::assert_comes_back;
use super::seen::{assert_same, in_tree, on_disk};
use super::{Image, Mount, Options, all_options, can_mount, small};
use crate::xfs::Layout;
use bake_tree::{Content, Meta, Node, Tree};

/// A tree of `count` inodes and the root.
fn many(count: usize) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    for index in 0..count {
        let parent = tree.make_directories(&format!("{}", index / 200), &Meta::root(0o755));
        if tree.len() > count {
            break;
        }
        let name = format!("{index}");
        tree.create(parent, &name, Meta::root(0o644), Node::Fifo);
    }
    tree
}

#[test]
fn inode_trees_grow_a_level_at_253_chunks() {
    let options = small();
    let chunks = |count| {
        let tree = many(count);
        Layout::plan(&tree, &options).unwrap().groups[0].chunks()
    };
    // The most inodes with which the first group has 252 chunks.
    let (mut few, mut enough) = (16_000, 64_000);
    while enough - few > 1 {
        let middle = (few + enough) / 2;
        match chunks(middle) > 252 {
            true => enough = middle,
            false => few = middle,
        }
    }
    for (count, blocks) in [(few, 0), (enough, 2), (64_000, 3)] {
        let tree = many(count);
        let layout = Layout::plan(&tree, &options).unwrap();
        assert_eq!(layout.groups[0].tree_blocks.len(), blocks, "{count}");
        let image = Image::of(&layout);
        if image.is_clean() && can_mount() {
            let mount = Mount::read_only(&image);
            assert_same(&on_disk(&mount.0), &in_tree(&tree), "many inodes");
        }
    }
}

#[test]
fn inode_numbers_of_more_than_32_bits() {
    let mut tree = many(1000);
    // Directories with names on both sides of the limit, in every form.
    let ids: Vec<_> = tree.children(Tree::ROOT).map(|(_, id)| id).collect();
    let all: Vec<_> = ids
        .iter()
        .flat_map(|id| tree.children(*id).map(|(_, id)| id).collect::<Vec<_>>())
        .collect();
    for count in [1, 2, 10, 20, 21, 22, 100, 600] {
        let directory = tree.make_directories(&format!("mixed-{count}"), &Meta::root(0o755));
        for (index, id) in all.iter().rev().step_by(all.len() / count).enumerate() {
            tree.link(directory, format!("{index}").as_bytes(), *id);
        }
    }
    for agcount in [4, 5] {
        let options = Options {
            size_bytes: 3 << 40,
            agcount,
            ..small()
        };
        let layout = Layout::plan(&tree, &options).unwrap();
        let numbers: Vec<u64> = layout
            .census
            .order
            .iter()
            .map(|id| layout.number(*id))
            .collect();
        assert!(numbers.iter().any(|number| *number > u64::from(u32::MAX)));
        let image = Image::of(&layout);
        assert_comes_back(&image, &tree, "3 TiB");
        if image.is_clean() && can_mount() {
            let mount = Mount::read_only(&image);
            assert_same(&on_disk(&mount.0), &in_tree(&tree), "3 TiB");
        }
    }
}

/// Free blocks of each group in percent of it.
fn free_percents(layout: &Layout<'_>) -> Vec<f64> {
    (0..)
        .zip(&layout.groups)
        .map(|(group, contents)| {
            100.0 * f64::from(contents.free_blocks()) / f64::from(layout.geometry.len(group))
        })
        .collect()
}

/// Files of 1 to 16 MiB, `mib` in all, and small ones among them; nothing of it in memory twice.
fn files(mib: usize) -> Tree {
    let mut tree = many(5000);
    let content = Content::bytes(pattern(16 << 20, 1));
    let mut left = mib;
    for index in 0.. {
        if left == 0 {
            break;
        }
        let size = left.min(index % 16 + 1);
        left -= size;
        let part = content.slice(0, (size as u64) << 20).unwrap();
        let parent = tree.lookup(&format!("{}", index % 20)).unwrap();
        tree.create(
            parent,
            &format!("file-{index}"),
            Meta::root(0o644),
            Node::File(part),
        );
    }
    tree
}

#[test]
fn the_smallest_size_has_headroom_in_every_group() {
    for mib in [0, 200, 500, 1500] {
        let tree = files(mib);
        for options in all_options() {
            let size_bytes = Layout::minimum_bytes(&tree, &options).unwrap();
            let options = Options {
                size_bytes,
                ..options
            };
            let layout = Layout::plan(&tree, &options).unwrap();
            let free = free_percents(&layout);
            assert!(free.iter().all(|free| *free >= 2.0), "{mib} MiB: {free:?}");
            // Not much larger than it needs to be, its log apart.
            let overhead = size_bytes - layout.content_bytes();
            let most = (80 << 20) + size_bytes / 20;
            assert!(
                overhead < most || size_bytes == 300 << 20,
                "{mib} MiB in {size_bytes}"
            );
        }
    }
}

#[test]
fn groups_are_filled_evenly_and_files_lie_in_one_piece() {
    let tree = files(700);
    for options in all_options() {
        let options = Options {
            size_bytes: 1 << 30,
            ..options
        };
        let layout = Layout::plan(&tree, &options).unwrap();
        let free = free_percents(&layout);
        assert!(free.iter().all(|free| *free > 5.0), "{free:?}");
        tree.walk(|path, id| {
            let extents = layout.extents(id);
            assert!(
                extents.len() <= 1,
                "/{} has {extents:?}",
                path.escape_ascii()
            );
        });
    }
}

#[test]
fn full_to_the_last_block() {
    for options in all_options() {
        let plan = |blocks: u64| {
            let content = Content::range(
                std::sync::Arc::new(tempfile::tempfile().unwrap()),
                0,
                blocks * 4096,
            );
            let mut tree = Tree::new(Meta::root(0o755));
            tree.create(Tree::ROOT, "full", Meta::root(0o644), Node::File(content));
            Layout::plan(&tree, &options)
                .map(|layout| {
                    layout
                        .groups
                        .iter()
                        .map(|g| u64::from(g.free_blocks()))
                        .sum::<u64>()
                })
                .ok()
        };
        let (mut fits, mut fails) = (0, options.size_bytes / 4096);
        while fails - fits > 1 {
            let middle = (fits + fails) / 2;
            match plan(middle) {
                Some(_) => fits = middle,
                None => fails = middle,
            }
        }
        // But for the gaps before the inodes of groups that have any.
        let left = plan(fits).unwrap();
        assert!(
            left <= 7 * u64::from(options.agcount),
            "{left} blocks are left"
        );
        let source = tempfile::tempfile().unwrap();
        source.set_len(fits * 4096).unwrap();
        let content = Content::range(std::sync::Arc::new(source), 0, fits * 4096);
        let mut tree = Tree::new(Meta::root(0o755));
        let id = tree.create(Tree::ROOT, "full", Meta::root(0o644), Node::File(content));
        let layout = Layout::plan(&tree, &options).unwrap();
        assert_eq!(layout.extents(id).len(), options.agcount as usize);
        Image::of(&layout).is_clean();
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    let mut tree = files(20);
    tree.create(
        Tree::ROOT,
        "last",
        Meta::root(0o644),
        file(pattern(70_000, 3)),
    );
    let [first, second] = [(), ()].map(|()| {
        let image = Image::write(&tree, &small());
        std::fs::read(image.path()).unwrap()
    });
    assert!(first == second);
}

/// The kernel takes other places, and damages the inode when one of its forks grows.
#[test]
fn forks_leave_room_to_each_other() {
    const FORK_OFFSET_AT: u64 = 0x52;
    for (what, tree) in cases::all() {
        let size_bytes = Layout::minimum_bytes(&tree, &small()).unwrap();
        let options = Options {
            size_bytes,
            ..small()
        };
        let layout = Layout::plan(&tree, &options).unwrap();
        let image = Image::of(&layout);
        let file = std::fs::File::open(image.path()).unwrap();
        for id in &layout.census.order {
            let inode = tree.inode(*id);
            let number = layout.number(*id);
            let (group, place) = (
                number >> (layout.geometry.group_bits + 3),
                number & ((1 << (layout.geometry.group_bits + 3)) - 1),
            );
            let start = group * u64::from(layout.geometry.group_blocks) * 4096 + place * 512;
            let mut found = [0];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, start + FORK_OFFSET_AT)
                .unwrap();
            let is_small = !matches!(
                inode.node,
                Node::File(_) | Node::Directory(_) | Node::Symlink(_)
            );
            let good = match (inode.meta.xattrs.is_empty(), is_small) {
                (true, _) => 0..=0,
                (false, true) => 1..=1,
                (false, false) => 7..=37,
            };
            assert!(
                good.contains(&found[0]),
                "{what}: inode {number} has {found:?}"
            );
        }
    }
}
