//! Facts for people: JSON as a sheet with a line for each, sections, and tables.
//!
//! All that is in the JSON is on the sheet, whatever its keys: those that are known here are only told
//! in a better way ([`tidied`]).

use indicatif::HumanBytes;
use serde_json::{Map, Value, json};

use super::table::Table;
use crate::foreign::visible;
use crate::paragraph::{Paragraph, hanging, width};

/// Sectors in which a boot catalog counts, in bytes (El Torito, "Sector Count").
const CATALOG_SECTOR_BYTES: u64 = 512;

/// Labels that are longer don't push the values of others to the right.
const LABEL_MAX_COLUMNS: usize = 48;

/// Lists of objects with more keys than that are no table: who has a row for each of thousands of keys would
/// fill the memory with blanks.
const TABLE_MAX_KEYS: usize = 16;

/// Words that are not written in small letters.
const WORDS: [(&str, &str); 10] = [
    ("bios", "BIOS"),
    ("efi", "EFI"),
    ("guid", "GUID"),
    ("id", "ID"),
    ("ignition", "Ignition"),
    ("iso", "ISO"),
    ("os", "OS"),
    ("selinux", "SELinux"),
    ("url", "URL"),
    ("uuid", "UUID"),
];

/// `facts`, an object, in lines of `columns` columns.
pub(super) fn sheet(facts: &Value, columns: usize) -> String {
    let mut facts = facts.as_object().cloned().unwrap_or_default();
    facts.shift_remove("schema");
    let mut text = String::new();
    fields(&tidied(facts), "", columns, &mut text);
    text
}

/// The lines of an object: first what has one each, then sections.
fn fields(object: &Map<String, Value>, indent: &str, columns: usize, text: &mut String) {
    let plain = |value: &Value| in_a_line("", value).is_some();
    let labels = object.iter().filter(|(_, value)| plain(value));
    let widths = labels.map(|(key, _)| width(&label(key)));
    let wide = widths.filter(|wide| *wide <= LABEL_MAX_COLUMNS);
    let wide = wide.max().unwrap_or(0);
    for (key, value) in object {
        if let Some(value) = in_a_line(key, value) {
            line(&label(key), &value, wide, indent, columns, text);
        }
    }
    let deeper = format!("{indent}  ");
    for (key, value) in object.iter().filter(|(_, value)| !plain(value)) {
        if indent.is_empty() && !text.is_empty() {
            text.push('\n');
        }
        match value {
            Value::Object(map) => {
                *text += &format!("{indent}{}\n", label(key));
                fields(map, &deeper, columns, text);
            }
            Value::Array(items) => {
                *text += &format!("{indent}{} ({})\n", label(key), items.len());
                list(items, indent, columns, text);
            }
            _ => {}
        }
    }
}

/// A label and what it is of. A word that doesn't fit beside the label is below it.
fn line(label: &str, value: &str, wide: usize, indent: &str, columns: usize, text: &mut String) {
    let space = " ".repeat(wide.saturating_sub(width(label)));
    let first = format!("{indent}{label}{space}  ");
    let longest = value.split_ascii_whitespace().map(width).max().unwrap_or(0);
    if width(&first) + longest <= columns {
        *text += &hanging(&first, value, columns);
        return;
    }
    let below = format!("{indent}    ");
    let paragraph = Paragraph {
        first: &below,
        rest: &below,
        columns,
    };
    *text += &format!("{indent}{label}\n{}", paragraph.of(value));
}

