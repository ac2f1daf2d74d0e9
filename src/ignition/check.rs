//! Whether a configuration is one: types, unknown keys, entries that are there twice, and then the
//! rules of each object.
//!
//! The order is Ignition's: a wrong type ends it, since nothing else can be said then.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::report::Report;
use super::shape::{Field, Join, Kind, Place, Shape, key_of, list, object};
use super::spec::CONFIG;
use super::version::Version;

/// Everything that is wrong with a configuration of that version.
pub(super) fn check(config: &Value, version: Version) -> Report {
    let mut check = Check {
        version,
        report: Report::default(),
    };
    check.types(&CONFIG, config, "$");
    if !check.report.is_fatal() {
        check.entries_twice(&CONFIG, config, "$");
        check.rules(&CONFIG, config, "$");
    }
    check.report
}

struct Check {
    version: Version,
    report: Report,
}

impl Check {
    fn types(&mut self, shape: &'static Shape, value: &Value, path: &str) {
        let Some(map) = object(value) else {
            return self.wrong_type(path, "an object", value);
        };
        for (name, value) in map {
            let path = format!("{path}.{name}");
            match shape.field(name, self.version) {
                Some(field) => self.type_of_field(field, value, &path),
                None => self.unused(shape, name, &path),
            }
        }
    }

    fn type_of_field(&mut self, field: &Field, value: &Value, path: &str) {
        match (&field.kind, value) {
            (_, Value::Null) | (Kind::Text, Value::String(_)) | (Kind::Bool, Value::Bool(_)) => {}
            (Kind::Int, Value::Number(number)) if number.is_i64() => {}
            (Kind::Object(shape), _) => self.types(shape, value, path),
            (Kind::Texts(_), Value::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    if !entry.is_string() && !entry.is_null() {
                        self.wrong_type(&format!("{path}.{index}"), "a string", entry);
                    }
                }
            }
            (Kind::Objects(shape, _), Value::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    self.types(shape, entry, &format!("{path}.{index}"));
                }
            }
            (Kind::Text, _) => self.wrong_type(path, "a string", value),
            (Kind::Bool, _) => self.wrong_type(path, "true or false", value),
            (Kind::Int, _) => self.wrong_type(path, "an integer", value),
            (Kind::Texts(_) | Kind::Objects(..), _) => self.wrong_type(path, "a list", value),
        }
    }

    fn wrong_type(&mut self, path: &str, wanted: &str, value: &Value) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(number) if number.is_f64() => "a fraction",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.report
            .error(path, format!("{wanted} is wanted, not {found}"));
    }

    /// Ignition ignores keys that it doesn't know, but knows them in any case of letters.
    fn unused(&mut self, shape: &Shape, name: &str, path: &str) {
        let folded = folded(name);
        let meant = shape.fields.iter().find(|field| {
            field.since <= self.version.minor() && folded == self::folded(field.name)
        });
        if let Some(field) = meant {
            return self.report.error(
                path,
                format!("key {name:?} is {:?} in other letters", field.name),
            );
        }
        self.report.warn(
            path,
            match shape.any_field(name) {
                Some(field) => format!(
                    "unused key {name:?}: spec {} brought it, the config is {}",
                    Version::of_minor(field.since),
                    self.version
                ),
                None => format!("unused key {name:?}"),
            },
        );
    }

    fn entries_twice(&mut self, shape: &Shape, value: &Value, path: &str) {
        let Some(map) = object(value) else { return };
        let mut shared = BTreeSet::new();
        for field in self.fields(shape) {
            let Some((entry_shape, join)) = field.list() else {
                continue;
            };
            if join == Join::Append {
                continue;
            }
            let mut own = BTreeSet::new();
            let seen = if join == Join::Shared {
                &mut shared
            } else {
                &mut own
            };
            for (index, entry) in list(map, field.name).iter().enumerate() {
                let key = key_of(entry_shape, entry);
                if seen.contains(&key) {
                    self.report.error(
                        format!("{path}.{}.{index}", field.name),
                        format!("a second entry for {key:?}"),
                    );
                }
                seen.insert(key);
            }
        }
        self.each_object(shape, map, path, Self::entries_twice);
    }

    fn rules(&mut self, shape: &'static Shape, value: &Value, path: &str) {
        let Some(map) = object(value) else { return };
        if let Some(rule) = shape.rule {
            let place = Place::new(shape, map, path, self.version);
            rule(&place, &mut self.report);
        }
        self.each_object(shape, map, path, Self::rules);
    }

    fn each_object(
        &mut self,
        shape: &Shape,
        map: &Map<String, Value>,
        path: &str,
        work: fn(&mut Self, &'static Shape, &Value, &str),
    ) {
        for field in self.fields(shape) {
            let path = format!("{path}.{}", field.name);
            match field.kind {
                Kind::Object(shape) => {
                    if let Some(value) = map.get(field.name) {
                        work(self, shape, value, &path);
                    }
                }
                Kind::Objects(shape, _) => {
                    for (index, entry) in list(map, field.name).iter().enumerate() {
                        work(self, shape, entry, &format!("{path}.{index}"));
                    }
                }
                _ => {}
            }
        }
    }

    /// The fields that the version knows.
    fn fields(&self, shape: &Shape) -> impl Iterator<Item = &'static Field> + use<> {
        let minor = self.version.minor();
        shape.fields.iter().filter(move |f| f.since <= minor)
    }
}

/// How Go compares names of keys: small letters, and two signs that fold to ASCII.
fn folded(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}
