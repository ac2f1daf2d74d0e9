//! Bad input: one clear error that names the object, and nothing left behind.

#[path = "support/layout.rs"]
mod layout;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use layout::{Item, Layout, file, tar};
use support::{names, run_to_fail};

const KERNEL: &str = "usr/lib/modules/6.1.0/vmlinuz";
const INITRAMFS: &str = "usr/lib/modules/6.1.0/initramfs.img";
const OS_RELEASE: &str = "ID=test\nVERSION_ID=1\n";

fn bake(image: &Path, output: &Path, more: &[&str]) -> String {
    let error = run_to_fail(
        Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
            .args(["bake", "--color", "never", "-o"])
            .arg(output)
            .arg(format!("oci:{}", image.display()))
            .args(more),
    );
    assert!(
        !output.exists(),
        "nothing is left: {:?}",
        output.exists().then(|| names(output))
    );
    assert_eq!(
        error
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count(),
        1,
        "{error}"
    );
    error
}

/// Bakes a layout made of `layers`, and wants these words in the error.
fn refuses(name: &str, layers: Vec<Vec<Item>>, words: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    Layout::new(layers.iter().map(|items| tar(items)).collect()).write(&image);
    let error = bake(&image, &directory.path().join("out"), &[]);
    for word in words {
        assert!(error.contains(word), "{name}: no {word:?} in {error}");
    }
}

#[test]
fn images_that_are_no_coreos_are_refused() {
    let os = || file("usr/lib/os-release", OS_RELEASE);
    refuses(
        "no kernel",
        vec![vec![os(), file("bin/sh", "x")]],
        &["kernel", "vmlinuz"],
    );
    refuses(
        "no initramfs",
        vec![vec![os(), file(KERNEL, "k")]],
        &["initramfs", "6.1.0"],
    );
    let two = vec![
        os(),
        file(KERNEL, "k"),
        file(INITRAMFS, "i"),
        file("usr/lib/modules/6.2.0/vmlinuz", "k"),
        file("usr/lib/modules/6.2.0/initramfs.img", "i"),
    ];
    refuses("two kernels", vec![two], &["6.1.0", "6.2.0"]);
    let nameless = vec![file(KERNEL, "k"), file(INITRAMFS, "i")];
    refuses("no os-release", vec![nameless], &["os-release"]);
}

#[test]
fn hostile_layers_are_refused() {
    for (name, items, words) in [
        (
            "parent",
            vec![file("usr/../../etc/passwd", "x")],
            vec!["..", "sha256:"],
        ),
        (
            "parent in a link",
            vec![Item::HardLink("usr/x", "../../etc/shadow")],
            vec!["sha256:"],
        ),
        (
            "link to itself",
            vec![Item::HardLink("usr/x", "usr/x")],
            vec!["usr/x", "sha256:"],
        ),
        (
            "links in a circle",
            vec![
                Item::HardLink("usr/x", "usr/y"),
                Item::HardLink("usr/y", "usr/x"),
            ],
            vec!["usr/", "sha256:"],
        ),
    ] {
        refuses(name, vec![items], &words);
    }
    // Through a symlink: nothing is ever unpacked, so it can't escape; the path makes no sense though.
    let escape = vec![
        vec![Item::Symlink("usr/lib/modules", "/etc")],
        vec![
            file("usr/lib/modules/6.1.0/vmlinuz", "k"),
            file("usr/lib/os-release", OS_RELEASE),
        ],
    ];
    refuses("through a symlink", escape, &["error: "]);
    assert!(!Path::new("/etc/6.1.0").exists());
}

#[test]
fn absolute_names_stay_inside() {
    let items = vec![file("/usr/lib/os-release", OS_RELEASE)];
    // Read as usr/lib/os-release, so it is the kernel that is missing.
    refuses("absolute", vec![items], &["kernel"]);
}

#[test]
fn damaged_layouts_are_refused_by_name() {
    let items = || {
        vec![tar(&[
            file("usr/lib/os-release", OS_RELEASE),
            Item::File("usr/x", vec![7; 5000]),
        ])]
    };
    type Damage = fn(&Path, &mut Layout) -> Option<Vec<u8>>;
    let cases: [(&str, Damage, &[&str]); 5] = [
        (
            "cut short",
            |_, l| Some(l.layers[0][..3000].to_vec()),
            &["layer 1"],
        ),
        (
            "one bit",
            |_, l| {
                let mut bytes = l.layers[0].clone();
                bytes[600] ^= 1;
                Some(bytes)
            },
            &["layer 1", "sha256:"],
        ),
        (
            "wrong diff-id",
            |_, l| {
                l.diff_ids[0] = format!("sha256:{}", "0".repeat(64));
                None
            },
            &["layer 1", "0000"],
        ),
        (
            "unknown media type",
            |_, l| {
                l.media_type = "application/x-nonsense".to_owned();
                None
            },
            &["application/x-nonsense"],
        ),
        (
            "not what the media type says",
            |_, l| {
                l.media_type += "+gzip";
                None
            },
            &["layer 1", "gzip"],
        ),
    ];
    for (name, damage, words) in cases {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        let mut layout = Layout::new(items());
        let replacement = damage(&image, &mut layout);
        let blobs = layout.write(&image);
        if let Some(bytes) = replacement {
            fs::write(&blobs[0], bytes).unwrap();
        }
        let error = bake(&image, &directory.path().join("out"), &[]);
        for word in words {
            assert!(error.contains(word), "{name}: no {word:?} in {error}");
        }
    }
}

#[test]
fn a_missing_architecture_is_named_with_those_that_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    Layout::new(vec![tar(&[file("usr/lib/os-release", OS_RELEASE)])]).write(&image);
    let error = bake(&image, &directory.path().join("out"), &["--arch", "s390x"]);
    assert!(
        error.contains("s390x") && error.contains("amd64"),
        "{error}"
    );
}
