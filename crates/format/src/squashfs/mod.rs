//! squashfs 4.0: the live root's file system, and the only kind that every live initramfs mounts.
//!
//! [`write()`] makes an image of a [`bake_tree::Tree`]; [`Reader`] looks into one; [`describe()`] dumps
//! one as text.

mod compress;
mod density;
mod describe;
mod format;
mod reader;
mod remembered;
mod writer;

#[cfg(test)]
mod tests;

pub use compress::{Compressor, CompressorError};
pub use describe::describe;
pub use reader::{Entry, Facts, FileReader, Name, ReadDir, Reader};
pub use writer::{Options, Written, write};
