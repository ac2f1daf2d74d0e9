//! What `unsquashfs` and the kernel see in our images.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::cases::{CASES, Case, directory_of, file, noise, text};
use super::{
    BLOCK_SIZES, COMPRESSORS, Facets, Image, Seen, assert_same, have, is_root, options, run,
    seen_in_tree, seen_on_disk,
};
use crate::squashfs::{Compressor, Options};
use bake_referee::unmount;
use bake_tree::{Content, Follow, Kind, Look, Meta, Node, Tree, Xattrs};

/// Every compressor, with a block size of its own: all pairs take a referee too long.
fn some_options() -> impl Iterator<Item = Options> {
    [1 << 20, 128 << 10, 4 << 10, 16 << 10]
        .into_iter()
        .zip(COMPRESSORS)
        .map(|(block_size, compressor)| options(compressor, block_size))
}

/// Cases of so many names that a referee sees them once, not in every option.
const LARGE: [&str; 2] = ["directory of 5000 names", "hard links far apart"];

/// Images of all cases that `wanted` takes, in some options, with a name for messages.
fn images(wanted: impl Fn(&Case) -> bool) -> impl Iterator<Item = (String, Tree, Image)> {
    some_options().enumerate().flat_map(move |(at, options)| {
        CASES
            .iter()
            .filter(|case| wanted(case) && (at == 0 || !LARGE.contains(&case.0)))
            .map(|(name, case)| {
                let tree = case(usize::try_from(options.block_size).unwrap());
                let image = Image::write(&tree, &options);
                let what = format!("{name}, {} in {}", options.compressor, options.block_size);
                (what, tree, image)
            })
            .collect::<Vec<_>>()
    })
}

#[test]
fn unsquashfs_reads_the_superblock() {
    if !have("unsquashfs") {
        return;
    }
    for options in some_options() {
        let tree = directory_of(300, 8);
        let image = Image::write(&tree, &options);
        let told = run(Command::new("unsquashfs")
            .arg("-s")
            .arg("-UTC")
            .arg(image.path()));
        let compressor = options.compressor.to_string();
        let compressor = compressor.split(':').next().unwrap();
        for line in [
            "Found a valid SQUASHFS 4:0 superblock",
            "Creation or last append time Tue Nov 14 22:13:20 2023",
            &format!("Compression {compressor}"),
            &format!("Block size {}", options.block_size),
            "Filesystem is exportable via NFS",
            "Duplicates are removed",
            "Xattrs are not stored",
            &format!("Number of fragments {}", image.written.fragments),
            "Number of inodes 303",
            "Number of ids 3",
        ] {
            assert!(told.contains(line), "{line:?} is not in:\n{told}");
        }
        let level = told.contains("compression-level 3");
        assert_eq!(level, options.compressor == Compressor::Zstd { level: 3 });
    }
}

#[test]
fn unsquashfs_lists_what_was_written() {
    if !have("unsquashfs") {
        return;
    }
    // unsquashfs lists, but does not extract, a device's number as if the minor had eight bits.
    for (what, tree, image) in images(|(name, _)| *name != "large device numbers") {
        let mut list = Command::new("unsquashfs");
        list.args(["-lln", "-UTC", "-d", ""]).arg(image.path());
        let output = list.output().unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
        let listed: Vec<&[u8]> = output.stdout.split(|byte| *byte == b'\n').collect();
        let expected = seen_in_tree(&tree);
        // The text ends in a newline.
        assert_eq!(listed.len(), expected.len() + 1, "{what}");
        let mut found: Vec<Vec<u8>> = listed.iter().map(|line| squeezed(line)).collect();
        let mut lines: Vec<Vec<u8>> = expected
            .iter()
            .map(|(path, facets)| squeezed(&line(path, facets)))
            .collect();
        lines.push(Vec::new());
        lines.sort();
        found.sort();
        for (found, expected) in found.iter().zip(&lines) {
            let (found, expected) = (found.escape_ascii(), expected.escape_ascii());
            assert_eq!(found.to_string(), expected.to_string(), "{what}");
        }
    }
}

