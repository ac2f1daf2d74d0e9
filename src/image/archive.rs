//! An OCI image layout in a tar archive, read in place.
//!
//! The headers are scanned once; after that every blob is a range of the file. So nothing is
//! unpacked, and blobs can be read from several threads. Archives must not be compressed, which
//! tools do not do by themselves: layers are already.
//!
//! What podman and skopeo refuse is refused: they unpack the archive first (containers/image
//! oci/archive@df7e80d2), with Go's archive/tar, of whose rules [`crate::ostree`] knows more.
//!
//! Truth: POSIX `pax` (ustar and its extended headers), GNU tar's `L` entries and base-256 sizes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tar::{EntryType, Header, PaxExtensions};

use super::digest::Digest;
use super::error::ImageError;
use super::layout::{blob_name, check_marker, without_marker};
use super::manifest::MANIFEST_BYTES_MAX;
use super::media_type::Compression;
use crate::tree::{Content, ContentReader};

/// Size of a tar header and granularity of everything, in bytes.
const RECORD: u64 = 512;

/// Most bytes of an extended header or a long name. What we look for has 141 at most; tools put
/// at most some extended attributes beside it.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// Most members of interest. An image has at most 127 layers on the tools' side; archives with
/// many images share blobs.
const MEMBERS_MAX: usize = 1 << 16;

/// An opened archive.
#[derive(Debug)]
pub(super) struct Archive {
    /// How messages call it.
    name: String,
    members: BTreeMap<String, Content>,
    warnings: Vec<String>,
}

impl Archive {
    /// Opens the archive and returns it with the text of its `index.json`.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, Vec<u8>)> {
        let name = path.display().to_string();
        // Looked at first, since opening a pipe would wait.
        let metadata = path
            .metadata()
            .with_context(|| format!("looking at {name}"))?;
        if !metadata.is_file() {
            let hint = metadata
                .is_dir()
                .then(|| format!("for a directory, write oci:{name}"));
            return Err(not_a_layout(&name, "it is not a regular file", hint).into());
        }
        let file = File::open(path).with_context(|| format!("opening {name}"))?;
        Self::from_file(file, &name)
    }

    /// The same for a file that is open already.
    pub(super) fn from_file(file: File, name: &str) -> anyhow::Result<(Self, Vec<u8>)> {
        let Scanned { members, goes_on } =
            scan(Arc::new(file), name).with_context(|| format!("scanning {name}"))?;
        let mut archive = Self {
            name: name.to_owned(),
            members,
            warnings: Vec::new(),
        };
        if goes_on {
            archive.warnings.push(format!(
                "{name} goes on behind the end of its archive; podman doesn't look there"
            ));
        }
        match archive.document("oci-layout")? {
            Some(marker) => {
                check_marker(&marker).map_err(|reason| not_a_layout(name, reason, None))?;
            }
            None => archive.warnings.push(without_marker(name)),
        }
        let index = archive.document("index.json")?.ok_or_else(|| {
            let hint = archive.members.contains_key("manifest.json").then(|| {
                format!(
                    "it is a Docker archive; convert it with skopeo copy docker-archive:{name} oci-archive:FILE"
                )
            });
            not_a_layout(name, "there is no index.json in it", hint)
        })?;
        Ok((archive, index))
    }

    /// What the user should know of it.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Length of a blob, if it is there.
    pub(super) fn len_bytes(&self, digest: &Digest) -> Option<u64> {
        self.members.get(&blob_name(digest)).map(Content::len)
    }

    /// Opens a blob, if it is there.
    pub(super) fn read(&self, digest: &Digest) -> Option<ContentReader> {
        self.members.get(&blob_name(digest)).map(Content::reader)
    }

    fn document(&self, member: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(content) = self.members.get(member) else {
            return Ok(None);
        };
        let object = format!("{member} of {}", self.name);
        if content.len() > MANIFEST_BYTES_MAX {
            let limit = MANIFEST_BYTES_MAX;
            return Err(ImageError::TooLarge { object, limit }.into());
        }
        let bytes = content
            .to_vec(MANIFEST_BYTES_MAX)
            .with_context(|| format!("reading {object}"))?;
        Ok(Some(bytes))
    }
}

fn not_a_layout(name: &str, reason: impl Into<String>, hint: Option<String>) -> ImageError {
    ImageError::NotALayout {
        path: name.to_owned(),
        reason: reason.into(),
        hint,
    }
}

/// The part of a layout that a member is, if it is one.
fn member_of_interest(path: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(path).ok()?;
    let path = path.trim_start_matches("./");
    let digest = |rest: &str| rest.replacen('/', ":", 1).parse::<Digest>().is_ok();
    let wanted = matches!(path, "index.json" | "oci-layout" | "manifest.json")
        || path.strip_prefix("blobs/").is_some_and(digest);
    wanted.then_some(path)
}

/// What an archive holds.
struct Scanned {
    /// Where the members of interest lie. The last of several with one name counts, as in tar.
    members: BTreeMap<String, Content>,
    /// Whether something but zeros stands behind the end mark.
    goes_on: bool,
}

