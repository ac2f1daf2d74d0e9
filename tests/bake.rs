//! The main job on the sample: unprivileged, reproducible, accepted by the tools that read media.

#[path = "support/record.rs"]
mod record;
mod support;

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use coreos_bake::testing::Record;
use serde_json::{Value, json};
use support::{Workshop, contents, find, have, names, run, run_to_fail, sample, text};

/// Bakes one of the sample's images at low compression.
fn bake(workshop: &Workshop, image: &str, output: &Path, more: &[&str]) {
    run(workshop
        .bake_as_nobody()
        .args([
            "bake",
            &workshop.image(image),
            "--compression",
            "fast",
            "-o",
        ])
        .arg(output)
        .args(more));
}

#[test]
fn an_ordinary_user_bakes_and_no_other_program_is_run() {
    let (Some(workshop), true) = (Workshop::new(), have("strace")) else {
        return;
    };
    let output = workshop.output("out");
    let log = workshop.output("log").join("execve");
    let bake = workshop.bake_as_nobody();
    run(Command::new("strace")
        .args(["-f", "-e", "trace=execve,execveat", "-o"])
        .arg(&log)
        .arg(bake.get_program())
        .args(bake.get_args())
        .args(["bake", &workshop.image("layered"), "--compression", "fast"])
        .args(["--driver", "megaraid_sas", "-o"])
        .arg(&output));
    let executed: Vec<String> = fs::read_to_string(&log)
        .unwrap()
        .lines()
        .filter(|line| line.contains("execve") && line.ends_with("= 0"))
        .map(str::to_owned)
        .collect();
    let expected = if support::is_root() { 2 } else { 1 };
    assert_eq!(
        executed.len(),
        expected,
        "setpriv and coreos-bake only: {executed:#?}"
    );
    let owner = fs::metadata(find(&output, ".iso")).unwrap().uid();
    assert_ne!(owner, 0, "the bake ran as an ordinary user");
}

#[test]
fn threads_users_and_directories_do_not_show_in_the_bytes() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let (first, second) = (workshop.output("first"), workshop.output("second"));
    bake(&workshop, "layered", &first, &["--threads", "1"]);
    run(workshop
        .bake()
        .current_dir("/")
        .env("TZ", "Asia/Tokyo")
        .args(["bake", &workshop.image("layered"), "--compression", "fast"])
        .args(["--threads", "3", "-o"])
        .arg(&second));
    let (first, second) = (contents(&first), contents(&second));
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        second.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &first {
        assert!(*bytes == second[name], "{name} differs");
    }
}

#[test]
fn a_second_bake_compresses_nothing_again_and_writes_the_same() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    // Every level of gzip counts as slow, and this one is quick.
    let cache = workshop.output("home").join("cache");
    let bake = |output: &Path, more: &[&str]| {
        let mut command = workshop.bake_as_nobody();
        command.args(["bake", &workshop.image("layered"), "-f", "pxe"]);
        command.args(["--compression", "gzip:1", "--cache"]);
        text(&run(command.arg(&cache).arg("-o").arg(output).args(more)))
    };
    let (first, second) = (workshop.output("first"), workshop.output("second"));
    bake(&first, &["--dry-run"]);
    assert!(!cache.exists());
    let said = bake(&first, &[]);
    assert!(!said.contains("in the cache"), "{said}");
    let said = bake(&second, &["--threads", "3"]);
    // Lines break between words.
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let (found, asked) = words
        .split_once(" blocks of the root were in the cache")
        .and_then(|(said, _)| said.rsplit_once("; ")?.1.split_once(" of "))
        .unwrap_or_else(|| panic!("{said}"));
    assert_eq!(found, asked, "{said}");
    assert!(contents(&first) == contents(&second));

    let output = workshop.output("third");
    let file = first.join("bake.json");
    let error = run_to_fail(
        workshop
            .bake_as_nobody()
            .args(["bake", &workshop.image("layered"), "--cache"])
            .arg(&file)
            .arg("-o")
            .arg(&output),
    );
    let sentence = format!("error: making cache directory {}: ", file.display());
    assert!(error.starts_with(&sentence), "{error}");
    assert_eq!(names(&output), [""; 0]);
}

