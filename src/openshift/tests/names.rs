use crate::openshift::image_reference::OsImageError;
use crate::openshift::{OsImage, PushSpec};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn kind(error: &OsImageError) -> &'static str {
    match error {
        OsImageError::Malformed { .. } => "malformed",
        OsImageError::Tag(_) => "tag",
        OsImageError::TagAndDigest(_) => "tag and digest",
        OsImageError::NotSha256(_) => "not sha256",
        OsImageError::NotForBuilds { .. } => "not for builds",
        OsImageError::PushSpec { .. } => "push spec",
    }
}

#[test]
fn images_are_named_by_registry_and_digest() {
    for good in [
        "quay.io/os",
        "quay.io/a/b/c/os",
        "quay.io:5000/me/os",
        "localhost/os",
        "reg:5000/os",
    ] {
        let text = format!("{good}@{DIGEST}");
        let image: OsImage = text.parse().unwrap();
        assert_eq!(image.to_string(), text);
    }
    let upper = DIGEST.to_uppercase();
    for (bad, said) in [
        (String::new(), "malformed"),
        ("quay.io/me/os".to_owned(), "tag"),
        ("quay.io/me/os:4.20".to_owned(), "tag"),
        (format!("quay.io/me/os:4.20@{DIGEST}"), "tag and digest"),
        (format!("quay.io:5000/me/os:4@{DIGEST}"), "tag and digest"),
        (format!("docker://quay.io/me/os@{DIGEST}"), "malformed"),
        (format!("quay.io/me/os@{}", &DIGEST[..70]), "malformed"),
        (format!("quay.io/me/os@sha256:{}", &upper[7..]), "malformed"),
        (
            format!("quay.io/me/os@sha512:{0}{0}", &DIGEST[7..]),
            "not sha256",
        ),
        (format!("quay.io/me/os@md5:{}", &DIGEST[39..]), "not sha256"),
        (format!("quay.io/me/os@{DIGEST}@{DIGEST}"), "malformed"),
        (format!("me/os@{DIGEST}"), "malformed"),
        (format!("docker.io/os@{DIGEST}"), "malformed"),
        (format!("quay.io/me/os@{DIGEST}\n"), "malformed"),
        (format!(" quay.io/me/os@{DIGEST}"), "malformed"),
        (format!("quay.io/Me/os@{DIGEST}"), "malformed"),
    ] {
        let error = bad.parse::<OsImage>().unwrap_err();
        assert_eq!(kind(&error), said, "{bad:?}: {error}");
    }
}

/// Names that a finished build could have, and some that only a push could.
const FOR_BUILDS: &[(&str, bool)] = &[
    ("quay.io/os", true),
    ("quay.io/me/os", true),
    ("quay.io/me/o.s", true),
    ("quay.io:5000/me/os", true),
    (
        "image-registry.openshift-image-registry.svc:5000/me/os",
        true,
    ),
    ("quay.io/a/b/os", false),
    ("quay.io/m.e/os", false),
    ("localhost/os", false),
    ("reg:5000/me/os", false),
    ("quay.io:5/me/os", false),
];

#[test]
fn builds_take_fewer_names_than_nodes() {
    for (name, fits) in FOR_BUILDS {
        let image: OsImage = format!("{name}@{DIGEST}").parse().unwrap();
        assert_eq!(image.check_for_builds().is_ok(), *fits, "{name}");
        assert_eq!(
            format!("{name}:tag").parse::<PushSpec>().is_ok(),
            *fits,
            "{name}"
        );
    }
    let long = format!("quay.io/{}/os:a", "n".repeat(61));
    assert!(long.parse::<PushSpec>().is_ok());
    for bad in [
        "",
        "quay.io",
        "quay.io/me/os",
        "quay.io/me/os:",
        "quay.io/me/os:a b",
        "quay.io/me/:a",
        "quay.io//os:a",
        "quay..io/os:a",
        ".quay.io/os:a",
        "https://quay.io/os:a",
        &format!("quay.io/me/os@{DIGEST}"),
        &format!("quay.io/{}/os:a", "n".repeat(62)),
        &format!("quay.io/me/{}:a", "n".repeat(447)),
    ] {
        let error = bad.parse::<PushSpec>().unwrap_err();
        assert_eq!(kind(&error), "push spec", "{bad:?}");
    }
}
