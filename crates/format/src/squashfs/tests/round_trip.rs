//! What is written comes back, and it is the same bytes each time.

use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::xxh3_128;

use super::cases::{CASES, deep, directory_of, file, meta, noise, text, xattr_sizes};
use super::{COMPRESSORS, Image, all_options, assert_same, options, seen_by_reader, seen_in_tree};
use crate::squashfs::{Compressor, Options, describe};
use bake_tree::{Follow, Kind, Look, Meta, Node, Tree, Xattrs};

#[test]
fn every_case_comes_back() {
    for options in all_options() {
        for (name, case) in CASES {
            let tree = case(usize::try_from(options.block_size).unwrap());
            let image = Image::write(&tree, &options);
            let what = format!("{name}, {} in {}", options.compressor, options.block_size);
            let found = seen_by_reader(&image.reader()).expect(&what);
            assert_same(&found, &seen_in_tree(&tree), &what);
        }
    }
}

#[test]
fn the_superblock_says_what_was_asked() {
    for options in all_options() {
        let image = Image::write(&directory_of(300, 8), &options);
        let reader = image.reader();
        let facts = reader.facts();
        assert_eq!(facts.compressor, options.compressor);
        assert_eq!(facts.block_size, options.block_size);
        assert_eq!(facts.time, options.time);
        assert_eq!(facts.inodes, 303);
        assert_eq!(facts.fragments, image.written.fragments);
        assert!(facts.exportable && !facts.has_xattrs);
        assert_eq!(facts.bytes_used.next_multiple_of(4096), image.written.bytes);
    }
}

#[test]
fn the_image_is_the_same_for_any_number_of_threads() {
    for compressor in COMPRESSORS {
        for (name, case) in CASES.iter().take(7) {
            let tree = case(4096);
            let mut images = [1, 2, 5].map(|threads| {
                let options = Options {
                    threads: NonZeroUsize::new(threads).unwrap(),
                    ..options(compressor, 4096)
                };
                Image::write(&tree, &options).bytes()
            });
            let first = images[0].clone();
            assert!(
                images.iter().all(|image| *image == first),
                "{name} with {compressor}"
            );
            images[2][100] ^= 1;
            assert!(
                images.iter().any(|image| *image != first),
                "the comparison can't fail"
            );
        }
    }
}

/// A change here means that every image changes: say so in the changelog.
#[test]
fn images_are_what_they_were() {
    let mut tree = Tree::new(Meta::root(0o755));
    let directory = tree.make_directories("usr/bin", &meta());
    tree.create(directory, "text", meta(), file(text(300_000, 1)));
    tree.create(directory, "noise", meta(), file(noise(200_000, 2)));
    tree.create(directory, "small", meta(), file(text(1000, 3)));
    let label = Xattrs::new().with(b"security.selinux", b"system_u:object_r:bin_t:s0");
    let labelled = Meta {
        xattrs: label,
        ..meta()
    };
    let link = tree.create(
        directory,
        "link",
        labelled,
        Node::Symlink((*b"text").into()),
    );
    tree.link(Tree::ROOT, b"link", link);
    let digests = COMPRESSORS.map(|compressor| {
        let image = Image::write(&tree, &options(compressor, 128 << 10));
        format!("{compressor} {:032x}", xxh3_128(&image.bytes()))
    });
    assert_eq!(
        digests,
        [
            "zstd:3 ab2b4f9f895d1a07f24bebc925c6454e",
            "zstd:15 a729750820259ffc67899fa0642d111f",
            "gzip:9 969ba86ab3c6b5ffa683677b35e0c02e",
            "xz b44cfd7fe1efb248e563e83a44dd3abb",
        ]
    );
}

#[test]
fn an_image_can_start_anywhere_in_a_file() {
    let tree = directory_of(300, 30);
    let options = options(Compressor::default(), 4096);
    let plain = Image::write(&tree, &options).bytes();
    let shifted = Image::write_at(&tree, &options, 124);
    assert_eq!(shifted.bytes()[124..], plain);
    assert_same(
        &seen_by_reader(&shifted.reader()).unwrap(),
        &seen_in_tree(&tree),
        "at 124",
    );
}

#[test]
fn what_was_there_before_is_overwritten_as_far_as_the_image_reaches() {
    let tree = directory_of(300, 30);
    let options = options(Compressor::default(), 4096);
    let image = Image::write(&tree, &options);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&vec![0xaa; image.bytes().len() + 10], 0)
        .unwrap();
    let written = super::write(&tree, &options, &file, 5, &|_| ()).unwrap();
    let mut bytes = vec![0; image.bytes().len() + 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let end = usize::try_from(written.bytes).unwrap() + 5;
    assert_eq!(bytes[..5], [0xaa; 5]);
    assert_eq!(bytes[5..end], image.bytes());
    assert_eq!(bytes[end..], [0xaa; 5]);
}

