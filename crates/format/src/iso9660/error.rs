//! Why an ISO can't be read.

use std::io;

use thiserror::Error;

/// Why an ISO can't be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Something else than an ISO.
    #[error("there is no ISO 9660 volume in it")]
    NotIso,
    /// The volume goes on behind the end of the file.
    #[error("it is incomplete: the volume has {volume_bytes} bytes, the file only {file_bytes}")]
    Incomplete {
        /// What the volume says.
        volume_bytes: u64,
        /// What there is.
        file_bytes: u64,
    },
    /// An ISO that contradicts itself or exceeds what is read.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The file can't be read.
    #[error("reading sector {sector}")]
    Io {
        /// The first of the sectors that were to be read.
        sector: u32,
        /// Why it can't.
        source: io::Error,
    },
}
