//! Disk images: clean to everybody's repair tools, the same system as the live root, rebuilt byte for
//! byte by the installer's own code.

#[path = "support/layout.rs"]
mod layout;
mod support;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use layout::{Item, derive, tar};
use libcoreinst::io::Initrd;
use libcoreinst::osmet::OsmetUnpacker;
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::tree::{Mounted, differences};
use support::{Workshop, find, have, is_root, names, run, run_to_fail, skip, text};

const MIB: u64 = 1 << 20;
const ALL: &str = "iso,minimal-iso,pxe,metal,metal4k,qcow2";
const URL: &str = "http://10.0.2.2/rootfs.img";

fn bake(workshop: &Workshop, name: &str, more: &[&str]) -> PathBuf {
    let output = workshop.output(name);
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "--compression", "fast"])
        .args(more)
        .arg("-o")
        .arg(&output));
    output
}

/// A tool that the sample brings.
fn tool(name: &str) -> PathBuf {
    support::sample().unwrap().join("tools").join(name)
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&run(command).stdout).unwrap()
}

fn written(media: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(media.join(file)).unwrap()).unwrap()
}

fn inspect(workshop: &Workshop, medium: &Path) -> Value {
    json(
        workshop
            .bake_as_nobody()
            .args(["inspect", "--format", "json"])
            .arg(medium),
    )
}

