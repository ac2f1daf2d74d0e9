//! Readers that we did not write.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::NamedTempFile;

use super::super::names::level_1;
use super::super::{Reader, Volume};
use super::{Files, ID, TIME, bytes, files, live_volume, noise, opened, written};
pub(super) use bake_referee::have;
use bake_referee::unmount;

fn run(tool: &str, arguments: &[&str]) -> Output {
    // Names that are not ASCII come out as they are only where the locale says how.
    let output = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    output
}

fn stdout(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

/// Paths and bytes of all files below a directory.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What the files are on the ISO: as given, but isolinux.bin with its boot info table.
fn expected(volume: &Volume, image: &Path) -> BTreeMap<String, Vec<u8>> {
    let layout = volume.layout().unwrap();
    let image = fs::read(image).unwrap();
    let given = volume.files.iter();
    given
        .map(|(path, content)| {
            let mut bytes = bytes(content);
            if path == "isolinux/isolinux.bin" {
                let (offset, _) = layout.extent(path).unwrap();
                let offset = offset as usize;
                bytes[8..64].copy_from_slice(&image[offset + 8..offset + 64]);
            }
            (path.clone(), bytes)
        })
        .collect()
}

/// The paths in the primary tree without versions and trailing dots, and those that they stand for.
fn short_paths(files: &Files) -> BTreeMap<String, String> {
    let mut directories: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
    for path in files.keys() {
        let mut parent = "";
        for (end, _) in path.match_indices('/') {
            let name = path[parent.len()..end].trim_start_matches('/').to_owned();
            let names = directories.entry(parent.to_owned()).or_default();
            if !names.contains(&(name.clone(), true)) {
                names.push((name, true));
            }
            parent = &path[..end];
        }
        let name = path[parent.len()..].trim_start_matches('/').to_owned();
        directories
            .entry(parent.to_owned())
            .or_default()
            .push((name, false));
    }
    let mut short = BTreeMap::from([(String::new(), String::new())]);
    // Parents come before children, as their paths are shorter.
    for (parent, mut names) in directories {
        names.sort();
        let list: Vec<(&str, bool)> = names.iter().map(|(n, d)| (n.as_str(), *d)).collect();
        for ((name, _), identifier) in list.iter().zip(level_1(&list)) {
            let identifier = String::from_utf8(identifier).unwrap();
            let plain = identifier.split(';').next().unwrap().trim_end_matches('.');
            let join = |parent: &str, name: &str| match parent {
                "" => name.to_owned(),
                _ => format!("{parent}/{name}"),
            };
            short.insert(join(&parent, name), join(&short[&parent], plain));
        }
    }
    files
        .keys()
        .map(|path| (short[path].clone(), path.clone()))
        .collect()
}

fn extracted(image: &Path, file_system: &str) -> BTreeMap<String, Vec<u8>> {
    let target = tempfile::tempdir().unwrap();
    let directory = target.path().join("x");
    run(
        "xorriso",
        &[
            "-read_fs",
            file_system,
            "-joliet_map",
            "stripped",
            "-osirrox",
            "on:auto_chmod_on",
            "-indev",
            image.to_str().unwrap(),
            "-extract",
            "/",
            directory.to_str().unwrap(),
        ],
    );
    let found = tree(&directory);
    run("chmod", &["-R", "u+w", directory.to_str().unwrap()]);
    found
}

#[test]
fn xorriso_extracts_all_three_trees() {
    if !have("xorriso") {
        return;
    }
    let volume = live_volume();
    let image = written(&volume);
    let expected = expected(&volume, image.path());
    assert!(extracted(image.path(), "any") == expected, "Rock Ridge");
    assert!(extracted(image.path(), "norock") == expected, "Joliet");
    let short = short_paths(&volume.files);
    assert!(short.contains_key("COREOS/KARGS.JSO"));
    let found: BTreeMap<String, Vec<u8>> = extracted(image.path(), "ecma119")
        .into_iter()
        // xorriso keeps the dot and the version here.
        .map(|(path, bytes)| {
            let path = path.trim_end_matches(";1").trim_end_matches('.');
            (short[path].clone(), bytes)
        })
        .collect();
    assert!(found == expected, "primary");
}

#[test]
fn xorriso_sees_what_boots_and_plain_modes() {
    if !have("xorriso") {
        return;
    }
    let volume = live_volume();
    let image = written(&volume);
    let path = image.path().to_str().unwrap();
    let report = stdout(run(
        "xorriso",
        &["-indev", path, "-report_el_torito", "plain"],
    ));
    let layout = volume.layout().unwrap();
    let sector = |path: &str| layout.extent(path).unwrap().0 / 2048;
    let words: Vec<Vec<&str>> = report
        .lines()
        .filter_map(|line| Some(line.split_once(" : ")?.1.split_whitespace().collect()))
        .collect();
    let bios = sector("isolinux/isolinux.bin").to_string();
    let uefi = sector("images/efiboot.img").to_string();
    for expected in [
        vec!["1", "BIOS", "y", "none", "0x0000", "0x00", "4", &bios],
        vec!["2", "UEFI", "y", "none", "0x0000", "0x00", "586", &uefi],
        vec!["1", "boot-info-table"],
        vec!["1", "/isolinux/isolinux.bin"],
        vec!["2", "/images/efiboot.img"],
    ] {
        assert!(words.contains(&expected), "{expected:?}: {report}");
    }

    let list = stdout(run(
        "xorriso",
        &["-indev", path, "-find", "/", "-exec", "lsdl", "--"],
    ));
    let modes: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|mode| mode.len() == 10)
        .collect();
    assert!(modes.len() > volume.files.len(), "{list}");
    let plain = |mode: &&str| ["-r--r--r--", "dr-xr-xr-x"].contains(mode);
    assert!(modes.iter().all(plain), "{list}");
}

