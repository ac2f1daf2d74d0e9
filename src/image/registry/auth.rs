//! Credentials: which file, which key, which secret.
//!
//! Files are those of containers-auth.json(5), which Docker's `config.json` and OpenShift's pull
//! secret are as well:
//!
//! ```text
//! {"auths": {KEY: {"auth": base64("user:password"), "identitytoken": …}},
//!  "credHelpers": {HOST: HELPER}, "credsStore": HELPER}
//! ```
//!
//! A key is a host, or a host with the beginning of a repository's path; the longest that fits
//! counts. The first file with a fitting key is used. A file that the user names, by option or
//! environment, is the only one looked at. Secrets never appear in messages.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::super::error::ImageError;
use super::super::reference::RegistryName;
use super::helper::{self, Answer};

/// Most bytes of a file with credentials; pull secrets of big sites have some KiB.
const AUTHFILE_BYTES_MAX: u64 = 4 << 20;

/// Tools write the padding, people who encode by hand leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// User name and password.
    Basic(String, String),
    /// A refresh token, good for getting access tokens.
    Identity(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(user, _) => write!(f, "Basic({user:?})"),
            Self::Identity(_) => write!(f, "Identity"),
        }
    }
}

/// The outcome of the search: a secret or none, and how to tell the user about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) secret: Option<Secret>,
    /// Where the secret is from, or where none was found.
    pub(super) story: String,
}

/// Reads the value of an environment variable; a parameter, so that tests can say what is there.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Finds the credentials for a repository.
pub(super) fn find(
    name: &RegistryName,
    authfile: Option<&Path>,
    environment: Environment<'_>,
) -> anyhow::Result<Login> {
    let (files, must_exist) = files(authfile, environment);
    let path = environment("PATH");
    let mut looked_at = Vec::new();
    let mut notes = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let Some(text) = read(&file).with_context(|| format!("reading credentials in {shown}"))?
        else {
            if must_exist {
                return Err(unusable(name, &shown, "there is no such file"));
            }
            continue;
        };
        let parsed: AuthFile = match text.trim_ascii().is_empty() {
            true => AuthFile::default(),
            // The parser's message could quote a secret, its position cannot.
            false => serde_json::from_slice(&text).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let reason = format!("it is malformed at line {line}, column {column}");
                unusable(name, &shown, &reason)
            })?,
        };
        match parsed.lookup(name, path.as_deref()) {
            Ok(Found::Secret { key, secret }) => {
                tracing::debug!(file = shown, key, "found credentials");
                return Ok(Login {
                    secret: Some(secret),
                    story: format!("the credentials used are those for {key} in {shown}"),
                });
            }
            Ok(Found::Nothing { note }) => {
                notes.extend(note);
                looked_at.push(shown);
            }
            Err(reason) => return Err(unusable(name, &shown, &reason)),
        }
    }
    let mut story = match looked_at.is_empty() {
        true => "there are no credentials, since no file with credentials was found".to_owned(),
        false => format!(
            "there are no credentials for it in {}",
            looked_at.join(", ")
        ),
    };
    for note in notes {
        story.push_str("; ");
        story.push_str(&note);
    }
    story.push_str(&format!(
        "; log in with podman login {}, or name a file with --authfile",
        name.registry
    ));
    Ok(Login {
        secret: None,
        story,
    })
}

fn unusable(name: &RegistryName, file: &str, reason: &str) -> anyhow::Error {
    ImageError::Credentials {
        registry: name.registry.clone(),
        file: file.to_owned(),
        reason: reason.to_owned(),
    }
    .into()
}

/// The files to look at, in order, and whether the user insists on them.
fn files(authfile: Option<&Path>, environment: Environment<'_>) -> (Vec<PathBuf>, bool) {
    let variable = |name: &str| {
        environment(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    if let Some(file) = authfile {
        return (vec![file.to_owned()], true);
    }
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return (vec![file], true);
    }
    let home = variable("HOME");
    let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let runtime = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| {
        let user = rustix::process::getuid().as_raw();
        PathBuf::from(format!("/run/containers/{user}"))
    });
    // Without a runtime directory of the user's, podman keeps the file itself in that place.
    let runtime_file = match variable("XDG_RUNTIME_DIR") {
        Some(_) => runtime.join("containers/auth.json"),
        None => runtime.join("auth.json"),
    };
    let config = variable("XDG_CONFIG_HOME").or_else(|| in_home(".config"));
    let docker = variable("DOCKER_CONFIG").or_else(|| in_home(".docker"));
    let files = [
        Some(runtime_file),
        config.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ];
    (files.into_iter().flatten().collect(), false)
}

