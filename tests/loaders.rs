//! The files beside a PXE set, started by the boot loaders that they are for: iPXE, PXELINUX, GRUB.
//!
//! The proof is what the kernel says on the serial console: its arguments, how much was unpacked as
//! initramfs, and that systemd runs from there. How the boot goes on is up to `boot.rs`. A boot takes
//! up to a minute under emulation, so these run only with COREOS_BAKE_BOOT=1 (`scripts/test boot`).

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::server::{Running, serve_files};
use support::{Workshop, find, have, run, skip};

/// What the live system is started with in all of these tests. The last argument has every mark that an
/// argument can have.
const KARGS: &str =
    "ignition.firstboot ignition.platform.id=metal console=ttyS0 mini.odd=!#%()*+,-./:=?@[]^_~";

/// An address nothing is fetched from, as the machines are stopped before. It has what the loaders' own
/// languages give a meaning to.
const ROOTFS_URL: &str = "http://10.0.2.2/rootfs.img?key=a&expires=1;c=$d";

/// Several times what a boot takes on a busy host, so only a machine that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(300);

const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

#[derive(Clone, Copy)]
enum Firmware {
    Bios,
    Uefi,
}

/// A place to work in, if boots are wanted and `tools` and `files` are installed.
fn able(tools: &[&str], files: &[&str]) -> Option<Workshop> {
    if std::env::var_os("COREOS_BAKE_BOOT").is_none() {
        eprintln!("skipped: boots take minutes; set COREOS_BAKE_BOOT=1");
        return None;
    }
    if !have("qemu-system-x86_64") || !tools.iter().all(|tool| have(tool)) {
        return None;
    }
    for file in files {
        if !Path::new(file).exists() {
            return skip(&format!("{file} is not installed"));
        }
    }
    Workshop::new()
}

/// A PXE set in a new directory `name`.
fn bake(workshop: &Workshop, name: &str, more: &[&str]) -> PathBuf {
    let output = workshop.output(name);
    let (_, added) = KARGS.split_once("=metal ").unwrap();
    let mut command = workshop.bake_as_nobody();
    command.args(["bake", &workshop.image("layered"), "-f", "pxe"]);
    command.args(["--compression", "fast"]);
    for karg in added.split(' ') {
        command.args(["--live-karg-append", karg]);
    }
    run(command.args(more).arg("-o").arg(&output));
    output
}

/// Puts zeros, of which the kernel unpacks nothing, in the place of the root file system: TFTP under
/// emulation takes half a minute for the real one, and the initramfs does without.
fn shrink(rootfs: &Path) {
    File::create(rootfs).unwrap().set_len(8 << 20).unwrap();
}

/// Installs GRUB for `platform` into `boot/grub` under `root`; returns the file to boot.
fn install_grub(root: &Path, platform: &str, image: &str) -> String {
    run(Command::new("grub-mknetdir")
        .arg(format!("--net-directory={}", root.display()))
        .args(["--subdir=boot/grub", "-d"])
        .arg(format!("/usr/lib/grub/{platform}")));
    format!("boot/grub/{platform}/{image}")
}

fn machine(workshop: &Workshop, firmware: Firmware, tftp: &Path, file: &str) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=multi", "-machine", "q35", "-smp", "1"])
        .args([
            "-cpu",
            "max,la57=off,erms=off,fsrm=off",
            "-m",
            "2048",
            "-no-reboot",
        ])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-device", "virtio-rng-pci", "-netdev"])
        .arg(format!(
            "user,id=net,tftp={},bootfile={file}",
            tftp.display()
        ))
        .args(["-device", "virtio-net-pci,netdev=net,bootindex=1"]);
    if let Firmware::Uefi = firmware {
        let variables = workshop.path("variables.fd");
        fs::copy(OVMF_VARS, &variables).expect("copying OVMF's variables");
        let flash = "if=pflash,format=raw,unit=";
        qemu.arg("-drive")
            .arg(format!("{flash}0,readonly=on,file={OVMF_CODE}"))
            .arg("-drive")
            .arg(format!("{flash}1,file={}", variables.display()));
    }
    qemu
}

/// Boots `file` from the TFTP server's directory `tftp` until the initramfs runs; returns what came
/// over the serial console.
fn boot(workshop: &Workshop, firmware: Firmware, tftp: &Path, file: &str) -> String {
    let log = workshop.path("console.log");
    let errors = workshop.path("qemu.log");
    let started = Instant::now();
    loop {
        let mut machine = machine(workshop, firmware, tftp, file);
        machine
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(&errors).unwrap());
        let mut running = Running(machine.spawn().expect("starting QEMU"));
        loop {
            thread::sleep(Duration::from_millis(250));
            let ended = running.0.try_wait().expect("waiting for QEMU").is_some();
            let console = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
            if console.contains("running in system mode") {
                return console;
            }
            // On a busy host the emulated timer can miss its ticks while the kernel looks for it.
            if console.contains("timer doesn't work") {
                eprintln!("note: the emulated timer failed, starting again");
                break;
            }
            assert!(
                !ended && !console.contains("Kernel panic") && started.elapsed() < PATIENCE,
                "no initramfs from {file}; QEMU {}\n{}\n{console}",
                if ended { "ended" } else { "ran" },
                fs::read_to_string(&errors).unwrap_or_default(),
            );
        }
    }
}

