//! Inventories as tables: a line of keys, then a line for each host.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::MAX_HOSTS;
use super::raw::{KEYS, Row, Wrong, unknown, words};

/// What the author said of each host, in order.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, Wrong> {
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(unreadable)?.clone();
    let head_line = line_of(&header, text);
    if header.len() == 1 && header.iter().any(|cell| cell.contains(';')) {
        let sentence = "the columns are separated by semicolons";
        return Err(Wrong::at(head_line, sentence).with_hint("separate them by commas"));
    }
    let mut columns = BTreeMap::new();
    for (column, key) in header.iter().enumerate() {
        if !KEYS.contains(&key) {
            return Err(Wrong::at(head_line, unknown("column", key)));
        }
        if columns.insert(key, column).is_some() {
            return Err(Wrong::at(
                head_line,
                format!("column {key:?} is there twice"),
            ));
        }
    }
    for key in ["name", "mac"] {
        if !columns.contains_key(key) {
            return Err(Wrong::at(head_line, format!("there is no column {key:?}")));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        if rows.len() == MAX_HOSTS {
            let sentence = format!("more than {MAX_HOSTS} hosts");
            return Err(Wrong::at(line_of(&record, text), sentence));
        }
        let cell = |key| {
            columns
                .get(key)
                .and_then(|&at| record.get(at))
                .unwrap_or("")
        };
        let one = |key| Some(cell(key).to_owned()).filter(|text| !text.is_empty());
        let several = |key| words(cell(key));
        rows.push(Row {
            line: line_of(&record, text),
            name: cell("name").to_owned(),
            macs: several("mac"),
            role: one("role"),
            disk: one("disk"),
            ignition: one("ignition"),
            live_ignition: one("live-ignition"),
            keyfiles: several("keyfiles"),
            nmstate: one("nmstate"),
            kargs: several("kargs"),
            dest_kargs: several("dest-kargs"),
        });
    }
    Ok(rows)
}

/// The line that a record of `text` begins in. The reader's own place is before the comments and empty
/// lines that it skipped.
fn line_of(record: &StringRecord, text: &str) -> u64 {
    let Some(place) = record.position() else {
        return 0;
    };
    let start = usize::try_from(place.byte()).unwrap_or(usize::MAX);
    let rest = text.get(start..).unwrap_or_default();
    let skipped = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('#'))
        .count();
    place.line() + u64::try_from(skipped).unwrap_or(0)
}

fn unreadable(error: csv::Error) -> Wrong {
    let line = error.position().map_or(0, csv::Position::line);
    let sentence = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} values for {expected_len} columns"),
        _ => error.to_string(),
    };
    Wrong::at(line, sentence)
}
