//! Layouts: tags, digests, architectures, nesting; and documents that say nonsense.

use serde_json::{Value, json};

use super::fixture::{
    Fixture, TAR, TestLayer, digest_of, gzip_layer, have, on, read, run, tagged, tar, told,
};
use crate::image::media_type::{DOCKER_CONFIG, DOCKER_MANIFEST, OCI_MANIFEST};
use crate::image::{Compression, ImageError, arch};

#[test]
fn documents_are_read_as_they_are() {
    let layer = gzip_layer("a");
    let fixture = Fixture::with_layers(std::slice::from_ref(&layer));
    let image = fixture.open("").unwrap();
    let stored = std::fs::read(fixture.blob_path(&image.manifest_digest)).unwrap();
    assert_eq!(image.manifest, stored);
    assert_eq!(image.labels["containers.bootc"], "1");
    assert_eq!(image.annotations["for"], "amd64");
    assert_eq!(image.architecture, "amd64");
    assert_eq!(image.created, Some(1_735_787_045));
    assert_eq!(image.index_digest, None);
    assert_eq!(image.layers[0].diff_id, layer.diff_id);
    assert_eq!(image.layers[0].size_bytes, layer.blob.len() as u64);
    assert_eq!(image.layers[0].compression, Compression::Gzip);
    assert_eq!(
        image.layers[0].annotations["size"],
        layer.blob.len().to_string()
    );
    assert!(serde_json::from_slice::<Value>(&image.config).unwrap()["rootfs"].is_object());
}

#[test]
fn dockers_documents_are_read_as_well() {
    let fixture = Fixture::new();
    let mut layer = gzip_layer("a");
    layer.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
    let image = fixture.changed_image("amd64", &[layer], |manifest| {
        manifest["mediaType"] = DOCKER_MANIFEST.into();
        manifest["config"]["mediaType"] = DOCKER_CONFIG.into();
    });
    fixture.top(&[image]);
    assert_eq!(read(&fixture.open("").unwrap(), 0), Ok(tar("a")));
}

#[test]
fn tags_and_digests_choose() {
    let fixture = Fixture::new();
    let one = fixture.image("amd64", &[gzip_layer("one")]);
    let two = fixture.image("amd64", &[gzip_layer("two")]);
    fixture.top(&[
        tagged(&one, "v1"),
        tagged(&one, "localhost/os:1"),
        tagged(&two, "v2"),
    ]);
    for (select, expected) in [
        (":v1".to_owned(), &one),
        (":localhost/os:1".to_owned(), &one),
        (":v2".to_owned(), &two),
        (format!("@{}", digest_of(&two)), &two),
    ] {
        let image = fixture.open(&select).unwrap();
        assert_eq!(image.manifest_digest, digest_of(expected), "{select}");
    }
    let missing = told(fixture.open(":v3"));
    assert!(
        missing.contains(":v3 is not there; there is :v1, :localhost/os:1, :v2"),
        "{missing}"
    );
    let unknown = told(fixture.open(&format!("@sha256:{}", "0".repeat(64))));
    assert!(unknown.contains("is not there; there is :v1"), "{unknown}");
    let several = told(fixture.open(""));
    assert!(
        several.contains("may mean :v1 (amd64), :v2 (amd64)"),
        "{several}"
    );
    assert!(several.contains("TAG or @DIGEST"), "{several}");
}

#[test]
fn architectures_choose_at_every_level() {
    let fixture = Fixture::new();
    let arches = ["amd64", "arm64", "s390x"];
    let images = arches.map(|arch| fixture.image(arch, &[gzip_layer(arch)]));
    let [amd, arm, z] = &images;
    let platforms = [on(amd, "amd64"), on(arm, "arm64"), on(z, "s390x")];
    let attestation = fixture.image("unknown", &[gzip_layer("attestation")]);
    let mut attestation = on(&attestation, "unknown");
    attestation["platform"]["os"] = "unknown".into();
    let signature = fixture.json("application/vnd.example.signature", &json!({}));
    let flat = fixture.index(&[&platforms[..], &[attestation, signature]].concat());
    let nested = fixture.index(&[fixture.index(&[platforms[0].clone()]), platforms[1].clone()]);

    for (name, top, index) in [
        ("without platforms", vec![amd.clone(), arm.clone()], None),
        ("in index.json", platforms.to_vec(), None),
        ("in an index", vec![flat.clone()], Some(&flat)),
        (
            "in a nested index",
            vec![tagged(&nested, "os")],
            Some(&nested),
        ),
    ] {
        fixture.top(&top);
        for (wanted, expected) in [("amd64", amd), ("x86_64", amd), ("aarch64", arm)] {
            let image = fixture.open_for("", Some(wanted)).unwrap();
            assert_eq!(
                image.manifest_digest,
                digest_of(expected),
                "{name}, {wanted}"
            );
            assert_eq!(image.index_digest, index.map(digest_of), "{name}");
        }
        if ["amd64", "arm64"].contains(&arch::host()) {
            assert_eq!(
                fixture.open("").unwrap().architecture,
                arch::host(),
                "{name}"
            );
        }
        let missing = told(fixture.open_for("", Some("ppc64le")));
        assert!(
            missing.contains("not there for ppc64le; there is"),
            "{name}: {missing}"
        );
        assert!(
            missing.contains("(amd64)") && missing.contains("(arm64)"),
            "{missing}"
        );
        assert!(!missing.contains("unknown"), "{missing}");
    }

    // Images and indexes inside an index have digests, too.
    for (digest, wanted, expected) in [
        (digest_of(&flat), Some("s390x"), z),
        (digest_of(z), None, z),
    ] {
        fixture.top(&[tagged(&flat, "flat"), tagged(&nested, "nested")]);
        let image = fixture.open_for(&format!("@{digest}"), wanted).unwrap();
        assert_eq!(image.manifest_digest, digest_of(expected));
    }
}

