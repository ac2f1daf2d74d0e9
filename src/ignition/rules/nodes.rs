//! Files, directories and links.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::report::Report;
use super::super::shape::Place;
use super::super::version::Version;
use super::{path_error, text_in};

/// setuid, setgid and sticky.
pub(in super::super) const SPECIAL_BITS: i64 = 0o7000;

/// A file.
pub(in super::super) fn file(place: &Place<'_>, report: &mut Report) {
    directory(place, report);
    let source = place
        .object("contents")
        .and_then(|contents| contents.get("source"));
    if place.is_true("overwrite") && !source.is_some_and(Value::is_string) {
        report.error(
            place.at("overwrite"),
            "the file is to be overwritten, but there is no source",
        );
    }
}

/// A directory, and what files have in common with it.
pub(in super::super) fn directory(place: &Place<'_>, report: &mut Report) {
    link(place, report);
    let Some(mode) = place.int("mode") else {
        return;
    };
    if !(0..=0o7777).contains(&mode) {
        report.error(
            place.at("mode"),
            format!("mode {mode} is none (it is written in decimal: 0644 is 420)"),
        );
    } else if mode & SPECIAL_BITS != 0 && place.version < Version::V3_6 {
        report.warn(
            place.at("mode"),
            "setuid, setgid and sticky bits are ignored before spec 3.6.0",
        );
    }
}

/// What all nodes have in common.
pub(in super::super) fn link(place: &Place<'_>, report: &mut Report) {
    if let Some(message) = path_error(place.text("path").unwrap_or_default()) {
        report.error(place.at("path"), message);
    }
}

/// Who owns a node.
pub(in super::super) fn owner(place: &Place<'_>, report: &mut Report) {
    if place.int("id").is_some() && place.filled("name").is_some() {
        report.error(place.path, "both an id and a name");
    }
}

/// What nodes and disks have to do with each other.
pub(in super::super) fn storage(place: &Place<'_>, report: &mut Report) {
    let paths = |list: &str| -> BTreeSet<&str> {
        let entries = place.list(list).iter();
        entries.map(|entry| text_in(entry, "path")).collect()
    };
    let links = paths("links");
    let files = paths("files");
    let directories = paths("directories");
    for list in ["directories", "files", "links"] {
        for (index, entry) in place.list(list).iter().enumerate() {
            let at = || format!("{}.{index}", place.at(list));
            let path = text_in(entry, "path");
            if let Some(link) = ancestors(path).find(|above| links.contains(above)) {
                report.error(at(), format!("{path:?} is below the link {link:?}"));
            }
            if let Some(file) = ancestors(path).find(|above| files.contains(above)) {
                report.warn(at(), format!("{path:?} is below the file {file:?}"));
            }
        }
    }
    for (index, link) in place.list("links").iter().enumerate() {
        let at = format!("{}.{index}", place.at("links"));
        check_target(place, link, &at, &directories, report);
    }
    devices(place, report);
}

fn check_target(
    place: &Place<'_>,
    link: &Value,
    at: &str,
    directories: &BTreeSet<&str>,
    report: &mut Report,
) {
    let target = text_in(link, "target");
    if target.is_empty() {
        let at = format!("{at}.target");
        if place.version >= Version::V3_3 {
            return report.error(at, "the link has no target");
        }
        report.warn(
            at,
            "the link has no target, which Ignition finds out when it runs",
        );
    }
    if link.get("hard").and_then(Value::as_bool) != Some(true) {
        return;
    }
    let path = text_in(link, "path");
    // Ignition looks for a relative target of a hard link below the link itself.
    let target = if target.starts_with('/') {
        cleaned(target)
    } else {
        cleaned(&format!("{path}/{target}"))
    };
    if directories.contains(target.as_str()) {
        report.error(at, format!("a hard link to the directory {target:?}"));
    }
    for list in ["user", "group"] {
        for name in ["id", "name"] {
            let value = link.get(list).and_then(|owner| owner.get(name));
            if value.is_some_and(|value| !value.is_null() && value != "") {
                report.warn(
                    format!("{at}.{list}.{name}"),
                    "a hard link has the owner of its target",
                );
            }
        }
    }
}

/// A file system right on a disk that is also partitioned.
fn devices(place: &Place<'_>, report: &mut Report) {
    let disks: BTreeMap<&str, &Value> = place
        .list("disks")
        .iter()
        .map(|disk| (text_in(disk, "device"), disk))
        .collect();
    for (index, filesystem) in place.list("filesystems").iter().enumerate() {
        let Some(disk) = disks.get(text_in(filesystem, "device")) else {
            continue;
        };
        let at = format!("{}.{index}.device", place.at("filesystems"));
        let partitions = disk.get("partitions").and_then(Value::as_array);
        if partitions.is_some_and(|list| !list.is_empty()) {
            report.warn(at, "the file system overwrites the disk's partitions");
        } else if disk.get("wipeTable") == Some(&Value::Bool(true))
            && filesystem.get("wipeFilesystem") != Some(&Value::Bool(true))
        {
            report.warn(at, "wiping the disk's table wipes the file system, too");
        }
    }
}

/// The directories that a path is in, nearest first, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        let (above, _) = path.rsplit_once('/')?;
        (!above.is_empty()).then_some(above)
    })
    .skip(1)
}

/// An absolute path in its shortest form.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
