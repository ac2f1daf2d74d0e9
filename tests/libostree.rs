//! The live root, entry by entry, against what libostree itself deploys as root.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Workshop, find, have, is_root, names, run, skip};

/// All that a file system says of one name, apart from contents.
#[derive(Debug, PartialEq)]
struct Entry {
    kind: char,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    size: u64,
    /// How many of its names are in `/boot` of the same file system.
    boot_links: u64,
    target: Option<PathBuf>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn entry(path: &Path, metadata: &Metadata, boot: &[u64]) -> Entry {
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_dir() => 'd',
        () if file_type.is_symlink() => 'l',
        () if file_type.is_file() => '-',
        () if file_type.is_char_device() => 'c',
        () => '?',
    };
    Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        // A directory's count and size are the file system's own business.
        links: if kind == 'd' { 0 } else { metadata.nlink() },
        size: if kind == '-' { metadata.len() } else { 0 },
        boot_links: boot
            .iter()
            .filter(|inode| **inode == metadata.ino())
            .count() as u64,
        target: (kind == 'l').then(|| fs::read_link(path).unwrap()),
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut list).unwrap();
    list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let name = OsStr::from_bytes(name);
            let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(length);
            (name.as_bytes().to_vec(), value)
        })
        .collect()
}

/// Every name below `top`, by its path.
fn walk(top: &Path) -> BTreeMap<PathBuf, Entry> {
    let root = top
        .ancestors()
        .find(|path| path.join("ostree/repo").exists())
        .map(|root| root.join("boot"));
    let boot: Vec<u64> = root.iter().flat_map(|root| inodes(root)).collect();
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let full = top.join(&path);
        let metadata = fs::symlink_metadata(&full).unwrap();
        if metadata.is_dir() {
            for child in fs::read_dir(&full).unwrap() {
                open.push(path.join(child.unwrap().file_name()));
            }
        }
        found.insert(path, entry(&full, &metadata, &boot));
    }
    found
}

/// Inode numbers of all files below a directory, one for each name.
fn inodes(directory: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for child in fs::read_dir(directory).unwrap() {
        let path = child.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        match metadata.is_dir() {
            true => found.extend(inodes(&path)),
            false => found.push(metadata.ino()),
        }
    }
    found
}

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

/// Differences between two trees, a line each.
fn differences(ours: &Path, theirs: &Path, ignore: impl Fn(&Path) -> bool) -> Vec<String> {
    let (mut a, mut b) = (walk(ours), walk(theirs));
    // On one file system with /boot, libostree links the kernel there; a disk's /boot is another.
    for entry in b.values_mut().filter(|entry| entry.boot_links > 0) {
        entry.links -= std::mem::take(&mut entry.boot_links);
    }
    // Where SELinux is off, libostree labels the files of its copy of /etc, not directories and links;
    // the originals in usr/etc are compared in full.
    for (path, entry) in a.iter_mut().filter(|(path, _)| path.starts_with("etc")) {
        let label = b"security.selinux".as_slice();
        assert!(entry.xattrs.contains_key(label), "{}", path.display());
        if b.get(path)
            .is_some_and(|theirs| theirs.kind != '-' && theirs.xattrs.is_empty())
        {
            entry.xattrs.remove(label);
        }
    }
    assert!(a.len() > 1000 && b.len() > 1000, "both trees are there");
    let mut lines = Vec::new();
    for path in a
        .keys()
        .chain(b.keys().filter(|path| !a.contains_key(*path)))
    {
        if ignore(path) {
            continue;
        }
        match (a.get(path), b.get(path)) {
            (Some(x), Some(y)) if x != y => {
                lines.push(format!("{}: ours {x:?}, libostree's {y:?}", path.display()));
            }
            (Some(x), Some(_)) if x.kind == '-' => {
                if fs::read(ours.join(path)).unwrap() != fs::read(theirs.join(path)).unwrap() {
                    lines.push(format!("{}: contents differ", path.display()));
                }
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) => lines.push(format!("{}: only in ours", path.display())),
            (None, _) => lines.push(format!("{}: only in libostree's", path.display())),
        }
    }
    lines
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
