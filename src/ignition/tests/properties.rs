//! What holds for any config, and random configs before Ignition.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use super::super::convert::raise;
use super::super::{
    Version, content, data_url, flatten, ignored_once_from, merge, parse, resource, url, validate,
};
use super::{ignition, merge as pairs};

/// An object without the members that are null.
fn object(members: Vec<(&str, Value)>) -> Value {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(
        members
            .map(|(name, value)| (name.to_string(), value))
            .collect(),
    )
}

fn maybe(values: Vec<Value>) -> impl Strategy<Value = Value> + Clone {
    let nothing = vec![Value::Null; values.len()];
    select([values, nothing].concat())
}

/// Some of those names, each with members of its own.
fn entries(
    key: &'static str,
    names: Vec<&'static str>,
    members: impl Strategy<Value = Value> + Clone + 'static,
) -> impl Strategy<Value = Value> {
    let count = names.len();
    (
        subsequence(names, 0..=count).prop_shuffle(),
        prop::collection::vec(members, count),
    )
        .prop_map(move |(names, members)| {
            let named = names.into_iter().zip(members);
            named
                .map(|(name, mut member)| {
                    member[key] = name.into();
                    member
                })
                .collect()
        })
}

fn source() -> impl Strategy<Value = Value> {
    let source = maybe(vec!["data:,x".into(), "data:,y".into()]);
    (source, maybe(vec!["".into(), "gzip".into()])).prop_map(|(source, compression)| {
        object(vec![("source", source), ("compression", compression)])
    })
}

/// A few paths, each a file, a directory, a link or nothing.
fn nodes() -> impl Strategy<Value = Value> {
    let mode = maybe(vec![0.into(), 420.into(), 493.into()]);
    let uid = maybe(vec![0.into(), 7.into()]);
    let node = (0..4u8, mode, uid, source(), any::<bool>());
    prop::collection::vec(node, 5).prop_map(|nodes| {
        let (mut files, mut directories, mut links) = (vec![], vec![], vec![]);
        for (index, (kind, mode, uid, contents, flag)) in nodes.into_iter().enumerate() {
            let path = json!(format!("/{index}"));
            let user = json!({"id": uid});
            match kind {
                0 => directories.push(object(vec![("path", path), ("mode", mode), ("user", user)])),
                1 => links.push(json!({"path": path, "target": "/t", "hard": flag})),
                2 => files.push(object(vec![
                    ("path", path),
                    ("mode", mode),
                    ("contents", contents.clone()),
                    ("append", if flag { json!([contents]) } else { Value::Null }),
                ])),
                _ => {}
            }
        }
        json!({"files": files, "directories": directories, "links": links})
    })
}

fn units() -> impl Strategy<Value = Value> {
    let contents = maybe(vec!["".into(), "[A]\nB=c".into()]);
    let flag = || maybe(vec![true.into(), false.into()]);
    let dropin = contents
        .clone()
        .prop_map(|contents| object(vec![("contents", contents)]));
    let dropins = entries("name", vec!["a.conf", "b.conf", "c.conf"], dropin.boxed());
    let unit =
        (contents, flag(), flag(), dropins).prop_map(|(contents, enabled, mask, dropins)| {
            object(vec![
                ("contents", contents),
                ("enabled", enabled),
                ("mask", mask),
                ("dropins", dropins),
            ])
        });
    entries(
        "name",
        vec!["a.service", "b.service", "c.mount"],
        unit.boxed(),
    )
}

fn users() -> impl Strategy<Value = Value> {
    let keys = subsequence(vec!["a", "b", "c", "d"], 0..=4).prop_shuffle();
    let user = (keys, maybe(vec![1.into(), 2.into()]))
        .prop_map(|(keys, uid)| object(vec![("sshAuthorizedKeys", json!(keys)), ("uid", uid)]));
    entries("name", vec!["core", "admin"], user.boxed())
}

