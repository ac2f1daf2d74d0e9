//! From one version of the spec to another.
//!
//! Up: nothing gets lost, but three things have to be said that went without saying, or that would
//! mean something else in the newer version; Ignition does the same when it reads an older config.
//! Down: only if nothing is used that the older version doesn't have.

use serde_json::{Map, Value};

use super::error::Error;
use super::parse::version_of;
use super::rules::nodes::SPECIAL_BITS;
use super::rules::resources::since as scheme_since;
use super::shape::{Field, Kind, Shape};
use super::spec::CONFIG;
use super::url;
use super::version::Version;

/// A configuration in a newer version.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// It, now of the version that was asked for.
    pub value: Value,
    /// Keys that the old version ignored and the new one would not: they are gone.
    pub dropped: Vec<String>,
}

/// A thing that an older version doesn't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where.
    pub path: String,
    /// The first version that has it.
    pub since: Version,
    /// What it is.
    pub what: String,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} needs spec {}", self.path, self.what, self.since)
    }
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

/// What the configuration uses that a version doesn't have.
pub fn lost(value: &Value, to: Version) -> Result<Vec<Lost>, Error> {
    let mut lost = Vec::new();
    let version = version_of(value)?;
    collect(&CONFIG, value, "$", version, to, &mut lost);
    Ok(lost)
}

fn collect(
    shape: &Shape,
    value: &Value,
    path: &str,
    version: Version,
    to: Version,
    lost: &mut Vec<Lost>,
) {
    let Some(map) = value.as_object() else { return };
    for (name, value) in map {
        let Some(field) = shape.field(name, version) else {
            continue;
        };
        let path = format!("{path}.{name}");
        if field.since > to.minor() {
            if !is_empty(value) {
                lost.push(Lost {
                    path,
                    since: Version::of_minor(field.since),
                    what: format!("{name:?}"),
                });
            }
            continue;
        }
        match &field.kind {
            Kind::Object(shape) => collect(shape, value, &path, version, to, lost),
            Kind::Objects(shape, _) => {
                for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
                    let path = format!("{path}.{index}");
                    collect(shape, entry, &path, version, to, lost);
                }
            }
            _ => {
                if let Some((since, what)) = newer_value(name, value)
                    && since > to
                    && since <= version
                {
                    lost.push(Lost { path, since, what });
                }
            }
        }
    }
}

/// Values, not keys, that came with a later version.
fn newer_value(name: &str, value: &Value) -> Option<(Version, String)> {
    match name {
        "hash" => {
            let sha256 = value.as_str()?.starts_with("sha256-");
            sha256.then(|| (Version::V3_1, "a sha256 hash".to_string()))
        }
        "source" => {
            let scheme = url::parse(value.as_str()?).ok()?.scheme;
            let since = scheme_since(&scheme)?;
            Some((since, format!("a source of scheme {scheme:?}")))
        }
        "format" => {
            let none = value.as_str()? == "none";
            none.then(|| {
                (
                    Version::V3_3,
                    "a file system of format \"none\"".to_string(),
                )
            })
        }
        "mode" => {
            let special = value.as_i64()? & SPECIAL_BITS != 0;
            special.then(|| (Version::V3_6, "a setuid, setgid or sticky bit".to_string()))
        }
        _ => None,
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

/// Why a configuration has no older version.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// It is none.
    #[error(transparent)]
    Config(#[from] Error),
    /// It uses what the older version doesn't have.
    #[error("the config can't be of spec {to}: {}", lines(.lost))]
    Lost {
        /// The version that was asked for.
        to: Version,
        /// What stands in the way.
        lost: Vec<Lost>,
    },
}

fn lines(lost: &[Lost]) -> String {
    let lines: Vec<String> = lost.iter().map(Lost::to_string).collect();
    lines.join("; ")
}

/// The configuration in that version if its own is newer, as it is otherwise.
pub fn lower(value: &Value, to: Version) -> Result<Value, LowerError> {
    if version_of(value)? <= to {
        return Ok(value.clone());
    }
    let lost = lost(value, to)?;
    if !lost.is_empty() {
        return Err(LowerError::Lost { to, lost });
    }
    let mut value = value.clone();
    prune(&CONFIG, &mut value, to);
    value["ignition"]["version"] = to.to_string().into();
    Ok(value)
}

/// Takes away the keys that say nothing and that the older version would call unused.
fn prune(shape: &Shape, value: &mut Value, to: Version) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    map.retain(|name, _| {
        let field = shape.any_field(name);
        field.is_none_or(|field| field.since <= to.minor())
    });
    for field in shape.fields {
        match (&field.kind, map.get_mut(field.name)) {
            (Kind::Object(shape), Some(value)) => prune(shape, value, to),
            (Kind::Objects(shape, _), Some(Value::Array(entries))) => {
                for entry in entries {
                    prune(shape, entry, to);
                }
            }
            _ => {}
        }
    }
}
