//! Images that podman, buildah or CRI-O keep on this host.
//!
//! How they are stored is these programs' own business and changes, and rootless storage needs
//! their user namespace to be read. So one of them exports the image as an OCI archive, which is
//! read without a name in the scratch directory: nothing is left behind.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::error::ImageError;
use crate::staging::Scratch;

/// How much of a failed program's messages is quoted, in bytes.
const QUOTED_MAX: usize = 1000;

/// A program that can export, and its arguments for an image and the file to write.
#[derive(Clone, Copy)]
pub(super) struct Exporter {
    program: &'static str,
    arguments: fn(name: &str, file: &Path) -> Vec<OsString>,
}

/// In the order in which they are tried.
pub(super) const EXPORTERS: [Exporter; 2] = [
    Exporter {
        program: "podman",
        arguments: |name, file| {
            let mut arguments = ["save", "--quiet", "--format", "oci-archive", "--output"]
                .map(OsString::from)
                .to_vec();
            arguments.extend([file.into(), name.into()]);
            arguments
        },
    },
    Exporter {
        program: "skopeo",
        arguments: |name, file| {
            let mut target = OsString::from("oci-archive:");
            target.push(file);
            let source = format!("containers-storage:{name}");
            vec!["copy".into(), "--quiet".into(), source.into(), target]
        },
    },
];

/// Exports the image `name` to a file without a name in `scratch`. Programs are looked for in
/// the directories of `path`, the value of `$PATH`.
pub(super) fn export(name: &str, scratch: &Path, path: Option<OsString>) -> anyhow::Result<File> {
    let (program, exporter) = EXPORTERS
        .iter()
        // A name with the place of the storage in brackets is skopeo's alone.
        .filter(|exporter| exporter.program == "skopeo" || !name.starts_with('['))
        .find_map(|exporter| Some((find(exporter.program, path.as_deref()?)?, exporter)))
        .ok_or_else(|| ImageError::NoExporter {
            name: name.to_owned(),
        })?;
    // Both insist on a path that does not exist yet.
    let directory = Scratch::new_in(scratch)
        .with_context(|| format!("making a directory in {}", scratch.display()))?;
    let file = directory.path().join("image");
    let mut command = Command::new(program);
    command
        .args((exporter.arguments)(name, &file))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    tracing::debug!(?command, "exporting from containers-storage");
    // What it says is kept whole until it ends: it is a program of this machine, and says little.
    let output = command
        .output()
        .with_context(|| format!("running {}", exporter.program))?;
    if !output.status.success() {
        bail!(
            "{} could not export containers-storage:{name} ({}): {}",
            exporter.program,
            output.status,
            tail(&output.stderr)
        );
    }
    File::open(&file).with_context(|| format!("opening what {} exported", exporter.program))
}

fn find(program: &str, path: &std::ffi::OsStr) -> Option<std::path::PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The last lines of what a program said, on one line, without what could upset a terminal.
pub(super) fn tail(stderr: &[u8]) -> String {
    let from = stderr.len().saturating_sub(QUOTED_MAX);
    let text = String::from_utf8_lossy(&stderr[from..]);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    match lines.is_empty() {
        true => "it gave no reason".to_owned(),
        false => lines.join("; ").replace(char::is_control, ""),
    }
}
