//! Reads archives and initramfs from a stream.

use std::collections::HashMap;
use std::io::{self, Read};

use anyhow::{Context, Result, bail, ensure};
use zerocopy::FromBytes;

use super::compression::Compression;
use super::format::{
    ALIGNMENT, Header, MAGIC, MAGIC_CHECKSUM, MAGIC_START, NAME_FIELD_MAX, S_IFDIR, S_IFLNK,
    S_IFMT, S_IFREG, TRAILER,
};
use super::input::Input;
use super::writer::padding;
use bake_tree::Content;

/// Most segments; real initramfs have two or three.
const SEGMENTS_MAX: usize = 256;

/// Most bytes of names kept to resolve the hard links of one archive.
const LINK_NAMES_MAX_BYTES: usize = 16 << 20;

/// Longest beginning of a segment that tells its compression.
const SIGNATURE_BYTES: usize = 6;

/// How much an initramfs may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most members.
    pub members: u64,
    /// Most bytes that all segments together may expand to.
    pub expanded_bytes: u64,
}

impl Default for Limits {
    /// Far above any real initramfs (some 10 000 members, 0.5 GiB with all firmware).
    fn default() -> Self {
        Self {
            members: 1 << 20,
            expanded_bytes: 8 << 30,
        }
    }
}

/// A stretch of an initramfs that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// Number of its members, trailers not counted.
    pub members: u64,
}

/// A member of an archive. Its data is a file's content or a link's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Path as written, up to the first NUL.
    pub name: Vec<u8>,
    /// File type and permission bits.
    pub mode: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// How many names the inode is said to have.
    pub nlink: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Length of the data in bytes.
    pub size: u64,
    /// Inode number, meaningful within one archive.
    pub ino: u32,
    /// Device the inode is on: major, minor.
    pub dev: (u32, u32),
    /// Device the inode stands for: major, minor.
    pub rdev: (u32, u32),
    /// Names of earlier members that are the same file, the first first. Data that comes with one of
    /// them is the data of all; usually that is the last one.
    pub same_file: Vec<Vec<u8>>,
}

impl Member {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & S_IFMT == S_IFREG
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & S_IFMT == S_IFLNK
    }
}

/// What is called for each member, with its data. Data that is not read is skipped.
pub(super) type Visit<'a> = dyn FnMut(&Member, &mut dyn Read) -> Result<()> + 'a;

/// Reads an initramfs, or a single archive, calling `visit` for each member in order. A path may
/// come several times; the last one counts.
pub fn read_initramfs(
    input: impl Read,
    limits: &Limits,
    visit: &mut dyn FnMut(&Member, &mut dyn Read) -> Result<()>,
) -> Result<Vec<Segment>> {
    let mut input = Input::new(input);
    let mut budget = Budget(*limits);
    let mut segments = Vec::new();
    loop {
        input.skip_zeros().context("reading an initramfs")?;
        let offset = input.offset();
        let start = input
            .peek(SIGNATURE_BYTES)
            .context("reading an initramfs")?;
        if start.is_empty() {
            break;
        }
        ensure!(
            segments.len() < SEGMENTS_MAX,
            "an initramfs of more than {SEGMENTS_MAX} segments"
        );
        let compression = if start.starts_with(&MAGIC_START) {
            ensure!(
                offset.is_multiple_of(ALIGNMENT),
                "an archive begins at byte {offset}; the kernel finds it at multiples of {ALIGNMENT} only"
            );
            Compression::None
        } else {
            Compression::detect(start).with_context(|| unknown(offset, start))?
        };
        let members = match compression {
            Compression::None => Archives::new(&mut input, &mut budget, visit).one(),
            _ => compression.decoder(&mut input).and_then(|decoder| {
                Archives::new(&mut Input::new(decoder), &mut budget, visit).all()
            }),
        }
        .with_context(|| format!("reading the {compression} segment at byte {offset}"))?;
        segments.push(Segment {
            offset,
            compression,
            members,
        });
    }
    ensure!(!segments.is_empty(), "an initramfs without any archive");
    Ok(segments)
}

/// What is said about a segment that is nothing we know.
fn unknown(offset: u64, start: &[u8]) -> String {
    let what = match start {
        [0x89, b'L', b'Z', b'O', ..] => "a segment compressed with lzo, which is not supported",
        [b'h', b's', b'q', b's', ..] => "a squashfs, not an archive",
        _ => "neither an archive nor of a known compression",
    };
    format!(
        "byte {offset} begins something that is {what} ({})",
        hex::encode(start)
    )
}

