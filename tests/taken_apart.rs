//! A baked ISO survives what OpenShift's programs do: it is unpacked, edited, and made anew from its
//! files (`tests/support/iso_editor.rs` has their rules). What comes of it boots under both firmwares.

mod support;

#[path = "support/iso_editor.rs"]
mod iso_editor;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use iso_editor::Unpacked;
use support::machine::{MEGASAS, able, assert_live, boot, free_port, ignition, lines};
use support::{Workshop, find, have, run, sample, text};

/// What is added to the kernel arguments by the programs' own way, so that a report shows it.
const ADDED: &str = "console=ttyS0 mini.poweroff mini.added";

/// Bakes an ISO with nothing on it but the image.
fn bake(workshop: &Workshop) -> PathBuf {
    let output = workshop.output("media");
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "-f", "iso"])
        .args(["--compression", "fast", "--driver", "megaraid_sas", "-o"])
        .arg(&output));
    find(&output, ".iso")
}

/// What xorriso says of an ISO's boot images.
fn boot_report(iso: &Path) -> String {
    let output = run(Command::new("xorriso")
        .arg("-indev")
        .arg(iso)
        .args(["-report_el_torito", "plain"]));
    text(&output)
}

#[test]
fn a_baked_iso_is_made_anew_from_its_files() {
    let (Some(workshop), Some(sample), true) = (Workshop::new(), sample(), have("xorriso")) else {
        return;
    };
    let iso = bake(&workshop);
    let full = Unpacked::new(&iso, workshop.path("full"));
    let areas = full.areas().unwrap();
    let paths: Vec<&str> = areas.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["boot/grub/grub.cfg", "isolinux/isolinux.cfg"]);
    full.embed_ignition(b"{}");
    full.append_kargs(ADDED).unwrap();
    let rebuilt = workshop.path("rebuilt.iso");
    full.create(&rebuilt).unwrap();
    let report = boot_report(&rebuilt);
    for line in [
        "El Torito cat path : /isolinux/boot.cat",
        "El Torito boot img :   1  BIOS  y   none  0x0000  0x00      4",
        "El Torito boot img :   2  UEFI  y   none",
        "El Torito img path :   1  /isolinux/isolinux.bin",
        "El Torito img opts :   1  boot-info-table",
        "El Torito img path :   2  /images/efiboot.img",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }

    // A minimal ISO still says to coreos-installer where its arguments are. It looks for level 1 names.
    let minimal = Unpacked::new(&iso, workshop.path("minimal"));
    minimal.make_minimal("http://a/rootfs.img", b"{}").unwrap();
    for (path, ..) in minimal.areas().unwrap() {
        let menu = fs::read_to_string(minimal.path(&path)).unwrap();
        assert!(!menu.contains("coreos.liveiso="), "{menu}");
        assert!(
            menu.contains("coreos.live.rootfs_url=\"http://a/rootfs.img\""),
            "{menu}"
        );
        assert!(menu.contains(iso_editor::RAM_DISK), "{menu}");
    }
    minimal.shorten_extensions();
    let small = workshop.path("minimal.iso");
    minimal.create(&small).unwrap();
    let shown = run(Command::new(sample.join("tools/coreos-installer"))
        .args(["iso", "kargs", "show"])
        .arg(&small));
    let shown = text(&shown);
    assert!(shown.contains("coreos.live.rootfs_url="), "{shown}");

    // `check` says so beforehand, and what else the service would say of the stand-in.
    let check = |iso: &Path, program: &str| {
        let output = workshop
            .bake_as_nobody()
            .args(["check", "--format", "json", "--for", program])
            .arg(iso)
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let objections = said["for"][0]["objections"].as_array().unwrap().iter();
        let says = objections.map(|objection| objection["says"].as_str().unwrap_or("").to_owned());
        (output.status.code(), says.collect::<Vec<_>>().join("\n"))
    };
    for iso in [&iso, &rebuilt] {
        for program in ["agent", "ipi"] {
            assert_eq!(check(iso, program), (Some(0), String::new()), "{program}");
        }
    }
    let (code, says) = check(&iso, "assisted");
    assert_eq!(code, Some(1));
    assert!(says.contains("ISO volume identifier (mini-"), "{says}");
    assert!(
        !says.contains("catalog") && !says.contains("isolinux"),
        "{says}"
    );
    let (code, says) = check(&small, "agent");
    assert_eq!(code, Some(0), "{says}");
    assert!(says.contains("rootfs.img: no such file"), "{says}");
}

#[test]
fn an_iso_made_anew_boots_with_its_config_and_arguments() {
    let Some(workshop) = able() else { return };
    let unpacked = Unpacked::new(&bake(&workshop), workshop.path("full"));
    let config = fs::read(ignition(&workshop.output("config"))).unwrap();
    unpacked.embed_ignition(&config);
    unpacked.append_kargs(ADDED).unwrap();
    unpacked.shorten_extensions();
    let rebuilt = workshop.path("rebuilt.iso");
    unpacked.create(&rebuilt).unwrap();
    for firmware in ["uefi", "bios"] {
        let iso = ["--iso", rebuilt.to_str().unwrap(), "--firmware", firmware];
        let report = boot(&[&iso[..], &MEGASAS].concat());
        assert_live(&report, "live-iso");
        assert_eq!(
            lines(&report, "firmware "),
            [format!("firmware {firmware}")]
        );
        assert!(
            lines(&report, "kargs ").concat().contains(ADDED),
            "{report}"
        );
    }
}

#[test]
fn a_minimal_iso_made_of_it_boots_with_its_root_by_url() {
    let Some(workshop) = able() else { return };
    let unpacked = Unpacked::new(&bake(&workshop), workshop.path("minimal"));
    let served = workshop.output("served");
    let rootfs = unpacked.path("images/pxeboot/rootfs.img");
    fs::copy(rootfs, served.join("rootfs.img")).unwrap();
    let port = free_port().to_string();
    let url = format!("http://10.0.2.2:{port}/rootfs.img");
    // The config comes with the initramfs that such ISOs have besides.
    let config = fs::read(ignition(&workshop.output("config"))).unwrap();
    unpacked.make_minimal(&url, &config).unwrap();
    unpacked.append_kargs(ADDED).unwrap();
    let minimal = workshop.path("minimal.iso");
    unpacked.create(&minimal).unwrap();
    for firmware in ["uefi", "bios"] {
        let iso = ["--iso", minimal.to_str().unwrap(), "--firmware", firmware];
        let serve = ["--serve", served.to_str().unwrap(), "--port", &port];
        let report = boot(&[&iso[..], &serve, &MEGASAS].concat());
        assert_live(&report, "live-pxe");
        assert_eq!(
            lines(&report, "firmware "),
            [format!("firmware {firmware}")]
        );
        let kargs = lines(&report, "kargs ").concat();
        assert!(
            kargs.contains(&format!("coreos.live.rootfs_url={url}")),
            "{report}"
        );
        assert!(kargs.contains(ADDED), "{report}");
        assert!(!kargs.contains("coreos.liveiso="), "{report}");
    }
}
