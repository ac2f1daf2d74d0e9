//! Media read back: an ISO, a disk image, or a directory with a PXE set.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::installed::Installed;
use super::iso::Payload;
use super::live::{SQUASHFS_NAME, SQUASHFS_OFFSET};
use crate::failure::Failure;
use crate::format::gpt::Table;
use crate::format::squashfs::{Entry, Follow, Kind, Reader};
use crate::format::{cpio, iso9660, qcow2};
use crate::kernel::{Files, Initramfs, Root};
use crate::ostree::ContainerReference;
use crate::stages::{INSTALL, LIVE, Parts, Stages};
use crate::sysroot::{self, ImageJson};
use crate::tree::Content;

/// A medium and its parts.
#[derive(Debug)]
pub struct Medium {
    /// Where it was read from.
    pub path: PathBuf,
    /// What boots from it.
    pub system: System,
}

/// What boots from a medium.
#[derive(Debug)]
pub enum System {
    /// A live system.
    Live(Box<Live>),
    /// An installed system.
    Installed(Box<Installed>),
}

/// A live system.
#[derive(Debug)]
pub struct Live {
    /// The ISO's file system, if it is one.
    pub iso: Option<iso9660::Reader>,
    /// Kernel, initramfs and root file system.
    pub payload: Payload,
    /// The root file system.
    pub root: LiveRoot,
}

impl Live {
    fn new(iso: Option<iso9660::Reader>, payload: Payload) -> Result<Self> {
        Ok(Self {
            root: LiveRoot::open(&payload.rootfs).context("reading its live root")?,
            iso,
            payload,
        })
    }
}

/// A PXE set's files, by what their names end in.
const PXE_PARTS: [&str; 3] = ["-live-kernel.", "-live-initramfs.", "-live-rootfs."];

/// The file by which a directory is an OCI layout.
const OCI_INDEX: &str = "index.json";

/// Where ISO 9660 volumes have their first descriptor, and what is in it.
const ISO_MAGIC_OFFSET: u64 = 0x8001;
const ISO_MAGIC: &[u8; 5] = b"CD001";

impl Medium {
    /// Whether `path` is to be opened as a medium: it is there, and images have a transport in front.
    pub fn is_medium(path: &Path) -> bool {
        path.exists()
    }

    /// Opens an ISO, a raw or qcow2 disk image, or a directory with one PXE set in it.
    pub fn open(path: &Path) -> Result<Self> {
        match path.is_dir() {
            true => Self::named(path, open_pxe(path)),
            false => Self::of(path, whole(path)?),
        }
    }

    /// Opens a minimal ISO together with the rootfs.img that it fetches.
    pub(super) fn open_minimal(path: &Path, rootfs: &Path) -> Result<Self> {
        let (iso, rootfs) = (whole(path)?, whole(rootfs)?);
        Self::named(path, open_iso(iso, Some(rootfs)))
    }

    /// What `content` is, an ISO or a disk image. Messages call it `path`.
    pub(super) fn of(path: &Path, content: Content) -> Result<Self> {
        Self::named(path, open_file(content))
    }

