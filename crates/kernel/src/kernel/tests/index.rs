//! Initramfs as small file systems.

use super::{MODULES, archive, system};
use crate::kernel::depmod::INDEX_MAGIC;
use crate::kernel::{Files, Initramfs};
use bake_format::cpio::{Entry, Writer, header};

fn read(index: &Initramfs, path: &str) -> Option<String> {
    let bytes = index.read(path).unwrap();
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn names_are_found_through_links() {
    let index = Initramfs::read(&archive(&system())[..]).unwrap();
    for path in [
        MODULES,
        "lib/modules/6.1.0-test",
        "/lib/../lib/modules/./6.1.0-test/",
    ] {
        assert!(index.exists(path).unwrap(), "{path}");
        assert_eq!(
            index.list(path).unwrap(),
            [
                "kernel",
                "modules.builtin",
                "modules.dep",
                "modules.dep.bin"
            ]
        );
    }
    let module = index.read("lib/modules/6.1.0-test/kernel/bus.ko").unwrap();
    assert_eq!(
        module.as_ref(),
        system().get(&format!("{MODULES}/kernel/bus.ko"))
    );
    assert!(
        index
            .list("lib/modules/6.1.0-test/modules.dep")
            .unwrap()
            .is_empty()
    );
    assert_eq!(read(&index, "lib/modules"), None);
    assert_eq!(index.read("nothing").unwrap(), None);
    let binary = index.read(&format!("{MODULES}/modules.dep.bin")).unwrap();
    assert_eq!(binary.as_deref(), Some(&INDEX_MAGIC[..]));
}

#[test]
fn later_segments_change_what_is_there() {
    let mut first = Writer::new(Vec::new());
    for path in [
        "etc",
        "etc/modprobe.d",
        "usr",
        "usr/lib",
        "usr/lib/modules-load.d",
    ] {
        first.directory(path, 0o755).unwrap();
    }
    first.symlink("lib", "usr/lib").unwrap();
    first.file("etc/modprobe.d/a.conf", 0o644, b"old").unwrap();
    first
        .file("usr/lib/modules-load.d/b.conf", 0o644, b"old")
        .unwrap();
    first.file("etc/other", 0o644, b"text").unwrap();
    let mut second = Writer::new(Vec::new());
    second
        .file("/etc/modprobe.d/a.conf", 0o644, b"new")
        .unwrap();
    // Through the link, into the directory that is there already.
    second
        .file("./lib/modules-load.d/b.conf", 0o644, b"new")
        .unwrap();
    second.directory("lib/modules-load.d", 0o755).unwrap();
    second
        .file("no/such/directory/modules.dep", 0o644, b"lost")
        .unwrap();
    second
        .file("etc/other/below-a-file", 0o644, b"lost")
        .unwrap();
    second
        .file("etc/modprobe.d", 0o644, b"a file over a directory in use")
        .unwrap();
    second.file("..", 0o644, b"lost").unwrap();
    let both = [
        first.finish().unwrap(),
        vec![0; 512],
        second.finish().unwrap(),
    ]
    .concat();

    let index = Initramfs::read(&both[..]).unwrap();
    assert_eq!(index.segments().len(), 2);
    assert_eq!(read(&index, "etc/modprobe.d/a.conf").unwrap(), "new");
    assert_eq!(
        read(&index, "usr/lib/modules-load.d/b.conf").unwrap(),
        "new"
    );
    assert_eq!(
        index.lost(),
        [
            "no/such/directory/modules.dep",
            "etc/other/below-a-file",
            "etc/modprobe.d",
            ".."
        ]
    );
    let entries: Vec<_> = index
        .entries()
        .filter(|(path, _)| path.starts_with("etc"))
        .collect();
    assert_eq!(
        entries,
        [
            ("etc", None),
            ("etc/modprobe.d", None),
            ("etc/modprobe.d/a.conf", Some(3)),
            ("etc/other", Some(4)),
        ]
    );
}

/// A member with these numbers of inode and links.
fn member(ino: &str, nlink: &str, name: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = header(0, &Entry::file(name, 0o644), data.len() as u64).unwrap();
    bytes[6..14].copy_from_slice(ino.as_bytes());
    bytes[0x26..0x2e].copy_from_slice(nlink.as_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn hard_links_share_their_content_wherever_it_comes() {
    let (two, seven) = ("00000002", "00000007");
    for with_data in 0..3 {
        let mut bytes = header(1, &Entry::directory("modprobe.d", 0o755), 0).unwrap();
        for name in 0..3 {
            let data: &[u8] = if name == with_data { b"text" } else { b"" };
            bytes.extend(member(seven, two, &format!("modprobe.d/{name}"), data));
        }
        bytes.extend(Writer::new(Vec::new()).finish().unwrap());
        let index = Initramfs::read(&bytes[..]).unwrap();
        for name in 0..3 {
            let path = format!("modprobe.d/{name}");
            assert_eq!(
                read(&index, &path).unwrap(),
                "text",
                "{path} of {with_data}"
            );
        }
    }
}
