//! Every table before `xfs_repair`, the kernel, and mkfs.xfs.

use std::process::Command;

use super::cases;
use super::seen::{assert_same, in_tree, on_disk};
use super::{Image, Mount, Options, all_options, can_mount, complaints, have, run, small};
use crate::xfs::Layout;
use bake_tree::{Meta, Tree, Xattrs};

/// The options with as much room as the tree takes.
fn roomy(tree: &Tree, options: &Options) -> Options {
    let needed = Layout::minimum_bytes(tree, options).unwrap();
    Options {
        size_bytes: needed.max(options.size_bytes),
        ..options.clone()
    }
}

#[test]
fn every_case_is_clean_and_mounts() {
    for (what, tree) in cases::all() {
        for options in all_options() {
            let what = format!("{what}, sectors of {}", options.sector_size);
            let image = Image::write(&tree, &roomy(&tree, &options));
            if !image.is_clean() || !can_mount() {
                continue;
            }
            let mount = Mount::read_only(&image);
            assert_same(&on_disk(&mount.0), &in_tree(&tree), &what);
        }
    }
}

#[test]
fn every_name_is_found() {
    if !can_mount() {
        return;
    }
    for (what, tree) in cases::all() {
        // Reading a directory and finding one of its names go different ways.
        if !["directories", "large directories"].contains(&what) {
            continue;
        }
        let image = Image::write(&tree, &roomy(&tree, &small()));
        let mount = Mount::read_only(&image);
        tree.walk(|path, id| {
            use std::os::unix::ffi::OsStrExt;
            let path = mount.0.join(std::ffi::OsStr::from_bytes(path));
            assert!(path.symlink_metadata().is_ok(), "{}", path.display());
            if tree.is_directory(id) {
                assert!(path.join("nothing").symlink_metadata().is_err());
            }
        });
    }
}

#[test]
fn the_referee_finds_damage() {
    if !have("xfs_repair") {
        return;
    }
    let image = Image::write(&Tree::new(Meta::root(0o755)), &small());
    assert!(image.is_clean());
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(image.path())
        .unwrap();
    // The root inode's mode; this image is not mounted.
    std::os::unix::fs::FileExt::write_all_at(&file, &[0x81], 128 * 512 + 2).unwrap();
    assert!(!complaints(&image.path()).is_empty());
}

/// Where an empty file system may differ from one of mkfs.xfs, as offsets of bytes: times and change
/// counters of the first three inodes, with their checksums; counters of superblock copies, which
/// mkfs.xfs leaves as they were at first.
fn may_differ(offset: u64, group_bytes: u64) -> bool {
    let first_inodes = 128 * 512..131 * 512;
    if first_inodes.contains(&offset) {
        let at = offset % 512;
        return [0x20..0x38, 0x64..0x70, 0x90..0x98]
            .iter()
            .any(|field| field.contains(&at));
    }
    let at = offset % group_bytes;
    // Root inodes, "in progress", counters, checksum.
    offset >= group_bytes
        && [0x38..0x50, 0x7e..0x7f, 0x80..0xa0, 0xe0..0xe4]
            .iter()
            .any(|field| field.contains(&at))
}

#[test]
fn an_empty_one_is_as_mkfs_makes_it() {
    if !have("mkfs.xfs") {
        return;
    }
    let tree = Tree::new(Meta::root(0o755));
    for (mib, sector_size, agcount) in [
        (300, 512, 2),
        (301, 512, 4),
        (1024, 512, 4),
        (1000, 4096, 2),
        (16 << 10, 512, 16),
        (140 << 10, 512, 2),
        (3 << 20, 4096, 4),
    ] {
        let options = Options {
            size_bytes: mib << 20,
            sector_size,
            agcount,
            ..small()
        };
        let image = Image::write(&tree, &options);
        let theirs = image.directory.path().join("mkfs");
        let file = std::fs::File::create_new(&theirs).unwrap();
        file.set_len(options.size_bytes).unwrap();
        run(Command::new("mkfs.xfs")
            .args(["-q", "-L", "root", "-m"])
            .arg("uuid=30313233-3435-3637-3839-616263646566")
            .args(["-s", &format!("size={sector_size}")])
            .args(["-d", &format!("agcount={agcount}")])
            .arg(&theirs));
        let ours = std::fs::File::open(image.path()).unwrap();
        let group_bytes = (options.size_bytes / 4096).div_ceil(agcount.into()) * 4096;
        let found: Vec<u64> = differences(&ours, &file_for_reading(&theirs))
            .into_iter()
            .filter(|offset| !may_differ(*offset, group_bytes))
            .collect();
        assert!(
            found.is_empty(),
            "{mib} MiB, sectors of {sector_size}, {agcount} groups: bytes differ at {:x?}",
            &found[..found.len().min(20)]
        );
    }
}

fn file_for_reading(path: &std::path::Path) -> std::fs::File {
    std::fs::File::open(path).unwrap()
}

/// Offsets of bytes that differ, found only where one of the files is no hole.
fn differences(a: &std::fs::File, b: &std::fs::File) -> Vec<u64> {
    use std::os::unix::fs::FileExt;
    let mut found = Vec::new();
    for file in [a, b] {
        let mut at = 0;
        while let Ok(start) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            let end = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start)).unwrap();
            let mut at_block = start;
            while at_block < end {
                let len = usize::try_from((end - at_block).min(1 << 20)).unwrap();
                let (mut x, mut y) = (vec![0; len], vec![0; len]);
                a.read_exact_at(&mut x, at_block).unwrap();
                b.read_exact_at(&mut y, at_block).unwrap();
                if x != y {
                    let offsets = (at_block..).zip(x.iter().zip(&y));
                    found.extend(offsets.filter(|(_, (x, y))| x != y).map(|(at, _)| at));
                }
                at_block += len as u64;
            }
            at = end;
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn the_superblock_tells_of_attributes() {
    // No referee misses the flag, which the kernel sets with the first attribute.
    let version = |tree: &Tree| {
        let image = std::fs::File::open(Image::write(tree, &small()).path()).unwrap();
        let mut bytes = [0; 2];
        std::os::unix::fs::FileExt::read_exact_at(&image, &mut bytes, 0x64).unwrap();
        u16::from_be_bytes(bytes)
    };
    let mut tree = Tree::new(Meta::root(0o755));
    assert_eq!(version(&tree), 0xb4a5);
    let meta = Meta {
        xattrs: Xattrs::new().with(b"user.a", b""),
        ..Meta::root(0o644)
    };
    tree.create(Tree::ROOT, "file", meta, cases::file(vec![]));
    assert_eq!(version(&tree), 0xb4b5);
}

#[test]
fn acls_are_shown_by_the_kernel() {
    if !can_mount() || !have("getfacl") {
        return;
    }
    let image = Image::write(&cases::acls(), &small());
    let mount = Mount::read_only(&image);
    let shown = run(Command::new("getfacl")
        .args(["-cpn"])
        .arg(mount.0.join("directory")));
    for line in ["user:1000:rw-", "group:70000:r--", "default:mask::rw-"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}
