//! Broken and malicious images: one clear error each, no panic, no memory without bounds.

use std::io::Cursor;

use proptest::prelude::{ProptestConfig, any, proptest};

use super::super::archive::{Archive, EntryKind};
use super::super::commit::{self, Metadata, Objects, Root};
use super::super::limits::{METADATA_OBJECT_MAX, XATTRS_MAX};
use super::super::object::{self, DirTree};
use super::super::{Checksum, Kind, Limits, Object, ObjectName};
use super::fixture::{
    Format, Image, Tar, base_tree, encapsulate, encapsulate_objects, header, listing, object_path,
};
use crate::tree::Meta;

/// Layers on the small base that cannot be, and what the error says.
#[test]
fn layers_that_cannot_be_are_refused() {
    let deep = format!("usr/{}", "d/".repeat(2045));
    let long = "n".repeat(256);
    let tar = Tar::new;
    for (expected, layer) in [
        ("leads upwards", tar().file("usr/../etc/x", "x")),
        ("leads upwards", tar().link("usr/x", "../../etc/shadow")),
        ("longer than 255", tar().long(b'L', &long).file("x", "x")),
        (
            "longer than 4096",
            tar()
                .pax(&[("path", "a/".repeat(2049).as_bytes())])
                .file("x", "x"),
        ),
        (
            "where at most 4097 are taken",
            tar().long(b'L', &"a/".repeat(2049)).file("x", "x"),
        ),
        (
            "is not UTF-8",
            tar().pax(&[("path", b"usr/\xff")]).file("x", "x"),
        ),
        (
            "empty or not UTF-8",
            tar().pax(&[("linkpath", b"\xff")]).symlink("usr/x", "y"),
        ),
        (
            "contains NUL",
            tar().pax(&[("path", b"usr/a\0b")]).file("x", "x"),
        ),
        (
            "names nothing that can be removed",
            tar().file("usr/.wh...", ""),
        ),
        (
            "names nothing that can be removed",
            tar().file("usr/.wh..", ""),
        ),
        (
            "too many others, or in a circle",
            tar().link("usr/a", "usr/b").link("usr/b", "usr/a"),
        ),
        (
            "too many others, or in a circle",
            tar().link("usr/a", "usr/a"),
        ),
        (
            "which the layer does not have",
            tar().link("usr/a", "usr/bin/tool"),
        ),
        (
            "hard link to the directory",
            tar().directory("usr/d/", 0o755).link("usr/a", "usr/d"),
        ),
        (
            "both a directory and something else",
            tar()
                .directory("usr/d/", 0o755)
                .link("usr/d", "usr/x")
                .file("usr/x", ""),
        ),
        (
            "which is no directory",
            tar().symlink("usr/s", "/etc").file("usr/s/shadow", ""),
        ),
        (
            "which ostree cannot hold",
            tar().entry(b'3', "usr/lib/null", 0o600, b"", ""),
        ),
        (
            "which ostree cannot hold",
            tar().entry(b'6', "var/fifo", 0o600, b"", ""),
        ),
        ("sparse files", tar().entry(b'S', "usr/s", 0o600, b"", "")),
        (
            "sparse files",
            tar().pax(&[("GNU.sparse.map", b"0")]).file("usr/s", ""),
        ),
        (
            "claims 4 bytes",
            tar().raw(header(b'1', "usr/l", 0o644, 4, "usr/x"), b"evil"),
        ),
        (
            "ends within a file",
            tar().raw(header(b'0', "usr/big", 0o644, 1 << 20, ""), b""),
        ),
        (
            "ends within an entry",
            tar().raw(header(b'0', "run/big", 0o644, 1 << 40, ""), b""),
        ),
        (
            "exceed 1 GiB",
            tar().raw(header(b'0', "usr/big", 0o644, 1 << 40, ""), b""),
        ),
        (
            "where at most",
            tar().raw(header(b'x', "pax", 0o644, 1 << 40, ""), b""),
        ),
        (
            "two extension headers",
            tar().long(b'L', "a").long(b'L', "b").file("x", ""),
        ),
        (
            "extension headers in a row",
            (0..20).fold(tar(), |tar, _| tar.entry(b'g', "g", 0o644, b"", "")),
        ),
        ("ends after an extension header", tar().long(b'L', "a")),
        (
            "PAX record is malformed",
            tar().entry(b'x', "pax", 0o644, b"99 path=x\n", ""),
        ),
        (
            "PAX record is malformed",
            tar().entry(b'x', "pax", 0o644, b"0 \n", ""),
        ),
        (
            "is not a number",
            tar().pax(&[("size", b"-1")]).file("usr/x", ""),
        ),
        (
            "attributes have",
            tar()
                .pax(&[("SCHILY.xattr.user.a", &vec![b'x'; XATTRS_MAX as usize])])
                .file("usr/x", ""),
        ),
        (
            "Linux has no attribute",
            tar().pax(&[("SCHILY.xattr.evil", b"1")]).file("usr/x", ""),
        ),
        (
            "4294967296 does not fit",
            tar().pax(&[("uid", b"4294967296")]).file("usr/x", ""),
        ),
    ] {
        let image = Image::on_base([layer]);
        let text = image.error();
        assert!(
            text.contains(expected) && text.contains(&image.digest(2)),
            "{expected}: {text}"
        );
    }
    // The deepest path that fits is fine.
    let layer = tar()
        .pax(&[("path", format!("{deep}x").as_bytes())])
        .file("x", "x");
    assert!(Image::on_base([layer]).import().is_ok());
}