/// Objects of a list: a table, or a section for each if there is more in them.
fn list(items: &[Value], indent: &str, columns: usize, text: &mut String) {
    let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    let mut keys: Vec<&String> = Vec::new();
    for key in objects.iter().flat_map(|object| object.keys()) {
        // One more than a table can have says that there are too many.
        if keys.len() <= TABLE_MAX_KEYS && !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut table = Table::new(keys.iter().map(|key| label(key).to_uppercase()));
    let is_flat = |object: &&Map<String, Value>| {
        let mut fields = object.iter();
        fields.all(|(key, value)| in_a_line(key, value).is_some())
    };
    let are_few = keys.len() <= TABLE_MAX_KEYS;
    if are_few && objects.len() == items.len() && objects.iter().all(is_flat) {
        for object in objects {
            table.row(keys.iter().map(|key| {
                let value = object.get(*key);
                value
                    .and_then(|value| in_a_line(key, value))
                    .unwrap_or_default()
            }));
        }
        for line in table.render(columns.saturating_sub(indent.len())).lines() {
            *text += &format!("{indent}{line}\n");
        }
        return;
    }
    let deeper = format!("{indent}    ");
    for (number, item) in items.iter().enumerate() {
        *text += &format!("{indent}  {}\n", number + 1);
        match item {
            Value::Object(map) => fields(map, &deeper, columns, text),
            other => {
                let words = in_a_line("", other).unwrap_or_else(|| other.to_string());
                *text += &hanging(&deeper, &words, columns);
            }
        }
    }
}

/// A value that needs no lines of its own, in words.
fn in_a_line(key: &str, value: &Value) -> Option<String> {
    let is_size = key.ends_with("bytes") || key == "size" || key.ends_with("-size");
    Some(match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match number.as_u64().filter(|_| is_size) {
            Some(size) => bytes(size),
            None => number.to_string(),
        },
        Value::String(text) => visible(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Object(map) if map.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let words = items.iter().map(|item| match item {
                Value::Array(_) | Value::Object(_) => None,
                item => in_a_line(key, item),
            });
            let words: Vec<String> = words.collect::<Option<_>>()?;
            // Arguments have commas in them.
            words.join(if key.contains("argument") { " " } else { ", " })
        }
        Value::Object(_) => return None,
    })
}

/// A length for people, without a fraction that says nothing.
fn bytes(size: u64) -> String {
    HumanBytes(size).to_string().replace(".00 ", " ")
}

/// A key as words; its unit is told with the value.
fn label(key: &str) -> String {
    // Labels of images and drivers are names, not words.
    if key.contains(['.', '_']) {
        return visible(key);
    }
    let words = key.strip_suffix("-bytes").unwrap_or(key);
    let words = words.split('-').map(|word| {
        let mut known = WORDS.iter();
        known
            .find(|known| known.0 == word)
            .map_or(word, |known| known.1)
    });
    visible(&words.collect::<Vec<_>>().join(" "))
}

/// The facts with what is known of their keys: units instead of sectors, lists instead of what is true.
fn tidied(mut facts: Map<String, Value>) -> Map<String, Value> {
    let sector = facts.get("sector-bytes").and_then(Value::as_u64);
    for partition in objects(facts.get_mut("partitions")) {
        let first = partition.get("first-sector").and_then(Value::as_u64);
        if let (Some(first), Some(sector)) = (first, sector) {
            let start = first.saturating_mul(sector);
            replace(partition, "first-sector", "start-bytes", start);
        }
    }
    let iso = facts.get_mut("iso").and_then(Value::as_object_mut);
    for entry in objects(iso.and_then(|iso| iso.get_mut("boot"))) {
        if let Some(offset) = entry.get("offset").and_then(Value::as_u64) {
            replace(entry, "offset", "start-bytes", offset);
        }
        if let Some(sectors) = entry.get("load-sectors").and_then(Value::as_u64) {
            replace(
                entry,
                "load-sectors",
                "loaded-bytes",
                sectors.saturating_mul(CATALOG_SECTOR_BYTES),
            );
        }
    }
    for layer in objects(facts.get_mut("layers")) {
        // All digests are of one kind, which the head of the table tells.
        if let Some(hash) = layer.get("digest").and_then(Value::as_str)
            && let Some(hash) = hash.strip_prefix("sha256:").map(str::to_owned)
        {
            layer.shift_remove("digest");
            layer.insert("sha256".to_owned(), hash.into());
        }
    }
    if let Some(stages) = facts.get("drivers").and_then(stages) {
        facts.insert("drivers".to_owned(), stages);
    }
    let installer = for_installer(&mut facts);
    if !installer.is_empty() {
        facts.insert("installer".to_owned(), installer.into());
    }
    facts
}

