//! The root file system of a live system, as the live boot enters it.

use anyhow::{Context, Result, bail};

use super::rootfs::{SQUASHFS_NAME, SQUASHFS_OFFSET};
use crate::format::cpio;
use crate::format::squashfs::Reader;
use crate::kernel::Files;
use crate::tree::{Content, Follow, Kind, Look, Rooted};

/// The root file system in a rootfs.img, with the deployment that a live boot enters.
#[derive(Debug)]
pub struct LiveRoot {
    /// The live system's `/`, which is the deployment's directory in the file system.
    pub system: Rooted<Reader>,
    /// The deployment's path in it.
    pub deployment: String,
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
            system: Rooted::new(reader, top),
            deployment,
        })
    }

    /// The whole file system.
    pub fn reader(&self) -> &Reader {
        &self.system.tree
    }

    /// The file beside the deployment whose name goes on like this.
    pub(super) fn beside(&self, ending: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("{}{ending}", self.deployment);
        self.reader().read_file(path, Follow::NotLast, ORIGIN_LIMIT)
    }
}

/// What the live initramfs looks for: the one match of `/ostree/boot.1/*/*/0`.
fn deployment(reader: &Reader) -> Result<String> {
    let mut found = Vec::new();
    for stateroot in reader.list("ostree/boot.1")? {
        let directory = format!("ostree/boot.1/{stateroot}");
        for checksum in reader.list(&directory)? {
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

/// Largest origin file; they have a line or two.
pub(super) const ORIGIN_LIMIT: u64 = 64 << 10;
