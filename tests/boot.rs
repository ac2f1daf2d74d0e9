//! The promise to the user: the media boot, and see the disk that stock media don't.
//!
//! Each boot takes a minute or two under emulation, so these run only with COREOS_BAKE_BOOT=1
//! (`scripts/test boot`).

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use support::machine::{
    MARKER, MEGASAS, able, assert_live, boot, free_port, ignition, lines, try_boot,
};
use support::{Workshop, find, run};

/// Bakes disk images of `image`; its kernel arguments name a serial console.
fn bake_disks(workshop: &Workshop, image: &str, formats: &str, more: &[&str]) -> PathBuf {
    let output = workshop.output(&format!("{image}-disks"));
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image(image), "-f", formats])
        .args(more)
        .arg("-o")
        .arg(&output));
    output
}

/// Bakes `image` with an Ignition config and a serial console.
fn bake(workshop: &Workshop, image: &str, more: &[&str]) -> PathBuf {
    let output = workshop.output(&format!("{image}-media"));
    let config = ignition(&output);
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image(image), "--compression", "fast"])
        .args([
            "--live-karg-append",
            "console=ttyS0",
            "--live-karg-append",
            "mini.poweroff",
            "--live-ignition",
        ])
        .arg(&config)
        .args(more)
        .arg("-o")
        .arg(&output));
    output
}

/// Bakes the layered image, whose driver has to be there.
fn bake_with_driver(workshop: &Workshop, format: &str) -> PathBuf {
    let more = ["-f", format, "--driver", "megaraid_sas"];
    bake(workshop, "layered", &more)
}

#[test]
fn a_layered_iso_boots_from_cd_and_stick_and_sees_the_disk() {
    let Some(workshop) = able() else { return };
    let media = bake_with_driver(&workshop, "iso");
    let iso = find(&media, ".iso").display().to_string();
    assert_live(
        &boot(&[&["--iso", &iso][..], &MEGASAS].concat()),
        "live-iso",
    );
    assert_live(
        &boot(&[&["--iso", &iso, "--usb"][..], &MEGASAS].concat()),
        "live-iso",
    );
}

#[test]
fn a_layered_pxe_set_boots_by_url_and_joined_and_sees_the_disk() {
    let Some(workshop) = able() else { return };
    let media = bake_with_driver(&workshop, "pxe");
    let kernel = find(&media, "-live-kernel.").display().to_string();
    let initrd = find(&media, "-live-initramfs.").display().to_string();
    let rootfs = find(&media, "-live-rootfs.");
    let kargs = "ignition.firstboot ignition.platform.id=metal console=ttyS0 mini.poweroff";
    let url = format!(
        "{kargs} coreos.live.rootfs_url=@URL@/{}",
        rootfs.file_name().unwrap().display()
    );
    let pxe = ["--kernel", &kernel, "--initrd", &initrd];
    let by_url = [
        &pxe[..],
        &["--append", &url, "--serve", media.to_str().unwrap()],
        &MEGASAS,
    ]
    .concat();
    assert_live(&boot(&by_url), "live-pxe");

    let rootfs = rootfs.display().to_string();
    let joined = [
        &pxe[..],
        &["--initrd", &rootfs, "--append", kargs],
        &MEGASAS,
    ]
    .concat();
    assert_live(&boot(&joined), "live-pxe");
}

#[test]
fn stock_media_boot_but_do_not_see_the_disk() {
    let Some(workshop) = able() else { return };
    let media = bake(&workshop, "stock", &["-f", "iso"]);
    let iso = find(&media, ".iso").display().to_string();
    let report = boot(&["--iso", &iso, "--disk-controller", "megasas"]);
    assert_eq!(lines(&report, "mode "), ["mode live-iso"], "{report}");
    assert_eq!(
        lines(&report, "ignition ").concat().trim(),
        format!("ignition {MARKER}"),
        "{report}"
    );
    assert!(!report.contains("megaraid_sas"), "{report}");
    assert!(
        !lines(&report, "unbound").is_empty(),
        "the controller has no driver: {report}"
    );
}

fn assert_installed(report: &str, driver: &str) {
    assert_eq!(lines(report, "mode "), ["mode installed"], "{report}");
    let disks = lines(report, "initramfs disk ");
    assert!(
        disks.iter().any(|line| line.contains(driver)),
        "the root disk hangs on {driver}: {report}"
    );
    assert_eq!(lines(report, "failed-unit"), [""; 0], "{report}");
}

/// Two disks of one: firmware and boot loader read the first, only the kernel the second. Debian's
/// OVMF can't read the controllers that the tests are about.
fn split(disk: &Path, directory: &Path) -> [String; 2] {
    let halves = ["boot.raw", "root.raw"].map(|name| directory.join(name));
    for (half, deleted) in halves
        .iter()
        .zip([&["-d", "4"][..], &["-d", "1", "-d", "2", "-d", "3"]])
    {
        run(Command::new("qemu-img")
            .args(["convert", "-O", "raw"])
            .arg(disk)
            .arg(half));
        run(Command::new("sgdisk").args(deleted).arg(half));
    }
    halves.map(|half| half.display().to_string())
}

