//! What a bake leaves beside the media: checksums, and the record that later tells whether the media
//! are stale.

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
    /// The same of the disk that a packed disk image unpacks to.
    #[serde(
        rename = "uncompressed-sha256",
        skip_serializing_if = "Option::is_none"
    )]
    pub uncompressed_sha256: Option<String>,
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

/// `sha256sum.txt` in the form that `sha256sum --check` takes.
pub(super) fn checksums(artifacts: &[Artifact]) -> String {
    artifacts
        .iter()
        .map(|artifact| format!("{}  {}\n", artifact.sha256, artifact.name))
        .collect()
}
