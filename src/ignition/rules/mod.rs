//! What must hold for the objects of a configuration beyond their types.
//!
//! ```text
//! resources  sources, hashes, headers, proxies
//! nodes      files, directories, links
//! disks      partitions, file systems, RAID
//! luks       encrypted volumes
//! systemd    units, and accounts, which have next to no rules
//! ```

pub(super) mod disks;
pub(super) mod luks;
pub(super) mod nodes;
pub(super) mod resources;
pub(super) mod systemd;

use std::fmt::Display;

use serde_json::{Map, Value};

use super::check::list;
use super::report::Report;
use super::shape::{Shape, object};
use super::version::Version;

/// Looks at one object.
pub(super) type Rule = fn(&Place<'_>, &mut Report);

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

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.shape.field(name, self.version)?;
        self.map.get(name)
    }

    /// The text under that name; an empty one is a text.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// The text under that name, unless it is empty.
    fn filled(&self, name: &str) -> Option<&'a str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool) == Some(true)
    }

    fn is_false(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool) == Some(false)
    }

    fn list(&self, name: &str) -> &'a [Value] {
        self.get(name).map_or(&[], |_| list(self.map, name))
    }

    /// The object under that name.
    fn object(&self, name: &str) -> Option<&'a Map<String, Value>> {
        self.get(name).and_then(object)
    }

    /// Where the value under that name is.
    fn at(&self, name: impl Display) -> String {
        format!("{}.{name}", self.path)
    }
}

/// The text under a key of an object, or nothing.
fn text_in<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What is wrong with a path that has to be absolute and written in the shortest way.
fn path_error(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("the path is missing");
    }
    let Some(relative) = path.strip_prefix('/') else {
        return Some("the path is not absolute");
    };
    let simplified = relative.is_empty()
        || relative
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."));
    (!simplified).then_some("the path has empty parts, \".\" or \"..\" in it")
}

#[cfg(test)]
mod tests {
    use super::path_error;

    #[test]
    fn paths_are_absolute_and_simple() {
        for good in ["/", "/a", "/a/b", "/a/..b", "/.a"] {
            assert_eq!(path_error(good), None, "{good}");
        }
        for bad in [
            "", "a", "./a", "//a", "/a/", "/a//b", "/./a", "/a/..", "/..",
        ] {
            assert!(path_error(bad).is_some(), "{bad}");
        }
    }
}
