//! Reads a volume back: its names, its files and what can be booted from it.
//!
//! Made for ISOs that anybody sends us, so all of it is bounded: how many descriptors, records and
//! bytes of directories and paths are looked at, and no directory is entered twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};
use zerocopy::FromBytes;

use super::catalog::{self, BootImage};
use super::error::ReadError;
use super::format::{
    BOOT_SYSTEM_ID, BootDescriptor, DESCRIPTOR_BOOT, DESCRIPTOR_END, DESCRIPTOR_PRIMARY,
    DESCRIPTOR_SUPPLEMENTARY, DescriptorHead, ESCAPES_JOLIET, FIRST_DESCRIPTOR, FLAG_DIRECTORY,
    FLAG_MORE, RECORD_HEAD, RecordHead, SECTOR, TreeDescriptor,
};
use super::hierarchy::Extent;
use super::system_use::{self, Scheme};
use bake_tree::Content;

/// Volume descriptors looked at; real media have 3 to 5.
const MAX_DESCRIPTORS: u32 = 64;

/// Directory records looked at; live media have some dozens, a distribution's DVD has 10 000.
const MAX_RECORDS: usize = 200_000;

/// Bytes of all directories together, enough for [`MAX_RECORDS`] of the longest kind.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;

/// Bytes of all paths together.
const MAX_PATH_BYTES: usize = 32 << 20;

/// An opened volume.
pub struct Reader {
    image: Content,
    primary: TreeDescriptor,
    has_joliet: bool,
    has_rock_ridge: bool,
    /// Where regular files lie, by path; nothing for files in several parts.
    files: BTreeMap<String, Option<Extent>>,
    boot: Vec<BootImage>,
}

impl Reader {
    /// Reads descriptors, directories and the boot catalog.
    pub fn open(image: Content) -> Result<Self, ReadError> {
        let descriptors = Descriptors::read(&image)?;
        let primary = descriptors.primary.ok_or(ReadError::NotIso)?;
        let volume_bytes = u64::from(primary.sectors.get()) * SECTOR;
        if volume_bytes > image.len() {
            return Err(ReadError::Incomplete {
                volume_bytes,
                file_bytes: image.len(),
            });
        }
        let boot = match descriptors.catalog {
            Some(sector) => catalog::parse(&sector_at(&image, sector)?)?,
            None => Vec::new(),
        };
        let mut walk = Walk::new(&image);
        walk.run(extent_of(&primary.root))?;
        Ok(Self {
            primary,
            has_joliet: descriptors.has_joliet,
            has_rock_ridge: walk.scheme.is_some(),
            files: walk.files,
            boot,
            image,
        })
    }

    /// The volume's id, which is its label.
    pub fn volume_id(&self) -> String {
        text(&self.primary.volume_id)
    }

    /// Paths of all regular files, in byte order: Rock Ridge's names, or else those of the primary
    /// tree without their versions.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The contents of the file at `path`; `None` if there is no such file.
    pub fn file(&self, path: &str) -> Result<Option<Content>, ReadError> {
        let Some(extent) = self.files.get(path) else {
            return Ok(None);
        };
        let extent = extent.ok_or_else(|| {
            ReadError::Damaged(format!(
                "{path:?} is in several parts, which is not supported"
            ))
        })?;
        self.image
            .slice(extent.offset(), extent.bytes.into())
            .map(Some)
            .ok_or_else(|| ReadError::Damaged(format!("{path:?} lies behind the end")))
    }

    /// What firmware can boot, in the catalog's order.
    pub fn boot_images(&self) -> &[BootImage] {
        &self.boot
    }

    /// What the volume is, for people and programs.
    pub fn facts(&self) -> Value {
        json!({
            "volume-id": self.volume_id(),
            "volume-set-id": text(&self.primary.set_id),
            "application": text(&self.primary.application),
            "volume-bytes": u64::from(self.primary.sectors.get()) * SECTOR,
            "files": self.files.len(),
            "rock-ridge": self.has_rock_ridge,
            "joliet": self.has_joliet,
            "boot": self.boot.iter().map(BootImage::facts).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.facts())
    }
}

/// What the volume descriptors say.
#[derive(Default)]
struct Descriptors {
    primary: Option<TreeDescriptor>,
    has_joliet: bool,
    /// Sector of the boot catalog.
    catalog: Option<u32>,
}

impl Descriptors {
    fn read(image: &Content) -> Result<Self, ReadError> {
        let mut found = Self::default();
        for sector in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + MAX_DESCRIPTORS {
            if image.len() < (u64::from(sector) + 1) * SECTOR {
                break;
            }
            let bytes = sector_at(image, sector)?;
            let (head, _) = DescriptorHead::read_from_prefix(&bytes).expect("a sector is longer");
            if head.standard != DescriptorHead::new(0).standard {
                break;
            }
            match head.kind {
                DESCRIPTOR_PRIMARY if found.primary.is_none() => {
                    found.primary = TreeDescriptor::read_from_bytes(&bytes).ok();
                }
                DESCRIPTOR_SUPPLEMENTARY => {
                    let escapes = TreeDescriptor::read_from_bytes(&bytes).map(|d| d.escapes);
                    found.has_joliet |= escapes
                        .is_ok_and(|all| ESCAPES_JOLIET.iter().any(|one| all.starts_with(one)));
                }
                DESCRIPTOR_BOOT if found.catalog.is_none() => {
                    found.catalog = BootDescriptor::read_from_bytes(&bytes)
                        .ok()
                        .filter(|boot| boot.system_id.starts_with(BOOT_SYSTEM_ID))
                        .map(|boot| boot.catalog.get());
                }
                DESCRIPTOR_END => break,
                _ => {}
            }
        }
        Ok(found)
    }
}

/// A look at every directory.
struct Walk<'a> {
    image: &'a Content,
    scheme: Option<Scheme>,
    files: BTreeMap<String, Option<Extent>>,
    entered: BTreeSet<u32>,
    records: usize,
    directory_bytes: u64,
    path_bytes: usize,
}