    fn named(path: &Path, system: Result<System>) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            system: system.with_context(|| format!("reading {}", path.display()))?,
        })
    }

    /// The kernel that boots.
    pub(super) fn kernel(&self) -> &Content {
        match &self.system {
            System::Live(live) => &live.payload.kernel,
            System::Installed(installed) => &installed.kernel,
        }
    }

    /// The initramfs that boots.
    pub fn initrd(&self) -> &Content {
        match &self.system {
            System::Live(live) => &live.payload.initrd,
            System::Installed(installed) => &installed.initrd,
        }
    }

    /// The root file system, as the running system sees it.
    pub fn root(&self) -> &dyn Files {
        match &self.system {
            System::Live(live) => &live.root,
            System::Installed(installed) => &**installed,
        }
    }

    /// What the deployment's origin says: where it looks for updates.
    pub fn origin(&self) -> Result<Option<ContainerReference>> {
        let text = match &self.system {
            System::Live(live) => live.root.beside(".origin")?,
            System::Installed(installed) => installed.beside(".origin")?,
        };
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let origin = text.map(|text| ContainerReference::from_origin(&text));
        Ok(origin
            .transpose()
            .context("reading the deployment's origin")?
            .flatten())
    }

    /// The initramfs that the system has once a live medium has installed it, for kernel `release`.
    pub fn installed_initrd(&self, release: &str) -> Result<Option<Content>> {
        match &self.system {
            System::Live(live) => live
                .root
                .content(&format!("usr/lib/modules/{release}/initramfs.img")),
            System::Installed(_) => Ok(None),
        }
    }

    /// The kernel arguments that an installed system has from its image; those that an installation
    /// adds are not known of a medium.
    pub fn installed_arguments(&self) -> Result<Vec<String>> {
        Ok(ImageJson::of(self.root())?.extra_kargs)
    }

    /// The kernel's arguments, all in one string; none are known of a PXE set.
    pub fn arguments(&self) -> Result<Vec<String>> {
        Ok(match &self.system {
            System::Live(live) => match &live.iso {
                Some(iso) => live_arguments(iso).context("reading the kernel arguments")?,
                None => Vec::new(),
            },
            System::Installed(installed) => installed
                .entry
                .get("options")
                .into_iter()
                .cloned()
                .collect(),
        })
    }

    /// What boots, with the kernel of that release and these arguments.
    pub fn parts<'a>(&'a self, release: &'a str, arguments: &'a [String]) -> Parts<'a> {
        Parts {
            initrd: self.initrd(),
            root: self.root(),
            release,
            arguments,
        }
    }

    /// Where its initramfs gets the root from.
    pub fn boot_root(&self, initramfs: &Initramfs) -> Result<Root<'static>> {
        Ok(match &self.system {
            System::Live(live) => Root::Live {
                iso: live.iso.is_some(),
                compression: Some(live.root.reader.facts().compressor.name()),
            },
            System::Installed(_) => Root::Disk {
                composefs: sysroot::mounts_composefs(initramfs)?,
            },
        })
    }

    /// What its initramfs and its root are called in reports.
    pub fn stages(&self) -> &'static Stages {
        match &self.system {
            System::Live(_) => &LIVE,
            System::Installed(_) => &INSTALL,
        }
    }
}

fn open_file(content: Content) -> Result<System> {
    let content = match qcow2::Reader::probe(&content) {
        true => qcow2::Reader::open(content)?.into_content(),
        false => content,
    };
    let mut magic = [0; ISO_MAGIC.len()];
    if content.read_at(ISO_MAGIC_OFFSET, &mut magic).is_ok() && magic == *ISO_MAGIC {
        return open_iso(content, None);
    }
    match Table::read(&content)? {
        Some(table) => Installed::open(&content, table).map(|it| System::Installed(Box::new(it))),
        None => Err(Failure::new(
            "it is neither an ISO nor a disk with a GUID partition table",
            "an image is named with its transport: oci-archive:FILE, oci:DIR or docker://NAME",
        )
        .into()),
    }
}

/// Reads a live ISO; `rootfs` is the root file system of one that has none.
fn open_iso(content: Content, rootfs: Option<Content>) -> Result<System> {
    let iso = iso9660::Reader::open(content)?;
    let part = |name: &str| {
        iso.file(&format!("images/pxeboot/{name}"))?.ok_or_else(|| {
            let hint = match name {
                "rootfs.img" => "a minimal ISO has none; look into the PXE set that it boots",
                _ => "only live ISOs of CoreOS can be read",
            };
            anyhow::Error::from(Failure::new(
                format!("there is no images/pxeboot/{name}"),
                hint,
            ))
        })
    };
    let payload = Payload {
        kernel: part("vmlinuz")?,
        initrd: part("initrd.img")?,
        rootfs: match rootfs {
            Some(rootfs) => rootfs,
            None => part("rootfs.img")?,
        },
    };
    Live::new(Some(iso), payload).map(|live| System::Live(Box::new(live)))
}