#[test]
fn an_archive_gives_the_same_media_as_its_layout() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let (layout, archive) = (workshop.output("layout"), workshop.output("archive"));
    let target = [
        "--target-imgref",
        "ostree-unverified-registry:quay.example/os:1",
        "-f",
        "pxe",
    ];
    bake(
        &workshop,
        "layered",
        &layout,
        &[&target[..], &["--driver", "megaraid_sas", "--nodes-only"]].concat(),
    );
    run(workshop
        .bake_as_nobody()
        .arg("bake")
        .arg(format!(
            "oci-archive:{}",
            workshop.path("layered.ociarchive").display()
        ))
        .args(["--compression", "fast"])
        .args(target)
        .arg("-o")
        .arg(&archive));
    // The aleph file names the image as it was read, so compare what doesn't.
    for part in ["-live-kernel.", ".ipxe"] {
        assert_eq!(
            fs::read(find(&layout, part)).unwrap(),
            fs::read(find(&archive, part)).unwrap(),
            "{part}"
        );
    }
    let checksum = |directory: &Path| {
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.join("bake.json")).unwrap()).unwrap();
        // Debian's packages have no OpenShift among them.
        assert_eq!(record["os"]["openshift-clients"], false);
        record["ostree"]["content-checksum"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(checksum(&layout), checksum(&archive));
    // Where only nodes boot the media, nobody asks what a bootstrap machine would make of the origin.
    let unjudged = |directory: &Path| {
        let stages = Record::read(directory).unwrap().stages.into_iter();
        let unjudged = stages.filter(|proof| !proof.judged);
        unjudged
            .map(|proof| (proof.stage.name(), proof.why.unwrap()))
            .collect::<Vec<_>>()
    };
    let [(bootstrap, why), (pivot, _), (day2, _)] = &unjudged(&layout)[..] else {
        panic!("{:?}", unjudged(&layout));
    };
    assert_eq!([*bootstrap, *pivot, *day2], ["bootstrap", "pivot", "day2"]);
    assert!(why.contains("--nodes-only"), "{why}");
    let none = unjudged(&archive);
    assert_eq!(none.len(), 7, "{none:?}");
    assert!(
        none.iter().all(|(_, why)| why == "no driver was named"),
        "{none:?}"
    );
}

#[test]
fn a_missing_driver_is_refused_and_leaves_nothing() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    for (image, stage) in [("forgot", "live-initramfs"), ("stock", "live-root")] {
        let output = workshop.output(image);
        let error = run_to_fail(
            workshop
                .bake_as_nobody()
                .args([
                    "bake",
                    &workshop.image(image),
                    "--driver",
                    "megaraid_sas",
                    "-o",
                ])
                .arg(&output),
        );
        assert!(
            error.contains("megaraid_sas") && error.contains(stage),
            "{error}"
        );
        assert!(
            error.contains("hint: ") && error.contains("dracut"),
            "{error}"
        );
        assert_eq!(names(&output), [""; 0], "nothing is left");
    }
    // The forgotten initramfs still has its module in the root.
    let error = run_to_fail(
        workshop
            .bake_as_nobody()
            .args([
                "bake",
                &workshop.image("forgot"),
                "--driver",
                "megaraid_sas",
                "-o",
            ])
            .arg(workshop.output("again")),
    );
    assert!(!error.contains("live-root"), "{error}");
}

#[test]
fn a_missing_driver_can_be_allowed_and_shows_in_the_exit_code() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    let status = workshop
        .bake_as_nobody()
        .args([
            "bake",
            &workshop.image("stock"),
            "--compression",
            "fast",
            "-f",
            "minimal-iso",
            "--rootfs-url",
            "http://192.0.2.1/rootfs.img",
        ])
        .args(["--driver", "megaraid_sas", "--allow-missing-driver", "-o"])
        .arg(&output)
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(3));
    assert!(find(&output, "-live-rootfs.").exists());
    // An ISO without a root file system was looked into together with the one that it fetches.
    let record = Record::read(&output).unwrap();
    let missing: Vec<&str> = record
        .missing("megaraid_sas")
        .iter()
        .map(|s| s.name())
        .collect();
    let expected = [
        "live-initramfs",
        "live-root",
        "install-initramfs",
        "install-root",
    ];
    assert_eq!(missing[..4], expected);
    assert_eq!(record.stages[0].media, ["minimal-iso"]);
}

