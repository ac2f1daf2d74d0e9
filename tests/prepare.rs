//! `prepare`: install directories of every kind get what they need and come back as they were, and
//! those that can't be prepared are left alone.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{NOBODY, as_nobody, have, is_root, open_up, run, run_to_fail, skip, text};
use tempfile::TempDir;

const IMAGE: &str =
    "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const RELEASES: [&str; 4] = ["4.16", "4.19", "4.21", "5.0"];

/// Install directories as `scripts/install-dirs` makes them, and the program.
struct Site(TempDir);

impl Site {
    /// With these directories, or all there are.
    fn new(names: &[&str]) -> Self {
        let site = tempfile::Builder::new()
            .prefix("coreos-bake-test-")
            .tempdir_in("/var/tmp")
            .expect("making a working directory");
        open_up(site.path());
        let program = site.path().join("coreos-bake");
        fs::copy(env!("CARGO_BIN_EXE_coreos-bake"), program).expect("copying the program");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install-dirs");
        run(Command::new(script).arg(site.path()).args(names));
        Self(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn prepare(&self, name: &str) -> Command {
        let mut command = Command::new(self.path("coreos-bake"));
        command.arg("prepare").arg(self.path(name));
        command
    }

    fn undo(&self, name: &str) {
        run(self.prepare(name).arg("--undo"));
    }
}

/// All there is to see of a directory but access times.
type Seen = BTreeMap<PathBuf, Entry>;

#[derive(Clone, PartialEq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
}

/// The content would fill the screen.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:o} {:?} {:?} {} bytes",
            self.mode,
            self.owner,
            self.modified,
            self.content.len()
        )
    }
}

fn seen(directory: &Path) -> Seen {
    let mut all = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_dir() => {
                open.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
                Vec::new()
            }
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => Vec::new(),
        };
        let entry = Entry {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            content,
        };
        all.insert(path, entry);
    }
    all
}

fn is_late(name: &str) -> bool {
    name.ends_with("-ignition")
}

/// What is asked of a directory: all that is possible at its stage.
fn wanted(name: &str) -> Vec<String> {
    let (release, _) = name.split_once('/').unwrap();
    let mut words = vec!["--release", release, "--driver", "acme_nic"];
    words.extend(["--driver-option", "acme_nic:lanes=4"]);
    if !is_late(name) {
        words.extend(["--os-image", IMAGE, "--karg-append", "acme_nic.debug=1"]);
    }
    words.into_iter().map(str::to_owned).collect()
}