fn kernel_arguments() -> impl Strategy<Value = Value> {
    let names = vec!["a", "b", "c", "d", "e"];
    let both = (
        subsequence(names.clone(), 0..=5).prop_shuffle(),
        subsequence(names, 0..=5),
    );
    both.prop_map(|(there, gone)| {
        let gone: Vec<_> = gone
            .into_iter()
            .filter(|name| !there.contains(name))
            .collect();
        json!({"shouldExist": there, "shouldNotExist": gone})
    })
}

fn partitions() -> impl Strategy<Value = Value> {
    let size = maybe(vec![0.into(), 4.into()]);
    let by_label = entries(
        "label",
        vec!["x", "y", "z"],
        size.prop_map(|size| object(vec![("sizeMiB", size)]))
            .boxed(),
    );
    by_label.prop_map(|partitions| json!([{"device": "/dev/a", "partitions": partitions}]))
}

/// A valid config of a spec that the packaged Ignition knows.
fn config() -> impl Strategy<Value = Value> {
    let parts = (nodes(), units(), users(), kernel_arguments(), partitions());
    (0..4u8, parts).prop_map(|(minor, (mut storage, units, users, arguments, disks))| {
        storage["disks"] = disks;
        json!({
            "ignition": {"version": Version::of_minor(minor).to_string()},
            "storage": storage,
            "systemd": {"units": units},
            "passwd": {"users": users},
            "kernelArguments": arguments,
        })
    })
}

