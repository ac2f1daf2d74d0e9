//! What the API answers: to lists, reads, merge patches, server-side applies, removals and questions about
//! rights.
//!
//! As recorded of kube-apiserver 1.36.2: the texts and codes of refusals and conflicts, that a conflict comes
//! before validation, that a stale resourceVersion and a wrong uid are conflicts.

use std::collections::BTreeMap;

use axum::http::request::Parts;
use axum::http::{Method, Uri, header};
use serde_json::{Map, Value, json};

use super::crd::Crds;
use super::play::Told;
use super::{Moment, Objects};

/// Kinds by group and resource.
const KINDS: [(&str, &str, &str); 24] = [
    ("", "nodes", "Node"),
    ("", "pods", "Pod"),
    ("", "secrets", "Secret"),
    ("", "configmaps", "ConfigMap"),
    ("", "serviceaccounts", "ServiceAccount"),
    ("", "services", "Service"),
    ("apps", "deployments", "Deployment"),
    ("batch", "jobs", "Job"),
    ("batch", "cronjobs", "CronJob"),
    ("config.openshift.io", "clusterversions", "ClusterVersion"),
    ("config.openshift.io", "clusteroperators", "ClusterOperator"),
    ("config.openshift.io", "infrastructures", "Infrastructure"),
    (
        "machineconfiguration.openshift.io",
        "machineconfigpools",
        "MachineConfigPool",
    ),
    (
        "machineconfiguration.openshift.io",
        "machineconfigs",
        "MachineConfig",
    ),
    (
        "machineconfiguration.openshift.io",
        "machineosconfigs",
        "MachineOSConfig",
    ),
    (
        "machineconfiguration.openshift.io",
        "machineosbuilds",
        "MachineOSBuild",
    ),
    (
        "machineconfiguration.openshift.io",
        "controllerconfigs",
        "ControllerConfig",
    ),
    (
        "operator.openshift.io",
        "machineconfigurations",
        "MachineConfiguration",
    ),
    ("monitoring.openshift.io", "alertingrules", "AlertingRule"),
    ("rbac.authorization.k8s.io", "roles", "Role"),
    ("rbac.authorization.k8s.io", "rolebindings", "RoleBinding"),
    ("rbac.authorization.k8s.io", "clusterroles", "ClusterRole"),
    (
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "ClusterRoleBinding",
    ),
    ("route.openshift.io", "routes", "Route"),
];

/// What a request is about.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub method: Method,
    pub kind: &'static str,
    pub namespace: String,
    /// Empty for all of the kind.
    pub name: String,
    /// As in `pods/log`.
    resource: String,
}

impl Asked {
    fn of(parts: &Parts) -> Option<Self> {
        let path = parts.uri.path();
        let mut steps = path.split('/').skip(1);
        let group = match steps.next()? {
            "api" => "",
            "apis" => steps.next()?,
            _ => return None,
        };
        steps.next()?;
        let mut steps: Vec<&str> = steps.collect();
        let mut namespace = "";
        if steps.len() > 2 && steps[0] == "namespaces" {
            namespace = steps[1];
            steps.drain(..2);
        }
        let resource = *steps.first()?;
        let known = KINDS
            .iter()
            .find(|(g, r, _)| *g == group && *r == resource)?;
        let part = steps.get(2).map(|part| format!("/{part}"));
        Some(Self {
            method: parts.method.clone(),
            kind: known.2,
            namespace: namespace.to_owned(),
            name: steps
                .get(1)
                .map(|name| (*name).to_owned())
                .unwrap_or_default(),
            resource: format!("{resource}{}", part.unwrap_or_default()),
        })
    }

    fn key(&self) -> (String, String, String) {
        (
            self.kind.to_owned(),
            self.namespace.clone(),
            self.name.clone(),
        )
    }

    fn verb(&self) -> &'static str {
        match self.method {
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            Method::POST => "create",
            _ if self.name.is_empty() => "list",
            _ => "get",
        }
    }
}

