//! What will be different in an install directory. Making a plan writes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::edit::Edit;
use super::files::sha256;
use super::{Directory, State, diff};
use crate::failure::Failure;
use crate::openshift::machine_config::ROLE_LABEL;
use crate::openshift::{Folder, Manifest, Note, Objects, Role};

/// All edits of a directory.
#[derive(Debug)]
pub struct Plan {
    pub(super) directory: PathBuf,
    pub(super) state: State,
    pub(super) edits: Vec<Edit>,
    notes: Vec<Note>,
    /// What a diff shows of the edits.
    added: diff::Added,
    /// A hash by which preparations are told apart.
    pub(super) settings: String,
    is_done: bool,
}

impl Plan {
    /// Says what the objects change in a directory, or why they can't.
    pub fn new(directory: &Directory, objects: &Objects) -> Result<Self> {
        let mut plan = Self {
            directory: directory.path.clone(),
            state: directory.state,
            edits: Vec::new(),
            notes: Vec::new(),
            added: diff::Added::of(
                objects
                    .fragments
                    .values()
                    .chain(objects.manifests.iter().map(diff::config_of)),
            ),
            settings: settings(objects),
            is_done: false,
        };
        if let Some(record) = &directory.record {
            if record.settings() != plan.settings {
                return Err(Failure::new(
                    format!(
                        "{} is prepared already, in another way",
                        plan.directory.display()
                    ),
                    "restore it with --undo first",
                )
                .into());
            }
            record.check_done(&plan.directory)?;
            plan.is_done = true;
            return Ok(plan);
        }
        plan.note_single_node(directory);
        match plan.state {
            State::Manifests | State::Agent => plan.add_manifests(directory, objects)?,
            State::Ignition | State::BootstrapInPlace => plan.add_fragments(directory, objects)?,
        }
        for edit in &plan.edits {
            plan.check_place(edit)?;
        }
        Ok(plan)
    }

    /// The edits.
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// What the admin has to know about the directory.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether the directory is prepared in this way already.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The edits as a unified diff that programs can go on with: `patch` takes that of manifests.
    pub fn patch(&self) -> String {
        let edits = self.edits.iter();
        edits.map(|edit| diff::patch(edit, &self.added)).collect()
    }

    /// The edits as a unified diff for people.
    pub fn diff(&self) -> String {
        let edits = self.edits.iter();
        edits.map(|edit| diff::unified(edit, &self.added)).collect()
    }

    fn note(&mut self, id: &'static str, sentence: impl Into<String>) {
        self.notes.push(Note {
            id,
            sentence: sentence.into(),
            commands: Vec::new(),
        });
    }

    /// openshift-install takes the command of ordinary clusters in the directory of a single node, too.
    fn note_single_node(&mut self, directory: &Directory) {
        if !directory.bootstraps_in_place {
            return;
        }
        match self.state {
            State::Manifests => self.note(
                "single-node",
                "this is a single node's directory (bootstrapInPlace): create ignition-configs would make \
                 the configs of an ordinary cluster and consume the manifests without an error, so run \
                 create single-node-ignition-config",
            ),
            State::Ignition => self.note(
                "single-node",
                "the manifests were those of a single node (bootstrapInPlace), and create \
                 ignition-configs has made the configs of an ordinary cluster of them; for the single node, \
                 begin anew and run create single-node-ignition-config",
            ),
            State::BootstrapInPlace | State::Agent => {}
        }
    }

    fn add_manifests(&mut self, directory: &Directory, objects: &Objects) -> Result<()> {
        for manifest in &objects.manifests {
            let path = format!("{}/{}", manifest.folder.as_str(), manifest.name);
            if self.state == State::Agent && manifest.folder != Folder::Openshift {
                bail!("{path} would not be read by the agent-based installer");
            }
            // When the cluster starts, one folder is copied over the other one.
            for folder in [Folder::Manifests, Folder::Openshift] {
                let taken = format!("{}/{}", folder.as_str(), manifest.name);
                let taken = self.directory.join(taken);
                if fs::symlink_metadata(&taken).is_ok() {
                    return Err(Failure::new(
                        format!("{} is there already", taken.display()),
                        "take it away, or rename it",
                    )
                    .into());
                }
            }
            self.edits.push(Edit {
                path,
                before: None,
                after: manifest.text().into_bytes(),
                is_secret: manifest.value["kind"] == "Secret",
            });
        }
        if objects.fragments.contains_key(&Role::Bootstrap) {
            match self.state {
                State::Agent => self.note(
                    "agent-bootstrap",
                    "the host that starts the cluster gets the drivers' files when it becomes a node; \
                     until then it has what its image does by itself",
                ),
                _ => self.note(
                    "bootstrap-later",
                    format!(
                        "the bootstrap machine's config is not there yet: run the same command again \
                         after {}",
                        directory.next_command().unwrap_or("that")
                    ),
                ),
            }
        }
        Ok(())
    }

