//! An install directory of openshift-install: what it has, what is added to it, and back again.
//!
//! ```text
//! state         which stage it is at, or why nothing can be done
//! manifests     what its manifests say of images
//! configs       its Ignition configs, and fragments in them
//! edit, plan    the edits
//! execute       all of them or none
//! record        what there was before, and how it is restored
//! diff          the edits for people
//! files         how files are read, told apart and given away
//! ```
//!
//! Nothing but `DIR/.coreos-bake` is written besides the edits. openshift-install doesn't see it: it
//! asks for files by their names and patterns, in two folders and at the top.
//!
//! Rules: openshift/installer main 5f2b0d3dc3, by what was run and read; see `state` and `docs/verified.md`.

mod configs;
mod diff;
mod edit;
mod execute;
mod files;
mod manifests;
mod plan;
mod record;
mod state;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use serde_json::Value;

use super::machine_config::ROLE_LABEL;
use super::machine_os_config::PRE_BUILT;
use super::{Folder, Found, PullSecret, Role, ToldRelease};
use configs::ConfigFile;
use files::read_limited;
use manifests::ENDINGS;
use record::Record;

pub use edit::Edit;
pub use manifests::{Document, read_objects};
pub use plan::Plan;
pub use record::undo;
pub use state::State;

/// Endings of those that the agent-based installer takes for manifests.
const AGENT_ENDINGS: [&str; 2] = [".yaml", ".yml"];

/// Largest install config. It can have certificates and a pull secret in it.
const INSTALL_CONFIG_MAX_BYTES: u64 = 16 << 20;

/// An install directory, as it was when it was read.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    state: State,
    found: Vec<Found>,
    pull_secret: Option<PullSecret>,
    platform: Option<String>,
    bootstraps_in_place: bool,
    told_release: Option<ToldRelease>,
    roles: BTreeSet<Role>,
    configs: Vec<ConfigFile>,
    /// Manifests of ours that the bootstrap machine is going to have, by the names of their files.
    carried: BTreeMap<String, Value>,
    record: Option<Record>,
}

impl Directory {
    /// Reads a directory and changes nothing. What is valid for a time only is judged by `now`.
    pub fn read(path: &Path, now: SystemTime) -> Result<Self> {
        let state = state::recognise(path)?;
        // One of an earlier stage is of no use any more: its files are consumed.
        let record = Record::read(path)?.filter(|record| record.state() == state);
        let mut directory = Self {
            path: path.to_owned(),
            state,
            found: Vec::new(),
            pull_secret: None,
            platform: None,
            bootstraps_in_place: false,
            told_release: None,
            roles: BTreeSet::from([Role::Bootstrap, Role::Master, Role::Worker]),
            configs: configs::read(path, state)?,
            carried: BTreeMap::new(),
            record,
        };
        match state {
            State::Manifests => directory.read_manifests()?,
            State::Agent => directory.read_agent()?,
            State::Ignition | State::BootstrapInPlace => directory.read_configs(now)?,
        }
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stage.
    pub fn state(&self) -> State {
        self.state
    }

    /// What manifests of others say of images.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// The cluster's pull secret, where it can be read.
    pub fn pull_secret(&self) -> Option<&PullSecret> {
        self.pull_secret.as_ref()
    }

    /// The platform of its install config, such as `baremetal`, where it can be read.
    pub fn platform(&self) -> Option<&str> {
        self.platform.as_deref()
    }

    /// What the admin has openshift-install do next, if it has to make something of the directory.
    pub fn next_command(&self) -> Option<&'static str> {
        match self.state {
            State::Manifests if self.bootstraps_in_place => {
                Some("create single-node-ignition-config")
            }
            State::Manifests => Some("create ignition-configs"),
            State::Agent => Some("agent create image"),
            State::Ignition | State::BootstrapInPlace => None,
        }
    }

    /// The release that it is of, where a file of it says so.
    pub fn told_release(&self) -> Option<&ToldRelease> {
        self.told_release.as_ref()
    }

