//! From a Containerfile to a pool whose image on-cluster layering builds: what is asked for, what stands
//! against it, and how far it is.
//!
//! Order, as it was watched on real controllers (machine-config-operator@7ff337a4f): pause, create, take the
//! pin away, wait for the build on the release's own image, look into it, go on. Each node makes one move then,
//! from the pinned image to the new one.

mod containerfile;
mod pin;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::{Value, json};

pub use containerfile::{LABEL, fingerprint, marked};
pub use pin::{PinningConfig, exposed};

use super::kinds::Kind;
use super::objects::{
    Conditions, DRIVERS, LayeredConfig, OUR_PAUSE, PROVEN, PROVEN_BEFORE, PROVEN_SPEC, Pool,
    annotation, name,
};
use super::parity::{Size, at_a_time};
use super::snapshot::Snapshot;
use crate::openshift::{CONTAINERFILE_MAX_CHARS, PushSpec};

/// On pools that the operator wants up to date, and reports itself degraded if they are paused.
///
/// Truth: machine-config-operator pkg/operator/sync.go@7ff337a4f, syncRequiredMachineConfigPools.
const REQUIRED: &str = "operator.machineconfiguration.openshift.io/required-for-upgrade";

/// Conditions of a pool during which nothing is built.
///
/// Truth: machine-config-operator pkg/controller/build@7ff337a4f, read and not run.
const NO_BUILDS_DURING: [&str; 4] = [
    "NodeDegraded",
    "RenderDegraded",
    "PinnedImageSetsDegraded",
    "PoolSynchronizerDegraded",
];

/// What a pool's image is to be made of. What is None stays as it is in the cluster.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Without [`LABEL`].
    pub containerfile: Option<String>,
    /// Where images go.
    pub push_spec: Option<PushSpec>,
    /// The secret for that.
    pub push_secret: Option<String>,
    /// The secret for the images of `FROM`.
    pub pull_secret: Option<String>,
    /// Kernel modules without which nodes can't start.
    pub drivers: Vec<String>,
}

/// Why nothing is handed off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandoffError {
    /// Not one of the cluster's.
    #[error("the cluster has no pool {0:?}")]
    NoPool(String),
    /// Nothing is known of it, and the cluster has nothing either.
    #[error("{pool}: the cluster has no MachineOSConfig for it yet, so {option} has to be given")]
    Missing {
        /// The pool.
        pool: String,
        /// The option.
        option: &'static str,
    },
    /// The operator would not begin.
    #[error("{pool}: the operator builds nothing while the pool is {condition}: {message}")]
    Blocked {
        /// The pool.
        pool: String,
        /// The condition.
        condition: String,
        /// What it says.
        message: String,
    },
    /// Without a pause its nodes would go to the release's own image between two MachineOSConfigs.
    #[error(
        "{0}: the pool's image came with the installation, and can be built anew under a pause only"
    )]
    Seeded(String),
    /// More than the API takes.
    #[error(
        "the Containerfile has {0} characters with the label that names it, and {CONTAINERFILE_MAX_CHARS} are taken"
    )]
    TooLong(usize),
    /// There is no older one.
    #[error("{0}: no image of this pool was proven before the one that it has")]
    NothingToUndo(String),
}

/// Who pauses the pool while its image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// We do.
    Ours,
    /// Somebody has, and goes on when he likes.
    Others,
    /// Nobody: the operator would report itself degraded.
    Costly,
    /// Nobody, as was asked.
    Refused,
}

/// What pausing is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedPause {
    /// Where it costs nothing.
    #[default]
    Free,
    /// In any case.
    Always,
    /// Nowhere.
    Never,
}

