//! Agreement with depmod, modprobe and modinfo.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{MODULES, RELEASE, module};
use crate::kernel::{Dependencies, Files, Finding, ModuleInfo, look_up};
use bake_referee::have;

/// Administrators' tools, which ordinary users do not have on their path.
pub(super) fn command(tool: &str) -> Command {
    let mut command = Command::new(tool);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn have_kmod() -> bool {
    have("depmod") && have("modprobe") && have("modinfo")
}

/// A directory of the machine as the file system of a boot.
pub(super) struct Directory(pub(super) PathBuf);

impl Files for Directory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(fs::read(self.0.join(path)).ok())
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.0.join(path).exists())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(self.0.join(directory)) else {
            return Ok(Vec::new());
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }
}

fn run(tool: &str, arguments: &[&str], paths: &[&Path]) -> String {
    let output = command(tool).args(arguments).args(paths).output().unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Files that modprobe would load for a module, in order, relative to the directory of modules;
/// `built in` for what the kernel has.
fn loaded(root: &Path, release: &str, name: &str) -> Vec<String> {
    let root = root.to_str().unwrap();
    let arguments = [
        "-C",
        "/dev/null",
        "-d",
        root,
        "-S",
        release,
        "--show-depends",
        name,
    ];
    run("modprobe", &arguments, &[])
        .lines()
        .map(|line| match line.strip_prefix("builtin ") {
            Some(_) => "built in".to_owned(),
            None => {
                let (_, path) = line.split_once(&format!("/{release}/")).unwrap();
                path.trim_end().to_owned()
            }
        })
        .collect()
}

/// What we say would be loaded.
fn found(files: &Directory, release: &str, name: &str) -> Vec<String> {
    let Finding::Present(present) = look_up(files, release, name).unwrap() else {
        panic!("{name} is missing");
    };
    present
        .dependencies
        .iter()
        .chain([&present.module])
        .map(|module| match &module.path {
            Some(path) => path
                .split_once(&format!("/{release}/"))
                .unwrap()
                .1
                .to_owned(),
            None => "built in".to_owned(),
        })
        .collect()
}

#[test]
fn configuration_is_read_as_modprobe_reads_it() {
    if !have_kmod() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join(MODULES);
    fs::create_dir_all(directory.join("extra")).unwrap();
    symlink("usr/lib", root.path().join("lib")).unwrap();
    let low = module(&["license=GPL", "depends="]).exports(&["low_call"]);
    let top = module(&["depends=low-er", "alias=x:y-[a-c]*"]).needs(&["low_call"]);
    fs::write(directory.join("extra/low-er.ko"), low.bytes()).unwrap();
    fs::write(directory.join("extra/to-p.ko"), top.bytes()).unwrap();
    let at = root.path().to_str().unwrap();
    run("depmod", &["-b", at, RELEASE], &[]);
    let configuration = root.path().join("etc/modprobe.d");
    fs::create_dir_all(&configuration).unwrap();
    let files = Directory(root.path().to_owned());
    // Text of a file, and whether the driver is loaded for its hardware.
    let cases = [
        ("", true),
        ("blacklist to-p\n", false),
        ("  blacklist\t to_p  # x\n", false),
        ("#blacklist to-p\n", true),
        ("# x \\\nblacklist to-p\n", true),
        ("blacklist \\\nto_p", false),
        ("blacklist low-er\n", true),
        ("blacklist x:y-b\n", true),
        ("install to_p /bin/true\n", false),
        ("install to_p\n", true),
        ("alias x:y* low-er\n", false),
        ("alias x:z* off\nalias to-p off\n", true),
        ("alias x:y-[ab] to-p\n", true),
        ("alias x:y* low-er\nalias x:* to-p\n", true),
    ];
    for (text, expected) in cases {
        fs::write(configuration.join("a.conf"), text).unwrap();
        let arguments = [
            "-C",
            configuration.to_str().unwrap(),
            "-d",
            at,
            "-S",
            RELEASE,
        ];
        // As udev asks, and as the kernel does for file systems.
        let mut loaded = expected;
        for asked in [&["-b", "x:y-b"][..], &["--", "x:y-b"]] {
            let mut modprobe = command("modprobe");
            modprobe.args(arguments).args(["-n", "-v"]).args(asked);
            let output = modprobe.output().unwrap();
            loaded = String::from_utf8_lossy(&output.stdout).contains("to-p.ko");
            assert_eq!(loaded, expected, "{text:?} {asked:?}: {output:?}");
        }
        let ours = match look_up(&files, RELEASE, "to-p").unwrap() {
            Finding::Present(present) => !present.loaded_by.is_empty(),
            Finding::Missing(_) => false,
        };
        assert_eq!(ours, loaded, "{text:?}");
    }
}

#[test]
fn modules_made_by_hand() {
    if !have_kmod() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join(MODULES);
    fs::create_dir_all(directory.join("kernel/deep")).unwrap();
    fs::create_dir_all(directory.join("extra")).unwrap();
    symlink("usr/lib", root.path().join("lib")).unwrap();
    let modules = [
        (
            "kernel/deep/base-a.ko",
            module(&["license=GPL", "depends="]).exports(&["base_call", "base_more"]),
        ),
        (
            "kernel/mid.ko",
            module(&["depends=base_a"])
                .exports(&["mid_call"])
                .needs(&["base_call"]),
        ),
        (
            "kernel/other-b.ko",
            module(&["depends="]).exports(&["other_call"]),
        ),
        (
            "extra/top.ko",
            module(&[
                "depends=mid,other-b",
                "firmware=a.bin",
                "firmware=b.bin",
                "alias=x:y*",
            ])
            .needs(&["mid_call", "other_call", "base_more"]),
        ),
    ];
    for (path, module) in &modules {
        fs::write(directory.join(path), module.bytes()).unwrap();
    }
    fs::write(directory.join("modules.builtin"), "kernel/core/core-x.ko\n").unwrap();
    fs::write(directory.join("modules.order"), "").unwrap();
    run(
        "depmod",
        &["-b", root.path().to_str().unwrap(), RELEASE],
        &[],
    );

    let files = Directory(root.path().to_owned());
    for name in [
        "top", "mid", "other-b", "other_b", "base-a", "core-x", "core_x",
    ] {
        assert_eq!(
            found(&files, RELEASE, name),
            loaded(root.path(), RELEASE, name),
            "{name}"
        );
    }
    assert_eq!(found(&files, RELEASE, "top").len(), 4);
    for (path, _) in &modules {
        let path = directory.join(path);
        let info = ModuleInfo::read(&fs::read(&path).unwrap()).unwrap();
        for key in ["vermagic", "depends", "firmware", "alias", "license"] {
            let ours: Vec<&str> = info.all(key).collect();
            let theirs = run("modinfo", &["-F", key], &[&path]);
            assert_eq!(
                ours,
                theirs.lines().collect::<Vec<_>>(),
                "{key} of {}",
                path.display()
            );
        }
    }
}

/// Modules of a kernel that is installed here are compared one in so many.
const STEP: usize = 37;

#[test]
fn modules_of_an_installed_kernel() {
    let root = PathBuf::from(std::env::var_os("KERNEL_ROOT").unwrap_or_else(|| "/".into()));
    let files = Directory(root.clone());
    let releases = files.list("usr/lib/modules").unwrap();
    let index = |release: &String| format!("usr/lib/modules/{release}/modules.dep");
    let Some(release) = releases
        .iter()
        .find(|release| files.exists(&index(release)).unwrap())
    else {
        println!(
            "skipped: no kernel is installed in {} (set KERNEL_ROOT)",
            root.display()
        );
        return;
    };
    if !have_kmod() {
        return;
    }
    let text = files.read(&index(release)).unwrap().unwrap();
    let modules = Dependencies::parse(&String::from_utf8(text).unwrap());
    for name in modules.names().step_by(STEP) {
        // modprobe also loads soft dependencies and what they depend on.
        let theirs = loaded(&root, release, name);
        let mut rest = theirs.iter();
        for path in found(&files, release, name) {
            assert!(
                rest.any(|other| *other == path),
                "{path} of {name}: {theirs:?}"
            );
        }
        let path = root.join(format!(
            "usr/lib/modules/{release}/{}",
            modules.path(name).unwrap()
        ));
        let info = ModuleInfo::read(&fs::read(&path).unwrap()).unwrap();
        for key in ["name", "vermagic", "depends", "firmware", "softdep"] {
            let ours: Vec<&str> = info.all(key).collect();
            let theirs = run("modinfo", &["-F", key], &[&path]);
            assert_eq!(ours, theirs.lines().collect::<Vec<_>>(), "{key} of {name}");
        }
    }
}
