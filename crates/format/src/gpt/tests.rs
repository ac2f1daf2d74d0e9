//! Tables against `sgdisk`, `fdisk` and `xorriso`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;
use uuid::{Uuid, Version, uuid};

use super::{Partition, SectorSize, TYPE_ESP, Table, TableError, derive_guid, make_hybrid};
use crate::iso9660;
use bake_referee::have;
use bake_tree::Content;

const DISK_GUID: Uuid = uuid!("00000000-0000-4000-a000-000000000001");
const TYPE_LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
const MIB: u64 = 1 << 20;

fn said(tool: &str, arguments: &[&str], image: &Path) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .arg(image)
        .output()
        .unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn assert_clean(image: &Path) {
    let said = said("sgdisk", &["-v"], image);
    assert!(said.contains("No problems found"), "{said}");
    assert!(
        !said.contains("Caution") && !said.contains("Warning"),
        "{said}"
    );
}

fn partition(number: u32, name: &str, type_guid: Uuid, start: u64, mib: u64) -> Partition {
    Partition {
        number,
        name: name.to_owned(),
        type_guid,
        guid: derive_guid("test", name),
        first_lba: start,
        last_lba: start + mib * MIB / 512 - 1,
        attributes: 0,
    }
}

/// A disk of 64 MiB with numbers that have a gap.
fn disk() -> Table {
    Table {
        disk_guid: DISK_GUID,
        disk_bytes: 64 * MIB,
        sector_size: SectorSize::B512,
        partitions: vec![
            partition(3, "boot", TYPE_LINUX, 20480, 16),
            Partition {
                attributes: 1 << 2,
                ..partition(1, "EFI-SYSTEM", TYPE_ESP, 2048, 8)
            },
            partition(128, "r\u{f6}\u{f6}t", TYPE_LINUX, 53248, 37),
        ],
    }
}

fn written(table: &Table) -> NamedTempFile {
    // fdisk puts a `p` between a name that ends with a digit and the number of a partition.
    let image = tempfile::Builder::new().suffix(".raw").tempfile().unwrap();
    image.as_file().set_len(table.disk_bytes).unwrap();
    table.write(image.as_file()).unwrap();
    image
}

#[test]
fn sgdisk_agrees() {
    if !have("sgdisk") {
        return;
    }
    let table = disk();
    let image = written(&table);
    assert_clean(image.path());
    let list = said("sgdisk", &["-p"], image.path());
    assert!(
        list.contains("(GUID): 00000000-0000-4000-A000-000000000001"),
        "{list}"
    );
    for partition in &table.partitions {
        let number = partition.number.to_string();
        let info = said("sgdisk", &["-i", &number], image.path());
        for line in [
            format!("Partition GUID code: {:X}", partition.type_guid),
            format!("Partition unique GUID: {:X}", partition.guid),
            format!("First sector: {}", partition.first_lba),
            format!("Last sector: {}", partition.last_lba),
            format!("Attribute flags: {:016X}", partition.attributes),
            format!("Partition name: '{}'", partition.name),
        ] {
            assert!(
                info.to_uppercase().contains(&line.to_uppercase()),
                "{line}: {info}"
            );
        }
    }
    for free in ["2", "4", "127"] {
        let info = said("sgdisk", &["-i", free], image.path());
        assert!(info.contains("does not exist"), "{free}: {info}");
    }
}

#[test]
fn fdisk_agrees_on_sectors_of_4096_bytes() {
    if !have("fdisk") {
        return;
    }
    let table = Table {
        sector_size: SectorSize::B4096,
        partitions: vec![
            Partition {
                last_lba: 511,
                ..partition(1, "one", TYPE_LINUX, 256, 1)
            },
            Partition {
                last_lba: 64 * 256 - 6,
                ..partition(4, "four", TYPE_ESP, 512, 1)
            },
        ],
        ..disk()
    };
    let image = written(&table);
    let list = said(
        "fdisk",
        &[
            "-b",
            "4096",
            "-o",
            "Device,Start,End,Type-UUID,UUID,Name",
            "-l",
        ],
        image.path(),
    );
    for p in &table.partitions {
        let words = format!(
            "{}{} {} {} {:X} {:X} {}",
            image.path().display(),
            p.number,
            p.first_lba,
            p.last_lba,
            p.type_guid.hyphenated(),
            p.guid.hyphenated(),
            p.name
        );
        let found = list
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == words);
        assert!(found, "{words}: {list}");
    }
    assert!(!list.to_lowercase().contains("corrupt"), "{list}");
    let mut signature = [0; 8];
    let backup = table.disk_bytes - 4096;
    image
        .as_file()
        .read_exact_at(&mut signature, backup)
        .unwrap();
    assert_eq!(&signature, b"EFI PART");
}

