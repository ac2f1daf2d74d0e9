//! The documents of an image: manifest, index, configuration.
//!
//! Types are `oci-spec`'s; Docker's documents have the same fields. What is checked here is what
//! types can't say: versions, media types against shape, and limits.
//!
//! Truth: image specification, `manifest.md`, `image-index.md`, `config.md`.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::blob::Blob;
use super::digest::Digest;
use super::error::ImageError;
use super::media_type::{DOCKER_CONFIG, OCI_CONFIG, is_index, is_manifest};
use super::quoted::{fault, shown};

/// Most bytes of a manifest or index: the limit that the distribution specification lets
/// registries have.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Most bytes of a configuration. Its history grows with every build step, but thousands of steps
/// stay below 1 MiB.
pub(super) const CONFIG_BYTES_MAX: u64 = 16 << 20;

/// A manifest, or a list of them.
#[derive(Debug)]
pub(super) enum Document {
    Image(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

/// The fields by which documents are told apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
}

impl Document {
    /// Reads a manifest or index. `object` is for messages.
    pub(super) fn parse(bytes: &[u8], object: &str) -> Result<Self, ImageError> {
        let malformed = |reason: String| ImageError::Malformed {
            object: object.to_owned(),
            reason,
        };
        let json = |error: serde_json::Error| malformed(fault(&error));
        let shape: Shape = serde_json::from_slice(bytes).map_err(json)?;
        match shape.schema_version {
            Some(2) => (),
            None => return Err(malformed("it has no schemaVersion".into())),
            Some(version) => {
                return Err(ImageError::SchemaVersion {
                    object: object.to_owned(),
                    version,
                });
            }
        }
        // A document that can be read both ways means different things to different tools
        // (CVE-2021-41190).
        let index = match (&shape.manifests, &shape.layers, &shape.config) {
            (Some(_), None, None) => true,
            (None, _, Some(_)) => false,
            (None, _, None) => return Err(malformed("it has neither manifests nor config".into())),
            _ => return Err(malformed("it is a manifest and an index at once".into())),
        };
        if let Some(media_type) = shape.media_type {
            let holds = match index {
                true => is_index(&media_type),
                false => is_manifest(&media_type),
            };
            if !holds {
                let what = if index { "an index" } else { "a manifest" };
                let media_type = shown(&media_type);
                let reason = format!("its media type is {media_type:?}, but it is {what}");
                return Err(malformed(reason));
            }
        }
        match index {
            true => serde_json::from_slice(bytes).map(Self::Index),
            false => serde_json::from_slice(bytes).map(Self::Image),
        }
        .map_err(json)
    }
}

/// The blob that a descriptor points to.
pub(super) fn blob(descriptor: &Descriptor, object: String) -> Result<Blob, ImageError> {
    Ok(Blob {
        digest: digest(descriptor.digest().as_ref(), &object)?,
        size_bytes: descriptor.size(),
        object,
    })
}

fn digest(text: &str, object: &str) -> Result<Digest, ImageError> {
    text.parse()
        .map_err(|error: super::digest::DigestError| ImageError::Malformed {
            object: object.to_owned(),
            reason: error.to_string(),
        })
}

/// The blob with the configuration of an image.
pub(super) fn config_blob(manifest: &ImageManifest, object: &str) -> Result<Blob, ImageError> {
    let media_type = manifest.config().media_type().to_string();
    if !matches!(media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
        return Err(ImageError::NotAnImage {
            object: object.to_owned(),
            media_type: match manifest.artifact_type() {
                Some(artifact) => shown(artifact.as_ref()),
                None => shown(&media_type),
            },
        });
    }
    blob(manifest.config(), format!("the configuration in {object}"))
}

/// What we use of a configuration. How many labels and diff-ids there can be follows from [`CONFIG_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct Config {
    /// GOARCH name.
    pub(super) architecture: String,
    /// GOOS name.
    pub(super) os: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) diff_ids: Vec<Digest>,
    /// Seconds since 1970.
    pub(super) created: Option<u64>,
}

