//! One configuration without the ones that it carries in itself.
//!
//! On a host of the assisted or agent-based installer nothing runs Ignition on `bootstrap.ign`: the
//! machine-config daemon reads it (`start --once-from`) and takes `storage.files` and
//! `systemd.units`, from the file itself. What is in `ignition.config.merge` has to be inlined to
//! count there, and what is neither file nor unit is lost.

use serde_json::Value;

use super::convert::{ignored_before, is_empty, raise};
use super::error::Error;
use super::merge::merge;
use super::parse::{CONFIG_MAX_BYTES, parse, version_of};
use super::report::{Finding, Report};
use super::resource::{ResourceError, content, is_data_url};
use super::version::Version;

/// Configs inside of configs. Tools that wrap a config make two.
pub const NESTING_MAX: usize = 8;

/// A configuration with what it carried in itself merged into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Flat {
    /// It. Configs that would have to be fetched are still in `ignition.config`.
    pub value: Value,
    /// The newest of all the versions.
    pub version: Version,
    /// What is probably not what was meant.
    pub notes: Vec<Finding>,
}

/// Why a configuration can't be flattened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlattenError {
    /// The config itself is refused.
    #[error(transparent)]
    Config(#[from] Error),
    /// One that it carries is refused.
    #[error("the config at {path} is refused: {cause}")]
    Child {
        /// Where it is.
        path: String,
        /// Why.
        cause: Error,
    },
    /// One that it carries can't be unpacked.
    #[error("the config at {path} is not to be had: {cause}")]
    Content {
        /// Where it is.
        path: String,
        /// Why.
        cause: ResourceError,
    },
    /// Too many configs inside of each other.
    #[error("the config at {path} is nested deeper than {NESTING_MAX}")]
    Nesting {
        /// Where it is.
        path: String,
    },
}

/// The configuration with all configs inlined that it has in `data:` URLs, in the order in which
/// Ignition merges them.
pub fn flatten(config: &Value) -> Result<Flat, FlattenError> {
    let mut flatten = Flatten {
        left: CONFIG_MAX_BYTES,
        report: Report::default(),
    };
    let value = flatten.config(config, "$", 0)?;
    Ok(Flat {
        version: version_of(&value)?,
        value,
        notes: flatten.report.findings,
    })
}

struct Flatten {
    /// Bytes of carried configs that may still be unpacked.
    left: usize,
    report: Report,
}

impl Flatten {
    fn config(&mut self, config: &Value, path: &str, depth: usize) -> Result<Value, FlattenError> {
        if depth > NESTING_MAX {
            return Err(FlattenError::Nesting {
                path: path.to_string(),
            });
        }
        let version = version_of(config)?;
        let references = &config["ignition"]["config"];
        let replace = &references["replace"];
        if source(replace).is_some() {
            let path = format!("{path}.ignition.config.replace");
            if !source(replace).is_some_and(is_data_url) {
                return Ok(config.clone());
            }
            let child = self.child(replace, version, &path)?;
            return self.config(&child, &path, depth + 1);
        }
        let list = references["merge"].as_array();
        let mut kept = Vec::new();
        let mut inlined = Vec::new();
        for (index, reference) in list.into_iter().flatten().enumerate() {
            let path = format!("{path}.ignition.config.merge.{index}");
            match self.inlined(reference, version, &path, depth)? {
                None => kept.push(reference.clone()),
                Some(child) => {
                    if !kept.is_empty() {
                        self.report.warn(
                            path.clone(),
                            "is inlined, so a config before it that is fetched wins over it now",
                        );
                    }
                    inlined.push((path, child));
                }
            }
        }
        let mut flat = config.clone();
        if !inlined.is_empty() {
            keep_references(&mut flat, kept);
        }
        self.raise_to_newest(&mut flat, &inlined, path)?;
        for (path, child) in inlined {
            let merged = merge(&flat, &child)?;
            self.warn_of_child(&path, merged.notes);
            flat = merged.value;
        }
        Ok(flat)
    }

    /// Does what merging would do first, to have it said under the path of the config itself.
    fn raise_to_newest(
        &mut self,
        config: &mut Value,
        children: &[(String, Value)],
        path: &str,
    ) -> Result<(), FlattenError> {
        let mut newest = version_of(config)?;
        for (_, child) in children {
            newest = newest.max(version_of(child)?);
        }
        let raised = raise(config, newest)?;
        for dropped in raised.dropped {
            let below = dropped.strip_prefix('$').unwrap_or_default();
            self.report
                .warn(format!("{path}{below}"), ignored_before(newest));
        }
        *config = raised.value;
        Ok(())
    }

