use std::fs;

use proptest::prelude::{ProptestConfig, any, proptest};

use super::super::format::SECTOR;
use super::super::{ReadError, Reader};
use super::{files, live_volume, volume, written};
use bake_tree::Content;

fn open(bytes: &[u8]) -> Result<Reader, ReadError> {
    Reader::open(Content::bytes(bytes))
}

/// A small ISO with a file in a directory and two outside.
struct Sample {
    bytes: Vec<u8>,
}

impl Sample {
    fn new() -> Self {
        let volume = volume(files(&[("d/f", 100), ("g", 5000), ("h", 1)]), Vec::new());
        Self {
            bytes: fs::read(written(&volume).path()).unwrap(),
        }
    }

    /// Offset of the record with this identifier in the primary tree.
    fn record(&self, identifier: &[u8]) -> usize {
        let root = self.u32_at(16 * 2048 + 156 + 2) as usize * 2048;
        let found = self.bytes[root..]
            .windows(identifier.len() + 1)
            .position(|w| usize::from(w[0]) == identifier.len() && &w[1..] == identifier)
            .unwrap();
        root + found - 32
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn set_u32(mut self, at: usize, value: u32) -> Self {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn set(mut self, at: usize, value: u8) -> Self {
        self.bytes[at] = value;
        self
    }

    fn damage(self) -> String {
        match open(&self.bytes) {
            Err(ReadError::Damaged(what)) => what,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn other_files_are_no_isos() {
    for bytes in [&[][..], &[0; 100], &[0; 40 * 2048], b"CD001"] {
        assert!(matches!(open(bytes), Err(ReadError::NotIso)));
    }
}

#[test]
fn a_truncated_iso_is_incomplete() {
    let sample = Sample::new();
    let length = sample.bytes.len();
    open(&sample.bytes).unwrap();
    match open(&sample.bytes[..length - 1]) {
        Err(ReadError::Incomplete {
            volume_bytes,
            file_bytes,
        }) => {
            assert_eq!(
                (volume_bytes, file_bytes),
                (length as u64, length as u64 - 1)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_within_itself_ends() {
    let sample = Sample::new();
    let (at, root) = (sample.record(b"D"), sample.u32_at(16 * 2048 + 158));
    let said = sample.set_u32(at + 2, root).damage();
    assert!(said.contains("\"d\" is also another directory"), "{said}");
}

#[test]
fn extents_behind_the_end_are_errors() {
    let sample = Sample::new();
    let at = sample.record(b"D");
    let said = sample.set_u32(at + 2, u32::MAX).damage();
    assert!(said.contains("\"d\" lies behind the end"), "{said}");

    let sample = Sample::new();
    let at = sample.record(b"G.;1");
    for (field, value) in [(2, u32::MAX), (10, u32::MAX)] {
        let broken = Sample {
            bytes: sample.bytes.clone(),
        };
        let reader = open(&broken.set_u32(at + field, value).bytes).unwrap();
        assert!(matches!(reader.file("g"), Err(ReadError::Damaged(_))));
        assert_eq!(reader.file("d/f").unwrap().unwrap().len(), 100);
    }
}

#[test]
fn large_directories_are_refused_without_reading_them() {
    // A sparse file of 1 TiB, all of which is a directory.
    let file = tempfile::tempfile().unwrap();
    let sample = Sample::new();
    let sectors = u32::MAX / SECTOR as u32;
    let at = sample.record(b"D");
    let sample = sample.set_u32(at + 10, sectors * SECTOR as u32);
    std::os::unix::fs::FileExt::write_all_at(&file, &sample.bytes, 0).unwrap();
    file.set_len(1 << 40).unwrap();
    let image = Content::range(std::sync::Arc::new(file), 0, 1 << 40);
    match Reader::open(image) {
        Err(ReadError::Damaged(said)) => assert!(said.contains("exceed"), "{said}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_of_impossible_length_are_errors() {
    let sample = Sample::new();
    let at = sample.record(b"G.;1");
    for length in [1, 33, 34] {
        let broken = Sample {
            bytes: sample.bytes.clone(),
        };
        let said = broken.set(at, length).damage();
        assert!(said.contains("too short or too long"), "{length}: {said}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_errors() {
    let sample = Sample::new();
    let name = sample
        .bytes
        .windows(6)
        .position(|w| w == b"NM\x06\x01\0g")
        .unwrap()
        + 5;
    for bad in [b'.', b'/', 0] {
        let broken = Sample {
            bytes: sample.bytes.clone(),
        };
        let said = broken.set(name, bad).damage();
        assert!(said.contains("holds the name"), "{said}");
    }
}

#[test]
fn the_first_of_two_equal_names_counts() {
    let sample = Sample::new();
    let name = sample.bytes.windows(6).position(|w| w == b"NM\x06\x01\0g");
    let reader = open(&sample.set(name.unwrap() + 5, b'h').bytes).unwrap();
    let paths: Vec<&str> = reader.paths().collect();
    assert_eq!(paths, ["d/f", "h"]);
    let content = reader.file("h").unwrap().unwrap();
    assert_eq!(content.len(), 5000, "what g was");
}

#[test]
fn files_in_parts_are_listed_but_not_read() {
    let sample = Sample::new();
    let at = sample.record(b"G.;1");
    let reader = open(&sample.set(at + 25, 0x80).bytes).unwrap();
    assert_eq!(reader.paths().collect::<Vec<_>>(), ["d/f", "g", "h"]);
    let error = reader.file("g").unwrap_err().to_string();
    assert!(error.contains("several parts"), "{error}");
}

/// As in ISOs for s390x of 2023, which xorriso made.
#[test]
fn a_parent_named_like_the_root_itself_is_one() {
    let sample = Sample::new();
    let root = sample.u32_at(16 * 2048 + 158) as usize * 2048;
    let parent = root + usize::from(sample.bytes[root]);
    assert_eq!(sample.bytes[parent + 32..parent + 34], [1, 1]);
    let reader = open(&sample.set(parent + 33, 0).bytes).unwrap();
    assert_eq!(reader.paths().collect::<Vec<_>>(), ["d/f", "g", "h"]);
}

#[test]
fn an_endless_continuation_ends() {
    // The NM of `g` becomes a CE that leads to itself, over whatever follows.
    let sample = Sample::new();
    let at = sample
        .bytes
        .windows(6)
        .position(|w| w == b"NM\x06\x01\0g")
        .unwrap();
    let (sector, offset) = ((at / 2048) as u32, (at % 2048) as u32);
    let mut bytes = sample.bytes.clone();
    bytes[at..at + 4].copy_from_slice(b"CE\x1c\x01");
    for (field, value) in [(4, sector), (12, offset), (20, 28)] {
        bytes[at + field..at + field + 4].copy_from_slice(&value.to_le_bytes());
    }
    let record = sample.record(b"G.;1");
    bytes[record] = (at + 28 - record) as u8;
    match open(&bytes) {
        Err(ReadError::Damaged(said)) => assert!(said.contains("continued more than"), "{said}"),
        other => panic!("{other:?}"),
    }
    // And one that leads out of its sector.
    bytes[at + 12..at + 16].copy_from_slice(&2040u32.to_le_bytes());
    match open(&bytes) {
        Err(ReadError::Damaged(said)) => assert!(said.contains("where it can't be"), "{said}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broken_boot_catalog_is_an_error() {
    let volume = live_volume();
    let mut bytes = fs::read(written(&volume).path()).unwrap();
    let at = 17 * 2048 + 0x47;
    let catalog = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize * 2048;
    let reader = open(&bytes).unwrap();
    assert_eq!(reader.boot_images().len(), 2);
    // A section that says it has more entries than there are.
    bytes[catalog + 64 + 2..catalog + 64 + 4].fill(0xff);
    assert_eq!(open(&bytes).unwrap().boot_images().len(), 1 + 61);
    bytes[catalog + 28] ^= 1;
    assert!(matches!(open(&bytes), Err(ReadError::Damaged(_))));
    bytes[at..at + 4].fill(0xff);
    assert!(matches!(open(&bytes), Err(ReadError::Io { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_damage_makes_the_reader_panic(
        hits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12)
    ) {
        let mut bytes = Sample::new().bytes;
        // Where structures are: from the first descriptor on.
        let range = 16 * 2048..bytes.len();
        for (index, value) in hits {
            bytes[range.start + index.index(range.len())] = value;
        }
        if let Ok(reader) = open(&bytes) {
            for path in reader.paths() {
                let _ = reader.file(path);
            }
            reader.facts();
        }
    }
}
