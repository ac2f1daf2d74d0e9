//! Reading the tar stream of a layer, with a limit on everything that is kept.
//!
//! ```text
//! [PAX x header + records] [GNU L or K header + name] header | content, padded to 512 | … | zero block
//! ```
//!
//! Understood: ustar, GNU long names and numbers, PAX records. PAX values are taken by their
//! length, so they may hold NUL and newline, as `security.capability` does. Global PAX headers are
//! skipped, as ostree-ext skips them.
//!
//! Two blocks of zeros end an archive; so does one if nothing or only zeros follow, or the end of the
//! stream. A single one among entries is refused, as readers disagree: Go's archive/tar fails
//! (vbatts/tar-split archive/tar/reader.go, as vendored in containers/storage@83cf5746; buildah 1.28.2
//! was run), tar-rs (src/archive.rs@2349b494), and so ostree-ext, ends there. What stands behind
//! the end mark is passed over by both, by GNU tar and by bsdtar, which were run, and so by us; the
//! user hears of it.
//!
//! Left out on purpose: sparse files, which no layer has, and types that only tape robots know.
//! Entries other than regular files that claim content are refused: tar readers disagree about
//! them, so what one sees as content, another would see as files.
//!
//! Format: POSIX.1-2017 `pax`, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use std::collections::BTreeMap;
use std::io::{self, Read};

use anyhow::{Context, Result, bail, ensure};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::limits::{PATH_MAX, XATTRS_MAX, check_owner};
use super::object::permissions;
use super::pax::{decimal, parse_records, seconds, xattrs};
use crate::failure::Failure;
use crate::tree::Meta;

const BLOCK_BYTES: u64 = 512;

/// Largest PAX header: all attributes a file may have, and names. Its records, of seven bytes at least, are kept until the
/// entry behind it is read.
const PAX_MAX: u64 = XATTRS_MAX + (64 << 10);

/// Most extension headers in a row before one entry: each kind once, and some global ones.
const EXTENSIONS_MAX: u32 = 16;

/// A tar header. Numbers are octal text, or binary if the first bit is set.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    name: [u8; 100],   // 0x000  ends at its first NUL
    mode: [u8; 8],     // 0x064
    uid: [u8; 8],      // 0x06c
    gid: [u8; 8],      // 0x074
    size: [u8; 12],    // 0x07c  bytes of content
    mtime: [u8; 12],   // 0x088  seconds since 1970
    checksum: [u8; 8], // 0x094  sum of all bytes, these taken as spaces
    kind: u8,          // 0x09c
    link: [u8; 100],   // 0x09d
    magic: [u8; 8],    // 0x101  "ustar\0" "00" or "ustar  \0" (GNU)
    user: [u8; 32],    // 0x109
    group: [u8; 32],   // 0x129
    device: [u8; 16],  // 0x149  major, minor
    prefix: [u8; 155], // 0x159  ustar only: what comes before name
    padding: [u8; 12], // 0x1f4
}
const _: () = assert!(size_of::<Header>() == 512);

const MAGIC_USTAR: &[u8] = b"ustar\0";
const MAGIC_GNU: &[u8] = b"ustar  \0";

/// One entry's facts; the content, if any, is read through [`Archive::content`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Path as stored, slashes and dots included.
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    /// Whether the path stands in a PAX record.
    pub(super) has_pax_path: bool,
    /// Owner, permissions, attributes, mtime.
    pub(super) meta: Meta,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum EntryKind {
    Directory,
    /// A regular file of this many bytes.
    Regular(u64),
    /// A symlink and its target, and whether that stands in a PAX record.
    Symlink(Vec<u8>, bool),
    /// A hard link to this path.
    Link(Vec<u8>),
    /// A device, FIFO or something else, by its type flag.
    Other(u8),
}

/// A tar stream being read.
pub(super) struct Archive<R> {
    stream: R,
    /// Content of the current entry not yet read, and its padding.
    left: u64,
    padding: u64,
    /// The last entry's path, for messages.
    last: Vec<u8>,
    /// Whether something but zeros stands behind the end mark.
    goes_on: bool,
}

/// What extension headers say about the entry that follows.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.records.is_none()
    }
}