#[test]
fn blkid_finds_the_label() {
    if !have("blkid") {
        return;
    }
    let image = written(&live_volume());
    let said = stdout(run(
        "blkid",
        &[
            "-p",
            "-o",
            "value",
            "-s",
            "LABEL",
            image.path().to_str().unwrap(),
        ],
    ));
    assert_eq!(said.trim_end(), ID);
}

#[test]
fn isoinfo_reads_rock_ridge_and_joliet() {
    if !have("isoinfo") {
        return;
    }
    let volume = live_volume();
    let image = written(&volume);
    let path = image.path().to_str().unwrap();
    let expected: Vec<String> = volume.files.keys().map(|path| format!("/{path}")).collect();
    for option in ["-R", "-J"] {
        let output = run("isoinfo", &["-f", option, "-i", path]);
        let list = String::from_utf8_lossy(&output.stdout);
        // It knows no charset with all the characters that Joliet has.
        for path in expected.iter().filter(|path| path.is_ascii()) {
            let found = list.lines().any(|line| line.trim_end_matches(";1") == path);
            assert!(found, "{option} {path}: {list}");
        }
    }
    let file = "/images/pxeboot/initrd.img";
    let read = run("isoinfo", &["-R", "-x", file, "-i", path]).stdout;
    assert!(read == bytes(&volume.files[&file[1..]]));
}

