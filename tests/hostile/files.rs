//! What lies in a layout in place of its files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use super::case::Verdict::{self, Accepted, Refused, Warned};
use super::case::{Case, SENTINEL};
use super::image::{CONFIG, Image, blob_path, entries};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = layout_files();
    cases.extend(blobs());
    cases
}

fn damaged(name: &str, verdict: Verdict, damage: impl Fn(&Path) + Send + Sync + 'static) -> Case {
    Case::damaged(name, verdict, Image::tiny(), damage)
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

fn replace_by_link(path: &Path, target: &str) {
    let _ = fs::remove_file(path);
    symlink(target, path).unwrap();
}

fn layout_files() -> Vec<Case> {
    let not_regular = || Refused("not a regular file");
    vec![
        damaged(
            "no oci-layout",
            Warned("has no file oci-layout", &[]),
            |layout| fs::remove_file(layout.join("oci-layout")).unwrap(),
        ),
        damaged(
            "oci-layout of version 2",
            Refused("its layout version is \"2.0.0\""),
            |layout| {
                fs::write(
                    layout.join("oci-layout"),
                    r#"{"imageLayoutVersion":"2.0.0"}"#,
                )
                .unwrap()
            },
        ),
        damaged(
            "oci-layout of nonsense",
            Refused("oci-layout is malformed"),
            |layout| fs::write(layout.join("oci-layout"), "\0").unwrap(),
        ),
        damaged(
            "oci-layout of 1 MB",
            Refused("has more than 65536 bytes"),
            |layout| fs::write(layout.join("oci-layout"), vec![b' '; 1 << 20]).unwrap(),
        ),
        damaged("oci-layout that is a FIFO", not_regular(), |layout| {
            fifo(&layout.join("oci-layout"))
        }),
        damaged(
            "no index.json",
            Refused("there is no index.json in it"),
            |layout| fs::remove_file(layout.join("index.json")).unwrap(),
        ),
        damaged("index.json that is a FIFO", not_regular(), |layout| {
            fifo(&layout.join("index.json"))
        }),
        damaged("index.json that is a directory", not_regular(), |layout| {
            fs::remove_file(layout.join("index.json")).unwrap();
            fs::create_dir(layout.join("index.json")).unwrap();
        }),
        damaged("index.json that is /dev/zero", not_regular(), |layout| {
            replace_by_link(&layout.join("index.json"), "/dev/zero")
        }),
        damaged(
            "index.json that is another file",
            Refused("index.json of"),
            |layout| replace_by_link(&layout.join("index.json"), &format!("../../{SENTINEL}")),
        ),
        damaged(
            "index.json that leads nowhere",
            Refused("there is no index.json in it"),
            |layout| replace_by_link(&layout.join("index.json"), "/nowhere"),
        ),
        damaged("index.json in a circle", Refused("reading"), |layout| {
            replace_by_link(&layout.join("index.json"), "index.json")
        }),
        damaged(
            "index.json of 5 MB",
            Refused("has more than 4194304 bytes"),
            |layout| fs::write(layout.join("index.json"), vec![b' '; 5 << 20]).unwrap(),
        ),
        damaged(
            "index.json that is a manifest",
            Refused("it is a manifest, not an index"),
            |layout| {
                let manifest = blob_path(layout, entries(layout)[0]["digest"].as_str().unwrap());
                fs::copy(manifest, layout.join("index.json")).unwrap();
            },
        ),
        damaged("no blobs", Refused("is missing"), |layout| {
            fs::remove_dir_all(layout.join("blobs")).unwrap()
        }),
        damaged("file for the blobs", Refused("looking at"), |layout| {
            fs::remove_dir_all(layout.join("blobs")).unwrap();
            fs::write(layout.join("blobs"), "").unwrap();
        }),
    ]
}

/// Path of the first layer's blob.
fn layer_path(layout: &Path) -> std::path::PathBuf {
    let load = |digest: &Value| -> Value {
        let path = blob_path(layout, digest.as_str().unwrap());
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let manifest = load(&entries(layout)[0]["digest"]);
    assert_eq!(manifest["config"]["mediaType"], CONFIG);
    blob_path(layout, manifest["layers"][0]["digest"].as_str().unwrap())
}

fn blobs() -> Vec<Case> {
    let not_regular = || Refused("not a regular file");
    vec![
        damaged("layer that is a FIFO", not_regular(), |layout| {
            fifo(&layer_path(layout))
        }),
        damaged("layer that is /dev/zero", not_regular(), |layout| {
            replace_by_link(&layer_path(layout), "/dev/zero")
        }),
        damaged(
            "layer that is /etc/passwd",
            Refused("bytes, where"),
            |layout| replace_by_link(&layer_path(layout), "/etc/passwd"),
        ),
        damaged(
            "layer that is what lies beside",
            Refused("bytes, where"),
            |layout| replace_by_link(&layer_path(layout), &format!("../../../../{SENTINEL}")),
        ),
        damaged(
            "layer that leads nowhere",
            Refused("is missing"),
            |layout| replace_by_link(&layer_path(layout), "/nowhere"),
        ),
        damaged("layer by a symlink", Accepted(&[]), |layout| {
            let path = layer_path(layout);
            fs::rename(&path, layout.join("elsewhere")).unwrap();
            symlink("../../elsewhere", path).unwrap();
        }),
        damaged("layer that is a directory", not_regular(), |layout| {
            fs::remove_file(layer_path(layout)).unwrap();
            fs::create_dir(layer_path(layout)).unwrap();
        }),
        damaged("layer that is cut", Refused("bytes, where"), |layout| {
            let path = layer_path(layout);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        damaged(
            "layer with another bit",
            Refused("has the digest"),
            |layout| {
                let path = layer_path(layout);
                let mut bytes = fs::read(&path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(path, bytes).unwrap();
            },
        ),
        damaged(
            "manifest with another bit",
            Refused("has the digest"),
            |layout| {
                let path = blob_path(layout, entries(layout)[0]["digest"].as_str().unwrap());
                let mut bytes = fs::read(&path).unwrap();
                bytes[1] ^= 1;
                fs::write(path, bytes).unwrap();
            },
        ),
    ]
}
