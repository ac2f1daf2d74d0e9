//! Boot images and boot code: what BIOS and xorriso find.

use std::fs;
use std::process::Command;

use tempfile::NamedTempFile;

use super::super::{BOOT_CODE_BYTES, BootEntry, Reader, Volume, write_boot_code};
use super::referees::have;
use super::{bytes, files, noise, opened, volume, written};

const IMAGE: &str = "images/eltorito.img";

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The image as an ISO has it, and its sector there.
fn stored(iso: &NamedTempFile) -> (Vec<u8>, u32) {
    let reader = Reader::open(opened(iso)).unwrap();
    let image = bytes(&reader.file(IMAGE).unwrap().unwrap());
    let offset = reader.boot_images()[0].offset;
    (image, (offset / 2048) as u32)
}

#[test]
fn xorriso_tells_grub_the_same() {
    if !have("xorriso") {
        return;
    }
    for length in [2556, 30_001] {
        let content = noise(1, length);
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("images")).unwrap();
        fs::write(root.path().join(IMAGE), bytes(&content)).unwrap();
        let theirs = NamedTempFile::new().unwrap();
        let output = Command::new("xorriso")
            .args([
                "-as",
                "mkisofs",
                "-quiet",
                "-R",
                "-no-emul-boot",
                "-b",
                IMAGE,
            ])
            .args(["-boot-load-size", "4", "-boot-info-table"])
            .args(["--grub2-boot-info", "-o"])
            .args([theirs.path(), root.path()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let (theirs, their_sector) = stored(&theirs);

        let mut files = files(&[("other", 5000)]);
        files.insert(IMAGE.to_owned(), content);
        let ours = volume(files, vec![BootEntry::grub(IMAGE)]);
        let (mut ours, our_sector) = stored(&written(&ours));

        // The image's sector, its parts', and the sum over all depend on where it lies.
        assert_ne!(our_sector, their_sector);
        let moved = their_sector.wrapping_sub(our_sector);
        for (at, difference) in [(12, moved), (20, moved * 4), (2548, moved * 4)] {
            let word = word(&ours, at).wrapping_add(difference);
            ours[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        assert!(ours == theirs, "{length}");
    }
}

#[test]
fn the_boot_catalog_is_a_file_where_it_has_a_name() {
    const CATALOG: &str = "isolinux/boot.cat";
    let named = |boot: Vec<BootEntry>| Volume {
        catalog: Some(CATALOG.to_owned()),
        ..volume(files(&[(IMAGE, 3000), ("isolinux/a", 10)]), boot)
    };
    let iso = written(&named(vec![BootEntry::grub(IMAGE)]));
    let reader = Reader::open(opened(&iso)).unwrap();
    let catalog = bytes(&reader.file(CATALOG).unwrap().unwrap());
    let image = fs::read(iso.path()).unwrap();
    // The boot record, the second descriptor, says where the catalog is.
    let at = word(&image, 17 * 2048 + 0x47) as usize * 2048;
    assert!(catalog == image[at..at + 2048]);
    assert_eq!(word(&catalog, 32 + 8), stored(&iso).1);

    // Nothing else has moved.
    let nameless = written(&Volume {
        catalog: None,
        ..named(vec![BootEntry::grub(IMAGE)])
    });
    assert!(fs::read(nameless.path()).unwrap()[at..] == image[at..]);

    // No images, no catalog.
    let iso = written(&named(Vec::new()));
    let reader = Reader::open(opened(&iso)).unwrap();
    assert!(reader.file(CATALOG).unwrap().is_none());

    let taken = Volume {
        catalog: Some("isolinux/a".to_owned()),
        ..named(vec![BootEntry::grub(IMAGE)])
    };
    let error = taken.layout().unwrap_err().to_string();
    assert!(error.contains("isolinux/a would be two files"), "{error}");
}

#[test]
fn xorriso_finds_the_boot_catalog_by_its_name() {
    if !have("xorriso") {
        return;
    }
    let iso = written(&Volume {
        catalog: Some("isolinux/boot.cat".to_owned()),
        ..volume(files(&[(IMAGE, 3000)]), vec![BootEntry::grub(IMAGE)])
    });
    let output = Command::new("xorriso")
        .arg("-indev")
        .arg(iso.path())
        .args(["-report_el_torito", "plain", "-find", "/isolinux"])
        .output()
        .unwrap();
    let report = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for line in [
        "El Torito cat path : /isolinux/boot.cat",
        "'/isolinux/boot.cat'",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
}

#[test]
fn images_that_cannot_be_grubs_are_refused() {
    let booting = |length| {
        let files = files(&[(IMAGE, length)]);
        volume(files, vec![BootEntry::grub(IMAGE)])
            .layout()
            .map(drop)
    };
    assert!(booting(2556).is_ok());
    let error = booting(2555).unwrap_err().to_string();
    assert!(error.contains("has only 2555 bytes"), "{error}");
}

#[test]
fn boot_code_goes_before_an_active_partition() {
    let iso = written(&volume(files(&[("a", 10)]), Vec::new()));
    let before = fs::read(iso.path()).unwrap();
    let code = [0xc3; BOOT_CODE_BYTES];
    write_boot_code(iso.as_file(), &code).unwrap();
    let after = fs::read(iso.path()).unwrap();
    let mut expected = before.clone();
    expected[..440].fill(0xc3);
    expected[0x1be] = 0x80;
    expected[0x1be + 12] = 1;
    expected[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert!(after == expected);
    // Once is enough; shorter code leaves the rest.
    write_boot_code(iso.as_file(), &[0; 2]).unwrap();
    expected[..2].fill(0);
    assert!(fs::read(iso.path()).unwrap() == expected);
}

#[test]
fn partitions_stay_when_boot_code_comes() {
    let iso = written(&volume(files(&[("a", 10)]), Vec::new()));
    let mut image = fs::read(iso.path()).unwrap();
    let with = |image: &mut Vec<u8>, change: &dyn Fn(&mut [u8])| {
        change(&mut image[0x1b8..0x1fe]);
        fs::write(iso.path(), &image).unwrap();
        write_boot_code(iso.as_file(), &[1]).map(|()| fs::read(iso.path()).unwrap())
    };
    // A disk id and a protective partition, as GPT has it.
    let after = with(&mut image, &|area| {
        area[..4].fill(7);
        area[6 + 4] = 0xee;
    });
    let after = after.unwrap();
    assert!(after[0x1b8..0x1ce] == image[0x1b8..0x1ce]);
    assert_eq!(after[0x1ce], 0x80);
    // The third is active already.
    let after = with(&mut image, &|area| area[6 + 32] = 0x80).unwrap();
    assert!(after[0x1b8..0x1fe] == image[0x1b8..0x1fe]);
    // All are taken, none is active.
    let error = with(&mut image, &|area| area[6..].fill(1)).unwrap_err();
    assert!(error.to_string().contains("no free partition"), "{error}");
    let error = write_boot_code(iso.as_file(), &[0; 441]).unwrap_err();
    assert!(error.to_string().contains("441 bytes"), "{error}");
}
