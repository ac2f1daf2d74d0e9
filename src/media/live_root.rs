//! The root file system of a live system, as the live boot enters it.

use anyhow::{Context, Result, bail};

use super::live::{SQUASHFS_NAME, SQUASHFS_OFFSET};
use crate::format::cpio;
use crate::format::squashfs::{Entry, Follow, Kind, Reader};
use crate::kernel::Files;
use crate::tree::Content;

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
    /// Opens the root file system in `rootfs`, a rootfs.img.
    pub fn open(rootfs: &Content) -> Result<Self> {
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

    /// The file beside the deployment whose name goes on like this.
    pub(super) fn beside(&self, ending: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("{}{ending}", self.deployment);
        match self.reader.lookup(&path, Follow::NotLast)? {
            Some(entry) if matches!(entry.kind, Kind::File { .. }) => {
                self.reader.to_vec(&entry, ORIGIN_LIMIT).map(Some)
            }
            _ => Ok(None),
        }
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

/// Largest origin file; they have a line or two.
pub(super) const ORIGIN_LIMIT: u64 = 64 << 10;

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
