//! One configuration on top of another, as Ignition merges the configs that a config names in
//! `ignition.config.merge`: the child wins.
//!
//! Scalars are the child's if it has them. Objects are merged key by key. In lists, entries with the
//! same key are merged where the parent has them, and the child's others follow; lists of options are
//! joined. Files, directories and links are one namespace: a child's link takes away the parent's
//! file. So do kernel arguments that should and should not exist. A header without a value takes away
//! the parent's. Both configs are raised to the newer one's version first.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::convert::{ignored_before, raise};
use super::error::Error;
use super::parse::version_of;
use super::report::{Finding, Report};
use super::shape::{Field, Join, Kind, Shape, key_of, list, object};
use super::spec::{CONFIG, HTTP_HEADER, RESOURCE};
use super::version::Version;

/// Two configurations made one.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// It. Two valid configs can make an invalid one: see [`super::validate`].
    pub value: Value,
    /// The newer of the two versions.
    pub version: Version,
    /// What is probably not what was meant. The paths are the child's, or of what the parent's old
    /// version ignored.
    pub notes: Vec<Finding>,
}

/// The child on top of the parent.
pub fn merge(parent: &Value, child: &Value) -> Result<Merged, Error> {
    let version = version_of(parent)?.max(version_of(child)?);
    let mut report = Report::default();
    let mut raised = |value| -> Result<Value, Error> {
        let raised = raise(value, version)?;
        for path in raised.dropped {
            report.warn(path, ignored_before(version));
        }
        Ok(raised.value)
    };
    let (parent, child) = (raised(parent)?, raised(child)?);
    let mut merge = Merge { version, report };
    let value = match (object(&parent), object(&child)) {
        (Some(parent), Some(child)) => Value::Object(merge.objects(&CONFIG, parent, child, "$")),
        _ => return Err(Error::NoVersion),
    };
    Ok(Merged {
        value,
        version,
        notes: merge.report.findings,
    })
}

struct Merge {
    version: Version,
    report: Report,
}

/// Where the child has an entry, by its key.
type Entries<'a> = HashMap<String, (&'static str, usize, &'a Value)>;

impl Merge {
    fn objects(
        &mut self,
        shape: &'static Shape,
        parent: &Map<String, Value>,
        child: &Map<String, Value>,
        path: &str,
    ) -> Map<String, Value> {
        if std::ptr::eq(shape, &RESOURCE) {
            self.note_leftovers(parent, child, path);
        }
        let shared = self.shared_entries(shape, child);
        let mut merged = Map::new();
        for (name, value) in parent {
            let field = shape.field(name, self.version);
            let theirs = child.get(name).filter(|value| !value.is_null());
            let theirs = theirs.or_else(|| self.implied(field?));
            let path = format!("{path}.{name}");
            let value = match field {
                Some(field) => self.field(field, value, theirs, &shared, &path),
                None => theirs.unwrap_or(value).clone(),
            };
            merged.insert(name.clone(), value);
        }
        for (name, value) in child {
            if !parent.contains_key(name) {
                merged.insert(name.clone(), value.clone());
            }
        }
        merged
    }