#[test]
fn equal_contents_are_stored_once() {
    for options in all_options() {
        let block = usize::try_from(options.block_size).unwrap();
        for len in [10, block / 2, block, 3 * block + 100] {
            let bytes = noise(len, 1);
            let mut tree = Tree::new(Meta::root(0o755));
            tree.create(Tree::ROOT, "a", meta(), file(bytes.clone()));
            let one = Image::write(&tree, &options);
            for name in ["b", "c", "d"] {
                tree.create(Tree::ROOT, name, meta(), file(bytes.clone()));
            }
            let four = Image::write(&tree, &options);
            assert_eq!(one.written.data_bytes, four.written.data_bytes, "{len}");
            assert_eq!(four.written.duplicates, 3);
            assert_eq!(four.written.duplicate_bytes, 3 * len as u64);
        }
    }
}

#[test]
fn long_values_of_xattrs_are_stored_once() {
    let image = Image::write(
        &xattr_sizes(0),
        &options(Compressor::Zstd { level: 3 }, 4096),
    );
    // 129 + 8191 + 8192 + 8193 + 20000 + 65536 bytes of noise; three times would be 330000.
    assert!(
        image.written.metadata_bytes < 130_000,
        "{:?}",
        image.written
    );
}

#[test]
fn seventy_thousand_inodes_and_as_many_owners_as_there_can_be() {
    let mut tree = Tree::new(Meta::root(0o755));
    for at in 0..70_000u32 {
        let directory = tree.make_directories(&format!("{:02}", at % 64), &Meta::root(0o755));
        let owned = Meta {
            // With root's 0 these are 65535.
            uid: at % 32_767 + 1,
            gid: 100_000 + at % 32_767,
            ..meta()
        };
        tree.create(directory, &format!("{at}"), owned, file(Vec::new()));
    }
    let image = Image::write(&tree, &options(Compressor::Zstd { level: 1 }, 4096));
    assert_eq!(image.reader().facts().owners, 65_535);
    let found = seen_by_reader(&image.reader()).unwrap();
    assert_same(&found, &seen_in_tree(&tree), "many owners");

    let directory = tree.lookup("00").unwrap();
    let owned = Meta {
        uid: 999_999,
        ..meta()
    };
    tree.create(directory, "one more", owned, file(Vec::new()));
    let out = tempfile::tempfile().unwrap();
    let options = options(Compressor::Zstd { level: 1 }, 4096);
    let error = super::write(&tree, &options, &out, 0, &|_| ()).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("placing /") && error.contains("65535"),
        "{error}"
    );
}

#[test]
fn directories_can_be_as_deep_as_a_path_is_long() {
    let options = options(Compressor::Zstd { level: 1 }, 4096);
    let tree = deep(2046);
    let image = Image::write(&tree, &options);
    let found = seen_by_reader(&image.reader()).unwrap();
    assert_same(&found, &seen_in_tree(&tree), "deep");

    let image = Image::write(&deep(2048), &options);
    let error = format!("{:#}", seen_by_reader(&image.reader()).unwrap_err());
    assert!(error.contains("more than 2048 directories"), "{error}");
}

#[test]
fn every_name_is_found_by_lookup_and_by_number() {
    for tree in [directory_of(20_000, 30), directory_of(250, 255)] {
        let image = Image::write(&tree, &options(Compressor::Zstd { level: 1 }, 4096));
        let reader = image.reader();
        let mut count = 0;
        tree.walk(|path, _| {
            let entry = reader.lookup(path, Follow::NotLast).unwrap();
            let entry = entry.unwrap_or_else(|| panic!("no {}", path.escape_ascii()));
            let again = reader.by_number(entry.number).unwrap();
            assert_eq!(again.number, entry.number);
            count += 1;
        });
        assert_eq!(count, tree.len());
        for missing in [
            "large/0",
            "large/~",
            "large/00000000000000000000000000001",
            "nothing",
        ] {
            assert!(
                reader.lookup(missing, Follow::Last).unwrap().is_none(),
                "{missing}"
            );
        }
        assert!(reader.by_number(0).is_err());
        assert!(
            reader
                .by_number(u32::try_from(tree.len() + 1).unwrap())
                .is_err()
        );
    }
}

