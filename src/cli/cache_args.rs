//! Where compressed blocks are kept between bakes.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use super::size::size;
use crate::cache::Cache;

/// Options for what is kept between bakes
#[derive(Debug, Args)]
#[command(next_help_heading = "Cache options")]
pub(super) struct CacheArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Compress everything anew, and keep nothing
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
    #[command(flatten)]
    size: SizeArgs,
}

#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Where compressed blocks are kept for the next bake
    ///
    /// Without it, in $XDG_CACHE_HOME/coreos-bake/blocks or
    /// ~/.cache/coreos-bake/blocks. What is written doesn't depend on it. Whoever
    /// can write there can change what the next bake writes. Levels that compress
    /// quickly, such as --compression fast, use no cache.
    #[arg(long, value_name = "DIR", env = "COREOS_BAKE_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SizeArgs {
    /// What the cache may hold; what was not used for longest goes first
    #[arg(
        long = "cache-size",
        value_name = "SIZE",
        value_parser = size,
        default_value = "8G",
        env = "COREOS_BAKE_CACHE_SIZE"
    )]
    pub(super) bytes: u64,
}

impl PlaceArgs {
    /// The directory, if there is a home for one.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        self.cache.clone().or_else(default_directory)
    }
}

impl CacheArgs {
    /// The cache, if there is to be one. Only one that was asked for by name has to be usable.
    pub(super) fn open(&self) -> Result<Option<Arc<Cache>>> {
        if self.no_cache {
            return Ok(None);
        }
        let Some(directory) = self.place.directory() else {
            return Ok(None);
        };
        let opened = match &self.place.cache {
            Some(named) => Cache::open(named, self.size.bytes),
            None => Cache::open_own(&directory, self.size.bytes),
        };
        match opened {
            Ok(cache) => {
                tracing::info!("the cache is in {}", directory.display());
                Ok(Some(Arc::new(cache)))
            }
            Err(error) if self.place.cache.is_some() => Err(error),
            Err(error) => {
                tracing::info!("baking without a cache: {error:#}");
                Ok(None)
            }
        }
    }
}

/// As the XDG base directory specification has it: a relative path counts as none.
fn default_directory() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let caches =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join("coreos-bake/blocks"))
}