/// Copies a partition out of a raw image, sparsely.
fn cut(image: &Path, facts: &Value, name: &str, to: &Path) -> PathBuf {
    let partition = facts["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|partition| partition["name"] == name)
        .unwrap();
    let sector = facts["sector-bytes"].as_u64().unwrap();
    let start = partition["first-sector"].as_u64().unwrap() * sector;
    let size = partition["size"].as_u64().unwrap();
    run(Command::new("dd")
        .arg(format!("if={}", image.display()))
        .arg(format!("of={}", to.display()))
        .args(["bs=1M", "conv=sparse", "status=none"])
        .arg(format!("skip={}", start / MIB))
        .arg(format!("count={}", size / MIB)));
    File::options()
        .write(true)
        .open(to)
        .unwrap()
        .set_len(size)
        .unwrap();
    to.to_owned()
}

/// Everything that `xfs_repair -n` has to say, but for its phases.
fn assert_xfs_clean(image: &Path) {
    let output = run(Command::new("xfs_repair").arg("-n").arg(image));
    let said = text(&output) + &String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| {
            !line.starts_with("Phase")
                && !line.starts_with("        - ")
                && !line.starts_with("No modify flag set")
                // Of every file that does not lie on XFS.
                && !line.contains("host filesystem geometry")
                && !line.contains("sector size mismatch between")
                && !line.contains("the image and the host filesystem")
        })
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn assert_partitions_clean(workshop: &Workshop, image: &Path) {
    let facts = inspect(workshop, image);
    let scratch = workshop.output("partitions");
    fs::create_dir_all(&scratch).unwrap();
    let part = |name: &str| cut(image, &facts, name, &scratch.join(name));
    assert_xfs_clean(&part("root"));
    run(Command::new("e2fsck").arg("-fn").arg(part("boot")));
    let said = text(&run(Command::new("fsck.fat")
        .arg("-n")
        .arg(part("EFI-SYSTEM"))));
    assert!(!said.contains("differ") && !said.contains("rror"), "{said}");
    fs::remove_dir_all(&scratch).unwrap();
}

/// `/boot/grub2` as bootupd and grub2-install leave it: GRUB's core image beside its modules is that of the
/// partition, but for where it lies on the disk.
fn assert_grub_is_as_installed(workshop: &Workshop, metal: &Path) {
    let facts = inspect(workshop, metal);
    let boot = cut(metal, &facts, "boot", &workshop.path("grub-boot"));
    let core = cut(metal, &facts, "BIOS-BOOT", &workshop.path("grub-core"));
    let debugfs = |request: &str| {
        text(&run(Command::new("debugfs")
            .args(["-R", request])
            .arg(&boot)))
    };
    assert!(debugfs("stat /grub2").contains("Mode:  0700"));
    let dumped = workshop.path("dumped");
    let dump = |name: &str| {
        debugfs(&format!("dump /grub2/i386-pc/{name} {}", dumped.display()));
        fs::read(&dumped).unwrap()
    };
    let (left, installed) = (dump("core.img"), fs::read(&core).unwrap());
    // The first sector ends with the list of blocks: start, length and segment of the rest.
    const LIST: std::ops::Range<usize> = 500..512;
    assert!(left.len() > 512 && left.len() < installed.len());
    assert_eq!(left[..LIST.start], installed[..LIST.start]);
    assert_ne!(left[LIST], installed[LIST]);
    assert!(left[LIST.end..] == installed[LIST.end..left.len()]);
    let boot_code = fs::read("/usr/lib/grub/i386-pc/boot.img").unwrap();
    assert!(dump("boot.img") == boot_code, "Debian's, as in the sample");
    for name in ["modinfo.sh", "moddep.lst", "normal.mod"] {
        assert!(!dump(name).is_empty(), "{name}");
    }
}

#[test]
fn every_image_is_clean_and_has_the_driver() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    if !["sgdisk", "xfs_repair", "e2fsck", "qemu-img", "debugfs"]
        .iter()
        .all(|tool| have(tool))
    {
        return;
    }
    let media = bake(
        &workshop,
        "media",
        &["-f", ALL, "--rootfs-url", URL, "--driver", "megaraid_sas"],
    );
    run(Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "sha256sum.txt"])
        .current_dir(&media));

    let metal = find(&media, "-metal.");
    let said = text(&run(Command::new("sgdisk").arg("-v").arg(&metal)));
    assert!(said.contains("No problems found"), "{said}");
    assert_partitions_clean(&workshop, &metal);
    // As coreos-assembler has it since 2025-12: gdisk's names of the types.
    for (number, name) in [(3, "XBOOTLDR partition"), (4, "Linux x86-64 root (/)")] {
        let said = text(&run(Command::new("sgdisk")
            .arg(format!("--info={number}"))
            .arg(&metal)));
        assert!(said.contains(name), "{said}");
    }
    assert_grub_is_as_installed(&workshop, &metal);

    let metal4k = find(&media, "-metal4k.");
    let listed = text(&run(Command::new("fdisk")
        .args(["--sector-size", "4096", "--list"])
        .arg(&metal4k)));
    for name in ["EFI System", "gpt"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert_partitions_clean(&workshop, &metal4k);

    let qcow2 = find(&media, ".qcow2");
    run(Command::new("qemu-img").arg("check").arg(&qcow2));
    let raw = media.join("qcow2.raw");
    run(Command::new("qemu-img")
        .args(["convert", "-O", "raw"])
        .arg(&qcow2)
        .arg(&raw));
    assert_partitions_clean(&workshop, &raw);
    assert_eq!(
        fs::metadata(&raw).unwrap().len(),
        10 << 30,
        "as image.json says"
    );

    let mut platforms = Vec::new();
    for disk in [&metal, &metal4k, &qcow2] {
        let facts = inspect(&workshop, disk);
        assert_eq!(facts["disk-guid"], "00000000-0000-4000-a000-000000000001");
        assert_eq!(
            facts["boot"]["uuid"],
            "96d15588-3596-4b3c-adca-a2ff7279ea63"
        );
        assert_eq!(
            facts["root"]["uuid"],
            "910678ff-f77e-4a7d-8d53-86f2ac47a823"
        );
        let options = facts["entry"]["options"].as_str().unwrap();
        assert!(
            !options.contains("root=") && !options.contains("boot="),
            "{options}"
        );
        let platform = options
            .split(' ')
            .find(|karg| karg.starts_with("ignition.platform.id="));
        platforms.push(platform.unwrap().rsplit('=').next().unwrap().to_owned());

        let check = |driver: &str| {
            let mut command = workshop.bake_as_nobody();
            command
                .args(["check", "--format", "json", "--driver", driver])
                .arg(disk);
            command
        };
        let table = json(&mut check("megaraid_sas"));
        assert_eq!(table["missing"], serde_json::json!([]), "{table}");
        assert_eq!(table["drivers"][0]["stage"], "install-initramfs");
        assert_eq!(table["drivers"][1]["stage"], "install-root");
        run_to_fail(&mut check("no_such_driver"));
    }
    assert_eq!(platforms, ["metal", "metal", "qemu"]);
}

