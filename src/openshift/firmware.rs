//! Firmware that a driver asks for after the boot image's `/usr` is gone.
//!
//! The kernel looks into one more directory than `/usr/lib/firmware`, and only one, so the files of all
//! drivers share it. It is below `/etc`, which is there before any other file system is mounted.
//!
//! What a driver asks for in the initramfs has to be in the initramfs; these files come too late.

use std::collections::BTreeSet;

use ignition_config::v3_2::{File, Unit};

use crate::ignition::fragment::{file, unit};

/// Bytes of all firmware files together. A rendered MachineConfig may have 1.5 MiB, and as base64 in
/// it these become a third more; firmware that doesn't compress still fits then, beside the rest.
pub const FIRMWARE_MAX_BYTES: usize = 1 << 20;

/// Longest name, and longest part of one: that of a file system (Linux `NAME_MAX`, 255) less room for
/// the directory.
const NAME_MAX: usize = 200;

const UNIT: &str = "coreos-bake-firmware.service";
const SERVICE: &str = include_str!("../../ignition/firmware.service");
const DIRECTORY: &str = "/etc/coreos-bake/firmware";

/// A firmware file.
#[derive(Clone, PartialEq, Eq)]
pub struct Firmware {
    /// Its name, as the driver asks for it: below `/usr/lib/firmware`, such as `acme/nic.bin`.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.content.len())
    }
}

/// What is wrong with firmware files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareError {
    /// It would be elsewhere, or be read by nobody.
    #[error("{0:?} is no name of a firmware file, such as acme/nic.bin")]
    Name(String),
    /// Two contents for one name, or a file where a directory has to be.
    #[error("firmware {0} is there twice, or is a directory of another one")]
    Twice(String),
    /// The kernel takes it for not there.
    #[error("firmware {0} is empty")]
    Empty(String),
    /// More than a MachineConfig holds.
    #[error(
        "the firmware files have {bytes} bytes, and {FIRMWARE_MAX_BYTES} can be carried outside of \
         an image"
    )]
    TooLarge {
        /// All of them together.
        bytes: usize,
    },
}

/// The files, and the unit that shows them to the kernel.
pub(super) fn parts(firmware: &[&Firmware]) -> Result<(Vec<File>, Vec<Unit>), FirmwareError> {
    if firmware.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut names = BTreeSet::new();
    let mut bytes = 0_usize;
    for Firmware { name, content } in firmware {
        if !is_name(name) {
            return Err(FirmwareError::Name(name.clone()));
        }
        if content.is_empty() {
            return Err(FirmwareError::Empty(name.clone()));
        }
        if !names.insert(name.as_str()) {
            return Err(FirmwareError::Twice(name.clone()));
        }
        bytes = bytes.saturating_add(content.len());
    }
    if bytes > FIRMWARE_MAX_BYTES {
        return Err(FirmwareError::TooLarge { bytes });
    }
    for name in &names {
        let parents = name.match_indices('/').map(|(at, _)| &name[..at]);
        if let Some(parent) = parents.into_iter().find(|parent| names.contains(parent)) {
            return Err(FirmwareError::Twice(parent.to_owned()));
        }
    }
    let files = firmware
        .iter()
        .map(|Firmware { name, content }| {
            file(&format!("{DIRECTORY}/{name}"), 0o644, content, None)
        })
        .collect();
    Ok((files, vec![unit(UNIT, Some(true), Some(SERVICE))]))
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    name.len() <= NAME_MAX
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.chars().all(is_plain))
}