fn json_of(command: &mut Command) -> Value {
    let output = run(command.args(["--format", "json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ids(said: &Value) -> Vec<&str> {
    let notes = said["notes"].as_array().unwrap();
    notes.iter().map(|n| n["id"].as_str().unwrap()).collect()
}

fn paths(said: &Value) -> Vec<&str> {
    let edits = said["edits"].as_array().unwrap();
    edits.iter().map(|e| e["path"].as_str().unwrap()).collect()
}

/// Every stage of every path for every release.
#[test]
fn every_directory_gets_what_it_needs_and_comes_back() {
    let site = Site::new(&[]);
    let validates = have("ignition-validate");
    for release in RELEASES {
        for (path, stages) in [
            ("upi", &["manifests", "ignition"][..]),
            ("ipi", &["manifests", "ignition"]),
            ("sno", &["manifests", "ignition"]),
            ("arbiter", &["manifests", "ignition"]),
            ("agent", &["input", "cluster-manifests"]),
        ] {
            if path == "arbiter" && ["4.16", "4.19"].contains(&release) {
                continue;
            }
            for stage in stages {
                let name = format!("{release}/{path}-{stage}");
                let directory = site.path(&name);
                let before = seen(&directory);
                let dry = json_of(site.prepare(&name).args(wanted(&name)).arg("--dry-run"));
                assert_eq!(seen(&directory), before, "{name}: a dry run writes");

                let said = json_of(site.prepare(&name).args(wanted(&name)));
                assert_eq!(dry["edits"], said["edits"], "{name}");
                assert_eq!(said["schema"], "coreos-bake/prepare/v1");
                let expected: &[&str] = match (path, is_late(&name)) {
                    ("sno", true) => &["bootstrap-in-place-for-live-iso.ign", "worker.ign"],
                    ("arbiter", true) => {
                        &["bootstrap.ign", "master.ign", "worker.ign", "arbiter.ign"]
                    }
                    (_, true) => &["bootstrap.ign", "master.ign", "worker.ign"],
                    ("arbiter", false) => &[
                        "openshift/99-arbiter-coreos-bake-drivers.yaml",
                        "openshift/99-arbiter-coreos-bake-os.yaml",
                        "openshift/99-master-coreos-bake-drivers.yaml",
                        "openshift/99-master-coreos-bake-os.yaml",
                        "openshift/99-worker-coreos-bake-drivers.yaml",
                        "openshift/99-worker-coreos-bake-os.yaml",
                    ],
                    (_, false) => &[
                        "openshift/99-master-coreos-bake-drivers.yaml",
                        "openshift/99-master-coreos-bake-os.yaml",
                        "openshift/99-worker-coreos-bake-drivers.yaml",
                        "openshift/99-worker-coreos-bake-os.yaml",
                    ],
                };
                assert_eq!(paths(&said), expected, "{name}");
                check_rest(&directory, &before, expected);
                for file in expected.iter().filter(|_| validates && is_late(&name)) {
                    run(Command::new("ignition-validate").arg(directory.join(file)));
                }
                let again = json_of(site.prepare(&name).args(wanted(&name)));
                assert_eq!(again["already-done"], true, "{name}");
                site.undo(&name);
                assert_eq!(seen(&directory), before, "{name}");
            }
        }
    }
}

/// Everything but the edited files is as it was, and those are as the installer's own.
fn check_rest(directory: &Path, before: &Seen, edited: &[&str]) {
    let after = seen(directory);
    for (path, entry) in &after {
        let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
        let metadata = fs::metadata(path).unwrap();
        if edited.contains(&name) {
            assert_eq!(metadata.mode() & 0o7777, 0o640, "{name}");
        } else if name.starts_with(".coreos-bake") {
            assert_eq!(metadata.mode() & 0o7, 0, "{name}");
        } else if metadata.is_dir() {
            assert_eq!(metadata.mode() & 0o7777, 0o750, "{name}");
        } else {
            assert_eq!(before.get(path), Some(entry), "{name}");
        }
    }
    for name in before.keys() {
        assert!(after.contains_key(name), "{name:?}");
    }
}

/// Keys that are the installer's stay, in their order and in its way of writing.
#[test]
fn configs_keep_all_that_is_in_them() {
    let site = Site::new(&["4.19/upi-ignition"]);
    let name = "4.19/upi-ignition";
    let file = site.path(name).join("bootstrap.ign");
    let original = fs::read_to_string(&file).unwrap();
    // A key of a later time, and one of nobody's.
    let original = original.replacen('{', r#"{"x-team":{"b":1,"a":[null]},"#, 1);
    fs::write(&file, &original).unwrap();
    run(site.prepare(name).args(wanted(name)));
    let now = fs::read_to_string(&file).unwrap();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let (old, new) = (read(&original), read(&now));
    for (section, list) in [("storage", "files"), ("systemd", "units")] {
        let of = |config: &Value| config[section][list].as_array().unwrap().clone();
        let (old, new) = (of(&old), of(&new));
        assert_eq!(new[..old.len()], old[..]);
        assert!(new.len() > old.len());
    }
    for key in ["ignition", "passwd", "x-team"] {
        assert_eq!(old[key], new[key]);
    }
    // Up to the first file of ours, not a byte is another one.
    let end = original.find("]},\"systemd\"").unwrap();
    assert_eq!(original[..end], now[..end]);
    assert!(original.contains("\\u003cmade up\\u003e") && !now.contains('<'));
}

/// On hosts of the assisted installer, configs inside of the config are not looked for.
#[test]
fn what_the_bootstrap_config_carries_is_inlined() {
    let name = "4.19/upi-ignition";
    let site = Site::new(&[name]);
    let inner = json!({
        "ignition": { "version": "3.1.0" },
        "storage": {
            "files": [{ "path": "/etc/inner", "contents": { "source": "data:,inner" } }],
            "links": [{ "path": "/etc/link", "target": "/etc/inner" }],
        },
    });
    let source = format!("data:;base64,{}", STANDARD.encode(inner.to_string()));
    for file in ["bootstrap.ign", "master.ign"] {
        let path = site.path(name).join(file);
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let merge = &mut config["ignition"]["config"]["merge"];
        match merge.as_array_mut() {
            Some(list) => list.push(json!({ "source": source })),
            None => *merge = json!([{ "source": source }]),
        }
        fs::write(path, config.to_string()).unwrap();
    }
    let said = json_of(site.prepare(name).args(wanted(name)));
    assert!(ids(&said).contains(&"flattened"));
    let notes = said["notes"].as_array().unwrap();
    let lost = notes.iter().find(|note| note["id"] == "once-from").unwrap();
    let lost = lost["sentence"].as_str().unwrap();
    assert!(
        lost.ends_with("lost: $.storage.links.0 /etc/link"),
        "{lost}"
    );
    let read = |file: &str| {
        let bytes = fs::read(site.path(name).join(file)).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let has_inner = |config: &Value| {
        let files = config["storage"]["files"].as_array().unwrap();
        files.iter().any(|file| file["path"] == "/etc/inner")
    };
    let (bootstrap, master) = (read("bootstrap.ign"), read("master.ign"));
    assert!(has_inner(&bootstrap) && bootstrap["ignition"]["config"].is_null());
    // A node runs Ignition, which resolves them.
    assert!(!has_inner(&master));
    assert_eq!(
        master["ignition"]["config"]["merge"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    for config in [bootstrap, master] {
        assert_eq!(config["ignition"]["version"], "3.2.0");
    }
}

/// A config of a newer spec stays of that.
#[test]
fn versions_only_rise() {
    let name = "4.19/upi-ignition";
    let site = Site::new(&[name]);
    for (file, version) in [("bootstrap.ign", "3.1.0"), ("master.ign", "3.4.0")] {
        edit(&site.path(name), file, "3.2.0", version);
    }
    let said = json_of(site.prepare(name).args(wanted(name)));
    let notes = said["notes"].as_array().unwrap();
    let notes: Vec<&str> = notes
        .iter()
        .filter(|note| note["id"] == "ignition-version")
        .map(|note| note["sentence"].as_str().unwrap())
        .collect();
    assert!(matches!(notes[..], [note] if note.starts_with("master.ign: it is of spec 3.4.0")));
    for (file, version) in [("bootstrap.ign", "3.2.0"), ("master.ign", "3.4.0")] {
        let text = fs::read_to_string(site.path(name).join(file)).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["ignition"]["version"], version);
    }
}

/// What `create ignition-configs` makes of a prepared directory.
fn consume(site: &Site, from: &str, to: &str) {
    let config = site.path(to).join("bootstrap.ign");
    let mut value: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    let files = value["storage"]["files"].as_array_mut().unwrap();
    for entry in fs::read_dir(site.path(from).join("openshift")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.contains("coreos-bake") || name.starts_with("50-") {
            let content = STANDARD.encode(fs::read(entry.path()).unwrap());
            files.push(json!({
                "path": format!("/opt/openshift/openshift/{name}"),
                "mode": 420,
                "contents": { "source": format!("data:text/plain;charset=utf-8;base64,{content}") },
            }));
        }
    }
    fs::write(config, value.to_string()).unwrap();
    let record = site.path(from).join(".coreos-bake");
    run(Command::new("cp").arg("-a").arg(record).arg(site.path(to)));
}

/// The way that the documentation tells: before and after `create ignition-configs`.
#[test]
fn the_same_command_serves_both_stages() {
    let (early, late) = ("4.19/upi-manifests", "4.19/upi-ignition");
    let site = Site::new(&[early, late]);
    let said = json_of(site.prepare(early).args(wanted(early)));
    assert!(ids(&said).contains(&"bootstrap-later"));
    consume(&site, early, late);
    let before = seen(&site.path(late));

    // Undoing takes the earlier stage's record along; without it, it is the same.
    for with_record in [true, false] {
        assert_eq!(site.path(late).join(".coreos-bake").exists(), with_record);
        let said = json_of(site.prepare(late).args(wanted(early)));
        assert_eq!(paths(&said), ["bootstrap.ign"]);
        assert!(!ids(&said).contains(&"not-in-cluster"));
        site.undo(late);
        let mut now = seen(&site.path(late));
        let mut before = before.clone();
        now.remove(&site.path(late));
        before.retain(|path, _| {
            *path != site.path(late) && !path.to_string_lossy().contains("/.coreos-bake")
        });
        assert_eq!(now, before);
    }
    // Another image can't be had any more.
    let other = IMAGE.replace("aaaa", "bbbb");
    let mut arguments = wanted(early);
    let at = arguments.iter().position(|a| a == IMAGE).unwrap();
    arguments[at] = other;
    let error = run_to_fail(site.prepare(late).args(&arguments));
    assert!(
        error.contains("has another 99-master-coreos-bake-os.yaml"),
        "{error}"
    );
    // Nor another source of one.
    let error = run_to_fail(
        site.prepare(late)
            .args(wanted(late))
            .args(["--karg-append", "a"]),
    );
    assert!(
        error.contains("has another 99-master-coreos-bake-os.yaml"),
        "{error}"
    );
    // Drivers that came too late go into the nodes' configs.
    let said = json_of(site.prepare(late).args([
        "--release",
        "4.19",
        "--driver",
        "other",
        "--role",
        "worker",
    ]));
    assert_eq!(paths(&said), ["worker.ign"]);
    assert!(ids(&said).contains(&"not-in-cluster"));
}

type Change = fn(&Path);

/// What is wrong, where, how it got so, what is asked beside the usual, and what is said.
const REFUSED: &[(&str, &str, Change, &[&str], &str)] = &[
    (
        "not there",
        "4.19/upi-manifests/x",
        |_| (),
        &[],
        "reading install directory",
    ),
    (
        "a file",
        "4.19/upi-ignition/master.ign",
        |_| (),
        &[],
        "reading install directory",
    ),
    (
        "nothing yet",
        "4.19/bad-empty",
        |_| (),
        &[],
        "has no install-config.yaml and no manifests in it",
    ),
    (
        "too early",
        "4.19/bad-install-config",
        |_| (),
        &[],
        "has an install-config.yaml and no manifests yet",
    ),
    (
        "consumed",
        "4.19/bad-consumed",
        |_| (),
        &[],
        "has been consumed",
    ),
    (
        "agent consumed",
        "4.19/agent-consumed",
        |_| (),
        &[],
        "has agent.x86_64.iso, so the agent image is made",
    ),
    (
        "half-made configs",
        "4.19/bad-half-made",
        |_| (),
        &[],
        "is half-made: it has bootstrap.ign, but no worker.ign",
    ),
    (
        "half-made manifests",
        "4.19/upi-manifests",
        |d| fs::remove_dir_all(d.join("openshift")).unwrap(),
        &[],
        "is half-made: it has manifests, but no openshift",
    ),
    (
        "no state file",
        "4.19/bad-no-state",
        |_| (),
        &[],
        "but no .openshift_install_state.json",
    ),
    (
        "broken state file",
        "4.19/upi-manifests",
        |d| fs::write(d.join(".openshift_install_state.json"), "{\"*a\": tru").unwrap(),
        &[],
        "openshift_install_state.json is broken in line 1",
    ),
    (
        "two stages",
        "4.19/bad-two-stages",
        |_| (),
        &[],
        "has manifests and bootstrap.ign, which are of two stages",
    ),
    (
        "input put back",
        "4.19/upi-manifests",
        |d| fs::write(d.join("install-config.yaml"), "a: 1").unwrap(),
        &[],
        "has install-config.yaml and manifests, which are of two stages",
    ),
    (
        "agent and another",
        "4.19/upi-ignition",
        |d| fs::write(d.join("agent-config.yaml"), "a: 1").unwrap(),
        &[],
        "has agent-config.yaml and bootstrap.ign, which are of two stages",
    ),
    (
        "somebody's directory",
        "4.19/upi-manifests/manifests",
        |_| (),
        &[],
        "is no install directory",
    ),
    (
        "expired",
        "4.19/bad-expired",
        |_| (),
        &[],
        "bootstrap.ign has an expired certificate, /opt/openshift/tls/kubelet-client.crt",
    ),
    (
        "version of the future",
        "4.19/upi-ignition",
        |d| edit(d, "worker.ign", "3.2.0", "3.9.0"),
        &[],
        "the config has version \"3.9.0\", known are 3.0.0 to 3.6.0",
    ),
    (
        "version of the past",
        "4.19/upi-ignition",
        |d| edit(d, "bootstrap.ign", "3.2.0", "2.2.0"),
        &[],
        "the config has version \"2.2.0\", known are",
    ),
    (
        "no config",
        "4.19/upi-ignition",
        |d| fs::write(d.join("master.ign"), "{}").unwrap(),
        &[],
        "the config has no ignition.version",
    ),
    (
        "no JSON",
        "4.19/upi-ignition",
        |d| fs::write(d.join("bootstrap.ign"), "{\"ignition\"").unwrap(),
        &[],
        "bootstrap.ign: the config is no JSON",
    ),
    (
        "another file of that name",
        "4.19/upi-ignition",
        |d| edit(d, "bootstrap.ign", "/etc/motd", "/etc/coreos-bake/drivers"),
        &[],
        "bootstrap.ign has a /etc/coreos-bake/drivers of its own",
    ),
    (
        "another unit of that name",
        "4.19/upi-ignition",
        |d| {
            edit(
                d,
                "bootstrap.ign",
                "restart-sshd.service",
                "coreos-bake-verify.service",
            )
        },
        &[],
        "bootstrap.ign has a coreos-bake-verify.service of its own",
    ),
    (
        "a config elsewhere",
        "4.19/upi-ignition",
        |d| link(d, "worker.ign"),
        &[],
        "worker.ign is a symbolic link",
    ),
    (
        "a folder elsewhere",
        "4.19/upi-manifests",
        |d| link(d, "openshift"),
        &[],
        "openshift is a symbolic link",
    ),
    (
        "too late for an image",
        "4.19/upi-ignition",
        |_| (),
        &["--os-image", IMAGE],
        "was made without 99-master-coreos-bake-os.yaml",
    ),
    (
        "too late for arguments",
        "4.19/sno-ignition",
        |_| (),
        &["--karg-append", "a"],
        "was made without 99-master-coreos-bake-os.yaml",
    ),
    (
        "a role that isn't there",
        "4.19/upi-ignition",
        |_| (),
        &["--role", "arbiter"],
        "has no arbiter.ign",
    ),
    (
        "no YAML",
        "4.19/upi-manifests",
        |d| fs::write(d.join("manifests/a.yaml"), "a: [").unwrap(),
        &[],
        "manifests/a.yaml is no YAML",
    ),
    (
        "no YAML behind some",
        "4.19/agent-input",
        |d| put(d, "openshift/a.yml", "a: 1\n---\na:\n\t- b\n"),
        &[],
        "openshift/a.yml is no YAML",
    ),
    (
        "same file",
        "4.19/upi-manifests",
        |d| put(d, "openshift/99-worker-coreos-bake-os.yaml", "a: 1\n"),
        &[],
        "openshift/99-worker-coreos-bake-os.yaml is there already",
    ),
    (
        "same file in the other folder",
        "4.19/upi-manifests",
        |d| put(d, "manifests/99-worker-coreos-bake-os.yaml", "a: 1\n"),
        &[],
        "manifests/99-worker-coreos-bake-os.yaml is there already",
    ),
    (
        "same object",
        "4.19/upi-manifests",
        |d| {
            put(
                d,
                "openshift/a.yaml",
                &machine_config("99-worker-coreos-bake-os", ""),
            )
        },
        &[],
        "openshift/a.yaml has a MachineConfig 99-worker-coreos-bake-os already",
    ),
    (
        "another image",
        "4.19/upi-manifests",
        |d| {
            put(
                d,
                "manifests/a.json",
                &machine_config("99-worker-os", "quay.io/x/y:z"),
            )
        },
        &[],
        "manifests/a.json sets the image of pool worker as well (quay.io/x/y:z)",
    ),
    (
        "another image for agents",
        "4.19/agent-input",
        |d| {
            put(
                d,
                "openshift/a.yaml",
                &machine_config("99-worker-os", "quay.io/x/y:z"),
            )
        },
        &[],
        "openshift/a.yaml sets the image of pool worker as well",
    ),
    (
        "another build",
        "4.21/upi-manifests",
        |d| {
            put(
                d,
                "manifests/mosc.yaml",
                "kind: MachineOSConfig\nmetadata: {name: worker}\nspec: {machineConfigPool: {name: worker}}\n",
            )
        },
        &[],
        "manifests/mosc.yaml sets the image of pool worker as well",
    ),
    (
        "another stream",
        "4.21/upi-manifests",
        |d| {
            put(
                d,
                "openshift/mcp.yaml",
                "kind: MachineConfigPool\nmetadata: {name: master}\nspec: {osImageStream: {name: rhel-10}}\n",
            )
        },
        &[],
        "openshift/mcp.yaml sets the image of pool master as well (rhel-10)",
    ),
    (
        "no credentials",
        "4.19/upi-manifests",
        |d| secret(d, "quay.io", "r.example"),
        &[],
        "the pull secret has no credentials for quay.io",
    ),
    (
        "no credentials for agents",
        "4.19/agent-input",
        |d| edit(d, "install-config.yaml", "\"quay.io\"", "\"r.example\""),
        &[],
        "the pull secret has no credentials for quay.io",
    ),
    (
        "no credentials for ZTP",
        "4.19/agent-cluster-manifests",
        |d| {
            edit(
                d,
                "cluster-manifests/pull-secret.yaml",
                "\"quay.io\"",
                "\"r.example\"",
            )
        },
        &[],
        "the pull secret has no credentials for quay.io",
    ),
    (
        "broken pull secret",
        "4.19/upi-manifests",
        |d| secret(d, "\"auths\"", "\"auth\""),
        &[],
        "reading manifests/openshift-config-secret-pull-secret.yaml: the pull secret has no \"auths\"",
    ),
    (
        "a seed too early",
        "4.19/upi-manifests",
        |_| (),
        &[
            "--seed",
            "/dev/null",
            "--push-spec",
            "quay.io/me/os:x",
            "--push-secret",
            "p",
        ],
        "OpenShift 4.19 can't be installed with a MachineOSConfig",
    ),
    (
        "firmware for nobody",
        "4.19/upi-manifests",
        |_| (),
        &["--after", "other:x"],
        "no driver other is to be prepared",
    ),
];

fn edit(directory: &Path, file: &str, from: &str, to: &str) {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn put(directory: &Path, file: &str, content: &str) {
    let path = directory.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn link(directory: &Path, file: &str) {
    let path = directory.join(file);
    let elsewhere = directory.join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink("elsewhere", path).unwrap();
}

fn secret(directory: &Path, from: &str, to: &str) {
    let path = directory.join("manifests/openshift-config-secret-pull-secret.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(".dockerconfigjson: ").unwrap();
    let (secret, rest) = rest.split_once('\n').unwrap();
    let secret = String::from_utf8(STANDARD.decode(secret).unwrap()).unwrap();
    assert!(secret.contains(from));
    let secret = STANDARD.encode(secret.replace(from, to));
    fs::write(path, format!("{head}.dockerconfigjson: {secret}\n{rest}")).unwrap();
}

fn machine_config(name: &str, image: &str) -> String {
    json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {
            "name": name,
            "labels": { "machineconfiguration.openshift.io/role": "worker" },
        },
        "spec": { "osImageURL": image },
    })
    .to_string()
}

#[test]
fn what_can_not_be_prepared_is_left_alone() {
    for (what, name, change, more, said) in REFUSED {
        let made = match name.matches('/').count() {
            1 => name,
            _ => name.rsplit_once('/').unwrap().0,
        };
        let site = Site::new(&[made]);
        change(&site.path(made));
        let before = seen(&site.path(made));
        for dry in [&["--dry-run"][..], &[]] {
            let mut command = site.prepare(name);
            command.args(wanted(name)).args(*more).args(dry);
            let error = run_to_fail(command.args(["--color", "never"]));
            assert!(error.contains(said), "{what}: {error}");
            assert!(error.starts_with("error: "), "{what}: {error}");
            let is_one = |line: &&str| line.starts_with("error: ");
            assert_eq!(error.lines().filter(is_one).count(), 1, "{what}: {error}");
            assert!(error.lines().count() <= 2, "{what}: {error}");
            assert_eq!(seen(&site.path(made)), before, "{what}");
        }
    }
}

/// Files of others that the installer has no eyes for don't count.
#[test]
fn what_nobody_reads_is_nobodys_business() {
    for (name, file) in [
        ("4.19/upi-manifests", "openshift/a.yaml.bak"),
        ("4.19/upi-manifests", "openshift/below/a.yaml"),
        ("4.19/agent-input", "openshift/a.json"),
        ("4.19/agent-input", "manifests/a.yaml"),
    ] {
        let site = Site::new(&[name]);
        put(&site.path(name), file, "a: [");
        run(site.prepare(name).args(wanted(name)));
    }
}

#[test]
fn prepared_is_prepared_until_it_is_undone() {
    for name in ["4.19/upi-manifests", "4.19/upi-ignition"] {
        let site = Site::new(&[name]);
        let directory = site.path(name);
        let original = seen(&directory);
        run(site.prepare(name).args(wanted(name)));
        let prepared = seen(&directory);
        let mut other = site.prepare(name);
        other.args(wanted(name)).args(["--driver", "another"]);
        let error = run_to_fail(&mut other);
        assert!(
            error.contains("is prepared already, in another way"),
            "{error}"
        );
        assert!(error.contains("--undo"), "{error}");
        assert_eq!(seen(&directory), prepared);
        site.undo(name);
        assert_eq!(seen(&directory), original);
        let error = run_to_fail(site.prepare(name).arg("--undo"));
        assert!(error.contains("is not prepared"), "{error}");
        run(&mut other);
    }
}

/// Changes that were made since are kept, unless told otherwise.
#[test]
fn undoing_drops_nobodys_work() {
    for (name, file) in [
        (
            "4.19/upi-manifests",
            "openshift/99-worker-coreos-bake-os.yaml",
        ),
        ("4.19/upi-ignition", "master.ign"),
    ] {
        let site = Site::new(&[name]);
        let directory = site.path(name);
        let original = seen(&directory);
        run(site.prepare(name).args(wanted(name)));
        let text = fs::read_to_string(directory.join(file)).unwrap();
        fs::write(directory.join(file), format!("{text}\n")).unwrap();
        let changed = seen(&directory);
        for arguments in [vec!["--undo".to_owned()], wanted(name)] {
            let error = run_to_fail(site.prepare(name).args(arguments));
            assert!(error.contains(file), "{error}");
            assert!(error.contains("--force"), "{error}");
            assert_eq!(seen(&directory), changed);
        }
        run(site.prepare(name).args(["--undo", "--force"]));
        assert_eq!(seen(&directory), original);
    }
    // An original that was changed is none.
    let name = "4.19/upi-ignition";
    let site = Site::new(&[name]);
    run(site.prepare(name).args(wanted(name)));
    let kept = site.path(name).join(".coreos-bake/1");
    fs::write(kept, "{}").unwrap();
    let changed = seen(&site.path(name));
    let error = run_to_fail(site.prepare(name).args(["--undo", "--force"]));
    assert!(error.contains(".coreos-bake/1 has been changed"), "{error}");
    assert_eq!(seen(&site.path(name)), changed);
    // A config that is gone comes back; a manifest that is gone was to go.
    let name = "4.19/upi-ignition";
    let site = Site::new(&[name]);
    let original = seen(&site.path(name));
    run(site.prepare(name).args(wanted(name)));
    fs::remove_file(site.path(name).join("worker.ign")).unwrap();
    let error = run_to_fail(site.prepare(name).arg("--undo"));
    assert!(error.contains("worker.ign is gone"), "{error}");
    run(site.prepare(name).args(["--undo", "--force"]));
    assert_eq!(seen(&site.path(name)), original);
}

/// As if the program had been killed after some of the files got their names.
#[test]
fn a_preparation_that_was_stopped_can_be_undone() {
    for (name, files) in [
        ("4.19/upi-ignition", &["master.ign", "worker.ign"][..]),
        (
            "4.19/upi-manifests",
            &["openshift/99-worker-coreos-bake-os.yaml"],
        ),
    ] {
        let site = Site::new(&[name]);
        let directory = site.path(name);
        let original = seen(&directory);
        run(site.prepare(name).args(wanted(name)));
        for file in files {
            match original.get(&directory.join(file)) {
                None => fs::remove_file(directory.join(file)).unwrap(),
                Some(_) => {
                    let index = if *file == "master.ign" { "1" } else { "2" };
                    let kept = directory.join(".coreos-bake").join(index);
                    let again = directory.join("again");
                    run(Command::new("cp").arg("-a").arg(kept).arg(&again));
                    fs::rename(again, directory.join(file)).unwrap();
                }
            }
        }
        let error = run_to_fail(site.prepare(name).args(wanted(name)));
        assert!(error.contains("is not as prepare has left it"), "{error}");
        site.undo(name);
        assert_eq!(seen(&directory), original);
    }
}

/// What the installer has consumed can't be restored, and the next preparation doesn't mind.
#[test]
fn a_record_of_an_earlier_stage_is_told_from_one_of_this() {
    let name = "4.19/upi-manifests";
    let site = Site::new(&[name]);
    run(site.prepare(name).args(wanted(name)));
    for folder in ["manifests", "openshift"] {
        fs::remove_dir_all(site.path(name).join(folder)).unwrap();
    }
    let error = run_to_fail(site.prepare(name).arg("--undo"));
    assert!(
        error.contains("openshift-install has consumed what was prepared"),
        "{error}"
    );
    run(site.prepare(name).args(["--undo", "--force"]));
    assert!(!site.path(name).join(".coreos-bake").exists());
}

/// A disk that is full, a folder that can't be written to: all is as before.
#[test]
fn failures_in_the_middle_leave_nothing() {
    let (early, late) = ("4.19/upi-manifests", "4.19/upi-ignition");
    let site = Site::new(&[early, late]);
    // Files of more than 100 KiB can't be written; bootstrap.ign has three times that.
    let before = seen(&site.path(late));
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "-"]);
    let prepare = site.prepare(late);
    limited.arg(prepare.get_program()).args(prepare.get_args());
    let error = run_to_fail(limited.args(wanted(late)));
    assert!(
        error.contains("writing ") && error.contains("bootstrap.ign: File too large"),
        "{error}"
    );
    assert_eq!(seen(&site.path(late)), before);

    // The folder can be read and not written to, so that naming the first file fails.
    for (name, folder, said) in [
        (early, "openshift", "naming "),
        (early, "", "writing to output directory"),
        (late, "", "writing to output directory"),
    ] {
        let directory = site.path(name);
        if is_root() {
            run(Command::new("chown")
                .args(["-R", &format!("{NOBODY}:{NOBODY}")])
                .arg(&directory));
        }
        let place = directory.join(folder);
        fs::set_permissions(&place, fs::Permissions::from_mode(0o550)).unwrap();
        let before = seen(&directory);
        let mut prepare = as_nobody(site.path("coreos-bake"));
        let error = run_to_fail(prepare.arg("prepare").arg(&directory).args(wanted(name)));
        assert!(
            error.contains(said) && error.contains("Permission denied"),
            "{error}"
        );
        assert_eq!(seen(&directory), before, "{name} {folder}");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o750)).unwrap();
    }
}

/// Whoever ran the installer can go on, also if root prepared the directory.
#[test]
fn files_belong_to_whom_the_directory_does() {
    if !is_root() {
        return skip("needs root").unwrap_or_default();
    }
    let (early, late) = ("4.19/upi-manifests", "4.19/upi-ignition");
    let site = Site::new(&[early, late]);
    for name in [early, late] {
        let directory = site.path(name);
        run(Command::new("chown")
            .args(["-R", &format!("{NOBODY}:{NOBODY}")])
            .arg(&directory));
    }
    // One file is somebody else's, and stays so.
    chown(site.path(late).join("master.ign"), Some(1), Some(2)).unwrap();
    for name in [early, late] {
        let directory = site.path(name);
        let before = seen(&directory);
        run(site.prepare(name).args(wanted(name)));
        for (path, entry) in seen(&directory) {
            let is_other = path.ends_with("master.ign") || path.ends_with(".coreos-bake/1");
            let expected = if is_other { (1, 2) } else { (NOBODY, NOBODY) };
            assert_eq!(entry.owner, expected, "{path:?}");
        }
        let mut undo = as_nobody(site.path("coreos-bake"));
        if name == early {
            run(undo.arg("prepare").arg(&directory).arg("--undo"));
        } else {
            site.undo(name);
        }
        assert_eq!(seen(&directory), before);
    }
}

/// What is shown is what is done, by the judgement of patch.
#[test]
fn the_diff_of_a_dry_run_is_what_is_written() {
    if !have("patch") {
        return;
    }
    let name = "4.21/arbiter-manifests";
    let site = Site::new(&[name]);
    let copy = site.path("copy");
    run(Command::new("cp").arg("-a").arg(site.path(name)).arg(&copy));
    let diff = json_of(site.prepare(name).args(wanted(name)).arg("--dry-run"));
    fs::write(site.path("diff"), diff["diff"].as_str().unwrap()).unwrap();
    run(Command::new("patch")
        .args(["-p1", "-i"])
        .arg(site.path("diff"))
        .current_dir(&copy));
    run(site.prepare(name).args(wanted(name)));
    run(Command::new("diff")
        .args(["-r", "--exclude=.coreos-bake"])
        .arg(site.path(name))
        .arg(copy));
}

#[test]
fn secrets_are_written_and_not_shown() {
    let name = "4.21/upi-manifests";
    let site = Site::new(&[name]);
    let push = r#"{"auths": {"quay.io": {"auth": "bWU6aHVudGVyMg=="}}}"#;
    fs::write(site.path("push.json"), push).unwrap();
    fs::write(site.path("Containerfile"), "FROM configs AS final\n").unwrap();
    let mut all = String::new();
    for dry in [&["--dry-run"][..], &[]] {
        let mut command = site.prepare(name);
        command.args([
            "--release",
            "4.21",
            "--os-image",
            IMAGE,
            "--push-spec",
            "quay.io/me/os:built",
        ]);
        command.arg("--seed").arg(site.path("Containerfile"));
        let secret = format!("push={}", site.path("push.json").display());
        let output = run(command.args(["--push-secret", &secret]).args(dry));
        all += &text(&output);
        all += &String::from_utf8_lossy(&output.stderr);
    }
    assert!(
        all.contains("(a secret of ") && all.contains("99-worker-coreos-bake-machineosconfig.yaml")
    );
    for secret in ["hunter2", "bWU6aHVudGVyMg", &STANDARD.encode(push)[..40]] {
        assert!(!all.contains(secret), "{all}");
    }
    let file = site
        .path(name)
        .join("openshift/99-coreos-bake-push-secret.yaml");
    assert!(
        fs::read_to_string(file)
            .unwrap()
            .contains(&STANDARD.encode(push))
    );
}

/// What bake says stands in for options, and files for the running cluster are written on request.
#[test]
fn what_was_baked_tells_image_and_drivers() {
    let name = "4.21/ipi-manifests";
    let site = Site::new(&[name]);
    let bake = |clients: bool| {
        json!({
            "schema": "coreos-bake/bake/v1",
            "image": { "reference": "oci:/os", "manifest-digest": "sha256:0" },
            "os": { "version": "9.6.20250402-0", "openshift-clients": clients },
            "drivers": [{ "driver": "acme_nic" }, { "driver": "acme_nic" }],
            "options": { "origin": format!("ostree-unverified-registry:{IMAGE}") },
        })
        .to_string()
    };
    let record = site.path("bake.json");
    fs::write(&record, bake(false)).unwrap();
    let before = seen(&site.path(name));
    let arguments = |command: &mut Command| {
        command
            .args(["--release", "4.22", "--bake"])
            .arg(site.0.path());
    };
    let mut refused = site.prepare(name);
    arguments(&mut refused);
    let error = run_to_fail(&mut refused);
    assert!(error.contains("has no OpenShift in it"), "{error}");
    assert_eq!(seen(&site.path(name)), before);

    fs::write(&record, bake(true)).unwrap();
    let mut command = site.prepare(name);
    arguments(&mut command);
    let said = json_of(command.arg("--output").arg(site.path("later")));
    assert_eq!(paths(&said).len(), 4);
    assert!(!ids(&said).contains(&"pivot"));
    assert_eq!(said["day-two"], json!(["day2-1-boot-image-skew.yaml"]));
    let later = fs::read_to_string(site.path("later/day2-1-boot-image-skew.yaml")).unwrap();
    assert!(later.contains("rhcosVersion: 9.6.20250402-0"), "{later}");
    let manifest = site
        .path(name)
        .join("openshift/99-worker-coreos-bake-os.yaml");
    assert!(fs::read_to_string(manifest).unwrap().contains(IMAGE));
}
