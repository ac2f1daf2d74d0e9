//! What media prove of the drivers, stage by stage, by what is read back from them.
//!
//! The first two stages are those of live media. The two of the installed system are those of the disk
//! images, or, where none was asked for, of what the live system would install. The stages of the cluster
//! are judged by the system that all media have in common.

use std::collections::BTreeMap;

use anyhow::Result;

use super::names::Format;
use crate::kernel::Root;
use crate::os::{Parts, mounts_composefs};
use crate::readback::{Medium, System};
use crate::record::{Proof, Unknown};
use crate::stages::{self, Cluster, INSTALL, Presence, Stage};

/// What the media prove.
#[derive(Debug)]
pub(super) struct Proven {
    /// Each driver at each stage that somebody could look at.
    pub(super) drivers: Vec<Presence>,
    /// What roots are mounted with, the worst of all media.
    pub(super) mounts: Vec<Presence>,
    /// All stages, and whether the drivers were judged there.
    pub(super) stages: Vec<Proof>,
}

/// Looks drivers up in one medium after the other.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    drivers: &'a [String],
    release: &'a str,
    nodes_only: bool,
    /// Whether disk images are among the media.
    has_disks: bool,
    /// The worst verdicts, by the driver's place among those that were named.
    table: BTreeMap<(usize, Stage), Presence>,
    media: BTreeMap<Stage, Vec<String>>,
    mounts: Vec<Presence>,
    /// Whether the system is one of OpenShift's, once that was looked at.
    is_openshift: Option<bool>,
}

impl<'a> Judge<'a> {
    /// Will look for `drivers` of the kernel `release`. With `nodes_only`, no bootstrap machine boots the
    /// media; `has_disks` says whether disk images will be among them.
    pub(super) fn new(
        drivers: &'a [String],
        release: &'a str,
        nodes_only: bool,
        has_disks: bool,
    ) -> Self {
        Self {
            drivers,
            release,
            nodes_only,
            has_disks,
            table: BTreeMap::new(),
            media: BTreeMap::new(),
            mounts: Vec::new(),
            is_openshift: None,
        }
    }

    /// Looks into a medium.
    pub(super) fn look_into(&mut self, format: Format, medium: &Medium) -> Result<()> {
        let arguments = medium.arguments()?;
        let parts = medium.parts(self.release, &arguments);
        let initramfs = parts.read_initramfs()?;
        let mut boots = stages::check(&parts, &initramfs, self.drivers, medium.stages())?;
        let boot_root = medium.boot_root(&initramfs)?;
        self.mount(stages::mounts(&parts, &initramfs, boot_root)?);
        let is_live = matches!(medium.system, System::Live(_));
        if is_live
            && !self.has_disks
            && !self.media.contains_key(&Stage::InstallInitramfs)
            && let Some(initrd) = &medium.installed_initrd(self.release)?
        {
            // Arguments of a live boot are not those of what it installs.
            let parts = Parts {
                initrd,
                arguments: &medium.installed_arguments()?,
                ..parts
            };
            let installed = parts.read_initramfs()?;
            boots.extend(stages::check(&parts, &installed, self.drivers, &INSTALL)?);
            let composefs = mounts_composefs(&installed)?;
            self.mount(stages::mounts(
                &parts,
                &installed,
                Root::Disk { composefs },
            )?);
        }
        if self.drivers.is_empty() {
            return Ok(());
        }
        if self.is_openshift.is_none() {
            let origin = medium.origin()?;
            let system = stages::System {
                root: medium.root(),
                release: self.release,
                origin: origin.as_ref(),
            };
            let rows = in_cluster(&system, self.drivers, &boots, self.nodes_only)?;
            self.is_openshift = Some(rows.is_some());
            boots.extend(rows.unwrap_or_default());
        }
        self.add(format, boots);
        Ok(())
    }

