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
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::format::cpio;
use crate::format::squashfs;
use crate::os::Facts;
use crate::progress::Progress;
use crate::readback::{
    FEATURES, HASH_CHUNK, INITRAMFS_STAMP, ROOTFS_STAMP, SQUASHFS_NAME, SQUASHFS_OFFSET,
    WANTED_ROOTFS, stream_hash,
};
use crate::sysroot::{Platform, Sysroot, live_repo_config};
use crate::tree::{Content, Node, Tree};

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
        (FEATURES, features),
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
