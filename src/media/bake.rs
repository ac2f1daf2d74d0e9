//! Executes a plan: from an image to a directory of media.

mod disks;

use std::fs::File;
use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;

use self::disks::Disks;
use super::iso::{self, Iso};
use super::live;
use super::miniso;
use super::names::{CHECKSUMS, Format, STREAM};
use super::plan::{Plan, refuse_missing, refuse_unmountable};
use super::proof::{Judge, Proven};
use super::request::Request;
use super::stream::stream;
use crate::format::squashfs;
use crate::netboot::{Menu, rootfs_url};
use crate::os::Source;
use crate::progress::Progress;
use crate::readback::{self, Medium, Payload};
use crate::record::{Artifact, Record, Unknown};
use crate::stages::{self, Presence};
use crate::staging::Staging;
use crate::sysroot::{self, Platform, Settings, Sysroot};

/// What came of a bake.
#[derive(Debug)]
pub struct Baked {
    /// The drivers asked for, as found in the finished media.
    pub drivers: Vec<Presence>,
    /// What the finished media have to mount their roots with.
    pub mounts: Vec<Presence>,
    /// The record, as in `bake.json`.
    pub record: Record,
    /// How many of the live root's blocks were in the cache, and how many were looked for there.
    pub remembered: (u64, u64),
}

/// Everything that the steps of a bake have in common.
pub(super) struct Bake<'a> {
    pub(super) plan: &'a Plan,
    pub(super) source: &'a Source,
    pub(super) request: &'a Request,
    staging: &'a Staging,
    progress: &'a dyn Progress,
}

impl Plan {
    /// Writes the media into `staging` and gives them their final names.
    pub fn execute(
        self,
        source: &Source,
        request: &Request,
        staging: Staging,
        progress: &dyn Progress,
    ) -> Result<Baked> {
        staging.check_free(self.files.iter().map(String::as_str))?;
        let estimate = &self.estimate;
        staging
            .room()
            .require(estimate.least_bytes, estimate.needed_bytes())?;
        let bake = Bake {
            plan: &self,
            source,
            request,
            staging: &staging,
            progress,
        };
        let baked = bake.run()?;
        staging.publish(&self.files)?;
        if let Some(cache) = &request.cache {
            cache.trim();
        }
        Ok(baked)
    }
}

impl Plan {
    /// Refuses a disk that is too short for the image, as [`Plan::execute`] would.
    ///
    /// # Errors
    /// One that says how long it has to be.
    pub fn check_disk(&self, source: &Source, request: &Request) -> Result<()> {
        if request.disk_bytes.is_none() || self.formats.iter().all(|format| format.is_live()) {
            return Ok(());
        }
        let sysroot = self.lay_out(source)?;
        disks::contents(&sysroot, Platform::Metal, source, request).map(drop)
    }

    fn lay_out(&self, source: &Source) -> Result<Sysroot> {
        sysroot::lay_out(
            &source.imported,
            &source.facts,
            source.policy.as_deref(),
            &Settings {
                origin: self.origin.clone(),
                image_name: source.origin.name.clone(),
                image_digest: source.image.manifest_digest.to_string(),
                time: source.image.created.unwrap_or(0),
            },
        )
        .context("laying out the deployed system")
    }
}

