//! `/ostree/repo`: a bare repository with every object of the import.

use std::collections::BTreeMap;

use super::plot::Plot;
use crate::ostree::{Checksum, Imported, Object};
use crate::tree::{Content, InodeId, Meta};

/// Inodes of the file objects, so that the deployment can link to them.
pub(super) type FileObjects = BTreeMap<Checksum, InodeId>;

/// The line of [`config`] that live media must not have.
pub(super) const READONLY: &str = "readonly=true\n";

/// Settings that CoreOS gives the repository; live media drop the `readonly` line.
///
/// `bootprefix` and `bls-append-except-default`: coreos-assembler, stage org.osbuild.ostree.config.
/// GRUB reads boot entries by itself. On s390x nothing does, so libostree has to run zipl whenever it
/// deploys, and the line for GRUB's menu is left out (same sources, `build.s390x.mpp.yaml`).
fn config(architecture: &str) -> String {
    let (bootloader, menu) = match architecture {
        "s390x" => ("zipl", ""),
        _ => ("none", "bls-append-except-default=grub_users=\"\"\n"),
    };
    format!(
        "[core]\nrepo_version=1\nmode=bare\n\n\
         [sysroot]\n{READONLY}bootloader={bootloader}\nbootprefix=true\n{menu}"
    )
}

pub(super) fn add(plot: &mut Plot, imported: &Imported, architecture: &str) -> FileObjects {
    for directory in [
        "extensions",
        "objects",
        "refs/heads",
        "refs/mirrors",
        "refs/remotes",
        "state",
        "tmp/cache",
    ] {
        plot.directory(&format!("ostree/repo/{directory}"));
    }
    plot.file("ostree/repo/config", 0o644, config(architecture));
    plot.file("ostree/repo/.lock", 0o640, "");

    let mut files = FileObjects::new();
    for (name, object) in &imported.objects {
        let checksum = name.checksum.to_string();
        let (shard, rest) = checksum.split_at(2);
        let path = format!(
            "ostree/repo/objects/{shard}/{rest}.{}",
            name.kind.extension()
        );
        match object {
            Object::Metadata(bytes) => {
                plot.content(&path, Meta::root(0o644), Content::bytes(bytes.clone()));
            }
            Object::File { meta, node } => {
                let id = plot.tree().add(meta.clone(), node.clone());
                let parent = plot.directory(&format!("ostree/repo/objects/{shard}"));
                let leaf = format!("{rest}.{}", name.kind.extension());
                plot.tree().link(parent, leaf.as_bytes(), id);
                files.insert(name.checksum, id);
            }
        }
    }
    for (name, checksum) in &imported.refs {
        add_ref(plot, name, checksum);
    }
    // What `ostree admin deploy` calls the first deployment of boot version 1, subversion 1.
    add_ref(plot, "ostree/1/1/0", &imported.merge_commit);
    files
}

fn add_ref(plot: &mut Plot, name: &str, checksum: &Checksum) {
    plot.file(
        &format!("ostree/repo/refs/heads/{name}"),
        0o644,
        format!("{checksum}\n"),
    );
}
