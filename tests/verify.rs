//! Media are compared with what they were made as, by what lies beside them and by what is in them.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Workshop, find, open_up, run};

fn media(workshop: &Workshop) -> PathBuf {
    let output = workshop.path("media");
    let mut command = workshop.bake_as_nobody();
    let formats = ["iso", "pxe", "metal", "qcow2"];
    let formats = formats.iter().flat_map(|format| ["-f", *format]);
    command
        .args(["bake", &workshop.image("layered"), "-o"])
        .arg(&output)
        .args(["--compression", "fast"])
        .args(formats);
    run(&mut command);
    output
}

fn verify(workshop: &Workshop, path: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let mut command = workshop.bake_as_nobody();
    command
        .args(["verify", "--format", "json"])
        .arg(path)
        .args(more);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::String(said));
    (output.status.code(), value)
}

/// Medium, part and damage of the last thing that was looked at.
fn last(verified: &Value) -> (String, String, String) {
    let parts = verified["parts"].as_array();
    let part = parts
        .unwrap_or_else(|| panic!("{verified}"))
        .last()
        .unwrap();
    let word = |name: &str| part[name].as_str().unwrap_or_default().to_owned();
    (word("medium"), word("part"), word("damage"))
}

/// Where some bytes begin in a file.
fn position(path: &Path, wanted: &[u8]) -> u64 {
    let mut file = File::open(path).unwrap();
    let mut at = 0;
    let mut window = vec![0; 1 << 20];
    loop {
        file.seek(SeekFrom::Start(at)).unwrap();
        let mut read = 0;
        while read < window.len() {
            match file.read(&mut window[read..]).unwrap() {
                0 => break,
                more => read += more,
            }
        }
        assert!(
            read > wanted.len(),
            "{} is not in {}",
            wanted.escape_ascii(),
            path.display()
        );
        let mut found = window[..read].windows(wanted.len());
        if let Some(found) = found.position(|bytes| bytes == wanted) {
            return at + found as u64;
        }
        at += (read - wanted.len()) as u64;
    }
}

/// Flips a bit while `then` looks.
fn flipped<T>(path: &Path, at: u64, then: impl FnOnce() -> T) -> T {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    let told = then();
    file.write_all_at(&byte, at).unwrap();
    told
}

