//! Boot code for BIOS, and for the firmware of POWER, from the image's own GRUB modules: no GRUB of the
//! host is needed.
//!
//! On disks as `grub2-install --target i386-pc --modules "mdraid1x part_gpt"` leaves it (bootupd
//! `src/bios.rs`@01ac41c): boot code in the first sector, the core image in the partition BIOS-BOOT, modules
//! in `/boot/grub2/i386-pc` with both beside them (rhboot/grub2 `util/grub-install.c`@5e9e7e44e). On ISOs a larger core image, which needs no modules, runs the menu that
//! UEFI runs too: whoever changes kernel arguments there changes them for both.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

use crate::format::grub::{self, BOOT_CODE_BYTES, Kind, Modules};
use crate::os::Facts;
use crate::sysroot::{BIOS_MODULES, POWER_MODULES};
use crate::tree::{Node, Tree};

/// What a disk's core image has to have so that it finds `/boot`; it loads the rest from there.
const DISK_MODULES: [&str; 4] = ["biosdisk", "part_gpt", "ext2", "mdraid1x"];

/// `/boot` of the disk that the core image came from.
const DISK_PREFIX: &str = "(,gpt3)/grub2";

/// What menus of live ISOs use. Those that an image's GRUB doesn't have are left out.
const CD_MODULES: [&str; 33] = [
    "biosdisk",
    "iso9660",
    "part_gpt",
    "part_msdos",
    "normal",
    "configfile",
    "search",
    "search_fs_file",
    "search_fs_uuid",
    "search_label",
    "linux",
    "linux16",
    "test",
    "echo",
    "true",
    "sleep",
    "regexp",
    "loadenv",
    "serial",
    "terminal",
    "gzio",
    "fat",
    "ext2",
    "all_video",
    "video_bochs",
    "video_cirrus",
    "gfxterm",
    "font",
    "minicmd",
    "halt",
    "reboot",
    "ls",
    "cat",
];

/// Without these, GRUB would not get to a menu, and saying so beats a prompt on a console.
const CD_NEEDED: [&str; 5] = ["biosdisk", "iso9660", "normal", "linux", "search_label"];

/// Larger files are no GRUB modules.
const MODULE_LIMIT: u64 = 16 << 20;

/// All modules together; GRUB 2.12 has 280 of 3 MiB.
const MODULES_MAX_BYTES: usize = 64 << 20;

/// Bytes of a sector that BIOS reads.
const SECTOR: u64 = 512;

/// GRUB's modules for BIOS in the image; none if it has none or its machines have no BIOS.
fn modules(merged: &Tree, facts: &Facts) -> Result<Option<Modules>> {
    match facts.architecture.as_str() {
        "x86_64" => modules_in(merged, BIOS_MODULES),
        _ => Ok(None),
    }
}

fn modules_in(merged: &Tree, path: &str) -> Result<Option<Modules>> {
    let Some(directory) = merged.lookup(path) else {
        return Ok(None);
    };
    let mut files = BTreeMap::new();
    let mut total = 0;
    for (name, id) in merged.children(directory) {
        if let (Ok(name), Node::File(content)) = (std::str::from_utf8(name), &merged.inode(id).node)
        {
            let bytes = content
                .to_vec(MODULE_LIMIT)
                .with_context(|| format!("reading {path}/{name}"))?;
            total += bytes.len();
            ensure!(
                total <= MODULES_MAX_BYTES,
                "the files in {path} have more than {MODULES_MAX_BYTES} bytes"
            );
            files.insert(name.to_owned(), bytes);
        }
    }
    Modules::new(files)
        .map(Some)
        .with_context(|| format!("reading {path}"))
}

/// GRUB for a disk with sectors of 512 bytes; BIOS reads no others.
#[derive(Debug)]
pub(super) struct DiskLoader {
    modules: Modules,
    core: Vec<u8>,
}

