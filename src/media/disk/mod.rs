//! Disk images: the deployed system as an installed machine has it.
//!
//! ```text
//! sysroot's tree ─┬─ boot/efi ──► FAT  ─┐
//!                 ├─ boot ──────► ext4 ─┼─► Image: metadata in a scratch file, contents by handle
//!                 └─ the rest ──► XFS  ─┘      │
//!                                              └─► raw, qcow2, osmet
//! ```
//!
//! File systems, labels and UUIDs: coreos-assembler `src/osbuild-manifests/build.*.ipp.yaml`. The
//! first boot knows pristine file systems by exactly these and gives them new ones
//! (fedora-coreos-config `40ignition-ostree`).

mod image;
mod osmet;
mod size;
mod table;
mod types;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use uuid::{Uuid, uuid};

use self::image::{Image, Piece};
use self::osmet::{Description, Mapped, Mapping};
use self::table::{BOOT_BYTES, Disk, Role};
use self::types::Types;
use super::bios::{self, DiskLoader};
use crate::failure::Failure;
use crate::format::gpt::SectorSize;
use crate::format::{ext4, fat, xfs};
use crate::os::Facts;
use crate::ostree::Checksum;
use crate::selinux::{FileKind, Policy};
use crate::sysroot::{Platform, Sysroot};
use crate::tree::{Content, InodeId, Meta, Node, Tree, Xattrs};

const MIB: u64 = 1 << 20;

/// FAT serial number of the ESP; nothing ever changes it.
pub(super) const ESP_VOLUME_ID: u32 = 0x7b77_95e7;

const BOOT_UUID: Uuid = uuid!("96d15588-3596-4b3c-adca-a2ff7279ea63");
const ROOT_UUID: Uuid = uuid!("910678ff-f77e-4a7d-8d53-86f2ac47a823");

/// Allocation groups of the root: with more, growing onto a large disk would end above the number
/// at which the first boot makes the file system anew (coreos-assembler, 2025-11).
const ROOT_GROUPS: u32 = 2;

/// Bytes of a block of the root file system.
const ROOT_BLOCK: u64 = 4096;

/// Installers look at files of `/boot` from this size on for objects with the same content.
const BOOT_FILE_MAPPED: u64 = 1024;

/// What goes onto a disk, cut into file systems.
#[derive(Debug)]
pub(super) struct Contents {
    disk: Disk,
    root: Tree,
    /// `/boot` without what GRUB's installation leaves there.
    boot: Tree,
    /// The label of such files.
    boot_label: Xattrs,
    /// Paths on the ESP; none where there is no ESP.
    esp: BTreeMap<String, Content>,
    /// File objects of the repository, by their inode in `root`.
    objects: BTreeMap<InodeId, Checksum>,
    /// Boot code for x86_64 disks with sectors of 512 bytes.
    bios: Option<DiskLoader>,
    /// What the PReP partition of a ppc64le disk holds.
    prep: Option<Vec<u8>>,
    /// Makes partition GUIDs those of this very system.
    seed: String,
}

/// A composed disk.
#[derive(Debug)]
pub(super) struct Composed {
    /// Its bytes.
    pub(super) image: Image,
    /// Sector size it is for.
    pub(super) sector_size: SectorSize,
    /// Which of its bytes the live system's repository has.
    mapped: Vec<Mapped>,
}