#[test]
fn boot_code_stays_and_old_entries_go() {
    let table = disk();
    let image = NamedTempFile::new().unwrap();
    fs::write(image.path(), vec![0xa5; table.disk_bytes as usize]).unwrap();
    table.write(image.as_file()).unwrap();
    let bytes = fs::read(image.path()).unwrap();
    assert!(bytes[..446].iter().all(|byte| *byte == 0xa5));
    assert_eq!(bytes[510..512], [0x55, 0xaa]);
    // Entry 2 in both copies.
    for entries in [1024, table.disk_bytes as usize - 33 * 512] {
        assert!(
            bytes[entries + 128..entries + 256]
                .iter()
                .all(|byte| *byte == 0)
        );
    }
    // What is for partitions is not touched.
    let usable = 34 * 512..table.disk_bytes as usize - 33 * 512;
    assert!(bytes[usable].iter().all(|byte| *byte == 0xa5));
}

#[test]
fn tables_that_cannot_be_are_refused() {
    let good = disk();
    assert_eq!(good.check(), Ok(()));
    let first = |change: &dyn Fn(&mut Partition)| {
        let mut table = good.clone();
        change(&mut table.partitions[0]);
        table.check().unwrap_err()
    };
    let number = |number| TableError::Number {
        number,
        name: "boot".to_owned(),
    };
    assert_eq!(first(&|p| p.number = 0), number(0));
    assert_eq!(first(&|p| p.number = 129), number(129));
    assert!(matches!(
        first(&|p| p.number = 1),
        TableError::Number { number: 1, .. }
    ));
    assert!(matches!(
        first(&|p| p.name = "x".repeat(37)),
        TableError::Name { .. }
    ));
    let is_outside = |error: TableError| matches!(error, TableError::Outside { .. });
    assert!(is_outside(first(&|p| p.first_lba = p.last_lba + 1)));
    assert!(is_outside(first(&|p| p.first_lba = 33)));
    assert!(is_outside(first(&|p| p.last_lba = 64 * MIB / 512 - 33)));
    assert!(is_outside(first(&|p| p.last_lba = u64::MAX)));
    assert_eq!(
        first(&|p| p.first_lba = 18431),
        TableError::Overlap {
            first: "EFI-SYSTEM".to_owned(),
            second: "boot".to_owned()
        }
    );
    let mut alone = good.clone();
    alone.partitions.truncate(1);
    for (first, last) in [(34, 34), (64 * MIB / 512 - 34, 64 * MIB / 512 - 34)] {
        (alone.partitions[0].first_lba, alone.partitions[0].last_lba) = (first, last);
        assert_eq!(alone.check(), Ok(()));
    }
    for disk_bytes in [0, 511, 512, 67 * 512, 64 * MIB + 1] {
        let table = Table {
            disk_bytes,
            partitions: Vec::new(),
            ..good.clone()
        };
        assert_eq!(table.check(), Err(TableError::Disk { bytes: disk_bytes }));
    }
}

#[test]
fn guids_follow_from_seed_and_purpose() {
    let guid = derive_guid("seed", "disk");
    assert_eq!(guid, derive_guid("seed", "disk"));
    assert_eq!(guid.get_version(), Some(Version::Custom));
    for (seed, purpose) in [("seed", "ESP"), ("seedd", "isk"), ("", "seeddisk")] {
        assert_ne!(guid, derive_guid(seed, purpose));
    }
}

/// An ISO with an ESP image whose length is not a multiple of the sector size.
fn iso() -> (NamedTempFile, u64, Vec<u8>) {
    let esp: Vec<u8> = (0..100_000u32 + 512).map(|at| (at % 251) as u8).collect();
    let volume = iso9660::Volume {
        id: "hybrid".to_owned(),
        set_id: String::new(),
        time: 0,
        files: BTreeMap::from([("images/efiboot.img".to_owned(), Content::bytes(esp.clone()))]),
        boot: vec![iso9660::BootEntry::uefi("images/efiboot.img")],
        catalog: None,
    };
    let image = NamedTempFile::new().unwrap();
    let layout = volume.layout().unwrap();
    layout.write(image.as_file(), &|_| ()).unwrap();
    let (offset, length) = layout.extent("images/efiboot.img").unwrap();
    assert_eq!(length, esp.len() as u64);
    (image, offset, esp)
}