/// ISOs of the tools that CoreOS and distributions use, with what ours don't have: symlinks, names
/// that continue elsewhere, and a boot catalog with a name.
#[test]
fn isos_of_other_tools_are_read() {
    let tools: [(&str, &[&str]); 2] = [("xorriso", &["-as", "mkisofs"]), ("genisoimage", &[])];
    for (tool, arguments) in tools {
        if !have(tool) {
            continue;
        }
        let source = tempfile::tempdir().unwrap();
        let mut files = files(&[
            ("isolinux/isolinux.bin", 30_000),
            ("images/efiboot.img", 70_000),
            ("coreos/kargs.json", 20),
            ("empty", 0),
        ]);
        files.insert("d/".to_owned() + &"n".repeat(250), noise(1, 10));
        for number in 0..200 {
            files.insert(format!("d/number {number}.conf"), noise(number, 5));
        }
        for (path, content) in &files {
            let path = source.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes(content)).unwrap();
        }
        std::os::unix::fs::symlink("empty", source.path().join("link")).unwrap();
        let image = NamedTempFile::new().unwrap();
        #[rustfmt::skip]
        let options = [
            "-R", "-J", "-joliet-long", "-V", ID, "-c", "isolinux/boot.cat",
            "-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4",
            "-eltorito-alt-boot", "-e", "images/efiboot.img", "-no-emul-boot",
            "-o", image.path().to_str().unwrap(), source.path().to_str().unwrap(),
        ];
        run(tool, &[arguments, &options].concat());

        let reader = Reader::open(opened(&image)).unwrap();
        assert_eq!(reader.volume_id(), ID, "{tool}");
        let catalog = "isolinux/boot.cat".to_owned();
        let expected: BTreeSet<String> = files.keys().cloned().chain([catalog]).collect();
        let found: BTreeSet<String> = reader.paths().map(str::to_owned).collect();
        assert_eq!(found, expected, "{tool}");
        for (path, content) in &files {
            let found = reader.file(path).unwrap().unwrap();
            assert!(bytes(&found) == bytes(content), "{tool}: {path}");
        }
        let image = fs::read(image.path()).unwrap();
        for (boot, path) in reader
            .boot_images()
            .iter()
            .zip(["isolinux/isolinux.bin", "images/efiboot.img"])
        {
            let at = boot.offset as usize;
            let expected = bytes(&files[path]);
            assert!(image[at..].starts_with(&expected), "{tool}: {path}");
        }
        assert_eq!(reader.boot_images().len(), 2, "{tool}");
        let facts = reader.facts();
        assert_eq!(
            (&facts["rock-ridge"], &facts["joliet"]),
            (&true.into(), &true.into())
        );
    }
}

/// A mounted ISO, until dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(image: &Path, options: &str) -> Option<Self> {
        let target = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "iso9660", "-o", &format!("loop,ro,{options}")])
            .args([image, target.path()])
            .output()
            .unwrap();
        if !output.status.success() {
            println!(
                "skipped: mount says {}",
                String::from_utf8_lossy(&output.stderr)
            );
            return None;
        }
        Some(Self(target))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(self.0.path());
    }
}

fn kernel_mounts() -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return false;
    }
    let _ = Command::new("modprobe").arg("isofs").output();
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let found = known.split_whitespace().any(|word| word == "iso9660");
    if !found {
        println!("skipped: the kernel has no iso9660");
    }
    found
}

#[test]
fn the_kernel_mounts_all_three_trees() {
    if !kernel_mounts() {
        return;
    }
    let volume = live_volume();
    let image = written(&volume);
    let expected = expected(&volume, image.path());
    let Some(mounted) = Mounted::new(image.path(), "map=off") else {
        return;
    };
    let root = mounted.0.path();
    assert!(tree(root) == expected, "Rock Ridge");
    for (path, mode, links) in [
        ("", 0o555, 2 + 9),
        ("images", 0o555, 3),
        ("images/efiboot.img", 0o444, 1),
    ] {
        let meta = fs::metadata(root.join(path)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path}");
        assert_eq!(meta.nlink(), links, "{path}");
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{path}");
        assert_eq!(meta.mtime(), TIME, "{path}");
    }
    drop(mounted);

    let mounted = Mounted::new(image.path(), "norock,iocharset=utf8").unwrap();
    assert!(tree(mounted.0.path()) == expected, "Joliet");
    drop(mounted);

    let mounted = Mounted::new(image.path(), "norock,nojoliet,map=off").unwrap();
    let short = short_paths(&volume.files);
    let found: BTreeMap<String, Vec<u8>> = tree(mounted.0.path())
        .into_iter()
        .map(|(path, bytes)| {
            let path = path.trim_end_matches(";1").trim_end_matches('.');
            (short[path].clone(), bytes)
        })
        .collect();
    assert!(found == expected, "primary");
}