impl Contents {
    /// Cuts up the tree of `sysroot` for a platform. `merged` is the image's merged tree; `disk_bytes` the
    /// length of the disk, where it shall not be as long as upstream would make it.
    pub(super) fn new(
        sysroot: &Sysroot,
        platform: Platform,
        merged: &Tree,
        facts: &Facts,
        policy: Option<&Policy>,
        disk_bytes: Option<u64>,
    ) -> Result<Self> {
        let architecture = facts.architecture.as_str();
        let mut root = sysroot.tree(facts, platform);
        let boot_id = root.lookup("boot").context("laid out by us")?;
        let mut boot = root.subtree(boot_id);
        let esp = take_esp(&mut boot, facts)?;
        add_lost_and_found(&mut boot, policy);
        root.inode_mut(boot_id).node = Node::Directory(BTreeMap::new());
        let types = Types::of_image(architecture, merged)?;
        let wanted = size::root_bytes(&root);
        // Upstream's rule forgets the log, which is large for small systems.
        let least = xfs::Layout::minimum_bytes(&root, &root_options(wanted, 512))?;
        let least = least.next_multiple_of(MIB);
        let disk = match disk_bytes {
            None => Disk::new(architecture, wanted.max(least), types)?,
            Some(bytes) => fixed_disk(architecture, bytes, least, types)?,
        };
        Ok(Self {
            disk,
            objects: objects(&root),
            root,
            boot,
            boot_label: label(policy, b"/boot/grub2/i386-pc/core.img", FileKind::Regular),
            esp,
            bios: DiskLoader::find(merged, facts)?,
            prep: bios::prep_program(merged, facts)?,
            seed: sysroot.deployment.clone(),
        })
    }

    /// Composes the disk for a sector size. `scratch` is an empty file that has to stay as it is
    /// for as long as the result lives.
    pub(super) fn compose(&self, sector_size: SectorSize, scratch: File) -> Result<Composed> {
        scratch
            .set_len(self.disk.bytes)
            .context("making room for a disk image")?;
        let mut pieces = Vec::new();
        let root = self.write_root(sector_size, &scratch, &mut pieces)?;
        let boot = self.write_boot(sector_size, &scratch)?;
        if let Some(part) = self.disk.part(Role::Esp) {
            let volume = fat::Volume {
                label: "EFI-SYSTEM".to_owned(),
                id: ESP_VOLUME_ID,
                bytes: part.len,
                bytes_per_sector: u16::try_from(sector_size.bytes())?,
            };
            volume
                .write(&self.esp, &scratch, part.offset)
                .context("writing the EFI system partition")?;
        }
        let table = self.disk.table(sector_size, &self.seed);
        table.write(&scratch)?;
        if let (Some(bios), Some(part), SectorSize::B512) =
            (&self.bios, self.disk.part(Role::BiosBoot), sector_size)
        {
            bios.install(&scratch, part.offset, part.len)?;
        }
        if let (Some(program), Some(part)) = (&self.prep, self.disk.part(Role::Prep)) {
            ensure!(
                program.len() as u64 <= part.len,
                "GRUB's core image has {} bytes, and the partition {} holds {}",
                program.len(),
                part.name,
                part.len
            );
            scratch
                .write_all_at(program, part.offset)
                .context("writing GRUB for POWER")?;
        }
        Ok(Composed {
            image: Image::new(Arc::new(scratch), pieces)?,
            sector_size,
            mapped: vec![boot, root],
        })
    }

    fn write_root(
        &self,
        sector_size: SectorSize,
        scratch: &File,
        pieces: &mut Vec<Piece>,
    ) -> Result<Mapped> {
        let part = self
            .disk
            .part(Role::Root)
            .context("every disk has a root")?;
        let layout = xfs::Layout::plan(
            &self.root,
            &root_options(part.len, u32::try_from(sector_size.bytes())?),
        )
        .context("laying out the root file system")?;
        layout
            .write_metadata(scratch, part.offset)
            .context("writing the root file system")?;
        let mut mappings = Vec::new();
        for id in files(&self.root) {
            let Node::File(content) = &self.root.inode(id).node else {
                continue;
            };
            for extent in layout.extents(id) {
                pieces.push(Piece {
                    offset: part.offset + extent.image_offset,
                    // Whole blocks, so that there is nothing between files that follow each other.
                    len: extent.len.next_multiple_of(ROOT_BLOCK),
                    content: content.clone(),
                    from: extent.file_offset,
                });
                mappings.extend(self.objects.get(&id).map(|object| Mapping {
                    physical: extent.image_offset,
                    logical: extent.file_offset,
                    // To the end of the block, where installers write zeros.
                    len: extent.len.next_multiple_of(ROOT_BLOCK),
                    object: *object,
                }));
            }
        }
        mappings.sort_by_key(|mapping| mapping.physical);
        Ok(Mapped {
            offset: part.offset,
            len: part.len,
            mappings,
        })
    }

