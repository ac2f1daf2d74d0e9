//! What manifest and configuration say about the import: labels, boundary, time.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::object::Checksum;
use super::source::{LayerFacts, Source};

/// Diff-id of the last layer that belongs to the encapsulated commit. The only mark of one.
const FINAL_DIFF_ID: &str = "ostree.final-diffid";

/// Checksum of the encapsulated commit. ostree-ext writes it (lib/src/container/encapsulate.rs@b885f946) and
/// never reads it, so nodes take images in which it is another's.
const COMMIT: &str = "ostree.commit";

/// How many characters of a label or annotation messages show.
const SHOWN_MAX: usize = 80;

/// Annotation of a manifest with the time it was made.
const CREATED: &str = "org.opencontainers.image.created";

/// The facts of an image that its import depends on.
#[derive(Debug)]
pub(super) struct Description<'a> {
    pub(super) manifest_digest: &'a str,
    /// JSON, as pulled.
    pub(super) manifest: &'a str,
    /// JSON.
    pub(super) config: &'a str,
    /// How many layers are the encapsulated commit's; none in an image without ostree.
    pub(super) base_layers: usize,
    /// The encapsulated commit, as a label has it.
    commit_label: Option<String>,
    /// When the image was made, seconds since 1970; 0 if it does not say.
    pub(super) created: u64,
    pub(super) warnings: Vec<String>,
}

impl<'a> Description<'a> {
    pub(super) fn read(source: &Source<'a>) -> Result<Self> {
        let parse = |bytes: &'a [u8], name: &str| {
            json(bytes).with_context(|| format!("reading the {name}"))
        };
        let (manifest_text, manifest) = parse(source.manifest, "manifest")?;
        let (config_text, config) = parse(source.config, "configuration")?;
        ensure!(
            !source.manifest_digest.contains('\0'),
            "the manifest's digest contains NUL"
        );
        let mut warnings = Vec::new();
        let created = manifest["annotations"][CREATED]
            .as_str()
            .or_else(|| config["created"].as_str());
        let timestamp = created.and_then(|text| {
            let timestamp = unix_time(text);
            if timestamp.is_none() {
                warnings.push(format!(
                    "the image's time of creation is unreadable: {:?}",
                    shown(text)
                ));
            }
            timestamp
        });
        let label = |name: &str| config["config"]["Labels"][name].as_str();
        let base_layers = match label(FINAL_DIFF_ID) {
            Some(diff_id) => base_layers(diff_id, source.layers)?,
            None => 0,
        };
        warnings.extend(repeated(&source.layers[..base_layers]));
        Ok(Self {
            manifest_digest: source.manifest_digest,
            manifest: manifest_text,
            config: config_text,
            base_layers,
            commit_label: label(COMMIT).map(str::to_owned),
            // Before 1970 there were no containers.
            created: timestamp.map_or(0, |seconds| u64::try_from(seconds).unwrap_or(0)),
            warnings,
        })
    }

    /// What the user should know if the label names another commit than `base`, the encapsulated one.
    pub(super) fn doubt_about(&self, base: Option<Checksum>) -> Option<String> {
        let (label, base) = (self.commit_label.as_ref()?, base?.to_string());
        (*label != base).then(|| {
            format!(
                "the label {COMMIT} names {:?}, but the image's commit is {base}, which nodes go by",
                shown(label)
            )
        })
    }
}

/// The beginning of foreign text, for messages.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

/// What the user should know of layers that are there twice among those of the encapsulated commit. ostree-ext
/// imports them again, to the same objects (`parse_manifest_layout` in lib/src/container/store.rs@b885f946). In which
/// order those behind the first one stand makes no difference to it or to us: each holds objects, by their checksums.
fn repeated(base: &[LayerFacts]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again = base.iter().filter(|layer| !seen.insert(&layer.digest));
    let digests: BTreeSet<&String> = again.map(|layer| &layer.digest).collect();
    let warning =
        |digest| format!("layer {digest} is there twice in the ostree commit; once is enough");
    digests.into_iter().map(warning).collect()
}

