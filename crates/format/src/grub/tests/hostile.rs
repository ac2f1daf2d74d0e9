//! Foreign files: refused with their names, and without panics.

use std::collections::BTreeMap;

use object::{Object, ObjectSegment};

use super::super::{
    BOOT_CODE_BYTES, Kind, Modules, boot_sector, core_image, hybrid_boot_sector, install_blocklist,
    prep_image,
};
use super::{Files, ON_DISK, files, modules};

/// All that can be made of the files, or the first error.
fn make(files: Files) -> Result<(), String> {
    let make = || {
        let modules = Modules::new(files)?;
        for kind in [Kind::Disk, Kind::Cd] {
            let mut core = core_image(&modules, &["biosdisk"], "/", None, kind)?;
            if kind == Kind::Disk {
                install_blocklist(&mut core, 2048)?;
            }
        }
        boot_sector(&modules, 2048)?;
        hybrid_boot_sector(&modules, 2048)?;
        anyhow::Ok(())
    };
    make().map_err(|error| format!("{error:#}"))
}

/// Files like GRUB's that hold nothing of it.
fn made_up() -> Files {
    let mut kernel = vec![0; 84 + 6];
    kernel[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    let words: [(usize, u32); 9] = [
        (16, 2 | 3 << 16),   // a program for i386
        (20, 1),             // version
        (24, 0x9000),        // entry
        (28, 52),            // program headers
        (40, 52 | 32 << 16), // sizes of headers
        (44, 1),             // how many
        (52, 1),             // PT_LOAD
        (56, 84),            // offset
        (60, 0x9000),        // address
    ];
    for (at, word) in words {
        kernel[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    kernel[68..72].copy_from_slice(&6u32.to_le_bytes());
    kernel[72..76].copy_from_slice(&6u32.to_le_bytes());
    kernel[84..].copy_from_slice(b"kernel");
    let mut decompress = vec![0; 64];
    decompress[0] = 0xea;
    let mut boot = vec![0; 512];
    boot[0x5b] = 0x80;
    boot[0x66] = 0xeb;
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut diskboot = vec![0; 512];
    diskboot[510..].copy_from_slice(&[0x20, 0x08]);
    BTreeMap::from(
        [
            ("kernel.img", kernel),
            ("lzma_decompress.img", decompress),
            ("boot_hybrid.img", boot.clone()),
            ("boot.img", boot),
            ("diskboot.img", diskboot),
            ("cdboot.img", vec![0; 2048]),
            ("moddep.lst", b"biosdisk: disk\ndisk:\n\n".to_vec()),
            ("biosdisk.mod", b"b".to_vec()),
            ("disk.mod", b"d".to_vec()),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes)),
    )
}

/// A made-up kernel for POWER, 7 bytes long in the file and `memory_bytes` in memory.
fn power_kernel(memory_bytes: u32) -> Vec<u8> {
    let mut kernel = vec![0; 84];
    kernel[..7].copy_from_slice(b"\x7fELF\x01\x02\x01");
    let words: [(usize, u32); 11] = [
        (16, 2 << 16 | 20),  // a program for PowerPC
        (20, 1),             // version
        (24, 0x20_0000),     // entry
        (28, 52),            // program headers
        (40, 52 << 16 | 32), // sizes of headers
        (44, 1 << 16),       // how many
        (52, 1),             // PT_LOAD
        (56, 84),            // offset
        (60, 0x20_0000),     // address
        (68, 7),
        (72, memory_bytes),
    ];
    for (at, word) in words {
        kernel[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    kernel.extend_from_slice(b"kernel!");
    kernel
}

#[test]
fn programs_for_power_have_kernel_and_modules() {
    let make = |kernel| {
        let mut files = made_up();
        files.insert("kernel.img".to_owned(), kernel);
        let modules = Modules::new(files).unwrap();
        prep_image(&modules, &["biosdisk"], "/p", Some("c")).map_err(|error| format!("{error:#}"))
    };
    let image = make(power_kernel(0x1_0001)).unwrap();
    let program = object::File::parse(image.as_slice()).unwrap();
    assert_eq!(program.entry(), 0x20_0000);
    let segments: Vec<_> = program
        .segments()
        .map(|segment| (segment.address(), segment.size(), segment.data().unwrap()))
        .collect();
    let objects = b"gmim\0\0\0\x0c\0\0\0\x3c\
        \0\0\0\0\0\0\0\x0cd\0\0\0\
        \0\0\0\0\0\0\0\x0cb\0\0\0\
        \0\0\0\x02\0\0\0\x0cc\0\0\0\
        \0\0\0\x03\0\0\0\x0c/p\0\0";
    assert_eq!(
        segments,
        [
            (0x20_0000, 0x1_0001, b"kernel!".as_slice()),
            (0x21_9000, 0x3c, objects.as_slice()),
        ]
    );

    let kernel = power_kernel(7);
    for cut in 0..kernel.len() {
        let error = make(kernel[..cut].to_vec()).unwrap_err();
        assert!(error.contains("kernel.img"), "{cut}: {error}");
    }
    for bytes in [6, 0xffdf_ffff, 0xffff_ffff] {
        let error = make(power_kernel(bytes)).unwrap_err();
        assert!(error.contains("larger than memory"), "{bytes:#x}: {error}");
    }
    assert!(make(made_up()["kernel.img"].clone()).is_err());
}

#[test]
fn every_file_is_needed_and_named() {
    assert_eq!(make(made_up()), Ok(()));
    for name in made_up().keys() {
        let mut files = made_up();
        files.remove(name);
        let error = make(files).unwrap_err();
        assert!(error.contains(name), "{name}: {error}");
        let mut files = made_up();
        files.insert(name.clone(), Vec::new());
        let error = make(files).unwrap_err();
        assert!(error.contains(name), "{name}: {error}");
    }
}

#[test]
fn files_that_are_cut_off_or_something_else_are_refused() {
    let lists: [(&str, &[u8]); 4] = [
        ("moddep.lst", b"biosdisk disk\n"),
        ("moddep.lst", b"biosdisk: \xff\n"),
        ("moddep.lst", b"biosdisk: disk\ndisk: biosdisk\n"),
        ("moddep.lst", b"biosdisk: nothing\n"),
    ];
    for (name, bytes) in lists {
        let mut files = made_up();
        files.insert(name.to_owned(), bytes.to_vec());
        let error = make(files).unwrap_err();
        assert!(
            error.contains(name) || error.contains("nothing.mod"),
            "{error}"
        );
    }
    for name in [
        "kernel.img",
        "lzma_decompress.img",
        "boot.img",
        "boot_hybrid.img",
        "diskboot.img",
        "cdboot.img",
    ] {
        let whole = made_up()[name].clone();
        // The decompressor's own length is its own business.
        let cuts = match name {
            "lzma_decompress.img" => 0x1c,
            _ => whole.len(),
        };
        for cut in 0..cuts {
            let mut files = made_up();
            files.insert(name.to_owned(), whole[..cut].to_vec());
            let error = make(files).unwrap_err();
            assert!(error.contains(name), "{name} {cut}: {error}");
        }
        if name != "cdboot.img" {
            let mut files = made_up();
            files.insert(name.to_owned(), vec![0xa5; whole.len()]);
            let error = make(files).unwrap_err();
            assert!(error.contains(name), "{name}: {error}");
        }
    }
}

#[test]
fn kernels_that_lie_about_themselves_are_refused() {
    let whole = made_up()["kernel.img"].clone();
    for at in 0..84 {
        for byte in [0, 0xff] {
            let mut kernel = whole.clone();
            kernel[at] = byte;
            let mut files = made_up();
            files.insert("kernel.img".to_owned(), kernel);
            if let Err(error) = make(files) {
                assert!(error.contains("kernel.img"), "{at}: {error}");
            }
        }
    }
    // An address far away must not become a buffer of that length.
    for (at, word) in [(60, 0xffff_0000u32), (60, 0x8000), (24, 0x9001), (68, 7)] {
        let mut kernel = whole.clone();
        kernel[at..at + 4].copy_from_slice(&word.to_le_bytes());
        let mut files = made_up();
        files.insert("kernel.img".to_owned(), kernel);
        assert!(make(files).is_err(), "{at} {word:#x}");
    }
}

#[test]
fn what_we_are_asked_for_is_checked_too() {
    let modules = Modules::new(made_up()).unwrap();
    let core = |names: &[&str], prefix, config| {
        core_image(&modules, names, prefix, config, Kind::Disk)
            .map(drop)
            .map_err(|error| format!("{error:#}"))
    };
    assert_eq!(core(&["disk"], "/", Some("")), Ok(()));
    assert!(core(&["blscfg"], "/", None).unwrap_err().contains("blscfg"));
    assert!(core(&[], "/\0", None).unwrap_err().contains("prefix"));
    assert!(
        core(&[], "/", Some("\0"))
            .unwrap_err()
            .contains("configuration")
    );
    assert!(modules.has_file("boot_hybrid.img") && !modules.has_file("disk"));
    assert!(modules.has("disk") && !modules.has("blscfg") && !modules.has("disk.mod"));

    assert!(hybrid_boot_sector(&modules, 2049).is_err());
    for mut core in [vec![], vec![0; 511], vec![0; 1024]] {
        assert!(install_blocklist(&mut core, 2048).is_err());
    }
    let mut core = core_image(&modules, &[], "/", None, Kind::Disk).unwrap();
    assert!(install_blocklist(&mut core, u64::MAX).is_err());
}

#[test]
fn boot_sectors_are_told_where_the_core_image_lies() {
    let Some(modules) = modules() else { return };
    let given = files().unwrap();
    let lba = 0x0102_0304_0506_0708u64;
    let mut expected = given["boot.img"].clone();
    expected[0x5c..0x64].copy_from_slice(&lba.to_le_bytes());
    expected[0x64] = 0xff;
    expected[0x66..0x68].copy_from_slice(&[0x90, 0x90]);
    assert!(boot_sector(&modules, lba).unwrap() == expected[..BOOT_CODE_BYTES]);

    let mut expected = given["boot_hybrid.img"].clone();
    expected[0x1b0..0x1b8].copy_from_slice(&(1396u64 * 4 + 4).to_le_bytes());
    assert!(hybrid_boot_sector(&modules, 1396 * 2048).unwrap() == expected[..BOOT_CODE_BYTES]);

    let mut core = core_image(&modules, &ON_DISK, "/", None, Kind::Disk).unwrap();
    let before = core.clone();
    install_blocklist(&mut core, lba).unwrap();
    assert_eq!(core[0x1f4..0x1fc], (lba + 1).to_le_bytes());
    assert!(core[..0x1f4] == before[..0x1f4] && core[0x1fc..] == before[0x1fc..]);
}
