//! Every reader of foreign bytes, run to its end on any bytes. Compiled by `scripts/fuzz` only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::containerfile::{self, Wanted};
use crate::format::{cpio, ext4, fat, gpt, iso9660, qcow2, squashfs, xfs};
use crate::hosts::Inventory;
use crate::image::{self, Access, Digest, ImageRef};
use crate::kernel::{self, Boot, BuildFiles, Depmod, Files, Initramfs, ModuleInfo};
use crate::openshift::PullSecret;
use crate::ostree::fuzz as ostree;
use crate::record::Record;
use crate::selinux::{FileKind, Policy};
use crate::tree::{Content, Follow, Look, ReadAt};
use crate::{certificate, ignition, netboot};

/// A reader.
pub type Target = fn(&[u8]);

/// All of them, by the names that `scripts/fuzz` takes.
pub const TARGETS: [(&str, Target); 28] = [
    ("bake-json", bake_json),
    ("certificates", certificates),
    ("containerfile", containerfile),
    ("ext4", |bytes| {
        look(ext4::reader::Reader::open(padded(bytes)))
    }),
    ("fat", |bytes| {
        drop(fat::Reader::open(padded(bytes)).and_then(|volume| volume.files()))
    }),
    ("file-contexts", file_contexts),
    ("gpt", partitions),
    ("ignition", ignition),
    ("initramfs", initramfs),
    ("inventory-csv", |bytes| inventory("csv", bytes)),
    ("inventory-yaml", |bytes| inventory("yaml", bytes)),
    ("iso9660", iso9660),
    ("kernel", |bytes| drop(kernel::release_of(bytes))),
    ("layer", |bytes| ostree::layer(&with_checksums(bytes))),
    ("module", module),
    ("oci-archive", archive),
    ("oci-config", oci_config),
    ("oci-index", |bytes| layout(bytes, &[])),
    ("oci-manifest", oci_manifest),
    ("ostree-objects", ostree::objects),
    ("ostree-repository", |bytes| {
        ostree::repository(&with_checksums(bytes))
    }),
    ("pax", ostree::records),
    ("pull-secret", |bytes| drop(PullSecret::parse(bytes))),
    ("qcow2", disk),
    ("reference", reference),
    ("squashfs", |bytes| {
        look(squashfs::Reader::open(content(bytes)))
    }),
    ("url", addresses),
    ("xfs", file_system),
];

/// Most of a file that is read.
const READ_MAX_BYTES: u64 = 1 << 20;

/// Most inodes of a file system that are visited.
const VISITED_MAX: usize = 1000;

/// The input, and zeros up to the length of a small disk: file systems are larger than what fuzzers change well.
#[derive(Debug)]
struct Padded(Vec<u8>);

const DISK_BYTES: u64 = 64 << 20;

impl ReadAt for Padded {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let known = usize::try_from(offset)
            .ok()
            .and_then(|at| self.0.get(at..))
            .unwrap_or_default();
        let count = known.len().min(buffer.len());
        buffer[..count].copy_from_slice(&known[..count]);
        buffer[count..].fill(0);
        Ok(())
    }
}

fn padded(bytes: &[u8]) -> Content {
    let len = DISK_BYTES.max(bytes.len() as u64);
    Content::composed(Arc::new(Padded(bytes.to_vec())), len)
}

fn content(bytes: &[u8]) -> Content {
    Content::bytes(bytes)
}

/// Readers of files get one, of this name.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(name);
    fs::write(&path, bytes).expect("there is room for the input");
    path
}

/// Visits a file system from its root.
fn look<R: Look>(opened: anyhow::Result<R>) {
    let Ok(reader) = opened else { return };
    let Ok(root) = reader.root() else { return };
    let mut ahead = vec![root];
    let mut visited = 0;
    while let Some(entry) = ahead.pop() {
        visited += 1;
        if visited > VISITED_MAX {
            return;
        }
        let _ = reader.target(&entry);
        let _ = reader.bytes(&entry, READ_MAX_BYTES);
        let _ = reader.content(&entry);
        if reader.is_directory(&entry) {
            for name in reader.names(&entry).unwrap_or_default() {
                ahead.extend(reader.child(&entry, &name).ok().flatten());
                if ahead.len() > VISITED_MAX {
                    return;
                }
            }
        }
    }
    let _ = reader.lookup("usr/lib/../bin/sh", Follow::Last);
}

