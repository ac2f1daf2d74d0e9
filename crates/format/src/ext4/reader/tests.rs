//! The reader against what the kernel and mke2fs make.

mod faults;
mod foreign;
#[allow(
    clippy::duplicate_mod,
    reason = "the same oracle, compared with another reader's types"
)]
#[path = "../../xfs/reader/tests/mounted.rs"]
mod mounted;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use self::mounted::{Limits, Mount, Seen, contents_from, look, may_mount, populate, run};
use super::Reader;
use bake_referee::have;
use bake_tree::{Content, Follow, Kind, Look};

const LIMITS: Limits = Limits {
    target: 1022,
    value: 900,
    many_xattrs: 10,
    mtimes: &[
        (0, 0),
        (-5, 3),
        (-(1 << 31), 0),
        (1 << 31, 999_999_999),
        (8_589_934_592, 1),
    ],
};

fn open(image: &Path) -> Reader {
    let file = File::open(image).expect("open");
    let len = file.metadata().expect("stat").len();
    Reader::open(Content::range(Arc::new(file), 0, len)).expect("opening the image")
}

/// All of an image as the reader has it.
fn read_all(reader: &Reader) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    let mut open = vec![(Vec::new(), reader.root().expect("root"))];
    while let Some((path, entry)) = open.pop() {
        if entry.kind == Kind::Directory {
            for name in reader.read_dir(&entry).expect("read_dir") {
                let mut below: Vec<u8> = path.clone();
                if !below.is_empty() {
                    below.push(b'/');
                }
                below.extend(&*name.name);
                open.push((below, reader.entry_of(&name).expect("entry")));
            }
        }
        let kind = match &entry.kind {
            Kind::Directory => "directory".to_owned(),
            Kind::File { .. } => "file".to_owned(),
            Kind::Symlink(target) => format!("symlink {}", target.escape_ascii()),
            Kind::CharDevice(major, minor) => format!("char {major}:{minor}"),
            Kind::BlockDevice(major, minor) => format!("block {major}:{minor}"),
            Kind::Fifo => "fifo".to_owned(),
            Kind::Socket => "socket".to_owned(),
        };
        let contents = match entry.kind {
            Kind::File { len } => Some(contents_from(len, reader.read(&entry).expect("read"))),
            _ => None,
        };
        all.insert(
            path,
            Seen {
                kind,
                mode: entry.mode.into(),
                uid: entry.uid,
                gid: entry.gid,
                mtime: (entry.mtime, entry.mtime_nanoseconds.into()),
                links: entry.links.into(),
                number: entry.number.into(),
                immutable: entry.immutable,
                // Extended attributes are not read.
                xattrs: BTreeMap::new(),
                contents,
            },
        );
    }
    all
}

fn compare(kernel: &BTreeMap<Vec<u8>, Seen>, reader: &BTreeMap<Vec<u8>, Seen>) {
    for (path, seen) in kernel {
        assert_eq!(Some(seen), reader.get(path), "{}", path.escape_ascii());
    }
    assert_eq!(kernel.len(), reader.len());
}

#[test]
fn all_is_read_as_the_kernel_shows_it() {
    if !may_mount() || !have("mke2fs") {
        return;
    }
    for options in [
        &["-b", "1024", "-O", "metadata_csum_seed"][..],
        &["-b", "4096"],
        &["-b", "4096", "-O", "^metadata_csum,^64bit,^has_journal"],
    ] {
        let folder = tempfile::tempdir().expect("a directory");
        let image = folder.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(384 << 20))
            .expect("create");
        run(Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-L", "boot"])
            .args(options)
            .arg(&image));
        let kernel = {
            let on = folder.path().join("mount");
            {
                let _mount = Mount::new(&image, &on);
                populate(&on, &LIMITS);
            }
            let _mount = Mount::new(&image, &on);
            let mut seen = look(&on);
            seen.values_mut().for_each(|seen| seen.xattrs.clear());
            seen
        };
        let reader = open(&image);
        compare(&kernel, &read_all(&reader));
        let found = reader
            .lookup("specials/../contents/4097", Follow::Last)
            .expect("lookup");
        assert_eq!(found.expect("there").kind, Kind::File { len: 4097 });
        assert_eq!(reader.facts().label, b"boot");
    }
}
