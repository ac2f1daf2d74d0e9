//! Is every named driver there, at each stage of a machine's life?
//!
//! ```text
//! live-initramfs     live-root          ISO and PXE                     boot
//! install-initramfs  install-root       a disk                          boot
//! bootstrap          the node that the release's /usr may be put over   bootstrap
//! pivot              the image that osImageURL names                    pivot
//! day2               what the cluster will build of the Containerfile   day2
//! ```
//!
//! Of the first four, the question is asked twice: of the image, before time goes into compressing,
//! and of media as written, parsed back, because only that is what will boot. The last three are
//! judged by the rules of those who act then: the installer and the machine-config operator.
//!
//! `mounts` asks the same of what an initramfs mounts its root with, and `later` what becomes of a
//! driver when an initramfs is made anew.

mod bootstrap;
mod day2;
mod hardware;
mod later;
mod mounts;
mod pivot;
mod rootless;
mod several;
mod verdict;

use anyhow::{Context, Result};
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bootstrap::has_openshift;
pub use hardware::{Needed, booting_devices, needed};
pub use later::{Rerun, keep, left_out, repair_kept};
pub use mounts::{mounts, repair_mounts};
pub use rootless::check_rootless;
pub use several::worst_of;
pub use verdict::{Judged, Mark, Verdict};

use crate::kernel::{self, Boot, Files, Finding, Initramfs, Lookup};
use crate::os::{OsRelease, Parts};
use crate::ostree::ContainerReference;

/// A moment at which the driver has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The initramfs of ISO and PXE.
    LiveInitramfs,
    /// The root file system of the live system.
    LiveRoot,
    /// The initramfs on a disk's `/boot`.
    InstallInitramfs,
    /// The deployment on a disk.
    InstallRoot,
    /// The bootstrap node, once the release's node image was put over its `/usr`.
    Bootstrap,
    /// The image that the pool's `osImageURL` names.
    Pivot,
    /// What on-cluster layering will build.
    Day2,
}

/// Initramfs and root of a boot.
pub type Stages = [Stage; 2];

/// A live boot.
pub const LIVE: Stages = [Stage::LiveInitramfs, Stage::LiveRoot];

/// A boot of an installed disk.
pub const INSTALL: Stages = [Stage::InstallInitramfs, Stage::InstallRoot];

impl Stage {
    /// All of them, in the order in which a machine goes through them.
    pub const ALL: [Self; 7] = [
        Self::LiveInitramfs,
        Self::LiveRoot,
        Self::InstallInitramfs,
        Self::InstallRoot,
        Self::Bootstrap,
        Self::Pivot,
        Self::Day2,
    ];

    /// The stage's name, as in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::LiveInitramfs => "live-initramfs",
            Self::LiveRoot => "live-root",
            Self::InstallInitramfs => "install-initramfs",
            Self::InstallRoot => "install-root",
            Self::Bootstrap => "bootstrap",
            Self::Pivot => "pivot",
            Self::Day2 => "day2",
        }
    }

    /// What happens then, and why the driver has to be there.
    pub fn story(self) -> &'static str {
        match self {
            Self::LiveInitramfs => {
                "The kernel of an ISO or a PXE set unpacks this initramfs and loads drivers from it. \
                 Disks and networks whose drivers are only in the live root appear too late for \
                 what runs here: Ignition, and fetching the root file system."
            }
            Self::LiveRoot => {
                "The live system runs from this file system. coreos-installer sees the target disk \
                 only if the driver is in the initramfs or here."
            }
            Self::InstallInitramfs => {
                "The installed system's initramfs, from /boot. It has to find the root disk: \
                 without the driver the first boot after installation ends in an emergency shell."
            }
            Self::InstallRoot => {
                "The installed deployment. Its modules are what the next initramfs is made of, and \
                 what is loaded for hardware that is not needed to boot."
            }
            Self::Bootstrap => {
                "The bootstrap node boots the same medium. If its image has no openshift-clients, \
                 the installer puts the release's node image over /usr and keeps only \
                 /usr/lib/modules of what was booted."
            }
            Self::Pivot => {
                "On its first boot in the cluster a node rebases to the image that osImageURL names, \
                 unless it runs exactly that one, and reboots into it."
            }
            Self::Day2 => {
                "With on-cluster layering the cluster builds the pool's image from the Containerfile \
                 of its MachineOSConfig, at every release, and reboots every node into it."
            }
        }
    }

    fn is_root(self) -> bool {
        matches!(self, Self::LiveRoot | Self::InstallRoot)
    }
}