/// JSON that is made of the names and values of configs, but of no config's shape.
fn jumble() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 22] = [
        "ignition",
        "version",
        "config",
        "merge",
        "replace",
        "source",
        "compression",
        "verification",
        "hash",
        "storage",
        "files",
        "links",
        "path",
        "target",
        "mode",
        "contents",
        "systemd",
        "units",
        "name",
        "dropins",
        "kernelArguments",
        "shouldExist",
    ];
    let texts = vec![
        "3.2.0",
        "3.6.0",
        "data:,x",
        "data:;base64,%",
        "http://[",
        "/a",
        "",
        "sha256-",
        "gzip",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(texts).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 4, |inner| {
        let members = prop::collection::vec((select(NAMES.to_vec()), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| {
                let named = members
                    .into_iter()
                    .map(|(name, value)| (name.to_string(), value));
                Value::Object(named.collect::<Map<_, _>>())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_pairs_become_what_ignition_makes_of_them(parent in config(), child in config()) {
        if ignition::have() {
            prop_assert_eq!(pairs::difference(&parent, &child), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn merging_nothing_changes_nothing(config in config()) {
        prop_assert!(parse(config.to_string().as_bytes()).is_ok(), "{}", config);
        let nothing = json!({"ignition": {"version": "3.0.0"}});
        let merged = merge(&config, &nothing).unwrap();
        prop_assert_eq!(merged.value.to_string(), config.to_string());
        prop_assert_eq!(merged.notes, vec![]);
    }

    #[test]
    fn merging_twice_is_merging_once(parent in config(), mut child in config()) {
        // What is appended is appended again.
        for file in child["storage"]["files"].as_array_mut().unwrap() {
            file.as_object_mut().unwrap().remove("append");
        }
        let once = merge(&parent, &child).unwrap().value;
        prop_assert_eq!(&merge(&once, &child).unwrap().value, &once);
    }

    #[test]
    fn nothing_panics(any in jumble(), other in jumble()) {
        let _ = parse(any.to_string().as_bytes());
        let with_version = |mut value: Value| {
            if let Some(map) = value.as_object_mut() {
                map.insert("ignition".to_string(), json!({"version": "3.2.0", "config": other.clone()}));
            }
            value
        };
        let (any, other) = (with_version(any), with_version(other.clone()));
        let _ = validate(&any);
        let _ = merge(&any, &other);
        let _ = flatten(&any);
        let _ = ignored_once_from(&any);
        for version in [Version::V3_0, Version::V3_2, Version::V3_6] {
            let _ = raise(&any, version);
        }
    }

    #[test]
    fn contents_survive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let resource = resource(&bytes, None);
        prop_assert_eq!(content(&resource, 200).unwrap(), Some(bytes));
    }

    #[test]
    fn no_url_panics(text in ".{0,40}") {
        let _ = url::parse(&text);
        let _ = url::parse(&format!("http://{text}"));
        let _ = data_url::decode(&text);
        let _ = data_url::decode(&format!("data:{text}"));
    }
}

/// Texts made of pieces, each the source of a file: one config holds many.
fn sources() -> impl Strategy<Value = Vec<String>> {
    let schemes = vec![
        "data:", "data:", "data:", "http:", "http://", "s3://", "", "tftp:", "x",
    ];
    let pieces = vec![
        ",",
        ";",
        "base64",
        "=",
        "/",
        "//",
        "text",
        "plain",
        "x-a",
        "charset",
        "\"",
        "\\",
        "%41",
        "%",
        "%25",
        "%c3",
        "a",
        "A",
        "AAAA",
        "+",
        "@",
        ":",
        ":80",
        "[",
        "]",
        "[::1]",
        "[::1%25",
        "%20",
        "?",
        "&",
        "#",
        " ",
        "\u{7f}",
        "\n",
        "ä",
        "<",
        "{",
        "|",
        "~",
        "versionId",
        "!",
        "*",
        "'",
        "(",
        ".",
    ];
    let text = (select(schemes), prop::collection::vec(select(pieces), 0..7));
    let text = text.prop_map(|(scheme, pieces)| format!("{scheme}{}", pieces.concat()));
    prop::collection::vec(text, 400)
}

/// The indexes of the entries that have errors.
fn bad(paths: impl IntoIterator<Item = String>) -> BTreeSet<usize> {
    let indexes = paths
        .into_iter()
        .filter_map(|path| path.split('.').nth(3)?.parse().ok());
    indexes.collect()
}

fn agree(config: &Value, texts: &[String]) -> Result<(), TestCaseError> {
    let theirs = ignition::validate(&config.to_string());
    let report = validate(config).expect("a version");
    let theirs = bad(theirs.errors);
    let ours = bad(report.errors().map(|error| error.path.clone()));
    let different: Vec<&String> = ours
        .symmetric_difference(&theirs)
        .map(|index| &texts[*index])
        .collect();
    prop_assert!(different.is_empty(), "verdicts differ on {:?}", different);
    prop_assert!(!ours.is_empty() && ours.len() < texts.len());
    Ok(())
}

/// Unit files made of pieces.
fn unit_files() -> impl Strategy<Value = Vec<String>> {
    let pieces = vec![
        "[",
        "]",
        "[A]",
        "[Install]",
        "\n",
        "\n",
        "\r",
        "B=c",
        "=",
        "#",
        ";",
        "\\",
        "\\\n",
        " ",
        "\t",
        "d",
        "ä",
        "\\ ",
    ];
    let text = prop::collection::vec(select(pieces), 0..10).prop_map(|pieces| pieces.concat());
    prop::collection::vec(text, 400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn random_sources_are_judged_like_by_ignition(texts in sources()) {
        if ignition::have() {
            let file = |(index, source)| json!({"path": format!("/{index}"), "contents": {"source": source}});
            let files: Vec<Value> = texts.iter().enumerate().map(file).collect();
            let config = json!({"ignition": {"version": "3.3.0"}, "storage": {"files": files}});
            agree(&config, &texts)?;
        }
    }

    #[test]
    fn random_units_are_judged_like_by_ignition(texts in unit_files()) {
        if ignition::have() {
            let unit = |(index, contents)| json!({"name": format!("{index}.service"), "contents": contents});
            let units: Vec<Value> = texts.iter().enumerate().map(unit).collect();
            let config = json!({"ignition": {"version": "3.3.0"}, "systemd": {"units": units}});
            agree(&config, &texts)?;
        }
    }
}