#[test]
fn users_and_threads_do_not_show_in_the_bytes() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let options = ["-f", ALL, "--rootfs-url", URL];
    let first = bake(
        &workshop,
        "first",
        &[&options[..], &["--threads", "1"]].concat(),
    );
    let second = workshop.output("second");
    run(workshop
        .bake()
        .current_dir("/")
        .env("TZ", "Asia/Tokyo")
        .args(["bake", &workshop.image("layered"), "--compression", "fast"])
        .args(options)
        .args(["--threads", "3", "-o"])
        .arg(&second));
    let sums = |directory: &Path| {
        run(Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", "sha256sum.txt"])
            .current_dir(directory));
        fs::read_to_string(directory.join("sha256sum.txt")).unwrap()
    };
    assert_eq!(sums(&first), sums(&second));
    assert_eq!(names(&first), names(&second));
}

#[test]
fn the_installer_rebuilds_each_metal_image() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    if !have("unsquashfs") || !have("bsdtar") {
        return;
    }
    let media = bake(&workshop, "media", &["-f", "pxe,metal,metal4k"]);
    assert_rebuilt(&media, "x86_64");
}

/// Unpacks the osmet files of a PXE set, as the installer does, against the disks baked with it. The
/// repository of the live root is left in `live` of that directory.
fn assert_rebuilt(media: &Path, architecture: &str) {
    let rootfs = find(media, "-live-rootfs.");
    let live = media.join("live");
    // Objects keep their owners' permissions, so whoever isn't root may not be able to read one.
    if !is_root() {
        return skip("reading every object needs root").unwrap_or(());
    }
    run(Command::new("unsquashfs")
        .args(["-quiet", "-no-progress", "-o", "124", "-d"])
        .arg(&live)
        .arg(&rootfs)
        .arg("ostree/repo"));
    run(Command::new("bsdtar")
        .arg("-xf")
        .arg(&rootfs)
        .arg("-C")
        .arg(media)
        .arg("*.osmet"));
    for (kind, sector) in [("metal", 512), ("metal4k", 4096)] {
        let osmet = find(media, &format!("-{kind}.{architecture}.raw.osmet"));
        let image = media.join(osmet.file_stem().unwrap());
        let mut unpacker = OsmetUnpacker::new(&osmet, &live.join("ostree/repo")).unwrap();
        assert_eq!(unpacker.length(), fs::metadata(&image).unwrap().len());
        assert_eq!(
            hash(&mut unpacker),
            hash(&mut File::open(&image).unwrap()),
            "{kind}"
        );
        // A small part of what it stands for, or nothing is gained.
        let size = fs::metadata(&osmet).unwrap().len();
        assert!(size < 40 * MIB, "{kind}: {size}");

        let directory = media.join(format!("only-{kind}"));
        fs::create_dir(&directory).unwrap();
        fs::rename(&osmet, directory.join("it.osmet")).unwrap();
        let found =
            libcoreinst::osmet::find_matching_osmet_in_dir(&directory, architecture, sector)
                .unwrap();
        assert!(found.is_some(), "{kind}: for sectors of {sector} bytes");
    }
}

