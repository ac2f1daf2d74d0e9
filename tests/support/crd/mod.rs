//! Checks Kubernetes objects against CustomResourceDefinitions: would the API server accept this
//! object on create, without dropping any of it?
//!
//! ```text
//! mod.rs     finding the definition, what every object has
//! schema.rs  unknown fields, defaults, types and bounds
//! cel.rs     the rules of x-kubernetes-validations
//! ```
//!
//! Stricter than the API server in two ways: a field that it would drop is a violation, and the
//! status, which it ignores on create, is checked as if it were written to the status subresource.
//! Left out: admission plugins, and rules that compare with the object as it was.
//!
//! Source of truth: the definitions, in `../shared/data/crds` or `$COREOS_BAKE_CRDS`.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

mod cel;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use cel::Rules;
use schema::{FieldPath, Violations};

/// The fields of metadata that a client may set.
const METADATA: [&str; 8] = [
    "annotations",
    "creationTimestamp",
    "finalizers",
    "generateName",
    "labels",
    "name",
    "namespace",
    "ownerReferences",
];

/// The definitions of all served versions.
pub struct Crds {
    definitions: BTreeMap<(String, String), Definition>,
    rules: Rules,
}

struct Definition {
    schema: Value,
    namespaced: bool,
}

impl Crds {
    /// No definitions.
    pub fn new() -> Self {
        Self {
            definitions: BTreeMap::new(),
            rules: Rules::new(),
        }
    }

    /// Reads the definitions; `None`, with a line that says so, where there are none.
    ///
    /// # Panics
    ///
    /// On files that are no definitions. They are nobody's to install, so that none is needed.
    pub fn load() -> Option<Self> {
        let directory = std::env::var_os("COREOS_BAKE_CRDS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/crds"),
            PathBuf::from,
        );
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)
            .map(|entries| entries.map(|entry| entry.expect("entry").path()).collect())
            .unwrap_or_default();
        files.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        });
        if files.is_empty() {
            println!("skipped: no CRDs in {}", directory.display());
            return None;
        }
        files.sort();
        let mut crds = Self::new();
        for path in files {
            let text = fs::read_to_string(&path).expect("definition is readable");
            let definition: Value = serde_saphyr::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            crds.add(&definition);
        }
        Some(crds)
    }

    /// Adds a definition's served versions.
    pub fn add(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().expect("a CRD has this name").to_owned();
        for version in spec["versions"].as_array().expect("a CRD has versions") {
            if version["served"] != true {
                continue;
            }
            let api = format!("{}/{}", text(&spec["group"]), text(&version["name"]));
            let schema = version["schema"]["openAPIV3Schema"].clone();
            self.rules.compile(&schema);
            let definition = Definition {
                schema,
                namespaced: spec["scope"] == "Namespaced",
            };
            let key = (api, text(&spec["names"]["kind"]));
            self.definitions.insert(key, definition);
        }
    }

    /// What the API server would refuse or drop, each with its path; empty if it would accept the
    /// object as it is.
    pub fn check(&self, object: &Value) -> Vec<String> {
        let mut violations = Violations::default();
        let root = FieldPath::default();
        let [api, kind] =
            ["apiVersion", "kind"].map(|name| object[name].as_str().unwrap_or("").to_owned());
        let Some(definition) = self.definitions.get(&(api.clone(), kind.clone())) else {
            violations.add(&root, format_args!("no CRD serves {kind:?} of {api:?}"));
            return violations.lines;
        };
        let schema = &definition.schema;
        let mut object = object.clone();
        schema::prune(schema, &mut object, true, &root, &mut violations);
        schema::fill(schema, &mut object);
        definition.check_metadata(&object["metadata"], &mut violations);
        schema::validate(schema, &object, &root, &mut violations);
        if !violations.blocking {
            self.rules
                .check(schema, &object, true, &root, &mut violations);
        }
        violations.lines
    }

    /// The kinds that are known, as `group/version Kind`.
    pub fn kinds(&self) -> impl Iterator<Item = String> {
        self.definitions
            .keys()
            .map(|(api, kind)| format!("{api} {kind}"))
    }

    /// The sources of all rules, and what the compiler says to those it can't compile.
    pub fn rules(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.rules.sources()
    }

    /// The sources of the rules that [`Self::check`] evaluated so far.
    pub fn evaluated(&self) -> BTreeSet<String> {
        self.rules.evaluated()
    }

    /// Whether a rule compares with the object as it was.
    pub fn is_transition(&self, rule: &str) -> bool {
        self.rules.is_transition(rule)
    }
}

impl Definition {
    fn check_metadata(&self, metadata: &Value, violations: &mut Violations) {
        let path = FieldPath::default().property("metadata");
        let Some(fields) = metadata.as_object() else {
            violations.block(&path, "must be of type object");
            return;
        };
        match (fields.get("name"), fields.get("generateName")) {
            (Some(Value::String(name)), _) => {
                if let Some(what) = cel::name_violation("dns1123Subdomain", name) {
                    violations.add(&path.property("name"), what);
                }
            }
            (None, Some(Value::String(_))) => {}
            _ => violations.block(&path.property("name"), "required field is missing"),
        }
        for (name, field) in fields {
            let path = path.property(name);
            if !METADATA.contains(&name.as_str()) {
                violations.add(&path, "unknown field");
            } else if name == "namespace" && !self.namespaced {
                violations.add(&path, "not allowed: the kind is cluster-scoped");
            } else if ["labels", "annotations"].contains(&name.as_str())
                && !field.is_null()
                && !field
                    .as_object()
                    .is_some_and(|entries| entries.values().all(Value::is_string))
            {
                violations.block(&path, "must be an object of strings");
            }
        }
    }
}
