//! Whether the parts of a medium belong together: the kernel that boots is the one whose modules its
//! root has, and a live initramfs takes the root that lies beside it.
//!
//! Without that, drivers may be in every part, and the machine does not boot.
//!
//! Rules: fedora-coreos-config `35coreos-live` (`live-generator`, `coreos-livepxe-rootfs.sh`), rdcore
//! `stream_hash.rs`.

use anyhow::{Context, Result};

use super::layout::{INITRAMFS_STAMP, ISO_KARGS, WANTED_ROOTFS};
use super::medium::{Live, Medium, System, has_argument};
use super::rootfs::{HASH_CHUNK_MAX, HASH_HEAD, stream_hash};
use crate::kernel::{self, FILE_MAX_BYTES, Files, Initramfs};
use crate::netboot::{ROOTFS_URL, rootfs_url};
use crate::progress::Progress;

/// What was seen of a medium as a whole.
#[derive(Debug, Default)]
pub struct Soundness {
    /// Why it does not boot, each in a sentence.
    pub faults: Vec<String>,
    /// What was not looked at, or nobody can tell, each in a sentence.
    pub notes: Vec<String>,
}

impl Soundness {
    /// Compares the parts of `medium`, whose root has kernel `release` and whose `initramfs` was read.
    pub fn of(
        medium: &Medium,
        release: &str,
        initramfs: &Initramfs,
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut found = Self::default();
        found.compare_kernels(medium, release)?;
        if let System::Live(live) = &medium.system {
            found.compare_roots(live, initramfs, threads, progress)?;
            if live.fetched.is_some() {
                found.look_for_url(&medium.arguments()?);
            }
            found.tell_what_is_not_judged(live)?;
        }
        Ok(found)
    }

    fn compare_kernels(&mut self, medium: &Medium, release: &str) -> Result<()> {
        let boots = medium.kernel().to_vec(FILE_MAX_BYTES);
        let boots = boots.context("reading the kernel that boots")?;
        let path = format!("usr/lib/modules/{release}/vmlinuz");
        let of_root = medium.root().read(&path)?.unwrap_or_default();
        if boots == of_root {
            return Ok(());
        }
        match (kernel::release_of(&boots), kernel::release_of(&of_root)) {
            (Some(boots), _) if boots == release => {}
            (Some(boots), _) => self.faults.push(format!(
                "kernel {boots} boots, and the modules of the root are those of {release}"
            )),
            (None, Some(_)) => self.faults.push(format!(
                "what should boot is not a kernel, where the root has kernel {release}"
            )),
            (None, None) => self.notes.push(format!(
                "the kernel that boots is not the file /{path} of the root, and does not tell its \
                 release"
            )),
        }
        Ok(())
    }

    /// Compares the kernel that boots with the modules of its initramfs.
    pub(super) fn compare_modules(&mut self, boots: &str, initramfs: &Initramfs) -> Result<()> {
        let releases = kernel::module_releases(initramfs)?;
        if !releases.is_empty() && !releases.iter().any(|release| release == boots) {
            self.faults.push(format!(
                "kernel {boots} boots, and the modules of the initramfs are those of {}",
                kernel::some_of(&releases)
            ));
        }
        Ok(())
    }

    /// Whether the initramfs is that of a live system.
    pub(super) fn look_for_stamp(&mut self, initramfs: &Initramfs) -> Result<bool> {
        let is_live = initramfs.exists(INITRAMFS_STAMP)?;
        if !is_live {
            self.faults.push(format!(
                "the initramfs is not that of a live system: there is no /{INITRAMFS_STAMP} in it"
            ));
        }
        Ok(is_live)
    }

    /// Whether a minimal ISO is told where its root file system is.
    pub(super) fn look_for_url(&mut self, arguments: &[String]) {
        if !has_argument(arguments, &rootfs_url("")) {
            self.faults.push(format!(
                "it is not told where its root file system is: add it with coreos-installer iso kargs \
                 modify --append {ROOTFS_URL}=URL"
            ));
        }
    }

