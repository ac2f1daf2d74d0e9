//! Modules made by hand, looked up in trees and initramfs, and compared with kmod's tools.

pub(super) mod distribution;
mod dracut;
mod elf;
mod finding;
mod hardware;
mod hostonly;
mod index;
mod kabi;
mod loading;
pub(super) mod object;
mod referee;
mod signature;

use std::collections::BTreeMap;

use super::depmod::INDEX_MAGIC;
use bake_format::cpio::Writer;
use bake_tree::{Content, Meta, Node, Tree};

/// The kernel that boots, in these tests.
const RELEASE: &str = "6.1.0-test";

/// Where its modules are.
const MODULES: &str = "usr/lib/modules/6.1.0-test";

/// Files of a system, by path.
type Contents = BTreeMap<String, Vec<u8>>;

/// A module for that kernel, with further fields.
fn module(fields: &[&str]) -> object::Module {
    let mut all = vec!["vermagic=6.1.0-test SMP mod_unload "];
    all.extend(fields);
    object::module(&all)
}

/// A driver `disk`, its two dependencies, and a built-in `core`; indexes as depmod writes them.
fn system() -> Contents {
    let disk = module(&["depends=bus,lib-a", "name=disk"]).needs(&["bus_register"]);
    [
        ("kernel/disk.ko", disk.bytes()),
        ("kernel/bus.ko", module(&["depends=lib-a"]).bytes()),
        ("kernel/lib-a.ko", module(&["depends="]).bytes()),
        (
            "modules.dep",
            b"kernel/disk.ko: kernel/bus.ko kernel/lib-a.ko\n\
              kernel/bus.ko: kernel/lib-a.ko\nkernel/lib-a.ko:\n"
                .to_vec(),
        ),
        ("modules.dep.bin", INDEX_MAGIC.to_vec()),
        ("modules.builtin", b"kernel/core/core-x.ko\n".to_vec()),
    ]
    .into_iter()
    .map(|(name, content)| (format!("{MODULES}/{name}"), content))
    .collect()
}

fn tree(contents: &Contents) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    for (path, content) in contents {
        let (directory, name) = path.rsplit_once('/').unwrap();
        let directory = tree.make_directories(directory, &Meta::root(0o755));
        let node = Node::File(Content::bytes(content.clone()));
        tree.create(directory, name, Meta::root(0o644), node);
    }
    let link = Node::Symlink(b"usr/lib"[..].into());
    tree.create(Tree::ROOT, "lib", Meta::root(0o777), link);
    tree
}

/// An archive with these files, every directory before what is in it, and `lib -> usr/lib`.
fn archive(contents: &Contents) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let mut made = std::collections::BTreeSet::new();
    for (path, content) in contents {
        for (at, _) in path.match_indices('/') {
            if made.insert(&path[..at]) {
                writer.directory(&path[..at], 0o755).unwrap();
            }
        }
        writer.file(path, 0o644, content).unwrap();
    }
    writer.symlink("lib", "usr/lib").unwrap();
    writer.finish().unwrap()
}
