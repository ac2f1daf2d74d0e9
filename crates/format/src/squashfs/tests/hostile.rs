//! Images that were cut, flipped or crafted: errors, never a panic, never without end.

use std::sync::atomic::AtomicU64;

use anyhow::Result;

use super::cases::{CASES, file, meta, next, noise, text};
use super::{COMPRESSORS, Image, options, seen_by_reader};
use crate::squashfs::format::{InodeHeader, Superblock};
use crate::squashfs::writer::write_checked;
use crate::squashfs::{Compressor, Reader, describe};
use bake_tree::{Content, Follow, Look, Meta, Node, Tree, Xattrs};

/// Something of everything, small.
fn tree() -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    let xattrs = Xattrs::new()
        .with(b"security.selinux", b"system_u:object_r:bin_t:s0")
        .with(b"user.long", &noise(200, 1));
    let labelled = Meta { xattrs, ..meta() };
    let other = Meta {
        xattrs: labelled.xattrs.with(b"user.more", b"more"),
        ..meta()
    };
    for at in 0..12 {
        let directory = tree.make_directories(&format!("d{}/e/f", at % 3), &labelled);
        tree.create(
            directory,
            &format!("file{at}"),
            other.clone(),
            file(text(at * 900, 1)),
        );
    }
    for at in 0..40 {
        let directory = tree.make_directories("large", &meta());
        tree.create(directory, &format!("{at:0250}"), meta(), file(Vec::new()));
    }
    tree.create(Tree::ROOT, "noise", meta(), file(noise(9000, 2)));
    tree.create(Tree::ROOT, "holes", meta(), file(vec![0; 20_000]));
    tree.create(Tree::ROOT, "char", meta(), Node::CharDevice(1, 3));
    tree.create(Tree::ROOT, "fifo", labelled.clone(), Node::Fifo);
    let link = tree.create(
        Tree::ROOT,
        "link",
        labelled,
        Node::Symlink((*b"d0/e").into()),
    );
    tree.link(Tree::ROOT, b"link2", link);
    tree
}

/// An image in which nothing is compressed, so that what is changed is what is read.
fn raw_image(tree: &Tree) -> Vec<u8> {
    let out = tempfile::NamedTempFile::new().unwrap();
    // Level 0 of deflate makes everything longer, so all blocks are stored as they are.
    let options = options(Compressor::Gzip { level: 0 }, 4096);
    write_checked(tree, &options, out.as_file(), 0, &|_| ()).unwrap();
    std::fs::read(out.path()).unwrap()
}

/// Reads all there is, in every way there is.
fn read_everything(image: Vec<u8>) -> Result<()> {
    let reader = Reader::open(Content::bytes(image))?;
    let mut result = describe(&reader, &mut std::io::sink());
    // Also what is behind the first error.
    let mut note = |other: Result<()>| {
        if result.is_ok() {
            result = other;
        }
    };
    note(seen_by_reader(&reader).map(drop));
    for number in 1..=reader.facts().inodes.min(200) {
        note(reader.by_number(number).and_then(|entry| {
            reader.xattrs(&entry)?;
            if let Ok(names) = reader.read_dir(&entry) {
                names.take(1000).try_for_each(|name| name.map(drop))?;
            }
            if reader.read(&entry).is_ok() {
                reader.to_vec(&entry, 1 << 20)?;
            }
            Ok(())
        }));
    }
    for path in [
        "link/f/file0",
        "link2",
        "large/x",
        "d1/e/f/file4",
        "noise/..",
    ] {
        note(reader.lookup(path, Follow::Last).map(drop));
    }
    let middle = format!("large/{:0250}", 20);
    note(reader.lookup(middle, Follow::Last).map(drop));
    result
}

#[test]
fn flipped_bytes_are_errors_or_other_contents() {
    let mut images: Vec<Vec<u8>> = COMPRESSORS
        .iter()
        .map(|compressor| Image::write(&tree(), &options(*compressor, 4096)).bytes())
        .collect();
    images.push(raw_image(&tree()));
    let mut state = 1;
    for image in images {
        read_everything(image.clone()).unwrap();
        let mut errors = 0;
        for round in 0..1500 {
            let mut image = image.clone();
            // A third of the rounds on the superblock, the rest on everything.
            let end = if round % 3 == 0 {
                size_of::<Superblock>()
            } else {
                image.len()
            };
            for _ in 0..=next(&mut state) % 3 {
                let at = usize::try_from(next(&mut state)).unwrap() % end;
                image[at] = match next(&mut state) % 4 {
                    0 => 0,
                    1 => 0xff,
                    2 => image[at] ^ 1 << (next(&mut state) % 8),
                    _ => next(&mut state).to_le_bytes()[0],
                };
            }
            errors += u32::from(read_everything(image).is_err());
        }
        assert!(errors > 300, "only {errors} of 1500 changes were noticed");
    }
}

