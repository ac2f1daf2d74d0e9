//! Media types: which manifests and layers are understood, and how layers are compressed.
//!
//! Truth: image specification, `media-types.md`; Docker's `manifest-v2-2`. The zstd type in
//! Docker's namespace is in no document, but tools write it.

/// OCI image manifest.
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image manifest.
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's counterpart of the index.
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI image configuration.
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's image configuration.
pub(super) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a registry is asked for.
pub(super) const MANIFESTS: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Whether a descriptor of this type points to a list of manifests.
pub(super) fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether a descriptor of this type points to the manifest of one image.
pub(super) fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// How a layer's tar stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952; several members may follow each other.
    Gzip,
    /// Zstandard, RFC 8878; several frames may follow each other, some of them skippable.
    Zstd,
}

impl Compression {
    /// What a layer's media type says; `None` for types that are no layer we can read.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar" => Self::None,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Self::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// Which compression begins with these bytes; `None` if it is none we know by its magic.
    pub(super) fn sniff(start: &[u8]) -> Option<&'static str> {
        Some(match start {
            [0x1f, 0x8b, ..] => "gzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => "zstd",
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => "bzip2",
            _ => return None,
        })
    }

    /// The name that [`Compression::sniff`] gives it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Compression;

    #[test]
    fn layers_are_told_apart_by_media_type() {
        for (media_type, compression) in [
            (
                "application/vnd.oci.image.layer.v1.tar",
                Some(Compression::None),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                Some(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                Some(Compression::Zstd),
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                Some(Compression::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Some(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd+encrypted",
                None,
            ),
            ("application/vnd.oci.image.layer.v1.tar+gzip ", None),
            ("application/vnd.oci.image.config.v1+json", None),
            ("", None),
        ] {
            assert_eq!(
                Compression::of_media_type(media_type),
                compression,
                "{media_type}"
            );
        }
    }

    #[test]
    fn magic_numbers_are_known() {
        for (start, name) in [
            (&b"\x1f\x8b\x08"[..], Some("gzip")),
            (b"\x28\xb5\x2f\xfd\0", Some("zstd")),
            (b"\x50\x2a\x4d\x18\0", Some("zstd")),
            (b"\x5f\x2a\x4d\x18\0", Some("zstd")),
            (b"\x60\x2a\x4d\x18\0", None),
            (b"\xfd7zXZ\0", Some("xz")),
            (b"BZh91AY&SY", Some("bzip2")),
            (b"BZh.conf", None),
            (b"\x1f", None),
            (b"", None),
        ] {
            assert_eq!(Compression::sniff(start), name, "{start:?}");
        }
    }
}
