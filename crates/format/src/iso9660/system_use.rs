//! Rock Ridge read back from the system use fields of directory records.

use zerocopy::FromBytes;

use super::error::ReadError;
use super::format::{
    NAME_MORE, SECTOR, SHARING_CHECK, UseAttributes, UseContinuation, UseHead, UseName, UseSharing,
};
use bake_tree::Content;

/// Continuations that one record may have; mkisofs and libisofs make one.
const MAX_CONTINUATIONS: usize = 16;

/// Longest name; Linux takes no longer ones.
const MAX_NAME_BYTES: usize = 255;

/// File type bits of a mode, and their value for regular files.
const TYPE_MASK: u32 = 0o170000;
const TYPE_REGULAR: u32 = 0o100000;

/// How system use fields are laid out on a volume.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scheme {
    /// Bytes before the entries, in all records but the root's own.
    skip: usize,
}

impl Scheme {
    /// Looks for `SP` in the field of the root's own record; without it there is no Rock Ridge.
    pub(super) fn detect(field: &[u8]) -> Option<Self> {
        let (sharing, _) = UseSharing::ref_from_prefix(field).ok()?;
        (sharing.head.signature == *b"SP" && sharing.check == SHARING_CHECK).then(|| Self {
            skip: sharing.skip.into(),
        })
    }
}

/// What Rock Ridge says about a name.
#[derive(Debug)]
pub(super) struct Posix {
    /// Its long form, if there is one.
    pub(super) name: Option<String>,
    /// Whether it is a regular file, as far as it isn't a directory.
    pub(super) is_regular: bool,
}

impl Default for Posix {
    fn default() -> Self {
        Self {
            name: None,
            is_regular: true,
        }
    }
}

/// Reads the entries of a field and those that it is continued with.
pub(super) fn read(image: &Content, scheme: Scheme, field: &[u8]) -> Result<Posix, ReadError> {
    let mut posix = Posix::default();
    let mut name: Vec<u8> = Vec::new();
    let mut has_name = false;
    let mut area = field.get(scheme.skip..).unwrap_or_default().to_vec();
    for _ in 0..=MAX_CONTINUATIONS {
        let mut next = None;
        for entry in Entries(&area) {
            match entry.signature {
                b"NM" => {
                    if let Ok((head, rest)) = UseName::ref_from_prefix(entry.bytes) {
                        name.extend_from_slice(rest);
                        has_name = head.flags & !NAME_MORE == 0;
                    }
                }
                b"PX" => {
                    if let Ok((attributes, _)) = UseAttributes::ref_from_prefix(entry.bytes) {
                        posix.is_regular = attributes.mode.get() & TYPE_MASK == TYPE_REGULAR;
                    }
                }
                b"CE" => {
                    next = UseContinuation::ref_from_prefix(entry.bytes)
                        .ok()
                        .map(|(continuation, _)| *continuation);
                }
                _ => {}
            }
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(ReadError::Damaged(format!(
                "a name is longer than {MAX_NAME_BYTES} bytes"
            )));
        }
        let Some(continuation) = next else {
            if has_name {
                posix.name = Some(String::from_utf8_lossy(&name).into_owned());
            }
            return Ok(posix);
        };
        area = continued(image, continuation)?;
    }
    Err(ReadError::Damaged(format!(
        "a record is continued more than {MAX_CONTINUATIONS} times"
    )))
}

/// A continuation area, which lies within one sector.
fn continued(image: &Content, at: UseContinuation) -> Result<Vec<u8>, ReadError> {
    let outside = || ReadError::Damaged("a record is continued where it can't be".to_owned());
    let (offset, bytes) = (u64::from(at.offset.get()), u64::from(at.bytes.get()));
    if offset + bytes > SECTOR {
        return Err(outside());
    }
    image
        .slice(u64::from(at.sector.get()) * SECTOR + offset, bytes)
        .ok_or_else(outside)?
        .to_vec(SECTOR)
        .map_err(|source| ReadError::Io {
            sector: at.sector.get(),
            source,
        })
}

/// One entry, whole.
struct Entry<'a> {
    signature: &'a [u8; 2],
    bytes: &'a [u8],
}

/// The entries of an area; what follows nonsense is not looked at.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (head, _) = UseHead::ref_from_prefix(self.0).ok()?;
        let length = usize::from(head.length);
        if length < size_of::<UseHead>() || head.signature == *b"ST" {
            return None;
        }
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Entry {
            signature: &head.signature,
            bytes,
        })
    }
}
