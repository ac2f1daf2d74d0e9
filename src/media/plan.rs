//! What a bake will do, decided before it does anything.

use std::collections::BTreeSet;
use std::fmt::Display;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::compression;
use super::customize::Customization;
use super::estimate::Estimate;
use super::iso;
use super::names::{Format, Names, check_prefix};
use super::proof;
use super::request::{DESCRIPTIONS, Request, hindrance};
use crate::failure::Failure;
use crate::format::squashfs::Compressor;
use crate::kernel::Root;
use crate::netboot::RUN_IGNITION;
use crate::os::{Parts, Source, mounts_composefs};
use crate::ostree::ContainerReference;
use crate::progress::Progress;
use crate::stages::{self, Presence, Stage, System};
use crate::tree::Content;

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
        let parts = facts.parts(&source.imported.tree);
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
            let composefs = mounts_composefs(&initramfs)?;
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
        .chain(RUN_IGNITION.map(str::to_owned))
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
