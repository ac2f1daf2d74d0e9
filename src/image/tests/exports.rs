//! Exports from containers-storage, by stand-ins for podman and skopeo, and by the real skopeo.

use std::ffi::OsString;
use std::path::Path;

use super::fixture::{Fixture, gzip_layer, have, read, run, tar};
use crate::image::archive::Archive;
use crate::image::{ImageError, storage};

/// Puts a shell script into `directory` under the name of a program.
fn stand_in(directory: &Path, name: &str, script: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let text = directory.join("script");
    std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
    // Installed by another process, so that no thread here has it open for writing when it is run.
    let target = directory.join(name);
    run(
        "install",
        &["-m755", text.to_str().unwrap(), target.to_str().unwrap()],
    );
}

fn path_of(directory: &Path) -> Option<OsString> {
    let system = std::env::var_os("PATH").unwrap();
    let mut all = vec![directory.to_owned()];
    all.extend(std::env::split_paths(&system).filter(|d| !d.join("skopeo").exists()));
    Some(std::env::join_paths(all).unwrap())
}

#[test]
fn podman_goes_first_and_leaves_nothing() {
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let (layout, programs) = (fixture.layout(), fixture.directory().join("bin"));
    let tar_up = format!("tar -C {} -cf \"$file\" .", layout.display());
    let podman = format!(
        "test \"$1 $2 $3 $4 $5 $7\" = 'save --quiet --format oci-archive --output localhost/os:1' || exit 9\nfile=$6\n{tar_up}"
    );
    let skopeo = format!(
        "test \"$1 $2 $3\" = 'copy --quiet containers-storage:localhost/os:1' || exit 9\nfile=${{4#oci-archive:}}\n{tar_up}"
    );
    let scratch = fixture.directory().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    for (name, script) in [("skopeo", skopeo), ("podman", podman)] {
        stand_in(&programs, name, &script);
        let file = storage::export("localhost/os:1", &scratch, path_of(&programs)).unwrap();
        assert_eq!(scratch.read_dir().unwrap().count(), 0, "{name}");
        let (archive, _) = Archive::from_file(file, "it").unwrap();
        let layer = &fixture.open("").unwrap().layers[0].digest;
        assert!(archive.len_bytes(layer).is_some(), "{name}");
        // podman must not even be asked by the time skopeo fails.
        stand_in(&programs, "skopeo", "exit 8");
    }
}

#[test]
fn failures_are_quoted() {
    let fixture = Fixture::new();
    let programs = fixture.directory().join("bin");
    stand_in(
        &programs,
        "podman",
        "printf 'trying\\n\\033[31mError: x: image not known\\n' >&2; exit 125",
    );
    let error = storage::export("x", fixture.directory(), path_of(&programs)).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("podman could not export containers-storage:x"),
        "{text}"
    );
    assert!(
        text.ends_with(": trying; [31mError: x: image not known"),
        "{text:?}"
    );
}

#[test]
fn without_a_program_there_is_advice() {
    let fixture = Fixture::new();
    for path in [
        None,
        Some(OsString::new()),
        Some(fixture.directory().into()),
    ] {
        let error = storage::export("x", fixture.directory(), path).unwrap_err();
        let error = error.downcast::<ImageError>().unwrap();
        assert!(matches!(error, ImageError::NoExporter { .. }));
        assert!(error.hint().unwrap().contains("podman or skopeo"));
    }
}

/// The real skopeo with a storage of its own; needs root, or podman's user namespace.
#[test]
fn skopeo_exports_from_a_real_storage() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    if !have("skopeo") {
        return;
    }
    let fixture = Fixture::with_layers(&[gzip_layer("a")]);
    let directory = fixture.directory().display();
    let name = format!("[vfs@{directory}/root+{directory}/run]localhost/os:1");
    let source = format!("oci:{directory}/layout");
    run(
        "skopeo",
        &["copy", &source, &format!("containers-storage:{name}")],
    );
    let image = crate::image::open(
        &format!("containers-storage:{name}").parse().unwrap(),
        &fixture.access(),
    )
    .unwrap();
    assert_eq!(image.config, fixture.open("").unwrap().config);
    assert_eq!(read(&image, 0), Ok(tar("a")));
}
