//! What the kernel makes and shows: populating a mounted file system, and looking at all of it.
//!
//! Shared with the tests of the ext4 reader.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, Timespec, Timestamps, XattrFlags, fallocate,
    lgetxattr, llistxattr, lsetxattr, major, makedev, minor, mknodat, utimensat,
};

use bake_referee::unmount;

/// All that is compared of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: String,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, i64),
    pub(super) links: u64,
    pub(super) number: u64,
    pub(super) immutable: bool,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Length and XXH3 of a file.
    pub(super) contents: Option<(u64, u64)>,
}

/// Length and checksum of what is read.
pub(super) fn fingerprint(mut reader: impl Read) -> (u64, u64) {
    let mut state = xxhash_rust::xxh3::Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    let mut len = 0;
    loop {
        match reader.read(&mut buffer).expect("reading") {
            0 => return (len, state.digest()),
            count => {
                state.update(&buffer[..count]);
                len += count as u64;
            }
        }
    }
}

/// Whether the tests may mount; says so if not.
pub(super) fn may_mount() -> bool {
    if rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists() {
        return true;
    }
    println!("skipped: needs root");
    false
}

/// Runs a tool that must succeed.
pub(super) fn run(command: &mut Command) {
    let output = command.output().expect("the tool starts");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A mounted image. Never mount one that was damaged: it can hang the machine.
pub(super) struct Mount(PathBuf);

impl Mount {
    pub(super) fn new(image: &Path, on: &Path) -> Self {
        fs::create_dir_all(on).expect("a directory to mount on");
        run(Command::new("mount")
            .arg("-o")
            .arg("loop")
            .arg(image)
            .arg(on));
        Self(on.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// How much of everything a file system can hold.
pub(super) struct Limits {
    pub(super) target: usize,
    pub(super) value: usize,
    pub(super) many_xattrs: usize,
    pub(super) mtimes: &'static [(i64, i64)],
}

/// Makes every form of directory, contents and attributes that there is.
pub(super) fn populate(root: &Path, limits: &Limits) {
    directories(root);
    contents(root);
    specials(root, limits);
    attributes(root, limits);
}

fn directories(root: &Path) {
    for count in [0, 1, 2, 5, 12, 30, 90, 250, 430, 600, 3000] {
        let folder = root.join(format!("d{count}"));
        fs::create_dir(&folder).expect("mkdir");
        for index in 0..count {
            // Lengths from 1 byte on, so that names end at every alignment.
            let name = format!("{index:x}{}", "n".repeat(index % 37));
            if index % 50 == 7 {
                fs::create_dir(folder.join(name)).expect("mkdir");
            } else {
                File::create(folder.join(name)).expect("create");
            }
        }
    }
    // Stale hashes and free regions.
    for (folder, step) in [("d30", 3), ("d250", 2), ("d600", 3), ("d3000", 4)] {
        let mut names: Vec<_> = fs::read_dir(root.join(folder))
            .expect("read_dir")
            .map(|entry| entry.expect("entry").path())
            .filter(|path| path.is_file())
            .collect();
        names.sort();
        for name in names.iter().step_by(step) {
            fs::remove_file(name).expect("rm");
        }
    }
    let folder = root.join("links");
    fs::create_dir(&folder).expect("mkdir");
    let file = root.join("d1/0");
    for index in 0..9000 {
        fs::hard_link(&file, folder.join(format!("a-rather-long-name-{index}"))).expect("ln");
    }
    let mut deep = root.to_owned();
    for _ in 0..40 {
        deep.push("deep");
        fs::create_dir(&deep).expect("mkdir");
    }
    fs::create_dir(root.join("n".repeat(255))).expect("mkdir");
}

fn contents(root: &Path) {
    let folder = root.join("contents");
    fs::create_dir(&folder).expect("mkdir");
    let bytes: Vec<u8> = (0..3 << 20)
        .map(|at: u32| (at.wrapping_mul(at) >> 7).to_le_bytes()[0])
        .collect();
    for len in [1, 511, 512, 4095, 4096, 4097, 70_000, 3 << 20] {
        fs::write(folder.join(format!("{len}")), &bytes[..len]).expect("write");
    }
    for extents in [2u64, 10, 12, 20, 24, 3000] {
        let file = File::create(folder.join(format!("holes-{extents}"))).expect("create");
        for index in 0..extents {
            file.write_all_at(&bytes[..4096], index * 3 * 4096)
                .expect("write");
        }
    }
    let file = File::create(folder.join("hole")).expect("create");
    file.set_len(5 << 30).expect("truncate");
    let file = File::create(folder.join("tail")).expect("create");
    file.write_all_at(b"end", 5 << 30).expect("write");
    let file = File::create(folder.join("unwritten")).expect("create");
    fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).expect("fallocate");
    file.write_all_at(b"inside", 300_000).expect("write");
    let file = File::create(folder.join("beyond")).expect("create");
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20).expect("fallocate");
    file.write_all_at(&bytes[..5000], 0).expect("write");
}

fn specials(root: &Path, limits: &Limits) {
    let folder = root.join("specials");
    fs::create_dir(&folder).expect("mkdir");
    for len in [
        1, 2, 50, 59, 60, 61, 150, 335, 336, 337, 600, 1022, 1023, 4000,
    ] {
        if len <= limits.target {
            let target = "t".repeat(len);
            symlink(&target, folder.join(format!("l{len}"))).expect("ln -s");
            let label = b"system_u:object_r:usr_t:s0";
            let path = folder.join(format!("x{len}"));
            symlink(&target, &path).expect("ln -s");
            set(&path, "security.selinux", label);
        }
    }
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("disk", FileType::BlockDevice, makedev(259, 70_000)),
        ("big", FileType::CharacterDevice, makedev(500, 0x3_ffff)),
        ("pipe", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
    ] {
        let path = folder.join(name);
        mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device).expect("mknod");
        let path = folder.join(format!("{name}-labelled"));
        mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), device).expect("mknod");
        set(&path, "security.selinux", b"system_u:object_r:device_t:s0");
    }
    for (index, (seconds, nanoseconds)) in limits.mtimes.iter().enumerate() {
        let path = folder.join(format!("time{index}"));
        fs::write(&path, "x").expect("write");
        let time = Timespec {
            tv_sec: *seconds,
            tv_nsec: *nanoseconds,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("utimensat");
        let owner = u32::try_from(index).expect("few") * 900_000_000 + 7;
        std::os::unix::fs::chown(&path, Some(owner), Some(owner + 1)).expect("chown");
        let mode = fs::Permissions::from_mode_bits(
            0o4711 + u32::try_from(index % 2).expect("bit") * 0o3000,
        );
        fs::set_permissions(&path, mode).expect("chmod");
    }
    for (name, directory) in [("fixed", false), ("fixed-directory", true)] {
        let path = folder.join(name);
        if directory {
            fs::create_dir(&path).expect("mkdir");
        } else {
            fs::write(&path, "x").expect("write");
        }
        run(Command::new("chattr").arg("+i").arg(&path));
    }
}

