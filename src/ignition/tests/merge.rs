//! Merging: what Ignition makes of a parent and a child, and what we make of them.

use serde_json::{Value, json};

use super::super::convert::raise;
use super::super::{Version, data_url, merge, parse, validate};
use super::ignition;

/// A parent and a child, of the table.
fn pairs() -> Vec<(Value, Value)> {
    let lines = include_str!("pairs.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (parent, child) = line.split_once(" <- ").expect("two configs");
            (config(parent), config(child))
        })
        .collect()
}

fn config(text: &str) -> Value {
    let (version, body) = text.split_once(' ').expect("a version");
    let mut value: Value = serde_json::from_str(body).expect("JSON");
    value["ignition"]["version"] = version.into();
    parse(value.to_string().as_bytes()).expect("a valid config");
    value
}

/// The parent with the child named in it, as Ignition wants it.
pub(super) fn wrapped(parent: &Value, child: &Value) -> Value {
    let mut parent = parent.clone();
    // Spec 3.0.0 has no compression for configs.
    let source = data_url::encode(child.to_string().as_bytes());
    parent["ignition"]["config"] = json!({"merge": [{"source": source}]});
    parent
}

/// What two configs mean, without what says nothing: in the newest version, without unknown keys,
/// references to other configs, nulls and empty lists and objects.
pub(super) fn meaning(config: &Value) -> Value {
    let mut config = raise(config, Version::NEWEST).expect("a version").value;
    let ignition = config["ignition"].as_object_mut().expect("an object");
    ignition.remove("version");
    ignition.remove("config");
    without_nothing(&config).unwrap_or(Value::Null)
}

fn without_nothing(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(entries) if entries.is_empty() => None,
        Value::Array(entries) => Some(
            entries
                .iter()
                .map(|entry| without_nothing(entry).unwrap_or(Value::Null))
                .collect(),
        ),
        Value::Object(map) => {
            let mut kept = serde_json::Map::new();
            for (name, value) in map {
                let implied = name == "odd" || (name == "number" && value == 0);
                if let Some(value) = without_nothing(value).filter(|_| !implied) {
                    kept.insert(name.clone(), value);
                }
            }
            kept.sort_keys();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        value => Some(value.clone()),
    }
}

/// The packaged Ignition merges in a version that it calls experimental.
pub(super) fn released(mut fetched: Value) -> Value {
    assert_eq!(fetched["ignition"]["version"], "3.4.0-experimental");
    fetched["ignition"]["version"] = "3.4.0".into();
    fetched
}

/// Says where we and Ignition differ about a pair.
pub(super) fn difference(parent: &Value, child: &Value) -> Option<String> {
    let ours = merge(parent, child).expect("two valid configs").value;
    match ignition::fetch(&wrapped(parent, child).to_string()) {
        Ok(theirs) => {
            let (ours, theirs) = (meaning(&ours), meaning(&released(theirs)));
            (ours != theirs)
                .then(|| format!("{parent}\n{child}\n  ours   {ours}\n  theirs {theirs}"))
        }
        Err(log) if log.contains("resulted in an invalid config") => {
            let newest = raise(&ours, Version::NEWEST).expect("a version").value;
            let fatal = validate(&newest).expect("a version").is_fatal();
            (!fatal).then(|| format!("{parent}\n{child}\n  only Ignition says invalid: {ours}"))
        }
        Err(log) => Some(format!("{parent}\n{child}\n{log}")),
    }
}

#[test]
fn pairs_become_what_ignition_makes_of_them() {
    let pairs = pairs();
    println!("{} pairs", pairs.len());
    assert!(pairs.len() >= 40);
    if !ignition::have() {
        return;
    }
    let wrong: Vec<String> = pairs
        .iter()
        .filter_map(|(parent, child)| difference(parent, child))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unknown_keys_stay_and_the_childs_win() {
    let parent =
        config(r#"3.2.0 {"odd":{"a":1},"more":1,"storage":{"files":[{"path":"/a","odd":1}]}}"#);
    let child = config(r#"3.2.0 {"odd":{"b":1},"storage":{"files":[{"path":"/a","even":2}]}}"#);
    let merged = merge(&parent, &child).unwrap().value;
    assert_eq!(merged["odd"], json!({"b": 1}));
    assert_eq!(merged["more"], 1);
    assert_eq!(
        merged["storage"]["files"][0],
        json!({"path": "/a", "odd": 1, "even": 2})
    );
    let names: Vec<&String> = merged.as_object().unwrap().keys().collect();
    assert_eq!(names, ["odd", "more", "storage", "ignition"]);
}

#[test]
fn leftovers_of_a_replaced_source_are_noted() {
    let parent = config(
        r#"3.2.0 {"storage":{"files":[{"path":"/z"},{"path":"/a","contents":{"source":"data:,x","compression":"gzip"}}]}}"#,
    );
    let notes = |child: &str| merge(&parent, &config(child)).unwrap().notes;
    let silent = notes(
        r#"3.2.0 {"storage":{"files":[{"path":"/a","contents":{"source":"data:,y","compression":""}}]}}"#,
    );
    assert_eq!(silent, []);
    let told =
        notes(r#"3.2.0 {"storage":{"files":[{"path":"/a","contents":{"source":"data:,y"}}]}}"#);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].path, "$.storage.files.0.contents.compression");
}

#[test]
fn keys_that_were_ignored_do_not_come_alive() {
    let parent = config(r#"3.2.0 {"kernelArguments":{"shouldExist":["a"]}}"#);
    let merged = merge(&parent, &config("3.3.0 {}")).unwrap();
    assert_eq!(merged.version, Version::V3_3);
    assert_eq!(merged.value.get("kernelArguments"), None);
    assert_eq!(merged.notes.len(), 1);
    let merged = merge(&parent, &config("3.2.0 {}")).unwrap();
    assert_eq!(merged.value, parent);
}
