//! Contents into resources and out again, and what the real Ignition writes for them.

use serde_json::json;

use super::super::resource::HashFunction;
use super::super::resource::ResourceError;
use super::super::resource::check_hash;
use super::super::resource::hash_of;
use super::super::{content, fragment, resource};
use super::ignition;

fn samples() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        b"options a=1\n".to_vec(),
        b"%41 + ? # & ; \" ' \\ ~ / \0 \xff".to_vec(),
        (0..=255).collect(),
        b"the same again, ".repeat(4000),
        "grüße\n".as_bytes().to_vec(),
    ]
}

#[test]
fn contents_survive() {
    for sample in samples() {
        for hash in [None, Some(HashFunction::Sha256), Some(HashFunction::Sha512)] {
            let resource = resource(&sample, hash);
            assert_eq!(resource, super::super::resource(&sample, hash));
            let read = content(&resource, sample.len()).unwrap();
            assert_eq!(read, Some(sample.clone()), "{resource}");
        }
    }
}

#[test]
fn the_shortest_form_is_taken() {
    let form = |content: &[u8]| {
        let resource = resource(content, None);
        let source = resource["source"].as_str().unwrap();
        (
            source.starts_with("data:;base64,"),
            resource["compression"] == "gzip",
        )
    };
    assert_eq!(form(b"a=1\n"), (false, false));
    assert_eq!(form(&[0xff; 20].map(|b| b)), (true, false));
    assert_eq!(form(&b"a=1\n".repeat(100)), (true, true));
    assert_eq!(
        resource(b"", None),
        json!({"source": "data:,", "compression": ""})
    );
    assert_eq!(resource(b"a b", None)["source"], "data:,a%20b");
}

#[test]
fn limits_and_hashes_hold() {
    let zeros = resource(&vec![0; 1 << 20], Some(HashFunction::Sha256));
    assert!(zeros["source"].as_str().unwrap().len() < 4096);
    let limit = (1 << 20) - 1;
    assert!(matches!(
        content(&zeros, limit),
        Err(ResourceError::TooLarge { .. })
    ));
    let plain = json!({"source": "data:,abc"});
    assert!(matches!(
        content(&plain, 2),
        Err(ResourceError::TooLarge { .. })
    ));
    assert_eq!(content(&plain, 3).unwrap(), Some(b"abc".to_vec()));
    let mut wrong = zeros;
    wrong["verification"]["hash"] = hash_of(b"", HashFunction::Sha512).into();
    assert!(matches!(
        content(&wrong, 1 << 20),
        Err(ResourceError::Hash { .. })
    ));
    assert!(matches!(
        check_hash(b"", "md5-0"),
        Err(ResourceError::HashFunction(_))
    ));
}

#[test]
fn what_is_not_in_the_config_is_said() {
    assert_eq!(content(&json!({}), 9).unwrap(), None);
    assert_eq!(content(&json!({"source": ""}), 9).unwrap(), None);
    let elsewhere = json!({"source": "https://a/b"});
    assert!(matches!(
        content(&elsewhere, 9),
        Err(ResourceError::Elsewhere(_))
    ));
    let odd = json!({"source": "data:,a", "compression": "xz"});
    assert!(matches!(
        content(&odd, 9),
        Err(ResourceError::Compression(_))
    ));
    let plain = json!({"source": "data:,a", "compression": "gzip"});
    assert!(matches!(content(&plain, 9), Err(ResourceError::Gzip(_))));
    let torn = json!({"source": "data:;base64,H4sIAAAAAAAA", "compression": "gzip"});
    assert!(matches!(content(&torn, 9), Err(ResourceError::Gzip(_))));
}

#[test]
fn ignition_writes_what_went_in() {
    // It gives files to root, so it has to be root.
    let root = is_root();
    if !root {
        println!("skipped: needs root");
    }
    if !root || !ignition::have() {
        return;
    }
    let files = samples().into_iter().enumerate();
    let files: Vec<_> = files
        .map(|(index, content)| {
            let hash = Some(HashFunction::Sha512);
            fragment::file(&format!("/d/{index}"), 0o640, &content, hash)
        })
        .collect();
    let config = fragment::config(files, Vec::new()).unwrap().to_string();
    assert!(ignition::validate(&config).accepted);
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("root")).unwrap();
    for stage in ["fetch", "files"] {
        // The scratch root has no SELinux policy, which the stage finds out when all is written.
        match ignition::run_stage(stage, &config, scratch.path()) {
            Err(log) if !log.contains("failed to handle relabeling") => panic!("{stage}: {log}"),
            _ => {}
        }
    }
    for (index, content) in samples().into_iter().enumerate() {
        let path = scratch.path().join(format!("root/d/{index}"));
        assert_eq!(std::fs::read(path).unwrap(), content, "{index}");
    }
}

#[test]
fn fragments_are_valid_and_of_the_old_spec() {
    let file = fragment::file("/etc/modules-load.d/a.conf", 0o644, b"a\n", None);
    let unit = fragment::unit(
        "a.service",
        Some(true),
        Some("[Install]\nWantedBy=b.target\n"),
    );
    let bare = fragment::unit("c.socket", Some(false), None);
    let config = fragment::config(vec![file], vec![unit, bare]).unwrap();
    assert_eq!(config["ignition"]["version"], "3.2.0");
    assert_eq!(config["storage"]["files"][0]["mode"], 420);
    if ignition::have() {
        let verdict = ignition::validate(&config.to_string());
        assert!(
            verdict.accepted && verdict.text.is_empty(),
            "{}",
            verdict.text
        );
    }
    let relative = fragment::file("a", 0o644, b"", None);
    assert!(fragment::config(vec![relative], Vec::new()).is_err());
}

/// Whether the test runs as root, by the owner of what it makes.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = tempfile::tempfile().expect("a scratch file");
    file.metadata().expect("its metadata").uid() == 0
}