    fn compare_roots(
        &mut self,
        live: &Live,
        initramfs: &Initramfs,
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<()> {
        if !self.look_for_stamp(initramfs)? {
            return Ok(());
        }
        let wanted = initramfs.read(WANTED_ROOTFS)?.unwrap_or_default();
        let wanted = String::from_utf8_lossy(&wanted);
        let head = wanted
            .lines()
            .next()
            .and_then(|line| line.strip_prefix(HASH_HEAD));
        let chunk = head.and_then(|bytes| bytes.trim().parse::<u64>().ok());
        let Some(chunk) = chunk.filter(|bytes| (1..=HASH_CHUNK_MAX).contains(bytes)) else {
            self.notes.push(format!(
                "which rootfs.img the initramfs takes is not told by /{WANTED_ROOTFS} in it"
            ));
            return Ok(());
        };
        let rootfs = &live.payload.rootfs;
        // A hash for each chunk: nothing longer than what the initramfs has is made.
        let chunks = wanted.lines().skip(1).count() as u64;
        let is_same = chunks == rootfs.len().div_ceil(chunk) && {
            progress.begin("comparing the live root with what its initramfs takes", 0);
            let hash = stream_hash(rootfs, chunk, threads);
            progress.end();
            hash?.lines().eq(wanted.lines())
        };
        if !is_same {
            self.faults.push(
                "rootfs.img is not the one that the initramfs takes: they are of two bakes, or one \
                 of them is damaged"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn tell_what_is_not_judged(&mut self, live: &Live) -> Result<()> {
        match &live.iso {
            Some(iso) if iso.file(ISO_KARGS)?.is_none() => self.notes.push(
                "kernel arguments were not looked at: the ISO has no coreos/kargs.json".to_owned(),
            ),
            Some(_) => {}
            None => self.notes.push(
                "its kernel arguments were not looked at: whoever boots the PXE set gives them"
                    .to_owned(),
            ),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use super::super::rootfs::SQUASHFS_OFFSET;
    use super::*;
    use crate::format::{cpio, squashfs};
    use crate::progress::Silent;
    use crate::tree::{Content, Meta, Node, Tree};

    const CHUNK_BYTES: u64 = 4096;

    /// An x86 kernel, as far as it tells its release.
    fn kernel(release: &str) -> Vec<u8> {
        let mut image = vec![0; 0x600];
        image[0x202..][..4].copy_from_slice(b"HdrS");
        image[0x20e..][..2].copy_from_slice(&0x0200_u16.to_le_bytes());
        image[0x400..][..release.len()].copy_from_slice(release.as_bytes());
        image
    }

    fn live_root(out: &Path, note: &str) {
        let mut tree = Tree::new(Meta::root(0o755));
        let mut put = |path: &str, node: Node| {
            let (directory, name) = path.rsplit_once('/').unwrap();
            let directory = tree.make_directories(directory, &Meta::root(0o755));
            tree.create(directory, name, Meta::root(0o644), node);
        };
        let file = |bytes: &[u8]| Node::File(Content::bytes(bytes.to_vec()));
        let deployment = "ostree/deploy/os/deploy/1.0";
        let modules = format!("{deployment}/usr/lib/modules/6.1");
        put(&format!("{modules}/vmlinuz"), file(&kernel("6.1")));
        put(&format!("{modules}/initramfs.img"), file(b"initramfs"));
        put(&format!("{deployment}/usr/note"), file(note.as_bytes()));
        let image_json = format!("{deployment}/usr/share/coreos-assembler/image.json");
        put(
            &image_json,
            file(br#"{ "extra-kargs": ["module_blacklist=raid"] }"#),
        );
        let link = Node::Symlink(format!("../../../../{deployment}").into_bytes().into());
        put("ostree/boot.1/os/1/0", link);
        let out = File::create(out).unwrap();
        let options = squashfs::Options::default();
        let written = squashfs::write(&tree, &options, &out, SQUASHFS_OFFSET, &|_| ()).unwrap();
        let entry = cpio::Entry::file("root.squashfs", 0o644);
        let head = cpio::header(1, &entry, written.bytes).unwrap();
        out.write_all_at(&head, 0).unwrap();
    }

    /// A PXE set in which nothing is wrong.
    fn set(directory: &Path) {
        let at = |part: &str| directory.join(format!("os-live-{part}.x86_64"));
        fs::write(at("kernel"), kernel("6.1")).unwrap();
        live_root(&at("rootfs"), "one bake");
        let rootfs = Content::bytes(fs::read(at("rootfs")).unwrap());
        let wanted = stream_hash(&rootfs, CHUNK_BYTES, 1).unwrap();
        fs::write(at("initramfs"), initramfs(true, Some(&wanted))).unwrap();
    }

    fn initramfs(is_live: bool, wanted: Option<&str>) -> Vec<u8> {
        let mut writer = cpio::Writer::new(Vec::new());
        writer.directory("etc", 0o755).unwrap();
        if is_live {
            writer.file(INITRAMFS_STAMP, 0o644, b"1\n").unwrap();
        }
        if let Some(wanted) = wanted {
            writer
                .file(WANTED_ROOTFS, 0o644, wanted.as_bytes())
                .unwrap();
        }
        writer.finish().unwrap()
    }

    fn seen(directory: &Path) -> Soundness {
        let medium = Medium::open(directory).unwrap();
        let initramfs = Initramfs::read(medium.initrd().reader()).unwrap();
        Soundness::of(&medium, "6.1", &initramfs, 2, &Silent).unwrap()
    }

    /// The one fault of a set in which one file is exchanged.
    fn fault(part: &str, write: impl Fn(&Path)) -> String {
        let directory = tempfile::tempdir().unwrap();
        set(directory.path());
        write(&directory.path().join(format!("os-live-{part}.x86_64")));
        let seen = seen(directory.path());
        assert_eq!(seen.faults.len(), 1, "{:?}", seen.faults);
        seen.faults[0].clone()
    }

    #[test]
    fn a_whole_set_is_sound_and_what_was_not_judged_is_told() {
        let directory = tempfile::tempdir().unwrap();
        set(directory.path());
        let whole = seen(directory.path());
        assert_eq!(whole.faults, [] as [&str; 0]);
        assert_eq!(whole.notes.len(), 1, "{:?}", whole.notes);
    }

    /// A live boot's arguments are those of the medium, and an installed system has its image's.
    #[test]
    fn what_is_installed_has_the_kernel_arguments_of_its_image() {
        let directory = tempfile::tempdir().unwrap();
        set(directory.path());
        let medium = Medium::open(directory.path()).unwrap();
        assert_eq!(medium.arguments().unwrap(), [] as [&str; 0]);
        let installed = medium.installed_arguments().unwrap();
        assert_eq!(installed, ["module_blacklist=raid"]);
    }

    #[test]
    fn kernels_are_those_of_the_modules() {
        let other = fault("kernel", |path| fs::write(path, kernel("6.2")).unwrap());
        assert!(other.starts_with("kernel 6.2 boots"), "{other}");
        let empty = fault("kernel", |path| fs::write(path, "").unwrap());
        assert!(
            empty.starts_with("what should boot is not a kernel"),
            "{empty}"
        );
    }

    #[test]
    fn a_live_initramfs_takes_one_root_only() {
        let other = fault("rootfs", |path| live_root(path, "another bake"));
        assert!(other.contains("they are of two bakes"), "{other}");
        let damaged = fault("rootfs", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.push(0);
            fs::write(path, bytes).unwrap();
        });
        assert!(damaged.contains("is damaged"), "{damaged}");
        let bytewise = fault("initramfs", |path| {
            fs::write(path, initramfs(true, Some("stream-hash sha256 1\n00\n"))).unwrap();
        });
        assert!(bytewise.contains("they are of two bakes"), "{bytewise}");
        let installed = fault("initramfs", |path| {
            fs::write(path, initramfs(false, None)).unwrap();
        });
        assert!(
            installed.contains("not that of a live system"),
            "{installed}"
        );
    }

    #[test]
    fn an_initramfs_that_takes_any_root_is_told() {
        for wanted in [
            None,
            Some("stream-hash md5 1\n"),
            Some("stream-hash sha256 0\n"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            set(directory.path());
            let path = directory.path().join("os-live-initramfs.x86_64");
            fs::write(path, initramfs(true, wanted)).unwrap();
            let seen = seen(directory.path());
            assert_eq!(seen.faults, [] as [&str; 0]);
            assert!(
                seen.notes[0].starts_with("which rootfs.img"),
                "{:?}",
                seen.notes
            );
        }
    }
}
