//! Which drivers the hardware of a machine asks for.
//!
//! A machine is described by any of
//!
//! ```text
//! pci:v00001000d00000097sv…           a modalias, also as `grep . /sys/bus/*/devices/*/modalias`
//!                                     and uevents show it
//! 1000:0097                           vendor and device of a PCI device
//! 01:00.0 … [0107]: … [1000:0097]     a line of `lspci -nn`, or -n; after it, of -v,
//!     Subsystem: … [1000:30e0]        this one
//! ```
//!
//! Modules say in their aliases, which are patterns, for which devices they are. lspci tells less
//! than a modalias, and two numbers tell less than lspci: a pattern may ask for what is not known of a
//! device. How sure a driver is then depends on what that is ([`Certainty`]).
//!
//! Semantics: Linux `drivers/pci/pci-driver.c` (`pci_uevent`), kmod 30, `lspci(8)`. Checked against
//! `modprobe --resolve-alias`.

use std::fmt;
use std::ops::Range;

use anyhow::{Result, bail, ensure};

use super::files::Files;
use super::glob::matches_partly;
use super::kmod_text::underscores;
use super::modules::canonical_name;

/// Largest description that is taken; `lspci -vvv` of a large server has some 0.5 MB.
const TEXT_MAX_BYTES: usize = 16 << 20;

/// Most devices; a large server has some 1000.
const DEVICES_MAX: usize = 8192;

/// Longest modalias; that of a processor lists its features, in some 2 KB.
const MODALIAS_MAX_BYTES: usize = 16 << 10;

/// A device of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its modalias; None for what is not known.
    modalias: Vec<Option<u8>>,
    /// Where the modalias has the number of a PCI device, and its programming interface if the class
    /// is known; empty where the modalias is known as a whole.
    number: Range<usize>,
    interface: Range<usize>,
}

/// How sure it is that a driver is for a device, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Everything that its alias asks for is known of the device.
    Certain,
    /// Everything but the programming interface, which `lspci -nn` leaves out; the class is known.
    Likely,
    /// Its alias names the device's number, and asks for more that is not known, such as a subsystem.
    Possible,
    /// Its alias is for all devices of a class, whatever their numbers, and the class is not known.
    Generic,
}

/// A driver for a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Name of the module.
    pub module: String,
    /// How sure it is that it is for the device.
    pub certainty: Certainty,
    /// The pattern by which it asks for the device.
    pub alias: String,
}

impl fmt::Display for Device {
    /// The modalias, with `?` for what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self.modalias.iter().map(|c| c.unwrap_or(b'?')).collect();
        f.write_str(&String::from_utf8_lossy(&bytes))
    }
}

impl Device {
    /// The device with that modalias.
    fn new(modalias: &str) -> Self {
        Self {
            modalias: modalias.bytes().map(Some).collect(),
            number: 0..0,
            interface: 0..0,
        }
    }

    /// How sure it is that a pattern is for the device; None if it is for others. `name` is the
    /// modalias as kmod compares it.
    fn certainty(&self, pattern: &[u8], name: &[Option<u8>]) -> Option<Certainty> {
        let asks_for = |known: &dyn Fn(usize) -> bool| matches_partly(pattern, name, known);
        if !asks_for(&|_| true) {
            return None;
        }
        if asks_for(&|_| false) {
            return Some(Certainty::Certain);
        }
        if asks_for(&|at| self.interface.contains(&at)) {
            return Some(Certainty::Likely);
        }
        let mut unnumbered = name.to_vec();
        unnumbered[self.number.clone()].fill(None);
        let is_generic = matches_partly(pattern, &unnumbered, |at| !self.number.contains(&at));
        Some(match is_generic {
            true => Certainty::Generic,
            false => Certainty::Possible,
        })
    }
}

/// What lspci tells of a device: hexadecimal digits.
#[derive(Clone, Debug, Default)]
struct Pci {
    vendor: String,
    device: String,
    /// Base class and subclass.
    class: Option<String>,
    interface: Option<String>,
    /// Vendor and device.
    subsystem: Option<(String, String)>,
}

