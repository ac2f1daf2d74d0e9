//! The directory that a bake wrote, as a server sees it: single regular files, never a way out.
//!
//! Names are looked up at each request, one component beneath the directory's descriptor and
//! without following links, so that neither `..` nor a symbolic link leads anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, open, openat};

use crate::failure::Failure;
use crate::kernel::check_arguments;
use crate::record::{self, Record};

/// What file systems allow, and more than any bake writes.
const MAX_NAME_BYTES: usize = 255;

/// An open bake directory.
#[derive(Debug)]
pub(super) struct Directory {
    root: OwnedFd,
    /// The checksums that the bake recorded, for files that are as they were at the start.
    known: BTreeMap<String, (Identity, String)>,
    /// Files that are not for everyone, by device and inode.
    withheld: BTreeSet<(u64, u64)>,
    /// Their names, should they be replaced.
    withheld_names: BTreeSet<String>,
    pub(super) title: String,
    pub(super) pxe: Option<Pxe>,
}

/// What a machine boots over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pxe {
    pub(super) kernel: String,
    pub(super) initramfs: String,
    pub(super) rootfs: String,
    pub(super) kargs: Vec<String>,
}

/// One file of the directory, open.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) file: File,
    pub(super) length: u64,
    /// As in the header, with quotes.
    pub(super) etag: String,
}

/// What tells a file from what it was, or was replaced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Directory {
    /// Opens the bake directory at `path`, which must have all files that its record names.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let root = open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .with_context(|| format!("opening directory {shown}"))?;
        let mut directory = Self {
            root,
            known: BTreeMap::new(),
            withheld: BTreeSet::new(),
            withheld_names: BTreeSet::new(),
            title: String::new(),
            pxe: None,
        };
        let file = directory.regular(record::NAME).map(|(file, _)| file);
        let record = Record::read_in(path, file)?;
        directory.check(path, &record)?;
        directory.pxe = pxe(&record)
            .with_context(|| format!("reading the kernel arguments in {shown}/{}", record::NAME))?;
        directory.title = record.title();
        Ok(directory)
    }

    /// Notes the recorded checksums, and complains about all files that aren't as recorded.
    fn check(&mut self, path: &Path, record: &Record) -> Result<()> {
        let mut missing = Vec::new();
        let mut changed = Vec::new();
        for recorded in &record.files {
            match self.regular(&recorded.name) {
                None => missing.push(format!("{:?}", recorded.name)),
                Some((_, identity)) if identity.length != recorded.size => {
                    changed.push(format!("{:?}", recorded.name));
                }
                Some((_, identity)) => {
                    let known = (identity, recorded.sha256.clone());
                    self.known.insert(recorded.name.clone(), known);
                }
            }
        }
        let shown = path.display();
        let hint = "bake again, or copy the directory again";
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(
                Failure::new(format!("bake directory {shown} lacks {missing}"), hint).into(),
            );
        }
        if !changed.is_empty() {
            let sentence = format!(
                "in bake directory {shown} the size is not as recorded: {}",
                changed.join(", ")
            );
            return Err(Failure::new(sentence, hint).into());
        }
        Ok(())
    }

    /// Never serves the file at `path`, should it lie in the directory: a private key, or a
    /// configuration that one host alone may have.
    pub(super) fn withhold(&mut self, path: &Path) -> Result<()> {
        let metadata = path
            .metadata()
            .with_context(|| format!("looking at {}", path.display()))?;
        self.withheld.insert((metadata.dev(), metadata.ino()));
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            self.withheld_names.insert(name.to_owned());
        }
        Ok(())
    }

    /// The file whose name is the percent-encoded `path` of a URL, without the leading slash.
    pub(super) fn find(&self, path: &str) -> Option<(String, Served)> {
        let name = percent_decoded(path)?;
        let (file, identity) = self.regular(&name)?;
        let node = (identity.device, identity.inode);
        if self.withheld.contains(&node) || self.withheld_names.contains(&name) {
            return None;
        }
        let etag = match self.known.get(&name) {
            Some((known, sha256)) if *known == identity => format!("\"{sha256}\""),
            _ => {
                let (seconds, nanoseconds) = identity.modified;
                let (inode, length) = (identity.inode, identity.length);
                format!("\"{inode:x}-{length:x}-{seconds:x}-{nanoseconds:x}\"")
            }
        };
        let length = identity.length;
        Some((name, Served { file, length, etag }))
    }

    /// The regular file `name`, directly in the directory.
    fn regular(&self, name: &str) -> Option<(File, Identity)> {
        if !is_plain(name) {
            return None;
        }
        // A FIFO must not hold up whoever asks for it.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(openat(&self.root, name, flags, Mode::empty()).ok()?);
        let metadata = file.metadata().ok()?;
        let identity = Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        metadata.is_file().then_some((file, identity))
    }
}

/// Whether `name` is one component of a path, and not hidden. Ignition files hold secrets and are
/// handed out by host only, wherever they lie.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with('.')
        && !name.contains(['/', '\0'])
        && !name.ends_with(".ign")
}

/// The kernel, initramfs and root file system that were baked, if they were.
fn pxe(record: &Record) -> Result<Option<Pxe>> {
    let Ok(files) = record.network_boot() else {
        return Ok(None);
    };
    let [kernel, initramfs, rootfs] = files.map(|file| file.name.clone());
    let kargs = record.live_kargs();
    check_arguments(record::NAME, &kargs)?;
    Ok(Some(Pxe {
        kernel,
        initramfs,
        rootfs,
        kargs,
    }))
}

/// The text that a path of a URL stands for.
pub(super) fn percent_decoded(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let mut value = [0];
            hex::decode_to_slice(digits, &mut value).ok()?;
            decoded.push(value[0]);
            rest = after;
        } else {
            decoded.push(byte);
            rest = after;
        }
    }
    String::from_utf8(decoded).ok()
}
