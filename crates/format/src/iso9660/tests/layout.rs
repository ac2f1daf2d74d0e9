use std::cell::Cell;
use std::fs;

use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
use serde_json::json;

use super::super::boot::MAX_ENTRIES;
use super::super::{BootEntry, BootImage, Platform, Reader, Volume};
use super::{Files, bytes, files, live_files, live_volume, noise, opened, volume, written};
use bake_tree::Content;

/// The files as our reader sees them, where boot info tables are not in the way.
fn read_back(volume: &Volume) -> Vec<(String, Vec<u8>)> {
    let reader = Reader::open(opened(&written(volume))).unwrap();
    let path = |path: &str| {
        let content = reader.file(path).unwrap().unwrap();
        (path.to_owned(), bytes(&content))
    };
    reader.paths().map(path).collect()
}

fn listed(files: &Files) -> Vec<(String, Vec<u8>)> {
    files
        .iter()
        .map(|(path, content)| (path.clone(), bytes(content)))
        .collect()
}

#[test]
fn what_was_written_is_read_back() {
    let volume = volume(live_files(), vec![BootEntry::uefi("images/efiboot.img")]);
    assert!(read_back(&volume) == listed(&volume.files));
}

#[test]
fn an_empty_volume_is_one() {
    assert_eq!(read_back(&volume(Files::new(), Vec::new())), []);
}

#[test]
fn the_same_volume_is_the_same_bytes_and_overwrites_what_was_there() {
    let volume = live_volume();
    let (first, second) = (written(&volume), tempfile::NamedTempFile::new().unwrap());
    fs::write(second.path(), vec![0xff; 12 << 20]).unwrap();
    let layout = volume.layout().unwrap();
    let seen = Cell::new(0);
    layout
        .write(second.as_file(), &|more| seen.set(seen.get() + more))
        .unwrap();
    assert!(fs::read(first.path()).unwrap() == fs::read(second.path()).unwrap());
    assert_eq!(seen.get(), layout.bytes());
    assert_eq!(fs::metadata(second.path()).unwrap().len(), layout.bytes());
}

#[test]
fn extents_are_where_the_files_are() {
    let volume = live_volume();
    let image = fs::read(written(&volume).path()).unwrap();
    let layout = volume.layout().unwrap();
    for (path, content) in &volume.files {
        let (offset, length) = layout.extent(path).unwrap();
        let (start, end) = (offset as usize, (offset + length) as usize);
        // isolinux.bin has a boot info table.
        if path != "isolinux/isolinux.bin" {
            assert!(image[start..end] == bytes(content), "{path}");
        }
    }
    assert_eq!(layout.extent("sizes/empty"), Some((0, 0)));
    assert_eq!(layout.extent("sizes/none"), None);
    assert_eq!(layout.extent("sizes"), None);
}

#[test]
fn images_to_boot_stay_where_they_are_when_other_files_change() {
    let full = live_volume();
    let mut minimal = full.clone();
    minimal.files.remove("images/pxeboot/rootfs.img");
    minimal.files.remove("coreos/miniso.dat");
    let (full, minimal) = (full.layout().unwrap(), minimal.layout().unwrap());
    for image in ["isolinux/isolinux.bin", "images/efiboot.img"] {
        assert_eq!(full.extent(image), minimal.extent(image));
    }
    assert_ne!(full.bytes(), minimal.bytes());
}

