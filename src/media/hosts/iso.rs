//! An ISO for each host: the one that was baked, with another embed area.
//!
//! ```text
//! coreos/igninfo.json  file, offset, length: where the overlay goes, zeros behind it
//! coreos/kargs.json    where the live system's kernel arguments are
//! ```
//!
//! Both areas are written in place, so that a copy that shares its blocks with the original goes on
//! sharing all others.
//!
//! Reader: coreos-installer `src/live/embed.rs`; osbuild writes these files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libcoreinst::cmdline::IsoKargsModifyConfig;
use libcoreinst::iso9660::{IsoFs, NotFound};
use libcoreinst::live::iso_kargs_modify;

use super::overlay::{Overlays, customized};
use super::share::share;
use crate::failure::Failure;
use crate::hosts::Host;
use crate::media::customize::utf8;
use crate::progress::Progress;
use crate::readback::IgnitionInfo;

/// Names as ISO 9660 has them, eight letters and three.
const IGNINFO: &str = "COREOS/IGNINFO.JSO";
const FEATURES: &str = "COREOS/FEATURES.JSO";

/// Both are a few hundred bytes.
const MAX_JSON_BYTES: u64 = 1 << 20;

/// Bakes make it 256 KiB; somebody may need more, but it is held in memory.
const MAX_AREA_BYTES: u64 = 64 << 20;

/// An ISO that was baked.
#[derive(Debug)]
pub(super) struct BakedIso {
    path: PathBuf,
    file: File,
    overlays: Overlays,
    area: Area,
}

/// Where in the ISO the overlay goes, in bytes.
#[derive(Clone, Copy, Debug)]
struct Area {
    offset: u64,
    length: u64,
}

impl BakedIso {
    /// Opens the ISO at `path`, which nobody has customized yet.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("opening {shown}"))?;
        let mut iso = IsoFs::from_file(file.try_clone().context("opening a file twice")?)
            .with_context(|| format!("reading ISO {shown}"))?;
        let features = read_small(&mut iso, FEATURES)
            .with_context(|| format!("reading the features of {shown}"))?;
        let area = area(&mut iso).with_context(|| format!("finding the embed area of {shown}"))?;
        if has_settings(&file, area, path)? {
            return Err(customized(path));
        }
        Ok(Self {
            path: path.to_owned(),
            overlays: Overlays::new(features.as_deref())?,
            file,
            area,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What goes into the embed area for `host`.
    pub(super) fn overlay(&self, host: &Host) -> Result<Vec<u8>> {
        let overlay = self.overlays.for_iso(host)?.unwrap_or_default();
        let bytes = u64::try_from(overlay.len())?;
        if bytes > self.area.length {
            return Err(Failure::new(
                format!(
                    "the settings of host {:?} have {bytes} bytes compressed, and the ISO has room for {}",
                    host.name, self.area.length
                ),
                "install an Ignition config that fetches the large one by URL, boot over the network, or bake \
                 an ISO with a larger --ignition-area",
            )
            .into());
        }
        Ok(overlay)
    }

    /// Makes `out`, the empty file at `path`, the ISO of `host`. Tells whether it shares its blocks.
    pub(super) fn write(
        &self,
        host: &Host,
        mut out: File,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<bool> {
        let overlay = self.overlay(host)?;
        let shared = share(&self.file, &mut out, progress)
            .with_context(|| format!("copying {}", self.path.display()))?;
        if !host.kargs.is_empty() {
            iso_kargs_modify(IsoKargsModifyConfig {
                append: host.kargs.clone(),
                replace: Vec::new(),
                delete: Vec::new(),
                output: None,
                input: utf8(path)?,
            })
            .with_context(|| format!("writing kernel arguments of host {:?}", host.name))?;
        }
        // The area of the original is all zeros.
        out.write_all_at(&overlay, self.area.offset)
            .with_context(|| format!("writing settings of host {:?}", host.name))?;
        Ok(shared)
    }
}

/// Whether somebody put Ignition configs or network settings into the ISO at `path`.
pub fn iso_carries_settings(path: &Path) -> Result<bool> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("opening {shown}"))?;
    let mut iso = IsoFs::from_file(file.try_clone().context("opening a file twice")?)
        .with_context(|| format!("reading ISO {shown}"))?;
    let area = area(&mut iso).with_context(|| format!("finding the embed area of {shown}"))?;
    has_settings(&file, area, path)
}

fn has_settings(file: &File, area: Area, path: &Path) -> Result<bool> {
    let mut bytes = vec![0; usize::try_from(area.length)?];
    file.read_exact_at(&mut bytes, area.offset)
        .with_context(|| format!("reading the embed area of {}", path.display()))?;
    Ok(bytes.iter().any(|&byte| byte != 0))
}

fn area(iso: &mut IsoFs) -> Result<Area> {
    let info = match read_small(iso, IGNINFO)? {
        Some(json) => serde_json::from_slice(&json).context("reading coreos/igninfo.json")?,
        None => IgnitionInfo::default(),
    };
    let name = info.file.to_ascii_uppercase();
    let file = iso.get_path(&name)?.try_into_file()?;
    let room = u64::from(file.length).checked_sub(info.offset);
    let length = match (info.length, room) {
        (Some(length), Some(room)) if length <= room => length,
        (None, Some(room)) => room,
        _ => bail!("coreos/igninfo.json points beyond the end of {}", info.file),
    };
    if length > MAX_AREA_BYTES {
        bail!("it has {length} bytes, more than {MAX_AREA_BYTES}");
    }
    let offset = file
        .address
        .as_offset()
        .checked_add(info.offset)
        .context("coreos/igninfo.json points beyond every disk")?;
    Ok(Area { offset, length })
}

/// A small file of the ISO, if it is there.
fn read_small(iso: &mut IsoFs, name: &str) -> Result<Option<Vec<u8>>> {
    let file = match iso.get_path(name) {
        Ok(record) => record.try_into_file()?,
        Err(error) if error.is::<NotFound>() => return Ok(None),
        Err(error) => return Err(error),
    };
    if u64::from(file.length) > MAX_JSON_BYTES {
        bail!(
            "{name} has {} bytes, more than {MAX_JSON_BYTES}",
            file.length
        );
    }
    let mut bytes = Vec::new();
    iso.read_file(&file)?
        .take(MAX_JSON_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