/// JSON as text that can be stored in a commit, and as a value.
fn json(bytes: &[u8]) -> Result<(&str, Value)> {
    let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
    // Also refuses NUL, which strings in commits cannot hold.
    let value = serde_json::from_str(text)?;
    Ok((text, value))
}

fn base_layers(final_diff_id: &str, layers: &[LayerFacts]) -> Result<usize> {
    let last = layers
        .iter()
        .position(|layer| layer.diff_id == final_diff_id)
        .with_context(|| {
            format!(
                "the label {FINAL_DIFF_ID} names {:?}, which is no layer of the image",
                shown(final_diff_id)
            )
        })?;
    let (base, derived) = layers.split_at(last + 1);
    let digest = &base[last].digest;
    ensure!(
        derived.iter().all(|layer| layer.digest != *digest),
        "layer {digest}, which ends the ostree commit, occurs twice"
    );
    Ok(base.len())
}

/// Seconds since 1970 of an RFC 3339 time, fractions cut off.
fn unix_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = bytes.get(range)?;
        let all_digits = digits.iter().all(u8::is_ascii_digit);
        all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
    };
    let is = |at: usize, any_of: &[u8]| bytes.get(at).is_some_and(|byte| any_of.contains(byte));
    let separated = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let mut at = 19;
    if is(at, b".") {
        let digits = bytes[at + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        at += 1 + digits;
    }
    let zone = match *bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && is(at + 3, b":") => {
            let ahead = number(at + 1..at + 3)? * 3600 + number(at + 4..at + 6)? * 60;
            if sign == b'+' { ahead } else { -ahead }
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    (separated && in_range).then_some(seconds - zone)
}

/// Days from 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap day is
/// the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // From 0000-03-01 to 1970-01-01 it is 719 468 days.
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Right column from `date -u -d TEXT +%s`.
    #[test]
    fn times_are_read_as_rfc_3339_has_them() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56.789Z", Some(951_827_696)),
            ("2024-03-01T00:00:00+02:30", Some(1_709_242_200)),
            ("2038-01-19T03:14:08-00:00", Some(2_147_483_648)),
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("2024-13-01T00:00:00Z", None),
            ("2024-01-01 00:00:00", None),
            ("2024-01-01T00:00:00Zx", None),
            ("2024-01-01T00:00", None),
            ("", None),
        ] {
            assert_eq!(unix_time(text), seconds, "{text}");
        }
    }

    fn layers(diff_ids: &[&str]) -> Vec<LayerFacts> {
        let facts = |diff_id: &&str| LayerFacts {
            digest: format!("sha256:{diff_id}"),
            diff_id: (*diff_id).to_owned(),
            size_bytes: 0,
        };
        diff_ids.iter().map(facts).collect()
    }

    /// Number of base layers, time, number of warnings.
    fn describe(manifest: &str, config: &str, layers: &[&str]) -> Result<(usize, u64, usize)> {
        let layers = self::layers(layers);
        let description = Description::read(&Source {
            manifest_digest: "sha256:0",
            manifest: manifest.as_bytes(),
            config: config.as_bytes(),
            layers: &layers,
            open: &|_| unreachable!("layers are not read yet"),
        })?;
        let Description {
            base_layers,
            created,
            warnings,
            ..
        } = description;
        Ok((base_layers, created, warnings.len()))
    }

    #[test]
    fn the_label_draws_the_line() {
        let config =
            r#"{"created":"1970-01-01T00:00:07Z","config":{"Labels":{"ostree.final-diffid":"b"}}}"#;
        let read = |layers: &[&str]| describe("{}", config, layers);
        assert_eq!(read(&["a", "b", "c"]).unwrap(), (2, 7, 0));
        assert!(read(&["a", "c"]).is_err());
        assert!(read(&["a", "b", "b"]).is_err());
    }

    #[test]
    fn images_without_ostree_have_no_base() {
        let manifest = r#"{"annotations":{"org.opencontainers.image.created":"yesterday"}}"#;
        let config = r#"{"created":"1970-01-01T00:00:07Z","config":{"Labels":null}}"#;
        assert_eq!(describe(manifest, config, &["a"]).unwrap(), (0, 0, 1));
        assert!(describe("{}\0", config, &["a"]).is_err());
    }
}
