//! Whatever stops a command that writes files: all of them are there or none, what they would replace is as it
//! was, and the next run leaves nothing of it.

#[path = "support/layout.rs"]
mod layout;
#[path = "support/record.rs"]
mod record;
#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bake_format::cpio;
use layout::Layout;
use serde_json::{Value, json};
use site::{Seen, Site, seen, wanted};
use support::{Workshop, as_nobody, have, is_root, names, run, run_to_fail, skip, unmount};

/// Ends a bake with `signal` after `delay`; true if it was still at work.
fn interrupt(workshop: &Workshop, output: &Path, signal: &str, delay: Duration) -> bool {
    let mut child = workshop
        .bake_as_nobody()
        .args([
            "bake",
            &workshop.image("layered"),
            "--compression",
            "fast",
            "-o",
        ])
        .arg(output)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("starting the program");
    thread::sleep(delay);
    // setpriv execs the program, so the child's number is the program's.
    run(as_nobody("kill").args(["-s", signal, &child.id().to_string()]));
    !child.wait().expect("waiting for the program").success()
}

#[test]
fn signals_leave_no_file() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let mut interrupted = 0;
    for (number, delay) in [5, 60, 150, 400, 900, 1600].into_iter().enumerate() {
        for signal in ["INT", "TERM"] {
            let output = workshop.output(&format!("out-{number}-{signal}"));
            if interrupt(&workshop, &output, signal, Duration::from_millis(delay)) {
                interrupted += 1;
                assert_eq!(names(&output), [""; 0], "{signal} after {delay} ms");
            } else {
                // It was faster: then everything has to be there.
                assert!(names(&output).contains(&"bake.json".to_owned()));
            }
            fs::remove_dir_all(&output).unwrap();
        }
    }
    assert!(
        interrupted > 2,
        "the signals came while the program was at work"
    );
}

/// Directories that were made for the output go again, and those that were there stay.
#[test]
fn a_signal_takes_directories_back_that_were_made() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let there = workshop.output("there");
    let output = there.join("a/b/c");
    assert!(interrupt(
        &workshop,
        &output,
        "INT",
        Duration::from_millis(900)
    ));
    assert_eq!(names(&there), [""; 0]);
}

/// All there is to see of a directory, but when the directory itself was last changed.
fn tree(directory: &Path) -> Seen {
    let mut all = seen(directory);
    all.remove(directory);
    all
}

fn hidden(directory: &Path) -> Vec<String> {
    let mut names = names(directory);
    names.retain(|name| name.starts_with(".coreos-bake-"));
    names
}

/// Replaces each file of a directory by one that says its name, and leaves one more there.
fn make_old(directory: &Path) -> Seen {
    for name in names(directory) {
        fs::remove_file(directory.join(&name)).unwrap();
        fs::write(directory.join(&name), format!("old {name}")).unwrap();
    }
    fs::write(directory.join("another"), "file").unwrap();
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(directory));
    run(Command::new("chown")
        .args(["-R", &owner(), "."])
        .current_dir(directory));
    tree(directory)
}

/// Whom the program is run as.
fn owner() -> String {
    match is_root() {
        true => support::NOBODY.to_string(),
        false => fs::metadata("/proc/self").unwrap().uid().to_string(),
    }
}

