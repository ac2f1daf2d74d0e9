//! The files of text, and what goes into the binary ones.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::catalog::{Catalog, Module};
use super::trie::Trie;

/// Largest `modules.dep`, which is what fits in a binary index; a distribution's has some 0.7 MB.
const DEPENDENCY_LINES_MAX_BYTES: usize = 256 << 20;

/// What the kernel's build leaves beside the modules; None where the file is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildFiles<'a> {
    /// `modules.order`
    pub order: Option<&'a [u8]>,
    /// `modules.builtin`
    pub builtin: Option<&'a [u8]>,
    /// `modules.builtin.modinfo`
    pub builtin_modinfo: Option<&'a [u8]>,
}

/// What depmod would have written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    /// Contents by file name (`modules.dep`).
    pub files: BTreeMap<&'static str, Vec<u8>>,
    /// What depmod would have complained about: one sentence each.
    pub warnings: Vec<String>,
}

/// All indexes.
pub(super) fn indexes(catalog: &Catalog, build: &BuildFiles<'_>) -> Result<Indexes> {
    let mut files = BTreeMap::new();
    let mut warnings = Vec::new();
    let mut add = |name: &'static str, content: Result<Vec<u8>>| -> Result<()> {
        files.insert(name, content.with_context(|| format!("making {name}"))?);
        Ok(())
    };
    let mut lines = Vec::with_capacity(catalog.modules.len());
    let mut lines_bytes = 0;
    for module in &catalog.modules {
        let line = dependency_line(catalog, module);
        lines_bytes += line.len();
        ensure!(
            lines_bytes <= DEPENDENCY_LINES_MAX_BYTES,
            "modules.dep would have more than {DEPENDENCY_LINES_MAX_BYTES} bytes"
        );
        lines.push(line);
    }
    add("modules.dep", Ok(text("", &lines)))?;
    add("modules.dep.bin", dependency_trie(catalog, lines))?;
    add("modules.alias", Ok(aliases(catalog)))?;
    add("modules.alias.bin", alias_trie(catalog, &mut warnings))?;
    add("modules.softdep", Ok(soft_dependencies(catalog)))?;
    add("modules.symbols", Ok(symbols(catalog)))?;
    add("modules.symbols.bin", symbol_trie(catalog))?;
    // Without its source, such a file is there and empty.
    let trie = build.builtin.map(|text| builtin_trie(text, &mut warnings));
    add("modules.builtin.bin", trie.unwrap_or(Ok(Vec::new())))?;
    let trie = (build.builtin_modinfo).map(|text| builtin_alias_trie(text, &mut warnings));
    add("modules.builtin.alias.bin", trie.unwrap_or(Ok(Vec::new())))?;
    add("modules.devname", Ok(devices(catalog, &mut warnings)))?;
    Ok(Indexes { files, warnings })
}

/// Lines below a heading, which may be empty.
fn text<L: AsRef<[u8]>>(heading: &str, lines: &[L]) -> Vec<u8> {
    let mut text = heading.as_bytes().to_vec();
    for line in lines {
        text.extend_from_slice(line.as_ref());
        text.push(b'\n');
    }
    text
}

/// What equal keys are ordered by: the place of the module.
fn priority(place: usize) -> Result<u32> {
    Ok(u32::try_from(place)?)
}

fn dependency_line(catalog: &Catalog, module: &Module) -> Vec<u8> {
    let mut line = format!("{}:", module.path);
    for dependency in &module.dependencies {
        line.push(' ');
        line.push_str(&catalog.modules[*dependency].path);
    }
    line.into_bytes()
}

fn dependency_trie(catalog: &Catalog, lines: Vec<Vec<u8>>) -> Result<Vec<u8>> {
    let mut trie = Trie::default();
    for (place, (module, line)) in catalog.modules.iter().zip(lines).enumerate() {
        trie.insert(module.name.clone().into_bytes(), line, priority(place)?)?;
    }
    trie.bytes()
}

fn aliases(catalog: &Catalog) -> Vec<u8> {
    let mut lines = Vec::new();
    for module in &catalog.modules {
        for alias in module.facts.aliases.iter() {
            lines.push([b"alias ", alias, b" ", module.name.as_bytes()].concat());
        }
    }
    text("# Aliases extracted from modules themselves.\n", &lines)
}

fn alias_trie(catalog: &Catalog, warnings: &mut Vec<String>) -> Result<Vec<u8>> {
    let mut trie = Trie::default();
    for (place, module) in catalog.modules.iter().enumerate() {
        for alias in module.facts.aliases.iter() {
            match normalized(alias) {
                Some(key) => trie.insert(key, module.name.clone().into(), priority(place)?)?,
                None => warnings.push(unmatched(alias, &module.name)),
            }
        }
    }
    trie.bytes()
}