/// What is left of the limits.
struct Budget(Limits);

impl Budget {
    fn member(&mut self) -> Result<()> {
        let left = self.0.members.checked_sub(1);
        self.0.members = left.context("more members than an initramfs may have")?;
        Ok(())
    }

    fn bytes(&mut self, count: u64) -> Result<()> {
        let left = self.0.expanded_bytes.checked_sub(count);
        self.0.expanded_bytes = left.context("more data than an initramfs may expand to")?;
        Ok(())
    }
}

/// The archives of one segment.
struct Archives<'a, 'b, R> {
    input: &'a mut Input<R>,
    budget: &'a mut Budget,
    visit: &'a mut Visit<'b>,
    /// Names so far of the inodes with more than one, in the current archive.
    links: HashMap<LinkKey, Vec<Vec<u8>>>,
    link_names_bytes: usize,
    members: u64,
}

/// Device and inode number: what makes two members one file.
type LinkKey = (u32, u32, u32);

impl<'a, 'b, R: Read> Archives<'a, 'b, R> {
    fn new(input: &'a mut Input<R>, budget: &'a mut Budget, visit: &'a mut Visit<'b>) -> Self {
        Self {
            input,
            budget,
            visit,
            links: HashMap::new(),
            link_names_bytes: 0,
            members: 0,
        }
    }

    /// Reads archives up to the end of input.
    fn all(mut self) -> Result<u64> {
        let mut any = false;
        loop {
            self.skip_zeros()?;
            if self.input.peek(1)?.is_empty() {
                ensure!(any, "it holds no archive");
                return Ok(self.members);
            }
            self.archive()?;
            any = true;
        }
    }

    /// Reads one archive.
    fn one(mut self) -> Result<u64> {
        self.archive()?;
        Ok(self.members)
    }

    /// Reads members up to the trailer.
    fn archive(&mut self) -> Result<()> {
        let start = self.input.offset();
        self.links.clear();
        self.link_names_bytes = 0;
        loop {
            self.skip_zeros()?;
            let offset = self.input.offset();
            if self.input.peek(1)?.is_empty() {
                bail!("the archive at byte {start} ends without a trailer");
            }
            ensure!(
                offset.is_multiple_of(ALIGNMENT),
                "a member begins at byte {offset}, which is no multiple of {ALIGNMENT}"
            );
            let (mut member, checksum) = self
                .head()
                .with_context(|| format!("reading the header at byte {offset}"))?;
            if member.name == TRAILER.as_bytes() {
                self.skip(member.size)?;
                return Ok(());
            }
            self.resolve(&mut member)?;
            self.budget.member()?;
            self.members += 1;
            self.data(&member, checksum)
                .with_context(|| format!("reading {}", String::from_utf8_lossy(&member.name)))?;
        }
    }

    fn skip_zeros(&mut self) -> Result<()> {
        let count = self.input.skip_zeros()?;
        self.budget.bytes(count)
    }

    /// Reads header and name; the second part is the checksum, if the member has one.
    fn head(&mut self) -> Result<(Member, Option<u32>)> {
        let mut bytes = [0; size_of::<Header>()];
        self.input.read_exact(&mut bytes).map_err(cut_short)?;
        let parsed = parse(&bytes)?;
        let mut name = vec![0; parsed.name_size as usize];
        self.input.read_exact(&mut name).map_err(cut_short)?;
        let head_bytes = (bytes.len() + name.len()) as u64;
        self.skip(padding(head_bytes) as u64)?;
        self.budget.bytes(head_bytes)?;
        let mut member = parsed.member;
        member.name = until_nul(name)?;
        Ok((member, parsed.checksum))
    }

    /// Notes the names of files that have several.
    fn resolve(&mut self, member: &mut Member) -> Result<()> {
        if member.nlink < 2 || !member.is_file() {
            return Ok(());
        }
        self.link_names_bytes += member.name.len();
        ensure!(
            self.link_names_bytes <= LINK_NAMES_MAX_BYTES,
            "more than {LINK_NAMES_MAX_BYTES} bytes of names of hard links"
        );
        let (major, minor) = member.dev;
        let names = self.links.entry((major, minor, member.ino)).or_default();
        member.same_file.clone_from(names);
        names.push(member.name.clone());
        Ok(())
    }

