//! Media for the hosts of an inventory, made from what a bake wrote: an ISO for each host, or one tree
//! for network boot that tells hosts apart by their hardware addresses.
//!
//! ```text
//! bake.json ─► record ───┐
//! inventory ─► overlay ──┼─► iso:  the ISO's blocks once more, the overlay in its embed area
//!                        └─► tree: ipxe/MAC.ipxe, grub.cfg-01-MAC, pxelinux.cfg/01-MAC,
//!                                  overlay/HOST.img, ignition/HOST.ign
//! ```
//!
//! What differs between hosts is small, so nothing large is written for one: an ISO shares its blocks
//! with the one that was baked where the file system can, and an initramfs of a few hundred bytes is
//! loaded beside the common one.
//!
//! Left out: TFTP and DHCP, see [`crate::netboot::dnsmasq_lines`]; s390x, which has no boot loader that
//! asks by hardware address.
//!
//! Source of truth: coreos-installer's `iso customize` and `pxe customize`, whose code makes the
//! overlays; the ways in which iPXE, GRUB (`net_search_cfg`) and PXELINUX look for files.

mod iso;
mod overlay;
mod share;
mod tree;

#[cfg(test)]
mod tests;

pub use self::iso::iso_carries_settings;
pub use self::overlay::initramfs_carries_settings;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use self::iso::BakedIso;
use self::overlay::Overlays;
use self::share::{can_share, share};
use self::tree::Tree;
use crate::failure::Failure;
use crate::hosts::{Host, Inventory};
use crate::progress::Progress;
use crate::record::{Artifact, Record};
use crate::staging::{Staging, check_free};

/// From here on it matters whether a file is there once or twice.
const LARGE_BYTES: u64 = 1 << 20;

/// What to make for the hosts of an inventory.
#[derive(Clone, Debug)]
pub struct HostsRequest {
    /// What a bake wrote.
    pub directory: PathBuf,
    /// The machines.
    pub inventory: Inventory,
    /// Whether each gets an ISO.
    pub iso: bool,
    /// Where the machines will find the output directory, if they get a tree for network boot.
    pub pxe_url: Option<String>,
    /// Whether files of the same names are replaced.
    pub force: bool,
}

/// Media for hosts, checked and about to be written.
#[derive(Debug)]
pub struct HostsPlan {
    /// The files, in the order of the inventory.
    pub files: Vec<HostFile>,
    /// What comes into each.
    contents: Vec<Content>,
    overlays: Option<Overlays>,
    iso: Option<BakedIso>,
}

/// One file that is made for hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostFile {
    /// Its path in the output directory.
    pub name: String,
    /// Whose it is; nobody's if it is for all.
    pub host: Option<String>,
    /// `iso`, `config`, `overlay`, `ignition`, or what the bake calls it.
    pub role: String,
    /// Its length in bytes.
    pub size: u64,
    /// For large files that were written, whether they share their blocks with the bake's.
    pub shares_blocks: Option<bool>,
}

/// What comes into a file.
#[derive(Debug)]
enum Content {
    /// This.
    Bytes(Vec<u8>),
    /// What is in another file.
    Copy(PathBuf),
    /// The initramfs of this host alone.
    Overlay(Box<Host>),
    /// The ISO of this host.
    Iso(Box<Host>),
}

impl HostsPlan {
    /// Checks everything that there is to check, first of all whether `output` can have files of these names,
    /// and composes all that is small.
    pub fn new(request: &HostsRequest, output: &Path) -> Result<Self> {
        let directory = &request.directory;
        let record = read_record(directory)?;
        let mut plan = Self {
            files: Vec::new(),
            contents: Vec::new(),
            overlays: None,
            iso: None,
        };
        let iso = match request.iso {
            true => Some(plan.add_isos(request, &record)?),
            false => None,
        };
        let tree = request.pxe_url.as_deref();
        let tree = tree.map(|url| Tree::new(&record, url)).transpose()?;
        if let Some(tree) = &tree {
            plan.add_tree(tree, request, output)?;
        }
        let names = plan.files.iter().map(|file| file.name.as_str());
        check_free(output, names, request.force)?;
        if let Some(tree) = &tree {
            let [_, (initramfs, _), _] = tree.payload();
            plan.overlays = Some(Overlays::for_initramfs(&directory.join(initramfs))?);
        }
        plan.measure(iso)?;
        Ok(plan)
    }

    fn add(&mut self, file: HostFile, content: Content) {
        self.files.push(file);
        self.contents.push(content);
    }

