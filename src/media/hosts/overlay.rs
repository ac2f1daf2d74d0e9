//! A host's own initramfs: what `coreos-installer pxe customize` would append to the common one.
//!
//! coreos-installer copies the whole initramfs to append some hundred bytes. Here it is given a stub
//! with nothing in it but what it looks for, and what it appends to that is the overlay: byte for byte
//! what it would have appended to the real one.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libcoreinst::cmdline::CommonCustomizeConfig;
use libcoreinst::io::{GlobMatcher, Initrd};

use crate::failure::Failure;
use crate::hosts::Host;
use crate::media::customize::{Customization, utf8};
use crate::readback::{FEATURES, INITRAMFS_STAMP};
use crate::staging::{Scratch, clear_leftovers};

/// Settings in an initramfs: of Ignition, and of networks.
const SETTINGS: [&str; 2] = ["config.ign", "etc/coreos-firstboot-network/*"];

/// Says `POST …/done` to the server whose root file system was booted; its URL has the ticket for that.
const REPORT: &str = include_str!("report-done");
const REPORT_NAME: &str = "report-done";

/// What coreos-installer says each time, and what is either wrong here or said once by the caller.
const CHATTER: [&str; 6] = [
    "Boot media will automatically ",
    "PXE configuration must include kernel arguments:",
    "\tignition.firstboot ignition.platform.id=metal",
    "Note: consider using \"--dest-console",
    "\"--dest-karg-append console",
    "consoles.",
];

/// Makes overlays for one live system.
#[derive(Debug)]
pub(super) struct Overlays {
    scratch: Scratch,
    stub_bytes: usize,
}

impl Overlays {
    /// For the live system of the initramfs at `path`.
    pub(super) fn for_initramfs(path: &Path) -> Result<Self> {
        let found = parts(path)?;
        ensure!(
            found.get(INITRAMFS_STAMP).is_some(),
            "{} is no initramfs of a live CoreOS",
            path.display()
        );
        if has_settings(&found)? {
            return Err(customized(path));
        }
        Self::new(found.get(FEATURES))
    }

    /// For a live system with these features, as `coreos/features.json` tells them.
    pub(super) fn new(features: Option<&[u8]>) -> Result<Self> {
        let mut stub = Initrd::default();
        stub.add(INITRAMFS_STAMP, Vec::new());
        if let Some(features) = features {
            stub.add(FEATURES, features.to_vec());
        }
        let stub = stub.to_bytes().context("making an initramfs")?;
        let directory = std::env::temp_dir();
        // That of others' output, if they have it there, is theirs to hear of.
        let _ = clear_leftovers(&directory);
        let scratch = Scratch::new_in(&directory)
            .with_context(|| format!("making a scratch directory in {}", directory.display()))?;
        fs::write(scratch.path().join("stub"), &stub).context("writing a scratch file")?;
        Ok(Self {
            scratch,
            stub_bytes: stub.len(),
        })
    }

    /// What `host` needs at a network boot besides kernel arguments and URLs, if anything. One that
    /// `reports` tells the server when it is installed.
    pub(super) fn for_network_boot(&self, host: &Host, reports: bool) -> Result<Option<Vec<u8>>> {
        let reports = reports && host.disk.is_some();
        if !host.needs_overlay() && !reports {
            return Ok(None);
        }
        let mut all = everything(host)?;
        if reports {
            let script = self.scratch.path().join(REPORT_NAME);
            fs::write(&script, REPORT).context("writing a scratch file")?;
            all.post_install.push(utf8(&script)?);
        }
        // The config is fetched by URL.
        match host.disk {
            Some(_) => all.dest_ignition.clear(),
            None => all.live_ignition.clear(),
        }
        self.make(host, all)
    }

    /// All that makes a medium the one of `host`, but for kernel arguments of the live system.
    pub(super) fn for_iso(&self, host: &Host) -> Result<Option<Vec<u8>>> {
        self.make(host, everything(host)?)
    }

