//! What people see: help, exit codes, errors, manual pages, completions.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
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
        &["cache"],
        &["cache", "show"],
        &["cache", "prune"],
        &["cluster"],
        &["cluster", "status"],
        &["cluster", "retry"],
        &["cluster", "alerts"],
        &["cluster", "entitle"],
        &["cluster", "handoff"],
        &["cluster", "revert"],
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
    both(&["hint: write oci:/"]);
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

/// Everything behind the options, and nothing of it in the short form.
#[test]
fn long_help_has_examples_and_what_else_matters() {
    let help = |words: &[&str]| text(&run(program().args(words)));
    for command in [
        "bake", "check", "layer", "inspect", "verify", "prepare", "hosts", "serve", "cluster",
        "cache", "man",
    ] {
        let long = help(&[command, "--help"]);
        for heading in [
            "\nExamples:\n",
            "\nExit status:\n",
            "\n  130 ",
            "\nEnvironment:\n",
            "\nSee also:\n",
        ] {
            assert!(long.contains(heading), "{command}: {long}");
        }
        let short = help(&[command, "-h"]);
        assert!(!short.contains("Examples:"), "{short}");
        let (short, long) = (short.lines().count(), long.lines().count());
        assert!(2 * short <= long, "{command}: {short} and {long} lines");
    }
    let whole = help(&["--help"]);
    for fact in [
        "COREOS_BAKE_AUTHFILE",
        "NO_COLOR",
        "~/.cache/coreos-bake/blocks",
        "auth.json",
        "coreos-bake-bake(1)",
    ] {
        assert!(whole.contains(fact), "{fact}: {whole}");
    }
    // 3 is for commands that can end so.
    assert!(help(&["bake", "--help"]).contains("\n  3 "));
    assert!(!help(&["inspect", "--help"]).contains("\n  3 "));
}

#[test]
fn manual_pages_have_all_sections() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("made/when/missing");
    // No page depends on the day, the commit or the user's variables.
    run(program()
        .arg("man")
        .arg(&place)
        .env("COREOS_BAKE_AUTHFILE", "/secret"));
    let names = support::names(&place);
    for command in [
        "",
        "-bake",
        "-check",
        "-inspect",
        "-verify",
        "-cache",
        "-cache-show",
        "-cache-prune",
    ] {
        let name = format!("coreos-bake{command}.1");
        assert!(names.contains(&name), "{names:?}");
        let page = std::fs::read_to_string(place.join(&name)).unwrap();
        for section in [
            "NAME",
            "SYNOPSIS",
            "EXAMPLES",
            "\"EXIT STATUS\"",
            "ENVIRONMENT",
            "\"SEE ALSO\"",
        ] {
            assert!(
                page.contains(&format!("\n.SH {section}\n")),
                "{name}: {section}"
            );
        }
        assert!(
            !page.contains("20\\-") && !page.contains("/secret"),
            "{name}"
        );
        let source = concat!("\"coreos-bake ", env!("CARGO_PKG_VERSION"), "\"");
        let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
        assert!(title.contains(source), "{title}");
    }
    assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
    let page = std::fs::read_to_string(place.join("coreos-bake-bake.1")).unwrap();
    let synopsis = page
        .split(".SH SYNOPSIS\n")
        .nth(1)
        .unwrap()
        .split(".SH")
        .next()
        .unwrap();
    for words in [
        "\\-\\-driver\\fR \\fILIST",
        "\\-o\\fR \\fIDIR",
        "\\-\\-force\\fR]",
        "\\fIIMAGE",
    ] {
        assert!(synopsis.contains(words), "{synopsis}");
    }
    if !support::have("man") {
        return;
    }
    let mut man = Command::new("man");
    let shown = man
        .args(["--warnings", "-l"])
        .arg(place.join("coreos-bake-bake.1"));
    let shown = run(shown.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8"));
    assert!(shown.stderr.is_empty(), "{shown:?}");
    assert!(text(&shown).contains("EXAMPLES"));
}

