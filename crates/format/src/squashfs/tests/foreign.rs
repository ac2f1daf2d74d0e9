//! What our reader sees in images that others made.

use std::path::Path;
use std::process::Command;

use super::cases::{noise, text};
use super::{assert_same, have, run, seen_by_reader, seen_on_disk};
use crate::squashfs::{Compressor, Reader};
use bake_tree::Content;

/// A tree on disk that needs no privilege.
fn source(directory: &Path) {
    for at in 0..400 {
        let sub = directory.join(format!("d{}", at % 7));
        std::fs::create_dir_all(&sub).unwrap();
        std::fs::write(sub.join(format!("file {at}")), text(at * 20, at as u64)).unwrap();
    }
    let large = directory.join(format!("d{}", "x".repeat(254)));
    std::fs::create_dir(&large).unwrap();
    for at in 0..1000 {
        std::fs::write(large.join(format!("{at:0200}")), b"").unwrap();
    }
    for len in [4095, 4096, 4097, 131_072, 131_073, 500_000] {
        std::fs::write(directory.join(format!("text{len}")), text(len, 1)).unwrap();
        std::fs::write(directory.join(format!("noise{len}")), noise(len, 1)).unwrap();
        std::fs::write(directory.join(format!("zero{len}")), vec![0; len]).unwrap();
    }
    std::fs::copy(directory.join("text500000"), directory.join("copy")).unwrap();
    std::fs::hard_link(directory.join("text500000"), directory.join("link")).unwrap();
    std::os::unix::fs::symlink("copy", directory.join("symlink")).unwrap();
    for (name, len) in [
        ("text4095", 5),
        ("d0", 5),
        ("noise4096", 300),
        ("text4097", 300),
    ] {
        let value = noise(len, 7);
        let path = directory.join(name);
        let set = rustix::fs::setxattr(&path, "user.test", &value, rustix::fs::XattrFlags::empty());
        if let Err(error) = set {
            println!("without attributes: {error}");
        }
    }
}

fn open(path: &Path) -> Reader {
    let bytes = std::fs::read(path).unwrap();
    assert!(Reader::probe(&Content::bytes(bytes.clone())));
    Reader::open(Content::bytes(bytes)).unwrap()
}

#[test]
fn images_of_mksquashfs_are_read() {
    if !have("mksquashfs") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    source(&tree);
    let expected = seen_on_disk(&tree, true);
    let runs: &[(&[&str], Compressor)] = &[
        (&["-comp", "gzip"], Compressor::Gzip { level: 9 }),
        (
            &["-comp", "gzip", "-Xcompression-level", "4", "-b", "4K"],
            Compressor::Gzip { level: 4 },
        ),
        (&["-comp", "xz", "-always-use-fragments"], Compressor::Xz),
        (
            &[
                "-comp",
                "xz",
                "-Xbcj",
                "x86",
                "-Xdict-size",
                "50%",
                "-b",
                "1M",
            ],
            Compressor::Xz,
        ),
        (&["-comp", "zstd"], Compressor::Zstd { level: 15 }),
        (
            &[
                "-comp",
                "zstd",
                "-Xcompression-level",
                "19",
                "-b",
                "64K",
                "-no-fragments",
            ],
            Compressor::Zstd { level: 19 },
        ),
        (
            &[
                "-comp",
                "zstd",
                "-noI",
                "-noId",
                "-noD",
                "-noF",
                "-noX",
                "-no-sparse",
            ],
            Compressor::Zstd { level: 15 },
        ),
        (
            &["-comp", "zstd", "-no-exports", "-no-duplicates", "-nopad"],
            Compressor::Zstd { level: 15 },
        ),
    ];
    for (at, (arguments, compressor)) in runs.iter().enumerate() {
        let image = work.path().join(format!("image{at}"));
        let mut make = Command::new("mksquashfs");
        make.arg(&tree).arg(&image).args(["-no-progress", "-quiet"]);
        run(make.args(*arguments));
        let reader = open(&image);
        let what = arguments.join(" ");
        assert_same(&seen_by_reader(&reader).unwrap(), &expected, &what);
        assert_eq!(reader.facts().compressor, *compressor, "{what}");
        assert_eq!(reader.facts().exportable, !what.contains("-no-exports"));
        let numbers = 1..=reader.facts().inodes;
        let by_number = numbers.map(|number| reader.by_number(number).is_ok());
        assert!(by_number.eq((0..reader.facts().inodes).map(|_| reader.facts().exportable)));
    }
}

#[test]
fn images_of_tar2sqfs_are_read() {
    if !have("tar2sqfs") || !have("tar") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    source(&tree);
    let archive = work.path().join("tar");
    run(Command::new("tar")
        .args(["--xattrs", "--format=posix", "--sort=name", "-C"])
        .arg(&tree)
        .arg("-cf")
        .arg(&archive)
        .arg("."));
    let mut expected = seen_on_disk(&tree, true);
    for compressor in ["gzip", "xz", "zstd"] {
        let image = work.path().join(compressor);
        run(Command::new("tar2sqfs")
            .args(["-q", "-c", compressor])
            .arg(&image)
            .stdin(std::fs::File::open(&archive).unwrap()));
        let mut found = seen_by_reader(&open(&image)).unwrap();
        // It counts no subdirectories.
        for seen in [&mut found, &mut expected] {
            for facets in seen
                .values_mut()
                .filter(|facets| facets.kind == "directory")
            {
                facets.links = 0;
            }
        }
        assert_same(&found, &expected, compressor);
    }
}

#[test]
fn other_compressors_are_named() {
    if !have("mksquashfs") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    for compressor in ["lz4", "lzo"] {
        let image = work.path().join(compressor);
        run(Command::new("mksquashfs")
            .arg("/dev/null")
            .arg(&image)
            .args(["-comp", compressor, "-no-progress", "-quiet"]));
        let error = Reader::open(Content::bytes(std::fs::read(&image).unwrap())).unwrap_err();
        assert!(format!("{error:#}").contains(compressor), "{error:#}");
    }
}
