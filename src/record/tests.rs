//! Records as `bake` writes them, and each way in which one is none.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{MAX_BYTES, NAME, Record};
use crate::failure::Failure;

/// What `docs/bake.schema.json` has to be.
const SCHEMA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bake.schema.json");

/// A record, to be changed.
pub(crate) fn sample() -> Value {
    serde_json::from_str(include_str!("../../testdata/bake.json")).unwrap()
}

/// The sample with other files.
pub(crate) fn sample_of(files: Value) -> Value {
    let mut record = sample();
    record["files"] = files;
    record
}

fn read(text: impl AsRef<[u8]>) -> Result<Record, String> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(NAME), text).unwrap();
    let place = format!("{}/", directory.path().display());
    Record::read(directory.path()).map_err(|error| format!("{error:#}").replace(&place, ""))
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut value = sample();
    change(&mut value);
    read(value.to_string()).unwrap_err()
}

#[test]
fn a_record_is_written_as_it_was_read() {
    let mut value = sample();
    let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
    assert_eq!(read(&text).unwrap().text().unwrap(), text);
    // Keys of a later version stay, wherever they are.
    for pointer in [
        "",
        "/tool",
        "/image",
        "/image/layers/0",
        "/os",
        "/ostree",
        "/drivers/0",
        "/stages/0",
        "/options",
        "/files/0",
    ] {
        let place = value.pointer_mut(pointer).unwrap();
        place["x-later"] = json!({ "a": [1, null, "b"] });
    }
    let record = read(value.to_string()).unwrap();
    assert_eq!(serde_json::to_value(record).unwrap(), value);
}

/// Whether the value at that path is a verdict or evidence for one.
fn is_verdict(path: &str) -> bool {
    ["drivers[", "mounts["]
        .iter()
        .any(|list| path.starts_with(list))
}

