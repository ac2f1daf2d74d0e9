//! The machines that media are made for: an inventory, as its author writes it down.
//!
//! ```text
//! hosts.yaml ─► yaml ┐
//!                    ├─► raw: texts with lines ─► check ─► Inventory ─► media, serve
//! hosts.csv  ─► csv  ┘
//! ```
//!
//! An inventory is right as a whole or refused with one error that names the file, the line and the
//! host; the files that it names are looked at, so that nothing is written, and no server started, for
//! machines that could not boot. `netboot` tells what a host's live boot is told.
//!
//! Left out: what a host's files say about networks, which coreos-installer judges when they go onto
//! media; passwords of management controllers.
//!
//! Source of truth: `docs/hosts.md`, which a test reads.

mod check;
mod csv;
mod mac;
mod raw;
mod yaml;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::failure::Failure;
use crate::limited;
pub use mac::Mac;

/// A line of a few hundred bytes for each of [`MAX_HOSTS`] hosts, and as much in comments.
const MAX_INVENTORY_BYTES: u64 = 4 << 20;

/// More than one server boots, and few enough that a mistake in a generated file shows.
const MAX_HOSTS: usize = 4096;

/// Machines and what each needs, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The machines; names and hardware addresses are unique.
    pub hosts: Vec<Host>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// What people call it; also the name of its files.
    pub name: String,
    /// The addresses of its network cards, at least one.
    pub macs: Vec<Mac>,
    /// What it is for, such as `bootstrap`, `master`, `worker`, `arbiter`.
    pub role: Option<String>,
    /// Where to install, such as `/dev/disk/by-id/…`. Without it the machine stays a live system.
    pub disk: Option<String>,
    /// Ignition config of the installed system, or of the live one if there is no [`Host::disk`].
    pub ignition: Option<PathBuf>,
    /// Ignition config of the live system that installs.
    pub live_ignition: Option<PathBuf>,
    /// NetworkManager's keyfiles, for the live system and the installed one.
    pub keyfiles: Vec<PathBuf>,
    /// Network settings in nmstate's words, for both as well.
    pub nmstate: Option<PathBuf>,
    /// Kernel arguments of the live system.
    pub kargs: Vec<String>,
    /// Kernel arguments of the installed system.
    pub dest_kargs: Vec<String>,
}

impl Host {
    /// Whether kernel arguments and URLs are not enough, so that a network boot needs an initramfs of
    /// the host's own beside the common one.
    pub fn needs_overlay(&self) -> bool {
        !self.keyfiles.is_empty()
            || self.nmstate.is_some()
            || self.live_ignition.is_some()
            || !self.dest_kargs.is_empty()
    }
}

impl Inventory {
    /// Reads the inventory at `path`, in the language that its ending tells. Paths in it are taken from
    /// where it lies.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let read = File::open(path).and_then(|file| limited::stream(file, MAX_INVENTORY_BYTES));
        let Some(text) = read.with_context(|| format!("reading inventory {shown}"))? else {
            bail!("inventory {shown} is larger than {MAX_INVENTORY_BYTES} bytes");
        };
        let text = std::str::from_utf8(&text)
            .with_context(|| format!("reading inventory {shown}: it is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let ending = path.extension().and_then(|ending| ending.to_str());
        let rows = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("yaml" | "yml" | "json") => yaml::rows(text),
            Some("csv") => csv::rows(text),
            _ => {
                return Err(Failure::new(
                    format!("inventory {shown} is neither .yaml nor .csv"),
                    "rename it, so that its language is known",
                )
                .into());
            }
        };
        let rows = rows.map_err(|wrong| wrong.in_file(path))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        check::inventory(rows, directory).map_err(|wrong| wrong.in_file(path))
    }
}
