//! What a medium tells of where it comes from, and of what was put into it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::layout::{IGNITION_INFO, IgnitionInfo};
use super::live_root::ORIGIN_LIMIT;
use super::medium::{Medium, System, live_arguments, pxe_parts};
use super::place::Found;
use super::rootfs::sha256;
use crate::format::iso9660;
use crate::kernel::Initramfs;
use crate::record::{self, Record};
use crate::tree::{Content, Follow, Look};

/// Where a system keeps what it was made of, on its physical root (osbuild
/// `stages/org.osbuild.ostree.aleph`).
const ALEPH: &str = ".aleph-version.json";

/// The Ignition config in a live system's initramfs, and in what is embedded in an ISO.
const LIVE_CONFIG: &str = "config.ign";

/// The same on an installed system's `/boot`.
const INSTALLED_CONFIG: &str = "ignition/config.ign";

/// Longest description of where the config goes, and longest area for one, in bytes.
const INFO_MAX_BYTES: u64 = 64 << 10;
const AREA_MAX_BYTES: u64 = 64 << 20;

/// The image that a system was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MadeOf {
    /// What it was called.
    pub name: Option<String>,
    /// Digest of its manifest.
    pub manifest_digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Aleph {
    container_image: Option<AlephImage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct AlephImage {
    image_name: Option<String>,
    image_digest: Option<String>,
}

/// An Ignition config that a medium carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ignition {
    /// Whether there is one.
    pub embedded: bool,
    /// Its length in bytes.
    pub config_bytes: Option<u64>,
    /// Bytes for it and all that comes with it; only ISOs have a limit.
    pub area_bytes: Option<u64>,
    /// How many of those are taken.
    pub used_bytes: Option<u64>,
}

/// The record of the bake that a medium is of, if it lies beside it.
#[derive(Debug)]
pub enum Beside {
    /// There is none.
    Nothing,
    /// It is of other media, or can't be read: a sentence.
    Other(String),
    /// It names these very bytes.
    Of(PathBuf, Box<Record>),
}

impl Medium {
    /// The image that the system was made of, as it remembers it.
    pub fn made_of(&self) -> Result<MadeOf> {
        let bytes = match &self.system {
            System::Live(live) => live
                .root
                .reader()
                .read_file(ALEPH, Follow::Last, ORIGIN_LIMIT),
            System::Installed(installed) => {
                let tree = &installed.root.tree;
                tree.read_file(ALEPH, Follow::Last, ORIGIN_LIMIT)
            }
        }?;
        // Systems from before containers tell of a commit alone, each in its own way.
        let aleph = bytes.and_then(|bytes| serde_json::from_slice::<Aleph>(&bytes).ok());
        let image = aleph.and_then(|aleph| aleph.container_image);
        Ok(image.map_or_else(MadeOf::default, |image| MadeOf {
            name: image.image_name,
            manifest_digest: image.image_digest,
        }))
    }

    /// The Ignition config that it carries.
    pub fn ignition(&self) -> Result<Ignition> {
        match &self.system {
            System::Live(live) => match &live.iso {
                Some(iso) => in_iso(iso),
                None => {
                    let initramfs = Initramfs::read(live.payload.initrd.reader());
                    Ok(in_initramfs(&initramfs.context("reading the initramfs")?))
                }
            },
            System::Installed(installed) => {
                let boot = &installed.boot;
                let found = boot.lookup(INSTALLED_CONFIG, Follow::Last)?;
                let config = found.map(|entry| boot.to_vec(&entry, AREA_MAX_BYTES));
                let bytes = config.transpose()?.map(|config| config.len() as u64);
                Ok(Ignition {
                    embedded: bytes.is_some(),
                    config_bytes: bytes,
                    ..Ignition::default()
                })
            }
        }
    }
}

impl Found {
    /// The Ignition config that it carries.
    pub fn ignition(&self) -> Result<Ignition> {
        match self {
            Self::Whole(medium) => medium.ignition(),
            Self::Rootless(rootless) => in_iso(&rootless.iso),
        }
        .context("looking for an Ignition config")
    }

    /// The kernel's arguments, one an item.
    pub fn arguments(&self) -> Result<Vec<String>> {
        let arguments = match self {
            Self::Whole(medium) => medium.arguments()?,
            Self::Rootless(rootless) => live_arguments(&rootless.iso)?,
        };
        let words = arguments.iter().flat_map(|text| text.split_whitespace());
        Ok(words.map(str::to_owned).collect())
    }

    /// The record that lies beside it, if it is of these very bytes: coreos-installer changes ISOs in place,
    /// so neither name nor length would tell.
    pub fn record_beside(&self) -> Result<Beside> {
        let path = self.path();
        let (directory, files) = match path.is_dir() {
            true => (path, pxe_parts(path)?.to_vec()),
            false => (
                path.parent().unwrap_or(Path::new(".")),
                vec![path.to_owned()],
            ),
        };
        let place = directory.join(record::NAME);
        if !place.is_file() {
            return Ok(Beside::Nothing);
        }
        let record = match Record::read(&place) {
            Ok(record) => record,
            Err(error) => return Ok(Beside::Other(format!("{error:#}"))),
        };
        for file in &files {
            if !is_of(&record, file)? {
                return Ok(Beside::Other(format!(
                    "{} does not name {} as it is: it is of another bake, or was changed since",
                    place.display(),
                    file.display()
                )));
            }
        }
        Ok(Beside::Of(place, Box::new(record)))
    }
}

/// Whether a bake has written these bytes.
fn is_of(record: &Record, path: &Path) -> Result<bool> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata()?.len();
    let candidates: Vec<_> = record.files.iter().filter(|f| f.size == length).collect();
    if candidates.is_empty() {
        return Ok(false);
    }
    let sum = sha256(&Arc::new(file));
    let sum = sum.with_context(|| format!("reading {}", path.display()))?;
    Ok(candidates.iter().any(|file| file.sha256 == sum))
}

fn in_iso(iso: &iso9660::Reader) -> Result<Ignition> {
    let info = match iso.file(IGNITION_INFO)? {
        Some(text) => serde_json::from_slice(&text.to_vec(INFO_MAX_BYTES)?)
            .with_context(|| format!("parsing {IGNITION_INFO}"))?,
        None => IgnitionInfo::default(),
    };
    let Some(file) = iso.file(&info.file)? else {
        return Ok(Ignition::default());
    };
    let room = file.len().saturating_sub(info.offset);
    let length = info.length.unwrap_or(room);
    ensure!(
        length <= room && length <= AREA_MAX_BYTES,
        "{IGNITION_INFO} says that {length} bytes of {} are for it, which has {room}",
        info.file
    );
    let area = file.slice(info.offset, length);
    let area = area.with_context(|| format!("reading {}", info.file))?;
    let bytes = area.to_vec(AREA_MAX_BYTES)?;
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    if used == 0 {
        return Ok(Ignition {
            area_bytes: Some(length),
            used_bytes: Some(0),
            ..Ignition::default()
        });
    }
    let inside = Initramfs::read(Content::bytes(bytes).reader())
        .with_context(|| format!("unpacking {}", info.file))?;
    Ok(Ignition {
        area_bytes: Some(length),
        used_bytes: Some(used as u64),
        ..in_initramfs(&inside)
    })
}

fn in_initramfs(initramfs: &Initramfs) -> Ignition {
    let mut entries = initramfs.entries();
    let config = entries.find(|(path, _)| *path == LIVE_CONFIG);
    Ignition {
        embedded: config.is_some(),
        config_bytes: config.and_then(|(_, bytes)| bytes),
        ..Ignition::default()
    }
}
