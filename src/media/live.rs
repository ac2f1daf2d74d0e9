//! The live system: `rootfs.img` with the root file system in it, and the initramfs that finds it.
//!
//! ```text
//! rootfs.img   cpio(newc): header+name, 124 bytes | root.squashfs | etc/coreos-live-rootfs | *.osmet
//! initrd.img   the image's initramfs | gzip cpio: stamp, features, stream hash | pad to 4 bytes
//! ```
//!
//! The live initramfs mounts the squashfs in place, from offset 124 of rootfs.img on the ISO, or
//! unpacks rootfs.img, checking it chunk by chunk (`rdcore stream-hash`). It takes the members called
//! `*.osmet` out of the archive, from which coreos-installer rebuilds disk images.
//!
//! Contract: osbuild `stages/org.osbuild.coreos.live-artifacts.mono`, fedora-coreos-config
//! `35coreos-live`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::format::cpio;
use crate::format::squashfs;
use crate::os::Facts;
use crate::progress::Progress;
use crate::sysroot::{Platform, Sysroot, live_repo_config};
use crate::tree::{Content, Node, Tree};

/// The file system's name in rootfs.img; with it, the data begins at [`SQUASHFS_OFFSET`].
pub(super) const SQUASHFS_NAME: &str = "root.squashfs";

/// Where live initramfs look for the file system in rootfs.img, in bytes.
pub(super) const SQUASHFS_OFFSET: u64 = 124;

/// Chunk of the stream hash in bytes; readers take up to 64 MiB (rdcore `stream_hash.rs`).
const HASH_CHUNK: u64 = 2 << 20;

/// Longest chunk that those readers take, in bytes.
pub(super) const HASH_CHUNK_MAX: u64 = 64 << 20;

/// How the text of a stream hash begins; the length of a chunk in bytes follows.
pub(super) const HASH_HEAD: &str = "stream-hash sha256 ";

/// Stamp in the live initramfs: its existence is the test for "is this live".
pub(super) const INITRAMFS_STAMP: &str = "etc/coreos-live-initramfs";

/// The stream hash of the rootfs.img that the initramfs takes.
pub(super) const WANTED_ROOTFS: &str = "etc/coreos-live-want-rootfs";

/// The same stamp in rootfs.img; when the two differ, a PXE boot stops.
const ROOTFS_STAMP: &str = "etc/coreos-live-rootfs";

/// Largest configuration of the repository; ours has some 150 bytes.
const REPO_CONFIG_MAX_BYTES: u64 = 64 << 10;

/// The tree of the live root: the disk's, writable, with the kernel at the top of `/boot`.
pub(super) fn root(sysroot: &Sysroot, facts: &Facts) -> Result<Tree> {
    let mut tree = sysroot.tree(facts, Platform::Metal);
    let config = tree.lookup("ostree/repo/config").expect("laid out by us");
    if let Node::File(content) = &mut tree.inode_mut(config).node {
        let text = String::from_utf8(content.to_vec(REPO_CONFIG_MAX_BYTES)?)?;
        *content = Content::bytes(live_repo_config(&text).into_bytes());
    }

    // Live systems check the kernel for FIPS where a disk has /boot mounted.
    let boot = tree.lookup("boot").expect("laid out by us");
    let kernel = tree
        .lookup(&format!("boot/{}", sysroot.boot_directory()))
        .expect("laid out by us");
    let names: Vec<_> = tree
        .children(kernel)
        .filter(|(name, _)| name.starts_with(b"vmlinuz") || name.starts_with(b"."))
        .map(|(name, id)| (name.to_vec(), id))
        .collect();
    for (name, id) in names {
        tree.link(boot, &name, id);
    }
    Ok(tree)
}

/// A member of rootfs.img from which the live system rebuilds a metal image.
#[derive(Debug)]
pub(super) struct Osmet {
    /// Its name; the live initramfs looks for `*.osmet` at the top.
    pub(super) name: String,
    /// The osmet file.
    pub(super) content: Content,
}

