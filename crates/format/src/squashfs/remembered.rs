//! Blocks that an earlier run has compressed, in a [`Cache`].
//!
//! An entry is the compressed block, or nothing if the block is stored as it is: most of what is not
//! worth compressing in an OS is compressed already, and needs no second place on the disk.

use std::sync::Arc;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::compress::{Compressor, Encoder, Form};
use crate::cache::Cache;

/// Blocks shorter than this are compressed anew: a file of their own costs as much.
const BLOCK_MIN: usize = 4 << 10;

/// To be raised when [`super::compress`] or [`super::density`] give other bytes for the same block.
const GENERATION: u32 = 1;

/// What is remembered of blocks that are compressed in one way.
pub(super) struct Remembered {
    cache: Arc<Cache>,
    /// Has seen how blocks are compressed, but no block.
    start: Sha256,
}

impl Remembered {
    /// For blocks of up to `block_size` bytes.
    pub(super) fn new(cache: Arc<Cache>, compressor: Compressor, block_size: u32) -> Self {
        // Compressors come with the program, except in builds with another version of zstd. The size
        // of blocks is the size of xz's dictionary.
        let (tool, zstd) = (env!("CARGO_PKG_VERSION"), zstd::zstd_safe::version_number());
        let how = format!("squashfs {GENERATION} {tool} {zstd} {compressor} {block_size}\n");
        Self {
            cache,
            start: Sha256::new().chain_update(how),
        }
    }

    /// Appends what `encoder`, which compresses in that way, makes of `block`.
    pub(super) fn encode(
        &self,
        encoder: &mut Encoder,
        block: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<Form> {
        if block.len() < BLOCK_MIN {
            return encoder.encode(block, output);
        }
        let key = self.start.clone().chain_update(block).finalize().into();
        let start = output.len();
        if self.cache.get(&key, block.len() - 1, output) {
            if output.len() > start {
                return Ok(Form::Compressed);
            }
            output.extend_from_slice(block);
            return Ok(Form::Raw);
        }
        let form = encoder.encode(block, output)?;
        let kept = match form {
            Form::Compressed => &output[start..],
            Form::Raw => &[],
        };
        self.cache.put(&key, kept);
        Ok(form)
    }
}
