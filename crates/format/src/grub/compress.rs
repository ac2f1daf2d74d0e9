//! LZMA without a header, for a decoder that knows its parameters.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use xz2::stream::{LzmaOptions, Stream};
use xz2::write::XzEncoder;

/// liblzma's best, with `xz --extreme`'s patience: there are only hundreds of KiB to compress.
const PRESET: u32 = 9 | 1 << 31;

/// What GRUB's own tool takes. Its decoder finds matches in its output, at any distance.
const DICTIONARY_BYTES: u32 = 1 << 16;

/// `lc` = 3, `lp` = 0, `pb` = 2: built into `lzma_decompress.img`.
const LITERAL_CONTEXT_BITS: u32 = 3;
const LITERAL_POSITION_BITS: u32 = 0;
const POSITION_BITS: u32 = 2;

/// The three in one, as the header of `.lzma` files has them.
const PROPERTIES: u8 =
    ((POSITION_BITS * 5 + LITERAL_POSITION_BITS) * 9 + LITERAL_CONTEXT_BITS) as u8;

/// Properties, size of the dictionary, length: the header of `.lzma` files.
const HEADER_BYTES: usize = 1 + 4 + 8;

/// Compresses `bytes`. An end marker follows, which GRUB's decoder does not reach.
pub(super) fn lzma(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(PRESET).context("setting up LZMA")?;
    options
        .dict_size(DICTIONARY_BYTES)
        .literal_context_bits(LITERAL_CONTEXT_BITS)
        .literal_position_bits(LITERAL_POSITION_BITS)
        .position_bits(POSITION_BITS);
    let stream = Stream::new_lzma_encoder(&options).context("setting up LZMA")?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    let mut out = encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .context("compressing GRUB's core image")?;
    ensure!(
        out.first() == Some(&PROPERTIES) && out.len() > HEADER_BYTES,
        "liblzma did not take the parameters that GRUB needs"
    );
    Ok(out.split_off(HEADER_BYTES))
}

/// Undoes [`lzma`]: `length` bytes.
#[cfg(test)]
pub(super) fn unlzma(compressed: &[u8], length: usize) -> std::io::Result<Vec<u8>> {
    let mut file = vec![PROPERTIES];
    file.extend_from_slice(&DICTIONARY_BYTES.to_le_bytes());
    // Not known: liblzma refuses an end marker after a known length.
    file.extend_from_slice(&u64::MAX.to_le_bytes());
    file.extend_from_slice(compressed);
    let stream = Stream::new_lzma_decoder(u64::MAX)?;
    let mut out = vec![0; length];
    let mut decoder = xz2::read::XzDecoder::new_stream(file.as_slice(), stream);
    std::io::Read::read_exact(&mut decoder, &mut out)?;
    Ok(out)
}
