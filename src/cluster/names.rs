//! Names of objects in a cluster that its operators and builds go by.

/// The entitlement of the cluster, and with `-POOL` behind it, its copies.
pub(super) const ENTITLEMENT: &str = "etc-pki-entitlement";
/// The ConfigMap with repositories, for all pools.
pub(super) const REPOSITORIES: &str = "etc-yum-repos-d";
/// The Secret with keys that packages are signed by, for all pools.
pub(super) const KEYS: &str = "etc-pki-rpm-gpg";
/// The Route of the cluster's own registry.
pub(super) const REGISTRY_ROUTE: &str = "default-route";
/// The ConfigMap with the authorities that sign certificates of services, in every namespace.
pub(super) const SERVICE_AUTHORITIES: &str = "openshift-service-ca.crt";
