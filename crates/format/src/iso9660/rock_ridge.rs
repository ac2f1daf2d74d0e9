//! Rock Ridge: POSIX names, modes and times in the system use field of directory records.
//!
//! Owner and modes are the same for all, as with mkisofs's `-rational-rock`: root's, and read-only.
//! Names are short enough for their record, so nothing continues elsewhere.

use zerocopy::{Immutable, IntoBytes};

use super::format::{
    Both32, ROCK_RIDGE, SHARING_CHECK, ShortDate, TIMES, UseAttributes, UseExtension, UseHead,
    UseName, UseSharing, UseTimes,
};

/// Mode of a regular file.
const MODE_FILE: u32 = 0o100444;
/// Mode of a directory.
const MODE_DIRECTORY: u32 = 0o040555;

/// Entries for a regular file's record.
pub(super) fn file(name: &str, date: ShortDate) -> Vec<u8> {
    [attributes(MODE_FILE, 1, date), self::name(name)].concat()
}

/// Entries for the record with a directory's name.
pub(super) fn directory(name: &str, links: usize, date: ShortDate) -> Vec<u8> {
    [dots(links, date), self::name(name)].concat()
}

/// Entries for `.` and `..`.
pub(super) fn dots(links: usize, date: ShortDate) -> Vec<u8> {
    let links = u32::try_from(links).expect("directories are numbered with 16 bits");
    attributes(MODE_DIRECTORY, links, date)
}

/// Entries for the root's `.`, by which readers know that all others are there.
pub(super) fn root(links: usize, date: ShortDate) -> Vec<u8> {
    let sharing = UseSharing {
        head: head::<UseSharing>(*b"SP", 0),
        check: SHARING_CHECK,
        skip: 0,
    };
    let extension = UseExtension {
        head: head::<UseExtension>(*b"ER", ROCK_RIDGE.len()),
        identifier_length: ROCK_RIDGE.len() as u8,
        description_length: 0,
        source_length: 0,
        version: 1,
    };
    [
        sharing.as_bytes(),
        &dots(links, date),
        extension.as_bytes(),
        ROCK_RIDGE,
    ]
    .concat()
}

fn attributes(mode: u32, links: u32, date: ShortDate) -> Vec<u8> {
    let attributes = UseAttributes {
        head: head::<UseAttributes>(*b"PX", 0),
        mode: Both32::new(mode),
        links: Both32::new(links),
        uid: Both32::new(0),
        gid: Both32::new(0),
    };
    let times = UseTimes {
        head: head::<UseTimes>(*b"TF", 0),
        flags: TIMES,
        modified: date,
        accessed: date,
        changed: date,
    };
    [attributes.as_bytes(), times.as_bytes()].concat()
}

fn name(name: &str) -> Vec<u8> {
    let entry = UseName {
        head: head::<UseName>(*b"NM", name.len()),
        flags: 0,
    };
    [entry.as_bytes(), name.as_bytes()].concat()
}

/// Head of an entry `T` with `more` bytes after it.
fn head<T: IntoBytes + Immutable>(signature: [u8; 2], more: usize) -> UseHead {
    UseHead {
        signature,
        length: u8::try_from(size_of::<T>() + more).expect("names were checked to fit"),
        version: 1,
    }
}
