//! Volumes against tables, `fsck.fat`, mtools and blkid.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

use super::{Volume, names, roomy_bytes};
use bake_referee::have;
use bake_tree::Content;

const ESP_BYTES: u64 = 127 << 20;

fn volume(bytes: u64, bytes_per_sector: u16) -> Volume {
    Volume {
        label: "EFI-SYSTEM".into(),
        id: 0x7b77_95e7,
        bytes,
        bytes_per_sector,
    }
}

fn files(list: &[(&str, usize)]) -> BTreeMap<String, Content> {
    (1u8..)
        .zip(list)
        .map(|(seed, (path, len))| {
            let bytes: Vec<u8> = (0..*len).map(|at| (at / 7) as u8 ^ seed).collect();
            ((*path).to_owned(), Content::bytes(bytes))
        })
        .collect()
}

fn esp_files() -> BTreeMap<String, Content> {
    files(&[
        ("EFI/BOOT/BOOTX64.EFI", 1_000_000),
        ("EFI/BOOT/empty", 0),
        ("EFI/BOOT/grub.cfg", 77),
        ("EFI/BOOT/grubx64.efi", 2048),
        ("EFI/BOOT/mmx64.efi", 2049),
        ("EFI/BOOT/fonts/unicode.pf2", 2047),
        ("EFI/fedora/shimx64-fedora.efi", 4096),
        ("EFI/fedora/BOOTX64.CSV", 1),
    ])
}

/// What the tool says on stdout and stderr, and whether it was content.
fn run(tool: &str, arguments: &[&str], image: &Path) -> (bool, String) {
    let output = Command::new(tool)
        .args(arguments)
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// `fsck.fat` complains on lines of its own; without complaint there are its version and a summary.
fn assert_clean(image: &Path, case: &str) {
    let (fine, said) = run("fsck.fat", &["-n"], image);
    assert!(fine && said.lines().count() == 2, "{case}: {said}");
}

/// The paths of all files, as mtools sees them.
fn listed(image: &Path) -> BTreeSet<String> {
    let output = Command::new("mdir")
        .args(["-/", "-b", "-a", "-i"])
        .arg(image)
        .arg("::")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.ends_with('/'))
        .map(|line| line.trim_start_matches("::/").to_owned())
        .collect()
}

