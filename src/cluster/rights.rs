//! What a user has to be allowed.

use std::fmt;

use anyhow::Result;
use serde_json::{Value, json};

use super::objects::NAMESPACE;
use super::server::Server;
use crate::failure::Failure;

/// One thing that a user may do, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right {
    verb: &'static str,
    group: &'static str,
    /// As in `pods/log`.
    resource: &'static str,
    /// In the operator's namespace, or in the whole cluster.
    is_in_namespace: bool,
}

/// What somebody wants to do in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Look at it.
    Status,
    /// Have an image built again.
    Retry,
}

/// What a look at the cluster needs: nothing that changes it, and no secrets.
const STATUS: [Right; 10] = [
    cluster(
        "list",
        "machineconfiguration.openshift.io",
        "machineconfigpools",
    ),
    cluster(
        "list",
        "machineconfiguration.openshift.io",
        "machineconfigs",
    ),
    cluster(
        "list",
        "machineconfiguration.openshift.io",
        "machineosconfigs",
    ),
    cluster(
        "list",
        "machineconfiguration.openshift.io",
        "machineosbuilds",
    ),
    cluster("get", "config.openshift.io", "clusterversions"),
    cluster("list", "", "nodes"),
    namespaced("list", "batch", "jobs"),
    namespaced("list", "", "pods"),
    namespaced("get", "", "pods/log"),
    namespaced("get", "apps", "deployments"),
];

/// What has an image built again, besides a look at the cluster.
const RETRY: [Right; 1] = [cluster(
    "patch",
    "machineconfiguration.openshift.io",
    "machineosconfigs",
)];

const fn cluster(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
    Right {
        verb,
        group,
        resource,
        is_in_namespace: false,
    }
}

const fn namespaced(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
    Right {
        verb,
        group,
        resource,
        is_in_namespace: true,
    }
}

impl Right {
    /// As a SelfSubjectAccessReview asks for it.
    pub(super) fn attributes(&self) -> Value {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        json!({
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": if self.is_in_namespace { NAMESPACE } else { "" },
        })
    }

    fn rule(&self) -> Value {
        json!({ "apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb] })
    }
}

impl fmt::Display for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.verb, self.resource)?;
        match self.is_in_namespace {
            true => write!(out, " in {NAMESPACE}"),
            false => Ok(()),
        }
    }
}

impl Task {
    fn rights(self) -> impl Iterator<Item = &'static Right> {
        let more: &[Right] = match self {
            Self::Status => &[],
            Self::Retry => &RETRY,
        };
        STATUS.iter().chain(more)
    }

    /// The command that does it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Retry => "retry",
        }
    }

    /// The roles that it needs, as objects. They still have to be bound to somebody.
    pub fn roles(self) -> Vec<Value> {
        let rules = |in_namespace: bool| -> Vec<Value> {
            let rights = self
                .rights()
                .filter(|right| right.is_in_namespace == in_namespace);
            rights.map(Right::rule).collect()
        };
        let api = "rbac.authorization.k8s.io/v1";
        let name = format!("coreos-bake-{}", self.command());
        vec![
            json!({
                "apiVersion": api, "kind": "ClusterRole",
                "metadata": { "name": name },
                "rules": rules(false),
            }),
            json!({
                "apiVersion": api, "kind": "Role",
                "metadata": { "name": name, "namespace": NAMESPACE },
                "rules": rules(true),
            }),
        ]
    }
}

impl Server {
    /// Asks whether the user may do all that the task needs. A look at the cluster need not ask: what it
    /// is refused, it is told.
    ///
    /// # Errors
    /// The rights that are missing.
    pub async fn require_rights(&self) -> Result<()> {
        let missing = self.missing_rights().await?;
        match missing.is_empty() {
            true => Ok(()),
            false => Err(self.without_rights(&missing)),
        }
    }

    /// What the user may not do of all that is needed.
    pub(super) async fn missing_rights(&self) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for right in self.task().rights() {
            if !self.may(right).await? {
                missing.push(right.to_string());
            }
        }
        Ok(missing)
    }

    pub(super) fn without_rights(&self, missing: &[String]) -> anyhow::Error {
        let (url, command) = (self.url(), self.task().command());
        Failure::new(
            format!(
                "the cluster at {url} does not let you {}",
                missing.join(", ")
            ),
            format!("`coreos-bake cluster {command} --print-rbac` prints the roles that it needs"),
        )
        .into()
    }
}
