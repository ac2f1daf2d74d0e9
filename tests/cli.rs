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
        &["hosts"],
        &["layer"],
        &["prepare"],
        &["serve"],
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

#[test]
fn a_containerfile_is_read_as_the_cluster_would_build_it() {
    let directory = tempfile::tempdir().unwrap();
    let check = |name: &str, content: &str, more: &[&str]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let output = program()
            .args(["check", "--driver", "mydisk", "--containerfile"])
            .arg(&path)
            .args(more)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let right = "FROM quay.example.com/drivers@sha256:\
                 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 AS drivers\n\
                 FROM configs AS final\n\
                 COPY --from=drivers /mydisk.ko /usr/lib/modules/5.14.0-1.el9.x86_64/extra/mydisk.ko\n\
                 RUN kver=$(ls /usr/lib/modules) && depmod -a \"$kver\" && DRACUT_NO_XATTR=1 \
                 dracut --force --no-hostonly --reproducible --add-drivers mydisk --kver \"$kver\" \
                 \"/usr/lib/modules/$kver/initramfs.img\" && ostree container commit\n";
    let (code, said) = check("right", right, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains("error") && !said.contains("warning"),
        "{said}"
    );

    // The mistake that this program exists for.
    let forgot = &right[..right.find("RUN").unwrap()];
    let (code, said) = check("forgot", forgot, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/forgot:3: error: "), "{said}");
    assert!(said.contains("(dracut-missing)"), "{said}");

    let (code, said) = check("forgot", forgot, &["--format", "json"]);
    assert_eq!(code, Some(1), "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["complete"], false);
    let rules: Vec<_> = said["containerfile"]["remarks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|remark| remark["rule"].as_str().unwrap())
        .collect();
    assert!(rules.contains(&"depmod-missing"), "{rules:?}");
}