/// An answer.
pub(super) struct Reply {
    pub status: u16,
    pub content: &'static str,
    pub text: String,
}

/// What a client has changed.
pub(super) struct Change {
    pub asked: Asked,
    /// The body of the request.
    pub said: Value,
    /// What is merged into the object; None if it is removed.
    patch: Option<Value>,
    pub owners: BTreeMap<(String, String, String), String>,
}

impl Told {
    pub(super) fn hear(&mut self, change: Change) {
        let key = change.asked.key();
        match change.patch {
            Some(patch) => {
                self.removed.remove(&key);
                self.add(key, &patch);
            }
            None => {
                self.patches.remove(&key);
                self.removed.insert(key);
            }
        }
    }

    pub(super) fn add(&mut self, key: (String, String, String), patch: &Value) {
        let told = self.patches.entry(key).or_insert_with(|| json!({}));
        compose(told, patch);
    }

    pub(super) fn apply(&self, objects: &mut Objects) {
        for key in &self.removed {
            objects.remove(key);
        }
        for (key, patch) in &self.patches {
            let object = objects.entry(key.clone()).or_insert_with(|| {
                json!({ "metadata": {
                    "name": key.2, "uid": format!("told-{}", key.2), "generation": 1,
                }})
            });
            merge(object, patch);
        }
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in fields {
        match value {
            Value::Null => {
                target.remove(name);
            }
            value => merge(target.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

/// One patch out of two; what is taken away stays so.
fn compose(first: &mut Value, then: &Value) {
    match (first, then) {
        (Value::Object(first), Value::Object(then)) => {
            for (name, value) in then {
                match first.get_mut(name) {
                    Some(known) => compose(known, value),
                    None => drop(first.insert(name.clone(), value.clone())),
                }
            }
        }
        (first, then) => *first = then.clone(),
    }
}

/// What an object's version is: another for each content.
fn version(object: &Value) -> String {
    let mut bare = object.clone();
    if let Some(metadata) = bare["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    crc32fast::hash(bare.to_string().as_bytes()).to_string()
}

fn shown(object: &Value) -> Value {
    let mut shown = object.clone();
    shown["metadata"]["resourceVersion"] = json!(version(object));
    shown
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        content: "application/json",
        text: body.to_string(),
    }
}

fn refusal(status: u16, reason: &str, message: &str, causes: &[Value]) -> Reply {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "details": { "causes": causes }, "code": status,
    });
    reply(status, &body)
}

fn absent() -> Reply {
    let message = "the server could not find the requested resource";
    refusal(404, "NotFound", message, &[])
}

/// The port that is to be forwarded, if that is what is asked for, and may be. Since Kubernetes 1.35, `create` is
/// asked for as well (kubernetes pull request 134577).
pub(super) fn forwarded(moment: &Moment, uri: &Uri) -> Option<u16> {
    let pod = uri.path().strip_suffix("/portforward")?;
    let name = pod.rsplit('/').next()?;
    let verbs = ["get", "create"];
    let is_allowed = verbs
        .iter()
        .all(|verb| moment.allows(verb, "pods/portforward", name));
    let mut objects = moment.objects.keys();
    let is_there = objects.any(|(kind, _, known)| kind == "Pod" && known == name);
    let port = queried(uri.query()?, "ports")?;
    (is_allowed && is_there).then(|| port.parse().unwrap())
}

/// Whether what `parts` asks for may be watched.
pub(super) fn may_watch(moment: &Moment, parts: &Parts) -> bool {
    let asked = Asked::of(parts).expect("a kind");
    moment.refusal.is_none() && moment.allows("watch", &asked.resource, "")
}

/// The objects that a watch is about.
pub(super) fn watched(moment: &Moment, parts: &Parts) -> Vec<Value> {
    let asked = Asked::of(parts).expect("a kind");
    let list: Value = serde_json::from_str(&moment.read(&asked, parts).text).unwrap();
    list["items"].as_array().cloned().unwrap_or_default()
}

/// The answer, and what has changed.
pub(super) fn answer(moment: &Moment, parts: &Parts, body: &[u8]) -> (Reply, Option<Change>) {
    if let Some(status) = moment.refusal {
        return (refusal(status, "", "no", &[]), None);
    }
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    if parts.uri.path().ends_with("/selfsubjectaccessreviews") {
        return (review(moment, said), None);
    }
    let Some(asked) = Asked::of(parts) else {
        return (absent(), None);
    };
    if moment.absent.iter().any(|absent| absent == asked.kind) {
        return (absent(), None);
    }
    let object = moment.objects.get(&asked.key());
    let mut verbs = vec![asked.verb()];
    if asked.resource == "pods/portforward" {
        verbs.push("create");
    }
    let content = parts.headers.get(header::CONTENT_TYPE);
    let content = content.map_or("", |content| content.to_str().unwrap());
    let is_apply = content.starts_with("application/apply-patch");
    if is_apply && object.is_none() {
        verbs.push("create");
    }
    for verb in verbs {
        if !moment.allows(verb, &asked.resource, &asked.name) {
            let message = format!("{} is forbidden: User \"me\" cannot {verb}", asked.resource);
            return (refusal(403, "Forbidden", &message, &[]), None);
        }
    }
    match asked.method {
        Method::GET => (moment.read(&asked, parts), None),
        Method::PATCH if is_apply => apply(moment, asked, parts, said),
        Method::PATCH => {
            assert_eq!(content, "application/merge-patch+json");
            patch(moment, asked, said)
        }
        Method::DELETE => remove(moment, asked, said),
        _ => panic!("{} {}", asked.method, parts.uri),
    }
}

fn review(moment: &Moment, mut review: Value) -> Reply {
    let wanted = &review["spec"]["resourceAttributes"];
    let resource = match wanted["subresource"].as_str().unwrap_or("") {
        "" => wanted["resource"].as_str().unwrap().to_owned(),
        part => format!("{}/{part}", wanted["resource"].as_str().unwrap()),
    };
    let name = wanted["name"].as_str().unwrap_or("");
    let is_allowed = moment.allows(wanted["verb"].as_str().unwrap(), &resource, name);
    review["status"] = json!({ "allowed": is_allowed });
    reply(201, &review)
}

fn named(asked: &Asked) -> String {
    format!("{} {:?}", asked.resource, asked.name)
}

fn stale(asked: &Asked) -> (Reply, Option<Change>) {
    let message = format!(
        "Operation cannot be fulfilled on {}: the object has been modified; please apply your changes to the latest version and try again",
        named(asked)
    );
    (refusal(409, "Conflict", &message, &[]), None)
}

fn patch(moment: &Moment, asked: Asked, said: Value) -> (Reply, Option<Change>) {
    let Some(object) = moment.objects.get(&asked.key()) else {
        let message = format!("{} not found", named(&asked));
        return (refusal(404, "NotFound", &message, &[]), None);
    };
    let wanted = said["metadata"]["resourceVersion"].as_str();
    if wanted.is_some_and(|wanted| wanted != version(object)) {
        return stale(&asked);
    }
    let mut patch = said.clone();
    if let Some(metadata) = patch["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        // The operator takes it away, in the story.
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("machineconfiguration.openshift.io/rebuild");
        }
    }
    let mut after = object.clone();
    merge(&mut after, &patch);
    let owners = moment.owners.clone();
    let change = Change {
        asked,
        said,
        patch: Some(patch),
        owners,
    };
    (reply(200, &shown(&after)), Some(change))
}

fn remove(moment: &Moment, asked: Asked, said: Value) -> (Reply, Option<Change>) {
    let Some(object) = moment.objects.get(&asked.key()) else {
        let message = format!("{} not found", named(&asked));
        return (refusal(404, "NotFound", &message, &[]), None);
    };
    let wanted = &said["preconditions"]["uid"];
    if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
        let message = format!(
            "Operation cannot be fulfilled on {}: the UID in the precondition ({wanted}) does not match",
            named(&asked)
        );
        return (refusal(409, "Conflict", &message, &[]), None);
    }
    let owners = moment.owners.clone();
    let change = Change {
        asked,
        said,
        patch: None,
        owners,
    };
    (
        reply(200, &json!({ "kind": "Status", "status": "Success" })),
        Some(change),
    )
}

fn apply(moment: &Moment, asked: Asked, parts: &Parts, said: Value) -> (Reply, Option<Change>) {
    let query = parts.uri.query().unwrap_or_default();
    let manager = queried(query, "fieldManager").expect("an apply has a manager");
    let is_forced = queried(query, "force").as_deref() == Some("true");
    let object = moment.objects.get(&asked.key());
    let owner_of = |field: &str| {
        let key = (asked.kind.to_owned(), asked.name.clone(), field.to_owned());
        moment.owners.get(&key)
    };
    let mut leaves = BTreeMap::new();
    leaves_of(&said, String::new(), &mut leaves);
    let mut causes = Vec::new();
    for (field, value) in &leaves {
        let Some(owner) = owner_of(field).filter(|owner| **owner != manager) else {
            continue;
        };
        let mut known = BTreeMap::new();
        leaves_of(object.unwrap_or(&Value::Null), String::new(), &mut known);
        if known.get(field) != Some(value) && !is_forced {
            causes.push(json!({
                "reason": "FieldManagerConflict", "field": field,
                "message": format!("conflict with \"{owner}\" using {}", said["apiVersion"].as_str().unwrap()),
            }));
        }
    }
    if !causes.is_empty() {
        let message = format!("Apply failed with {} conflicts", causes.len());
        return (refusal(409, "Conflict", &message, &causes), None);
    }
    let mut patch = said.clone();
    let fields = patch.as_object_mut().unwrap();
    fields.retain(|name, _| name != "status");
    if let Some(uid) = fields["metadata"].as_object_mut().unwrap().remove("uid")
        && object.is_none_or(|object| object["metadata"]["uid"] != uid)
    {
        return (
            refusal(422, "Invalid", "metadata.uid: field is immutable", &[]),
            None,
        );
    }
    // What we had applied before and do not any more is taken away.
    let mut owners = moment.owners.clone();
    owners.retain(|(kind, name, field), owner| {
        let is_dropped = *kind == asked.kind
            && *name == asked.name
            && *owner == manager
            && !leaves.contains_key(field);
        if is_dropped {
            take_away(&mut patch, field);
        }
        !is_dropped
    });
    for field in leaves.keys() {
        let key = (asked.kind.to_owned(), asked.name.clone(), field.clone());
        owners.insert(key, manager.clone());
    }
    let mut after = object.cloned().unwrap_or_else(|| json!({}));
    merge(&mut after, &patch);
    let faults = faults(&after);
    if !faults.is_empty() {
        let message = format!("{} is invalid: {}", named(&asked), faults.join(", "));
        return (refusal(422, "Invalid", &message, &[]), None);
    }
    let status = if object.is_some() { 200 } else { 201 };
    let change = Change {
        asked,
        said,
        patch: Some(patch),
        owners,
    };
    (reply(status, &shown(&after)), Some(change))
}

/// What the cluster's definition of the kind says against the object, where the definitions are at hand.
fn faults(object: &Value) -> Vec<String> {
    let kinds = ["MachineOSConfig", "MachineConfig"];
    if !kinds.iter().any(|kind| object["kind"] == *kind) {
        return Vec::new();
    }
    let mut bare = object.clone();
    bare.as_object_mut().unwrap().remove("status");
    let metadata = bare["metadata"].as_object_mut().unwrap();
    metadata.retain(|name, _| matches!(&**name, "name" | "labels" | "annotations"));
    Crds::load().map_or_else(Vec::new, |crds| crds.check(&bare))
}

/// Paths of the fields that have a value of their own, as managers own them. Lists are one field, but for
/// Containerfiles, which have a key.
fn leaves_of(value: &Value, path: String, leaves: &mut BTreeMap<String, Value>) {
    const NOT_OWNED: [&str; 4] = [
        ".apiVersion",
        ".kind",
        ".metadata.name",
        ".metadata.namespace",
    ];
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                leaves_of(value, format!("{path}.{name}"), leaves);
            }
        }
        Value::Array(items) if path == ".spec.containerFile" => {
            for item in items {
                let key = &item["containerfileArch"];
                leaves_of(item, format!("{path}[containerfileArch={key}]"), leaves);
            }
        }
        Value::Null => {}
        value if !NOT_OWNED.contains(&&*path) => drop(leaves.insert(path, value.clone())),
        _ => {}
    }
}

