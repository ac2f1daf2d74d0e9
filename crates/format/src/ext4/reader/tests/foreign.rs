//! Damaged and cut images: an answer or an error, never a panic, and soon.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::mounted::run;
use crate::ext4::reader::{Entry, Reader};
use bake_referee::have;
use bake_tree::{Content, Follow, Kind, Look};

/// Bytes taken of any one file, which may claim to be of any size.
const TAKEN: u64 = 1 << 20;
/// Names looked at; damage can make loops.
const NAMES: usize = 500;

/// Small numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).expect("31 bits") % below
    }
}

/// An image made without any privilege, and where its metadata is.
fn image() -> Option<Image> {
    if !have("mke2fs") {
        return None;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs::create_dir_all(tree.join("a/b")).expect("mkdir");
    fs::write(tree.join("c"), vec![7; 9000]).expect("write");
    std::os::unix::fs::symlink("a/../c", tree.join("link")).expect("ln -s");
    std::os::unix::fs::symlink("t".repeat(300), tree.join("long")).expect("ln -s");
    for index in 0..60 {
        fs::write(tree.join(format!("a/{}", "n".repeat(index + 1))), "x").expect("write");
    }
    File::create(&image)
        .and_then(|file| file.set_len(2 << 20))
        .expect("create");
    // Without checksums, so that damage is not merely a wrong checksum.
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-b", "1024", "-N", "128"])
        .args(["-O", "^metadata_csum,^has_journal,^uninit_bg", "-d"])
        .arg(&tree)
        .arg(&image));
    // The superblock, the descriptors, then everything up to the contents.
    let places = vec![1024..2048, 2048..2112, 2048..120_000];
    Some(Image::open(&image, places))
}

/// There are no checksums to be made right.
fn fix(_: &mut [u8], _: &[Range<usize>]) {}

/// An image, in memory as well, and the places in it that are worth damaging.
struct Image {
    file: Arc<File>,
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Image {
    fn open(path: &Path, places: Vec<Range<usize>>) -> Self {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .expect("open");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("read");
        Self {
            file: Arc::new(file),
            bytes,
            places,
        }
    }

    /// Brings what was changed to the file.
    fn store(&mut self) {
        fix(&mut self.bytes, &self.places);
        for place in &self.places {
            self.file
                .write_all_at(&self.bytes[place.clone()], place.start as u64)
                .expect("write");
        }
    }
}

/// Looks at everything that an image leads to, as far as it can be read.
fn use_all(file: &Arc<File>, len: usize) -> usize {
    let content = Content::range(Arc::clone(file), 0, len as u64);
    let Ok(reader) = Reader::open(content) else {
        return 0;
    };
    let _ = reader.lookup("a/b/../../c", Follow::Last);
    let mut open: Vec<Entry> = reader.root().into_iter().collect();
    let mut seen = 0;
    while let Some(entry) = open.pop() {
        seen += 1;
        if seen > NAMES {
            break;
        }
        if entry.kind == Kind::Directory {
            for name in reader.read_dir(&entry).unwrap_or_default() {
                open.extend(reader.entry_of(&name));
            }
        } else if let Ok(file) = reader.read(&entry) {
            let _ = std::io::copy(&mut file.take(TAKEN), &mut std::io::sink());
            let _ = reader.extents(&entry);
        }
    }
    seen
}

#[test]
fn damage_is_an_error_and_not_a_panic() {
    let Some(mut image) = image() else {
        return;
    };
    let len = image.bytes.len();
    let sound = use_all(&image.file, len);
    assert!(sound > 1);
    let mut numbers = Numbers(1);
    for round in 0..400 {
        let mut undo = Vec::new();
        for _ in 0..1 + round % 4 {
            let place = &image.places[numbers.next(image.places.len())];
            let at = place.start + numbers.next(place.len());
            let byte = image.bytes[at];
            undo.push((at, byte));
            image.bytes[at] = [0, 1, 0x7f, 0xff, byte ^ 1 << (round % 8)][numbers.next(5)];
        }
        image.store();
        use_all(&image.file, len);
        for (at, byte) in undo.into_iter().rev() {
            image.bytes[at] = byte;
        }
    }
    image.store();
    assert_eq!(use_all(&image.file, len), sound);
    for len in [0, 3, 511, 512, 1023, 2047, 2048, 4096, 100_000, len - 1] {
        assert_eq!(use_all(&image.file, len), 0, "{len}");
    }
}