#[test]
fn lookups_follow_symlinks_as_the_kernel_does() {
    let mut tree = Tree::new(Meta::root(0o755));
    let lib = tree.make_directories("root/usr/lib", &meta());
    tree.create(lib, "file", meta(), file(b"file".to_vec()));
    let links: &[(&str, &str)] = &[
        ("root/lib", "usr/lib"),
        ("root/absolute", "/usr/lib/file"),
        ("root/up", "../../../../root/usr/lib/file"),
        ("root/chain", "lib/../../lib/./file"),
        ("root/loop", "loop2"),
        ("root/loop2", "loop"),
        ("root/dangling", "nothing"),
        ("root/slash", "usr/lib/file/"),
    ];
    for (path, target) in links {
        let (directory, name) = path.rsplit_once('/').unwrap();
        let directory = tree.lookup(directory).unwrap();
        let target = Node::Symlink(target.as_bytes().into());
        tree.create(directory, name, meta(), target);
    }
    let image = Image::write(&tree, &options(Compressor::Zstd { level: 1 }, 4096));
    let reader = image.reader();
    let root = reader.lookup("root", Follow::Last).unwrap().unwrap();
    let in_image = |path| reader.lookup(path, Follow::Last);
    let below = |path| reader.lookup_below(&root, path, Follow::Last);
    let contents =
        |entry: Option<crate::squashfs::Entry>| reader.to_vec(&entry.unwrap(), 10).unwrap();
    assert_eq!(contents(in_image("/root/lib/file").unwrap()), b"file");
    assert_eq!(contents(in_image("root/up").unwrap()), b"file");
    assert!(in_image("root/absolute").unwrap().is_none());
    assert_eq!(contents(below("absolute").unwrap()), b"file");
    assert_eq!(contents(below("//lib//file").unwrap()), b"file");
    assert!(below("up").unwrap().is_none());
    assert_eq!(contents(below("../../lib/file").unwrap()), b"file");
    assert!(below("chain").unwrap().is_some());
    for missing in [
        "dangling",
        "slash",
        "usr/lib/file/",
        "usr/lib/file/x",
        "nothing",
    ] {
        assert!(below(missing).unwrap().is_none(), "{missing}");
    }
    assert_eq!(below("usr/lib/").unwrap().unwrap().kind, Kind::Directory);
    assert_eq!(below("").unwrap().unwrap().number, root.number);
    let error = format!("{:#}", below("loop").unwrap_err());
    assert!(error.contains("symlinks"), "{error}");
    let link = reader
        .lookup("root/loop", Follow::NotLast)
        .unwrap()
        .unwrap();
    assert_eq!(link.kind, Kind::Symlink((*b"loop2").into()));
}

#[test]
fn the_dump_shows_everything_once() {
    let mut tree = Tree::new(Meta::root(0o1777));
    let xattrs = Xattrs::new().with(b"user.a", b"b\0");
    let file = tree.create(
        Tree::ROOT,
        "a file",
        Meta { xattrs, ..meta() },
        file(b"abc".to_vec()),
    );
    tree.link(Tree::ROOT, b"b", file);
    let link = Node::Symlink((*b"a file").into());
    tree.create(Tree::ROOT, "c", Meta::root(0o777), link);
    tree.create(
        Tree::ROOT,
        "d\n",
        Meta::root(0o4600),
        Node::CharDevice(5, 1),
    );
    let image = Image::write(&tree, &options(Compressor::default(), 4096));
    let mut text = Vec::new();
    describe(&image.reader(), &mut text).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "squashfs zstd:15, block size 4096, time 1700000000, 4 inodes, 1 fragments, 3 owners, exportable, xattrs
drwxrwxrwt 2 0:0 0 - /
-rw-r--r-- 2 1000:100 1500000000 3 /a file #1 user.a=\"b\\x00\"
-rw-r--r-- 2 1000:100 1500000000 3 /b #1 user.a=\"b\\x00\"
lrwxrwxrwx 1 0:0 0 6 /c -> a file
crwS------ 1 0:0 0 5,1 /d\\n
"
    );
}

#[test]
fn times_that_do_not_fit_become_the_nearest() {
    let mut tree = Tree::new(Meta::root(0o755));
    for mtime in [-1, i64::MIN, 1 << 32, i64::MAX] {
        let dated = Meta { mtime, ..meta() };
        tree.create(Tree::ROOT, &format!("{mtime}"), dated, Node::Fifo);
    }
    let image = Image::write(&tree, &options(Compressor::default(), 4096));
    let reader = image.reader();
    for (mtime, kept) in [
        (-1, 0),
        (i64::MIN, 0),
        (1 << 32, u32::MAX),
        (i64::MAX, u32::MAX),
    ] {
        let entry = reader.lookup(mtime.to_string(), Follow::Last).unwrap();
        assert_eq!(entry.unwrap().mtime, kept);
    }
}

#[test]
fn inodes_without_a_name_are_left_out() {
    let mut tree = Tree::new(Meta::root(0o755));
    tree.add(meta(), file(noise(100_000, 1)));
    let image = Image::write(&tree, &options(Compressor::default(), 4096));
    assert_eq!(image.written.inodes, 1);
    assert_eq!(image.written.data_bytes, 0);
}

#[test]
fn the_comparison_can_fail() {
    let mut tree = directory_of(10, 5);
    let image = Image::write(&tree, &options(Compressor::default(), 4096));
    let found = seen_by_reader(&image.reader()).unwrap();
    let id = tree.lookup("after").unwrap();
    tree.inode_mut(id).meta.mode ^= 1;
    assert_ne!(found, seen_in_tree(&tree));
    tree.inode_mut(id).meta.mode ^= 1;
    assert_eq!(found, seen_in_tree(&tree));
    tree.inode_mut(id).node = file(b"aftex".to_vec());
    assert_ne!(found, seen_in_tree(&tree));
}
