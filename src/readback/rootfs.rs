//! `rootfs.img`: where the root file system is in it, and the hash by which a live initramfs knows it.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::tree::Content;

/// The file system's name in rootfs.img; with it, the data begins at [`SQUASHFS_OFFSET`].
pub const SQUASHFS_NAME: &str = "root.squashfs";

/// Where live initramfs look for the file system in rootfs.img, in bytes.
pub const SQUASHFS_OFFSET: u64 = 124;

/// Chunk of the stream hash in bytes; readers take up to 64 MiB (rdcore `stream_hash.rs`).
pub const HASH_CHUNK: u64 = 2 << 20;

/// Longest chunk that those readers take, in bytes.
pub(super) const HASH_CHUNK_MAX: u64 = 64 << 20;

/// How the text of a stream hash begins; the length of a chunk in bytes follows.
pub(super) const HASH_HEAD: &str = "stream-hash sha256 ";

/// The text that `rdcore stream-hash` checks a download against: a header, then one SHA-256 a
/// chunk. Chunks are independent, so several threads share the work.
pub fn stream_hash(content: &Content, chunk_bytes: u64, threads: usize) -> Result<String> {
    let length = content.len();
    let chunks = usize::try_from(length.div_ceil(chunk_bytes))?;
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, String)>> {
        let mut done = Vec::new();
        let mut buffer = vec![0; chunk_bytes.min(length) as usize];
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                return Ok(done);
            }
            let start = chunk as u64 * chunk_bytes;
            let part = &mut buffer[..chunk_bytes.min(length - start) as usize];
            content.read_at(start, part)?;
            done.push((chunk, hex::encode(Sha256::digest(part))));
        }
    };
    let mut digests: Vec<(usize, String)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("hashing does not panic"))
            .collect::<io::Result<Vec<_>>>()
    })
    .context("reading rootfs.img")?
    .into_iter()
    .flatten()
    .collect();
    digests.sort_unstable();
    let mut text = format!("{HASH_HEAD}{chunk_bytes}\n");
    for (_, digest) in digests {
        text.push_str(&digest);
        text.push('\n');
    }
    Ok(text)
}

/// SHA-256 of a file from its start to its end, as lower-case hex.
pub fn sha256(file: &Arc<File>) -> Result<String> {
    let mut reader = Content::range(Arc::clone(file), 0, file.metadata()?.len()).reader();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_hash_counts_the_short_last_chunk() {
        let content = Content::bytes(vec![7; HASH_CHUNK as usize + 1]);
        let text = stream_hash(&content, HASH_CHUNK, 3).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "stream-hash sha256 2097152");
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], hex::encode(Sha256::digest([7])));
        assert_eq!(text, stream_hash(&content, HASH_CHUNK, 1).unwrap());
    }
}