#[test]
fn a_killed_bake_is_cleared_by_the_next_and_nothing_is_lost() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    let bake = |more: &[&str]| {
        let mut command = workshop.bake_as_nobody();
        command
            .args(["bake", &workshop.image("layered"), "-f", "pxe"])
            .args(["--compression", "fast", "-o"])
            .arg(&output)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let began = Instant::now();
    run(&mut bake(&[]));
    let took = began.elapsed();
    let baked = names(&output);
    let mut old = make_old(&output);
    for part in 1..6 {
        let mut child = bake(&["--force"]).spawn().unwrap();
        thread::sleep(took * part / 6);
        run(as_nobody("kill").args(["-s", "KILL", &child.id().to_string()]));
        if child.wait().unwrap().success() {
            // It was faster.
            old = make_old(&output);
            continue;
        }
        assert!(hidden(&output).len() <= 1, "the last one's is cleared");
        let mut left = tree(&output);
        left.retain(|path, _| !path.to_string_lossy().contains("/.coreos-bake-"));
        assert_eq!(left, old, "killed after {part} sixths");
    }
    // It clears before it refuses.
    let refused = bake(&[]).status().unwrap();
    assert!(!refused.success());
    assert_eq!(tree(&output), old);
    run(&mut bake(&["--force"]));
    assert_eq!(names(&output).len(), baked.len() + 1);
    assert_eq!(hidden(&output), [""; 0]);
    run(Command::new("sha256sum")
        .args(["--check", "--quiet", "sha256sum.txt"])
        .current_dir(&output));
}

/// How files get their names: replacing others, or not.
const RENAMES: [&str; 2] = ["rename", "renameat2"];

