//! Inventories in YAML, and so in JSON too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_saphyr::{Spanned, budget, options};

use super::MAX_HOSTS;
use super::raw::{Row, Wrong, unknown, words};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What all hosts of a role have in common.
    #[serde(default)]
    roles: BTreeMap<String, Spanned<Keys>>,
    hosts: Vec<Spanned<Keys>>,
}

/// Values by their keys. The parser refuses a key that is there twice; which keys there are is judged
/// here, where the line is known.
type Keys = BTreeMap<String, Spanned<Value>>;

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    List(Vec<String>),
    /// A number, a truth value or nothing.
    Other,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = list.next_element()? {
                    all.push(text);
                }
                Ok(Value::List(all))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
                Ok(Value::Other)
            }
        }
        from.deserialize_any(Any)
    }
}

/// What the author said of each host, in order.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, Wrong> {
    // The parser's own limits on depth, nodes and repetition are wide enough for as many hosts as there
    // can be, and narrow enough for any machine. Only, one anchor may well serve all hosts.
    let options = options! {
        budget: budget! {
            enforce_alias_anchor_ratio: false,
        },
        with_snippet: false,
    };
    let file: File =
        serde_saphyr::from_str_with_options(text, options.clone()).map_err(|error| {
            let line = error.location().map_or(0, |place| place.line());
            let list = serde_saphyr::from_str_with_options::<Vec<IgnoredAny>>(text, options);
            match list.is_ok() {
                true => Wrong::at(line, "the file is a list, and the hosts have no key")
                    .with_hint("put `hosts:` in a line of its own in front of the list"),
                false => Wrong::at(line, one_line(&error.to_string())),
            }
        })?;
    if file.hosts.len() > MAX_HOSTS {
        return Err(Wrong::at(
            0,
            format!("{} hosts, and at most {MAX_HOSTS}", file.hosts.len()),
        ));
    }
    let mut roles = BTreeMap::new();
    for (role, settings) in file.roles {
        let line = settings.referenced.line();
        roles.insert(role, (line, row(settings, &["name", "mac", "role"])?));
    }
    let mut used = BTreeSet::new();
    let mut rows = Vec::new();
    for host in file.hosts {
        let mut host = row(host, &[])?;
        if let Some(role) = &host.role
            && let Some((_, settings)) = roles.get(role)
        {
            used.insert(role.clone());
            host = with_role(host, settings);
        }
        rows.push(host);
    }
    match roles.iter().find(|(role, _)| !used.contains(*role)) {
        Some((role, (line, _))) => Err(Wrong::at(*line, format!("no host has role {role:?}"))),
        None => Ok(rows),
    }
}

/// The settings of a host or a role, without those that are `not_here`.
fn row(keys: Spanned<Keys>, not_here: &[&str]) -> Result<Row, Wrong> {
    let mut row = Row {
        line: keys.referenced.line(),
        ..Row::default()
    };
    for (key, value) in keys.value {
        let line = value.referenced.line();
        if not_here.contains(&key.as_str()) {
            return Err(Wrong::at(line, format!("a role can't have key {key:?}")));
        }
        let one = |value: Value| match value {
            Value::Text(text) => Ok(text),
            _ => {
                let sentence = format!("{key} is no text");
                Err(Wrong::at(line, sentence)
                    .with_hint("put it in quotes if it looks like a number"))
            }
        };
        let several = |value: Value| match value {
            Value::List(list) => Ok(list),
            value => one(value).map(|text| words(&text)),
        };
        let value = value.value;
        match key.as_str() {
            "name" => row.name = one(value)?,
            "mac" => row.macs = several(value)?,
            "role" => row.role = Some(one(value)?),
            "disk" => row.disk = Some(one(value)?),
            "ignition" => row.ignition = Some(one(value)?),
            "live-ignition" => row.live_ignition = Some(one(value)?),
            "keyfiles" => row.keyfiles = several(value)?,
            "nmstate" => row.nmstate = Some(one(value)?),
            "kargs" => row.kargs = several(value)?,
            "dest-kargs" => row.dest_kargs = several(value)?,
            _ => return Err(Wrong::at(line, unknown("key", &key))),
        }
    }
    Ok(row)
}

/// A host with what it has from its role: its own value where there can be one, both where there can
/// be several.
fn with_role(host: Row, role: &Row) -> Row {
    let both = |role: &[String], own: Vec<String>| role.iter().cloned().chain(own).collect();
    Row {
        disk: host.disk.or_else(|| role.disk.clone()),
        ignition: host.ignition.or_else(|| role.ignition.clone()),
        live_ignition: host.live_ignition.or_else(|| role.live_ignition.clone()),
        keyfiles: both(&role.keyfiles, host.keyfiles),
        nmstate: host.nmstate.or_else(|| role.nmstate.clone()),
        kargs: both(&role.kargs, host.kargs),
        dest_kargs: both(&role.dest_kargs, host.dest_kargs),
        ..host
    }
}

/// What the parser says in its first line, without the place, which is said in front of it, and without
/// its advice to programmers.
fn one_line(message: &str) -> String {
    let mut line = message.lines().next().unwrap_or_default();
    for rest in [" at line ", ", set DuplicateKeyPolicy", "; use from_str"] {
        line = line.split_once(rest).map_or(line, |(sentence, _)| sentence);
    }
    line.to_owned()
}
