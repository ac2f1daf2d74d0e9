//! What the image's own system does with an image: facts that decide how one is imported.

use std::fmt;

use anyhow::{Context, Result};

use crate::tree::{Content, Node, Tree};

/// Version of libostree, year and release: 2024.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LibostreeVersion {
    /// Year, 2024.
    pub year: u16,
    /// Release in that year, counted from 1.
    pub release: u16,
}

impl LibostreeVersion {
    /// What is assumed of images that do not tell.
    pub const ASSUMED: Self = Self::new(2026, 4);

    /// The version `year.release`.
    pub const fn new(year: u16, release: u16) -> Self {
        Self { year, release }
    }

    /// Whether `/var` of a commit is kept and copied to an empty stateroot.
    pub fn keeps_var(self) -> bool {
        self >= Self::new(2024, 3)
    }

    /// Whether boot entries are called `ostree-1.conf`, without the stateroot's name.
    pub fn names_entries_without_stateroot(self) -> bool {
        self >= Self::new(2024, 5)
    }

    /// Whether a deployment gets `backing` directories beside it.
    pub fn has_backing_directories(self) -> bool {
        self >= Self::new(2024, 1)
    }

    /// Reads `2024.3`, and `2022.7-2+deb12u1` as 2022.7.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (year, rest) = text.split_once('.')?;
        let release = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        let is_plausible = year.len() == 4 && year.starts_with("20");
        let is_number = year.bytes().all(|digit| digit.is_ascii_digit());
        (is_plausible && is_number && (1..=2).contains(&release.len()))
            .then(|| Some(Self::new(year.parse().ok()?, release.parse().ok()?)))?
    }
}

impl fmt::Display for LibostreeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.year, self.release)
    }
}

/// Largest file that is searched for a version: the `ostree` program has 0.3 MB, a library 1 MB, a
/// package database tens of them.
const SEARCHED_MAX: u64 = 64 << 20;

/// The libostree that the system in `tree` runs, if it tells:
///
/// 1. `usr/bin/ostree` has it as a string of its own (for `--version`);
/// 2. dpkg's database names it (the rpm database is no text);
/// 3. the library's newest symbol version is a lower bound, good enough from 2024.5 on, where
///    nothing depends on the exact one any more.
pub(super) fn libostree_version(tree: &Tree) -> Result<Option<LibostreeVersion>> {
    if let Some(bytes) = small_file(tree, "usr/bin/ostree")?
        && let Some(version) = version_in_program(&bytes)
    {
        return Ok(Some(version));
    }
    for path in [
        "var/lib/dpkg/status",
        "usr/share/dpkg/status",
        "usr/lib/sysimage/dpkg/status",
    ] {
        if let Some(bytes) = small_file(tree, path)?
            && let Some(version) = version_in_dpkg_status(&bytes)
        {
            return Ok(Some(version));
        }
    }
    let newest_node = match library(tree) {
        Some(library) => newest_symbol_version(&read(library)?),
        None => None,
    };
    Ok(newest_node.filter(|version| *version >= LibostreeVersion::new(2024, 5)))
}

fn version_in_program(bytes: &[u8]) -> Option<LibostreeVersion> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|text| text.len() <= "2024.10".len())
        .filter(|text| {
            !text
                .iter()
                .any(|byte| !byte.is_ascii_digit() && *byte != b'.')
        })
        .filter_map(LibostreeVersion::parse)
        .max()
}

fn version_in_dpkg_status(bytes: &[u8]) -> Option<LibostreeVersion> {
    const NAMES: [&[u8]; 2] = [b"Package: libostree-1-1", b"Package: ostree"];
    let mut is_ours = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.starts_with(b"Package: ") {
            is_ours = NAMES.contains(&line);
        } else if is_ours && let Some(version) = line.strip_prefix(b"Version: ") {
            return LibostreeVersion::parse(version);
        }
    }
    None
}

/// The last version that added something to the library's interface.
fn newest_symbol_version(bytes: &[u8]) -> Option<LibostreeVersion> {
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|text| LibostreeVersion::parse(text.strip_prefix(b"LIBOSTREE_")?))
        .max()
}

/// The library, in a directory for all architectures or in Debian's for one.
fn library(tree: &Tree) -> Option<&Content> {
    const NAME: &str = "libostree-1.so.1.0.0";
    let direct = ["usr/lib64", "usr/lib"].into_iter();
    let found = direct
        .filter_map(|path| tree.file(&format!("{path}/{NAME}")))
        .next();
    found.or_else(|| {
        tree.children(tree.lookup("usr/lib")?).find_map(|(_, id)| {
            match &tree.inode(tree.child(id, NAME.as_bytes())?).node {
                Node::File(content) => Some(content),
                _ => None,
            }
        })
    })
}

