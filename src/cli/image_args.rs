//! Which image, and how to get at it: the same for every command that reads one.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::image::Access;
use crate::os::ReadOptions;
use crate::ostree::ContainerReference;

/// Options for reading an image
#[derive(Debug, Args)]
#[command(next_help_heading = "Image options")]
pub(super) struct ImageArgs {
    /// Architecture to take from an image index
    #[arg(long, value_name = "ARCH", env = "COREOS_BAKE_ARCH")]
    arch: Option<String>,
    /// Registry credentials; a pull secret works
    #[arg(long, value_name = "FILE", env = "COREOS_BAKE_AUTHFILE")]
    authfile: Option<PathBuf>,
    /// Check the registry's certificate
    ///
    /// If not, a registry that doesn't talk TLS is talked to without. One that
    /// does still gets nothing in the clear.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    tls_verify: bool,
    /// Threads to work with
    #[arg(long, value_name = "N", env = "COREOS_BAKE_THREADS")]
    threads: Option<NonZeroUsize>,
}

impl ImageArgs {
    /// One thread per processor unless told otherwise. What is written doesn't depend on it.
    pub(super) fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// Whether credentials were given.
    pub(super) fn has_authfile(&self) -> bool {
        self.authfile.is_some()
    }

    pub(super) fn read_options(
        &self,
        scratch: &Path,
        target_imgref: Option<ContainerReference>,
    ) -> ReadOptions {
        ReadOptions {
            access: Access {
                arch: self.arch.clone(),
                authfile: self.authfile.clone(),
                tls_verify: self.tls_verify,
                ..Access::new(scratch)
            },
            target_imgref,
            threads: self.threads(),
        }
    }
}
