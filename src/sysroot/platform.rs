//! What differs between platforms: kernel arguments and console, both in `/boot`.
//!
//! Format of the console's markers: osbuild `stages/org.osbuild.coreos.platform`, coreos-installer
//! `src/install.rs`.

use super::{Sysroot, boot};
use crate::os::Facts;
use crate::tree::{Content, Node, Tree};

/// Where the console's GRUB commands are, on a disk that GRUB boots.
pub(super) const CONSOLE: &str = "boot/grub2/console.cfg";

/// What a disk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Machines that are nobody's platform.
    Metal,
    /// Virtual machines of QEMU's.
    Qemu,
}

impl Platform {
    /// Ignition's name of it, which `platforms.json` goes by as well.
    fn name(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Qemu => "qemu",
        }
    }
}

impl Sysroot {
    /// Kernel arguments of the boot entry.
    pub fn kargs(&self, facts: &Facts, platform: Platform) -> Vec<String> {
        let name = platform.name();
        let mut kargs = self.boot.kargs.clone();
        kargs.push(format!("ignition.platform.id={name}"));
        kargs.extend(facts.platforms.get(name).kernel_arguments);
        kargs
    }

    /// The whole disk: the physical root with `boot` and `boot/efi` in place.
    pub fn tree(&self, facts: &Facts, platform: Platform) -> Tree {
        let entry = boot::entry(facts, &self.boot.directory, &self.kargs(facts, platform));
        let console = console(&facts.platforms.get(platform.name()).grub_commands);
        let mut tree = self.tree.clone();
        for (path, text) in [(&*self.boot.entry, entry), (CONSOLE, console)] {
            // Without static configurations of GRUB there is no console to set either.
            if let Some(id) = tree.lookup(path) {
                tree.inode_mut(id).node = Node::File(Content::bytes(text.into_bytes()));
            }
        }
        tree
    }

    /// Directory in `boot` that holds kernel and initramfs.
    pub fn boot_directory(&self) -> &str {
        &self.boot.directory
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
