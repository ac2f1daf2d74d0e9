//! JSON into a value that keeps the order of its keys, and says which keys were there twice.
//!
//! Go's reader, which Ignition uses, takes the last of two equal keys for scalars and merges them for
//! objects; serde_json takes the last. A file where the two differ must not go through unnoticed.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one value; the paths of keys that stood twice in their object come with it. Nesting deeper
/// than serde_json's 128 is an error of the JSON.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut place = Place {
        path: "$".to_string(),
        twice: Vec::new(),
    };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Seed(&mut place).deserialize(&mut json)?;
    json.end()?;
    Ok((value, place.twice))
}

/// Where the reader is, and what it has found.
struct Place {
    path: String,
    twice: Vec<String>,
}

impl Place {
    /// Does something one step deeper.
    fn within<T>(&mut self, step: impl fmt::Display, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        let _ = write!(self.path, ".{step}");
        let result = work(self);
        self.path.truncate(length);
        result
    }
}

struct Seed<'a>(&'a mut Place);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_string()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = self
            .0
            .within(list.len(), |place| entries.next_element_seed(Seed(place)))?
        {
            list.push(entry);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = self
                .0
                .within(&key, |place| entries.next_value_seed(Seed(place)))?;
            if map.contains_key(&key) {
                self.0.twice.push(format!("{}.{key}", self.0.path));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