/// What the bootstrap machine would stumble over is known before anything is written.
#[test]
fn media_that_no_cluster_would_come_up_from_are_refused() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    let dry_run = |more: &[&str]| {
        let mut command = workshop.bake_as_nobody();
        command.args([
            "bake",
            &workshop.image("layered"),
            "--driver",
            "megaraid_sas",
        ]);
        command.args([
            "--target-imgref",
            "ostree-unverified-registry:quay.example/os:1",
        ]);
        command.args(["--dry-run", "-o"]).arg(&output).args(more);
        command
    };
    let error = run_to_fail(&mut dry_run(&[]));
    let sentence = "error: a bootstrap machine would not come up from the image: the image has no \
                    openshift-clients and comes from a registry";
    assert!(error.contains(sentence), "{error}");
    assert!(error.contains("--nodes-only"), "{error}");
    for (option, code) in [("--nodes-only", 0), ("--allow-missing-driver", 3)] {
        let output = dry_run(&[option]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{option}");
        let said = text(&output);
        assert_eq!(said.contains("bootstrap"), code == 3, "{said}");
    }
}

#[test]
fn a_live_root_that_cannot_be_mounted_is_refused() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    let bake = |more: &[&str]| {
        workshop
            .bake_as_nobody()
            .args(["bake", &workshop.image("layered"), "--compression", "fast"])
            .args([
                "-f",
                "iso",
                "--live-karg-append",
                "module_blacklist=squashfs",
            ])
            .args(more)
            .arg("-o")
            .arg(&output)
            .output()
            .unwrap()
    };
    let refused = bake(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    for words in [
        "the image would not boot: squashfs (live root) at live-initramfs",
        "module_blacklist=squashfs makes the kernel refuse squashfs",
        "hint: without squashfs",
    ] {
        assert!(error.contains(words), "no {words:?} in {error}");
    }
    assert!(
        !error.contains("compressing"),
        "before that takes time: {error}"
    );
    assert_eq!(names(&output), [""; 0]);

    let allowed = bake(&["--allow-missing-driver"]);
    assert_eq!(allowed.status.code(), Some(3), "{allowed:?}");
    let said = String::from_utf8(allowed.stdout).unwrap();
    assert!(said.contains("squashfs (live root)"), "{said}");
    let iso = find(&output, ".iso");
    let output = workshop
        .bake_as_nobody()
        .args(["check", iso.to_str().unwrap(), "--driver", "megaraid_sas"])
        .args(["--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = said["mounts"].as_array().unwrap().iter();
    let lost: Vec<_> = rows.filter(|row| row["status"] == "missing").collect();
    assert_eq!(lost.len(), 1, "{said:#}");
    assert_eq!(lost[0]["driver"], "squashfs (live root)");
    assert_eq!(lost[0]["stage"], "live-initramfs");
}

#[test]
fn check_says_the_same_of_image_iso_and_pxe_set() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    let said = run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "--compression", "fast"])
        .args(["--driver", "megaraid-sas", "-o"])
        .arg(&output));
    let said = text(&said);
    let proven = "proven at 5 of 7 stages\n  live-initramfs, live-root, install-initramfs, install-root, \
                  bootstrap\nnot judged at pivot\n";
    assert!(said.contains(proven), "{said}");
    assert!(
        said.contains("coreos-bake check MEDIUM --driver NAME --containerfile FILE\n"),
        "{said}"
    );
    let record = output.join("bake.json");
    assert_ne!(record::is_valid(&record), Some(false));
    let written = fs::read_to_string(&record).unwrap();
    let record = Record::read(&record).unwrap();
    assert_eq!(record.text().unwrap(), written);
    let media: Vec<_> = record
        .stages
        .iter()
        .map(|proof| proof.media.join(" "))
        .collect();
    assert_eq!(
        media,
        ["iso pxe", "iso pxe", "iso", "iso", "iso", "iso", "iso"]
    );
    let subjects = [
        workshop.image("layered"),
        find(&output, ".iso").display().to_string(),
        output.display().to_string(),
    ];
    let check = |subject: &str, driver: &str| {
        let output = workshop
            .bake_as_nobody()
            .args(["check", subject, "--driver", driver, "--format", "json"])
            .output()
            .unwrap();
        let mut report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // What was looked into, what of it was not, and what images alone have.
        for key in ["subject", "media", "notes", "labels"] {
            report.as_object_mut().unwrap().remove(key);
        }
        // No ISO is mounted where there is none.
        let mounts = report["mounts"].as_array_mut().unwrap();
        mounts.retain(|row| {
            !matches!(
                row["driver"].as_str(),
                Some("isofs (live ISO)" | "sr_mod (CD drives)")
            )
        });
        (output.status.code(), report)
    };
    for driver in ["megaraid-sas", "mptsas", "no_such_driver"] {
        let reports: Vec<_> = subjects.iter().map(|s| check(s, driver)).collect();
        assert_eq!(reports[0], reports[1], "{driver}: image and ISO");
        assert_eq!(reports[0], reports[2], "{driver}: image and PXE set");
        if driver == "megaraid-sas" {
            let baked = serde_json::to_value(&record.drivers).unwrap();
            assert_eq!(reports[0].1["drivers"], baked, "bake says the same");
        }
        let expected = i32::from(driver == "no_such_driver");
        assert_eq!(reports[0].0, Some(expected), "{driver}");
    }
}

