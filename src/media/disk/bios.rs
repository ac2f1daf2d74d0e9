//! BIOS boot code on a disk, from the image's own GRUB modules.
//!
//! As `grub2-install --target i386-pc --modules "mdraid1x part_gpt"` leaves it (bootupd
//! `src/bios.rs`): boot code in the first sector, the core image in the partition BIOS-BOOT, modules
//! in `/boot/grub2/i386-pc`. Disks with sectors of 4096 bytes have none: BIOS can't read them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

use super::table::{Disk, Role};
use crate::format::gpt::SectorSize;
use crate::format::grub::{self, Kind, Modules};
use crate::sysroot::BIOS_MODULES;
use crate::tree::{Node, Tree};

/// What the core image has to have so that it finds `/boot`; it loads the rest from there.
const PRELOADED: [&str; 4] = ["biosdisk", "part_gpt", "ext2", "mdraid1x"];

/// `/boot` of the disk that the core image came from.
const PREFIX: &str = "(,gpt3)/grub2";

/// Larger files are no GRUB modules.
const MODULE_LIMIT: u64 = 16 << 20;

/// GRUB for BIOS, ready to be put on disks.
#[derive(Debug)]
pub(super) struct Loader {
    modules: Modules,
    core: Vec<u8>,
}

/// GRUB's modules for BIOS in the image, if it has them.
pub(in crate::media) fn modules(merged: &Tree) -> Result<Option<Modules>> {
    let Some(directory) = merged.lookup(BIOS_MODULES) else {
        return Ok(None);
    };
    let mut files = BTreeMap::new();
    for (name, id) in merged.children(directory) {
        if let (Ok(name), Node::File(content)) = (std::str::from_utf8(name), &merged.inode(id).node)
        {
            let bytes = content
                .to_vec(MODULE_LIMIT)
                .with_context(|| format!("reading {BIOS_MODULES}/{name}"))?;
            files.insert(name.to_owned(), bytes);
        }
    }
    Modules::new(files)
        .map(Some)
        .with_context(|| format!("reading {BIOS_MODULES}"))
}

impl Loader {
    /// Makes the core image; none for architectures without BIOS and images without modules for it.
    pub(super) fn find(merged: &Tree, architecture: &str) -> Result<Option<Self>> {
        if architecture != "x86_64" {
            return Ok(None);
        }
        let Some(modules) = modules(merged)? else {
            return Ok(None);
        };
        let core = grub::core_image(&modules, &PRELOADED, PREFIX, None, Kind::Disk)
            .context("making GRUB's core image for BIOS")?;
        Ok(Some(Self { modules, core }))
    }

    /// Writes boot code and core image. The partition table may be there or come later.
    pub(super) fn install(&self, disk: &Disk, sector_size: SectorSize, out: &File) -> Result<()> {
        let Some(part) = disk.part(Role::BiosBoot) else {
            return Ok(());
        };
        if sector_size != SectorSize::B512 {
            return Ok(());
        }
        ensure!(
            self.core.len() as u64 <= part.len,
            "GRUB's core image has {} bytes, and the partition {} holds {}",
            self.core.len(),
            part.name,
            part.len
        );
        let lba = part.offset / sector_size.bytes();
        let mut core = self.core.clone();
        grub::install_blocklist(&mut core, lba)?;
        let boot_sector = grub::boot_sector(&self.modules, lba)?;
        out.write_all_at(&core, part.offset)
            .and_then(|()| out.write_all_at(&boot_sector, 0))
            .context("writing GRUB for BIOS")
    }
}
