//! Media read back: an ISO, a disk image, or a directory with a PXE set. What else a path may lead to is
//! told by `place`.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::installed::Installed;
use super::layout::{ISO_INITRD, ISO_KARGS, ISO_KERNEL, ISO_ROOTFS, LIVE_ISO};
use super::live_root::LiveRoot;
use super::payload::Payload;
use crate::failure::Failure;
use crate::format::gpt::Table;
use crate::format::{iso9660, qcow2};
use crate::kernel::{Files, Initramfs, Root};
use crate::os::{ImageJson, Parts, mounts_composefs};
use crate::ostree::ContainerReference;
use crate::stages::{INSTALL, LIVE, Stages};
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
    /// The file with the root file system, if that is neither in the ISO nor in a PXE set: a minimal ISO
    /// fetches it.
    pub fetched: Option<PathBuf>,
}

impl Live {
    fn new(iso: Option<iso9660::Reader>, payload: Payload) -> Result<Self> {
        Ok(Self {
            root: LiveRoot::open(&payload.rootfs).context("reading its live root")?,
            iso,
            payload,
            fetched: None,
        })
    }
}

/// What an ISO that fetches its root is called.
pub(super) const MINIMAL: &str = "minimal-iso";

/// A PXE set's files, by what their names end in.
pub(super) const PXE_PARTS: [&str; 3] = ["-live-kernel.", "-live-initramfs.", ROOTFS_PART];