/// What is to be done for one pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The pool.
    pub pool: String,
    /// Its nodes.
    pub nodes: usize,
    /// How many of them are away at a time, at most.
    pub at_a_time: u32,
    /// Who pauses it.
    pub pause: Pause,
    /// Whether the cluster has what is asked for already.
    pub is_told: bool,
    /// Whether the cluster has a MachineOSConfig for it.
    pub is_layered: bool,
    /// Whether its image came with the installation: a MachineConfig of the operator's keeps it for as long as
    /// the MachineOSConfig of then is there.
    pub is_seeded: bool,
    /// The kernel modules that nodes need.
    pub drivers: Vec<String>,
    /// The MachineOSConfig.
    #[serde(skip)]
    pub object: Value,
}

impl Plan {
    /// The MachineOSConfig for a pool of a cluster that nobody asks.
    ///
    /// # Errors
    /// What is missing, or is too long.
    pub fn offline(pool: &str, asked: &Asked) -> Result<Value, HandoffError> {
        let spec = spec(pool, None, asked)?;
        Ok(object(pool, spec, &asked.drivers))
    }

    /// How large the pool is, and how much of it may be away.
    pub fn size<'a>(&'a self, snapshot: &'a Snapshot) -> Size<'a> {
        let spec = snapshot.pool(&self.pool).map(|pool| &pool.spec);
        Size {
            pool: &self.pool,
            nodes: u32::try_from(self.nodes).unwrap_or(u32::MAX),
            max_unavailable: spec.and_then(|spec| spec.max_unavailable.as_ref()),
            is_paused: spec.is_some_and(|spec| spec.paused),
        }
    }

    /// The Containerfile that is asked for, if there is one.
    pub fn containerfile(&self) -> Option<&str> {
        self.object["spec"]["containerFile"][0]["content"].as_str()
    }
}

/// What is to be done for `pool`.
///
/// # Errors
/// What stands against it.
pub fn plan(
    snapshot: &Snapshot,
    pool: &str,
    asked: &Asked,
    pause: WantedPause,
) -> Result<Plan, HandoffError> {
    let found = snapshot.pool(pool);
    let found = found.ok_or_else(|| HandoffError::NoPool(pool.to_owned()))?;
    if let Some(condition) = NO_BUILDS_DURING.iter().find_map(|kind| found.when(kind)) {
        return Err(HandoffError::Blocked {
            pool: pool.to_owned(),
            condition: condition.r#type.clone(),
            message: condition.message.clone(),
        });
    }
    let config = snapshot.config_of(pool);
    let is_seeded = found.is_seeded();
    // That of a seeded pool is made anew, and is gone for a while: nothing is taken from it.
    let spec = spec(pool, config.filter(|_| !is_seeded), asked)?;
    let plan = planned(snapshot, found, config, spec, &asked.drivers, pause);
    match plan.pause {
        Pause::Costly | Pause::Refused if is_seeded => Err(HandoffError::Seeded(pool.to_owned())),
        _ => Ok(plan),
    }
}

/// What is to be done for `pool` to have the last image that was proven, or the one before if it has that.
///
/// # Errors
/// No such image.
pub fn undo(snapshot: &Snapshot, pool: &str, pause: WantedPause) -> Result<Plan, HandoffError> {
    let found = snapshot.pool(pool);
    let found = found.ok_or_else(|| HandoffError::NoPool(pool.to_owned()))?;
    let config = snapshot.config_of(pool);
    let spec = config.and_then(kept);
    let spec = spec.ok_or_else(|| HandoffError::NothingToUndo(pool.to_owned()))?;
    Ok(planned(snapshot, found, config, spec, &[], pause))
}

/// The last spec whose image was proven, if the MachineOSConfig has another, or else the one before it.
pub(super) fn kept(config: &LayeredConfig) -> Option<Value> {
    [PROVEN_SPEC, PROVEN_BEFORE].into_iter().find_map(|key| {
        let text = annotation(&config.metadata, key)?;
        let spec: Value = serde_json::from_str(text).ok()?;
        (!is_spec_of(config, &spec)).then_some(spec)
    })
}

