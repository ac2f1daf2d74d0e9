//! What a user has to be allowed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::names::{ENTITLEMENT, KEYS, REGISTRY_ROUTE, REPOSITORIES, SERVICE_AUTHORITIES};
use crate::foreign::visible;

/// One thing that a user may do, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right {
    verb: &'static str,
    kind: Kind,
    /// A part of an object, as in `log`, or nothing.
    part: &'static str,
    /// Which objects.
    name: Name,
}

/// Which objects of a kind a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// All of them.
    Any,
    /// The one that is called so.
    Is(&'static str),
    /// One for each pool that the task is about, with the pool's name behind this one and a hyphen.
    OfPool(&'static str),
}

/// What somebody wants to do in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Look at it.
    Status,
    /// Look at it until nothing is on its way any more.
    Watch,
    /// Have an image built again.
    Retry,
    /// Have on-cluster layering build a pool's image.
    Handoff(Looking),
    /// Go back to the release's own image.
    Revert,
    /// Look what builds take RHEL packages with.
    Entitle,
    /// Give builds what they take RHEL packages with.
    SetEntitlement,
}

/// How the image of a hand-off may have to be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looking {
    /// In the cluster's own registry.
    pub own_registry: bool,
    /// By a Job in the cluster.
    pub from_within: bool,
}

/// What a look at the cluster needs: nothing that changes it, and no secrets.
const STATUS: [Right; 10] = [
    to("list", Kind::POOL),
    to("list", Kind::MACHINE_CONFIG),
    to("list", Kind::LAYERED_CONFIG),
    to("list", Kind::BUILD),
    to("get", Kind::CLUSTER_VERSION),
    to("list", Kind::NODE),
    to("list", Kind::JOB),
    to("list", Kind::POD),
    to("get", Kind::POD).part("log"),
    to("get", Kind::DEPLOYMENT),
];

/// What spares a cluster looks while it is waited for. Without it, it is asked more often.
const WATCH: [Right; 6] = [
    to("watch", Kind::POOL),
    to("watch", Kind::LAYERED_CONFIG),
    to("watch", Kind::BUILD),
    to("watch", Kind::NODE),
    to("watch", Kind::JOB),
    to("watch", Kind::POD),
];

/// What has an image built again, besides a look at the cluster.
const RETRY: [Right; 1] = [to("patch", Kind::LAYERED_CONFIG)];

/// What sends a pool back, besides a look at the cluster.
const REVERT: [Right; 8] = [
    to("get", Kind::POOL),
    to("get", Kind::CONTROLLER_CONFIG),
    to("get", Kind::LAYERED_CONFIG),
    to("delete", Kind::LAYERED_CONFIG),
    to("get", Kind::MACHINE_CONFIG),
    to("patch", Kind::MACHINE_CONFIG),
    to("delete", Kind::MACHINE_CONFIG),
    to("patch", Kind::POOL),
];

/// What hands a pool off, besides a look at the cluster.
const HANDOFF: [Right; 12] = [
    to("get", Kind::POOL),
    to("patch", Kind::POOL),
    to("create", Kind::LAYERED_CONFIG),
    to("patch", Kind::LAYERED_CONFIG),
    to("delete", Kind::LAYERED_CONFIG),
    to("get", Kind::MACHINE_CONFIG),
    to("patch", Kind::MACHINE_CONFIG),
    to("delete", Kind::MACHINE_CONFIG),
    to("get", Kind::SECRET),
    to("create", Kind::ALERTING_RULE),
    to("patch", Kind::ALERTING_RULE),
    to("get", Kind::MANAGED_SECRET).named(ENTITLEMENT),
];

/// What a look into an image in the cluster's own registry needs.
const OWN_REGISTRY: [Right; 5] = [
    to("get", Kind::REGISTRY_ROUTE).named(REGISTRY_ROUTE),
    to("list", Kind::REGISTRY_POD),
    to("get", Kind::REGISTRY_POD).part("portforward"),
    to("create", Kind::REGISTRY_POD).part("portforward"),
    to("get", Kind::REGISTRY_CONFIG_MAP).named(SERVICE_AUTHORITIES),
];

/// What a look by a Job needs.
const FROM_WITHIN: [Right; 4] = [
    to("get", Kind::JOB),
    to("create", Kind::JOB),
    to("patch", Kind::JOB),
    to("delete", Kind::JOB),
];

/// What a look at the entitlement needs: secrets, by their names.
const ENTITLE: [Right; 7] = [
    to("list", Kind::POOL),
    to("list", Kind::LAYERED_CONFIG),
    to("list", Kind::BUILD),
    to("get", Kind::MANAGED_SECRET).named(ENTITLEMENT),
    to("get", Kind::SECRET).named_for_pools(ENTITLEMENT),
    to("get", Kind::SECRET).named(KEYS),
    to("get", Kind::CONFIG_MAP).named(REPOSITORIES),
];

/// What setting it up needs besides. The API can't tie `create` to a name.
const SET_ENTITLEMENT: [Right; 6] = [
    to("patch", Kind::MANAGED_SECRET).named(ENTITLEMENT),
    to("create", Kind::MANAGED_SECRET),
    to("patch", Kind::SECRET).named(KEYS),
    to("create", Kind::SECRET),
    to("patch", Kind::CONFIG_MAP).named(REPOSITORIES),
    to("create", Kind::CONFIG_MAP),
];

