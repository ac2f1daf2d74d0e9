//! What dracut takes into an initramfs that it makes of a root, when nobody names drivers to it on the
//! command line: on a node (`rpm-ostree initramfs --enable`), or in a Containerfile on top of the
//! image.
//!
//! ```text
//! dracut.conf.d         add_drivers, force_drivers: taken, wherever they are
//! kernel-modules        kernel, extra, updates: drivers that call a function of block devices,
//!                       file systems, crypto; what is outside of the kernel's directory
//! kernel-modules-extra  directories that `search` in depmod.d names, modules of `override`
//! ```
//!
//! So a module right below `extra` is taken where depmod.d searches `extra`, as RHEL's dist.conf is
//! expected to, and where it doesn't, only if it is named. A module below `kernel` that is none of the above may be
//! taken by a module of dracut for networks or the like: then the initramfs that is there has it,
//! although nobody named it.
//!
//! Left out: the order of versions in names of configuration files (`9-x` before `10-x`), and host-only
//! mode, which asks the machine.
//!
//! Semantics: dracutdevs/dracut 059 `dracut.sh`, `modules.d/90kernel-modules`,
//! `modules.d/90kernel-modules-extra`, `src/install/dracut-install.c`; the same in dracut-ng 02e7ae1.
//! Checked against dracut 059.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::depmod::{Depmod, depmod_configuration};
use super::files::Files;
use super::modinfo::ModuleInfo;
use super::modules::{Dependencies, built_in, canonical_name};
use super::search::directory;

/// dracut's own files, and the configuration that comes with an image.
const DRACUT: &str = "usr/lib/dracut";
const CONFIGURATION: &str = "usr/lib/dracut/dracut.conf.d";

/// Where administrators have the one file that is read first, and the directory that hides files of the
/// same name in the image's. `usr/etc` is where a commit of ostree has `/etc`.
const FIRST: [&str; 2] = ["etc/dracut.conf", "usr/etc/dracut.conf"];
const DIRECTORIES: [&str; 3] = ["etc/dracut.conf.d", "usr/etc/dracut.conf.d", CONFIGURATION];

/// Settings by which drivers are named to dracut, and the one by which they are left out.
pub(crate) const NAMING: [&str; 2] = ["add_drivers", "force_drivers"];
pub(crate) const OMITTING: &str = "omit_drivers";
const OMITTED_PARTS: &str = "omit_dracutmodules";

/// Most files of configuration, and the largest that is taken.
const FILES_MAX: usize = 4096;
const FILE_MAX_BYTES: usize = 1 << 20;

/// Directories in which dracut looks for what it calls `=drivers` and the like.
const TOPS: [&str; 3] = ["kernel/", "extra/", "updates/"];

/// Of those, what is taken whatever it is, on every architecture.
const WHOLE: [&str; 12] = [
    "crypto/",
    "drivers/crypto/",
    "drivers/hid/",
    "drivers/input/keyboard/",
    "drivers/input/serio/",
    "drivers/pci/controller/",
    "drivers/pci/host/",
    "drivers/tty/serial/",
    "drivers/usb/storage/",
    "drivers/usb/typec/",
    "drivers/watchdog/",
    "fs/",
];

/// And file systems that are left out again.
const NETWORK_FILE_SYSTEMS: [&str; 3] = ["fs/lockd/", "fs/nfs/", "fs/nfsd/"];

/// Functions by which dracut knows a driver of block devices, or parts of their names.
const BLOCK_FUNCTIONS: [&str; 16] = [
    "ahci_platform_get_resources",
    "ata_scsi_ioctl",
    "scsi_add_host",
    "blk_cleanup_queue",
    "register_mtd_blktrans",
    "scsi_esp_register",
    "register_virtio_device",
    "usb_stor_disconnect",
    "mmc_add_host",
    "sdhci_add_host",
    "scsi_add_host_with_dma",
    "blk_alloc_disk",
    "blk_mq_alloc_disk",
    "blk_mq_alloc_request",
    "blk_mq_destroy_queue",
    "blk_cleanup_disk",
];

/// What becomes of a driver when dracut makes the initramfs anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// This file names it to dracut.
    Named(String),
    /// dracut takes it by itself, because.
    ByItself(String),
    /// It is left out, because.
    Left(String),
}

impl Kept {
    /// Why it is left out, if it is.
    pub fn lost(&self) -> Option<&str> {
        match self {
            Self::Left(why) => Some(why),
            Self::Named(_) | Self::ByItself(_) => None,
        }
    }
}

/// The file of an image by which a driver is named to dracut.
///
/// One for each driver, so that layers on top of each other don't take their drivers away from each
/// other. It sorts behind files of the system, which may set what this one adds to.
pub fn dracut_configuration(driver: &str) -> String {
    format!("{CONFIGURATION}/90-{}.conf", canonical_name(driver))
}

/// The line in that file.
pub fn dracut_line(driver: &str) -> String {
    // Lists are put together as they are, so the spaces are needed on both sides; of several `-` in
    // one dracut 059 replaces the first only, so there are none.
    format!("add_drivers+=\" {} \"", canonical_name(driver))
}

