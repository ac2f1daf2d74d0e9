//! Configs inside of configs, against what Ignition makes of them, and what is ignored without it.

use serde_json::{Value, json};

use super::super::flatten::FlattenError;
use super::super::flatten::NESTING_MAX;
use super::super::resource::HashFunction;
use super::super::{Error, Version, data_url, flatten, ignored_once_from, parse, resource};
use super::ignition;
use super::merge::{meaning, released};

fn config(version: &str, references: Value, path: &str, mode: u32) -> Value {
    let mut config = json!({
        "ignition": {"version": version, "config": references},
        "storage": {"files": [{"path": path, "mode": mode}, {"path": "/all", "mode": mode}]},
    });
    if config["ignition"]["config"].is_null() {
        config["ignition"].as_object_mut().unwrap().remove("config");
    }
    parse(config.to_string().as_bytes()).expect("a valid config");
    config
}

fn carried(config: &Value) -> Value {
    resource(config.to_string().as_bytes(), Some(HashFunction::Sha512))
}

fn leaf(path: &str, mode: u32) -> Value {
    config("3.2.0", Value::Null, path, mode)
}

/// Configs inside of configs, and the mode that the file has which is in all of them.
fn nests() -> Vec<(Value, i64)> {
    let one = json!({"merge": [carried(&leaf("/b", 2))]});
    let two = json!({"merge": [carried(&leaf("/b", 2)), carried(&leaf("/c", 3))]});
    let middle = config("3.3.0", two.clone(), "/m", 4);
    let deep = json!({"merge": [carried(&middle), carried(&leaf("/d", 5))]});
    let last = json!({"merge": [carried(&leaf("/d", 5)), carried(&middle)]});
    let instead = json!({"replace": carried(&leaf("/r", 6)), "merge": [carried(&leaf("/b", 2))]});
    let ignored = json!({"merge": [{
        "source": data_url::encode(leaf("/b", 2).to_string().as_bytes()),
        "compression": "gzip",
    }]});
    let inner = config("3.1.0", instead.clone(), "/i", 7);
    vec![
        (leaf("/a", 1), 1),
        (config("3.0.0", ignored, "/a", 1), 2),
        (config("3.2.0", one, "/a", 1), 2),
        (config("3.2.0", two, "/a", 1), 3),
        (config("3.1.0", deep, "/a", 1), 5),
        (config("3.1.0", last, "/a", 1), 3),
        (config("3.2.0", instead, "/a", 1), 6),
        (
            config("3.2.0", json!({"merge": [carried(&inner)]}), "/a", 1),
            6,
        ),
        (
            config("3.2.0", json!({"replace": carried(&middle)}), "/a", 1),
            3,
        ),
    ]
}

#[test]
fn nests_become_what_ignition_makes_of_them() {
    for (config, mode) in nests() {
        let flat = flatten(&config).unwrap();
        assert!(
            flat.value["ignition"].get("config").is_none(),
            "{}",
            flat.value
        );
        parse(flat.value.to_string().as_bytes()).expect("a valid config");
        let files = flat.value["storage"]["files"].as_array().unwrap();
        let all = files.iter().find(|file| file["path"] == "/all").unwrap();
        assert_eq!(all["mode"], mode);
        if ignition::have() {
            let fetched = released(ignition::fetch(&config.to_string()).unwrap());
            assert_eq!(meaning(&flat.value), meaning(&fetched), "{config}");
        }
    }
}

#[test]
fn the_newest_version_wins() {
    let child = config("3.3.0", Value::Null, "/b", 2);
    let parent = config("3.1.0", json!({"merge": [carried(&child)]}), "/a", 1);
    let flat = flatten(&parent).unwrap();
    assert_eq!(flat.version, Version::V3_3);
    assert_eq!(flat.value["ignition"]["version"], "3.3.0");
    assert_eq!(flat.notes, []);

    let mut odd = parent;
    odd["kernelArguments"] = json!({"shouldExist": ["ignored in 3.1.0"]});
    let flat = flatten(&odd).unwrap();
    assert_eq!(flat.value.get("kernelArguments"), None);
    assert_eq!(flat.notes[0].path, "$.kernelArguments");
    let outer = config("3.3.0", json!({"merge": [carried(&odd)]}), "/o", 1);
    let paths: Vec<String> = flatten(&outer)
        .unwrap()
        .notes
        .into_iter()
        .map(|n| n.path)
        .collect();
    // Once as unused, once as left out.
    assert_eq!(paths, ["$.ignition.config.merge.0.kernelArguments"; 2]);
}

