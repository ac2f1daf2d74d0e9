//! What OpenShift's programs do to an ISO, in our own words: `openshift-install agent create image` and
//! assisted-image-service unpack it, edit files, and make it anew from them.
//!
//! Rules: openshift/assisted-image-service `pkg/isoeditor` @a55e383 (`isoutil.go`, `kargs.go`,
//! `rhcos.go`, `stream.go`) and openshift/installer `pkg/asset/agent/image/agentimage.go` @e63803a. They
//! write ISOs with go-diskfs; xorriso with the same arguments stands in. They are here once more, apart
//! from those of `check --for`, so that the tests can judge it.

#![allow(unreachable_pub, reason = "shared as the other support files are")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::run;

/// The first of these that is there is edited, with isolinux's.
const MENUS: [&str; 4] = [
    "EFI/redhat/grub.cfg",
    "EFI/fedora/grub.cfg",
    "boot/grub/grub.cfg",
    "EFI/centos/grub.cfg",
];
const ISOLINUX: &str = "isolinux/isolinux.cfg";
const MARK: &str = "# COREOS_KARG_EMBED_AREA";

/// An initramfs that minimal ISOs have besides; the service fills it later.
pub const RAM_DISK: &str = "images/assisted_installer_custom.img";
const RAM_DISK_BYTES: usize = 1 << 20;

/// An ISO's files in a directory, and its volume id.
pub struct Unpacked {
    directory: PathBuf,
    volume_id: String,
}

impl Unpacked {
    /// Unpacks `iso` into `directory`, which doesn't exist yet.
    pub fn new(iso: &Path, directory: PathBuf) -> Self {
        run(Command::new("xorriso")
            .args(["-osirrox", "on:auto_chmod_on", "-indev"])
            .arg(iso)
            .args(["-extract", "/"])
            .arg(&directory));
        run(Command::new("chmod").args(["-R", "u+w"]).arg(&directory));
        let id = fs::read(iso).unwrap()[32808..32840].to_vec();
        Self {
            directory,
            volume_id: String::from_utf8(id).unwrap().trim().to_owned(),
        }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn text(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.path(path)).map_err(|error| format!("open {path}: {error}"))
    }

    fn kargs(&self) -> Value {
        serde_json::from_str(&self.text("coreos/kargs.json").unwrap()).unwrap()
    }

    /// The files with kernel arguments: path, and where their area begins and ends.
    pub fn areas(&self) -> Result<Vec<(String, usize, usize)>, String> {
        let kargs = self.kargs();
        let files = kargs["files"].as_array().unwrap().iter();
        files
            .map(|file| {
                let path = file["path"].as_str().unwrap();
                let text = self.text(path)?;
                let mark = text
                    .find(MARK)
                    .ok_or_else(|| format!("{path}: failed to find COREOS_KARG_EMBED_AREA"))?;
                let begin = text[..mark].trim_end_matches('#').len() - 1;
                assert_eq!(&text[begin..=begin], "\n", "{path}");
                // coreos-installer finds the same area by its numbers.
                let offset = file["offset"].as_u64().unwrap() as usize;
                let size = kargs["size"].as_u64().unwrap() as usize;
                assert_eq!(offset + size, mark, "{path}");
                let default = kargs["default"].as_str().unwrap();
                assert_eq!(&text[offset..begin], default, "{path}");
                Ok((path.to_owned(), begin, mark))
            })
            .collect()
    }

    /// Writes ` kargs` behind those that are there.
    pub fn append_kargs(&self, kargs: &str) -> Result<(), String> {
        for (path, begin, end) in self.areas()? {
            let mut text = fs::read(self.path(&path)).unwrap();
            let added = format!(" {kargs}\n");
            assert!(added.len() <= end - begin, "{path}");
            text[begin..begin + added.len()].copy_from_slice(added.as_bytes());
            fs::write(self.path(&path), text).unwrap();
        }
        Ok(())
    }

    /// Writes an Ignition config over the start of the file for them.
    pub fn embed_ignition(&self, config: &[u8]) {
        let info: Value = serde_json::from_str(&self.text("coreos/igninfo.json").unwrap()).unwrap();
        self.overwrite(info["file"].as_str().unwrap(), &initramfs(config));
    }

    fn overwrite(&self, path: &str, content: &[u8]) {
        let mut bytes = fs::read(self.path(path)).unwrap();
        assert!(content.len() <= bytes.len(), "{path}");
        bytes[..content.len()].copy_from_slice(content);
        fs::write(self.path(path), bytes).unwrap();
    }

    /// Cuts extensions to three letters, as the agent installer does before it makes an ISO.
    pub fn shorten_extensions(&self) {
        for directory in ["", "coreos", "EFI", "images", "images/pxeboot", "isolinux"] {
            for entry in fs::read_dir(self.path(directory)).unwrap() {
                let path = entry.unwrap().path();
                let extension = path.extension().map_or("", |e| e.to_str().unwrap());
                if extension.len() > 3 && !path.ends_with("boot.catalog") {
                    fs::rename(&path, path.with_extension(&extension[..3])).unwrap();
                }
            }
        }
    }

