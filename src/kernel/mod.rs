//! Kernels, their modules, and the question this program exists for: is the driver there at this
//! boot?
//!
//! ```text
//! files      what a stage of the boot has for a file system: initramfs, tree, squashfs
//! initramfs  an initramfs stream, read into such a file system
//! modules    names, modules.dep, modules.builtin, modules.softdep
//! compressed module files without their compression
//! modinfo    what a module says about itself
//! presence   a driver looked up in the files of a stage, with evidence or the reason why not
//! depmod     module indexes, made anew after modules were added
//! image      the one kernel of an image
//! mount      can an initramfs mount the live root that we write
//! ```
//!
//! A driver is there when loading it by its name would work: a module file for exactly the kernel
//! that boots, its dependencies, and indexes that know of both; or it is part of the kernel. Left
//! out so far: whether anything asks for it (aliases of the hardware, modules-load.d), who signed
//! it, and the stages after installation.
//!
//! Semantics: kmod 30 (`modules.dep(5)`, `depmod.d(5)`, libkmod), Linux `kernel/module/`. Checked
//! against depmod, modprobe and modinfo.

mod compressed;
mod depmod;
mod files;
mod image;
mod initramfs;
mod modinfo;
mod modules;
mod mount;
mod presence;
#[cfg(test)]
mod tests;

pub use depmod::{BuildFiles, Cycle, Depmod, Indexes};
pub use files::Files;
pub use image::{Kernel, kernel_in, release_in};
pub use initramfs::Initramfs;
pub use modinfo::ModuleInfo;
pub use modules::{Dependencies, canonical_name, module_name};
pub use mount::{Verdict, mount_support};
pub use presence::{Finding, Missing, Module, Present, look_up};
