//! What a medium consists of, part by part.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::objects::{self, Repository};
use super::osmet;
use super::verified::Verified;
use crate::format::gpt::Table;
use crate::format::{cpio, ext4, fat, iso9660};
use crate::kernel::{self, Files, Initramfs};
use crate::progress::Progress;
use crate::readback::{Found, Installed, Live, Medium, Rootless, Soundness, System, disk_of};
use crate::tree::{Content, Kind, Look};

/// Bytes that are compared at a time.
const CHUNK: usize = 256 << 10;
/// The end of a cpio archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Most members of rootfs.img; ours has five.
const MEMBERS_MAX: usize = 1024;
/// Where an image keeps what goes onto the ESP (bootupd).
const ESP_UPDATES: &str = "usr/lib/bootupd/updates";
/// Directories inside one another there.
const ESP_DEPTH_MAX: usize = 16;
/// Most names in `/boot`, and directories inside one another.
const BOOT_NAMES_MAX: usize = 1 << 16;
const BOOT_DEPTH_MAX: usize = 64;
/// Longest file of `/boot`.
const BOOT_FILE_MAX_BYTES: u64 = 1 << 30;

/// A look at the parts of one medium.
struct Parts<'a> {
    medium: String,
    threads: NonZeroUsize,
    progress: &'a dyn Progress,
    verified: &'a mut Verified,
}

/// Looks at all parts of a medium up to the first that is damaged. False if one is.
pub(super) fn look(
    found: &Found,
    threads: NonZeroUsize,
    progress: &dyn Progress,
    verified: &mut Verified,
) -> bool {
    let mut look = Parts {
        medium: found.name(),
        threads,
        progress,
        verified,
    };
    match found {
        Found::Rootless(rootless) => look.rootless(found, rootless),
        Found::Whole(medium) => match &medium.system {
            System::Live(live) => look.live(found, medium, live),
            System::Installed(installed) => look.installed(medium, installed),
        },
    }
}

