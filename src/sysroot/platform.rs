//! What differs between platforms: kernel arguments and console, both in `/boot`.
//!
//! Format of the console's markers: osbuild `stages/org.osbuild.coreos.platform`, coreos-installer
//! `src/install.rs`.

use std::collections::BTreeMap;

use anyhow::Result;

use super::platforms_json::parse;
use super::{Facts, Sysroot, boot};
use crate::tree::{Content, Node};

/// Where the console's GRUB commands are, on a disk that GRUB boots.
pub(super) const CONSOLE: &str = "boot/grub2/console.cfg";

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