fn take_away(patch: &mut Value, field: &str) {
    // What is in a list goes with the list.
    if field.contains('[') {
        return;
    }
    let mut at = patch;
    let mut steps = field.split('.').skip(1).peekable();
    while let Some(step) = steps.next() {
        let fields = match at {
            Value::Object(fields) => fields,
            _ => return,
        };
        if steps.peek().is_none() {
            fields.entry(step.to_owned()).or_insert(Value::Null);
            return;
        }
        at = fields
            .entry(step.to_owned())
            .or_insert_with(|| Value::Object(Map::new()));
    }
}

pub(super) fn queried(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(key, _)| *key == name)?;
    Some(found.1.replace("%2F", "/").replace("%3D", "="))
}

impl Moment {
    fn read(&self, asked: &Asked, parts: &Parts) -> Reply {
        let query = parts.uri.query().unwrap_or_default();
        if asked.resource == "pods/log" {
            let container = queried(query, "container").unwrap();
            return match self.logs.get(&(asked.name.clone(), container)) {
                Some(log) => Reply {
                    status: 200,
                    content: "text/plain",
                    text: log.clone(),
                },
                None => refusal(404, "NotFound", "pods not found", &[]),
            };
        }
        if !asked.name.is_empty() {
            return match self.objects.get(&asked.key()) {
                Some(object) => reply(200, &shown(object)),
                None => {
                    let message = format!("{} not found", named(asked));
                    refusal(404, "NotFound", &message, &[])
                }
            };
        }
        // `key` alone is a selector too: the label exists.
        let label = queried(query, "labelSelector");
        let is_wanted = |object: &Value| match &label {
            Some(label) => match label.split_once('=') {
                Some((key, value)) => object["metadata"]["labels"][key] == value,
                None => object["metadata"]["labels"].get(label).is_some(),
            },
            None => true,
        };
        let of_kind = self.objects.iter().filter(|((kind, namespace, _), _)| {
            kind == asked.kind && (asked.namespace.is_empty() || *namespace == asked.namespace)
        });
        let mut items: Vec<Value> = of_kind
            .map(|(_, object)| shown(object))
            .filter(is_wanted)
            .collect();
        let accept = parts.headers.get(header::ACCEPT);
        let accept = accept.map_or("", |accept| accept.to_str().unwrap());
        if accept.contains("as=PartialObjectMetadata") {
            for item in &mut items {
                *item = json!({ "kind": "PartialObjectMetadata", "metadata": item["metadata"] });
            }
        }
        let limit: usize =
            queried(query, "limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let from: usize = queried(query, "continue").map_or(0, |from| from.parse().unwrap());
        let rest = items.split_off(from.min(items.len()));
        let is_more = rest.len() > limit;
        let page: Vec<Value> = rest.into_iter().take(limit).collect();
        let next = if is_more {
            (from + limit).to_string()
        } else {
            String::new()
        };
        let list = json!({
            "kind": format!("{}List", asked.kind), "metadata": { "continue": next }, "items": page,
        });
        reply(200, &list)
    }

    fn allows(&self, verb: &str, resource: &str, name: &str) -> bool {
        let named = format!("{resource} {name}");
        let is_about = |(v, r): &(String, String)| v == verb && (r == resource || *r == named);
        let is_allowed = |rights: &Vec<_>| rights.iter().any(is_about);
        self.only.as_ref().is_none_or(is_allowed) && !self.forbidden.iter().any(is_about)
    }
}
