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

use serde_json::Value;

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
