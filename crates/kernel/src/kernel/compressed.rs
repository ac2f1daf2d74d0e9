//! Module files without their compression.

use std::io::{BufReader, Read};

use anyhow::{Context, Result, ensure};

/// Largest module that is taken, in bytes without compression; the largest ones of a distribution
/// have some 20 MB.
const MODULE_MAX_BYTES: u64 = 256 << 20;

/// Most memory that decompressing xz may take; `xz -9` needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 96 << 20;

/// The module without compression, which is told by what the file begins with.
pub(super) fn decompressed(file: &mut dyn Read) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(6).read_to_end(&mut start)?;
    let whole = start.as_slice().chain(file);
    let (decoder, what): (Box<dyn Read + '_>, _) = match *start {
        [0x1f, 0x8b, ..] => {
            let decoder = flate2::read::GzDecoder::new(whole);
            (Box::new(decoder), "decompressing it (gzip)")
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = xz2::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, 0)?;
            let decoder = xz2::bufread::XzDecoder::new_stream(BufReader::new(whole), stream);
            (Box::new(decoder), "decompressing it (xz)")
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::new(whole)?;
            (Box::new(decoder), "decompressing it (zstd)")
        }
        _ => (Box::new(whole), "reading it"),
    };
    let mut bytes = Vec::new();
    decoder
        .take(MODULE_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .context(what)?;
    ensure!(
        bytes.len() as u64 <= MODULE_MAX_BYTES,
        "it expands to more than {MODULE_MAX_BYTES} bytes"
    );
    Ok(bytes)
}
