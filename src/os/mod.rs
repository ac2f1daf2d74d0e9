//! An image of an operating system, read once: what every command begins with.
//!
//! ```text
//! image ──► Opened ─┬─► Source   labels and checksums too: for those who write media
//!                   └─► Glance   the merged tree alone:    for those who look into it
//!                          └─► Facts: names, kernel, image.json, platforms.json, the EFI boot loader
//! ```
//!
//! What a system's files say of it has its reader here, be the system in an image or on a medium.

mod contents;
mod facts;
mod image_json;
mod parts;
mod platforms;
mod prepare_root;
mod release;
mod rpmdb;
mod source;

pub use contents::contents_of;
pub use facts::Facts;
pub use image_json::ImageJson;
pub use parts::Parts;
pub use prepare_root::{mounts_composefs, wants_composefs};
pub use release::OsRelease;
pub use rpmdb::has_package;
pub use source::{Glance, Opened, ReadOptions, Source};

use anyhow::{Context, Result};

use crate::tree::Tree;

/// Configuration files larger than this, in bytes, are not what they claim to be.
const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// The content of a small configuration file, if the tree has it as a regular file.
pub fn config_file(tree: &Tree, path: &str) -> Result<Option<Vec<u8>>> {
    tree.file(path)
        .map(|content| content.to_vec(CONFIG_MAX_BYTES))
        .transpose()
        .with_context(|| format!("reading {path}"))
}