/// Kills a program when it is about to make the system call for the `turn`-th time: whether it got that far.
fn kill_at(call: &str, command: &Command, turn: u32) -> bool {
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qqq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal=KILL:when={turn}"))
        .args(["-e", &format!("trace={call}")])
        .arg(command.get_program())
        .args(command.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    !traced.status().expect("running strace").success()
}

/// Has a program killed at each rename, looks at what `check` makes of that, and tells how many there were.
fn at_each_rename(
    command: impl Fn() -> Command,
    reset: impl Fn(),
    mut check: impl FnMut(&str),
) -> u32 {
    let mut count = 0;
    for call in RENAMES {
        for turn in 1.. {
            if !kill_at(call, &command(), turn) {
                // It was done.
                reset();
                break;
            }
            check(&format!("killed at {call} {turn}"));
            count += 1;
        }
    }
    count
}

/// A directory as bake writes it, with a PXE set of `rootfs_bytes`, and an inventory of `hosts` machines.
fn rack(place: &Path, rootfs_bytes: usize, hosts: usize) -> PathBuf {
    let media = place.join("media");
    let mut record = record::sample();
    let mut initramfs = cpio::Writer::new(Vec::new());
    for (index, folder) in ["etc", "etc/coreos"].into_iter().enumerate() {
        initramfs.directory(folder, 0o755).unwrap();
        let (name, text) = [
            ("etc/coreos-live-initramfs", ""),
            ("etc/coreos/features.json", r#"{"installer-config":true}"#),
        ][index];
        initramfs.file(name, 0o644, text.as_bytes()).unwrap();
    }
    let initramfs = initramfs.finish().unwrap();
    fs::create_dir_all(&media).unwrap();
    for file in record["files"].as_array_mut().unwrap() {
        let bytes = match file["role"].as_str() {
            Some("initramfs") => initramfs.clone(),
            Some("rootfs") => vec![7; rootfs_bytes],
            _ => vec![7; 5000],
        };
        file["size"] = bytes.len().into();
        fs::write(media.join(file["name"].as_str().unwrap()), bytes).unwrap();
    }
    record::write(&media, &record);
    let mut inventory = "hosts:\n".to_owned();
    for host in 0..hosts {
        let (high, low) = (host / 256, host % 256);
        inventory += &format!(
            "- {{name: w{host}, mac: '52:54:00:00:{high:02x}:{low:02x}', role: worker}}\n"
        );
    }
    fs::write(place.join("hosts.yaml"), inventory).unwrap();
    media
}

fn hosts(place: &Path, output: &Path, more: &[&str]) -> Command {
    let mut command = as_nobody(place.join("coreos-bake"));
    command
        .arg("hosts")
        .args([place.join("media"), place.join("hosts.yaml")])
        .args(["--url", "http://10.0.0.1", "-o"])
        .arg(output)
        .args(more);
    command
}

/// A place for racks that an ordinary user may write to.
fn place() -> Site {
    Site::new(&["4.19/upi-manifests"])
}

fn output(site: &Site) -> PathBuf {
    let output = site.path("out");
    fs::create_dir(&output).unwrap();
    support::open_up(&output);
    output
}

#[test]
fn hosts_that_are_killed_at_any_name_come_back() {
    if !have("strace") {
        return;
    }
    let site = place();
    rack(site.0.path(), 100_000, 3);
    let output = output(&site);
    run(hosts(site.0.path(), &output, &[]).arg("--force"));
    let folders = names(&output);
    for folder in folders
        .iter()
        .map(|name| output.join(name))
        .filter(|path| path.is_dir())
    {
        make_old(&folder);
    }
    run(Command::new("rm").args(["-r", "ipxe"]).current_dir(&output));
    let kept = site.path("kept");
    run(Command::new("cp").arg("-a").arg(&output).arg(&kept));
    let before = tree(&output);
    let mut named = 0;
    let renames = at_each_rename(
        || hosts(site.0.path(), &output, &["--force"]),
        || {
            run(Command::new("rm").arg("-r").arg(&output));
            run(Command::new("cp").arg("-a").arg(&kept).arg(&output));
        },
        |when| {
            named += u32::from(tree(&output).iter().any(|(path, entry)| {
                let is_hidden = path.to_string_lossy().contains("/.coreos-bake-");
                !is_hidden && before.get(path) != Some(entry)
            }));
            run_to_fail(&mut hosts(site.0.path(), &output, &[]));
            assert_eq!(tree(&output), before, "{when}");
        },
    );
    // Kernel, initramfs, root, boot.ipxe, three files for each of three, and the journal.
    assert_eq!(renames, 14);
    assert!(
        named > 9,
        "some names were given when it was killed: {named}"
    );
    run(&mut hosts(site.0.path(), &output, &["--force"]));
    assert_eq!(hidden(&output), [""; 0]);
    assert_eq!(fs::read_dir(output.join("ipxe")).unwrap().count(), 3);
}

/// Moments spread over the whole run, of more files than anybody names at once.
#[test]
fn hosts_that_are_killed_at_any_moment_come_back() {
    let site = place();
    rack(site.0.path(), 1_000_000, 150);
    let output = output(&site);
    let start = |more: &[&str]| {
        let mut command = hosts(site.0.path(), &output, more);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let began = Instant::now();
    run(&mut start(&[]));
    let took = began.elapsed();
    // What is there before, told apart from what is written.
    let make_old = || {
        for folder in ["ipxe", "pxelinux.cfg"] {
            make_old(&output.join(folder));
        }
        tree(&output)
    };
    let mut before = make_old();
    let first = output.join("ipxe/52-54-00-00-00-00.ipxe");
    for moment in 1..30 {
        let mut child = start(&["--force"]).spawn().unwrap();
        thread::sleep(took * moment / 30);
        run(as_nobody("kill").args(["-s", "KILL", &child.id().to_string()]));
        let is_done = child.wait().unwrap().success();
        run_to_fail(&mut start(&[]));
        if is_done || fs::read_to_string(&first).unwrap().starts_with("#!") {
            // It was faster, or was killed when it tidied up: then all of it is there.
            let mut scripts = fs::read_dir(output.join("ipxe")).unwrap();
            let is_script = |path: &Path| fs::read_to_string(path).unwrap().starts_with("#!");
            assert!(scripts.all(|script| {
                let path = script.unwrap().path();
                path.ends_with("another") || is_script(&path)
            }));
            before = make_old();
        } else {
            assert_eq!(tree(&output), before, "moment {moment} of 30");
        }
    }
    assert_eq!(hidden(&output), [""; 0]);
}

/// The install directory and the files for the running cluster: both or neither.
#[test]
fn a_preparation_that_is_killed_at_any_name_comes_back() {
    if !have("strace") {
        return;
    }
    let name = "4.21/ipi-manifests";
    let site = Site::new(&[name]);
    let mut bake = record::sample_with(Some("acme_nic"));
    bake["os"]["openshift-clients"] = true.into();
    record::write(site.0.path(), &bake);
    let later = site.path("later");
    fs::create_dir(&later).unwrap();
    fs::write(later.join("day2-1-boot-image-skew.yaml"), "old").unwrap();
    let directory = site.path(name);
    let before = tree(&directory);
    let prepare = || {
        let mut command = site.prepare(name);
        command
            .args(["--release", "4.22", "--allow-other-release", "--bake"])
            .arg(site.0.path())
            .arg("--force")
            .arg("--output")
            .arg(&later);
        command
    };
    let reset = || {
        site.undo(name);
        fs::write(later.join("day2-1-boot-image-skew.yaml"), "old").unwrap();
    };
    let renames = at_each_rename(prepare, reset, |when| {
        // Says that it isn't prepared where nothing was begun.
        let _ = site.prepare(name).arg("--undo").output().unwrap();
        assert_eq!(tree(&directory), before, "{when}");
        let later = fs::read_to_string(later.join("day2-1-boot-image-skew.yaml")).unwrap();
        assert_eq!(later, "old", "{when}");
    });
    // The record, four manifests, the file for day 2, and a journal in each directory.
    assert_eq!(renames, 8);
    run(&mut prepare());
    assert_ne!(tree(&directory), before);
    let day_two = fs::read_to_string(later.join("day2-1-boot-image-skew.yaml")).unwrap();
    assert!(day_two.contains("rhcosVersion"), "{day_two}");
    assert_eq!(names(&later).len(), 1);
    site.undo(name);
    assert_eq!(tree(&directory), before);
}

/// A preparation of one directory, at each of its names, and undone as the documentation tells.
#[test]
fn configs_that_are_killed_at_any_name_come_back() {
    if !have("strace") {
        return;
    }
    let name = "4.19/upi-ignition";
    let site = Site::new(&[name]);
    let directory = site.path(name);
    let before = tree(&directory);
    let prepare = || {
        let mut command = site.prepare(name);
        command.args(wanted(name));
        command
    };
    let renames = at_each_rename(
        prepare,
        || site.undo(name),
        |when| {
            let _ = site.prepare(name).arg("--undo").output().unwrap();
            assert_eq!(tree(&directory), before, "{when}");
        },
    );
    // The record, three configs, and the journal.
    assert_eq!(renames, 5);
}

#[test]
fn a_layer_that_is_killed_leaves_the_layout_as_it_was() {
    let (Some(workshop), true) = (Workshop::new(), have("strace")) else {
        return;
    };
    let output = workshop.output("layouts");
    let os = output.join("os");
    let layer = |image: &str, more: &[&str]| {
        let mut command = workshop.bake_as_nobody();
        command
            .args(["layer", &workshop.image(image), "--driver", "megaraid_sas"])
            .args(["--repair", "-o", &format!("oci:{}:vendor", os.display())])
            .args(more);
        command
    };
    run(&mut layer("forgot", &["--load"]));
    let before = tree(&os);
    // New blobs have names that nothing had; the index is the one file that is replaced, after the journal.
    for (call, turn) in [("renameat2", 2), ("rename", 2)] {
        assert!(kill_at(call, &layer("forgot", &["--force"]), turn));
        assert_eq!(hidden(&os).len(), 1);
        let error = run_to_fail(&mut layer("forgot", &[]));
        assert!(error.contains("has an image vendor already"), "{error}");
        assert_eq!(tree(&os), before, "killed at {call} {turn}");
    }
    run(&mut layer("forgot", &["--force"]));
    assert_ne!(tree(&os), before);
    assert_eq!(hidden(&os), [""; 0]);
}

/// A layout that is not there before: killed while blobs are written, when they are named and there is no
/// index, and between the marker and the index.
#[test]
fn a_new_layout_that_is_killed_is_taken_by_the_next_run() {
    let (Some(workshop), true) = (Workshop::new(), have("strace")) else {
        return;
    };
    let os = workshop.output("layouts").join("os");
    let layer = |more: &[&str]| {
        let mut command = workshop.bake_as_nobody();
        command
            .args(["layer", &workshop.image("forgot")])
            .args(["--driver", "megaraid_sas", "--repair", "-o"])
            .arg(format!("oci:{}:new", os.display()))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    run(&mut layer(&[]));
    let whole = tree(&os);
    let blobs = fs::read_dir(os.join("blobs/sha256")).unwrap().count();
    let blobs = u32::try_from(blobs).unwrap();
    let is_whole = |when: &str| {
        let names: Vec<_> = tree(&os).into_keys().collect();
        assert!(names.iter().eq(whole.keys()), "{when}: {names:?}");
    };

    // What another program leaves that is killed before it has an index.
    fs::remove_file(os.join("index.json")).unwrap();
    let unfinished = os.join("oci-put-blob123");
    fs::write(&unfinished, "half a blob").unwrap();
    run(&mut layer(&[]));
    fs::remove_file(unfinished).unwrap();
    is_whole("without an index");

    let mut forced = [&["--force"][..], &[]].into_iter().cycle();
    fs::remove_dir_all(&os).unwrap();
    let mut child = layer(&[]).spawn().unwrap();
    while !os.is_dir() || hidden(&os).is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    run(as_nobody("kill").args(["-s", "KILL", &child.id().to_string()]));
    assert!(!child.wait().unwrap().success());
    assert_eq!(hidden(&os).len(), 1);
    run(&mut layer(&[]));
    is_whole("while blobs are written");
    for (turn, named) in [(blobs + 1, blobs), (blobs + 2, blobs + 1)] {
        fs::remove_dir_all(&os).unwrap();
        assert!(kill_at("renameat2", &layer(&[]), turn));
        let has_marker = os.join("oci-layout").exists();
        assert_eq!(has_marker, named > blobs, "turn {turn}");
        assert!(!os.join("index.json").exists(), "turn {turn}");
        run(&mut layer(forced.next().unwrap()));
        is_whole(&format!("turn {turn}"));
    }
}

/// The test holds the lock that programs of ours take before the index, and plays another one.
#[test]
fn images_that_others_store_meanwhile_stay() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let os = workshop.output("os");
    // Without the sticky bit: the index that is replaced is not the same user's.
    fs::set_permissions(&os, fs::Permissions::from_mode(0o777)).unwrap();
    let lock = fs::File::open(&os).unwrap();
    lock.lock().unwrap();
    let mut layer = workshop.bake_as_nobody();
    layer
        .args(["layer", &workshop.image("forgot")])
        .args(["--driver", "megaraid_sas", "--repair", "-o"])
        .arg(format!("oci:{}:ours", os.display()))
        .stdout(Stdio::null());
    let mut child = layer.spawn().unwrap();
    while hidden(&os).is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    let theirs = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", "0".repeat(64)),
            "size": 2,
            "annotations": { "org.opencontainers.image.ref.name": "theirs" },
        }],
    });
    fs::write(os.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(os.join("index.json"), theirs.to_string()).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    lock.unlock().unwrap();
    assert!(child.wait().unwrap().success());
    let index: Value = serde_json::from_slice(&fs::read(os.join("index.json")).unwrap()).unwrap();
    let tags: Vec<&Value> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["annotations"]["org.opencontainers.image.ref.name"])
        .collect();
    assert_eq!(tags, ["theirs", "ours"]);
}

