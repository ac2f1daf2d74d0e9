//! Units and drop-ins, and the accounts, which have next to no rules.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::report::Report;
use super::super::shape::{Place, list};
use super::super::unit_file;
use super::text_in;

/// Where Ignition writes units.
pub(in super::super) const UNITS: &str = "/etc/systemd/system/";

const SUFFIXES: [&str; 12] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "snapshot",
    "slice",
    "scope",
];

/// A unit.
pub(in super::super) fn unit(place: &Place<'_>, report: &mut Report) {
    let name = place.text("name").unwrap_or_default();
    if !suffix(name).is_some_and(|suffix| SUFFIXES.contains(&suffix)) {
        report.error(
            place.at("name"),
            format!("{name:?} has no suffix of a unit, such as .service"),
        );
    }
    if name.contains('/') {
        report.warn(place.at("name"), "a unit's name is no path");
    }
    let Some(contents) = place.text("contents") else {
        return;
    };
    let at = place.at("contents");
    match unit_file::sections_with_options(contents) {
        Err(error) => report.error(at, format!("the unit has {error}")),
        Ok(sections)
            if place.is_true("enabled")
                && !contents.is_empty()
                && !sections.contains(&"Install") =>
        {
            report.warn(
                at,
                format!("{name:?} is enabled, but without [Install] that does nothing"),
            );
        }
        Ok(_) => {}
    }
    if place.is_true("mask") && !contents.is_empty() {
        report.warn(place.at("mask"), "the mask hides the unit's contents");
    }
}

/// What is put on top of a unit.
pub(in super::super) fn dropin(place: &Place<'_>, report: &mut Report) {
    let contents = place.text("contents").unwrap_or_default();
    if let Err(error) = unit_file::sections_with_options(contents) {
        report.error(place.at("contents"), format!("the drop-in has {error}"));
    }
    let name = place.text("name").unwrap_or_default();
    if suffix(name) != Some("conf") {
        report.error(
            place.at("name"),
            format!("{name:?} has no suffix .conf, so systemd won't read it"),
        );
    }
}

/// What is behind the last dot of the last part of a path.
fn suffix(name: &str) -> Option<&str> {
    let name = name.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map(|(_, suffix)| suffix)
}

/// A node where Ignition writes a unit as well. Ignition 2.15 and newer refuse that.
pub(in super::super) fn paths_of_units(place: &Place<'_>, report: &mut Report) {
    let Some(units) = place.object("systemd") else {
        return;
    };
    let mut paths = BTreeSet::new();
    for unit in list(units, "units") {
        let path = format!("{UNITS}{}", text_in(unit, "name"));
        let dropins = unit.get("dropins").and_then(Value::as_array);
        for dropin in dropins.into_iter().flatten() {
            if !text_in(dropin, "contents").is_empty() {
                paths.insert(format!("{path}.d/{}", text_in(dropin, "name")));
            }
        }
        if !text_in(unit, "contents").is_empty() {
            paths.insert(path);
        }
    }
    let Some(storage) = place.object("storage") else {
        return;
    };
    for name in ["files", "directories", "links"] {
        for (index, node) in list(storage, name).iter().enumerate() {
            if paths.contains(text_in(node, "path")) {
                report.error(
                    format!("{}.{index}.path", place.at(format_args!("storage.{name}"))),
                    "systemd.units writes there, too",
                );
            }
        }
    }
}

/// A user or a group. Ignition itself takes any name.
pub(in super::super) fn account(place: &Place<'_>, report: &mut Report) {
    if place.filled("name").is_none() {
        report.warn(place.at("name"), "an account without a name");
    }
}
