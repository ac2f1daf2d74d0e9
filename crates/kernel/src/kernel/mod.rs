//! Kernels, their modules, and the question this program exists for: is the driver there at this
//! boot?
//!
//! ```text
//! files          what a stage of the boot has for a file system: initramfs, tree, squashfs
//! initramfs      an initramfs stream, read into such a file system
//! image          the one kernel of an image
//! modules        names, modules.dep, modules.builtin, modules.alias
//! driver_name    a name as people write it
//! compressed     module files without their compression
//! modinfo        what a module says about itself
//! signature      who signed it
//! versions       versions of symbols, of modules and of kernels
//! target         does a module fit the kernel that boots
//! configuration  modprobe.d and modules-load.d
//! kmod_text      lines and names as kmod reads them
//! arguments      kernel arguments about modules
//! command_line   what a kernel argument can be, in every boot loader's text
//! loading        what loads a module, and what keeps it from that
//! firmware       where the kernel looks for firmware
//! search         modules that no index knows
//! presence       a driver looked up at a stage, with all of the above
//! finding        what is said of it
//! glob           patterns of aliases
//! hardware       from the devices of a machine to drivers
//! hostonly       was an initramfs made for one machine only
//! closure        all modules and firmware that drivers need
//! depmod         module indexes, made anew after modules were added
//! dracut         would an initramfs that is made anew have the driver
//! mount          can an initramfs mount the root of its boot
//! ```
//!
//! A driver is there when the kernel that boots would take its module and everything that the module
//! depends on, the indexes know of both, and no configuration or argument keeps it from being
//! loaded; or it is part of the kernel. That nothing loads it, that its firmware is missing or that
//! Secure Boot would refuse it is a warning.
//!
//! Semantics: kmod 30 (`modules.dep(5)`, `modprobe.d(5)`, `depmod.d(5)`, libkmod), Linux
//! `kernel/module/`, systemd 252, dracut 059. Checked against depmod, modprobe and modinfo.

mod arguments;
mod closure;
mod command_line;
mod compressed;
mod configuration;
mod depmod;
mod dracut;
mod driver_name;
mod files;
mod finding;
mod firmware;
mod glob;
mod hardware;
mod hostonly;
mod image;
mod initramfs;
mod kmod_text;
mod loading;
mod modinfo;
mod modules;
mod mount;
mod presence;
mod search;
mod signature;
mod target;
#[cfg(test)]
mod tests;
mod versions;

pub use closure::closure;
pub use command_line::{ArgumentError, COMMAND_LINE_MAX_BYTES, check_argument};
pub use depmod::is_index;
pub use depmod::{BuildFiles, Cycle, Depmod, Indexes, depmod_configuration};
pub use dracut::{DracutSettings, Kept, dracut_configuration, dracut_line, kept};
pub(crate) use dracut::{NAMING, OMITTING, listed_for_dracut};
pub use driver_name::changes;
pub use driver_name::{DriverName, DriverNameError};
pub use files::FILE_MAX_BYTES;
pub use files::Files;
pub use finding::{Finding, Missing, Module, Present, SoftDependencies};
pub use hardware::{Certainty, Device, Match, devices, driver_aliases, drivers_of};
pub use hostonly::host_only;
pub use image::{Kernel, kernel_in, release_in, release_of};
pub use initramfs::Initramfs;
pub use modinfo::ModuleInfo;
pub use modules::{Dependencies, canonical_name, module_name};
pub use mount::{Mount, Root, mounts};
pub use presence::{Boot, Lookup, look_up, look_up_at};
pub use search::releases as module_releases;
pub use signature::Signature;

/// Where modules lie, each kernel's in a directory called like its release. The second one is that
/// of initramfs from before `/lib` was merged into `/usr`.
const MODULE_DIRECTORIES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// How many names are spelled out in one sentence.
const SHOWN_NAMES: usize = 5;

/// The first few of some names, and how many more there are.
pub fn some_of(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN_NAMES).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
