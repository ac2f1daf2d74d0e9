//! Damaged and cut images: an answer or an error, never a panic, and soon.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::faults::checksum;
use super::mounted::run;
use crate::xfs::reader::{Entry, Reader};
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

/// An image made without any privilege, and where its objects are: position, length and place of
/// the checksum.
fn image() -> Option<Image> {
    if !have("mkfs.xfs") {
        return None;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let image = folder.path().join("image");
    let prototype = folder.path().join("prototype");
    let file = folder.path().join("file");
    fs::write(&file, vec![7; 9000]).expect("write");
    let mut text = "/\n0 0\nd--755 0 0\na d--755 0 0\nb d--755 0 0\n$\n".to_owned();
    for index in 0..150 {
        let name = format!("{index}{}", "n".repeat(index % 60));
        text += &format!("{name} ---644 0 0 {}\n", file.display());
    }
    text += &format!("$\nlink l--777 0 0 {}\n", "t".repeat(400));
    text += &format!("c ---644 0 0 {}\n$\n", file.display());
    fs::write(&prototype, text).expect("write");
    File::create(&image)
        .and_then(|file| file.set_len(300 << 20))
        .expect("create");
    run(Command::new("mkfs.xfs")
        .args(["-q", "-d", "agcount=2", "-p"])
        .arg(&prototype)
        .arg(&image));
    let reader = super::open(&image);
    let mut places = vec![0..512, 512..1024, 1024..1536, 1536..2048];
    places.extend((1..6).map(|block| block * 4096..(block + 1) * 4096));
    let root = reader.root().expect("root").number;
    for number in root..root + 64 {
        let start = usize::try_from(number).expect("small") * 512;
        places.push(start..start + 512);
        let Ok(entry) = reader.by_number(number) else {
            continue;
        };
        if !matches!(entry.kind, Kind::File { .. }) {
            let map = reader.map(number, &entry.data).expect("map");
            for extent in map.extents {
                let start = usize::try_from(extent.position).expect("small");
                let one = (0..usize::try_from(extent.count).expect("small"))
                    .map(|block| start + block * 4096..start + (block + 1) * 4096);
                places.extend(one);
            }
        }
    }
    Some(Image::open(&image, places))
}

/// Makes all checksums right, so that damage is not merely a wrong one.
fn fix(image: &mut [u8], places: &[Range<usize>]) {
    for place in places {
        let object = &mut image[place.clone()];
        let field = match &object[..4] {
            b"XFSB" => 224,
            b"XAGF" => 216,
            b"XAGI" => 312,
            b"XAFL" => 32,
            b"AB3B" | b"AB3C" | b"IAB3" | b"FIB3" | b"R3FC" => 52,
            b"XDB3" | b"XDD3" | b"XDF3" => 4,
            _ if object.len() == 512 => 100,
            _ => 12,
        };
        object[field..field + 4].fill(0);
        let sum = checksum(object).to_le_bytes();
        object[field..field + 4].copy_from_slice(&sum);
    }
}

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
    let _ = reader.check();
    let mut open: Vec<Entry> = reader.root().into_iter().collect();
    let mut seen = 0;
    while let Some(entry) = open.pop() {
        seen += 1;
        if seen > NAMES {
            break;
        }
        let _ = reader.xattrs(&entry);
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