/// Settings of dracut, in the order in which they count.
#[derive(Debug, Default)]
pub struct DracutSettings {
    /// By name, the words of the list with the file that each is from.
    lists: BTreeMap<String, Vec<(String, String)>>,
}

impl DracutSettings {
    /// Reads the configuration of a root.
    pub fn read(root: &dyn Files) -> Result<Self> {
        let mut settings = Self::default();
        let mut paths: Vec<String> = Vec::new();
        for path in FIRST {
            if paths.is_empty() && root.exists(path)? {
                paths.push(path.to_owned());
            }
        }
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for directory in DIRECTORIES {
            for name in root.list(directory)? {
                if name.ends_with(".conf") && !name.starts_with('.') {
                    let path = format!("{directory}/{name}");
                    named.entry(name).or_insert(path);
                }
            }
            ensure!(
                named.len() <= FILES_MAX,
                "{directory} has more than {FILES_MAX} files"
            );
        }
        paths.extend(named.into_values());
        for path in paths {
            let bytes = root.read(&path)?.unwrap_or_default();
            ensure!(
                bytes.len() <= FILE_MAX_BYTES,
                "{path} has {} bytes, where at most {FILE_MAX_BYTES} are taken",
                bytes.len()
            );
            settings.take(&path, &String::from_utf8_lossy(&bytes));
        }
        Ok(settings)
    }

    fn take(&mut self, file: &str, text: &str) {
        for Assignment { name, adds, value } in assignments(text) {
            let list = self.lists.entry(name).or_default();
            if !adds {
                list.clear();
            }
            let words = value.split_ascii_whitespace();
            list.extend(words.map(|word| (word.to_owned(), file.to_owned())));
        }
    }

    /// The file that has a driver in one of the lists.
    fn naming(&self, lists: &[&str], driver: &str) -> Option<&str> {
        let mut words = lists
            .iter()
            .filter_map(|list| self.lists.get(*list))
            .flatten();
        let found = words.find(|(word, _)| canonical_name(word) == driver);
        found.map(|(_, file)| file.as_str())
    }

    /// The file by which a driver is named to dracut.
    pub fn names(&self, driver: &str) -> Option<&str> {
        self.naming(&NAMING, &canonical_name(driver))
    }

    fn omits_part(&self, part: &str) -> bool {
        let mut words = self.lists.get(OMITTED_PARTS).into_iter().flatten();
        words.any(|(word, _)| word == part)
    }
}

