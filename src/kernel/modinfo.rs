//! What a module says about itself: the `.modinfo` section of its object file.

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol};

use super::compressed::decompressed;

/// Largest section of fields; modules that name hundreds of firmware files have 0.1 MB.
const FIELDS_MAX_BYTES: usize = 4 << 20;

/// Most symbols that are taken, and longest name of one; the kernel has some 30 000 exported ones,
/// with names of at most 512 bytes (`KSYM_NAME_LEN`).
const SYMBOLS_MAX: usize = 1 << 17;
const SYMBOL_NAME_MAX_BYTES: usize = 512;

/// What a signed module ends in, after the signature (Linux `include/linux/module_signature.h`).
const SIGNATURE_MARK: &[u8] = b"~Module signature appended~\n";

/// A module's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Keys and values in the order of the section; keys may repeat.
    pub fields: Vec<(String, String)>,
    /// Whether a signature is appended; whose it is and whether it holds is not looked at.
    pub signed: bool,
    /// Names of the symbols it needs from the kernel or from other modules, sorted.
    pub undefined: Vec<String>,
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
        let mut undefined: Vec<String> = object
            .symbols()
            .filter(|symbol| symbol.is_undefined())
            .filter_map(|symbol| symbol.name().ok())
            .filter(|name| (1..=SYMBOL_NAME_MAX_BYTES).contains(&name.len()))
            .take(SYMBOLS_MAX)
            .map(str::to_owned)
            .collect();
        undefined.sort_unstable();
        Ok(Self {
            fields,
            signed: bytes.ends_with(SIGNATURE_MARK),
            undefined,
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

    /// Names of the modules it depends on directly.
    pub fn depends(&self) -> impl Iterator<Item = &str> {
        self.all("depends")
            .flat_map(|names| names.split(','))
            .filter(|name| !name.is_empty())
    }
}
