//! ISOs in which exactly one thing is missing or wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tempfile::NamedTempFile;

use super::{Consumer, Objection, Verdict, judge};
use crate::format::{cpio, iso9660, squashfs};
use crate::tree::{Content, Meta, Node, Tree};

const KARGS: &str = "rw coreos.liveiso=rhcos-1 ignition.firstboot";

/// How many `#` an area has before its mark.
const PADS: usize = 1024;

type Files = BTreeMap<String, Content>;

fn text(text: impl Into<String>) -> Content {
    Content::bytes(text.into().into_bytes())
}

fn area() -> String {
    format!("{} COREOS_KARG_EMBED_AREA", "#".repeat(PADS))
}

/// A kernel for PCs that is large enough, by its magic.
fn kernel() -> Content {
    let mut bytes = vec![0; 5 << 20];
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    Content::bytes(bytes)
}

/// A rootfs.img that is large enough, with `program` in its file system.
fn rootfs(program: &str) -> Content {
    let mut tree = Tree::new(Meta::root(0o755));
    let meta = Meta::root(0o755);
    let link = tree.make_directories("ostree/boot.1/rhcos/abc", &meta);
    let target = Node::Symlink(b"../../../deploy/rhcos/deploy/commit.0".as_slice().into());
    tree.create(link, "0", meta.clone(), target);
    let bin = tree.make_directories("ostree/deploy/rhcos/deploy/commit.0/usr/bin", &meta);
    tree.create(bin, program, meta, Node::File(text("program")));
    let options = squashfs::Options {
        compressor: squashfs::Compressor::Gzip { level: 1 },
        block_size: 128 << 10,
        threads: NonZeroUsize::MIN,
        time: 0,
        cache: None,
    };
    let file = tempfile::tempfile().unwrap();
    let written = squashfs::write(&tree, &options, &file, 124, &|_| ()).unwrap();
    let head = cpio::header(1, &cpio::Entry::file("root.squashfs", 0o644), written.bytes);
    file.write_all_at(&head.unwrap(), 0).unwrap();
    file.set_len(100 << 20).unwrap();
    Content::range(Arc::new(file), 0, 100 << 20)
}

/// A rootfs.img of which only the first header is there.
fn headed(name: &str) -> Content {
    let head = cpio::header(1, &cpio::Entry::file(name, 0o644), 1000).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&head, 0).unwrap();
    file.set_len(100 << 20).unwrap();
    Content::range(Arc::new(file), 0, 100 << 20)
}

