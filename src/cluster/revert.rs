//! From a pool with an image of its own back to the release's: what it takes, and what it costs.
//!
//! Truth: machine-config-operator@7ff337a4f. That a removed MachineOSConfig sends nodes back one by one, with
//! its builds gone at once, was watched; pkg/daemon/update.go (finalizeRevertToNonLayering), with the two
//! restarts and what is there between them, was read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::objects::{CURRENT_IMAGE, DESIRED_IMAGE, DRIVERS, OUR_PAUSE, Pool, annotation, name};
use super::parity::{Size, at_a_time};
use super::snapshot::Snapshot;

/// Minutes that a node takes to be drained and restarted. Nobody measured it on the machines in question: an
/// estimate.
const RESTART_MINUTES: usize = 8;

/// What keeps a pool from the release's own image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Its MachineOSConfig.
    Layered,
    /// Its MachineOSConfig of the installation, and a MachineConfig that the operator removes with it.
    Seeded,
    /// A MachineConfig that names an image.
    Pinned,
    /// Both.
    LayeredAndPinned,
    /// Nothing any more, but nodes have not come there yet.
    Reverting,
    /// Nothing.
    Stock,
}

impl Way {
    /// Whether there is a MachineOSConfig to remove.
    pub fn is_layered(self) -> bool {
        matches!(self, Self::Layered | Self::Seeded | Self::LayeredAndPinned)
    }

    /// Whether there is a MachineConfig to take the image out of.
    pub fn is_pinned(self) -> bool {
        matches!(self, Self::Pinned | Self::LayeredAndPinned)
    }

    /// How often a node restarts.
    fn restarts(self) -> usize {
        match self {
            Self::Stock => 0,
            Self::Pinned => 1,
            _ => 2,
        }
    }
}

/// Who keeps the pool's nodes where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// Nobody.
    Nobody,
    /// A command of ours that was stopped.
    Us,
    /// Somebody else.
    Others,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The pool.
    pub pool: String,
    /// Its nodes.
    pub nodes: usize,
    /// How many of them are away at a time, at most.
    pub at_a_time: u32,
    /// What stands in the way.
    pub way: Way,
    /// Who has paused the pool.
    pub held: Held,
    /// The image that nodes run, if on-cluster layering has built it.
    pub image: Option<String>,
    /// Estimate of the time that it takes.
    pub minutes: usize,
}

/// What is to be done for `pool`; None if the cluster has no such pool.
pub fn plan(snapshot: &Snapshot, pool: &str) -> Option<Plan> {
    let found = snapshot.pool(pool)?;
    let config = snapshot.config_of(pool);
    let is_pinned = snapshot.is_pinned(pool) && !found.is_seeded();
    let way = match (config.is_some(), is_pinned) {
        (true, true) => Way::LayeredAndPinned,
        (true, false) if found.is_seeded() => Way::Seeded,
        (true, false) => Way::Layered,
        (false, true) => Way::Pinned,
        (false, false) if snapshot.nodes_of(pool).any(has_image) => Way::Reverting,
        (false, false) => Way::Stock,
    };
    let nodes = snapshot.nodes_of(pool).count();
    let at_a_time = at_a_time(Size {
        pool,
        nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
        max_unavailable: found.spec.max_unavailable.as_ref(),
        is_paused: found.spec.paused,
    });
    let rounds = nodes.div_ceil(usize::try_from(at_a_time).unwrap_or(1).max(1));
    Some(Plan {
        pool: pool.to_owned(),
        nodes,
        at_a_time,
        way,
        held: held(found),
        image: config.and_then(|config| config.status.current_image_pull_spec.clone()),
        minutes: rounds * way.restarts() * RESTART_MINUTES,
    })
}

fn held(pool: &Pool) -> Held {
    let is_ours = annotation(&pool.metadata, OUR_PAUSE).is_some();
    match (pool.spec.paused, is_ours) {
        (false, _) => Held::Nobody,
        (true, true) => Held::Us,
        (true, false) => Held::Others,
    }
}

/// Nodes of a pool that are not on the image of its configuration yet, or not only.
pub fn left(snapshot: &Snapshot, pool: &str) -> usize {
    snapshot
        .nodes_of(pool)
        .filter(|node| has_image(node))
        .count()
}

fn has_image(node: &ObjectMeta) -> bool {
    annotation(node, CURRENT_IMAGE).is_some() || annotation(node, DESIRED_IMAGE).is_some()
}