/// A line as `unsquashfs -lln` prints it, with `?` for a directory's size, which is its own matter.
fn line(path: &[u8], facets: &Facets) -> Vec<u8> {
    let mut kind = facets.kind.split(' ');
    let (letter, size, target) = match (kind.next().unwrap(), kind.next()) {
        ("directory", _) => ('d', "?".to_owned(), None),
        ("file", len) => ('-', len.unwrap().to_owned(), None),
        ("symlink", _) => {
            let target = facets.kind.strip_prefix("symlink ").unwrap();
            ('l', "?".to_owned(), Some(target))
        }
        ("char", device) => ('c', device.unwrap().replace(':', ","), None),
        ("block", device) => ('b', device.unwrap().replace(':', ","), None),
        ("fifo", _) => ('p', "0".to_owned(), None),
        ("socket", _) => ('s', "0".to_owned(), None),
        other => panic!("{other:?}"),
    };
    let permissions: String = (0..9)
        .map(|bit| {
            if facets.mode & (0o400 >> bit) == 0 {
                '-'
            } else {
                ['r', 'w', 'x'][bit % 3]
            }
        })
        .collect();
    let mut permissions = permissions.into_bytes();
    for (at, bit, letter) in [(2, 0o4000, b's'), (5, 0o2000, b's'), (8, 0o1000, b't')] {
        if facets.mode & bit != 0 {
            let executable = permissions[at] == b'x';
            permissions[at] = if executable {
                letter
            } else {
                letter.to_ascii_uppercase()
            };
        }
    }
    let (uid, gid) = facets.owner;
    let mut line = format!(
        "{letter}{} {uid}/{gid} {size} {} ",
        String::from_utf8(permissions).unwrap(),
        date(facets.mtime)
    )
    .into_bytes();
    if !path.is_empty() {
        line.push(b'/');
        line.extend_from_slice(path);
    }
    if let Some(target) = target {
        line.extend_from_slice(b" -> ");
        line.extend(target.chars().map(|byte| u8::try_from(byte).unwrap()));
    }
    line
}

/// One space for many in the columns before the path; the sizes of directories and symlinks
/// replaced.
fn squeezed(line: &[u8]) -> Vec<u8> {
    let mut columns: Vec<Vec<u8>> = Vec::new();
    let mut rest = line;
    while columns.len() < 5 && !rest.is_empty() {
        let end = rest
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(rest.len());
        if end > 0 {
            columns.push(rest[..end].to_vec());
        }
        rest = rest.get(end + 1..).unwrap_or_default();
        // "8,  1" is one column.
        if columns.len() == 3 && columns[2].ends_with(b",") {
            let number = rest.iter().position(|byte| *byte != b' ').unwrap();
            let end = number
                + rest[number..]
                    .iter()
                    .position(|byte| *byte == b' ')
                    .unwrap();
            columns[2].extend_from_slice(&rest[number..end]);
            rest = &rest[end + 1..];
        }
    }
    if let Some(size) = columns
        .get_mut(2)
        .filter(|_| matches!(line[0], b'd' | b'l'))
    {
        *size = b"?".to_vec();
    }
    columns.push(rest.to_vec());
    columns.join(&b' ')
}

/// Date and time of day, to the minute.
fn date(seconds: u32) -> String {
    let (days, time) = (i64::from(seconds / 86_400), seconds % 86_400);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut left) = (1970, days);
    while left >= 365 + i64::from(is_leap(year)) {
        left -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + i64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!(
        "{year}-{:02}-{:02} {:02}:{:02}",
        month + 1,
        left + 1,
        time / 3600,
        time / 60 % 60
    )
}

