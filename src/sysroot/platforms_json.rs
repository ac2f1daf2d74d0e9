//! What the image says of platforms.
//!
//! Format: osbuild `stages/org.osbuild.coreos.platform`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::foreign::check_arguments;

/// Where it says that.
pub(super) const PLATFORMS_JSON: &str = "usr/share/coreos-assembler/platforms.json";

/// A platform of `platforms.json`; one that isn't there needs nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    pub(super) grub_commands: Vec<String>,
    pub(super) kernel_arguments: Vec<String>,
}

/// The platforms of `platforms.json`, by name. Bounded by the file, which was read up to a limit.
pub(super) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Platform>> {
    serde_json::from_slice(bytes).with_context(|| format!("parsing {PLATFORMS_JSON}"))
}

/// Refuses kernel arguments that can't be ones, of whatever platform: coreos-installer takes those of others
/// from `/boot`. GRUB's commands are the image's own, as its `grub.cfg` is.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    for (name, platform) in parse(bytes)? {
        let place = format!("{PLATFORMS_JSON}, platform {name:?}");
        check_arguments(&place, &platform.kernel_arguments)?;
    }
    Ok(())
}
