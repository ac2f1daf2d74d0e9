//! Archives: made by two implementations of tar, in several dialects, whole and damaged.

use std::fs::File;
use std::path::PathBuf;

use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use proptest::sample::Index;

use super::fixture::{Fixture, digest_of, gzip, gzip_layer, have, read, run, tagged, tar, told};
use crate::image::digest::{Digest, Hasher};
use crate::image::{Image, open};

fn open_archive(fixture: &Fixture, file: &str, select: &str) -> anyhow::Result<Image> {
    let path = fixture.directory().join(file);
    open(
        &format!("oci-archive:{}{select}", path.display()).parse()?,
        &fixture.access(),
    )
}

/// Packs the layout with GNU tar.
fn pack(fixture: &Fixture, file: &str, options: &[&str]) -> PathBuf {
    let path = fixture.directory().join(file);
    let (layout, target) = (fixture.layout(), path.to_str().unwrap().to_owned());
    let fixed = ["-C", layout.to_str().unwrap(), "-cf", &target];
    run("tar", &[&fixed[..], options, &["."]].concat());
    path
}

fn two_tags() -> Fixture {
    let fixture = Fixture::new();
    let one = fixture.image("amd64", &[gzip_layer("one")]);
    let two = fixture.image("amd64", &[gzip_layer("two")]);
    fixture.top(&[tagged(&one, "v1"), tagged(&two, "v2")]);
    fixture
}

#[test]
fn every_dialect_of_tar_is_read() {
    let fixture = two_tags();
    // A digest of SHA-512 makes a name that is too long for the header.
    let long: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let blob = gzip(&tar("long"));
    let digest = Hasher::of(&blob, &long);
    std::fs::write(fixture.blob_path(&digest), &blob).unwrap();
    let layer = super::fixture::TestLayer::new(super::fixture::GZIP, blob, &tar("long"));
    let image = fixture.changed_image("amd64", &[layer], |manifest| {
        manifest["layers"][0]["digest"] = digest.as_str().into();
    });
    fixture.top(&[tagged(&image, "long")]);

    for options in [
        &["--format=gnu"][..],
        &["--format=pax"],
        &["--format=pax", "--pax-option=comment=x"],
        &["--format=gnu", "--transform=s,^\\./,,"],
        &["--format=gnu", "-b1"],
    ] {
        pack(&fixture, "image.tar", options);
        let image = open_archive(&fixture, "image.tar", ":long").expect(options[0]);
        assert_eq!(read(&image, 0), Ok(tar("long")), "{options:?}");
    }

    let fixture = two_tags();
    for format in ["--format=ustar", "--format=v7"] {
        pack(&fixture, "image.tar", &[format]);
        let image = open_archive(&fixture, "image.tar", ":v2").expect(format);
        assert_eq!(read(&image, 0), Ok(tar("two")), "{format}");
    }
}

/// Sizes that only an extended header can say.
#[test]
fn sizes_in_extended_headers_count() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let mut builder = tar::Builder::new(File::create(fixture.directory().join("x.tar")).unwrap());
    let digest = fixture.open("").unwrap().layers[0].digest.clone();
    let mut names = vec!["index.json".to_owned(), "oci-layout".to_owned()];
    for entry in fixture.layout().join("blobs/sha256").read_dir().unwrap() {
        names.push(format!(
            "blobs/sha256/{}",
            entry.unwrap().file_name().display()
        ));
    }
    for name in names {
        let bytes = std::fs::read(fixture.layout().join(&name)).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_path(&name).unwrap();
        let len = bytes.len().to_string();
        if name.ends_with(digest.hex()) {
            // The header itself says nothing of use.
            builder
                .append_pax_extensions([("size", len.as_bytes())])
                .unwrap();
            header.set_size(0);
        } else {
            header.set_size(bytes.len() as u64);
        }
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    builder.finish().unwrap();
    let image = open_archive(&fixture, "x.tar", "").unwrap();
    assert_eq!(read(&image, 0), Ok(tar("a")));
}

#[test]
fn tags_choose_in_archives() {
    let fixture = two_tags();
    pack(&fixture, "image.tar", &[]);
    let one = open_archive(&fixture, "image.tar", ":v1").unwrap();
    assert_eq!(read(&one, 0), Ok(tar("one")));
    let several = told(open_archive(&fixture, "image.tar", ""));
    assert!(several.contains(":v1 (amd64), :v2 (amd64)"), "{several}");
    let missing = told(open_archive(&fixture, "image.tar", ":v3"));
    assert!(missing.contains("there is :v1, :v2"), "{missing}");
}

