//! Emulated machines that boot media, and what the stand-in OS on them reports.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Workshop, have, skip, text};

/// Written by the Ignition config that the tests embed; the mini OS reports the file's content.
pub const MARKER: &str = "hello from ignition";

/// A place to work in, if boots are wanted and can be had.
pub fn able() -> Option<Workshop> {
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

/// An Ignition config that writes the marker.
pub fn ignition(directory: &Path) -> PathBuf {
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

/// Boots with `arguments`; returns how it ended and what the mini OS reported.
pub fn try_boot(arguments: &[&str]) -> (Output, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/boot");
    let output: Output = Command::new(script)
        .args(arguments)
        .output()
        .expect("running scripts/boot");
    let report = text(&output);
    (output, report)
}

/// Boots with `arguments` and returns what the mini OS reported at its end.
pub fn boot(arguments: &[&str]) -> String {
    let (output, report) = try_boot(arguments);
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
pub fn lines<'a>(report: &'a str, key: &str) -> Vec<&'a str> {
    report
        .lines()
        .filter_map(|line| line.strip_prefix("MINI-REPORT: "))
        .filter(|line| line.starts_with(key))
        .collect()
}

/// Asserts that a live system of `mode` with the marker saw the disk.
pub fn assert_live(report: &str, mode: &str) {
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

/// The controller that only the layered image has a driver for.
pub const MEGASAS: [&str; 2] = ["--disk-controller", "megasas"];

/// A port that is free now, for media that have to know beforehand where a server will be.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("asking for a free port")
        .port()
}
