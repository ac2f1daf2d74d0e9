//! Records and constants of the newc format.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `magic` of an archive without checksums.
pub(super) const MAGIC: [u8; 6] = *b"070701";

/// `magic` of an archive with a checksum for each member.
pub(super) const MAGIC_CHECKSUM: [u8; 6] = *b"070702";

/// What both begin with, and the portable format, which the kernel refuses, as well.
pub(super) const MAGIC_START: [u8; 4] = *b"0707";

/// Name of the member that ends an archive.
pub(super) const TRAILER: &str = "TRAILER!!!";

/// Headers and data begin at multiples of this many bytes.
pub(super) const ALIGNMENT: u64 = 4;

/// Longest name with its NULs, in bytes; the kernel skips what has a longer one (`PATH_MAX`).
pub(super) const NAME_FIELD_MAX: u32 = 4096;

/// File type bits of a mode, and the types told apart.
pub(super) const S_IFMT: u32 = 0o170_000;
pub(super) const S_IFREG: u32 = 0o100_000;
pub(super) const S_IFDIR: u32 = 0o040_000;
pub(super) const S_IFLNK: u32 = 0o120_000;

/// A number as eight hexadecimal digits; readers take either case, we write upper case as GNU cpio.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub(super) struct Hex([u8; 8]);

impl Hex {
    pub(super) fn new(value: u32) -> Self {
        let mut digits = [0; 8];
        for (digit, shift) in digits.iter_mut().zip((0..32).step_by(4).rev()) {
            *digit = b"0123456789ABCDEF"[(value >> shift & 0xf) as usize];
        }
        Self(digits)
    }

    /// The number; None if these are not eight hexadecimal digits.
    pub(super) fn get(self) -> Option<u32> {
        self.0.iter().try_fold(0, |value, digit| {
            Some(value << 4 | char::from(*digit).to_digit(16)?)
        })
    }
}

/// Header of a member. The name follows, then zeros up to a multiple of four bytes from here.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 6],  // 0x00
    pub(super) ino: Hex,        // 0x06
    pub(super) mode: Hex,       // 0x0e  with file type
    pub(super) uid: Hex,        // 0x16
    pub(super) gid: Hex,        // 0x1e
    pub(super) nlink: Hex,      // 0x26
    pub(super) mtime: Hex,      // 0x2e  seconds since 1970
    pub(super) file_size: Hex,  // 0x36  bytes
    pub(super) dev_major: Hex,  // 0x3e
    pub(super) dev_minor: Hex,  // 0x46
    pub(super) rdev_major: Hex, // 0x4e
    pub(super) rdev_minor: Hex, // 0x56
    pub(super) name_size: Hex,  // 0x5e  bytes with the NUL
    pub(super) checksum: Hex,   // 0x66  sum of the data's bytes with 070702, else 0
}
const _: () = assert!(size_of::<Header>() == 110);
