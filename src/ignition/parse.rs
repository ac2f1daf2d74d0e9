//! Bytes into a configuration that Ignition would take.

use serde_json::Value;

use super::check::check;
use super::error::Error;
use super::json;
use super::report::{Finding, Report};
use super::version::Version;

/// Bytes of a config that are read. The largest that there are, bootstrap configs of OpenShift, have
/// some hundred KiB; 32 MiB are more than any way of handing one over takes.
pub const CONFIG_MAX_BYTES: usize = 32 << 20;

/// A configuration that Ignition would take.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// All of it, with the keys in their order and those that its version doesn't know.
    pub value: Value,
    /// Its version.
    pub version: Version,
    /// What Ignition puts up with.
    pub warnings: Vec<Finding>,
}

/// Reads and checks a configuration.
pub fn parse(bytes: &[u8]) -> Result<Config, Error> {
    if bytes.len() > CONFIG_MAX_BYTES {
        return Err(Error::TooLarge {
            bytes: bytes.len(),
            limit: CONFIG_MAX_BYTES,
        });
    }
    let (value, twice) = json::read(bytes).map_err(Error::NotJson)?;
    let version = version_of(&value)?;
    let mut report = Report::default();
    for path in twice {
        report.error(path, "the key is there twice");
    }
    report.findings.extend(check(&value, version).findings);
    if report.is_fatal() {
        return Err(Error::Invalid(report));
    }
    Ok(Config {
        value,
        version,
        warnings: report.findings,
    })
}

/// Checks a configuration that is a value already.
pub fn validate(value: &Value) -> Result<Report, Error> {
    Ok(check(value, version_of(value)?))
}

/// The version that a configuration says it is of.
pub fn version_of(value: &Value) -> Result<Version, Error> {
    value
        .get("ignition")
        .and_then(|ignition| ignition.get("version"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .parse()
}
