//! What a bake leaves beside the media: checksums, stream metadata, and the record that later
//! tells whether the media are stale.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::source::Source;
use crate::stages::Presence;

/// One finished file.
#[derive(Clone, Debug, Serialize)]
pub struct Artifact {
    /// Its name in the output directory.
    pub name: String,
    /// What it is, in the words of CoreOS stream metadata: `iso`, `kernel`, `initramfs`, `rootfs`,
    /// `metal`, `metal4k`, `qcow2`, or `config`.
    pub role: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content, lower-case hex.
    pub sha256: String,
}

/// `bake.json`, schema `coreos-bake/bake/v1`.
pub(super) fn bake_json(
    source: &Source,
    artifacts: &[Artifact],
    drivers: &[Presence],
    options: &BTreeMap<&str, Value>,
    has_openshift: Option<bool>,
) -> Value {
    let image = &source.image;
    json!({
        "schema": "coreos-bake/bake/v1",
        "tool": { "name": "coreos-bake", "version": env!("CARGO_PKG_VERSION") },
        "image": {
            "reference": image.reference.to_string(),
            "manifest-digest": image.manifest_digest.as_str(),
            "architecture": image.architecture,
            "layers": image.layers.iter().map(|layer| json!({
                "digest": layer.digest.as_str(),
                "diff-id": layer.diff_id.as_str(),
                "size": layer.size_bytes,
            })).collect::<Vec<_>>(),
        },
        "os": {
            "name": source.facts.osname,
            "version": source.facts.version,
            "pretty-name": source.facts.pretty_name,
            "kernel": source.facts.kernel.release,
            "openshift-clients": has_openshift,
        },
        "ostree": {
            "base-commit": source.imported.base_commit.map(|c| c.to_string()),
            "merge-commit": source.imported.merge_commit.to_string(),
            "content-checksum": source.imported.content_checksum.to_string(),
        },
        "drivers": drivers,
        "options": options,
        "files": artifacts,
    })
}

/// `stream.json`: CoreOS stream metadata, so that tools that read a stream can use the directory.
/// Fields: coreos/stream-metadata-go `stream/stream.go`.
pub(super) fn stream_json(source: &Source, artifacts: &[Artifact], last_modified: &str) -> Value {
    let location = |role: &str| {
        artifacts
            .iter()
            .find(|artifact| artifact.role == role)
            .map(|artifact| json!({ "location": artifact.name, "sha256": artifact.sha256 }))
    };
    let mut formats = serde_json::Map::new();
    if let Some(disk) = location("iso") {
        formats.insert("iso".to_owned(), json!({ "disk": disk }));
    }
    if let (Some(kernel), Some(initramfs), Some(rootfs)) = (
        location("kernel"),
        location("initramfs"),
        location("rootfs"),
    ) {
        formats.insert(
            "pxe".to_owned(),
            json!({ "kernel": kernel, "initramfs": initramfs, "rootfs": rootfs }),
        );
    }
    let mut qemu = serde_json::Map::new();
    if let Some(disk) = location("qcow2") {
        qemu.insert("qcow2".to_owned(), json!({ "disk": disk }));
    }
    for (role, head) in [("metal", ""), ("metal4k", "4k.")] {
        let Some(artifact) = artifacts.iter().find(|artifact| artifact.role == role) else {
            continue;
        };
        // raw, raw.gz, 4k.raw.xz
        let ending = artifact.name.rsplit_once(".raw").map_or("", |(_, e)| e);
        formats.insert(
            format!("{head}raw{ending}"),
            json!({ "disk": location(role) }),
        );
    }
    let facts = &source.facts;
    let mut platforms = serde_json::Map::new();
    for (platform, formats) in [("metal", formats), ("qemu", qemu)] {
        if !formats.is_empty() {
            platforms.insert(
                platform.to_owned(),
                json!({ "release": facts.version, "formats": formats }),
            );
        }
    }
    let mut architectures = serde_json::Map::new();
    architectures.insert(
        facts.architecture.clone(),
        json!({ "artifacts": platforms }),
    );
    json!({
        "stream": facts.labels.get("com.coreos.stream").unwrap_or(&facts.osname),
        "metadata": { "last-modified": last_modified, "generator": concat!("coreos-bake ", env!("CARGO_PKG_VERSION")) },
        "architectures": architectures,
    })
}

/// `sha256sum.txt` in the form that `sha256sum --check` takes.
pub(super) fn checksums(artifacts: &[Artifact]) -> String {
    artifacts
        .iter()
        .map(|artifact| format!("{}  {}\n", artifact.sha256, artifact.name))
        .collect()
}
