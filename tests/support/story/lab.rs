//! A cluster that plays, and a place from which the program talks to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{Cluster, Moment, Stop};

/// A cluster that plays, and a place with its kubeconfig.
pub struct Lab {
    pub cluster: Cluster,
    pub place: TempDir,
}

impl Lab {
    pub fn play(moment: Moment) -> Self {
        let cluster = Cluster::play(moment);
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
        Self { cluster, place }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn status(&self, arguments: &[&str]) -> Output {
        self.run("status", arguments)
    }

    /// `coreos-bake cluster WHAT …`, to be started.
    pub fn command(&self, what: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
        command
            .current_dir(self.place.path())
            .args(["cluster", what])
            .args(arguments)
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("COLUMNS", "80");
        command
    }

    pub fn run(&self, what: &str, arguments: &[&str]) -> Output {
        self.command(what, arguments).output().unwrap()
    }

    /// Starts the program and kills it where the cluster stops answering.
    pub fn kill(&self, stop: Stop, what: &str, arguments: &[&str]) {
        self.cluster.stop(Some(stop));
        let mut command = self.command(what, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        assert!(
            self.cluster.has_stopped(Duration::from_secs(60)),
            "{stop:?}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        self.cluster.stop(None);
    }

    /// Method, kind and name of what was changed. A patch of a pool that a story has changed at the same moment is
    /// refused and made again; it is told once.
    pub fn changes(&self) -> Vec<String> {
        let changes = self.cluster.changes().into_iter();
        let short = changes.map(|change| {
            let (method, path) = change.split_once(' ').unwrap();
            let path = path.split('?').next().unwrap();
            let mut steps = path.rsplit('/');
            let name = steps.next().unwrap().to_owned();
            format!("{method} {} {name}", steps.next().unwrap())
        });
        let mut short: Vec<String> = short.collect();
        short.dedup_by(|one, other| one == other && one.contains(" machineconfigpools "));
        short
    }

    pub fn json(&self) -> Value {
        let output = self.status(&["--format", "json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"))
    }
}

impl Lab {
    /// What people see: both outputs and the exit code, with a name for the server whose port differs.
    pub fn shown(&self, output: &Output) -> String {
        let shown = format!(
            "{}{}== ended with {}\n",
            text(&output.stdout),
            text(&output.stderr),
            output.status.code().unwrap()
        );
        shown.replace(&self.cluster.address.to_string(), "api.lab:6443")
    }
}

/// What is not broken into lines: commands, and what goes to a pipe.
const WHOLE: [&str; 5] = ["oc ", "coreos-bake ", "error: ", "hint: ", "warning: "];

/// Compares a screen with that in `tests/screens`, whose lines have 80 columns; `UPDATE=1` writes it anew.
pub fn is_kept(name: &str, shown: &str) {
    for line in shown.lines() {
        let mut whole = WHOLE.iter();
        let is_whole = whole.any(|word| line.trim_start().starts_with(word))
            // An image by its digest.
            || line.contains("@sha256:");
        assert!(is_whole || line.chars().count() <= 80, "{name}: {line}");
    }
    let file = format!("tests/screens/cluster-{name}.txt");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&kept, shown).unwrap();
    }
    let expected = fs::read_to_string(&kept).unwrap_or_default();
    assert_eq!(shown, expected, "{name}; UPDATE=1 writes it anew");
}

/// What a program said on both its outputs, in one line.
pub fn said(output: &Output) -> String {
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a program said.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A pool in what `status` says.
pub fn pool<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut pools = status["pools"].as_array().unwrap().iter();
    pools.find(|pool| pool["name"] == name).unwrap()
}

/// Verbs and resources of all rules in the roles that a command prints with `--print-rbac --format json`; those
/// that are about single objects have their names behind a blank.
pub fn rights(what: &str) -> Vec<(String, String)> {
    rights_of(what, &[])
}

/// Those of them that a command can't do without.
pub fn needed(what: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let mut rights = rights_of(what, arguments);
    rights.retain(|(verb, _)| verb != "watch");
    rights
}

/// The same with more arguments.
pub fn rights_of(what: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    command.args(["cluster", what, "--print-rbac", "--format", "json"]);
    let output = command.args(arguments).output().unwrap();
    let roles: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rules = roles["items"].as_array().unwrap().iter();
    let rules = rules.flat_map(|role| role["rules"].as_array().unwrap());
    let part = |rule: &Value, name: &str| rule[name][0].as_str().unwrap().to_owned();
    let mut rights = Vec::new();
    for rule in rules {
        let (verb, resource) = (part(rule, "verbs"), part(rule, "resources"));
        match rule["resourceNames"].as_array() {
            None => rights.push((verb, resource)),
            Some(names) => rights.extend(names.iter().map(|name| {
                let name = name.as_str().unwrap();
                (verb.clone(), format!("{resource} {name}"))
            })),
        }
    }
    rights
}