/// What brings a pool back to the image that it has, as `oc apply` takes it: `config` without what the cluster
/// has put there.
pub fn saved(config: &Value) -> Value {
    let mut metadata = json!({ "name": config["metadata"]["name"] });
    let drivers = &config["metadata"]["annotations"][DRIVERS];
    if drivers.is_string() {
        metadata["annotations"] = json!({ DRIVERS: drivers });
    }
    json!({
        "apiVersion": Kind::LAYERED_CONFIG.api_version(),
        "kind": Kind::LAYERED_CONFIG.name,
        "metadata": metadata,
        "spec": config["spec"],
    })
}

/// The pool and the identity of its MachineOSConfig, of what was seen.
pub fn identity(snapshot: &Snapshot, pool: &str) -> Option<(String, String)> {
    let metadata = &snapshot.config_of(pool)?.metadata;
    Some((name(metadata).to_owned(), metadata.uid.clone()?))
}

#[cfg(test)]
mod tests {
    use super::super::objects::LayeredConfig;
    use super::*;

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn snapshot(pool: Value, is_layered: bool, has_image: bool) -> Snapshot {
        let config: LayeredConfig = of(json!({
            "metadata": { "name": "worker", "uid": "1" },
            "spec": { "machineConfigPool": { "name": "worker" } },
            "status": { "currentImagePullSpec": "q.io/a@sha256:1" },
        }));
        let image = if has_image { "q.io/a@sha256:1" } else { "" };
        let node = |at: usize| {
            of::<ObjectMeta>(json!({
                "name": format!("worker-{at}"),
                "annotations": {
                    "machineconfiguration.openshift.io/desiredConfig": format!("rendered-worker-{}", "0".repeat(32)),
                    CURRENT_IMAGE: image,
                },
            }))
        };
        Snapshot {
            pools: vec![of(pool)],
            configs: is_layered.then_some(config).into_iter().collect(),
            nodes: (0..5).map(node).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn what_it_takes_hangs_on_what_the_pool_has() {
        let pool = |more: Value| {
            let mut pool = json!({
                "metadata": { "name": "worker" },
                "spec": { "configuration": { "name": "rendered-worker-1", "source": [] }, "maxUnavailable": 2 },
            });
            for (key, value) in more.as_object().unwrap() {
                pool["spec"][key] = value.clone();
            }
            pool
        };
        let plan = |snapshot: &Snapshot| super::plan(snapshot, "worker").unwrap();
        let layered = plan(&snapshot(pool(json!({})), true, true));
        assert_eq!((layered.way, layered.held), (Way::Layered, Held::Nobody));
        // Five nodes in three rounds, each of two restarts.
        assert_eq!(
            (layered.nodes, layered.at_a_time, layered.minutes),
            (5, 2, 3 * 2 * 8)
        );
        let under_way = snapshot(pool(json!({})), false, true);
        assert_eq!(plan(&under_way).way, Way::Reverting);
        assert_eq!(left(&under_way, "worker"), 5);
        let stock = snapshot(pool(json!({})), false, false);
        assert_eq!((plan(&stock).way, plan(&stock).minutes), (Way::Stock, 0));
        let source = json!([{ "name": "10-prebuiltimage-osimageurl-worker" }]);
        let seeded = json!({ "configuration": { "name": "rendered-worker-1", "source": source } });
        assert_eq!(plan(&snapshot(pool(seeded), true, true)).way, Way::Seeded);
        let paused = plan(&snapshot(pool(json!({ "paused": true })), true, true));
        assert_eq!(paused.held, Held::Others);
        let mut pinned = snapshot(pool(json!({})), false, false);
        let rendering = super::super::snapshot::Rendering {
            release: None,
            overrides_image: true,
        };
        pinned
            .renderings
            .insert("rendered-worker-1".to_owned(), rendering);
        assert_eq!(
            (plan(&pinned).way, plan(&pinned).minutes),
            (Way::Pinned, 3 * 8)
        );
        assert!(super::plan(&pinned, "wrker").is_none());
    }

    #[test]
    fn what_is_saved_is_what_somebody_would_apply() {
        let config = json!({
            "metadata": {
                "name": "worker", "uid": "1", "resourceVersion": "2", "managedFields": [],
                "annotations": { DRIVERS: "megaraid_sas", "machineconfiguration.openshift.io/current-machine-os-build": "a" },
            },
            "spec": { "machineConfigPool": { "name": "worker" } },
            "status": { "observedGeneration": 1 },
        });
        assert_eq!(
            saved(&config),
            json!({
                "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineOSConfig",
                "metadata": { "name": "worker", "annotations": { DRIVERS: "megaraid_sas" } },
                "spec": { "machineConfigPool": { "name": "worker" } },
            })
        );
    }
}