/// Where nothing can be stored is said before the image is read: it is not even there.
#[test]
fn a_target_that_cannot_be_taken_is_told_before_the_work() {
    let site = place();
    let top = site.0.path();
    fs::write(top.join("file"), "").unwrap();
    fs::create_dir(top.join("files")).unwrap();
    fs::write(top.join("files/x"), "").unwrap();
    support::open_up(&top.join("files"));
    fs::create_dir(top.join("closed")).unwrap();
    fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    for (target, said) in [
        ("oci:file", "file is not a directory"),
        ("oci:file/x", "file is not a directory"),
        ("oci:files", "files is not an OCI image layout"),
        ("oci:closed/x", "Permission denied"),
        ("oci-archive:file", "file exists"),
        ("oci-archive:files", "files is a directory"),
        ("oci-archive:file/x", "file is not a directory"),
        ("oci-archive:closed/x", "Permission denied"),
    ] {
        for more in [&[][..], &["--dry-run"]] {
            let error = run_to_fail(
                as_nobody(top.join("coreos-bake"))
                    .current_dir(top)
                    .args(["layer", "oci:nowhere", "--driver", "a", "--repair", "-o"])
                    .arg(target)
                    .args(more),
            );
            assert!(error.contains(said), "{target}: {error}");
        }
    }
}

