//! What `check` and `inspect` tell of media: a minimal ISO with and without its root, a directory of
//! everything, and what was put into them.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Workshop, find, run, run_to_fail, text};

const URL: &str = "http://192.168.1.5:8080/rootfs.img";

fn bake(workshop: &Workshop, name: &str, more: &[&str]) -> PathBuf {
    let output = workshop.path(name);
    let mut command = workshop.bake_as_nobody();
    command
        .args(["bake", &workshop.image("layered"), "-o"])
        .arg(&output)
        .args(["--compression", "fast", "--rootfs-url", URL])
        .args(more);
    run(&mut command);
    output
}

fn ask(workshop: &Workshop, command: &str, medium: &Path, more: &[&str]) -> Value {
    let mut asked = workshop.bake_as_nobody();
    asked
        .args([command, "--format", "json"])
        .arg(medium)
        .args(more);
    let output = asked.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn installer() -> PathBuf {
    support::sample().unwrap().join("tools/coreos-installer")
}

/// The mark of a driver's verdicts at each stage.
fn statuses(checked: &Value) -> Vec<(String, String)> {
    let rows = checked["drivers"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|row| (word(&row["stage"]), word(&row["status"])))
        .collect()
}

const DRIVER: [&str; 2] = ["--driver", "megaraid_sas"];

#[test]
fn a_minimal_iso_is_judged_with_the_root_that_it_fetches() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let media = bake(&workshop, "media", &["-f", "minimal-iso"]);
    let minimal = find(&media, "-live-minimal-iso.");
    let rootfs = find(&media, "-live-rootfs.");

    // Beside it.
    let checked = ask(&workshop, "check", &minimal, &DRIVER);
    assert_eq!(checked["faults"], json!([]), "{checked}");
    let found = statuses(&checked);
    assert_eq!(
        found[..4].iter().filter(|(_, s)| s == "present").count(),
        4,
        "{found:?}"
    );
    assert_eq!(checked["media"][0]["kind"], "minimal-iso");
    assert_eq!(checked["media"][0]["rootfs"], rootfs.to_str().unwrap());

    // Elsewhere, and named.
    let alone = workshop.output("alone");
    fs::create_dir_all(&alone).unwrap();
    let iso = alone.join("boot.iso");
    fs::copy(&minimal, &iso).unwrap();
    support::open_up(&alone);
    let named = ["--rootfs", rootfs.to_str().unwrap()];
    let with_root = ask(&workshop, "check", &iso, &[&DRIVER[..], &named].concat());
    assert_eq!(statuses(&with_root), found);

    // Nowhere: the initramfs is judged, and the rest is open.
    let checked = ask(&workshop, "check", &iso, &DRIVER);
    assert_eq!(checked["faults"], json!([]), "{checked}");
    assert_eq!(checked["complete"], false);
    let rootless = statuses(&checked);
    assert_eq!(rootless[0], ("live-initramfs".into(), "present".into()));
    assert!(
        rootless[1..].iter().all(|(_, status)| status == "open"),
        "{rootless:?}"
    );
    assert!(rootless.iter().any(|(stage, _)| stage == "live-root"));
    let why = checked["drivers"][1]["why"].as_str().unwrap();
    assert!(why.contains("give it with --rootfs FILE"), "{why}");
    let stock = ask(&workshop, "check", &iso, &["--driver", "no_such_driver"]);
    assert_eq!(stock["missing"], json!(["live-initramfs"]), "{stock}");
    let mut of_devices = workshop.bake_as_nobody();
    of_devices
        .args(["check", "--device", "1000:10e7"])
        .arg(&iso);
    let error = run_to_fail(&mut of_devices);
    assert!(error.contains("--rootfs FILE"), "{error}");

    // The root of another bake, and an ISO that is told of no URL.
    let mut other = fs::read(&rootfs).unwrap();
    *other.last_mut().unwrap() ^= 1;
    let damaged = alone.join("other.img");
    fs::write(&damaged, other).unwrap();
    support::open_up(&alone);
    let named = ["--rootfs", damaged.to_str().unwrap()];
    let checked = ask(&workshop, "check", &iso, &[&DRIVER[..], &named].concat());
    let fault = checked["faults"][0].as_str().unwrap();
    assert!(fault.starts_with("rootfs.img is not the one"), "{fault}");
    let untold = alone.join("untold.iso");
    run(Command::new(installer())
        .args(["iso", "kargs", "modify", "--delete"])
        .arg(format!("coreos.live.rootfs_url={URL}"))
        .arg("-o")
        .arg(&untold)
        .arg(&iso));
    support::open_up(&untold);
    for more in [
        &DRIVER[..],
        &[&DRIVER[..], &["--rootfs", rootfs.to_str().unwrap()]].concat(),
    ] {
        let checked = ask(&workshop, "check", &untold, more);
        let fault = checked["faults"][0].as_str().unwrap();
        assert!(
            fault.contains("--append coreos.live.rootfs_url=URL"),
            "{fault}"
        );
    }

    // Whole media have a root of their own.
    let mut command = workshop.bake_as_nobody();
    command
        .args(["check", "--rootfs"])
        .arg(&rootfs)
        .args(DRIVER)
        .arg(workshop.image("stock"));
    let error = run_to_fail(&mut command);
    assert!(error.contains("is not a minimal ISO"), "{error}");

    let told = ask(&workshop, "inspect", &iso, &[]);
    assert_eq!(told["kind"], "minimal-iso");
    assert!(
        told["notes"][0].as_str().unwrap().contains("--rootfs FILE"),
        "{told}"
    );
    let told = ask(&workshop, "inspect", &minimal, &[]);
    assert_eq!(told["notes"], json!([]));
    assert_eq!(told["rootfs"], rootfs.to_str().unwrap());
    let compressor = told["root"]["compressor"].as_str().unwrap();
    assert!(compressor.starts_with("zstd"), "{compressor}");
}

