//! The deployed disk as one tree.
//!
//! What `ostree admin deploy`, bootupd and the CoreOS build do to three mounted file systems is
//! done here to one [`Tree`]: the physical root, with the boot file system's content at `boot` and
//! the ESP's at `boot/efi`. Live media take it whole; disk writers cut it at those two directories.
//!
//! Layout: `reference` facts of libostree 2026.4 (`ostree-sysroot-deploy.c`), bootupd 0.2.35 and
//! osbuild's CoreOS stages. Labels come from the image's own policy, as nobody labels what no
//! commit contains.

mod boot;
mod bootloader;
mod composefs;
mod deployment;
mod platform;
mod plot;
mod repo;

pub use bootloader::{BIOS_MODULES, POWER_MODULES};
pub use platform::Platform;

use anyhow::{Context, Result};

use crate::os::Facts;
use crate::ostree::{Checksum, ContainerReference, Imported};
use crate::selinux::Policy;
use crate::tree::{Meta, Tree};
use boot::Boot;
use plot::Plot;

/// What the disk is to be told beyond what the image says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `container-image-reference` of the deployment's origin.
    pub origin: ContainerReference,
    /// Name of the image as it was read, for the aleph file.
    pub image_name: String,
    /// Digest of the image's manifest.
    pub image_digest: String,
    /// When the image was made, in seconds since 1970.
    pub time: u64,
}

/// The disk's content, and where its parts are.
#[derive(Debug)]
pub struct Sysroot {
    /// Physical root with `boot` and `boot/efi` in place, and nothing in the files that platforms differ in.
    tree: Tree,
    /// The deployment's directory.
    pub deployment: String,
    /// What the boot loader starts.
    boot: Boot,
}

/// Lays out the disk of `imported`.
pub fn lay_out(
    imported: &Imported,
    facts: &Facts,
    policy: Option<&Policy>,
    settings: &Settings,
) -> Result<Sysroot> {
    let mut plot = Plot::new(policy, Meta::root(0o755));
    plot.directory("boot");
    plot.directory("ostree");

    let objects = repo::add(&mut plot, imported, &facts.architecture);
    let deployment = deployment::add(&mut plot, imported, &objects, facts, settings)?;
    let boot = boot::add(&mut plot, facts, &deployment);
    bootloader::add(&mut plot, imported, facts)?;
    aleph(&mut plot, imported.base_commit.as_ref(), facts, settings);

    if let Some(policy) = policy {
        policy.check().context("labelling the deployed system")?;
    }
    // libostree reads deployments only when this directory's time differs from the last one it saw,
    // and begins with 1970: with that, nothing on the machine that asks for them would start.
    let deployments = plot.directory("ostree/deploy");
    plot.tree().inode_mut(deployments).meta.mtime = i64::try_from(settings.time)?.max(1);

    Ok(Sysroot {
        tree: plot.finish(),
        deployment: deployment.path,
        boot,
    })
}

/// Where this machine came from, for those who look at it years later: osbuild's form of the file.
fn aleph(plot: &mut Plot, base: Option<&Checksum>, facts: &Facts, settings: &Settings) {
    let mut aleph = serde_json::json!({
        "container-image": {
            "image-digest": settings.image_digest,
            "image-labels": facts.labels,
            "image-name": settings.image_name,
        },
        "coreos-bake-version": env!("CARGO_PKG_VERSION"),
        "ref": settings.origin.to_string(),
        "version": facts.version,
    });
    if let Some(commit) = base {
        aleph["ostree-commit"] = commit.to_string().into();
    }
    let text = serde_json::to_string_pretty(&aleph).expect("JSON values serialise");
    plot.file(".aleph-version.json", 0o644, text + "\n");
    plot.symlink(".coreos-aleph-version.json", ".aleph-version.json");
}

/// The repository's configuration as live media have it, made of a disk's: upstream drops the
/// `readonly` line, as ostree would otherwise remount the live system's `/sysroot`.
pub fn live_repo_config(config: &str) -> String {
    config.replace(repo::READONLY, "")
}
