//! What a module says about itself: the `.modinfo` section of its object file, its symbols, and the
//! signature behind it.

use std::fmt;

use anyhow::{Context, Result, ensure};
use object::{Architecture, Object, ObjectSection, ObjectSymbol};

use super::compressed::decompressed;
use super::signature::Signature;
use super::versions::{self, Checksums};

/// Largest section of fields; modules that name hundreds of firmware files have 0.1 MB.
const FIELDS_MAX_BYTES: usize = 4 << 20;

/// Most symbols that are taken, and longest name of one; the kernel has some 30 000 exported ones,
/// with names of at most 512 bytes (`KSYM_NAME_LEN`).
const SYMBOLS_MAX: usize = 1 << 17;
const SYMBOL_NAME_MAX_BYTES: usize = 512;

/// What processors code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    architecture: Architecture,
    little_endian: bool,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.architecture, self.little_endian) {
            (Architecture::X86_64, _) => "x86_64",
            (Architecture::I386, _) => "i386",
            (Architecture::Aarch64, _) => "aarch64",
            (Architecture::Arm, _) => "arm",
            (Architecture::PowerPc64, true) => "ppc64le",
            (Architecture::PowerPc64, false) => "ppc64",
            (Architecture::S390x, _) => "s390x",
            (Architecture::Riscv64, _) => "riscv64",
            (Architecture::LoongArch64, _) => "loongarch64",
            (other, _) => return write!(f, "{other:?}"),
        })
    }
}

/// A module's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Keys and values in the order of the section; keys may repeat.
    pub fields: Vec<(String, String)>,
    /// The signature that is appended; whether it holds is not looked at.
    pub signature: Option<Signature>,
    /// Names of the symbols it needs from the kernel or from other modules, sorted.
    pub undefined: Vec<String>,
    /// Those of them that it can do without, sorted.
    pub(super) weak: Vec<String>,
    /// Names of the symbols it has for other modules, sorted.
    pub(super) exported: Vec<String>,
    /// Versions of the symbols that it needs, if it was built with versions.
    pub(super) versions: Option<Checksums>,
    pub(super) machine: Machine,
}

impl ModuleInfo {
    /// Reads a module file, compressed or not.
    pub fn read(mut file: &[u8]) -> Result<Self> {
        let bytes = decompressed(&mut file)?;
        let object = object::File::parse(&*bytes).context("reading the object file")?;
        let section = object
            .section_by_name(".modinfo")
            .context("the object file has no section .modinfo")?;
        let data = section.data().context("reading section .modinfo")?;
        ensure!(
            data.len() <= FIELDS_MAX_BYTES,
            "section .modinfo has {} bytes, where at most {FIELDS_MAX_BYTES} are taken",
            data.len()
        );
        let fields = data
            .split(|byte| *byte == 0)
            .filter_map(|text| {
                let (key, value) = std::str::from_utf8(text).ok()?.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect();
        let mut undefined = Vec::new();
        let mut weak = Vec::new();
        for symbol in object.symbols().filter(|symbol| symbol.is_undefined()) {
            if let Ok(name) = symbol.name()
                && (1..=SYMBOL_NAME_MAX_BYTES).contains(&name.len())
                && undefined.len() < SYMBOLS_MAX
            {
                undefined.push(name.to_owned());
                if symbol.is_weak() {
                    weak.push(name.to_owned());
                }
            }
        }
        undefined.sort_unstable();
        weak.sort_unstable();
        let exported = object.section_by_name("__ksymtab_strings");
        let exported = exported.map(|section| section.data()).transpose();
        let exported = exported.context("reading section __ksymtab_strings")?;
        let mut exported: Vec<String> = exported
            .unwrap_or_default()
            .split(|byte| *byte == 0)
            .filter(|name| (1..=SYMBOL_NAME_MAX_BYTES).contains(&name.len()))
            .take(SYMBOLS_MAX)
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        exported.sort_unstable();
        Ok(Self {
            fields,
            signature: Signature::of(&bytes),
            undefined,
            weak,
            exported,
            versions: versions::of_module(&object)?,
            machine: Machine {
                architecture: object.architecture(),
                little_endian: object.is_little_endian(),
            },
        })
    }

    /// The values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().filter(move |(k, _)| k == key);
        fields.map(|(_, value)| value.as_str())
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// Which kernel it was built for and how: release, then flags.
    pub fn vermagic(&self) -> Option<&str> {
        self.get("vermagic")
    }

    /// The release of the kernel it was built for.
    pub fn release(&self) -> Option<&str> {
        self.vermagic()?.split(' ').next()
    }

    /// How the kernel it was built for was built (`SMP preempt mod_unload modversions`).
    pub(super) fn flags(&self) -> Option<&str> {
        let (_, flags) = self.vermagic()?.split_once(' ').unwrap_or_default();
        Some(flags.trim_end())
    }

    /// Names of the modules it depends on directly.
    pub fn depends(&self) -> impl Iterator<Item = &str> {
        self.all("depends")
            .flat_map(|names| names.split(','))
            .filter(|name| !name.is_empty())
    }
}
