//! Indexes of indexes, and entries that contradict each other.

use std::path::Path;

use serde_json::{Value, json};

use super::case::Case;
use super::case::Verdict::{self, Accepted, Refused, Warned};
use super::image::{INDEX, Image, MANIFEST, blob, digest, entries, top};

const TAG: &str = "org.opencontainers.image.ref.name";

/// The base, with an `index.json` made of its one entry.
fn index(
    name: &str,
    verdict: Verdict,
    make: impl Fn(&Path, &Value) -> Vec<Value> + Send + Sync + 'static,
) -> Case {
    Case::damaged(name, verdict, Image::tiny(), move |layout| {
        let entry = &entries(layout)[0];
        top(layout, &make(layout, entry));
    })
}

fn nested(layout: &Path, entries: &[Value]) -> Value {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    blob(layout, INDEX, index.to_string().as_bytes())
}

fn with(entry: &Value, pointer: &str, value: Value) -> Value {
    let mut entry = entry.clone();
    let (above, key) = pointer.rsplit_once('/').unwrap();
    if !above.is_empty() && entry.pointer(above).is_none() {
        entry[&above[1..]] = json!({});
    }
    entry.pointer_mut(above).unwrap()[key] = value;
    entry
}

fn deep(depth: usize) -> impl Fn(&Path, &Value) -> Vec<Value> + Send + Sync {
    move |layout, entry| vec![(0..depth).fold(entry.clone(), |below, _| nested(layout, &[below]))]
}

/// Indexes that all list each other's successors: far more ways than indexes.
fn wide(layout: &Path, entry: &Value) -> Vec<Value> {
    let mut row = vec![entry.clone()];
    for level in 0..3 {
        row = (0..30)
            .map(|n| {
                let mut index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": row });
                index["annotations"] = json!({ "n": format!("{level}-{n}") });
                blob(layout, INDEX, index.to_string().as_bytes())
            })
            .collect();
    }
    row
}

