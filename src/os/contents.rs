//! How many bytes the files of an image have, before they are unpacked.

use crate::image::{Compression, Image};

/// Most bytes of file contents that one image may unpack to. Real ones are below 10 GiB; a bomb
/// is stopped before it fills the disk.
pub(super) const CONTENTS_MAX_BYTES: u64 = 64 << 30;

/// About how many bytes the files of an image have.
pub fn contents_of(image: &Image) -> u64 {
    let layers = image.layers.iter();
    let bytes = layers.map(|layer| match layer.compression {
        Compression::None => layer.size_bytes,
        Compression::Gzip | Compression::Zstd => layer.size_bytes.saturating_mul(11) / 5,
    });
    // What a manifest says is believed up to the most that is ever kept, so that sums stay in bounds.
    bytes.fold(0, u64::saturating_add).min(CONTENTS_MAX_BYTES)
}
