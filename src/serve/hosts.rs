//! The machines that are known by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use crate::hosts::Mac;
use crate::kernel::check_argument;
use crate::limited;

/// Far beyond what an installer writes; bootstrap configurations have some 300 KiB.
const MAX_IGNITION_BYTES: u64 = 64 << 20;

/// A machine that is expected to boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// What people call it; also shown by the machine while it boots.
    pub name: String,
    /// The addresses of its network cards.
    pub macs: Vec<Mac>,
    /// What it is for, such as `worker`.
    pub role: Option<String>,
    /// Kernel arguments on top of the bake's own.
    pub kargs: Vec<String>,
    /// The file of its Ignition configuration, read once when the server starts. The live system takes it, or
    /// with `target_disk` the installed one.
    pub ignition: Option<PathBuf>,
    /// Where to install, such as `/dev/disk/by-id/…`. Without it the machine stays a live system.
    pub target_disk: Option<String>,
    /// An initramfs of its own, loaded after the common one. With `target_disk`, it tells the installer
    /// about the disk.
    pub overlay: Option<Bytes>,
}

/// What a host gets besides the files that all get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) config: bool,
    pub(super) overlay: bool,
    /// Whether it says that it is installed: by a unit in its overlay.
    pub(super) reports: bool,
}

impl Needs {
    /// Whether it gets what is not for everyone. Overlays have network settings, passwords among them.
    pub(super) fn has_secrets(self) -> bool {
        self.config || self.overlay
    }
}

impl Host {
    pub(super) fn needs(&self) -> Needs {
        let overlay = self.overlay.is_some();
        Needs {
            config: self.ignition.is_some(),
            overlay,
            reports: overlay && self.target_disk.is_some(),
        }
    }
}

/// The Ignition configuration in a file, if it looks like one.
fn load(path: &Path) -> Result<Bytes> {
    let shown = path.display();
    let read = File::open(path).and_then(|file| limited::stream(file, MAX_IGNITION_BYTES));
    let Some(bytes) = read.with_context(|| format!("reading {shown}"))? else {
        bail!("{shown} is larger than {MAX_IGNITION_BYTES} bytes");
    };
    let config: serde_json::Value =
        serde_json::from_slice(&bytes).with_context(|| format!("parsing {shown}"))?;
    if !config["ignition"]["version"].is_string() {
        bail!("{shown} is no Ignition configuration: it has no ignition.version");
    }
    Ok(bytes.into())
}

/// Hosts that were found to be in order.
#[derive(Debug)]
pub(super) struct Hosts {
    pub(super) hosts: Vec<(Host, Option<Bytes>)>,
    pub(super) by_mac: BTreeMap<Mac, usize>,
}

impl Hosts {
    /// Checks that hosts can be told apart and that all of their data can stand in a script.
    pub(super) fn new(hosts: Vec<Host>) -> Result<Self> {
        let mut checked: Vec<(Host, Option<Bytes>)> = Vec::with_capacity(hosts.len());
        let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
        let mut by_mac = BTreeMap::new();
        let mut read: BTreeMap<PathBuf, Bytes> = BTreeMap::new();
        for (index, host) in hosts.into_iter().enumerate() {
            let name = &host.name;
            let words = host.kargs.iter().flat_map(|karg| karg.split_whitespace());
            for text in [name.as_str()]
                .into_iter()
                .chain(host.target_disk.as_deref())
                .chain(words)
            {
                check_argument(text).with_context(|| format!("checking host {name:?}"))?;
            }
            if by_name.insert(name.clone(), index).is_some() {
                bail!("two hosts are called {name:?}");
            }
            if host.macs.is_empty() {
                bail!("host {name:?} has no hardware address");
            }
            for &mac in &host.macs {
                if !mac.is_one_card() {
                    bail!("host {name:?} has {mac}, which is not the address of one card");
                }
                if let Some(other) = by_mac.insert(mac, index) {
                    let other = checked.get(other).map_or(name, |(host, _)| &host.name);
                    bail!("hosts {other:?} and {name:?} both have hardware address {mac}");
                }
            }
            // Hosts that share a file share what was read of it.
            if let Some(path) = &host.ignition
                && !read.contains_key(path)
            {
                let config = load(path).with_context(|| format!("checking host {name:?}"))?;
                read.insert(path.clone(), config);
            }
            let ignition = host.ignition.as_ref().map(|path| read[path].clone());
            checked.push((host, ignition));
        }
        Ok(Self {
            hosts: checked,
            by_mac,
        })
    }
}
