//! The kernel's own driver: what it sees, and what it makes of the file system afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{IFlags, Mode, OFlags};
use tempfile::TempDir;

use super::referees::{check, fields, run, text};
use super::trees::{file, pattern, varied};
use super::{image, options};
use bake_referee::unmount;
use bake_tree::{InodeId, Meta, Node, Tree};

/// A mounted image, until dropped.
struct Mounted(TempDir);

impl Mounted {
    /// `None`, with a line printed, without root. The image was found clean before.
    fn new(image: &Path, mode: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        check(image);
        let at = TempDir::new().unwrap();
        let output = Command::new("mount")
            .args(["-t", "ext4", "-o", &format!("loop,{mode}")])
            .arg(image)
            .arg(at.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "mount: {}", text(&output));
        Some(Self(at))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(self.0.path());
    }
}

fn join(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() {
        root.to_owned()
    } else {
        root.join(OsStr::from_bytes(path))
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..len].to_vec())
        })
        .collect()
}

fn is_immutable(path: &Path) -> bool {
    let file = rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap();
    let flags = rustix::fs::ioctl_getflags(file).unwrap();
    flags.contains(IFlags::IMMUTABLE)
}

/// Every attribute of every inode, every name and every byte.
pub(super) fn compare(root: &Path, tree: &Tree) {
    let mut links = tree.link_counts();
    let has_lost_found = tree.child(Tree::ROOT, b"lost+found").is_some();
    links[Tree::ROOT.index()] += u32::from(!has_lost_found);
    let mut numbers: BTreeMap<InodeId, u64> = BTreeMap::new();
    tree.walk(|path, id| {
        let at = join(root, path);
        let inode = tree.inode(id);
        let found = fs::symlink_metadata(&at).unwrap_or_else(|e| panic!("{at:?}: {e}"));
        let is = |what: &str, ok: bool| assert!(ok, "{what} of {at:?}: {found:?}");
        let meta = &inode.meta;
        is("mode", found.mode() & 0o7777 == u32::from(meta.mode));
        is("owner", (found.uid(), found.gid()) == (meta.uid, meta.gid));
        is(
            "time",
            (found.mtime(), found.mtime_nsec()) == (meta.mtime, 0),
        );
        is("links", found.nlink() == u64::from(links[id.index()]));
        let number = *numbers.entry(id).or_insert(found.ino());
        is("inode", number == found.ino());
        let wanted: BTreeMap<_, _> = meta
            .xattrs
            .iter()
            .map(|(n, v)| (n.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(xattrs(&at), wanted, "attributes of {at:?}");
        let kind = found.file_type();
        let device = |major: u32, minor: u32| {
            let rdev = found.rdev();
            (rustix::fs::major(rdev), rustix::fs::minor(rdev)) == (major, minor)
        };
        match &inode.node {
            Node::Directory(names) => {
                is("kind", kind.is_dir());
                is("flag", is_immutable(&at) == meta.immutable);
                let mut wanted: BTreeSet<Vec<u8>> = names.keys().map(|n| n.to_vec()).collect();
                if path.is_empty() {
                    wanted.insert(b"lost+found".to_vec());
                }
                let seen: BTreeSet<Vec<u8>> = fs::read_dir(&at)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
                    .collect();
                assert_eq!(seen, wanted, "names in {at:?}");
            }
            Node::File(content) => {
                is("kind", kind.is_file());
                is("flag", is_immutable(&at) == meta.immutable);
                is(
                    "contents",
                    fs::read(&at).unwrap() == content.to_vec(u64::MAX).unwrap(),
                );
            }
            Node::Symlink(target) => {
                let read = fs::read_link(&at).unwrap();
                is("target", read.as_os_str().as_bytes() == &**target);
            }
            Node::CharDevice(major, minor) => {
                is("device", kind.is_char_device() && device(*major, *minor));
            }
            Node::BlockDevice(major, minor) => {
                is("device", kind.is_block_device() && device(*major, *minor));
            }
            Node::Fifo => is("kind", kind.is_fifo()),
            Node::Socket => is("kind", kind.is_socket()),
        }
    });
}

#[test]
fn the_kernel_sees_the_tree() {
    for block_size in [1024, 4096] {
        let tree = varied(block_size as usize);
        let image = image(&tree, &options(64, block_size));
        check(image.path());
        let Some(mounted) = Mounted::new(image.path(), "ro") else {
            return;
        };
        compare(mounted.path(), &tree);
    }
}

#[test]
fn a_lost_found_of_the_tree_keeps_what_it_is() {
    let mut tree = Tree::new(Meta::root(0o755));
    let meta = Meta {
        xattrs: [(&b"security.selinux"[..], &b"lost_found_t"[..])]
            .into_iter()
            .collect(),
        mtime: 77,
        ..Meta::root(0o711)
    };
    let lost = tree.make_directories("lost+found", &meta);
    file(&mut tree, lost, "#12", b"found".to_vec());
    let image = image(&tree, &options(16, 1024));
    check(image.path());
    if let Some(mounted) = Mounted::new(image.path(), "ro") {
        compare(mounted.path(), &tree);
        let found = fs::metadata(mounted.path().join("lost+found")).unwrap();
        assert_eq!((found.ino(), found.len()), (11, 12 << 10));
    }
}

#[test]
fn twenty_thousand_names_are_found() {
    let mut tree = Tree::new(Meta::root(0o755));
    let directory = tree.make_directories("many", &Meta::root(0o755));
    let target = file(&mut tree, directory, "target", pattern(9, 9));
    for nth in 0..20_000 {
        if nth % 2 == 0 {
            file(&mut tree, directory, &format!("file-{nth}"), Vec::new());
        } else {
            tree.link(directory, format!("link-{nth}").as_bytes(), target);
        }
    }
    for block_size in [1024, 4096] {
        let image = image(&tree, &options(128, block_size));
        check(image.path());
        if let Some(mounted) = Mounted::new(image.path(), "ro") {
            compare(mounted.path(), &tree);
        }
    }
}

/// What first boot does, `tune2fs -U random`, on the mounted file system and on the unmounted one.
#[test]
fn first_boot_changes_the_uuid() {
    let tree = varied(1024);
    for mounted in [false, true] {
        let image = image(&tree, &options(64, 1024));
        let mount = mounted.then(|| Mounted::new(image.path(), "rw")).flatten();
        let device = match &mount {
            None => image.path().to_owned(),
            Some(at) => {
                let output = Command::new("findmnt")
                    .args(["-n", "-o", "SOURCE"])
                    .arg(at.path())
                    .output()
                    .unwrap();
                PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
            }
        };
        let Some(output) = run("tune2fs", &["-U", "random"], &device) else {
            return;
        };
        assert!(output.status.success(), "tune2fs: {}", text(&output));
        drop(mount);
        let fields = fields(image.path()).unwrap();
        let uuid = &fields
            .iter()
            .find(|(n, _)| n == "Filesystem UUID")
            .unwrap()
            .1;
        assert!(!uuid.starts_with("96d15588"), "{uuid}");
        check(image.path());
        if let Some(mounted) = Mounted::new(image.path(), "ro") {
            compare(mounted.path(), &tree);
        }
    }
}

/// The kernel deletes, creates and grows; what it leaves must be clean too.
#[test]
fn the_kernel_goes_on_writing() {
    for block_size in [1024, 4096] {
        let mut tree = varied(block_size as usize);
        let directory = tree.make_directories("many", &Meta::root(0o755));
        for nth in 0..500 {
            file(&mut tree, directory, &format!("{nth}"), pattern(nth, 1));
        }
        let image = image(&tree, &options(64, block_size));
        let Some(mounted) = Mounted::new(image.path(), "rw") else {
            return;
        };
        let root = mounted.path();
        fs::remove_dir_all(root.join("sizes")).unwrap();
        fs::remove_dir_all(root.join("attributes")).unwrap();
        for nth in (0..500).step_by(2) {
            fs::remove_file(root.join(format!("many/{nth}"))).unwrap();
        }
        fs::create_dir_all(root.join("new/a/b")).unwrap();
        for nth in 0..2000 {
            fs::write(root.join(format!("many/new-{nth}")), pattern(nth, 2)).unwrap();
        }
        fs::write(root.join("new/large"), pattern(12 << 20, 3)).unwrap();
        rustix::fs::setxattr(
            root.join("hard-above"),
            "user.large",
            &pattern(500, 4),
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        drop(mounted);
        check(image.path());
        let again = Mounted::new(image.path(), "ro").unwrap();
        assert!(fs::read(again.path().join("new/large")).unwrap() == pattern(12 << 20, 3));
        assert!(fs::read(again.path().join("many/499")).unwrap() == pattern(499, 1));
    }
}

/// Mounts, if that can be, and compares.
pub(super) fn compare_mounted(image: &Path, tree: &Tree) {
    if let Some(mounted) = Mounted::new(image, "ro") {
        compare(mounted.path(), tree);
    }
}
