//! Checksums: CRC-32C in every metadata block.

/// Puts the checksum of `object` into the four bytes at `at`, little-endian as the format wants it
/// in spite of all else; it is taken with those bytes zero.
pub(super) fn seal(object: &mut [u8], at: usize) {
    object[at..at + 4].fill(0);
    let sum = crc32c::crc32c(object);
    object[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}