#[test]
fn media_are_as_they_were_baked_until_a_bit_flips() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let media = media(&workshop);
    let (code, verified) = verify(&workshop, &media, &[]);
    assert_eq!(code, Some(0), "{verified}");
    let parts: Vec<&str> = verified["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["part"].as_str().unwrap())
        .collect();
    for part in [
        "checksum",
        "files",
        "partition table",
        "areas",
        "boot",
        "live root",
        "ostree objects",
        "disk image",
        "EFI-SYSTEM",
        "/boot",
        "root",
    ] {
        assert!(parts.contains(&part), "{part}: {parts:?}");
    }
    assert_eq!(verified["notes"], serde_json::json!([]), "{verified}");

    // Any bit, by the checksums beside the media.
    let raw = find(&media, "-metal.");
    let len = fs::metadata(&raw).unwrap().len();
    let (code, verified) = flipped(&raw, len / 2 + 12345, || verify(&workshop, &media, &[]));
    assert_eq!(code, Some(1));
    let (medium, part, damage) = last(&verified);
    assert_eq!((&*medium, &*part), (&*name(&raw), "checksum"));
    assert!(damage.contains("which bake.json has for it"), "{damage}");

    // A part that is no medium by itself.
    let (code, verified) = verify(&workshop, &find(&media, "-live-kernel."), &[]);
    assert_eq!(code, Some(0), "{verified}");

    // A stick is longer than the ISO, and is recognised.
    let iso = find(&media, "-live-iso.");
    let place = workshop.output("alone");
    fs::create_dir_all(&place).unwrap();
    let stick = place.join("stick");
    fs::copy(&iso, &stick).unwrap();
    let mut file = OpenOptions::new().append(true).open(&stick).unwrap();
    file.write_all(&[0xff; 3 << 20]).unwrap();
    open_up(&place);
    let record = media.join("bake.json");
    let sums = ["--sums", record.to_str().unwrap()];
    let (code, verified) = verify(&workshop, &stick, &sums);
    assert_eq!(code, Some(0), "{verified}");
    let compared = verified["parts"][0]["compared"].as_str().unwrap();
    assert!(compared.contains(&name(&iso)), "{compared}");
    let (code, verified) = flipped(&stick, 100, || verify(&workshop, &stick, &sums));
    assert_eq!(code, Some(1));
    assert!(
        last(&verified).2.contains("begins with none of the files"),
        "{verified}"
    );
    // What shell tools say of the same.
    let list = media.join("sha256sum.txt");
    let mut checked = Command::new("sha256sum");
    run(checked
        .args(["--check", "--quiet"])
        .arg(&list)
        .current_dir(&media));

    // Without anything beside it, by what is in it.
    let middle = |path: &Path| fs::metadata(path).unwrap().len() / 2;
    for (at, part) in [
        // Where the root directory is, in the first descriptor.
        (0x8000 + 158, "medium"),
        (512 + 60, "partition table"),
        (middle(&iso), "boot"),
    ] {
        let (code, verified) = flipped(&stick, at, || verify(&workshop, &stick, &[]));
        assert_eq!(code, Some(1), "{part}: {verified}");
        assert_eq!(last(&verified).1, part, "{verified}");
    }
    let disk = place.join("disk");
    fs::copy(&raw, &disk).unwrap();
    open_up(&place);
    let esp = position(&disk, b"MZ");
    // The first copy of the kernel is that of /boot.
    let kernel = fs::read(find(&media, "-live-kernel.")).unwrap();
    let kernel = position(&disk, &kernel[kernel.len() / 2..][..64]);
    for (at, part, sentence) in [
        (512 + 60, "medium", "wrong checksum"),
        (len - 512 + 60, "partition table", "backup"),
        (esp + 1000, "EFI-SYSTEM", "is a copy of"),
        (kernel, "boot", "what boots is not the file"),
    ] {
        let (code, verified) = flipped(&disk, at, || verify(&workshop, &disk, &[]));
        assert_eq!(code, Some(1), "{part}: {verified}");
        let (_, found, damage) = last(&verified);
        assert_eq!(found, part, "{verified}");
        assert!(damage.contains(sentence), "{sentence}: {damage}");
    }
    // A file of the system is an object of the repository, wherever it lies.
    let file = position(&disk, b"PRETTY_NAME=\"Mini CoreOS");
    let (code, verified) = flipped(&disk, file, || verify(&workshop, &disk, &[]));
    assert_eq!(code, Some(1));
    let (_, part, damage) = last(&verified);
    assert_eq!(part, "ostree objects", "{verified}");
    assert!(damage.starts_with("/ostree/repo/objects/"), "{damage}");
    assert!(
        damage.contains(".file is damaged: its checksum is"),
        "{damage}"
    );
    let told = verified["notes"][0].as_str().unwrap();
    assert!(
        told.contains("what no checksum in the media covers"),
        "{told}"
    );
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn what_is_no_medium_is_told_in_a_sentence() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let place = workshop.output("foreign");
    fs::create_dir_all(place.join("empty")).unwrap();
    fs::write(place.join("text"), "hello\n").unwrap();
    fs::write(place.join("nothing"), "").unwrap();
    fs::write(place.join("zeros"), vec![0; 4 << 20]).unwrap();
    open_up(&place);
    for (path, sentence) in [
        ("text", "neither an ISO nor a disk"),
        ("nothing", "neither an ISO nor a disk"),
        ("zeros", "neither an ISO nor a disk"),
    ] {
        let (code, error) = verify(&workshop, &place.join(path), &[]);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.as_str().unwrap().contains(sentence), "{error}");
    }
    for path in ["empty", "missing", "oci:image", "*.iso"] {
        let (code, error) = verify(&workshop, &place.join(path), &[]);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.as_str().unwrap().contains("\"error\""), "{error}");
    }
}
