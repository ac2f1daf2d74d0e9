//! The objects of a cluster that are looked at, as far as they are.
//!
//! Truth: openshift/api machineconfiguration/v1/types_machineosconfig.go, types_machineosbuild.go and
//! types.go@2a3d73913; the annotations of nodes are machine-config-operator
//! pkg/daemon/constants/constants.go@7ff337a4f. Unknown fields are passed over, missing ones are empty.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

/// The namespace of the machine-config operator, where builds run.
pub const NAMESPACE: &str = "openshift-machine-config-operator";

/// What the operator's annotations and labels begin with.
macro_rules! mco {
    ($name:literal) => {
        concat!("machineconfiguration.openshift.io/", $name)
    };
}

/// On a MachineOSConfig: the build that is its last word.
pub(super) const CURRENT_BUILD: &str = mco!("current-machine-os-build");
/// On a MachineOSConfig: its image is to be built again.
pub(super) const REBUILD: &str = mco!("rebuild");
/// On a MachineOSBuild: it was never run, its image came with the installation.
pub(super) const PRE_BUILT: &str = mco!("pre-built-image");
/// On a MachineOSBuild: the pool that it is for.
pub(super) const TARGET_POOL: &str = mco!("target-machine-config-pool");
/// On objects of a build.
pub(super) const ON_CLUSTER_LAYERING: &str = mco!("on-cluster-layering");
/// On nodes.
pub(super) const CURRENT_CONFIG: &str = mco!("currentConfig");
/// On nodes.
pub(super) const DESIRED_CONFIG: &str = mco!("desiredConfig");
/// On nodes: the image that they run, if it is not that of their configuration.
pub(super) const CURRENT_IMAGE: &str = mco!("currentImage");
/// On nodes.
pub(super) const DESIRED_IMAGE: &str = mco!("desiredImage");
/// On nodes: `Done`, `Working`, `Rebooting`, `Degraded`, …
pub(super) const STATE: &str = mco!("state");
/// On nodes: why they are degraded.
pub(super) const REASON: &str = mco!("reason");
/// On rendered MachineConfigs: the release that they were rendered by.
pub(super) const RELEASE_VERSION: &str = mco!("release-image-version");
/// On rendered MachineConfigs: `true` if a MachineConfig sets another image than the release's.
pub(super) const IMAGE_OVERRIDDEN: &str = mco!("os-image-url-overridden");

/// On a pool: we have paused it, and for what.
pub(super) const OUR_PAUSE: &str = "coreos-bake/paused-for";
/// On a MachineOSConfig: the kernel modules without which nodes of the pool can't start, separated by commas.
pub(super) const DRIVERS: &str = "coreos-bake/drivers";
/// On a MachineOSConfig: an image that was looked into, by digest, and the SHA-256 of the Containerfile that
/// is in it, separated by a space.
pub(super) const PROVEN: &str = "coreos-bake/proven";
/// On a MachineOSConfig: the spec of that image, as JSON.
pub(super) const PROVEN_SPEC: &str = "coreos-bake/proven-spec";
/// On a MachineOSConfig: the spec of the one that was proven before it.
pub(super) const PROVEN_BEFORE: &str = "coreos-bake/proven-spec-before";

/// What the operator calls the MachineConfig that keeps the image of a seeded pool.
const SEED_CONFIG_PREFIX: &str = "10-prebuiltimage-osimageurl-";

/// Whether the operator has made this MachineConfig, to keep the image of a seeded pool.
pub(super) fn is_seed(config: &str) -> bool {
    config.starts_with(SEED_CONFIG_PREFIX)
}

/// One of several things that hold or don't.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Which.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Since when.
    pub last_transition_time: Option<Time>,
}

/// Conditions of an object.
pub(super) trait Conditions {
    /// All of them.
    fn conditions(&self) -> &[Condition];

    /// The condition `kind`, if it is true.
    fn when(&self, kind: &str) -> Option<&Condition> {
        let all = self.conditions().iter();
        all.into_iter()
            .find(|condition| condition.r#type == kind && condition.status == "True")
    }
}

/// A MachineConfigPool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pool {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: PoolSpec,
    /// What is.
    pub status: PoolStatus,
}

/// What a pool is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolSpec {
    /// The rendered configuration that nodes are to have.
    pub configuration: Configuration,
    /// The nodes of the pool.
    pub node_selector: Option<LabelSelector>,
    /// Whether nodes are left as they are.
    pub paused: bool,
    /// Which of the release's images is its own, if it says so: `rhel-9`, `rhel-10`.
    pub os_image_stream: Option<Named>,
    /// How many nodes, or how many percent of them, may be away at once; one if it says nothing.
    pub max_unavailable: Option<IntOrString>,
}

/// What a pool is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolStatus {
    /// `Updated`, `Updating`, `Degraded`, `ImageBuildDegraded`, …
    pub conditions: Vec<Condition>,
    /// How many nodes there are.
    pub machine_count: u32,
}

impl Pool {
    /// Whether its image came with the installation, and is kept by a MachineConfig of the operator's.
    pub fn is_seeded(&self) -> bool {
        let mut sources = self.spec.configuration.source.iter();
        let pool = Some(name(&self.metadata));
        sources.any(|source| source.name.strip_prefix(SEED_CONFIG_PREFIX) == pool)
    }

