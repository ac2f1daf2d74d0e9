//! Which of its stages an install directory is at.
//!
//! ```text
//! install-config.yaml                    create install-config   nothing to do yet
//! manifests/ openshift/                  create manifests        Manifests
//! bootstrap.ign master.ign worker.ign    create ignition-configs Ignition
//! bootstrap-in-place-for-live-iso.ign    create single-node-…    BootstrapInPlace
//! agent-config.yaml or cluster-manifests before agent create …   Agent
//! ```
//!
//! Each command reads the files of the one before and deletes them; what it read is kept in
//! `.openshift_install_state.json`. Files of two stages side by side are refused: openshift-install
//! would discard one of them, and with it what is written here.
//!
//! Rules: openshift/installer main 5f2b0d3dc3, `pkg/asset/targets/targets.go` and `pkg/asset/store`. The
//! commands of all stages but `create cluster` were run on directories that were prepared here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::limited;

/// What openshift-install knows of the directory; never written to.
const STATE_FILE: &str = ".openshift_install_state.json";

/// Its log, which is there from the first command on.
const LOG_FILE: &str = ".openshift_install.log";

/// Largest state file that is read. Those of large clusters have some megabytes.
const STATE_FILE_MAX_BYTES: u64 = 128 << 20;

/// The asset in the state file that is there once Ignition configs have been made.
const BOOTSTRAP_ASSET: &str = "*bootstrap.Bootstrap";

/// The config of a single node, for which there is no separate bootstrap machine.
pub(super) const IN_PLACE: &str = "bootstrap-in-place-for-live-iso.ign";

/// A stage at which something can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// After `create manifests`: all that is ever possible.
    Manifests,
    /// After `create ignition-configs`: no manifest is read any more.
    Ignition,
    /// The same for a single node, after `create single-node-ignition-config`.
    BootstrapInPlace,
    /// Before `agent create image`, which reads manifests from one folder.
    Agent,
}

impl State {
    /// In a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Manifests => "manifests, before Ignition configs are made",
            Self::Ignition => "Ignition configs",
            Self::BootstrapInPlace => "Ignition configs of a single node",
            Self::Agent => "input of an agent-based installation",
        }
    }
}

/// Tells the stage, or why there is nothing to be done in it.
pub(super) fn recognise(directory: &Path) -> Result<State> {
    let names = names(directory)?;
    let seen = Seen {
        directory,
        names: &names,
    };
    let configs = seen.configs();
    if seen.has("agent-config.yaml") || seen.has_files("cluster-manifests") {
        return seen.agent(&configs);
    }
    if let Some(made) = names.iter().find(|name| is_agent_output(name)) {
        return Err(seen.failure(
            format!("has {made}, so the agent image is made, with all manifests that it will have"),
            "put agent-config.yaml and install-config.yaml into a new directory, prepare that, and \
             make the image again",
        ));
    }
    if !configs.is_empty() {
        return seen.ignition(&configs);
    }
    if seen.has_files("manifests") || seen.has_files("openshift") {
        return seen.manifests();
    }
    if seen.has("install-config.yaml") {
        return Err(seen.failure(
            "has an install-config.yaml and no manifests yet".to_owned(),
            format!(
                "run openshift-install create manifests --dir {} first; an agent-based installation \
                 needs agent-config.yaml beside it",
                directory.display()
            ),
        ));
    }
    if seen.assets()?.contains_key(BOOTSTRAP_ASSET) {
        return Err(seen.failure(
            "has been consumed: openshift-install has read its Ignition configs".to_owned(),
            "begin anew with a copy of install-config.yaml in an empty directory",
        ));
    }
    let is_ours = |name: &&String| [LOG_FILE, STATE_FILE].contains(&name.as_str());
    Err(seen.failure(
        match names.iter().all(|name| is_ours(&name)) {
            true => "has no install-config.yaml and no manifests in it".to_owned(),
            false => "is no install directory".to_owned(),
        },
        "name the directory that openshift-install create manifests --dir was given",
    ))
}

struct Seen<'a> {
    directory: &'a Path,
    names: &'a BTreeSet<String>,
}

