//! What the indexes need to know of a module, read from its object file.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SymbolFlags, elf};

use crate::kernel::compressed::decompressed;

/// Most memory for what is kept of one module: names of symbols and aliases. The largest modules of
/// a distribution have 0.3 MB.
const FACTS_MAX_BYTES: usize = 16 << 20;

/// Longest name of a symbol; the kernel has at most 512 (`KSYM_NAME_LEN`).
const SYMBOL_NAME_MAX_BYTES: usize = 512;

/// A record of `__versions`: a checksum as wide as an address, and a name that fills up the rest.
const VERSION_LEN_BYTES: usize = 64;

/// What the name of a symbol begins with whose value is a checksum over what another one looks
/// like. There is one for every exported symbol, or none at all.
const CHECKSUM_PREFIX: &[u8] = b"__crc_";

/// Byte strings without zeroes, in little memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(Vec<u8>);

impl Names {
    pub(super) fn push(&mut self, name: &[u8]) {
        self.0.extend_from_slice(name);
        self.0.push(0);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.0.split_inclusive(|byte| *byte == 0);
        names.map(|name| &name[..name.len() - 1])
    }
}

/// What is kept of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Symbols for others.
    pub(super) exported: Names,
    /// Symbols of others, or of the kernel; may repeat.
    pub(super) needed: Names,
    pub(super) aliases: Names,
    pub(super) soft_dependencies: Names,
}

impl Facts {
    /// Reads a module file, compressed or not.
    pub(super) fn read(file: &mut dyn Read) -> Result<Self> {
        let bytes = decompressed(file)?;
        let file = object::File::parse(&*bytes).context("reading the object file")?;
        ensure!(
            file.format() == object::BinaryFormat::Elf,
            "the object file is no ELF"
        );
        let mut facts = Self::default();
        facts.take_symbols(&file)?;
        if let Some(info) = section(&file, ".modinfo")? {
            for field in info.split(|byte| *byte == 0) {
                // A key without a value has an empty one to depmod.
                let equals = field.iter().position(|byte| *byte == b'=');
                let (key, value) = field.split_at(equals.unwrap_or(field.len()));
                let value = value.get(1..).unwrap_or_default();
                match key {
                    b"alias" => facts.aliases.push(value),
                    b"softdep" => facts.soft_dependencies.push(value),
                    _ => {}
                }
            }
        }
        ensure!(
            facts.held_bytes() <= FACTS_MAX_BYTES,
            "names of its symbols and aliases take more than {FACTS_MAX_BYTES} bytes"
        );
        Ok(facts)
    }

    /// Memory taken, about.
    pub(super) fn held_bytes(&self) -> usize {
        let parts = [
            &self.exported,
            &self.needed,
            &self.aliases,
            &self.soft_dependencies,
        ];
        parts.iter().map(|names| names.0.len()).sum()
    }

    fn take_symbols(&mut self, file: &object::File<'_>) -> Result<()> {
        let sparc = matches!(
            file.architecture(),
            object::Architecture::Sparc
                | object::Architecture::Sparc32Plus
                | object::Architecture::Sparc64
        );
        let mut needed = Vec::new();
        for symbol in file.symbols() {
            let name = symbol.name_bytes().context("reading a symbol's name")?;
            ensure!(
                name.len() <= SYMBOL_NAME_MAX_BYTES + CHECKSUM_PREFIX.len(),
                "the name of a symbol has {} bytes, where at most {SYMBOL_NAME_MAX_BYTES} are taken",
                name.len()
            );
            if let Some(name) = name.strip_prefix(CHECKSUM_PREFIX) {
                self.exported.push(name);
            }
            // SPARC compilers note there which registers are used for what.
            let register = matches!(symbol.flags(), SymbolFlags::Elf { st_info, .. }
                if sparc && st_info & 0xf == elf::STT_SPARC_REGISTER);
            if symbol.is_undefined() && !register && !name.is_empty() {
                needed.push(name);
            }
        }
        if self.exported == Names::default()
            && let Some(strings) = section(file, "__ksymtab_strings")?
        {
            for name in strings.split(|byte| *byte == 0) {
                if !name.is_empty() {
                    self.exported.push(name);
                }
            }
        }
        for name in &needed {
            self.needed.push(name);
        }
        // Some that are looked at when the module is loaded are in no symbol table.
        if let Some(versions) = section(file, "__versions")? {
            needed.sort_unstable();
            let checksum_len_bytes = if file.is_64() { 8 } else { 4 };
            let (records, rest) = versions.as_chunks::<VERSION_LEN_BYTES>();
            ensure!(
                rest.is_empty(),
                "section __versions has {} bytes, which is no multiple of {VERSION_LEN_BYTES}",
                versions.len()
            );
            for record in records {
                let name = &record[checksum_len_bytes..];
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                if needed.binary_search(&name).is_err() {
                    self.needed.push(name);
                }
            }
        }
        Ok(())
    }
}

fn section<'a>(file: &object::File<'a>, name: &str) -> Result<Option<&'a [u8]>> {
    file.section_by_name(name)
        .map(|section| section.data())
        .transpose()
        .with_context(|| format!("reading section {name}"))
}
