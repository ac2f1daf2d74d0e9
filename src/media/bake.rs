//! From an image to a directory of media: a plan, then its execution.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::compression::{self, Choice};
use super::customize::Customization;
use super::drivers::{self, Presence};
use super::iso::{self, Iso, Payload};
use super::live;
use super::medium::Medium;
use super::pxe;
use super::record::{self, Artifact};
use super::source::Source;
use super::staging::Staging;
use crate::failure::Failure;
use crate::format::squashfs::{self, Compressor};
use crate::kernel::{self, Initramfs, Verdict};
use crate::progress::Progress;
use crate::sysroot::{self, Settings, Sysroot};

/// A kind of medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A live ISO for CDs, virtual media and USB sticks.
    Iso,
    /// Kernel, initramfs and root file system for network boot.
    Pxe,
}

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "iso" => Ok(Self::Iso),
            "pxe" => Ok(Self::Pxe),
            other => bail!("{other:?} is no medium; there are iso and pxe"),
        }
    }
}

/// What the user asks for, apart from the image.
#[derive(Debug)]
pub struct Request {
    /// Media to write.
    pub formats: BTreeSet<Format>,
    /// Drivers that have to be there.
    pub drivers: Vec<String>,
    /// Bake even if one is missing.
    pub allow_missing_driver: bool,
    /// How to compress the live root.
    pub compression: Choice,
    /// Head of file names instead of name and version of the operating system.
    pub prefix: Option<String>,
    /// Where PXE clients will fetch the root file system.
    pub rootfs_url: Option<String>,
    /// What the media shall carry.
    pub customization: Customization,
    /// Threads to compress with.
    pub threads: NonZeroUsize,
}

/// Everything decided: which files, from what, how.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Head of every file name.
    pub prefix: String,
    /// Media to write.
    pub formats: BTreeSet<Format>,
    /// The kernel that boots.
    pub kernel: String,
    /// The ISO's volume id.
    pub volume_id: String,
    /// The live root's compressor, `zstd:15`.
    #[serde(serialize_with = "as_text")]
    pub compressor: Compressor,
    /// The live root's block size in bytes.
    pub block_size: u32,
    /// Kernel arguments of live boots.
    pub live_kargs: String,
    /// What the deployment's origin will say.
    pub origin: String,
    /// Files that will be written.
    pub files: Vec<String>,
    /// Bytes of file contents in the image.
    pub content_bytes: u64,
    /// The drivers asked for, as they are in the image.
    pub drivers: Vec<Presence>,
    #[serde(skip)]
    names: Names,
}

fn as_text<S: serde::Serializer>(
    compressor: &Compressor,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(compressor)
}

/// File names in the output directory.
#[derive(Clone, Debug)]
struct Names {
    iso: String,
    kernel: String,
    initrd: String,
    rootfs: String,
    ipxe: String,
    pxelinux: String,
    grub: String,
}

/// Names of what describes the media.
const CHECKSUMS: &str = "sha256sum.txt";
const STREAM: &str = "stream.json";
const RECORD: &str = "bake.json";

impl Names {
    fn new(prefix: &str, arch: &str) -> Self {
        Self {
            iso: format!("{prefix}-live-iso.{arch}.iso"),
            kernel: format!("{prefix}-live-kernel.{arch}"),
            initrd: format!("{prefix}-live-initramfs.{arch}.img"),
            rootfs: format!("{prefix}-live-rootfs.{arch}.img"),
            ipxe: format!("{prefix}-live.{arch}.ipxe"),
            pxelinux: format!("{prefix}-live.{arch}.pxelinux.cfg"),
            grub: format!("{prefix}-live.{arch}.grub.cfg"),
        }
    }

