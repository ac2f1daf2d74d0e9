//! What a bake will do, decided before it does anything.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::compress::Archive;
use super::compression::{self, Choice};
use super::customize::Customization;
use super::estimate::Estimate;
use super::iso;
use super::names::{CHECKSUMS, Format, Names, STREAM, check_prefix};
use super::proof;
use super::source::Source;
use crate::cache::Cache;
use crate::failure::Failure;
use crate::format::qcow2;
use crate::format::squashfs::Compressor;
use crate::image::Image;
use crate::kernel::{Root, check_argument};
use crate::ostree::ContainerReference;
use crate::progress::Progress;
use crate::record;
use crate::stages::{self, Parts, Presence, Stage, System};
use crate::sysroot::{self, machine};
use crate::tree::Content;

/// What the user asks for, apart from the image.
#[derive(Debug)]
pub struct Request {
    /// Media to write.
    pub formats: BTreeSet<Format>,
    /// Besides those, every medium that can be made of the image.
    pub all_formats: bool,
    /// Drivers that have to be there.
    pub drivers: Vec<String>,
    /// Bake even if one is missing.
    pub allow_missing_driver: bool,
    /// Whether only nodes boot the media, and no bootstrap machine.
    pub nodes_only: bool,
    /// How to compress the live root.
    pub compression: Choice,
    /// How to compress metal images.
    pub archive: Archive,
    /// How to compress the clusters of a qcow2 image.
    pub qcow2: qcow2::Compression,
    /// Length of disk images in bytes, where they shall not be as long as upstream makes them.
    pub disk_bytes: Option<u64>,
    /// Room for Ignition configs in the ISO, in bytes, within [`IGNITION_AREA_BYTES`].
    pub ignition_area_bytes: u64,
    /// Head of file names instead of name and version of the operating system.
    pub prefix: Option<String>,
    /// Where PXE clients will fetch the root file system.
    pub rootfs_url: Option<String>,
    /// What the media shall carry.
    pub customization: Customization,
    /// Threads to compress with.
    pub threads: NonZeroUsize,
    /// Blocks of the live root that earlier bakes have compressed.
    pub cache: Option<Arc<Cache>>,
}

impl Request {
    /// Refuses what no image could be made into.
    ///
    /// # Errors
    /// One that says what is missing.
    pub fn check(&self) -> Result<()> {
        let named = self.formats.iter();
        let mut hindrances = named.filter_map(|format| hindrance(*format, self, None));
        hindrances
            .next()
            .map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// The media that are written for an architecture: of everything, what can be made.
    pub(super) fn formats_for(&self, architecture: &str) -> BTreeSet<Format> {
        let all = Format::ALL.into_iter().map(|(_, format)| format);
        let can_be = |format: &Format| hindrance(*format, self, Some(architecture)).is_none();
        let wanted = all.filter(|format| self.all_formats && can_be(format));
        wanted.chain(self.formats.iter().copied()).collect()
    }
}

/// Everything decided: which files, from what, how.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
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
    #[serde(serialize_with = "as_text")]
    pub origin: ContainerReference,
    /// Files that will be written.
    pub files: Vec<String>,
    /// Bytes of file contents in the image.
    pub content_bytes: u64,
    /// The drivers asked for, as they are in the image.
    pub drivers: Vec<Presence>,
    /// What the image's initramfs has to mount its roots with.
    pub mounts: Vec<Presence>,
    /// About how much room it takes.
    pub estimate: Estimate,
    #[serde(skip)]
    pub(super) names: Names,
}

impl Request {
    /// Names of files that are written, as far as they are known before the layers of the image are read: with
    /// `image`, those with the prefix that was asked for, too.
    pub fn known_files(&self, image: Option<&Image>) -> Vec<String> {
        let mut files = DESCRIPTIONS.map(str::to_owned).to_vec();
        if let (Some(prefix), Some(image)) = (&self.prefix, image) {
            let names = Names::new(prefix, machine(&image.architecture), self.archive);
            let formats = self.formats_for(machine(&image.architecture));
            files.extend(names.of(&formats).into_iter().map(|(name, _)| name));
        }
        files
    }

