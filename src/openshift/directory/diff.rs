//! Edits for people: unified diffs in which one sees what is going to run as root on each machine.
//!
//! Files and units that are added are shown as the machine has them, not as the URL or the string that
//! they are written as. Contents of others are named by their length and hash and never shown: some are
//! keys and passwords.
//!
//! ```text
//! +    - path: /etc/coreos-bake/drivers
//! +      mode: '0644'
//! +      contents: 13 bytes
//! +        | megaraid_sas
//! ```

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use similar::TextDiff;

use super::edit::Edit;
use super::files::sha256;
use super::manifests;
use crate::ignition::{CONTENT_MAX_BYTES, content};
use crate::openshift::Manifest;
use crate::openshift::manifest::yaml;

/// Characters of a hash that tell contents apart for people.
const HASH_CHARS: usize = 12;

/// Longest text that is shown: far more than a script that anybody reads.
const TEXT_MAX_BYTES: usize = 64 << 10;

/// Files and units that are added, by path and by name: their contents are no secrets.
#[derive(Clone, Debug, Default)]
pub(super) struct Added(BTreeSet<String>);

impl Added {
    /// Those of Ignition configs.
    pub(super) fn of<'a>(configs: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut names = BTreeSet::new();
        for config in configs {
            for (section, list, key) in [("storage", "files", "path"), ("systemd", "units", "name")]
            {
                let entries = config[section][list].as_array().into_iter().flatten();
                names.extend(entries.filter_map(|entry| entry[key].as_str().map(str::to_owned)));
            }
        }
        Self(names)
    }
}

/// The Ignition config in a MachineConfig.
pub(super) fn config_of(manifest: &Manifest) -> &Value {
    &manifest.value["spec"]["config"]
}

/// One edit, for people.
pub(super) fn unified(edit: &Edit, added: &Added) -> String {
    compared(edit, |bytes| shown(edit, bytes, added))
}

/// One edit as `patch` takes it: manifests as they are written. Ignition configs and secrets are told as they
/// are for people, since a patch is kept where they should not be.
pub(super) fn patch(edit: &Edit, added: &Added) -> String {
    compared(edit, |bytes| {
        match edit.path.ends_with(".ign") || edit.is_secret {
            true => shown(edit, bytes, added),
            false => String::from_utf8_lossy(bytes).into_owned(),
        }
    })
}

fn compared(edit: &Edit, shown: impl Fn(&[u8]) -> String) -> String {
    let new = format!("b/{}", edit.path);
    let old = match edit.before {
        Some(_) => format!("a/{}", edit.path),
        None => "/dev/null".to_owned(),
    };
    let before = edit.before.as_deref().unwrap_or_default();
    let (before, after) = (shown(before), shown(&edit.after));
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    diff.unified_diff().header(&old, &new).to_string()
}

fn shown(edit: &Edit, bytes: &[u8], added: &Added) -> String {
    if edit.is_secret && !bytes.is_empty() {
        return format!("(a secret of {} bytes)\n", bytes.len());
    }
    let mut contents = Contents {
        added,
        blocks: Vec::new(),
    };
    let text = match edit.path.ends_with(".ign") {
        true => serde_json::from_slice(bytes).ok().map(|mut value| {
            contents.shorten(&mut value);
            let text = serde_json::to_string_pretty(&value);
            text.expect("values can be written as JSON") + "\n"
        }),
        false => match manifests::parse(&edit.path, bytes).as_deref() {
            Ok([document]) => {
                let mut value = document.value.clone();
                contents.shorten(&mut value);
                Some(yaml(&value))
            }
            _ => None,
        },
    };
    match text {
        Some(text) => contents.put_into(&text),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Contents that are taken out of a value, to be put into its text.
struct Contents<'a> {
    added: &'a Added,
    /// What stands for each in the value, and its lines.
    blocks: Vec<(String, Vec<String>)>,
}

impl Contents<'_> {
    fn shorten(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(("data:", rest)) = text.split_at_checked("data:".len())
                    && let Some((head, content)) = rest.split_once(',')
                    && !content.is_empty()
                {
                    let hash = &sha256(content.as_bytes())[..HASH_CHARS];
                    *text = format!("data:{head},… ({} characters, {hash})", content.len());
                }
            }
            Value::Object(map) => {
                self.take(map);
                for (key, value) in map {
                    match key.as_str() {
                        "passwordHash" => *value = "…".into(),
                        _ => self.shorten(value),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.shorten(value)),
            _ => {}
        }
    }

    /// Takes the contents of a file or a unit that is added, and writes its mode as people do.
    fn take(&mut self, map: &mut Map<String, Value>) {
        let is_added = |key: &&str| {
            let name = map.get(*key).and_then(Value::as_str);
            name.is_some_and(|name| self.added.0.contains(name))
        };
        let Some(key) = ["path", "name"].into_iter().find(is_added) else {
            return;
        };
        let lines = match map.get("contents") {
            Some(Value::String(text)) => described(text.as_bytes()),
            Some(resource @ Value::Object(_)) => match content(resource, CONTENT_MAX_BYTES) {
                Ok(bytes) => described(&bytes.unwrap_or_default()),
                Err(error) => vec![error.to_string()],
            },
            _ => return,
        };
        let mark = format!(
            "{}-{}",
            self.blocks.len(),
            sha256(lines.concat().as_bytes())
        );
        let mut rest = std::mem::take(map);
        rest.shift_remove("contents");
        let name = rest.shift_remove(key);
        map.extend(name.map(|name| (key.to_owned(), name)));
        if let Some(mode) = rest.get_mut("mode")
            && let Some(bits) = mode.as_u64()
        {
            *mode = format!("{bits:04o}").into();
        }
        map.append(&mut rest);
        map.insert("contents".to_owned(), mark.clone().into());
        self.blocks.push((mark, lines));
    }

    /// The value's text with the contents in it, each behind its key and below it.
    fn put_into(&self, text: &str) -> String {
        let mut out = String::new();
        let mut blocks = self.blocks.iter().peekable();
        for line in text.lines() {
            let is_here = |(mark, _): &&(String, Vec<String>)| line.contains(mark.as_str());
            let Some((_, lines)) = blocks.next_if(is_here) else {
                out += line;
                out.push('\n');
                continue;
            };
            let key = line.split_once(':').map_or(line, |(key, _)| key);
            let indent = &key[..key.len() - key.trim_start().len()];
            let (head, rest) = lines.split_first().expect("there is a description");
            out += &format!("{key}: {head}\n");
            for line in rest {
                out += format!("{indent}  | {line}").trim_end();
                out.push('\n');
            }
        }
        out
    }
}

/// How long a content is, and its lines; the hash instead of what is no text.
fn described(bytes: &[u8]) -> Vec<String> {
    let size = bytes.len();
    let is_shown = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let text = str::from_utf8(bytes).ok();
    match text.filter(|text| size <= TEXT_MAX_BYTES && text.chars().all(is_shown)) {
        Some(text) => {
            let head = format!("{size} bytes");
            std::iter::once(head)
                .chain(text.lines().map(str::to_owned))
                .collect()
        }
        None => vec![format!("{size} bytes, sha256 {}", sha256(bytes))],
    }
}
