//! What people see: help, exit codes, errors, manual pages, completions.

mod support;

use std::process::Command;

use support::{run, text};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
}

#[test]
fn help_fits_eighty_columns() {
    for command in [
        &[][..],
        &["bake"],
        &["check"],
        &["inspect"],
        &["completions"],
        &["man"],
    ] {
        for flag in ["-h", "--help"] {
            let help = text(&run(program().args(command).arg(flag).env("COLUMNS", "80")));
            assert!(help.contains("Usage:"), "{command:?}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{command:?} {flag}: {line}");
            }
        }
    }
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let code = |arguments: &[&str]| program().args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["bake"]), Some(2));
    assert_eq!(code(&["bake", "oci:x", "-o", "y", "-f", "floppy"]), Some(2));
    assert_eq!(code(&["bake", "dir:/x", "-o", "y"]), Some(2));
    assert_eq!(code(&["inspect", "oci:/nonexistent"]), Some(1));
}

#[test]
fn errors_are_one_sentence_on_standard_error() {
    let output = program()
        .args(["inspect", "oci:/nonexistent", "--color", "never"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("error: opening image oci:/nonexistent: "),
        "{error}"
    );
    assert!(output.stdout.is_empty());
    let coloured = program()
        .args(["inspect", "oci:/nonexistent", "--color", "always"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(coloured.stderr)
            .unwrap()
            .contains("\x1b[")
    );
}

#[test]
fn manual_pages_and_completions_come_from_the_same_definition() {
    let directory = tempfile::tempdir().unwrap();
    run(program().arg("man").arg(directory.path()));
    let names = support::names(directory.path());
    for command in ["", "-bake", "-check", "-inspect"] {
        assert!(
            names.contains(&format!("coreos-bake{command}.1")),
            "{names:?}"
        );
    }
    let page = std::fs::read_to_string(directory.path().join("coreos-bake-bake.1")).unwrap();
    assert!(
        page.contains("rootfs") && !page.contains("20\\-"),
        "the page has the options and no date"
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(program().args(["completions", shell])));
        assert!(script.contains("target-imgref"), "{shell}");
    }
}
