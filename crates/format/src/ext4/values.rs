//! Times, owners and device numbers as inode records store them.

use anyhow::{Result, ensure};
use zerocopy::little_endian::{U16, U32};

use super::format::MAP_BYTES;

/// Seconds before 1970 that the signed 32 bits reach.
const EARLIEST: i64 = i32::MIN as i64;
/// The year 2310. Two more bits count epochs of 2^32 s, but in the last one `e2fsck` takes times for
/// such as an old kernel wrote when it meant years before 1970.
const LATEST: i64 = EARLIEST + 3 * (1 << 32) - 1;

/// Whether ext4 can say this time.
pub(super) fn check_time(mtime: i64) -> Result<()> {
    ensure!(
        (EARLIEST..=LATEST).contains(&mtime),
        "its time of {mtime} s is outside of what ext4 stores, {EARLIEST} to {LATEST} s"
    );
    Ok(())
}

/// Low and high half of an owner.
pub(super) fn halves(id: u32) -> (U16, U16) {
    let [a, b, c, d] = id.to_le_bytes();
    (U16::from_bytes([a, b]), U16::from_bytes([c, d]))
}

/// Seconds modulo 2^32, and the epoch that the signed 32 bits are counted from.
pub(super) fn time(seconds: i64) -> (U32, U32) {
    let epoch = (seconds - EARLIEST) >> 32;
    // Both fit: the time was checked, and the low half is cut on purpose.
    (U32::new(seconds as u32), U32::new(epoch as u32 & 3))
}

/// A device number in the block map: the old form where it reaches, or the new one.
pub(super) fn device_map(major: u32, minor: u32) -> Result<[u8; MAP_BYTES]> {
    /// Bits that the new form has for each.
    const MAJOR_BITS: u32 = 12;
    const MINOR_BITS: u32 = 20;
    ensure!(
        major >> MAJOR_BITS == 0 && minor >> MINOR_BITS == 0,
        "the device number {major}:{minor} is beyond what ext4 stores"
    );
    let mut map = [0; MAP_BYTES];
    if major < 256 && minor < 256 {
        map[..4].copy_from_slice(&(major << 8 | minor).to_le_bytes());
    } else {
        let new = minor & 0xff | major << 8 | (minor & !0xff) << 12;
        map[4..8].copy_from_slice(&new.to_le_bytes());
    }
    Ok(map)
}
