//! Partitions, file systems and RAID.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::report::Report;
use super::super::shape::Place;
use super::super::version::Version;
use super::path_error;

/// Characters of a partition's name in the GUID partition table.
const PARTITION_LABEL_MAX: usize = 36;

/// A disk and its partitions.
pub(in super::super) fn disk(place: &Place<'_>, report: &mut Report) {
    let device = place.text("device").unwrap_or_default();
    if let Some(message) = path_error(device) {
        report.error(place.at("device"), message);
        if device.is_empty() {
            return;
        }
    }
    let partitions = place.list("partitions");
    let at = |index: usize| format!("{}.{index}", place.at("partitions"));
    if let Some(index) = second(
        partitions
            .iter()
            .map(|p| Some(number(p)).filter(|n| *n != 0)),
    ) {
        report.error(at(index), "two partitions with the same number");
    }
    if let Some(index) = second(partitions.iter().map(|p| p.get("label")?.as_str())) {
        report.error(at(index), "two partitions with the same label");
    }
    if let Some(index) = overlap(partitions) {
        report.error(at(index), "the partition overlaps another one");
    }
    let any_without_number = partitions.iter().any(|p| number(p) == 0);
    let any_to_remove = partitions
        .iter()
        .any(|p| p.get("shouldExist") == Some(&Value::Bool(false)));
    if any_without_number && any_to_remove {
        report.error(
            place.at("partitions"),
            "partitions without a number beside ones that should not exist",
        );
    }
}

fn number(partition: &Value) -> i64 {
    partition.get("number").and_then(Value::as_i64).unwrap_or(0)
}

/// The first value that was there before.
fn second<T: Ord>(values: impl Iterator<Item = Option<T>>) -> Option<usize> {
    let mut seen = BTreeSet::new();
    for (index, value) in values.enumerate() {
        if let Some(value) = value
            && !seen.insert(value)
        {
            return Some(index);
        }
    }
    None
}

/// A partition that shares space with another one. What Ignition places itself is left out: a start
/// of 0, or no start or size.
fn overlap(partitions: &[Value]) -> Option<usize> {
    let mut extents: Vec<(i64, i64, usize)> = partitions
        .iter()
        .enumerate()
        .filter_map(|(index, partition)| {
            let start = partition.get("startMiB")?.as_i64()?;
            let size = partition.get("sizeMiB")?.as_i64()?;
            // A size of 0 fills up what is left, of which only the start is known.
            let last = start.saturating_add((size.saturating_sub(1)).max(0));
            (start != 0).then_some((start, last, index))
        })
        .collect();
    extents.sort_unstable();
    extents
        .windows(2)
        .find(|pair| pair[1].0 <= pair[0].1)
        .map(|pair| pair[1].2)
}

/// One partition.
pub(in super::super) fn partition(place: &Place<'_>, report: &mut Report) {
    let says_what = place.text("label").is_some()
        || place.filled("typeGuid").is_some()
        || place.filled("guid").is_some()
        || place.int("startMiB").is_some()
        || place.int("sizeMiB").is_some();
    if place.is_false("shouldExist") && says_what {
        report.error(
            place.path,
            "the partition should not exist, but is described",
        );
    }
    if place.int("number").unwrap_or(0) == 0 && place.text("label").is_none() {
        report.error(place.path, "neither a number nor a label");
    }
    if let Some(label) = place.text("label") {
        if label.len() > PARTITION_LABEL_MAX {
            report.error(
                place.at("label"),
                format!("the label is longer than {PARTITION_LABEL_MAX}"),
            );
        } else if label.contains(':') {
            report.error(place.at("label"), "the label has a colon in it");
        }
    }
    for name in ["guid", "typeGuid"] {
        if place.filled(name).is_some_and(|guid| !is_guid(guid)) {
            report.error(
                place.at(name),
                "not like 01234567-89AB-CDEF-EDCB-A98765432101",
            );
        }
    }
}

fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && parts
            .iter()
            .all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A file system.
pub(in super::super) fn filesystem(place: &Place<'_>, report: &mut Report) {
    if let Some(message) = place.filled("path").and_then(path_error) {
        report.error(place.at("path"), message);
    }
    if let Some(message) = path_error(place.text("device").unwrap_or_default()) {
        report.error(place.at("device"), message);
    }
    let label = place.filled("label");
    let Some(format) = place.filled("format") else {
        let says_what = place.filled("path").is_some()
            || label.is_some()
            || place.filled("uuid").is_some()
            || place.is_true("wipeFilesystem")
            || !place.list("mountOptions").is_empty()
            || !place.list("options").is_empty();
        if says_what {
            report.error(place.at("format"), "the file system has no format");
        }
        return;
    };
    let label_max = match format {
        "ext4" => 16,
        "btrfs" => 256,
        "xfs" => 12,
        "swap" => 15,
        "vfat" => 11,
        "none" if place.version >= Version::V3_3 => usize::MAX,
        _ => {
            return report.error(
                place.at("format"),
                format!("Ignition doesn't make {format:?} file systems"),
            );
        }
    };
    if label.is_some_and(|label| label.len() > label_max) {
        report.error(
            place.at("label"),
            format!("labels of {format} have at most {label_max} bytes"),
        );
    }
}

/// A RAID array.
pub(in super::super) fn raid(place: &Place<'_>, report: &mut Report) {
    match place.text("level").unwrap_or_default() {
        "" => report.error(place.at("level"), "the array has no level"),
        "linear" | "raid0" | "0" | "stripe" => {
            if place.int("spares").unwrap_or(0) != 0 {
                report.error(place.at("level"), "arrays of that level have no spares");
            }
        }
        "raid1" | "1" | "mirror" | "raid4" | "4" | "raid5" | "5" | "raid6" | "6" | "raid10"
        | "10" => {}
        level => report.error(place.at("level"), format!("unknown level {level:?}")),
    }
    let devices = place.list("devices");
    if devices.is_empty() {
        report.error(place.at("devices"), "the array has no devices");
    }
    for (index, device) in devices.iter().enumerate() {
        if let Some(message) = path_error(device.as_str().unwrap_or_default()) {
            report.error(format!("{}.{index}", place.at("devices")), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_guid, overlap};

    #[test]
    fn neighbours_do_not_overlap() {
        let at = |start: i64, size: i64| json!({"startMiB": start, "sizeMiB": size});
        assert_eq!(overlap(&[at(1, 4), at(5, 4)]), None);
        assert_eq!(overlap(&[at(1, 5), at(5, 4)]), Some(1));
        assert_eq!(overlap(&[at(5, 0), at(1, 8)]), Some(0));
        assert_eq!(overlap(&[at(0, 8), at(0, 8)]), None);
        assert_eq!(overlap(&[at(i64::MAX, i64::MAX), at(1, 1)]), None);
    }

    #[test]
    fn guids() {
        assert!(is_guid("01234567-89AB-CDEF-EDCB-A98765432101"));
        assert!(!is_guid("01234567-89AB-CDEF-EDCB-A9876543210"));
        assert!(!is_guid("01234567-89AB-CDEF-EDCB-A9876543210g"));
        assert!(!is_guid("0123456789ABCDEFEDCBA98765432101"));
    }
}