/// Where the initramfs is told how to set up the root, in the order ostree-ext looks.
const PREPARE_ROOT: [&str; 2] = [
    "etc/ostree/prepare-root.conf",
    "usr/lib/ostree/prepare-root.conf",
];

/// Whether the system in `tree` has an overlay on its root (composefs, or `root.transient`), so
/// that directories outside `/usr` may come from a container image.
pub(super) fn has_overlay_root(tree: &Tree) -> Result<bool> {
    for path in PREPARE_ROOT {
        if let Some(bytes) = small_file(tree, path)? {
            let text = std::str::from_utf8(&bytes)
                .with_context(|| format!("reading {path}, which is not UTF-8"))?;
            return Ok(enables_overlay(text));
        }
    }
    Ok(false)
}

fn enables_overlay(text: &str) -> bool {
    let mut group = "";
    let (mut transient, mut composefs) = (false, false);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            group = name;
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim();
            match (group, key.trim()) {
                ("root", "transient") => transient = matches!(value, "true" | "1"),
                ("composefs", "enabled") => {
                    composefs =
                        matches!(value, "yes" | "true" | "1" | "maybe" | "signed" | "verity");
                }
                _ => {}
            }
        }
    }
    transient || composefs
}

fn small_file(tree: &Tree, path: &str) -> Result<Option<Vec<u8>>> {
    match tree.file(path) {
        Some(content) => read(content)
            .with_context(|| format!("reading {path}"))
            .map(Some),
        None => Ok(None),
    }
}

fn read(content: &Content) -> Result<Vec<u8>> {
    if content.len() > SEARCHED_MAX {
        return Ok(Vec::new());
    }
    Ok(content.to_vec(SEARCHED_MAX)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Meta;

    fn version(year: u16, release: u16) -> Option<LibostreeVersion> {
        Some(LibostreeVersion::new(year, release))
    }

    #[test]
    fn versions_are_found_where_systems_have_them() {
        assert_eq!(
            version_in_program(b"\x7fELF\0x2023.1\0 2024.1\x002024.10\x001.2\0"),
            version(2024, 10)
        );
        assert_eq!(version_in_program(b"\x7fELF\x002024.1x\0"), None);
        let status = b"Package: a\nVersion: 2020.1\n\nPackage: ostree\nStatus: x\nVersion: 2022.7-2+deb12u1\n";
        assert_eq!(version_in_dpkg_status(status), version(2022, 7));
        assert_eq!(
            version_in_dpkg_status(b"Package: ostree-boot\nVersion: 2022.7\n"),
            None
        );
        let library = b"\0LIBOSTREE_2016.3\0LIBOSTREE_2025.1\0LIBOSTREE_2024.7\0";
        assert_eq!(newest_symbol_version(library), version(2025, 1));
    }

    #[test]
    fn a_library_tells_enough_only_if_it_is_new() {
        for (newest, found) in [("2024.5", version(2024, 5)), ("2023.11", None)] {
            let mut tree = Tree::new(Meta::root(0o755));
            let directory = tree.make_directories("usr/lib/aarch64-linux-gnu", &Meta::root(0o755));
            let bytes = format!("\0LIBOSTREE_{newest}\0").into_bytes();
            let node = Node::File(Content::bytes(bytes));
            tree.create(directory, "libostree-1.so.1.0.0", Meta::root(0o755), node);
            assert_eq!(libostree_version(&tree).unwrap(), found);
        }
    }

    /// The program that the tests' host has, against what it says itself.
    #[test]
    fn the_installed_program_is_recognised() {
        let Ok(output) = std::process::Command::new("ostree")
            .arg("--version")
            .output()
        else {
            assert!(
                std::env::var_os("REQUIRE_TOOLS").is_none(),
                "ostree is not installed"
            );
            println!("skipped: ostree is not installed");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let told = text.split('\'').nth(1).unwrap();
        let program = std::fs::read("/usr/bin/ostree").unwrap();
        assert_eq!(version_in_program(&program).unwrap().to_string(), told);
    }

    #[test]
    fn overlays_are_recognised_as_ostree_ext_does() {
        for (text, enabled) in [
            ("", false),
            ("[root]\ntransient = true\n", true),
            (
                "[root]\ntransient=false\n[composefs]\nenabled = maybe",
                true,
            ),
            ("[composefs]\nenabled=no\n", false),
            ("[composefs]\nenabled=signed\n", true),
            ("[composefs]\n# enabled=yes\n", false),
            ("[etc]\ntransient=true\n", false),
        ] {
            assert_eq!(enables_overlay(text), enabled, "{text}");
        }
    }
}