fn planned(
    snapshot: &Snapshot,
    pool: &Pool,
    config: Option<&LayeredConfig>,
    spec: Value,
    drivers: &[String],
    pause: WantedPause,
) -> Plan {
    let pool_name = name(&pool.metadata);
    let mut drivers = drivers.to_vec();
    // Nobody needs fewer drivers because they were not named again.
    drivers.extend(config.map_or_else(Vec::new, |config| config.drivers()));
    drivers.sort_unstable();
    drivers.dedup();
    let is_seeded = pool.is_seeded();
    let is_told = config.filter(|_| !is_seeded).is_some_and(|config| {
        is_spec_of(config, &spec)
            && drivers
                .iter()
                .all(|driver| config.drivers().contains(driver))
    });
    let config_name = config.map_or(pool_name, |config| name(&config.metadata));
    let object = object(config_name, spec, &drivers);
    let nodes = snapshot.nodes_of(pool_name).count();
    let size = Size {
        pool: pool_name,
        nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
        max_unavailable: pool.spec.max_unavailable.as_ref(),
        is_paused: pool.spec.paused,
    };
    Plan {
        pool: pool_name.to_owned(),
        nodes,
        at_a_time: at_a_time(size),
        pause: who_pauses(pool, pause),
        is_told,
        is_layered: config.is_some(),
        is_seeded,
        drivers,
        object,
    }
}

fn object(name: &str, spec: Value, drivers: &[String]) -> Value {
    let mut object = json!({
        "apiVersion": Kind::LAYERED_CONFIG.api_version(),
        "kind": Kind::LAYERED_CONFIG.name,
        "metadata": { "name": name },
        "spec": spec,
    });
    if !drivers.is_empty() {
        object["metadata"]["annotations"] = json!({ DRIVERS: drivers.join(",") });
    }
    object
}

fn who_pauses(pool: &Pool, wanted: WantedPause) -> Pause {
    let is_ours = annotation(&pool.metadata, OUR_PAUSE).is_some();
    match wanted {
        _ if pool.spec.paused && is_ours => Pause::Ours,
        _ if pool.spec.paused => Pause::Others,
        WantedPause::Always => Pause::Ours,
        WantedPause::Never => Pause::Refused,
        WantedPause::Free if is_required(pool) => Pause::Costly,
        WantedPause::Free => Pause::Ours,
    }
}

/// Whether pausing it degrades the operator.
fn is_required(pool: &Pool) -> bool {
    let has_label = pool.metadata.labels.as_ref();
    let has_label = has_label.is_some_and(|labels| labels.contains_key(REQUIRED));
    has_label || matches!(name(&pool.metadata), "master" | "arbiter")
}

/// The spec of the MachineOSConfig: what is asked for, and else what the cluster has.
fn spec(pool: &str, config: Option<&LayeredConfig>, asked: &Asked) -> Result<Value, HandoffError> {
    let missing = |option| HandoffError::Missing {
        pool: pool.to_owned(),
        option,
    };
    let known = config.map(|config| &config.spec);
    let asked_spec = asked.push_spec.as_ref().map(ToString::to_string);
    let push_spec = asked_spec.or_else(|| Some(known?.rendered_image_push_spec.clone()));
    let push_secret = asked.push_secret.clone();
    let push_secret = push_secret.or_else(|| Some(known?.rendered_image_push_secret.name.clone()));
    let pull_secret = asked.pull_secret.clone();
    let pull_secret =
        pull_secret.or_else(|| Some(known?.base_image_pull_secret.as_ref()?.name.clone()));
    let containerfile = match &asked.containerfile {
        Some(text) => Some(text.clone()),
        None => config.and_then(|config| config.containerfile().map(str::to_owned)),
    };
    let containerfile = containerfile.ok_or_else(|| missing("--containerfile"))?;
    let content = marked(&containerfile);
    let length = content.chars().count();
    if length > CONTAINERFILE_MAX_CHARS {
        return Err(HandoffError::TooLong(length));
    }
    let mut spec = json!({
        "machineConfigPool": { "name": pool },
        "imageBuilder": { "imageBuilderType": "Job" },
        "renderedImagePushSpec": push_spec.ok_or_else(|| missing("--push-spec"))?,
        "renderedImagePushSecret": { "name": push_secret.ok_or_else(|| missing("--push-secret"))? },
        // Of all architectures, this is the only one that is ever used.
        "containerFile": [{ "containerfileArch": "NoArch", "content": content }],
    });
    if let Some(name) = pull_secret {
        spec["baseImagePullSecret"] = json!({ "name": name });
    }
    Ok(spec)
}

