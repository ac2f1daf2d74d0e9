//! Hard links, and attributes.

use super::case::Case;
use super::case::Verdict::{Accepted, Refused, Warned};
use super::tar::{Tar, UID};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = links();
    cases.extend(attributes());
    cases
}

/// `count` hard links, each to the next, the last to a file.
fn chain(count: usize) -> Tar {
    let links = (0..count).fold(Tar::new(), |tar, n| {
        tar.link(&format!("usr/{n:02}"), &format!("usr/{:02}", n + 1))
    });
    links.file(&format!("usr/{count:02}"), "x")
}

fn links() -> Vec<Case> {
    let tar = Tar::new;
    let circle = || Refused("through too many others, or in a circle");
    let absent = || Refused("which the layer does not have");
    vec![
        Case::layer(
            "hard link before its file",
            Accepted(&["+usr/a 0:0 644 \"x\"", "+usr/b 0:0 644 \"x\""]),
            tar().link("usr/a", "usr/b").file("usr/b", "x"),
        ),
        Case::layer(
            "hard link to itself",
            circle(),
            tar().link("usr/a", "usr/a"),
        ),
        Case::layer(
            "two hard links in a circle",
            circle(),
            tar().link("usr/a", "usr/b").link("usr/b", "usr/a"),
        ),
        Case::layer(
            "three hard links in a circle",
            circle(),
            tar()
                .link("usr/a", "usr/b")
                .link("usr/b", "usr/c")
                .link("usr/c", "usr/a"),
        ),
        Case::layer(
            "hard link of a file to itself",
            circle(),
            tar().file("usr/a", "x").link("usr/a", "usr/a"),
        ),
        Case::layer(
            "two hard links to a link",
            Accepted(&[
                "+usr/00 0:0 644 \"x\"",
                "+usr/01 0:0 644 \"x\"",
                "+usr/02 0:0 644 \"x\"",
            ]),
            chain(2),
        ),
        Case::layer("40 hard links in a chain", circle(), chain(40)),
        Case::layer(
            "hard link to nothing",
            absent(),
            tar().link("usr/a", "usr/none"),
        ),
        Case::layer(
            "hard link to the layer below",
            absent(),
            tar().link("usr/a", "usr/bin/tool"),
        ),
        Case::layer(
            "hard link to /etc/shadow",
            absent(),
            tar().link("usr/a", "/etc/shadow"),
        ),
        Case::layer(
            "hard link to another layer's file",
            absent(),
            tar().link("usr/a", "usr/lib/modules/6.1.0/vmlinuz"),
        ),
        Case::layer(
            "hard link to a directory",
            Refused("is a hard link to the directory"),
            tar().dir("usr/d/").link("usr/a", "usr/d"),
        ),
        Case::layer(
            "hard link to the root",
            Refused("is a hard link to the directory"),
            tar().link("usr/a", "/"),
        ),
        Case::layer(
            "hard link without a target",
            Refused("is a hard link to the directory"),
            tar().link("usr/a", ""),
        ),
        Case::layer(
            "hard link to a symlink",
            Accepted(&[
                "+usr/a 0:0 777 -> /etc/shadow",
                "+usr/s 0:0 777 -> /etc/shadow",
            ]),
            tar().symlink("usr/s", "/etc/shadow").link("usr/a", "usr/s"),
        ),
        Case::layer(
            "hard link to where nothing is kept",
            Refused("which ostree does not keep"),
            tar().file("run/x", "").link("usr/a", "run/x"),
        ),
        Case::layer(
            "hard link where nothing is kept",
            Warned("where ostree keeps none: x (1)", &["+usr/a 0:0 644 \"\""]),
            tar().file("usr/a", "").link("run/x", "usr/a"),
        ),
        Case::layer(
            "hard link over a directory",
            Refused("both a directory and something else"),
            tar().dir("usr/d/").file("usr/x", "").link("usr/d", "usr/x"),
        ),
        Case::layer(
            "hard link of another owner",
            Accepted(&["+usr/a 0:0 644 \"\"", "+usr/x 0:0 644 \"\""]),
            tar()
                .file("usr/x", "")
                .pax(&[("uid", b"1000")])
                .link("usr/a", "usr/x"),
        ),
        Case::layer(
            "hard link to a whiteout's victim",
            absent(),
            tar()
                .file("usr/bin/.wh.tool", "")
                .link("usr/a", "usr/bin/tool"),
        ),
        Case::layer(
            "hard link in Latin-1",
            Refused("is not UTF-8"),
            tar()
                .pax(&[("linkpath", b"usr/\xe9")])
                .link("usr/a", "usr/x"),
        ),
        Case::layer(
            "hard link to an owner of -1",
            Refused("is -1 to chown(2)"),
            tar().with(b'1', "usr/a", UID, b"\x80\0\0\0\xff\xff\xff\xff"),
        ),
    ]
}