#[test]
fn too_much_of_everything_is_refused() {
    let many = (0..50).fold(Tar::new(), |tar, n| tar.file(&format!("usr/{n}"), ""));
    let mut image = Image::on_base([many]);
    image.limits.entries = 60;
    assert!(image.error().contains("more than 60 files and directories"));
    image.limits.entries = 200;
    assert!(image.import().is_ok());
    image.limits.metadata_bytes = 20 << 10;
    assert!(image.error().contains("metadata exceeds"));

    // One entry, two thousand directories.
    let deep = format!("usr/{}x", "d/".repeat(2000));
    let layer = Tar::new().pax(&[("path", deep.as_bytes())]).file("x", "x");
    let mut image = Image::on_base([layer]);
    image.limits.entries = 1000;
    assert!(image.error().contains("more than 1000"));
}

/// Metadata that is larger than libostree takes is refused before it is read.
#[test]
fn oversized_objects_are_refused() {
    let name = Checksum::of(b"");
    let commit = |size| {
        let path = object_path(name, "commit");
        Tar::new()
            .raw(header(b'0', &path, 0o644, size, ""), b"")
            .finish()
    };
    let image = |layer| Image {
        base: 1,
        ..Image::of(vec![layer])
    };
    let text = image(commit(METADATA_OBJECT_MAX + 1)).error();
    assert!(text.contains("where at most 10485760 are taken"), "{text}");
    let text = image(commit(METADATA_OBJECT_MAX)).error();
    assert!(text.contains("ends within a file"), "{text}");
}