/// What an extracted tree can't show, or shows as the file system it is on likes it.
fn as_extracted(mut seen: Seen, everything: bool) -> Seen {
    seen.retain(|_, facets| {
        everything
            || ["directory", "file", "symlink"].contains(&facets.kind.split(' ').next().unwrap())
    });
    for facets in seen.values_mut() {
        if facets.kind == "directory" {
            facets.links = 0;
        }
        if facets.kind.starts_with("symlink") {
            facets.mtime = 0;
            facets.mode = 0o777;
        }
        if !facets.kind.starts_with("file") {
            // unsquashfs gives these their owner last, upon which the kernel takes it away.
            facets.xattrs = facets.xattrs.without(b"security.capability");
        }
        if !everything {
            facets.owner = (0, 0);
            facets.xattrs = Xattrs::new();
        }
    }
    seen
}

#[test]
fn unsquashfs_extracts_what_was_written() {
    if !have("unsquashfs") {
        return;
    }
    if !is_root() {
        println!("without root only files, directories and symlinks are compared");
    }
    let extractable = |(name, _): &Case| {
        // ext4 has no room for such values, and 70 000 pipes take too long.
        !["xattr value sizes", "hard links far apart"].contains(name)
            // Files without read permission are for root's eyes.
            && (is_root() || *name != "modes and times")
    };
    for (what, tree, image) in images(extractable) {
        let target = image.directory.path().join("extracted");
        let mut extract = Command::new("unsquashfs");
        extract.args(["-n", "-q", "-d"]).arg(&target);
        if !is_root() {
            extract.args(["-no-xattrs", "-ignore-errors", "-no-exit-code"]);
        }
        run(extract.arg(image.path()));
        let found = as_extracted(seen_on_disk(&target, is_root()), is_root());
        assert_same(&found, &as_extracted(seen_in_tree(&tree), is_root()), &what);
    }
}

/// A mounted image, until dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Image) -> Self {
        let target = image.directory.path().join("mounted");
        std::fs::create_dir(&target).unwrap();
        run(Command::new("mount")
            .args(["-t", "squashfs", "-o", "loop,ro"])
            .args([image.path(), target.clone()]));
        Self(target)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Whether images can be mounted here.
fn can_mount() -> bool {
    if !is_root() {
        println!("skipped: needs root");
        return false;
    }
    let kinds = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let can = kinds.lines().any(|line| line.trim() == "squashfs")
        && Path::new("/dev/loop-control").exists();
    if !can {
        println!("skipped: needs a kernel with squashfs and loop devices");
    }
    can && have("mount")
}

