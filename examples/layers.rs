//! Reads and verifies every layer of an image, and nothing else: what `check` is measured against.
//!
//!     layers IMAGE [THREADS]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use coreos_bake::testing::image::{self, Access};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let reference = arguments.next().context("which image?")?.parse()?;
    let threads = match arguments.next() {
        Some(text) => text.parse()?,
        None => thread::available_parallelism()?.get(),
    };
    let image = image::open(&reference, &Access::new(std::env::temp_dir()))?;
    let next = AtomicUsize::new(0);
    let bytes = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Result<u64> {
                    let mut bytes = 0;
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= image.layers.len() {
                            return Ok(bytes);
                        }
                        bytes += std::io::copy(&mut image.layer(index)?, &mut std::io::sink())?;
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("reading does not panic"))
            .sum::<Result<u64>>()
    })?;
    ensure!(bytes > 0, "the image has no layers");
    println!("{bytes}");
    Ok(())
}
