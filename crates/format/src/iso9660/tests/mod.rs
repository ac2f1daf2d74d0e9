//! Volumes against tables, our reader, and readers that we did not write.

mod boot;
mod hostile;
mod layout;
mod names;
mod referees;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::{BootEntry, Volume};
use bake_tree::Content;

/// 2026-01-02 03:04:05.
const TIME: i64 = 1_767_323_045;

/// The first label of the name that a live ISO has.
const ID: &str = "fedora-coreos-42.20260102.3-0_x+";

type Files = BTreeMap<String, Content>;

fn noise(seed: u64, len: usize) -> Content {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(len)
    .collect();
    Content::bytes(bytes)
}

fn files(list: &[(&str, usize)]) -> Files {
    (1..)
        .zip(list)
        .map(|(seed, (path, len))| ((*path).to_owned(), noise(seed, *len)))
        .collect()
}

/// What a live ISO has, with all the corners that names and sizes have.
fn live_files() -> Files {
    let mut files = files(&[
        ("coreos/features.json", 100),
        ("coreos/igninfo.json", 35),
        ("coreos/kargs.json", 300),
        ("coreos/miniso.dat", 16384),
        ("images/efiboot.img", 300_000),
        ("images/ignition.img", 262_144),
        ("images/pxeboot/vmlinuz", 2_500_001),
        ("images/pxeboot/initrd.img", 4096),
        ("images/pxeboot/rootfs.img", 5_000_000),
        ("EFI/fedora/grub.cfg", 2000),
        ("isolinux/isolinux.bin", 40_001),
        ("isolinux/isolinux.cfg", 2047),
        ("sizes/2048", 2048),
        ("sizes/2049", 2049),
        ("sizes/empty", 0),
        ("1/2/3/4/5/6/7/deep.txt", 5),
        ("unicode/\u{fc}ml\u{e4}ut \u{4f60}\u{597d}.conf", 7),
        ("zipl.prm", 1),
    ]);
    let long = "n".repeat(103);
    for name in [long.as_str(), &"\u{fc}".repeat(69), "a.tar.gz", ".profile"] {
        files.insert(format!("names/{name}"), noise(name.len() as u64, 33));
    }
    // More records than fit into a sector, and long ones, so that some would cross its end.
    for number in 0..100 {
        files.insert(
            format!("many/A long file name with the number {number}.configuration"),
            noise(number, 10),
        );
    }
    files
}

fn volume(files: Files, boot: Vec<BootEntry>) -> Volume {
    Volume {
        id: ID.to_owned(),
        set_id: "fedora-coreos-42.20260102.3-0_x+y-which-is-not-cut".to_owned(),
        time: TIME,
        files,
        boot,
        catalog: None,
    }
}

fn live_volume() -> Volume {
    volume(
        live_files(),
        vec![
            BootEntry::bios("isolinux/isolinux.bin"),
            BootEntry::uefi("images/efiboot.img"),
        ],
    )
}

fn written(volume: &Volume) -> NamedTempFile {
    let out = NamedTempFile::new().unwrap();
    let layout = volume.layout().unwrap();
    layout.write(out.as_file(), &|_| ()).unwrap();
    out
}

fn opened(file: &NamedTempFile) -> Content {
    let file = File::open(file.path()).unwrap();
    let len = file.metadata().unwrap().len();
    Content::range(Arc::new(file), 0, len)
}

fn bytes(content: &Content) -> Vec<u8> {
    content.to_vec(1 << 30).unwrap()
}
