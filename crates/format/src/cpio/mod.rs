//! cpio archives in the "newc" format, and initramfs, which are sequences of them.
//!
//! ```text
//! archive     header 110 bytes | name NUL | pad to 4 | data | pad to 4 | … | member "TRAILER!!!"
//! initramfs   archive | zeros | compressed archives | zeros | …
//! ```
//!
//! Numbers are eight hexadecimal digits each, so no member has 4 GiB or more. The writer is
//! deterministic: inode numbers count up, owner is root, members come in the order given. The
//! reader takes what the kernel takes from a boot loader, and refuses what the kernel would stop
//! at: a segment that begins at the wrong place, junk, data cut short.
//!
//! Left out on purpose: the older formats ("odc", binary), writing hard links and devices.
//!
//! Format: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`, `init/initramfs.c`,
//! `lib/decompress*.c`. Checked against GNU cpio, bsdtar and the command line compressors.

mod compression;
mod describe;
mod format;
mod input;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use compression::Compression;
pub use describe::describe;
pub use reader::{FirstHeader, Limits, Member, Segment, read_first_header, read_initramfs};
pub use writer::{Entry, Writer, header, padding};