#[test]
fn what_is_fetched_stays() {
    let remote = json!({"source": "https://a/b"});
    let list = json!([remote, carried(&leaf("/b", 2)), {"source": "https://c/d"}]);
    let flat = flatten(&config("3.2.0", json!({"merge": list}), "/a", 1)).unwrap();
    let left = json!([{"source": "https://a/b"}, {"source": "https://c/d"}]);
    assert_eq!(flat.value["ignition"]["config"], json!({"merge": left}));
    assert_eq!(flat.notes.len(), 1);
    assert_eq!(flat.notes[0].path, "$.ignition.config.merge.1");

    // A carried config that is only a pointer can't be inlined: it would replace all of the parent.
    let pointer = config("3.2.0", json!({"replace": remote}), "/p", 2);
    let parent = config("3.2.0", json!({"merge": [carried(&pointer)]}), "/a", 1);
    assert_eq!(flatten(&parent).unwrap().value, parent);
    let only = config("3.2.0", json!({"replace": remote}), "/a", 1);
    assert_eq!(flatten(&only).unwrap().value, only);
}

#[test]
fn bad_children_are_named() {
    let path = "$.ignition.config.merge.0";
    let with = |child: Value| flatten(&config("3.2.0", json!({"merge": [child]}), "/a", 1));
    match with(json!({"source": "data:,nope"})).unwrap_err() {
        FlattenError::Child {
            path: at,
            cause: Error::NotJson(_),
        } => assert_eq!(at, path),
        error => panic!("{error}"),
    }
    let mut wrong = carried(&leaf("/b", 2));
    wrong["source"] = carried(&leaf("/b", 3))["source"].clone();
    wrong["compression"] = carried(&leaf("/b", 3))["compression"].clone();
    match with(wrong).unwrap_err() {
        FlattenError::Content { path: at, .. } => assert_eq!(at, path),
        error => panic!("{error}"),
    }
    let mut deep = leaf("/b", 2);
    for _ in 0..=NESTING_MAX {
        deep = config("3.2.0", json!({"merge": [carried(&deep)]}), "/a", 1);
    }
    assert!(matches!(flatten(&deep), Err(FlattenError::Nesting { .. })));
}

#[test]
fn warnings_of_children_say_whose_they_are() {
    let mut child = leaf("/b", 2);
    child["odd"] = 1.into();
    let flat = flatten(&config(
        "3.2.0",
        json!({"merge": [carried(&child)]}),
        "/a",
        1,
    ))
    .unwrap();
    let paths: Vec<&str> = flat.notes.iter().map(|note| note.path.as_str()).collect();
    assert_eq!(paths, ["$.ignition.config.merge.0.odd"]);

    let mut zipped = leaf("/b", 2);
    zipped["storage"]["files"][1]["contents"] = resource(&[b'a'; 999], None);
    let mut stale = leaf("/c", 3);
    stale["storage"]["files"][1]["contents"] = json!({"source": "data:,x"});
    let both = json!({"merge": [carried(&zipped), carried(&stale)]});
    let flat = flatten(&config("3.2.0", both, "/a", 1)).unwrap();
    let paths: Vec<&str> = flat.notes.iter().map(|note| note.path.as_str()).collect();
    let path = "$.ignition.config.merge.1.storage.files.1.contents.compression";
    assert_eq!(paths, [path]);
}

#[test]
fn only_files_and_units_are_applied_without_ignition() {
    let config = json!({
        "ignition": {"version": "3.3.0", "config": {"merge": [{"source": "https://a"}]},
            "timeouts": {"httpTotal": 3}, "proxy": {}},
        "kernelArguments": {"shouldExist": ["quiet"], "shouldNotExist": []},
        "passwd": {"users": [{"name": "core"}], "groups": null},
        "storage": {
            "directories": [{"path": "/d"}],
            "files": [
                {"path": "/a", "contents": {"source": "data:,x"}},
                {"path": "/b", "append": [{"source": "data:,x"}]},
                {"path": "/c", "contents": {"source": "https://a"}, "append": []},
            ],
            "links": [{"path": "/l", "target": "/a"}],
        },
        "systemd": {"units": [{"name": "a.service"}]},
    });
    let ignored: Vec<String> = ignored_once_from(&config)
        .iter()
        .map(|ignored| ignored.to_string())
        .collect();
    assert_eq!(
        ignored,
        [
            "$.ignition.config.merge.0 https://a",
            "$.ignition.timeouts.httpTotal ",
            "$.kernelArguments.shouldExist.0 quiet",
            "$.passwd.users.0 core",
            "$.storage.directories.0 /d",
            "$.storage.files.1.append /b",
            "$.storage.files.2.contents /c",
            "$.storage.links.0 /l",
        ]
    );
}