impl Pci {
    fn device(&self) -> Device {
        let mut device = Device::new("pci:v0000");
        let mut known = |text: &str, digits: Option<&str>, unknown: usize| {
            device.modalias.extend(text.bytes().map(Some));
            let from = device.modalias.len();
            match digits {
                Some(digits) => {
                    let digits = digits.to_ascii_uppercase();
                    device.modalias.extend(digits.bytes().map(Some));
                }
                None => device.modalias.extend(std::iter::repeat_n(None, unknown)),
            }
            from..device.modalias.len()
        };
        let class = self
            .class
            .as_deref()
            .and_then(|class| class.split_at_checked(2));
        let subsystem = self.subsystem.as_ref();
        known("", Some(&self.vendor), 4);
        let number = known("d0000", Some(&self.device), 4);
        known("sv0000", subsystem.map(|(vendor, _)| vendor.as_str()), 4);
        known("sd0000", subsystem.map(|(_, device)| device.as_str()), 4);
        known("bc", class.map(|(base, _)| base), 2);
        known("sc", class.map(|(_, sub)| sub), 2);
        let interface = known("i", self.interface.as_deref(), 2);
        device.number = number;
        if class.is_some() {
            device.interface = interface;
        }
        device
    }
}

/// The devices that a text describes, in its order, each once.
pub fn devices(text: &str) -> Result<Vec<Device>> {
    ensure!(
        text.len() <= TEXT_MAX_BYTES,
        "the list of devices has {} bytes, where at most {TEXT_MAX_BYTES} are taken",
        text.len()
    );
    let mut found: Vec<Device> = Vec::new();
    let mut pending: Option<Pci> = None;
    let mut without_numbers = None;
    let mut seen = std::collections::BTreeSet::new();
    let mut take = |device: Device| -> Result<()> {
        ensure!(
            device.modalias.len() <= MODALIAS_MAX_BYTES && found.len() < DEVICES_MAX,
            "the list of devices has more than {DEVICES_MAX} of them, or a modalias of more than {MODALIAS_MAX_BYTES} bytes"
        );
        if seen.insert(device.modalias.clone()) {
            found.push(device);
        }
        Ok(())
    };
    for line in text.lines() {
        if let Some(subsystem) = line.trim_start().strip_prefix("Subsystem:") {
            if let Some(pci) = &mut pending {
                pci.subsystem = last_pair(subsystem);
            }
            continue;
        }
        let rest = after_address(line);
        let modalias = modalias(line.trim());
        if (rest.is_some() || modalias.is_some())
            && let Some(pci) = pending.take()
        {
            take(pci.device())?;
        }
        match (rest, modalias) {
            (Some(rest), _) => {
                pending = lspci(rest);
                if pending.is_none() {
                    without_numbers.get_or_insert(line);
                }
            }
            (None, Some(modalias)) => take(Device::new(modalias))?,
            (None, None) => {
                if let Some((vendor, device)) = pair(line.trim()) {
                    let pci = Pci {
                        vendor: vendor.to_owned(),
                        device: device.to_owned(),
                        ..Pci::default()
                    };
                    take(pci.device())?;
                }
            }
        }
    }
    if let Some(pci) = pending {
        take(pci.device())?;
    }
    if let Some(line) = without_numbers {
        bail!("{line:?} does not tell which device it is: lspci has to be called with -nn");
    }
    ensure!(
        !found.is_empty(),
        "no device is described: it takes a modalias, or what `lspci -nn` prints"
    );
    Ok(found)
}

/// The modalias that a line has, by itself or behind the name of its file.
fn modalias(line: &str) -> Option<&str> {
    let text = match (
        line.strip_prefix("MODALIAS="),
        line.split_once("/modalias:"),
    ) {
        (Some(text), _) | (None, Some((_, text))) => text,
        (None, None) => line,
    };
    let (bus, rest) = text.split_once(':')?;
    let is_bus = bus.starts_with(|c: char| c.is_ascii_lowercase())
        && bus
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let is_one_word = !text.contains(char::is_whitespace);
    // `c0de:0001` is a pair of numbers, and buses are not written in four digits.
    (is_bus && is_one_word && !rest.is_empty() && pair(text).is_none()).then_some(text)
}

/// What follows the address at the beginning of a line of lspci (`0000:01:00.0 `).
fn after_address(line: &str) -> Option<&str> {
    let (address, rest) = line.split_once(' ')?;
    let (slots, function) = address.rsplit_once('.')?;
    let mut parts: Vec<&str> = slots.split(':').collect();
    if parts.len() == 3 {
        let domain = parts.remove(0);
        if !(4..=8).contains(&domain.len()) || !is_hex(domain) {
            return None;
        }
    }
    let is_address = parts.len() == 2
        && parts.iter().all(|part| part.len() == 2 && is_hex(part))
        && function.len() == 1
        && is_hex(function);
    is_address.then_some(rest)
}