/// The text of a file; none if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(AUTHFILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > AUTHFILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "more than {AUTHFILE_BYTES_MAX} bytes"
        )));
    }
    Ok(Some(text))
}

/// A file with credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

enum Found {
    Secret { key: String, secret: Secret },
    Nothing { note: Option<String> },
}

impl AuthFile {
    fn lookup(&self, name: &RegistryName, path: Option<&std::ffi::OsStr>) -> Result<Found, String> {
        let nothing = Ok(Found::Nothing { note: None });
        let keys = keys(name);
        for key in &keys {
            let Some(helper) = self.cred_helpers.get(key) else {
                continue;
            };
            return match helper::get(helper, key, path)? {
                Answer::Secret(secret) => Ok(Found::Secret {
                    key: format!("{key} (credential helper {helper})"),
                    secret,
                }),
                Answer::NoneKept => nothing,
                Answer::NotInstalled => Err(format!(
                    "the credential helper docker-credential-{helper}, which it names for {key}, is not installed"
                )),
            };
        }
        let entry = self.entry(name, &keys);
        if let Some((key, entry)) = entry
            && let Some(secret) = entry.secret(key)?
        {
            return Ok(Found::Secret {
                key: key.to_owned(),
                secret,
            });
        }
        // Docker leaves an empty entry for what it keeps elsewhere.
        let Some(helper) = self.creds_store.as_deref().filter(|s| !s.is_empty()) else {
            return nothing;
        };
        let server = entry.map_or_else(|| server(&name.registry), |(key, _)| key.to_owned());
        match helper::get(helper, &server, path)? {
            Answer::Secret(secret) => Ok(Found::Secret {
                key: format!("{server} (credential store {helper})"),
                secret,
            }),
            Answer::NoneKept => nothing,
            Answer::NotInstalled => {
                let reason = format!(
                    "the credential store docker-credential-{helper}, which it names, is not installed"
                );
                match entry {
                    Some(_) => Err(reason),
                    // Perhaps it has nothing for this registry, which may be public.
                    None => Ok(Found::Nothing { note: Some(reason) }),
                }
            }
        }
    }

    /// The entry with the longest fitting key; then one whose key names the host in the old way,
    /// as a URL.
    fn entry(&self, name: &RegistryName, keys: &[String]) -> Option<(&str, &Entry)> {
        let exact = keys.iter().find_map(|key| self.auths.get_key_value(key));
        let host = canonical_host(&name.registry);
        let by_url = || {
            self.auths.iter().find(|(key, _)| {
                let bare = key
                    .strip_prefix("https://")
                    .or_else(|| key.strip_prefix("http://"));
                match bare {
                    Some(bare) => {
                        let end = bare.find('/').unwrap_or(bare.len());
                        canonical_host(&bare[..end]) == host
                    }
                    None => canonical_host(key) == host,
                }
            })
        };
        exact
            .or_else(by_url)
            .map(|(key, entry)| (key.as_str(), entry))
    }
}

impl Entry {
    /// The secret in an entry; none in an empty one.
    fn secret(&self, key: &str) -> Result<Option<Secret>, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Secret::Identity(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let bytes = BASE64
                .decode(auth.trim())
                .map_err(|_| format!("the entry for {key} is not base64"))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| format!("the entry for {key} is not UTF-8"))?;
            // Some tools pad with NUL bytes.
            let (user, password) = text
                .trim_end_matches('\0')
                .split_once(':')
                .ok_or_else(|| format!("the entry for {key} has no colon after the user name"))?;
            return Ok(Some(Secret::Basic(user.to_owned(), password.to_owned())));
        }
        Ok(given(&self.username)
            .zip(given(&self.password))
            .map(|(user, password)| Secret::Basic(user, password)))
    }
}

/// `host/a/b`, `host/a`, `host`.
fn keys(name: &RegistryName) -> Vec<String> {
    let mut keys = vec![name.name()];
    while let Some((shorter, _)) = keys.last().and_then(|key| key.rsplit_once('/')) {
        keys.push(shorter.to_owned());
    }
    keys
}

/// Docker's registry has three names.
fn canonical_host(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

/// What Docker asks its credential store for.
fn server(registry: &str) -> String {
    match canonical_host(registry) {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use super::super::super::reference::ImageRef;
    use super::{AuthFile, Found, Secret, files, find};

    fn name(text: &str) -> super::RegistryName {
        match text.parse() {
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
}
