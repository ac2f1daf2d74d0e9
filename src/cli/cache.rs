//! `coreos-bake cache`: what is kept between bakes, and how to be rid of it.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde_json::json;

use super::Outcome;
use super::cache_args::{PlaceArgs, SizeArgs};
use super::size::size;
use super::terminal::Terminal;
use crate::cache::{self, Amount};
use crate::failure::Failure;

/// Show or prune what is kept between bakes
///
/// Bakes keep compressed blocks, so that the next one compresses only what has
/// changed. Nothing is lost without them but time.
#[derive(Debug, Args)]
pub(super) struct CacheCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Show(ShowArgs),
    Prune(PruneArgs),
}

/// Tell where the cache is, and how large
#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    limit: SizeArgs,
}

/// Remove blocks, those first that were not used for longest
#[derive(Debug, Args)]
struct PruneArgs {
    /// Leave blocks of at most so many bytes together, such as 1G
    #[arg(long, value_name = "SIZE", value_parser = size, required_unless_present = "all")]
    size: Option<u64>,
    /// Leave nothing
    #[arg(long, conflicts_with = "size")]
    all: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

impl CacheCommand {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        match self.what {
            What::Show(args) => args.run(terminal),
            What::Prune(args) => args.run(terminal),
        }
    }
}

impl ShowArgs {
    fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let directory = directory(&self.place)?;
        let held = cache::look(&directory)?;
        let limit = self.limit.bytes;
        let value = json!({
            "schema": "coreos-bake/cache/v1",
            "directory": directory,
            "blocks": held.entries,
            "bytes": held.bytes,
            "limit-bytes": limit,
        });
        let text = format!(
            "directory  {}\nblocks     {}\nsize       {} of {}\n",
            directory.display(),
            held.entries,
            HumanBytes(held.bytes),
            HumanBytes(limit),
        );
        terminal.result(&value, &text)?;
        Ok(Outcome::Done)
    }
}

impl PruneArgs {
    fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let directory = directory(&self.place)?;
        let removed = match self.size.filter(|_| !self.all) {
            Some(limit) => cache::prune(&directory, limit)?,
            None => cache::clear(&directory)?,
        };
        let held = cache::look(&directory)?;
        let value = json!({
            "schema": "coreos-bake/cache/v1",
            "directory": directory,
            "blocks": held.entries,
            "bytes": held.bytes,
            "removed-blocks": removed.entries,
            "removed-bytes": removed.bytes,
        });
        let amount = |amount: Amount| {
            let blocks = if amount.entries == 1 {
                "block"
            } else {
                "blocks"
            };
            format!("{} {blocks} ({})", amount.entries, HumanBytes(amount.bytes))
        };
        let (gone, left) = (amount(removed), amount(held));
        let text = format!("removed {gone}; {left} left in {}\n", directory.display());
        terminal.result(&value, &text)?;
        Ok(Outcome::Done)
    }
}

fn directory(place: &PlaceArgs) -> Result<PathBuf> {
    place.directory().ok_or_else(|| {
        Failure::new(
            "there is no home directory for a cache",
            "name one with --cache",
        )
        .into()
    })
}