#[test]
fn the_kernel_mounts_and_shows_what_was_written() {
    if !can_mount() {
        return;
    }
    for (what, tree, image) in images(|_| true) {
        let mount = Mount::new(&image);
        let found = seen_on_disk(&mount.0, true);
        assert_same(&found, &seen_in_tree(&tree), &what);
        let reader = image.reader();
        reader
            .walk(|path, entry| {
                // Attributes count as blocks too, in a way of the kernel's own.
                if let (Kind::File { len }, true) = (&entry.kind, reader.xattrs(entry)?.is_empty())
                {
                    use std::os::unix::ffi::OsStrExt;
                    let path = mount.0.join(std::ffi::OsStr::from_bytes(path));
                    let blocks = path.metadata()?.blocks();
                    let stored = len - entry.hole_bytes();
                    assert_eq!(blocks, stored.div_ceil(512), "{what}: {path:?}");
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn the_kernel_reads_every_compressor_in_every_block_size() {
    if !can_mount() {
        return;
    }
    for compressor in COMPRESSORS {
        for block_size in BLOCK_SIZES {
            let block = usize::try_from(block_size).unwrap();
            let mut tree = Tree::new(Meta::root(0o755));
            let bytes = text(2 * block + block / 2, 1);
            tree.create(Tree::ROOT, "file", Meta::root(0o644), file(bytes));
            tree.create(
                Tree::ROOT,
                "noise",
                Meta::root(0o644),
                file(noise(block, 1)),
            );
            let image = Image::write(&tree, &options(compressor, block_size));
            let mount = Mount::new(&image);
            let what = format!("{compressor} in {block_size}");
            assert_same(&seen_on_disk(&mount.0, true), &seen_in_tree(&tree), &what);
        }
    }
}

#[test]
fn the_kernel_finds_every_name_of_large_directories() {
    if !can_mount() {
        return;
    }
    for tree in [directory_of(20_000, 30), directory_of(3000, 255)] {
        let image = Image::write(&tree, &options(Compressor::Zstd { level: 3 }, 4096));
        let mount = Mount::new(&image);
        // Backwards, so that no lookup finds its block by the readahead of the one before.
        let directory = tree.lookup("large").unwrap();
        let names: Vec<&[u8]> = tree.children(directory).map(|(name, _)| name).collect();
        for name in names.iter().rev() {
            let path = mount
                .0
                .join("large")
                .join(std::str::from_utf8(name).unwrap());
            assert!(path.symlink_metadata().is_ok(), "{}", path.display());
        }
        assert!(mount.0.join("large/nothing").symlink_metadata().is_err());
    }
}

#[test]
fn files_over_4_gib_are_mostly_holes() {
    let large = tempfile::tempfile().unwrap();
    let len = (4 << 30) + 12_345;
    large.set_len(len).unwrap();
    let places = [0, (1 << 30) + 5, (4 << 30) - 3, len - 1];
    for place in places {
        large.write_all_at(b"x", place).unwrap();
    }
    let content = Content::range(Arc::new(large), 0, len);
    let mut tree = Tree::new(Meta::root(0o755));
    tree.create(Tree::ROOT, "sparse", Meta::root(0o644), Node::File(content));
    let image = Image::write(&tree, &options(Compressor::Zstd { level: 3 }, 1 << 20));
    let hole_bytes = image.written.hole_bytes;
    // Three blocks of a MiB and the last one, which is short, are no holes.
    assert_eq!(hole_bytes, len - (3 << 20) - 12_345);
    assert!(image.written.bytes <= 64 << 10, "{:?}", image.written);

    let reader = image.reader();
    let entry = reader.lookup("sparse", Follow::Last).unwrap().unwrap();
    assert_eq!(entry.kind, Kind::File { len });
    assert_eq!(entry.hole_bytes(), hole_bytes);
    assert_eq!(
        bytes_not_zero(reader.read(&entry).unwrap()),
        (len, places.to_vec())
    );

    if can_mount() {
        let mount = Mount::new(&image);
        let mounted = File::open(mount.0.join("sparse")).unwrap();
        let status = mounted.metadata().unwrap();
        assert_eq!(status.len(), len);
        assert_eq!(status.blocks(), (len - hole_bytes).div_ceil(512));
        for place in places {
            // The byte with its neighbours, as far as there are any.
            let start = place.saturating_sub(2);
            let mut bytes = vec![0; usize::try_from((len - start).min(5)).unwrap()];
            mounted.read_exact_at(&mut bytes, start).unwrap();
            let mut expected = vec![0; bytes.len()];
            expected[usize::try_from(place - start).unwrap()] = b'x';
            assert_eq!(bytes, expected, "at {place}");
        }
    }
}

/// Length of a stream, and positions of the bytes that are not zero.
fn bytes_not_zero(mut contents: impl Read) -> (u64, Vec<u64>) {
    let mut found = Vec::new();
    let mut position = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = contents.read(&mut buffer).unwrap();
        if count == 0 {
            return (position, found);
        }
        let part = &buffer[..count];
        if part.iter().fold(0, |all, byte| all | byte) != 0 {
            let at = (position..).zip(part).filter(|(_, byte)| **byte != 0);
            found.extend(at.map(|(at, _)| at));
        }
        position += count as u64;
    }
}
