//! The reader, which shares nothing with the writer, finds no fault and the same tree. Needs neither
//! root nor tools.

use std::fs::File;
use std::sync::Arc;

use super::cases;
use super::seen::{assert_same, by_reader, in_tree};
use super::{Image, Options, all_options};
use crate::xfs::Layout;
use crate::xfs::reader::Reader;
use bake_tree::{Content, Follow, Look, Tree};

/// Checks that the reader finds no fault, and what the tree holds.
#[track_caller]
pub(super) fn assert_comes_back(image: &Image, tree: &Tree, what: &str) -> Reader {
    let file = Arc::new(File::open(image.path()).unwrap());
    let len = file.metadata().unwrap().len();
    let reader = Reader::open(Content::range(file, 0, len)).unwrap();
    assert_eq!(reader.check().unwrap(), Vec::<String>::new(), "{what}");
    assert_same(&by_reader(&reader), &in_tree(tree), what);
    reader
}

#[test]
fn every_case_comes_back() {
    for (what, tree) in cases::all() {
        for options in all_options() {
            let what = format!("{what}, sectors of {}", options.sector_size);
            let needed = Layout::minimum_bytes(&tree, &options).unwrap();
            let options = Options {
                size_bytes: needed.max(options.size_bytes),
                ..options
            };
            let layout = Layout::plan(&tree, &options).unwrap();
            let image = Image::of(&layout);
            let reader = assert_comes_back(&image, &tree, &what);
            same_extents(&tree, &layout, &reader);
        }
    }
}

/// Both tell the same places of the files in the root directory.
fn same_extents(tree: &Tree, layout: &Layout<'_>, reader: &Reader) {
    for (name, id) in tree.children(Tree::ROOT) {
        let planned: Vec<(u64, u64, u64)> = layout
            .extents(id)
            .iter()
            .map(|extent| (extent.file_offset, extent.image_offset, extent.len))
            .collect();
        if planned.is_empty() {
            continue;
        }
        let entry = reader.lookup(name, Follow::Last).unwrap().unwrap();
        assert_eq!(reader.extents(&entry).unwrap(), planned);
    }
}