    fn data(&mut self, member: &Member, checksum: Option<u32>) -> Result<()> {
        self.budget.bytes(member.size)?;
        // As in the kernel, only files have one; cpio leaves it zero for links.
        let checksum = checksum.filter(|_| member.is_file());
        let mut data = Data {
            input: self.input,
            left: member.size,
            sum: checksum.map(|_| 0),
        };
        (self.visit)(member, &mut data)?;
        io::copy(&mut data, &mut io::sink())?;
        if let (Some(sum), Some(expected)) = (data.sum, checksum) {
            ensure!(
                sum == expected,
                "the data's checksum is {sum:08x}, and should be {expected:08x}"
            );
        }
        self.skip(padding(member.size) as u64)
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let mut data = Data {
            input: self.input,
            left: count,
            sum: None,
        };
        io::copy(&mut data, &mut io::sink())?;
        Ok(())
    }
}

fn cut_short(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the archive ends within it"),
        _ => error,
    }
}

/// What a header says; the name is still empty.
struct Parsed {
    member: Member,
    name_size: u32,
    checksum: Option<u32>,
}

fn parse(bytes: &[u8; size_of::<Header>()]) -> Result<Parsed> {
    let header = Header::read_from_bytes(bytes).expect("as many bytes as a header has");
    ensure!(
        header.magic == MAGIC || header.magic == MAGIC_CHECKSUM,
        "magic {:?} is not that of the newc format, the only one the kernel takes",
        String::from_utf8_lossy(&header.magic)
    );
    let number = |field: super::format::Hex, what: &str| {
        field
            .get()
            .with_context(|| format!("{what} is not a hexadecimal number"))
    };
    let name_size = number(header.name_size, "length of the name")?;
    ensure!(
        (1..=NAME_FIELD_MAX).contains(&name_size),
        "a name of {name_size} bytes, where 1 to {NAME_FIELD_MAX} are taken"
    );
    let checksum = number(header.checksum, "checksum")?;
    Ok(Parsed {
        name_size,
        checksum: (header.magic == MAGIC_CHECKSUM).then_some(checksum),
        member: Member {
            name: Vec::new(),
            mode: number(header.mode, "mode")?,
            uid: number(header.uid, "user")?,
            gid: number(header.gid, "group")?,
            nlink: number(header.nlink, "number of links")?,
            mtime: number(header.mtime, "time")?,
            size: number(header.file_size, "size")?.into(),
            ino: number(header.ino, "inode number")?,
            dev: (
                number(header.dev_major, "device")?,
                number(header.dev_minor, "device")?,
            ),
            rdev: (
                number(header.rdev_major, "device number")?,
                number(header.rdev_minor, "device number")?,
            ),
            same_file: Vec::new(),
        },
    })
}

/// The name in a name field, which some writers fill up with NULs to align the data.
fn until_nul(mut field: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(field.last() == Some(&0), "the name does not end in a NUL");
    let end = field.iter().position(|byte| *byte == 0);
    field.truncate(end.expect("the last byte is one"));
    ensure!(!field.is_empty(), "the name is empty");
    Ok(field)
}

/// Data of a member.
struct Data<'a, R> {
    input: &'a mut Input<R>,
    left: u64,
    /// Sum of the bytes read, as the checksum of 070702 has it, if one is wanted.
    sum: Option<u32>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut out[..count])?;
        if count == 0 {
            let error = format!("the data ends {} bytes too early", self.left);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        self.left -= count as u64;
        if let Some(sum) = &mut self.sum {
            *sum = out[..count]
                .iter()
                .fold(*sum, |sum, byte| sum.wrapping_add((*byte).into()));
        }
        Ok(count)
    }
}

/// What the first header of an uncompressed archive says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstHeader {
    /// Path as written.
    pub name: Vec<u8>,
    /// Length of the data in bytes.
    pub size: u64,
    /// Where the data begins, in bytes from the start of the archive.
    pub data_offset: u64,
}

/// Reads the header that an uncompressed archive begins with.
pub fn read_first_header(archive: &Content) -> Result<FirstHeader> {
    let read = || -> Result<FirstHeader> {
        let mut bytes = [0; size_of::<Header>()];
        archive.read_at(0, &mut bytes).map_err(cut_short)?;
        let parsed = parse(&bytes)?;
        let mut name = vec![0; parsed.name_size as usize];
        archive
            .read_at(bytes.len() as u64, &mut name)
            .map_err(cut_short)?;
        let head_bytes = (bytes.len() + name.len()) as u64;
        Ok(FirstHeader {
            name: until_nul(name)?,
            size: parsed.member.size,
            data_offset: head_bytes + padding(head_bytes) as u64,
        })
    };
    read().context("reading the first header of a cpio archive")
}
