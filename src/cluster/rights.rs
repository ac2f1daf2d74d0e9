//! What a user has to be allowed.

use std::fmt;

use anyhow::Result;
use serde_json::{Value, json};

use super::objects::NAMESPACE;
use super::server::Server;

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

impl Server {
    /// What the user may not do of all that is needed.
    pub(super) async fn missing_rights(&self) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for right in &STATUS {
            if !self.may(right).await? {
                missing.push(right.to_string());
            }
        }
        Ok(missing)
    }
}

/// The roles that a look at the cluster needs, as objects. They still have to be bound to somebody.
pub fn status_roles() -> Vec<Value> {
    let rules = |in_namespace: bool| -> Vec<Value> {
        let rights = STATUS
            .iter()
            .filter(|right| right.is_in_namespace == in_namespace);
        rights.map(Right::rule).collect()
    };
    let api = "rbac.authorization.k8s.io/v1";
    let name = "coreos-bake-status";
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
