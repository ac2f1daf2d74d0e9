//! The directory that a bake wrote, as a server sees it: the files that its record names, as long as
//! they are what they were at the start.
//!
//! People keep more in it than media: notes, passwords, copies of keys. Nothing is looked up that the
//! record doesn't name, so that none of that has to be recognised.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, open, openat};

use crate::failure::Failure;
use crate::foreign::check_arguments;
use crate::media;
use crate::record::{self, Artifact, Record};

/// Files of a bake that boot loaders can take settings from, by their roles in the record.
const ISOS: [&str; 2] = ["iso", "minimal-iso"];

/// An open bake directory.
#[derive(Debug)]
pub(super) struct Directory {
    root: OwnedFd,
    files: BTreeMap<String, Known>,
    pub(super) title: String,
    pub(super) pxe: Option<Pxe>,
    /// Files that everybody gets although they carry settings of somebody.
    pub(super) embedded: Vec<String>,
}

/// A file that may be served.
#[derive(Debug)]
struct Known {
    identity: Identity,
    /// As in the header, with quotes.
    etag: String,
    /// Whether it carries settings, and is not for everyone.
    withheld: bool,
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

/// Why a file is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missing {
    #[error("there is no such file")]
    Unknown,
    #[error("the file is not what it was when the server started")]
    Changed,
    #[error(
        "the file carries Ignition configs or network settings, and is served only with --serve-embedded"
    )]
    Withheld,
}

/// What tells a file from what it was. Not its number: some file systems give others at each look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    length: u64,
    modified: (i64, i64),
}

impl Directory {
    /// Opens the bake directory at `path`, which must have all files that its record names. ISOs with
    /// settings in them are served only if `serves_embedded`.
    pub(super) fn open(path: &Path, serves_embedded: bool) -> Result<Self> {
        let shown = path.display();
        let root = open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .with_context(|| format!("opening directory {shown}"))?;
        let mut directory = Self {
            root,
            files: BTreeMap::new(),
            title: String::new(),
            pxe: None,
            embedded: Vec::new(),
        };
        let file = directory.regular(record::NAME).map(|(file, _)| file);
        let record = Record::read_in(path, file)?;
        directory.check(path, &record)?;
        for name in media::DESCRIPTIONS {
            if let Some((_, identity)) = directory.regular(name) {
                let (seconds, nanoseconds) = identity.modified;
                let etag = format!("\"{:x}-{seconds:x}-{nanoseconds:x}\"", identity.length);
                directory.files.insert(
                    name.to_owned(),
                    Known {
                        identity,
                        etag,
                        withheld: false,
                    },
                );
            }
        }
        directory.find_embedded(path, &record, serves_embedded);
        directory.pxe = pxe(&record)
            .with_context(|| format!("reading the kernel arguments in {shown}/{}", record::NAME))?;
        directory.title = record.title();
        Ok(directory)
    }

    /// Notes the recorded files, and complains about all that aren't as recorded.
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
                    let known = Known {
                        identity,
                        etag: format!("\"{}\"", recorded.sha256),
                        withheld: false,
                    };
                    self.files.insert(recorded.name.clone(), known);
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

    /// Finds what carries settings: by the record of a bake that put them there, or because somebody has
    /// done so since. A file that can't be judged is treated like one that does.
    fn find_embedded(&mut self, path: &Path, record: &Record, serves_embedded: bool) {
        let customized = record.options.customized;
        let carries = |file: &Artifact| match &*file.role {
            role if ISOS.contains(&role) => {
                customized || media::iso_carries_settings(&path.join(&file.name)).unwrap_or(true)
            }
            // Reading it takes a while, and only a bake changes it.
            "initramfs" if customized => {
                media::initramfs_carries_settings(&path.join(&file.name)).unwrap_or(true)
            }
            _ => false,
        };
        for file in record.files.iter().filter(|file| carries(file)) {
            // Without its initramfs nothing boots.
            if serves_embedded || !ISOS.contains(&&*file.role) {
                self.embedded.push(file.name.clone());
            } else if let Some(known) = self.files.get_mut(&file.name) {
                known.withheld = true;
            }
        }
    }

    /// The file called `name`.
    pub(super) fn find(&self, name: &str) -> Result<Served, Missing> {
        let known = self.files.get(name).ok_or(Missing::Unknown)?;
        if known.withheld {
            return Err(Missing::Withheld);
        }
        let (file, identity) = self.regular(name).ok_or(Missing::Changed)?;
        if identity != known.identity {
            return Err(Missing::Changed);
        }
        let (length, etag) = (identity.length, known.etag.clone());
        Ok(Served { file, length, etag })
    }

    /// The regular file `name`, directly in the directory: the record has no other names.
    fn regular(&self, name: &str) -> Option<(File, Identity)> {
        // A link leads elsewhere, and a FIFO must not hold up whoever asks for it.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(openat(&self.root, name, flags, Mode::empty()).ok()?);
        let metadata = file.metadata().ok()?;
        let identity = Identity {
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        metadata.is_file().then_some((file, identity))
    }
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