fn hash(reader: &mut impl Read) -> String {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => return hex::encode(hash.finalize()),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[test]
fn the_installed_root_is_the_live_root_and_first_boot_can_change_it() {
    if !is_root() {
        return skip("mounting needs root").unwrap_or(());
    }
    let Some(workshop) = Workshop::new() else {
        return;
    };
    if !["unsquashfs", "ostree", "xfs_admin", "tune2fs"]
        .iter()
        .all(|tool| have(tool))
    {
        return;
    }
    let media = bake(&workshop, "media", &["-f", "pxe,metal"]);
    let metal = find(&media, "-metal.");
    let facts = inspect(&workshop, &metal);
    let root = cut(&metal, &facts, "root", &media.join("root.img"));
    let boot = cut(&metal, &facts, "boot", &media.join("boot.img"));
    assert_xfs_clean(&root);
    let live = media.join("live");
    run(Command::new("unsquashfs")
        .args(["-quiet", "-no-progress", "-xattrs", "-o", "124", "-d"])
        .arg(&live)
        .arg(find(&media, "-live-rootfs.")));

    {
        let mounted = Mounted::new(&root, "xfs", "ro,norecovery,nouuid");
        // The live one has another repository configuration, and /boot in it.
        let other =
            |path: &Path| path.starts_with("boot") || path == Path::new("ostree/repo/config");
        let found = differences(mounted.path(), &live, other);
        assert!(
            found.is_empty(),
            "{}\n{}",
            found.len(),
            found[..found.len().min(20)].join("\n")
        );

        let repo = mounted.path().join("ostree/repo");
        let check = run(Command::new("ostree")
            .arg("fsck")
            .arg(format!("--repo={}", repo.display())));
        assert!(!text(&check).contains("corrupt"));
        let boot = Mounted::at(&mounted.path().join("boot"), &boot, "ext4", "ro,noload");
        let status = run(Command::new("ostree")
            .args(["admin", "status"])
            .arg(format!("--sysroot={}", mounted.path().display())));
        let commit = facts["deployment"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        assert!(text(&status).contains(commit), "{}", text(&status));
        let list = run(Command::new(tool("ostree-ext-cli"))
            .args(["container", "image", "list", "--repo"])
            .arg(&repo));
        assert!(text(&list).contains("oci:layered.oci"), "{}", text(&list));
        drop(boot);
    }
    {
        let mounted = Mounted::new(&boot, "ext4", "ro,noload");
        // On disks the ESP is mounted over efi, and GRUB was installed.
        let installed = ["grub2/i386-pc/core.img", "grub2/i386-pc/boot.img"];
        let other = |path: &Path| {
            path == Path::new("lost+found")
                || path.starts_with("efi") && path != Path::new("efi")
                || installed.iter().any(|left| path == Path::new(left))
        };
        // By itself, where links to it are not taken for the repository's.
        let of_live = media.join("live-boot");
        fs::rename(live.join("boot"), &of_live).unwrap();
        fs::create_dir(live.join("boot")).unwrap();
        // Live media have the kernel at the top too.
        for name in names(&of_live)
            .iter()
            .filter(|name| name.contains("vmlinuz"))
        {
            fs::remove_file(of_live.join(name)).unwrap();
        }
        let found = differences(mounted.path(), &of_live, other);
        assert!(
            found.is_empty(),
            "{}\n{}",
            found.len(),
            found[..found.len().min(20)].join("\n")
        );
    }

    // As `ignition-ostree-uuid-boot`, `-uuid-root` and `-growfs` do.
    run(Command::new("tune2fs").args(["-U", "random"]).arg(&boot));
    run(Command::new("e2fsck").arg("-fn").arg(&boot));
    run(Command::new("xfs_admin")
        .args(["-U", "generate"])
        .arg(&root));
    let size = fs::metadata(&root).unwrap().len();
    File::options()
        .write(true)
        .open(&root)
        .unwrap()
        .set_len(2 * size)
        .unwrap();
    {
        let mounted = Mounted::new(&root, "xfs", "rw");
        run(Command::new("xfs_growfs").arg(mounted.path()));
        assert_eq!(
            differences(mounted.path(), &live, |path| path.starts_with("boot")
                || path == Path::new("ostree/repo/config")),
            [""; 0]
        );
    }
    assert_xfs_clean(&root);
}

#[test]
fn the_minimal_iso_is_the_one_that_coreos_installer_extracts() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let media = bake(
        &workshop,
        "media",
        &["-f", "iso,minimal-iso", "--rootfs-url", URL],
    );
    let extracted = media.join("extracted.iso");
    run(Command::new(tool("coreos-installer"))
        .args(["iso", "extract", "minimal-iso", "--rootfs-url", URL])
        .arg(find(&media, "-live-iso."))
        .arg(&extracted));
    let minimal = find(&media, "-live-minimal-iso.");
    assert!(fs::read(&extracted).unwrap() == fs::read(&minimal).unwrap());
    assert!(fs::metadata(&minimal).unwrap().len() < 64 * MIB);
    let kargs = text(&run(Command::new(tool("coreos-installer"))
        .args(["iso", "kargs", "show"])
        .arg(&minimal)));
    assert!(
        kargs.contains(&format!("coreos.live.rootfs_url={URL}")),
        "{kargs}"
    );
    assert!(!kargs.contains("coreos.liveiso="), "{kargs}");
}

#[test]
fn packed_images_unpack_to_the_plain_one() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let metal = ["-f", "metal", "--driver", "megaraid_sas"];
    let plain = bake(&workshop, "plain", &metal);
    let expected = hash(&mut File::open(find(&plain, "-metal.")).unwrap());
    let drivers = written(&plain, "bake.json")["drivers"].take();
    assert!(drivers.as_array().is_some_and(|table| !table.is_empty()));
    // xz takes minutes for it; its bytes have a test of their own beside the code.
    for (how, ending) in [("gzip", ".gz"), ("zstd", ".zst")] {
        if !have(how) {
            continue;
        }
        let media = bake(&workshop, how, &[&metal[..], &["--compress", how]].concat());
        let image = find(&media, "-metal.");
        assert!(image.to_str().unwrap().ends_with(ending));
        let mut child = Command::new(how)
            .arg("-dc")
            .arg(&image)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(hash(child.stdout.as_mut().unwrap()), expected, "{how}");
        assert!(child.wait().unwrap().success());

        // What it unpacks to was searched for the drivers, and is in the metadata.
        let record = written(&media, "bake.json");
        assert_eq!(record["drivers"], drivers, "{how}");
        let packed = hash(&mut File::open(&image).unwrap());
        let stream = written(&media, "stream.json");
        let formats = &stream["architectures"]["x86_64"]["artifacts"]["metal"]["formats"];
        let disk = &formats[format!("raw{ending}")]["disk"];
        for file in [&record["files"][0], disk] {
            assert_eq!(file["sha256"], packed, "{how}");
            assert_eq!(file["uncompressed-sha256"], expected, "{how}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let output = workshop.output("out");
    let refuse = |arguments: &[&str], words: &str| {
        let said = run_to_fail(
            workshop
                .bake_as_nobody()
                .args(["bake", &workshop.image("layered"), "--compression", "fast"])
                .args(arguments)
                .arg("-o")
                .arg(&output),
        );
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(names(&output), [""; 0], "{arguments:?}");
    };
    refuse(&["-f", "metal", "--disk-size", "100M"], "is too small");
    for more in [&[][..], &["--dry-run"]] {
        let short = ["-f", "metal", "--disk-size", "600M"];
        refuse(
            &[&short, more].concat(),
            "has no room for a root file system of",
        );
    }
    refuse(&["-f", "minimal-iso"], "--rootfs-url");
    refuse(&["-f", "vmdk"], "is not a medium");
    refuse(
        &["-f", "metal", "--compress", "rar"],
        "is not a way to pack",
    );

    let media = bake(&workshop, "media", &["-f", "metal,qcow2"]);
    let metal = find(&media, "-metal.");
    let check = |path: &Path| {
        run_to_fail(
            workshop
                .bake_as_nobody()
                .args(["check", "--driver", "megaraid_sas"])
                .arg(path),
        )
    };
    let other = media.join("other");
    fs::write(&other, vec![7; 1 << 20]).unwrap();
    assert!(check(&other).contains("neither an ISO nor a disk"));
    for (medium, length) in [(&metal, 600 * MIB), (&find(&media, ".qcow2"), 100 * MIB)] {
        let cut = media.join("cut");
        let mut from = File::open(medium).unwrap();
        from.seek(SeekFrom::Start(0)).unwrap();
        let mut to = File::create(&cut).unwrap();
        std::io::copy(&mut from.take(length), &mut to).unwrap();
        let said = check(&cut);
        assert!(said.starts_with("error: reading "), "{said}");
    }
}

/// The sample with boot loaders for aarch64 in place of those for x86_64. It can't boot, but every
/// file has its place.
#[test]
fn media_for_aarch64_are_baked_on_any_machine() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    if !["sgdisk", "xorriso", "mdir"].iter().all(|tool| have(tool)) {
        return;
    }
    const EFI: &str = "usr/lib/bootupd/updates/EFI";
    let file = |path: &str| Item::File(format!("{EFI}/{path}").leak(), path.as_bytes().to_vec());
    let layer = tar(&[
        file(".wh.BOOT"),
        file(".wh.debian"),
        file("BOOT/BOOTAA64.EFI"),
        file("BOOT/fbaa64.efi"),
        file("debian/shimaa64.efi"),
        file("debian/grubaa64.efi"),
        file("debian/mmaa64.efi"),
    ]);
    derive(&workshop.path("layered.oci"), &layer, "arm64");
    run(Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(workshop.path("layered.oci")));
    let media = bake(&workshop, "media", &["-f", "iso,pxe,metal,metal4k,qcow2"]);
    for name in names(&media) {
        assert!(!name.contains("x86_64"), "{name}");
    }

    let metal = find(&media, "-metal.aarch64.raw");
    let said = text(&run(Command::new("sgdisk").arg("-v").arg(&metal)));
    assert!(said.contains("No problems found"), "{said}");
    assert_partitions_clean(&workshop, &metal);
    let facts = inspect(&workshop, &metal);
    let found: Vec<(u64, &str)> = facts["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["number"].as_u64().unwrap(), p["name"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [(1, "reserved"), (2, "EFI-SYSTEM"), (3, "boot"), (4, "root")]
    );
    let mut boot_code = [1; 440];
    File::open(&metal)
        .unwrap()
        .read_exact(&mut boot_code)
        .unwrap();
    assert_eq!(boot_code, [0; 440], "there is no BIOS");

    let esp = cut(&metal, &facts, "EFI-SYSTEM", &media.join("esp"));
    let listed = |image: &Path| {
        text(&run(Command::new("mdir")
            .args(["-b", "-/", "-i"])
            .arg(image)))
    };
    let on_disk = listed(&esp);
    for file in [
        "BOOT/BOOTAA64.EFI",
        "debian/shimaa64.efi",
        "debian/grub.cfg",
    ] {
        assert!(on_disk.contains(file), "{file}: {on_disk}");
    }

    let iso = find(&media, ".iso");
    let report = run(Command::new("xorriso").arg("-indev").arg(&iso).args([
        "-report_el_torito",
        "plain",
        "-find",
        "/isolinux",
    ]));
    let report = text(&report);
    assert!(
        report.contains("UEFI") && !report.contains("BIOS"),
        "{report}"
    );
    // What such an ISO is made anew from, and the menu that is edited all the same.
    for line in [
        "El Torito cat path : /boot.catalog",
        "'/isolinux/isolinux.cfg'",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(!report.contains("isolinux.bin"), "{report}");
    run(Command::new("xorriso")
        .args(["-osirrox", "on", "-indev"])
        .arg(&iso)
        .args(["-extract", "/images/efiboot.img"])
        .arg(media.join("efiboot.img")));
    let on_iso = listed(&media.join("efiboot.img"));
    for file in ["BOOT/BOOTAA64.EFI", "BOOT/grubaa64.efi", "BOOT/grub.cfg"] {
        assert!(on_iso.contains(file), "{file}: {on_iso}");
    }
    assert!(!on_iso.contains("fbaa64"), "{on_iso}");
}

/// A bake of one of the sample's images with one more layer, into the directory `name`.
fn derived(
    workshop: &Workshop,
    image: &str,
    name: &str,
    architecture: &str,
    layer: &[u8],
) -> Command {
    let copy = workshop.path(&format!("{name}.oci"));
    run(Command::new("cp")
        .arg("-al")
        .arg(workshop.path(&format!("{image}.oci")))
        .arg(&copy));
    derive(&copy, layer, architecture);
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&copy));
    let mut command = workshop.bake_as_nobody();
    command
        .args(["bake", &workshop.image(name), "-o"])
        .arg(workshop.output(name));
    command
}

#[test]
fn a_system_that_wants_composefs_gets_its_image() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    const CONFIG: &str = "usr/lib/ostree/prepare-root.conf";
    let bake_with = |name: &'static str, config: &str| {
        let layer = tar(&[layout::file(CONFIG, config)]);
        let mut command = derived(&workshop, "layered", name, "amd64", &layer);
        command.args(["-f", "metal"]);
        command
    };
    let said = run_to_fail(&mut bake_with("signed", "[composefs]\nenabled = signed\n"));
    assert!(said.contains("signed"), "{said}");

    run(&mut bake_with("wanted", "[composefs]\nenabled = yes\n"));
    if !is_root() {
        return skip("mounting needs root").unwrap_or(());
    }
    if !have("fsck.erofs") || !have("dump.erofs") {
        return;
    }
    let metal = find(&workshop.path("wanted"), "-metal.");
    let facts = inspect(&workshop, &metal);
    let root = cut(&metal, &facts, "root", &workshop.path("root.img"));
    assert_xfs_clean(&root);
    let mounted = Mounted::new(&root, "xfs", "ro,norecovery,nouuid");
    let deployment = mounted.path().join(facts["deployment"].as_str().unwrap());
    let image = deployment.join(".ostree.cfs");
    run(Command::new("fsck.erofs").arg(&image));
    let entry = text(&run(Command::new("dump.erofs")
        .arg("--path=/usr/lib/os-release")
        .arg(&image)));
    let size = fs::metadata(deployment.join("usr/lib/os-release"))
        .unwrap()
        .len();
    assert!(entry.contains(&format!("Size: {size} ")), "{entry}");
}