#[test]
fn one_image_must_be_for_the_architecture_as_well() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    assert!(fixture.open_for("", Some("x86_64")).is_ok());
    let other = told(fixture.open_for("", Some("aarch64")));
    assert!(other.contains("is for amd64, not for arm64"), "{other}");

    let image = fixture.image("amd64", &[gzip_layer("a")]);
    fixture.top(&[on(&image, "arm64")]);
    let wrong = told(fixture.open(""));
    assert!(wrong.contains("is for amd64, not for arm64"), "{wrong}");
    let none = told(fixture.open_for("", Some("amd64")));
    assert!(
        none.contains("not there for amd64; there is @sha256:"),
        "{none}"
    );
}

#[test]
fn variants_lose_against_the_plain_image() {
    let fixture = Fixture::new();
    let plain = on(&fixture.image("amd64", &[gzip_layer("plain")]), "amd64");
    let mut v3 = on(&fixture.image("amd64", &[gzip_layer("v3")]), "amd64");
    v3["platform"]["variant"] = "v3".into();
    fixture.top(&[v3.clone(), plain.clone()]);
    let image = fixture.open_for("", Some("amd64")).unwrap();
    assert_eq!(image.manifest_digest, digest_of(&plain));
    let mut v2 = plain;
    v2["platform"]["variant"] = "v2".into();
    fixture.top(&[v3, v2]);
    assert!(told(fixture.open_for("", Some("amd64"))).contains("may mean"));
}

/// Each case: how the manifest is changed, and what is said.
#[test]
fn nonsense_in_a_manifest_is_refused() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str); 12] = [
        (
            "schema 1",
            |m| m["schemaVersion"] = 1.into(),
            "schema version 1",
        ),
        ("no layers", |m| m["layers"] = Value::Null, "malformed"),
        ("both kinds", |m| m["manifests"] = json!([]), "at once"),
        (
            "artifact",
            |m| m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into(),
            "artifact of type \"application/vnd.cncf.helm.config.v1+json\"",
        ),
        (
            "unknown layer",
            |m| m["layers"][0]["mediaType"] = "application/x-thing".into(),
            "layer 1 of manifest sha256:",
        ),
        (
            "encrypted layer",
            |m| m["layers"][0]["mediaType"] = format!("{TAR}+gzip+encrypted").into(),
            "decryption-key",
        ),
        (
            "path for a digest",
            |m| m["layers"][0]["digest"] = "sha256:../../../etc/passwd".into(),
            "malformed",
        ),
        (
            "unknown algorithm",
            |m| m["layers"][0]["digest"] = format!("sha384:{}", "a".repeat(96)).into(),
            "is not a digest",
        ),
        (
            "one layer more",
            |m| {
                let layer = m["layers"][0].clone();
                m["layers"].as_array_mut().unwrap().push(layer);
            },
            "has 2 layers, but its configuration has 1",
        ),
        (
            "wrong size",
            |m| m["layers"][0]["size"] = u64::MAX.into(),
            "18446744073709551615 are promised",
        ),
        (
            "huge configuration",
            |m| m["config"]["size"] = (16u64 << 20 | 1).into(),
            "where 16777217 are promised",
        ),
        (
            "missing layer",
            |m| m["layers"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into(),
            "is missing",
        ),
    ];
    for (name, change, message) in cases {
        let fixture = Fixture::new();
        let image = fixture.changed_image("amd64", &[gzip_layer("a")], change);
        fixture.top(&[image]);
        let error = told(fixture.open(""));
        assert!(error.contains(message), "{name}: {error}");
    }
}

