//! `prepare --path`: the program tells each way to install from what a bake has recorded, writes the
//! files for it, and leaves install directories alone.

#[path = "support/record.rs"]
mod record;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{contents, names, run, run_to_fail, text};
use tempfile::TempDir;

const IMAGE: &str =
    "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PATHS: [&str; 7] = [
    "upi-iso", "upi-pxe", "ipi", "agent", "assisted", "sno", "scale-up",
];

/// A directory with the record of a bake.
fn baked() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = |role: &str, name: &str| json!({ "name": name, "role": role, "size": 1, "sha256": "1".repeat(64) });
    let mut record = record::sample_with(Some("acme_nic"));
    record["image"]["architecture"] = "arm64".into();
    record["files"] = json!([
        file("iso", "rhcos-live-iso.aarch64.iso"),
        file("kernel", "rhcos-live-kernel.aarch64"),
        file("initramfs", "rhcos-live-initramfs.aarch64.img"),
        file("rootfs", "rhcos-live-rootfs.aarch64.img"),
        file("config", "rhcos-live.aarch64.ipxe"),
        file("qcow2", "rhcos-qemu.aarch64.qcow2"),
    ]);
    record::write(directory.path(), &record);
    directory
}

/// `prepare install --path PATH` in a directory, with all that a path could need.
fn prepare(path: &str, media: &Path, here: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    command.current_dir(here);
    command.args([
        "prepare",
        "install",
        "--release",
        "4.21",
        "--path",
        path,
        "--bake",
    ]);
    command.arg(media);
    command.args([
        "--url",
        "http://10.0.0.1:8080",
        "--disk",
        "/dev/sda",
        "--cluster",
        "rack",
    ]);
    command.args([
        "--karg-append",
        "acme.debug=1",
        "--live-karg-append",
        "console=ttyS0",
    ]);
    command
}

fn json_of(command: &mut Command) -> Value {
    let output = run(command.args(["--format", "json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_path_is_told_as_text_and_as_json_and_written() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    for path in PATHS {
        let said = text(&run(&mut prepare(path, media.path(), here.path())));
        assert!(
            said.starts_with(&format!("Install path {path}\n")),
            "{said}"
        );
        let value = json_of(&mut prepare(path, media.path(), here.path()));
        assert_eq!(value["schema"], "coreos-bake/recipe/v1");
        assert_eq!(value["path"], path);
        // The record names the image and the architecture.
        let steps = value["steps"].to_string();
        assert!(
            steps.contains(&format!("--os-image {IMAGE}")) || path == "scale-up",
            "{steps}"
        );
        assert!(
            !value["warnings"].to_string().contains("No image is named"),
            "{path}"
        );
        assert!(
            names(here.path()).is_empty(),
            "{path} writes without --output"
        );

        let output = here.path().join(path);
        let value = json_of(
            prepare(path, media.path(), here.path())
                .arg("-o")
                .arg(&output),
        );
        // A path without files makes no directory.
        let written = match output.exists() {
            true => contents(&output),
            false => BTreeMap::new(),
        };
        let files = value["files"].as_array().unwrap();
        assert_eq!(written.len(), files.len(), "{path}");
        for file in files {
            let (name, content) = (
                file["name"].as_str().unwrap(),
                file["content"].as_str().unwrap(),
            );
            assert_eq!(written[name], content.as_bytes(), "{path} {name}");
        }
        if output.exists() {
            let mut again = prepare(path, media.path(), here.path());
            let error = run_to_fail(again.arg("-o").arg(&output));
            assert!(error.contains("exists"), "{error}");
            run(prepare(path, media.path(), here.path())
                .arg("-o")
                .arg(&output)
                .arg("--force"));
            assert_eq!(contents(&output), written, "{path}");
            fs::remove_dir_all(&output).unwrap();
        }
    }
    assert_eq!(names(media.path()), ["bake.json"]);
}

#[test]
fn the_record_may_be_named_itself() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let of = |path: &Path, here: &Path| {
        json_of(&mut prepare("upi-iso", path, here))["steps"].to_string()
    };
    let record = media.path().join("bake.json");
    assert_eq!(of(&record, here.path()), of(media.path(), here.path()));
    // Beside it, the directory has no name.
    let beside = of(Path::new("bake.json"), media.path());
    assert!(beside.contains("./rhcos-live-iso.aarch64.iso"), "{beside}");
}

/// What the options say comes before what the record says; drivers and firmware are handed on.
#[test]
fn options_come_through() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let other = IMAGE.replace("quay.io", "r.example:5000");
    let mut command = prepare("upi-iso", media.path(), here.path());
    command.args([
        "--os-image",
        &other,
        "--driver-option",
        "acme_nic:it='s'",
        "--role",
        "worker",
        "--anonymous-pull",
    ]);
    let steps = json_of(&mut command)["steps"].clone();
    let prepared = steps[1]["commands"][0].as_str().unwrap();
    assert_eq!(
        prepared,
        format!(
            "coreos-bake prepare install --release 4.21 --bake {} --os-image {other} --role worker \
             --karg-append acme.debug=1 '--driver-option=acme_nic:it='\\''s'\\''' --anonymous-pull",
            media.path().display()
        )
    );
}

