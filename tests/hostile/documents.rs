//! Manifests and configurations.

use std::fs;

use serde_json::{Value, json};

use super::case::Case;
use super::case::Verdict::{self, Accepted, Refused, Warned};
use super::image::{Image, blob, blob_path, digest, entries};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = descriptors();
    cases.extend(manifests());
    cases.extend(configurations());
    cases
}

fn manifest(
    name: &str,
    verdict: Verdict,
    edit: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Case {
    Case::image(name, verdict, Image::tiny().manifest(edit))
}

fn config(name: &str, verdict: Verdict, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Case {
    Case::image(name, verdict, Image::tiny().config(edit))
}

/// The base, its manifest replaced by this text.
fn text(
    name: &str,
    verdict: Verdict,
    text: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> Case {
    Case::damaged(name, verdict, Image::tiny(), move |layout| {
        let entry = &entries(layout)[0];
        let old = blob_path(layout, entry["digest"].as_str().unwrap());
        let new = text(&fs::read_to_string(old).unwrap());
        let entry = blob(layout, entry["mediaType"].as_str().unwrap(), &new);
        super::image::top(layout, &[entry]);
    })
}

fn descriptors() -> Vec<Case> {
    let other = format!("sha256:{}", "0".repeat(64));
    let set = |at: &'static str, key: &'static str, value: Value| {
        move |manifest: &mut Value| {
            *manifest.pointer_mut(at).unwrap().get_mut(key).unwrap() = value.clone()
        }
    };
    let digests: [(&str, &str, Value); 8] = [
        ("without an algorithm", "malformed", json!("0".repeat(64))),
        (
            "of another algorithm",
            "malformed",
            json!("md5:d41d8cd98f00b204e9800998ecf8427e"),
        ),
        (
            "in capitals",
            "malformed",
            json!(format!("sha256:{}", "A".repeat(64))),
        ),
        ("too short", "malformed", json!("sha256:00")),
        (
            "that leads upwards",
            "malformed",
            json!("sha256:../../../../sentinel"),
        ),
        ("of nothing", "malformed", json!("")),
        ("that is a number", "malformed", json!(7)),
        ("of nothing that is there", "is missing", json!(other)),
    ];
    let mut cases: Vec<Case> = digests
        .into_iter()
        .map(|(name, words, value)| {
            manifest(
                &format!("layer's digest {name}"),
                Refused(words),
                set("/layers/0", "digest", value),
            )
        })
        .collect();
    cases.extend([
        manifest("layer's size one less", Refused("bytes, where"), |m| {
            m["layers"][0]["size"] = json!(m["layers"][0]["size"].as_u64().unwrap() - 1)
        }),
        manifest("layer's size one more", Refused("bytes, where"), |m| {
            m["layers"][0]["size"] = json!(m["layers"][0]["size"].as_u64().unwrap() + 1)
        }),
        manifest(
            "layer's size 0",
            Refused("where 0 are promised"),
            set("/layers/0", "size", json!(0)),
        ),
        manifest(
            "layer's size -1",
            Refused("malformed"),
            set("/layers/0", "size", json!(-1)),
        ),
        manifest(
            "layer's size 2^64",
            Refused("malformed"),
            set("/layers/0", "size", json!(18_446_744_073_709_551_615.0)),
        ),
        manifest(
            "layer's size as text",
            Refused("malformed"),
            set("/layers/0", "size", json!("7")),
        ),
        manifest(
            "configuration's size 0",
            Refused("where 0 are promised"),
            set("/config", "size", json!(0)),
        ),
        manifest(
            "configuration's size 2^62",
            Refused("where 4611686018427387904 are promised"),
            set("/config", "size", json!(1u64 << 62)),
        ),
        manifest(
            "configuration that is not there",
            Refused("is missing"),
            set("/config", "digest", json!(other)),
        ),
        manifest(
            "configuration that is a layer",
            Refused("is malformed"),
            |m| {
                let layer = m["layers"][0].clone();
                for key in ["digest", "size"] {
                    m["config"][key] = layer[key].clone();
                }
            },
        ),
        manifest(
            "configuration of another type",
            Refused("artifact of type"),
            set(
                "/config",
                "mediaType",
                json!("application/vnd.cncf.helm.config.v1+json"),
            ),
        ),
    ]);
    cases
}

fn manifests() -> Vec<Case> {
    let malformed = || Refused("malformed");
    let deep = |text: &str| {
        text.replace(
            "\"layers\"",
            &format!(
                "\"x\":{}{},\"layers\"",
                "[".repeat(100_000),
                "]".repeat(100_000)
            ),
        )
    };
    vec![
        manifest("manifest of schema 1", Refused("schema version 1"), |m| {
            m["schemaVersion"] = json!(1)
        }),
        manifest("manifest of schema 3", Refused("schema version 3"), |m| {
            m["schemaVersion"] = json!(3)
        }),
        manifest("manifest of schema \"2\"", malformed(), |m| {
            m["schemaVersion"] = json!("2")
        }),
        manifest("schema of 1 MB of text", malformed(), |m| {
            m["schemaVersion"] = json!("x".repeat(1 << 20))
        }),
        manifest(
            "layer's media type of 1 MB",
            Refused("unknown media type"),
            |m| m["layers"][0]["mediaType"] = json!("x".repeat(1 << 20)),
        ),
        manifest(
            "configuration's media type of 1 MB",
            Refused("artifact of type"),
            |m| m["config"]["mediaType"] = json!("x".repeat(1 << 20)),
        ),
        manifest(
            "manifest without a schema",
            Refused("no schemaVersion"),
            |m| m["schemaVersion"] = Value::Null,
        ),
        manifest("manifest that is an index too", Refused("at once"), |m| {
            m["manifests"] = json!([])
        }),
        manifest(
            "manifest that says it is an index",
            Refused("but it is a manifest"),
            |m| m["mediaType"] = json!(super::image::INDEX),
        ),
        manifest("manifest without layers", malformed(), |m| {
            m["layers"] = Value::Null
        }),
        manifest("manifest with no layer", Refused("it has 0 layers"), |m| {
            m["layers"] = json!([])
        }),
        manifest(
            "manifest with a layer more",
            Refused("it has 2 layers, but its configuration has 1"),
            |m| {
                let layer = m["layers"][0].clone();
                m["layers"].as_array_mut().unwrap().push(layer);
            },
        ),
        manifest(
            "manifest with 20000 layers",
            Refused("has more than 4194304 bytes"),
            |m| m["layers"] = json!(vec![m["layers"][0].clone(); 30_000]),
        ),
        manifest(
            "manifest of 5 MB",
            Refused("has more than 4194304 bytes"),
            |m| m["x"] = json!("x".repeat(5_000_000)),
        ),
        text(
            "JSON 100000 deep",
            Refused("recursion limit exceeded"),
            move |text| deep(text).into_bytes(),
        ),
        text("JSON with a key twice", malformed(), |text| {
            text.replacen('{', "{\"schemaVersion\":2,", 1).into_bytes()
        }),
        text("JSON with a byte order mark", malformed(), |text| {
            format!("\u{feff}{text}").into_bytes()
        }),
        text("JSON in UTF-16", malformed(), |text| {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        }),
        text("JSON with NUL behind it", malformed(), |text| {
            format!("{text}\0").into_bytes()
        }),
        text("JSON twice", malformed(), |text| {
            text.repeat(2).into_bytes()
        }),
        text("JSON that is cut", malformed(), |text| {
            text.as_bytes()[..text.len() - 5].to_vec()
        }),
        text("JSON with a comment", malformed(), |text| {
            format!("// {text}\n{text}").into_bytes()
        }),
        text("JSON that is a list", malformed(), |text| {
            format!("[{text}]").into_bytes()
        }),
        text("nothing for a manifest", malformed(), |_| Vec::new()),
    ]
}

fn configurations() -> Vec<Case> {
    let linux = || Refused("not for linux");
    let malformed = || Refused("malformed");
    vec![
        config("system windows", linux(), |c| c["os"] = json!("windows")),
        config("system freebsd", linux(), |c| c["os"] = json!("freebsd")),
        config("system LINUX", linux(), |c| c["os"] = json!("LINUX")),
        config("system of nothing", linux(), |c| c["os"] = json!("")),
        config("system of 1 MB", linux(), |c| {
            c["os"] = json!("x".repeat(1 << 20))
        }),
        config(
            "architecture of 1 MB",
            Refused("is not an architecture"),
            |c| c["architecture"] = json!("/".repeat(1 << 20)),
        ),
        config("system with an escape sequence", linux(), |c| {
            c["os"] = json!("\u{1b}[2J")
        }),
        config("no system", Refused("missing field `os`"), |c| {
            drop(c.as_object_mut().unwrap().remove("os"))
        }),
        config(
            "no architecture",
            Refused("missing field `architecture`"),
            |c| drop(c.as_object_mut().unwrap().remove("architecture")),
        ),
        config(
            "architecture other than the index has it",
            Refused("is for arm64, not for amd64"),
            |c| c["architecture"] = json!("arm64"),
        ),
        config(
            "architecture of nothing",
            Refused("is not an architecture"),
            |c| c["architecture"] = json!(""),
        ),
        config(
            "architecture that leads upwards",
            Refused("is not an architecture"),
            |c| c["architecture"] = json!("../../x"),
        ),
        config(
            "architecture with a line feed",
            Refused("is not an architecture"),
            |c| c["architecture"] = json!("amd64\nx"),
        ),
        config(
            "no diff-ids",
            Refused("its configuration has 0 diff-ids"),
            |c| c["rootfs"]["diff_ids"] = json!([]),
        ),
        config(
            "a diff-id more",
            Refused("its configuration has 2 diff-ids"),
            |c| {
                let id = c["rootfs"]["diff_ids"][0].clone();
                c["rootfs"]["diff_ids"].as_array_mut().unwrap().push(id);
            },
        ),
        config(
            "diff-id of another layer",
            Refused("has the diff-id sha256:"),
            |c| c["rootfs"]["diff_ids"][0] = json!(digest(b"x")),
        ),
        config("diff-id of nonsense", malformed(), |c| {
            c["rootfs"]["diff_ids"][0] = json!("x")
        }),
        Case::image("500 layers", Accepted(&[]), Image::tiny().order(&[0; 500])),
        Case::image(
            "501 layers",
            Refused("where at most 500 are taken"),
            Image::tiny().order(&[0; 501]),
        ),
        Case::image(
            "diff-ids swapped",
            Refused("has the diff-id sha256:"),
            Image::tiny()
                .layer(super::tar::Tar::new().file("usr/x", "").end())
                .config(|c| c["rootfs"]["diff_ids"].as_array_mut().unwrap().swap(0, 1)),
        ),
        config("no rootfs", malformed(), |c| c["rootfs"] = Value::Null),
        config("labels that are a list", malformed(), |c| {
            c["config"]["Labels"] = json!([1])
        }),
        config("label that is a number", malformed(), |c| {
            c["config"]["Labels"]["x"] = json!(1)
        }),
        config("20000 labels", Accepted(&[]), |c| {
            for n in 0..20_000 {
                c["config"]["Labels"][format!("label-{n}")] = json!("");
            }
        }),
        config(
            "configuration of 17 MB",
            Refused("has more than 16777216 bytes"),
            |c| c["x"] = json!("x".repeat(17_000_000)),
        ),
        config(
            "created yesterday",
            Warned(
                "the image's time of creation is unreadable: \"yesterday\"",
                &[],
            ),
            |c| c["created"] = json!("yesterday"),
        ),
        config(
            "created in 1 MB",
            Warned("the image's time of creation is unreadable: \"\\u{1b}", &[]),
            |c| c["created"] = json!("\u{1b}".repeat(1 << 20)),
        ),
        config("created in the year 9999", Accepted(&[]), |c| {
            c["created"] = json!("9999-12-31T23:59:59Z")
        }),
        config("created in the year 1", Accepted(&[]), |c| {
            c["created"] = json!("0001-01-01T00:00:00Z")
        }),
        config(
            "name that leads upwards",
            Refused("can't be part of a file name"),
            |c| c["config"]["Labels"]["com.coreos.osname"] = json!("../x"),
        ),
        config(
            "name with kernel arguments",
            Refused("can't be part of a file name"),
            |c| c["config"]["Labels"]["com.coreos.osname"] = json!("x init=/bin/sh"),
        ),
    ]
}
