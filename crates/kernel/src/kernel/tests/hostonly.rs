//! Initramfs that were made for one machine.

use std::fs;
use std::process::Command;

use super::{Contents, archive};
use crate::kernel::{Initramfs, host_only};
use bake_referee::have;

/// Files by their names in dracut's directory.
type Traces<'a> = &'a [(&'a str, &'a str)];

fn evidence(files: Traces<'_>) -> Option<String> {
    let mut contents = Contents::new();
    for (name, text) in files {
        contents.insert(format!("usr/lib/dracut/{name}"), text.as_bytes().to_vec());
    }
    host_only(&Initramfs::read(&archive(&contents)[..]).unwrap()).unwrap()
}

#[test]
fn dracut_leaves_traces() {
    let option = "the initramfs is for one machine: dracut was called with --hostonly, \
                  as usr/lib/dracut/build-parameter.txt says";
    let strict = "the initramfs is for one machine: \
                  there is usr/lib/dracut/hostonly-kernel-modules.txt";
    let file = "the initramfs is for one machine: \
                usr/lib/dracut/hostonly-files names /etc/crypttab as from there";
    let parameters = "build-parameter.txt";
    let modules = "hostonly-kernel-modules.txt";
    let files = "hostonly-files";
    let cases: &[(Traces<'_>, Option<&str>)] = &[
        (&[], None),
        (&[(parameters, " --force --add 'x'\n")], None),
        (&[(parameters, " --force --no-hostonly\n")], None),
        (&[(parameters, " -N --hostonly\n")], Some(option)),
        (
            &[(parameters, " --hostonly -N\n"), (files, "/etc/x\n")],
            None,
        ),
        (&[(parameters, "\n"), (modules, "")], Some(strict)),
        (&[(files, "\n")], None),
        (&[(files, "/etc/crypttab\n/etc/mdadm.conf\n")], Some(file)),
    ];
    for (files, expected) in cases {
        assert_eq!(evidence(files).as_deref(), *expected, "{files:?}");
    }
}

#[test]
fn dracuts_own_images_are_told_apart() {
    if !have("dracut") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (option, expected) in [("--hostonly", true), ("--no-hostonly", false)] {
        let image = directory.path().join(option);
        let arguments = [
            "--no-kernel",
            "--no-compress",
            "--modules",
            "base",
            "--force-drivers",
            "a-driver",
            option,
        ];
        let output = Command::new("dracut")
            .args(arguments)
            .arg("--tmpdir")
            .arg(directory.path())
            .arg(&image)
            .arg("6.1")
            .output()
            .unwrap();
        assert!(image.exists(), "{output:?}");
        let initramfs = Initramfs::read(&fs::read(&image).unwrap()[..]).unwrap();
        assert_eq!(
            host_only(&initramfs).unwrap().is_some(),
            expected,
            "{option}"
        );
    }
}