/// What the first of the places that `coreos/kargs.json` names holds: the arguments of the media
/// themselves, or those that coreos-installer has put there.
fn live_arguments(iso: &iso9660::Reader) -> Result<Vec<String>> {
    let Some(kargs) = iso.file("coreos/kargs.json")? else {
        return Ok(Vec::new());
    };
    let kargs: Kargs = serde_json::from_slice(&kargs.to_vec(KARGS_LIMIT)?)?;
    let Some(place) = kargs.files.first() else {
        return Ok(vec![kargs.default]);
    };
    let file = iso
        .file(&place.path)?
        .with_context(|| format!("{} is missing", place.path))?;
    let len = usize::try_from(kargs.size)
        .ok()
        .filter(|len| *len as u64 <= KARGS_LIMIT);
    let mut area = vec![0; len.context("its area is too large")?];
    file.read_at(place.offset, &mut area)
        .with_context(|| format!("reading {}", place.path))?;
    let text = String::from_utf8_lossy(&area);
    // Filled up with line breaks and signs of comments, or with NUL on s390x.
    let filling = ['#', '\n', '\0'];
    Ok(vec![text.trim_end_matches(filling).trim().to_owned()])
}

/// coreos-installer's description of where kernel arguments are, `coreos/kargs.json`.
#[derive(Deserialize)]
struct Kargs {
    default: String,
    files: Vec<KargsPlace>,
    /// Length of each area in bytes.
    size: u64,
}

#[derive(Deserialize)]
struct KargsPlace {
    path: String,
    offset: u64,
}

/// Longest area of kernel arguments, and longest description of one.
const KARGS_LIMIT: u64 = 1 << 20;

fn open_pxe(directory: &Path) -> Result<System> {
    let [kernel, initrd, rootfs] = pxe_parts(directory)?;
    let payload = Payload {
        kernel: whole(&kernel)?,
        initrd: whole(&initrd)?,
        rootfs: whole(&rootfs)?,
    };
    Live::new(None, payload).map(|live| System::Live(Box::new(live)))
}

fn whole(path: &Path) -> Result<Content> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata()?.len();
    Ok(Content::range(Arc::new(file), 0, length))
}

/// Names in a directory that are text, sorted.
fn names_in(directory: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .with_context(|| format!("reading directory {}", directory.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Whether a file's name is that of an ISO or a disk image, packed or not.
fn is_other_medium(name: &str) -> bool {
    [".iso", ".raw", ".qcow2"]
        .iter()
        .any(|ending| name.contains(ending))
}

/// Media in a directory that are not parts of its PXE set.
pub(super) fn other_media(directory: &Path) -> Result<Vec<String>> {
    let mut names = names_in(directory)?;
    names.retain(|name| is_other_medium(name));
    Ok(names)
}

fn pxe_parts(directory: &Path) -> Result<[PathBuf; 3]> {
    let names = names_in(directory)?;
    let hint = || {
        if names.iter().any(|name| name == OCI_INDEX) {
            let place = directory.display();
            return format!("an image is named with its transport: oci:{place}");
        }
        match names.iter().find(|name| is_other_medium(name)) {
            Some(name) => format!("name the medium itself: {}", directory.join(name).display()),
            None => "name an ISO, a disk image, or a directory with one whole PXE set".to_owned(),
        }
    };
    let find = |part: &str| {
        let mut found = names.iter().filter(|name| name.contains(part));
        let sentence = match (found.next(), found.next()) {
            (Some(name), None) => return Ok(directory.join(name)),
            (None, _) => format!("it has no file *{part}*, so it is not a PXE set"),
            (Some(_), Some(_)) => format!("it has several files *{part}*"),
        };
        Err(anyhow::Error::from(Failure::new(sentence, hint())))
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
    fn beside(&self, ending: &str) -> Result<Option<Vec<u8>>> {
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
