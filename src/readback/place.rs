//! What a path leads to: one medium, a minimal ISO, or a directory of media.
//!
//! In a directory, the media are those that its `bake.json` names, or else all that have a medium's name.
//! A minimal ISO is looked into together with the root file system that it fetches: the one that was named,
//! or the one that lies beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::medium::{
    self, IsoParts, MINIMAL, Medium, PXE_PARTS, ROOTFS_PART, is_iso, is_other_medium,
    live_arguments, names_in, pxe_parts,
};
use super::soundness::Soundness;
use crate::failure::Failure;
use crate::format::iso9660;
use crate::kernel::{self, FILE_MAX_BYTES, Initramfs};
use crate::record::{self, Record};
use crate::tree::Content;

/// What was opened.
#[derive(Debug)]
pub enum Found {
    /// A medium with all that boots.
    Whole(Box<Medium>),
    /// A minimal ISO, and nothing of what it fetches.
    Rootless(Box<Rootless>),
}

/// A minimal ISO whose root file system is elsewhere.
#[derive(Debug)]
pub struct Rootless {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its file system.
    pub iso: iso9660::Reader,
    /// The kernel that boots.
    kernel: Content,
    /// The initramfs that boots.
    initrd: Content,
}

/// All that a path leads to.
#[derive(Debug)]
pub struct Place {
    /// The media, at least one.
    pub media: Vec<Found>,
    /// What was not looked into, each in a sentence.
    pub notes: Vec<String>,
}

/// Why nothing is at `subject`, if it is a pattern that the shell has handed on because no file matched.
pub fn unmatched(subject: &str) -> Option<Failure> {
    let is_pattern = subject.contains(['*', '?', '[']) && !Path::new(subject).exists();
    is_pattern.then(|| {
        Failure::new(
            format!("no file matches {subject}"),
            "name a medium that is there, or the directory that it is in",
        )
    })
}

impl Place {
    /// Opens what is at `path`. `rootfs` is the root file system that a minimal ISO fetches.
    pub fn open(path: &Path, rootfs: Option<&Path>) -> Result<Self> {
        let place = match path.is_dir() {
            true => Directory::read(path)?.open(rootfs)?,
            false => Self {
                media: vec![Found::file(path, rootfs)?],
                notes: Vec::new(),
            },
        };
        match rootfs {
            Some(_) if !place.media.iter().any(|it| it.kind() == MINIMAL) => Err(Failure::new(
                format!("{} is not a minimal ISO", path.display()),
                "leave --rootfs out: all other media have a root file system of their own",
            )
            .into()),
            _ => Ok(place),
        }
    }
}

impl Found {
    /// Opens an ISO or a disk image. A minimal ISO gets `rootfs`, or the one beside it.
    fn file(path: &Path, rootfs: Option<&Path>) -> Result<Self> {
        let content = medium::whole(path)?;
        if !is_iso(&content) {
            return Medium::of(path, content).map(|it| Self::Whole(Box::new(it)));
        }
        let parts =
            IsoParts::read(content).with_context(|| format!("reading {}", path.display()))?;
        if parts.rootfs.is_some() {
            return Medium::of_iso(path, parts).map(|it| Self::Whole(Box::new(it)));
        }
        let rootfs = match rootfs {
            Some(rootfs) => Some(rootfs.to_owned()),
            None => rootfs_beside(path)?,
        };
        Ok(match rootfs {
            Some(rootfs) => Self::Whole(Box::new(Medium::with_root(path, parts, &rootfs)?)),
            None => Self::Rootless(Box::new(Rootless {
                path: path.to_owned(),
                iso: parts.reader,
                kernel: parts.kernel,
                initrd: parts.initrd,
            })),
        })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        match self {
            Self::Whole(medium) => &medium.path,
            Self::Rootless(rootless) => &rootless.path,
        }
    }

    /// The file with the root that a minimal ISO fetches, if that is there.
    pub fn fetched_root(&self) -> Option<&Path> {
        match self {
            Self::Whole(medium) => medium.fetched_root(),
            Self::Rootless(_) => None,
        }
    }

    /// What it is, as `bake -f` names it; for disks of all kinds, `disk`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Whole(medium) => medium.kind(),
            Self::Rootless(_) => MINIMAL,
        }
    }

    /// What to call it beside others: the name of its file, or that it is a PXE set.
    pub fn name(&self) -> String {
        match self.kind() {
            "pxe" => "the PXE set".to_owned(),
            _ => {
                let name = self.path().file_name().unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
        }
    }
}

impl Rootless {
    /// The initramfs, read to its end.
    pub fn read_initramfs(&self) -> Result<Initramfs> {
        Initramfs::read(self.initrd.reader()).context("reading the initramfs")
    }

    /// The initramfs that boots.
    pub fn initrd(&self) -> &Content {
        &self.initrd
    }

    /// The kernel's arguments, all in one string.
    pub fn arguments(&self) -> Result<Vec<String>> {
        live_arguments(&self.iso).context("reading the kernel arguments")
    }

    /// The release of the kernel that boots: what it says itself, or else that of the modules in its
    /// initramfs.
    pub fn release(&self, initramfs: &Initramfs) -> Result<String> {
        let kernel = self.kernel.to_vec(FILE_MAX_BYTES);
        let kernel = kernel.context("reading the kernel that boots")?;
        if let Some(release) = kernel::release_of(&kernel) {
            return Ok(release);
        }
        let releases = kernel::module_releases(initramfs)?;
        match releases.as_slice() {
            [one] => Ok(one.clone()),
            several => Err(Failure::new(
                format!(
                    "the kernel of {} does not tell its release, and its initramfs has modules of {}",
                    self.path.display(),
                    several.len()
                ),
                "name the root file system that it fetches with --rootfs",
            )
            .into()),
        }
    }

