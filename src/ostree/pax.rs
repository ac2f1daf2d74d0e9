//! PAX records, and the extended attributes among them.
//!
//! Format: POSIX.1-2017 `pax`, "pax Extended Header"; `SCHILY.xattr.` is star's, `RHT.security.selinux` Red Hat's tar's.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::limits::{XATTRS_MAX, check_xattrs};
use crate::tree::Xattrs;

/// PAX records `LENGTH KEY=VALUE\n`, the length being that of the whole record.
pub(super) fn parse_records(mut bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let record = || {
            let space = bytes.iter().position(|byte| *byte == b' ')?;
            let length = usize::try_from(decimal(&bytes[..space]).ok()?).ok()?;
            let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = body.iter().position(|byte| *byte == b'=')?;
            Some((length, &body[..equals], &body[equals + 1..]))
        };
        let (length, key, value) = record().context("a PAX record is malformed")?;
        records.insert(key.to_vec(), value.to_vec());
        bytes = &bytes[length..];
    }
    Ok(records)
}

/// Extended attributes among PAX records. bsdtar writes them twice, the second time in a form of
/// its own; that one alone is refused rather than lost.
pub(super) fn xattrs(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Xattrs> {
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
    let mut unread = false;
    // As with other records, an empty value says there is none; a `bare` repository would not keep
    // it either, as libostree skips empty attributes when it reads a file again.
    for (key, value) in records.iter().filter(|(_, value)| !value.is_empty()) {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            check_xattr(name)?;
            pairs.push((name, value));
        } else if key == b"RHT.security.selinux" {
            pairs.push((b"security.selinux", value));
        } else if key.starts_with(b"LIBARCHIVE.xattr.") {
            unread = true;
        }
    }
    ensure!(
        !unread || !pairs.is_empty(),
        "attributes in libarchive's own form are not supported"
    );
    let total: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    ensure!(
        total as u64 <= XATTRS_MAX,
        "its attributes have {total} bytes, where at most {XATTRS_MAX} are taken"
    );
    let set = pairs.into_iter().collect();
    check_xattrs(&set)?;
    Ok(set)
}

/// Refuses attributes that Linux has no place for; an import as root fails on them.
fn check_xattr(name: &[u8]) -> Result<()> {
    const NAMESPACES: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system."];
    ensure!(
        NAMESPACES
            .iter()
            .any(|space| name.len() > space.len() && name.starts_with(space))
            && !name.contains(&0),
        "Linux has no attribute {:?}",
        String::from_utf8_lossy(name)
    );
    Ok(())
}

/// A number as records have it.
pub(super) fn decimal(text: &[u8]) -> Result<u64> {
    let digits = std::str::from_utf8(text).ok();
    digits
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("{:?} is not a number", String::from_utf8_lossy(text)))
}

/// Whole seconds of a PAX time, rounded towards zero.
pub(super) fn seconds(text: &[u8]) -> Result<i64> {
    let (sign, text) = match text.strip_prefix(b"-") {
        Some(text) => (-1, text),
        None => (1, text),
    };
    let whole = text.split(|byte| *byte == b'.').next().unwrap_or_default();
    Ok(sign * i64::try_from(decimal(whole)?)?)
}