    /// Contents included, as there are few.
    fn write_boot(&self, sector_size: SectorSize, scratch: &File) -> Result<Mapped> {
        let part = self
            .disk
            .part(Role::Boot)
            .context("every disk has a /boot")?;
        let tree = self.boot_with_grub(sector_size)?;
        let layout = ext4::Layout::plan(
            &tree,
            &ext4::Options {
                size_bytes: BOOT_BYTES,
                // What mke2fs takes for so small a file system; a block can't be less than a sector.
                block_size: u32::try_from(sector_size.bytes().max(1024))?,
                label: "boot".to_owned(),
                uuid: BOOT_UUID.into_bytes(),
                time: 0,
            },
        )
        .context("laying out /boot")?;
        layout
            .write(scratch, part.offset)
            .context("writing /boot")?;
        let mut mappings = Vec::new();
        for id in files(&tree) {
            if let Node::File(content) = &tree.inode(id).node
                && content.len() > BOOT_FILE_MAPPED
                && let Some(object) = self.object_of(content)
            {
                mappings.extend(layout.extents(id).into_iter().map(|extent| Mapping {
                    physical: extent.image_offset,
                    logical: extent.file_offset,
                    len: extent.len,
                    object,
                }));
            }
        }
        mappings.sort_by_key(|mapping| mapping.physical);
        Ok(Mapped {
            offset: part.offset,
            len: part.len,
            mappings,
        })
    }

    /// `/boot` with what GRUB's installation on a disk of these sectors leaves in it.
    fn boot_with_grub(&self, sector_size: SectorSize) -> Result<Tree> {
        let mut tree = self.boot.clone();
        let mut left = Vec::new();
        if let (Some(bios), SectorSize::B512) = (&self.bios, sector_size) {
            left = bios.left_behind()?;
        }
        if let Some(program) = &self.prep {
            left = bios::prep_left_behind(program);
        }
        for (path, bytes) in left {
            let (directory, name) = path.rsplit_once('/').context("they are in a directory")?;
            // Without GRUB's static configuration nothing of GRUB is in /boot.
            if let Some(directory) = tree.lookup(directory) {
                let mut meta = Meta::root(0o644);
                meta.xattrs = self.boot_label.clone();
                tree.create(directory, name, meta, Node::File(Content::bytes(bytes)));
            }
        }
        Ok(tree)
    }

    /// The object whose content this is.
    fn object_of(&self, content: &Content) -> Option<Checksum> {
        self.objects
            .iter()
            .find(|(id, _)| match &self.root.inode(**id).node {
                Node::File(object) => object.same_place(content),
                _ => false,
            })
            .map(|(_, checksum)| *checksum)
    }
}

impl Composed {
    /// Writes the osmet file from which a live system of the same image rebuilds the disk.
    pub(super) fn write_osmet(
        &self,
        sha256: &[u8; 32],
        facts: &Facts,
        out: &mut File,
    ) -> Result<()> {
        let description = Description {
            sector_size: self.sector_size.bytes(),
            os: &facts.prefix(),
            architecture: &facts.architecture,
        };
        osmet::write(&self.image, sha256, &description, &self.mapped, out)
    }
}

fn root_options(size_bytes: u64, sector_size: u32) -> xfs::Options {
    xfs::Options {
        size_bytes,
        sector_size,
        agcount: ROOT_GROUPS,
        label: "root".to_owned(),
        uuid: ROOT_UUID.into_bytes(),
    }
}

/// What the partitions beside the root file system take, on the architecture where that is least: no disk is
/// as small.
pub fn least_disk_bytes() -> u64 {
    let others = ["x86_64", "aarch64", "ppc64le", "s390x"].map(|architecture| {
        let disk = Types::of(architecture).and_then(|types| Disk::new(architecture, 0, types));
        disk.map_or(u64::MAX, |disk| disk.bytes)
    });
    others.into_iter().min().unwrap_or(u64::MAX)
}