#[test]
fn a_hybrid_iso_is_a_disk_with_an_esp() {
    let (image, offset, esp) = iso();
    let before = fs::read(image.path()).unwrap();
    make_hybrid(image.as_file(), offset, esp.len() as u64, "seed").unwrap();
    let after = fs::read(image.path()).unwrap();
    assert_eq!(after.len() as u64, MIB);
    // Only the system area has changed.
    assert!(before[32768..] == after[32768..before.len()]);
    assert!(after[..440].iter().all(|byte| *byte == 0));

    let (again, ..) = iso();
    make_hybrid(again.as_file(), offset, esp.len() as u64, "seed").unwrap();
    assert!(fs::read(again.path()).unwrap() == after);

    if have("sgdisk") {
        assert_clean(image.path());
        let info = said("sgdisk", &["-i", "1"], image.path());
        for line in [
            "(EFI system partition)".to_owned(),
            format!("First sector: {}", offset / 512),
            format!("Last sector: {}", (offset + 100_512).div_ceil(2048) * 4 - 1),
        ] {
            assert!(info.contains(&line), "{line}: {info}");
        }
    }
    if have("xorriso") {
        let path = image.path().to_str().unwrap();
        let output = Command::new("xorriso")
            .args(["-indev", path, "-report_system_area", "plain"])
            .output()
            .unwrap();
        let report = String::from_utf8(output.stdout).unwrap();
        assert!(report.contains("MBR protective-msdos-label"), "{report}");
        assert!(
            report.contains("GPT partition path :   1  /images/efiboot.img"),
            "{report}"
        );
    }
    if have("blkid") {
        let found = said("blkid", &["-p", "-o", "export"], image.path());
        for line in ["TYPE=iso9660", "LABEL=hybrid", "PTTYPE=gpt"] {
            assert!(found.lines().any(|l| l == line), "{line}: {found}");
        }
    }
}

#[test]
fn an_iso_that_leaves_no_room_for_the_table_grows_by_a_mebibyte() {
    let (image, offset, esp) = iso();
    let length = esp.len() as u64;
    for (iso_bytes, expected) in [
        (MIB - 33 * 512, MIB),
        (MIB - 32 * 512, 2 * MIB),
        (MIB, 2 * MIB),
    ] {
        image.as_file().set_len(iso_bytes).unwrap();
        make_hybrid(image.as_file(), offset, length, "seed").unwrap();
        assert_eq!(image.as_file().metadata().unwrap().len(), expected);
    }
    assert!(make_hybrid(image.as_file(), offset + 1, length, "seed").is_err());
    assert!(make_hybrid(image.as_file(), offset, 0, "seed").is_err());
    assert!(make_hybrid(image.as_file(), 512, length, "seed").is_err());
}

fn content(image: &NamedTempFile) -> Content {
    let file = image.reopen().unwrap();
    let len = file.metadata().unwrap().len();
    Content::range(std::sync::Arc::new(file), 0, len)
}

#[test]
fn tables_are_read_back() {
    for sector_size in [SectorSize::B512, SectorSize::B4096] {
        let mut table = disk();
        table.sector_size = sector_size;
        for partition in &mut table.partitions {
            let scale = sector_size.bytes() / 512;
            partition.first_lba /= scale;
            partition.last_lba = (partition.last_lba + 1) / scale - 1;
        }
        let found = Table::read(&content(&written(&table))).unwrap().unwrap();
        table.partitions.sort_by_key(|partition| partition.number);
        assert_eq!(found, table);
        let root = &found.partitions[2];
        let disk = content(&written(&table));
        assert_eq!(root.content(&disk, sector_size).unwrap().len(), 37 * MIB);
    }
}

#[test]
fn tables_by_sgdisk_are_read() {
    if !have("sgdisk") {
        return;
    }
    let image = NamedTempFile::new().unwrap();
    image.as_file().set_len(64 * MIB).unwrap();
    said(
        "sgdisk",
        &[
            "-n",
            "2:4096:8191",
            "-c",
            "2:second",
            "-A",
            "2:set:2",
            "-n",
            "7:0:0",
        ],
        image.path(),
    );
    let found = Table::read(&content(&image)).unwrap().unwrap();
    let seen: Vec<(u32, &str, u64, u64)> = found
        .partitions
        .iter()
        .map(|p| (p.number, &*p.name, p.first_lba, p.attributes))
        .collect();
    assert_eq!(seen, [(2, "second", 4096, 4), (7, "", 8192, 0)]);
}

#[test]
fn foreign_tables_are_refused_without_panic() {
    assert!(
        Table::read(&Content::bytes(vec![0; 4096]))
            .unwrap()
            .is_none()
    );
    let image = written(&disk());
    let mut bytes = fs::read(image.path()).unwrap();
    bytes.truncate(1 << 20);
    for at in 512..512 + 96 {
        for value in [0, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            // With the checksum made right, so that limits are what decides.
            let _ = Table::read(&Content::bytes(damaged.clone()));
            damaged[528..532].fill(0);
            let sum = crc32fast::hash(&damaged[512..604]);
            damaged[528..532].copy_from_slice(&sum.to_le_bytes());
            if let Ok(Some(table)) = Table::read(&Content::bytes(damaged)) {
                let disk = Content::bytes(vec![0; 4096]);
                for partition in table.partitions {
                    assert!(partition.content(&disk, table.sector_size).is_none());
                }
            }
        }
    }
    bytes[1024 + 56] ^= 1;
    let error = format!("{:#}", Table::read(&Content::bytes(bytes)).unwrap_err());
    assert!(error.contains("wrong checksum"), "{error}");
}
