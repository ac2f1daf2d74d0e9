//! The drivers that the hardware of a machine asks for.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::{Mark, Presence, Stages, Verdict};
use crate::kernel::{self, Certainty, Device, Files, some_of};

/// PCI classes of what a root disk and its network hang on: mass storage, network, serial buses
/// (Fibre Channel, InfiniBand).
const CLASSES: [&str; 3] = ["bc01", "bc02", "bc0C"];

/// What makes known what two numbers of a device leave open.
const ADVICE: &str = "give its modalias, or its lines of `lspci -nnv`";

/// What devices ask for.
#[derive(Debug, Default)]
pub struct Needed {
    /// Names of modules, each once.
    pub drivers: Vec<String>,
    /// Modules that are for a device only if it is of a subsystem or class that is not known, with
    /// the device; those in `drivers` are not among them.
    pub possible: BTreeMap<String, String>,
    /// Devices that no module of the image is for, with a sentence that says so.
    pub without: Vec<(String, String)>,
    /// What would be known if more were known of a device, each in a sentence.
    pub notes: Vec<String>,
}

/// The devices that a text describes, as [`kernel::devices`] reads it. Of several, only those that a
/// machine boots from.
pub fn booting_devices(text: &str) -> Result<Vec<Device>> {
    let mut devices = kernel::devices(text)?;
    if devices.len() > 1 {
        let all: Vec<String> = devices.iter().map(ToString::to_string).collect();
        devices.retain(boots);
        ensure!(
            !devices.is_empty(),
            "a machine boots from none of the devices that are described, as none is storage or \
             network: {}",
            some_of(&all)
        );
    }
    Ok(devices)
}