#[test]
fn coreos_installer_reads_and_changes_the_iso() {
    let (Some(workshop), Some(sample)) = (Workshop::new(), sample()) else {
        return;
    };
    let output = workshop.output("out");
    bake(&workshop, "layered", &output, &[]);
    let iso = find(&output, ".iso");
    let work = workshop.output("work");
    let installer = |args: &[&str]| {
        let mut command = Command::new(sample.join("tools/coreos-installer"));
        command.current_dir(&work).args(args);
        text(&run(&mut command))
    };
    let iso_path = iso.to_str().unwrap();

    let config = r#"{"ignition":{"version":"3.3.0"}}"#;
    fs::write(work.join("config.ign"), config).unwrap();
    installer(&[
        "iso",
        "ignition",
        "embed",
        "-i",
        "config.ign",
        "-o",
        "embedded.iso",
        iso_path,
    ]);
    assert_eq!(
        installer(&["iso", "ignition", "show", "embedded.iso"]).trim(),
        config
    );

    let before = installer(&["iso", "kargs", "show", iso_path]);
    assert!(
        before.contains("coreos.liveiso=") && before.contains("ignition.platform.id=metal"),
        "{before}"
    );
    installer(&[
        "iso",
        "kargs",
        "modify",
        "-a",
        "foo=bar",
        "-o",
        "kargs.iso",
        iso_path,
    ]);
    let after = installer(&["iso", "kargs", "show", "kargs.iso"]);
    assert_eq!(after.trim(), format!("{} foo=bar", before.trim()));
    installer(&["iso", "kargs", "reset", "kargs.iso"]);
    assert_eq!(
        fs::read(work.join("kargs.iso")).unwrap(),
        fs::read(&iso).unwrap()
    );

    fs::write(
        work.join("eth.nmconnection"),
        "[connection]\nid=eth\ntype=ethernet\n",
    )
    .unwrap();
    installer(&[
        "iso",
        "customize",
        "--dest-device",
        "/dev/sda",
        "--dest-ignition",
        "config.ign",
        "--network-keyfile",
        "eth.nmconnection",
        "--live-karg-append",
        "console=ttyS0",
        "-o",
        "customized.iso",
        iso_path,
    ]);
    assert!(installer(&["iso", "ignition", "show", "customized.iso"]).contains("dest.ign"));

    installer(&["iso", "extract", "pxe", "-o", "pxe", iso_path]);
    for (part, name) in [
        ("vmlinuz", "-live-kernel."),
        ("initrd", "-live-initramfs."),
        ("rootfs", "-live-rootfs."),
    ] {
        let extracted = find(&work.join("pxe"), part);
        assert!(
            fs::read(extracted).unwrap() == fs::read(find(&output, name)).unwrap(),
            "{part}"
        );
    }
}