#[test]
fn all_media_of_a_directory_are_looked_into() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let formats = "iso,minimal-iso,pxe,metal,qcow2";
    let media = bake(
        &workshop,
        "media",
        &["-f", formats, "--driver", "megaraid_sas"],
    );
    let all = ask(&workshop, "check", &media, &DRIVER);
    assert_eq!(all["faults"], json!([]), "{all}");
    let kinds: Vec<_> = all["media"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["kind"])
        .collect();
    assert_eq!(kinds, ["iso", "minimal-iso", "disk", "disk", "pxe"]);
    let notes = all["notes"].to_string();
    for part in [
        "-live-iso.",
        "-live-minimal-iso.",
        "-metal.",
        ".qcow2",
        "the PXE set",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }

    // One of them lacks the driver, and is named; what is not of the bake is passed over, and named.
    let stock = workshop.output("stock");
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("stock"), "-f", "iso", "-o"])
        .arg(&stock)
        .args(["--compression", "fast"]));
    let iso = find(&media, "-live-iso.");
    let kept = fs::read(&iso).unwrap();
    fs::copy(find(&stock, "-live-iso."), &iso).unwrap();
    fs::write(media.join("mine.iso"), "").unwrap();
    let mixed = ask(&workshop, "check", &media, &DRIVER);
    let why = mixed["drivers"][0]["why"].as_str().unwrap();
    let name = iso.file_name().unwrap().to_str().unwrap();
    assert!(why.starts_with(&format!("{name}: ")), "{why}");
    assert_eq!(mixed["media"][0]["missing"][0], "live-initramfs");
    assert_eq!(mixed["media"][4]["missing"], json!([]));
    assert!(mixed["notes"].to_string().contains("mine.iso"), "{mixed}");
    fs::write(&iso, kept).unwrap();
    fs::remove_file(media.join("mine.iso")).unwrap();

    // Without its record, a directory has the media that are there.
    fs::remove_file(media.join("bake.json")).unwrap();
    let unrecorded = ask(&workshop, "check", &media, &DRIVER);
    assert_eq!(
        unrecorded["media"].as_array().unwrap().len(),
        5,
        "{unrecorded}"
    );
    assert_eq!(statuses(&unrecorded), statuses(&all));
}

