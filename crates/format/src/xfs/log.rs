//! The log: one record that says the file system was unmounted, then zeros.
//!
//! A log of nothing but zeros mounts too, but the kernel then accounts for its space wrongly and may
//! hang at unmount.

use zerocopy::big_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use super::format::{LogRecord, NULL};

const MAGIC: u32 = 0xfeed_babe;
/// First word of the operation behind the header: a transaction id that mkfs.xfs made up. The cycle
/// takes its place there.
const TRANSACTION: u32 = 0xb0c0_d0d0;
/// The rest of the operation: length 8, by the log itself, of kind "unmount"; then the magic number
/// that says so, in little-endian, and nothing.
const UNMOUNT: [u8; 14] = [0, 0, 0, 8, 0xaa, 0x20, 0, 0, 0x6e, 0x55, 0, 0, 0, 0];
const CYCLE: u32 = 1;
/// The log counts in these.
const LOG_BLOCK: u32 = 512;
/// Format of the records, little-endian machines.
const FORMAT: u32 = 1;
/// Bytes of a log buffer.
const BUFFER_BYTES: u32 = 32 << 10;

/// The start of the log.
pub(super) fn start(uuid: [u8; 16], sector_bytes: u32) -> Vec<u8> {
    // Records take whole sectors, header included; one block is the least that follows it.
    let blocks = (sector_bytes / LOG_BLOCK).max(2);
    let mut record = LogRecord::new_zeroed();
    record.magic = MAGIC.into();
    record.cycle = CYCLE.into();
    record.version = U32::new(2);
    record.bytes = U32::new((blocks - 1) * LOG_BLOCK);
    record.lsn = [CYCLE.into(), U32::ZERO];
    record.tail = record.lsn;
    record.previous = NULL.into();
    record.operations = U32::new(1);
    record.first_words[0] = TRANSACTION.into();
    record.format = FORMAT.into();
    record.uuid = uuid;
    record.buffer_bytes = BUFFER_BYTES.into();

    let mut bytes = record.as_bytes().to_vec();
    for block in 1..blocks {
        bytes.extend_from_slice(&CYCLE.to_be_bytes());
        if block == 1 {
            bytes.extend_from_slice(&UNMOUNT);
        }
        bytes.resize(((block + 1) * LOG_BLOCK) as usize, 0);
    }
    bytes
}
