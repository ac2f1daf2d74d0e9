//! Whatever stops a bake, no file is left under a final name.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use support::{Workshop, as_nobody, is_root, names, run, run_to_fail, skip, unmount};

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

#[test]
fn a_killed_bake_leaves_only_a_hidden_directory() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    assert!(interrupt(
        &workshop,
        &output,
        "KILL",
        Duration::from_millis(900)
    ));
    assert!(
        names(&output)
            .iter()
            .all(|name| name.starts_with(".coreos-bake-")),
        "{:?}",
        names(&output)
    );
}

#[test]
fn a_full_disk_is_one_clear_error() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    if !is_root() {
        skip::<()>("a small file system needs root");
        return;
    }
    let output = workshop.output("small");
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m,mode=1777", "tmpfs"])
        .arg(&output));
    let error = run_to_fail(
        workshop
            .bake_as_nobody()
            .args(["bake", &workshop.image("layered"), "-o"])
            .arg(&output),
    );
    let left = names(&output);
    unmount(&output);
    assert!(error.contains("No space left on device"), "{error}");
    assert_eq!(left, [""; 0]);
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
