//! GRUB for PC BIOS and for Open Firmware on POWER: the core image, and the sectors that start it,
//! made of the files in GRUB's directory for the platform, `i386-pc` or `powerpc-ieee1275`.
//!
//! ```text
//! disk: boot.img, in the MBR -> diskboot.img | lzma_decompress.img | LZMA, in BIOS-BOOT
//! CD:   cdboot.img | diskboot.img | lzma_decompress.img | LZMA, by El Torito
//! ISO as a disk: boot_hybrid.img, in the MBR -> diskboot.img inside the CD's image
//! POWER: an ELF program, in PReP
//! LZMA, program: kernel.img as it lies in memory | module info | modules, each after those it
//!       needs | config | prefix
//! ```
//!
//! The kernel finds what follows it by the module info, loads the modules in their order, runs the
//! config, and takes everything else from the directory that the prefix names. BIOS can't load a
//! core image beyond low memory, so it is always much smaller than a BIOS-BOOT partition.
//!
//! Left out on purpose: Reed-Solomon redundancy, which is for disks where the core image lies
//! outside of partitions; memdisks and keys; floppies; core images in more than one run of sectors.
//!
//! A CD's image finds itself by the classic boot info table alone (its place at byte 12, its length
//! at byte 16), which every program that masters bootable CDs writes. The second table of GRUB, in
//! the sector of `diskboot.img`, is for ISOs on disks. One number in `cdboot.img` is corrected; see
//! [`core_image`].
//!
//! Layout: what `grub-mkimage`, `grub-bios-setup` and `grub-mkrescue` of GRUB 2.06 write, and
//! `grub-core/boot/i386/pc/cdboot.S` (rhboot/grub2 @5e9e7e44). Checked by: `grub-mkimage`, and QEMU
//! with SeaBIOS and with SLOF.

mod boot;
mod compress;
mod format;
mod image;
mod kernel;
mod modules;
mod objects;
mod powerpc;

#[cfg(test)]
mod tests;

pub use boot::{BOOT_CODE_BYTES, boot_sector, hybrid_boot_sector, install_blocklist};
pub use image::{Kind, MAX_CORE_BYTES, core_image};
pub use modules::Modules;
pub use powerpc::prep_image;