/// Boots a disk image of the layered image under both firmwares, from the controller that only the
/// layer has a driver for.
fn disk_boots(format: &str, part: &str) {
    let Some(workshop) = able() else { return };
    let media = bake_disks(&workshop, "layered", format, &["--driver", "megaraid_sas"]);
    let disk = find(&media, part);
    let whole = disk.display().to_string();
    let report = boot(&[&["--disk", &whole, "--firmware", "bios"][..], &MEGASAS].concat());
    assert_installed(&report, "megaraid_sas");
    assert_eq!(lines(&report, "firmware "), ["firmware bios"], "{report}");

    let [boot_disk, root_disk] = split(&disk, &workshop.output("split"));
    let halves = ["--boot-disk", &boot_disk, "--disk", &root_disk];
    let report = boot(&[&halves[..], &MEGASAS].concat());
    assert_installed(&report, "megaraid_sas");
    assert_eq!(lines(&report, "firmware "), ["firmware uefi"], "{report}");
}

#[test]
fn a_metal_disk_boots_from_the_controller() {
    disk_boots("metal", "-metal.");
}

#[test]
fn a_qcow2_disk_boots_from_the_controller() {
    disk_boots("qcow2", ".qcow2");
}

#[test]
fn a_metal4k_disk_boots() {
    let Some(workshop) = able() else { return };
    let media = bake_disks(
        &workshop,
        "layered",
        "metal4k",
        &["--driver", "megaraid_sas"],
    );
    let metal4k = find(&media, "-metal4k.").display().to_string();
    let report = boot(&[
        "--disk",
        &metal4k,
        "--disk-controller",
        "virtio",
        "--sector-size",
        "4096",
    ]);
    assert_installed(&report, "virtio");
}

#[test]
fn a_repaired_image_boots_live_and_installed() {
    let Some(workshop) = able() else { return };
    let repaired = workshop.output("repaired").join("os");
    let repaired = format!("oci:{}", repaired.display());
    run(workshop
        .bake_as_nobody()
        .args(["layer", &workshop.image("forgot"), "-o", &repaired])
        .args(["--repair", "--driver", "megaraid_sas"]));
    let output = workshop.output("media");
    run(workshop
        .bake_as_nobody()
        .args(["bake", &repaired, "-f", "iso,metal", "--compression"])
        .args(["fast", "--driver", "megaraid_sas"])
        .args(["--live-karg-append", "console=ttyS0"])
        .args(["--live-karg-append", "mini.poweroff", "-o"])
        .arg(&output));
    let (iso, metal) = (find(&output, ".iso"), find(&output, "-metal."));
    let disk = ["--disk-controller", "megasas", "--firmware", "bios"];
    let live = boot(&[&["--iso", iso.to_str().unwrap()][..], &disk].concat());
    assert_eq!(lines(&live, "mode "), ["mode live-iso"], "{live}");
    assert!(live.contains("megaraid_sas"), "{live}");
    // The root disk hangs on that controller, so its driver came from the initramfs.
    let installed = boot(&[&["--disk", metal.to_str().unwrap()][..], &disk].concat());
    assert_installed(&installed, "megaraid_sas");
}

#[test]
fn a_stock_disk_boots_only_where_its_drivers_do() {
    let Some(workshop) = able() else { return };
    let media = bake_disks(&workshop, "stock", "metal", &[]);
    let metal = find(&media, "-metal.").display().to_string();
    let bios = ["--disk", &metal, "--firmware", "bios", "--disk-controller"];
    assert_installed(&boot(&[&bios[..], &["ahci"]].concat()), "ahci");
    let (output, report) = try_boot(&[&bios[..], &["megasas"]].concat());
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("EMERGENCY"), "{report}");
}

#[test]
fn an_iso_installs_itself_without_a_network_and_the_disk_boots() {
    let Some(workshop) = able() else { return };
    let output = workshop.output("media");
    let config = ignition(&output);
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "-f", "iso"])
        .args(["--driver", "megaraid_sas", "--dest-device", "/dev/sda"])
        .args(["--live-karg-append", "console=ttyS0", "--dest-ignition"])
        .arg(&config)
        .arg("-o")
        .arg(&output));
    let iso = find(&output, ".iso").display().to_string();
    let disk = output.join("disk.raw");
    fs::File::create(&disk).unwrap().set_len(4 << 30).unwrap();
    let disk = disk.display().to_string();
    let target = [
        "--disk",
        &disk,
        "--disk-controller",
        "megasas",
        "--writable",
        "--firmware",
        "bios",
    ];
    // The medium boots under BIOS here; other tests start it under UEFI.
    let install = [
        "--iso",
        &iso,
        "--timeout",
        "1500",
        "--until",
        "reboot: Restarting system",
    ];
    boot(&[&install[..], &target].concat());
    let report = boot(&target);
    assert_installed(&report, "megaraid_sas");
    assert_eq!(
        lines(&report, "ignition ").concat().trim(),
        format!("ignition {MARKER}"),
        "{report}"
    );
    // The first boot grew the root and made the sentinels its own.
    assert!(
        !lines(&report, "first-boot disk-uuid").is_empty(),
        "{report}"
    );
}

