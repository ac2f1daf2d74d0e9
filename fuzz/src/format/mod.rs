//! Formats that are read from foreign bytes.

#[path = "../../../src/format/cpio/mod.rs"]
pub mod cpio;
