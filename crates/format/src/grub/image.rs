//! Puts a core image for PC BIOS together.

use anyhow::{Context, Result, ensure};
use object::elf::EM_386;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::boot;
use super::compress::lzma;
use super::format::{
    CDBOOT_BYTES, CDBOOT_COUNT, CDBOOT_EXACT_COUNT, DecompressHead, FAR_JUMP, KERNEL_ADDRESS,
    LOW_MEMORY_END,
};
use super::kernel::{Kernel, Platform};
use super::modules::Modules;
use super::objects::{check_bytes, objects, to_u32};

const PLATFORM: Platform = Platform {
    machine: EM_386,
    address: KERNEL_ADDRESS,
};

const KERNEL: &str = "kernel.img";
const DECOMPRESS: &str = "lzma_decompress.img";
const CDBOOT: &str = "cdboot.img";

/// Most bytes of a core image without the sectors before it: what fits below the end of low memory,
/// by `grub-mkimage`'s count, which begins where the kernel does.
pub const MAX_CORE_BYTES: usize = LOW_MEMORY_END - KERNEL_ADDRESS as usize;

/// What a core image is started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The MBR of a disk; [`install_blocklist`](super::install_blocklist) tells it its place.
    Disk,
    /// El Torito, and the MBR of an ISO on a disk; the writer of the ISO tells it its place.
    Cd,
}

/// Makes a core image of `modules` and all that they need.
///
/// `prefix` is where GRUB looks for the rest: `(,gpt3)/grub2` on the third partition of the disk
/// that it was booted from, `/boot/grub` on that disk itself. `config` is run before `grub.cfg` is
/// looked for, by a parser that knows commands with arguments, one a line, and no more.
///
/// A CD's image reads no sector behind its own end, where that of GRUB reads one.
pub fn core_image(
    modules: &Modules,
    names: &[&str],
    prefix: &str,
    config: Option<&str>,
    kind: Kind,
) -> Result<Vec<u8>> {
    let payload = payload(modules, names, prefix, config)?;
    let core = compressed(modules, &payload)?;
    let mut image = Vec::new();
    if kind == Kind::Cd {
        let cdboot = modules.file(CDBOOT)?;
        ensure!(
            cdboot.len() == CDBOOT_BYTES,
            "GRUB's {CDBOOT} has {} bytes, not {CDBOOT_BYTES}",
            cdboot.len()
        );
        image.extend_from_slice(cdboot);
        count_exactly(&mut image);
    }
    image.extend_from_slice(&boot::diskboot(modules, core.len())?);
    image.extend_from_slice(&core);
    Ok(image)
}

/// Keeps `cdboot.img` from reading the sector behind the image, which isn't there when the image is
/// the last file of an ISO: go-diskfs, with which OpenShift's programs rebuild ISOs, ends them with
/// their last file, and GRUB then gives up. Code that counts in another way stays as it is.
fn count_exactly(cdboot: &mut [u8]) {
    let at = cdboot
        .windows(CDBOOT_COUNT.len())
        .position(|code| code == CDBOOT_COUNT);
    if let Some(at) = at {
        cdboot[at..at + CDBOOT_COUNT.len()].copy_from_slice(&CDBOOT_EXACT_COUNT);
    }
}

/// Kernel, modules, config and prefix. The kernel looks for the modules where what its file holds
/// ends.
fn payload(
    modules: &Modules,
    names: &[&str],
    prefix: &str,
    config: Option<&str>,
) -> Result<Vec<u8>> {
    let kernel = Kernel::parse(modules.file(KERNEL)?, PLATFORM)
        .with_context(|| format!("reading GRUB's {KERNEL}"))?;
    let mut payload = kernel.bytes;
    payload.append(&mut objects::<U32>(modules, names, prefix, config)?);
    check_bytes(payload.len())?;
    Ok(payload)
}

/// The decompressor, and what it decompresses.
fn compressed(modules: &Modules, payload: &[u8]) -> Result<Vec<u8>> {
    let mut core = modules.file(DECOMPRESS)?.to_vec();
    let compressed = lzma(payload)?;
    let (head, _) = DecompressHead::mut_from_prefix(&mut core)
        .ok()
        .filter(|(head, _)| head.jump[0] == FAR_JUMP)
        .with_context(|| format!("GRUB's {DECOMPRESS} does not begin as it should"))?;
    head.compressed_bytes = to_u32(compressed.len())?.into();
    head.uncompressed_bytes = to_u32(payload.len())?.into();
    head.redundancy_bytes = 0.into();
    core.extend_from_slice(&compressed);
    ensure!(
        core.len() <= MAX_CORE_BYTES,
        "GRUB's core image has {} bytes, and at most {MAX_CORE_BYTES} fit into a PC's low memory",
        core.len()
    );
    Ok(core)
}
