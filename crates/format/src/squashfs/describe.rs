//! Text dump of an image, in the manner of `unsquashfs -lls`: one line for the superblock and one
//! for every name. Meant for eyes and tests; the same image gives the same text.
//!
//! ```text
//! squashfs zstd:15, block size 131072, time 0, 3 inodes, 1 fragments, 1 owners, exportable
//! drwxr-xr-x 2 0:0 0 - / security.selinux="system_u:object_r:root_t:s0\x00"
//! -rw-r--r-- 2 0:0 0 3 /a #1
//! -rw-r--r-- 2 0:0 0 3 /b #1
//! lrwxrwxrwx 1 0:0 0 1 /c -> a
//! ```
//!
//! After the mode: links, owners, time, length or device number, path, inode number where there are
//! hard links, attributes.

use std::io::Write;

use anyhow::Result;

use super::reader::{Entry, Reader};
use bake_tree::Kind;

/// Writes the dump of an image to `out`.
pub fn describe(reader: &Reader, out: &mut impl Write) -> Result<()> {
    let facts = reader.facts();
    writeln!(
        out,
        "squashfs {}, block size {}, time {}, {} inodes, {} fragments, {} owners{}{}",
        facts.compressor,
        facts.block_size,
        facts.time,
        facts.inodes,
        facts.fragments,
        facts.owners,
        if facts.exportable { ", exportable" } else { "" },
        if facts.has_xattrs { ", xattrs" } else { "" },
    )?;
    reader.walk(|path, entry| {
        let mut line = format!(
            "{}{} {} {}:{} {} {} /{}",
            letter(&entry.kind),
            permissions(entry.mode),
            entry.links,
            entry.uid,
            entry.gid,
            entry.mtime,
            measure(&entry.kind),
            path.escape_ascii(),
        );
        if let Kind::Symlink(target) = &entry.kind {
            line += &format!(" -> {}", target.escape_ascii());
        }
        if is_hard_linked(entry) {
            line += &format!(" #{}", entry.number);
        }
        for (name, value) in reader.xattrs(entry)?.iter() {
            line += &format!(" {}=\"{}\"", name.escape_ascii(), value.escape_ascii());
        }
        writeln!(out, "{line}")?;
        Ok(())
    })
}

fn is_hard_linked(entry: &Entry) -> bool {
    entry.links > 1 && entry.kind != Kind::Directory
}

fn letter(kind: &Kind) -> char {
    match kind {
        Kind::Directory => 'd',
        Kind::File { .. } => '-',
        Kind::Symlink(_) => 'l',
        Kind::CharDevice(..) => 'c',
        Kind::BlockDevice(..) => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    }
}

/// Length, or device number.
fn measure(kind: &Kind) -> String {
    match kind {
        Kind::File { len } => len.to_string(),
        Kind::Symlink(target) => target.len().to_string(),
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            format!("{major},{minor}")
        }
        Kind::Directory | Kind::Fifo | Kind::Socket => "-".to_owned(),
    }
}

/// As `ls -l` shows them.
fn permissions(mode: u16) -> String {
    let special = [(0o4000, 's'), (0o2000, 's'), (0o1000, 't')];
    (0..3)
        .zip(special)
        .flat_map(|(class, (bit, letter))| {
            let bits = mode >> (6 - 3 * class);
            let execute = match (mode & bit != 0, bits & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            };
            [
                if bits & 4 != 0 { 'r' } else { '-' },
                if bits & 2 != 0 { 'w' } else { '-' },
                execute,
            ]
        })
        .collect()
}
