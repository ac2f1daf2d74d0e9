//! Derived layers as read: entries in order, contents in the store.
//!
//! What becomes of an entry is decided later ([`super::filter`]), as that depends on the base and
//! on the merged tree. Only contents that can never be kept are not stored.

use std::io::Read;

use anyhow::{Context, Result, ensure};

use super::archive::{Archive, EntryKind};
use super::encapsulated::REPOSITORY;
use super::filter;
use super::limits::{Meter, PATH_MAX, check_target};
use super::object::SYMLINK_MODE;
use super::source::Keep;
use crate::progress::Progress;
use crate::tree::{Content, Meta, NAME_MAX, Store};

/// Longest symlink target in a tar header, in bytes.
const HEADER_LINK_MAX: usize = 100;

/// An ordinary layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// `sha256:…` as in the manifest, for messages.
    pub(super) digest: String,
    pub(super) entries: Vec<Entry>,
    /// Whether the archive has something behind its end mark.
    pub(super) goes_on: bool,
}

/// One entry of a layer.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where the layer puts it: components joined by `/`, without `.` and `..`; empty for the root.
    pub(super) path: Box<str>,
    pub(super) body: Body,
    /// Whether the archive has the path in a PAX record.
    pub(super) has_pax_path: bool,
    /// As in the archive; mtime tells whether the build has touched a file of the base.
    pub(super) meta: Meta,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum Body {
    Directory,
    File(Content),
    Symlink(Box<[u8]>),
    /// A hard link to this path, in the form of [`Entry::path`].
    Link(Box<str>),
    /// A regular file where nothing is kept.
    Unread,
    /// A device, FIFO or something else, by its type flag.
    Other(u8),
}

/// Reads a layer to the end of its stream, and keeps the contents that `keep` asks for.
pub(super) fn read(
    stream: impl Read,
    digest: &str,
    store: &Store,
    keep: Keep<'_>,
    meter: &Meter,
    progress: &dyn Progress,
    keep_going: &dyn Fn() -> Result<()>,
) -> Result<Layer> {
    let mut archive = Archive::new(stream);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next()? {
        keep_going()?;
        let path = clean_path(&entry.path)?;
        let about = || format!("reading {path:?}");
        let mut meta = entry.meta;
        let xattrs: usize = meta
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        meter.entry(path.len() + xattrs)?;
        let body = match entry.kind {
            EntryKind::Directory => Body::Directory,
            EntryKind::Regular(_) if filter::is_never_kept(&path) => Body::Unread,
            // Files in the repository have their path from a hard link to them.
            EntryKind::Regular(size) if !keep(&path) && !path.starts_with(REPOSITORY) => {
                progress.advance(size);
                Body::File(Content::left_out(size))
            }
            EntryKind::Regular(size) => {
                let content = store.keep(size, &mut archive.content(), |part| {
                    progress.advance(part.len() as u64);
                });
                Body::File(content.with_context(about)?)
            }
            EntryKind::Symlink(target, has_pax_link) => {
                ensure!(
                    std::str::from_utf8(&target).is_ok_and(|text| !text.is_empty()),
                    "the symlink {path:?} has a target that is empty or not UTF-8"
                );
                check_target(&target).with_context(about)?;
                meter.metadata(target.len() as u64)?;
                meta.mode = SYMLINK_MODE;
                let target = match has_pax_link {
                    true => target,
                    false => plain_target(target),
                };
                Body::Symlink(target.into())
            }
            EntryKind::Link(target) => {
                meter.metadata(target.len() as u64)?;
                Body::Link(clean_path(&target).with_context(about)?.into())
            }
            EntryKind::Other(flag) => Body::Other(flag),
        };
        entries.push(Entry {
            path: path.into(),
            body,
            has_pax_path: entry.has_pax_path,
            meta,
        });
    }
    Ok(Layer {
        digest: digest.to_owned(),
        entries,
        goes_on: archive.goes_on(),
    })
}

/// A symlink's target as ostree-ext's tar writer puts it into a header: without doubled slashes and
/// inner dots. What does not fit a header goes past it, unchanged, and so do PAX records.
fn plain_target(target: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::with_capacity(target.len());
    for (index, part) in target.split(|byte| *byte == b'/').enumerate() {
        match part {
            b"" if index == 0 && target.len() > 1 => plain.push(b'/'),
            b"." if index > 0 => {}
            b"" => {}
            part => {
                if !plain.is_empty() && !plain.ends_with(b"/") {
                    plain.push(b'/');
                }
                plain.extend_from_slice(part);
            }
        }
    }
    if target.ends_with(b"/") && !plain.ends_with(b"/") {
        plain.push(b'/');
    }
    match plain.len() {
        1..=HEADER_LINK_MAX => plain,
        _ => target,
    }
}

/// A path without leading, doubled and trailing slashes and without `.`; `..` and what cannot be a
/// name are errors, also where ostree would drop the file.
fn clean_path(path: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(path)
        .with_context(|| format!("the path {:?} is not UTF-8", String::from_utf8_lossy(path)))?;
    let mut clean = String::with_capacity(text.len());
    for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
        ensure!(part != "..", "the path {text:?} leads upwards");
        ensure!(
            part.len() <= NAME_MAX,
            "a name in {text:?} is longer than {NAME_MAX} bytes"
        );
        if !clean.is_empty() {
            clean.push('/');
        }
        clean.push_str(part);
    }
    debug_assert!(clean.len() <= PATH_MAX, "checked by the archive reader");
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_relative_and_plain() {
        for (path, clean) in [
            ("usr/bin/a", "usr/bin/a"),
            ("./usr//bin/./a/", "usr/bin/a"),
            ("/etc/x", "etc/x"),
            ("//a", "a"),
            ("./", ""),
            ("a/...", "a/..."),
        ] {
            assert_eq!(clean_path(path.as_bytes()).unwrap(), clean);
        }
        let long = [b'a'; NAME_MAX + 1];
        for path in [&b".."[..], b"usr/../x", b"/..", b"\xff", &long] {
            assert!(clean_path(path).is_err());
        }
        assert!(clean_path(&long[1..]).is_ok());
    }
}
