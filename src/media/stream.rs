//! `stream.json`: CoreOS stream metadata, so that tools that read a stream can use the directory.
//!
//! Locations are names in that directory. There is no `signature`, as in the streams of RHEL CoreOS.
//!
//! Fields: coreos/stream-metadata-go `stream/stream.go`; names of formats as the openshift-install
//! notes have them, section 1.1.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::os::Facts;
use crate::record::Artifact;

/// What says which stream an image is of.
const STREAM_LABEL: &str = "com.coreos.stream";

const GENERATOR: &str = concat!("coreos-bake ", env!("CARGO_PKG_VERSION"));

/// A stream: one version of the OS for some architectures.
#[derive(Debug, Serialize)]
pub(super) struct Stream<'a> {
    stream: &'a str,
    metadata: Metadata<'a>,
    architectures: BTreeMap<&'a str, Architecture<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata<'a> {
    last_modified: &'a str,
    generator: &'a str,
}

#[derive(Debug, Serialize)]
struct Architecture<'a> {
    artifacts: BTreeMap<&'static str, Platform<'a>>,
}

#[derive(Debug, Serialize)]
struct Platform<'a> {
    release: &'a str,
    formats: BTreeMap<String, BTreeMap<&'static str, Location<'a>>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Location<'a> {
    location: &'a str,
    sha256: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncompressed_sha256: Option<&'a str>,
}

/// The stream of one bake. `last_modified` is a time as RFC 3339 writes it.
pub(super) fn stream<'a>(
    facts: &'a Facts,
    artifacts: &'a [Artifact],
    last_modified: &'a str,
) -> Stream<'a> {
    let name = facts.labels.get(STREAM_LABEL).unwrap_or(&facts.osname);
    let architecture = Architecture {
        artifacts: platforms(&facts.version, artifacts),
    };
    Stream {
        stream: name,
        metadata: Metadata {
            last_modified,
            generator: GENERATOR,
        },
        architectures: BTreeMap::from([(facts.architecture.as_str(), architecture)]),
    }
}

