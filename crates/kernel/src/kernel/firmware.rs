//! Firmware that drivers name, looked up where the kernel looks for it.
//!
//! Semantics: Linux `drivers/base/firmware_loader/main.c` (`fw_path`), with the kernel's argument
//! `firmware_class.path`.

use anyhow::Result;

use super::files::Files;

/// Where the kernel looks for firmware, apart from directories of its own release in them.
const DIRECTORIES: [&str; 4] = [
    "usr/lib/firmware/updates",
    "usr/lib/firmware",
    "lib/firmware/updates",
    "lib/firmware",
];

/// What the kernel adds to a firmware file's name.
const SUFFIXES: [&str; 3] = ["", ".xz", ".zst"];

/// Those of `names` that are not there, sorted. `first` is a directory that the kernel was told.
pub(super) fn absent<'a>(
    files: &dyn Files,
    release: &str,
    first: Option<&str>,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>> {
    let mut absent = Vec::new();
    // Newer modules name groups of files with wildcards, of which no single one is needed.
    for name in names.filter(|name| !name.contains('*')) {
        if path(files, release, first, name)?.is_none() {
            absent.push(name.to_owned());
        }
    }
    absent.sort_unstable();
    absent.dedup();
    Ok(absent)
}

/// The path at which the kernel finds the firmware of that name, if it does.
pub(super) fn path(
    files: &dyn Files,
    release: &str,
    first: Option<&str>,
    name: &str,
) -> Result<Option<String>> {
    let told = first.map(|path| path.trim_matches('/').to_owned());
    let usual = DIRECTORIES
        .iter()
        .flat_map(|directory| [(*directory).to_owned(), format!("{directory}/{release}")]);
    for directory in told.into_iter().chain(usual) {
        for suffix in SUFFIXES {
            let path = format!("{directory}/{name}{suffix}");
            if files.exists(&path)? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}
