//! Stands in for `zstd` 0.13, whose `pkg-config` feature (asked for by `coreos-installer`) links
//! the host's libzstd. Compressed bytes are part of what coreos-bake promises to reproduce, so the
//! library has to be the locked one. Nothing is changed but that.

pub use zstd::*;
