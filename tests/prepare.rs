//! `prepare`: install directories of every kind get what they need and come back as they were.

#[path = "support/record.rs"]
mod record;
#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use site::{IMAGE, Seen, Site, edit, is_late, json_of, seen, wanted};
use support::{NOBODY, as_nobody, have, is_root, run, run_to_fail, skip, text};

const RELEASES: [&str; 4] = ["4.16", "4.19", "4.21", "5.0"];

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
                assert_eq!(again["written"], false, "{name}");
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

/// `agent create image` leaves nothing of the folder that `prepare` has made.
#[test]
fn what_the_agent_image_has_consumed_is_not_said_to_be_restored() {
    let name = "4.19/agent-input";
    let site = Site::new(&[name]);
    let directory = site.path(name);
    run(site.prepare(name).args(wanted(name)));
    for file in ["agent-config.yaml", "install-config.yaml"] {
        fs::remove_file(directory.join(file)).unwrap();
    }
    fs::remove_dir_all(directory.join("openshift")).unwrap();
    fs::write(directory.join("agent.x86_64.iso"), "").unwrap();
    let error = run_to_fail(site.prepare(name).arg("--undo"));
    assert!(
        error.contains("openshift-install has consumed what was prepared"),
        "{error}"
    );
    let said = text(&run(site.prepare(name).args(["--undo", "--force"])));
    assert!(said.contains("is not restored"), "{said}");
    assert!(!said.contains("as it was"), "{said}");
    assert!(!directory.join(".coreos-bake").exists());

    // One that was stopped before its first file had a name has lost nothing.
    let site = Site::new(&[name]);
    let directory = site.path(name);
    let before = seen(&directory);
    run(site.prepare(name).args(wanted(name)));
    fs::remove_dir_all(directory.join("openshift")).unwrap();
    let said = text(&run(site.prepare(name).arg("--undo")));
    assert!(said.contains("is as it was"), "{said}");
    assert_eq!(seen(&directory), before);
}

/// A directory that was asked for and is not there wants an explanation.
#[test]
fn output_without_files_is_told() {
    let name = "4.19/upi-manifests";
    let site = Site::new(&[name]);
    let later = site.path("later");
    let mut command = site.prepare(name);
    command.args(wanted(name)).arg("--output").arg(&later);
    let said = text(&run(&mut command));
    let expected = format!(
        "there are no files for day 2, so {} is not written",
        later.display()
    );
    // Lines break between words.
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words.join(" ").contains(&expected), "{said}");
    assert!(!later.exists());
}

/// The command for other clusters is taken by openshift-install, and consumes the directory.
#[test]
fn a_single_node_is_told_its_own_next_command() {
    for (name, next) in [
        (
            "4.19/sno-manifests",
            Some("create single-node-ignition-config"),
        ),
        ("4.19/upi-manifests", Some("create ignition-configs")),
        ("4.19/agent-input", Some("agent create image")),
        ("4.19/sno-ignition", None),
    ] {
        let site = Site::new(&[name]);
        let said = text(&run(site.prepare(name).args(wanted(name))));
        let lines: Vec<&str> = said
            .lines()
            .skip_while(|line| *line != "next:")
            .filter_map(|line| line.strip_prefix("    openshift-install "))
            .collect();
        let expected: Vec<String> = next
            .iter()
            .map(|next| format!("{next} --dir {}", site.path(name).display()))
            .collect();
        assert_eq!(lines, expected, "{said}");
        let is_single = name == "4.19/sno-manifests";
        let warned = said.contains("would make the configs of an ordinary cluster");
        assert_eq!(warned, is_single, "{said}");
        let later = said.contains("after create single-node-ignition-config");
        assert_eq!(later, is_single, "{said}");
    }
    // Somebody has followed the other one: the manifests are in the config of a bootstrap machine.
    let (early, late) = ("4.19/sno-manifests", "4.19/upi-ignition");
    let site = Site::new(&[early, late]);
    let path = site.path(late).join("bootstrap.ign");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let manifest = fs::read(site.path(early).join("manifests/cluster-config.yaml")).unwrap();
    let place = "/opt/openshift/manifests/cluster-config.yaml";
    let files = config["storage"]["files"].as_array_mut().unwrap();
    let file = files.iter_mut().find(|file| file["path"] == place).unwrap();
    file["contents"]["source"] = json!(format!("data:;base64,{}", STANDARD.encode(manifest)));
    fs::write(&path, config.to_string()).unwrap();
    let said = json_of(site.prepare(late).args(wanted(late)));
    assert!(ids(&said).contains(&"single-node"), "{said}");
    let site = Site::new(&[late]);
    let said = json_of(site.prepare(late).args(wanted(late)));
    assert!(!ids(&said).contains(&"single-node"), "{said}");
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
        let mut bake = record::sample_with(Some("acme_nic"));
        bake["os"]["openshift-clients"] = clients.into();
        bake["os"]["version"] = "9.6.20250402-0".into();
        record::write(site.0.path(), &bake);
    };
    bake(false);
    let before = seen(&site.path(name));
    let arguments = |command: &mut Command| {
        command
            .args(["--release", "4.22", "--allow-other-release", "--bake"])
            .arg(site.0.path());
    };
    let mut refused = site.prepare(name);
    arguments(&mut refused);
    let error = run_to_fail(&mut refused);
    assert!(error.contains("has no OpenShift in it"), "{error}");
    assert_eq!(seen(&site.path(name)), before);

    bake(true);
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
