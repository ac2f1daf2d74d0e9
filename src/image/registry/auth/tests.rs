//! Keys, entries, helpers, and the places where files with credentials are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::super::reference::ImageRef;
use super::{AuthFile, Found, Secret, files, find};

fn name(text: &str) -> super::RegistryName {
    match format!("docker://{text}").parse() {
        Ok(ImageRef::Registry(name)) => name,
        other => panic!("{other:?}"),
    }
}

fn lookup(file: &str, image: &str) -> Result<Option<(String, Secret)>, String> {
    let file: AuthFile = serde_json::from_str(file).unwrap();
    Ok(match file.lookup(&name(image), None)? {
        Found::Secret { key, secret } => Some((key, secret)),
        Found::Nothing { .. } => None,
    })
}

/// Entries are `{user}:x`, so that the user tells which entry was taken.
#[test]
fn the_longest_key_wins() {
    let file = r#"{"auths": {
        "quay.io": {"auth": "aG9zdDp4"},
        "quay.io/ns": {"auth": "bnM6eA=="},
        "quay.io/ns/os": {"auth": "b3M6eDp5"},
        "localhost:5000": {"auth": "cG9ydDp4"},
        "https://index.docker.io/v1/": {"auth": "aHViOng"},
        "https://old.example/v2/": {"auth": "b2xkOngAAA=="},
        "plain.example": {"username": "plain", "password": "x"},
        "token.example": {"auth": "dTp4", "identitytoken": "t"},
        "empty.example": {}
    }}"#;
    for (image, key, user) in [
        ("quay.io/ns/os:1", "quay.io/ns/os", "os"),
        ("quay.io/ns/os/more", "quay.io/ns/os", "os"),
        ("quay.io/ns/osx", "quay.io/ns", "ns"),
        ("quay.io/nsx/os", "quay.io", "host"),
        ("localhost:5000/os", "localhost:5000", "port"),
        ("busybox", "https://index.docker.io/v1/", "hub"),
        ("docker.io/a/b", "https://index.docker.io/v1/", "hub"),
        ("old.example/a", "https://old.example/v2/", "old"),
        ("plain.example/a", "plain.example", "plain"),
    ] {
        let (found, secret) = lookup(file, image).unwrap().expect(image);
        assert_eq!(found, key, "{image}");
        assert!(
            matches!(secret, Secret::Basic(u, _) if u == user),
            "{image}"
        );
    }
    let (_, secret) = lookup(file, "quay.io/ns/os").unwrap().unwrap();
    assert_eq!(secret, Secret::Basic("os".into(), "x:y".into()));
    let (_, secret) = lookup(file, "token.example/a").unwrap().unwrap();
    assert_eq!(secret, Secret::Identity("t".into()));
    for image in ["example.com/a", "localhost:5001/os", "empty.example/a"] {
        assert_eq!(lookup(file, image), Ok(None), "{image}");
    }
}

#[test]
fn entries_that_cannot_be_used_say_why_without_the_secret() {
    for (entry, reason) in [
        (r#"{"auth": "c2VjcmV0"}"#, "no colon"),
        (r#"{"auth": "se cret"}"#, "not base64"),
        (r#"{"auth": "//79Og=="}"#, "not UTF-8"),
    ] {
        let file = format!(r#"{{"auths": {{"a.example": {entry}}}}}"#);
        let error = lookup(&file, "a.example/b").unwrap_err();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("ecret"), "{error}");
    }
    assert!(!format!("{:?}", Secret::Basic("u".into(), "secret".into())).contains("secret"));
    assert!(!format!("{:?}", Secret::Identity("secret".into())).contains("secret"));
}

#[test]
fn helpers_that_are_missing_matter_only_where_they_are_named() {
    let named = r#"{"credHelpers": {"a.example": "nowhere"}}"#;
    assert!(
        lookup(named, "a.example/b")
            .unwrap_err()
            .contains("docker-credential-nowhere")
    );
    assert_eq!(lookup(named, "b.example/b"), Ok(None));
    let store = r#"{"auths": {"a.example": {}}, "credsStore": "nowhere"}"#;
    assert!(
        lookup(store, "a.example/b")
            .unwrap_err()
            .contains("docker-credential-nowhere")
    );
    assert_eq!(lookup(store, "b.example/b"), Ok(None));
    let path = r#"{"credHelpers": {"a.example": "../../bin/sh"}}"#;
    assert!(
        lookup(path, "a.example/b")
            .unwrap_err()
            .contains("not a name")
    );
}

#[test]
fn files_are_looked_at_in_podmans_order() {
    let environment = |pairs: &[(&str, &str)], authfile: Option<&str>| {
        let pairs: Vec<(String, OsString)> = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), value.into()))
            .collect();
        let look = move |name: &str| {
            let pair = pairs.iter().find(|(n, _)| n == name);
            pair.map(|(_, value)| value.clone())
        };
        files(authfile.map(Path::new), &look)
    };
    let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
    let all = [
        ("REGISTRY_AUTH_FILE", "/r"),
        ("XDG_RUNTIME_DIR", "/run/u"),
        ("HOME", "/h"),
    ];
    assert_eq!(environment(&all, Some("/a")), (paths(&["/a"]), true));
    assert_eq!(environment(&all, None), (paths(&["/r"]), true));
    assert_eq!(
        environment(&all[1..], None),
        (
            paths(&[
                "/run/u/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]),
            false
        )
    );
    let moved = [
        ("XDG_CONFIG_HOME", "/c"),
        ("DOCKER_CONFIG", "/d"),
        ("REGISTRY_AUTH_FILE", ""),
    ];
    let (found, _) = environment(&moved, None);
    assert!(found[0].starts_with("/run/containers") && found[0].ends_with("auth.json"));
    assert_eq!(
        found[1..],
        paths(&["/c/containers/auth.json", "/d/config.json"])
    );
}

#[test]
fn what_was_looked_at_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth.json");
    let shown = file.display().to_string();
    let nothing = |_: &str| None;
    let missing = find(&name("a.example/b"), Some(&file), &nothing).unwrap_err();
    assert!(format!("{missing:#}").contains(&shown), "{missing:#}");

    for empty in ["", "\n", "{}", r#"{"auths":{}}"#] {
        std::fs::write(&file, empty).unwrap();
        let login = find(&name("a.example/b"), Some(&file), &nothing).unwrap();
        assert_eq!(login.secret, None);
        assert!(login.story.contains(&shown), "{}", login.story);
        assert!(
            login.story.contains("podman login a.example"),
            "{}",
            login.story
        );
    }

    std::fs::write(&file, r#"{"auths": {"a.example": {"auth": "dTpw"}}}"#).unwrap();
    let login = find(&name("a.example/b"), Some(&file), &nothing).unwrap();
    assert!(login.story.contains("for a.example in") && login.story.contains(&shown));

    std::fs::write(&file, r#"{"auths": {"a.example": "secret"}}"#).unwrap();
    let broken = find(&name("a.example/b"), Some(&file), &nothing).unwrap_err();
    assert!(format!("{broken:#}").contains("line 1"), "{broken:#}");
    assert!(!format!("{broken:#}").contains("secret"), "{broken:#}");
}
