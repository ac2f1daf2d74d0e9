//! Images written by us, judged by qemu-img; images by qemu-img, read by us.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::{Compression, Reader, write};
use crate::sparse::RawFile;
use bake_referee::have;
use bake_tree::Content;

const KINDS: [Compression; 3] = [Compression::None, Compression::Zlib, Compression::Zstd];

/// A sparse disk of `len` bytes with text, noise and islands.
fn disk(path: &Path, len: u64) -> Arc<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap();
    file.set_len(len).unwrap();
    let mut state = 1u64;
    let noise: Vec<u8> = (0..300_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let text: Vec<u8> = (0..40_000)
        .flat_map(|n| format!("{n} ").into_bytes())
        .collect();
    for (at, bytes) in [(0, &text), (3 << 20, &noise), (20 << 20, &text)] {
        let room = len.saturating_sub(at).min(bytes.len() as u64);
        file.write_all_at(&bytes[..room as usize], at).unwrap();
    }
    if len > 0 {
        file.write_all_at(b"!", len - 1).unwrap();
    }
    Arc::new(file)
}

fn read_back(image: File) -> Vec<u8> {
    let len = image.metadata().unwrap().len();
    let reader = Reader::open(Content::range(Arc::new(image), 0, len)).unwrap();
    let content = reader.into_content();
    content.to_vec(1 << 30).unwrap()
}

fn run(arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
fn what_is_written_is_read_back_and_qemu_img_agrees() {
    let scratch = tempfile::tempdir().unwrap();
    let referee = have("qemu-img");
    for (number, (len, size)) in [
        (0, 512),
        (65_536, 65_536),
        (65_535 + 1024, 1 << 20),
        (33 << 20, 33 << 20),
        // Several second-level tables.
        ((2 << 30) + 512, 5 << 30),
    ]
    .into_iter()
    .enumerate()
    {
        let len = len / 512 * 512;
        let raw = scratch.path().join(format!("{number}.raw"));
        let source = RawFile::new(disk(&raw, len)).unwrap();
        for kind in KINDS {
            let path = scratch.path().join(format!("{number}-{kind:?}.qcow2"));
            let image = File::create_new(&path).unwrap();
            write(&source, size, kind, 2, &image, &|_| ()).unwrap();
            if len < 1 << 30 {
                let mut expected = fs::read(&raw).unwrap();
                expected.resize(size as usize, 0);
                let found = read_back(File::open(&path).unwrap());
                assert!(found == expected, "{len} {kind:?}");
            }
            if referee {
                let path = path.to_str().unwrap();
                run(&["check", "-f", "qcow2", path]);
                run(&[
                    "compare",
                    "-F",
                    "qcow2",
                    "-f",
                    "raw",
                    raw.to_str().unwrap(),
                    path,
                ]);
            }
        }
    }
}

#[test]
fn threads_do_not_change_the_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let source = RawFile::new(disk(&scratch.path().join("raw"), 33 << 20)).unwrap();
    let image = |name: &str, threads| {
        let path = scratch.path().join(name);
        let file = File::create_new(&path).unwrap();
        write(
            &source,
            40 << 20,
            Compression::Zstd,
            threads,
            &file,
            &|_| (),
        )
        .unwrap();
        fs::read(path).unwrap()
    };
    assert!(image("one", 1) == image("three", 3));
}

#[test]
fn images_by_qemu_img_are_read() {
    if !have("qemu-img") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let raw = scratch.path().join("raw");
    disk(&raw, 33 << 20);
    let expected = fs::read(&raw).unwrap();
    for options in [
        vec!["-o", "compat=1.1"],
        vec!["-o", "compat=0.10"],
        vec!["-c"],
        vec!["-c", "-o", "compression_type=zstd"],
        vec!["-o", "cluster_size=4k"],
        vec!["-c", "-o", "cluster_size=2M"],
    ] {
        let path = scratch.path().join("image");
        let (raw, image) = (raw.to_str().unwrap(), path.to_str().unwrap());
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(&options);
        arguments.extend([raw, image]);
        run(&arguments);
        assert!(
            read_back(File::open(&path).unwrap()) == expected,
            "{options:?}"
        );
    }
}

#[test]
fn damage_is_refused_or_read_but_never_panics() {
    let scratch = tempfile::tempdir().unwrap();
    let source = RawFile::new(disk(&scratch.path().join("raw"), 4 << 20)).unwrap();
    let path = scratch.path().join("image");
    let file = File::create_new(&path).unwrap();
    write(&source, 4 << 20, Compression::Zlib, 1, &file, &|_| ()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let read = |bytes: Vec<u8>| -> anyhow::Result<()> {
        let content = Reader::open(Content::bytes(bytes))?.into_content();
        content.to_vec(64 << 20)?;
        Ok(())
    };
    read(bytes.clone()).unwrap();
    for at in 0..112 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            let _ = read(damaged);
        }
    }
    for len in (0..bytes.len()).step_by(4999) {
        let _ = read(bytes[..len].to_vec());
    }
    for (field, words) in [
        (4, "version"),
        (72, "features"),
        (8, "backing"),
        (32, "encrypted"),
    ] {
        let mut damaged = bytes.clone();
        damaged[field + 3] = 77;
        let error = format!("{:#}", read(damaged).unwrap_err());
        assert!(error.contains(words), "{field}: {error}");
    }
}