/// Limits are not told apart from damage: no real medium reaches them.
fn damaged<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Damaged(what.into()))
}

impl<'a> Walk<'a> {
    fn new(image: &'a Content) -> Self {
        Self {
            image,
            scheme: None,
            files: BTreeMap::new(),
            entered: BTreeSet::new(),
            records: 0,
            directory_bytes: 0,
            path_bytes: 0,
        }
    }

    fn run(&mut self, root: Extent) -> Result<(), ReadError> {
        let mut open = vec![(String::new(), root)];
        while let Some((path, extent)) = open.pop() {
            self.directory(&path, extent, &mut open)?;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        path: &str,
        extent: Extent,
        open: &mut Vec<(String, Extent)>,
    ) -> Result<(), ReadError> {
        if !self.entered.insert(extent.sector) {
            return damaged(format!("directory {path:?} is also another directory"));
        }
        self.directory_bytes += u64::from(extent.bytes);
        if self.directory_bytes > MAX_DIRECTORY_BYTES {
            return damaged(format!(
                "its directories exceed {MAX_DIRECTORY_BYTES} bytes"
            ));
        }
        let Some(content) = self.image.slice(extent.offset(), extent.bytes.into()) else {
            return damaged(format!("directory {path:?} lies behind the end"));
        };
        let bytes = content
            .to_vec(MAX_DIRECTORY_BYTES)
            .map_err(|source| ReadError::Io {
                sector: extent.sector,
                source,
            })?;
        let is_root = path.is_empty();
        let mut continued = false;
        let mut records = Records {
            bytes: &bytes,
            at: 0,
        };
        while let Some(record) = records.next() {
            let Some(record) = record else {
                return damaged(format!(
                    "directory {path:?} has a record that is too short or too long"
                ));
            };
            self.records += 1;
            if self.records > MAX_RECORDS {
                return damaged(format!("it has more than {MAX_RECORDS} directory records"));
            }
            if let [0 | 1] = record.identifier {
                // The root's own; old libisofs gave that of its parent the same name.
                if self.records == 1 {
                    self.scheme = Scheme::detect(record.system_use);
                }
                continue;
            }
            let posix = match self.scheme {
                Some(scheme) => system_use::read(self.image, scheme, record.system_use)?,
                None => system_use::Posix::default(),
            };
            let name = posix.name.unwrap_or_else(|| plain_name(record.identifier));
            if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
                return damaged(format!("directory {path:?} holds the name {name:?}"));
            }
            let child = match is_root {
                true => name,
                false => format!("{path}/{name}"),
            };
            self.path_bytes += child.len();
            if self.path_bytes > MAX_PATH_BYTES {
                return damaged(format!("its paths exceed {MAX_PATH_BYTES} bytes"));
            }
            let extent = extent_of(record.head);
            let more = record.head.flags & FLAG_MORE != 0;
            if record.head.flags & FLAG_DIRECTORY != 0 {
                open.push((child, extent));
            } else if posix.is_regular {
                let whole = (!more && !continued).then_some(extent);
                // The first of a name counts, as for Linux: go-diskfs gives an ISO that it makes of
                // another's files a second boot catalog.
                self.files.entry(child).or_insert(whole);
            }
            continued = more;
        }
        Ok(())
    }
}

/// A directory record's parts.
struct Record<'a> {
    head: &'a RecordHead,
    identifier: &'a [u8],
    system_use: &'a [u8],
}

/// The records of a directory.
struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// The next record; `Some(None)` for one that can't be.
    fn next(&mut self) -> Option<Option<Record<'a>>> {
        // A zero where a length is expected: the rest of the sector is empty.
        while *self.bytes.get(self.at)? == 0 {
            self.at = (self.at + 1).next_multiple_of(SECTOR as usize);
        }
        let rest = &self.bytes[self.at..];
        let length = usize::from(rest[0]);
        self.at += length;
        Some(rest.get(..length).and_then(Record::parse))
    }
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = RecordHead::ref_from_prefix(bytes).ok()?;
        let length = usize::from(head.identifier_length);
        let identifier = rest.get(..length).filter(|name| !name.is_empty())?;
        let system_use = (RECORD_HEAD + length).next_multiple_of(2);
        Some(Self {
            head,
            identifier,
            system_use: bytes.get(system_use..).unwrap_or_default(),
        })
    }
}

/// A primary tree's name without version and empty extension.
fn plain_name(identifier: &[u8]) -> String {
    let name = String::from_utf8_lossy(identifier);
    let name = name.split(';').next().unwrap_or_default();
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

/// Extended attributes come before the contents, in the same run.
fn extent_of(head: &RecordHead) -> Extent {
    Extent {
        sector: head
            .sector
            .get()
            .saturating_add(u32::from(head.attribute_sectors)),
        bytes: head.bytes.get(),
    }
}

fn sector_at(image: &Content, sector: u32) -> Result<[u8; SECTOR as usize], ReadError> {
    let mut bytes = [0; SECTOR as usize];
    image
        .read_at(u64::from(sector) * SECTOR, &mut bytes)
        .map_err(|source| ReadError::Io { sector, source })?;
    Ok(bytes)
}

/// A field of a descriptor without the spaces or zeros that fill it.
fn text(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    text.trim_end_matches([' ', '\0']).to_owned()
}