impl<R: Read> Archive<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream,
            left: 0,
            padding: 0,
            last: Vec::new(),
            goes_on: false,
        }
    }

    /// Whether something but zeros stands behind the end mark; known once there are no more entries.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The next entry; what was not read of the last one's content is skipped. At the end of the
    /// archive the stream is read to its end, as it reports a wrong digest only there.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        for _ in 0..EXTENSIONS_MAX {
            let Some(header) = self.header()? else {
                ensure!(
                    extensions.is_empty(),
                    "the archive ends after an extension header"
                );
                self.read_to_end()?;
                return Ok(None);
            };
            let size = unsigned(&header.size).context("reading an entry's size")?;
            match header.kind {
                b'L' => set_once(&mut extensions.long_name, self.long_name(size)?)?,
                b'K' => set_once(&mut extensions.long_link, self.long_name(size)?)?,
                b'x' => {
                    let records = parse_records(&self.extension(size, PAX_MAX)?)?;
                    set_once(&mut extensions.records, records)?;
                }
                b'g' => drop(self.extension(size, PAX_MAX)?),
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
        bail!("more than {EXTENSIONS_MAX} extension headers in a row")
    }

    /// The current entry's content.
    pub(super) fn content(&mut self) -> impl Read + '_ {
        ContentOf(self)
    }

    /// Reads the current entry's content into memory; more than `limit` bytes are an error.
    pub(super) fn bytes(&mut self, limit: u64) -> Result<Vec<u8>> {
        ensure!(
            self.left <= limit,
            "it has {} bytes, where at most {limit} are taken",
            self.left
        );
        let mut bytes = vec![0; usize::try_from(self.left)?];
        self.content().read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next header, or nothing at a block of zeros or at the end of the stream.
    fn header(&mut self) -> Result<Option<Header>> {
        let skip = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.stream).take(skip), &mut io::sink())?;
        ensure!(skipped == skip, "the archive ends within an entry");
        let mut header = Header::new_zeroed();
        let bytes = header.as_mut_bytes();
        match fill(&mut self.stream, bytes)? {
            0 => return Ok(None),
            filled if filled < bytes.len() => bail!("the archive ends within a header"),
            _ => {}
        }
        if is_zero(bytes) {
            return Ok(None);
        }
        let stored = unsigned(&header.checksum).context("reading a header's checksum")?;
        let computed: u64 = {
            let mut blank = header.clone();
            blank.checksum = *b"        ";
            blank.as_bytes().iter().map(|byte| u64::from(*byte)).sum()
        };
        ensure!(stored == computed, "a header's checksum is wrong");
        Ok(Some(header))
    }

    /// Reads from behind the first block of the end mark to the end of the stream.
    fn read_to_end(&mut self) -> Result<()> {
        let mut bytes = vec![0; END_BYTES];
        let mut is_second = true;
        loop {
            let filled = fill(&mut self.stream, &mut bytes)?;
            if filled == 0 {
                return Ok(());
            }
            let mut rest = &bytes[..filled];
            if is_second {
                let (second, behind) = rest.split_at(filled.min(BLOCK_BYTES as usize));
                if !is_zero(second) {
                    return Err(self.lone_block());
                }
                (rest, is_second) = (behind, false);
            }
            self.goes_on |= !is_zero(rest);
        }
    }

    fn lone_block(&self) -> anyhow::Error {
        let place = match &self.last[..] {
            b"" => "before the first entry".to_owned(),
            path => format!("behind the entry {:?}", String::from_utf8_lossy(path)),
        };
        Failure::new(
            format!("a single block of zeros stands {place}, and more than zeros after it"),
            "podman can't unpack such a layer, and nodes would stop at that block; have the layer made anew",
        )
        .into()
    }

    /// Makes the next `size` bytes of the stream the current content.
    fn open(&mut self, size: u64) -> Result<()> {
        let padded = size.checked_next_multiple_of(BLOCK_BYTES);
        let padded = padded.context("an entry's size overflows")?;
        self.left = size;
        self.padding = padded - size;
        Ok(())
    }

    fn extension(&mut self, size: u64, limit: u64) -> Result<Vec<u8>> {
        self.open(size)?;
        self.bytes(limit).context("reading an extension header")
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        // One NUL ends the name.
        let name = self.extension(size, PATH_MAX as u64 + 1)?;
        Ok(until_nul(&name).to_vec())
    }

    fn entry(&mut self, header: &Header, size: u64, extensions: Extensions) -> Result<Entry> {
        let Extensions {
            long_name,
            long_link,
            records,
        } = extensions;
        let mut records = records.unwrap_or_default();
        ensure!(
            header.kind != b'S' && !records.keys().any(|key| key.starts_with(b"GNU.sparse.")),
            "sparse files are not supported"
        );
        // An empty value takes a record of a global header back.
        let mut record = |key: &[u8]| records.remove(key).filter(|value| !value.is_empty());
        let (path, has_pax_path) = match (long_name, record(b"path")) {
            (Some(path), _) => (path, false),
            (None, Some(path)) => (path, true),
            (None, None) => (header.path(), false),
        };
        let described = || format!("reading the entry {:?}", String::from_utf8_lossy(&path));
        let (link, has_pax_link) = match (long_link, record(b"linkpath")) {
            (Some(link), _) => (link, false),
            (None, Some(link)) => (link, true),
            (None, None) => (until_nul(&header.link).to_vec(), false),
        };
        for name in [&path, &link] {
            ensure!(
                name.len() <= PATH_MAX && !name.contains(&0),
                "a path is longer than {PATH_MAX} bytes or contains NUL"
            );
        }
        let size = match record(b"size") {
            Some(text) => decimal(&text).with_context(described)?,
            None => size,
        };
        let mut id = |key: &[u8], field: &[u8]| -> Result<u32> {
            let id = match record(key) {
                Some(text) => decimal(&text),
                None => unsigned(field),
            };
            let id = id.with_context(described)?;
            let id = u32::try_from(id)
                .ok()
                .with_context(|| format!("the owner {id} does not fit 32 bits"))
                .with_context(described)?;
            check_owner(id).with_context(described)?;
            Ok(id)
        };
        let (uid, gid) = (id(b"uid", &header.uid)?, id(b"gid", &header.gid)?);
        let mtime = match record(b"mtime") {
            Some(text) => seconds(&text).with_context(described)?,
            None => signed(&header.mtime).with_context(described)?,
        };
        // Modes may carry file type bits, which the type flag tells already.
        let mode = unsigned(&header.mode).with_context(described)? & 0o7777;
        let meta = Meta {
            uid,
            gid,
            mode: permissions(u32::try_from(mode)?),
            mtime,
            xattrs: xattrs(&records).with_context(described)?,
            immutable: false,
        };
        let kind = match header.kind {
            0 if path.ends_with(b"/") && !header.is_posix() => EntryKind::Directory,
            0 | b'0' | b'7' => EntryKind::Regular(size),
            b'1' => EntryKind::Link(link),
            b'2' => EntryKind::Symlink(link, has_pax_link),
            b'5' => EntryKind::Directory,
            other => EntryKind::Other(other),
        };
        if !matches!(kind, EntryKind::Regular(_)) {
            ensure!(
                size == 0,
                "the entry {:?} is no regular file and claims {size} bytes of content",
                String::from_utf8_lossy(&path)
            );
        }
        // An import as root fails on them, as the kernel has them on files and directories only.
        ensure!(
            !matches!(kind, EntryKind::Symlink(..))
                || !meta
                    .xattrs
                    .iter()
                    .any(|(name, _)| name.starts_with(b"user.")),
            "the symlink {:?} has user attributes",
            String::from_utf8_lossy(&path)
        );
        self.open(size)?;
        self.last.clone_from(&path);
        Ok(Entry {
            path,
            kind,
            has_pax_path,
            meta,
        })
    }
}