#[test]
fn facts_and_boot_images() {
    let volume = live_volume();
    let layout = volume.layout().unwrap();
    let reader = Reader::open(opened(&written(&volume))).unwrap();
    let offset = |path| layout.extent(path).unwrap().0;
    let image = |platform, load_sectors, path| BootImage {
        platform: platform as u8,
        is_bootable: true,
        emulation: 0,
        load_sectors,
        offset: offset(path),
    };
    assert_eq!(
        reader.boot_images(),
        [
            image(Platform::Bios, 4, "isolinux/isolinux.bin"),
            image(
                Platform::Uefi,
                300_000u32.div_ceil(512) as u16,
                "images/efiboot.img"
            ),
        ]
    );
    let mut facts = reader.facts();
    assert_eq!(facts["boot"].as_array_mut().unwrap().len(), 2);
    facts["boot"] = json!(null);
    assert_eq!(
        facts,
        json!({
            "volume-id": super::ID,
            "volume-set-id": volume.set_id,
            "application": "COREOS-BAKE",
            "volume-bytes": layout.bytes(),
            "files": volume.files.len(),
            "rock-ridge": true,
            "joliet": true,
            "boot": null,
        })
    );
}

#[test]
fn the_boot_info_table_tells_the_image_its_place() {
    let volume = live_volume();
    let (offset, length) = volume
        .layout()
        .unwrap()
        .extent("isolinux/isolinux.bin")
        .unwrap();
    let image = fs::read(written(&volume).path()).unwrap();
    let original = bytes(&volume.files["isolinux/isolinux.bin"]);
    let stored = &image[offset as usize..(offset + length) as usize];
    let mut filled = original[64..].to_vec();
    filled.resize(filled.len().next_multiple_of(4), 0);
    let checksum = filled.chunks(4).fold(0u32, |sum, w| {
        sum.wrapping_add(u32::from_le_bytes(w.try_into().unwrap()))
    });
    let mut expected = original.clone();
    let words = [16, (offset / 2048) as u32, length as u32, checksum];
    expected[8..64].fill(0);
    for (at, word) in (8..).step_by(4).zip(words) {
        expected[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    assert!(stored == expected);
}

#[test]
fn images_of_more_than_32_mib_are_loaded_to_the_end() {
    for (bytes, expected) in [(65535 * 512, 65535), (65535 * 512 + 1, 0)] {
        let files = Files::from([("big".to_owned(), Content::bytes(vec![1; bytes]))]);
        let volume = volume(files, vec![BootEntry::uefi("big")]);
        let reader = Reader::open(opened(&written(&volume))).unwrap();
        assert_eq!(reader.boot_images()[0].load_sectors, expected);
    }
}

#[test]
fn a_full_boot_catalog() {
    let image = |_| BootEntry::uefi("a");
    let files = files(&[("a", 10)]);
    let most = volume(files.clone(), (0..MAX_ENTRIES).map(image).collect());
    let reader = Reader::open(opened(&written(&most))).unwrap();
    assert_eq!(reader.boot_images().len(), MAX_ENTRIES);
    let more = volume(files, (0..=MAX_ENTRIES).map(image).collect());
    assert!(more.layout().is_err());
}

#[test]
fn what_an_iso_cannot_hold_is_refused() {
    let refused = |volume: &Volume, part: &str| {
        let said = format!("{:#}", volume.layout().unwrap_err());
        assert!(said.contains(part), "{said}");
    };
    let of = |list| volume(files(list), Vec::new());
    assert!(of(&[("1/2/3/4/5/6/7/f", 1)]).layout().is_ok());
    refused(&of(&[("1/2/3/4/5/6/7/8/f", 1)]), "more than 7 directories");
    refused(
        &of(&[("a", 1), ("a/b", 1)]),
        "a/b would be a file and a directory",
    );
    refused(&of(&[("a//b", 1)]), "can't be a file name");
    refused(&of(&[("/a", 1)]), "can't be a file name");
    refused(&of(&[("a/../b", 1)]), "can't be a file name");

    // A sparse file serves as 4 GiB.
    let sparse = tempfile::tempfile().unwrap();
    sparse.set_len(1 << 33).unwrap();
    let sparse = std::sync::Arc::new(sparse);
    let big = |len| {
        let content = Content::range(sparse.clone(), 0, len);
        volume(Files::from([("big".to_owned(), content)]), Vec::new())
    };
    assert!(big(u32::MAX.into()).layout().is_ok());
    refused(&big(1 << 32), "big has 4294967296 bytes");

    let booting = |entry| volume(files(&[("a", 63), ("empty", 0)]), vec![entry]);
    refused(
        &booting(BootEntry::uefi("b")),
        "b, which shall be booted, is not a file",
    );
    refused(&booting(BootEntry::uefi("empty")), "has only 0 bytes");
    refused(&booting(BootEntry::bios("a")), "has only 63 bytes");

    for (id, part) in [
        ("x".repeat(33), "longer than 32"),
        ("a~b".to_owned(), "holds '~'"),
        ("\u{fc}".to_owned(), "holds"),
    ] {
        let volume = Volume {
            id,
            ..volume(Files::new(), Vec::new())
        };
        refused(&volume, part);
    }
}

/// Sector, position of the parent and identifier of each directory of a path table.
fn path_table(image: &[u8], sector: u32, bytes: u32, big: bool) -> Vec<(u32, u16, Vec<u8>)> {
    let start = sector as usize * 2048;
    let mut table = &image[start..start + bytes as usize];
    let mut entries = Vec::new();
    while !table.is_empty() {
        let length = usize::from(table[0]);
        let sector: [u8; 4] = table[2..6].try_into().unwrap();
        let parent: [u8; 2] = table[6..8].try_into().unwrap();
        entries.push((
            if big {
                u32::from_be_bytes(sector)
            } else {
                u32::from_le_bytes(sector)
            },
            if big {
                u16::from_be_bytes(parent)
            } else {
                u16::from_le_bytes(parent)
            },
            table[8..8 + length].to_vec(),
        ));
        table = &table[(8 + length).next_multiple_of(2)..];
    }
    entries
}

/// Linux doesn't read path tables, but other systems do.
#[test]
fn path_tables_lead_to_all_directories() {
    let image = fs::read(written(&live_volume()).path()).unwrap();
    let little = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let big = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().unwrap());
    for descriptor in [16 * 2048, 18 * 2048] {
        let bytes = little(descriptor + 0x84);
        assert_eq!(bytes, big(descriptor + 0x88));
        let table = path_table(&image, little(descriptor + 0x8c), bytes, false);
        assert!(table == path_table(&image, big(descriptor + 0x94), bytes, true));
        assert_eq!(table.len(), 18);
        assert_eq!(table[0], (little(descriptor + 0x9e), 1, vec![0]));
        for (sector, parent, identifier) in &table {
            let own = *sector as usize * 2048;
            assert_eq!(little(own + 2), *sector, "a directory's record of itself");
            let next = own + usize::from(image[own]);
            let parent_sector = table[usize::from(*parent) - 1].0;
            assert_eq!(little(next + 2), parent_sector, "{identifier:?}");
            assert_eq!(big(next + 6), parent_sector, "{identifier:?}");
        }
        // By parent, and by name below the same one.
        assert!(table[1..].is_sorted_by_key(|(_, parent, name)| (*parent, name.clone())));
    }
}

#[test]
fn a_thousand_directories() {
    let mut files = Files::new();
    for number in 0..1000 {
        files.insert(
            format!("{}/{}/{number}.txt", number % 7, number / 3),
            noise(number, 3),
        );
    }
    let volume = volume(files, Vec::new());
    assert!(read_back(&volume) == listed(&volume.files));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_volumes_come_back(
        list in proptest::collection::btree_map(
            "[a-zA-Z0-9 ~_.+\u{e4}-\u{fc}]{0,40}[a-z0-9](/[a-zA-Z0-9_.-]{0,20}[a-z0-9]){0,3}",
            (any::<u64>(), 0usize..5000),
            0..60,
        )
    ) {
        let files: Files = list
            .into_iter()
            .map(|(path, (seed, len))| (path, noise(seed, len)))
            .collect();
        let volume = volume(files, Vec::new());
        // Some are files and directories at once.
        if volume.layout().is_ok() {
            prop_assert_eq!(read_back(&volume), listed(&volume.files));
        }
    }
}
