//! Ignition configurations, spec 3.0.0 to 3.6.0: reading, checking, merging, converting.
//!
//! ```text
//! parse      bytes into a checked value        json, error, report, version
//! check      types, unknown keys, doubles      shape, spec (the table of all keys), rules
//! merge      a child on top of a parent        convert (up, down, what gets lost)
//! resource   contents into data URLs and out   data_url, url, unit_file
//! fragment   files and units of our own
//! flatten    configs inside of configs inlined
//! ```
//!
//! Configurations are values, not structs: most are somebody else's, and a key that we don't know is
//! theirs to keep. All that is known about keys is in the table in `spec`.
//!
//! Stricter than Ignition, on purpose: a key that is there twice, a key in other letters than the
//! spec's (Go takes both), and experimental versions are refused. Left out: fetching, specs before
//! 3.0.0, and units with lines of 2048 bytes.
//!
//! Source of truth: Ignition's own validation and merging, up to 2.14 by its binary in the tests; what
//! is newer, from its release notes and its `docs/specs.md`.

mod check;
mod convert;
mod data_url;
mod error;
mod flatten;
pub mod fragment;
mod json;
mod merge;
mod parse;
mod report;
mod resource;
mod rules;
mod shape;
mod spec;
mod unit_file;
mod url;
mod version;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use flatten::{flatten, ignored_once_from};
pub use merge::merge;
pub use parse::{CONFIG_MAX_BYTES, parse, validate};
#[cfg(test)]
pub use resource::resource;
pub use resource::{CONTENT_MAX_BYTES, content};
pub use version::Version;