/// Each key of the sample, taken away and renamed: that is said, by its path.
#[test]
fn a_missing_key_is_named() {
    fn keys(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
        if let Value::Object(map) = value {
            for (key, inner) in map {
                let shown = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                found.push((path.to_owned(), key.clone()));
                // The evidence for a verdict is its own matter.
                if !is_verdict(path) {
                    keys(inner, &shown, found);
                }
            }
        }
        if let Value::Array(items) = value
            && let Some(first) = items.first()
        {
            keys(first, &format!("{path}[0]"), found);
        }
    }
    let optional = ["media", "why", "how"];
    let (mut found, mut tried) = (Vec::new(), 0);
    keys(&sample(), "", &mut found);
    for (path, key) in found {
        let is_evidence = is_verdict(&path) && !["driver", "stage", "status"].contains(&&*key);
        if optional.contains(&&*key) || is_evidence || key == "schema" {
            continue;
        }
        let pointer = match path.as_str() {
            "" => String::new(),
            path => format!("/{}", path.replace(['.', '['], "/").replace(']', "")),
        };
        let said = refusal(|value| {
            let object = value.pointer_mut(&pointer).unwrap();
            let gone = object.as_object_mut().unwrap().remove(&key).unwrap();
            object[format!("{key}-now")] = gone;
        });
        let named = match path.as_str() {
            "" => format!("{NAME}: {key} is missing"),
            path => format!("{NAME}: {path}.{key} is missing"),
        };
        assert_eq!(said, named);
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn values_that_can_not_be_are_named() {
    type Change = fn(&mut Value);
    let cases: &[(Change, &str)] = &[
        (
            |r| r["files"][2]["size"] = json!("9"),
            "files[2].size: invalid type: string",
        ),
        (
            |r| r["files"][2]["size"] = json!(-1),
            "files[2].size: invalid value",
        ),
        (|r| r["files"] = json!({}), "files: invalid type: map"),
        (
            |r| r["drivers"][0]["status"] = json!("fine"),
            "drivers[0].status: unknown variant `fine`",
        ),
        (
            |r| r["stages"][1]["stage"] = json!("day3"),
            "stages[1].stage: unknown variant `day3`",
        ),
        (
            |r| r["options"]["origin"] = json!("quay.io/me/os"),
            "options.origin: reading the image reference",
        ),
        (
            |r| r["files"][1]["sha256"] = json!("AA"),
            "files[1].sha256 \"AA\" does not have 64",
        ),
        (
            |r| r["files"][1]["uncompressed-sha256"] = json!(""),
            "files[1].uncompressed-sha256 \"\" does not have 64",
        ),
        (
            |r| r["image"]["manifest-digest"] = json!("sha256:0"),
            "image.manifest-digest: ",
        ),
        (
            |r| r["image"]["layers"][0]["diff-id"] = json!("x"),
            "image.layers[0].diff-id: ",
        ),
        (
            |r| r["files"][1]["name"] = r["files"][0]["name"].clone(),
            "files[1].name \"rhcos-9.6.20250826-1-live-iso.x86_64.iso\" is there twice",
        ),
        (
            |r| r["files"] = vec![r["files"][0].clone(); 65].into(),
            "files has 65 entries, and 64 are the most",
        ),
        (
            |r| r["image"]["layers"] = vec![r["image"]["layers"][0].clone(); 4097].into(),
            "image.layers has 4097 entries",
        ),
        (
            |r| r["stages"] = vec![r["stages"][0].clone(); 8].into(),
            "stages has 8 entries, and 7 are the most",
        ),
        (
            |r| r["options"]["live-kargs"] = "x".repeat((64 << 10) + 1).into(),
            "options.live-kargs is longer than 65536 bytes",
        ),
    ];
    for (change, said) in cases {
        let refusal = refusal(change);
        assert!(refusal.starts_with(&format!("{NAME}: {said}")), "{refusal}");
    }
    for name in [
        "",
        "..",
        "/etc/passwd",
        "a/b",
        ".hidden",
        "a\u{0}b",
        "a\nb",
        &"a".repeat(256),
    ] {
        let said = refusal(|r| r["files"][0]["name"] = name.into());
        assert!(
            said.contains("is not the name of a file in the directory"),
            "{name:?} {said}"
        );
    }
}

/// Cut off anywhere, or with a byte of another value: at worst an error.
#[test]
fn damaged_records_are_errors() {
    let text = serde_json::to_vec(&sample()).unwrap();
    for at in (0..text.len()).step_by(61) {
        let said = read(&text[..at]).unwrap_err();
        assert!(
            said.contains("is not the record of a bake: "),
            "{at} {said}"
        );
        let mut changed = text.clone();
        changed[at] ^= 0x81;
        // A letter of a text may be another one.
        let _ = read(changed);
    }
}

#[test]
fn what_is_no_record_is_told_from_one_of_another_version() {
    for text in ["", "{", "[]", "\u{0}", "{}", r#"{"schema": 1}"#] {
        let said = read(text).unwrap_err();
        assert!(
            said.starts_with("bake.json is not the record of a bake: "),
            "{text:?} {said}"
        );
    }
    let said = refusal(|r| r["schema"] = json!("coreos-bake/bake/v2"));
    assert_eq!(
        said,
        "bake.json has schema \"coreos-bake/bake/v2\", not \"coreos-bake/bake/v1\""
    );
    let long = vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1];
    let said = read(long).unwrap_err();
    assert!(said.ends_with("it is larger than 16777216 bytes"), "{said}");
}

#[test]
fn a_directory_without_a_record_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display().to_string();
    for path in [place.clone(), format!("{place}/{NAME}")] {
        let said = Record::read(Path::new(&path)).unwrap_err().to_string();
        assert_eq!(
            said,
            format!("{place} is not a bake directory: it has no bake.json")
        );
    }
    let said = Record::read(Path::new("nowhere")).unwrap_err().to_string();
    assert_eq!(said, "there is no bake directory nowhere");
}

