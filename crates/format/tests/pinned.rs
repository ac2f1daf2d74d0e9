//! One small image of each format, by its checksum: a byte that changes is a decision. Where a library compresses,
//! a new version of it may change bytes too, and the digest here says so.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bake_format::progress::Silent;
use bake_format::sparse::RawFile;
use bake_format::{cpio, ext4, fat, gpt, iso9660, qcow2, squashfs, xfs, xz};
use bake_tree::{Content, Meta, Node, Tree, Xattrs};
use sha2::{Digest, Sha256};

const MIB: u64 = 1 << 20;
const UUID: [u8; 16] = *b"a pinned image!!";
const TIME: i64 = 1_767_323_045;

fn assert_digest(format: &str, bytes: &[u8], expected: &str) {
    let digest = hex::encode(Sha256::digest(bytes));
    assert_eq!(digest, expected, "{format} has other bytes than it had");
}

fn assert_file(format: &str, mut file: &File, expected: &str) {
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert_digest(format, &bytes, expected);
}

fn empty(bytes: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes).unwrap();
    file
}

/// Bytes that don't compress well, and don't change.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    bytes.take(len).collect()
}

fn meta(mode: u16) -> Meta {
    Meta {
        uid: 1000,
        gid: 2000,
        mtime: TIME,
        xattrs: Xattrs::new().with(b"security.selinux", b"system_u:object_r:usr_t:s0\0"),
        ..Meta::root(mode)
    }
}

/// A file with a hole in the middle.
fn sparse() -> Content {
    let file = empty(3 * MIB);
    file.write_all_at(b"before", 0).unwrap();
    file.write_all_at(b"after", 3 * MIB - 5).unwrap();
    Content::range(Arc::new(file), 0, 3 * MIB)
}

/// Each kind of inode, attributes of each size, a hard link, long names, a directory of several blocks.
fn tree() -> Tree {
    let mut tree = Tree::new(meta(0o755));
    let bin = tree.make_directories("usr/bin", &meta(0o755));
    let program = Node::File(Content::bytes(noise(200_000)));
    let program = tree.create(bin, "program", meta(0o4755), program);
    tree.link(bin, b"hard link", program);
    tree.create(
        bin,
        "symlink",
        meta(0o777),
        Node::Symlink(b"program"[..].into()),
    );
    let long = Node::Symlink("long/".repeat(100).into_bytes().into());
    tree.create(bin, "long symlink", meta(0o777), long);
    let many = tree.make_directories("usr/many", &meta(0o1777));
    for number in 0..300 {
        let text = Content::bytes(format!("file {number}\n").into_bytes());
        tree.create(
            many,
            &format!("{number:->200}"),
            meta(0o644),
            Node::File(text),
        );
    }
    let etc = tree.make_directories("etc", &meta(0o700));
    tree.create(
        etc,
        &"n".repeat(255),
        meta(0o600),
        Node::File(Content::bytes(Vec::new())),
    );
    tree.create(etc, "sparse", meta(0o640), Node::File(sparse()));
    let mut large = meta(0o644);
    large.xattrs = large.xattrs.with(b"user.large", &noise(700));
    tree.create(
        etc,
        "attributes",
        large,
        Node::File(Content::bytes(b"x".to_vec())),
    );
    tree
}

/// The same with what XFS and squashfs hold besides.
fn tree_with_devices() -> Tree {
    let mut tree = tree();
    let dev = tree.make_directories("dev", &meta(0o755));
    for (name, node) in [
        ("char", Node::CharDevice(1, 3)),
        ("block", Node::BlockDevice(259, 1_000)),
        ("fifo", Node::Fifo),
        ("socket", Node::Socket),
    ] {
        tree.create(dev, name, meta(0o660), node);
    }
    tree
}

fn files() -> BTreeMap<String, Content> {
    let long = format!("names/{}", "n".repeat(100));
    [
        ("EFI/BOOT/BOOTX64.EFI", noise(100_000)),
        ("EFI/BOOT/grub.cfg", b"set timeout=1\n".to_vec()),
        (long.as_str(), Vec::new()),
        ("images/efiboot.img", noise(5000)),
    ]
    .map(|(path, bytes)| (path.to_owned(), Content::bytes(bytes)))
    .into()
}

#[test]
fn squashfs_images_are_what_they_were() {
    for (compressor, expected) in [
        (
            "gzip:9",
            "be3b991b7cf1a9639300be198d815e8c7ff8f0ecb2052723e92de56683395d3b",
        ),
        (
            "xz",
            "95b6a095d2d4fae0a65e47284156b4ab41041426334ed6fe14b72ba94119f74d",
        ),
        (
            "zstd:15",
            "f6e68a28f82867f1e681e2c803c551ac2172f452b209f4d748dcd4a76871a805",
        ),
    ] {
        let options = squashfs::Options {
            compressor: compressor.parse().unwrap(),
            threads: NonZeroUsize::new(2).unwrap(),
            time: 1_767_323_045,
            ..squashfs::Options::default()
        };
        let out = empty(0);
        squashfs::write(&tree_with_devices(), &options, &out, 0, &|_| ()).unwrap();
        assert_file(compressor, &out, expected);
    }
}

#[test]
fn xfs_images_are_what_they_were() {
    let options = xfs::Options {
        size_bytes: 300 * MIB,
        sector_size: 512,
        agcount: 2,
        label: "root".to_owned(),
        uuid: UUID,
    };
    let tree = tree_with_devices();
    let out = empty(options.size_bytes);
    let layout = xfs::Layout::plan(&tree, &options).unwrap();
    layout.write(&out, 0, &Silent).unwrap();
    assert_file(
        "XFS",
        &out,
        "8cdfbf6b2d10c3dfc6002524ca20be1909a271b5b98c8db72cbf7b8751a62068",
    );
}