#[test]
fn what_is_missing_is_said_with_a_hint() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let bare = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
        command.args([
            "prepare",
            "install",
            "--release",
            "4.21",
            "--color",
            "never",
        ]);
        run_to_fail(command.current_dir(here.path()).args(arguments))
    };
    let error = bare(&["--path", "agent"]);
    assert_eq!(
        error,
        "error: install path agent needs what bake has written\n\
         hint: name what bake has written with --bake\n"
    );
    let error = bare(&["--path", "agent", "--bake", media.path().to_str().unwrap()]);
    assert_eq!(
        error,
        "error: install path agent needs the URL that the media are served at\n\
         hint: name the URL that the media are served at with --url\n"
    );
    fs::write(
        media.path().join("bake.json"),
        r#"{"schema":"coreos-bake/bake/v1"}"#,
    )
    .unwrap();
    let error = run_to_fail(&mut prepare("sno", media.path(), here.path()));
    assert!(error.contains("bake.json: tool is missing"), "{error}");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
        command.args(["prepare", "x", "--release", "4.21"]);
        command.args(arguments).output().unwrap().status.code()
    };
    assert_eq!(code(&["--path", "upi"]), Some(2));
    assert_eq!(code(&["--path", "sno", "--undo"]), Some(2));
    assert_eq!(code(&["--path", "sno", "--dry-run"]), Some(2));
    let seed = [
        "--seed",
        "f",
        "--push-spec",
        "q.io/a/b:c",
        "--push-secret",
        "s",
    ];
    assert_eq!(code(&[&["--path", "sno"][..], &seed].concat()), Some(2));
    for option in [
        "--url",
        "--disk",
        "--cluster",
        "--base-domain",
        "--live-karg-append",
    ] {
        assert_eq!(code(&[option, "a"]), Some(2), "{option}");
    }
}

/// The directory that the assisted recipe makes is one that prepare takes.
#[test]
fn assisted_directories_are_prepared() {
    let (media, here) = (baked(), tempfile::tempdir().unwrap());
    let value = json_of(&mut prepare("assisted", media.path(), here.path()));
    let steps = value["steps"].as_array().unwrap();
    let all: Vec<&str> = steps
        .iter()
        .flat_map(|step| step["commands"].as_array().unwrap())
        .map(|command| command.as_str().unwrap())
        .collect();
    let command = all
        .iter()
        .find(|command| command.starts_with("coreos-bake prepare"))
        .unwrap();
    let objects = here.path().join("install/cluster-manifests");
    fs::create_dir_all(&objects).unwrap();
    let cluster = "apiVersion: extensions.hive.openshift.io/v1beta1\nkind: AgentClusterInstall\n\
                   metadata:\n  name: rack\n  namespace: rack\nspec:\n  provisionRequirements:\n    \
                   controlPlaneAgents: 3\n    workerAgents: 2\n";
    fs::write(objects.join("agent-cluster-install.yaml"), cluster).unwrap();
    let program = env!("CARGO_BIN_EXE_coreos-bake");
    let script = command.replacen("coreos-bake", program, 1);
    run(Command::new("bash")
        .arg("-c")
        .arg(script)
        .current_dir(here.path()));
    let made = names(&here.path().join("install/openshift"));
    assert!(
        made.contains(&"99-worker-coreos-bake-os.yaml".to_owned()),
        "{made:?}"
    );
}

/// `docs/install.md` has a section for each path, and no others, and names only what is there.
#[test]
fn the_page_has_every_path() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/install.md")).unwrap();
    let sections: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(sections, PATHS);
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| ")?
                .split_once("| [`")?
                .1
                .split_once('`')
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(rows, PATHS);
    // The program's own list, as it says it when somebody is wrong.
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    let error = run_to_fail(command.args(["prepare", "x", "--release", "4.21", "--path", "?"]));
    let known = error
        .split_once("install path: ")
        .unwrap()
        .1
        .split_once(" are")
        .unwrap()
        .0;
    let known = known.replace(" and ", ", ");
    assert_eq!(known.split(", ").collect::<Vec<_>>(), PATHS);
}
