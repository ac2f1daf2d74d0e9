//! The promise to the user: the media boot, and see the disk that stock media don't.
//!
//! Each boot takes a minute or two under emulation, so these run only with COREOS_BAKE_BOOT=1
//! (`scripts/test boot`).

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{Workshop, find, have, run, skip};

/// Written by the Ignition config that the tests embed; the mini OS reports the file's content.
const MARKER: &str = "hello from ignition";

fn able() -> Option<Workshop> {
    if std::env::var_os("COREOS_BAKE_BOOT").is_none() {
        eprintln!("skipped: boots take minutes; set COREOS_BAKE_BOOT=1");
        return None;
    }
    if !have("qemu-system-x86_64") {
        return None;
    }
    if !Path::new("/usr/share/OVMF/OVMF_CODE_4M.fd").exists() {
        return skip("ovmf is not installed");
    }
    Workshop::new()
}

fn ignition(directory: &Path) -> PathBuf {
    let path = directory.join("marker.ign");
    let config = serde_json::json!({
        "ignition": { "version": "3.3.0" },
        "storage": { "files": [{
            "path": "/etc/ignition-was-here",
            "mode": 0o644,
            "contents": { "source": format!("data:,{}", MARKER.replace(' ', "%20")) },
        }]},
    });
    fs::write(&path, config.to_string()).unwrap();
    path
}

/// Bakes `image` with an Ignition config and a serial console.
fn bake(workshop: &Workshop, image: &str, more: &[&str]) -> PathBuf {
    let output = workshop.output(&format!("{image}-media"));
    let config = ignition(&output);
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image(image), "--compression", "fast"])
        .args([
            "--live-karg-append",
            "console=ttyS0",
            "--live-karg-append",
            "mini.poweroff",
            "--live-ignition",
        ])
        .arg(&config)
        .args(more)
        .arg("-o")
        .arg(&output));
    output
}

/// Boots with `arguments` and returns what the mini OS reported.
fn boot(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/boot");
    let output: Output = Command::new(script)
        .args(arguments)
        .output()
        .expect("running scripts/boot");
    let report = support::text(&output);
    assert!(
        output.status.success(),
        "boot {arguments:?} ended with {}\n{report}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
    eprintln!("{report}");
    report
}

/// The report's lines that begin with `key`.
fn lines<'a>(report: &'a str, key: &str) -> Vec<&'a str> {
    report
        .lines()
        .filter_map(|line| line.strip_prefix("MINI-REPORT: "))
        .filter(|line| line.starts_with(key))
        .collect()
}

fn assert_live(report: &str, mode: &str) {
    assert_eq!(lines(report, "mode "), [format!("mode {mode}")], "{report}");
    assert_eq!(
        lines(report, "ignition ").concat().trim(),
        format!("ignition {MARKER}"),
        "{report}"
    );
    assert!(
        lines(report, "disk ")
            .iter()
            .any(|line| line.contains("megaraid_sas")),
        "the disk is there: {report}"
    );
    assert_eq!(lines(report, "failed-unit"), [""; 0], "{report}");
}

#[test]
fn layered_media_boot_every_way_and_see_the_disk() {
    let Some(workshop) = able() else { return };
    let media = bake(&workshop, "layered", &["--driver", "megaraid_sas"]);
    let iso = find(&media, ".iso").display().to_string();
    let disk = ["--disk-controller", "megasas"];

    assert_live(&boot(&[&["--iso", &iso][..], &disk].concat()), "live-iso");
    assert_live(
        &boot(&[&["--iso", &iso, "--usb"][..], &disk].concat()),
        "live-iso",
    );

    let kernel = find(&media, "-live-kernel.").display().to_string();
    let initrd = find(&media, "-live-initramfs.").display().to_string();
    let rootfs = find(&media, "-live-rootfs.");
    let kargs = "ignition.firstboot ignition.platform.id=metal console=ttyS0 mini.poweroff";
    let url = format!(
        "{kargs} coreos.live.rootfs_url=@URL@/{}",
        rootfs.file_name().unwrap().display()
    );
    let pxe = ["--kernel", &kernel, "--initrd", &initrd];
    let by_url = [
        &pxe[..],
        &["--append", &url, "--serve", media.to_str().unwrap()],
        &disk,
    ]
    .concat();
    assert_live(&boot(&by_url), "live-pxe");

    let rootfs = rootfs.display().to_string();
    let joined = [&pxe[..], &["--initrd", &rootfs, "--append", kargs], &disk].concat();
    assert_live(&boot(&joined), "live-pxe");
}

#[test]
fn stock_media_boot_but_do_not_see_the_disk() {
    let Some(workshop) = able() else { return };
    let media = bake(&workshop, "stock", &["-f", "iso"]);
    let iso = find(&media, ".iso").display().to_string();
    let report = boot(&["--iso", &iso, "--disk-controller", "megasas"]);
    assert_eq!(lines(&report, "mode "), ["mode live-iso"], "{report}");
    assert_eq!(
        lines(&report, "ignition ").concat().trim(),
        format!("ignition {MARKER}"),
        "{report}"
    );
    assert!(!report.contains("megaraid_sas"), "{report}");
    assert!(
        !lines(&report, "unbound").is_empty(),
        "the controller has no driver: {report}"
    );
}