const fn to(verb: &'static str, kind: Kind) -> Right {
    Right {
        verb,
        kind,
        part: "",
        name: Name::Any,
    }
}

impl Right {
    const fn part(mut self, part: &'static str) -> Self {
        self.part = part;
        self
    }

    const fn named(mut self, name: &'static str) -> Self {
        self.name = Name::Is(name);
        self
    }

    const fn named_for_pools(mut self, name: &'static str) -> Self {
        self.name = Name::OfPool(name);
        self
    }

    /// The names that it is about, where the task is about `pools`; None for all objects.
    pub(super) fn names(&self, pools: &[String]) -> Option<Vec<String>> {
        match self.name {
            Name::Any => None,
            Name::Is(name) => Some(vec![name.to_owned()]),
            Name::OfPool(name) => Some(pools.iter().map(|pool| format!("{name}-{pool}")).collect()),
        }
    }

    /// As in `pods/log`.
    fn resource(&self) -> String {
        match self.part {
            "" => self.kind.resource.to_owned(),
            part => format!("{}/{part}", self.kind.resource),
        }
    }

    /// As a SelfSubjectAccessReview asks for it, for one of its names.
    pub(super) fn attributes(&self, name: Option<&str>) -> Value {
        json!({
            "verb": self.verb,
            "group": self.kind.group,
            "resource": self.kind.resource,
            "subresource": self.part,
            "namespace": self.kind.namespace.unwrap_or_default(),
            "name": name.unwrap_or_default(),
        })
    }

    fn rule(&self, pools: &[String]) -> Value {
        let mut rule = json!({
            "apiGroups": [self.kind.group], "resources": [self.resource()], "verbs": [self.verb],
        });
        if let Some(names) = self.names(pools) {
            rule["resourceNames"] = json!(names);
        }
        rule
    }

    /// For people.
    pub(super) fn told(&self, name: Option<&str>) -> String {
        let name = name.map_or_else(String::new, |name| format!(" {}", visible(name)));
        let place = self
            .kind
            .namespace
            .map(|namespace| format!(" in {namespace}"));
        let place = place.unwrap_or_default();
        format!("{} {}{name}{place}", self.verb, self.resource())
    }
}

impl Task {
    pub(super) fn rights(self) -> impl Iterator<Item = &'static Right> {
        let parts: &[&[Right]] = match self {
            Self::Status | Self::Watch => &[&STATUS],
            Self::Retry => &[&STATUS, &RETRY],
            Self::Handoff(looking) => match (looking.own_registry, looking.from_within) {
                (false, false) => &[&STATUS, &HANDOFF],
                (true, false) => &[&STATUS, &HANDOFF, &OWN_REGISTRY],
                (false, true) => &[&STATUS, &HANDOFF, &FROM_WITHIN],
                (true, true) => &[&STATUS, &HANDOFF, &OWN_REGISTRY, &FROM_WITHIN],
            },
            Self::Revert => &[&STATUS, &REVERT],
            Self::Entitle => &[&ENTITLE],
            Self::SetEntitlement => &[&ENTITLE, &SET_ENTITLEMENT],
        };
        parts.iter().copied().flatten()
    }

    /// Whether one of its rights is about something of each pool.
    pub(super) fn is_about_pools(self) -> bool {
        let mut rights = self.rights();
        rights.any(|right| matches!(right.name, Name::OfPool(_)))
    }

    /// What it can do without.
    fn welcome(self) -> &'static [Right] {
        match self {
            Self::Status | Self::Entitle | Self::SetEntitlement => &[],
            Self::Watch | Self::Retry | Self::Handoff(_) | Self::Revert => &WATCH,
        }
    }

    /// The command that does it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Status | Self::Watch => "status",
            Self::Retry => "retry",
            Self::Handoff(_) => "handoff",
            Self::Revert => "revert",
            Self::Entitle | Self::SetEntitlement => "entitle",
        }
    }

    /// The roles that it needs for `pools`, as objects. They still have to be bound to somebody.
    pub fn roles(self, pools: &[String]) -> Vec<Value> {
        let api = "rbac.authorization.k8s.io/v1";
        let name = format!("coreos-bake-{}", self.command());
        let mut by_namespace: BTreeMap<Option<&str>, Vec<Value>> = BTreeMap::new();
        for right in self.rights().chain(self.welcome()) {
            let rules = by_namespace.entry(right.kind.namespace).or_default();
            if right.names(pools).is_none_or(|names| !names.is_empty()) {
                rules.push(right.rule(pools));
            }
        }
        let roles = by_namespace
            .into_iter()
            .map(|(namespace, rules)| match namespace {
                None => json!({
                    "apiVersion": api, "kind": "ClusterRole",
                    "metadata": { "name": name },
                    "rules": rules,
                }),
                Some(namespace) => json!({
                    "apiVersion": api, "kind": "Role",
                    "metadata": { "name": name, "namespace": namespace },
                    "rules": rules,
                }),
            });
        roles.collect()
    }
}
