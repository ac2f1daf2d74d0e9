//! What our reader and `debugfs` read back, without root.

use std::path::Path;
use std::sync::Arc;

use super::referees::{check, debugfs_all};
use super::trees::{file, varied};
use super::{MIB, image, options};
use crate::ext4::reader::Reader;
use crate::ext4::{Layout, Options};
use bake_tree::{Content, Follow, Kind, Look, Meta, Node, Tree};

/// Nothing for `e2fsck` to say, and every inode as in the tree.
pub(super) fn agree(image: &Path, options: &Options, tree: &Tree) {
    check(image);
    let opened = Arc::new(std::fs::File::open(image).unwrap());
    let reader = Reader::open(Content::range(opened, 0, options.size_bytes)).unwrap();
    let layout = Layout::plan(tree, options).unwrap();
    let links = tree.link_counts();
    let mut attributes = Vec::new();
    tree.walk(|path, id| {
        let inode = tree.inode(id);
        let shown = String::from_utf8_lossy(path);
        let found = reader.lookup(path, Follow::NotLast).unwrap();
        let found = found.unwrap_or_else(|| panic!("{shown} is missing"));
        let meta = Meta {
            uid: found.uid,
            gid: found.gid,
            mode: found.mode,
            mtime: found.mtime,
            xattrs: inode.meta.xattrs.clone(),
            immutable: found.immutable,
        };
        let mut wanted = inode.meta.clone();
        wanted.immutable &= matches!(inode.node, Node::File(_) | Node::Directory(_));
        assert_eq!(meta, wanted, "{shown}");
        attributes.extend(meta.xattrs.iter().map(|(name, value)| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            (found.number, name, value.to_vec())
        }));
        if !path.is_empty() {
            assert_eq!(found.links, links[id.index()], "{shown}");
        }
        match (&inode.node, &found.kind) {
            (Node::File(content), Kind::File { len }) => {
                assert_eq!(*len, content.len(), "{shown}");
                let bytes = reader.to_vec(&found, 64 * MIB).unwrap();
                assert!(bytes == content.to_vec(64 * MIB).unwrap(), "{shown}");
                let told: Vec<_> = layout
                    .extents(id)
                    .iter()
                    .map(|extent| (extent.file_offset, extent.image_offset, extent.len))
                    .collect();
                assert_eq!(reader.extents(&found).unwrap(), told, "{shown}");
            }
            (Node::Directory(names), Kind::Directory) => {
                let read = reader.read_dir(&found).unwrap();
                let read = read
                    .iter()
                    .map(|name| &*name.name)
                    .filter(|name| names.contains_key(*name) || *name != b"lost+found");
                assert!(read.eq(names.keys().map(|name| &**name)), "{shown}");
            }
            (Node::Symlink(target), Kind::Symlink(read)) => assert_eq!(target, read, "{shown}"),
            (Node::CharDevice(a, b), Kind::CharDevice(c, d))
            | (Node::BlockDevice(a, b), Kind::BlockDevice(c, d)) => {
                assert_eq!((a, b), (c, d), "{shown}");
            }
            (Node::Fifo, Kind::Fifo) | (Node::Socket, Kind::Socket) => {}
            (_, kind) => panic!("{shown} is {kind:?}"),
        }
    });
    compare_attributes(image, attributes);
}

/// `debugfs` must find each of these attributes: number of the inode, name, value.
fn compare_attributes(image: &Path, mut wanted: Vec<(u32, String, Vec<u8>)>) {
    // Its library reads access control lists in a form of its own.
    wanted.retain(|(_, name, _)| !name.starts_with("system."));
    let request = |(number, name, _): &_| format!("ea_get -xV <{number}> {name}");
    let Some(said) = debugfs_all(image, wanted.iter().map(request)) else {
        return;
    };
    assert_eq!(said.len(), wanted.len());
    for ((number, name, value), said) in wanted.iter().zip(said) {
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(said.replace(' ', ""), hex, "{name} of inode {number}");
    }
}

#[test]
fn every_inode_is_read_back() {
    for block_size in [1024, 4096] {
        for time in [0, 1_700_000_000] {
            let options = Options {
                time,
                ..options(64, block_size)
            };
            let tree = varied(block_size as usize);
            let image = image(&tree, &options);
            agree(image.path(), &options, &tree);
        }
    }
}

/// Names that fill a block to the last byte, and miss it by one entry.
#[test]
fn directory_blocks_are_filled_to_the_end() {
    for block_size in [1024, 4096] {
        for count in 1..40 {
            let mut tree = Tree::new(Meta::root(0o755));
            let directory = tree.make_directories("d", &Meta::root(0o755));
            let id = file(&mut tree, directory, "first", Vec::new());
            for nth in 0..block_size / 40 {
                let name = format!("{nth:04}{}", "n".repeat(count));
                tree.link(directory, name.as_bytes(), id);
            }
            let options = options(16, block_size);
            agree(image(&tree, &options).path(), &options, &tree);
        }
    }
}
