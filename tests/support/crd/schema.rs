//! The structural OpenAPI v3 schema of a custom resource: what the API server drops, fills in and
//! refuses.
//!
//! Left out: formats other than the ones in [`format_violation`] are not checked, as in the API
//! server, which ignores formats it doesn't know.
//!
//! Source of truth: the Kubernetes documentation of CustomResourceDefinitions (structural schemas,
//! field pruning, defaulting and nullable).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::{Map, Value, json};

/// Where in an object: `spec.containerFile[1].content`, keys of maps in brackets.
#[derive(Clone, Default)]
pub struct FieldPath(String);

impl FieldPath {
    /// The path of a property of this object.
    pub fn property(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self(name.to_owned())
        } else {
            Self(format!("{}.{name}", self.0))
        }
    }

    /// The path of an element of this list or map.
    pub fn element(&self, key: impl fmt::Display) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "object" } else { &self.0 })
    }
}

/// What was found wrong.
#[derive(Default)]
pub struct Violations {
    /// One line for each, with its path.
    pub lines: Vec<String>,
    /// Whether one of them keeps the API server from evaluating rules at all: a wrong type or
    /// format, a missing field, too long or too many.
    pub blocking: bool,
}

impl Violations {
    /// Adds a violation after which rules are still evaluated.
    pub fn add(&mut self, path: &FieldPath, what: impl fmt::Display) {
        self.lines.push(format!("{path}: {what}"));
    }

    /// Adds a violation after which no rule is evaluated.
    pub fn block(&mut self, path: &FieldPath, what: impl fmt::Display) {
        self.add(path, what);
        self.blocking = true;
    }
}

/// Whether a boolean keyword is set.
pub fn flag(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword).and_then(Value::as_bool) == Some(true)
}

/// Calls `visit` for each value that has a schema of its own below `value`.
pub fn children(
    schema: &Value,
    value: &Value,
    path: &FieldPath,
    mut visit: impl FnMut(&Value, &Value, &FieldPath),
) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(property) = schema["properties"].get(name) {
                    visit(property, field, &path.property(name));
                } else if let Some(entry @ Value::Object(_)) = schema.get("additionalProperties") {
                    visit(entry, field, &path.element(name));
                }
            }
        }
        Value::Array(elements) => {
            if let Some(items) = schema.get("items") {
                for (index, element) in elements.iter().enumerate() {
                    visit(items, element, &path.element(index));
                }
            }
        }
        _ => {}
    }
}

/// Drops what the schema doesn't know, each a violation, and then nulls that mean "not set".
///
/// `resource` says that this object has apiVersion, kind and metadata without its schema's saying
/// so.
pub fn prune(
    schema: &Value,
    value: &mut Value,
    resource: bool,
    path: &FieldPath,
    violations: &mut Violations,
) {
    let resource = resource || flag(schema, "x-kubernetes-embedded-resource");
    match value {
        Value::Object(fields) => {
            let entries = schema.get("additionalProperties");
            let any = flag(schema, "x-kubernetes-preserve-unknown-fields")
                || entries.is_some_and(|entries| *entries == json!(true));
            fields.retain(|name, field| {
                if resource && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                    return true;
                }
                if let Some(property) = schema["properties"].get(name) {
                    if field.is_null() && !flag(property, "nullable") {
                        return false;
                    }
                    prune(property, field, false, &path.property(name), violations);
                    return true;
                }
                if let Some(entry @ Value::Object(_)) = entries {
                    prune(entry, field, false, &path.element(name), violations);
                    return true;
                }
                if !any {
                    violations.add(&path.property(name), "unknown field");
                }
                any
            });
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                let items = &schema["items"];
                prune(items, element, false, &path.element(index), violations);
            }
        }
        _ => {}
    }
}

/// Fills in the schema's default values.
pub fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let empty = Map::new();
            let properties = schema["properties"].as_object().unwrap_or(&empty);
            for (name, property) in properties {
                if let (Some(default), false) = (property.get("default"), fields.contains_key(name))
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in fields {
                let entries = &schema["additionalProperties"];
                fill(properties.get(name).unwrap_or(entries), field);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                fill(&schema["items"], element);
            }
        }
        _ => {}
    }
}

