//! The live root, entry by entry, against what libostree itself deploys as root.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::tree::differences;
use support::{Workshop, find, have, is_root, names, run, skip};

/// The one deployment's directory below a physical root.
fn deployment(root: &Path) -> PathBuf {
    let stateroots = root.join("ostree/deploy");
    let stateroot = stateroots.join(&names(&stateroots)[0]).join("deploy");
    let name = names(&stateroot)
        .into_iter()
        .find(|name| !name.ends_with(".origin"))
        .unwrap();
    stateroot.join(name)
}

/// Bakes and deploys `image`; returns the unpacked live root and libostree's physical root.
fn both(workshop: &Workshop, image: &str) -> (PathBuf, PathBuf) {
    let output = workshop.output(&format!("{image}-ours"));
    run(workshop
        .bake_as_nobody()
        .args([
            "bake",
            &workshop.image(image),
            "--compression",
            "fast",
            "-f",
            "pxe",
            "-o",
        ])
        .arg(&output));
    let ours = output.join("root");
    run(Command::new("unsquashfs")
        .args(["-quiet", "-no-progress", "-xattrs", "-o", "124", "-d"])
        .arg(&ours)
        .arg(find(&output, "-live-rootfs.")));
    let theirs = workshop.path(&format!("{image}-theirs"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/by-hand");
    run(Command::new(script)
        .arg(workshop.image(image))
        .arg(&theirs)
        .args(["--level", "1", "--keep-sysroot"]));
    (ours, theirs.join("sysroot"))
}

fn able() -> Option<Workshop> {
    if !is_root() {
        return skip("libostree needs root to deploy");
    }
    if !have("unsquashfs") || !have("ostree") || !have("mksquashfs") {
        return None;
    }
    Workshop::new()
}

#[test]
fn deployment_and_objects_equal_libostrees() {
    let Some(workshop) = able() else { return };
    for image in ["stock", "layered"] {
        let (ours, theirs) = both(&workshop, image);
        // buildah leaves these empty; current importers remove them, the oracle's version doesn't.
        let leftover = |path: &Path| {
            [
                "etc/hostname",
                "etc/resolv.conf",
                "usr/etc/hostname",
                "usr/etc/resolv.conf",
            ]
            .iter()
            .any(|name| path == Path::new(name))
        };
        let tree = differences(&deployment(&ours), &deployment(&theirs), leftover);
        assert!(
            tree.is_empty(),
            "{image}: {}\n{}",
            tree.len(),
            tree[..tree.len().min(20)].join("\n")
        );

        // Commits and trees name the moment of the import, and the layers' trees hold the leftovers;
        // file objects depend on nothing but themselves.
        let objects = differences(
            &ours.join("ostree/repo/objects"),
            &theirs.join("ostree/repo/objects"),
            |path| path.extension().is_none_or(|extension| extension != "file"),
        );
        assert!(
            objects.is_empty(),
            "{image}: {}\n{}",
            objects.len(),
            objects[..objects.len().min(20)].join("\n")
        );

        let check = run(Command::new("ostree")
            .arg("fsck")
            .arg(format!("--repo={}", ours.join("ostree/repo").display())));
        assert!(!support::text(&check).contains("corrupt"));
        clean(&[&ours, &theirs]);
    }
}

/// Deployments are immutable until told otherwise.
fn clean(roots: &[&Path]) {
    for root in roots {
        let _ = Command::new("chattr")
            .arg("-i")
            .arg(deployment(root))
            .status();
    }
}

#[test]
fn the_comparison_can_fail() {
    let Some(workshop) = able() else { return };
    let output = workshop.output("twice");
    let tree = |name: &str| {
        let top = output.join(name);
        fs::create_dir(&top).unwrap();
        for number in 0..1100 {
            fs::write(top.join(number.to_string()), "x").unwrap();
        }
        top
    };
    let (a, b) = (tree("a"), tree("b"));
    assert!(differences(&a, &b, |_| false).is_empty());
    fs::write(b.join("7"), "y").unwrap();
    rustix::fs::lsetxattr(b.join("8"), "user.k", b"v", rustix::fs::XattrFlags::empty()).unwrap();
    fs::remove_file(b.join("9")).unwrap();
    assert_eq!(differences(&a, &b, |_| false).len(), 3);
}