#[test]
fn images_cut_short_are_errors() {
    for compressor in COMPRESSORS {
        let image = Image::write(&tree(), &options(compressor, 4096)).bytes();
        let used = usize::try_from(
            Reader::open(Content::bytes(image.clone()))
                .unwrap()
                .facts()
                .bytes_used,
        )
        .unwrap();
        for len in (0..used).step_by(37).chain([used - 1]) {
            assert!(read_everything(image[..len].to_vec()).is_err(), "{len}");
        }
        read_everything(image[..used].to_vec()).unwrap();
    }
}

#[test]
fn what_is_no_image_is_refused() {
    for bytes in [&b""[..], b"hsqs", &[0; 96], &[0xff; 4096]] {
        let content = Content::bytes(bytes);
        assert_eq!(Reader::probe(&content), bytes == b"hsqs");
        assert!(Reader::open(content).is_err());
    }
}

/// Positions of `needle` in `image`.
fn positions(image: &[u8], needle: &[u8]) -> Vec<usize> {
    image
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| *window == needle)
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn a_directory_inside_itself_ends_the_walk() {
    // "b" is a directory in directory "a"; its listing entry is made to name "a".
    let mut tree = Tree::new(Meta::root(0o755));
    tree.make_directories("aaaa/bbbb", &meta());
    let mut image = raw_image(&tree);
    let reader = Reader::open(Content::bytes(image.clone())).unwrap();
    let number = |path| reader.lookup(path, Follow::Last).unwrap().unwrap().number;
    let (outer, inner) = (number("aaaa"), number("aaaa/bbbb"));
    // Of an entry's eight bytes before the name: offset of the inode, distance of its number.
    let [outer_name] = positions(&image, b"aaaa")[..] else {
        panic!()
    };
    let [inner_name] = positions(&image, b"bbbb")[..] else {
        panic!()
    };
    image.copy_within(outer_name - 8..outer_name - 6, inner_name - 8);
    let delta = i16::try_from(i64::from(outer) - i64::from(inner)).unwrap();
    image[inner_name - 6..inner_name - 4].copy_from_slice(&delta.to_le_bytes());
    let reader = Reader::open(Content::bytes(image)).unwrap();
    let error = format!("{:#}", reader.walk(|_, _| Ok(())).unwrap_err());
    assert!(error.contains("/aaaa/bbbb has another name"), "{error}");
}

#[test]
fn names_out_of_order_or_with_slashes_are_refused() {
    for (name, with, told) in [
        (b"bbbb", b"aaaa", "comes after"),
        (b"bbbb", b"a\0aa", "can't be a name"),
        (b"bbbb", b"../x", "can't be a name"),
    ] {
        let mut tree = Tree::new(Meta::root(0o755));
        for name in ["aaaa", "bbbb", "cccc"] {
            tree.create(Tree::ROOT, name, meta(), Node::Fifo);
        }
        let mut image = raw_image(&tree);
        let [at] = positions(&image, name)[..] else {
            panic!()
        };
        image[at..at + 4].copy_from_slice(with);
        let reader = Reader::open(Content::bytes(image)).unwrap();
        let error = format!("{:#}", reader.walk(|_, _| Ok(())).unwrap_err());
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_huge_file_in_a_small_image_costs_nothing() {
    let mut tree = Tree::new(Meta::root(0o755));
    let id = tree.create(Tree::ROOT, "zeros", meta(), file(vec![0; 0x1234_5000]));
    assert_eq!(id.index(), 1);
    let mut image = raw_image(&tree);
    let at = positions(&image, &0x1234_5000u64.to_le_bytes());
    let [at] = at[..] else { panic!("{at:?}") };
    assert!(at > size_of::<InodeHeader>());
    image[at..at + 8].copy_from_slice(&(!0xfff_u64).to_le_bytes());
    let reader = Reader::open(Content::bytes(image)).unwrap();
    let entry = reader.lookup("zeros", Follow::Last).unwrap().unwrap();
    assert!(reader.to_vec(&entry, 1 << 30).is_err());
    let read = AtomicU64::new(0);
    let mut contents = reader.read(&entry).unwrap();
    let mut buffer = [0; 65_536];
    let error = loop {
        match std::io::Read::read(&mut contents, &mut buffer) {
            Ok(0) => panic!("the end of 16 EiB"),
            Ok(count) => read.fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed),
            Err(error) => break error,
        };
    };
    // The size words end where the table does, and what follows is taken for sizes of blocks.
    assert!(read.into_inner() >= 0x1234_5000, "{error}");
    assert!(
        std::io::Read::read(&mut contents, &mut buffer).is_err(),
        "errors stay"
    );
}

#[test]
fn every_case_survives_changes_in_its_tables() {
    let mut state = 7;
    for (_, case) in CASES.iter().filter(|(name, _)| !name.contains("far apart")) {
        let mut image = raw_image(&case(4096));
        let tables = Reader::open(Content::bytes(image.clone())).unwrap();
        let tables = usize::try_from(tables.facts().bytes_used).unwrap();
        for _ in 0..3 {
            let at = tables.saturating_sub(1 + usize::try_from(next(&mut state) % 20_000).unwrap());
            image[at] ^= 0xff;
            let _ = read_everything(image.clone());
        }
    }
}