#[test]
fn bios_starts_sticks_and_a_minimal_iso_fetches_its_root() {
    let Some(workshop) = able() else { return };
    // The minimal ISO has to know where the server will be, so its port is chosen now.
    let port = free_port();
    let url = format!("http://10.0.2.2:{port}/rootfs.img");
    let media = bake(
        &workshop,
        "layered",
        &["-f", "iso,minimal-iso", "--rootfs-url", &url],
    );
    let iso = find(&media, "-live-iso.").display().to_string();
    let stick = ["--iso", &iso, "--usb", "--firmware", "bios"];
    assert_live(&boot(&[&stick[..], &MEGASAS].concat()), "live-iso");

    fs::rename(find(&media, "-live-rootfs."), media.join("rootfs.img")).unwrap();
    let minimal = find(&media, "-live-minimal-iso.").display().to_string();
    let port = port.to_string();
    let cd = [
        "--iso",
        &minimal,
        "--firmware",
        "bios",
        "--serve",
        media.to_str().unwrap(),
        "--port",
        &port,
    ];
    assert_live(&boot(&[&cd[..], &MEGASAS].concat()), "live-pxe");
}

/// What the first boots and years of use do to a root file system, all at once, by the guest's own
/// kernel and tools.
const HARD_USE: &str = r#"
say() { echo "MINI-REPORT: root-use $*" > /dev/console; }
trap 'say failed in line $LINENO' ERR
set -eE
part=$(readlink -f /dev/disk/by-label/root)
disk=/dev/$(lsblk --noheadings --output PKNAME "$part")
mkdir /run/root
xfs_admin -U generate "$part"
sgdisk --move-second-header "$disk"
echo ', +' | sfdisk --no-reread --force -N 4 "$disk"
partx --update "$disk"
mount -t xfs -o prjquota "$part" /run/root
say "mounted $(grep -o 'prjquota' /proc/mounts)"
before=$(stat --file-system --format=%b /run/root)
chattr -i /run/root/ostree/deploy/*/deploy/*.0
find /run/root -type f | awk 'NR % 3 == 0' | xargs --delimiter='\n' rm
mkdir /run/root/new
cd /run/root/new
seq --format='a-file-with-a-name-%05g' 10000 | xargs touch
xfs_growfs /run/root
seq --format='another-%05g' 10000 | xargs touch
head --bytes=64M /dev/urandom > large
say "grown by $(($(stat --file-system --format=%b /run/root) * 100 / before))"
cd /
umount /run/root
xfs_repair -n "$part" || { say "xfs_repair -n ended with $?"; exit; }
say done
"#;

#[test]
fn a_root_with_quotas_survives_hard_use_in_a_guest() {
    let Some(workshop) = able() else { return };
    let output = workshop.output("media");
    let config = output.join("use.ign");
    let unit = "[Unit]\nAfter=multi-user.target\n[Service]\nType=simple\n\
                ExecStart=/bin/bash /etc/hard-use\n";
    let script = base64::engine::general_purpose::STANDARD.encode(HARD_USE);
    let text = serde_json::json!({
        "ignition": { "version": "3.3.0" },
        "storage": {
            "files": [{
                "path": "/etc/hard-use",
                "contents": { "source": format!("data:;base64,{script}") },
            }],
            // Enabled by its link: the stand-in's presets come before Ignition's.
            "links": [{
                "path": "/etc/systemd/system/multi-user.target.wants/hard-use.service",
                "target": "/etc/systemd/system/hard-use.service",
            }],
        },
        "systemd": { "units": [{ "name": "hard-use.service", "contents": unit }]},
    });
    fs::write(&config, text.to_string()).unwrap();
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "-f", "iso,metal"])
        .args(["--live-karg-append", "console=ttyS0", "--live-ignition"])
        .arg(&config)
        .arg("-o")
        .arg(&output));
    let metal = find(&output, "-metal.");
    let size = fs::metadata(&metal).unwrap().len();
    let file = fs::File::options().write(true).open(&metal).unwrap();
    file.set_len(size + size).unwrap();
    let (iso, metal) = (find(&output, ".iso"), metal.display().to_string());
    let report = boot(&[
        "--iso",
        iso.to_str().unwrap(),
        "--disk",
        &metal,
        "--disk-controller",
        "megasas",
        "--writable",
        "--until",
        "MINI-REPORT: root-use (done|failed|xfs_repair)",
    ]);
    let steps = lines(&report, "root-use ");
    assert_eq!(
        steps.first(),
        Some(&"root-use mounted prjquota"),
        "{report}"
    );
    assert_eq!(steps.last(), Some(&"root-use done"), "{report}");
    let grown: u64 = steps[1].rsplit(' ').next().unwrap().parse().unwrap();
    assert!(grown >= 200, "{report}");
}