#[test]
fn media_tell_their_image_their_drivers_and_what_was_put_into_them() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let config = workshop.path("mine.ign");
    fs::write(&config, r#"{"ignition":{"version":"3.4.0"}}"#).unwrap();
    support::open_up(&config);
    const TARGET: &str = "ostree-unverified-registry:q.io/me/os@sha256:";
    let target = format!("{TARGET}{}", "a".repeat(64));
    let media = bake(
        &workshop,
        "media",
        &[
            "-f",
            "iso,pxe,metal",
            "--driver",
            "megaraid_sas",
            "--target-imgref",
            &target,
            "--nodes-only",
            "--live-ignition",
            config.to_str().unwrap(),
            "--live-karg-append",
            "acme.debug=1",
        ],
    );
    let record: Value =
        serde_json::from_slice(&fs::read(media.join("bake.json")).unwrap()).unwrap();
    let all = ask(&workshop, "inspect", &media, &[]);
    let all = all["media"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    for facts in all {
        let kind = facts["kind"].as_str().unwrap();
        assert_eq!(
            facts["image"]["manifest-digest"], record["image"]["manifest-digest"],
            "{kind}"
        );
        assert_eq!(facts["origin"], target.as_str(), "{kind}");
        assert_eq!(
            facts["bake"]["image"], record["image"]["reference"],
            "{kind}"
        );
        assert_eq!(facts["drivers"], record["drivers"], "{kind}");
        let is_live = kind != "disk";
        assert_eq!(facts["ignition"]["embedded"], is_live, "{facts}");
        let arguments = facts["kernel-arguments"].as_array().unwrap();
        assert_eq!(
            arguments.contains(&json!("acme.debug=1")),
            kind == "iso",
            "{kind}"
        );
    }
    let iso = &all[0]["ignition"];
    assert_eq!(iso["area-bytes"], 256 << 10);
    let used = iso["used-bytes"].as_u64().unwrap();
    assert!(used > 0 && used < 256 << 10, "{iso}");

    // Changed since: the record is not of it any more, though neither name nor length have changed.
    let path = find(&media, "-live-iso.");
    let mut tool = Command::new(installer());
    run(tool.args(["iso", "ignition", "remove"]).arg(&path));
    support::open_up(&path);
    let facts = ask(&workshop, "inspect", &path, &[]);
    assert_eq!(facts["ignition"]["embedded"], false, "{facts}");
    assert_eq!(facts["drivers"], Value::Null);
    assert!(
        facts["notes"][0]
            .as_str()
            .unwrap()
            .contains("was changed since"),
        "{facts}"
    );
    let said = text(&run(workshop.bake_as_nobody().arg("inspect").arg(&path)));
    assert!(said.contains("note: "), "{said}");
}

/// A local image's name is none that nodes could use.
#[test]
fn an_origin_that_says_nothing_to_nodes_is_warned_of_once() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let plan = |more: &[&str]| {
        let mut command = workshop.bake_as_nobody();
        command
            .args([
                "bake",
                &workshop.image("layered"),
                "--dry-run",
                "-f",
                "pxe",
                "-o",
            ])
            .arg(workshop.path("none"))
            .args(more);
        let output = run(&mut command);
        (text(&output), String::from_utf8(output.stderr).unwrap())
    };
    let (plain, said) = plan(&[]);
    assert!(
        plain.contains("ostree-unverified-image:oci:layered.oci\n"),
        "{plain}"
    );
    assert_eq!(said.matches("--target-imgref").count(), 1, "{said}");
    let target = format!(
        "ostree-unverified-registry:q.io/me/os@sha256:{}",
        "a".repeat(64)
    );
    assert!(
        said.contains("--nodes-only and --target"),
        "it has no OpenShift: {said}"
    );
    let (_, said) = plan(&["--target-imgref", &target, "--nodes-only"]);
    assert!(!said.contains("--target-imgref"), "{said}");
}
