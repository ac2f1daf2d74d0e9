//! The cluster's pull secret: does it have credentials for an image?
//!
//! ```text
//! {"auths": {"HOST[:PORT][/PATH]": {"auth": base64 of USER:PASSWORD}}}
//! ```
//!
//! The longest key wins whose parts are the first ones of the image's name (`containers-auth.json(5)`).
//! Nothing of a secret's values is ever part of an error or of what `Debug` shows.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use super::image_reference::{OsImage, PushSpec};

/// Larger ones don't fit into a Secret (Kubernetes, `MaxSecretSize`).
const PULL_SECRET_MAX_BYTES: usize = 1 << 20;

/// Names of Docker Hub, which is the same for all of them.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// For whom a pull secret has credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct PullSecret {
    keys: BTreeSet<String>,
}

/// What is wrong with a pull secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullSecretError {
    /// Not even JSON.
    #[error("the pull secret is no JSON (line {line}, column {column})")]
    NotJson {
        /// Where it ends being some.
        line: usize,
        /// The same, in the line.
        column: usize,
    },
    /// More than the cluster takes.
    #[error("the pull secret has {0} bytes, and {PULL_SECRET_MAX_BYTES} are taken")]
    TooLarge(usize),
    /// JSON of another kind.
    #[error("the pull secret has no \"auths\" with registries in it")]
    NoAuths,
    /// An entry that a node could not use.
    #[error("the pull secret's entry for {registry} {reason}")]
    Entry {
        /// Whose entry.
        registry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl PullSecret {
    /// Reads a pull secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, PullSecretError> {
        if bytes.len() > PULL_SECRET_MAX_BYTES {
            return Err(PullSecretError::TooLarge(bytes.len()));
        }
        // The parser's own message could quote a password.
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| PullSecretError::NotJson {
                line: error.line(),
                column: error.column(),
            })?;
        let auths = value["auths"].as_object().ok_or(PullSecretError::NoAuths)?;
        let mut keys = BTreeSet::new();
        for (registry, entry) in auths {
            check(entry).map_err(|reason| PullSecretError::Entry {
                registry: normal(registry),
                reason,
            })?;
            keys.insert(normal(registry));
        }
        match keys.is_empty() {
            true => Err(PullSecretError::NoAuths),
            false => Ok(Self { keys }),
        }
    }

    /// The entry whose credentials are taken for an image, if there is one.
    pub fn entry_for(&self, image: &OsImage) -> Option<&str> {
        self.entry(&format!("{}/{}", image.registry(), image.repository()))
    }

    /// The entry whose credentials are taken for pushing, if there is one.
    pub fn entry_for_push(&self, place: &PushSpec) -> Option<&str> {
        self.entry(place.name())
    }

    fn entry(&self, name: &str) -> Option<&str> {
        let name = normal(name);
        let ends = name.match_indices('/').map(|(at, _)| at);
        let mut prefixes: Vec<&str> = ends.map(|at| &name[..at]).collect();
        prefixes.push(&name);
        prefixes
            .into_iter()
            .rev()
            .find_map(|prefix| self.keys.get(prefix))
            .map(String::as_str)
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PullSecret").field(&self.keys).finish()
    }
}

fn check(entry: &Value) -> Result<(), &'static str> {
    let entry = entry.as_object().ok_or("is no object")?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let auth = text("auth");
    if !auth.is_empty() {
        let plain = STANDARD
            .decode(auth)
            .or_else(|_| STANDARD_NO_PAD.decode(auth))
            .map_err(|_| "has an \"auth\" that is not base64")?;
        return match plain.iter().position(|byte| *byte == b':') {
            Some(at) if at > 0 => Ok(()),
            _ => Err("has an \"auth\" without user and password"),
        };
    }
    let has_password = !text("username").is_empty() && !text("password").is_empty();
    match has_password || !text("identitytoken").is_empty() {
        true => Ok(()),
        false => Err("has no credentials"),
    }
}