/// The objects of a list.
fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let items = list.and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut)
}

/// Puts a length where another key was.
fn replace(map: &mut Map<String, Value>, key: &str, new: &str, value: u64) {
    let fields = std::mem::take(map)
        .into_iter()
        .map(|(old, field)| match old == key {
            true => (new.to_owned(), value.into()),
            false => (old, field),
        });
    *map = fields.collect();
}

/// Drivers of a record: for each, the stages at which it is so.
fn stages(rows: &Value) -> Option<Value> {
    let mut drivers = Map::new();
    for row in rows.as_array()? {
        let field = |key: &str| row.get(key).and_then(Value::as_str);
        let (driver, stage, status) = (field("driver")?, field("stage")?, field("status")?);
        let of_driver = drivers.entry(driver).or_insert_with(|| json!({}));
        let stages = of_driver
            .as_object_mut()?
            .entry(status)
            .or_insert_with(|| json!([]));
        stages.as_array_mut()?.push(stage.into());
    }
    (!drivers.is_empty()).then(|| drivers.into())
}

/// What the three files say that coreos-installer reads in an ISO (`coreos/features.json`,
/// `igninfo.json`, `kargs.json`; coreos-installer 0.27, `src/live`), as far as it is known.
fn for_installer(facts: &mut Map<String, Value>) -> Map<String, Value> {
    let mut told = Map::new();
    if let Some(mut features) = facts.get("features").and_then(Value::as_object).cloned() {
        let directives = features.shift_remove("installer-config-directives");
        for (name, flags) in [
            ("features", Some(features.into())),
            ("directives", directives),
        ] {
            match flags.as_ref().and_then(Value::as_object).map(flagged) {
                Some(Some([with, without])) => {
                    told.insert(name.to_owned(), with);
                    if without.as_array().is_some_and(|names| !names.is_empty()) {
                        told.insert(format!("no-{name}"), without);
                    }
                }
                _ => told.extend(flags.map(|flags| (name.to_owned(), flags))),
            }
        }
        facts.shift_remove("features");
    }
    let igninfo = facts.get("igninfo").and_then(Value::as_object);
    if let Some(file) = igninfo
        .filter(|map| map.len() == 1)
        .and_then(|map| map.get("file"))
    {
        told.insert("ignition-area".to_owned(), file.clone());
        facts.shift_remove("igninfo");
    }
    let Some(mut kargs) = facts
        .get("kargs")
        .filter(|kargs| kargs.is_object())
        .cloned()
    else {
        return told;
    };
    facts.shift_remove("kargs");
    if let (Some(size), Some(files)) = (kargs["size"].as_u64(), kargs["files"].as_array()) {
        let paths: Vec<&str> = files
            .iter()
            .filter_map(|file| file["path"].as_str())
            .collect();
        if paths.len() == files.len() {
            let area = format!("{size} characters in {}", paths.join(", "));
            kargs["area"] = area.into();
            for key in ["size", "files"] {
                kargs
                    .as_object_mut()
                    .and_then(|kargs| kargs.shift_remove(key));
            }
        }
    }
    for (key, value) in kargs.as_object().into_iter().flatten() {
        let key = match key.as_str() {
            "default" => "kernel-arguments".to_owned(),
            other => format!("kernel-arguments-{other}"),
        };
        told.insert(key, value.clone());
    }
    told
}

