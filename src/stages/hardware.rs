//! The drivers that the hardware of a machine asks for.

use anyhow::Result;

use super::{Presence, Stages, Verdict};
use crate::kernel::{self, Device, Files, Match};

/// PCI classes of what a root disk and its network hang on: mass storage, network, serial buses
/// (Fibre Channel, InfiniBand).
const CLASSES: [&str; 3] = ["bc01", "bc02", "bc0C"];

/// What devices ask for.
#[derive(Debug, Default)]
pub struct Needed {
    /// Names of modules, each once.
    pub drivers: Vec<String>,
    /// Devices that no module of the image is for.
    pub without: Vec<String>,
}

/// Finds the drivers of devices, as [`kernel::devices`] reads them, in a root with the modules of
/// kernel `release`. Of several devices, only those count that a machine boots from.
pub fn needed(text: &str, root: &dyn Files, release: &str) -> Result<Needed> {
    let devices = kernel::devices(text)?;
    let aliases = kernel::driver_aliases(root, release)?;
    let mut needed = Needed::default();
    for device in &devices {
        if devices.len() > 1 && !boots(device) {
            continue;
        }
        let found = kernel::drivers_of(device, &aliases);
        // A generic driver takes what has none of its own.
        let (certain, possible): (Vec<&Match>, Vec<&Match>) =
            found.iter().partition(|found| found.certain);
        let chosen = if certain.is_empty() {
            possible
        } else {
            certain
        };
        if chosen.is_empty() {
            needed.without.push(device.to_string());
        }
        needed
            .drivers
            .extend(chosen.into_iter().map(|found| found.module.clone()));
    }
    needed.drivers.sort();
    needed.drivers.dedup();
    Ok(needed)
}

/// Whether a machine may boot from the device, by its class; one that is not known may be.
fn boots(device: &Device) -> bool {
    let text = device.to_string();
    match text.strip_prefix("pci:") {
        Some(pci) => pci.contains("bc??") || CLASSES.iter().any(|class| pci.contains(class)),
        None => text.starts_with("nvme:") || text.starts_with("virtio:"),
    }
}

impl Needed {
    /// The devices without a driver, as rows of a table.
    pub fn missing(&self, stages: &Stages) -> impl Iterator<Item = Presence> {
        self.without.iter().flat_map(move |device| {
            stages.iter().map(move |stage| Presence {
                driver: device.clone(),
                stage: *stage,
                verdict: Verdict::fails("no module of the image is for this device"),
            })
        })
    }
}
