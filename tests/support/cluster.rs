//! An installation by openshift-install, whose parts are played: its manifests by `scripts/install-dirs`,
//! the rest here.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::layout::{Item, derive, tar};
use super::support::run;

/// Puts OpenShift into an image of the sample, as far as its installer asks for it.
pub fn make_node_image(layout: &Path) {
    let database = tempfile::NamedTempFile::new().unwrap();
    let connection = rusqlite::Connection::open(database.path()).unwrap();
    let tables = "CREATE TABLE Name (key TEXT); INSERT INTO Name VALUES ('openshift-clients')";
    connection.execute_batch(tables).unwrap();
    drop(connection);
    let packages = fs::read(database.path()).unwrap();
    let layer = tar(&[
        Item::File("usr/bin/oc", b"#!/bin/sh\n".to_vec()),
        Item::File("usr/share/rpm/rpmdb.sqlite", packages),
    ]);
    derive(layout, &layer, "amd64");
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(layout));
}

/// An install directory.
pub struct InstallDirectory(PathBuf);

impl InstallDirectory {
    /// After `openshift-install create manifests`, below `parent`.
    pub fn with_manifests(parent: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install-dirs");
        let name = "4.19/upi-manifests";
        run(Command::new(script).arg(parent).arg(name));
        Self(parent.join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// One of its manifests.
    pub fn manifest(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.0.join("openshift").join(name)).unwrap();
        serde_saphyr::from_str(&text).unwrap()
    }

    /// The Ignition config in one of its MachineConfigs.
    pub fn machine_config(&self, name: &str) -> Value {
        self.manifest(name)["spec"]["config"].clone()
    }

    /// What `create ignition-configs` does: manifests go into `bootstrap`, and other machines are sent to
    /// the machine-config server at `address`.
    pub fn create_ignition_configs(&self, mut bootstrap: Value, address: &str) {
        let files = bootstrap["storage"]["files"].as_array_mut().unwrap();
        for folder in ["manifests", "openshift"] {
            let path = self.0.join(folder);
            for entry in fs::read_dir(&path).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let content = STANDARD.encode(fs::read(entry.path()).unwrap());
                files.push(json!({
                    "path": format!("/opt/openshift/{folder}/{name}"),
                    "mode": 0o644,
                    "contents": { "source": format!("data:;base64,{content}") },
                }));
            }
            fs::remove_dir_all(path).unwrap();
        }
        let pointer = |role: &str| {
            let source = format!("{address}/config/{role}");
            let merge = json!([{ "source": source }]);
            json!({ "ignition": { "version": "3.2.0", "config": { "merge": merge } } })
        };
        for (name, value) in [
            ("bootstrap.ign", bootstrap),
            ("master.ign", pointer("master")),
            ("worker.ign", pointer("worker")),
            ("metadata.json", json!({ "clusterName": "lab" })),
        ] {
            fs::write(self.0.join(name), value.to_string()).unwrap();
        }
        fs::create_dir(self.0.join("auth")).unwrap();
    }
}

/// Two configs in one, as far as files and units go.
pub fn joined(mut config: Value, more: &Value) -> Value {
    for (section, list) in [("storage", "files"), ("systemd", "units")] {
        let mut all = config[section][list]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.extend(more[section][list].as_array().cloned().unwrap_or_default());
        config[section][list] = json!(all);
    }
    config
}
