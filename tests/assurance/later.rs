//! Drivers that an initramfs made later would lose.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{
    CONF, CONF_TEXT, CONTAINERFILE, Machine, check, check_with, have_tools, mark, names, nothing,
    put,
};
use crate::support::run;

/// Where initramfs are made from later, and what is said where they would lose the driver.
const LATER: &str = "install-root";
const ANEW: &str = "made anew";

#[test]
fn drivers_that_a_later_dracut_would_lose() {
    if !have_tools() {
        return;
    }
    let lost = || {
        let mut machine = Machine::new();
        machine.lose(CONF, true, false);
        machine
    };
    names(&lost(), &nothing, &[(LATER, "doubt", ANEW)]);
    let (value, _) = check(&lost(), &nothing);
    let hint = value["hint"].as_str().unwrap();
    assert!(hint.contains("--repair --driver vendor_raid"), "{hint}");
    assert!(
        hint.contains(CONF) && hint.contains(CONF_TEXT.trim_end()),
        "{hint}"
    );

    for (path, text) in [
        (
            "usr/etc/dracut.conf.d/x.conf",
            "force_drivers+=\" a vendor-raid \"\n",
        ),
        ("usr/etc/dracut.conf", "add_drivers=' vendor_raid '"),
        // RHEL's dracut asks depmod.d, which says here: search extra.
        (
            "usr/lib/dracut/modules.d/90kernel-modules-extra/module-setup.sh",
            "#",
        ),
    ] {
        let mut kept = lost();
        put(&mut kept.root, path, text);
        names(&kept, &nothing, &[]);
    }
    let mut other = Machine::new();
    put(&mut other.root, CONF, "add_drivers+=\" vendor_raid2 \"\n");
    names(&other, &nothing, &[(LATER, "doubt", ANEW)]);
    let mut taken_back = Machine::new();
    put(
        &mut taken_back.root,
        "usr/etc/dracut.conf.d/99-mine.conf",
        "add_drivers=\" other \"\n",
    );
    names(&taken_back, &nothing, &[(LATER, "doubt", ANEW)]);

    // A Containerfile that has dracut run again, and leaves the driver to the image below.
    let again = CONTAINERFILE.replace(" --add-drivers \"vendor-raid\"", "");
    let again: String = again
        .lines()
        .filter(|line| !line.starts_with("COPY"))
        .fold(String::new(), |text, line| text + line + "\n");
    let mut machine = Machine::new();
    machine.containerfile = again.clone();
    names(&machine, &nothing, &[]);
    machine.os_image = Some(Box::new(lost()));
    names(&machine, &nothing, &[("day2", "no", "without vendor_raid")]);
}

#[test]
fn manifests_that_have_initramfs_made_anew() {
    if !have_tools() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let manifest = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let unit = |name: &str, command: &str| {
        format!(
            "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  \
             name: {name}\n  labels:\n    machineconfiguration.openshift.io/role: worker\nspec:\n  \
             config:\n    ignition: {{ version: 3.4.0 }}\n    systemd:\n      units:\n      - name: \
             x.service\n        enabled: true\n        contents: |\n          [Service]\n          \
             ExecStart={command}\n"
        )
    };
    let enables = manifest(
        "enables.yaml",
        &unit("50-initramfs", "/usr/bin/rpm-ostree initramfs --enable"),
    );
    // A file of something else is not a pool without trouble.
    let text = manifest("notes.txt", "nothing here\n");
    let more = ["--driver", "vendor-raid", "--manifest", &text];
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(["check", "oci:/nonexistent"])
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has no object of a cluster in it"), "{said}");
    let other = manifest("other.yaml", &unit("50-other", "/usr/bin/true"));
    let kmm = manifest(
        "kmm.yaml",
        "apiVersion: kmm.sigs.x-k8s.io/v1beta1\nkind: InitramfsModule\nmetadata: { name: raid }\n",
    );
    manifest(
        "cluster/openshift/99-x.yaml",
        &unit("99-x", "rpm-ostree initramfs --enable"),
    );
    let cluster = directory.path().join("cluster").display().to_string();
    let mut lost = Machine::new();
    lost.lose(CONF, true, false);
    let said = |machine: &Machine, manifests: &[&str]| {
        let mut more = vec!["--driver", "vendor-raid"];
        more.extend(manifests.iter().flat_map(|path| ["--manifest", path]));
        let (value, error) = check_with(machine, &nothing, &more);
        let rows = value["drivers"]
            .as_array()
            .unwrap_or_else(|| panic!("{error}"));
        let row = rows.iter().find(|row| row["stage"] == LATER).unwrap();
        (mark(row), value["complete"] == true)
    };
    let ((mark, words), complete) = said(&lost, &[&other, &enables]);
    assert_eq!((mark, complete), ("no", false));
    for part in [
        "MachineConfig 50-initramfs in ",
        "enables.yaml",
        "pool worker",
        "x.service",
    ] {
        assert!(words.contains(part), "{words}");
    }
    let ((mark, words), _) = said(&lost, &[&cluster]);
    assert!(
        mark == "no" && words.contains("openshift/99-x.yaml"),
        "{words}"
    );
    let ((mark, words), complete) = said(&lost, &[&kmm]);
    assert_eq!((mark, complete), ("doubt", true));
    assert!(words.contains("InitramfsModule raid"), "{words}");
    let ((mark, words), _) = said(&lost, &[&other]);
    assert!(mark == "doubt" && words.contains(ANEW), "{words}");
    // Where the driver is kept, it is nobody's concern.
    let all = [&*enables, &kmm, &cluster, &other];
    assert_eq!(said(&Machine::new(), &all), (("yes", String::new()), true));

    let broken = manifest("broken.yaml", "a: [");
    let (_, error) = check_with(&lost, &nothing, &["--manifest", &broken]);
    assert!(error.contains("broken.yaml is no YAML"), "{error}");
    let (_, error) = check_with(&lost, &nothing, &["--manifest", "/nonexistent"]);
    assert!(error.contains("/nonexistent"), "{error}");
}

#[test]
fn a_layer_names_drivers_to_later_dracuts() {
    if !have_tools() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut machine = Machine::new();
    machine.lose(CONF, true, false);
    // Somebody else's settings in a file of that name.
    put(&mut machine.root, CONF, "compress=zstd");
    let image = machine.store(directory.path(), &nothing);
    let layer = |image: &str, tag: &str| -> Value {
        let target = format!("oci:{}:{tag}", directory.path().join("os").display());
        let output = run(Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
            .args(["layer", image, "-o", &target, "--format", "json"])
            .args(["--repair", "--driver", "vendor-raid"]));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let said = layer(&format!("oci:{}", image.display()), "first");
    // The driver is at its places; only the next initramfs would have been without it.
    assert_eq!(said["files"], serde_json::json!([CONF]));
    let first = format!("oci:{}:first", directory.path().join("os").display());
    let output = run(Command::new(env!("CARGO_BIN_EXE_coreos-bake")).args([
        "check",
        &first,
        "--driver",
        "vendor-raid",
        "--format",
        "json",
    ]));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = value["drivers"].as_array().unwrap();
    let row = rows.iter().find(|row| row["stage"] == LATER).unwrap();
    assert_eq!(mark(row), ("yes", String::new()));
    assert_eq!(value["hint"], Value::Null);
    assert_eq!(layer(&first, "second")["files"], serde_json::json!([]));
}