    /// The machines that are installed from it.
    pub fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// The pools whose image a manifest names that is there, be it ours.
    pub fn imaged_pools(&self) -> BTreeSet<String> {
        let theirs = self.found.iter().filter(|found| found.os_image.is_some());
        let theirs = theirs.map(|found| found.pool.clone());
        let ours = self.carried.values().filter_map(|value| {
            let image = value["spec"]["osImageURL"].as_str();
            let seed = value["metadata"]["annotations"][PRE_BUILT].as_str();
            let pool = match value["kind"] == "MachineOSConfig" {
                true => &value["spec"]["machineConfigPool"]["name"],
                false => &value["metadata"]["labels"][ROLE_LABEL],
            };
            image.filter(|image| !image.is_empty()).or(seed)?;
            pool.as_str().map(str::to_owned)
        });
        theirs.chain(ours).collect()
    }

    fn read_manifests(&mut self) -> Result<()> {
        for folder in [Folder::Manifests, Folder::Openshift] {
            let documents = manifests::read_folder(&self.path, folder.as_str(), &ENDINGS)?;
            self.take(&documents)?;
        }
        Ok(())
    }

    fn read_agent(&mut self) -> Result<()> {
        for folder in ["cluster-manifests", Folder::Openshift.as_str()] {
            let documents = manifests::read_folder(&self.path, folder, &AGENT_ENDINGS)?;
            self.take(&documents)?;
        }
        let name = "install-config.yaml";
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(());
        }
        let bytes = read_limited(&path, INSTALL_CONFIG_MAX_BYTES)?;
        for Document { value, .. } in manifests::parse(name, &bytes)? {
            self.platform = manifests::platform(&value);
            if let Some(secret) = value["pullSecret"].as_str() {
                self.pull_secret = Some(manifests::pull_secret(name, secret.as_bytes())?);
            }
            if value.get("arbiter").is_some_and(Value::is_object) {
                self.roles.insert(Role::Arbiter);
            }
        }
        Ok(())
    }

    fn read_configs(&mut self, now: SystemTime) -> Result<()> {
        self.roles = self.configs.iter().map(|config| config.role).collect();
        if self.state == State::BootstrapInPlace {
            // The bootstrap machine becomes one.
            self.roles.insert(Role::Master);
        }
        let mut configs = self.configs.iter();
        let Some(bootstrap) = configs.find(|config| config.role == Role::Bootstrap) else {
            return Ok(());
        };
        bootstrap.check_certificates(now)?;
        let carried = bootstrap.carried()?;
        self.take(&carried.documents)?;
        self.pull_secret = carried.pull_secret.or(self.pull_secret.take());
        Ok(())
    }

    /// Remembers what matters of some manifests.
    fn take(&mut self, documents: &[Document]) -> Result<()> {
        for document in documents {
            if let Some(secret) = document.pull_secret()? {
                self.pull_secret = Some(secret);
            }
            if let Some(told) = document.told_release() {
                self.told_release = Some(told);
            }
            if let Some(config) = document.install_config() {
                self.platform = manifests::platform(&config).or(self.platform.take());
                self.bootstraps_in_place |= manifests::bootstraps_in_place(&config);
            }
            let Some(found) = document.found() else {
                continue;
            };
            if found.kind == "MachineConfig" && found.pool == Role::Arbiter.as_str() {
                self.roles.insert(Role::Arbiter);
            }
            if !self.configs.is_empty() && is_ours(&found.file) {
                let name = found.file.rsplit('/').next().unwrap_or_default();
                self.carried.insert(name.to_owned(), document.value.clone());
                continue;
            }
            let record = self.record.as_ref();
            if !record.is_some_and(|record| record.made(&found.file)) {
                self.found.push(found);
            }
        }
        Ok(())
    }
}

/// Whether a manifest is called as ours are.
fn is_ours(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    name.starts_with("99-") && name.contains("coreos-bake-")
}