impl DiskLoader {
    /// Makes the core image; none where there is no BIOS.
    pub(super) fn find(merged: &Tree, facts: &Facts) -> Result<Option<Self>> {
        let Some(modules) = modules(merged, facts)? else {
            return Ok(None);
        };
        let core = grub::core_image(&modules, &DISK_MODULES, DISK_PREFIX, None, Kind::Disk)
            .context("making GRUB's core image for BIOS")?;
        Ok(Some(Self { modules, core }))
    }

    /// What grub2-install leaves in its directory of `/boot`, by path: the core image before it knew its place
    /// on a disk, and the boot code that it was given.
    pub(super) fn left_behind(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let boot_code = self.modules.file(BOOT_CODE)?;
        Ok(vec![
            ("grub2/i386-pc/boot.img", boot_code.to_vec()),
            ("grub2/i386-pc/core.img", self.core.clone()),
        ])
    }

    /// Writes boot code to the start of `disk`, where it leaves the partition table alone, and the
    /// core image into the partition of `len` bytes at `offset`.
    pub(super) fn install(&self, disk: &File, offset: u64, len: u64) -> Result<()> {
        ensure!(
            self.core.len() as u64 <= len,
            "GRUB's core image has {} bytes, and the partition for it {len}",
            self.core.len(),
        );
        let lba = offset / SECTOR;
        let mut core = self.core.clone();
        grub::install_blocklist(&mut core, lba)?;
        let boot_sector = grub::boot_sector(&self.modules, lba)?;
        disk.write_all_at(&core, offset)
            .and_then(|()| disk.write_all_at(&boot_sector, 0))
            .context("writing GRUB for BIOS")
    }
}

/// The program that the firmware of POWER machines starts from the PReP partition; none for other
/// architectures and for images without the modules for it.
pub(super) fn prep_program(merged: &Tree, facts: &Facts) -> Result<Option<Vec<u8>>> {
    if facts.architecture != "ppc64le" {
        return Ok(None);
    }
    modules_in(merged, POWER_MODULES)?
        .map(|modules| grub::prep_image(&modules, &DISK_MODULES[1..], DISK_PREFIX, None))
        .transpose()
        .context("making GRUB's core image for POWER")
}

/// What grub2-install leaves of such a program in `/boot`, by path. The second is for firmware that boots a
/// file by its name.
pub(super) fn prep_left_behind(program: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    ["grub2/powerpc-ieee1275/core.elf", "grub2/grub"]
        .map(|path| (path, program.to_vec()))
        .to_vec()
}

/// GRUB for an ISO, as CD and as USB stick.
#[derive(Debug)]
pub(super) struct CdLoader {
    modules: Modules,
    /// The boot image that El Torito names.
    pub(super) image: Vec<u8>,
}

impl CdLoader {
    /// Makes the boot image, which runs `grub.cfg` in `directory` of the ISO; none where there is no
    /// BIOS.
    pub(super) fn find(merged: &Tree, facts: &Facts, directory: &str) -> Result<Option<Self>> {
        let Some(modules) = modules(merged, facts)? else {
            return Ok(None);
        };
        for name in CD_NEEDED {
            ensure!(
                modules.has(name),
                "{BIOS_MODULES} has no {name}.mod, which a live ISO needs to boot under BIOS"
            );
        }
        let names: Vec<&str> = CD_MODULES
            .into_iter()
            .filter(|name| modules.has(name))
            .collect();
        let image = grub::core_image(&modules, &names, &format!("/{directory}"), None, Kind::Cd)
            .context("making GRUB's boot image for BIOS")?;
        Ok(Some(Self { modules, image }))
    }

    /// Boot code for the start of an ISO that has the boot image at `offset` bytes; none if the
    /// image lacks it, and USB sticks then boot under UEFI only.
    pub(super) fn boot_code(&self, offset: u64) -> Result<Option<[u8; BOOT_CODE_BYTES]>> {
        match self.modules.has_file(HYBRID) {
            true => grub::hybrid_boot_sector(&self.modules, offset).map(Some),
            false => Ok(None),
        }
    }
}

/// GRUB's boot code for disks.
const BOOT_CODE: &str = "boot.img";

/// GRUB's boot code for ISOs on disks.
const HYBRID: &str = "boot_hybrid.img";