/// What is wrong with an option is told before anything is read: the image is not there.
#[test]
fn options_are_looked_at_before_the_image() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let lspci = file(
        "lspci.txt",
        "01:00.0 RAID bus controller [0104]: x [1000:005b]\n",
    );
    let noise: String = (0..200_000u64)
        .map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let noise = file("noise", &noise);
    let missing = place.path().join("nosuch.ign");
    let missing = missing.to_str().unwrap();
    for (words, code, complaint) in [
        (["--dest-ignition", missing], 1, "nosuch.ign: No such file"),
        (["--dest-ignition", &lspci], 1, "lspci.txt"),
        (["--live-ignition", &lspci], 1, "lspci.txt"),
        (["--ignition-ca", missing], 1, "--ignition-ca "),
        (["--network-keyfile", missing], 1, "--network-keyfile "),
        (
            ["--pre-install", &noise],
            1,
            "larger, compressed, than the ISO's room",
        ),
        (
            ["--dest-device", "sda"],
            1,
            "--dest-device sda is not a path below /dev",
        ),
        (
            ["--rootfs-url", "ftp://x"],
            2,
            "neither http, https nor tftp",
        ),
        (["--rootfs-url", "http://h/a b"], 2, "can't have spaces"),
        (["--disk-size", "16"], 2, "is too small"),
        (["--disk-size", "1.5G"], 2, "1.5G"),
        (["--prefix", "a/b"], 2, "head of file names"),
        (["--ignition-area", "1K"], 2, "from 256K"),
        (["--compression", "lz4"], 2, "zstd[:LEVEL]"),
        (["--threads", "0"], 2, "--threads"),
        (
            ["-f", "minimal-iso"],
            1,
            "has to know where its root file system is",
        ),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let mut program = program();
            program
                .args(["bake", "oci:/nonexistent", "-o"])
                .arg(place.path().join("out"));
            let output = program.args(words).args(dry).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains(complaint), "{words:?}: {error}");
            assert!(!error.contains("/nonexistent"), "{words:?}: {error}");
            assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
        }
    }
    assert!(!place.path().join("out").exists());
}

/// coreos-installer's own sentences come in our voice, once, and not where silence is wanted.
#[test]
fn what_an_iso_will_do_is_told_once() {
    let place = tempfile::tempdir().unwrap();
    let ignition = place.path().join("worker.ign");
    std::fs::write(&ignition, r#"{"ignition":{"version":"3.2.0"}}"#).unwrap();
    let ask = |more: &[&str]| {
        let mut program = program();
        program.args([
            "--color",
            "never",
            "bake",
            "oci:/nonexistent",
            "-o",
            "x",
            "--dry-run",
        ]);
        program
            .args(["--dest-device", "/dev/sda", "--dest-ignition"])
            .arg(&ignition)
            .args(more);
        let error = String::from_utf8(program.output().unwrap().stderr).unwrap();
        error.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let said = ask(&[]);
    assert_eq!(
        said[0],
        "warning: Boot media will automatically install to /dev/sda without confirmation"
    );
    assert!(said[1].starts_with("error: "), "{said:?}");
    assert!(ask(&["-q"])[0].starts_with("error: "));
}

#[test]
fn all_media_and_other_names_of_them_are_taken() {
    for media in ["all", "ALL", "raw", "RAW", "ISO", "iso,Raw,all", "Metal4K"] {
        let output = program()
            .args(["bake", "oci:/nonexistent", "-o", "/dev/null/x", "-f", media])
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1), "{media}: {output:?}");
    }
}

