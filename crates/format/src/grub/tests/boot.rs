//! SeaBIOS and SLOF start what we wrote, and GRUB says so on the serial line.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use uuid::{Uuid, uuid};

use super::super::{
    Kind, Modules, boot_sector, core_image, hybrid_boot_sector, install_blocklist, prep_image,
};
use super::{DIRECTORY_POWERPC, Files, ON_CD, ON_DISK, PREFIX, files, files_in, have, modules};
use crate::gpt::{Partition, SectorSize, Table, derive_guid, make_hybrid};
use crate::iso9660::{BootEntry, Reader, Volume, write_boot_code};
use bake_tree::Content;

const QEMU: &str = "qemu-system-x86_64";
const TYPE_BIOS_BOOT: Uuid = uuid!("21686148-6449-6E6F-744E-656564454649");
const TYPE_PREP: Uuid = uuid!("9e1a2d38-c612-4316-aa26-8b49521e5a8b");
const TYPE_LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
const MIB: u64 = 1 << 20;

/// A machine without acceleration needs a few seconds; this is for machines that hang.
const PATIENCE: Duration = Duration::from_secs(120);

const SENTENCE: &str = "GRUB reads its configuration";

/// Boots, and returns what came on the serial line when `SENTENCE` did, or all that came.
fn boot(qemu: &str, arguments: &[&str]) -> String {
    let log = NamedTempFile::new().unwrap();
    let mut machine = Command::new(qemu)
        .args("-accel tcg -m 256 -display none -monitor none -nic none -no-reboot".split(' '))
        .args(["-serial", &format!("file:{}", log.path().display())])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let said = loop {
        let is_over = machine.try_wait().unwrap().is_some();
        let said = String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
        let has_said = said
            .split_once(SENTENCE)
            .is_some_and(|(_, rest)| rest.contains('\n'));
        if is_over || has_said || start.elapsed() > PATIENCE {
            break said;
        }
        thread::sleep(Duration::from_millis(100));
    };
    // It may have gone by itself.
    let _ = machine.kill();
    machine.wait().unwrap();
    said
}

/// A menu for machines that show nothing on the serial line by themselves.
fn menu() -> String {
    format!("serial --unit=0\nterminal_output serial\n{}", sentence())
}

fn sentence() -> String {
    format!("echo \"{SENTENCE} from $prefix\"\nhalt\n")
}