/// One driver at one stage.
#[derive(Clone, Debug, Serialize)]
pub struct Presence {
    /// The driver as it was named.
    pub driver: String,
    /// When it is needed.
    pub stage: Stage,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Presence {
    /// Whether a node would be lost.
    pub fn fails(&self) -> bool {
        self.verdict.mark() == Mark::No
    }
}

/// A deployed system, as far as the cluster's side of it goes.
#[derive(Clone, Copy)]
pub struct System<'a> {
    /// The deployment's file system.
    pub root: &'a dyn Files,
    /// The kernel that boots.
    pub release: &'a str,
    /// What the deployment's origin says: where it looks for updates.
    pub origin: Option<&'a ContainerReference>,
}

impl System<'_> {
    /// Whether it is a system of OpenShift's: others have no bootstrap node and no osImageURL. One
    /// that does not say what it is may be.
    pub fn is_openshift(&self) -> Result<bool> {
        Ok(OsRelease::of(self.root)?.is_none_or(|release| release.is_openshift()))
    }
}

/// Looks every driver up in initramfs, as it was read, and root of a boot; those are the two `stages`.
pub fn check(
    parts: &Parts<'_>,
    initramfs: &Initramfs,
    drivers: &[String],
    stages: &Stages,
) -> Result<Vec<Presence>> {
    if drivers.is_empty() {
        return Ok(Vec::new());
    }
    let look = |files, initramfs| {
        Lookup::new(&Boot {
            files,
            image: parts.root,
            release: parts.release,
            arguments: parts.arguments,
            initramfs,
        })
    };
    let in_initramfs = look(initramfs, true).context("reading the modules of the initramfs")?;
    let in_root = look(parts.root, false).context("reading the modules of the root")?;
    let host_only = kernel::host_only(initramfs)?;
    let mut table = Vec::new();
    for driver in drivers {
        for stage in *stages {
            let lookup = match stage.is_root() {
                true => &in_root,
                false => &in_initramfs,
            };
            let mut finding = lookup
                .find(driver)
                .with_context(|| format!("looking for driver {driver} in {}", stage.name()))?;
            if let (Finding::Present(present), Some(evidence), false) =
                (&mut finding, &host_only, stage.is_root())
            {
                present.warnings.push(evidence.clone());
            }
            table.push(Presence {
                driver: driver.clone(),
                stage,
                verdict: Verdict::Found(finding),
            });
        }
    }
    Ok(table)
}

/// What is known of the cluster that a system goes into.
#[derive(Clone, Copy, Default)]
pub struct Cluster<'a> {
    /// The image that `osImageURL` of the pool names.
    pub os_image: Option<&'a str>,
    /// The drivers in that image, where it was looked into.
    pub os_image_drivers: &'a [Presence],
    /// The pool's Containerfile for on-cluster layering.
    pub containerfile: Option<&'a [u8]>,
    /// Drivers that dracut would leave out of an initramfs that it makes of the image below, as
    /// [`left_out`] tells.
    pub left_out: &'a [String],
}

/// Judges the stages that come with a cluster. `boots` are the verdicts on the boots before: what is
/// missing there is missing where a node goes on with it.
pub fn in_cluster(
    system: &System<'_>,
    drivers: &[String],
    boots: &[Presence],
    cluster: &Cluster<'_>,
) -> Result<Vec<Presence>> {
    let mut table = Vec::new();
    for driver in drivers {
        let boot = worst(boots, driver);
        let found = worst(cluster.os_image_drivers, driver).map(|presence| &presence.verdict);
        let release = Some(system.release);
        let pivot = pivot::judge(system, boot, cluster.os_image, found);
        let day2 = day2::judge(cluster, driver, release, &pivot);
        let bootstrap = bootstrap::judge(system, driver)
            .with_context(|| format!("judging driver {driver} on a bootstrap node"))?;
        for (stage, verdict) in [
            (Stage::Bootstrap, bootstrap.after(boot)),
            (Stage::Pivot, pivot),
            (Stage::Day2, day2),
        ] {
            table.push(Presence {
                driver: driver.clone(),
                stage,
                verdict,
            });
        }
    }
    Ok(table)
}