#[test]
fn names_from_outside_do_not_reach_the_terminal_raw() {
    let fixture = Fixture::new();
    let odd = fixture.image("am\u{1b}d", &[gzip_layer("a")]);
    fixture.top(&[tagged(&odd, "\u{1b}[31m"), tagged(&odd, "b")]);
    let missing = told(fixture.open(":nothing"));
    assert!(missing.contains(r"there is :\u{1b}[31m, :b"), "{missing}");
    let malformed = told(fixture.open(":b"));
    assert!(
        malformed.contains(r#""am\u{1b}d" is not an architecture"#),
        "{malformed}"
    );
    fixture.top(&[on(&odd, "\u{1b}")]);
    assert!(!told(fixture.open_for("", Some("amd64"))).contains('\u{1b}'));
}

#[test]
fn layers_that_are_elsewhere_are_named_with_their_address() {
    let fixture = Fixture::new();
    let layer = gzip_layer("a");
    let image = fixture.changed_image("amd64", &[layer], |manifest| {
        let layer = &mut manifest["layers"][0];
        layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        layer["digest"] = format!("sha256:{}", "1".repeat(64)).into();
        layer["urls"] = json!(["https://a.example/layer"]);
    });
    fixture.top(&[image]);
    let error = told(fixture.open(""));
    assert!(
        error.contains("only its address is: \"https://a.example/layer\""),
        "{error}"
    );
}

#[test]
fn documents_are_held_to_digest_and_limit() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let image = fixture.open("").unwrap();
    let path = fixture.blob_path(&image.manifest_digest);
    let mut manifest = image.manifest.clone();
    let at = manifest.len() / 2;
    manifest[at] ^= 1;
    std::fs::write(&path, &manifest).unwrap();
    assert!(told(fixture.open("")).contains("has the digest"));
    std::fs::remove_file(&path).unwrap();
    assert!(told(fixture.open("")).contains("is missing"));

    let huge = fixture.blob(OCI_MANIFEST, &vec![b' '; (4 << 20) + 1]);
    fixture.top(&[huge]);
    assert!(told(fixture.open("")).contains("more than 4194304 bytes"));
    fixture.write("index.json", &vec![b' '; (4 << 20) + 1]);
    assert!(told(fixture.open("")).contains("more than 4194304 bytes"));
}

/// Indexes that list each other many times over must not be followed for ever.
#[test]
fn nesting_is_limited() {
    let fixture = Fixture::new();
    let mut index = fixture.index(&[fixture.image("amd64", &[gzip_layer("a")])]);
    for _ in 0..3 {
        fixture.top(&[index.clone()]);
        assert!(fixture.open("").is_ok());
        index = fixture.index(&[index]);
    }
    fixture.top(&[index.clone()]);
    assert!(fixture.open("").is_ok());
    fixture.top(&[fixture.index(&[index])]);
    assert!(told(fixture.open("")).contains("nested too deep"));
}

#[test]
fn what_is_no_layout_says_why() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    fixture.write("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#);
    assert!(told(fixture.open("")).contains("layout version is \"2.0.0\""));
    std::fs::remove_file(fixture.layout().join("oci-layout")).unwrap();
    assert!(fixture.open("").is_ok());

    fixture.write("index.json", b"{");
    assert!(told(fixture.open("")).contains("is malformed"));
    std::fs::remove_file(fixture.layout().join("index.json")).unwrap();
    assert!(told(fixture.open("")).contains("no index.json"));
    fixture.write("manifest.json", b"{}");
    assert!(told(fixture.open("")).contains("skopeo copy dir:"));

    std::fs::remove_dir_all(fixture.layout()).unwrap();
    assert!(told(fixture.open("")).contains("No such file"));
    std::fs::write(fixture.layout(), b"").unwrap();
    assert!(told(fixture.open("")).contains("oci-archive:"));
}

#[test]
fn pipes_in_place_of_blobs_do_not_block() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let path = fixture.blob_path(&fixture.open("").unwrap().layers[0].digest);
    std::fs::remove_file(&path).unwrap();
    run("mkfifo", &[path.to_str().unwrap()]);
    assert!(told(fixture.open("")).contains("not a regular file"));
}

/// skopeo reads what the fixture writes, and we read what skopeo writes.
#[test]
fn skopeo_agrees() {
    if !have("skopeo") {
        return;
    }
    let fixture =
        Fixture::with_layers(&[gzip_layer("a"), TestLayer::new(TAR, tar("b"), &tar("b"))]);
    let directory = fixture.directory().display();
    let image = fixture.open("").unwrap();
    for (name, options) in [
        ("same", &[][..]),
        (
            "zstd",
            &["--dest-compress", "--dest-compress-format", "zstd"],
        ),
        (
            "chunked",
            &["--dest-compress", "--dest-compress-format", "zstd:chunked"],
        ),
    ] {
        let target = format!("oci:{directory}/{name}:tag");
        let source = format!("oci:{directory}/layout");
        run(
            "skopeo",
            &[&["copy"], options, &[&source, &target]].concat(),
        );
        let digest = run("skopeo", &["inspect", "--format", "{{.Digest}}", &target]);
        let copy = crate::image::open(&target.parse().unwrap(), &fixture.access()).unwrap();
        assert_eq!(
            copy.manifest_digest.as_str(),
            String::from_utf8_lossy(&digest).trim()
        );
        assert_eq!(copy.config, image.config, "{name}");
        for index in 0..2 {
            assert_eq!(read(&copy, index), read(&image, index), "{name}");
        }
        let expected = if name == "same" {
            Compression::Gzip
        } else {
            Compression::Zstd
        };
        assert_eq!(copy.layers[0].compression, expected, "{name}");
    }
}

#[test]
fn errors_can_be_told_apart() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let error = fixture.open(":nothing").unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(ImageError::NoSuchEntry { .. })
    ));
}
