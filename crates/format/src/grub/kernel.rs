//! GRUB's kernel, which is an ELF file, as it lies in memory.

use anyhow::{Context, Result, anyhow, ensure};
use object::Endianness;
use object::elf::{ET_EXEC, FileHeader32, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

use super::objects::check_bytes;

/// A kernel for one platform.
#[derive(Clone, Copy, Debug)]
pub(super) struct Platform {
    /// ELF's number for the processor.
    pub(super) machine: u16,
    /// Where the kernel begins.
    pub(super) address: u32,
}

/// The kernel in memory.
#[derive(Debug)]
pub(super) struct Kernel {
    /// From its address to the end of what its file holds.
    pub(super) bytes: Vec<u8>,
    /// Bytes in memory, with those that are zero at the start.
    pub(super) memory_bytes: u32,
}

impl Kernel {
    /// Reads a kernel's ELF file.
    pub(super) fn parse(file: &[u8], platform: Platform) -> Result<Self> {
        let header = FileHeader32::<Endianness>::parse(file)?;
        let endian = header.endian()?;
        ensure!(
            header.e_machine(endian) == platform.machine && header.e_type(endian) == ET_EXEC,
            "it is not a program for this platform"
        );
        let mut bytes = Vec::new();
        let mut memory_bytes = 0;
        for segment in header.program_headers(endian, file)? {
            if segment.p_type(endian) != PT_LOAD {
                continue;
            }
            let begin = segment
                .p_vaddr(endian)
                .checked_sub(platform.address)
                .filter(|begin| *begin >= memory_bytes)
                .with_context(|| {
                    format!("its parts are not in order from {:#x} on", platform.address)
                })?;
            let data = segment
                .data(endian, file)
                .map_err(|()| anyhow!("it is cut off"))?;
            memory_bytes = begin
                .checked_add(segment.p_memsz(endian))
                .filter(|_| segment.p_memsz(endian) >= segment.p_filesz(endian))
                .context("it is larger than memory")?;
            if !data.is_empty() {
                let begin = usize::try_from(begin)?;
                check_bytes(begin.saturating_add(data.len()))?;
                bytes.resize(begin, 0);
                bytes.extend_from_slice(data);
            }
        }
        ensure!(
            !bytes.is_empty() && header.e_entry(endian) == platform.address,
            "it does not begin at {:#x}",
            platform.address
        );
        Ok(Self {
            bytes,
            memory_bytes,
        })
    }
}
