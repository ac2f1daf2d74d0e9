//! What differs between platforms: kernel arguments and console, both in `/boot`.
//!
//! Format of `platforms.json` and of the console's markers: osbuild
//! `stages/org.osbuild.coreos.platform`, coreos-installer `src/install.rs`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Facts, Sysroot, boot};
use crate::foreign::check_arguments;
use crate::tree::{Content, Node};

/// Where the console's GRUB commands are, on a disk that GRUB boots.
pub(super) const CONSOLE: &str = "boot/grub2/console.cfg";

/// What the image says of platforms.
pub(super) const PLATFORMS_JSON: &str = "usr/share/coreos-assembler/platforms.json";

/// A platform of `platforms.json`; one that isn't there needs nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Platform {
    grub_commands: Vec<String>,
    kernel_arguments: Vec<String>,
}

/// The platforms of `platforms.json`, by name. Bounded by the file, which was read up to a limit.
fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Platform>> {
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

impl Sysroot {
    /// Makes the disk one for `platform` (`metal`, `qemu`): its Ignition platform, kernel arguments
    /// and console.
    pub fn set_platform(&mut self, facts: &Facts, platform: &str) -> Result<()> {
        let mut settings = match &facts.platforms {
            Some(bytes) => parse(bytes)?,
            None => BTreeMap::new(),
        };
        let settings = settings.remove(platform).unwrap_or_default();

        self.kargs = self.common_kargs.clone();
        self.kargs.push(format!("ignition.platform.id={platform}"));
        self.kargs.extend(settings.kernel_arguments);
        let entry = boot::entry(facts, &self.boot_directory, &self.kargs);
        self.replace(&self.boot_entry.clone(), entry);
        self.replace(CONSOLE, console(&settings.grub_commands));
        Ok(())
    }

    fn replace(&mut self, path: &str, text: String) {
        // Without static configurations of GRUB there is no console to set either.
        if let Some(id) = self.tree.lookup(path) {
            self.tree.inode_mut(id).node = Node::File(Content::bytes(text.into_bytes()));
        }
    }
}

/// Begins with a comment because coreos-installer looks for a newline before the markers.
fn console(commands: &[String]) -> String {
    format!(
        "# Console settings; coreos-installer replaces what is between the markers.\n\
         # CONSOLE-SETTINGS-START\n{}\n# CONSOLE-SETTINGS-END\n",
        commands.join("\n")
    )
}
