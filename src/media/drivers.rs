//! Is every named driver there, at each stage of a boot?
//!
//! The question is asked twice: of the image, before time goes into compressing, and of the media
//! as written, parsed back, because only that is what will boot.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::kernel::{self, Files, Finding, Initramfs};
use crate::tree::Content;

/// A moment at which the driver has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
}

/// Initramfs and root of a boot.
pub type Stages = [Stage; 2];

/// A live boot.
pub const LIVE: Stages = [Stage::LiveInitramfs, Stage::LiveRoot];

/// A boot of an installed disk.
pub const INSTALL: Stages = [Stage::InstallInitramfs, Stage::InstallRoot];

impl Stage {
    /// The stage's name, as in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::LiveInitramfs => "live-initramfs",
            Self::LiveRoot => "live-root",
            Self::InstallInitramfs => "install-initramfs",
            Self::InstallRoot => "install-root",
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
    pub finding: Finding,
}

/// Looks every driver up in the initramfs `initrd` and in `root`, for kernel `release`; those are
/// the two `stages`.
pub fn check(
    initrd: &Content,
    root: &dyn Files,
    release: &str,
    drivers: &[String],
    stages: &Stages,
) -> Result<Vec<Presence>> {
    if drivers.is_empty() {
        return Ok(Vec::new());
    }
    let initramfs = Initramfs::read(initrd.reader()).context("reading the initramfs")?;
    let mut table = Vec::new();
    for driver in drivers {
        for stage in *stages {
            let files = match stage.is_root() {
                true => root,
                false => &initramfs,
            };
            let finding = kernel::look_up(files, release, driver)
                .with_context(|| format!("looking for driver {driver} in {}", stage.name()))?;
            table.push(Presence {
                driver: driver.clone(),
                stage,
                finding,
            });
        }
    }
    Ok(table)
}

/// What to add to the Containerfile so that the missing drivers are there; `None` if all are.
pub fn repair(table: &[Presence]) -> Option<String> {
    let missing = |root| {
        table
            .iter()
            .any(|p| p.stage.is_root() == root && !p.finding.is_present())
    };
    if missing(true) {
        Some(
            "install the module in the Containerfile below /usr/lib/modules/<kernel release>/extra, then run depmod and dracut there: \
             RUN kver=$(ls /usr/lib/modules) && depmod -a $kver && \
             DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible --add-drivers \"<driver>\" --kver $kver /usr/lib/modules/$kver/initramfs.img"
                .to_owned(),
        )
    } else if missing(false) {
        let drivers: Vec<&str> = table
            .iter()
            .filter(|p| !p.finding.is_present())
            .map(|p| p.driver.as_str())
            .collect();
        Some(format!(
            "the module is in the image, but its initramfs was not rebuilt; end the Containerfile with: \
             RUN kver=$(ls /usr/lib/modules) && depmod -a $kver && \
             DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible --add-drivers \"{}\" --kver $kver /usr/lib/modules/$kver/initramfs.img",
            drivers.join(" ")
        ))
    } else {
        None
    }
}