/// Names of what is true and of what is not, if there is nothing else.
fn flagged(flags: &Map<String, Value>) -> Option<[Value; 2]> {
    let mut names = [Vec::new(), Vec::new()];
    for (name, flag) in flags {
        names[usize::from(!flag.as_bool()?)].push(Value::from(name.as_str()));
    }
    Some(names.map(Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_told_as_well() {
        let facts = json!({
            "schema": "x/v1",
            "new-bytes": 131_072,
            "list": [1, "two\n\u{1b}[2J", true],
            "nothing": null,
            "mixed": [{ "a": { "b": [] } }, 3],
            "object": { "deep": { "flag": false }, "kernel-arguments": ["a=1,2", "b"] },
            "table": [{ "os": "x" }, { "os": "y", "size": 3 }],
            "features": 7,
            "kargs": "odd",
        });
        assert_eq!(
            sheet(&facts, 80),
            "new       128 KiB\n\
             list      1, two\\n\\u{1b}[2J, yes\n\
             nothing   none\n\
             features  7\n\
             kargs     odd\n\
             \n\
             mixed (2)\n\
             \x20 1\n\
             \x20   a\n\
             \x20     b  none\n\
             \x20 2\n\
             \x20   3\n\
             \n\
             object\n\
             \x20 kernel arguments  a=1,2 b\n\
             \x20 deep\n\
             \x20   flag  no\n\
             \n\
             table (2)\n\
             \x20 OS  SIZE\n\
             \x20 x\n\
             \x20 y   3 B\n"
        );
    }

    /// Three files of an ISO go into the sheet as they are.
    #[test]
    fn no_document_fills_the_memory_or_leaves_the_screen() {
        let mut deep = json!([{ "a": 1 }]);
        for _ in 0..100 {
            deep = json!({ "b": deep });
        }
        // Where there is no room, cells are below each other.
        let text = sheet(&json!({ "deep": deep }), 80);
        assert!(text.ends_with(" 1\n"), "{text}");

        let odd: Vec<Value> = (0..20_000).map(|n| json!({ n.to_string(): n })).collect();
        let text = sheet(&json!({ "odd": odd }), 80);
        assert!(text.len() < 1 << 20, "{}", text.len());

        let mut labels = json!({ "x".repeat(100_000): 1 });
        for n in 0..1000 {
            labels[format!("l{n}")] = json!(n);
        }
        let text = sheet(&json!({ "labels": labels }), 80);
        assert!(text.len() < 200_000, "{}", text.len());
    }

    #[test]
    fn a_word_that_is_too_long_is_below_its_label() {
        let digest = "d".repeat(64);
        let facts = json!({ "ostree-content-checksum": digest, "kernel": "6.1" });
        assert_eq!(
            sheet(&facts, 80),
            format!("ostree content checksum\n    {digest}\nkernel                   6.1\n")
        );
    }

    #[test]
    fn what_coreos_installer_reads_is_one_section() {
        let facts = json!({
            "features": {
                "installer-config": true,
                "installer-config-directives": { "console": true, "platform": false },
                "live-initrd-network": true,
            },
            "igninfo": { "file": "images/ignition.img" },
            "kargs": {
                "default": "rw quiet",
                "files": [{ "end": "\n", "offset": 353, "pad": "#", "path": "boot/grub/grub.cfg" }],
                "size": 1106,
            },
        });
        let text = sheet(&facts, 80);
        for line in [
            "installer\n",
            "  directives             console\n",
            "  no directives          platform\n",
            "  Ignition area          images/ignition.img\n",
            "  kernel arguments       rw quiet\n",
            "  kernel arguments area  1106 characters in boot/grub/grub.cfg\n",
            "  features               installer-config, live-initrd-network\n",
        ] {
            assert!(text.contains(line), "{line:?}\n{text}");
        }
    }

    #[test]
    fn drivers_of_a_record_are_told_by_their_stages() {
        let row =
            |stage| json!({ "driver": "a_b", "stage": stage, "status": "present", "path": "x" });
        let facts = json!({ "drivers": [row("live-root"), row("pivot")] });
        let expected = "drivers\n  a_b\n    present  live-root, pivot\n";
        assert_eq!(sheet(&facts, 80), expected);
    }
}