/// Writes rootfs.img. `osmet` is called while the file system is being written.
pub(super) fn write_rootfs(
    tree: &Tree,
    facts: &Facts,
    options: &squashfs::Options,
    osmet: impl FnOnce() -> Result<Vec<Osmet>> + Send,
    out: &File,
    progress: &dyn Progress,
) -> Result<()> {
    let (written, osmet) = thread::scope(|scope| {
        let osmet = scope.spawn(osmet);
        let written = squashfs::write(tree, options, out, SQUASHFS_OFFSET, &|bytes| {
            progress.advance(bytes);
        })
        .context("writing the live root file system");
        (written, osmet.join().expect("packing does not panic"))
    });
    let (written, osmet) = (written?, osmet?);
    let head = cpio::header(1, &cpio::Entry::file(SQUASHFS_NAME, 0o644), written.bytes)?;
    debug_assert_eq!(head.len() as u64, SQUASHFS_OFFSET);
    out.write_all_at(&head, 0).context("writing rootfs.img")?;

    let mut rest = out;
    rest.seek(SeekFrom::Start(SQUASHFS_OFFSET + written.bytes))
        .and_then(|_| rest.write_all(&[0; 4][..cpio::padding(written.bytes)]))
        .context("writing rootfs.img")?;
    let mut archive = cpio::Writer::after(2, BufWriter::new(rest));
    archive.directory("etc", 0o755)?;
    archive.file(
        ROOTFS_STAMP,
        0o644,
        format!("{}\n", facts.version).as_bytes(),
    )?;
    for Osmet { name, content } in osmet {
        let entry = cpio::Entry::file(&name, 0o644);
        archive.member(&entry, content.len(), &mut content.reader())?;
    }
    archive.finish()?.flush().context("writing rootfs.img")?;
    Ok(())
}

/// The initramfs of live media. `rootfs` is the finished rootfs.img.
pub(super) fn write_initrd(
    base: &Content,
    facts: &Facts,
    rootfs: &Arc<File>,
    threads: usize,
    out: &mut File,
) -> Result<()> {
    let length = rootfs.metadata()?.len();
    let rootfs = Content::range(Arc::clone(rootfs), 0, length);
    let hash = stream_hash(&rootfs, HASH_CHUNK, threads)?;
    let features = serde_json::to_string_pretty(&facts.features())? + "\n";
    let members = BTreeMap::from([
        (INITRAMFS_STAMP, format!("{}\n", facts.version)),
        (WANTED_ROOTFS, hash),
        ("etc/coreos/features.json", features),
    ]);
    let mut archive = Vec::new();
    let mut writer = cpio::Writer::new(&mut archive);
    writer.directory("etc", 0o755)?;
    writer.directory("etc/coreos", 0o755)?;
    for (name, text) in members {
        writer.file(name, 0o644, text.as_bytes())?;
    }
    writer.finish()?;

    let length = io::copy(&mut base.reader(), out).context("copying the image's initramfs")?;
    // The kernel looks for the next archive at a multiple of four, wherever the last one ended.
    pad(out, length)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&archive)?;
    let appended = gzip.finish()?;
    out.write_all(&appended)
        .context("writing the live initramfs")?;
    // PXE users append rootfs.img, which is not compressed and has to begin at a multiple of four.
    pad(out, appended.len() as u64)
}

fn pad(out: &mut File, length: u64) -> Result<()> {
    out.write_all(&vec![0; cpio::padding(length)])
        .context("writing the live initramfs")
}

/// The text that `rdcore stream-hash` checks a download against: a header, then one SHA-256 a
/// chunk. Chunks are independent, so several threads share the work.
pub(super) fn stream_hash(content: &Content, chunk_bytes: u64, threads: usize) -> Result<String> {
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
pub(super) fn sha256(file: &Arc<File>) -> Result<String> {
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