/// Appends an ext4 file system of what is in `directory`.
fn ext4(disk: &Path, directory: &Path, offset: u64, mib: u64) {
    let output = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E"])
        .arg(format!("offset={offset}"))
        .arg("-d")
        .arg(directory)
        .arg(disk)
        .arg(format!("{mib}M"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A disk with a core image in its first partition, and `menu` beside GRUB's directory for
/// `platform` in its third.
fn disk(core: &[u8], kind: Uuid, platform: &str, files: &Files, menu: &str) -> NamedTempFile {
    const BOOT_MIB: u64 = 32;
    let boot_at = 3 * MIB;
    let partition = |number, name: &str, type_guid, first: u64, bytes: u64| Partition {
        number,
        name: name.to_owned(),
        type_guid,
        guid: derive_guid("test", name),
        first_lba: first / 512,
        last_lba: (first + bytes) / 512 - 1,
        attributes: 0,
    };
    let table = Table {
        disk_guid: derive_guid("test", "disk"),
        disk_bytes: (BOOT_MIB + 5) * MIB,
        sector_size: SectorSize::B512,
        partitions: vec![
            partition(1, "core", kind, MIB, MIB),
            partition(3, "boot", TYPE_LINUX, boot_at, BOOT_MIB * MIB),
        ],
    };
    let disk = NamedTempFile::new().unwrap();
    disk.as_file().set_len(table.disk_bytes).unwrap();

    let tree = tempfile::tempdir().unwrap();
    let grub = tree.path().join("grub2");
    fs::create_dir_all(grub.join(platform)).unwrap();
    fs::write(grub.join("grub.cfg"), menu).unwrap();
    for (name, bytes) in files {
        if name.ends_with(".mod") || name.ends_with(".lst") {
            fs::write(grub.join(platform).join(name), bytes).unwrap();
        }
    }
    ext4(disk.path(), tree.path(), boot_at, BOOT_MIB);
    disk.as_file().write_all_at(core, MIB).unwrap();
    table.write(disk.as_file()).unwrap();
    disk
}

#[test]
fn seabios_boots_a_disk() {
    let Some(files) = files() else { return };
    if !have(QEMU) || !have("mke2fs") {
        return;
    }
    let modules = Modules::new(files.clone()).unwrap();
    let mut core = core_image(&modules, &ON_DISK, PREFIX, None, Kind::Disk).unwrap();
    install_blocklist(&mut core, MIB / 512).unwrap();
    let disk = disk(&core, TYPE_BIOS_BOOT, "i386-pc", &files, &menu());
    disk.as_file()
        .write_all_at(&boot_sector(&modules, MIB / 512).unwrap(), 0)
        .unwrap();

    let drive = format!("file={},format=raw,snapshot=on", disk.path().display());
    let said = boot(QEMU, &["-drive", &drive]);
    assert!(
        said.contains(&format!("{SENTENCE} from (hd0,gpt3)/grub2")),
        "{said}"
    );
}

#[test]
fn open_firmware_boots_a_disk() {
    const QEMU: &str = "qemu-system-ppc64";
    // Neither is a referee that every machine can have.
    let is_there = Command::new(QEMU).arg("--version").output().is_ok();
    if !is_there || !Path::new(DIRECTORY_POWERPC).is_dir() {
        println!("skipped: {QEMU} or {DIRECTORY_POWERPC} is not installed");
        return;
    }
    if !have("mke2fs") {
        return;
    }
    let files = files_in(DIRECTORY_POWERPC).unwrap();
    let modules = Modules::new(files.clone()).unwrap();
    let core = prep_image(&modules, &ON_DISK[1..], PREFIX, None).unwrap();
    let disk = disk(&core, TYPE_PREP, "powerpc-ieee1275", &files, &sentence());

    let drive = format!(
        "file={},format=raw,snapshot=on,if=none,id=disk",
        disk.path().display()
    );
    let mut arguments = vec!["-drive", &drive];
    arguments.extend("-machine pseries -vga none -device virtio-scsi-pci".split(' '));
    arguments.extend("-device scsi-hd,drive=disk".split(' '));
    let said = boot(QEMU, &arguments);
    assert!(
        said.contains(&format!("{SENTENCE} from (ieee1275/disk,gpt3)/grub2")),
        "{said}"
    );
}

/// An ISO with a menu that GRUB finds by its prefix, for CDs and for disks.
fn iso() -> Option<NamedTempFile> {
    let modules = modules()?;
    let core = core_image(&modules, &ON_CD, "/EFI/vendor", None, Kind::Cd).unwrap();
    let image = "images/eltorito.img";
    let esp = "images/efiboot.img";
    let volume = Volume {
        id: "bios".to_owned(),
        set_id: String::new(),
        time: 0,
        files: BTreeMap::from([
            (image.to_owned(), Content::bytes(core)),
            (esp.to_owned(), Content::bytes(vec![0; 100_000])),
            (
                "EFI/vendor/grub.cfg".to_owned(),
                Content::bytes(menu().into_bytes()),
            ),
        ]),
        boot: vec![BootEntry::grub(image), BootEntry::uefi(esp)],
        catalog: None,
    };
    let out = NamedTempFile::new().unwrap();
    let layout = volume.layout().unwrap();
    layout.write(out.as_file(), &|_| ()).unwrap();
    let (offset, _) = layout.extent(image).unwrap();
    let code = hybrid_boot_sector(&modules, offset).unwrap();
    let (offset, length) = layout.extent(esp).unwrap();
    make_hybrid(out.as_file(), offset, length, "seed").unwrap();
    write_boot_code(out.as_file(), &code).unwrap();
    Some(out)
}

/// An ISO as programs that know nothing of GRUB rebuild it: there is only the classic boot info
/// table, and the image is the last thing on it.
#[test]
fn seabios_boots_a_rebuilt_iso_that_ends_with_the_image() {
    let Some(modules) = modules() else { return };
    if !have(QEMU) || !have("xorriso") {
        return;
    }
    let core = core_image(&modules, &ON_CD, "/EFI/vendor", None, Kind::Cd).unwrap();
    let tree = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("EFI/vendor/grub.cfg", menu().as_bytes()),
        ("isolinux/isolinux.bin", &core),
    ] {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let iso = NamedTempFile::new().unwrap();
    let output = Command::new("xorriso")
        .args("-as mkisofs -quiet -R -no-pad -no-emul-boot -boot-load-size 4".split(' '))
        .args("-boot-info-table -b isolinux/isolinux.bin -c isolinux/boot.cat".split(' '))
        .args("--sort-weight -1 isolinux/isolinux.bin -o".split(' '))
        .args([iso.path(), tree.path()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let length = iso.as_file().metadata().unwrap().len();
    let reader = Reader::open(Content::range(Arc::new(iso.reopen().unwrap()), 0, length)).unwrap();
    let end = reader.boot_images()[0].offset + core.len() as u64;
    assert_eq!(end.next_multiple_of(2048), length);

    let cd = format!(
        "file={},format=raw,readonly=on,media=cdrom",
        iso.path().display()
    );
    let said = boot(QEMU, &["-drive", &cd]);
    assert!(
        said.contains(&format!("{SENTENCE} from (hd96)/EFI/vendor")),
        "{said}"
    );
}

fn said(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn referees_see_a_grub_iso_that_is_also_a_disk() {
    let Some(iso) = iso() else { return };
    let path = iso.path().to_str().unwrap();
    if have("xorriso") {
        let report = ["plain", "-report_system_area", "plain"];
        let report = said(
            "xorriso",
            &[["-indev", path, "-report_el_torito"].as_slice(), &report].concat(),
        );
        for line in [
            "boot img :   1  BIOS  y   none  0x0000  0x00      4",
            "boot img :   2  UEFI  y   none",
            "img path :   1  /images/eltorito.img",
            "img opts :   1  boot-info-table grub2-boot-info",
            "MBR protective-msdos-label grub2-mbr cyl-align-off GPT",
            "MBR partition      :   1   0x00  0xee            1         2047",
            "MBR partition      :   2   0x80  0x00            0            1",
            "GPT partition path :   1  /images/efiboot.img",
        ] {
            assert!(report.contains(line), "{line}: {report}");
        }
    }
    if have("isoinfo") {
        let report = said("isoinfo", &["-d", "-i", path]);
        for line in ["Arch 0 (x86)", "Nsect 4\n", "Bootid 88 (bootable)"] {
            assert!(report.contains(line), "{line}: {report}");
        }
    }
    if have("sgdisk") {
        let report = said("sgdisk", &["-v", path]);
        assert!(report.contains("No problems found"), "{report}");
        assert!(!report.contains("Caution"), "{report}");
    }
}

#[test]
fn seabios_boots_an_iso_from_everywhere() {
    let Some(iso) = iso() else { return };
    if !have(QEMU) {
        return;
    }
    let drive = format!("file={},format=raw,readonly=on", iso.path().display());
    let cd = format!("{drive},media=cdrom");
    let disk = format!("file={},format=raw,snapshot=on", iso.path().display());
    let stick = format!("{drive},if=none,id=stick");
    let usb = "qemu-xhci -device usb-storage,drive=stick".split(' ');
    let usb: Vec<&str> = ["-drive", &stick, "-device"]
        .into_iter()
        .chain(usb)
        .collect();
    for (arguments, device) in [
        // SeaBIOS numbers CDs from 0xe0, GRUB disks from 0x80.
        (["-drive", &cd].as_slice(), "hd96"),
        (&["-drive", &disk], "hd0"),
        (&usb, "hd0"),
    ] {
        let said = boot(QEMU, arguments);
        assert!(
            said.contains(&format!("{SENTENCE} from ({device})/EFI/vendor")),
            "{arguments:?}: {said}"
        );
    }
}