/// What an ISO for PCs has that every program takes.
fn files() -> Files {
    static ROOTFS: OnceLock<Content> = OnceLock::new();
    let rootfs = ROOTFS.get_or_init(|| rootfs("nmstatectl"));
    let head = "menuentry x {\n\tlinux /images/pxeboot/vmlinuz ";
    let tail = "\n\tinitrd /images/pxeboot/initrd.img /images/ignition.img\n}\n";
    let grub = format!("{head}{KARGS}\n{}{tail}", area());
    let isolinux_head = "label linux\n  append initrd=/images/pxeboot/initrd.img ";
    let isolinux = format!("{isolinux_head}{KARGS}\n{}\n", area());
    let kargs = serde_json::json!({
        "default": KARGS,
        "files": [
            { "path": "EFI/redhat/grub.cfg", "offset": head.len(), "pad": "#", "end": "\n" },
            { "path": "isolinux/isolinux.cfg", "offset": isolinux_head.len() },
        ],
        "size": KARGS.len() + PADS,
    });
    Files::from(
        [
            ("EFI/redhat/grub.cfg", text(grub)),
            (
                "coreos/igninfo.json",
                text(r#"{"file": "images/ignition.img"}"#),
            ),
            ("coreos/kargs.json", text(kargs.to_string())),
            ("images/efiboot.img", Content::bytes(vec![1; 5000])),
            ("images/ignition.img", Content::bytes(vec![0; 256 << 10])),
            ("images/pxeboot/initrd.img", text("initrd")),
            ("images/pxeboot/rootfs.img", rootfs.clone()),
            ("images/pxeboot/vmlinuz", kernel()),
            ("isolinux/isolinux.bin", Content::bytes(vec![2; 5000])),
            ("isolinux/isolinux.cfg", text(isolinux)),
        ]
        .map(|(path, content)| (path.to_owned(), content)),
    )
}

fn volume(files: Files) -> iso9660::Volume {
    let bios = iso9660::BootEntry::bios("isolinux/isolinux.bin");
    let uefi = iso9660::BootEntry::uefi("images/efiboot.img");
    let boot = [bios, uefi];
    iso9660::Volume {
        id: "rhcos-1".to_owned(),
        set_id: String::new(),
        time: 0,
        boot: boot
            .into_iter()
            .filter(|entry| files.contains_key(&entry.path))
            .collect(),
        catalog: Some("isolinux/boot.cat".to_owned()),
        files,
    }
}

fn written(volume: &iso9660::Volume) -> NamedTempFile {
    let out = NamedTempFile::new().unwrap();
    let layout = volume.layout().unwrap();
    layout.write(out.as_file(), &|_| ()).unwrap();
    out
}

fn ask(path: &Path, consumer: Consumer) -> Verdict {
    judge(path, &[consumer]).unwrap().remove(0)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Taken,
    /// Only where something else holds too.
    Conditional,
    Refused,
}
use Expected::{Conditional, Refused, Taken};

fn is(verdict: &Verdict) -> Expected {
    match (verdict.taken, verdict.objections.is_empty()) {
        (true, true) => Taken,
        (true, false) => Conditional,
        (false, _) => Refused,
    }
}

/// Asks every program about an ISO changed by `change`; `part` is in the reason or in what the
/// program says of each objection.
fn expect(
    name: &str,
    change: impl FnOnce(&mut iso9660::Volume),
    expected: [Expected; 3],
    part: &str,
) {
    let mut volume = volume(files());
    change(&mut volume);
    let iso = written(&volume);
    for ((_, consumer), expected) in Consumer::ALL.into_iter().zip(expected) {
        let verdict = ask(iso.path(), consumer);
        let said = |objection: &Objection| {
            let says = objection.says.clone().unwrap_or_default();
            format!("{}|{says}", objection.reason)
        };
        assert_eq!(is(&verdict), expected, "{name}: {verdict:#?}");
        for objection in &verdict.objections {
            assert!(said(objection).contains(part), "{name}: {objection:?}");
        }
    }
}

fn without(path: &'static str) -> impl FnOnce(&mut iso9660::Volume) {
    move |volume| {
        volume.files.remove(path).unwrap();
        volume.boot.retain(|entry| entry.path != path);
    }
}

fn with(path: &'static str, content: Content) -> impl FnOnce(&mut iso9660::Volume) {
    move |volume| {
        volume.files.insert(path.to_owned(), content);
    }
}

#[test]
fn a_whole_iso_is_taken_by_all() {
    expect("whole", |_| (), [Taken; 3], "");
    expect(
        "with a menu that all vendors share",
        |volume| {
            let menu = volume.files.remove("EFI/redhat/grub.cfg").unwrap();
            volume.files.insert("boot/grub/grub.cfg".to_owned(), menu);
            let kargs = volume.files["coreos/kargs.json"].to_vec(1 << 20).unwrap();
            let kargs = String::from_utf8(kargs).unwrap();
            let kargs = kargs.replace("EFI/redhat", "boot/grub");
            volume
                .files
                .insert("coreos/kargs.json".to_owned(), text(kargs));
        },
        [Taken; 3],
        "",
    );
    expect(
        "with an area further on in its file",
        with(
            "coreos/igninfo.json",
            text(r#"{"file": "/images/efiboot.img"}"#),
        ),
        [Taken, Refused, Refused],
        "content length (…) exceeds embed area size (5000)",
    );
}

#[test]
fn what_an_iso_is_made_anew_from() {
    expect(
        "nameless catalog",
        |volume| volume.catalog = None,
        [Refused, Refused, Taken],
        "missing boot.catalog file",
    );
    expect(
        "catalog in the root",
        |volume| volume.catalog = Some("boot.catalog".to_owned()),
        [Refused, Refused, Taken],
        "no isolinux/boot.cat, so what is made of it doesn't boot under BIOS",
    );
    expect(
        "BIOS image of another name",
        |volume| {
            let image = volume.files.remove("isolinux/isolinux.bin").unwrap();
            volume.files.insert("images/eltorito.img".to_owned(), image);
            volume.boot[0].path = "images/eltorito.img".to_owned();
        },
        [Refused, Refused, Taken],
        "missing boot.catalog file",
    );
    expect(
        "no image for UEFI",
        without("images/efiboot.img"),
        [Refused, Refused, Taken],
        "boots nowhere",
    );
    expect(
        "no BIOS at all",
        |volume| {
            without("isolinux/isolinux.bin")(volume);
            volume.catalog = Some("boot.catalog".to_owned());
        },
        [Refused; 3],
        "BIOS",
    );
}

#[test]
fn other_architectures_have_their_own_sets() {
    let aarch64 = |volume: &mut iso9660::Volume| {
        without("isolinux/isolinux.bin")(volume);
        with("images/pxeboot/vmlinuz", Content::bytes(vec![0; 5 << 20]))(volume);
        volume.catalog = Some("boot.catalog".to_owned());
    };
    expect("aarch64", aarch64, [Taken; 3], "");
    expect(
        "aarch64 with a nameless catalog",
        |volume| {
            aarch64(volume);
            volume.catalog = None;
        },
        [Refused, Refused, Taken],
        "missing boot.catalog file",
    );
    expect(
        "aarch64 without isolinux's menu",
        |volume| {
            aarch64(volume);
            without("isolinux/isolinux.cfg")(volume);
            let kargs = r#"{"files": [{"path": "EFI/redhat/grub.cfg"}]}"#;
            with("coreos/kargs.json", text(kargs))(volume);
        },
        [Conditional, Refused, Taken],
        "failed to fix isolinux config",
    );
    let power = |volume: &mut iso9660::Volume| {
        aarch64(volume);
        without("images/efiboot.img")(volume);
        without("isolinux/isolinux.cfg")(volume);
        let kargs = r#"{"files": [{"path": "EFI/redhat/grub.cfg"}]}"#;
        with("coreos/kargs.json", text(kargs))(volume);
    };
    expect("ppc64le", power, [Taken; 3], "");
    expect(
        "s390x with a nameless catalog",
        |volume| {
            power(volume);
            with("images/cdboot.img", Content::bytes(vec![1; 5000]))(volume);
            volume.boot = vec![iso9660::BootEntry {
                load_sectors: None,
                boot_info_table: false,
                ..iso9660::BootEntry::bios("images/cdboot.img")
            }];
            volume.catalog = None;
        },
        [Refused, Taken, Taken],
        "",
    );
}

#[test]
fn where_configs_and_arguments_go() {
    let refused = [Refused; 3];
    expect(
        "no area for Ignition",
        without("images/ignition.img"),
        refused,
        "failed to create overwrite reader for ignition",
    );
    expect(
        "an area behind the end",
        with(
            "coreos/igninfo.json",
            text(r#"{"file": "images/ignition.img", "offset": 262144, "length": 1}"#),
        ),
        refused,
        "points behind the end",
    );
    expect(
        "a description that is none",
        with("coreos/igninfo.json", text("{")),
        refused,
        "coreos/igninfo.json can't be read",
    );
    expect(
        "room for small configs only",
        with("images/ignition.img", Content::bytes(vec![0; 100_000])),
        [Taken, Refused, Refused],
        "content length (…) exceeds embed area size (100000)",
    );
    expect(
        "ISOs of old",
        without("coreos/igninfo.json"),
        [Taken; 3],
        "",
    );
    expect("ISOs of old", without("coreos/kargs.json"), [Taken; 3], "");

    let unmarked = |path: &'static str| {
        move |volume: &mut iso9660::Volume| {
            let menu = volume.files[path].to_vec(1 << 20).unwrap();
            let menu = String::from_utf8(menu).unwrap();
            with(path, text(menu.replace("KARG_EMBED", "KARG-EMBED")))(volume);
        }
    };
    for path in ["EFI/redhat/grub.cfg", "isolinux/isolinux.cfg"] {
        expect(
            path,
            unmarked(path),
            [Conditional, Conditional, Refused],
            "failed to find COREOS_KARG_EMBED_AREA",
        );
    }
    expect(
        "numbers that are not the mark's",
        |volume| {
            let menu = volume.files["EFI/redhat/grub.cfg"].to_vec(1 << 20).unwrap();
            let menu = [b"# one more line\n", &menu[..]].concat();
            with("EFI/redhat/grub.cfg", Content::bytes(menu))(volume);
        },
        [Conditional, Conditional, Refused],
        "and the mark in it at",
    );
    expect(
        "arguments in a file that isn't there",
        with(
            "coreos/kargs.json",
            text(r#"{"files": [{"path": "EFI/fedora/grub.cfg"}]}"#),
        ),
        [Conditional, Conditional, Refused],
        "for kernel arguments in file \"EFI/fedora/grub.cfg\"",
    );
}

#[test]
fn what_a_minimal_iso_is_made_from() {
    let minimal = [Conditional, Refused, Taken];
    let elsewhere = |volume: &mut iso9660::Volume| {
        let menu = volume.files.remove("EFI/redhat/grub.cfg").unwrap();
        volume.files.insert("EFI/debian/grub.cfg".to_owned(), menu);
        let kargs = r#"{"files": [{"path": "EFI/debian/grub.cfg"}]}"#;
        with("coreos/kargs.json", text(kargs))(volume);
    };
    expect("vendor", elsewhere, minimal, "no grub.cfg found");
    let grub = |from: &'static str, to: &'static str| {
        move |volume: &mut iso9660::Volume| {
            let menu = volume.files["EFI/redhat/grub.cfg"].to_vec(1 << 20).unwrap();
            let menu = String::from_utf8(menu).unwrap().replace(from, to);
            assert_eq!(from.len(), to.len());
            with("EFI/redhat/grub.cfg", text(menu))(volume);
        }
    };
    expect(
        "linux",
        grub("\tlinux /", " \nlinux/"),
        minimal,
        "\"linux \"",
    );
    expect(
        "initrd",
        grub("\tinitrd /", "\tinitrd=/"),
        minimal,
        "\"initrd \"",
    );
    expect(
        "initrd= of isolinux",
        |volume| {
            let path = "isolinux/isolinux.cfg";
            let menu = volume.files[path].to_vec(1 << 20).unwrap();
            let menu = String::from_utf8(menu).unwrap();
            with(path, text(menu.replace("initrd=", "initrd:")))(volume);
        },
        minimal,
        "and has an initrd=",
    );
}

#[test]
fn what_the_service_asks_of_a_download() {
    let assisted = [Taken, Refused, Taken];
    expect(
        "volume id",
        |volume| volume.id = "mini-1".to_owned(),
        assisted,
        "ISO volume identifier (mini-1) is invalid",
    );
    expect(
        "small root",
        with(
            "images/pxeboot/rootfs.img",
            headed("root.erofs").slice(0, 1 << 20).unwrap(),
        ),
        [Taken, Refused, Taken],
        "",
    );
    let mut short = kernel().to_vec(8 << 20).unwrap();
    short.pop();
    expect(
        "small kernel",
        with("images/pxeboot/vmlinuz", Content::bytes(short)),
        assisted,
        "kernel size 5242879 bytes is below minimum 5242880",
    );
    expect(
        "another file system",
        with("images/pxeboot/rootfs.img", headed("root.erofs")),
        [Taken, Conditional, Taken],
        "EROFS",
    );
    expect(
        "no file system",
        with("images/pxeboot/rootfs.img", headed("etc")),
        assisted,
        "failed to find root file extension",
    );
    expect(
        "no nmstatectl",
        with("images/pxeboot/rootfs.img", rootfs("nmcli")),
        [Taken, Conditional, Taken],
        "failed to extract and cache nmstatectl",
    );
}

#[test]
fn what_is_no_iso_is_taken_by_nobody() {
    let file = NamedTempFile::new().unwrap();
    file.as_file()
        .write_all_at(b"QFI\xfb\0\0\0\x03", 0)
        .unwrap();
    let verdict = ask(file.path(), Consumer::Ipi);
    assert!(!verdict.taken);
    let reason = &verdict.objections[0].reason;
    assert!(
        reason.contains("up to 4.21 take as bootstrapOSImage"),
        "{reason}"
    );

    let directory = tempfile::tempdir().unwrap();
    let verdict = ask(directory.path(), Consumer::Agent);
    assert_eq!(
        verdict.objections[0].reason,
        "it is a directory, and not an ISO"
    );

    // Half an ISO can't be judged.
    let iso = written(&volume(files()));
    let half = File::options().write(true).open(iso.path()).unwrap();
    half.set_len(1 << 20).unwrap();
    let error = judge(iso.path(), &[Consumer::Agent]).unwrap_err();
    assert!(
        format!("{error:#}").contains("it is incomplete"),
        "{error:#}"
    );
}