    /// The files of the media, and what each is; descriptions last.
    fn of(&self, formats: &BTreeSet<Format>) -> Vec<(String, &'static str)> {
        let mut files = Vec::new();
        if formats.contains(&Format::Iso) {
            files.push((self.iso.clone(), "iso"));
        }
        if formats.contains(&Format::Pxe) {
            files.extend([
                (self.kernel.clone(), "kernel"),
                (self.initrd.clone(), "initramfs"),
                (self.rootfs.clone(), "rootfs"),
                (self.ipxe.clone(), "config"),
                (self.pxelinux.clone(), "config"),
                (self.grub.clone(), "config"),
            ]);
        }
        files
    }
}

/// What came of a bake.
#[derive(Debug)]
pub struct Baked {
    /// The files written.
    pub artifacts: Vec<Artifact>,
    /// The drivers asked for, as found in the finished media.
    pub drivers: Vec<Presence>,
    /// The record, as in `bake.json`.
    pub record: Value,
}

impl Plan {
    /// Decides everything, and refuses what can't come out right.
    pub fn new(source: &Source, request: &Request, progress: &dyn Progress) -> Result<Self> {
        let facts = &source.facts;
        let initrd = &facts.kernel.initramfs;
        let drivers = drivers::check(
            initrd,
            &source.imported.tree,
            &facts.kernel.release,
            &request.drivers,
        )?;
        if !request.allow_missing_driver {
            refuse_missing(&drivers, "the image")?;
        }
        let (compressor, block_size) = compression::choose(request.compression, &facts.image)?;
        check_mountable(source, compressor, progress)?;

        let prefix = request.prefix.clone().unwrap_or_else(|| facts.prefix());
        if prefix.is_empty() || prefix.contains('/') || prefix.starts_with('.') {
            bail!("{prefix:?} can't be the head of file names");
        }
        let names = Names::new(&prefix, &facts.architecture);
        let files = names
            .of(&request.formats)
            .into_iter()
            .map(|(name, _)| name)
            .chain([CHECKSUMS, STREAM, RECORD].map(str::to_owned))
            .collect();
        Ok(Self {
            prefix,
            formats: request.formats.clone(),
            kernel: facts.kernel.release.clone(),
            volume_id: iso::volume_id(facts),
            compressor,
            block_size,
            live_kargs: pxe_kargs(source, &request.customization)?,
            origin: source.origin.to_string(),
            files,
            content_bytes: source.content_bytes,
            drivers,
            names,
        })
    }