/// Sends `signal` when the program is about to make the system call for the `turn`-th time; what it said, if
/// that ended it.
fn signal_at(call: &str, command: &Command, turn: u32, signal: &str) -> Option<String> {
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qqq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal={signal}:when={turn}"))
        .args(["-e", &format!("trace={call}")])
        .arg(command.get_program())
        .args(command.get_args());
    let Output { status, stderr, .. } = traced.output().expect("running strace");
    (!status.success()).then(|| String::from_utf8_lossy(&stderr).into_owned())
}

/// A signal comes before `--undo` or after it, and either way the sentence says so.
#[test]
fn an_undo_is_not_left_half_way_by_a_signal() {
    if !have("strace") {
        return;
    }
    let name = "4.19/upi-ignition";
    let site = Site::new(&[name]);
    let directory = site.path(name);
    let before = seen(&directory);
    let mut undo = site.prepare(name);
    undo.arg("--undo");
    let mut told = 0;
    // Now and then the program is done before the signal is heard, as often as not on a busy machine.
    for attempt in 0..12 {
        if attempt >= 3 && told > 0 {
            break;
        }
        let turn = 1 + attempt % 3;
        run(site.prepare(name).args(wanted(name)));
        let said = signal_at("rename", &undo, turn, "TERM");
        assert_eq!(seen(&directory), before, "turn {turn}");
        if let Some(said) = said {
            let sentence = "error: interrupted when everything was done already";
            assert!(said.contains(sentence), "{said}");
            told += 1;
        }
        let error = run_to_fail(&mut undo);
        assert!(error.contains("is not prepared"), "{error}");
    }
    assert!(told > 0, "a signal has ended it");
}