    /// About how much room a bake of `image` takes, before its layers are read.
    pub fn estimate(&self, image: &Image) -> Estimate {
        Estimate::before_reading(self, image)
    }
}

/// Files beside the media that describe them.
pub const DESCRIPTIONS: [&str; 3] = [CHECKSUMS, STREAM, record::NAME];

fn as_text<S: serde::Serializer>(
    value: &impl Display,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Plan {
    /// Decides everything, and refuses what can't come out right.
    pub fn new(source: &Source, request: &Request, progress: &dyn Progress) -> Result<Self> {
        let facts = &source.facts;
        let formats = formats(request, &facts.architecture, progress)?;
        let parts = Parts {
            initrd: &facts.kernel.initramfs,
            root: &source.imported.tree,
            release: &facts.kernel.release,
            arguments: &facts.image.extra_kargs,
        };
        let initramfs = parts.read_initramfs()?;
        let mut drivers = stages::check(&parts, &initramfs, &request.drivers, &stages::LIVE)?;
        let system = System {
            root: parts.root,
            release: parts.release,
            origin: Some(&source.origin),
        };
        let in_cluster =
            proof::in_cluster(&system, &request.drivers, &drivers, request.nodes_only)?;
        drivers.extend(in_cluster.unwrap_or_default());
        let (compressor, block_size) = compression::choose(request.compression, &facts.image)?;
        let live_kargs = pxe_kargs(source, &request.customization)?;
        let mut mounts = Vec::new();
        if formats.iter().any(|format| format.is_live()) {
            let arguments = std::slice::from_ref(&live_kargs);
            let root = Root::Live {
                // A minimal ISO is not mounted.
                iso: formats.contains(&Format::Iso),
                compression: Some(compressor.name()),
            };
            let parts = Parts { arguments, ..parts };
            mounts.extend(stages::mounts(&parts, &initramfs, root)?);
        }
        if formats.iter().any(|format| !format.is_live()) {
            let composefs = sysroot::mounts_composefs(&initramfs)?;
            mounts.extend(stages::mounts(
                &parts,
                &initramfs,
                Root::Disk { composefs },
            )?);
        }
        if !request.allow_missing_driver {
            refuse_missing(&drivers, "the image")?;
            refuse_unmountable(&mounts, "the image")?;
        }
        if source.origin_is_local() {
            // A bootstrap machine whose image is in a registry needs OpenShift in it.
            let is_base = system.is_openshift()?
                && matches!(stages::has_openshift(parts.root), Ok(Some(false)));
            progress.warn(&format!(
                "installed nodes will have {} for their image, a name that other machines don't know, \
                 until something gives them another; if the image will be in a registry, bake with {}\
                 --target-imgref ostree-unverified-registry:NAME@{}",
                source.origin,
                match is_base && !request.nodes_only {
                    true => "--nodes-only and ",
                    false => "",
                },
                source.image.manifest_digest
            ));
        }

        let prefix = request.prefix.clone().unwrap_or_else(|| facts.prefix());
        check_prefix(&prefix)?;
        let names = Names::new(&prefix, &facts.architecture, request.archive);
        let files = names
            .of(&formats)
            .into_iter()
            .map(|(name, _)| name)
            .chain(DESCRIPTIONS.map(str::to_owned))
            .collect();
        let estimate = Estimate::new(
            request,
            &formats,
            &names,
            source.content_bytes,
            [&facts.kernel.vmlinuz, &facts.kernel.initramfs].map(Content::len),
        );
        Ok(Self {
            prefix,
            formats,
            kernel: facts.kernel.release.clone(),
            volume_id: iso::volume_id(facts),
            compressor,
            block_size,
            live_kargs,
            origin: source.origin.clone(),
            files,
            content_bytes: source.content_bytes,
            drivers,
            mounts,
            estimate,
            names,
        })
    }

    /// Whether any medium boots a live system.
    pub(super) fn has_live(&self) -> bool {
        self.formats.iter().any(|format| format.is_live())
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

/// The media to write. Of everything, what can't be made is left out; what was named is refused then.
fn formats(
    request: &Request,
    architecture: &str,
    progress: &dyn Progress,
) -> Result<BTreeSet<Format>> {
    let formats = request.formats_for(architecture);
    for (name, format) in Format::ALL {
        let is_named = request.formats.contains(&format);
        match hindrance(format, request, Some(architecture)) {
            Some(failure) if is_named => return Err(failure.into()),
            Some(failure) if request.all_formats => progress.warn(&format!(
                "{name} is left out: {failure}; {}",
                failure.hint()
            )),
            _ => {}
        }
    }
    if architecture == "s390x" && formats.iter().any(|format| !format.is_live()) {
        progress.warn(
            "the raw disks for s390x have no boot map: they boot only where coreos-installer writes \
             them, which runs zipl afterwards, and not from a plain copy",
        );
    }
    Ok(formats)
}

/// Why a medium can't be made; of an architecture, where that is known already.
///
/// On s390x the firmware starts a disk by a map of the kernel's blocks, which zipl writes and we don't.
/// coreos-installer runs zipl on whatever it has installed (`src/install.rs`, 0.27.0), so live media and
/// what they install don't need one.
fn hindrance(format: Format, request: &Request, architecture: Option<&str>) -> Option<Failure> {
    match format {
        Format::MinimalIso => match &request.rootfs_url {
            None => Some(Failure::new(
                "a minimal ISO has to know where its root file system is",
                "give the URL of the file that is written beside it with --rootfs-url",
            )),
            // coreos-installer writes it into the boot menu as it is (`src/live/mod.rs`, 0.27.0).
            Some(url) => {
                check_argument(&format!("coreos.live.rootfs_url={url}"))
                    .err()
                    .map(|error| {
                        Failure::new(
                            format!("a minimal ISO can't fetch from that --rootfs-url: {error}"),
                            "write such characters as % and two digits, or serve the file at another URL",
                        )
                    })
            }
        },
        Format::Qcow2 if architecture == Some("s390x") => Some(Failure::new(
            "a qcow2 disk for s390x would not boot: zipl has to write a boot map onto it, on that \
             architecture",
            "bake -f iso, pxe or metal, and let coreos-installer install the machine: it runs zipl",
        )),
        _ => None,
    }
}

/// An error that names every driver and stage where it is missing, or says why no bootstrap machine
/// would come up.
pub(super) fn refuse_missing(table: &[Presence], place: &str) -> Result<()> {
    let failing: Vec<&Presence> = table.iter().filter(|p| p.fails()).collect();
    let Some(first) = failing.first() else {
        return Ok(());
    };
    if failing.iter().all(|p| p.stage == Stage::Bootstrap) {
        return Err(Failure::new(
            format!(
                "a bootstrap machine would not come up from {place}: {}",
                first.verdict
            ),
            "if only nodes boot the media, and no bootstrap machine, bake with --nodes-only",
        )
        .into());
    }
    let hint = stages::repair(table);
    Err(Failure::new(
        format!("in {place}, drivers are missing: {}", told(&failing)),
        hint.unwrap_or_else(|| "bake an image that has them".to_owned()),
    )
    .with_facts(json!({ "drivers": table }))
    .into())
}

/// Drivers with their stages, those with the same verdict together.
fn told(failing: &[&Presence]) -> String {
    let mut groups: Vec<(&str, String, Vec<&str>)> = Vec::new();
    for presence in failing {
        let (driver, stage) = (presence.driver.as_str(), presence.stage.name());
        let verdict = presence.verdict.to_string();
        match groups.iter_mut().find(|g| g.0 == driver && g.1 == verdict) {
            Some(group) => group.2.push(stage),
            None => groups.push((driver, verdict, vec![stage])),
        }
    }
    let groups = groups
        .iter()
        .map(|(driver, verdict, stages)| format!("{driver} at {} ({verdict})", stages.join(", ")));
    groups.collect::<Vec<_>>().join("; ")
}

/// An error that says why a root can't be mounted.
pub(super) fn refuse_unmountable(table: &[Presence], place: &str) -> Result<()> {
    let lost: Vec<&Presence> = table.iter().filter(|presence| presence.fails()).collect();
    match stages::repair_mounts(table) {
        None => Ok(()),
        Some(hint) => {
            let sentence = format!("{place} would not boot: {}", told(&lost));
            Err(Failure::new(sentence, hint)
                .with_facts(json!({ "mounts": table }))
                .into())
        }
    }
}
