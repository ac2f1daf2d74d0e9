//! From a version of the spec to a newer one.
//!
//! Nothing gets lost, but three things have to be said that went without saying, or that would mean
//! something else in the newer version; Ignition does the same when it reads an older config.

use serde_json::{Map, Value};

use super::error::Error;
use super::parse::version_of;
use super::rules::nodes::SPECIAL_BITS;
use super::shape::{Field, Kind, Shape};
use super::spec::CONFIG;
use super::version::Version;

/// A configuration in a newer version.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// It, now of the version that was asked for.
    pub value: Value,
    /// Keys that the old version ignored and the new one would not: they are gone.
    pub dropped: Vec<String>,
}

/// The configuration in that version, which is its own or a newer one.
pub fn raise(value: &Value, to: Version) -> Result<Raised, Error> {
    let mut change = Raise {
        from: version_of(value)?,
        to,
        dropped: Vec::new(),
    };
    let mut value = value.clone();
    if change.from < to {
        change.object(&CONFIG, &mut value, "$");
        value["ignition"]["version"] = to.to_string().into();
    }
    Ok(Raised {
        value,
        dropped: change.dropped,
    })
}

/// What to say about a dropped key.
pub(super) fn ignored_before(version: Version) -> String {
    format!("was ignored before spec {version}, and is left out")
}

struct Raise {
    from: Version,
    to: Version,
    dropped: Vec<String>,
}

impl Raise {
    fn object(&mut self, shape: &'static Shape, value: &mut Value, path: &str) {
        let Some(map) = value.as_object_mut() else {
            return;
        };
        for field in shape.fields {
            let path = format!("{path}.{}", field.name);
            if field.since > self.to.minor() {
                continue;
            }
            if field.since > self.from.minor() {
                // Removing it in place would change the order of what is behind it.
                if map.shift_remove(field.name).is_some() {
                    self.dropped.push(path);
                }
                continue;
            }
            self.defaults(field, map);
            match (&field.kind, map.get_mut(field.name)) {
                (Kind::Object(shape), Some(value)) => self.object(shape, value, &path),
                (Kind::Objects(shape, _), Some(Value::Array(entries))) => {
                    for (index, entry) in entries.iter_mut().enumerate() {
                        self.object(shape, entry, &format!("{path}.{index}"));
                    }
                }
                (Kind::Int, Some(mode)) if field.name == "mode" => self.mode(mode),
                _ => {}
            }
        }
    }

    /// An absent text that meant the empty one.
    fn defaults(&self, field: &Field, map: &mut Map<String, Value>) {
        let Some(until) = field.empty_until else {
            return;
        };
        let crossed = self.from.minor() <= until && self.to.minor() > until;
        if crossed && map.get(field.name).is_none_or(Value::is_null) {
            map.insert(field.name.to_string(), "".into());
        }
    }

    /// Bits that were ignored.
    fn mode(&self, mode: &mut Value) {
        if self.from < Version::V3_6
            && self.to >= Version::V3_6
            && let Some(bits) = mode.as_i64()
        {
            *mode = (bits & !SPECIAL_BITS).into();
        }
    }
}

/// Whether a value says nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}