/// The worst that is said of a driver, the first of several.
fn worst<'a>(table: &'a [Presence], driver: &str) -> Option<&'a Presence> {
    let of_driver = table.iter().filter(|presence| presence.driver == driver);
    of_driver.reduce(
        |worst, other| match other.verdict.mark() > worst.verdict.mark() {
            true => other,
            false => worst,
        },
    )
}

/// What to add to the Containerfile so that the missing drivers are there, in lines of its own;
/// `None` if all are.
pub fn repair(table: &[Presence]) -> Option<String> {
    let missing =
        |presence: &&Presence| presence.fails() && matches!(presence.verdict, Verdict::Found(_));
    let mut drivers: Vec<&str> = table
        .iter()
        .filter(missing)
        .map(|presence| presence.driver.as_str())
        .collect();
    drivers.dedup();
    let in_root = table.iter().filter(missing).any(|p| p.stage.is_root());
    let first = match (in_root, drivers.is_empty()) {
        (_, true) => return None,
        (true, false) => {
            "install the module in the Containerfile below /usr/lib/modules/<kernel release>/extra, \
             then run depmod and dracut there:"
        }
        (false, false) => {
            "the module is in the image, but its initramfs was not rebuilt; let coreos-bake layer \
             --repair do it, or end the Containerfile with:"
        }
    };
    Some(below(first, &rebuild_instruction(&drivers)))
}

/// The instruction of a Containerfile that names `drivers` to dracut for good, indexes modules and
/// makes the initramfs: several lines, the last without its end.
pub fn rebuild_instruction(drivers: &[&str]) -> String {
    let names = drivers.iter().map(|driver| naming_command(driver));
    let rest = [
        "kver=$(ls /usr/lib/modules) && depmod -a $kver".to_owned(),
        "DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible \\\n    --kver $kver \
         /usr/lib/modules/$kver/initramfs.img"
            .to_owned(),
    ];
    run_instruction(names.chain(rest))
}

/// An instruction that runs these commands, one a line.
fn run_instruction(commands: impl IntoIterator<Item = String>) -> String {
    let commands: Vec<String> = commands.into_iter().collect();
    format!("RUN {}", commands.join(" && \\\n    "))
}

/// An instruction below a hint's sentence, as lines to paste.
fn below(sentence: &str, instruction: &str) -> String {
    let lines = instruction.lines().map(|line| format!("\n    {line}"));
    format!("{sentence}{}", lines.collect::<String>())
}

/// The command by which a Containerfile names a driver to every later dracut.
fn naming_command(driver: &str) -> String {
    format!(
        "echo '{}' \\\n    > /{}",
        kernel::dracut_line(driver),
        kernel::dracut_configuration(driver)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta, Node, Tree};

    #[test]
    fn a_system_that_does_not_say_what_it_is_may_go_into_a_cluster() {
        let is_openshift = |text: Option<&str>| {
            let mut tree = Tree::new(Meta::root(0o755));
            if let Some(text) = text {
                let lib = tree.make_directories("usr/lib", &Meta::root(0o755));
                let node = Node::File(Content::bytes(text.as_bytes()));
                tree.create(lib, "os-release", Meta::root(0o644), node);
            }
            let system = System {
                root: &tree,
                release: "6",
                origin: None,
            };
            system.is_openshift().unwrap()
        };
        assert!(!is_openshift(Some("ID=fedora\nVARIANT_ID=coreos\n")));
        assert!(is_openshift(Some("ID=\"rhcos\"\n")));
        assert!(is_openshift(None));
    }
}
