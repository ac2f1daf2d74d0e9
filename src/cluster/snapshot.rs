//! What a cluster's API has said, all at about one time.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::kinds::Kind;
use super::membership::pool_of;
use super::objects::{
    Build, ClusterVersion, IMAGE_OVERRIDDEN, LayeredConfig, Pool, RELEASE_VERSION, annotation, name,
};

/// All that is judged.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When, by the server's clock.
    pub now: Timestamp,
    /// Which releases the cluster had.
    pub version: ClusterVersion,
    /// All pools.
    pub pools: Vec<Pool>,
    /// All MachineOSConfigs.
    pub configs: Vec<LayeredConfig>,
    /// All MachineOSBuilds.
    pub builds: Vec<Build>,
    /// All nodes, without their spec and status.
    pub nodes: Vec<ObjectMeta>,
    /// Jobs of builds; only asked for if a build is not over, or not well.
    pub jobs: Vec<Job>,
    /// Their pods.
    pub pods: Vec<Pod>,
    /// Rendered MachineConfigs, by name.
    pub renderings: BTreeMap<String, Rendering>,
    /// Whether the operator's builder runs; None if nobody asked, or nobody may.
    pub builder_runs: Option<bool>,
    /// From when on all that can be watched.
    pub(super) listed: Vec<Listed>,
}

impl Snapshot {
    /// Major and minor number of the release that the cluster is to run.
    pub fn release(&self) -> Option<(u16, u16)> {
        let mut parts = self.version.status.desired.version.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// A pool by its name.
    pub fn pool(&self, wanted: &str) -> Option<&Pool> {
        let mut pools = self.pools.iter();
        pools.find(|pool| name(&pool.metadata) == wanted)
    }

    /// The MachineOSConfig of a pool.
    pub fn config_of(&self, pool: &str) -> Option<&LayeredConfig> {
        let mut configs = self.configs.iter();
        configs.find(|config| config.pool() == pool)
    }

    /// Whether a MachineConfig sets another image for a pool than the release's.
    pub fn is_pinned(&self, pool: &str) -> bool {
        let rendered = self.pool(pool).map(|pool| &pool.spec.configuration.name);
        let rendering = rendered.and_then(|name| self.renderings.get(name));
        rendering.is_some_and(|rendering| rendering.overrides_image)
    }

    /// The nodes of a pool.
    pub fn nodes_of<'a>(&'a self, pool: &str) -> impl Iterator<Item = &'a ObjectMeta> {
        let nodes = self.nodes.iter();
        nodes.filter(move |node| pool_of(node, &self.pools) == Some(pool))
    }
}

/// What the metadata of a rendered MachineConfig tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendering {
    /// The release that it was last rendered by.
    pub release: Option<String>,
    /// Whether a MachineConfig sets another image than the release's.
    pub overrides_image: bool,
}

impl Rendering {
    /// Of an object's metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            release: annotation(metadata, RELEASE_VERSION).map(str::to_owned),
            overrides_image: annotation(metadata, IMAGE_OVERRIDDEN) == Some("true"),
        }
    }
}

/// What a list said, so that what comes after it can be waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) kind: Kind,
    pub(super) selector: Option<&'static str>,
    pub(super) accept: &'static str,
    /// The `resourceVersion`.
    pub(super) version: String,
}
