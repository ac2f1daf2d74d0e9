//! Files and units for configurations that are merged into others, with nothing newer than spec
//! 3.2.0, which is what openshift-install writes and what every OpenShift 4 that is alive takes.

use ignition_config::v3_2::{Config, File, Storage, Systemd, Unit};
use serde_json::Value;

use super::error::Error;
use super::parse::validate;
use super::resource::{HashFunction, resource};

/// A file of root's that takes the place of what is there.
pub fn file(path: &str, mode: u16, content: &[u8], hash: Option<HashFunction>) -> File {
    let contents = serde_json::from_value(resource(content, hash));
    File {
        mode: Some(mode.into()),
        overwrite: Some(true),
        contents: Some(contents.expect("a resource has the fields of one")),
        ..File::new(path.to_owned())
    }
}

/// A unit. Without contents it is one that the system has.
pub fn unit(name: &str, enabled: Option<bool>, contents: Option<&str>) -> Unit {
    Unit {
        enabled,
        contents: contents.map(str::to_owned),
        ..Unit::new(name.to_owned())
    }
}

/// A configuration of spec 3.2.0 with those files and units, if it is a valid one.
pub fn config(files: Vec<File>, units: Vec<Unit>) -> Result<Value, Error> {
    let mut config = Config::default();
    if !files.is_empty() {
        config.storage = Some(Storage {
            files: Some(files),
            ..Storage::default()
        });
    }
    if !units.is_empty() {
        config.systemd = Some(Systemd { units: Some(units) });
    }
    let mut config = serde_json::to_value(config).expect("the types are those of JSON");
    without_nulls(&mut config);
    let report = validate(&config)?;
    if report.is_fatal() {
        return Err(Error::Invalid(report));
    }
    Ok(config)
}

/// Takes away what is not set, which the types write as null.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
