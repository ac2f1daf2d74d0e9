//! File names on FAT: the short one of 8 + 3 characters, and the long one in slots before it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use zerocopy::little_endian::U16;

use super::format::{ATTRIBUTES_LONG_NAME, LAST_LONG_SLOT, LONG_SLOT_UNITS, LongNameSlot};

/// Longest name in UTF-16 units: 20 slots would hold 260, the specification says 255.
const MAX_UNITS: usize = 255;

/// A short name as it lies on disk: 8 and 3 characters, padded with spaces.
pub(super) type ShortName = [u8; 11];

/// Refuses names that no FAT system would give back as they are.
pub(super) fn check(name: &str) -> Result<()> {
    ensure!(
        !matches!(name, "" | "." | "..") && !name.ends_with(['.', ' ']),
        "{name:?} can't be a name on a FAT volume"
    );
    if let Some(bad) = name
        .chars()
        .find(|c| c.is_control() || "\"*/:<>?\\|".contains(*c))
    {
        anyhow::bail!("the name {name:?} holds {bad:?}, which a FAT volume can't store");
    }
    ensure!(
        name.encode_utf16().count() <= MAX_UNITS,
        "the name {name:?} is longer than {MAX_UNITS} characters"
    );
    Ok(())
}

/// The short name for `name`, and whether it says all of it; `taken` are the short names in the
/// same directory so far.
pub(super) fn shorten(name: &str, taken: &mut BTreeSet<ShortName>) -> (ShortName, bool) {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.trim_matches('.').is_empty() => (stem, extension),
        _ => (name, ""),
    };
    let (stem, extension) = (allowed(stem), allowed(extension));
    // Equal but for case: the long name only restores the case.
    let plain = format!("{stem}.{extension}");
    let fits = stem.len() <= 8
        && extension.len() <= 3
        && plain.trim_end_matches('.') == name.to_ascii_uppercase();
    let mut short = packed(&stem, &extension);
    let mut number = 0u32;
    while !(fits || number > 0) || taken.contains(&short) {
        number += 1;
        let tail = format!("~{number}");
        let kept = stem.len().min(8 - tail.len());
        short = packed(&format!("{}{tail}", &stem[..kept]), &extension);
    }
    taken.insert(short);
    (
        short,
        fits && number == 0 && name == name.to_ascii_uppercase(),
    )
}

/// Upper case, without spaces and dots, `_` for what short names can't hold.
fn allowed(part: &str) -> String {
    part.chars()
        .filter(|c| !matches!(c, ' ' | '.'))
        .map(|c| match c.to_ascii_uppercase() {
            c if c.is_ascii_alphanumeric() || "!#$%&'()-@^_`{}~".contains(c) => c,
            _ => '_',
        })
        .collect()
}

fn packed(stem: &str, extension: &str) -> ShortName {
    let mut short = [b' '; 11];
    for (place, byte) in short[..8].iter_mut().zip(stem.bytes()) {
        *place = byte;
    }
    for (place, byte) in short[8..].iter_mut().zip(extension.bytes()) {
        *place = byte;
    }
    short
}

/// The slots of a long name in the order on disk: the end of the name first.
pub(super) fn long_slots(name: &str, short: &ShortName) -> Vec<LongNameSlot> {
    let checksum = short
        .iter()
        .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units: Vec<u16> = name.encode_utf16().collect();
    let parts: Vec<&[u16]> = units.chunks(LONG_SLOT_UNITS).collect();
    let mut slots: Vec<LongNameSlot> = (1u8..)
        .zip(&parts)
        .map(|(order, part)| long_slot(order, part, checksum))
        .collect();
    if let Some(last) = slots.last_mut() {
        last.order |= LAST_LONG_SLOT;
    }
    slots.reverse();
    slots
}

fn long_slot(order: u8, part: &[u16], checksum: u8) -> LongNameSlot {
    // The name ends with a NUL if there is room for one, then come 0xffff.
    let unit = |at: usize| {
        U16::new(match at {
            _ if at < part.len() => part[at],
            _ if at == part.len() => 0,
            _ => 0xffff,
        })
    };
    LongNameSlot {
        order,
        part_1: std::array::from_fn(unit),
        attributes: ATTRIBUTES_LONG_NAME,
        kind: 0,
        checksum,
        part_2: std::array::from_fn(|at| unit(5 + at)),
        cluster: U16::ZERO,
        part_3: std::array::from_fn(|at| unit(11 + at)),
    }
}
