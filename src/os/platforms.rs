//! What the image says of platforms.
//!
//! Format: osbuild `stages/org.osbuild.coreos.platform`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::config_file;
use crate::foreign::check_arguments;
use crate::tree::Tree;

/// Where it says that.
const PLATFORMS_JSON: &str = "usr/share/coreos-assembler/platforms.json";

/// The platforms of an image; none if it says nothing of them.
#[derive(Clone, Debug, Default)]
pub struct Platforms {
    /// `platforms.json` as it stands in the image.
    pub text: Option<Vec<u8>>,
    /// By name; bounded by the file, which was read up to a limit.
    by_name: BTreeMap<String, Platform>,
}

/// A platform; one that isn't there needs nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// What GRUB's console needs, in its own language.
    pub grub_commands: Vec<String>,
    /// Kernel arguments.
    pub kernel_arguments: Vec<String>,
}

impl Platforms {
    /// Reads them, and refuses kernel arguments that can't be ones, of whatever platform: coreos-installer takes
    /// those of others from `/boot`. GRUB's commands are the image's own, as its `grub.cfg` is.
    pub(super) fn read(tree: &Tree) -> Result<Self> {
        let Some(text) = config_file(tree, PLATFORMS_JSON)? else {
            return Ok(Self::default());
        };
        let by_name: BTreeMap<String, Platform> =
            serde_json::from_slice(&text).with_context(|| format!("parsing {PLATFORMS_JSON}"))?;
        for (name, platform) in &by_name {
            let place = format!("{PLATFORMS_JSON}, platform {name:?}");
            check_arguments(&place, &platform.kernel_arguments)?;
        }
        Ok(Self {
            text: Some(text),
            by_name,
        })
    }

    /// What the platform of that name needs.
    pub fn get(&self, name: &str) -> Platform {
        self.by_name.get(name).cloned().unwrap_or_default()
    }
}