/// A base in which something is missing, out of place or not what its name says.
#[test]
fn broken_bases_are_refused() {
    let whole = encapsulate(&base_tree(), 2, Format::V1);
    // The same archive with another digest.
    let again = [&whole[0][..], &[0; 512]].concat();
    let image = |layers: &[&[u8]]| Image {
        base: layers.len(),
        ..Image::of(layers.iter().map(|layer| layer.to_vec()).collect())
    };
    for (expected, layers) in [
        ("the image lacks the object", vec![&whole[0][..]]),
        (
            "metadata objects belong into the first layer",
            vec![&whole[0], &again],
        ),
        ("the layer has no ostree commit", vec![&whole[1]]),
        ("no ostree commit", vec![&[0; 1024][..]]),
        ("no layers", vec![]),
    ] {
        let text = image(&layers).error();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Each file's attributes come right before it; without them it cannot be verified.
    let mut torn = whole[1].clone();
    let suffix = b".file-xattrs-link";
    let mut windows = torn.windows(suffix.len());
    let at = windows.position(|window| window == suffix).unwrap();
    torn[at - 1] = if torn[at - 1] == b'0' { b'1' } else { b'0' };
    let text = image(&[&whole[0], &torn]).error();
    assert!(
        text.contains("attributes do not come right before it"),
        "{text}"
    );
}

/// Any flipped bit in a base layer is noticed, or does not matter; the digests of the layer, which
/// would show it first, are not checked here.
#[test]
fn flipped_bits_are_noticed_or_do_not_matter() {
    let mut image = Image {
        base: 1,
        labels: false,
        ..Image::of(encapsulate(&base_tree(), 1, Format::V1))
    };
    let expected = listing(&image.import().unwrap().tree);
    let mut noticed = 0;
    for position in (0..image.layers[0].len()).step_by(7) {
        for bit in [0, 7] {
            image.layers[0][position] ^= 1 << bit;
            match image.import() {
                Ok(imported) => assert_eq!(listing(&imported.tree), expected, "byte {position}"),
                Err(_) => noticed += 1,
            }
            image.layers[0][position] ^= 1 << bit;
        }
    }
    assert!(noticed > 100, "{noticed}");
}

#[test]
fn cut_layers_are_refused() {
    let mut image = Image::on_base([Tar::new()
        .file("usr/x", "x")
        .symlink("usr/y", "x")
        .file("usr/z", "zzz")]);
    for layer in [0, 2] {
        let whole = image.layers[layer].clone();
        for length in (0..whole.len() - 1024)
            .filter(|length| length % 512 != 0)
            .step_by(5)
        {
            image.layers[layer].truncate(length);
            assert!(image.import().is_err(), "layer {layer} of {length} bytes");
            image.layers[layer].clone_from(&whole);
        }
    }
}

/// Thirty directories, each holding the next one sixteen times: 16^30 names in 30 small objects.
#[test]
fn directories_that_multiply_are_refused() {
    let mut objects = Objects::new();
    let dirmeta = object::dirmeta(&Meta::root(0o755));
    let meta = Checksum::of(&dirmeta);
    objects.insert(
        ObjectName::new(meta, Kind::DirMeta),
        Object::Metadata(dirmeta.into()),
    );
    let names: Vec<String> = (0..16).map(|n| format!("{n:02}")).collect();
    let mut below = None;
    for _ in 0..30 {
        let mut listing = DirTree::default();
        if let Some(below) = below {
            listing.directories = names.iter().map(|name| (&**name, below, meta)).collect();
        }
        let bytes = listing.serialise();
        let checksum = Checksum::of(&bytes);
        objects.insert(
            ObjectName::new(checksum, Kind::DirTree),
            Object::Metadata(bytes.into()),
        );
        below = Some(checksum);
    }
    let root = Root {
        dirtree: below.unwrap(),
        dirmeta: meta,
    };
    let commit = commit::write_commit(&Metadata::default(), None, 0, root, &mut objects);
    let image = Image {
        base: 2,
        limits: Limits {
            entries: 10_000,
            ..Limits::default()
        },
        ..Image::of(encapsulate_objects(&objects, commit, 2, Format::V1))
    };
    let errors = [
        image.error(),
        format!("{:#}", image.tree(&|_| true).unwrap_err()),
    ];
    for error in errors {
        assert!(error.contains("more than 10000 files and directories"));
    }
}

/// Names in a base commit that would lead out of the tree, or make two of one.
#[test]
fn impossible_names_in_a_base_are_refused() {
    let file = Checksum::of(b"");
    for files in [
        &["../x"][..],
        &[".."],
        &["."],
        &[""],
        &["a/b"],
        &["b", "a"],
        &["a", "a"],
    ] {
        let listing = DirTree {
            files: files.iter().map(|name| (*name, file)).collect(),
            directories: vec![],
        };
        assert!(DirTree::parse(&listing.serialise()).is_err(), "{files:?}");
    }
    let both = DirTree {
        files: vec![("a", file)],
        directories: vec![("a", file, file)],
    };
    assert!(DirTree::parse(&both.serialise()).is_err());
    let fine = DirTree {
        files: vec![("a", file), ("b", file)],
        directories: vec![("c", file, file)],
    };
    assert!(DirTree::parse(&fine.serialise()).is_ok());
}

#[test]
fn numbers_are_read_in_all_their_forms() {
    let with = |field: &[u8]| {
        let mut header = header(b'0', "x", 0o644, 0, "");
        header.as_old_mut().mtime.copy_from_slice(field);
        let bytes = Tar::new().raw(header, b"").finish();
        let entry = Archive::new(Cursor::new(bytes)).next();
        entry.map(|entry| entry.unwrap().meta.mtime)
    };
    assert_eq!(with(b"00000000017\0").unwrap(), 15);
    assert_eq!(with(b"       17 \0 ").unwrap(), 15);
    assert_eq!(with(b"\0\0\0\0\0\0\0\0\0\0\0\0").unwrap(), 0);
    assert_eq!(with(b"\x80\0\0\0\0\0\0\0\0\0\x01\0").unwrap(), 256);
    assert_eq!(
        with(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(),
        -2
    );
    assert!(with(b"\x80\0\0\x01\0\0\0\0\0\0\0\0").is_err());
    assert!(with(b"\x80\0\0\0\xff\0\0\0\0\0\0\0").is_err());
    assert!(with(b"0000000008\0\0").is_err());
    assert!(with(b"-1\0\0\0\0\0\0\0\0\0\0").is_err());
}

#[test]
fn attributes_may_hold_any_byte() {
    let value: Vec<u8> = (0..=255).chain([0, b'\n', b'=', b' ']).collect();
    let bytes = Tar::new()
        .pax(&[
            ("SCHILY.xattr.user.k", &value),
            ("SCHILY.xattr.user.none", b""),
        ])
        .file("x", "x")
        .finish();
    let entry = Archive::new(Cursor::new(bytes)).next().unwrap().unwrap();
    assert_eq!(entry.kind, EntryKind::Regular(1));
    assert_eq!(entry.meta.xattrs.get(b"user.k"), Some(&value[..]));
    assert_eq!(entry.meta.xattrs.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in the blocks, reading ends without panic.
    #[test]
    fn nonsense_in_layers_is_no_panic(
        at in 0usize..4096,
        nonsense in proptest::collection::vec(any::<u8>(), 1..64),
        fix_checksums in any::<bool>(),
    ) {
        let layer = Tar::new().directory("usr/", 0o755).pax(&[("path", b"usr/x")]).file("x", "xyz").symlink("usr/s", "x");
        let mut image = Image::on_base([layer]);
        for layer in [0, 2] {
            let bytes = &mut image.layers[layer];
            let at = at % (bytes.len() - nonsense.len());
            bytes[at..at + nonsense.len()].copy_from_slice(&nonsense);
            if fix_checksums {
                let block = at / 512 * 512;
                let mut header = tar::Header::new_old();
                header.as_mut_bytes().copy_from_slice(&bytes[block..block + 512]);
                header.set_cksum();
                bytes[block..block + 512].copy_from_slice(header.as_bytes());
            }
        }
        let _ = image.import();
    }
}
