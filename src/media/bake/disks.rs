//! Disk images: composed, hashed and written side by side, each in one pass.

use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

use super::Bake;
use crate::format::gpt::SectorSize;
use crate::format::qcow2;
use crate::format::sparse::SparseRead;
use crate::media::Request;
use crate::media::disk::{Composed, Contents};
use crate::media::iso;
use crate::media::live::Osmet;
use crate::media::names::Format;
use crate::os::Source;
use crate::sysroot::{Platform, Sysroot};
use crate::tree::Content;

/// Raw images, and the sector sizes of the disks they are for.
const RAW: [(Format, SectorSize); 2] = [
    (Format::Metal, SectorSize::B512),
    (Format::Metal4k, SectorSize::B4096),
];

/// A raw image that was composed. Live media rebuild it from osmet files; a file of its own is
/// written only if it was asked for.
pub(super) struct Disk {
    format: Format,
    composed: Composed,
    sha256: [u8; 32],
}

impl Disk {
    /// Its bytes, whether or not they were written as they are.
    pub(super) fn content(&self) -> Content {
        let image = self.composed.image.clone();
        let len = image.len();
        Content::composed(Arc::new(image), len)
    }
}

/// The disk images.
#[derive(Default)]
pub(super) struct Disks {
    pub(super) raw: Vec<Disk>,
    /// Checksum of the qcow2 file, where it is known.
    qcow2: Option<[u8; 32]>,
}

impl Disks {
    /// The raw disk of that format.
    pub(super) fn raw(&self, format: Format) -> Option<&Disk> {
        self.raw.iter().find(|disk| disk.format == format)
    }

    /// Checksum of the disk of that format as it was composed; of a qcow2 image, that of the file.
    pub(super) fn checksum(&self, format: Format) -> Option<[u8; 32]> {
        match format {
            Format::Qcow2 => self.qcow2,
            format => self.raw(format).map(|disk| disk.sha256),
        }
    }
}

/// What is to be on a disk for a platform.
pub(super) fn contents(
    sysroot: &Sysroot,
    platform: Platform,
    source: &Source,
    request: &Request,
) -> Result<Contents> {
    Contents::new(
        sysroot,
        platform,
        &source.imported.tree,
        &source.facts,
        source.policy.as_deref(),
        request.disk_bytes,
    )
}

impl Bake<'_> {
    /// Writes the disk images that are asked for, and composes those that live media install.
    pub(super) fn write_disks(&self, sysroot: &Sysroot) -> Result<Disks> {
        let contents = |platform| contents(sysroot, platform, self.source, self.request);
        let live = self.plan.has_live();
        let wanted = RAW.map(|(format, _)| self.wants(format)).contains(&true);
        let metal = match wanted || live {
            true => contents(Platform::Metal).map(Some),
            false => Ok(None),
        };
        let metal = match metal {
            Ok(contents) => contents,
            // Nobody asked for a disk, and booting needs none.
            Err(error) if !wanted && !self.wants(Format::Qcow2) => {
                self.progress.warn(&format!(
                    "these media can't install without a network: {error:#}"
                ));
                None
            }
            Err(error) => return Err(error),
        };
        let qemu = match self.wants(Format::Qcow2) {
            true => Some(contents(Platform::Qemu)?),
            false => None,
        };
        let raw: Vec<_> = RAW
            .into_iter()
            .filter(|(format, _)| metal.is_some() && (live || self.wants(*format)))
            .collect();
        let images = (raw.len() + usize::from(qemu.is_some())) as u64;
        if images == 0 {
            return Ok(Disks::default());
        }
        let phase = match wanted || qemu.is_some() {
            true => "writing disk images",
            false => "composing what the live system installs",
        };
        self.progress.begin(phase, images * self.plan.content_bytes);
        let disks = thread::scope(|scope| {
            let mut workers = Vec::new();
            if let Some(contents) = &metal {
                for (format, sector_size) in raw {
                    workers
                        .push(scope.spawn(move || self.write_raw(contents, format, sector_size)));
                }
            }
            let qemu = qemu
                .as_ref()
                .map(|contents| scope.spawn(|| self.write_qcow2(contents)));
            let raw = workers
                .into_iter()
                .map(|worker| worker.join().expect("writing a disk does not panic"))
                .collect::<Result<_>>();
            let qcow2 = qemu.map_or(Ok(None), |worker| {
                worker.join().expect("writing a disk does not panic")
            });
            Ok(Disks {
                raw: raw?,
                qcow2: qcow2?,
            })
        });
        self.progress.end();
        disks
    }

    fn write_raw(
        &self,
        contents: &Contents,
        format: Format,
        sector_size: SectorSize,
    ) -> Result<Disk> {
        let names = &self.plan.names;
        let name = match format {
            Format::Metal4k => &names.metal4k,
            _ => &names.metal,
        };
        let composed = contents.compose(sector_size, self.staging.scratch_file()?)?;
        let out = match self.wants(format) {
            true => Some(self.staging.create(name)?),
            false => None,
        };
        let archive = self.request.archive;
        let advance = |bytes| self.progress.advance(bytes);
        let image = &composed.image;
        let sha256 = match &out {
            Some(out) if !archive.is_none() => archive
                .write(image, out, self.request.threads, &advance)
                .and_then(|()| image.sha256(None, &|_| ())),
            out => image.sha256(out.as_ref(), &advance),
        }
        .with_context(|| format!("writing {name}"))?;
        Ok(Disk {
            format,
            composed,
            sha256,
        })
    }

    /// The disk is as large as the image asks for.
    fn write_qcow2(&self, contents: &Contents) -> Result<Option<[u8; 32]>> {
        let composed = contents.compose(SectorSize::B512, self.staging.scratch_file()?)?;
        let wanted = match self.request.disk_bytes {
            None => self.source.facts.image.disk_bytes()?.unwrap_or(0),
            Some(_) => 0,
        };
        let name = &self.plan.names.qcow2;
        qcow2::write(
            &composed.image,
            wanted.max(composed.image.len()),
            self.request.qcow2,
            self.request.threads.get(),
            &self.staging.create(name)?,
            &|bytes| self.progress.advance(bytes),
        )
        .with_context(|| format!("writing {name}"))
    }

    /// The members of rootfs.img from which a live system rebuilds the metal images.
    pub(super) fn pack_osmet(&self, disks: &[Disk]) -> Result<Vec<Osmet>> {
        thread::scope(|scope| {
            let workers: Vec<_> = disks
                .iter()
                .map(|disk| {
                    scope.spawn(move || -> Result<Osmet> {
                        let mut file = self.staging.scratch_file()?;
                        disk.composed
                            .write_osmet(&disk.sha256, &self.source.facts, &mut file)?;
                        Ok(Osmet {
                            name: match disk.format {
                                Format::Metal4k => self.plan.names.osmet4k.clone(),
                                _ => self.plan.names.osmet.clone(),
                            },
                            content: iso::content_of(&Arc::new(file))?,
                        })
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("packing does not panic"))
                .collect()
        })
    }
}