trait FromModeBits {
    fn from_mode_bits(mode: u32) -> Self;
}

impl FromModeBits for fs::Permissions {
    fn from_mode_bits(mode: u32) -> Self {
        std::os::unix::fs::PermissionsExt::from_mode(mode)
    }
}

fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|error| panic!("setting {name} of {}: {error}", path.display()));
}

fn attributes(root: &Path, limits: &Limits) {
    let folder = root.join("attributes");
    fs::create_dir(&folder).expect("mkdir");
    for len in [
        0, 1, 20, 100, 200, 255, 256, 300, 900, 3000, 3050, 3060, 3070, 4000, 4040, 4041, 8080,
        65_536,
    ] {
        if len > limits.value {
            continue;
        }
        let path = folder.join(format!("v{len}"));
        fs::write(&path, "x").expect("write");
        set(&path, "user.value", &vec![b'v'; len]);
    }
    for count in [2, 5, 10, 40, 300] {
        if count > limits.many_xattrs {
            continue;
        }
        for directory in [false, true] {
            let path = folder.join(format!("m{count}{directory}"));
            if directory {
                fs::create_dir(&path).expect("mkdir");
                File::create(path.join("inside")).expect("create");
            } else {
                fs::write(&path, "x").expect("write");
            }
            for index in 0..count {
                let space = ["user", "trusted", "security"][index % 3];
                set(
                    &path,
                    &format!("{space}.name{index}"),
                    &vec![b'm'; index % 90],
                );
            }
            if count > 2 {
                rustix::fs::removexattr(&path, "user.name0").expect("removexattr");
                rustix::fs::removexattr(&path, "trusted.name1").expect("removexattr");
            }
        }
    }
    let path = folder.join("acl");
    fs::create_dir(&path).expect("mkdir");
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in [
        (1u16, 7u16, u32::MAX),
        (2, 5, 1000),
        (4, 5, u32::MAX),
        (8, 4, 70_000),
        (16, 7, u32::MAX),
        (32, 1, u32::MAX),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(number.to_le_bytes());
    }
    set(&path, "system.posix_acl_access", &list);
    set(&path, "system.posix_acl_default", &list);
    let path = folder.join("capability");
    fs::write(&path, "x").expect("write");
    set(
        &path,
        "security.selinux",
        b"system_u:object_r:ping_exec_t:s0\0",
    );
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    set(&path, "security.capability", &capability);
}

