//! Media read back: an ISO file, or a directory with a PXE set.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::iso::Payload;
use super::live::{SQUASHFS_NAME, SQUASHFS_OFFSET};
use crate::failure::Failure;
use crate::format::squashfs::{Entry, Follow, Kind, Reader};
use crate::format::{cpio, iso9660};
use crate::kernel::Files;
use crate::tree::Content;

/// A medium and its parts.
#[derive(Debug)]
pub struct Medium {
    /// Where it was read from.
    pub path: PathBuf,
    /// The ISO's file system, if it is one.
    pub iso: Option<iso9660::Reader>,
    /// Kernel, initramfs and root file system.
    pub payload: Payload,
}

/// A PXE set's files, by what their names end in.
const PXE_PARTS: [&str; 3] = ["-live-kernel.", "-live-initramfs.", "-live-rootfs."];

impl Medium {
    /// Whether `path` is something that [`Medium::open`] takes, rather than an image.
    pub fn is_medium(path: &Path) -> bool {
        path.is_file() || (path.is_dir() && pxe_parts(path).is_ok())
    }

    /// Opens an ISO file, or a directory with one PXE set in it.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::open_pxe(path);
        }
        let file = open(path)?;
        let length = file.metadata()?.len();
        let iso = iso9660::Reader::open(Content::range(file, 0, length))
            .with_context(|| format!("reading {} as an ISO", path.display()))?;
        let part = |name: &str| {
            iso.file(&format!("images/pxeboot/{name}"))?.ok_or_else(|| {
                anyhow::Error::from(Failure::new(
                    format!("{} has no images/pxeboot/{name}", path.display()),
                    "only live ISOs of CoreOS can be read",
                ))
            })
        };
        let payload = Payload {
            kernel: part("vmlinuz")?,
            initrd: part("initrd.img")?,
            rootfs: part("rootfs.img")?,
        };
        Ok(Self {
            path: path.to_owned(),
            iso: Some(iso),
            payload,
        })
    }

    fn open_pxe(directory: &Path) -> Result<Self> {
        let [kernel, initrd, rootfs] = pxe_parts(directory)?;
        let content = |path: &Path| -> Result<Content> {
            let file = open(path)?;
            let length = file.metadata()?.len();
            Ok(Content::range(file, 0, length))
        };
        Ok(Self {
            path: directory.to_owned(),
            iso: None,
            payload: Payload {
                kernel: content(&kernel)?,
                initrd: content(&initrd)?,
                rootfs: content(&rootfs)?,
            },
        })
    }

    /// The live root file system.
    pub fn root(&self) -> Result<LiveRoot> {
        LiveRoot::open(&self.payload.rootfs)
            .with_context(|| format!("reading the live root of {}", self.path.display()))
    }
}

fn open(path: &Path) -> Result<Arc<File>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Arc::new(file))
}

fn pxe_parts(directory: &Path) -> Result<[PathBuf; 3]> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .with_context(|| format!("reading directory {}", directory.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let find = |part: &str| {
        let mut found = names.iter().filter(|name| name.contains(part));
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(directory.join(name)),
            (None, _) => bail!("{} has no file *{part}*", directory.display()),
            (Some(_), Some(_)) => bail!("{} has several files *{part}*", directory.display()),
        }
    };
    let [kernel, initrd, rootfs] = PXE_PARTS;
    Ok([find(kernel)?, find(initrd)?, find(rootfs)?])
}

/// The root file system in a rootfs.img, with the deployment that a live boot enters.
#[derive(Debug)]
pub struct LiveRoot {
    /// The whole file system.
    pub reader: Reader,
    /// The deployment's path in it.
    pub deployment: String,
    /// The deployment's directory: the live system's `/`.
    top: Entry,
}

impl LiveRoot {
    fn open(rootfs: &Content) -> Result<Self> {
        let head = cpio::read_first_header(rootfs)?;
        if head.name != SQUASHFS_NAME.as_bytes() {
            bail!(
                "rootfs.img begins with {:?}, and only {SQUASHFS_NAME} can be read",
                String::from_utf8_lossy(&head.name)
            );
        }
        let content = rootfs
            .slice(SQUASHFS_OFFSET, head.size)
            .context("rootfs.img ends within its file system")?;
        let reader = Reader::open(content)?;
        let deployment = deployment(&reader)?;
        let top = reader
            .lookup(&deployment, Follow::Last)?
            .with_context(|| format!("{deployment} is missing"))?;
        Ok(Self {
            reader,
            deployment,
            top,
        })
    }

    fn lookup(&self, path: &str) -> Result<Option<Entry>> {
        self.reader.lookup_below(&self.top, path, Follow::Last)
    }
}

/// What the live initramfs looks for: the one match of `/ostree/boot.1/*/*/0`.
fn deployment(reader: &Reader) -> Result<String> {
    let mut found = Vec::new();
    for stateroot in names(reader, reader.lookup("ostree/boot.1", Follow::Last)?)? {
        let directory = format!("ostree/boot.1/{stateroot}");
        for checksum in names(reader, reader.lookup(&directory, Follow::Last)?)? {
            let link = reader.lookup(format!("{directory}/{checksum}/0"), Follow::NotLast)?;
            if let Some(Kind::Symlink(target)) = link.map(|entry| entry.kind) {
                let target = String::from_utf8_lossy(&target).into_owned();
                let name = target.rsplit('/').next().unwrap_or_default();
                found.push(format!("ostree/deploy/{stateroot}/deploy/{name}"));
            }
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        several => bail!(
            "{} deployments match /ostree/boot.1/*/*/0, where a live boot takes exactly one",
            several.len()
        ),
    }
}

/// Names in a directory that are text; none if it is no directory.
fn names(reader: &Reader, directory: Option<Entry>) -> Result<Vec<String>> {
    match directory {
        Some(entry) if entry.kind == Kind::Directory => reader
            .read_dir(&entry)?
            .filter_map(|name| match name {
                Ok(name) => String::from_utf8(name.name.into_vec()).ok().map(Ok),
                Err(error) => Some(Err(error)),
            })
            .collect(),
        _ => Ok(Vec::new()),
    }
}

/// Largest file that is read whole out of a live root: module indexes, modules.
const FILE_LIMIT: u64 = 256 << 20;

impl Files for LiveRoot {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.lookup(path)? {
            Some(entry) if matches!(entry.kind, Kind::File { .. }) => self
                .reader
                .to_vec(&entry, FILE_LIMIT)
                .map(Some)
                .with_context(|| format!("reading {path}")),
            _ => Ok(None),
        }
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.lookup(path)?.is_some())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        names(&self.reader, self.lookup(directory)?)
    }
}
