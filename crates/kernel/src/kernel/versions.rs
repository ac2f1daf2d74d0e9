//! Versions of symbols: whether a module fits a kernel that it was not built for.
//!
//! A kernel with `CONFIG_MODVERSIONS` has a checksum for each symbol that it exports, over all types
//! that take part in it. Modules carry the checksums of the symbols that they need. Where they do,
//! such a kernel passes over the release that the module was built for, and compares these instead;
//! that is how modules of drivers live on through a distribution's updates (`weak-updates`).
//!
//! ```text
//! __versions            records of 64 bytes: checksum as wide as an address | name NUL …
//! __version_ext_crcs    checksums of 4 bytes; counts in place of __versions where it is there
//! __version_ext_names   as many names, each with a NUL
//! symvers               lines: 0xCHECKSUM tab SYMBOL tab MODULE tab EXPORT [tab NAMESPACE]
//! ```
//!
//! Semantics: Linux `kernel/module/version.c` (`same_magic`, `check_version`), `modpost`. Checked
//! against `modprobe --dump-modversions`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection};

use super::compressed::decompressed;
use super::files::Files;

/// A record of `__versions`.
const RECORD_LEN_BYTES: usize = 64;

/// Most versions in a module; the largest have some 2000.
const VERSIONS_MAX: usize = 1 << 17;

/// Most symbols of a kernel; a distribution's have some 40 000 with those of all modules.
const SYMBOLS_MAX: usize = 1 << 20;

/// Longest name of a symbol that is taken; the kernel has at most 512 (`KSYM_NAME_LEN`).
const NAME_MAX_BYTES: usize = 512;

/// Files with the versions of a kernel's symbols in its directory of modules.
const IN_MODULES: [&str; 6] = [
    "symvers.gz",
    "symvers.xz",
    "symvers.zst",
    "symvers",
    "modules.symvers",
    "Module.symvers",
];

/// Checksums by the names of symbols.
pub(super) type Checksums = BTreeMap<String, u32>;

/// The versions of a module; None if it has none.
pub(super) fn of_module(object: &object::File<'_>) -> Result<Option<Checksums>> {
    let little = object.is_little_endian();
    let number = |bytes: [u8; 4]| match little {
        true => u32::from_le_bytes(bytes),
        false => u32::from_be_bytes(bytes),
    };
    // Compilers put a dot in front of functions' names there, which the kernel takes away.
    let dotted = object.architecture() == object::Architecture::PowerPc64;
    let mut found = Checksums::new();
    let mut insert = |name: &[u8], checksum: u32| -> Result<()> {
        let name = match name.strip_prefix(b".") {
            Some(rest) if dotted => rest,
            _ => name,
        };
        ensure!(
            name.len() <= NAME_MAX_BYTES && found.len() < VERSIONS_MAX,
            "it has more than {VERSIONS_MAX} versions of symbols, or names of more than {NAME_MAX_BYTES} bytes"
        );
        // The kernel takes the first one it finds.
        let name = String::from_utf8_lossy(name).into_owned();
        found.entry(name).or_insert(checksum);
        Ok(())
    };
    let checksums = section(object, "__version_ext_crcs")?;
    let names = section(object, "__version_ext_names")?;
    if let (Some(checksums), Some(names)) = (checksums, names) {
        let (checksums, rest) = checksums.as_chunks::<4>();
        let mut names = names.split(|byte| *byte == 0);
        ensure!(
            rest.is_empty(),
            "section __version_ext_crcs is no list of numbers"
        );
        for checksum in checksums {
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.context("section __version_ext_names has too few names")?;
            insert(name, number(*checksum))?;
        }
        return Ok(Some(found));
    }
    ensure!(
        checksums.is_none() && names.is_none(),
        "it has only one of the sections __version_ext_crcs and __version_ext_names"
    );
    let Some(table) = section(object, "__versions")? else {
        return Ok(None);
    };
    // The kernel as well passes over what is left at the end.
    let (records, _) = table.as_chunks::<RECORD_LEN_BYTES>();
    for record in records {
        let (low, high, name) = match object.is_64() {
            true => (&record[..4], &record[4..8], &record[8..]),
            false => (&record[..4], &record[..0], &record[4..]),
        };
        // Checksums have 32 bits in either case.
        let low = if little || high.is_empty() { low } else { high };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        insert(name, number(low.try_into()?))?;
    }
    Ok(Some(found))
}

fn section<'a>(object: &object::File<'a>, name: &str) -> Result<Option<&'a [u8]>> {
    let section = object.section_by_name(name);
    let data = section.map(|section| section.data()).transpose();
    data.with_context(|| format!("reading section {name}"))
}

/// The versions of the symbols of a kernel and its own modules, and the file they are from.
#[derive(Debug)]
pub(super) struct KernelSymbols {
    pub(super) path: String,
    pub(super) checksums: Checksums,
}

impl KernelSymbols {
    /// Those of the kernel of that release; None if no file has them.
    pub(super) fn find(files: &dyn Files, release: &str) -> Result<Option<Self>> {
        let mut paths: Vec<String> = IN_MODULES
            .iter()
            .map(|name| format!("usr/lib/modules/{release}/{name}"))
            .collect();
        paths.push(format!("boot/symvers-{release}.gz"));
        paths.push(format!("boot/symvers-{release}.xz"));
        paths.push(format!("usr/src/kernels/{release}/Module.symvers"));
        for path in paths {
            if let Some(bytes) = files.read(&path)? {
                let text = decompressed(&mut &bytes[..]);
                let checksums = text.and_then(|text| parse(&text));
                let checksums = checksums.with_context(|| format!("reading {path}"))?;
                return Ok(Some(Self { path, checksums }));
            }
        }
        Ok(None)
    }
}

/// The text of `symvers`. Lines that make no sense are passed over, but not all of them.
fn parse(text: &[u8]) -> Result<Checksums> {
    let mut found = Checksums::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut fields = line.split('\t');
        let checksum = fields.next().and_then(|field| field.strip_prefix("0x"));
        let checksum = checksum.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if let (Some(checksum), Some(name)) = (checksum, fields.next()) {
            ensure!(
                found.len() < SYMBOLS_MAX,
                "it has more than {SYMBOLS_MAX} symbols"
            );
            found.insert(name.to_owned(), checksum);
        }
    }
    ensure!(!found.is_empty(), "it has no versions of symbols");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_of_symvers() {
        let text = b"0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\n\
                     0xffffffff\tnvme_init\tdrivers/nvme/core\tEXPORT_SYMBOL_GPL\tNVME\n\
                     0x123456789\ttoo_long\tvmlinux\tEXPORT_SYMBOL\nnonsense\n0x1\n";
        let found = parse(text).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        assert_eq!(found, [("nvme_init", 0xffff_ffff), ("printk", 0x1234_5678)]);
        let error = parse(b"# nothing\n").unwrap_err();
        assert_eq!(error.to_string(), "it has no versions of symbols");
    }
}