    /// What is wrong with it as far as it can be seen without its root: `release` is that of its kernel.
    pub fn soundness(&self, release: &str, initramfs: &Initramfs) -> Result<Soundness> {
        let mut found = Soundness::default();
        found.compare_modules(release, initramfs)?;
        found.look_for_stamp(initramfs)?;
        found.look_for_url(&self.arguments()?);
        found.notes.push(format!(
            "the root file system that {} fetches was not looked into: give it with --rootfs FILE",
            self.path.display()
        ));
        Ok(found)
    }
}

/// The root file system that a minimal ISO at `path` fetches, if it lies beside it: the one of the bake
/// that wrote the ISO, or the only one that is there.
fn rootfs_beside(path: &Path) -> Result<Option<PathBuf>> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    if let Some(record) = record_of(directory)
        && let Some(rootfs) = record.file("rootfs")
        && record.files.iter().any(|file| Some(&*file.name) == name)
    {
        let beside = directory.join(&rootfs.name);
        return Ok(beside.is_file().then_some(beside));
    }
    let names = names_in(directory)?;
    let mut found = names.iter().filter(|name| name.contains(ROOTFS_PART));
    Ok(match (found.next(), found.next()) {
        (Some(one), None) => Some(directory.join(one)),
        _ => None,
    })
}

/// The record in a directory, if it has one that can be read: media are none the worse without.
fn record_of(directory: &Path) -> Option<Record> {
    directory.join(record::NAME).is_file().then_some(())?;
    Record::read(directory).ok()
}

/// The media of a directory, by their files.
struct Directory<'a> {
    path: &'a Path,
    /// Kernel, initramfs and root of a PXE set.
    pxe: Option<[PathBuf; 3]>,
    /// ISOs and disk images.
    files: Vec<PathBuf>,
    notes: Vec<String>,
}

impl<'a> Directory<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let names = names_in(path)?;
        let found = match record_of(path) {
            Some(record) => Self::of_record(path, &record, &names),
            None => Self::of_names(path, &names)?,
        };
        match found.pxe.is_none() && found.files.is_empty() {
            // It says what there is instead.
            true => Err(pxe_parts(path)
                .err()
                .unwrap_or_else(|| Failure::new("it has no medium", "bake one").into())
                .context(format!("reading {}", path.display()))),
            false => Ok(found),
        }
    }

    /// Those that a bake has left here.
    fn of_record(path: &'a Path, record: &Record, names: &[String]) -> Self {
        let mut found = Self {
            path,
            pxe: None,
            files: Vec::new(),
            notes: Vec::new(),
        };
        let is_there = |name: &String| names.binary_search(name).is_ok();
        let media = ["iso", "minimal-iso", "metal", "metal4k", "qcow2"];
        let of_media = record.files.iter().filter(|f| media.contains(&&*f.role));
        for file in of_media {
            match is_there(&file.name) {
                true => found.add(&file.name),
                false => found.notes.push(format!(
                    "{} names {}, which is not there",
                    path.join(record::NAME).display(),
                    file.name
                )),
            }
        }
        if let Ok(parts) = record.network_boot()
            && parts.iter().all(|file| is_there(&file.name))
        {
            found.pxe = Some(parts.map(|file| path.join(&file.name)));
        }
        let is_known = |name: &&String| record.files.iter().any(|file| file.name == **name);
        let others: Vec<String> = names
            .iter()
            .filter(|name| is_other_medium(name) && !is_known(name))
            .cloned()
            .collect();
        if !others.is_empty() {
            found.notes.push(format!(
                "media that {} does not name were not looked into, name them one by one: {}",
                path.join(record::NAME).display(),
                kernel::some_of(&others)
            ));
        }
        found
    }

    /// Those that look like media.
    fn of_names(path: &'a Path, names: &[String]) -> Result<Self> {
        let mut found = Self {
            path,
            pxe: None,
            files: Vec::new(),
            notes: Vec::new(),
        };
        names
            .iter()
            .filter(|name| is_other_medium(name))
            .for_each(|name| found.add(name));
        let is_part = |part: &str| names.iter().any(|name| name.contains(part));
        // A root file system alone is that of a minimal ISO.
        let has_set = PXE_PARTS[..2].iter().any(|part| is_part(part));
        if has_set || found.files.is_empty() {
            let parts = pxe_parts(path).with_context(|| format!("reading {}", path.display()))?;
            found.pxe = Some(parts);
        }
        Ok(found)
    }

    /// A file by its name, unless it is packed.
    fn add(&mut self, name: &str) {
        let is_packed = ![".iso", ".raw", ".qcow2"]
            .iter()
            .any(|ending| name.ends_with(ending));
        match is_packed {
            true => self.notes.push(format!(
                "{name} is packed and was not looked into: unpack it, and name it"
            )),
            false => self.files.push(self.path.join(name)),
        }
    }

    fn open(self, rootfs: Option<&Path>) -> Result<Place> {
        let mut media = Vec::new();
        for path in &self.files {
            media.push(Found::file(path, rootfs)?);
        }
        if let Some(parts) = &self.pxe {
            media.push(Found::Whole(Box::new(Medium::of_pxe(self.path, parts)?)));
        }
        Ok(Place {
            media,
            notes: self.notes,
        })
    }
}
