//! squashfs 4.0: the live root's file system.
mod compress;
mod density;
mod format;
mod writer;

pub use compress::{Compressor, CompressorError};
pub use writer::{Options, Written, write};
