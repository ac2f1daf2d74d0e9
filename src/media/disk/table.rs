//! Which partitions a CoreOS disk has, and where.
//!
//! Names, sizes and numbers, and types but for those in [`super::types`]: coreos-assembler
//! `src/osbuild-manifests/coreos.osbuild.<arch>.mpp.yaml`@05db482e6.
//! First-boot code goes by names, file system labels and the disk's GUID, installers by numbers.

use anyhow::{Result, bail};
use uuid::{Uuid, uuid};

use super::types::Types;
use crate::format::gpt::{Partition, SectorSize, TYPE_ESP, Table, derive_guid};

const MIB: u64 = 1 << 20;

/// The GUID that the first boot replaces.
const DISK_GUID: Uuid = uuid!("00000000-0000-4000-a000-000000000001");

const BIOS_BOOT: Uuid = uuid!("21686148-6449-6e6f-744e-656564454649");
const PREP: Uuid = uuid!("9e1a2d38-c612-4316-aa26-8b49521e5a8b");
const RESERVED: Uuid = uuid!("8da63339-0007-60c0-c436-083ac8230908");

/// GPT attribute that sfdisk calls `LegacyBIOSBootable`.
const LEGACY_BOOTABLE: u64 = 1 << 2;

/// Size of `/boot`. Installers know the number too, so it can't be another.
pub(super) const BOOT_BYTES: u64 = 384 * MIB;

/// Free space before the first partition and behind the last one.
const MARGIN: u64 = MIB;

/// What a partition is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Core image of GRUB for BIOS.
    BiosBoot,
    /// Core image of GRUB for POWER.
    Prep,
    /// Kept empty so that the others have their numbers.
    Reserved,
    /// EFI system partition.
    Esp,
    /// `/boot`
    Boot,
    /// The physical root.
    Root,
}

/// A partition, in bytes from the start of the disk.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) role: Role,
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) offset: u64,
    pub(super) len: u64,
    type_guid: Uuid,
    bootable: bool,
}

/// The partitions of a disk.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) parts: Vec<Part>,
    /// Length of the whole disk in bytes.
    pub(super) bytes: u64,
}

impl Disk {
    /// The disk of an architecture (`uname -m`) with a root of `root_bytes`, a multiple of a MiB.
    pub(super) fn new(architecture: &str, root_bytes: u64, types: Types) -> Result<Self> {
        let first = match architecture {
            "x86_64" => vec![
                (Role::BiosBoot, "BIOS-BOOT", 1, BIOS_BOOT),
                (Role::Esp, "EFI-SYSTEM", 127, TYPE_ESP),
            ],
            "aarch64" | "riscv64" => vec![
                (Role::Reserved, "reserved", 1, RESERVED),
                (Role::Esp, "EFI-SYSTEM", 127, TYPE_ESP),
            ],
            "ppc64le" => vec![
                (Role::Prep, "PowerPC-PReP-boot", 4, PREP),
                (Role::Reserved, "reserved", 1, RESERVED),
            ],
            "s390x" => Vec::new(),
            other => bail!("no disk layout is known for architecture {other}"),
        };
        let mut parts = Vec::new();
        let mut offset = MARGIN;
        let mut add = |role, number, name, len, type_guid| {
            parts.push(Part {
                role,
                number,
                name,
                offset,
                len,
                type_guid,
                bootable: matches!(role, Role::BiosBoot | Role::Prep),
            });
            offset += len;
        };
        for ((role, name, mib, type_guid), number) in first.into_iter().zip(1..) {
            add(role, number, name, mib * MIB, type_guid);
        }
        add(Role::Boot, 3, "boot", BOOT_BYTES, types.boot);
        add(Role::Root, 4, "root", root_bytes, types.root);
        Ok(Self {
            parts,
            bytes: offset + MARGIN,
        })
    }

    /// The partition with this role.
    pub(super) fn part(&self, role: Role) -> Option<&Part> {
        self.parts.iter().find(|part| part.role == role)
    }

    /// The partition table; unique GUIDs follow from `seed`.
    pub(super) fn table(&self, sector_size: SectorSize, seed: &str) -> Table {
        let sector = sector_size.bytes();
        Table {
            disk_guid: DISK_GUID,
            disk_bytes: self.bytes,
            sector_size,
            partitions: self
                .parts
                .iter()
                .map(|part| Partition {
                    number: part.number,
                    name: part.name.to_owned(),
                    type_guid: part.type_guid,
                    guid: derive_guid(seed, part.name),
                    first_lba: part.offset / sector,
                    last_lba: (part.offset + part.len) / sector - 1,
                    attributes: if part.bootable { LEGACY_BOOTABLE } else { 0 },
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(architecture: &str) -> Types {
        Types::of(architecture).unwrap()
    }

    /// Sectors of a published x86_64 image (coreos-assembler pull request 4549).
    #[test]
    fn x86_64_is_as_published() {
        let disk = Disk::new("x86_64", 4_976_640 * 512, types("x86_64")).unwrap();
        let table = disk.table(SectorSize::B512, "seed");
        let sectors: Vec<(u32, u64, u64)> = table
            .partitions
            .iter()
            .map(|p| (p.number, p.first_lba, p.last_lba - p.first_lba + 1))
            .collect();
        assert_eq!(
            sectors,
            [
                (1, 2048, 2048),
                (2, 4096, 260_096),
                (3, 264_192, 786_432),
                (4, 1_050_624, 4_976_640),
            ]
        );
        assert_eq!(disk.bytes, 2944 * MIB);
        table.check().unwrap();
        disk.table(SectorSize::B4096, "seed").check().unwrap();
    }

    #[test]
    fn boot_is_3_and_root_is_4_everywhere() {
        for architecture in ["x86_64", "aarch64", "ppc64le", "s390x", "riscv64"] {
            let disk = Disk::new(architecture, 1 << 30, types(architecture)).unwrap();
            assert_eq!(disk.part(Role::Boot).unwrap().number, 3);
            assert_eq!(disk.part(Role::Root).unwrap().number, 4);
            disk.table(SectorSize::B512, "seed").check().unwrap();
        }
        assert!(Disk::new("mips", 1 << 30, types("x86_64")).is_err());
    }
}