impl Config {
    /// Reads a configuration. `object` is for messages.
    pub(super) fn parse(bytes: &[u8], object: &str) -> Result<Self, ImageError> {
        let config: ImageConfiguration =
            serde_json::from_slice(bytes).map_err(|error| ImageError::Malformed {
                object: object.to_owned(),
                reason: fault(&error),
            })?;
        let architecture = config.architecture().to_string();
        // It ends up in messages and names of files.
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if architecture.is_empty() || !architecture.bytes().all(sound) {
            return Err(ImageError::Malformed {
                object: object.to_owned(),
                reason: format!("{:?} is not an architecture", shown(&architecture)),
            });
        }
        let diff_ids = config.rootfs().diff_ids().iter();
        let labels = config.config().as_ref().and_then(|c| c.labels().clone());
        Ok(Self {
            architecture,
            os: config.os().to_string(),
            labels: labels.unwrap_or_default().into_iter().collect(),
            diff_ids: diff_ids
                .map(|text| digest(text, object))
                .collect::<Result<_, _>>()?,
            created: config.created().as_deref().and_then(unix_seconds),
        })
    }
}

/// Seconds since 1970 of an RFC 3339 time; none for what is malformed or earlier, such as the year
/// 1 that Go programs write for "unknown".
fn unix_seconds(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        let all = digits.bytes().all(|b| b.is_ascii_digit());
        all.then(|| digits.parse().ok())?
    };
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|b| marks.contains(b));
    let marks_hold =
        mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !marks_hold || !in_range {
        return None;
    }
    let rest = &text[19..];
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let from = text.len() - zone.len();
            let minutes = number(from + 1..from + 3)? * 60 + number(from + 4..from + 6)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    // Days since 1970 in the Gregorian calendar, counted in years that start in March, so that
    // the leap day comes last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    let days = y * 365 + leap_days + (m * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::{Document, unix_seconds};

    /// Seconds from `date -u -d … +%s`.
    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:59:59+01:00", None),
            ("1970-01-01T01:00:01+01:00", Some(1)),
            ("2000-02-29T12:34:56Z", Some(951_827_696)),
            ("2024-12-31T23:59:59.999999999Z", Some(1_735_689_599)),
            ("2025-03-01T00:00:00-05:30", Some(1_740_807_000)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("0001-01-01T00:00:00Z", None),
            ("2025-13-01T00:00:00Z", None),
            ("2025-01-01T24:00:00Z", None),
            ("2025-01-01", None),
            ("2025-01-01T00:00:00", None),
            ("2025-01-01T00:00:00Zx", None),
            ("+025-01-01T00:00:00Z", None),
            ("2025-01-01T00:00:00+1:00", None),
            ("２０２５-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(unix_seconds(text), seconds, "{text}");
        }
    }

    #[test]
    fn documents_are_told_apart_and_refused() {
        let descriptor = format!(
            r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":2}}"#,
            "0".repeat(64)
        );
        let index_type = "application/vnd.oci.image.index.v1+json";
        for (text, expected) in [
            (
                format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[]}}"#),
                "image",
            ),
            (
                format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#),
                "index",
            ),
            (
                format!(r#"{{"schemaVersion":2,"mediaType":"{index_type}","manifests":[]}}"#),
                "index",
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"mediaType":"{index_type}","config":{descriptor},"layers":[]}}"#
                ),
                "but it is a manifest",
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"config":{descriptor},"layers":[],"manifests":[]}}"#
                ),
                "at once",
            ),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#.into(),
                "schema version 1",
            ),
            (r#"{"schemaVersion":2}"#.into(), "neither"),
            ("{}".into(), "no schemaVersion"),
            ("[]".into(), "malformed"),
            ("\u{1f}".into(), "malformed"),
            (
                format!(r#"{{"schemaVersion":2,"config":{descriptor}}}"#),
                "missing field `layers`",
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
                    descriptor.replace(":2}", ":-2}")
                ),
                "malformed",
            ),
        ] {
            let found = match Document::parse(text.as_bytes(), "it") {
                Ok(Document::Image(_)) => "image".to_owned(),
                Ok(Document::Index(_)) => "index".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
