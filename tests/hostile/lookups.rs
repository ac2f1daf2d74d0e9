//! Files that are looked at in the image, and lead out of it or are not what they ought to be.

use super::case::Case;
use super::case::Verdict::{self, Accepted, Refused};
use super::image::Image;
use super::tar::Tar;

const MODULES: &str = "usr/lib/modules/6.1.0";

/// The base with one file replaced by a symlink.
fn link(name: &str, verdict: Verdict, path: &str, target: &str) -> Case {
    Case::layer(name, verdict, Tar::new().symlink(path, target))
}

/// The base with one more file, or other content of one.
fn file(name: &str, verdict: Verdict, path: &str, bytes: &[u8]) -> Case {
    Case::layer(name, verdict, Tar::new().entry(b'0', path, "", bytes))
}

pub(crate) fn cases() -> Vec<Case> {
    let initramfs = format!("{MODULES}/initramfs.img");
    let vmlinuz = format!("{MODULES}/vmlinuz");
    let mut cases = vec![
        link(
            "os-release that is another file",
            Refused("has no usr/lib/os-release"),
            "usr/lib/os-release",
            "../../../../sentinel",
        ),
        link(
            "os-release of the host",
            Refused("has no usr/lib/os-release"),
            "usr/lib/os-release",
            "/etc/os-release",
        ),
        link(
            "initramfs of the host",
            Refused("has no initramfs"),
            &initramfs,
            "/etc/passwd",
        ),
        link(
            "initramfs that is /dev/zero",
            Refused("has no initramfs"),
            &initramfs,
            "/dev/zero",
        ),
        link(
            "kernel that is another file",
            Refused("the image has no kernel"),
            &vmlinuz,
            "../../../../../sentinel",
        ),
        link(
            "kernels of the host",
            Refused("the image has no kernel"),
            "usr/lib/modules",
            "/lib/modules",
        ),
        link(
            "kernel in a circle",
            Refused("the image has no kernel"),
            &vmlinuz,
            "vmlinuz",
        ),
        link(
            "EFI files of the host",
            Accepted(&[
                "+usr/lib/bootupd 0:0 755 directory",
                "+usr/lib/bootupd/updates 0:0 755 directory",
                "+usr/lib/bootupd/updates/EFI 0:0 777 -> /etc",
            ]),
            "usr/lib/bootupd/updates/EFI",
            "/etc",
        ),
        link(
            "EFI file of the host",
            Refused("is neither file nor directory"),
            "usr/lib/bootupd/updates/EFI/BOOT/x.efi",
            "/etc/passwd",
        ),
        link(
            "image.json of the host",
            Accepted(&[
                "+usr/share 0:0 755 directory",
                "+usr/share/coreos-assembler 0:0 755 directory",
                "+usr/share/coreos-assembler/image.json 0:0 777 -> /etc/passwd",
            ]),
            "usr/share/coreos-assembler/image.json",
            "/etc/passwd",
        ),
        link(
            "SELinux configuration of the host",
            Accepted(&[
                "+usr/etc/selinux 0:0 755 directory",
                "+usr/etc/selinux/config 0:0 777 -> /etc/passwd",
            ]),
            "etc/selinux/config",
            "/etc/passwd",
        ),
        file("empty kernel", Refused("vmlinuz is empty"), &vmlinuz, b""),
        file(
            "empty initramfs",
            Refused("initramfs.img is empty"),
            &initramfs,
            b"",
        ),
        file(
            "os-release of nothing",
            Refused("has no ID"),
            "usr/lib/os-release",
            b"",
        ),
        file(
            "os-release of any bytes",
            Refused("has no ID"),
            "usr/lib/os-release",
            &[0xff; 900],
        ),
        file(
            "os-release of 2 MiB",
            Refused("where at most 1048576 are taken"),
            "usr/lib/os-release",
            &vec![b'\n'; 2 << 20],
        ),
        file(
            "os-release with a name that leads upwards",
            Refused("can't be part of a file name"),
            "usr/lib/os-release",
            b"ID=../../x\nVERSION_ID=1\n",
        ),
        file(
            "os-release with a version that leads upwards",
            Refused("can't be part of a file name"),
            "usr/lib/os-release",
            b"ID=x\nVERSION_ID=../../x\n",
        ),
        file(
            "os-release with a version of 200 characters",
            Refused("can't be part of a file name"),
            "usr/lib/os-release",
            format!("ID=x\nVERSION_ID={}\n", "1".repeat(200)).as_bytes(),
        ),
        file(
            "os-release without a version",
            Refused("names no version"),
            "usr/lib/os-release",
            b"ID=x\n",
        ),
        file(
            "image.json of nonsense",
            Refused("parsing usr/share/coreos-assembler/image.json"),
            "usr/share/coreos-assembler/image.json",
            b"[[[[",
        ),
        file(
            "image.json of 2 MiB",
            Refused("has more than 1048576 bytes"),
            "usr/share/coreos-assembler/image.json",
            &vec![b' '; 2 << 20],
        ),
        file(
            "prepare-root.conf that is not UTF-8",
            Accepted(&[
                "+usr/lib/ostree 0:0 755 directory",
                "+usr/lib/ostree/prepare-root.conf 0:0 644 \"\\xff\"",
            ]),
            "usr/lib/ostree/prepare-root.conf",
            b"\xff",
        ),
        file(
            "SELinux type that leads upwards",
            Refused("is not the name of a directory"),
            "etc/selinux/config",
            b"SELINUX=enforcing\nSELINUXTYPE=../../..\n",
        ),
        file(
            "SELinux type of nothing",
            Refused("SELINUXTYPE"),
            "etc/selinux/config",
            b"SELINUX=enforcing\n",
        ),
        file(
            "SELinux configuration of any bytes",
            Refused("selinux/config"),
            "etc/selinux/config",
            b"\xff\xfe",
        ),
        Case::layer(
            "second kernel",
            Refused("the image has 2 kernels"),
            Tar::new().file("usr/lib/modules/6.2.0/vmlinuz", "k"),
        ),
    ];
    let contexts = |suffix: &str, text: &str| {
        let path = format!("etc/selinux/t/contexts/files/file_contexts{suffix}");
        Tar::new()
            .file("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=t\n")
            .file(
                "etc/selinux/t/contexts/files/file_contexts",
                "/.* a:b:c:s0\n",
            )
            .file(&path, text)
    };
    let large: String = (0..140)
        .map(|n| format!("/[^a]{{5000}}{n} a:b:c:s0\n"))
        .collect();
    cases.extend([
        Case::layer(
            "5000 aliases of paths",
            Refused("at most 4096 are taken"),
            contexts(".subs", &"/x /y\n".repeat(5000)),
        ),
        Case::layer(
            "70000 specs",
            Refused("more than 65536 specs"),
            contexts(".local", &"/x a:b:c:s0\n".repeat(70_000)),
        ),
        Case::layer(
            "140 expressions of 1 MiB",
            Refused("expressions take more than 512 MiB"),
            contexts(".local", &large),
        ),
        Case::layer(
            "spec of 1 MB",
            Refused("has no context"),
            contexts(".local", &"x".repeat(1_000_000)),
        ),
        Case::layer(
            "file type of 1 MB",
            Refused("is no file type"),
            contexts(".local", &format!("/x {} a:b:c:s0", "x".repeat(1_000_000))),
        ),
    ]);
    for (name, words, contexts) in [
        (
            "that is no pattern",
            "file_contexts line 2",
            "/.* a:b:c:s0\n/usr/.*(((( a:b:c:s0\n",
        ),
        ("of nothing", "gives no label to /", ""),
        ("that is not UTF-8", "file_contexts", "/.* a:b:c:s0\n\0"),
        (
            "with one word in a line",
            "file_contexts line 2",
            "/.* a:b:c:s0\n/x\n",
        ),
    ] {
        let tar = Tar::new()
            .file("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=t\n")
            .file("etc/selinux/t/contexts/files/file_contexts", contexts);
        cases.push(Case::image(
            &format!("file_contexts {name}"),
            Refused(words),
            Image::tiny().layer(tar.end()),
        ));
    }
    cases
}