fn file_system(bytes: &[u8]) {
    if let Ok(reader) = xfs::reader::Reader::open(padded(bytes)) {
        let _ = reader.check();
        look(Ok(reader));
    }
}

fn iso9660(bytes: &[u8]) {
    let Ok(reader) = iso9660::Reader::open(content(bytes)) else {
        return;
    };
    let _ = reader.facts();
    let paths: Vec<String> = reader.paths().map(str::to_owned).collect();
    for path in paths.iter().take(VISITED_MAX) {
        if let Ok(Some(file)) = reader.file(path) {
            let _ = file.to_vec(READ_MAX_BYTES);
        }
    }
}

fn partitions(bytes: &[u8]) {
    let disk = padded(&with_gpt_checksums(bytes));
    if let Ok(Some(table)) = gpt::Table::read(&disk) {
        let _ = table.compare_backup(&disk);
        for partition in &table.partitions {
            let _ = partition.content(&disk, table.sector_size);
        }
    }
}

fn disk(bytes: &[u8]) {
    if let Ok(reader) = qcow2::Reader::open(content(bytes)) {
        let disk = reader.into_content();
        let mut buffer = [0; 4096];
        for offset in [0, disk.len() / 2, disk.len().saturating_sub(4096)] {
            let _ = disk.read_at(offset, &mut buffer);
        }
        let _ = disk.to_vec(READ_MAX_BYTES);
    }
}

fn initramfs(bytes: &[u8]) {
    let _ = cpio::read_first_header(&content(bytes));
    let Ok(initramfs) = Initramfs::read(bytes) else {
        return;
    };
    for release in initramfs.list("usr/lib/modules").unwrap_or_default() {
        let boot = Boot {
            files: &initramfs,
            image: &initramfs,
            release: &release,
            arguments: &[],
            initramfs: true,
        };
        let _ = kernel::look_up_at(&boot, "disk");
    }
}

fn module(bytes: &[u8]) {
    let _ = ModuleInfo::read(bytes);
    let mut depmod = Depmod::new("6.1.0", &[]).expect("no configuration is a right one");
    if depmod.add("extra/disk.ko", &mut &*bytes).is_ok() {
        let _ = depmod.finish(&BuildFiles::default());
    }
}

fn containerfile(bytes: &[u8]) {
    let drivers = ["disk".to_owned()];
    let wanted = Wanted {
        drivers: &drivers,
        kernel: Some("6.1.0"),
        left_out: &drivers,
    };
    let _ = containerfile::lint(bytes, &wanted);
}

fn file_contexts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0');
    let main = parts.next().unwrap_or_default();
    let Ok(policy) = Policy::parse(main, parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    for path in [
        "/",
        "/usr/bin/sh",
        "/usr/lib/modules/6.1.0/a.ko",
        "/home/a/b.c",
        "/etc/x y",
    ] {
        for kind in [FileKind::Regular, FileKind::Directory, FileKind::Symlink] {
            let _ = policy.try_label(path.as_bytes(), kind);
        }
    }
    let _ = policy.check();
}

fn ignition(bytes: &[u8]) {
    let Ok(config) = ignition::parse(bytes) else {
        return;
    };
    let _ = ignition::validate(&config.value);
    let _ = ignition::merge(&config.value, &config.value);
    let _ = ignition::flatten(&config.value);
    let _ = ignition::ignored_once_from(&config.value);
}

fn inventory(ending: &str, bytes: &[u8]) {
    let _ = Inventory::read(&file(&format!("hosts.{ending}"), bytes));
}

fn bake_json(bytes: &[u8]) {
    let _ = Record::read(&file("bake.json", bytes));
}

fn certificates(bytes: &[u8]) {
    certificate::certificates(&String::from_utf8_lossy(bytes)).for_each(drop);
}