    /// What an absent text is in specs in which it was no option.
    fn implied(&self, field: &Field) -> Option<&'static Value> {
        static EMPTY: Value = Value::String(String::new());
        let until = field.empty_until?;
        (self.version.minor() <= until).then_some(&EMPTY)
    }

    fn field(
        &mut self,
        field: &'static Field,
        parent: &Value,
        child: Option<&Value>,
        shared: &Entries<'_>,
        path: &str,
    ) -> Value {
        if let Some((shape, join)) = field.list() {
            return self.lists(field.name, shape, join, parent, child, shared, path);
        }
        let Some(child) = child else {
            return parent.clone();
        };
        if let (Kind::Object(shape), Some(parent), Some(child)) =
            (&field.kind, parent.as_object(), child.as_object())
        {
            return Value::Object(self.objects(shape, parent, child, path));
        }
        child.clone()
    }

    #[expect(clippy::too_many_arguments, reason = "both sides and the table's row")]
    fn lists(
        &mut self,
        name: &'static str,
        shape: Option<&'static Shape>,
        join: Join,
        parent: &Value,
        child: Option<&Value>,
        shared: &Entries<'_>,
        path: &str,
    ) -> Value {
        let ours = parent.as_array().map_or(&[][..], Vec::as_slice);
        let theirs = child
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        if join == Join::Append {
            if theirs.is_empty() {
                return parent.clone();
            }
            return Value::Array([ours, theirs].concat());
        }
        let mut own = Entries::new();
        let entries = if join == Join::Shared {
            shared
        } else {
            add_entries(&mut own, name, shape, theirs);
            &own
        };
        let mut joined = Vec::with_capacity(ours.len() + theirs.len());
        let mut keys = HashSet::with_capacity(ours.len());
        for entry in ours {
            let key = key_of(shape, entry);
            match entries.get(&key) {
                None => joined.push(entry.clone()),
                Some((list, index, child)) if *list == name => {
                    let path = format!("{path}.{index}");
                    joined.extend(self.entries(shape, entry, child, &path));
                }
                Some(_) => {}
            }
            keys.insert(key);
        }
        let new = |entry: &&Value| !keys.contains(&key_of(shape, entry));
        joined.extend(theirs.iter().filter(new).cloned());
        if joined.is_empty() && ours.is_empty() {
            // Null, or no list at all.
            return parent.clone();
        }
        Value::Array(joined)
    }

    /// Two entries with the same key, or nothing if the child's takes the parent's away.
    fn entries(
        &mut self,
        shape: Option<&'static Shape>,
        parent: &Value,
        child: &Value,
        path: &str,
    ) -> Option<Value> {
        let Some(shape) = shape else {
            return Some(child.clone());
        };
        let value = child.get("value").unwrap_or(&Value::Null);
        if std::ptr::eq(shape, &HTTP_HEADER) && value.is_null() {
            return None;
        }
        match (object(parent), object(child)) {
            (Some(parent), Some(child)) => {
                Some(Value::Object(self.objects(shape, parent, child, path)))
            }
            _ => Some(child.clone()),
        }
    }

    /// The child's entries of the lists that share their keys.
    fn shared_entries<'a>(&self, shape: &Shape, child: &'a Map<String, Value>) -> Entries<'a> {
        let mut entries = Entries::new();
        for field in shape.fields {
            if let Some((shape, Join::Shared)) = field.list() {
                add_entries(&mut entries, field.name, shape, list(child, field.name));
            }
        }
        entries
    }

    /// A new source keeps the compression and the hash of the old one if it doesn't bring its own.
    fn note_leftovers(
        &mut self,
        parent: &Map<String, Value>,
        child: &Map<String, Value>,
        path: &str,
    ) {
        let set = |map: &Map<String, Value>, name: &str| {
            map.get(name).is_some_and(|value| !value.is_null())
        };
        if !set(child, "source") || parent.get("source") == child.get("source") {
            return;
        }
        let compressed = parent.get("compression").and_then(Value::as_str);
        if compressed.is_some_and(|c| !c.is_empty()) && !set(child, "compression") {
            self.report.warn(
                format!("{path}.compression"),
                "the new source is read with the compression of the one that it replaces",
            );
        }
        let hash = |map: &Map<String, Value>| {
            let verification = map.get("verification").and_then(Value::as_object);
            verification.is_some_and(|verification| set(verification, "hash"))
        };
        if hash(parent) && !hash(child) {
            self.report.warn(
                format!("{path}.verification.hash"),
                "the new source has to have the hash of the one that it replaces",
            );
        }
    }
}

fn add_entries<'a>(
    entries: &mut Entries<'a>,
    list: &'static str,
    shape: Option<&Shape>,
    values: &'a [Value],
) {
    for (index, value) in values.iter().enumerate() {
        entries.insert(key_of(shape, value), (list, index, value));
    }
}