    fn add_fragments(&mut self, directory: &Directory, objects: &Objects) -> Result<()> {
        let is_carried = |m: &&Manifest| directory.carried.get(&m.name) == Some(&m.value);
        let missing = objects.manifests.iter().filter(|m| !is_carried(m));
        let (of_fragments, late): (Vec<_>, Vec<_>) = missing.partition(|m| is_fragment(m));
        if let Some(manifest) = late.first() {
            return Err(self.too_late(directory, manifest));
        }
        for role in objects.fragments.keys() {
            // The single node is a master, and has no config of its own.
            let is_single = self.state == State::BootstrapInPlace && *role == Role::Master;
            if !is_single && !directory.roles.contains(role) {
                return Err(Failure::new(
                    format!("{} has no {role}.ign", self.directory.display()),
                    "leave that role out",
                )
                .into());
            }
        }
        let pools: Vec<&str> = of_fragments.iter().filter_map(|m| role_of(m)).collect();
        for config in &directory.configs {
            let is_needed = match config.role.pool() {
                Some(pool) => pools.contains(&pool),
                None => true,
            };
            let Some(fragment) = objects.fragments.get(&config.role).filter(|_| is_needed) else {
                continue;
            };
            if let Some(after) = config.with(fragment, &mut self.notes)? {
                self.edits.push(Edit {
                    path: config.name.to_owned(),
                    before: Some(config.bytes.clone()),
                    after,
                    is_secret: false,
                });
            }
        }
        let is_single = self.state == State::BootstrapInPlace && pools.contains(&"master");
        if is_single {
            self.note(
                "in-place",
                "the single node that the machine becomes has none of the drivers' files; for that, \
                 begin anew and prepare the manifests",
            );
        }
        let others: Vec<&str> = pools
            .iter()
            .copied()
            .filter(|pool| !is_single || *pool != "master")
            .collect();
        if !others.is_empty() {
            self.note(
                "not-in-cluster",
                format!(
                    "the cluster does not know what is in the config of {}: nodes that are installed \
                     with another one are without it",
                    others.join(" and ")
                ),
            );
        }
        Ok(())
    }

    fn too_late(&self, directory: &Directory, manifest: &Manifest) -> anyhow::Error {
        let differs = match directory.carried.contains_key(&manifest.name) {
            true => "has another",
            false => "was made without",
        };
        Failure::new(
            format!(
                "{} {differs} {}, and openshift-install reads no manifest once there are Ignition \
                 configs",
                self.directory.display(),
                manifest.name
            ),
            "begin anew: create manifests, coreos-bake prepare, create ignition-configs",
        )
        .into()
    }

    /// Fails if the file is elsewhere in truth.
    fn check_place(&self, edit: &Edit) -> Result<()> {
        let path = Path::new(&edit.path);
        for part in path.ancestors().filter(|part| *part != Path::new("")) {
            let part = self.directory.join(part);
            if fs::symlink_metadata(&part).is_ok_and(|m| m.is_symlink()) {
                return Err(Failure::new(
                    format!("{} is a symbolic link", part.display()),
                    "put there what it points to",
                )
                .into());
            }
        }
        Ok(())
    }
}

/// Whether a manifest has nothing in it that a machine's first config can't have.
fn is_fragment(manifest: &Manifest) -> bool {
    let spec = &manifest.value["spec"];
    manifest.value["kind"] == "MachineConfig"
        && spec.get("osImageURL").is_none()
        && spec.get("kernelArguments").is_none()
}

/// The pool of a MachineConfig.
fn role_of(manifest: &Manifest) -> Option<&str> {
    manifest.value["metadata"]["labels"][ROLE_LABEL].as_str()
}

fn settings(objects: &Objects) -> String {
    let manifests = objects.manifests.iter();
    let manifests: Vec<Value> = manifests
        .map(|m| json!([m.folder.as_str(), m.name, m.value]))
        .collect();
    let fragments = objects.fragments.iter();
    let fragments: Vec<Value> = fragments
        .map(|(role, fragment)| json!([role.as_str(), fragment]))
        .collect();
    sha256(json!([manifests, fragments]).to_string().as_bytes())
}
