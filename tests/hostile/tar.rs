//! Tar archives as odd as needed: nothing is checked, and headers are written field by field.

/// A block of an archive.
pub(crate) type Block = [u8; 512];

/// Where the fields of a header lie, and how long they are (POSIX.1-2017 `pax`, "ustar").
pub(crate) const NAME: (usize, usize) = (0, 100);
pub(crate) const MODE: (usize, usize) = (100, 8);
pub(crate) const UID: (usize, usize) = (108, 8);
pub(crate) const GID: (usize, usize) = (116, 8);
pub(crate) const SIZE: (usize, usize) = (124, 12);
pub(crate) const MTIME: (usize, usize) = (136, 12);
pub(crate) const CHECKSUM: (usize, usize) = (148, 8);
const KIND: usize = 156;
pub(crate) const LINK: (usize, usize) = (157, 100);
pub(crate) const MAGIC: (usize, usize) = (257, 8);
pub(crate) const MAJOR: (usize, usize) = (329, 8);
pub(crate) const PREFIX: (usize, usize) = (345, 155);

/// A header of root's, with mode 0644 and mtime 1. What is too long for a field is cut.
pub(crate) fn header(kind: u8, path: &str, size: u64) -> Block {
    let mut block = [0; 512];
    let mode: &[u8] = if kind == b'5' { b"0000755" } else { b"0000644" };
    for (field, bytes) in [
        (NAME, path.as_bytes()),
        (MODE, mode),
        (UID, b"0000000"),
        (GID, b"0000000"),
        (SIZE, format!("{size:011o}").as_bytes()),
        (MTIME, b"00000000001"),
        (MAGIC, b"ustar\x0000"),
    ] {
        put(&mut block, field, bytes);
    }
    block[KIND] = kind;
    block
}

/// Writes a field, zeros behind what is short.
pub(crate) fn put(block: &mut Block, (at, len): (usize, usize), bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(len)];
    block[at..at + len].fill(0);
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Gives a header the checksum it ought to have.
pub(crate) fn seal(block: &mut Block) {
    put(block, CHECKSUM, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(block, CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
}

/// A number in GNU's base-256 form, for a field of `len` bytes.
pub(crate) fn binary(number: i128, len: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes()[16 - len..].to_vec();
    bytes[0] |= 0x80;
    bytes
}

/// An archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Bytes as they are.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A header as it is, and content, padded.
    pub(crate) fn raw(self, header: &Block, data: &[u8]) -> Self {
        let mut tar = self.bytes(header).bytes(data);
        tar.0.resize(tar.0.len().next_multiple_of(512), 0);
        tar
    }

    /// A header with one field as given, and the right checksum.
    pub(crate) fn with(self, kind: u8, path: &str, field: (usize, usize), bytes: &[u8]) -> Self {
        let mut header = header(kind, path, 0);
        put(&mut header, field, bytes);
        seal(&mut header);
        self.raw(&header, b"")
    }

    /// An entry, with GNU long names where they are needed.
    pub(crate) fn entry(mut self, kind: u8, path: &str, link: &str, data: &[u8]) -> Self {
        for (kind, name) in [(b'K', link), (b'L', path)] {
            if name.len() > NAME.1 {
                self = self.long(kind, name);
            }
        }
        let mut header = header(kind, path, data.len() as u64);
        put(&mut header, LINK, link.as_bytes());
        seal(&mut header);
        self.raw(&header, data)
    }

    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.entry(b'0', path, "", text.as_bytes())
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, b"")
    }

    /// PAX records for the entry that comes next.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.entry(b'x', "pax", "", &records_of(records))
    }

    /// A PAX header with this text.
    pub(crate) fn pax_text(self, text: &str) -> Self {
        self.entry(b'x', "pax", "", text.as_bytes())
    }

    /// A GNU long name (`L`) or link target (`K`) for the entry that comes next.
    pub(crate) fn long(self, kind: u8, name: &str) -> Self {
        self.entry(kind, "././@LongLink", "", format!("{name}\0").as_bytes())
    }

    /// The end mark.
    pub(crate) fn end(self) -> Vec<u8> {
        self.bytes(&[0; 1024]).0
    }
}

fn records_of(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len = (rest + 1..).find(|len| *len == rest + len.to_string().len());
        text.extend_from_slice(format!("{} {key}=", len.unwrap()).as_bytes());
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text
}
