//! Media for aarch64, baked on this machine and booted by an emulated one of that architecture.
//!
//! The stand-in OS for it takes ten minutes to make, so these run only with COREOS_BAKE_BOOT=1 and
//! by name (`scripts/test aarch64`).

mod support;

use std::path::Path;
use std::process::Command;

use support::{Workshop, find, have, run, skip};

#[test]
fn an_iso_boots_under_uefi_and_sees_the_disk() {
    let Some((workshop, iso)) = bake("iso") else {
        return;
    };
    let report = boot(&["--iso", &iso, "--disk-controller", "megasas"]);
    for line in [
        "mode live-iso",
        "firmware uefi",
        "initramfs disk sda sd megaraid_sas",
        "disk sda sd megaraid_sas",
    ] {
        assert!(has(&report, line), "{line}: {report}");
    }
    drop(workshop);
}

#[test]
fn a_disk_boots_under_uefi() {
    let Some((workshop, disk)) = bake("metal") else {
        return;
    };
    let report = boot(&["--disk", &disk, "--disk-controller", "nvme"]);
    for line in ["mode installed", "firmware uefi", "disk nvme0n1 nvme"] {
        assert!(has(&report, line), "{line}: {report}");
    }
    assert!(report.contains(" xfs "), "{report}");
    drop(workshop);
}

/// The one file of `format`, of the image with the driver.
fn bake(format: &str) -> Option<(Workshop, String)> {
    std::env::var_os("COREOS_BAKE_BOOT")?;
    if !have("qemu-system-aarch64") {
        return None;
    }
    if !Path::new("/usr/share/AAVMF/AAVMF_CODE.fd").exists() {
        return skip("qemu-efi-aarch64 is not installed");
    }
    let workshop = Workshop::foreign("-arm64")?;
    let output = workshop.output("media");
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "-f", format])
        .args(["--compression", "fast", "--driver", "megaraid_sas", "-o"])
        .arg(&output));
    let file = find(&output, ".aarch64.").display().to_string();
    Some((workshop, file))
}

fn boot(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/boot");
    let output = Command::new(script)
        .args(["--machine", "aarch64"])
        .args(arguments)
        .output()
        .expect("running scripts/boot");
    let report = support::text(&output);
    assert!(output.status.success(), "{report}");
    report
}

fn has(report: &str, line: &str) -> bool {
    let line = format!("MINI-REPORT: {line}");
    report.lines().any(|found| found == line)
}
