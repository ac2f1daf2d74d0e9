//! What `bake.json` says that the cluster has to be told.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::read;
use crate::failure::Failure;
use crate::image::uname;
use crate::openshift::paths::BakedFile;
use crate::openshift::{Derivation, Media};

/// Its name in the directory that bake has written.
const RECORD: &str = "bake.json";

/// Largest record. One of a bake with many drivers has some hundred KiB.
const RECORD_MAX_BYTES: u64 = 64 << 20;

/// What an origin begins with if its image is in a registry; the image's name comes behind it.
const REGISTRIES: [&str; 6] = [
    "ostree-unverified-registry:",
    "ostree-unverified-image:docker://",
    "ostree-unverified-image:registry:",
    "ostree-image-signed:docker://",
    "ostree-image-signed:registry:",
    "docker://",
];

/// A finished bake.
#[derive(Debug)]
pub(super) struct Bake {
    /// What the media are of.
    pub(super) media: Media,
    /// The image as nodes can pull it, if it was in a registry.
    pub(super) os_image: Option<String>,
    /// The version of the OS.
    pub(super) os_version: String,
    /// The drivers that were asked for.
    pub(super) drivers: Vec<String>,
    /// Architecture by its RPM name.
    pub(super) architecture: String,
    /// What was written.
    pub(super) files: Vec<BakedFile>,
}

impl Bake {
    /// Reads the record at a path, or in the directory there.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let path = match path.is_dir() {
            true => path.join(RECORD),
            false => path.to_owned(),
        };
        let bytes = read(&path, RECORD_MAX_BYTES)?;
        let value: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("reading {}", path.display()))?;
        if value["schema"] != "coreos-bake/bake/v1" {
            return Err(Failure::new(
                format!("{} is no record of a bake", path.display()),
                "name the directory that coreos-bake bake has written",
            )
            .into());
        }
        Ok(Self::of(&value))
    }

    fn of(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let registry_name = registry_name(&text(&value["options"]["origin"]));
        let digest = text(&value["image"]["manifest-digest"]);
        let is_digested = |name: &String| name.contains('@');
        let os_image = registry_name.clone().filter(is_digested).or_else(|| {
            let reference = text(&value["image"]["reference"]);
            let name = reference.strip_prefix("docker://")?;
            // A tag comes behind the last part of the path; a port comes before it.
            let name = name.split('@').next()?;
            let name = match name.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => name,
                _ => name,
            };
            Some(format!("{name}@{digest}"))
        });
        let mut drivers: Vec<String> = Vec::new();
        for presence in value["drivers"].as_array().into_iter().flatten() {
            let name = text(&presence["driver"]);
            if !name.is_empty() && !drivers.contains(&name) {
                drivers.push(name);
            }
        }
        let files = value["files"].as_array().into_iter().flatten();
        Self {
            media: Media {
                registry_name,
                manifest_digest: (!digest.is_empty()).then(|| digest.clone()),
                derivation: match value["os"]["openshift-clients"].as_bool() {
                    Some(true) => Derivation::Node,
                    Some(false) => Derivation::Base,
                    None => Derivation::Unknown,
                },
            },
            os_image,
            os_version: text(&value["os"]["version"]),
            drivers,
            architecture: uname(&text(&value["image"]["architecture"])).to_owned(),
            files: files.map(baked_file).collect(),
        }
    }
}

fn baked_file(value: &Value) -> BakedFile {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    BakedFile {
        role: text("role").unwrap_or_default(),
        name: text("name").unwrap_or_default(),
        size: value["size"].as_u64().unwrap_or_default(),
        sha256: text("sha256").unwrap_or_default(),
        uncompressed_sha256: text("uncompressed-sha256"),
    }
}

/// The name of an image in a registry, from an origin as ostree writes it.
fn registry_name(origin: &str) -> Option<String> {
    if let Some(rest) = origin.strip_prefix("ostree-remote-registry:") {
        return rest.split_once(':').map(|(_, name)| name.to_owned());
    }
    let name = REGISTRIES
        .iter()
        .find_map(|prefix| origin.strip_prefix(prefix))?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn the_image_is_named_by_the_origin_or_by_where_it_was_read() {
        let registry = format!("ostree-unverified-registry:quay.io/me/os@{DIGEST}");
        let remote = format!("ostree-remote-registry:fedora:quay.io/me/os@{DIGEST}");
        let local = "ostree-unverified-image:oci:/os.oci";
        for (origin, reference, name, os_image) in [
            (registry.as_str(), "oci:/os.oci", true, true),
            (&remote, "oci:/os.oci", true, true),
            (local, "oci:/os.oci", false, false),
            (local, "docker://quay.io/me/os", false, true),
            (local, "docker://quay.io/me/os:latest", false, true),
        ] {
            let bake = Bake::of(&json!({
                "image": { "reference": reference, "manifest-digest": DIGEST },
                "options": { "origin": origin },
                "drivers": [{ "driver": "a" }, { "driver": "a" }, { "driver": "b" }],
            }));
            let expected = format!("quay.io/me/os@{DIGEST}");
            let expected = |is: bool| is.then(|| expected.clone());
            assert_eq!(
                bake.media.registry_name,
                expected(name),
                "{origin} {reference}"
            );
            assert_eq!(bake.os_image, expected(os_image), "{origin} {reference}");
            assert_eq!(bake.drivers, ["a", "b"]);
        }
        let port = Bake::of(&json!({
            "image": { "reference": "docker://r.example:5000/os", "manifest-digest": DIGEST },
        }));
        assert_eq!(port.os_image, Some(format!("r.example:5000/os@{DIGEST}")));
    }
}