/// Finds the drivers of devices in a root with the modules of kernel `release`.
pub fn needed(devices: &[Device], root: &dyn Files, release: &str) -> Result<Needed> {
    let aliases = kernel::driver_aliases(root, release)?;
    let mut needed = Needed::default();
    for device in devices {
        let found = kernel::drivers_of(device, &aliases);
        let of = |certainty: Certainty| -> Vec<String> {
            let those = found.iter().filter(|found| found.certainty == certainty);
            those.map(|found| found.module.clone()).collect()
        };
        // A generic driver takes what has none of its own.
        let mut drivers = of(Certainty::Certain);
        if drivers.is_empty() {
            drivers = of(Certainty::Likely);
        }
        let possible = of(Certainty::Possible);
        if !possible.is_empty() {
            needed.notes.push(format!(
                "{} may be for {device}, depending on its subsystem or class; {ADVICE}",
                some_of(&possible)
            ));
        }
        if drivers.is_empty() && possible.is_empty() {
            let generic = of(Certainty::Generic);
            if !generic.is_empty() {
                needed.notes.push(format!(
                    "{} may be for {device}, depending on its class, which is not known; {ADVICE}",
                    some_of(&generic)
                ));
            }
            let why = if aliases.is_empty() {
                format!(
                    "the image has no modules.alias for kernel {release}, which says what module is \
                     for this device: depmod was not run"
                )
            } else if generic.is_empty() {
                "no module of the image is for this device".to_owned()
            } else {
                "no module of the image names this device".to_owned()
            };
            needed.without.push((device.to_string(), why));
        }
        if drivers.is_empty() {
            let device = device.to_string();
            let possible = possible.into_iter().map(|name| (name, device.clone()));
            needed.possible.extend(possible);
        }
        needed.drivers.extend(drivers);
    }
    needed.drivers.sort();
    needed.drivers.dedup();
    needed
        .possible
        .retain(|name, _| needed.drivers.binary_search(name).is_err());
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
        self.without.iter().flat_map(move |(device, why)| {
            stages.iter().map(move |stage| Presence {
                driver: device.clone(),
                stage: *stage,
                verdict: Verdict::fails(why.clone()),
            })
        })
    }

    /// Takes back that a driver is there where it is only a possible one.
    pub fn doubt(&self, table: &mut [Presence]) {
        for presence in table {
            if let Some(device) = self.possible.get(&presence.driver)
                && presence.verdict.mark() != Mark::No
            {
                presence.verdict = Verdict::open(format!(
                    "whether it is the driver of {device} is not known; {}",
                    presence.verdict
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta, Node, Tree};

    const ALIASES: &str = "\
        alias pci:v00001000d0000005Bsv*sd*bc*sc*i* megaraid_sas\n\
        alias pci:v0000103Cd0000323Asv0000103Csd00003241bc*sc*i* hpsa\n\
        alias pci:v0000103Cd*sv*sd*bc01sc04i* hpsa\n\
        alias pci:v00001000d0000005Bsv00001028sd*bc*sc*i* dell_only\n\
        alias pci:v*d*sv*sd*bc01sc06i01* ahci\n";

    fn root(aliases: Option<&str>) -> Tree {
        let mut tree = Tree::new(Meta::root(0o755));
        let directory = tree.make_directories("usr/lib/modules/6", &Meta::root(0o755));
        if let Some(text) = aliases {
            let node = Node::File(Content::bytes(text.as_bytes().to_vec()));
            tree.create(directory, "modules.alias", Meta::root(0o644), node);
        }
        tree
    }

    fn of(device: &str) -> Needed {
        let devices = booting_devices(device).unwrap();
        needed(&devices, &root(Some(ALIASES)), "6").unwrap()
    }

    #[test]
    fn two_numbers_are_enough_for_a_driver_that_names_them() {
        let found = of("1000:005b");
        assert_eq!(found.drivers, ["megaraid_sas"]);
        assert!(found.possible.is_empty() && found.without.is_empty());
        // What a subsystem might add is told all the same.
        assert!(found.notes[0].starts_with("dell_only may be for pci:"));
    }

    #[test]
    fn drivers_of_a_class_are_not_those_of_two_numbers() {
        for numbers in ["ffff:ffff", "8086:1521", "1000:ffff"] {
            let found = of(numbers);
            assert_eq!(found.drivers, [] as [&str; 0], "{numbers}");
            let [(device, why)] = &found.without[..] else {
                panic!("{found:?}");
            };
            assert!(device.starts_with("pci:v0000") && device.contains("bc??"));
            assert_eq!(why, "no module of the image names this device");
            let note = &found.notes[0];
            assert!(note.starts_with("ahci may be for pci:"), "{note}");
            assert!(
                note.contains("its class") && note.contains("lspci -nnv"),
                "{note}"
            );
        }
        assert_eq!(
            of("00:1f.2 SATA controller [0106]: x [8086:a102]").drivers,
            ["ahci"]
        );
        let whole = "pci:v00008086d0000A102sv00001028sd000006A5bc01sc06i01";
        assert_eq!(of(whole).drivers, ["ahci"]);
        let other = of("00:1f.2 IDE controller [0101]: x [8086:a102]");
        assert_eq!(
            other.without[0].1,
            "no module of the image is for this device"
        );
    }

    #[test]
    fn a_driver_of_one_subsystem_is_possible_and_never_sure() {
        let found = of("103c:323a");
        assert_eq!(found.drivers, [] as [&str; 0]);
        assert!(found.without.is_empty());
        let row = |verdict| Presence {
            driver: "hpsa".to_owned(),
            stage: super::super::LIVE[0],
            verdict,
        };
        let mut table = [
            row(Verdict::holds("it is there", Vec::new())),
            row(Verdict::fails("it is not there")),
        ];
        found.doubt(&mut table);
        assert_eq!(table[0].verdict.mark(), Mark::Doubt);
        assert_eq!(table[1].verdict.mark(), Mark::No);
        // Its class makes it sure.
        let line = "01:00.0 RAID bus controller [0104]: HP [103c:323a]";
        assert_eq!(of(line).drivers, ["hpsa"]);
    }

    #[test]
    fn lists_without_a_disk_or_network_are_refused() {
        let bridges = "00:00.0 0600: 8086:1237\n00:01.0 0601: 8086:7000\n";
        let error = booting_devices(bridges).unwrap_err().to_string();
        assert!(
            error.contains("none is storage or network: pci:v00008086d00001237"),
            "{error}"
        );
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbin:x:1:1:bin:/bin:/sbin/nologin\n";
        let error = booting_devices(passwd).unwrap_err().to_string();
        assert!(error.contains("root:x:0:0:root:/root:/bin/bash"), "{error}");
        // A single one is what was asked about.
        assert_eq!(booting_devices("00:00.0 0600: 8086:1237").unwrap().len(), 1);
    }

    #[test]
    fn without_aliases_nothing_is_known_of_devices() {
        let devices = booting_devices("1000:005b").unwrap();
        let found = needed(&devices, &root(None), "6").unwrap();
        assert!(found.without[0].1.contains("has no modules.alias"));
    }
}
