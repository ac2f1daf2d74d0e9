//! References that are read, and those that are refused with a reason.

use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

use super::{ImageRef, Select, Version};

const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The text, and how it reads when completely spelled out.
#[test]
fn references_are_read_and_spelled_out() {
    for (text, full) in [
        ("oci:dir", "oci:dir"),
        ("oci:/a/b:tag", "oci:/a/b:tag"),
        ("oci:/a/b@c", "oci:/a/b@c"),
        ("oci:/a/b@c:tag", "oci:/a/b@c:tag"),
        ("oci:./a:localhost/os:1", "oci:./a:localhost/os:1"),
        ("oci-archive:x.ociarchive", "oci-archive:x.ociarchive"),
        ("oci-archive:x.tar:v1", "oci-archive:x.tar:v1"),
        (
            "containers-storage:localhost/os:1",
            "containers-storage:localhost/os:1",
        ),
        (
            "docker://busybox",
            "docker://docker.io/library/busybox:latest",
        ),
        ("docker://dir:1", "docker://docker.io/library/dir:1"),
        (
            "docker.io/busybox:1",
            "docker://docker.io/library/busybox:1",
        ),
        ("index.docker.io/a/b", "docker://docker.io/a/b:latest"),
        (
            "docker://test.com:5000",
            "docker://docker.io/library/test.com:5000",
        ),
        ("quay.io/a/b:4.18", "docker://quay.io/a/b:4.18"),
        ("docker://quay.io/a/b", "docker://quay.io/a/b:latest"),
        ("localhost/os", "docker://localhost/os:latest"),
        ("localhost:5000/os", "docker://localhost:5000/os:latest"),
        (
            "localhost:5000/os:x_Y.z-1",
            "docker://localhost:5000/os:x_Y.z-1",
        ),
        ("[::1]:5000/os:1", "docker://[::1]:5000/os:1"),
        ("UPPER.example/os", "docker://UPPER.example/os:latest"),
        ("a.b/c__d/e.f/g--h_i", "docker://a.b/c__d/e.f/g--h_i:latest"),
    ] {
        let parsed: ImageRef = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(parsed.to_string(), full, "{text}");
        assert_eq!(full.parse(), Ok(parsed), "{text}: not read back");
    }
}

#[test]
fn digests_are_kept_apart_from_names_and_paths() {
    let layout: ImageRef = format!("oci:/a/b@{SHA}").parse().unwrap();
    let ImageRef::Layout { path, select } = layout else {
        panic!("{layout}");
    };
    assert_eq!(path.to_str(), Some("/a/b"));
    assert_eq!(select, Select::Digest(SHA.parse().unwrap()));

    let registry: ImageRef = format!("quay.io:443/a/b@{SHA}").parse().unwrap();
    let ImageRef::Registry(name) = registry else {
        panic!("{registry}");
    };
    assert_eq!(name.version, Version::Digest(SHA.parse().unwrap()));
}

/// The text, a part of the message, and whether there is a hint.
#[test]
fn what_is_no_reference_says_why() {
    let both = [
        format!("quay.io/a/b:1@{SHA}"),
        format!("oci:dir:1@{SHA}"),
        format!("oci-archive:file:1@{SHA}"),
    ];
    let long = format!("quay.io/{}", "a/".repeat(128) + "b");
    let long_tag = format!("a.b/c:{}", "x".repeat(129));
    let cut = format!("quay.io/a@{}", &SHA[..40]);
    for (text, reason, hint) in [
        (both[0].as_str(), "tag and a digest", true),
        (&both[1], "tag and a digest", true),
        (&both[2], "tag and a digest", true),
        ("", "image name is missing", false),
        ("docker://", "image name is missing", false),
        ("docker:///a", "is no part", false),
        ("oci:", "path is empty", false),
        ("oci::tag", "path is empty", false),
        ("oci:dir:", "tag is empty", false),
        ("oci:dir@sha256:12", "is not a digest", false),
        ("quay.io/Foo/bar", "upper-case", true),
        ("docker://Foo", "upper-case", true),
        ("Foo", "neither a registry nor a file", true),
        ("media/*.raw", "neither a registry nor a file", true),
        ("quay.io/a//b", "is no part", false),
        ("quay.io/a/", "is no part", false),
        ("quay.io/-a", "is no part", false),
        ("quay.io/a.._b", "is no part", false),
        ("quay.io/a:", "is not a tag", false),
        ("quay.io/a:-x", "is not a tag", false),
        ("quay.io/a:x y", "is not a tag", false),
        ("quay.io:0/a", "not a host", false),
        ("quay.io:65536/a", "not a host", false),
        ("quay..io/a", "not a host", false),
        ("user@quay.io/a", "not a host", false),
        ("[::g]:5000/a", "not a host", false),
        ("busybox", "neither a registry nor a file", true),
        ("layered.oci", "neither a registry nor a file", true),
        ("team/os:1", "neither a registry nor a file", true),
        ("test.com:5000", "neither a registry nor a file", true),
        ("docker:quay.io/a", "needs two slashes", true),
        ("docker:/quay.io/a", "needs two slashes", true),
        ("./layout", "needs a prefix", true),
        ("/tmp/os.ociarchive", "needs a prefix", true),
        ("dir:/tmp/x", "not supported", true),
        ("docker-archive:x.tar", "not supported", true),
        ("https://quay.io/a", "not supported", true),
        (
            "ostree-unverified-registry:quay.io/a",
            "not supported",
            true,
        ),
        ("containers-storage:", "missing", false),
        ("containers-storage:--root=/", "missing", false),
        ("containers-storage:a b", "blanks", false),
        (&long, "more than 255", false),
        (&long_tag, "is not a tag", false),
        (&cut, "is not a digest", false),
    ] {
        let error = text.parse::<ImageRef>().expect_err(text);
        assert!(error.to_string().contains(reason), "{text:?}: {error}");
        assert_eq!(error.hint().is_some(), hint, "{text:?}: {error}");
    }
}

/// What is on disk is not looked for in a registry.
#[test]
fn paths_are_told_the_prefix_they_need() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("layout")).unwrap();
    std::fs::write(path("layout/index.json"), "{}").unwrap();
    std::fs::create_dir(path("media")).unwrap();
    std::fs::write(path("disk.raw"), "x").unwrap();
    let mut archive = tar::Builder::new(std::fs::File::create(path("os.tar")).unwrap());
    archive
        .append_path_with_name(path("disk.raw"), "index.json")
        .unwrap();
    archive.finish().unwrap();
    for (name, reason, hint) in [
        ("layout", "a directory with an image", "write oci:/"),
        ("media", "a directory without", "oci:DIR"),
        ("os.tar", "an archive", "write oci-archive:/"),
        ("disk.raw", "a file", "check and inspect"),
    ] {
        let text = path(name).display().to_string();
        let error = ImageRef::named(&text).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
    }
    let absent = path("absent").display().to_string();
    assert!(
        ImageRef::named(&absent)
            .unwrap_err()
            .to_string()
            .contains("needs a prefix")
    );
    assert!(ImageRef::named("quay.io/a/b").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Nothing upsets the parser, and what it takes reads the same when spelled out.
    #[test]
    fn any_text_is_read_or_refused(
        text in "(oci:|oci-archive:|docker://|containers-storage:|)[a-zA-Zä0-9:/@._\\[\\]-]{0,30}"
    ) {
        if let Ok(reference) = text.parse::<ImageRef>() {
            let full = reference.to_string();
            prop_assert_eq!(full.parse(), Ok(reference), "{}", full);
        }
    }
}
