//! What boots mount their roots with.

use std::fs;
use std::process::Command;

use super::{
    Files, LIVE, MODULES, Machine, VERMAGIC, check_with, have_tools, mark, nothing, put, signed,
};
use crate::object::module;

/// Wants exactly these rows of what roots are mounted with that are not ✓: row, stage, mark and words.
#[track_caller]
pub(super) fn mounts(
    machine: &Machine,
    finish: &dyn Fn(&mut Files, &mut Files),
    expected: &[(&str, &str, &str, &str)],
) {
    // Whether drivers are asked for or not.
    let (value, error) = check_with(machine, finish, &[]);
    let rows = value["mounts"]
        .as_array()
        .unwrap_or_else(|| panic!("{error}"));
    assert_eq!(value["drivers"], serde_json::json!([]));
    let mut wanted = expected.to_vec();
    for row in rows {
        let (mark, said) = mark(row);
        let is_it = |wanted: &(&str, &str, &str, &str)| {
            row["driver"] == wanted.0 && row["stage"] == wanted.1
        };
        match wanted.iter().position(is_it) {
            Some(at) => {
                let (name, stage, expected, words) = wanted.remove(at);
                assert_eq!(mark, expected, "{name} at {stage}: {said}");
                assert!(said.contains(words), "{name}: no {words:?} in {said}");
            }
            None => assert_eq!(mark, "yes", "{row}"),
        }
    }
    assert!(wanted.is_empty(), "{wanted:?}");
    let fails = expected.iter().any(|(_, _, mark, _)| *mark == "no");
    assert_eq!(value["missing"] == serde_json::json!([]), !fails);
    assert_eq!(value["hint"].is_string(), fails, "{}", value["hint"]);
}

#[test]
fn roots_that_cannot_be_mounted() {
    if !have_tools() {
        return;
    }
    let conf = "usr/lib/modprobe.d/hardening.conf";
    let set = |path: &str, text: &str| {
        let mut machine = Machine::new();
        put(&mut machine.initramfs, path, text);
        machine
    };
    let squashfs = "squashfs (live root)";
    for (text, words) in [
        ("install squashfs /bin/false\n", "hardening.conf"),
        ("install squashfs /bin/true\n", "in place of loading"),
        ("blacklist squashfs\n", "blacklists squashfs"),
    ] {
        mounts(&set(conf, text), &nothing, &[(squashfs, LIVE, "no", words)]);
        // What the root says is not what the initramfs goes by.
        let mut machine = Machine::new();
        put(&mut machine.root, conf, text);
        mounts(&machine, &nothing, &[]);
    }
    let kept_out = set(conf, "install loop /bin/true\n");
    mounts(
        &kept_out,
        &nothing,
        &[("loop (live root)", LIVE, "no", conf)],
    );
    let kept_out = set("etc/modprobe.d/cis.conf", "blacklist isofs\n");
    mounts(
        &kept_out,
        &nothing,
        &[("isofs (live ISO)", LIVE, "no", "cis.conf")],
    );
    // USB sticks are no CDs.
    let kept_out = set(conf, "install sr_mod /bin/false\n");
    mounts(
        &kept_out,
        &nothing,
        &[("sr_mod (CD drives)", LIVE, "doubt", conf)],
    );

    // Only CoreOS's own live system is known to mount xfs; every disk has it.
    let mut kept_out = set(conf, "install xfs /bin/false\n");
    let disk = ("xfs (installed root)", "install-initramfs", "no", conf);
    mounts(&kept_out, &nothing, &[disk]);
    let generator = "usr/lib/systemd/system-generators/live-generator";
    put(&mut kept_out.initramfs, generator, "program");
    mounts(
        &kept_out,
        &nothing,
        &[disk, ("xfs (live /etc and /var)", LIVE, "no", conf)],
    );

    // A module that is not there, nor in the kernel.
    let path = format!("{MODULES}/kernel/fs/squashfs/squashfs.ko");
    let mut machine = Machine::new();
    machine.lose(&path, false, true);
    let words = "no module squashfs";
    mounts(&machine, &nothing, &[(squashfs, LIVE, "no", words)]);
    let builtin = format!("{MODULES}/modules.builtin");
    put(&mut machine.root, &builtin, "kernel/fs/squashfs.ko\n");
    let config = format!("{MODULES}/config");
    put(&mut machine.root, &config, "CONFIG_SQUASHFS_ZSTD=y\n");
    mounts(&machine, &nothing, &[]);
    // One that can't read what is written.
    let mut machine = Machine::new();
    let old = module(&[VERMAGIC, "depends=", "alias=fs-squashfs"]).needs(&["zlib_inflate"]);
    put(&mut machine.initramfs, &path, signed(&old));
    let words = "was built without zstd";
    mounts(&machine, &nothing, &[(squashfs, LIVE, "no", words)]);

    // A root that composefs is mounted for, without what it is made of.
    let composefs = "[composefs]\nenabled = maybe\n";
    let without = set("usr/lib/ostree/prepare-root.conf", composefs);
    let stage = "install-initramfs";
    mounts(
        &without,
        &nothing,
        &[
            ("erofs (composefs)", stage, "no", "no module erofs"),
            ("overlay (composefs)", stage, "no", "no module overlay"),
        ],
    );
    let off = set(
        "usr/lib/ostree/prepare-root.conf",
        "[composefs]\nenabled=no\n",
    );
    mounts(&off, &nothing, &[]);

    // The kernel's arguments of the image.
    for argument in [
        "module_blacklist=squashfs",
        "modprobe.blacklist=squashfs",
        "rd.driver.blacklist=squashfs",
    ] {
        let mut machine = Machine::new();
        put(
            &mut machine.root,
            "usr/share/coreos-assembler/image.json",
            format!("{{ \"extra-kargs\": [\"{argument}\"] }}"),
        );
        mounts(&machine, &nothing, &[(squashfs, LIVE, "no", argument)]);
    }
}

#[test]
fn roots_are_told_from_drivers() {
    if !have_tools() {
        return;
    }
    let mut machine = Machine::new();
    let conf = "etc/modprobe.d/hardening.conf";
    put(
        &mut machine.initramfs,
        conf,
        "install squashfs /bin/false\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let image = machine.store(directory.path(), &nothing);
    let junit = directory.path().join("report.xml");
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(["check", "--color", "never", "--driver", "vendor-raid"])
        .arg("--junit")
        .arg(&junit)
        .arg(format!("oci:{}", image.display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches('✗').count(), 1, "{text}");
    // Lines are broken between words.
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let row = format!("squashfs (live root) ✗ {LIVE}: etc/modprobe.d/hardening.conf has ");
    assert!(said.contains(&row), "{text}");
    let hint = "hint: without squashfs that boot never gets its root";
    assert!(said.contains(hint), "{text}");
    // What is as it should be is not in the way.
    assert!(!text.contains("isofs"), "{text}");
    let report = fs::read_to_string(junit).unwrap();
    assert!(report.contains("failures=\"1\""), "{report}");
    let case = "classname=\"squashfs (live root)\" name=\"live-initramfs\"><failure";
    assert!(report.contains(case), "{report}");
    assert!(
        report.contains("classname=\"isofs (live ISO)\""),
        "{report}"
    );
}
