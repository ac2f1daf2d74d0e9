//! File names in the two trees: level 1 names of 8 + 3 characters, and Joliet's.
//!
//! Level 1 because coreos-installer looks files up by such names: `coreos/kargs.json` is
//! `COREOS/KARGS.JSO` to it. Where two names shorten to the same one, all but one get a number, the
//! way mkisofs does it: `ABCDE000.EXT`.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

/// Longest name in UTF-16 units, as with mkisofs's `-joliet-long`: longer ones would not fit into
/// a directory record together with a version.
const MAX_UNITS: usize = 103;

/// Longest name in bytes: what is left of a directory record for Rock Ridge's `NM`.
const MAX_BYTES: usize = 139;

/// The version that all files have.
const VERSION: &str = ";1";

/// Refuses names that one of the trees can't hold.
pub(super) fn check(name: &str) -> Result<()> {
    ensure!(
        !matches!(name, "" | "." | ".."),
        "{name:?} can't be a file name on an ISO"
    );
    let bad = |c: char| c.is_control() || "*/:;?\\".contains(c) || c.len_utf16() > 1;
    if let Some(bad) = name.chars().find(|c| bad(*c)) {
        bail!("the name {name:?} holds {bad:?}, which Joliet can't store");
    }
    ensure!(
        name.encode_utf16().count() <= MAX_UNITS && name.len() <= MAX_BYTES,
        "the name {name:?} is longer than {MAX_UNITS} characters or {MAX_BYTES} bytes"
    );
    Ok(())
}

/// A level 1 name without its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ShortName {
    stem: String,
    extension: String,
}

impl ShortName {
    /// The name cut to 8 and 3 characters; directories have no extension.
    fn cut(name: &str, is_directory: bool) -> Self {
        let (stem, extension) = match name.rsplit_once('.') {
            Some(parts) if !is_directory => parts,
            _ => (name, ""),
        };
        let allowed = |part: &str, most: usize| -> String {
            part.chars()
                .take(most)
                .map(|c| match c.to_ascii_uppercase() {
                    c if c.is_ascii_alphanumeric() => c,
                    _ => '_',
                })
                .collect()
        };
        // `.profile` is all extension, and a stem is needed.
        match stem {
            "" => Self {
                stem: allowed(name, 8),
                extension: String::new(),
            },
            _ => Self {
                stem: allowed(stem, 8),
                extension: allowed(extension, 3),
            },
        }
    }

    fn numbered(&self, number: usize) -> Self {
        let digits = format!("{number:03}");
        let kept = self.stem.len().min(8usize.saturating_sub(digits.len()));
        Self {
            stem: format!("{}{digits}", &self.stem[..kept]),
            extension: self.extension.clone(),
        }
    }

    fn says_all_of(&self, name: &str) -> bool {
        let upper = name.to_ascii_uppercase();
        match self.extension.as_str() {
            "" => self.stem == upper,
            extension => format!("{}.{extension}", self.stem) == upper,
        }
    }
}

/// Level 1 identifiers for the names in one directory, in the same order. Names that fit keep
/// themselves, then the first in the order given has the choice.
pub(super) fn level_1(names: &[(&str, bool)]) -> Vec<Vec<u8>> {
    let cuts: Vec<ShortName> = names
        .iter()
        .map(|(name, is_directory)| ShortName::cut(name, *is_directory))
        .collect();
    let mut taken = BTreeSet::new();
    let mut chosen: Vec<Option<ShortName>> = vec![None; names.len()];
    for must_fit in [true, false] {
        for (at, cut) in cuts.iter().enumerate() {
            if chosen[at].is_none()
                && (!must_fit || cut.says_all_of(names[at].0))
                && taken.insert(cut.clone())
            {
                chosen[at] = Some(cut.clone());
            }
        }
    }
    cuts.iter()
        .zip(chosen)
        .zip(names)
        .map(|((cut, chosen), (_, is_directory))| {
            let name = chosen.unwrap_or_else(|| {
                (0..)
                    .map(|number| cut.numbered(number))
                    .find(|name| taken.insert(name.clone()))
                    .expect("there are more numbers than files")
            });
            match is_directory {
                true => name.stem.into_bytes(),
                false => format!("{}.{}{VERSION}", name.stem, name.extension).into_bytes(),
            }
        })
        .collect()
}

/// Joliet's identifiers: the names themselves in big-endian UCS-2.
pub(super) fn joliet(names: &[(&str, bool)]) -> Vec<Vec<u8>> {
    names
        .iter()
        .map(|(name, is_directory)| match is_directory {
            true => ucs2(name),
            false => [ucs2(name), ucs2(VERSION)].concat(),
        })
        .collect()
}

/// Big-endian UCS-2, which for the characters that [`check`] lets through is UTF-16.
pub(super) fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// What directory records are sorted by, ECMA-119 §9.3: the name up to the last dot as if filled
/// with spaces, then the extension. No character sorts before a space, so nothing is filled.
pub(super) fn sort_key(identifier: &[u8], is_wide: bool) -> (Vec<u16>, Vec<u16>) {
    let mut units: Vec<u16> = match is_wide {
        true => identifier
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect(),
        false => identifier.iter().copied().map(u16::from).collect(),
    };
    if let Some(version) = units.iter().position(|unit| *unit == u16::from(b';')) {
        units.truncate(version);
    }
    let extension = match units.iter().rposition(|unit| *unit == u16::from(b'.')) {
        Some(dot) => units.split_off(dot),
        None => Vec::new(),
    };
    (units, extension)
}