impl Parts<'_> {
    /// Notes what came of a look at a part. False if it is damaged.
    fn part(&mut self, name: &'static str, looked: Result<String>) -> bool {
        self.verified.note(&self.medium, name, looked)
    }

    fn rootless(&mut self, found: &Found, rootless: &Rootless) -> bool {
        let parts = || -> Result<String> {
            let initramfs = rootless.read_initramfs()?;
            let release = rootless.release(&initramfs)?;
            refuse(&rootless.soundness(&release, &initramfs)?)?;
            Ok(format!("kernel {release} and its modules"))
        };
        self.iso(found, &rootless.iso) && {
            self.verified.notes.push(format!(
                "{} has no root file system: --rootfs names it",
                self.medium
            ));
            self.part("boot", parts())
        }
    }

    fn live(&mut self, found: &Found, medium: &Medium, live: &Live) -> bool {
        if let Some(iso) = &live.iso
            && !self.iso(found, iso)
        {
            return false;
        }
        let boot = self.boot(medium);
        if !self.part("boot", boot) {
            return false;
        }
        let reader = live.root.reader();
        let names = || -> Result<String> {
            self.progress.begin("reading the live root", 0);
            let mut names = 0_u64;
            let walked = reader.walk(|_, _| {
                names += 1;
                Ok(())
            });
            self.progress.end();
            walked?;
            Ok(format!("{names} names"))
        };
        let names = names();
        if !self.part("live root", names) {
            return false;
        }
        let Some(objects) = self.objects(reader) else {
            return false;
        };
        let files = objects::files(&objects);
        let members = match members(&live.payload.rootfs) {
            Ok(members) => members,
            Err(error) => return self.part("rootfs.img", Err(error)),
        };
        let images = members.iter().filter(|(name, _)| name.ends_with(".osmet"));
        for (name, content) in images {
            self.progress
                .begin(&format!("putting the disk of {name} together"), 0);
            let looked = osmet::compare(content, reader, &files, self.progress);
            self.progress.end();
            let looked = looked.map(|told| format!("{name}: {told}"));
            if !self.part("disk image", looked.with_context(|| name.clone())) {
                return false;
            }
        }
        true
    }

    fn installed(&mut self, medium: &Medium, installed: &Installed) -> bool {
        let disk = match disk_of(&medium.path) {
            Ok(disk) => disk,
            Err(error) => return self.part("disk", Err(error)),
        };
        let table = &installed.table;
        let compared = table.compare_backup(&disk).map(|()| {
            let count = table.partitions.len();
            format!("{count} partitions, in both copies")
        });
        if !self.part("partition table", compared) {
            return false;
        }
        if let Some(esp) = table
            .partitions
            .iter()
            .find(|part| part.name == "EFI-SYSTEM")
        {
            let volume = esp.content(&disk, table.sector_size);
            let looked = volume
                .context("it goes past the end of the disk")
                .and_then(|volume| esp_files(volume, medium.root()));
            if !self.part("EFI-SYSTEM", looked) {
                return false;
            }
        }
        let looked = boot_files(&installed.boot);
        if !self.part("/boot", looked) {
            return false;
        }
        let root = &installed.root.tree;
        self.progress.begin("checking the root file system", 0);
        let faults = root.check();
        self.progress.end();
        let looked = faults.and_then(|faults| match faults.first() {
            None => Ok(format!("xfs, {} inodes", root.facts().inodes)),
            Some(fault) => bail!("{fault}"),
        });
        if !self.part("root", looked) {
            return false;
        }
        let boot = self.boot(medium);
        if !self.part("boot", boot) {
            return false;
        }
        self.objects(root).is_some()
    }

    /// The ISO by itself: its files within it, its partitions, and what can be written into it.
    fn iso(&mut self, found: &Found, iso: &iso9660::Reader) -> bool {
        let files = || -> Result<String> {
            let mut count = 0;
            for path in iso.paths() {
                iso.file(path)?;
                count += 1;
            }
            ensure!(
                !iso.boot_images().is_empty(),
                "its boot catalog names nothing that firmware could start"
            );
            Ok(format!("{count} files"))
        };
        let looked = files();
        if !self.part("files", looked) {
            return false;
        }
        let tables = || -> Result<Option<String>> {
            let disk = disk_of(found.path())?;
            let Some(table) = Table::read(&disk)? else {
                return Ok(None);
            };
            table.compare_backup(&disk)?;
            let count = table.partitions.len();
            Ok(Some(format!("{count} partitions, in both copies")))
        };
        if let Some(looked) = tables().transpose()
            && !self.part("partition table", looked)
        {
            return false;
        }
        let areas = || -> Result<String> {
            let arguments = found.arguments()?.len();
            found.ignition()?;
            Ok(format!("{arguments} kernel arguments, room for Ignition"))
        };
        let looked = areas();
        self.part("areas", looked)
    }

    /// Kernel, initramfs and root of one medium belong together.
    fn boot(&self, medium: &Medium) -> Result<String> {
        let initramfs =
            Initramfs::read(medium.initrd().reader()).context("reading the initramfs")?;
        let release = kernel::release_in(medium.root())?;
        let threads = self.threads.get();
        let soundness = Soundness::of(medium, &release, &initramfs, threads, self.progress)?;
        refuse(&soundness)?;
        same_as_in_root(medium, &release)?;
        Ok(format!("kernel {release}, its initramfs and its root"))
    }

    /// The objects of a repository, which were compared; none if one is damaged.
    fn objects<R: Repository>(&mut self, tree: &R) -> Option<Vec<objects::Object<R::Entry>>> {
        let listed = objects::list(tree).context("listing the objects of the repository");
        let (objects, looked) = match listed {
            Ok(objects) => {
                let looked = objects::compare(tree, &objects, self.threads, self.progress);
                (objects, looked)
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        self.part("ostree objects", looked).then_some(objects)
    }
}

fn refuse(soundness: &Soundness) -> Result<()> {
    match soundness.faults.first() {
        None => Ok(()),
        Some(fault) => bail!("{fault}"),
    }
}

/// The members of rootfs.img, without reading them.
fn members(rootfs: &Content) -> Result<Vec<(String, Content)>> {
    let mut members = Vec::new();
    let mut rest = rootfs.clone();
    loop {
        let head = cpio::read_first_header(&rest)?;
        if head.name == TRAILER {
            return Ok(members);
        }
        ensure!(
            members.len() < MEMBERS_MAX,
            "rootfs.img has more than {MEMBERS_MAX} members"
        );
        let name = String::from_utf8_lossy(&head.name).into_owned();
        let content = rest.slice(head.data_offset, head.size);
        let content = content.with_context(|| format!("rootfs.img ends within {name}"))?;
        let end = head.data_offset + head.size;
        let end = end + cpio::padding(end) as u64;
        let left = rest.len().checked_sub(end);
        let next = left.and_then(|left| rest.slice(end, left));
        rest = next.context("rootfs.img ends before its trailer")?;
        members.push((name, content));
    }
}

/// Compares the files of the ESP with those of the root that they are copies of.
fn esp_files(volume: Content, root: &dyn Files) -> Result<String> {
    let files = fat::Reader::open(volume)?.files()?;
    let mut known = BTreeMap::new();
    updates(root, ESP_UPDATES, "", ESP_DEPTH_MAX, &mut known)?;
    let mut compared = 0;
    for (path, hash) in &files {
        if let Some(wanted) = known.get(path) {
            ensure!(
                wanted == hash,
                "{} is not the file of the root that it is a copy of",
                path.escape_default()
            );
            compared += 1;
        }
    }
    Ok(format!("{} files, {compared} as in the root", files.len()))
}

/// The SHA-256 of the files below a directory, by their paths in capitals.
fn updates(
    root: &dyn Files,
    directory: &str,
    shown: &str,
    depth: usize,
    known: &mut BTreeMap<String, [u8; 32]>,
) -> Result<()> {
    if depth == 0 {
        return Ok(());
    }
    for name in root.list(directory)? {
        let path = format!("{directory}/{name}");
        let shown = format!("{shown}/{}", name.to_ascii_uppercase());
        match root.read(&path)? {
            Some(bytes) => {
                known.insert(shown, Sha256::digest(bytes).into());
            }
            None => updates(root, &path, &shown, depth - 1, known)?,
        }
    }
    Ok(())
}

/// Reads everything in `/boot`.
fn boot_files(boot: &ext4::reader::Reader) -> Result<String> {
    let mut ahead = vec![(String::new(), boot.root()?, 0)];
    let mut names = 0;
    while let Some((path, directory, depth)) = ahead.pop() {
        for name in boot.names(&directory)? {
            let path = format!("{path}/{}", name.escape_ascii());
            let of_path = || format!("reading {path}");
            let entry = boot.child(&directory, &name).with_context(of_path)?;
            let entry = entry.with_context(of_path)?;
            names += 1;
            ensure!(
                names <= BOOT_NAMES_MAX,
                "it has more than {BOOT_NAMES_MAX} names"
            );
            match entry.kind {
                Kind::Directory => {
                    ensure!(
                        depth < BOOT_DEPTH_MAX,
                        "it has more than {BOOT_DEPTH_MAX} directories inside one another"
                    );
                    ahead.push((path, entry, depth + 1));
                }
                Kind::File { .. } => {
                    boot.bytes(&entry, BOOT_FILE_MAX_BYTES)
                        .with_context(of_path)?;
                }
                _ => (),
            }
        }
    }
    Ok(format!("ext4, {names} names"))
}

/// Whether kernel and initramfs are those that the root has beside its modules. A live initramfs goes on behind it.
fn same_as_in_root(medium: &Medium, release: &str) -> Result<()> {
    let is_live = matches!(medium.system, System::Live(_));
    for (name, boots, goes_on) in [
        ("vmlinuz", medium.kernel(), false),
        ("initramfs.img", medium.initrd(), is_live),
    ] {
        let path = format!("usr/lib/modules/{release}/{name}");
        let Some(wanted) = medium.root().content(&path)? else {
            continue;
        };
        let len = wanted.len();
        let is_as_long = boots.len() == len || goes_on && boots.len() > len;
        let begin = boots.slice(0, len).filter(|_| is_as_long);
        let is_same = match begin {
            Some(begin) => is_same(&begin, &wanted)?,
            None => false,
        };
        ensure!(is_same, "what boots is not the file /{path} of the root");
    }
    Ok(())
}

/// Compares contents of one length.
fn is_same(one: &Content, other: &Content) -> Result<bool> {
    let (mut one, mut other) = (one.reader(), other.reader());
    let mut buffers = [vec![0; CHUNK], vec![0; CHUNK]];
    loop {
        let read = one.read(&mut buffers[0])?;
        other.read_exact(&mut buffers[1][..read])?;
        if buffers[0][..read] != buffers[1][..read] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}