fn copied_out(image: &Path, path: &str) -> Vec<u8> {
    let output = Command::new("mtype")
        .arg("-i")
        .arg(image)
        .arg(format!("::/{path}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{path}: {output:?}");
    output.stdout
}

fn assert_same(image: &Path, files: &BTreeMap<String, Content>) {
    assert_eq!(listed(image), files.keys().cloned().collect());
    for (path, content) in files {
        assert_eq!(
            copied_out(image, path),
            content.to_vec(1 << 30).unwrap(),
            "{path}"
        );
    }
}

fn saved(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn fsck_and_mtools_agree() {
    if !have("fsck.fat") || !have("mdir") {
        return;
    }
    let files = esp_files();
    let cases = [
        ("efiboot", roomy_bytes(&files), 512),
        ("fat12", 2 << 20, 512),
        ("fat12_odd_sectors", (2 << 20) + 512, 512),
        ("smallest_fat16", (4085 + 545) * 512, 512),
        ("one_sector_less", (4085 + 544) * 512, 512),
        ("esp", ESP_BYTES, 512),
        ("esp_4k", ESP_BYTES, 4096),
        ("last_with_4_sectors", 65524 * 4 * 512, 512),
        ("first_with_8_sectors", 65525 * 4 * 512, 512),
        ("last_fat16", (512 << 20) - 512, 512),
        ("first_fat32", 512 << 20, 512),
        ("fat32_4k", 1 << 30, 4096),
    ];
    for (case, bytes, bytes_per_sector) in cases {
        // The volume lies in the middle of something else, as an ESP does.
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(bytes + 8192).unwrap();
        volume(bytes, bytes_per_sector)
            .write(&files, &disk, 4096)
            .unwrap_or_else(|e| panic!("{case}: {e:#}"));
        let image = cut_out(&disk, 4096, bytes);
        assert_clean(image.path(), case);
        assert_same(image.path(), &files);
    }
}

/// A sparse copy of a range.
fn cut_out(disk: &File, offset: u64, len: u64) -> tempfile::NamedTempFile {
    use std::os::unix::fs::FileExt;
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(len).unwrap();
    let mut chunk = vec![0; 1 << 16];
    for at in (0..len).step_by(chunk.len()) {
        let part = (len - at).min(1 << 16) as usize;
        disk.read_exact_at(&mut chunk[..part], offset + at).unwrap();
        if chunk[..part].iter().any(|byte| *byte != 0) {
            image.as_file().write_all_at(&chunk[..part], at).unwrap();
        }
    }
    image
}

#[test]
fn volumes_in_files_and_in_memory_are_the_same_and_files_stay_sparse() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let files = esp_files();
    let volume = volume(ESP_BYTES, 512);
    let disk = tempfile::tempfile().unwrap();
    disk.set_len(ESP_BYTES).unwrap();
    volume.write(&files, &disk, 0).unwrap();
    let mut written = vec![0; ESP_BYTES as usize];
    disk.read_exact_at(&mut written, 0).unwrap();
    assert!(written == volume.to_vec(&files).unwrap());
    assert!(disk.metadata().unwrap().blocks() * 512 < 4 << 20);
}

#[test]
fn label_and_id_are_what_blkid_sees() {
    if !have("blkid") {
        return;
    }
    let image = saved(&volume(4 << 20, 512).to_vec(&esp_files()).unwrap());
    let (_, said) = run("blkid", &["-p", "-o", "export"], image.path());
    for line in [
        "LABEL=EFI-SYSTEM",
        "LABEL_FATBOOT=EFI-SYSTEM",
        "UUID=7B77-95E7",
        "VERSION=FAT16",
    ] {
        assert!(said.lines().any(|l| l == line), "{line}: {said}");
    }
}

#[test]
fn more_names_than_a_cluster_holds() {
    if !have("fsck.fat") || !have("mdir") {
        return;
    }
    let mut many = BTreeMap::new();
    for number in 0..700 {
        many.insert(
            format!("EFI/a directory/long name number {number}.conf"),
            Content::bytes(format!("{number}\n").into_bytes()),
        );
    }
    let image = saved(&volume(8 << 20, 512).to_vec(&many).unwrap());
    assert_clean(image.path(), "many");
    assert_eq!(listed(image.path()), many.keys().cloned().collect());
}

#[test]
fn names() {
    let cases: [(&str, &[u8; 11], bool); 12] = [
        ("BOOTX64.EFI", b"BOOTX64 EFI", true),
        ("EFI", b"EFI        ", true),
        ("grub.cfg", b"GRUB    CFG", false),
        ("ABCDEFGH.IJK", b"ABCDEFGHIJK", true),
        ("ABCDEFGHI.JK", b"ABCDEF~1JK ", false),
        ("ABCDEFGH.IJKL", b"ABCDEF~1IJK", false),
        ("ABCDEFGH0.IJKL", b"ABCDEF~2IJK", false),
        ("a.tar.gz", b"ATAR~1  GZ ", false),
        (".hidden", b"HIDDEN~1   ", false),
        ("with space", b"WITHSP~1   ", false),
        ("plus+", b"PLUS_~1    ", false),
        ("\u{e9}t\u{e9}", b"_T_~1      ", false),
    ];
    let mut taken = BTreeSet::new();
    for (name, short, says_all) in cases {
        names::check(name).unwrap();
        assert_eq!(
            names::shorten(name, &mut taken),
            (*short, says_all),
            "{name}"
        );
    }
    for name in ["", ".", "..", "efi.", "efi ", "a:b", "a/b", "a\nb"] {
        assert!(names::check(name).is_err(), "{name:?}");
    }
    assert!(names::check(&"x".repeat(255)).is_ok());
    assert!(names::check(&"x".repeat(256)).is_err());
}

#[test]
fn what_fat_cannot_hold_is_refused() {
    let small = volume(4 << 20, 512);
    let refused = |files: &[(&str, usize)], part: &str| {
        let error = small.to_vec(&self::files(files)).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains(part), "{said}");
    };
    refused(
        &[("EFI/a", 1), ("efi/b", 1)],
        "EFI and efi are the same name",
    );
    refused(
        &[("EFI/a", 1), ("EFI/A", 1)],
        "EFI/A and EFI/a are the same",
    );
    refused(&[("EFI", 1), ("EFI/A", 1)], "same name");
    refused(&[("EFI//A", 1)], "can't be a name");
    refused(&[("../A", 1)], "can't be a name");
    refused(&[("a", 5 << 20)], "not enough room");
    for label in ["", " ", "lower", "TWELVE CHARS"] {
        let volume = Volume {
            label: label.into(),
            ..small.clone()
        };
        assert!(volume.to_vec(&BTreeMap::new()).is_err(), "{label:?}");
    }
    assert!(volume(4 << 20, 1024).to_vec(&BTreeMap::new()).is_err());
    assert!(volume((4 << 20) + 1, 512).to_vec(&BTreeMap::new()).is_err());
    assert!(volume(1 << 40, 4096).to_vec(&BTreeMap::new()).is_err());
}

#[test]
fn a_volume_can_be_filled_to_the_last_cluster() {
    if !have("fsck.fat") || !have("mdir") {
        return;
    }
    // 4 MiB: 8192 sectors, one per cluster, of which 1 + 2 * 32 + 32 are not for files, less the
    // directory's one.
    let room = (8192 - 97) * 512;
    let small = volume(4 << 20, 512);
    let full = files(&[("FULL", room)]);
    let image = saved(&small.to_vec(&full).unwrap());
    assert_clean(image.path(), "full");
    assert_same(image.path(), &full);
    assert!(small.to_vec(&files(&[("FULL", room + 1)])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_come_back(
        list in proptest::collection::btree_map(
            "[a-zA-Z0-9 ~_.+-]{0,14}[a-z0-9](/[a-zA-Z0-9_.-]{0,20}[a-z0-9]){0,3}",
            proptest::collection::vec(proptest::num::u8::ANY, 0..3000),
            1..12,
        )
    ) {
        let files: BTreeMap<String, Content> =
            list.into_iter().map(|(path, bytes)| (path, Content::bytes(bytes))).collect();
        let bytes = roomy_bytes(&files);
        // Names that differ in case only are refused, which another test sees to.
        if let Ok(image) = volume(bytes, 512).to_vec(&files)
            && have("fsck.fat") && have("mdir")
        {
            let image = saved(&image);
            assert_clean(image.path(), "random");
            prop_assert_eq!(listed(image.path()), files.keys().cloned().collect());
        }
    }
}
