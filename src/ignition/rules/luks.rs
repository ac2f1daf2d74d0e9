//! Encrypted volumes.

use serde_json::Value;

use super::super::report::Report;
use super::super::shape::Place;
use super::super::url;
use super::super::version::Version;
use super::{path_error, text_in};

/// Bytes of a LUKS2 label, without the zero at its end.
const LABEL_MAX: usize = 47;

/// An encrypted volume.
pub(in super::super) fn volume(place: &Place<'_>, report: &mut Report) {
    if place.text("name").unwrap_or_default().contains('/') {
        report.error(place.at("name"), "the name has a slash in it");
    }
    if place.text("label").unwrap_or_default().len() > LABEL_MAX {
        report.error(
            place.at("label"),
            format!("labels of LUKS have at most {LABEL_MAX} bytes"),
        );
    }
    if let Some(message) = path_error(place.text("device").unwrap_or_default()) {
        report.error(place.at("device"), message);
    }
    let clevis = place.object("clevis");
    let get = |name: &str| clevis.and_then(|clevis| clevis.get(name));
    let pins = get("tang").and_then(Value::as_array).map_or(0, Vec::len) > 0
        || get("tpm2") == Some(&Value::Bool(true))
        || get("threshold").and_then(Value::as_i64).unwrap_or(0) != 0;
    let custom = get("custom").filter(|custom| custom.is_object());
    let has_custom = custom
        .is_some_and(|custom| place.version < Version::V3_3 || !text_in(custom, "pin").is_empty());
    if has_custom && pins {
        report.error(place.at("clevis"), "a custom pin beside others");
    }
    let cex = place.object("cex").and_then(|cex| cex.get("enabled"));
    if cex == Some(&Value::Bool(true)) {
        if has_custom || pins {
            report.error(place.at("cex"), "a key in a crypto card beside Clevis");
        }
        let key_file = place.object("keyFile").and_then(|file| file.get("source"));
        if key_file.is_some_and(|source| source.as_str().is_some_and(|s| !s.is_empty())) {
            report.error(place.at("cex"), "a key in a crypto card beside a key file");
        }
    }
}

/// A pin that Ignition hands to Clevis as it is.
pub(in super::super) fn custom(place: &Place<'_>, report: &mut Report) {
    let pin = place.text("pin").unwrap_or_default();
    let config = place.text("config").unwrap_or_default();
    let network_counts = place.version >= Version::V3_3 && place.is_true("needsNetwork");
    if pin.is_empty() && config.is_empty() && !network_counts {
        return;
    }
    if !matches!(pin, "tpm2" | "tang" | "sss") {
        report.error(place.at("pin"), "the pin is not tpm2, tang or sss");
    }
    if config.is_empty() {
        report.error(place.at("config"), "the pin has no config");
    }
}

/// A Tang server.
pub(in super::super) fn tang(place: &Place<'_>, report: &mut Report) {
    match url::parse(place.text("url").unwrap_or_default()) {
        Ok(url) if matches!(url.scheme.as_str(), "http" | "https") => {}
        Ok(_) => report.error(place.at("url"), "the URL is neither http:// nor https://"),
        Err(error) => report.error(place.at("url"), error.to_string()),
    }
    if place.filled("thumbprint").is_none() {
        report.error(place.at("thumbprint"), "the thumbprint is missing");
    }
    if let Some(advertisement) = place.filled("advertisement")
        && serde_json::from_str::<serde::de::IgnoredAny>(advertisement).is_err()
    {
        report.error(place.at("advertisement"), "the advertisement is no JSON");
    }
}
