//! Up from version to version.

use serde_json::{Value, json};

use super::super::convert::raise;
use super::super::{Version, parse, validate};
use super::ignition;

fn of(version: Version, body: Value) -> Value {
    let mut config = json!({"ignition": {"version": version.to_string()}});
    for (name, value) in body.as_object().expect("an object") {
        if name == "ignition" {
            for (name, value) in value.as_object().expect("an object") {
                config["ignition"][name] = value.clone();
            }
        } else {
            config[name] = value.clone();
        }
    }
    config
}

/// Things that came with a version, and where they are.
fn news() -> Vec<(Version, &'static str, Value)> {
    let file =
        |contents: Value| json!({"storage": {"files": [{"path": "/a", "contents": contents}]}});
    let luks = |rest: Value| {
        let mut luks = json!({"name": "l", "device": "/dev/a"});
        for (name, value) in rest.as_object().expect("an object") {
            luks[name] = value.clone();
        }
        json!({"storage": {"luks": [luks]}})
    };
    let zeros = format!("sha256-{}", "0".repeat(64));
    vec![
        (
            Version::V3_1,
            "$.storage.files.0.contents.verification.hash",
            file(json!({"source": "data:,", "verification": {"hash": zeros}})),
        ),
        (
            Version::V3_1,
            "$.storage.files.0.contents.httpHeaders",
            file(json!({"source": "http://a", "httpHeaders": [{"name": "a", "value": "b"}]})),
        ),
        (
            Version::V3_1,
            "$.ignition.config.merge.0.compression",
            json!({"ignition": {"config": {"merge": [{"source": "data:,", "compression": "gzip"}]}}}),
        ),
        (
            Version::V3_1,
            "$.ignition.proxy",
            json!({"ignition": {"proxy": {"httpProxy": "http://a"}}}),
        ),
        (
            Version::V3_1,
            "$.storage.filesystems.0.mountOptions",
            json!({"storage": {"filesystems": [{"device": "/dev/a", "format": "xfs", "mountOptions": ["a"]}]}}),
        ),
        (Version::V3_2, "$.storage.luks", luks(json!({}))),
        (
            Version::V3_2,
            "$.storage.files.0.contents.source",
            file(json!({"source": "gs://a/b"})),
        ),
        (
            Version::V3_2,
            "$.storage.disks.0.partitions.0.resize",
            json!({"storage": {"disks": [{"device": "/dev/a", "partitions": [{"number": 1, "resize": true}]}]}}),
        ),
        (
            Version::V3_2,
            "$.passwd.users.0.shouldExist",
            json!({"passwd": {"users": [{"name": "a", "shouldExist": false}]}}),
        ),
        (
            Version::V3_3,
            "$.kernelArguments",
            json!({"kernelArguments": {"shouldExist": ["a"]}}),
        ),
        (
            Version::V3_3,
            "$.storage.filesystems.0.format",
            json!({"storage": {"filesystems": [{"device": "/dev/a", "format": "none"}]}}),
        ),
        (
            Version::V3_4,
            "$.storage.luks.0.discard",
            luks(json!({"discard": true})),
        ),
        (
            Version::V3_4,
            "$.storage.luks.0.openOptions",
            luks(json!({"openOptions": ["a"]})),
        ),
        (
            Version::V3_4,
            "$.storage.files.0.contents.source",
            file(json!({"source": "arn:aws:s3:::b/c"})),
        ),
        (
            Version::V3_4,
            "$.storage.luks.0.clevis.tang.0.advertisement",
            luks(
                json!({"clevis": {"tang": [{"url": "http://a", "thumbprint": "b", "advertisement": "{}"}]}}),
            ),
        ),
        (
            Version::of_minor(5),
            "$.storage.luks.0.cex",
            luks(json!({"cex": {"enabled": true}})),
        ),
        (
            Version::V3_6,
            "$.storage.files.0.mode",
            json!({"storage": {"files": [{"path": "/a", "mode": 0o4755}]}}),
        ),
        (
            Version::V3_6,
            "$.storage.directories.0.mode",
            json!({"storage": {"directories": [{"path": "/a", "mode": 0o1777}]}}),
        ),
    ]
}

fn versions() -> impl Iterator<Item = Version> {
    (0..=Version::NEWEST.minor()).map(Version::of_minor)
}

/// The packaged Ignition warns of keys that a version doesn't have, and refuses its values.
#[test]
fn ignition_agrees_on_when_things_came() {
    if !ignition::have() {
        return;
    }
    for (since, path, body) in news() {
        for version in versions().take_while(|version| *version <= Version::V3_3) {
            let verdict = ignition::validate(&of(version, body.clone()).to_string());
            let silent = verdict.accepted && verdict.text.is_empty();
            assert_eq!(
                silent,
                version >= since,
                "{path} in {version}: {}",
                verdict.text
            );
        }
    }
}

#[test]
fn ignored_keys_are_dropped_on_the_way_up() {
    for (since, path, body) in news() {
        for version in versions().take_while(|version| *version < since) {
            let config = of(version, body.clone());
            let Ok(config) = parse(config.to_string().as_bytes()) else {
                continue;
            };
            assert_ne!(config.warnings, [], "{path} in {version}");
            let raised = raise(&config.value, Version::NEWEST).unwrap();
            let masked = path.ends_with("mode");
            assert_eq!(raised.dropped.is_empty(), masked, "{path} in {version}");
            assert_eq!(
                validate(&raised.value).unwrap().findings,
                [],
                "{}",
                raised.value
            );
        }
    }
}

#[test]
fn special_bits_are_masked_only_where_they_begin_to_count() {
    let config = of(
        Version::V3_2,
        json!({"storage": {"files": [{"path": "/a", "mode": 0o4755}]}}),
    );
    let mode = |to| raise(&config, to).unwrap().value["storage"]["files"][0]["mode"].clone();
    assert_eq!(mode(Version::of_minor(5)), 0o4755);
    assert_eq!(mode(Version::V3_6), 0o755);
}

#[test]
fn texts_that_were_no_option_are_said() {
    let config = of(
        Version::V3_2,
        json!({"storage": {"links": [{"path": "/a"}, {"path": "/b", "target": "/c"}]}}),
    );
    let raised = raise(&config, Version::V3_3).unwrap().value;
    let links = json!([{"path": "/a", "target": ""}, {"path": "/b", "target": "/c"}]);
    assert_eq!(raised["storage"]["links"], links);
    let kept = raise(&config, Version::V3_2).unwrap().value;
    assert_eq!(kept, config);
}