#[test]
fn ext4_images_are_what_they_were() {
    for (block_size, expected) in [
        (
            1024,
            "1aca5780ca49be44b82a7ed209c5391b65b112c2e48bfed7d14f76570dbac663",
        ),
        (
            4096,
            "6b34ca0fb43260b531e33812426b79b6b2c623ca5e26c86f78ca886c5846f0af",
        ),
    ] {
        let options = ext4::Options {
            size_bytes: 64 * MIB,
            block_size,
            label: "boot".into(),
            uuid: UUID,
            time: 1_767_323_045,
        };
        let tree = tree();
        let out = empty(options.size_bytes);
        let layout = ext4::Layout::plan(&tree, &options).unwrap();
        layout.write(&out, 0).unwrap();
        assert_file("ext4", &out, expected);
    }
}

#[test]
fn fat_volumes_are_what_they_were() {
    for (bytes_per_sector, expected) in [
        (
            512,
            "86a4595b1e0361e00c3850e63cfcdc5a187fcef6dab38e4be896f84018468218",
        ),
        (
            4096,
            "3d29bd15a5950e7986030a305137f5b892ad806d2087ba6bcf94f4865b92402c",
        ),
    ] {
        let volume = fat::Volume {
            label: "EFI-SYSTEM".into(),
            id: 0x7b77_95e7,
            bytes: 127 * MIB,
            bytes_per_sector,
        };
        assert_digest("FAT", &volume.to_vec(&files()).unwrap(), expected);
    }
}

#[test]
fn isos_are_what_they_were() {
    let volume = iso9660::Volume {
        id: "rhcos-9.6".to_owned(),
        set_id: "a-set".to_owned(),
        time: TIME,
        files: files(),
        boot: vec![iso9660::BootEntry::uefi("images/efiboot.img")],
        catalog: Some("isolinux/boot.cat".to_owned()),
    };
    let out = empty(0);
    let layout = volume.layout().unwrap();
    layout.write(&out, &|_| ()).unwrap();
    assert_file(
        "ISO 9660",
        &out,
        "b3d0b2a26c55380e5106e4b61f937a96a1475c37cff8bde978b62605e805689f",
    );
}

#[test]
fn partition_tables_are_what_they_were() {
    let partition = |number, name: &str, first_lba, last_lba| gpt::Partition {
        number,
        name: name.to_owned(),
        type_guid: gpt::TYPE_ESP,
        guid: gpt::derive_guid("test", name),
        first_lba,
        last_lba,
        attributes: 1 << 2,
    };
    for (sector_size, expected) in [
        (
            gpt::SectorSize::B512,
            "f594f0cdc4c8ebb6ec1a66555ebfdb69499c5ee3d98e86a75b074289c2b49e99",
        ),
        (
            gpt::SectorSize::B4096,
            "2b8b3615b392591a849752bcbfc5e5bc04efaa59c46cd87f7644eedbe99e2e4f",
        ),
    ] {
        let table = gpt::Table {
            disk_guid: gpt::derive_guid("test", "disk"),
            disk_bytes: 16 * MIB,
            sector_size,
            partitions: vec![
                partition(1, "BIOS-BOOT", 256, 511),
                partition(3, "boot", 512, 1023),
            ],
        };
        let out = empty(table.disk_bytes);
        table.write(&out).unwrap();
        assert_file("GPT", &out, expected);
    }
}

#[test]
fn qcow2_images_are_what_they_were() {
    for (compression, expected) in [
        (
            qcow2::Compression::None,
            "d1bf2410223c732ec0122c109cc32b972f32d63ac1f566e60141b7ef97fb154f",
        ),
        (
            qcow2::Compression::Zlib,
            "cf80ebc5f42e60afaedbbe01ba96595f24b827c61ee34eb98b6cf416f183c3d9",
        ),
        (
            qcow2::Compression::Zstd,
            "10d7e1ef694b6fd05bbd3acd2b18fbbfb61d7476b8f690f53aee88803353d247",
        ),
    ] {
        let disk = empty(8 * MIB);
        disk.write_all_at(&noise(200_000), 1000).unwrap();
        disk.write_all_at(&[7; 100_000], 5 * MIB).unwrap();
        let disk = RawFile::new(Arc::new(disk)).unwrap();
        let out = empty(0);
        qcow2::write(&disk, 16 * MIB, compression, 2, &out, &|_| ()).unwrap();
        assert_file("qcow2", &out, expected);
    }
}

#[test]
fn archives_are_what_they_were() {
    let mut archive = cpio::Writer::new(Vec::new());
    archive.directory("etc", 0o755).unwrap();
    archive.file("etc/noise", 0o644, &noise(1000)).unwrap();
    archive.symlink("etc/link", "noise").unwrap();
    assert_digest(
        "cpio",
        &archive.finish().unwrap(),
        "1e64ec537d92517ced16efb892589f347489c0d0fe2cc702c538dbf95755191a",
    );

    let mut stream = xz::Writer::new(Vec::new()).unwrap();
    stream.write(&noise(100_000)).unwrap();
    stream.zeros(40 * MIB);
    stream.write(b"the end").unwrap();
    assert_digest(
        "xz",
        &stream.finish().unwrap(),
        "3a67702d7e553da82420023a25258ad4a3a6f22573e983f254ad2970ea869c6f",
    );
}
