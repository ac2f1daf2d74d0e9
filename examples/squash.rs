//! `squash TAR OUT LEVEL`: a tar archive as a squashfs image, for `scripts/bench/run`.
//!
//! The archive goes into a tree first, its contents into a store, as in a bake; then the writer runs.
//! Each step's seconds are printed, so that the writer can be compared with other tools alone.

mod common;

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bake_format::squashfs::{self, Compressor};
use bake_tree::Store;

/// Far above any image; a store wants a limit.
const STORE_LIMIT: u64 = 1 << 40;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tar, out, level] = &arguments[..] else {
        bail!("usage: squash TAR OUT LEVEL");
    };
    let level = level.parse().context("reading the level")?;

    let began = Instant::now();
    let out = Path::new(out);
    let store = Store::create(out.parent().context("OUT names no file")?, STORE_LIMIT)?;
    let tree = common::read(
        File::open(tar).with_context(|| format!("opening {tar}"))?,
        &store,
    )?;
    let read_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let file = File::create(out).with_context(|| format!("creating {}", out.display()))?;
    let options = squashfs::Options {
        compressor: Compressor::Zstd { level },
        ..squashfs::Options::default()
    };
    let written = squashfs::write(&tree, &options, &file, 0, &|_| ())?;
    println!(
        "{}",
        serde_json::json!({
            "read_seconds": read_seconds,
            "write_seconds": began.elapsed().as_secs_f64(),
            "bytes": written.bytes,
            "content_bytes": written.content_bytes,
            "inodes": written.inodes,
        })
    );
    Ok(())
}