/// What the forty mistakes of a new user are answered with.
#[test]
fn habits_of_other_programs_are_understood_or_told() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let semicolons = file("a.csv", "name;mac\nmaster-0;52:54:00:00:00:01\n");
    let list = file("a.yaml", "- name: a\n  mac: '52:54:00:00:00:01'\n");
    for (words, code, complaints) in [
        (
            &["serve", "/nonexistent", "--listen", "8181"][..],
            2,
            &["127.0.0.1:8181", "0.0.0.0:8181"][..],
        ),
        (
            &["serve", "/nonexistent", "--listen", ":8181"],
            2,
            &["127.0.0.1:8181", "0.0.0.0:8181"],
        ),
        (
            &["serve", "/nonexistent", "--listen", "eth0"],
            2,
            &["no IP address"],
        ),
        (
            &["serve", "/nonexistent", "--listen", "127.0.0.1"],
            1,
            &["/nonexistent"],
        ),
        (
            &["serve", "/nonexistent", "--listen", "[::1]"],
            1,
            &["/nonexistent"],
        ),
        (
            &["serve", "/nonexistent", "--dnsmasq", "lo"],
            2,
            &["it is an interface", "ip -4 -brief address show lo"],
        ),
        (
            &["serve", "/nonexistent", "--dnsmasq", "nosuch0"],
            2,
            &["is not a network of IPv4"],
        ),
        (
            &["serve", "/nonexistent", "--url", "http://u:secret@h"],
            2,
            &["has a password in it", "hint: "],
        ),
        (
            &["hosts", "/nonexistent", &list, "--url", "http://u:secret@h"],
            2,
            &["has a password in it"],
        ),
        (
            &["hosts", "/nonexistent", &list, "--url", "ftp://h"],
            2,
            &["neither http nor https"],
        ),
        (
            &["hosts", "/nonexistent", &semicolons, "-f", "iso"],
            1,
            &["a.csv:1: ", "semicolons", "by commas"],
        ),
        (
            &["hosts", "/nonexistent", &list, "-f", "iso"],
            1,
            &["a.yaml:1: ", "hint: put `hosts:`"],
        ),
        (
            &["prepare", "--dir", "cluster", "--release", "4.19"],
            2,
            &["coreos-bake prepare cluster"],
        ),
        (
            &["prepare", "/nonexistent", "--release", "v4.19"],
            1,
            &["/nonexistent"],
        ),
        (
            &["prepare", "/nonexistent", "--release", "v"],
            2,
            &["\"v\" is not a release"],
        ),
        (
            &["layer", "oci:/nonexistent", "-o", "oci:x", "--driver", "a"],
            2,
            &["--repair", "--add-driver"],
        ),
        (
            &["layer", "oci:/nonexistent", "-o", "oci:x"],
            2,
            &["--repair", "--add-driver"],
        ),
        (
            &["layer", "oci:/nonexistent", "-o", "oci:x", "--repair"],
            2,
            &["--driver"],
        ),
        (
            &["bake", "oci:/nonexistent", "-o", "x", "-f", "floppy"],
            2,
            &["\"floppy\" is not a medium", "iso"],
        ),
        (
            &[
                "check",
                "oci:/nonexistent",
                "--driver",
                "a",
                "--junit",
                "/dev/null/r.xml",
            ],
            2,
            &["--junit /dev/null/r.xml: there is no directory"],
        ),
        (
            &["bake", "oci:/nonexistent", "-o", "x", "--force", "--force"],
            2,
            &["--force"],
        ),
    ] {
        let output = program()
            .args(["--color", "never"])
            .args(words)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
        for complaint in complaints {
            assert!(error.contains(complaint), "{words:?}: {error}");
        }
        assert!(!error.contains("secret"), "{words:?}: {error}");
    }
}

#[test]
fn what_is_not_utf8_is_named() {
    let odd = OsStr::from_bytes(b"oci:caf\xe9");
    let output = program().arg("inspect").arg(odd).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(r"caf\xE9"), "{error}");
}

