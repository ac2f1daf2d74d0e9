//! `xfs TAR OUT`: a tar archive as an XFS image, for `scripts/bench/disks`.
//!
//! The archive goes into a tree first, its contents into a store, as in a bake; then the writer runs.
//! Each step's seconds are printed.

mod common;

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bake_format::progress::Silent;
use bake_format::xfs::{Layout, Options};
use bake_tree::Store;

/// Far above any image; a store wants a limit.
const STORE_LIMIT: u64 = 1 << 40;
/// Room to spare, as in a metal image.
const SLACK: u64 = 512 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tar, out] = &arguments[..] else {
        bail!("usage: xfs TAR OUT");
    };
    let began = Instant::now();
    let out = Path::new(out);
    let store = Store::create(out.parent().context("OUT names no file")?, STORE_LIMIT)?;
    let archive = File::open(tar).with_context(|| format!("opening {tar}"))?;
    let tree = common::read(archive, &store)?;
    let read_seconds = began.elapsed().as_secs_f64();
    // What was read is still to be written back, and the kernel slows down who adds to that.
    rustix::fs::sync();

    let began = Instant::now();
    let mut options = Options {
        size_bytes: 0,
        sector_size: 512,
        agcount: 2,
        label: "root".to_owned(),
        uuid: *b"coreos-bake-test",
    };
    options.size_bytes =
        (Layout::minimum_bytes(&tree, &options)? + SLACK).next_multiple_of(1 << 20);
    let layout = Layout::plan(&tree, &options)?;
    let file = File::create(out).with_context(|| format!("creating {}", out.display()))?;
    layout.write(&file, 0, &Silent)?;
    println!(
        "{}",
        serde_json::json!({
            "read_seconds": read_seconds,
            "write_seconds": began.elapsed().as_secs_f64(),
            "bytes": options.size_bytes,
            "content_bytes": layout.content_bytes(),
        })
    );
    Ok(())
}
