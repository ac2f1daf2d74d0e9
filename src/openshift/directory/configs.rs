//! The Ignition configs of an install directory: what they carry, and fragments merged into them.
//!
//! Fragments are flattened, not chained with `ignition.config.merge`: on a host of the assisted or
//! agent-based installer nobody resolves that, and only files and units are taken. The configs are
//! somebody else's, so keys that are not known here stay, and all keep their order.
//!
//! Rules: openshift/installer main 5f2b0d3dc3, `pkg/asset/ignition`; openshift/assisted-installer
//! `src/installer/installer.go` and openshift/machine-config-operator main 7ff337a, `pkg/daemon/daemon.go`
//! (what `--once-from` takes).

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::Value;

use super::files::read_limited;
use super::manifests::{self, Document, ENDINGS};
use super::state::{IN_PLACE, State};
use crate::certificate::certificates;
use crate::failure::Failure;
use crate::ignition::{
    self, CONFIG_MAX_BYTES, CONTENT_MAX_BYTES, Version, content, flatten, ignored_once_from, merge,
    parse, validate,
};
use crate::openshift::{Note, PullSecret, Role};

/// Where the bootstrap machine has the manifests of both folders.
const FOLDERS: [(&str, &str); 2] = [
    ("/opt/openshift/manifests/", "manifests"),
    ("/opt/openshift/openshift/", "openshift"),
];

/// Where it has the cluster's pull secret.
const PULL_SECRET: &str = "/root/.docker/config.json";

/// Where its certificates are.
const CERTIFICATES: &str = "/opt/openshift/tls/";

/// An Ignition config of the directory.
#[derive(Clone, Debug)]
pub(super) struct ConfigFile {
    /// The machines that get it.
    pub(super) role: Role,
    /// Its name.
    pub(super) name: &'static str,
    /// As it is.
    pub(super) bytes: Vec<u8>,
    value: Value,
}

/// What the config of the bootstrap machine carries for the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// The objects.
    pub(super) documents: Vec<Document>,
    /// The cluster's pull secret.
    pub(super) pull_secret: Option<PullSecret>,
}