#[test]
fn variables_stand_for_options() {
    let ask = |variables: &[(&str, &str)], words: &[&str]| {
        let mut program = program();
        program
            .args(["--color", "never"])
            .args(words)
            .envs(variables.iter().copied());
        let output = program.output().unwrap();
        let (said, error) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        (output.status.code(), said, error)
    };
    let check: &[&str] = &["check", "oci:/nonexistent"];
    // Without a driver there is nothing to check; with one, the image is looked for.
    assert_eq!(ask(&[], check).0, Some(2));
    assert_eq!(ask(&[("COREOS_BAKE_DRIVER", "")], check).0, Some(2));
    let (code, _, error) = ask(&[("COREOS_BAKE_DRIVER", "a,b")], check);
    assert_eq!(code, Some(1), "{error}");
    // A list of two names is two names, and each is checked.
    let (code, _, error) = ask(&[("COREOS_BAKE_DRIVER", "a,a")], check);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("driver a is named twice"), "{error}");

    let (code, _, error) = ask(
        &[("COREOS_BAKE_THREADS", "many")],
        &["inspect", "oci:/nonexistent"],
    );
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("the value is that of the variable COREOS_BAKE_THREADS"),
        "{error}"
    );
    let (_, _, error) = ask(
        &[("COREOS_BAKE_THREADS", "1")],
        &["inspect", "oci:/nonexistent", "--threads", "many"],
    );
    assert!(
        error.contains("'many'") && !error.contains("COREOS_BAKE_THREADS"),
        "{error}"
    );
    let (code, _, error) = ask(
        &[("COREOS_BAKE_THREADS", "")],
        &["inspect", "oci:/nonexistent"],
    );
    assert_eq!(code, Some(1), "{error}");

    // A variable never contradicts what is said.
    let (code, _, error) = ask(
        &[("COREOS_BAKE_RELEASE", "4.19")],
        &["prepare", "/nonexistent", "--undo"],
    );
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("/nonexistent"), "{error}");
    let bake = [
        "bake",
        "oci:/nonexistent",
        "-o",
        "/dev/null/x",
        "--no-cache",
    ];
    assert_eq!(
        ask(&[("COREOS_BAKE_CACHE", "/nonexistent/c")], &bake).0,
        Some(1)
    );
    let both = [&bake[..], &["--cache", "/c"]].concat();
    let (code, _, error) = ask(&[("COREOS_BAKE_CACHE", "/nonexistent/c")], &both);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("cannot be used with"), "{error}");

    let (_, said, error) = ask(
        &[
            ("COREOS_BAKE_FORMAT", "json"),
            ("COREOS_BAKE_CACHE", "/nonexistent"),
        ],
        &["cache", "show"],
    );
    let said: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {error}"));
    assert_eq!(said["directory"], "/nonexistent");
    assert!(
        ask(
            &[("COREOS_BAKE_FORMAT", "json")],
            &["cache", "show", "--format", "text"]
        )
        .1
        .starts_with("directory ")
    );

    // Help names them, and is the same on every machine.
    let (_, help, _) = ask(&[("COREOS_BAKE_AUTHFILE", "/mine")], &["inspect", "--help"]);
    assert!(
        help.contains("[env: COREOS_BAKE_AUTHFILE]") && !help.contains("/mine"),
        "{help}"
    );
}