/// A disk of exactly `bytes`, whose root takes what the other partitions leave: at least `least` bytes.
fn fixed_disk(architecture: &str, bytes: u64, least: u64, types: Types) -> Result<Disk> {
    let others = Disk::new(architecture, 0, types)?.bytes;
    let bytes = bytes / MIB * MIB;
    match bytes.checked_sub(others).filter(|root| *root >= least) {
        Some(root) => Disk::new(architecture, root, types),
        None => Err(Failure::new(
            format!(
                "a disk of {} MiB has no room for a root file system of {} MiB",
                bytes / MIB,
                least / MIB
            ),
            format!("give --disk-size {}M or more", (others + least) / MIB),
        )
        .into()),
    }
}

/// Takes the files of the ESP out of `/boot`, where only the mount point stays.
fn take_esp(boot: &mut Tree, facts: &Facts) -> Result<BTreeMap<String, Content>> {
    let Some(efi) = boot.lookup("efi") else {
        return Ok(BTreeMap::new());
    };
    let mut files = BTreeMap::new();
    let esp = boot.subtree(efi);
    esp.walk(|path, id| {
        if let Node::File(content) = &esp.inode(id).node {
            files.insert(String::from_utf8_lossy(path).into_owned(), content.clone());
        }
    });
    boot.inode_mut(efi).node = Node::Directory(BTreeMap::new());
    if facts.efi_vendor.is_none() {
        return Err(Failure::new(
            "the image has no EFI boot loader (no shim below usr/lib/bootupd/updates/EFI or usr/lib/efi)",
            "a disk can't start without one; add the packages shim and grub2-efi",
        )
        .into());
    }
    // The first boot takes the one directory that has a grub.cfg for the vendor's.
    let stubs: Vec<&String> = files
        .keys()
        .filter(|path| path.to_ascii_lowercase().ends_with("/grub.cfg"))
        .collect();
    match stubs.as_slice() {
        [_] => Ok(files),
        [] => Err(Failure::new(
            "the image has no usr/lib/bootupd/grub2-static/grub-static-efi.cfg, with which GRUB finds /boot",
            "the package bootupd brings it",
        )
        .into()),
        several => Err(Failure::new(
            format!(
                "the EFI system partition would have several grub.cfg: {}",
                several.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ")
            ),
            "the first boot takes the directory with the only one; remove the others from the image's EFI payload",
        )
        .into()),
    }
}

/// The directory that mke2fs makes, here with its label.
fn add_lost_and_found(boot: &mut Tree, policy: Option<&Policy>) {
    let mut meta = Meta::root(0o700);
    meta.xattrs = label(policy, b"/boot/lost+found", FileKind::Directory);
    boot.create(
        Tree::ROOT,
        "lost+found",
        meta,
        Node::Directory(BTreeMap::new()),
    );
}

/// The label that the image's policy has for a path.
fn label(policy: Option<&Policy>, path: &[u8], kind: FileKind) -> Xattrs {
    match policy.and_then(|policy| policy.label(path, kind)) {
        Some(context) => {
            let value = [&context[..], b"\0"].concat();
            Xattrs::new().with(b"security.selinux", &value)
        }
        None => Xattrs::new(),
    }
}

/// The repository's file objects by inode.
fn objects(root: &Tree) -> BTreeMap<InodeId, Checksum> {
    let mut objects = BTreeMap::new();
    let Some(directory) = root.lookup("ostree/repo/objects") else {
        return objects;
    };
    for (shard, inner) in root.children(directory) {
        for (name, id) in root.children(inner) {
            let name = [shard, name].concat();
            let checksum = name
                .strip_suffix(b".file")
                .and_then(|hex| std::str::from_utf8(hex).ok()?.parse().ok());
            if let Some(checksum) = checksum
                && matches!(root.inode(id).node, Node::File(_))
            {
                objects.insert(id, checksum);
            }
        }
    }
    objects
}

/// Every regular file once, in the order of inodes.
fn files(tree: &Tree) -> impl Iterator<Item = InodeId> {
    let mut found = std::collections::BTreeSet::new();
    tree.walk(|_, id| {
        if matches!(tree.inode(id).node, Node::File(_)) {
            found.insert(id);
        }
    });
    found.into_iter()
}
