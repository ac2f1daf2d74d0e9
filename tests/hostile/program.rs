//! A few of the images through the program: what it prints, its exit code, and what it leaves.

use std::fs;
use std::process::Command;

use super::image::Image;
use super::tar::Tar;

/// What is wrong with an image, and the words that tell it.
fn images() -> Vec<(&'static str, Image)> {
    let tar = Tar::new;
    let with = |tar: Tar| Image::tiny().layer(tar.end());
    vec![
        ("leads upwards", with(tar().file("usr/../../sentinel", "x"))),
        (
            "is -1 to chown(2)",
            with(tar().pax(&[("uid", b"4294967295")]).file("usr/x", "")),
        ),
        (
            "a single block of zeros",
            with(tar().file("usr/x", "").bytes(&[0; 512]).file("usr/y", "")),
        ),
        (
            "not for linux",
            Image::tiny().config(|c| c["os"] = "windows".into()),
        ),
        (
            "the symlink's target has 1024 bytes",
            with(tar().symlink("usr/x", &"t".repeat(1024))),
        ),
    ]
}

#[test]
fn the_program_refuses_them_in_one_sentence() {
    for (words, image) in images() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        image.write(&directory.path().join("image"));
        let reference = format!("oci:{}", directory.path().join("image").display());
        let output = directory.path().join("out");
        let layer = format!("oci:{}", output.display());
        let out = output.to_str().unwrap();
        let runs: [&[&str]; 6] = [
            &["inspect", &reference],
            &["check", &reference, "--driver", "x"],
            &[
                "layer",
                &reference,
                "--repair",
                "--driver",
                "x",
                "-o",
                &layer,
                "--dry-run",
            ],
            &[
                "layer", &reference, "--repair", "--driver", "x", "-o", &layer,
            ],
            &["bake", &reference, "-o", out, "--dry-run"],
            &["bake", &reference, "-o", out],
        ];
        for run in runs {
            let done = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
                .args(["--color", "never", "--no-progress"])
                .args(run)
                .env("TMPDIR", &scratch)
                .output()
                .unwrap();
            let said = String::from_utf8(done.stderr).unwrap();
            let errors: Vec<&str> = said
                .lines()
                .filter(|line| line.starts_with("error: "))
                .collect();
            let about = format!("{run:?}: {said}");
            assert_eq!(done.status.code(), Some(1), "{about}");
            assert!(
                matches!(errors[..], [one] if one.contains(words)),
                "no {words:?}: {about}"
            );
            assert!(done.stdout.is_empty(), "{about}");
            assert!(!output.exists(), "it left an output: {about}");
            assert_eq!(
                fs::read_dir(&scratch).unwrap().count(),
                0,
                "it left something: {about}"
            );
        }
    }
}

/// Warnings of the layout are told by all of them too, once.
#[test]
fn the_program_warns_once() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("image");
    Image::tiny().write(&layout);
    fs::remove_file(layout.join("oci-layout")).unwrap();
    let reference = format!("oci:{}", layout.display());
    for run in [
        &["inspect", &reference][..],
        &["check", &reference, "--driver", "x"],
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
            .args(["--color", "never", "--no-progress"])
            .args(run)
            .env("TMPDIR", directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(
            said.matches("has no file oci-layout").count(),
            1,
            "{run:?}: {said}"
        );
    }
}