/// A key without the scheme and the API path of old clients, which write `https://quay.io/v1/`.
fn normal(key: &str) -> String {
    let (scheme, rest) = match key.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, key),
    };
    // A user and a password may stand before the host.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let rest = rest.trim_end_matches('/');
    let (host, path) = match rest.split_once('/') {
        // A client that wrote the scheme meant the host.
        Some((host, _)) if scheme => (host, None),
        Some((host, "v1" | "v2")) => (host, None),
        Some((host, path)) => (host, Some(path)),
        None => (rest, None),
    };
    let host = match DOCKER_HUB.contains(&host) {
        true => DOCKER_HUB[0],
        false => host,
    };
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    /// me:hunter2
    const AUTH: &str = "bWU6aHVudGVyMg==";

    fn secret(keys: &[&str]) -> PullSecret {
        let entries: Vec<String> = keys
            .iter()
            .map(|key| format!("{key:?}: {{\"auth\": {AUTH:?}}}"))
            .collect();
        let text = format!("{{\"auths\": {{{}}}}}", entries.join(", "));
        PullSecret::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_longest_key_in_whole_parts_is_taken() {
        let all = [
            "quay.io",
            "quay.io/me",
            "quay.io/me/o",
            "quay.io:5000",
            "https://index.docker.io/v1/",
            "http://old.example/v2/",
            "r.example/a/b/c",
        ];
        for (image, entry) in [
            ("quay.io/other/os", Some("quay.io")),
            ("quay.io/me/os", Some("quay.io/me")),
            ("quay.io/me/o", Some("quay.io/me/o")),
            ("quay.io:5000/me/os", Some("quay.io:5000")),
            ("quay.io:5001/me/os", None),
            ("docker.io/library/os", Some("docker.io")),
            ("old.example/x", Some("old.example")),
            ("r.example/a/b/c", Some("r.example/a/b/c")),
            ("r.example/a/b/d", None),
            ("sub.quay.io/me/os", None),
        ] {
            let secret = secret(&all);
            let image = format!("{image}@{DIGEST}").parse().unwrap();
            assert_eq!(secret.entry_for(&image), entry, "{image}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (text, said) in [
            ("", "the pull secret is no JSON (line 1, column 0)"),
            (
                r#"{"auths": {"q.io": {"auth": "hunter2"#,
                "the pull secret is no JSON (line 1, column 36)",
            ),
            (
                "[]",
                "the pull secret has no \"auths\" with registries in it",
            ),
            (
                r#"{"auths": {}}"#,
                "the pull secret has no \"auths\" with registries in it",
            ),
            (
                r#"{"auths": []}"#,
                "the pull secret has no \"auths\" with registries in it",
            ),
            (
                r#"{"auths": {"q.io": "hunter2"}}"#,
                "the pull secret's entry for q.io is no object",
            ),
            (
                r#"{"auths": {"https://me:hunter2@q.io": {}}}"#,
                "the pull secret's entry for q.io has no credentials",
            ),
            (
                r#"{"auths": {"q.io": {}}}"#,
                "the pull secret's entry for q.io has no credentials",
            ),
            (
                r#"{"auths": {"q.io": {"username": "hunter2"}}}"#,
                "the pull secret's entry for q.io has no credentials",
            ),
            (
                r#"{"auths": {"q.io": {"auth": "hunter2!"}}}"#,
                "the pull secret's entry for q.io has an \"auth\" that is not base64",
            ),
            (
                r#"{"auths": {"q.io": {"auth": "aHVudGVyMg=="}}}"#,
                "the pull secret's entry for q.io has an \"auth\" without user and password",
            ),
        ] {
            let error = PullSecret::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), said);
            assert!(!format!("{error:?}").contains("hunter2"));
        }
        assert!(!format!("{:?}", secret(&["q.io"])).contains(AUTH));
        let long = vec![b' '; PULL_SECRET_MAX_BYTES + 1];
        assert!(matches!(
            PullSecret::parse(&long),
            Err(PullSecretError::TooLarge(_))
        ));
    }
}