    /// Writes the media into `staging` and gives them their final names.
    pub fn execute(
        self,
        source: &Source,
        request: &Request,
        staging: Staging,
        progress: &dyn Progress,
    ) -> Result<Baked> {
        staging.check_free(self.files.iter().map(String::as_str))?;
        let sysroot = self.lay_out(source)?;
        let payload = self.write_live(source, &sysroot, request, &staging, progress)?;
        if self.formats.contains(&Format::Iso) {
            self.write_iso(source, &sysroot, request, &payload, &staging, progress)?;
        }
        if self.formats.contains(&Format::Pxe) {
            self.write_pxe(source, request, &payload, &staging)?;
        }

        let drivers = self.verify(source, request, &staging, progress)?;
        let artifacts = self.checksums(&staging, progress)?;
        let record = record::bake_json(source, &artifacts, &drivers, &self.options(request));
        let texts = [
            (CHECKSUMS, record::checksums(&artifacts)),
            (
                STREAM,
                pretty(&record::stream_json(
                    source,
                    &artifacts,
                    &source.created_text(),
                ))?,
            ),
            (RECORD, pretty(&record)?),
        ];
        for (name, text) in texts {
            write_text(&staging, name, &text)?;
        }
        staging.publish(&self.files)?;
        Ok(Baked {
            artifacts,
            drivers,
            record,
        })
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
                platform: "metal".to_owned(),
            },
        )
        .context("laying out the deployed system")
    }

    /// Writes rootfs.img and the live initramfs, under the names they have in a PXE set.
    fn write_live(
        &self,
        source: &Source,
        sysroot: &Sysroot,
        request: &Request,
        staging: &Staging,
        progress: &dyn Progress,
    ) -> Result<Payload> {
        let tree = live::root(sysroot)?;
        let options = squashfs::Options {
            compressor: self.compressor,
            block_size: self.block_size,
            threads: request.threads,
            time: u32::try_from(source.image.created.unwrap_or(0)).unwrap_or(u32::MAX),
        };
        progress.begin(
            &format!("compressing the root ({})", self.compressor),
            self.content_bytes,
        );
        let rootfs = Arc::new(staging.create(&self.names.rootfs)?);
        live::write_rootfs(&tree, &source.facts, &options, &rootfs, progress)?;
        progress.end();

        let mut initrd = staging.create(&self.names.initrd)?;
        live::write_initrd(
            &source.facts.kernel.initramfs,
            &source.facts,
            &rootfs,
            request.threads.get(),
            &mut initrd,
        )?;
        Ok(Payload {
            kernel: source.facts.kernel.vmlinuz.clone(),
            initrd: iso::content_of(&Arc::new(initrd))?,
            rootfs: iso::content_of(&rootfs)?,
        })
    }

    fn write_iso(
        &self,
        source: &Source,
        sysroot: &Sysroot,
        request: &Request,
        payload: &Payload,
        staging: &Staging,
        progress: &dyn Progress,
    ) -> Result<()> {
        let iso = Iso::compose(
            &source.imported.tree,
            &source.facts,
            &sysroot.kargs,
            source.image.created.unwrap_or(0),
        )?;
        progress.begin("writing the ISO", payload.rootfs.len());
        let out = staging.create(&self.names.iso)?;
        iso.write(payload, &out, progress)
            .context("writing the ISO")?;
        progress.end();
        drop(out);
        request
            .customization
            .apply_to_iso(&staging.path(&self.names.iso))
    }

    fn write_pxe(
        &self,
        source: &Source,
        request: &Request,
        payload: &Payload,
        staging: &Staging,
    ) -> Result<()> {
        let mut kernel = staging.create(&self.names.kernel)?;
        io::copy(&mut payload.kernel.reader(), &mut kernel).context("writing the kernel")?;
        let menu = pxe::Menu {
            title: &source.facts.pretty_name,
            kernel: &self.names.kernel,
            initrd: &self.names.initrd,
            rootfs: &self.names.rootfs,
            rootfs_url: request.rootfs_url.as_deref(),
            kargs: &self.live_kargs,
        };
        write_text(staging, &self.names.ipxe, &menu.ipxe())?;
        write_text(staging, &self.names.pxelinux, &menu.pxelinux())?;
        write_text(staging, &self.names.grub, &menu.grub())?;
        if request.customization.changes_initrd() {
            let plain = staging.path(&self.names.initrd);
            let customized = staging.path("customized-initramfs");
            request.customization.apply_to_initrd(&plain, &customized)?;
            std::fs::rename(&customized, &plain).context("naming the customized initramfs")?;
        }
        Ok(())
    }

    /// Parses what was written back, and looks for the drivers in it.
    fn verify(
        &self,
        source: &Source,
        request: &Request,
        staging: &Staging,
        progress: &dyn Progress,
    ) -> Result<Vec<Presence>> {
        let mut found: Vec<Presence> = Vec::new();
        let media = [
            (Format::Iso, staging.path(&self.names.iso)),
            (Format::Pxe, staging.directory().to_owned()),
        ];
        progress.begin("checking the media", 0);
        for (_, path) in media
            .iter()
            .filter(|(format, _)| self.formats.contains(format))
        {
            let medium = Medium::open(path)?;
            let table = drivers::check(
                &medium.payload.initrd,
                &medium.root()?,
                &source.facts.kernel.release,
                &request.drivers,
            )?;
            if !request.allow_missing_driver {
                refuse_missing(&table, "what was written")?;
            }
            // Worse beats better where two media disagree.
            if found.is_empty() || table.iter().any(|p| !p.finding.is_present()) {
                found = table;
            }
        }
        progress.end();
        Ok(found)
    }

    /// Sizes and checksums of the media, by as many threads as there are files.
    fn checksums(&self, staging: &Staging, progress: &dyn Progress) -> Result<Vec<Artifact>> {
        progress.begin("computing checksums", 0);
        let files = self.names.of(&self.formats);
        let artifacts = std::thread::scope(|scope| {
            let workers: Vec<_> = files
                .iter()
                .map(|(name, role)| scope.spawn(move || artifact(staging, name, role)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("hashing does not panic"))
                .collect()
        });
        progress.end();
        artifacts
    }

    fn options(&self, request: &Request) -> BTreeMap<&'static str, Value> {
        BTreeMap::from([
            ("compression", json!(self.compressor.to_string())),
            ("block-size", json!(self.block_size)),
            ("formats", json!(self.formats)),
            ("live-kargs", json!(self.live_kargs)),
            ("origin", json!(self.origin)),
            ("rootfs-url", json!(request.rootfs_url)),
            ("customized", json!(!request.customization.is_empty())),
        ])
    }
}

