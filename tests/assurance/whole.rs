//! What was asked, what was judged, and what is open.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{
    BOOTSTRAP, DRIVER, LIVE, MODULES, Machine, VERMAGIC, have_tools, nothing, put, signed,
};
use crate::object::module;

/// Runs `check` on an image with more arguments; gives its exit code, and what it printed.
fn ask(machine: &Machine, more: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let image = machine.store(directory.path(), &nothing);
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(["check", "--color", "never"])
        .arg(format!("oci:{}", image.display()))
        .args(more)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// An image without the driver, but with one for a whole class of devices.
fn generic() -> Machine {
    let mut machine = Machine::new();
    machine.lose(&format!("{MODULES}/{DRIVER}"), true, true);
    let ahci = module(&[
        VERMAGIC,
        "name=ahci",
        "depends=",
        "alias=pci:v*d*sv*sd*bc01sc06i01*",
    ]);
    machine.both(&format!("{MODULES}/kernel/ahci.ko"), &signed(&ahci));
    machine
}

#[test]
fn a_device_is_not_served_by_drivers_of_classes_it_may_not_have() {
    if !have_tools() {
        return;
    }
    let without = generic();
    let with = Machine::new();
    for numbers in ["1000:abcd", "ffff:ffff"] {
        let (code, said, _) = ask(&without, &["--device", numbers]);
        assert_eq!(code, 1, "{said}");
        assert!(!said.contains('✓'), "{said}");
        assert!(
            said.contains("ahci may be") && said.contains("lspci -nnv"),
            "{said}"
        );
    }
    let whole = "pci:v00001000d0000ABCDsv00001000sd00000001bc01sc04i00";
    let line = "01:00.0 RAID bus controller [0104]: Broadcom [1000:abcd] (rev 02)";
    for device in ["1000:abcd", whole, line] {
        let (code, said, _) = ask(&with, &["--device", device]);
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains("vendor_raid") && !said.contains('✗'),
            "{said}"
        );
    }
    // Where the class is known, its drivers are the device's.
    let line = "00:1f.2 SATA controller [0106]: Intel [8086:a102] (rev 31)";
    let (code, said, _) = ask(&without, &["--device", line]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("ahci") && !said.contains('✗'), "{said}");
}

#[test]
fn a_driver_for_one_subsystem_is_neither_dropped_nor_sure() {
    if !have_tools() {
        return;
    }
    let mut machine = Machine::new();
    let of_subsystem = module(&[
        VERMAGIC,
        "name=vendor_raid",
        "depends=raidlib",
        "alias=pci:v00001000d0000ABCDsv00001028sd*bc*sc*i*",
    ])
    .needs(&["raid_register"]);
    machine.driver(&of_subsystem);
    let (code, said, _) = ask(&machine, &["--device", "1000:abcd", "--format", "json"]);
    assert_eq!(code, 0, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["complete"], false);
    assert!(
        said["notes"][0].as_str().unwrap().contains("subsystem"),
        "{said:#}"
    );
    let table = said["drivers"].as_array().unwrap();
    assert_eq!(table.len(), 7);
    for verdict in table {
        assert_eq!(verdict["status"], "open", "{verdict:#}");
        assert_eq!(verdict["driver"], "vendor_raid");
    }
    machine.lose(&format!("{MODULES}/{DRIVER}"), false, true);
    let (code, said, _) = ask(&machine, &["--device", "1000:abcd"]);
    assert_eq!(code, 1, "{said}");
}

#[test]
fn a_driver_that_is_nowhere_is_missing_on_the_bootstrap_node() {
    if !have_tools() {
        return;
    }
    let mut machine = Machine::new();
    machine.lose(&format!("{MODULES}/{DRIVER}"), true, true);
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.xml");
    let report_path = report.to_str().unwrap();
    let asked = [
        "--driver",
        "vendorraid",
        "--format",
        "json",
        "--junit",
        report_path,
    ];
    let (code, said, _) = ask(&machine, &asked);
    assert_eq!(code, 1, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let table = said["drivers"].as_array().unwrap();
    let bootstrap = table.iter().find(|row| row["stage"] == BOOTSTRAP).unwrap();
    assert_eq!(bootstrap["status"], "fails");
    assert!(
        bootstrap["why"].as_str().unwrap().contains(LIVE),
        "{bootstrap}"
    );
    let stages = [
        "live-initramfs",
        "live-root",
        "install-initramfs",
        "install-root",
        BOOTSTRAP,
    ];
    assert_eq!(said["missing"], serde_json::json!(stages));
    assert_eq!(said["open"], serde_json::json!(["pivot", "day2"]));
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains("failures=\"5\" skipped=\"2\""), "{report}");

    // The name that was meant is that of a module of the image.
    let (_, said, _) = ask(&Machine::new(), &["--driver", "vendorraid"]);
    assert!(said.contains("did you mean vendor_raid?"), "{said}");
    assert!(
        said.contains("open, so not known to be right: pivot, day2\n"),
        "{said}"
    );
}

#[test]
fn what_is_open_is_not_complete_and_not_missing() {
    if !have_tools() {
        return;
    }
    let (code, said, _) = ask(
        &Machine::new(),
        &["--driver", "vendor-raid", "--format", "json"],
    );
    assert_eq!(code, 0, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["complete"], false);
    assert_eq!(said["missing"], serde_json::json!([]));
    assert_eq!(said["open"], serde_json::json!(["pivot", "day2"]));
}

#[test]
fn naming_what_a_cluster_does_with_a_system_says_that_it_goes_into_one() {
    if !have_tools() {
        return;
    }
    let table = |id: &str, more: &[&str]| {
        let mut machine = Machine::new();
        let text = format!("ID={id}\nVERSION_ID=1\n");
        put(&mut machine.root, "usr/lib/os-release", text);
        let mut asked = vec!["--driver", "vendor-raid", "--format", "json"];
        asked.extend(more);
        let (_, said, error) = ask(&machine, &asked);
        match serde_json::from_str::<Value>(&said) {
            Ok(said) => said["drivers"].as_array().unwrap().len(),
            Err(_) => panic!("{error}"),
        }
    };
    assert_eq!(table("fedora", &[]), 4);
    assert_eq!(table("rhcos", &[]), 7);
    let other = tempfile::tempdir().unwrap();
    let other = Machine::new().store(other.path(), &nothing);
    let other = format!("--os-image=oci:{}", other.display());
    assert_eq!(table("fedora", &[&other]), 7);
}
