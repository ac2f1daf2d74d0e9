//! Sources, hashes, headers and proxies.

use serde_json::Value;

use super::super::data_url;
use super::super::report::Report;
use super::super::shape::Place;
use super::super::url;
use super::super::version::Version;
use super::text_in;

/// The contents of a file.
pub(in super::super) fn contents(place: &Place<'_>, report: &mut Report) {
    resource(place, report, true);
}

/// Where another config or a certificate comes from. In spec 3.0.0 a hash without a source went
/// through here.
pub(in super::super) fn reference(place: &Place<'_>, report: &mut Report) {
    resource(place, report, place.version > Version::V3_0);
}

fn resource(place: &Place<'_>, report: &mut Report, hash_needs_source: bool) {
    if !matches!(place.text("compression"), None | Some("" | "gzip")) {
        report.error(
            place.at("compression"),
            "the compression is neither \"gzip\" nor empty",
        );
    }
    let source = place.text("source");
    let hash = place
        .object("verification")
        .and_then(|map| map.get("hash"))
        .and_then(Value::as_str);
    if hash_needs_source && hash.is_some() && source.is_none() {
        report.error(
            place.at("verification.hash"),
            "a hash, but no source that could have it",
        );
    }
    if let Some(source) = source.filter(|source| !source.is_empty())
        && let Err(message) = check_source(source, place.version)
    {
        report.error(place.at("source"), message);
    }
    if !place.list("httpHeaders").is_empty() {
        let scheme = source.map(url::parse).and_then(Result::ok);
        let scheme = scheme.map(|url| url.scheme).unwrap_or_default();
        if scheme != "http" && scheme != "https" {
            report.error(
                place.at("httpHeaders"),
                "headers, but the source is not fetched over HTTP",
            );
        }
    }
}

/// Whether Ignition can fetch from there at all.
pub(super) fn check_source(source: &str, version: Version) -> Result<(), String> {
    let url = url::parse(source).map_err(|error| error.to_string())?;
    match url.scheme.as_str() {
        "http" | "https" | "tftp" => Ok(()),
        "gs" if version >= Version::V3_2 => Ok(()),
        "s3" => version_id(&url),
        "arn" if version >= Version::V3_4 => {
            arn(url.opaque)?;
            version_id(&url)
        }
        "data" => data_url::decode(source)
            .map(|_| ())
            .map_err(|error| error.to_string()),
        "" => Err("the source has no scheme".to_string()),
        scheme => Err(match since(scheme) {
            Some(since) => {
                format!("scheme {scheme:?} came with spec {since}, the config is {version}")
            }
            None => format!("Ignition doesn't fetch from {scheme:?}"),
        }),
    }
}

/// The spec that brought a scheme, if it was not the first.
pub(in super::super) fn since(scheme: &str) -> Option<Version> {
    match scheme {
        "gs" => Some(Version::V3_2),
        "arn" => Some(Version::V3_4),
        _ => None,
    }
}

fn version_id(url: &url::Url<'_>) -> Result<(), String> {
    if url.has_empty_version_id() {
        return Err("an empty versionId".to_string());
    }
    Ok(())
}

/// "partition:s3:region:account:bucket/key", or with an access point before the key.
fn arn(opaque: &str) -> Result<(), String> {
    let parts: Vec<&str> = opaque.splitn(5, ':').collect();
    let [_, "s3", _, _, resource] = parts.as_slice() else {
        return Err("the ARN is not of S3".to_string());
    };
    let slashes = opaque.matches('/').count();
    let wanted = if resource.starts_with("accesspoint/") {
        2
    } else {
        1
    };
    if slashes < wanted {
        return Err("the ARN names no object".to_string());
    }
    Ok(())
}

/// `sha256-` or `sha512-` and that many digits.
pub(in super::super) fn verification(place: &Place<'_>, report: &mut Report) {
    let Some(hash) = place.text("hash") else {
        return;
    };
    let at = place.at("hash");
    let Some((function, sum)) = hash.split_once('-') else {
        return report.error(at, "the hash is not FUNCTION-DIGITS");
    };
    let digits = match function {
        "sha512" => 128,
        "sha256" if place.version >= Version::V3_1 => 64,
        "sha256" => {
            return report.error(at, "sha256 came with spec 3.1.0, the config is 3.0.0");
        }
        _ => return report.error(at, format!("unknown hash function {function:?}")),
    };
    if sum.len() != digits {
        report.error(at, format!("{function} has {digits} digits"));
    } else if !sum.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        report.warn(
            at,
            "no content has that hash: small hexadecimal digits are compared",
        );
    }
}

/// One header; without a value it takes away the header of a config that is merged under this one.
pub(in super::super) fn header(place: &Place<'_>, report: &mut Report) {
    if place.filled("name").is_none() {
        report.error(place.at("name"), "a header without a name");
    }
    if place.text("value") == Some("") {
        report.error(place.at("value"), "a header with an empty value");
    }
}

/// The configs that are merged or put in place of this one.
pub(in super::super) fn configs(place: &Place<'_>, report: &mut Report) {
    if place.version > Version::V3_0 {
        sources_required(place, "merge", "", report);
    }
    let replaced = place
        .object("replace")
        .and_then(|map| map.get("source"))
        .is_some_and(Value::is_string);
    if replaced && !place.list("merge").is_empty() {
        report.warn(
            place.at("merge"),
            "the configs to merge are ignored: another config is put in place of this one",
        );
    }
}

/// The certificates to trust.
pub(in super::super) fn authorities(place: &Place<'_>, report: &mut Report) {
    let tail = if place.version > Version::V3_0 {
        ""
    } else {
        ".source"
    };
    sources_required(place, "certificateAuthorities", tail, report);
}

fn sources_required(place: &Place<'_>, list: &str, tail: &str, report: &mut Report) {
    for (index, entry) in place.list(list).iter().enumerate() {
        if text_in(entry, "source").is_empty() {
            report.error(
                format!("{}.{index}{tail}", place.at(list)),
                "the source is missing",
            );
        }
    }
}

/// Proxies speak HTTP.
pub(in super::super) fn proxy(place: &Place<'_>, report: &mut Report) {
    for name in ["httpProxy", "httpsProxy"] {
        let Some(text) = place.text(name) else {
            continue;
        };
        match url::parse(text).map(|url| url.scheme) {
            Err(error) => report.error(place.at(name), error.to_string()),
            Ok(scheme) => match scheme.as_str() {
                "https" => {}
                "http" if name == "httpProxy" => {}
                "http" => report.warn(place.at(name), "the proxy for HTTPS is not itself HTTPS"),
                _ => report.error(place.at(name), "the proxy is neither http:// nor https://"),
            },
        }
    }
}
