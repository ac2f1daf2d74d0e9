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
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::super::error::ImageError;
use super::super::reference::RegistryName;
use super::helper::{self, Answer};
use super::secret::Secret;
use crate::limited;

/// Most bytes of a file with credentials; pull secrets of big sites have some KiB.
const AUTHFILE_BYTES_MAX: u64 = 4 << 20;

/// Tools write the padding, people who encode by hand leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
            false => AuthFile::parse(&file, &text).map_err(|error| {
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
    match limited::stream(file, AUTHFILE_BYTES_MAX)? {
        None => Err(io::Error::other(format!(
            "more than {AUTHFILE_BYTES_MAX} bytes"
        ))),
        text => Ok(text),
    }
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
    /// A file of the older kind, which is known by its name, has the entries without a frame.
    fn parse(file: &Path, text: &[u8]) -> serde_json::Result<Self> {
        match file.file_name().is_some_and(|name| name == ".dockercfg") {
            true => Ok(Self {
                auths: serde_json::from_slice(text)?,
                ..Self::default()
            }),
            false => serde_json::from_slice(text),
        }
    }

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
mod tests;