    /// Whether `cluster handoff` has paused it, and nobody has let it go on.
    pub fn is_paused_by_us(&self) -> bool {
        self.spec.paused && annotation(&self.metadata, OUR_PAUSE).is_some()
    }
}

impl Conditions for Pool {
    fn conditions(&self) -> &[Condition] {
        &self.status.conditions
    }
}

/// A rendered MachineConfig and those that it was made of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Configuration {
    /// `rendered-POOL-HASH`.
    pub name: String,
    /// The MachineConfigs in it, in the order in which they were merged.
    pub source: Vec<Named>,
}

/// A reference by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// A MachineOSConfig: what on-cluster layering builds for a pool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LayeredConfig {
    /// Name, annotations and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: LayeredSpec,
    /// What was built.
    pub status: LayeredStatus,
}

/// What is to be built.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LayeredSpec {
    /// For whom.
    pub machine_config_pool: Named,
    /// Where the image goes; the tag is replaced by the operator.
    pub rendered_image_push_spec: String,
    /// The secret for that.
    pub rendered_image_push_secret: Named,
    /// The secret for the base image; the cluster's own without it.
    pub base_image_pull_secret: Option<Named>,
    /// Containerfiles by architecture; `NoArch` is the one that is read.
    pub container_file: Vec<ContainerFile>,
}

/// A Containerfile.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerFile {
    /// `NoArch` or empty for the one that is read.
    pub containerfile_arch: String,
    /// The text.
    pub content: String,
}

/// What was built.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LayeredStatus {
    /// The generation of the spec that the operator has begun, or found, a build for.
    pub observed_generation: Option<i64>,
    /// The last image that was built well, by digest.
    pub current_image_pull_spec: Option<String>,
}

impl LayeredConfig {
    /// The Containerfile that builds read.
    pub fn containerfile(&self) -> Option<&str> {
        let mut files = self.spec.container_file.iter();
        let read = files.find(|file| matches!(&*file.containerfile_arch, "" | "NoArch"));
        read.map(|file| &*file.content)
    }

    /// Whether the operator has begun, or found, a build for what it says now.
    pub fn is_observed(&self) -> bool {
        self.status.observed_generation == self.metadata.generation
    }

    /// Its own name: that of the pool, since OpenShift asks for that.
    pub fn name(&self) -> &str {
        name(&self.metadata)
    }

    /// The pool that it is for.
    pub fn pool(&self) -> &str {
        &self.spec.machine_config_pool.name
    }

    /// The build that is its last word.
    pub(super) fn current_build(&self) -> Option<&str> {
        annotation(&self.metadata, CURRENT_BUILD)
    }

    /// The kernel modules without which nodes of the pool can't start, as far as we were told.
    pub fn drivers(&self) -> Vec<String> {
        let drivers = annotation(&self.metadata, DRIVERS).unwrap_or_default();
        let drivers = drivers.split(',').filter(|driver| !driver.is_empty());
        drivers.map(str::to_owned).collect()
    }
}

/// A MachineOSBuild: one build.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Build {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is built.
    pub spec: BuildSpec,
    /// How far it is.
    pub status: BuildStatus,
}

/// What is built.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildSpec {
    /// The rendered configuration that goes into the image.
    pub machine_config: Named,
    /// What is to be built.
    #[serde(rename = "machineOSConfig")]
    pub config: Named,
}

/// How far a build is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BuildStatus {
    /// `Prepared`, `Building`, `Failed`, `Interrupted`, `Succeeded`.
    pub conditions: Vec<Condition>,
    /// When its pod began.
    pub build_start: Option<Time>,
    /// When it ended.
    pub build_end: Option<Time>,
    /// The image, by digest.
    pub digested_image_push_spec: Option<String>,
}

impl Conditions for Build {
    fn conditions(&self) -> &[Condition] {
        &self.status.conditions
    }
}

impl Build {
    /// Whether nothing will happen to it any more.
    pub fn is_over(&self) -> bool {
        ["Failed", "Interrupted", "Succeeded"]
            .iter()
            .any(|kind| self.when(kind).is_some())
    }

    /// The Job that runs it.
    pub fn job(&self) -> String {
        format!("build-{}", name(&self.metadata))
    }
}

/// The ClusterVersion.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterVersion {
    /// Which releases the cluster had, the newest first.
    pub status: ClusterVersionStatus,
}

/// Which releases a cluster had.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterVersionStatus {
    /// What it is to run.
    pub desired: Release,
    /// What it ran, the newest first.
    pub history: Vec<Release>,
}

/// A release of OpenShift in a cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Release {
    /// As in `4.21.3`.
    pub version: String,
    /// `Completed` or `Partial`.
    pub state: String,
    /// When the cluster began to take it.
    pub started_time: Option<Time>,
}

/// The name of an object; every object in a cluster has one.
pub(super) fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// An annotation that says something.
pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    value(metadata.annotations.as_ref(), key)
}

/// A label that says something.
pub(super) fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    value(metadata.labels.as_ref(), key)
}

fn value<'a>(values: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    let value = values?.get(key)?;
    (!value.is_empty()).then_some(value)
}

/// When an object was made.
pub(super) fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.creation_timestamp.as_ref().map(|time| time.0)
}