/// The release of the sample's kernel.
fn kernel_release() -> String {
    let drivers = find(&support::sample().unwrap().join("tree/drivers"), "");
    drivers.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The sample for s390x, as far as files go: its kernel has what one of Linux is known by and no more.
/// Nothing has a boot map, which the installer has zipl write.
#[test]
fn media_for_s390x_leave_the_boot_map_to_the_installer() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    if !["unsquashfs", "bsdtar", "xorriso", "e2fsck", "debugfs"]
        .iter()
        .all(|tool| have(tool))
    {
        return;
    }
    let mut kernel = vec![0xaa; 2 * MIB as usize];
    kernel[0x10008..0x1000e].copy_from_slice(b"S390EP");
    let path = format!("usr/lib/modules/{}/vmlinuz", kernel_release()).leak();
    let layer = tar(&[Item::File(path, kernel.clone())]);
    let mut command = derived(&workshop, "stock", "media", "s390x", &layer);
    let said = run_to_fail(command.args(["-f", "metal,qcow2"]));
    assert!(said.contains("qcow2") && said.contains("zipl"), "{said}");
    assert_eq!(names(&workshop.path("media")), [""; 0]);

    let media = workshop.path("media");
    let output = run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("media"), "--compression", "fast"])
        .args(["-f", "iso,pxe,metal,metal4k", "-o"])
        .arg(&media));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no boot map"), "{said}");
    assert_rebuilt(&media, "s390x");
    let config = fs::read_to_string(media.join("live/ostree/repo/config")).unwrap();
    assert!(
        config.contains("bootloader=zipl\n") && !config.contains("grub"),
        "{config}"
    );

    let metal = find(&media, "-metal.s390x.raw");
    let facts = inspect(&workshop, &metal);
    let found: Vec<&Value> = facts["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|partition| &partition["name"])
        .collect();
    assert_eq!(found, ["boot", "root"]);
    let boot = cut(&metal, &facts, "boot", &media.join("boot.img"));
    run(Command::new("e2fsck").arg("-fn").arg(&boot));
    let entries = |command: &str| {
        text(&run(Command::new("debugfs")
            .args(["-R", command])
            .arg(&boot)))
    };
    let listed = entries("ls -p /loader.1/entries");
    let entry = listed.split('/').find(|name| name.ends_with(".conf"));
    let entry = entries(&format!("cat /loader.1/entries/{}", entry.unwrap()));
    assert!(
        entry.contains("ignition.platform.id=metal") && !entry.contains("ignition_firstboot"),
        "{entry}"
    );

    let iso = find(&media, ".iso");
    let report = text(&run(Command::new("xorriso")
        .arg("-indev")
        .arg(&iso)
        .args(["-report_el_torito", "plain"])));
    assert!(
        report.contains("/images/cdboot.img") && !report.contains("UEFI"),
        "{report}"
    );
    let installer = |args: &[&str]| {
        let mut command = Command::new(tool("coreos-installer"));
        text(&run(command.current_dir(&media).arg("iso").args(args)))
    };
    let iso = iso.to_str().unwrap();
    fs::write(media.join("it.ign"), r#"{"ignition":{"version":"3.3.0"}}"#).unwrap();
    installer(&["ignition", "embed", "-i", "it.ign", "-o", "changed", iso]);
    installer(&["kargs", "modify", "-a", "foo=bar", "changed"]);
    assert!(installer(&["kargs", "show", "changed"]).contains("coreos.liveiso="));
    run(Command::new("xorriso")
        .args(["-osirrox", "on", "-indev"])
        .arg(media.join("changed"))
        .args(["-extract", "/images/cdboot.img"])
        .arg(media.join("cdboot.img")));
    let image = fs::read(media.join("cdboot.img")).unwrap();
    let arguments = &image[0x10480..0x10480 + 896];
    let end = arguments.iter().position(|byte| *byte == 0).unwrap();
    assert!(arguments[..end].ends_with(b" foo=bar"));
    // Behind the initramfs, where the kernel looks for more of it.
    let number = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let initrd = fs::read(find(&media, "-live-initramfs.")).unwrap();
    let start = number(0x10408) as usize;
    assert_eq!(start, kernel.len());
    assert!(image[start..start + initrd.len()] == initrd[..]);
    assert_eq!(image[start + initrd.len()..][..6], *b"\xfd7zXZ\0");
    assert_eq!(start as u64 + number(0x10410), image.len() as u64);
}

/// The sample for POWER, as far as files go: GRUB in the PReP partition, no ESP.
#[test]
fn disks_for_power_have_grub() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    const MODULES: &str = "/usr/lib/grub/powerpc-ieee1275";
    if !Path::new(MODULES).exists() {
        // Debian has them for other architectures than this one only.
        eprintln!("skipped: no GRUB modules for POWER in {MODULES}");
        return;
    }
    let modules: Vec<Item> = names(Path::new(MODULES))
        .into_iter()
        .map(|name| {
            let bytes = fs::read(Path::new(MODULES).join(&name)).unwrap();
            Item::File(format!("{}/{name}", &MODULES[1..]).leak(), bytes)
        })
        .collect();
    let layer = tar(&modules);
    run(derived(&workshop, "stock", "ppc64le", "ppc64le", &layer).args(["-f", "metal"]));
    let metal = find(&workshop.path("ppc64le"), "-metal.ppc64le.raw");
    let said = text(&run(Command::new("sgdisk").arg("-v").arg(&metal)));
    assert!(said.contains("No problems found"), "{said}");
    let facts = inspect(&workshop, &metal);
    let prep = cut(&metal, &facts, "PowerPC-PReP-boot", &workshop.path("prep"));
    let program = fs::read(prep).unwrap();
    assert_eq!(program[..6], *b"\x7fELF\x01\x02", "32 bits, big-endian");
}

