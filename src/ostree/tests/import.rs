//! What becomes of ordinary images.

use std::io::{Cursor, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{Checksum, Importer, Kind, LibostreeVersion, Object};
use super::fixture::{Format, Image, Tar, base_tree, encapsulate, line, listing, objects};
use crate::tree::{Content, Meta, Node, Tree};

#[test]
fn a_base_comes_back_as_it_was() {
    let expected = listing(&base_tree());
    for (layers, format) in [(1, Format::V1), (3, Format::V1), (1, Format::V0)] {
        let image = Image {
            layers: encapsulate(&base_tree(), layers, format),
            base: layers,
            labels: false,
            ..Image::of(vec![])
        };
        let imported = image.import().unwrap();
        assert_eq!(listing(&imported.tree), expected, "{layers} {format:?}");
        assert_eq!(imported.refs.len(), layers + 1);
        let commit = imported.refs[&super::super::refs::blob(&image.digest(0))];
        assert_eq!(Some(commit), imported.base_commit);
        assert_eq!(
            imported.refs["ostree/container/image/docker_3A__2F__2F_q_2E_io/x_3A_y"],
            imported.merge_commit
        );
        assert_eq!(imported.warnings, [] as [&str; 0]);
    }
}

#[test]
fn contents_that_nobody_asks_for_are_left_out() {
    let layer = Tar::new()
        .file("usr/bin/new", "n")
        .file("usr/lib/new", "l")
        .link("usr/lib/program", "usr/bin/new");
    let mut image = Image::on_base([layer]);
    image.labels = false;
    let all = image.import().unwrap().tree;
    assert_eq!(listing(&image.tree(&|_| true).unwrap()), listing(&all));

    let keep = |path: &str| !path.starts_with("usr/bin/");
    let tree = image.tree(&keep).unwrap();
    let mut left_out = Vec::new();
    all.walk(|path, id| {
        let path = std::str::from_utf8(path).unwrap();
        let found = tree.inode(tree.lookup(path).unwrap());
        let Node::File(content) = &found.node else {
            return;
        };
        let Node::File(whole) = &all.inode(id).node else {
            panic!("{path} is a file");
        };
        assert_eq!(content.len(), whole.len());
        match content.to_vec(99) {
            Ok(bytes) => assert_eq!(bytes, whole.to_vec(99).unwrap(), "{path}"),
            Err(_) => left_out.push(path.to_owned()),
        }
    });
    // What a file is called first decides, where it is in a layer; any of its names in the base.
    assert_eq!(
        left_out,
        [
            "usr/bin/new",
            "usr/bin/su",
            "usr/bin/tool",
            "usr/lib/program"
        ]
    );

    image.layers[1][600] ^= 1;
    assert!(image.tree(&keep).is_err());
}

/// The tree's inodes are the objects that the table says, and every file has one.
#[test]
fn files_are_their_objects() {
    let layer = Tar::new()
        .file("usr/bin/new", "n")
        .link("usr/bin/twin", "usr/bin/new")
        .symlink("usr/lib/s", "x");
    let imported = Image::on_base([layer]).import().unwrap();
    let mut files = 0;
    imported.tree.walk(|_, id| {
        let inode = imported.tree.inode(id);
        let checksum = imported.file_checksum(id);
        assert_eq!(checksum.is_none(), imported.tree.is_directory(id));
        let Some(checksum) = checksum else { return };
        files += 1;
        let name = super::super::ObjectName::new(checksum, Kind::File);
        let Object::File { meta, node } = &imported.objects[&name] else {
            panic!("{name} is no file");
        };
        assert_eq!(*meta, inode.meta);
        assert_eq!(
            super::super::object::file_checksum(meta, node).unwrap(),
            checksum
        );
    });
    assert_eq!(files, 10);
    let checksum = |path| imported.file_checksum(imported.tree.lookup(path).unwrap());
    assert_eq!(checksum("usr/bin/new"), checksum("usr/bin/twin"));
}

/// How a layer's entries act on what is below; the oracle's test has many more, but needs root.
#[test]
fn layers_are_merged_as_libostree_does() {
    let tar = Tar::new;
    for (layer, path, expected) in [
        (tar().file("usr/lib/dir/.wh.a", ""), "/usr/lib/dir/a", None),
        (tar().file("usr/lib/.wh.dir", ""), "/usr/lib/dir", None),
        (
            tar().file("usr/lib/.wh.none", ""),
            "/usr/lib/.wh.none",
            None,
        ),
        (
            tar().symlink("usr/lib/.wh.dir", "x"),
            "/usr/lib/.wh.dir",
            Some("l \"x\" 0:0 777"),
        ),
        (
            tar().file("usr/lib/dir/.wh..wh..opq", ""),
            "/usr/lib/dir/a",
            None,
        ),
        (
            tar().file("usr/lib/dir/.wh..wh..opq", ""),
            "/usr/lib/dir",
            Some("d 0:0 755"),
        ),
        (
            tar()
                .directory("usr/lib/dir/", 0o700)
                .file("usr/lib/dir/.wh..wh..opq", ""),
            "/usr/lib/dir",
            Some("d 0:0 700"),
        ),
        (
            tar().directory("usr/lib/dir/", 0o700),
            "/usr/lib/dir",
            Some("d 0:0 755"),
        ),
        (
            tar()
                .file("usr/lib/.wh.dir", "")
                .directory("usr/lib/dir/", 0o700),
            "/usr/lib/dir",
            Some("d 0:0 700"),
        ),
        (
            tar().file("usr/+x", "").file("usr/.wh.+x", ""),
            "/usr/+x",
            None,
        ),
        (
            tar().file("usr/x", "").file("usr/.wh.x", ""),
            "/usr/x",
            Some("- \"\" 0:0 644"),
        ),
        (
            tar().file("usr/lib/dir", "f"),
            "/usr/lib/dir",
            Some("- \"f\" 0:0 644"),
        ),
        (tar().file("usr/lib/dir", "f"), "/usr/lib/dir/a", None),
        (
            tar().file("usr/bin/tool/x", "x"),
            "/usr/bin/tool/x",
            Some("- \"x\" 0:0 644"),
        ),
        (tar().file(".wh..wh..opq", ""), "/usr", Some("d 0:0 755")),
    ] {
        let image = Image {
            labels: false,
            ..Image::on_base([layer])
        };
        let line = line(&image.import().unwrap(), path);
        let expected = expected.map(|text| format!("{path} {text} "));
        assert_eq!(line, expected, "{path}");
    }
    // Dropped as foreign on a base; without one, it empties the root.
    let second = tar().file(".wh..wh..opq", "").file("usr/y", "y").finish();
    let image = Image {
        labels: false,
        ..Image::of(vec![tar().file("usr/x", "x").finish(), second])
    };
    assert_eq!(listing(&image.import().unwrap().tree).len(), 3);
}

#[test]
fn labels_end_in_nul_and_change_objects_only_where_they_change() {
    let image = Image::on_base([Tar::new().file("usr/bin/new", "n")]);
    let plain = Image {
        labels: false,
        ..image.clone()
    }
    .import()
    .unwrap();
    let labelled = image.import().unwrap();
    assert!(
        line(&labelled, "/usr/bin/new")
            .unwrap()
            .ends_with("security.selinux=Regular:bin\\x00")
    );
    assert!(
        line(&labelled, "/usr/lib/odd")
            .unwrap()
            .ends_with("security.selinux=Symlink:lib\\x00")
    );
    assert!(
        line(&labelled, "/")
            .unwrap()
            .ends_with("security.selinux=Directory:\\x00")
    );
    // The policy says nothing of these.
    assert_eq!(
        line(&labelled, "/usr/lib/dir/a"),
        line(&plain, "/usr/lib/dir/a")
    );
    let checksum = |imported: &super::super::Imported, path| {
        imported
            .file_checksum(imported.tree.lookup(path).unwrap())
            .unwrap()
    };
    assert_eq!(
        checksum(&labelled, "usr/lib/dir/a"),
        checksum(&plain, "usr/lib/dir/a")
    );
    assert_ne!(
        checksum(&labelled, "usr/bin/tool"),
        checksum(&plain, "usr/bin/tool")
    );
    // The base commit's own objects stay, as its ref points to them.
    assert!(objects(&labelled, Kind::File).contains(&checksum(&plain, "usr/bin/tool")));
}

#[test]
fn results_do_not_depend_on_threads() {
    let layers = || {
        (0..9).map(|n| {
            Tar::new()
                .file(&format!("usr/lib/{n}"), &"x".repeat(n * 999))
                .file(&format!("opt/{n}"), "")
        })
    };
    let one = Image {
        threads: 1,
        ..Image::on_base(layers())
    }
    .import()
    .unwrap();
    for _ in 0..8 {
        let many = Image {
            threads: 8,
            ..Image::on_base(layers())
        }
        .import()
        .unwrap();
        assert_eq!(many.merge_commit, one.merge_commit);
        assert_eq!(many.refs, one.refs);
        assert_eq!(many.warnings, one.warnings);
        assert!(many.objects.keys().eq(one.objects.keys()));
    }
    assert_eq!(one.warnings.len(), 9);
}

#[test]
fn an_image_without_a_date_is_from_1970() {
    let timestamp = |created| {
        let image = Image {
            created,
            ..Image::on_base([])
        };
        let imported = image.import().unwrap();
        let name = super::super::ObjectName::new(imported.merge_commit, Kind::Commit);
        let Object::Metadata(bytes) = &imported.objects[&name] else {
            panic!("a commit is metadata");
        };
        // Before the two checksums, padding aside: see commit.rs.
        let value = |time: u64| bytes.windows(8).any(|window| window == time.to_be_bytes());
        (value(0), value(1_704_067_200))
    };
    assert_eq!(timestamp(Some("2024-01-01T00:00:00Z")), (false, true));
    assert_eq!(timestamp(None), (true, false));
}

#[test]
fn var_goes_where_the_images_libostree_has_it() {
    let layer = || {
        Tar::new()
            .file("var/lib/x", "x")
            .link("var/lib/y", "var/lib/x")
    };
    let with = |libostree, program: &str| {
        let tool = Tar::new().entry(
            b'0',
            "usr/bin/ostree",
            0o755,
            format!("\0{program}\0").as_bytes(),
            "",
        );
        let image = Image {
            libostree,
            ..Image::on_base([layer(), tool])
        };
        let imported = image.import().unwrap();
        let kept = line(&imported, "/var/lib/y").is_some();
        assert_ne!(
            kept,
            line(&imported, "/usr/share/factory/var/lib/y").is_some()
        );
        (kept, imported.libostree.to_string())
    };
    assert_eq!(with(None, "2024.3"), (true, "2024.3".into()));
    assert_eq!(with(None, "2024.2"), (false, "2024.2".into()));
    assert_eq!(
        with(None, "none"),
        (true, LibostreeVersion::ASSUMED.to_string())
    );
    assert_eq!(
        with(Some(LibostreeVersion::new(2023, 9)), "2024.3"),
        (false, "2023.9".into())
    );
}

#[test]
fn an_overlay_on_the_root_lets_foreign_paths_in() {
    let layer = || Tar::new().file("opt/x", "x").file("run/y", "y");
    assert_eq!(
        line(&Image::on_base([layer()]).import().unwrap(), "/opt/x"),
        None
    );
    let mut tree = base_tree();
    let directory = tree.make_directories("usr/lib/ostree", &Meta::root(0o755));
    let node = Node::File(Content::bytes(*b"[composefs]\nenabled = yes\n"));
    tree.create(directory, "prepare-root.conf", Meta::root(0o644), node);
    let mut layers = encapsulate(&tree, 1, Format::V1);
    layers.push(layer().finish());
    let image = Image {
        layers,
        base: 1,
        ..Image::of(vec![])
    };
    let imported = image.import().unwrap();
    assert!(line(&imported, "/opt/x").is_some());
    assert_eq!(line(&imported, "/run/y"), None);
}

#[test]
fn images_without_ostree_are_all_ordinary_layers() {
    let object = "sysroot/ostree/repo/objects/00/11.file";
    let first = Tar::new()
        .directory("./", 0o711)
        .file(object, "tool")
        .link("usr/bin/tool", object)
        .link("usr/bin/twin", object)
        .file("etc/passwd", "root")
        .file("opt/x", "x")
        .file("root.txt", "r");
    let second = Tar::new().file("opt/.wh.x", "").file("usr/bin/new", "new");
    let imported = Image::of(vec![first.finish(), second.finish()])
        .import()
        .unwrap();
    assert_eq!(imported.base_commit, None);
    assert!(
        line(&imported, "/").unwrap().contains("0:0 755"),
        "a missing parent describes it anew"
    );
    for (path, there) in [
        ("/usr/bin/tool", true),
        ("/usr/bin/twin", true),
        ("/usr/etc/passwd", true),
        ("/opt", true),
        ("/opt/x", false),
        ("/root.txt", true),
        ("/sysroot", true),
        ("/sysroot/ostree", false),
        ("/etc", false),
    ] {
        assert_eq!(line(&imported, path).is_some(), there, "{path}");
    }
    assert_eq!(imported.refs.len(), 3);
}

#[test]
fn what_ostree_does_otherwise_than_oci_is_told() {
    let warnings = |layer: Tar| Image::on_base([layer]).import().unwrap().warnings;
    let expect = |layer: Tar, part: &str| {
        let warnings = warnings(layer);
        assert!(
            warnings.len() == 1 && warnings[0].contains(part),
            "{part}: {warnings:?}"
        );
        assert!(warnings[0].contains("layer sha256:"), "{warnings:?}");
    };
    expect(
        Tar::new().directory("usr/lib/", 0o700),
        "attributes of a directory; ostree keeps those of the layers below: /usr/lib",
    );
    expect(
        Tar::new().directory("usr/bin/tool/", 0o755),
        "/usr/bin/tool was a file or symlink",
    );
    expect(
        Tar::new()
            .file("opt/a", "")
            .file("opt/b", "")
            .file("boot/c", ""),
        "keeps none: boot (1), opt (2)",
    );
    expect(
        Tar::new().link("usr/bin/tool", "sysroot/ostree/repo/objects/00/1.file"),
        "lost: usr/bin/tool",
    );
    expect(
        Tar::new()
            .pax(&[("path", "etc/ä".as_bytes())])
            .file("etc/a", "a"),
        "fail to deploy: etc/ä",
    );
    let quiet = Tar::new()
        .directory("usr/lib/", 0o755)
        .directory("sysroot/", 0o755)
        .directory("new/", 0o755)
        .pax(&[("path", "usr/ä".as_bytes())])
        .file("usr/a", "a");
    assert_eq!(warnings(quiet), [] as [&str; 0]);
}

#[test]
fn changed_base_files_are_taken_from_the_repository() {
    let object = "sysroot/ostree/repo/objects/00/1.file";
    let layer = Tar::new()
        .file(object, "changed")
        .link("opt/x", object)
        .link("usr/bin/tool", object)
        .link("etc/tool", object);
    let imported = Image::on_base([layer]).import().unwrap();
    for path in ["/usr/bin/tool", "/usr/etc/tool"] {
        assert!(line(&imported, path).unwrap().contains("- \"changed\""));
    }
    assert_eq!(line(&imported, "/etc"), None);
}

#[test]
fn leftovers_of_builds_are_removed_as_the_importer_does() {
    let layer = || {
        Tar::new()
            .file("etc/hostname", "")
            .file("etc/resolv.conf", "nameserver")
            .file("etc/hosts", "")
    };
    let mut image = Image::on_base([layer()]);
    for (importer, kept) in [(Importer::Bootc, false), (Importer::OstreeExt, true)] {
        image.importer = importer;
        let imported = image.import().unwrap();
        assert_eq!(line(&imported, "/usr/etc/hostname").is_some(), kept);
        assert!(
            line(&imported, "/usr/etc/resolv.conf").is_some(),
            "it is not empty"
        );
        assert!(line(&imported, "/usr/etc/hosts").is_some());
    }
}

/// An end of the stream that is an error, as that of a layer with a wrong digest, is noticed.
#[test]
fn layers_are_read_to_their_end() {
    struct ThenFail(Cursor<Vec<u8>>);
    impl Read for ThenFail {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other("wrong digest")),
                count => Ok(count),
            }
        }
    }
    let image = Image::on_base([Tar::new().file("usr/x", "x")]);
    for wrong in 0..image.layers.len() {
        let error = image.import_with(&|layer| {
            let bytes = Cursor::new(image.layers[layer].clone());
            Ok(match layer == wrong {
                true => Box::new(ThenFail(bytes)),
                false => Box::new(bytes),
            })
        });
        let text = format!("{:#}", error.unwrap_err());
        assert!(
            text.contains("wrong digest") && text.contains(&image.digest(wrong)),
            "{text}"
        );
    }
}