    /// Makes it a minimal ISO that fetches its root from `url`; `ram_disk` is a config in its second
    /// initramfs.
    pub fn make_minimal(&self, url: &str, ram_disk: &[u8]) -> Result<(), String> {
        fs::remove_file(self.path("images/pxeboot/rootfs.img"))
            .map_err(|error| format!("images/pxeboot/rootfs.img: {error}"))?;
        fs::write(self.path(RAM_DISK), vec![0; RAM_DISK_BYTES]).unwrap();
        self.overwrite(RAM_DISK, &initramfs(ram_disk));

        let mut kargs = self.kargs();
        let root = format!(" coreos.live.rootfs_url=\"{url}\"");
        let menu = MENUS
            .into_iter()
            .find(|path| self.has(path))
            .ok_or("no grub.cfg found")?;
        self.edit(menu, &mut kargs, 0, |text| {
            let text = without_liveiso(text);
            let text = at_line_end(&text, "linux ", &root);
            at_line_end(&text, "initrd ", &format!(" /{RAM_DISK}"))
        })?;
        let ram_disk = format!(",/{RAM_DISK}");
        self.edit(ISOLINUX, &mut kargs, ram_disk.len(), |text| {
            let text = without_liveiso(text);
            let text = at_line_end(&text, "append ", &root);
            let (before, rest) = text.split_once("initrd=").unwrap();
            let (files, after) = rest.split_once(' ').unwrap();
            format!("{before}initrd={files}{ram_disk} {after}")
        })?;
        let default = kargs["default"].as_str().unwrap().to_owned();
        let edited = without_liveiso(&default) + &root;
        let size = kargs["size"].as_u64().unwrap() as usize + edited.len() - default.len();
        kargs["size"] = size.into();
        kargs["default"] = edited.into();
        fs::write(self.path("coreos/kargs.json"), kargs.to_string()).unwrap();
        Ok(())
    }

    /// Edits a menu, of which the part before the arguments grows by `moved` bytes, and says so in
    /// `kargs`.
    fn edit(
        &self,
        path: &str,
        kargs: &mut Value,
        moved: usize,
        edit: impl FnOnce(&str) -> String,
    ) -> Result<(), String> {
        let menu = self.text(path)?;
        let files = kargs["files"].as_array_mut().unwrap();
        let entry = files.iter_mut().find(|file| file["path"] == path);
        let entry = entry.unwrap_or_else(|| panic!("{path} is not in coreos/kargs.json"));
        entry["offset"] = (entry["offset"].as_u64().unwrap() as usize + moved).into();
        fs::write(self.path(path), edit(&menu)).unwrap();
        Ok(())
    }

    /// Makes an ISO of the files; an error is in the program's words.
    pub fn create(&self, out: &Path) -> Result<(), String> {
        let has_all = |paths: &[&str]| paths.iter().all(|path| self.has(path));
        let esp = "-e images/efiboot.img -no-emul-boot";
        let (catalog, boot) = if has_all(&[
            "isolinux/boot.cat",
            "isolinux/isolinux.bin",
            "images/efiboot.img",
        ]) {
            let bios = "-b isolinux/isolinux.bin -no-emul-boot -boot-load-size 4 -boot-info-table";
            let catalog = "isolinux/boot.cat";
            (catalog, format!("{bios} -eltorito-alt-boot {esp}"))
        } else if self.has("images/efiboot.img") {
            ("boot.catalog", esp.to_owned())
        } else if self.has("images/cdboot.img") {
            (
                "boot.catalog",
                "-b images/cdboot.img -no-emul-boot".to_owned(),
            )
        } else {
            return Err("nothing to boot".to_owned());
        };
        // It is only looked for; what is in it is made anew.
        fs::remove_file(self.path(catalog)).map_err(|_| format!("missing {catalog} file"))?;
        // go-diskfs writes files in the order of their paths, and nothing behind the last one. xorriso
        // would put BIOS's image first and a kernel last, and GRUB can't read the end of a CD that isn't
        // padded: its reads go on for up to 32 KiB.
        let order = "--sort-weight -1 isolinux/isolinux.bin --sort-weight -2 isolinux/isolinux.cfg";
        run(Command::new("xorriso")
            .args("-as mkisofs -quiet -R -no-pad".split(' '))
            .args(order.split(' '))
            .arg("-V")
            .arg(&self.volume_id)
            .args(["-c", catalog])
            .args(boot.split(' '))
            .arg("-o")
            .args([out, &self.directory]));
        Ok(())
    }
}

/// A gzip cpio archive with a config for Ignition.
fn initramfs(config: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (inode, mode, name, content) in [
        (1, 0o100_644, "config.ign", config),
        (0, 0, "TRAILER!!!", b"".as_slice()),
    ] {
        let pad = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
        let fields = [
            inode,
            mode,
            0,
            0,
            1,
            0,
            content.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        archive.extend_from_slice(b"070701");
        for field in fields {
            write!(archive, "{field:08x}").unwrap();
        }
        archive.extend_from_slice(name.as_bytes());
        archive.push(0);
        pad(&mut archive);
        archive.extend_from_slice(content);
        pad(&mut archive);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&archive).unwrap();
    let mut packed = gzip.finish().unwrap();
    packed.resize(packed.len().next_multiple_of(4), 0);
    packed
}

/// Without the first argument that names the ISO as the place of the root.
fn without_liveiso(text: &str) -> String {
    let Some(begin) = text.find("coreos.liveiso=") else {
        return text.to_owned();
    };
    let length = text[begin..]
        .find(char::is_whitespace)
        .unwrap_or(text.len() - begin);
    let rest = &text[begin + length..];
    format!(
        "{}{}",
        &text[..begin],
        rest.strip_prefix(' ').unwrap_or(rest)
    )
}

/// With `added` at the end of the first line that begins with blanks and `word`.
fn at_line_end(text: &str, word: &str, added: &str) -> String {
    let is_it = |line: &&str| line.starts_with([' ', '\t']) && line.trim_start().starts_with(word);
    let Some(line) = text.lines().find(is_it) else {
        return text.to_owned();
    };
    text.replacen(line, &format!("{line}{added}"), 1)
}