/// Reads and checks the configs that a stage has.
pub(super) fn read(directory: &Path, state: State) -> Result<Vec<ConfigFile>> {
    let files: &[(Role, &'static str)] = match state {
        State::Ignition => &[
            (Role::Bootstrap, "bootstrap.ign"),
            (Role::Master, "master.ign"),
            (Role::Worker, "worker.ign"),
            (Role::Arbiter, "arbiter.ign"),
        ],
        State::BootstrapInPlace => &[(Role::Bootstrap, IN_PLACE), (Role::Worker, "worker.ign")],
        State::Manifests | State::Agent => &[],
    };
    let limit_bytes = u64::try_from(CONFIG_MAX_BYTES).unwrap_or(u64::MAX);
    let mut configs = Vec::new();
    for &(role, name) in files {
        let path = directory.join(name);
        if role == Role::Arbiter && !path.exists() {
            continue;
        }
        let bytes = read_limited(&path, limit_bytes)?;
        let config = parse(&bytes).map_err(|error| refused(&path, &error))?;
        configs.push(ConfigFile {
            role,
            name,
            bytes,
            value: config.value,
        });
    }
    Ok(configs)
}

fn refused(path: &Path, error: &ignition::Error) -> anyhow::Error {
    let hint = error
        .hint()
        .unwrap_or("restore the file that openshift-install wrote, or make it anew");
    Failure::new(format!("{}: {error}", path.display()), hint).into()
}

impl ConfigFile {
    fn files(&self) -> impl Iterator<Item = (&str, &Value)> {
        let files = self.value["storage"]["files"].as_array();
        files
            .into_iter()
            .flatten()
            .filter_map(|file| Some((file["path"].as_str()?, file)))
    }

    /// The content of a file in the config, if it is in it.
    fn content(&self, path: &str, file: &Value) -> Result<Option<Vec<u8>>> {
        content(&file["contents"], CONTENT_MAX_BYTES)
            .with_context(|| format!("reading {path} in {}", self.name))
    }

    /// What it has for the cluster.
    pub(super) fn carried(&self) -> Result<Carried> {
        let mut carried = Carried::default();
        for (path, file) in self.files() {
            if path == PULL_SECRET
                && let Some(bytes) = self.content(path, file)?
            {
                let place = format!("{path} in {}", self.name);
                carried.pull_secret = Some(manifests::pull_secret(&place, &bytes)?);
            }
            for (prefix, folder) in FOLDERS {
                let is_manifest = |name: &&str| {
                    !name.contains('/') && ENDINGS.iter().any(|ending| name.ends_with(ending))
                };
                if let Some(name) = path.strip_prefix(prefix).filter(is_manifest)
                    && let Some(bytes) = self.content(path, file)?
                {
                    let documents = manifests::parse(&format!("{folder}/{name}"), &bytes)
                        .with_context(|| format!("reading {}", self.name))?;
                    carried.documents.extend(documents);
                }
            }
        }
        Ok(carried)
    }

    /// Fails if one of its certificates is of no use any more.
    pub(super) fn check_certificates(&self, now: SystemTime) -> Result<()> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        for (path, file) in self.files() {
            if !path.starts_with(CERTIFICATES) || !path.ends_with(".crt") {
                continue;
            }
            let pem = self.content(path, file)?.unwrap_or_default();
            let until = str::from_utf8(&pem).ok();
            let until = until.and_then(|pem| certificates(pem).map(|found| found.until).min());
            if until.is_some_and(|until| until < now) {
                return Err(Failure::new(
                    format!("{} has an expired certificate, {path}", self.name),
                    "some are made for a day; begin anew with a copy of install-config.yaml in an \
                     empty directory",
                )
                .into());
            }
        }
        Ok(())
    }

    /// The config with a fragment in it, if it hasn't got that already.
    pub(super) fn with(&self, fragment: &Value, notes: &mut Vec<Note>) -> Result<Option<Vec<u8>>> {
        let mut note = |id, sentence: String| {
            notes.push(Note {
                id,
                sentence: format!("{}: {sentence}", self.name),
                commands: Vec::new(),
            });
        };
        let mut parent = self.value.clone();
        if self.role == Role::Bootstrap {
            let flat = flatten(&parent).with_context(|| format!("flattening {}", self.name))?;
            if flat.value != parent {
                note(
                    "flattened",
                    "the configs inside of it are inlined, as the assisted installer would not see \
                     them"
                        .to_owned(),
                );
            }
            for finding in flat.notes {
                note("flattened", finding.to_string());
            }
            parent = flat.value;
        }
        self.check_conflicts(&parent, fragment)?;
        let merging = || format!("merging into {}", self.name);
        let merged = merge(&parent, fragment).with_context(merging)?;
        for finding in &merged.notes {
            note("merged", finding.to_string());
        }
        let report = validate(&merged.value).with_context(merging)?;
        if report.is_fatal() {
            return Err(ignition::Error::Invalid(report)).with_context(merging);
        }
        if merged.version > Version::V3_2 {
            note(
                "ignition-version",
                format!(
                    "it is of spec {}, and the installer's own are of 3.2.0; older boot images do not \
                     take it",
                    merged.version
                ),
            );
        }
        let lost = self.lost_once_from(&merged.value);
        if !lost.is_empty() {
            note(
                "once-from",
                format!(
                    "on a host of the assisted installer only files and units count, and these are \
                     lost: {}",
                    lost.join(", ")
                ),
            );
        }
        match merged.value == self.value {
            true => Ok(None),
            false => Ok(Some(self.written(&merged.value))),
        }
    }

    /// What the assisted installer doesn't take, besides what is in every bootstrap config: keys of
    /// the user core, and texts that are appended to files.
    fn lost_once_from(&self, config: &Value) -> Vec<String> {
        if self.role != Role::Bootstrap {
            return Vec::new();
        }
        ignored_once_from(config)
            .into_iter()
            .filter(|lost| !lost.path.starts_with("$.passwd") && !lost.path.ends_with(".append"))
            .map(|lost| lost.to_string())
            .collect()
    }

    /// Fails if the fragment would take the place of something else.
    fn check_conflicts(&self, parent: &Value, fragment: &Value) -> Result<()> {
        let entries = |config: &Value, section: &str, list: &str| -> Vec<Value> {
            let entries = config[section][list].as_array();
            entries.cloned().unwrap_or_default()
        };
        for (section, list, key, others) in [
            ("storage", "files", "path", &["directories", "links"][..]),
            ("systemd", "units", "name", &[]),
        ] {
            let theirs = entries(parent, section, list);
            for ours in entries(fragment, section, list) {
                let is_same = |theirs: &Value| theirs[key] == ours[key];
                let differs = theirs.iter().any(|t| is_same(t) && *t != ours);
                let is_other = others
                    .iter()
                    .any(|list| entries(parent, section, list).iter().any(is_same));
                if differs || is_other {
                    let name = ours[key].as_str().unwrap_or_default();
                    return Err(Failure::new(
                        format!("{} has a {name} of its own", self.name),
                        "take it out of the config, or make the config anew",
                    )
                    .into());
                }
            }
        }
        Ok(())
    }

    /// A value in the form that the file has.
    fn written(&self, value: &Value) -> Vec<u8> {
        let is_pretty = self.bytes.starts_with(b"{\n") || self.bytes.starts_with(b"{\r\n");
        let mut text = match is_pretty {
            true => serde_json::to_string_pretty(value),
            false => serde_json::to_string(value),
        }
        .expect("values can be written as JSON");
        // Go's writer keeps these out of JSON, where they are nowhere but in strings.
        for (plain, escaped) in [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")] {
            if self.has(escaped) && !self.has(plain) {
                text = text.replace(plain, escaped);
            }
        }
        if self.bytes.ends_with(b"\n") {
            text.push('\n');
        }
        text.into_bytes()
    }

    fn has(&self, text: &str) -> bool {
        self.bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    }
}