/// The words of such lists in a text of dracut.conf, whatever is set and added.
pub(crate) fn listed_for_dracut(text: &str, lists: &[&str]) -> Vec<String> {
    assignments(text)
        .into_iter()
        .filter(|assignment| lists.contains(&assignment.name.as_str()))
        .flat_map(|assignment| {
            let words = assignment.value.split_ascii_whitespace();
            words.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// What dracut would do about `driver` of kernel `release` in `root`. `initramfs` is the one that is
/// there now.
pub fn kept(root: &dyn Files, initramfs: &dyn Files, release: &str, driver: &str) -> Result<Kept> {
    let driver = &*canonical_name(driver);
    let settings = DracutSettings::read(root)?;
    // What is added counts more than what is omitted.
    if let Some(file) = settings.names(driver) {
        return Ok(Kept::Named(file.to_owned()));
    }
    let Some(directory) = directory(root, release)? else {
        return Ok(Kept::Left(format!(
            "there are no modules for kernel {release}"
        )));
    };
    let index = |name: &str| -> Result<String> {
        let bytes = root.read(&format!("{directory}/modules.{name}"))?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    if built_in(&index("builtin")?).contains(driver) {
        return Ok(Kept::ByItself("it is built into the kernel".to_owned()));
    }
    if let Some(file) = settings.naming(&[OMITTING], driver) {
        return Ok(Kept::Left(format!("{file} has dracut leave it out")));
    }
    let Some(path) = Dependencies::parse(&index("dep")?)
        .path(driver)
        .map(str::to_owned)
    else {
        return Ok(Kept::Left("modules.dep does not name it".to_owned()));
    };
    if path.starts_with('/') {
        return Ok(Kept::ByItself(format!(
            "dracut takes what is outside of {directory}"
        )));
    }
    if has_part(root, "kernel-modules-extra")? && !settings.omits_part("kernel-modules-extra") {
        let configuration = depmod_configuration(root)?;
        let texts: Vec<(&str, &str)> = configuration
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        if let Some(place) = Depmod::new(release, &texts)?.names_place(&path) {
            return Ok(Kept::ByItself(format!(
                "dracut takes what depmod.d names: {place}"
            )));
        }
    }
    let below = TOPS.iter().find_map(|top| path.strip_prefix(top));
    let whole = |below: &str| {
        let has = |list: &[&str]| list.iter().any(|start| below.starts_with(start));
        let is_crypto = below.starts_with("arch/") && below.contains("/crypto/");
        is_crypto || (has(&WHOLE) && !has(&NETWORK_FILE_SYSTEMS))
    };
    if below.is_some_and(whole) {
        return Ok(Kept::ByItself(format!("dracut takes modules like {path}")));
    }
    if below.is_some_and(|below| below.starts_with("drivers/")) {
        let bytes = root.read(&format!("{directory}/{path}"))?;
        let info = ModuleInfo::read(&bytes.unwrap_or_default()).ok();
        let called = info.as_ref().and_then(|info| {
            let mut symbols = info.undefined.iter();
            symbols.find(|symbol| BLOCK_FUNCTIONS.iter().any(|part| symbol.contains(part)))
        });
        if let Some(symbol) = called {
            return Ok(Kept::ByItself(format!(
                "dracut takes drivers that call {symbol}"
            )));
        }
    }
    let named = named_before(initramfs, driver)?;
    if path.starts_with("kernel/") && named.is_none() {
        let there = initramfs.exists(&format!("usr/lib/modules/{release}/{path}"))?
            || initramfs.exists(&format!("lib/modules/{release}/{path}"))?;
        if there {
            return Ok(Kept::ByItself(
                "the initramfs has it, although nobody named it".to_owned(),
            ));
        }
    }
    let nobody = format!("no dracut.conf.d names it, and dracut does not look at {path} by itself");
    Ok(Kept::Left(match named {
        Some(file) => format!("{nobody}; it was named on the command line only, as {file} says"),
        None => nobody,
    }))
}

/// Whether the root's dracut has a module of that name.
fn has_part(root: &dyn Files, part: &str) -> Result<bool> {
    let names = root.list(&format!("{DRACUT}/modules.d"))?;
    Ok(names
        .iter()
        .any(|name| name.trim_start_matches(|c: char| c.is_ascii_digit()) == part))
}

/// The file of an initramfs that says that a driver was named on the command line when it was made.
fn named_before(initramfs: &dyn Files, driver: &str) -> Result<Option<String>> {
    for directory in [DRACUT, "lib/dracut"] {
        let path = format!("{directory}/build-parameter.txt");
        let Some(bytes) = initramfs.read(&path)? else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut words = text.split(|c: char| c.is_whitespace() || "'\"\\,=".contains(c));
        return Ok(words
            .any(|word| canonical_name(word) == driver)
            .then_some(path));
    }
    Ok(None)
}

/// A variable that a shell script sets.
struct Assignment {
    name: String,
    /// `+=` rather than `=`.
    adds: bool,
    value: String,
}

/// Variables that a text of dracut.conf sets, which dracut has the shell read. Expansions and commands
/// are not looked at.
fn assignments(text: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    for word in words(text) {
        let Some((left, value)) = word.split_once('=') else {
            continue;
        };
        let (name, adds) = match left.strip_suffix('+') {
            Some(name) => (name, true),
            None => (left, false),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.is_empty() && name.chars().all(is_name) {
            found.push(Assignment {
                name: name.to_owned(),
                adds,
                value: value.to_owned(),
            });
        }
    }
    found
}

/// The words of a shell script, without their quotes and without comments.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '#' if word.is_none() => while characters.next_if(|c| *c != '\n').is_some() {},
            c if c.is_whitespace() || ";&|".contains(c) => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(characters.by_ref().take_while(|c| *c != '\''));
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(inside) = characters.next() {
                    match inside {
                        '"' => break,
                        '\\' => match characters.next() {
                            Some('\n') | None => {}
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match characters.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::{DracutSettings, dracut_configuration, dracut_line};

    #[test]
    fn settings_are_read_as_the_shell_reads_them() {
        let cases = [
            ("add_drivers+=\" a b \"\n", true),
            ("add_drivers+=' b '", true),
            ("add_drivers=b", true),
            ("force_drivers+=\" a\\\n b \"", true),
            ("add_drivers+=\" a \n b \"", true),
            ("x=1; add_drivers+=\" b \" # more", true),
            ("add_drivers+=\" b-c \"", false),
            ("# add_drivers+=\" b \"", false),
            ("add_drivers+=\" bb \"", false),
            ("add_dracutmodules+=\" b \"", false),
            ("omit_drivers+=\" b \"", false),
            ("add_drivers+=\" b \"\nadd_drivers=\" a \"", false),
            ("add_drivers+=\" b \"\nadd_drivers+=\" a \"", true),
        ];
        for (text, named) in cases {
            let mut settings = DracutSettings::default();
            settings.take("file", text);
            assert_eq!(settings.names("b").is_some(), named, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut settings = DracutSettings::default();
        for driver in ["my-raid-2", "other.ko.xz"] {
            settings.take(&dracut_configuration(driver), &(dracut_line(driver) + "\n"));
        }
        let conf = "usr/lib/dracut/dracut.conf.d/90-my_raid_2.conf";
        assert_eq!(settings.names("my_raid-2"), Some(conf));
        assert!(settings.names("other").is_some());
    }
}