#[test]
fn an_iso_has_as_much_room_for_ignition_as_was_asked_for() {
    let (Some(workshop), Some(sample)) = (Workshop::new(), sample()) else {
        return;
    };
    // Half a MiB that doesn't get smaller.
    let mut noise = vec![0; 400 << 10];
    fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut noise)
        .unwrap();
    let noise = base64::engine::general_purpose::STANDARD.encode(noise);
    let source = format!("data:;base64,{noise}");
    let file = serde_json::json!({ "path": "/etc/noise", "contents": { "source": source } });
    let config = serde_json::json!({
        "ignition": { "version": "3.3.0" }, "storage": { "files": [file] },
    });
    let config = config.to_string();
    let path = workshop.output("config").join("config.ign");
    fs::write(&path, &config).unwrap();
    for (name, area, fits) in [("small", "256K", false), ("large", "1M", true)] {
        let output = workshop.output(name);
        bake(
            &workshop,
            "layered",
            &output,
            &["-f", "iso", "--ignition-area", area],
        );
        let iso = find(&output, ".iso");
        let installer = || Command::new(sample.join("tools/coreos-installer"));
        let mut embed = installer();
        embed
            .args(["iso", "ignition", "embed", "-i"])
            .arg(&path)
            .arg(&iso);
        if !fits {
            run_to_fail(&mut embed);
            continue;
        }
        run(&mut embed);
        let shown = run(installer().args(["iso", "ignition", "show"]).arg(&iso));
        assert_eq!(text(&shown), config);
    }
    let output = workshop.output("at-once");
    let error = run_to_fail(
        workshop
            .bake_as_nobody()
            .args(["bake", &workshop.image("layered"), "-f", "iso"])
            .args(["--compression", "fast", "--live-ignition"])
            .args([&path, Path::new("-o"), &output]),
    );
    assert!(error.contains("than the ISO's room for them: "), "{error}");
    assert!(
        error.contains("hint: bake with a larger --ignition-area"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&output).unwrap().count(), 0);
}