/// All of a mounted file system, by path.
pub(super) fn look(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    look_below(root, b"", &mut all);
    all
}

fn look_below(path: &Path, name: &[u8], all: &mut BTreeMap<Vec<u8>, Seen>) {
    all.insert(name.to_vec(), see(path));
    if fs::symlink_metadata(path).expect("stat").is_dir() {
        for entry in fs::read_dir(path).expect("read_dir") {
            let entry = entry.expect("entry");
            let mut below = name.to_vec();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend(entry.file_name().as_bytes());
            look_below(&entry.path(), &below, all);
        }
    }
}

fn see(path: &Path) -> Seen {
    let stat = fs::symlink_metadata(path).expect("stat");
    let file_type = stat.file_type();
    let device = format!("{}:{}", major(stat.rdev()), minor(stat.rdev()));
    let kind = if file_type.is_dir() {
        "directory".to_owned()
    } else if file_type.is_file() {
        "file".to_owned()
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).expect("readlink");
        format!("symlink {}", target.display())
    } else if file_type.is_char_device() {
        format!("char {device}")
    } else if file_type.is_block_device() {
        format!("block {device}")
    } else if file_type.is_fifo() {
        "fifo".to_owned()
    } else {
        "socket".to_owned()
    };
    let mut immutable = false;
    if file_type.is_file() || file_type.is_dir() {
        let file = File::open(path).expect("open");
        let flags = rustix::fs::ioctl_getflags(&file).expect("flags");
        immutable = flags.contains(rustix::fs::IFlags::IMMUTABLE);
    }
    Seen {
        kind,
        mode: stat.mode() & 0o7777,
        uid: stat.uid(),
        gid: stat.gid(),
        mtime: (stat.mtime(), stat.mtime_nsec()),
        links: stat.nlink(),
        number: stat.ino(),
        immutable,
        xattrs: xattrs(path),
        contents: file_type.is_file().then(|| contents_of(path, stat.len())),
    }
}

/// Files of gigabytes are holes; their length and their end stand for them.
const CONTENTS_MAX: u64 = 64 << 20;

fn contents_of(path: &Path, len: u64) -> (u64, u64) {
    let file = File::open(path).expect("open");
    if len <= CONTENTS_MAX {
        return fingerprint(file);
    }
    let mut end = vec![0; 4096];
    file.read_exact_at(&mut end, len - 4096).expect("reading");
    (len, fingerprint(&end[..]).1)
}

/// As [`look`] has it, from a reader of the contents.
pub(super) fn contents_from(len: u64, mut reader: impl Read) -> (u64, u64) {
    if len <= CONTENTS_MAX {
        return fingerprint(reader);
    }
    let mut skip = (&mut reader).take(len - 4096);
    std::io::copy(&mut skip, &mut std::io::sink()).expect("reading");
    (len, fingerprint(reader).1)
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let len = llistxattr(path, &mut names[..]).expect("listxattr");
    names[..len]
        .split(|byte| *byte == 0)
        // XFS lists access control lists a second time, in the form it stores.
        .filter(|name| !name.is_empty() && !name.starts_with(b"trusted.SGI_ACL"))
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let len = lgetxattr(path, name, &mut value[..]).expect("getxattr");
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}