fn scan(file: Arc<File>, name: &str) -> anyhow::Result<Scanned> {
    let file_len = file.metadata()?.len();
    let mut members = BTreeMap::new();
    let mut extended = Extended::default();
    let mut at = 0;
    let mut goes_on = false;
    // Archives end with two records of zeros, but one, or none at all, does no harm at the end.
    while at < file_len {
        let mut header = Header::new_old();
        if file_len - at < RECORD {
            bail!("the archive is cut off in the header at byte {at}");
        }
        file.read_exact_at(header.as_mut_bytes(), at)?;
        if is_zero(header.as_bytes()) {
            goes_on = is_more_behind(&file, at, file_len)?;
            break;
        }
        check_sum(&header, at, name)?;
        let kind = header.entry_type();
        let mut size = header
            .entry_size()
            .with_context(|| format!("reading the header at byte {at}"))?;
        let is_extension = matches!(
            kind,
            EntryType::XHeader
                | EntryType::XGlobalHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink
        );
        if !is_extension && let Some(longer) = extended.size {
            size = longer;
        }
        let start = at + RECORD;
        let end = start
            .checked_add(size)
            .filter(|end| *end <= file_len)
            .with_context(|| format!("the archive is cut off in the member at byte {at}"))?;
        if is_extension {
            if size > EXTENSION_BYTES_MAX {
                bail!("the header at byte {at} has {size} bytes, more than {EXTENSION_BYTES_MAX}");
            }
            let mut text = vec![0; usize::try_from(size)?];
            file.read_exact_at(&mut text, start)?;
            extended.read(kind, &text)?;
        } else {
            let path = extended.path.take();
            let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
            extended = Extended::default();
            let is_regular = matches!(kind, EntryType::Regular | EntryType::Continuous);
            // Readers disagree about whose content it would be.
            if !is_regular && size > 0 {
                bail!("the member at byte {at} is not a regular file and claims {size} bytes");
            }
            if let Some(member) = member_of_interest(&path) {
                if !is_regular {
                    bail!("its member {member} is not a regular file");
                }
                members.insert(
                    member.to_owned(),
                    Content::range(Arc::clone(&file), start, size),
                );
                if members.len() > MEMBERS_MAX {
                    bail!("the archive has more than {MEMBERS_MAX} blobs");
                }
            }
        }
        at = end.next_multiple_of(RECORD);
    }
    Ok(Scanned { members, goes_on })
}

/// How much is read at a time behind the end mark.
const END_BYTES: usize = 64 << 10;

/// Whether something but zeros stands behind the end mark, whose first record is at byte `at`. If it stands in the second
/// record, there is no end mark.
fn is_more_behind(file: &File, at: u64, file_len: u64) -> anyhow::Result<bool> {
    let second = at + RECORD;
    let mut at = second;
    let mut bytes = vec![0; END_BYTES];
    while at < file_len {
        let count = usize::try_from(file_len - at).map_or(END_BYTES, |left| left.min(END_BYTES));
        file.read_exact_at(&mut bytes[..count], at)?;
        if let Some(first) = bytes[..count].iter().position(|byte| *byte != 0) {
            if at + (first as u64) < second + RECORD {
                bail!(
                    "a single record of zeros stands at byte {}, among members",
                    second - RECORD
                );
            }
            return Ok(true);
        }
        at += count as u64;
    }
    Ok(false)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What the extended headers before a member say about it.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    fn read(&mut self, kind: EntryType, text: &[u8]) -> anyhow::Result<()> {
        match kind {
            EntryType::GNULongName => {
                let end = text.iter().position(|byte| *byte == 0);
                self.path = Some(text[..end.unwrap_or(text.len())].to_owned());
            }
            EntryType::XHeader => {
                for pair in PaxExtensions::new(text) {
                    let pair = pair?;
                    match pair.key_bytes() {
                        b"path" => self.path = Some(pair.value_bytes().to_owned()),
                        b"size" => self.size = Some(pair.value()?.parse()?),
                        _ => (),
                    }
                }
            }
            _ => (),
        }
        Ok(())
    }
}

fn check_sum(header: &Header, at: u64, name: &str) -> anyhow::Result<()> {
    // The field itself, 8 bytes at 148, counts as blanks.
    let sum: u32 = header.as_bytes()[..148]
        .iter()
        .chain(b"        ")
        .chain(&header.as_bytes()[156..])
        .map(|byte| u32::from(*byte))
        .sum();
    if header.cksum().is_ok_and(|stored| stored == sum) {
        return Ok(());
    }
    if at > 0 {
        bail!("the header at byte {at} is damaged");
    }
    let error = match Compression::sniff(header.as_bytes()) {
        Some(found) => not_a_layout(
            name,
            format!("it is compressed with {found}"),
            Some(format!("decompress it with {found} -d first")),
        ),
        None => not_a_layout(name, "it is not a tar archive", None),
    };
    Err(error.into())
}