/// Reads no further than the current entry's content.
struct ContentOf<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for ContentOf<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.0.left).unwrap_or(usize::MAX);
        let limit = buffer.len().min(left);
        let count = self.0.stream.read(&mut buffer[..limit])?;
        if count == 0 && limit > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends within a file",
            ));
        }
        self.0.left -= count as u64;
        Ok(count)
    }
}

impl Header {
    fn is_posix(&self) -> bool {
        self.magic.starts_with(MAGIC_USTAR)
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.name);
        let prefix = until_nul(&self.prefix);
        if self.is_posix() && self.magic != MAGIC_GNU && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    }
}

/// How much is read at a time behind the end mark.
const END_BYTES: usize = 64 << 10;

/// Fills `buffer` as far as the stream goes, and tells how far that is.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    ensure!(
        slot.replace(value).is_none(),
        "two extension headers of one kind describe the same entry"
    );
    Ok(())
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number of a header that may not be negative.
fn unsigned(field: &[u8]) -> Result<u64> {
    u64::try_from(signed(field)?).context("a number in a header is negative")
}

/// A number of a header: octal digits between spaces and NULs, or two's complement after a first
/// byte of 0x80 or 0xff.
fn signed(field: &[u8]) -> Result<i64> {
    if let Some(first @ (0x80 | 0xff)) = field.first() {
        let fill = if *first == 0x80 { 0 } else { 0xff };
        let (high, low) = field.split_at(field.len().saturating_sub(8).max(1));
        ensure!(
            high[1..].iter().all(|byte| *byte == fill)
                && (low.len() < 8 || low[0] >> 7 == fill >> 7),
            "a number in a header is too large"
        );
        let mut bytes = [fill; 8];
        bytes[8 - low.len()..].copy_from_slice(low);
        return Ok(i64::from_be_bytes(bytes));
    }
    let text = until_nul(field).trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let digits = std::str::from_utf8(text).ok();
    digits
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| i64::from_str_radix(digits, 8).ok())
        .with_context(|| format!("{:?} is not an octal number", String::from_utf8_lossy(text)))
}