    fn make(&self, host: &Host, common: CommonCustomizeConfig) -> Result<Option<Vec<u8>>> {
        let customization = Customization {
            common,
            live_karg_append: Vec::new(),
            live_karg_delete: Vec::new(),
        };
        if customization.is_empty() {
            return Ok(None);
        }
        let out = self.scratch.path().join("out");
        let stub = self.scratch.path().join("stub");
        hushed(self.scratch.path(), || {
            customization.apply_to_initrd(&stub, &out)
        })?
        .with_context(|| format!("making the initramfs of host {:?}", host.name))?;
        let mut bytes = fs::read(&out).context("reading a scratch file")?;
        fs::remove_file(&out).context("removing a scratch file")?;
        Ok(Some(bytes.split_off(self.stub_bytes)))
    }
}

/// Whether somebody put Ignition configs or network settings into the initramfs at `path`.
pub fn initramfs_carries_settings(path: &Path) -> Result<bool> {
    has_settings(&parts(path)?)
}

/// What matters here of the initramfs at `path`.
fn parts(path: &Path) -> Result<Initrd> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("opening {shown}"))?;
    let wanted: Vec<&str> = [INITRAMFS_STAMP, FEATURES]
        .into_iter()
        .chain(SETTINGS)
        .collect();
    let filter = GlobMatcher::new(&wanted)?;
    Initrd::from_reader_filtered(BufReader::new(file), &filter)
        .with_context(|| format!("reading initramfs {shown}"))
}

fn has_settings(found: &Initrd) -> Result<bool> {
    Ok(!found.find(&GlobMatcher::new(&SETTINGS)?).is_empty())
}

/// The medium at `path` can't be made anybody's.
pub(super) fn customized(path: &Path) -> anyhow::Error {
    Failure::new(
        format!("{} carries settings of its own already", path.display()),
        "bake without customization options, and say it all in the inventory",
    )
    .into()
}

/// A host in the words of coreos-installer.
pub(super) fn everything(host: &Host) -> Result<CommonCustomizeConfig> {
    let texts = |paths: &[&Path]| paths.iter().map(|path| utf8(path)).collect::<Result<_>>();
    let ignition: Vec<&Path> = host.ignition.as_deref().into_iter().collect();
    let mut live: Vec<&Path> = host.live_ignition.as_deref().into_iter().collect();
    let mut dest = Vec::new();
    match host.disk {
        Some(_) => dest = ignition,
        None => live = ignition,
    }
    let keyfiles: Vec<&Path> = host.keyfiles.iter().map(|path| path.as_path()).collect();
    let nmstate: Vec<&Path> = host.nmstate.as_deref().into_iter().collect();
    Ok(CommonCustomizeConfig {
        dest_ignition: texts(&dest)?,
        dest_device: host.disk.clone(),
        dest_console: Vec::new(),
        dest_karg_append: host.dest_kargs.clone(),
        dest_karg_delete: Vec::new(),
        network_keyfile: texts(&keyfiles)?,
        network_nmstate: texts(&nmstate)?,
        ignition_ca: Vec::new(),
        pre_install: Vec::new(),
        post_install: Vec::new(),
        installer_config: Vec::new(),
        live_ignition: texts(&live)?,
    })
}

/// Does `work`, and passes on what coreos-installer prints only if it is news.
///
/// The library talks to people who customize one medium by hand; for a rack that would be hundreds of
/// lines, some of which ask for what is done already. What other threads print meanwhile is read along.
fn hushed<T>(scratch: &Path, work: impl FnOnce() -> T) -> Result<T> {
    let path = scratch.join("said");
    let said = File::create(&path).context("making a scratch file")?;
    let before = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .context("asking for standard error")?;
    let restored = Restored(before);
    rustix::stdio::dup2_stderr(&said).context("keeping standard error")?;
    let result = work();
    drop(restored);
    let said = fs::read(&path).context("reading a scratch file")?;
    for line in String::from_utf8_lossy(&said).lines() {
        let dull = line.is_empty() || CHATTER.iter().any(|start| line.starts_with(start));
        if !dull {
            tracing::warn!("{line}");
        }
    }
    Ok(result)
}

/// Standard error as it was, given back even if the work panics.
struct Restored(OwnedFd);

impl Drop for Restored {
    fn drop(&mut self) {
        // Both descriptors are open, so there is nothing to fail.
        let _ = rustix::stdio::dup2_stderr(&self.0);
    }
}