impl Seen<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether there is a directory of that name with something in it.
    fn has_files(&self, name: &str) -> bool {
        self.has(name)
            && fs::read_dir(self.directory.join(name))
                .is_ok_and(|mut entries| entries.next().is_some())
    }

    /// The configs that openshift-install writes; others are somebody else's.
    fn configs(&self) -> Vec<&'static str> {
        let all = ["bootstrap.ign", "master.ign", "worker.ign", "arbiter.ign"];
        all.into_iter()
            .chain([IN_PLACE])
            .filter(|name| self.has(name))
            .collect()
    }

    fn failure(&self, sentence: String, hint: impl Into<String>) -> anyhow::Error {
        Failure::new(format!("{} {sentence}", self.directory.display()), hint).into()
    }

    fn two_stages(&self, one: &str, other: &str) -> anyhow::Error {
        self.failure(
            format!(
                "has {one} and {other}, which are of two stages: openshift-install would discard one \
                 of them"
            ),
            "move what is not of the current stage out of the directory",
        )
    }

    fn half_made(&self, has: &str, misses: &str, hint: &str) -> anyhow::Error {
        self.failure(format!("is half-made: it has {has}, but no {misses}"), hint)
    }

    fn agent(&self, configs: &[&str]) -> Result<State> {
        let input = match self.has("agent-config.yaml") {
            true => "agent-config.yaml",
            false => "cluster-manifests",
        };
        if let Some(config) = configs.first() {
            return Err(self.two_stages(input, config));
        }
        let cluster_config = "manifests/cluster-config.yaml";
        if self.directory.join(cluster_config).exists() {
            return Err(self.two_stages(input, cluster_config));
        }
        if !self.has("install-config.yaml") && !self.has_files("cluster-manifests") {
            return Err(self.half_made(
                input,
                "install-config.yaml",
                "openshift-install has consumed it; put a copy back",
            ));
        }
        Ok(State::Agent)
    }

    fn ignition(&self, configs: &[&'static str]) -> Result<State> {
        let state = match self.has(IN_PLACE) {
            true => State::BootstrapInPlace,
            false => State::Ignition,
        };
        let first = match state {
            State::BootstrapInPlace => IN_PLACE,
            _ => configs[0],
        };
        if self.has("install-config.yaml") {
            return Err(self.two_stages("install-config.yaml", first));
        }
        for folder in ["manifests", "openshift"] {
            if self.has_files(folder) {
                return Err(self.two_stages(folder, first));
            }
        }
        if state == State::BootstrapInPlace && self.has("bootstrap.ign") {
            return Err(self.two_stages(IN_PLACE, "bootstrap.ign"));
        }
        let (needed, again): (&[&str], _) = match state {
            State::BootstrapInPlace => (
                &["worker.ign"],
                "run openshift-install create single-node-ignition-config anew",
            ),
            _ => (
                &["bootstrap.ign", "master.ign", "worker.ign"],
                "run openshift-install create ignition-configs anew",
            ),
        };
        let mut needed = needed.iter().chain(&["metadata.json", "auth"]);
        match needed.find(|name| !self.has(name)) {
            Some(missing) => Err(self.half_made(first, missing, again)),
            None => Ok(state),
        }
    }

    fn manifests(&self) -> Result<State> {
        let again =
            "run openshift-install create manifests anew, from a copy of install-config.yaml";
        for (one, other) in [("manifests", "openshift"), ("openshift", "manifests")] {
            if !self.has_files(one) {
                return Err(self.half_made(other, one, again));
            }
        }
        if self.has("install-config.yaml") {
            return Err(self.two_stages("install-config.yaml", "manifests"));
        }
        if !self.has(STATE_FILE) {
            return Err(self.half_made("manifests", STATE_FILE, again));
        }
        self.assets()?;
        Ok(State::Manifests)
    }

    /// The assets in the state file, if there is one.
    fn assets(&self) -> Result<BTreeMap<String, IgnoredAny>> {
        if !self.has(STATE_FILE) {
            return Ok(BTreeMap::new());
        }
        let path = self.directory.join(STATE_FILE);
        let bytes = limited::head(&path, STATE_FILE_MAX_BYTES)?;
        // The parser's own message could quote a secret.
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                format!("{} is broken in line {}", path.display(), error.line()),
                "begin anew with a copy of install-config.yaml in an empty directory",
            )
            .into()
        })
    }
}

fn is_agent_output(name: &str) -> bool {
    let is_image =
        (name.starts_with("agent.") || name.starts_with("node.")) && name.ends_with(".iso");
    is_image || name == "boot-artifacts" || name == "rendezvousIP"
}

fn names(directory: &Path) -> Result<BTreeSet<String>> {
    let reading = || format!("reading install directory {}", directory.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        // A name that is no text is none of openshift-install's.
        if let Ok(name) = entry.with_context(reading)?.file_name().into_string() {
            names.insert(name);
        }
    }
    Ok(names)
}