impl Bake<'_> {
    fn wants(&self, format: Format) -> bool {
        self.plan.formats.contains(&format)
    }

    fn run(&self) -> Result<Baked> {
        let sysroot = self.plan.lay_out(self.source)?;
        let disks = self.write_disks(&sysroot)?;
        if self.plan.has_live() {
            self.write_live_media(&sysroot, &disks)?;
        }

        let proven = self.verify(&disks)?;
        let artifacts = self.checksums(&disks)?;
        let record = self
            .record(artifacts.clone(), &proven, self.has_openshift())
            .context("composing the record")?;
        let texts = [
            (CHECKSUMS, checksums(&artifacts)),
            (
                STREAM,
                pretty(&stream(
                    &self.source.facts,
                    &artifacts,
                    &self.source.created_text(),
                ))?,
            ),
            (crate::record::NAME, record.text()?),
        ];
        for (name, text) in texts {
            self.write_text(name, &text)?;
        }
        Ok(Baked {
            drivers: proven.drivers,
            mounts: proven.mounts,
            record,
            remembered: self
                .request
                .cache
                .as_ref()
                .map_or((0, 0), |cache| cache.uses()),
        })
    }

    /// What `prepare` asks later. Media are none the worse for a database that nobody can read.
    fn has_openshift(&self) -> Option<bool> {
        let found = stages::has_openshift(&self.source.imported.tree);
        found.unwrap_or_else(|error| {
            self.progress.warn(&format!("{error:#}"));
            None
        })
    }

    fn write_live_media(&self, sysroot: &Sysroot, disks: &Disks) -> Result<()> {
        let payload = self.write_live(sysroot, disks)?;
        if self.wants(Format::Iso) || self.wants(Format::MinimalIso) {
            self.write_isos(sysroot, &payload)?;
        }
        if self.wants(Format::Pxe) {
            self.write_pxe(&payload)?;
        }
        Ok(())
    }

    /// Writes rootfs.img and the live initramfs, under the names they have in a PXE set.
    fn write_live(&self, sysroot: &Sysroot, disks: &Disks) -> Result<Payload> {
        let (plan, source) = (self.plan, self.source);
        let tree = live::root(sysroot, &source.facts)?;
        let options = squashfs::Options {
            compressor: plan.compressor,
            block_size: plan.block_size,
            threads: self.request.threads,
            time: u32::try_from(source.image.created.unwrap_or(0)).unwrap_or(u32::MAX),
            cache: self.request.cache.clone(),
        };
        self.progress.begin(
            &format!("compressing the root ({})", plan.compressor),
            plan.content_bytes,
        );
        let rootfs = Arc::new(self.staging.create(&plan.names.rootfs)?);
        live::write_rootfs(
            &tree,
            &source.facts,
            &options,
            || self.pack_osmet(&disks.raw),
            &rootfs,
            self.progress,
        )?;
        self.progress.end();

        let mut initrd = self.staging.create(&plan.names.initrd)?;
        live::write_initrd(
            &source.facts.kernel.initramfs,
            &source.facts,
            &rootfs,
            self.request.threads.get(),
            &mut initrd,
        )?;
        Ok(Payload {
            kernel: source.facts.kernel.vmlinuz.clone(),
            initrd: iso::content_of(&Arc::new(initrd))?,
            rootfs: iso::content_of(&rootfs)?,
        })
    }

    /// Writes the ISO, and the minimal one that is packed in it.
    fn write_isos(&self, sysroot: &Sysroot, payload: &Payload) -> Result<()> {
        let iso = Iso::compose(
            &self.source.imported.tree,
            &self.source.facts,
            &sysroot.kargs(&self.source.facts, Platform::Metal),
            self.request.ignition_area_bytes,
            self.source.image.created.unwrap_or(0),
        )?;
        self.progress.begin("writing the ISO", payload.rootfs.len());
        let out = self.staging.create(&self.plan.names.iso)?;
        iso.write(payload, &out, self.progress)
            .and_then(|()| {
                let minimal = self.staging.scratch_file()?;
                iso.write_minimal(payload, &minimal)?;
                miniso::pack(&out, &minimal)
            })
            .context("writing the ISO")?;
        self.progress.end();
        drop(out);
        let full = self.staging.path(&self.plan.names.iso);
        if self.wants(Format::MinimalIso) {
            let minimal = self.staging.path(&self.plan.names.minimal_iso);
            let url = self.request.rootfs_url.as_deref();
            let customization = &self.request.customization;
            if customization.is_empty() {
                miniso::extract(&full, &minimal, url)?;
            } else {
                // An ISO is customized once, so the URL comes with the rest.
                miniso::extract(&full, &minimal, None)?;
                let url = url.map(rootfs_url);
                customization.apply_with_kargs(&minimal, url.as_slice())?;
            }
        }
        self.request.customization.apply_to_iso(&full)
    }

    fn write_pxe(&self, payload: &Payload) -> Result<()> {
        let names = &self.plan.names;
        let mut kernel = self.staging.create(&names.kernel)?;
        io::copy(&mut payload.kernel.reader(), &mut kernel).context("writing the kernel")?;
        let menu = Menu {
            title: &self.source.facts.title(),
            kernel: &names.kernel,
            initrd: &names.initrd,
            overlay: None,
            rootfs: &names.rootfs,
            rootfs_url: self.request.rootfs_url.as_deref(),
            kargs: &self.plan.live_kargs,
        };
        self.write_text(&names.ipxe, &menu.ipxe())?;
        self.write_text(&names.pxelinux, &menu.pxelinux())?;
        self.write_text(&names.grub, &menu.grub())?;
        if self.request.customization.changes_initrd() {
            let plain = self.staging.path(&names.initrd);
            let customized = self.staging.path("customized-initramfs");
            self.request
                .customization
                .apply_to_initrd(&plain, &customized)?;
            std::fs::rename(&customized, &plain).context("naming the customized initramfs")?;
        }
        Ok(())
    }

    /// Parses what was written back, and looks for the drivers in it, and for what roots are mounted
    /// with.
    fn verify(&self, disks: &Disks) -> Result<Proven> {
        let names = &self.plan.names;
        let media = [
            (Format::Iso, self.staging.path(&names.iso)),
            (Format::MinimalIso, self.staging.path(&names.minimal_iso)),
            (Format::Pxe, self.staging.directory().to_owned()),
            (Format::Metal, self.staging.path(&names.metal)),
            (Format::Metal4k, self.staging.path(&names.metal4k)),
            (Format::Qcow2, self.staging.path(&names.qcow2)),
        ];
        self.progress.begin("checking the media", 0);
        let facts = &self.source.facts;
        let has_disks = self.plan.formats.iter().any(|format| !format.is_live());
        let mut judge = Judge::new(
            &self.request.drivers,
            &facts.kernel.release,
            self.request.nodes_only,
            has_disks,
        );
        for (format, path) in media {
            if !self.wants(format) {
                continue;
            }
            let medium = match disks.raw(format) {
                // Read as it was before it was packed.
                Some(disk) if self.packs(format) => Medium::of(&path, disk.content()),
                _ if format == Format::MinimalIso => {
                    Medium::open_minimal(&path, &self.staging.path(&names.rootfs))
                }
                _ => Medium::open(&path),
            };
            judge.look_into(format, &medium?)?;
        }
        self.progress.end();
        let proven = judge.finish(&facts.pretty_name);
        if !self.request.allow_missing_driver {
            refuse_missing(&proven.drivers, "what was written")?;
            refuse_unmountable(&proven.mounts, "what was written")?;
        }
        Ok(proven)
    }

    /// Sizes and checksums of the media, by as many threads as there are files.
    fn checksums(&self, disks: &Disks) -> Result<Vec<Artifact>> {
        self.progress.begin("computing checksums", 0);
        let files = self.plan.names.of(&self.plan.formats);
        let artifacts = std::thread::scope(|scope| {
            let workers: Vec<_> = files
                .iter()
                .map(|(name, role)| scope.spawn(move || self.artifact(name, role, disks)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("hashing does not panic"))
                .collect()
        });
        self.progress.end();
        artifacts
    }

    fn artifact(&self, name: &str, role: &str, disks: &Disks) -> Result<Artifact> {
        let names = &self.plan.names;
        // Disk images were hashed when they were composed.
        let format = [
            (&names.metal, Format::Metal),
            (&names.metal4k, Format::Metal4k),
            (&names.qcow2, Format::Qcow2),
        ]
        .into_iter()
        .find_map(|(known, format)| (known == name).then_some(format));
        let disk = format.and_then(|format| disks.checksum(format));
        let (known, uncompressed) = match format.is_some_and(|format| self.packs(format)) {
            true => (None, disk),
            false => (disk, None),
        };
        let path = self.staging.path(name);
        let file =
            Arc::new(File::open(&path).with_context(|| format!("opening {}", path.display()))?);
        Ok(Artifact {
            name: name.to_owned(),
            role: role.to_owned(),
            size: file.metadata()?.len(),
            sha256: match known {
                Some(sha256) => hex::encode(sha256),
                None => readback::sha256(&file)
                    .with_context(|| format!("reading {}", path.display()))?,
            },
            uncompressed_sha256: uncompressed.map(hex::encode),
            unknown: Unknown::new(),
        })
    }

    /// Whether files of that format hold a packed disk.
    fn packs(&self, format: Format) -> bool {
        matches!(format, Format::Metal | Format::Metal4k) && !self.request.archive.is_none()
    }

    fn write_text(&self, name: &str, text: &str) -> Result<()> {
        let mut file = self.staging.create(name)?;
        io::copy(&mut text.as_bytes(), &mut file).with_context(|| format!("writing {name}"))?;
        Ok(())
    }
}

fn pretty(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// `sha256sum.txt` in the form that `sha256sum --check` takes.
fn checksums(artifacts: &[Artifact]) -> String {
    artifacts
        .iter()
        .map(|artifact| format!("{}  {}\n", artifact.sha256, artifact.name))
        .collect()
}
