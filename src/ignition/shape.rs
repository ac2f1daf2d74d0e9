//! What can be said of an object of a configuration: its keys, since which spec, of which type, how lists are
//! merged, and what must hold beyond that. The table that says it of all objects is in `spec`.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::report::Report;
use super::version::Version;

/// Looks at one object.
pub(super) type Rule = fn(&Place<'_>, &mut Report);

/// An object of the configuration.
pub(super) struct Shape {
    /// What tells one entry of a list of these from another.
    pub(super) key: Key,
    /// What must hold beyond the types.
    pub(super) rule: Option<Rule>,
    pub(super) fields: &'static [Field],
}

/// A key of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The spec that brought it, by minor number.
    pub(super) since: u8,
    /// Up to this spec an absent text meant the empty text, which counts as set when merging.
    pub(super) empty_until: Option<u8>,
}

/// What is behind a key.
pub(super) enum Kind {
    Text,
    Int,
    Bool,
    Object(&'static Shape),
    Texts(Join),
    Objects(&'static Shape, Join),
}

/// How two lists become one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Join {
    /// The parent's entries, then the child's; the same twice is allowed.
    Append,
    /// Entries with the same key become one.
    Keyed,
    /// Like `Keyed`, and all lists of the object that say this share their keys.
    Shared,
}

/// What tells entries of a list apart.
pub(super) enum Key {
    /// Not in lists.
    None,
    /// The text under this name.
    Text(&'static str),
    /// A partition's number, or its label if it has none.
    Partition,
}

impl Shape {
    /// The field of that name, if the version knows it.
    pub(super) fn field(&self, name: &str, version: Version) -> Option<&'static Field> {
        self.any_field(name).filter(|f| f.since <= version.minor())
    }

    /// The field of that name in whichever version.
    pub(super) fn any_field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The key of an entry; an absent one counts as empty, as in Ignition.
    pub(super) fn key_of(&self, entry: &Value) -> String {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        match self.key {
            Key::None => String::new(),
            Key::Text(name) => text(name).unwrap_or_default().to_string(),
            Key::Partition => {
                let number = entry.get("number").and_then(Value::as_i64).unwrap_or(0);
                match (number, text("label")) {
                    (0, Some(label)) => format!("label:{label}"),
                    (0, None) => String::new(),
                    (number, _) => format!("number:{number}"),
                }
            }
        }
    }
}

impl Field {
    pub(super) const fn since(mut self, minor: u8) -> Self {
        self.since = minor;
        self
    }

    pub(super) const fn empty_until(mut self, minor: u8) -> Self {
        self.empty_until = Some(minor);
        self
    }

    /// How it is merged, and the shape of its entries, if it is a list.
    pub(super) fn list(&self) -> Option<(Option<&'static Shape>, Join)> {
        match self.kind {
            Kind::Texts(join) => Some((None, join)),
            Kind::Objects(shape, join) => Some((Some(shape), join)),
            _ => None,
        }
    }
}

/// The key of an entry of a list whose entries have that shape, or are texts.
pub(super) fn key_of(shape: Option<&Shape>, entry: &Value) -> String {
    match shape {
        Some(shape) => shape.key_of(entry),
        None => entry.as_str().unwrap_or_default().to_string(),
    }
}

/// The object behind a value; null counts as an empty one, as in Ignition.
pub(super) fn object(value: &Value) -> Option<&Map<String, Value>> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    match value {
        Value::Object(map) => Some(map),
        Value::Null => Some(EMPTY.get_or_init(Map::new)),
        _ => None,
    }
}

/// The entries under a key, none if there is no list.
pub(super) fn list<'a>(map: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    map.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// An object of the configuration, as its version sees it: keys that it doesn't know are not there.
pub(super) struct Place<'a> {
    shape: &'static Shape,
    map: &'a Map<String, Value>,
    /// Where it is.
    pub(super) path: &'a str,
    pub(super) version: Version,
}

impl<'a> Place<'a> {
    pub(super) fn new(
        shape: &'static Shape,
        map: &'a Map<String, Value>,
        path: &'a str,
        version: Version,
    ) -> Self {
        Self {
            shape,
            map,
            path,
            version,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.shape.field(name, self.version)?;
        self.map.get(name)
    }

    /// The text under that name; an empty one is a text.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// The text under that name, unless it is empty.
    pub(super) fn filled(&self, name: &str) -> Option<&'a str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool) == Some(true)
    }

    pub(super) fn is_false(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool) == Some(false)
    }

    pub(super) fn list(&self, name: &str) -> &'a [Value] {
        self.get(name).map_or(&[], |_| list(self.map, name))
    }

    /// The object under that name.
    pub(super) fn object(&self, name: &str) -> Option<&'a Map<String, Value>> {
        self.get(name).and_then(object)
    }

    /// Where the value under that name is.
    pub(super) fn at(&self, name: impl Display) -> String {
        format!("{}.{name}", self.path)
    }
}
