//! Our core images and those of `grub-mkimage` differ in the compressor's choices, and in how many
//! sectors of a CD are read.

use std::fs;
use std::path::Path;
use std::process::Command;

use zerocopy::FromBytes;

use super::super::compress::unlzma;
use super::super::format::{
    Blocklist, CDBOOT_BYTES, CDBOOT_COUNT, CDBOOT_EXACT_COUNT, DecompressHead, SECTOR,
};
use super::super::{Kind, MAX_CORE_BYTES, Modules, core_image, prep_image};
use super::{DIRECTORY, DIRECTORY_POWERPC, ON_DISK, PREFIX, files_in, have, modules};

/// What `grub-mkimage` makes of the same.
fn theirs(
    modules: &str,
    format: &str,
    names: &[&str],
    prefix: &str,
    config: Option<&str>,
) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("core.img");
    let mut command = Command::new("grub-mkimage");
    command.args(["-d", modules, "-p", prefix, "-O", format]);
    if let Some(config) = config {
        let file = directory.path().join("config");
        fs::write(&file, config).unwrap();
        command.arg("-c").arg(file);
    }
    let status = command.arg("-o").arg(&out).args(names).status().unwrap();
    assert!(status.success());
    fs::read(out).unwrap()
}

/// A core image taken apart: what comes before the compressed bytes, without the fields that tell
/// their length; and what they are compressed from.
fn parts(mut image: Vec<u8>, kind: Kind, decompressor: usize) -> (Vec<u8>, Vec<u8>) {
    let core = SECTOR
        + match kind {
            Kind::Disk => 0,
            Kind::Cd => CDBOOT_BYTES,
        };
    if kind == Kind::Cd {
        let length = CDBOOT_COUNT.len();
        let at = image[..CDBOOT_BYTES]
            .windows(length)
            .position(|code| code == CDBOOT_COUNT || code == CDBOOT_EXACT_COUNT)
            .expect("cdboot.img counts sectors");
        image[at..at + length].fill(0);
    }
    let in_core = image.len() - core;
    let (_, list) = Blocklist::mut_from_suffix(&mut image[..core]).unwrap();
    assert_eq!(usize::from(list.sectors.get()), in_core.div_ceil(SECTOR));
    list.sectors = 0.into();
    let (head, _) = DecompressHead::mut_from_prefix(&mut image[core..]).unwrap();
    let compressed = head.compressed_bytes.get() as usize;
    let uncompressed = head.uncompressed_bytes.get() as usize;
    head.compressed_bytes = 0.into();
    let payload = image.split_off(core + decompressor);
    assert_eq!(payload.len(), compressed);
    (image, unlzma(&payload, uncompressed).unwrap())
}

#[test]
fn grub_mkimage_makes_the_same() {
    let Some(modules) = modules() else { return };
    if !have("grub-mkimage") {
        return;
    }
    let decompressor = fs::metadata(format!("{DIRECTORY}/lzma_decompress.img"))
        .unwrap()
        .len() as usize;
    let many = [
        "normal",
        "search",
        "configfile",
        "iso9660",
        "biosdisk",
        "all_video",
        "linux",
        "test",
    ];
    let cases: [(&[&str], &str, Option<&str>, Kind); 7] = [
        (&ON_DISK, PREFIX, None, Kind::Disk),
        (&[], "", None, Kind::Disk),
        (&ON_DISK, "/123", Some("set a=1\n"), Kind::Disk),
        (&ON_DISK, "/12", Some("set a=12"), Kind::Disk),
        (&["biosdisk", "biosdisk"], "/1", Some(""), Kind::Disk),
        (&many, "/boot/grub", None, Kind::Cd),
        (&many, "/boot/grub", Some("echo a\necho b\n"), Kind::Cd),
    ];
    for (names, prefix, config, kind) in cases {
        let ours = core_image(&modules, names, prefix, config, kind).unwrap();
        let format = match kind {
            Kind::Disk => "i386-pc",
            Kind::Cd => "i386-pc-eltorito",
        };
        let theirs = theirs(DIRECTORY, format, names, prefix, config);
        println!("{names:?}: {} bytes, {} theirs", ours.len(), theirs.len());
        let ours = parts(ours, kind, decompressor);
        let theirs = parts(theirs, kind, decompressor);
        assert!(ours.0 == theirs.0, "{names:?} {prefix} {config:?}: heads");
        assert!(ours.1 == theirs.1, "{names:?} {prefix} {config:?}: payload");
    }
}

#[test]
fn grub_mkimage_makes_the_same_for_power() {
    // No referee of every machine: the package is of another architecture.
    if !Path::new(DIRECTORY_POWERPC).is_dir() {
        println!("skipped: {DIRECTORY_POWERPC} is not installed");
        return;
    }
    if !have("grub-mkimage") {
        return;
    }
    let modules = Modules::new(files_in(DIRECTORY_POWERPC).unwrap()).unwrap();
    let cases: [(&[&str], &str, Option<&str>); 3] = [
        (&["part_gpt", "ext2", "mdraid1x"], PREFIX, None),
        (&[], "", None),
        (&["normal", "search", "test"], "/x", Some("set a=1\n")),
    ];
    for (names, prefix, config) in cases {
        let ours = prep_image(&modules, names, prefix, config).unwrap();
        let theirs = theirs(DIRECTORY_POWERPC, "powerpc-ieee1275", names, prefix, config);
        assert!(ours == theirs, "{names:?} {prefix} {config:?}");
    }
}

#[test]
fn same_input_same_bytes() {
    let Some(modules) = modules() else { return };
    let make = || core_image(&modules, &ON_DISK, PREFIX, None, Kind::Disk).unwrap();
    assert!(make() == make());
}

#[test]
fn what_does_not_fit_into_low_memory_is_refused() {
    let Some(modules) = modules() else { return };
    let mut state = 1u32;
    let mut noise = |bytes: usize| -> String {
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Seven random bits in each character, but never NUL.
            char::from((state >> 25) as u8 | u8::from(state >> 25 == 0))
        })
        .take(bytes)
        .collect()
    };
    let mut make = |bytes| {
        let config = noise(bytes);
        core_image(&modules, &[], "/", Some(&config), Kind::Disk)
    };
    assert!(make(400_000).unwrap().len() < MAX_CORE_BYTES + SECTOR);
    let error = make(540_000).unwrap_err().to_string();
    assert!(error.contains("low memory"), "{error}");
    let error = make(9 << 20).unwrap_err().to_string();
    assert!(error.contains("more than"), "{error}");
}
