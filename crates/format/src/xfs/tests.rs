//! Tests of the writer against tools we did not write: `xfs_repair`, `mkfs.xfs`, the kernel.
//!
//! Only images that `xfs_repair` finds clean are mounted: the kernel may hang on others.

mod cases;
mod contents;
mod limits;
mod mutate;
mod random;
mod referee;
mod refused;
mod round_trip;
mod seen;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Holes, Layout, Options};
use crate::progress::Progress;
use bake_referee::{have, unmount};
use bake_tree::{InodeId, Tree};

/// A UUID without meaning; images with it are mounted with `nouuid`.
const UUID: [u8; 16] = *b"0123456789abcdef";

/// The smallest file system there is.
fn small() -> Options {
    Options {
        size_bytes: 300 << 20,
        sector_size: 512,
        agcount: 2,
        label: "root".to_owned(),
        uuid: UUID,
    }
}

/// Both sector sizes, with as many groups as CoreOS and as mkfs.xfs make.
fn all_options() -> [Options; 2] {
    let four_groups = Options {
        size_bytes: 600 << 20,
        sector_size: 4096,
        agcount: 4,
        ..small()
    };
    [small(), four_groups]
}

/// Counts what it is told.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Progress for Counter {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
    fn end(&self) {}
    fn warn(&self, _: &str) {}
}

/// An image in a directory of its own, removed with it.
struct Image {
    directory: tempfile::TempDir,
}

impl Image {
    fn write(tree: &Tree, options: &Options) -> Self {
        Self::write_with_holes(tree, options, &|_| Holes::new())
    }

    fn write_with_holes(tree: &Tree, options: &Options, holes: &dyn Fn(InodeId) -> Holes) -> Self {
        Self::of(&Layout::plan_with_holes(tree, options, holes).unwrap())
    }

    fn of(layout: &Layout<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create_new(directory.path().join("image")).unwrap();
        let counter = Counter::default();
        layout.write(&file, 0, &counter).unwrap();
        assert_eq!(counter.0.into_inner(), layout.content_bytes(), "progress");
        assert_eq!(file.metadata().unwrap().len(), layout.options.size_bytes);
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Whether `xfs_repair` was there to be asked; what it finds wrong is our failure.
    #[track_caller]
    fn is_clean(&self) -> bool {
        have("xfs_repair") && {
            let found = complaints(&self.path());
            assert!(found.is_empty(), "xfs_repair found:\n{}", found.join("\n"));
            true
        }
    }
}

/// What `xfs_repair` says against an image, its exit status included.
fn complaints(image: &Path) -> Vec<String> {
    let output = Command::new("xfs_repair").arg("-n").arg(image).output();
    let output = output.unwrap();
    let is_usual = |line: &str| {
        let usual = [
            "Phase ",
            "        - ",
            "No modify flag set",
            // Said of images in files.
            "Cannot get host filesystem geometry.",
            "Repair may fail if there is a sector size mismatch between",
            "the image and the host filesystem.",
        ];
        line.is_empty() || usual.iter().any(|start| line.starts_with(start))
    };
    let mut found: Vec<String> = [output.stdout, output.stderr]
        .iter()
        .flat_map(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            text.lines()
                .filter(|line| !is_usual(line))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    if !output.status.success() {
        found.push(output.status.to_string());
    }
    found
}

/// A mounted image, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `device` is an image that `xfs_repair` found clean, or a loop device with one.
    fn new(device: &Path, directory: &Path, options: &str) -> Self {
        let target = directory.join("mounted");
        std::fs::create_dir_all(&target).unwrap();
        run(Command::new("mount")
            .args(["-t", "xfs", "-o", options])
            .args([device, &target]));
        Self(target)
    }

    fn read_only(image: &Image) -> Self {
        assert!(image.is_clean(), "only clean images are mounted");
        Self::new(
            &image.path(),
            image.directory.path(),
            "loop,ro,nouuid,norecovery",
        )
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Whether images can be mounted here.
fn can_mount() -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return false;
    }
    let kinds = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let can =
        kinds.lines().any(|line| line.trim() == "xfs") && Path::new("/dev/loop-control").exists();
    if !can {
        println!("skipped: needs a kernel with XFS and loop devices");
    }
    can && have("mount") && have("xfs_repair")
}

/// Runs a tool to its end and returns what it printed; its failure is ours.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?} failed:\n{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stdout.into_owned()
}
