//! Writes archives, member by member.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, ensure};
use zerocopy::IntoBytes;

use super::format::{
    ALIGNMENT, Header, Hex, MAGIC, NAME_FIELD_MAX, S_IFDIR, S_IFLNK, S_IFREG, TRAILER,
};

/// What a header says about a member, but for its number and size.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Path, without a `/` in front.
    pub name: &'a str,
    /// File type and permission bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// How many names the inode has.
    nlink: u32,
}

impl<'a> Entry<'a> {
    /// A regular file of root's with these permission bits.
    pub fn file(name: &'a str, permissions: u16) -> Self {
        Self::new(name, S_IFREG, permissions, 1)
    }

    /// A directory of root's with these permission bits.
    pub fn directory(name: &'a str, permissions: u16) -> Self {
        // As many links as an empty one has; what will be in it is not known when it is written,
        // and no reader looks.
        Self::new(name, S_IFDIR, permissions, 2)
    }

    /// A symbolic link; its target is the member's data.
    pub fn symlink(name: &'a str) -> Self {
        Self::new(name, S_IFLNK, 0o777, 1)
    }

    /// The same, last modified then.
    pub fn modified(self, mtime: u32) -> Self {
        Self { mtime, ..self }
    }

    fn new(name: &'a str, kind: u32, permissions: u16, nlink: u32) -> Self {
        Self {
            name,
            mode: kind | u32::from(permissions & 0o7777),
            mtime: 0,
            nlink,
        }
    }
}

/// How many zero bytes follow `length` bytes of data.
pub fn padding(length: u64) -> usize {
    // Less than four.
    (length.wrapping_neg() % ALIGNMENT) as usize
}

/// Everything of a member that precedes its data: header, name and padding. The data has `size`
/// bytes, which may be found out after it is written: the length of the header does not depend on
/// it.
pub fn header(ino: u32, entry: &Entry<'_>, size: u64) -> Result<Vec<u8>> {
    let name = entry.name;
    ensure!(
        !name.is_empty() && !name.contains('\0'),
        "{name:?} cannot be the name of a cpio member"
    );
    let name_size = u32::try_from(name.len() + 1)
        .ok()
        .filter(|size| *size <= NAME_FIELD_MAX)
        .with_context(|| format!("name {name:?} of a cpio member has more than 4095 bytes"))?;
    let size = u32::try_from(size).with_context(|| {
        format!("{name} has {size} bytes, and a cpio member has at most 4294967295")
    })?;
    let zero = Hex::new(0);
    let header = Header {
        magic: MAGIC,
        ino: Hex::new(ino),
        mode: Hex::new(entry.mode),
        uid: zero,
        gid: zero,
        nlink: Hex::new(entry.nlink),
        mtime: Hex::new(entry.mtime),
        file_size: Hex::new(size),
        dev_major: zero,
        dev_minor: zero,
        rdev_major: zero,
        rdev_minor: zero,
        name_size: Hex::new(name_size),
        checksum: zero,
    };
    let mut bytes = [header.as_bytes(), name.as_bytes(), b"\0"].concat();
    bytes.resize(bytes.len() + padding(bytes.len() as u64), 0);
    Ok(bytes)
}

/// An archive being written. It has no trailer until [`Writer::finish`].
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    next_ino: u32,
}

impl<W: Write> Writer<W> {
    /// An archive that begins where `out` is, which has to be at a multiple of four bytes.
    pub fn new(out: W) -> Self {
        Self::after(1, out)
    }

    /// The rest of an archive whose members so far were written with [`header`]; the next one has
    /// inode number `ino`.
    pub fn after(ino: u32, out: W) -> Self {
        Self { out, next_ino: ino }
    }

    /// Adds a directory.
    pub fn directory(&mut self, name: &str, permissions: u16) -> Result<()> {
        self.member(&Entry::directory(name, permissions), 0, &mut io::empty())
    }

    /// Adds a regular file.
    pub fn file(&mut self, name: &str, permissions: u16, data: &[u8]) -> Result<()> {
        let size = data.len() as u64;
        self.member(&Entry::file(name, permissions), size, &mut &data[..])
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> Result<()> {
        let size = target.len() as u64;
        self.member(&Entry::symlink(name), size, &mut target.as_bytes())
    }

    /// Adds a member whose data is the next `size` bytes of `data`.
    pub fn member(&mut self, entry: &Entry<'_>, size: u64, data: &mut dyn Read) -> Result<()> {
        let ino = self.next_ino;
        self.next_ino = ino
            .checked_add(1)
            .context("a cpio archive has 2^32 members")?;
        let header = header(ino, entry, size)?;
        self.write(entry.name, &header)?;
        let copied = io::copy(&mut data.take(size), &mut self.out)
            .with_context(|| format!("writing cpio member {}", entry.name))?;
        ensure!(
            copied == size,
            "data of cpio member {} ends after {copied} of {size} bytes",
            entry.name
        );
        self.write(entry.name, &[0; 4][..padding(size)])
    }

    /// Writes the trailer; gives back what was written to.
    pub fn finish(mut self) -> Result<W> {
        let trailer = Entry {
            name: TRAILER,
            mode: 0,
            mtime: 0,
            nlink: 1,
        };
        self.write(TRAILER, &header(0, &trailer, 0)?)?;
        Ok(self.out)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .with_context(|| format!("writing cpio member {name}"))
    }
}