fn attributes() -> Vec<Case> {
    let tar = Tar::new;
    let with = |key: &str, value: &[u8]| tar().pax(&[(key, value)]).file("usr/x", "");
    let xattr = |name: &str, value: &[u8]| with(&format!("SCHILY.xattr.{name}"), value);
    let no_such = || Refused("Linux has no attribute");
    let name = |len: usize| format!("user.{}", "n".repeat(len - 5));
    let many = |count: usize, len: usize| {
        let value = vec![b'v'; len];
        let keys: Vec<String> = (0..count)
            .map(|n| format!("SCHILY.xattr.user.{n:04}"))
            .collect();
        let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (&key[..], &value[..])).collect();
        tar().pax(&records).file("usr/x", "")
    };
    let mut cases = vec![
        Case::layer(
            "attribute of 255 bytes",
            Accepted(&["+usr/x 0:0 644 \"\" user.nnnnnnnnnnnnnnn…255=v"]),
            xattr(&name(255), b"v"),
        ),
        Case::layer(
            "attribute of 256 bytes",
            Refused("has 256 bytes, and Linux takes 255"),
            xattr(&name(256), b"v"),
        ),
        Case::layer(
            "attribute of 60000 bytes",
            Refused("has 60000 bytes, and Linux takes 255"),
            xattr(&name(60_000), b"v"),
        ),
        Case::layer(
            "value of 65536 bytes",
            Accepted(&["+usr/x 0:0 644 \"\" user.a=65536 bytes"]),
            xattr("user.a", &[b'v'; 65_536]),
        ),
        Case::layer(
            "value of 65537 bytes",
            Refused("has 65537 bytes, and Linux takes 65536"),
            xattr("user.a", &[b'v'; 65_537]),
        ),
        Case::layer(
            "1 MiB in one value",
            Refused("where at most 1048576 are taken"),
            xattr("user.a", &vec![b'v'; 1 << 20]),
        ),
        Case::layer(
            "1 MiB in many values",
            Refused("where at most 1048576 are taken"),
            many(17, 64_000),
        ),
        Case::layer(
            "value of any bytes",
            Accepted(&["+usr/x 0:0 644 \"\" user.a=\\x00\\n=\\xff"]),
            xattr("user.a", b"\0\n=\xff"),
        ),
        Case::layer(
            "value of nothing",
            Accepted(&["+usr/x 0:0 644 \"\""]),
            xattr("user.a", b""),
        ),
        Case::layer(
            "SELinux label with NUL",
            Accepted(&["+usr/x 0:0 644 \"\" security.selinux=a\\x00b"]),
            xattr("security.selinux", b"a\0b"),
        ),
        Case::layer(
            "SELinux label of Red Hat's form",
            Accepted(&["+usr/x 0:0 644 \"\" security.selinux=label"]),
            with("RHT.security.selinux", b"label"),
        ),
        Case::layer(
            "SELinux label of 64 KiB and one",
            Refused("Linux takes 65536"),
            with("RHT.security.selinux", &[b'l'; 65_537]),
        ),
        Case::layer(
            "capability of nonsense",
            Accepted(&["+usr/x 0:0 644 \"\" security.capability=cap"]),
            xattr("security.capability", b"cap"),
        ),
        Case::layer(
            "attribute of overlayfs",
            Accepted(&["+usr/x 0:0 644 \"\" trusted.overlay.opaque=y"]),
            xattr("trusted.overlay.opaque", b"y"),
        ),
        Case::layer(
            "attributes in libarchive's form alone",
            Refused("libarchive's own form"),
            with("LIBARCHIVE.xattr.user.a", b"dg=="),
        ),
        Case::layer(
            "user attribute of a symlink",
            Refused("has user attributes"),
            tar()
                .pax(&[("SCHILY.xattr.user.a", b"v")])
                .symlink("usr/x", "y"),
        ),
        Case::layer(
            "directory with other attributes",
            Warned("changes owner, mode or attributes", &[]),
            tar().pax(&[("SCHILY.xattr.user.a", b"v")]).dir("usr/bin/"),
        ),
    ];
    for (label, name) in [
        ("without a namespace", "evil"),
        ("of no name", ""),
        ("of a namespace alone", "user."),
        ("of another namespace", "os2.a"),
        ("with NUL", "user.a\0b"),
    ] {
        cases.push(Case::layer(
            &format!("attribute {label}"),
            no_such(),
            xattr(name, b"v"),
        ));
    }
    cases
}
