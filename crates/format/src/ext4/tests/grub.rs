//! GRUB's own driver, which reads the file system before any kernel does.

use std::path::Path;
use std::process::{Command, Output};

use super::trees::{file, pattern, varied};
use super::{MIB, image, options};
use bake_tree::{Meta, Node, Tree};

/// `None`, with a line printed, without the tool.
fn grub(image: &Path, command: &str, path: &str) -> Option<Output> {
    let output = Command::new("grub-fstest")
        .arg(image)
        .args([command, &format!("(loop0)/{path}")])
        .output();
    match output {
        Ok(output) => Some(output),
        Err(_) if std::env::var_os("REQUIRE_TOOLS").is_none() => {
            println!("skipped: grub-fstest is not installed");
            None
        }
        Err(error) => panic!("running grub-fstest: {error}"),
    }
}

#[test]
fn grub_reads_every_file() {
    for block_size in [1024, 4096] {
        let tree = varied(block_size as usize);
        let image = image(&tree, &options(64, block_size));
        let mut read = 0;
        let mut paths = Vec::new();
        tree.walk(|path, id| {
            if let (Node::File(content), Ok(path)) = (&tree.inode(id).node, str::from_utf8(path)) {
                paths.push((path.to_owned(), content.clone()));
            }
        });
        for (path, content) in &paths {
            let Some(output) = grub(image.path(), "cat", path) else {
                return;
            };
            assert!(output.status.success(), "{path}: {output:?}");
            assert!(
                output.stdout == content.to_vec(64 * MIB).unwrap(),
                "contents of {path}"
            );
            read += 1;
        }
        assert!(read > 20);
    }
}

#[test]
fn grub_lists_and_follows_as_on_a_boot_partition() {
    let mut tree = Tree::new(Meta::root(0o755));
    let link = |target: &[u8]| Node::Symlink(target.into());
    tree.create(Tree::ROOT, "boot", Meta::root(0o777), link(b"."));
    tree.create(Tree::ROOT, "loader", Meta::root(0o777), link(b"loader.1"));
    let entries = tree.make_directories("loader.1/entries", &Meta::root(0o755));
    file(&mut tree, entries, "ostree-1.conf", b"title x\n".to_vec());
    let long = format!("{}ostree-1.conf", "./".repeat(40));
    tree.create(entries, "slow", Meta::root(0o777), link(long.as_bytes()));
    let kernel = pattern((13 << 20) + 5, 8);
    let system = tree.make_directories("ostree/rhcos-0123", &Meta::root(0o755));
    file(&mut tree, system, "vmlinuz", kernel.clone());
    for nth in 0..300 {
        file(&mut tree, system, &format!("module-{nth}.mod"), Vec::new());
    }

    let image = image(&tree, &options(384, 1024));
    let Some(listed) = grub(image.path(), "ls", "boot/ostree/rhcos-0123/") else {
        return;
    };
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.split_whitespace().count(), 301, "{listed}");
    for path in ["boot/loader/entries/ostree-1.conf", "loader/entries/slow"] {
        let output = grub(image.path(), "cat", path).unwrap();
        assert_eq!(output.stdout, b"title x\n", "{path}: {output:?}");
    }
    let output = grub(image.path(), "cat", "ostree/rhcos-0123/vmlinuz").unwrap();
    assert!(output.stdout == kernel);
}