/// An alias as it is looked up: `-` and `_` are the same, except between brackets. None if brackets
/// do not match.
fn normalized(alias: &[u8]) -> Option<Vec<u8>> {
    let mut inside = false;
    let mut key = Vec::with_capacity(alias.len());
    for byte in alias {
        key.push(match (inside, byte) {
            (false, b'-') => b'_',
            (false, b']') => return None,
            _ => *byte,
        });
        match byte {
            b'[' => inside = true,
            b']' => inside = false,
            _ => {}
        }
    }
    (!inside).then_some(key)
}

fn unmatched(alias: &[u8], module: &str) -> String {
    let alias = String::from_utf8_lossy(alias);
    format!("alias {alias:?} of module {module} has brackets that do not match")
}

fn soft_dependencies(catalog: &Catalog) -> Vec<u8> {
    let mut lines = Vec::new();
    for module in &catalog.modules {
        for words in module.facts.soft_dependencies.iter() {
            lines.push([b"softdep ", module.name.as_bytes(), b" ", words].concat());
        }
    }
    text(
        "# Soft dependencies extracted from modules themselves.\n",
        &lines,
    )
}

fn symbols(catalog: &Catalog) -> Vec<u8> {
    let mut lines = Vec::new();
    for (symbol, owner) in catalog.owners.iter() {
        let module = catalog.modules[*owner].name.as_bytes();
        lines.push([b"alias symbol:", symbol, b" ", module].concat());
    }
    text("# Aliases for symbols, used by symbol_request().\n", &lines)
}

fn symbol_trie(catalog: &Catalog) -> Result<Vec<u8>> {
    let mut trie = Trie::default();
    for (symbol, owner) in catalog.owners.iter() {
        let key = [b"symbol:", symbol].concat();
        let module = catalog.modules[*owner].name.clone();
        trie.insert(key, module.into(), priority(*owner)?)?;
    }
    trie.bytes()
}

fn builtin_trie(builtin: &[u8], warnings: &mut Vec<String>) -> Result<Vec<u8>> {
    let mut trie = Trie::default();
    // As in depmod, the end of the line is part of a name that has no dot.
    for line in builtin.split_inclusive(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        if !line.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let line = line.trim_end();
            warnings.push(format!("line {line:?} of modules.builtin is no path"));
            continue;
        }
        let name = line.rsplit('/').next().unwrap_or_default();
        let name = name.split('.').next().unwrap_or_default();
        trie.insert(name.replace('-', "_").into(), Vec::new(), 0)?;
    }
    trie.bytes()
}

/// `modules.builtin.modinfo` is strings `MODULE.KEY=VALUE`, each with a zero after it; one without
/// does not count.
fn builtin_alias_trie(modinfo: &[u8], warnings: &mut Vec<String>) -> Result<Vec<u8>> {
    let mut trie = Trie::default();
    for field in modinfo.split_inclusive(|byte| *byte == 0) {
        let Some(field) = field.strip_suffix(&[0]) else {
            continue;
        };
        let Some(dot) = field.iter().position(|byte| *byte == b'.') else {
            continue;
        };
        let Some(alias) = field[dot + 1..].strip_prefix(b"alias=") else {
            continue;
        };
        let module = String::from_utf8_lossy(&field[..dot]).into_owned();
        match normalized(alias) {
            Some(key) => trie.insert(key, module.into(), 0)?,
            None => warnings.push(unmatched(alias, &module)),
        }
    }
    trie.bytes()
}

/// Device nodes that exist before the module is loaded, which opening them causes.
fn devices(catalog: &Catalog, warnings: &mut Vec<String>) -> Vec<u8> {
    let mut lines = Vec::new();
    for module in &catalog.modules {
        let mut device = None;
        let mut numbers = None;
        for alias in module.facts.aliases.iter() {
            let alias = String::from_utf8_lossy(alias);
            if let (None, Some(name)) = (&device, alias.strip_prefix("devname:")) {
                device = Some(name.to_owned());
            } else if let Some(found) = device_numbers(&alias) {
                numbers = Some(found);
            }
            if device.is_some() && numbers.is_some() {
                break;
            }
        }
        let name = &module.name;
        match (device, numbers) {
            (Some(device), Some((kind, major, minor))) => {
                lines.push(format!("{name} {device} {kind}{major}:{minor}"));
            }
            (Some(device), None) => warnings.push(format!(
                "module {name} names its device {device:?} and no numbers of it"
            )),
            (None, _) => {}
        }
    }
    let heading = "# Device nodes to trigger on-demand module loading.\n";
    text(if lines.is_empty() { "" } else { heading }, &lines)
}

/// Kind, major and minor number in `char-major-10-229` or `block-major-…`; what follows the number
/// does not matter.
fn device_numbers(alias: &str) -> Option<(char, u32, u32)> {
    let (kind, rest) = match alias.strip_prefix("char-major-") {
        Some(rest) => ('c', rest),
        None => ('b', alias.strip_prefix("block-major-")?),
    };
    let (major, rest) = scan_number(rest)?;
    let (minor, _) = scan_number(rest.strip_prefix('-')?)?;
    Some((kind, major, minor))
}

/// A number as C's `scanf` takes one, and what follows it. Those that fit no device number are
/// none.
fn scan_number(text: &str) -> Option<(u32, &str)> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}
