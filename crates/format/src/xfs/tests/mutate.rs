//! The kernel changes and grows what we wrote, and `xfs_repair` finds nothing wrong after it. Some
//! mistakes show only then.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::XattrFlags;

use super::cases::{directory, file, pattern};
use super::{Image, Mount, Options, can_mount, complaints, have, run, small};
use bake_tree::{Meta, Tree, Xattrs};

/// A loop device, detached when dropped.
struct Loop(PathBuf);

impl Loop {
    fn new(image: &Path, sector_size: u32) -> Self {
        let name = run(Command::new("losetup")
            .args([
                "--find",
                "--show",
                "--sector-size",
                &sector_size.to_string(),
            ])
            .arg(image));
        Self(name.trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let status = Command::new("losetup").arg("-d").arg(&self.0).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("{} stays attached", self.0.display());
        }
    }
}

/// Directories and attributes of every form, and of every size between short forms and others.
fn tree() -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    for count in (0..12).chain([14, 20, 28, 60, 140, 170, 400, 600, 3000]) {
        // From about 270 on, attributes leave less than 56 bytes to the data.
        for len in [0usize, 30, 150, 260, 272, 285, 300, 400, 5000] {
            let mut meta = Meta::root(0o755);
            if len > 0 {
                let (first, rest) = (len.min(250), len.saturating_sub(250));
                meta.xattrs = Xattrs::new().with(b"trusted.a", &pattern(first, 1));
                if rest > 0 {
                    meta.xattrs = meta.xattrs.with(b"trusted.b", &pattern(rest, 2));
                }
            }
            let name = format!("directory-{count}-{len}");
            let parent = tree.create(Tree::ROOT, &name, meta.clone(), directory());
            meta.mode = 0o644;
            // Hundreds of attributes of their own only in the smaller ones.
            if count > 200 {
                meta.xattrs = Xattrs::new();
            }
            for index in 0..count {
                let node = file(pattern(index * 37 % 9000, 3));
                tree.create(parent, &format!("name-{index}"), meta.clone(), node);
            }
        }
    }
    tree
}

fn random_uuid() -> [u8; 16] {
    let mut uuid = [0; 16];
    let random = File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut &random, &mut uuid).unwrap();
    uuid
}

/// Changes a third of everything in each directory, and makes `creations` new files in all.
fn mutate(root: &Path, creations: usize, round: usize) {
    let mut directories: Vec<PathBuf> = root
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    for directory in &directories {
        let mut paths: Vec<PathBuf> = directory
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for (index, path) in paths.iter().enumerate() {
            match (index + round) % 12 {
                0 | 3 | 6 | 9 => std::fs::remove_file(path).unwrap(),
                1 => std::fs::rename(path, path.with_extension("renamed")).unwrap(),
                2 => std::fs::write(path, pattern(50_000, index as u64)).unwrap(),
                4 => {
                    let file = OpenOptions::new().write(true).open(path).unwrap();
                    file.set_len(10).unwrap();
                    file.write_all_at(b"far", 1 << 20).unwrap();
                }
                5 => {
                    let value = pattern(index * 31 % 3000, 4);
                    let name = format!("trusted.new-{round}");
                    rustix::fs::setxattr(path, name, &value, XattrFlags::empty()).unwrap();
                }
                7 => {
                    // There or not.
                    let _ = rustix::fs::removexattr(path, "trusted.a");
                }
                _ => {}
            }
        }
        let value = pattern(100 * round, 5);
        rustix::fs::setxattr(directory, "trusted.round", &value, XattrFlags::empty()).unwrap();
    }
    for index in 0..creations {
        let directory = &directories[index % directories.len()];
        let name = format!("created-in-round-{round}-{index}");
        std::fs::write(directory.join(name), pattern(index % 5000, 6)).unwrap();
    }
}

#[test]
fn the_kernel_may_change_and_grow_it() {
    if !can_mount()
        || !["losetup", "xfs_admin", "xfs_growfs"]
            .iter()
            .all(|tool| have(tool))
    {
        return;
    }
    let tree = tree();
    for sector_size in [512, 4096] {
        let options = Options {
            size_bytes: 512 << 20,
            sector_size,
            // The kernel refuses a second file system of the same UUID.
            uuid: random_uuid(),
            ..small()
        };
        let image = Image::write(&tree, &options);
        assert!(image.is_clean());
        let path = image.path();
        let device = Loop::new(&path, sector_size);
        let assert_clean = |when: &str| {
            let found = complaints(&device.0);
            assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
        };
        // As CoreOS does at first boot; it wants a clean log.
        run(Command::new("xfs_admin")
            .args(["-U", "generate"])
            .arg(&device.0));
        assert_clean("with another UUID");
        {
            let mount = Mount::new(&device.0, image.directory.path(), "rw");
            mutate(&mount.0, 2000, 1);
        }
        assert_clean("after changes");
        {
            let mount = Mount::new(&device.0, image.directory.path(), "rw");
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(options.size_bytes * 2).unwrap();
            run(Command::new("losetup").arg("-c").arg(&device.0));
            run(Command::new("xfs_growfs").arg(&mount.0));
            mutate(&mount.0, 6000, 2);
        }
        assert_clean("after growing and changes");
        {
            let mount = Mount::new(&device.0, image.directory.path(), "rw");
            for entry in mount.0.read_dir().unwrap() {
                std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
        }
        assert_clean("after removing everything");
    }
}