/// What names of root file systems have in them.
pub(super) const ROOTFS_PART: &str = "-live-rootfs.";

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
            true => Self::named(path, pxe_parts(path).and_then(|parts| open_pxe(&parts))),
            false => Self::of(path, whole(path)?),
        }
    }

    /// Opens a minimal ISO together with the rootfs.img that it fetches.
    pub fn open_minimal(path: &Path, rootfs: &Path) -> Result<Self> {
        let iso =
            IsoParts::read(whole(path)?).with_context(|| format!("reading {}", path.display()))?;
        Self::with_root(path, iso, rootfs)
    }

    /// A minimal ISO that was read, with the rootfs.img that it fetches.
    pub(super) fn with_root(path: &Path, iso: IsoParts, rootfs: &Path) -> Result<Self> {
        let payload = Payload {
            kernel: iso.kernel,
            initrd: iso.initrd,
            rootfs: whole(rootfs)?,
        };
        let mut live = Live::new(Some(iso.reader), payload)
            .with_context(|| format!("reading {} for {}", rootfs.display(), path.display()))?;
        live.fetched = Some(rootfs.to_owned());
        Ok(Self {
            path: path.to_owned(),
            system: System::Live(Box::new(live)),
        })
    }

    /// A PXE set of these three files in `directory`.
    pub(super) fn of_pxe(directory: &Path, parts: &[PathBuf; 3]) -> Result<Self> {
        Self::named(directory, open_pxe(parts))
    }

    /// What `content` is, an ISO or a disk image. Messages call it `path`.
    pub fn of(path: &Path, content: Content) -> Result<Self> {
        Self::named(path, open_file(content))
    }

    /// What a file is of which it is known already whether it is an ISO.
    pub(super) fn of_iso(path: &Path, iso: IsoParts) -> Result<Self> {
        Self::named(path, iso.whole())
    }

    fn named(path: &Path, system: Result<System>) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            system: system.with_context(|| format!("reading {}", path.display()))?,
        })
    }

    /// What it is, as `bake -f` names it; for disks of all kinds, `disk`.
    pub fn kind(&self) -> &'static str {
        match &self.system {
            System::Live(live) if live.fetched.is_some() => MINIMAL,
            System::Live(live) if live.iso.is_some() => "iso",
            System::Live(_) => "pxe",
            System::Installed(_) => "disk",
        }
    }

    /// The file with the root that a minimal ISO fetches.
    pub fn fetched_root(&self) -> Option<&Path> {
        match &self.system {
            System::Live(live) => live.fetched.as_deref(),
            System::Installed(_) => None,
        }
    }

    /// The kernel that boots.
    pub fn kernel(&self) -> &Content {
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
            System::Live(live) => &live.root.system,
            System::Installed(installed) => &installed.root,
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
                .system
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
                // A minimal ISO is not mounted: what its kernel needs of it, the boot loader has read.
                iso: live.iso.is_some() && live.fetched.is_none(),
                compression: Some(live.root.reader().facts().compressor.name()),
            },
            System::Installed(_) => Root::Disk {
                composefs: mounts_composefs(initramfs)?,
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
    if is_iso(&content) {
        return IsoParts::read(content)?.whole();
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

/// Whether a file is an ISO.
pub(super) fn is_iso(content: &Content) -> bool {
    let mut magic = [0; ISO_MAGIC.len()];
    content.read_at(ISO_MAGIC_OFFSET, &mut magic).is_ok() && magic == *ISO_MAGIC
}

/// The parts of a live ISO.
#[derive(Debug)]
pub(super) struct IsoParts {
    pub(super) reader: iso9660::Reader,
    pub(super) kernel: Content,
    pub(super) initrd: Content,
    /// None in a minimal ISO.
    pub(super) rootfs: Option<Content>,
}

impl IsoParts {
    /// Finds them.
    pub(super) fn read(content: Content) -> Result<Self> {
        let reader = iso9660::Reader::open(content)?;
        let part = |path: &str| {
            reader.file(path)?.ok_or_else(|| {
                let hint = "only live ISOs of CoreOS can be read";
                anyhow::Error::from(Failure::new(format!("there is no {path}"), hint))
            })
        };
        let parts = [part(ISO_KERNEL)?, part(ISO_INITRD)?];
        let rootfs = reader.file(ISO_ROOTFS)?;
        // A minimal ISO is told where its root is; a whole one, that the root is on it.
        if rootfs.is_none() && has_argument(&live_arguments(&reader)?, LIVE_ISO) {
            return Err(Failure::new(
                "there is no images/pxeboot/rootfs.img, and the kernel arguments say that there is",
                "only whole live ISOs, and minimal ones, can be read",
            )
            .into());
        }
        let [kernel, initrd] = parts;
        Ok(Self {
            reader,
            kernel,
            initrd,
            rootfs,
        })
    }

    /// The live system of an ISO that has its root in it.
    fn whole(self) -> Result<System> {
        let Some(rootfs) = self.rootfs else {
            return Err(Failure::new(
                "it is a minimal ISO, without a root file system",
                "name the root file system that it fetches with --rootfs",
            )
            .into());
        };
        let payload = Payload {
            kernel: self.kernel,
            initrd: self.initrd,
            rootfs,
        };
        Live::new(Some(self.reader), payload).map(|live| System::Live(Box::new(live)))
    }
}

/// Whether one of the kernel's arguments begins like this; several may be in one string.
pub(super) fn has_argument(arguments: &[String], start: &str) -> bool {
    let mut words = arguments.iter().flat_map(|text| text.split_whitespace());
    words.any(|word| word.starts_with(start))
}

/// What the first of the places that `coreos/kargs.json` names holds: the arguments of the media
/// themselves, or those that coreos-installer has put there.
pub(super) fn live_arguments(iso: &iso9660::Reader) -> Result<Vec<String>> {
    let Some(kargs) = iso.file(ISO_KARGS)? else {
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

fn open_pxe([kernel, initrd, rootfs]: &[PathBuf; 3]) -> Result<System> {
    let payload = Payload {
        kernel: whole(kernel)?,
        initrd: whole(initrd)?,
        rootfs: whole(rootfs)?,
    };
    Live::new(None, payload).map(|live| System::Live(Box::new(live)))
}

/// The whole of a file.
pub(super) fn whole(path: &Path) -> Result<Content> {
    let reading = || format!("opening {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    // Of a device, the metadata tells no length.
    let length = file.seek(SeekFrom::End(0)).with_context(reading)?;
    Ok(Content::range(Arc::new(file), 0, length))
}

/// The disk at `path`: the file or device itself, or what is in a qcow2 image.
pub fn disk_of(path: &Path) -> Result<Content> {
    let content = whole(path)?;
    match qcow2::Reader::probe(&content) {
        true => Ok(qcow2::Reader::open(content)?.into_content()),
        false => Ok(content),
    }
}

/// Names in a directory that are text, sorted.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .with_context(|| format!("reading directory {}", directory.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Whether a file's name is that of an ISO or a disk image, packed or not.
pub(super) fn is_other_medium(name: &str) -> bool {
    [".iso", ".raw", ".qcow2"]
        .iter()
        .any(|ending| name.contains(ending))
}

/// The files of the one PXE set in a directory.
pub(super) fn pxe_parts(directory: &Path) -> Result<[PathBuf; 3]> {
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