/// Boot loaders that are missing, too many, or without their configuration.
#[test]
fn disks_that_firmware_could_not_start_are_refused() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    const BOOTUPD: &str = "usr/lib/bootupd";
    let cases = [
        (
            "missing",
            "updates/EFI/.wh.debian",
            "the image has no EFI boot loader",
        ),
        (
            "double",
            "updates/EFI/other/shimx64.efi",
            "the EFI payload has 2 shims, in debian and other",
        ),
        (
            "unconfigured",
            "grub2-static/.wh.grub-static-efi.cfg",
            "the image has no usr/lib/bootupd/grub2-static/grub-static-efi.cfg",
        ),
    ];
    for (name, path, words) in cases {
        let path = format!("{BOOTUPD}/{path}").leak();
        let layer = tar(&[layout::file(path, "")]);
        let mut command = derived(&workshop, "layered", name, "amd64", &layer);
        let said = run_to_fail(command.args(["-f", "metal", "--compression", "fast"]));
        assert!(said.contains(words), "{name}: {said}");
        assert_eq!(names(&workshop.path(name)), [""; 0], "{name}");
    }
}

#[test]
fn a_boot_partition_that_overflows_is_refused_with_the_size_it_needs() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let path = format!("usr/lib/modules/{}/initramfs.img", kernel_release()).leak();
    let mut initramfs = Initrd::default();
    initramfs.add("etc/initrd-release", Vec::new());
    let mut initramfs = initramfs.to_bytes().unwrap();
    // Zeros are what may come behind an archive.
    initramfs.resize(400 * MIB as usize, 0);
    let layer = tar(&[Item::File(path, initramfs)]);
    let mut command = derived(&workshop, "layered", "large", "amd64", &layer);
    let said = run_to_fail(command.args(["-f", "metal", "--allow-missing-driver"]));
    assert!(
        said.contains("laying out /boot") && said.contains("MiB, and has 384"),
        "{said}"
    );
    assert_eq!(names(&workshop.path("large")), [""; 0]);
}
