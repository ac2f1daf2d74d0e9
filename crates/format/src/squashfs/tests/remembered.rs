//! With a cache the image is the same, and less is compressed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cases::{file, meta, noise, text};
use super::{Image, options};
use crate::cache::Cache;
use crate::squashfs::{Compressor, Options};
use bake_tree::{Meta, Tree};

const BLOCK_SIZE: u32 = 16 << 10;
/// Those for which a block is worth looking up.
const SLOW: [Compressor; 3] = [
    Compressor::Zstd { level: 15 },
    Compressor::Gzip { level: 9 },
    Compressor::Xz,
];

/// Text in `text` blocks and a bit, noise in two blocks, zeros, two equal files and some that share a
/// fragment.
fn tree(texts: u64) -> Tree {
    let block = BLOCK_SIZE as usize;
    let mut tree = Tree::new(Meta::root(0o755));
    let directory = tree.make_directories("usr/bin", &meta());
    let large = text(block * 4 + 5000, texts);
    tree.create(directory, "text", meta(), file(large.clone()));
    tree.create(directory, "text-again", meta(), file(large));
    tree.create(directory, "noise", meta(), file(noise(2 * block, 2)));
    tree.create(directory, "zeros", meta(), file(vec![0; 3 * block]));
    for number in 0..9 {
        tree.create(
            directory,
            &format!("small-{number}"),
            meta(),
            file(text(1000, 10 + number)),
        );
    }
    tree
}

/// The image, and how many blocks were found in the cache and how many looked for.
fn with_cache(tree: &Tree, compressor: Compressor, directory: &Path) -> (Vec<u8>, (u64, u64)) {
    let cache = Arc::new(Cache::open(directory, 1 << 30).unwrap());
    let options = Options {
        cache: Some(Arc::clone(&cache)),
        ..options(compressor, BLOCK_SIZE)
    };
    let image = Image::write(tree, &options).bytes();
    cache.trim();
    (image, cache.uses())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(directory.join("v1")).unwrap();
    shelves
        .flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn blocks_are_compressed_once() {
    // Five of text, two of noise, a fragment.
    let blocks = 8;
    let directory = tempfile::tempdir().unwrap();
    for compressor in SLOW {
        let plain = Image::write(&tree(1), &options(compressor, BLOCK_SIZE)).bytes();
        let (cold, uses) = with_cache(&tree(1), compressor, directory.path());
        assert_eq!(uses, (0, blocks), "{compressor}");
        assert!(cold == plain, "{compressor}");
        let (warm, uses) = with_cache(&tree(1), compressor, directory.path());
        assert_eq!(uses, (blocks, blocks), "{compressor}");
        assert!(warm == plain, "{compressor}");
        // Another text: what has stayed is still known.
        let (changed, uses) = with_cache(&tree(2), compressor, directory.path());
        assert_eq!(uses, (blocks - 5, blocks), "{compressor}");
        assert!(changed != plain, "the comparison can't fail");
    }
    // Noise takes no place: no entry is as long as a block of it.
    let lengths = entries(directory.path())
        .into_iter()
        .map(|entry| fs::metadata(entry).unwrap().len());
    assert!(lengths.max().unwrap() < u64::from(BLOCK_SIZE));
}

#[test]
fn another_level_or_block_size_is_another_block() {
    let directory = tempfile::tempdir().unwrap();
    let zstd = |level| Compressor::Zstd { level };
    with_cache(&tree(1), zstd(15), directory.path());
    let (_, (found, _)) = with_cache(&tree(1), zstd(16), directory.path());
    assert_eq!(found, 0);
    // Compressing costs no more than looking up.
    let (_, (_, asked)) = with_cache(&tree(1), zstd(3), directory.path());
    assert_eq!(asked, 0);
}

#[test]
fn damaged_blocks_are_compressed_again() {
    let directory = tempfile::tempdir().unwrap();
    let compressor = SLOW[0];
    let (image, (_, blocks)) = with_cache(&tree(1), compressor, directory.path());
    let damaged = entries(directory.path());
    assert_eq!(damaged.len() as u64, blocks);
    for entry in damaged {
        let mut bytes = fs::read(&entry).unwrap();
        bytes[0] ^= 1;
        fs::write(entry, bytes).unwrap();
    }
    let (again, uses) = with_cache(&tree(1), compressor, directory.path());
    assert_eq!(uses, (0, blocks));
    assert!(again == image);
    let (_, uses) = with_cache(&tree(1), compressor, directory.path());
    assert_eq!(uses, (blocks, blocks), "they were mended");
}