    /// The config behind a reference, flat; nothing if it would have to be fetched, or if another one
    /// that would have to be fetched takes its place.
    fn inlined(
        &mut self,
        reference: &Value,
        version: Version,
        path: &str,
        depth: usize,
    ) -> Result<Option<Value>, FlattenError> {
        if !source(reference).is_some_and(is_data_url) {
            return Ok(None);
        }
        let child = self.child(reference, version, path)?;
        let child = self.config(&child, path, depth + 1)?;
        let replaced = source(&child["ignition"]["config"]["replace"]).is_some();
        Ok((!replaced).then_some(child))
    }

    fn child(
        &mut self,
        reference: &Value,
        version: Version,
        path: &str,
    ) -> Result<Value, FlattenError> {
        let mut reference = reference.clone();
        if version == Version::V3_0
            && let Some(keys) = reference.as_object_mut()
        {
            // Ignored there, as it came for configs with the next version.
            keys.remove("compression");
        }
        let bytes = content(&reference, self.left).map_err(|cause| FlattenError::Content {
            path: path.to_string(),
            cause,
        })?;
        let bytes = bytes.unwrap_or_default();
        self.left = self.left.saturating_sub(bytes.len());
        let child = parse(&bytes).map_err(|cause| FlattenError::Child {
            path: path.to_string(),
            cause,
        })?;
        self.warn_of_child(path, child.warnings);
        Ok(child.value)
    }

    /// Takes over findings about a config that is in another one.
    fn warn_of_child(&mut self, path: &str, findings: Vec<Finding>) {
        for finding in findings {
            let below = finding.path.strip_prefix('$').unwrap_or_default();
            self.report.warn(format!("{path}{below}"), finding.message);
        }
    }
}

fn source(reference: &Value) -> Option<&str> {
    reference.get("source").and_then(Value::as_str)
}

/// Leaves these references and takes away what is empty then.
fn keep_references(config: &mut Value, kept: Vec<Value>) {
    let Some(ignition) = config.get_mut("ignition").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(references) = ignition.get_mut("config").and_then(Value::as_object_mut) else {
        return;
    };
    if kept.is_empty() {
        references.shift_remove("merge");
    } else {
        references.insert("merge".to_string(), kept.into());
    }
    if references.values().all(is_empty) {
        ignition.shift_remove("config");
    }
}

/// A thing that the machine-config daemon doesn't take from a `bootstrap.ign`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Where it is.
    pub path: String,
    /// Its name, path or source, if it has one: paths move when configs are merged.
    pub what: String,
}

impl std::fmt::Display for Ignored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.path, self.what)
    }
}

/// What is ignored where only `storage.files` and `systemd.units` are taken, and only from the file
/// itself.
pub fn ignored_once_from(config: &Value) -> Vec<Ignored> {
    let mut ignored = Vec::new();
    let Some(sections) = config.as_object() else {
        return ignored;
    };
    for (section, value) in sections {
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = format!("$.{section}.{name}");
            match (section.as_str(), name.as_str()) {
                ("ignition", "version") | ("systemd", "units") => {}
                ("storage", "files") => files(value, &path, &mut ignored),
                _ => leaves(value, &path, &mut ignored),
            }
        }
    }
    ignored
}

/// The entries of the lists below a value, and what is no list.
fn leaves(value: &Value, path: &str, ignored: &mut Vec<Ignored>) {
    match value {
        value if is_empty(value) => {}
        Value::Object(map) => {
            for (name, value) in map {
                leaves(value, &format!("{path}.{name}"), ignored);
            }
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                let named = ["path", "name", "device", "source"]
                    .iter()
                    .find_map(|name| entry.get(name)?.as_str());
                push(ignored, format!("{path}.{index}"), named.or(entry.as_str()));
            }
        }
        value => push(ignored, path.to_string(), value.as_str()),
    }
}

/// Files are taken, but nothing is appended to them or fetched for them.
fn files(value: &Value, path: &str, ignored: &mut Vec<Ignored>) {
    for (index, file) in value.as_array().into_iter().flatten().enumerate() {
        let name = file.get("path").and_then(Value::as_str);
        if file.get("append").is_some_and(|append| !is_empty(append)) {
            push(ignored, format!("{path}.{index}.append"), name);
        }
        let contents = file.get("contents").unwrap_or(&Value::Null);
        if source(contents).is_some_and(|source| !source.is_empty() && !is_data_url(source)) {
            push(ignored, format!("{path}.{index}.contents"), name);
        }
    }
}

fn push(ignored: &mut Vec<Ignored>, path: String, what: Option<&str>) {
    // A data URL can be as long as the config.
    let what = what.unwrap_or_default().chars().take(80).collect();
    ignored.push(Ignored { path, what });
}