    /// Returns the ISO that was baked.
    fn add_isos<'a>(&mut self, request: &HostsRequest, record: &'a Record) -> Result<&'a Artifact> {
        let Some(baked) = record.file("iso") else {
            let sentence = format!("{} has no ISO", request.directory.display());
            return Err(Failure::new(sentence, "bake with `-f iso`").into());
        };
        self.iso = Some(BakedIso::open(&request.directory.join(&baked.name))?);
        for host in &request.inventory.hosts {
            let file = tree::file(&format!("{}.iso", host.name), Some(&host.name), "iso");
            self.add(file, Content::Iso(Box::new(host.clone())));
        }
        Ok(baked)
    }

    fn add_tree(&mut self, tree: &Tree<'_>, request: &HostsRequest, output: &Path) -> Result<()> {
        let directory = &request.directory;
        // In the bake's own directory they are there already.
        if !is_same(directory, output) {
            for (name, role) in tree.payload() {
                let content = Content::Copy(directory.join(name));
                self.add(tree::file(name, None, role), content);
            }
        }
        let (file, content) = tree.entry();
        self.add(file, content);
        for host in &request.inventory.hosts {
            for (file, content) in tree.host(host)? {
                self.add(file, content);
            }
        }
        Ok(())
    }

    /// Finds out how long each file will be, and with that whether it can be made.
    fn measure(&mut self, iso: Option<&Artifact>) -> Result<()> {
        for (file, content) in self.files.iter_mut().zip(&self.contents) {
            file.size = match content {
                Content::Bytes(bytes) => bytes.len() as u64,
                Content::Copy(path) => {
                    let metadata = path.metadata();
                    let reading = || format!("reading {}", path.display());
                    metadata.with_context(reading)?.len()
                }
                // Made once more when they are written, so that not all are in memory.
                Content::Overlay(host) => {
                    let overlay = overlay(self.overlays.as_ref(), host)?;
                    overlay.len() as u64
                }
                Content::Iso(host) => {
                    let baked = self.iso.as_ref().context("planned with an ISO")?;
                    baked.overlay(host)?;
                    iso.map_or(0, |iso| iso.size)
                }
            };
        }
        Ok(())
    }

    /// How many bytes are written if no file shares its blocks with another.
    pub fn needed_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Whether large files share their blocks, as a file in `staging` shows, which is on the same disk.
    fn shares(&self, staging: &Staging) -> Result<bool> {
        let mut large = self.contents.iter().filter_map(|content| match content {
            Content::Copy(path) => Some(path.as_path()),
            Content::Iso(_) => self.iso.as_ref().map(BakedIso::path),
            _ => None,
        });
        match large.next() {
            Some(path) => {
                let original = File::open(path);
                let original = original.with_context(|| format!("opening {}", path.display()))?;
                Ok(can_share(&original, &staging.scratch_file()?))
            }
            None => Ok(false),
        }
    }

    /// Writes all files into `staging` and gives them their names.
    pub fn execute(self, staging: Staging, progress: &dyn Progress) -> Result<Vec<HostFile>> {
        let (room, needed) = (staging.room().clone(), self.needed_bytes());
        self.write(staging, progress)
            .map_err(|error| room.explain(error, needed))
    }

    fn write(mut self, staging: Staging, progress: &dyn Progress) -> Result<Vec<HostFile>> {
        if !self.shares(&staging)? {
            let bytes = self.needed_bytes();
            staging.room().require(bytes, bytes)?;
        }
        progress.begin("writing media of hosts", self.needed_bytes());
        for (file, content) in self.files.iter_mut().zip(&self.contents) {
            let name = &file.name;
            let mut out = staging.create(name)?;
            match content {
                Content::Bytes(bytes) => {
                    out.write_all(bytes)
                        .with_context(|| format!("writing {name}"))?;
                    progress.advance(file.size);
                }
                Content::Copy(path) => {
                    let shown = path.display();
                    let original = File::open(path).with_context(|| format!("opening {shown}"))?;
                    let shared = share(&original, &mut out, progress)
                        .with_context(|| format!("copying {shown}"))?;
                    file.shares_blocks = (file.size >= LARGE_BYTES).then_some(shared);
                }
                Content::Overlay(host) => {
                    out.write_all(&overlay(self.overlays.as_ref(), host)?)
                        .with_context(|| format!("writing {name}"))?;
                    progress.advance(file.size);
                }
                Content::Iso(host) => {
                    let iso = self.iso.as_ref().context("planned with an ISO")?;
                    let shared = iso.write(host, out, &staging.path(name), progress)?;
                    file.shares_blocks = Some(shared);
                }
            }
        }
        progress.end();
        let names: Vec<String> = self.files.iter().map(|file| file.name.clone()).collect();
        staging.publish(&names)?;
        Ok(self.files)
    }
}

/// What `host` loads beside the common initramfs.
fn overlay(overlays: Option<&Overlays>, host: &Host) -> Result<Vec<u8>> {
    let overlays = overlays.context("planned with overlays")?;
    let overlay = overlays.for_network_boot(host, false)?;
    Ok(overlay.unwrap_or_default())
}

/// For each host in turn, the initramfs that it loads beside the one in the bake directory `directory`, if
/// it needs one. It tells the server that the host booted from when it is installed.
pub fn overlays(directory: &Path, inventory: &Inventory) -> Result<Vec<Option<Vec<u8>>>> {
    let hosts = &inventory.hosts;
    let needs_one = |host: &Host| host.needs_overlay() || host.disk.is_some();
    if !hosts.iter().any(needs_one) {
        return Ok(vec![None; hosts.len()]);
    }
    let record = read_record(directory)?;
    let initramfs = record.file("initramfs").ok_or_else(|| {
        let sentence = format!("{} has no initramfs", directory.display());
        Failure::new(sentence, "bake with `-f pxe`")
    })?;
    let overlays = Overlays::for_initramfs(&directory.join(&initramfs.name))?;
    hosts
        .iter()
        .map(|host| overlays.for_network_boot(host, true))
        .collect()
}

/// The record of the bake directory at `path`, whose files are all there.
fn read_record(path: &Path) -> Result<Record> {
    let record = Record::read(path)?;
    for file in &record.files {
        let metadata = path.join(&file.name).metadata().ok();
        if metadata.map(|metadata| metadata.len()) != Some(file.size) {
            return Err(Failure::new(
                format!(
                    "{:?} of bake directory {} is not as recorded",
                    file.name,
                    path.display()
                ),
                "bake again, or copy the directory again",
            )
            .into());
        }
    }
    Ok(record)
}

/// Whether two paths are one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        // One that isn't there yet is no other's.
        _ => false,
    }
}
