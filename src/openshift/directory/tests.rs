//! What takes no directory to be seen; the rest is in `tests/prepare.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::record::{RECORD_DIRECTORY, Record};
use super::{Edit, diff, manifests, undo};
use crate::ignition::fragment::{config, file, unit};
use crate::ignition::{CONTENT_MAX_BYTES, resource};

#[test]
fn a_diff_shows_no_secret() {
    let config = |password: &str| {
        format!(
            r#"{{"ignition":{{"version":"3.2.0"}},"passwd":{{"users":[{{"name":"core","passwordHash":"{password}"}}]}},"storage":{{"files":[{{"path":"/root/key","contents":{{"source":"data:,{password}"}}}}]}}}}"#
        )
    };
    let ignition = Edit {
        path: "master.ign".to_owned(),
        before: Some(config("hunter1").into_bytes()),
        after: config("hunter2").into_bytes(),
        is_secret: false,
    };
    let secret = Edit {
        path: "openshift/a.yaml".to_owned(),
        before: None,
        after: b"data: hunter2\n".to_vec(),
        is_secret: true,
    };
    let shown = [&ignition, &secret].map(|edit| diff::unified(edit, &diff::Added::default()));
    assert!(shown[0].contains("\"source\": \"data:,… (7 characters, "));
    assert!(
        shown[1].ends_with("+(a secret of 14 bytes)\n"),
        "{}",
        shown[1]
    );
    for text in shown.iter().chain([&format!("{ignition:?} {secret:?}")]) {
        assert!(!text.contains("hunter"), "{text}");
    }
}

/// What runs on machines is shown as they have it; what somebody else put there is not.
#[test]
fn a_diff_shows_what_is_added() {
    let script = "#!/bin/bash\necho one two three four one two three four one two three four\n";
    let fragment = |files: &[(&str, &[u8])]| {
        let files = files.iter();
        let files = files.map(|(path, content)| file(path, 0o755, content, None));
        let units = vec![unit("ours.service", Some(true), Some("[Unit]\nA=1\n"))];
        config(files.collect(), units).unwrap()
    };
    let large = vec![b'x'; 1 << 20];
    let ours = fragment(&[
        ("/usr/local/bin/ours", script.as_bytes()),
        ("/etc/ours.bin", b"\x1b[2J"),
        ("/etc/large", &large),
        ("/etc/empty", b""),
    ]);
    let theirs = fragment(&[("/root/key", b"hunter2")]);
    let mut both = ours.clone();
    let files = both["storage"]["files"].as_array_mut().unwrap();
    files.extend(theirs["storage"]["files"].as_array().unwrap().clone());
    let hash = super::files::sha256(b"\x1b[2J");
    for path in ["bootstrap.ign", "openshift/a.yaml"] {
        let edit = Edit {
            path: path.to_owned(),
            before: None,
            after: serde_json::to_vec(&both).unwrap(),
            is_secret: false,
        };
        let shown = diff::unified(&edit, &diff::Added::of([&ours]));
        for expected in [
            "bytes\n",
            "| #!/bin/bash\n",
            "| echo one two three four one two three four one two three four\n",
            "| [Unit]\n",
            "0755",
            &format!("4 bytes, sha256 {hash}\n"),
            "1048576 bytes, sha256 ",
            "0 bytes\n",
        ] {
            assert!(shown.contains(expected), "{expected:?}\n{shown}");
        }
        let is_hidden = |text: &str| !shown.contains(text);
        assert!(
            is_hidden("hunter") && is_hidden("\x1b") && is_hidden("xxxx"),
            "{shown}"
        );
        assert!(
            is_hidden("base64,H4s") && shown.lines().count() < 80,
            "{shown}"
        );
    }
}

/// Contents that unpack to more than anybody has room for are not unpacked.
#[test]
fn a_diff_is_no_bomb() {
    let content = vec![0; CONTENT_MAX_BYTES + 1];
    let resource = resource(&content, None);
    let ours = json!({ "storage": { "files": [{ "path": "/a", "contents": resource }] } });
    let edit = Edit {
        path: "master.ign".to_owned(),
        before: None,
        after: serde_json::to_vec(&ours).unwrap(),
        is_secret: false,
    };
    let shown = diff::unified(&edit, &diff::Added::of([&ours]));
    let expected = format!("contents\": the content has more than {CONTENT_MAX_BYTES} bytes\n");
    assert!(shown.contains(&expected), "{shown}");
}

#[test]
fn errors_of_yaml_quote_nothing() {
    for text in [
        "password: hunter2\n  more: [",
        "a: hunter2\na: hunter2\n",
        "hunter2: {",
        "- hunter2\n\t- b",
        "\u{0}hunter2",
    ] {
        let error = manifests::parse("openshift/a.yaml", text.as_bytes()).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.starts_with("openshift/a.yaml is no YAML: "),
            "{error}"
        );
        assert!(
            !error.contains("hunter2") && !error.contains('\n'),
            "{error}"
        );
    }
    let documents = manifests::parse("a", b"---\n# nothing\n---\na: 1\n---\n{\"b\": 2}\n").unwrap();
    assert_eq!(documents.len(), 2);
}

/// A record leads to no other files than those that are written here.
#[test]
fn a_record_of_somebody_elses_making_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join(RECORD_DIRECTORY);
    fs::create_dir(&place).unwrap();
    fs::write(directory.path().join("precious"), "").unwrap();
    let hash = super::files::sha256(b"");
    let record = |path: &str, folder: &str| {
        format!(
            r#"{{"schema":"coreos-bake/prepared/v1","state":"manifests","settings":"","edits":[{{"path":{path:?},"before":null,"after":"{hash}"}}],"folders":[{folder}],"times":[]}}"#
        )
    };
    let write = |text: &str| fs::write(place.join("prepare.json"), text).unwrap();
    for (path, folder) in [
        ("precious", ""),
        ("openshift/../precious", ""),
        ("../x.ign", ""),
        ("/x.ign", ""),
        ("auth/kubeconfig", ""),
        ("openshift/..", ""),
        ("openshift/", ""),
        ("", ""),
        ("openshift/a", "\"..\""),
        ("openshift/a", "\"\""),
    ] {
        write(&record(path, folder));
        for force in [false, true] {
            let error = undo(directory.path(), force).unwrap_err().to_string();
            assert!(
                error.ends_with("is no record of a preparation"),
                "{path} {error}"
            );
        }
    }
    for text in ["", "{}", "[]", "\u{0}"] {
        write(text);
        assert!(Record::read(directory.path()).is_err(), "{text:?}");
    }
    assert!(directory.path().join("precious").exists());
    write(&record("openshift/a", ""));
    assert!(Record::read(directory.path()).unwrap().is_some());
    undo(directory.path(), true).unwrap();
    assert!(!place.exists());
    assert!(super::Directory::read(directory.path(), SystemTime::now()).is_err());
}

/// Where there are no hard links.
#[test]
fn a_kept_copy_has_mode_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let [file, kept] = ["file", "kept"].map(|name| directory.path().join(name));
    fs::write(&file, "content").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let open = fs::File::options().write(true).open(&file).unwrap();
    open.set_modified(time).unwrap();
    super::execute::copy(&file, &kept).unwrap();
    let metadata = fs::metadata(&kept).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o604);
    assert_eq!(metadata.modified().unwrap(), time);
    assert_eq!(fs::read(&kept).unwrap(), b"content");
}