#[test]
fn our_customization_equals_coreos_installers() {
    let (Some(workshop), Some(sample)) = (Workshop::new(), sample()) else {
        return;
    };
    let (plain, custom) = (workshop.output("plain"), workshop.output("custom"));
    let work = workshop.output("work");
    let config = work.join("c.ign");
    fs::write(
        &config,
        r#"{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/etc/x"}]}}"#,
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let common = [
        "--live-ignition",
        config,
        "--dest-ignition",
        config,
        "--dest-device",
        "/dev/sda",
        "--dest-karg-append",
        "quiet",
    ];
    bake(&workshop, "layered", &plain, &[]);
    let mut with = common.to_vec();
    with.extend(["--live-karg-append", "console=ttyS0"]);
    bake(&workshop, "layered", &custom, &with);

    let tool = sample.join("tools/coreos-installer");
    let ask =
        |arguments: &[&str], path: &Path| text(&run(Command::new(&tool).args(arguments).arg(path)));
    // Compressed by two versions of zlib and liblzma, so the meaning is compared, not the bytes.
    let iso = work.join("theirs.iso");
    run(Command::new(&tool)
        .args(["iso", "customize"])
        .args(&with)
        .arg("-o")
        .arg(&iso)
        .arg(find(&plain, ".iso")));
    for arguments in [["iso", "ignition", "show"], ["iso", "kargs", "show"]] {
        let ours = expand(&ask(&arguments, &find(&custom, ".iso")));
        assert_eq!(ours, expand(&ask(&arguments, &iso)), "{arguments:?}");
    }
    let initrd = work.join("theirs.img");
    run(Command::new(&tool)
        .args(["pxe", "customize"])
        .args(common)
        .arg("-o")
        .arg(&initrd)
        .arg(find(&plain, "-live-initramfs.")));
    let unwrap = ["pxe", "ignition", "unwrap"];
    let ours = ask(&unwrap, &find(&custom, "-live-initramfs."));
    assert!(ours.contains("dest.ign"), "{ours}");
    assert_eq!(expand(&ours), expand(&ask(&unwrap, &initrd)));
}

/// An Ignition config with its data URLs unpacked; other text as it is.
fn expand(text: &str) -> serde_json::Value {
    fn unpack(value: &mut serde_json::Value) {
        if value["compression"] == "gzip" {
            let source = value["source"].as_str().unwrap();
            let packed = source.strip_prefix("data:;base64,").unwrap();
            let packed = base64::engine::general_purpose::STANDARD
                .decode(packed)
                .unwrap();
            let mut text = String::new();
            flate2::read::GzDecoder::new(&packed[..])
                .read_to_string(&mut text)
                .unwrap();
            *value = expand(&text);
            return;
        }
        match value {
            serde_json::Value::Array(items) => items.iter_mut().for_each(unpack),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(unpack),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    unpack(&mut value);
    value
}

#[test]
fn xorriso_and_unsquashfs_agree_with_inspect() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    if !have("xorriso") || !have("unsquashfs") {
        return;
    }
    let output = workshop.output("out");
    bake(&workshop, "layered", &output, &[]);
    let iso = find(&output, ".iso");
    let inspect = |path: &Path| -> serde_json::Value {
        let out = run(workshop
            .bake_as_nobody()
            .args(["inspect", "--format", "json"])
            .arg(path));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let facts = inspect(&iso);

    let report = run(Command::new("xorriso").arg("-indev").arg(&iso).args([
        "-report_el_torito",
        "plain",
        "-pvd_info",
    ]));
    let report = text(&report) + &String::from_utf8_lossy(&report.stderr);
    let volume = facts["iso"]["volume-id"].as_str().unwrap();
    assert!(
        report.contains(&format!("'{volume}'")) || report.contains(volume),
        "{report}"
    );
    for (platform, word) in [("bios", "BIOS"), ("uefi", "UEFI")] {
        let boot = facts["iso"]["boot"]
            .as_array()
            .unwrap()
            .iter()
            .find(|boot| boot["platform"] == platform)
            .unwrap_or_else(|| panic!("an entry for {platform} in {}", facts["iso"]));
        let line = report
            .lines()
            .find(|line| line.contains("boot img") && line.contains(word))
            .unwrap_or_else(|| panic!("an El Torito entry for {word} in {report}"));
        let sector = boot["offset"].as_u64().unwrap() / 2048;
        assert!(
            line.trim_end().ends_with(&format!(" {sector}")),
            "{line} and {boot}"
        );
    }

    let listing = run(Command::new("unsquashfs")
        .args(["-s", "-o", "124"])
        .arg(find(&output, "-live-rootfs.")));
    let listing = text(&listing);
    for (label, key) in [("Number of inodes", "inodes"), ("Block size", "block-size")] {
        let line = listing.lines().find(|line| line.contains(label)).unwrap();
        assert!(
            line.ends_with(&format!(" {}", facts["root"][key])),
            "{line} and {}",
            facts["root"]
        );
    }
    let entries = text(&run(Command::new("unsquashfs")
        .args(["-lls", "-o", "124"])
        .arg(find(&output, "-live-rootfs."))));
    let count = entries
        .lines()
        .filter(|line| line.contains("squashfs-root"))
        .count();
    assert_eq!(facts["root"]["names"].as_u64().unwrap() as usize, count);
    // Of a directory, all media are told.
    let all = inspect(&output);
    let all = all["media"].as_array().unwrap();
    let kinds: Vec<_> = all.iter().map(|medium| &medium["kind"]).collect();
    assert_eq!(kinds, ["iso", "pxe"]);
    assert_eq!(all[1]["root"], facts["root"], "ISO and PXE set");
}

/// Everything is what can be made, also where room and free names are looked at before.
#[test]
fn all_media_are_those_that_can_be_made() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    for (more, has_minimal) in [
        (&[][..], false),
        (&["--rootfs-url", "http://h/r.img"], true),
    ] {
        let mut command = workshop.bake_as_nobody();
        command.args(["bake", &workshop.image("layered"), "-f", "all", "--dry-run"]);
        command
            .args(["--format", "json", "-o"])
            .arg(&output)
            .args(more);
        let done = run(&mut command);
        let plan: Value = serde_json::from_slice(&done.stdout).unwrap();
        let mut expected = vec!["iso", "minimal-iso", "pxe", "metal", "metal4k", "qcow2"];
        expected.retain(|format| has_minimal || *format != "minimal-iso");
        assert_eq!(plan["formats"], json!(expected));
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(
            said.contains("minimal-iso is left out: "),
            !has_minimal,
            "{said}"
        );
        // All that is estimated is written, and the other way round but for the descriptions.
        let files = plan["files"].as_array().unwrap();
        let estimated = plan["estimate"]["files"].as_array().unwrap();
        assert_eq!(estimated.len() + 3, files.len(), "{plan}");
    }
}