/// What a line of lspci says behind the address, if there are numbers in it.
fn lspci(rest: &str) -> Option<Pci> {
    // `[0107]: … [1000:0097]`, or `0107: 1000:0097`.
    let (class, names) = match rest.split_once("]: ") {
        Some((class, names)) => (class.rsplit('[').next()?, names),
        None => {
            let (class, numbers) = rest.split_once(": ")?;
            (class.rsplit(' ').next()?, numbers)
        }
    };
    // Behind the numbers are `(rev 02)` and `(prog-if 02 [NVM Express])`.
    let (names, interface) = match names.split_once("(prog-if ") {
        Some((names, interface)) => (names, interface.get(..2)),
        None => (names, None),
    };
    let (vendor, device) = last_pair(names)?;
    Some(Pci {
        vendor,
        device,
        class: Some(class.to_owned()).filter(|class| class.len() == 4 && is_hex(class)),
        interface: interface.filter(|digits| is_hex(digits)).map(str::to_owned),
        subsystem: None,
    })
}

/// The last pair of numbers in a text, in brackets or not.
fn last_pair(text: &str) -> Option<(String, String)> {
    let words = text.split_ascii_whitespace().rev();
    let mut words = words.map(|word| word.trim_start_matches('[').trim_end_matches(']'));
    let (vendor, device) = words.find_map(pair)?;
    Some((vendor.to_owned(), device.to_owned()))
}

/// `1000:0097`
fn pair(text: &str) -> Option<(&str, &str)> {
    let (vendor, device) = text.split_once(':')?;
    let is_number = |part: &str| part.len() == 4 && is_hex(part);
    (is_number(vendor) && is_number(device)).then_some((vendor, device))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The drivers that ask for a device in the text of `modules.alias`: the surest first, then by name.
pub fn drivers_of(device: &Device, aliases: &str) -> Vec<Match> {
    let name = normalized(&device.modalias);
    let bus_end = name.iter().position(|c| *c == Some(b':'));
    let bus = &name[..bus_end.unwrap_or(0)];
    let mut found: Vec<Match> = Vec::new();
    for line in aliases.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some("alias"), Some(alias), Some(module)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        // Most are for other buses, which is seen at once.
        let other_bus = alias
            .bytes()
            .zip(bus)
            .any(|(a, b)| a.is_ascii_lowercase() && Some(a) != *b);
        if other_bus {
            continue;
        }
        let pattern = underscores(alias);
        let Some(certainty) = device.certainty(pattern.as_bytes(), &name) else {
            continue;
        };
        let this = Match {
            module: canonical_name(module),
            certainty,
            alias: alias.to_owned(),
        };
        match found.iter_mut().find(|other| other.module == this.module) {
            Some(other) if this.certainty < other.certainty => *other = this,
            Some(_) => {}
            None => found.push(this),
        }
    }
    found.sort_by(|a, b| (a.certainty, &a.module).cmp(&(b.certainty, &b.module)));
    found
}

/// A modalias as kmod compares it.
fn normalized(modalias: &[Option<u8>]) -> Vec<Option<u8>> {
    let mut within = false;
    modalias
        .iter()
        .map(|character| {
            match character {
                Some(b'[') => within = true,
                Some(b']') => within = false,
                Some(b'-') if !within => return Some(b'_'),
                _ => {}
            }
            *character
        })
        .collect()
}

/// Aliases of the modules of a kernel and of what is built into it, as text of `modules.alias`.
pub fn driver_aliases(files: &dyn Files, kernel_release: &str) -> Result<String> {
    let directory = format!("usr/lib/modules/{kernel_release}");
    let read = |name: &str| -> Result<Vec<u8>> {
        let bytes = files.read(&format!("{directory}/{name}"))?;
        Ok(bytes.unwrap_or_default())
    };
    let mut text = String::from_utf8_lossy(&read("modules.alias")?).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for field in read("modules.builtin.modinfo")?.split(|byte| *byte == 0) {
        let field = String::from_utf8_lossy(field);
        if let Some((key, alias)) = field.split_once('=')
            && let Some(module) = key.strip_suffix(".alias")
        {
            text.push_str(&format!("alias {alias} {module}\n"));
        }
    }
    Ok(text)
}