#[test]
fn damage_is_found() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let path = pack(&fixture, "whole.tar", &["-b1", "--sort=name"]);
    let whole = std::fs::read(&path).unwrap();
    let say = |bytes: &[u8]| {
        std::fs::write(fixture.directory().join("bad.tar"), bytes).unwrap();
        told(open_archive(&fixture, "bad.tar", ""))
    };
    assert!(say(b"").contains("no index.json"), "empty");
    assert!(say(&whole[..300]).contains("cut off in the header at byte 0"));
    assert!(say(&gzip(&whole)).contains("compressed with gzip"));
    assert!(say(&[b'x'; 4096]).contains("not a tar archive"));
    let mut flipped = whole.clone();
    flipped[600] ^= 1;
    assert!(say(&flipped).contains("header at byte 512 is damaged"));
    // Cutting anywhere before the last byte we need must never go unnoticed.
    let header = whole
        .windows(12)
        .position(|w| w == b"./index.json")
        .unwrap();
    let index = std::fs::metadata(fixture.layout().join("index.json")).unwrap();
    let needed = header + 512 + usize::try_from(index.len()).unwrap();
    for cut in (0..needed).step_by(509).chain([needed - 1]) {
        let told = say(&whole[..cut]);
        let expected = ["cut off", "no index.json"]
            .iter()
            .any(|t| told.contains(t));
        assert!(expected, "cut at {cut}: {told}");
    }
    std::fs::write(fixture.directory().join("bad.tar"), &whole[..needed]).unwrap();
    assert!(open_archive(&fixture, "bad.tar", "").is_ok());
}

#[test]
fn missing_blobs_are_named() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let image = fixture.open("").unwrap();
    for (digest, named) in [
        (&image.layers[0].digest, "layer 1"),
        (&image.manifest_digest, "manifest"),
    ] {
        let path = fixture.blob_path(digest);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        pack(&fixture, "image.tar", &[]);
        let error = told(open_archive(&fixture, "image.tar", ""));
        assert!(
            error.contains(named) && error.contains("is missing"),
            "{error}"
        );
        std::fs::write(&path, bytes).unwrap();
    }
}

/// Sizes near 2^64 and endless names, in headers with right checksums.
#[test]
fn hostile_headers_are_refused() {
    let fixture = Fixture::new();
    let say = |kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let path = fixture.directory().join("bad.tar");
        std::fs::write(&path, header.as_bytes()).unwrap();
        // A hole, so that the promised bytes are there.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(1 << 30).unwrap();
        told(open_archive(&fixture, "bad.tar", ""))
    };
    for size in [u64::MAX, u64::MAX - 511, 1 << 40] {
        assert!(
            say(tar::EntryType::Regular, size).contains("cut off"),
            "{size}"
        );
    }
    assert!(say(tar::EntryType::GNULongName, 1 << 29).contains("more than 1048576"));
    assert!(say(tar::EntryType::XHeader, (1 << 20) + 1).contains("more than 1048576"));
    assert!(say(tar::EntryType::XHeader, 100).contains("malformed pax"));
}

#[test]
fn other_things_say_what_to_do() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let directory = told(open_archive(&fixture, "layout", ""));
    assert!(directory.contains("oci:/"), "{directory}");
    std::fs::remove_file(fixture.layout().join("index.json")).unwrap();
    fixture.write("manifest.json", b"[]");
    pack(&fixture, "docker.tar", &[]);
    let docker = told(open_archive(&fixture, "docker.tar", ""));
    assert!(docker.contains("docker-archive:"), "{docker}");
}

#[test]
fn skopeos_archives_are_read() {
    if !have("skopeo") {
        return;
    }
    let fixture = Fixture::with_layers(&[gzip_layer("a"), gzip_layer("b")]);
    let image = fixture.open("").unwrap();
    let directory = fixture.directory().display();
    let source = format!("oci:{directory}/layout");
    run(
        "skopeo",
        &[
            "copy",
            &source,
            &format!("oci-archive:{directory}/s.tar:os:1"),
        ],
    );
    for select in ["", ":os:1"] {
        let copy = open_archive(&fixture, "s.tar", select).unwrap();
        assert_eq!(copy.config, image.config);
        assert_eq!(read(&copy, 1), Ok(tar("b")));
    }
    assert_eq!(
        digest_of(&fixture.image("amd64", &[])).algorithm(),
        "sha256"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is changed in an archive, the layer is never read as another one.
    #[test]
    fn changed_archives_never_give_other_layers(
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6)
    ) {
        let fixture = Fixture::with_layers(&[gzip_layer("a")]);
        let path = pack(&fixture, "image.tar", &["-b1"]);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(image) = open_archive(&fixture, "image.tar", "") {
            // The documents may be others; a layer is what its diff-id says, or nothing.
            let layer = read(&image, 0);
            prop_assert!(layer.is_err() || layer == Ok(tar("a")));
        }
    }
}