/// Also when the directory was last changed: a record would take that for the original's.
#[test]
fn a_signal_leaves_no_trace_of_prepare_and_hosts() {
    if !have("strace") {
        return;
    }
    let name = "4.19/upi-ignition";
    let site = Site::new(&[name]);
    rack(site.0.path(), 100_000, 3);
    let directory = site.path(name);
    let before = seen(&directory);
    let output = site.path("new/out");
    let mut prepare = site.prepare(name);
    prepare.args(wanted(name));
    let mut told = [0, 0];
    for turn in 1..6 {
        let Some(said) = signal_at("fsync", &prepare, turn, "TERM") else {
            site.undo(name);
            continue;
        };
        if said.contains("everything was done") {
            site.undo(name);
        } else {
            assert!(said.contains("interrupted; nothing was written"), "{said}");
            told[0] += 1;
        }
        assert_eq!(seen(&directory), before, "prepare, turn {turn}");

        let hosts = hosts(site.0.path(), &output, &[]);
        match signal_at("fsync", &hosts, turn, "TERM") {
            Some(said) if !said.contains("everything was done") => {
                assert!(said.contains("interrupted; nothing was written"), "{said}");
                assert!(!site.path("new").exists(), "hosts, turn {turn}");
                told[1] += 1;
            }
            _ => fs::remove_dir_all(site.path("new")).unwrap(),
        }
    }
    assert!(told[0] > 0 && told[1] > 0, "{told:?}");
}