/// Asserts that the kernel got `kargs` and, as its initramfs, all of `initrds`.
fn assert_started(console: &str, kargs: &str, initrds: &[&Path]) {
    let line = console
        .lines()
        .find_map(|line| Some(line.split_once("Command line: ")?.1.trim_end()))
        .unwrap_or_else(|| panic!("no arguments: {console}"));
    let given: Vec<&str> = line.split(' ').collect();
    let wanted: Vec<&str> = kargs.split(' ').collect();
    assert!(
        given
            .windows(wanted.len())
            .any(|window| window == wanted.as_slice()),
        "{kargs}\nis not in\n{line}"
    );

    assert!(!console.contains("Initramfs unpacking failed"), "{console}");
    let loaded: u64 = console
        .lines()
        .find_map(|line| {
            line.split_once("Freeing initrd memory: ")?
                .1
                .split_once('K')
        })
        .unwrap_or_else(|| panic!("no initramfs: {console}"))
        .0
        .parse()
        .unwrap();
    let size: u64 = initrds
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    // What is freed are whole pages; loaders may begin each file on a page of its own.
    let pages = size.div_ceil(1024)..size.div_ceil(1024) + 4 * (initrds.len() as u64 + 1);
    assert!(
        pages.contains(&loaded),
        "{loaded} KiB of {pages:?} were loaded"
    );
    eprintln!("{line}\n{loaded} KiB of initramfs");
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap()
}

#[test]
fn ipxe_under_bios_chains_to_the_script_by_http() {
    let Some(workshop) = able(&["python3"], &[]) else {
        return;
    };
    let media = bake(&workshop, "media", &[]);
    let (_server, url) = serve_files(&media);
    let tftp = workshop.output("tftp");
    let script = find(&media, ".ipxe");
    let chain = format!("#!ipxe\nchain {url}/{}\n", name(&script));
    fs::write(tftp.join("chain.ipxe"), chain).unwrap();

    let console = boot(&workshop, Firmware::Bios, &tftp, "chain.ipxe");
    let initrds = [find(&media, "-initramfs."), find(&media, "-rootfs.")];
    assert_started(&console, KARGS, &[&initrds[0], &initrds[1]]);
}

#[test]
fn ipxe_under_uefi_takes_the_script_by_tftp() {
    let Some(workshop) = able(&[], &[OVMF_CODE]) else {
        return;
    };
    let media = bake(&workshop, "media", &[]);
    let script = find(&media, ".ipxe");

    let console = boot(&workshop, Firmware::Uefi, &media, name(&script));
    let initrds = [find(&media, "-initramfs."), find(&media, "-rootfs.")];
    assert_started(&console, KARGS, &[&initrds[0], &initrds[1]]);
}

#[test]
fn pxelinux_takes_the_configuration_as_its_default() {
    let programs = [
        "/usr/lib/PXELINUX/pxelinux.0",
        "/usr/lib/syslinux/modules/bios/ldlinux.c32",
    ];
    let Some(workshop) = able(&[], &programs) else {
        return;
    };
    let media = bake(&workshop, "media", &[]);
    for program in programs.map(Path::new) {
        fs::copy(program, media.join(name(program))).unwrap();
    }
    let directory = media.join("pxelinux.cfg");
    fs::create_dir(&directory).unwrap();
    fs::copy(find(&media, ".pxelinux.cfg"), directory.join("default")).unwrap();
    shrink(&find(&media, "-rootfs."));

    let console = boot(&workshop, Firmware::Bios, &media, "pxelinux.0");
    let initrds = [find(&media, "-initramfs."), find(&media, "-rootfs.")];
    assert_started(&console, KARGS, &[&initrds[0], &initrds[1]]);
}

#[test]
fn grub_under_bios_finds_the_files_beside_its_configuration() {
    let Some(workshop) = able(&["grub-mknetdir"], &["/usr/lib/grub/i386-pc"]) else {
        return;
    };
    let root = workshop.output("server");
    let media = bake(&workshop, "server/media", &[]);
    let file = install_grub(&root, "i386-pc", "core.0");
    let config = find(&media, ".grub.cfg");
    let outer = format!("configfile /media/{}\n", name(&config));
    fs::write(root.join("boot/grub/grub.cfg"), outer).unwrap();
    shrink(&find(&media, "-rootfs."));

    let console = boot(&workshop, Firmware::Bios, &root, &file);
    let initrds = [find(&media, "-initramfs."), find(&media, "-rootfs.")];
    assert_started(&console, KARGS, &[&initrds[0], &initrds[1]]);
}

#[test]
fn grub_under_uefi_finds_the_files_at_the_servers_root() {
    let Some(workshop) = able(&["grub-mknetdir"], &["/usr/lib/grub/x86_64-efi", OVMF_CODE]) else {
        return;
    };
    let media = bake(&workshop, "media", &["--rootfs-url", ROOTFS_URL]);
    let file = install_grub(&media, "x86_64-efi", "core.efi");
    fs::copy(find(&media, ".grub.cfg"), media.join("boot/grub/grub.cfg")).unwrap();

    let console = boot(&workshop, Firmware::Uefi, &media, &file);
    let kargs = format!("{KARGS} coreos.live.rootfs_url={ROOTFS_URL}");
    assert_started(&console, &kargs, &[&find(&media, "-initramfs.")]);
}
