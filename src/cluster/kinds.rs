//! Where the API has the objects that are looked at or changed.

use super::objects::NAMESPACE;
use crate::foreign::percent_encoded;

/// A kind of object, in the one namespace where it is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the kinds that Kubernetes began with.
    pub(super) group: &'static str,
    version: &'static str,
    /// As in `MachineConfigPool`.
    pub(super) name: &'static str,
    /// As in `machineconfigpools`.
    pub(super) resource: &'static str,
    /// None for kinds that are of the whole cluster.
    pub(super) namespace: Option<&'static str>,
}

const MCO: &str = "machineconfiguration.openshift.io";
/// Where the cluster's own registry runs.
pub(super) const REGISTRY_NAMESPACE: &str = "openshift-image-registry";

impl Kind {
    /// Pools of nodes.
    pub const POOL: Self = Self::cluster(MCO, "v1", "MachineConfigPool", "machineconfigpools");
    /// Parts of what nodes are given, and the rendered sums of them.
    pub const MACHINE_CONFIG: Self = Self::cluster(MCO, "v1", "MachineConfig", "machineconfigs");
    /// What on-cluster layering builds.
    pub const LAYERED_CONFIG: Self =
        Self::cluster(MCO, "v1", "MachineOSConfig", "machineosconfigs");
    /// Builds of it.
    pub const BUILD: Self = Self::cluster(MCO, "v1", "MachineOSBuild", "machineosbuilds");
    /// What the machine-config controller works with: the release's images, for one.
    pub const CONTROLLER_CONFIG: Self =
        Self::cluster(MCO, "v1", "ControllerConfig", "controllerconfigs");
    /// Nodes.
    pub const NODE: Self = Self::cluster("", "v1", "Node", "nodes");
    /// The release of the cluster.
    pub const CLUSTER_VERSION: Self = Self::cluster(
        "config.openshift.io",
        "v1",
        "ClusterVersion",
        "clusterversions",
    );
    /// Jobs of builds.
    pub const JOB: Self = Self::namespaced("batch", "v1", "Job", "jobs");
    /// Pods of builds.
    pub const POD: Self = Self::namespaced("", "v1", "Pod", "pods");
    /// The operator's parts.
    pub const DEPLOYMENT: Self = Self::namespaced("apps", "v1", "Deployment", "deployments");
    /// Credentials and keys of builds.
    pub const SECRET: Self = Self::namespaced("", "v1", "Secret", "secrets");
    /// Files of builds that are no secrets.
    pub const CONFIG_MAP: Self = Self::namespaced("", "v1", "ConfigMap", "configmaps");

    /// Alerts of the cluster's own monitoring.
    pub const ALERTING_RULE: Self = Self::namespaced(
        "monitoring.openshift.io",
        "v1",
        "AlertingRule",
        "alertingrules",
    )
    .within("openshift-monitoring");
    /// The way to the cluster's own registry from outside.
    pub const REGISTRY_ROUTE: Self =
        Self::namespaced("route.openshift.io", "v1", "Route", "routes").within(REGISTRY_NAMESPACE);
    /// Pods of the cluster's own registry.
    pub(super) const REGISTRY_POD: Self = Self::POD.within(REGISTRY_NAMESPACE);
    /// Who signs its certificate, for one.
    pub(super) const REGISTRY_CONFIG_MAP: Self = Self::CONFIG_MAP.within(REGISTRY_NAMESPACE);
    /// The entitlement of the cluster, for one.
    pub(super) const MANAGED_SECRET: Self = Self::SECRET.within("openshift-config-managed");

    const fn cluster(
        group: &'static str,
        version: &'static str,
        name: &'static str,
        resource: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            name,
            resource,
            namespace: None,
        }
    }

    const fn namespaced(
        group: &'static str,
        version: &'static str,
        name: &'static str,
        resource: &'static str,
    ) -> Self {
        Self::cluster(group, version, name, resource).within(NAMESPACE)
    }

    /// The same kind in another namespace.
    const fn within(mut self, namespace: &'static str) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// As in `MachineConfig`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `v1`, or with the group before it.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Where all objects of the kind are.
    pub(super) fn path(&self) -> String {
        let root = match self.group {
            "" => "/api".to_owned(),
            group => format!("/apis/{group}"),
        };
        let namespace = match self.namespace {
            Some(namespace) => format!("/namespaces/{namespace}"),
            None => String::new(),
        };
        format!("{root}/{}{namespace}/{}", self.version, self.resource)
    }

    /// Where one of them is.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}/{}", self.path(), percent_encoded(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_where_the_api_has_them() {
        assert_eq!(Kind::NODE.path(), "/api/v1/nodes");
        assert_eq!(
            Kind::JOB.path_of("build-a/b"),
            "/apis/batch/v1/namespaces/openshift-machine-config-operator/jobs/build-a%2Fb"
        );
        assert_eq!(
            Kind::MANAGED_SECRET.path_of("a"),
            "/api/v1/namespaces/openshift-config-managed/secrets/a"
        );
        assert_eq!(Kind::SECRET.api_version(), "v1");
        assert_eq!(Kind::JOB.api_version(), "batch/v1");
    }
}