/// Of several errors the one of the lowest layer is told, though a higher one comes first.
#[test]
fn the_lowest_error_is_told() {
    let image = Image {
        threads: 4,
        ..Image::on_base([Tar::new(), Tar::new()])
    };
    let (failed, order) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let error = image.import_with(&|layer| {
        if layer == 1 {
            while !failed.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            // The other reader has returned by now, or is about to.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        if layer == 1 || layer == 3 {
            order.lock().unwrap().push(layer);
            failed.store(true, Ordering::Release);
            anyhow::bail!("cannot open {layer}");
        }
        Ok(Box::new(Cursor::new(image.layers[layer].clone())))
    });
    assert_eq!(*order.lock().unwrap(), [3, 1]);
    assert!(format!("{:#}", error.unwrap_err()).ends_with("cannot open 1"));
}

/// A directory whose listing needs offsets of four bytes, and of two.
#[test]
fn large_directories_come_back() {
    for files in [10, 900] {
        let mut tree = Tree::new(Meta::root(0o755));
        for number in 0..files {
            let name = format!("{number:04}-{}", "n".repeat(60));
            let node = Node::File(Content::bytes(name.clone().into_bytes()));
            tree.create(Tree::ROOT, &name, Meta::root(0o644), node);
        }
        let image = Image {
            layers: encapsulate(&tree, 1, Format::V1),
            base: 1,
            labels: false,
            ..Image::of(vec![])
        };
        let imported = image.import().unwrap();
        assert_eq!(listing(&imported.tree), listing(&tree));
        let largest = imported.objects.values().filter_map(|object| match object {
            Object::Metadata(bytes) => Some(bytes.len()),
            Object::File { .. } => None,
        });
        assert_eq!(largest.max() > Some(0x1_0000), files == 900);
    }
}

#[test]
fn checksums_are_read_and_written_in_lower_case() {
    let text = "00ff".repeat(16);
    let checksum: Checksum = text.parse().unwrap();
    assert_eq!(checksum.to_string(), text);
    for wrong in [&text[1..], &text.to_uppercase(), &format!("{text}0"), ""] {
        assert!(wrong.parse::<Checksum>().is_err());
    }
}