fn platforms<'a>(
    release: &'a str,
    artifacts: &'a [Artifact],
) -> BTreeMap<&'static str, Platform<'a>> {
    let found = |role: &str| {
        let artifact = artifacts.iter().find(|artifact| artifact.role == role)?;
        let location = Location {
            location: &artifact.name,
            sha256: &artifact.sha256,
            uncompressed_sha256: artifact.uncompressed_sha256.as_deref(),
        };
        Some((location, artifact.name.as_str()))
    };
    let mut platforms: BTreeMap<&str, Platform> = BTreeMap::new();
    let mut add = |platform, format: String, parts| {
        let formats = BTreeMap::new();
        let platform = platforms
            .entry(platform)
            .or_insert(Platform { release, formats });
        platform.formats.insert(format, parts);
    };
    for (platform, format, role, ending) in [
        ("metal", "iso", "iso", None),
        ("metal", "raw", "metal", Some(".raw")),
        ("metal", "4k.raw", "metal4k", Some(".raw")),
        ("qemu", "qcow2", "qcow2", None),
    ] {
        if let Some((location, name)) = found(role) {
            // What packs the disk is part of the format's name: raw.gz, 4k.raw.xz
            let packing = ending.and_then(|ending| Some(name.rsplit_once(ending)?.1));
            let format = format!("{format}{}", packing.unwrap_or_default());
            add(platform, format, BTreeMap::from([("disk", location)]));
        }
    }
    let network = ["kernel", "initramfs", "rootfs"];
    let parts = network.map(|role| Some((role, found(role)?.0)));
    // A minimal ISO has a rootfs too, but no kernel beside it.
    if let Some(parts) = parts.into_iter().collect::<Option<BTreeMap<_, _>>>() {
        add("metal", "pxe".to_owned(), parts);
    }
    platforms
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    /// The released schema, without the parts for clouds: what `coreos-bake` has to write and may write.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Released {
        stream: String,
        metadata: ReleasedMetadata,
        architectures: BTreeMap<String, ReleasedArchitecture>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct ReleasedMetadata {
        last_modified: String,
        generator: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ReleasedArchitecture {
        artifacts: BTreeMap<String, ReleasedPlatform>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ReleasedPlatform {
        release: String,
        formats: BTreeMap<String, ReleasedFormat>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ReleasedFormat {
        disk: Option<ReleasedArtifact>,
        kernel: Option<ReleasedArtifact>,
        initramfs: Option<ReleasedArtifact>,
        rootfs: Option<ReleasedArtifact>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct ReleasedArtifact {
        location: String,
        sha256: String,
        #[serde(rename = "signature")]
        _signature: Option<String>,
        #[serde(rename = "uncompressed-sha256")]
        uncompressed_sha256: Option<String>,
    }

    fn written(files: &[(&str, &str)]) -> Value {
        let artifacts: Vec<Artifact> = files
            .iter()
            .map(|(role, name)| Artifact {
                name: (*name).to_owned(),
                role: (*role).to_owned(),
                size: 1,
                sha256: "5".repeat(64),
                uncompressed_sha256: name.ends_with(".gz").then(|| "7".repeat(64)),
                ..Artifact::default()
            })
            .collect();
        let stream = Stream {
            stream: "rhcos-4.21",
            metadata: Metadata {
                last_modified: "2026-01-01T00:00:00Z",
                generator: GENERATOR,
            },
            architectures: BTreeMap::from([(
                "x86_64",
                Architecture {
                    artifacts: platforms("9.6.1", &artifacts),
                },
            )]),
        };
        serde_json::to_value(stream).unwrap()
    }

    #[test]
    fn it_has_the_released_schema() {
        let value = written(&[
            ("iso", "a-live-iso.x86_64.iso"),
            ("minimal-iso", "a-live-minimal-iso.x86_64.iso"),
            ("kernel", "a-live-kernel.x86_64"),
            ("initramfs", "a-live-initramfs.x86_64.img"),
            ("rootfs", "a-live-rootfs.x86_64.img"),
            ("config", "a-live.x86_64.ipxe"),
            ("metal", "a.raw-metal.x86_64.raw.gz"),
            ("metal4k", "a-metal4k.x86_64.raw"),
            ("qcow2", "a-qemu.x86_64.qcow2"),
        ]);
        let released: Released = serde_json::from_value(value).unwrap();
        assert_eq!(released.stream, "rhcos-4.21");
        assert_eq!(released.metadata.last_modified, "2026-01-01T00:00:00Z");
        assert_eq!(released.metadata.generator.as_deref(), Some(GENERATOR));
        let artifacts = &released.architectures["x86_64"].artifacts;
        let mut seen = Vec::new();
        for (platform, known) in artifacts {
            assert_eq!(known.release, "9.6.1");
            for (format, parts) in &known.formats {
                for (part, artifact) in [
                    ("disk", &parts.disk),
                    ("kernel", &parts.kernel),
                    ("initramfs", &parts.initramfs),
                    ("rootfs", &parts.rootfs),
                ] {
                    let Some(artifact) = artifact else { continue };
                    assert_eq!(artifact.sha256, "5".repeat(64));
                    let packed = artifact.location.ends_with(".gz");
                    assert_eq!(artifact.uncompressed_sha256, packed.then(|| "7".repeat(64)));
                    seen.push(format!("{platform} {format} {part} {}", artifact.location));
                }
            }
        }
        assert_eq!(
            seen,
            [
                "metal 4k.raw disk a-metal4k.x86_64.raw",
                "metal iso disk a-live-iso.x86_64.iso",
                "metal pxe kernel a-live-kernel.x86_64",
                "metal pxe initramfs a-live-initramfs.x86_64.img",
                "metal pxe rootfs a-live-rootfs.x86_64.img",
                "metal raw.gz disk a.raw-metal.x86_64.raw.gz",
                "qemu qcow2 disk a-qemu.x86_64.qcow2",
            ]
        );
    }

    /// Key for key what a released stream has for these files (rhcos.json, without its URLs).
    #[test]
    fn the_keys_are_those_of_a_released_stream() {
        let artifact = |name: &str| json!({ "location": name, "sha256": "5".repeat(64) });
        assert_eq!(
            written(&[("iso", "i"), ("qcow2", "q")]),
            json!({
                "stream": "rhcos-4.21",
                "metadata": { "last-modified": "2026-01-01T00:00:00Z", "generator": GENERATOR },
                "architectures": { "x86_64": { "artifacts": {
                    "metal": { "release": "9.6.1", "formats": { "iso": { "disk": artifact("i") } } },
                    "qemu": { "release": "9.6.1", "formats": { "qcow2": { "disk": artifact("q") } } },
                } } },
            })
        );
    }

    #[test]
    fn a_part_of_a_network_set_is_no_network_set() {
        let value = written(&[("minimal-iso", "m"), ("rootfs", "r")]);
        assert_eq!(value["architectures"]["x86_64"]["artifacts"], json!({}));
    }
}
