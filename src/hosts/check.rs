//! What must hold for hosts to get media of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::raw::{Row, Wrong, words};
use super::{Host, Inventory, Mac};
use crate::ignition;
use crate::kernel::check_argument;
use crate::netboot;

/// A label of DNS with some room; the longest ending that is put behind it has 7 bytes.
const MAX_NAME_BYTES: usize = 128;

/// Far beyond any keyfile or nmstate document.
const MAX_NETWORK_BYTES: u64 = 1 << 20;

/// Kernels take 2048 bytes on most architectures; the bake's own arguments and URLs need room too.
const MAX_KARGS_BYTES: usize = 1024;

/// Checks all rows; paths in them are taken from `directory`.
pub(super) fn inventory(rows: Vec<Row>, directory: &Path) -> Result<Inventory, Wrong> {
    if rows.is_empty() {
        return Err(Wrong::at(0, "there are no hosts"));
    }
    let mut check = Check {
        directory,
        names: BTreeMap::new(),
        macs: BTreeMap::new(),
        configs: BTreeSet::new(),
    };
    let hosts = rows
        .into_iter()
        .map(|row| {
            let (line, name) = (row.line, row.name.clone());
            check.host(row).map_err(|wrong| Wrong {
                line,
                sentence: format!("host {name:?}: {}", wrong.sentence),
                ..wrong
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Inventory { hosts })
}

struct Check<'a> {
    directory: &'a Path,
    /// In lower case, as some file systems and TFTP servers make no difference.
    names: BTreeMap<String, u64>,
    macs: BTreeMap<Mac, String>,
    /// Ignition configs that were found to be valid; hosts of a role share theirs.
    configs: BTreeSet<PathBuf>,
}

/// Something is wrong with the host at hand.
fn wrong(sentence: impl Into<String>) -> Wrong {
    Wrong::at(0, sentence)
}

impl Check<'_> {
    fn host(&mut self, row: Row) -> Result<Host, Wrong> {
        if row.name.is_empty() {
            return Err(wrong("there is no name"));
        }
        check_name(&row.name)?;
        let folded = row.name.to_ascii_lowercase();
        if let Some(other) = self.names.insert(folded, row.line) {
            return Err(wrong(format!(
                "the name is that of the host in line {other} too"
            )));
        }
        let macs = self.macs(&row)?;
        if let Some(role) = &row.role
            && (role.is_empty() || !role.bytes().all(is_plain))
        {
            return Err(wrong(format!(
                "role {role:?} is no word of letters, digits, - and _"
            )));
        }
        match &row.disk {
            Some(disk) => check_disk(disk)?,
            None if row.live_ignition.is_some() => {
                return Err(wrong("there is live-ignition, but no disk to install to")
                    .with_hint("without a disk, the live system takes the config in `ignition`"));
            }
            None if !row.dest_kargs.is_empty() => {
                return Err(wrong("there are dest-kargs, but no disk to install to"));
            }
            None => {}
        }
        let mut keyfiles: Vec<PathBuf> = Vec::new();
        for path in &row.keyfiles {
            let path = self.network_file("keyfile", path)?;
            if keyfiles
                .iter()
                .any(|known| known.file_name() == path.file_name())
            {
                let name = path.file_name().unwrap_or_default();
                return Err(wrong(format!("two keyfiles are called {name:?}")));
            }
            keyfiles.push(path);
        }
        let nmstate = match &row.nmstate {
            Some(path) => Some(self.network_file("nmstate", path)?),
            None => None,
        };
        Ok(Host {
            macs,
            ignition: self.config("ignition", row.ignition)?,
            live_ignition: self.config("live-ignition", row.live_ignition)?,
            keyfiles,
            nmstate,
            kargs: arguments("kargs", &row.kargs)?,
            dest_kargs: arguments("dest-kargs", &row.dest_kargs)?,
            name: row.name,
            role: row.role,
            disk: row.disk,
        })
    }

    fn macs(&mut self, row: &Row) -> Result<Vec<Mac>, Wrong> {
        if row.macs.is_empty() {
            return Err(wrong("there is no hardware address"));
        }
        let mut macs = Vec::new();
        for text in &row.macs {
            let mac: Mac = text.parse().map_err(|error| wrong(format!("{error}")))?;
            if !mac.is_one_card() {
                return Err(wrong(format!("{mac} is not the address of one card")));
            }
            if let Some(other) = self.macs.insert(mac, row.name.clone()) {
                return Err(wrong(format!(
                    "hardware address {mac} is that of host {other:?} too"
                )));
            }
            macs.push(mac);
        }
        Ok(macs)
    }

    /// The Ignition config at `path`, if there is one.
    fn config(&mut self, key: &str, path: Option<String>) -> Result<Option<PathBuf>, Wrong> {
        let Some(path) = path else {
            return Ok(None);
        };
        let limit = u64::try_from(ignition::CONFIG_MAX_BYTES).unwrap_or(u64::MAX);
        let path = self.file(key, &path, limit)?;
        if self.configs.contains(&path) {
            return Ok(Some(path));
        }
        let shown = path.display();
        let mut bytes = Vec::new();
        // One byte more than a file may have, so that one that grew is refused, not cut.
        File::open(&path)
            .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(|error| wrong(format!("reading {key} {shown}: {error}")))?;
        ignition::parse(&bytes).map_err(|error| Wrong {
            hint: error.hint(),
            ..wrong(format!("{key} {shown}: {error}"))
        })?;
        self.configs.insert(path.clone());
        Ok(Some(path))
    }

    fn network_file(&self, key: &str, path: &str) -> Result<PathBuf, Wrong> {
        self.file(key, path, MAX_NETWORK_BYTES)
    }

    /// The regular file at `path`, which is at most `limit` bytes long.
    fn file(&self, key: &str, path: &str, limit: u64) -> Result<PathBuf, Wrong> {
        if path.is_empty() || path.contains('\0') {
            return Err(wrong(format!("{key} {path:?} is no path")));
        }
        let path = self.directory.join(path);
        let shown = path.display();
        let metadata =
            fs::metadata(&path).map_err(|error| wrong(format!("{key} {shown}: {error}")))?;
        if !metadata.is_file() {
            return Err(wrong(format!("{key} {shown} is no regular file")));
        }
        if metadata.len() > limit {
            return Err(wrong(format!("{key} {shown} is larger than {limit} bytes")));
        }
        Ok(path)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

/// Names become file names, parts of URLs and words of scripts.
fn check_name(name: &str) -> Result<(), Wrong> {
    let first = name.bytes().next();
    if !first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        || !name.bytes().all(|byte| is_plain(byte) || byte == b'.')
    {
        return Err(wrong(
            "the name can't be that of a file: it has to begin with a letter or digit, and to have letters, \
             digits, -, _ and . only",
        ));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(wrong(format!(
            "the name is longer than {MAX_NAME_BYTES} bytes"
        )));
    }
    Ok(())
}

fn check_disk(disk: &str) -> Result<(), Wrong> {
    if !netboot::is_device(disk) {
        return Err(wrong(format!("disk {disk:?} is no path of a device"))
            .with_hint("give a path such as /dev/disk/by-id/…"));
    }
    check_argument(disk).map_err(|error| wrong(format!("disk: {error}")))
}

/// Kernel arguments, each one word.
fn arguments(key: &str, given: &[String]) -> Result<Vec<String>, Wrong> {
    let all: Vec<String> = given.iter().flat_map(|text| words(text)).collect();
    for karg in &all {
        check_argument(karg).map_err(|error| wrong(format!("{key}: {error}")))?;
        let name = karg.split('=').next().unwrap_or_default();
        if netboot::OURS.contains(&name) {
            return Err(
                wrong(format!("{key}: {name} is not for inventories to set"))
                    .with_hint("it is made from the host's disk and ignition"),
            );
        }
    }
    let bytes: usize = all.iter().map(|karg| karg.len().saturating_add(1)).sum();
    if bytes > MAX_KARGS_BYTES {
        let sentence = format!(
            "{key} have {bytes} bytes, and kernels take {MAX_KARGS_BYTES} beside the bake's own"
        );
        return Err(wrong(sentence));
    }
    Ok(all)
}