    fn mount(&mut self, rows: Vec<Presence>) {
        for row in rows {
            let place = |row: &Presence| (row.driver.clone(), row.stage);
            let known = self.mounts.iter_mut();
            match known.into_iter().find(|old| place(old) == place(&row)) {
                Some(old) if row.verdict.mark() > old.verdict.mark() => *old = row,
                Some(_) => {}
                None => self.mounts.push(row),
            }
        }
    }

    fn add(&mut self, format: Format, rows: Vec<Presence>) {
        for row in rows {
            let media = self.media.entry(row.stage).or_default();
            if media.last().is_none_or(|last| last != format.name()) {
                media.push(format.name().to_owned());
            }
            let mut names = self.drivers.iter();
            let place = names.position(|name| *name == row.driver);
            let key = (place.unwrap_or(usize::MAX), row.stage);
            // Worse beats better where two media disagree.
            let is_worse = |known: &Presence| row.verdict.mark() > known.verdict.mark();
            if self.table.get(&key).is_none_or(is_worse) {
                self.table.insert(key, row);
            }
        }
    }

    /// All verdicts, and which stages have some. `os` is what the system calls itself.
    pub(super) fn finish(mut self, os: &str) -> Proven {
        let stages = Stage::ALL.map(|stage| self.proof(stage, os)).into();
        Proven {
            drivers: std::mem::take(&mut self.table).into_values().collect(),
            mounts: self.mounts,
            stages,
        }
    }

    fn proof(&self, stage: Stage, os: &str) -> Proof {
        let mut rows = self.table.values().filter(|row| row.stage == stage);
        let media = self.media.get(&stage).cloned().unwrap_or_default();
        let open = rows.clone().find(|row| row.verdict.is_open());
        let (judged, why, how) = match (rows.next(), open) {
            (Some(_), None) => (true, None, None),
            (Some(_), Some(row)) => (false, Some(row.verdict.to_string()), how(stage)),
            (None, _) => {
                let (why, how) = self.unseen(stage, os);
                (false, Some(why), how.map(str::to_owned))
            }
        };
        Proof {
            stage,
            judged,
            media,
            why,
            how,
            unknown: Unknown::new(),
        }
    }

    /// Why nobody could look at a stage, and what would help.
    fn unseen(&self, stage: Stage, os: &str) -> (String, Option<&'static str>) {
        let (why, how) = match stage {
            _ if self.drivers.is_empty() => ("no driver was named", "bake with --driver NAME"),
            Stage::LiveInitramfs | Stage::LiveRoot => {
                ("no live medium was asked for", "bake with -f iso or -f pxe")
            }
            Stage::InstallInitramfs | Stage::InstallRoot => (
                "the live system has no initramfs of an installed one",
                "bake with -f metal or -f qcow2",
            ),
            Stage::Bootstrap if self.nodes_only && self.is_openshift == Some(true) => (
                "no bootstrap machine boots these media (--nodes-only)",
                "bake without --nodes-only",
            ),
            Stage::Bootstrap | Stage::Pivot | Stage::Day2 => {
                return (format!("{os} is not a system of OpenShift's"), None);
            }
        };
        (why.to_owned(), Some(how))
    }
}

/// How to learn what the media can't tell.
fn how(stage: Stage) -> Option<String> {
    let option = match stage {
        Stage::Pivot => "--os-image IMAGE",
        Stage::Day2 => "--containerfile FILE",
        _ => return None,
    };
    Some(format!("coreos-bake check MEDIUM --driver NAME {option}"))
}

/// The verdicts on the stages of the cluster, as far as the system itself tells; none if it is not one of
/// OpenShift's. `boots` are those on its boots.
pub(super) fn in_cluster(
    system: &stages::System<'_>,
    drivers: &[String],
    boots: &[Presence],
    nodes_only: bool,
) -> Result<Option<Vec<Presence>>> {
    if !system.is_openshift()? {
        return Ok(None);
    }
    let mut rows = stages::in_cluster(system, drivers, boots, &Cluster::default())?;
    rows.retain(|row| !nodes_only || row.stage != Stage::Bootstrap);
    Ok(Some(rows))
}
