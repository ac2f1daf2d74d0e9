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

/// Names of drivers are refused alike by all commands, before anything is read: the image is not there.
#[test]
fn drivers_are_named_alike_in_every_command() {
    let commands: [&[&str]; 4] = [
        &["bake", "oci:/nonexistent", "-o", "/nonexistent/x"],
        &["check", "oci:/nonexistent"],
        &[
            "layer",
            "oci:/nonexistent",
            "-o",
            "oci:/nonexistent/x",
            "--repair",
        ],
        &["prepare", "/nonexistent", "--release", "4.19"],
    ];
    for command in commands {
        let ask = |names: &[&str]| {
            let names = names.iter().flat_map(|name| ["--driver", name]);
            let mut program = program();
            program.args(["--color", "never"]).args(command).args(names);
            let output = program.output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            (output.status.code(), error)
        };
        for (names, words) in [
            (&[""][..], "is empty"),
            (&["a", ""], "is empty"),
            (&["a,,b"], "is empty"),
            (&["megaraid_sas mpt3sas"], "separated by commas"),
            (&["megaraid_sas;mpt3sas"], "separated by commas"),
            (&["extra/megaraid_sas"], "ends in .ko"),
            (&["a", "a"], "driver a is named twice"),
            (&["a_b,a-b.ko.xz"], "driver a_b is named twice"),
        ] {
            let (code, error) = ask(names);
            assert_eq!(code, Some(2), "{command:?} {names:?}: {error}");
            assert!(error.contains(words), "{command:?} {names:?}: {error}");
        }
        for names in [
            &["a,b"][..],
            &["a", "b"],
            &["/usr/lib/modules/6/extra/a-b.ko.zst"],
        ] {
            let (code, error) = ask(names);
            assert_eq!(code, Some(1), "{command:?} {names:?}: {error}");
            assert!(
                error.contains("/nonexistent"),
                "{command:?} {names:?}: {error}"
            );
        }
    }
}

#[test]
fn devices_are_refused_before_the_image_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let list = file(
        "lspci.txt",
        "01:00.0 RAID bus controller [0104]: x [1000:005b]\n",
    );
    let empty = file("empty", "");
    let bridges = file(
        "bridges",
        "00:00.0 0600: 8086:1237\n00:01.0 0601: 8086:7000\n",
    );
    let users = file(
        "passwd",
        "root:x:0:0::/root:/bin/sh\nbin:x:1:1::/bin:/bin/false\n",
    );
    for (device, words) in [
        (format!("@{empty}"), "no device is described"),
        (format!("@{bridges}"), "none is storage or network"),
        (format!("@{users}"), "none is storage or network"),
        (format!("@{list}.nosuch"), "No such file"),
        (list.clone(), "a file is read with @ in front"),
        (String::new(), "no device is described"),
        ("1000".to_owned(), "no device is described"),
    ] {
        let output = program()
            .args(["check", "oci:/nonexistent", "--device", &device])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{device}: {error}");
        assert!(error.contains(words), "{device}: {error}");
    }
    let output = program()
        .args(["check", "oci:/nonexistent", "--device", &format!("@{list}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn directories_that_are_not_media_are_not_looked_for_in_registries() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let ask = |command: &str| {
        let mut program = program();
        program.args(["--color", "never", command]).arg(place);
        if command == "check" {
            program.args(["--driver", "a"]);
        }
        let output = program.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let both = |words: &[&str]| {
        for command in ["check", "inspect"] {
            let error = ask(command);
            for word in words {
                assert!(error.contains(word), "{command}: {error}");
            }
        }
    };
    both(&["it has no file *-live-kernel.*, so it is not a PXE set"]);
    // Of a set, each file has to be there.
    for part in ["kernel", "initramfs"] {
        std::fs::write(place.join(format!("os-live-{part}.x86_64")), "").unwrap();
    }
    both(&["it has no file *-live-rootfs.*, so it is not a PXE set"]);
    std::fs::write(place.join("os-live-iso.x86_64.iso"), "").unwrap();
    both(&["hint: name the medium itself: ", "os-live-iso.x86_64.iso"]);
    std::fs::write(place.join("index.json"), "{}").unwrap();
    both(&["hint: an image is named with its transport: oci:/"]);
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

    // No image was looked into.
    let (code, said) = check("right", right, &["--format", "json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["complete"]), (Some(0), &false.into()));

    // A script may bring modules or not: what is not sure gets no ✓.
    let script = right.replace("RUN kver", "RUN ./install-drivers && kver");
    let script = &script[..script.find(" && depmod").unwrap()];
    let (code, said) = check("script", script, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning") && !said.contains('✓'), "{said}");

    // The mistake that this program exists for.
    let forgot = &right[..right.find("RUN").unwrap()];
    let (code, said) = check("forgot", forgot, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/forgot:3: error:"), "{said}");
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

    let report = directory.path().join("report.xml");
    let (code, _) = check("forgot", forgot, &["--junit", report.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("tests=\"1\" failures=\"1\""), "{report}");
}