fn reference(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<ImageRef>();
    let _ = text.parse::<Digest>();
    let _ = image::without_prefix(&text);
}

fn addresses(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = netboot::check_base(&text);
    let _ = netboot::check_rootfs(&text);
}

fn archive(bytes: &[u8]) {
    open(&format!(
        "oci-archive:{}",
        file("image.tar", &with_checksums(bytes)).display()
    ));
}

/// Opens an image and reads its layers.
fn open(reference: &str) {
    let reference = reference.parse().expect("a reference");
    let Ok(image) = image::open(&reference, &Access::new(std::env::temp_dir())) else {
        return;
    };
    for index in 0..image.layers.len().min(16) {
        if let Ok(mut layer) = image.layer(index) {
            let _ = std::io::copy(
                &mut std::io::Read::take(&mut layer, READ_MAX_BYTES),
                &mut std::io::sink(),
            );
        }
    }
}

/// Opens a layout with this index and these blobs.
fn layout(index: &[u8], blobs: &[&[u8]]) {
    let directory = std::env::temp_dir().join("layout");
    let place = directory.join("blobs/sha256");
    // Blobs of earlier inputs would fill the disk.
    let _ = fs::remove_dir_all(&directory);
    let write =
        |path: &Path, bytes: &[u8]| fs::write(path, bytes).expect("there is room for a layout");
    fs::create_dir_all(&place).expect("there is room for a directory");
    for blob in blobs {
        write(
            &place.join(
                Digest::sha256(blob)
                    .to_string()
                    .trim_start_matches("sha256:"),
            ),
            blob,
        );
    }
    write(
        &directory.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    );
    write(&directory.join("index.json"), index);
    open(&format!("oci:{}", directory.display()));
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    let digest = Digest::sha256(blob).to_string();
    json!({ "mediaType": media_type, "digest": digest, "size": blob.len() })
}

fn oci_manifest(manifest: &[u8]) {
    let of = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
    let index = json!({ "schemaVersion": 2, "manifests": [of] }).to_string();
    layout(index.as_bytes(), &[manifest]);
}

fn oci_config(config: &[u8]) {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", config)],
    });
    let manifest = manifest.to_string();
    let of = descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.as_bytes(),
    );
    let index = json!({ "schemaVersion": 2, "manifests": [of] }).to_string();
    layout(index.as_bytes(), &[manifest.as_bytes(), config]);
}

/// A tar archive whose headers have right checksums, which no fuzzer finds.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    const SUM: std::ops::Range<usize> = 148..156;
    let mut tar = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        header[SUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..136]).unwrap_or_default();
        let size = size.trim_matches(['\0', ' ']);
        let size = usize::from_str_radix(size, 8).unwrap_or(0);
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        at = at
            .saturating_add(BLOCK)
            .saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
    }
    tar
}

/// A disk whose first partition table has right checksums.
fn with_gpt_checksums(bytes: &[u8]) -> Vec<u8> {
    const HEADER: usize = 512;
    let mut disk = bytes.to_vec();
    let number = |disk: &[u8], at: usize| -> Option<usize> {
        let bytes = disk.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let _: Option<()> = (|| {
        let (count, size) = (number(&disk, HEADER + 80)?, number(&disk, HEADER + 84)?);
        let start = number(&disk, HEADER + 72)?.checked_mul(512)?;
        let sum = crc32(disk.get(start..start.checked_add(count.checked_mul(size)?)?)?);
        disk.get_mut(HEADER + 88..HEADER + 92)?
            .copy_from_slice(&sum.to_le_bytes());
        let length = number(&disk, HEADER + 12)?;
        disk.get_mut(HEADER + 16..HEADER + 20)?.fill(0);
        let sum = crc32(disk.get(HEADER..HEADER.checked_add(length)?)?);
        disk.get_mut(HEADER + 16..HEADER + 20)?
            .copy_from_slice(&sum.to_le_bytes());
        Some(())
    })();
    disk
}

/// The CRC of GPT, bit by bit: these are a few kilobytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