/// What people name instead: the image, or a medium out of the directory.
#[test]
fn images_and_media_are_told_from_bake_directories() {
    let refused = |path: &Path| {
        let error = Record::read(path).unwrap_err();
        let hint = error.downcast_ref::<Failure>().unwrap().hint().to_owned();
        (error.to_string(), hint)
    };
    for image in ["oci:os.oci", "oci-archive:os.tar", "docker://q.io/me/os:1"] {
        let (said, hint) = refused(Path::new(image));
        assert!(said.starts_with(&format!("{image} is an image")), "{said}");
        assert!(hint.contains(&format!("bake {image} -o DIR")), "{hint}");
    }
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("os.oci");
    fs::create_dir(&layout).unwrap();
    fs::write(layout.join("oci-layout"), "{}").unwrap();
    let (said, hint) = refused(&layout);
    assert!(said.contains("os.oci is an image"), "{said}");
    assert!(hint.contains("bake oci:"), "{hint}");
    let mut iso = vec![0; 20 * 2048];
    iso[16 * 2048..][..7].copy_from_slice(b"\x01CD001\x01");
    let qcow2 = b"QFI\xfb".to_vec();
    let name = sample()["files"][0]["name"].as_str().unwrap().to_owned();
    for (name, content, what) in [
        ("x.iso", &iso, "an ISO"),
        ("x.qcow2", &qcow2, "a qcow2 disk image"),
        (name.as_str(), &iso, "an ISO"),
        (NAME, &qcow2, "a qcow2 disk image"),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        let (said, hint) = refused(&path);
        assert!(
            said.ends_with(&format!("{name} is {what}, and not a bake directory")),
            "{said}"
        );
        assert!(hint.ends_with("bake -o` wrote"), "{hint}");
    }
    fs::write(directory.path().join(NAME), sample().to_string()).unwrap();
    let (_, hint) = refused(&directory.path().join(&name));
    let place = directory.path().display();
    assert_eq!(hint, format!("give the directory that it is in: {place}"));
    let (_, hint) = refused(&directory.path().join("x.iso"));
    assert!(hint.ends_with("bake -o` wrote"), "{hint}");
}

#[test]
fn nodes_pull_the_image_of_the_origin_or_of_the_registry_that_it_was_read_from() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let pinned = format!("ostree-unverified-registry:quay.io/me/os@{digest}");
    let remote = format!("ostree-remote-registry:fedora:quay.io/me/os@{digest}");
    let local = "ostree-unverified-image:oci:/os.oci";
    let tagged = "ostree-unverified-registry:quay.io/me/os:1";
    for (origin, reference, name) in [
        (pinned.as_str(), "oci:/os.oci", Some("quay.io/me/os")),
        (&remote, "oci:/os.oci", Some("quay.io/me/os")),
        (local, "oci:/os.oci", None),
        (tagged, "oci:/os.oci", None),
        (local, "docker://quay.io/me/os", Some("quay.io/me/os")),
        (
            tagged,
            "docker://quay.io/me/os:latest",
            Some("quay.io/me/os"),
        ),
        (
            local,
            "docker://r.example:5000/os",
            Some("r.example:5000/os"),
        ),
    ] {
        let mut value = sample();
        value["options"]["origin"] = origin.into();
        value["image"]["reference"] = reference.into();
        let record = read(value.to_string()).unwrap();
        let expected = name.map(|name| format!("{name}@{digest}"));
        assert_eq!(record.os_image(), expected, "{origin} {reference}");
    }
}

#[test]
fn drivers_are_known_however_they_are_spelled() {
    let mut value = sample();
    value["drivers"][1]["status"] = json!("missing");
    value["drivers"][4]["status"] = json!("fails");
    let record = read(value.to_string()).unwrap();
    assert_eq!(record.driver_names(), ["megaraid_sas"]);
    let stages: Vec<_> = record
        .missing("megaraid-sas")
        .iter()
        .map(|s| s.name())
        .collect();
    assert_eq!(stages, ["live-root", "bootstrap"]);
    assert!(record.knows("megaraid-sas") && !record.knows("mpt3sas"));
    assert!(record.missing("mpt3sas").is_empty());
}

#[test]
fn titles_are_words_that_scripts_leave_as_they_are() {
    let mut value = sample();
    value["os"]["pretty-name"] = format!("A $B;\n{}", "x".repeat(200)).into();
    let title = read(value.to_string()).unwrap().title();
    assert!(title.starts_with("A B xx"), "{title}");
    assert_eq!(title.chars().count(), 120);
}

/// The schema in `docs/` is that of the type; `UPDATE=1` writes it anew.
#[test]
fn the_schema_is_that_of_the_type() {
    let schema = schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Record>();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(SCHEMA_FILE, &text).unwrap();
    }
    let there = fs::read_to_string(SCHEMA_FILE).unwrap_or_default();
    assert!(
        there == text,
        "{SCHEMA_FILE} is not up to date: run this test with UPDATE=1"
    );
}