pub(crate) fn cases() -> Vec<Case> {
    let absent = || Refused("is not there");
    let other = || json!(format!("sha256:{}", "0".repeat(64)));
    vec![
        index(
            "two equal entries",
            Warned("twice; podman and skopeo take that only by a tag", &[]),
            |_, e| vec![e.clone(), e.clone()],
        ),
        index(
            "1000 equal entries",
            Warned("twice; podman and skopeo take that only by a tag", &[]),
            |_, e| vec![e.clone(); 1000],
        ),
        index("two tags of one image", Accepted(&[]), |_, e| {
            ["a", "b"]
                .map(|tag| {
                    with(
                        e,
                        "/annotations/org.opencontainers.image.ref.name",
                        json!(tag),
                    )
                })
                .to_vec()
        }),
        index(
            "two entries of other sizes",
            Refused("two entries give it different sizes"),
            |_, e| vec![e.clone(), with(e, "/size", json!(7))],
        ),
        index(
            "entry of another size",
            Refused("where 7 are promised"),
            |_, e| vec![with(e, "/size", json!(7))],
        ),
        index(
            "entry of another digest",
            Refused("is missing"),
            move |_, e| vec![with(e, "/digest", other())],
        ),
        index(
            "entry whose digest leads upwards",
            Refused("malformed"),
            |_, e| vec![with(e, "/digest", json!("sha256:../../../sentinel"))],
        ),
        index(
            "entry for another architecture",
            Refused("is for amd64, not for s390x"),
            |_, e| vec![with(e, "/platform/architecture", json!("s390x"))],
        ),
        index("entry for windows", absent(), |_, e| {
            vec![with(e, "/platform/os", json!("windows"))]
        }),
        index("entry without a platform", Accepted(&[]), |_, e| {
            vec![with(e, "/platform", Value::Null)]
        }),
        index("entry of another type", absent(), |_, e| {
            vec![with(e, "/mediaType", json!("text/plain"))]
        }),
        index(
            "entry that is an index and says it is a manifest",
            Refused("it is an index, not a manifest"),
            |layout, e| {
                vec![with(
                    &nested(layout, std::slice::from_ref(e)),
                    "/mediaType",
                    json!(MANIFEST),
                )]
            },
        ),
        index(
            "entry that is a manifest and says it is an index",
            Refused("it is a manifest"),
            |_, e| vec![with(e, "/mediaType", json!(INDEX))],
        ),
        index("attestation only", absent(), |_, e| {
            vec![with(
                e,
                "/annotations/vnd.docker.reference.type",
                json!("attestation-manifest"),
            )]
        }),
        index("no entry", absent(), |_, _| vec![]),
        index("index of no entry", absent(), |layout, _| {
            vec![nested(layout, &[])]
        }),
        index("two images of one tag", Refused("may mean"), |layout, e| {
            let path = super::image::blob_path(layout, e["digest"].as_str().unwrap());
            let text = std::fs::read_to_string(path).unwrap();
            let again = blob(layout, MANIFEST, format!("{text} ").as_bytes());
            [e, &again]
                .map(|entry| {
                    with(
                        entry,
                        "/annotations/org.opencontainers.image.ref.name",
                        json!("a"),
                    )
                })
                .to_vec()
        }),
        index("tag with an escape sequence", Accepted(&[]), |_, e| {
            vec![with(e, &format!("/annotations/{TAG}"), json!("\u{1b}[2J"))]
        }),
        index(
            "tags with escape sequences, all refused",
            Refused("is not there"),
            |_, e| {
                let e = with(e, "/platform/os", json!("windows"));
                vec![with(
                    &e,
                    &format!("/annotations/{TAG}"),
                    json!("\u{1b}[2J\n"),
                )]
            },
        ),
        index(
            "entry for an architecture with an escape sequence",
            Refused("not for \\u{1b}[2J"),
            |_, e| vec![with(e, "/platform/architecture", json!("\u{1b}[2J"))],
        ),
        index("tag of 1 MB, refused", Refused("is not there"), |_, e| {
            let e = with(e, "/platform/os", json!("windows"));
            vec![with(
                &e,
                &format!("/annotations/{TAG}"),
                json!("x".repeat(1 << 20)),
            )]
        }),
        index("digest of 1 MB", Refused("malformed"), |_, e| {
            vec![with(e, "/digest", json!("x".repeat(1 << 20)))]
        }),
        index("media type of 1 MB", absent(), |_, e| {
            vec![with(e, "/mediaType", json!("x".repeat(1 << 20)))]
        }),
        index("indexes four deep", Accepted(&[]), deep(4)),
        index(
            "indexes five deep",
            Refused("nested too deep or too often"),
            deep(5),
        ),
        index(
            "indexes 100 deep",
            Refused("nested too deep or too often"),
            deep(100),
        ),
        index(
            "30 indexes of 30 indexes of 30",
            Refused("nested too deep or too often"),
            wide,
        ),
        index(
            "65 indexes",
            Refused("nested too deep or too often"),
            |layout, e| {
                (0..65)
                    .map(|n| {
                        nested(
                            layout,
                            &[with(e, "/annotations", json!({ "n": n.to_string() }))],
                        )
                    })
                    .collect()
            },
        ),
        index(
            "index that lists itself, under a digest that is not its own",
            Refused("has the digest"),
            |layout, _| {
                let mine = json!({ "mediaType": INDEX, "digest": digest(b"mine"), "size": 300 });
                let mut text = json!({ "schemaVersion": 2, "manifests": [mine] }).to_string();
                text += &" ".repeat(300 - text.len());
                std::fs::write(super::image::blob_path(layout, &digest(b"mine")), text).unwrap();
                vec![mine]
            },
        ),
        index("1100 images", Refused("more than 1024 images"), |_, e| {
            (0..1100)
                .map(|n| with(e, "/digest", json!(digest(format!("{n}").as_bytes()))))
                .collect()
        }),
    ]
}
