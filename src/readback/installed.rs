//! An installed system read from its disk, as boot loader and initramfs would find it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::live_root::ORIGIN_LIMIT;
use crate::failure::Failure;
use crate::format::gpt::Table;
use crate::format::{ext4, xfs};
use crate::tree::{Content, Follow, Kind, Look, Rooted};

/// Boot entries larger than this are none.
const ENTRY_LIMIT: u64 = 64 << 10;

/// Largest kernel, and largest initramfs.
const BOOT_FILE_LIMIT: u64 = 1 << 30;

/// A disk with an installed system.
#[derive(Debug)]
pub struct Installed {
    /// The partition table.
    pub table: Table,
    /// The file system of `/boot`.
    pub boot: ext4::reader::Reader,
    /// The running system's `/`, which is the deployment's directory on the physical root.
    pub root: Rooted<xfs::reader::Reader>,
    /// The boot entry that starts first: its keys and values.
    pub entry: BTreeMap<String, String>,
    /// The deployment's path on the physical root.
    pub deployment: String,
    /// The kernel that the entry names.
    pub kernel: Content,
    /// The initramfs that the entry names.
    pub initrd: Content,
}

impl Installed {
    /// Reads what boots from `disk`.
    pub fn open(disk: &Content, table: Table) -> Result<Self> {
        let boot = ext4::reader::Reader::open(partition(disk, &table, "boot")?)
            .context("reading the partition boot")?;
        let root = xfs::reader::Reader::open(partition(disk, &table, "root")?)
            .context("reading the partition root")?;
        let entry = first_entry(&boot)?;
        let kernel = boot_file(&boot, &entry, "linux")?;
        let initrd = boot_file(&boot, &entry, "initrd")?;
        let link = entry
            .get("options")
            .and_then(|options| {
                options
                    .split_ascii_whitespace()
                    .find_map(|karg| karg.strip_prefix("ostree="))
            })
            .context("the boot entry has no ostree= argument")?;
        let target = root.lookup(link, Follow::NotLast)?;
        let Some(Kind::Symlink(target)) = target.map(|entry| entry.kind) else {
            return Err(Failure::new(
                format!("the boot entry's deployment {link} is not on the root file system"),
                "only disks with a deployment of ostree can be read",
            )
            .into());
        };
        let target = String::from_utf8_lossy(&target);
        let top = root
            .lookup(link, Follow::Last)?
            .filter(|entry| entry.kind == Kind::Directory)
            .with_context(|| format!("{link} leads to {target}, which is no directory"))?;
        Ok(Self {
            deployment: format!("ostree/{}", target.trim_start_matches("../")),
            table,
            boot,
            root: Rooted::new(root, top),
            entry,
            kernel,
            initrd,
        })
    }

    /// The file beside the deployment whose name goes on like this.
    pub(super) fn beside(&self, ending: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("{}{ending}", self.deployment);
        self.root
            .tree
            .read_file(path, Follow::NotLast, ORIGIN_LIMIT)
    }
}

fn partition(disk: &Content, table: &Table, name: &str) -> Result<Content> {
    let partition = table
        .partitions
        .iter()
        .find(|partition| partition.name == name)
        .ok_or_else(|| {
            Failure::new(
                format!("the disk has no partition called {name}"),
                "only disks of CoreOS can be read",
            )
        })?;
    partition
        .content(disk, table.sector_size)
        .with_context(|| format!("the partition {name} reaches past the end of the disk"))
}

/// GRUB shows entries in descending order of their names and starts the first.
fn first_entry(boot: &ext4::reader::Reader) -> Result<BTreeMap<String, String>> {
    const DIRECTORY: &str = "loader/entries";
    let directory = boot
        .lookup(DIRECTORY, Follow::Last)?
        .filter(|entry| entry.kind == Kind::Directory)
        .with_context(|| format!("/boot has no directory {DIRECTORY}"))?;
    let names = boot.read_dir(&directory)?;
    let last = names
        .iter()
        .rfind(|name| name.name.ends_with(b".conf"))
        .with_context(|| format!("/boot has no entry in {DIRECTORY}"))?;
    let text = boot.to_vec(&boot.entry_of(last)?, ENTRY_LIMIT)?;
    let text = String::from_utf8(text).context("the boot entry is not UTF-8")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect())
}

fn boot_file(
    boot: &ext4::reader::Reader,
    entry: &BTreeMap<String, String>,
    key: &str,
) -> Result<Content> {
    let path = entry
        .get(key)
        .with_context(|| format!("the boot entry names no {key}"))?;
    let file = boot
        .lookup(path, Follow::Last)?
        .with_context(|| format!("the boot entry's {key} {path} is missing"))?;
    if let Some(content) = boot.content(&file)? {
        return Ok(content);
    }
    let bytes = boot.to_vec(&file, BOOT_FILE_LIMIT)?;
    ensure!(!bytes.is_empty(), "the boot entry's {key} {path} is empty");
    Ok(Content::bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tree::{Meta, Node, Tree};

    const ENTRY: &str = "title OS\nlinux /os/vmlinuz\ninitrd /os/initramfs.img\n";

    /// The file system of /boot with these files in it.
    fn boot(files: &[&str]) -> ext4::reader::Reader {
        let mut tree = Tree::new(Meta::root(0o755));
        for path in files {
            let (directory, name) = path.rsplit_once('/').unwrap();
            let directory = tree.make_directories(directory, &Meta::root(0o755));
            let node = Node::File(Content::bytes(ENTRY.as_bytes()));
            tree.create(directory, name, Meta::root(0o644), node);
        }
        let options = ext4::Options {
            size_bytes: 16 << 20,
            block_size: 4096,
            label: "boot".into(),
            uuid: [7; 16],
            time: 0,
        };
        let file = tempfile::tempfile().unwrap();
        file.set_len(options.size_bytes).unwrap();
        let layout = ext4::Layout::plan(&tree, &options).unwrap();
        layout.write(&file, 0).unwrap();
        let content = Content::range(Arc::new(file), 0, options.size_bytes);
        ext4::reader::Reader::open(content).unwrap()
    }

    #[test]
    fn what_a_boot_entry_names_has_to_be_there() {
        const CONF: &str = "loader/entries/ostree-1.conf";
        const KERNEL: &str = "os/vmlinuz";
        const INITRD: &str = "os/initramfs.img";
        let ask = |files: &[&str]| -> Result<()> {
            let boot = boot(files);
            let entry = first_entry(&boot)?;
            for key in ["linux", "initrd"] {
                boot_file(&boot, &entry, key)?;
            }
            Ok(())
        };
        assert!(ask(&[CONF, KERNEL, INITRD]).is_ok());
        let error = |files| ask(files).unwrap_err().to_string();
        assert_eq!(
            error(&[CONF, INITRD]),
            "the boot entry's linux /os/vmlinuz is missing"
        );
        assert_eq!(
            error(&[CONF, KERNEL]),
            "the boot entry's initrd /os/initramfs.img is missing"
        );
        assert_eq!(
            error(&[KERNEL, INITRD]),
            "/boot has no directory loader/entries"
        );
    }
}