/// Checks a pruned and filled value against everything in the schema but its rules.
pub fn validate(schema: &Value, value: &Value, path: &FieldPath, violations: &mut Violations) {
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    if let Some(expected) = wrong_type(schema, value) {
        violations.block(path, format_args!("must be of type {expected}"));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        let allowed = allowed.join(", ");
        violations.add(path, format_args!("must be one of {allowed}"));
    }
    match value {
        Value::String(text) => validate_text(schema, text, path, violations),
        Value::Number(_) => validate_number(schema, value, path, violations),
        Value::Array(elements) => {
            let bounds = ["minItems", "maxItems"];
            validate_size(schema, bounds, elements.len(), "items", path, violations);
            validate_distinct(schema, elements, path, violations);
        }
        Value::Object(fields) => {
            let bounds = ["minProperties", "maxProperties"];
            validate_size(schema, bounds, fields.len(), "properties", path, violations);
            let mut required: Vec<&str> =
                schema["required"].as_array().map_or(Vec::new(), |names| {
                    names.iter().filter_map(Value::as_str).collect()
                });
            if flag(schema, "x-kubernetes-embedded-resource") {
                required.extend(["apiVersion", "kind"]);
            }
            for name in required {
                if !fields.contains_key(name) {
                    violations.block(&path.property(name), "required field is missing");
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    validate_alternatives(schema, value, path, violations);
    children(schema, value, path, |schema, value, path| {
        validate(schema, value, path, violations);
    });
}

/// The type that the value should have and hasn't.
fn wrong_type<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    if flag(schema, "x-kubernetes-int-or-string") {
        let fits = value.is_i64() || value.is_u64() || value.is_string();
        return (!fits).then_some("integer or string");
    }
    let Some(expected) = schema["type"].as_str() else {
        // Only a value without any type of its own may be null here.
        let untyped = flag(schema, "x-kubernetes-preserve-unknown-fields");
        return (value.is_null() && untyped).then_some("anything but null");
    };
    let fits = match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    };
    (!fits).then_some(expected)
}

fn validate_text(schema: &Value, text: &str, path: &FieldPath, violations: &mut Violations) {
    let bounds = ["minLength", "maxLength"];
    let length = text.chars().count();
    validate_size(schema, bounds, length, "characters", path, violations);
    if let Some(pattern) = schema["pattern"].as_str() {
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match(text) => {}
            Ok(_) => violations.add(path, format_args!("must match {pattern}")),
            Err(error) => violations.add(path, format_args!("cannot evaluate: {error}")),
        }
    }
    if let Some(what) = schema["format"]
        .as_str()
        .and_then(|format| format_violation(format, text))
    {
        violations.block(path, what);
    }
}

fn format_violation(format: &str, text: &str) -> Option<&'static str> {
    match format {
        "date-time" => {
            let shape = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$";
            let shape = Regex::new(shape).expect("the expression is right");
            (!text.is_ascii() || !shape.is_match(text)).then_some("must be an RFC 3339 date-time")
        }
        "byte" => STANDARD.decode(text).is_err().then_some("must be base64"),
        _ => None,
    }
}

fn validate_number(schema: &Value, value: &Value, path: &FieldPath, violations: &mut Violations) {
    let fits = match schema["format"].as_str() {
        Some("int32") => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        Some("int64") => value.is_i64(),
        _ => true,
    };
    if !fits {
        let format = &schema["format"];
        violations.add(
            path,
            format_args!("must fit {}", format.as_str().unwrap_or("")),
        );
    }
    let Some(number) = value.as_f64() else {
        return;
    };
    if let Some(least) = schema["minimum"].as_f64() {
        if flag(schema, "exclusiveMinimum") && number <= least {
            violations.add(path, format_args!("must be more than {least}"));
        } else if number < least {
            violations.add(path, format_args!("must be at least {least}"));
        }
    }
    if let Some(most) = schema["maximum"].as_f64() {
        if flag(schema, "exclusiveMaximum") && number >= most {
            violations.add(path, format_args!("must be less than {most}"));
        } else if number > most {
            violations.add(path, format_args!("must be at most {most}"));
        }
    }
}

fn validate_size(
    schema: &Value,
    [least, most]: [&str; 2],
    size: usize,
    unit: &str,
    path: &FieldPath,
    violations: &mut Violations,
) {
    let bound = |keyword| {
        let bound = schema.get(keyword).and_then(Value::as_u64)?;
        usize::try_from(bound).ok()
    };
    if let Some(least) = bound(least)
        && size < least
    {
        violations.add(path, format_args!("must have at least {least} {unit}"));
    }
    if let Some(most) = bound(most)
        && size > most
    {
        violations.block(path, format_args!("must have at most {most} {unit}"));
    }
}

/// Lists of type `set` have no equal elements, lists of type `map` none with equal keys.
fn validate_distinct(
    schema: &Value,
    elements: &[Value],
    path: &FieldPath,
    violations: &mut Violations,
) {
    let empty = Vec::new();
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let key = |element: &Value| -> Value {
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => element.clone(),
            _ => keys
                .unwrap_or(&empty)
                .iter()
                .map(|name| element[name.as_str().unwrap_or("")].clone())
                .collect(),
        }
    };
    if !matches!(
        schema["x-kubernetes-list-type"].as_str(),
        Some("set" | "map")
    ) {
        return;
    }
    for (index, element) in elements.iter().enumerate() {
        let this = key(element);
        if elements[..index].iter().any(|other| key(other) == this) {
            violations.add(&path.element(index), format_args!("duplicate value {this}"));
        }
    }
}

fn validate_alternatives(
    schema: &Value,
    value: &Value,
    path: &FieldPath,
    violations: &mut Violations,
) {
    let matching = |alternatives: &[Value]| {
        let fits = |alternative: &&Value| {
            let mut found = Violations::default();
            validate(alternative, value, path, &mut found);
            found.lines.is_empty()
        };
        alternatives.iter().filter(fits).count()
    };
    if let Some(all) = schema["allOf"].as_array() {
        for schema in all {
            validate(schema, value, path, violations);
        }
    }
    if let Some(any) = schema["anyOf"].as_array()
        && matching(any) == 0
    {
        violations.add(path, "must match one of anyOf's schemas");
    }
    if let Some(one) = schema["oneOf"].as_array()
        && matching(one) != 1
    {
        violations.add(path, "must match exactly one of oneOf's schemas");
    }
    if let Some(not) = schema.get("not")
        && matching(std::slice::from_ref(not)) == 1
    {
        violations.add(path, "must not match not's schema");
    }
}
