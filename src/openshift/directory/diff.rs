//! Edits for people: unified diffs, of Ignition configs as indented JSON with contents shortened.
//!
//! Contents are named by their length and hash and never shown: some are keys and passwords.

use serde_json::Value;
use similar::TextDiff;

use super::plan::Edit;
use super::sha256;

/// Characters of a hash that tell contents apart for people.
const HASH_CHARS: usize = 12;

/// One edit.
pub(super) fn unified(edit: &Edit) -> String {
    let new = format!("b/{}", edit.path);
    let old = match edit.before {
        Some(_) => format!("a/{}", edit.path),
        None => "/dev/null".to_owned(),
    };
    let before = edit.before.as_deref().unwrap_or_default();
    let before = shown(edit, before);
    let after = shown(edit, &edit.after);
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    diff.unified_diff().header(&old, &new).to_string()
}

fn shown(edit: &Edit, bytes: &[u8]) -> String {
    if edit.is_secret && !bytes.is_empty() {
        return format!("(a secret of {} bytes)\n", bytes.len());
    }
    if edit.path.ends_with(".ign")
        && let Ok(mut value) = serde_json::from_slice::<Value>(bytes)
    {
        shorten(&mut value);
        let text = serde_json::to_string_pretty(&value).expect("values can be written as JSON");
        return text + "\n";
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn shorten(value: &mut Value) {
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
            for (key, value) in map {
                match key.as_str() {
                    "passwordHash" => *value = "…".into(),
                    _ => shorten(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(shorten),
        _ => {}
    }
}