#[test]
fn the_cache_is_shown_and_pruned() {
    let home = tempfile::tempdir().unwrap();
    let blocks = home.path().join("coreos-bake/blocks");
    let ask = |words: &[&str]| {
        let mut program = program();
        program
            .arg("cache")
            .args(words)
            .args(["--format", "json"])
            .env("XDG_CACHE_HOME", home.path());
        serde_json::from_str::<serde_json::Value>(&text(&run(&mut program))).unwrap()
    };
    let said = ask(&["show"]);
    assert_eq!(said["schema"], "coreos-bake/cache/v1");
    assert_eq!(said["directory"], blocks.to_str().unwrap());
    assert_eq!(
        (&said["blocks"], &said["limit-bytes"]),
        (&0.into(), &(8u64 << 30).into())
    );
    assert!(!blocks.exists(), "looking makes nothing");
    let shelf = blocks.join("v1/ab");
    std::fs::create_dir_all(&shelf).unwrap();
    for (number, name) in ["1", "2", "3"].iter().enumerate() {
        let path = shelf.join(name.repeat(62));
        std::fs::write(&path, [0; 100]).unwrap();
        let time =
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    std::fs::write(shelf.join("mine"), "").unwrap();
    assert_eq!(ask(&["show"])["bytes"], 300);
    let said = ask(&["prune", "--size", "250"]);
    assert_eq!(
        (&said["removed-blocks"], &said["bytes"]),
        (&1.into(), &200.into())
    );
    assert_eq!(
        support::names(&shelf),
        ["2".repeat(62), "3".repeat(62), "mine".to_owned()]
    );
    assert_eq!(ask(&["prune", "--all"])["removed-bytes"], 200);
    assert_eq!(support::names(&shelf), ["mine"]);
    for words in [
        &["prune"][..],
        &["prune", "--all", "--size", "1"],
        &["prune", "--size", "x"],
        &[],
    ] {
        assert_eq!(
            program()
                .arg("cache")
                .args(words)
                .output()
                .unwrap()
                .status
                .code(),
            Some(2),
            "{words:?}"
        );
    }
    let output = program()
        .args(["cache", "show"])
        .env_clear()
        .output()
        .unwrap();
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("hint: name one with --cache")
    );
}

/// `build.rs` as it stands, in a program that only prints what it was told.
#[test]
fn the_version_has_the_commit_that_is_known() {
    let place = tempfile::tempdir().unwrap();
    let project = place.path().join("project");
    let manifest =
        "[package]\nname = \"told\"\nversion = \"1.2.3\"\nedition = \"2024\"\n[workspace]\n";
    for (name, content) in [
        ("Cargo.toml", manifest),
        ("build.rs", include_str!("../build.rs")),
        (
            "src/main.rs",
            "fn main() { print!(env!(\"COREOS_BAKE_VERSION\")); }\n",
        ),
    ] {
        let path = project.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let told = |words: &[&str], commit: Option<&str>| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .args(["run", "--quiet", "--offline"])
            .args(words)
            .current_dir(&project);
        cargo
            .env("CARGO_TARGET_DIR", place.path().join("target"))
            .env_remove("COREOS_BAKE_COMMIT");
        cargo.envs(commit.map(|commit| ("COREOS_BAKE_COMMIT", commit)));
        text(&run(&mut cargo))
    };
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=n", "-c", "user.email=e", "-C"])
            .arg(&project)
            .args(words);
        text(&run(&mut git)).trim().to_owned()
    };
    assert_eq!(told(&["--release"], None), "1.2.3");
    assert_eq!(told(&["--release"], Some("v9-7")), "1.2.3 (v9-7)");
    assert_eq!(told(&["--release"], Some("")), "1.2.3");
    // Somebody else's repository around an archive.
    run(Command::new("git")
        .args(["init", "--quiet"])
        .arg(place.path()));
    assert_eq!(told(&["--release"], None), "1.2.3");
    git(&["init", "--quiet"]);
    std::fs::remove_dir_all(place.path().join("target")).unwrap();
    for message in ["one", "two"] {
        git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        let commit = git(&["rev-parse", "--short=12", "HEAD"]);
        assert_eq!(told(&["--release"], None), format!("1.2.3 ({commit})"));
    }
    // Nothing is compiled anew after a commit while the program is worked on.
    assert_eq!(told(&[], None), "1.2.3");
}

/// Only `--version` has the commit: outputs of two commits that bake alike are the same.
#[test]
fn no_output_has_the_commit() {
    let mut users = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src"
    ))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false
                    if std::fs::read_to_string(&path)
                        .unwrap()
                        .contains("COREOS_BAKE_VERSION") =>
                {
                    users.push(path)
                }
                false => {}
            }
        }
    }
    assert_eq!(
        users,
        [std::path::PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/cli/mod.rs"
        ))]
    );
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