/// A small disk, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(path: &Path, bytes: u64) -> Self {
        let _ = fs::create_dir(path);
        run(Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes},mode=1777"),
                "tmpfs",
            ])
            .arg(path));
        Self(path.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Whether a command was done; if not, that it has said how much it needs in `output`, once, and left nothing on
/// the disk.
fn is_done(command: &mut Command, output: &Path, disk: &Disk) -> bool {
    let Output { status, stderr, .. } = command.output().unwrap();
    if status.success() {
        return true;
    }
    let said = String::from_utf8_lossy(&stderr);
    let errors: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    let [error] = errors[..] else {
        panic!("{said}");
    };
    let start = format!("error: no space left in {}: ", output.display());
    let rest = error
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{said}"));
    let has_bytes = rest
        .split(' ')
        .any(|word| ["B", "KiB", "MiB", "GiB"].contains(&word));
    assert!(has_bytes && rest.contains("free"), "{error}");
    assert!(said.contains("hint: make room there"), "{said}");
    assert_eq!(names(&disk.0), [""; 0], "{said}");
    false
}

fn may_mount() -> bool {
    is_root() || skip::<()>("a small file system needs root").is_some()
}

#[test]
fn hosts_fit_or_say_how_much_they_need() {
    if !may_mount() {
        return;
    }
    const ROOTFS: usize = 2 << 20;
    let site = place();
    rack(site.0.path(), ROOTFS, 40);
    let mut done = Vec::new();
    // A page is the least that a tmpfs can have, and none is no limit.
    for size in (0..20).map(|part| 4096 + part * (ROOTFS as u64 + 600_000) / 20) {
        let disk = Disk::new(&site.path("disk"), size);
        let output = disk.0.join("a/b");
        done.push(is_done(
            hosts(site.0.path(), &output, &[]).env("TMPDIR", "/var/tmp"),
            &output,
            &disk,
        ));
    }
    assert!(!done[0] && !done[10], "{done:?}");
}

#[test]
fn a_bake_fits_or_says_how_much_it_needs() {
    let (Some(workshop), true) = (Workshop::new(), may_mount()) else {
        return;
    };
    for mebibytes in [1, 200, 380] {
        let disk = Disk::new(&workshop.path("small"), mebibytes << 20);
        let mut bake = workshop.bake_as_nobody();
        bake.args(["bake", &workshop.image("layered"), "-f", "pxe"])
            .args(["--compression", "fast", "-o"])
            .arg(&disk.0);
        assert!(!is_done(&mut bake, &disk.0, &disk), "{mebibytes} MiB");
    }
}

/// Its target is looked at before the image is read, so that none of this takes long.
#[test]
fn a_layer_fits_or_says_how_much_it_needs() {
    let (Some(workshop), true) = (Workshop::new(), may_mount()) else {
        return;
    };
    for (kind, sizes) in [("oci-archive", 0..10), ("oci", 10..20)] {
        for size in sizes.map(|part| 4096 + part * (8 << 20)) {
            let disk = Disk::new(&workshop.path("small"), size);
            let mut layer = workshop.bake_as_nobody();
            layer
                .args([
                    "layer",
                    &workshop.image("forgot"),
                    "--driver",
                    "megaraid_sas",
                ])
                .args(["--repair", "-o"])
                .arg(format!("{kind}:{}/os", disk.0.display()));
            match kind {
                "oci" => assert!(!is_done(&mut layer, &disk.0.join("os"), &disk)),
                _ => assert!(!is_done(&mut layer, &disk.0, &disk)),
            }
        }
    }
}

/// Nothing of the image is needed to see that there is no place for it.
#[test]
fn taken_names_are_told_before_the_image_is_read() {
    let site = place();
    let output = output(&site);
    fs::write(output.join("bake.json"), "precious").unwrap();
    fs::write(output.join("x-live-iso.x86_64.iso"), "precious").unwrap();
    fs::write(output.join("os.ociarchive"), "precious").unwrap();
    // A layer that can't be read, and one image with a tag.
    let image = site.path("image");
    let blobs = Layout::new(vec![b"no tar".to_vec()]).write(&image);
    for blob in blobs {
        fs::write(blob, "damage").unwrap();
    }
    let index = image.join("index.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    value["manifests"][0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "os" });
    fs::write(index, value.to_string()).unwrap();
    let before = tree(site.0.path());

    let said = |words: &[&str], dry: bool| {
        let mut command = Command::new(site.path("coreos-bake"));
        command.args(words).args(dry.then_some("--dry-run"));
        run_to_fail(&mut command)
    };
    let at = |name: &str| site.path(name).display().to_string();
    let [image, out] = [format!("oci:{}:os", at("image")), at("out")];
    let archive = format!("oci-archive:{out}/os.ociarchive");
    let repair = ["--repair", "--driver", "a"];
    let cases: [(Vec<&str>, &str); 5] = [
        (vec!["bake", "oci:/nowhere", "-o", &out], "bake.json exists"),
        (
            vec!["bake", &image, "-o", &out, "--prefix", "x"],
            "bake.json exists",
        ),
        (
            [&["layer", "oci:/nowhere", "-o", &archive][..], &repair].concat(),
            "os.ociarchive exists",
        ),
        (
            [&["layer", "oci:/nowhere", "-o", &image][..], &repair].concat(),
            "has an image os already",
        ),
        (
            vec!["bake", &image, "-o", &out, "--prefix", "y", "--force"],
            "layer",
        ),
    ];
    for dry in [false, true] {
        for (words, sentence) in &cases {
            let error = said(words, dry);
            assert!(error.contains(sentence), "{words:?} {error}");
        }
    }
    fs::remove_file(site.path("out/bake.json")).unwrap();
    for dry in [false, true] {
        let error = said(&["bake", &image, "-o", &out, "--prefix", "x"], dry);
        assert!(error.contains("x-live-iso.x86_64.iso exists"), "{error}");
    }
    fs::write(site.path("out/bake.json"), "precious").unwrap();
    let mut after = tree(site.0.path());
    after.remove(&site.path("out/bake.json"));
    let mut before = before;
    for path in ["out/bake.json", "out"] {
        before.remove(&site.path(path));
        after.remove(&site.path(path));
    }
    assert_eq!(after, before);
}

#[test]
fn a_read_only_directory_is_named() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("closed");
    fs::set_permissions(&output, fs::Permissions::from_mode(0o555)).unwrap();
    let error = run_to_fail(
        workshop
            .bake_as_nobody()
            .args(["bake", &workshop.image("layered"), "-o"])
            .arg(&output),
    );
    assert!(
        error.contains("closed") && error.contains("Permission denied"),
        "{error}"
    );
}

#[test]
fn old_files_are_kept_unless_forced() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("old");
    fs::write(output.join("bake.json"), "precious").unwrap();
    fs::set_permissions(output.join("bake.json"), fs::Permissions::from_mode(0o666)).unwrap();
    let bake = |more: &[&str]| {
        let mut command = workshop.bake_as_nobody();
        command
            .args([
                "bake",
                &workshop.image("layered"),
                "--compression",
                "fast",
                "-f",
                "pxe",
                "-o",
            ])
            .arg(&output)
            .args(more);
        command
    };
    let error = run_to_fail(&mut bake(&[]));
    assert!(
        error.contains("bake.json exists") && error.contains("--force"),
        "{error}"
    );
    assert_eq!(fs::read(output.join("bake.json")).unwrap(), b"precious");
    assert_eq!(names(&output), ["bake.json"]);
    // A directory with the sticky bit keeps others from replacing the file.
    fs::set_permissions(&output, fs::Permissions::from_mode(0o777)).unwrap();
    run(&mut bake(&["--force"]));
    assert_ne!(fs::read(output.join("bake.json")).unwrap(), b"precious");
}