/// Whether a MachineOSConfig has this spec.
fn is_spec_of(config: &LayeredConfig, spec: &Value) -> bool {
    let known = &config.spec;
    let pull = known.base_image_pull_secret.as_ref();
    spec["renderedImagePushSpec"] == known.rendered_image_push_spec
        && spec["renderedImagePushSecret"]["name"] == known.rendered_image_push_secret.name
        && spec["baseImagePullSecret"]["name"].as_str() == pull.map(|pull| &*pull.name)
        && spec["containerFile"][0]["content"].as_str() == config.containerfile()
        && known.container_file.len() == 1
}

/// A pool's image that is built of what the cluster was told last, for what the pool is to be.
///
/// A build of an older spec, of the configuration before it, or on an image that a MachineConfig pins is not
/// that.
pub fn built(snapshot: &Snapshot, pool: &str) -> Option<String> {
    let config = snapshot.config_of(pool)?;
    if !config.is_observed() {
        return None;
    }
    let wanted = &snapshot.pool(pool)?.spec.configuration.name;
    if snapshot.is_pinned(pool) {
        return None;
    }
    let current = config.current_build()?;
    let mut builds = snapshot.builds.iter();
    let build = builds.find(|build| name(&build.metadata) == current)?;
    let image = config.status.current_image_pull_spec.as_ref()?;
    let is_it = build.when("Succeeded").is_some()
        && build.spec.machine_config.name == *wanted
        && build.status.digested_image_push_spec.as_ref() == Some(image);
    is_it.then(|| image.clone())
}

/// Whether this image was looked into before, and has the pool's Containerfile in it.
pub fn is_proven(config: &LayeredConfig, image: &str) -> bool {
    let asked = config.containerfile().map(fingerprint);
    asked.is_some() && proven_containerfile(config, image) == asked.as_deref()
}

/// The SHA-256 of the Containerfile that somebody has found in `image`, if somebody has looked.
pub(super) fn proven_containerfile<'a>(config: &'a LayeredConfig, image: &str) -> Option<&'a str> {
    let known = annotation(&config.metadata, PROVEN)?;
    let (proven, fingerprint) = known.split_once(' ')?;
    (proven == image).then_some(fingerprint)
}

/// What notes on a MachineOSConfig that `image` has its Containerfile in it. The spec goes where `--undo`
/// finds it, and the one before stays, too.
pub fn proof(config: &LayeredConfig, spec: &Value, image: &str) -> Value {
    let asked = config.containerfile().map(fingerprint).unwrap_or_default();
    let text = spec.to_string();
    let mut annotations = json!({ PROVEN: format!("{image} {asked}"), PROVEN_SPEC: text });
    let before = annotation(&config.metadata, PROVEN_SPEC).filter(|before| **before != text);
    if let Some(before) = before {
        annotations[PROVEN_BEFORE] = json!(before);
    }
    json!({ "metadata": { "annotations": annotations } })
}

/// Pauses a pool for a command of ours, as long as it is what it was.
pub fn paused(pool: &Pool, command: &str) -> Value {
    json!({
        "metadata": {
            "resourceVersion": pool.metadata.resource_version,
            "annotations": { OUR_PAUSE: command },
        },
        "spec": { "paused": true },
    })
}

/// Lets a pool go on that we have paused.
pub fn unpaused(pool: &Pool) -> Value {
    json!({
        "metadata": {
            "resourceVersion": pool.metadata.resource_version,
            "annotations": { OUR_PAUSE: null },
        },
        "spec": { "paused": false },
    })
}
