//! Puts a core image for Open Firmware on POWER together: an ELF program, which firmware loads from
//! a PReP partition.
//!
//! ```text
//! ELF header | program headers | section headers | their names | kernel | module info and modules
//! ```
//!
//! Modules are loaded with a gap after the kernel, which knows the gap's size and doesn't look into
//! headers. Sections are there because `grub-mkimage` writes them.

use anyhow::{Context, Result};
use object::elf::{
    ELFCLASS32, ELFDATA2MSB, ELFMAG, EM_PPC, ET_EXEC, EV_CURRENT, FileHeader32, Ident, PF_R, PF_W,
    PF_X, PT_GNU_STACK, PT_LOAD, ProgramHeader32, SHT_NULL, SHT_PROGBITS, SHT_STRTAB,
    SectionHeader32,
};
use object::pod::bytes_of;
use object::{BigEndian, U16, U32};
use zerocopy::big_endian;

use super::format::ALIGNMENT;
use super::kernel::{Kernel, Platform};
use super::modules::Modules;
use super::objects::{check_bytes, objects, to_u32};

const KERNEL: &str = "kernel.img";

const PLATFORM: Platform = Platform {
    machine: EM_PPC,
    address: 0x20_0000,
};

/// Bytes between kernel and modules, at least.
const MODULES_GAP: u32 = 0x8000;

/// Modules begin at a multiple of this.
const MODULES_ALIGNMENT: u32 = 0x1000;

const KERNEL_ALIGNMENT: u32 = 16;
const WORD: u32 = 4;

/// Names of the sections, and where they begin in it.
const NAMES: &[u8; 12] = b"\0.text\0mods\0";
const NAME_TEXT: u32 = 1;
const NAME_MODULES: u32 = 7;

/// Program and section headers.
const PROGRAMS: u16 = 3;
const SECTIONS: u16 = 4;

/// Makes a core image for a PReP partition, which holds nothing else, of the directory
/// `powerpc-ieee1275`. Arguments are those of [`core_image`](super::core_image).
pub fn prep_image(
    modules: &Modules,
    names: &[&str],
    prefix: &str,
    config: Option<&str>,
) -> Result<Vec<u8>> {
    let kernel = Kernel::parse(modules.file(KERNEL)?, PLATFORM)
        .with_context(|| format!("reading GRUB's {KERNEL}"))?;
    let objects = objects::<big_endian::U32>(modules, names, prefix, config)?;
    check_bytes(kernel.bytes.len() + objects.len())?;

    let kernel_bytes = to_u32(kernel.bytes.len())?;
    let objects_bytes = to_u32(objects.len())?;
    let programs_at = to_u32(size_of::<FileHeader32<BigEndian>>())?;
    let sections_at =
        programs_at + u32::from(PROGRAMS) * to_u32(size_of::<ProgramHeader32<BigEndian>>())?;
    let names_at =
        sections_at + u32::from(SECTIONS) * to_u32(size_of::<SectionHeader32<BigEndian>>())?;
    let names_bytes = to_u32(NAMES.len())?;
    let kernel_at = (names_at + names_bytes).next_multiple_of(KERNEL_ALIGNMENT);
    let objects_at = kernel_at + kernel_bytes;
    let objects_address = PLATFORM
        .address
        .checked_add(kernel.memory_bytes)
        .and_then(|end| end.checked_add(MODULES_GAP))
        .and_then(|end| end.checked_next_multiple_of(MODULES_ALIGNMENT))
        .with_context(|| format!("GRUB's {KERNEL} is larger than memory"))?;

    let programs = [
        program(
            PT_LOAD,
            kernel_at,
            PLATFORM.address,
            [kernel_bytes, kernel.memory_bytes],
            KERNEL_ALIGNMENT,
        ),
        program(PT_GNU_STACK, objects_at, 0, [0, 0], WORD),
        program(
            PT_LOAD,
            objects_at,
            objects_address,
            [objects_bytes, objects_bytes],
            WORD,
        ),
    ];
    let sections = [
        section(0, SHT_NULL, [0, 0, 0], 0),
        section(0, SHT_STRTAB, [0, names_at, names_bytes], KERNEL_ALIGNMENT),
        section(
            NAME_TEXT,
            SHT_PROGBITS,
            [PLATFORM.address, kernel_at, kernel_bytes],
            KERNEL_ALIGNMENT,
        ),
        section(
            NAME_MODULES,
            SHT_PROGBITS,
            [PLATFORM.address + kernel_bytes, objects_at, objects_bytes],
            WORD,
        ),
    ];
    let mut image = bytes_of(&header(programs_at, sections_at)?).to_vec();
    for program in &programs {
        image.extend_from_slice(bytes_of(program));
    }
    for section in &sections {
        image.extend_from_slice(bytes_of(section));
    }
    image.extend_from_slice(NAMES);
    image.resize(usize::try_from(kernel_at)?, 0);
    image.extend_from_slice(&kernel.bytes);
    image.extend_from_slice(&objects);
    image.resize(image.len().next_multiple_of(ALIGNMENT), 0);
    Ok(image)
}

fn header(programs_at: u32, sections_at: u32) -> Result<FileHeader32<BigEndian>> {
    let bytes = |bytes: usize| u16::try_from(bytes).map(half);
    Ok(FileHeader32 {
        e_ident: Ident {
            magic: ELFMAG,
            class: ELFCLASS32,
            data: ELFDATA2MSB,
            version: EV_CURRENT,
            os_abi: 0,
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: half(ET_EXEC),
        e_machine: half(PLATFORM.machine),
        e_version: word(EV_CURRENT.into()),
        e_entry: word(PLATFORM.address),
        e_phoff: word(programs_at),
        e_shoff: word(sections_at),
        e_flags: word(0),
        e_ehsize: bytes(size_of::<FileHeader32<BigEndian>>())?,
        e_phentsize: bytes(size_of::<ProgramHeader32<BigEndian>>())?,
        e_phnum: half(PROGRAMS),
        e_shentsize: bytes(size_of::<SectionHeader32<BigEndian>>())?,
        e_shnum: half(SECTIONS),
        e_shstrndx: half(1),
    })
}

/// `bytes` are those in the file and those in memory.
fn program(
    kind: u32,
    offset: u32,
    address: u32,
    bytes: [u32; 2],
    alignment: u32,
) -> ProgramHeader32<BigEndian> {
    ProgramHeader32 {
        p_type: word(kind),
        p_offset: word(offset),
        p_vaddr: word(address),
        p_paddr: word(address),
        p_filesz: word(bytes[0]),
        p_memsz: word(bytes[1]),
        p_flags: word(PF_R | PF_W | PF_X),
        p_align: word(alignment),
    }
}

/// `place` is address, offset in the file, and bytes.
fn section(name: u32, kind: u32, place: [u32; 3], alignment: u32) -> SectionHeader32<BigEndian> {
    SectionHeader32 {
        sh_name: word(name),
        sh_type: word(kind),
        sh_flags: word(0),
        sh_addr: word(place[0]),
        sh_offset: word(place[1]),
        sh_size: word(place[2]),
        sh_link: word(0),
        sh_info: word(0),
        sh_addralign: word(alignment),
        sh_entsize: word(0),
    }
}

fn half(value: u16) -> U16<BigEndian> {
    U16::new(BigEndian, value)
}

fn word(value: u32) -> U32<BigEndian> {
    U32::new(BigEndian, value)
}