/// Kernel arguments for a live boot over the network: those of the ISO but for where its root is.
fn pxe_kargs(source: &Source, customization: &Customization) -> Result<String> {
    let extra = &source.facts.image.extra_kargs;
    let kargs: Vec<String> = extra
        .iter()
        .cloned()
        .chain(["ignition.firstboot", "ignition.platform.id=metal"].map(str::to_owned))
        .collect();
    customization.edit_kargs(&kargs.join(" "))
}

/// Refuses an image whose initramfs could not mount what we are going to write.
fn check_mountable(source: &Source, compressor: Compressor, progress: &dyn Progress) -> Result<()> {
    let kernel = &source.facts.kernel;
    let initramfs =
        Initramfs::read(kernel.initramfs.reader()).context("reading the image's initramfs")?;
    let algorithm = algorithm(compressor);
    match kernel::mount_support(
        &initramfs,
        &source.imported.tree,
        &kernel.release,
        algorithm,
    )? {
        Verdict::Yes(_) => Ok(()),
        Verdict::Unknown(reason) => {
            progress.warn(&format!(
                "can't tell whether the live initramfs mounts a squashfs compressed with {algorithm}: {reason}"
            ));
            Ok(())
        }
        Verdict::No(reason) => Err(Failure::new(
            format!(
                "the image's initramfs can't mount a squashfs compressed with {algorithm}: {reason}"
            ),
            "rebuild the initramfs with squashfs and loop in it, or choose another --compression",
        )
        .into()),
    }
}

/// What the kernel calls a compressor's format, whatever the level.
fn algorithm(compressor: Compressor) -> &'static str {
    match compressor {
        Compressor::Zstd { .. } => "zstd",
        Compressor::Gzip { .. } => "gzip",
        Compressor::Xz => "xz",
    }
}

fn refuse_missing(table: &[Presence], place: &str) -> Result<()> {
    let missing: Vec<String> = table
        .iter()
        .filter(|p| !p.finding.is_present())
        .map(|p| {
            format!(
                "{} at {} ({})",
                p.driver,
                p.stage.name(),
                p.finding.reason()
            )
        })
        .collect();
    match drivers::repair(table) {
        None => Ok(()),
        Some(hint) => Err(Failure::new(
            format!("in {place}, drivers are missing: {}", missing.join("; ")),
            hint,
        )
        .into()),
    }
}

fn artifact(staging: &Staging, name: &str, role: &str) -> Result<Artifact> {
    let path = staging.path(name);
    let file = Arc::new(File::open(&path).with_context(|| format!("opening {}", path.display()))?);
    Ok(Artifact {
        name: name.to_owned(),
        role: role.to_owned(),
        size: file.metadata()?.len(),
        sha256: live::sha256(&file).with_context(|| format!("reading {}", path.display()))?,
    })
}

fn pretty(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn write_text(staging: &Staging, name: &str, text: &str) -> Result<()> {
    let mut file = staging.create(name)?;
    io::copy(&mut text.as_bytes(), &mut file).with_context(|| format!("writing {name}"))?;
    Ok(())
}
