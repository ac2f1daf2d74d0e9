//! One verdict for each pool.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::handoff::{fingerprint, kept, proven_containerfile};
use super::membership::pool_of;
use super::objects::{
    Build, CURRENT_CONFIG, CURRENT_IMAGE, Conditions, DESIRED_IMAGE, LayeredConfig, OUR_PAUSE,
    PRE_BUILT, Pool, REASON, STATE, TARGET_POOL, annotation, created, label, name,
};
use super::report::{Base, BuildReport, NodeReport, PoolReport, Report, State};
use super::snapshot::Snapshot;

/// A build without a Job, or with one that has ended, is not about to get on after this many seconds:
/// the operator retries what it could not do five times, some five seconds apart.
const SILENCE: i64 = 120;

/// The longest that a build takes, in seconds. A kernel module compiled beside a whole dnf update takes a
/// quarter of it.
pub(super) const BUILD_MAX: i64 = 2 * 3600;

/// An image that can't be pulled for this many seconds will not be.
const PULL_MAX: i64 = 300;

/// What `snapshot` says of each pool.
pub fn judge(snapshot: &Snapshot) -> Report {
    let mut nodes: BTreeMap<&str, Vec<&ObjectMeta>> = BTreeMap::new();
    for node in &snapshot.nodes {
        if let Some(pool) = pool_of(node, &snapshot.pools) {
            nodes.entry(pool).or_default().push(node);
        }
    }
    let pools = snapshot.pools.iter().map(|pool| {
        let nodes = nodes.remove(name(&pool.metadata)).unwrap_or_default();
        Judge::new(snapshot, pool, nodes).report()
    });
    let version = &snapshot.version.status.desired.version;
    Report {
        release: (!version.is_empty()).then(|| version.clone()),
        now: snapshot.now,
        pools: pools.collect(),
    }
}

/// One pool, and what belongs to it.
struct Judge<'a> {
    snapshot: &'a Snapshot,
    pool: &'a Pool,
    name: &'a str,
    config: Option<&'a LayeredConfig>,
    /// Builds of the pool, the oldest first.
    builds: Vec<&'a Build>,
    nodes: Vec<&'a ObjectMeta>,
}

impl<'a> Judge<'a> {
    fn new(snapshot: &'a Snapshot, pool: &'a Pool, nodes: Vec<&'a ObjectMeta>) -> Self {
        let pool_name = name(&pool.metadata);
        let config = snapshot.config_of(pool_name);
        let of_pool = |build: &&Build| match config {
            Some(config) => build.spec.config.name == name(&config.metadata),
            None => label(&build.metadata, TARGET_POOL) == Some(pool_name),
        };
        let mut builds: Vec<&Build> = snapshot.builds.iter().filter(of_pool).collect();
        builds.sort_by_key(|build| (created(&build.metadata), name(&build.metadata)));
        Self {
            snapshot,
            pool,
            name: pool_name,
            config,
            builds,
            nodes,
        }
    }

    fn report(&self) -> PoolReport {
        let current = self.build();
        let build = current;
        let lost = build.and_then(|build| self.lost_edit(build));
        let behind_since = build.and_then(|build| self.behind_since(build));
        let (state, build) = match (self.build_state(build), lost) {
            (Some(state), _) => (state, build),
            (None, Some((state, edit))) => (state, edit),
            (None, None) => (self.node_state(behind_since.is_some()), None),
        };
        let asks = matches!(state, State::BuildNotBegun);
        let current_build = current.and_then(|build| build.metadata.uid.clone());
        let config = self.config.filter(|_| build.is_some());
        PoolReport {
            name: self.name.to_owned(),
            state,
            nodes: self.nodes.len(),
            updated: self
                .nodes
                .iter()
                .filter(|node| self.is_updated(node))
                .count(),
            image: self.image().map(str::to_owned),
            is_layered: self.config.is_some(),
            base: self.base(),
            is_paused: self.pool.spec.paused,
            paused_for: annotation(&self.pool.metadata, OUR_PAUSE).map(str::to_owned),
            can_undo: self.config.and_then(kept).is_some(),
            behind_since,
            current_build,
            build: build.map(|build| self.build_report(build)),
            push_spec: config.map(|config| config.spec.rendered_image_push_spec.clone()),
            secrets: config.filter(|_| asks).map(secrets).unwrap_or_default(),
            builder_runs: self.snapshot.builder_runs.filter(|_| asks),
            apart: self.apart(state),
        }
    }

    /// The last word of the operator on the pool's image.
    fn build(&self) -> Option<&'a Build> {
        let config = self.config?;
        let current = config.current_build();
        let mut builds = self.builds.iter().rev();
        // It is missing before the first build is begun, and for a moment when one takes another's place.
        let current = builds.find(|build| Some(name(&build.metadata)) == current);
        current.or(self.builds.last()).copied()
    }

    /// How a build is that has not ended well.
    fn build_state(&self, build: Option<&Build>) -> Option<State> {
        let build = build?;
        if build.when("Succeeded").is_some() {
            return None;
        }
        let job = self.job(build);
        if build.when("Failed").is_some() {
            // One that a pod had a part in has a start.
            let had_pod = job.is_some() || build.status.build_start.is_some();
            return Some(match had_pod {
                true => State::BuildFailed,
                false => State::BuildRefused,
            });
        }
        let age = |time: Option<Timestamp>| time.map_or(0, |time| self.seconds_since(time));
        let Some(job) = job else {
            return Some(match age(created(&build.metadata)) >= SILENCE {
                true => State::BuildNotBegun,
                false => State::Building,
            });
        };
        let status = job.status.as_ref();
        let ended = status.and_then(|status| status.completion_time.as_ref());
        if let Some(ended) = ended {
            return Some(match age(Some(ended.0)) >= SILENCE {
                true => State::BuildNotRecorded,
                false => State::Building,
            });
        }
        let began = age(status.and_then(|status| Some(status.start_time.as_ref()?.0)));
        if began >= PULL_MAX && self.waiting(build).is_some() {
            return Some(State::PodNotStarted);
        }
        Some(match began >= BUILD_MAX {
            true => State::BuildHangs,
            false => State::Building,
        })
    }

    /// The build of an edit that `current`, which was never run, took the place of.
    ///
    /// Truth: machine-config-operator pkg/controller/build/reconciler.go@7ff337a4f, reuseImageForNewMOSB:
    /// whether an image is taken over hangs on the configuration alone, not on the Containerfile.
    fn lost_edit(&self, current: &Build) -> Option<(State, Option<&'a Build>)> {
        let was_run = current.status.build_start.is_some();
        if was_run || current.when("Succeeded").is_none() {
            return None;
        }
        self.edit_between(current).or_else(|| {
            // Nothing is left of the build, but somebody looked into the image.
            let config = self.config?;
            let proven = proven_containerfile(config, self.image()?)?;
            let is_lost = fingerprint(config.containerfile()?) != proven;
            is_lost.then_some((State::EditLost, None))
        })
    }

    fn edit_between(&self, current: &Build) -> Option<(State, Option<&'a Build>)> {
        let image = &current.status.digested_image_push_spec;
        let reused = self.builds.iter().rposition(|build| {
            build.status.build_start.is_some() && build.status.digested_image_push_spec == *image
        });
        let current = self
            .builds
            .iter()
            .position(|build| build.metadata.uid == current.metadata.uid)?;
        let between = self
            .builds
            .get(reused.map_or(0, |reused| reused + 1)..current)?;
        let edit = between
            .iter()
            .rfind(|build| build.when("Succeeded").is_none())?;
        let state = match edit.is_over() {
            true => State::EditLost,
            false => State::EditBuilding,
        };
        Some((state, Some(edit)))
    }

    /// The first release since the pool's image came with the installation, if there was one.
    fn behind_since(&self, build: &Build) -> Option<String> {
        if !self.pool.is_seeded() || label(&build.metadata, PRE_BUILT).is_none() {
            return None;
        }
        let seeded = created(&build.metadata)?;
        let history = &self.snapshot.version.status.history;
        let mut later = history.iter().filter(|release| {
            let started = release.started_time.as_ref();
            started.is_some_and(|started| started.0 > seeded)
        });
        // The newest comes first.
        later.next_back().map(|release| release.version.clone())
    }

    /// How the pool's nodes are, whose image is built.
    fn node_state(&self, is_behind: bool) -> State {
        let is_updated = |node: &&ObjectMeta| self.is_updated(node);
        let is_green = self.pool.when("Updated").is_some() && self.pool.when("Updating").is_none();
        if self.nodes.iter().any(|node| is_degraded(node)) {
            return State::NodesDegraded;
        }
        if is_behind {
            return State::BehindRelease;
        }
        if self.pool.is_paused_by_us() {
            return State::HandoffOpen;
        }
        if self.nodes.iter().all(is_updated) {
            return State::UpToDate;
        }
        if self.pool.spec.paused {
            return State::Paused;
        }
        let leaves = self.config.is_none() && self.nodes.iter().any(|node| has_image(node));
        match (leaves, is_green) {
            (true, _) => State::Reverting,
            (false, true) => State::NodesDiffer,
            (false, false) => State::RollingOut,
        }
    }

    /// The image that nodes are to have besides that of their configuration.
    fn image(&self) -> Option<&'a str> {
        self.config?.status.current_image_pull_spec.as_deref()
    }

    /// Whether `node` has what it should.
    fn is_updated(&self, node: &ObjectMeta) -> bool {
        let config = annotation(node, CURRENT_CONFIG);
        let image = match self.config {
            // No image was ever built.
            Some(_) if self.image().is_none() => return false,
            Some(_) => annotation(node, CURRENT_IMAGE) == self.image(),
            None => !has_image(node),
        };
        config == Some(&*self.pool.spec.configuration.name)
            && image
            && annotation(node, STATE) == Some("Done")
    }

    /// What most nodes' image was made of.
    fn base(&self) -> Base {
        let wanted = &*self.pool.spec.configuration.name;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in &self.nodes {
            if let Some(config) = annotation(node, CURRENT_CONFIG) {
                *counts.entry(config).or_default() += 1;
            }
        }
        let most = counts
            .iter()
            .max_by_key(|(config, count)| (**count, **config == wanted));
        let config = most.map_or(wanted, |(config, _)| config);
        if self.pool.is_seeded() {
            return Base::Seed;
        }
        let rendering = |config: &str| self.snapshot.renderings.get(config);
        let run = rendering(config);
        if run.is_some_and(|run| run.overrides_image) {
            return Base::Pin;
        }
        let version = run.and_then(|run| run.release.clone());
        let wanted = rendering(wanted).and_then(|wanted| wanted.release.as_ref());
        Base::Release {
            is_old: version.is_some() && wanted.is_some() && version.as_ref() != wanted,
            version,
        }
    }

    fn apart(&self, state: State) -> Vec<NodeReport> {
        let is_apart = |node: &&&ObjectMeta| match state {
            State::NodesDegraded => is_degraded(node),
            State::NodesDiffer => !self.is_updated(node),
            _ => false,
        };
        let report = |node: &&ObjectMeta| NodeReport {
            name: name(node).to_owned(),
            image: annotation(node, CURRENT_IMAGE).map(str::to_owned),
            reason: annotation(node, REASON).map(str::to_owned),
        };
        self.nodes.iter().filter(is_apart).map(report).collect()
    }

    fn job(&self, build: &Build) -> Option<&'a Job> {
        let wanted = build.job();
        let mut jobs = self.snapshot.jobs.iter();
        jobs.find(|job| name(&job.metadata) == wanted)
    }

    /// Pods of a build, the oldest first. They have no label of the operator's, only the Job's.
    fn pods(&self, build: &Build) -> Vec<&'a Pod> {
        let job = build.job();
        let of_job =
            |pod: &&Pod| label(&pod.metadata, "batch.kubernetes.io/job-name") == Some(&job);
        let mut pods: Vec<&Pod> = self.snapshot.pods.iter().filter(of_job).collect();
        pods.sort_by_key(|pod| (created(&pod.metadata), name(&pod.metadata)));
        pods
    }

    /// The container of a build that can't be started, and why.
    fn waiting(&self, build: &Build) -> Option<(&'a str, &'a str)> {
        let newest = self.pods(build).pop()?;
        containers(newest).find_map(|container| {
            let reason = container
                .state
                .as_ref()?
                .waiting
                .as_ref()?
                .reason
                .as_deref()?;
            // The second container waits for the first one.
            (reason != "PodInitializing" && reason != "ContainerCreating")
                .then_some((&*container.name, reason))
        })
    }

    fn build_report(&self, build: &Build) -> BuildReport {
        let job = self.job(build);
        let pods = self.pods(build);
        let status = job.and_then(|job| job.status.as_ref());
        let failed = status.and_then(|status| status.failed).unwrap_or(0);
        let retries = job.and_then(|job| job.spec.as_ref()?.backoff_limit);
        let waiting = self.waiting(build);
        let failing = pods
            .iter()
            .rev()
            .find_map(|pod| Some((*pod, failed_container(pod)?)));
        let evicted = pods.iter().filter(|pod| {
            let status = pod.status.as_ref();
            status.is_some_and(|status| status.reason.as_deref() == Some("Evicted"))
        });
        BuildReport {
            name: name(&build.metadata).to_owned(),
            job: job.map(|job| name(&job.metadata).to_owned()),
            failed_attempts: u32::try_from(failed).unwrap_or(0),
            attempts: retries.map_or(1, |retries| u32::try_from(retries).unwrap_or(0) + 1),
            evicted: u32::try_from(evicted.count()).unwrap_or(u32::MAX),
            began: match &build.status.build_start {
                Some(start) => Some(start.0),
                None => created(&build.metadata),
            },
            ended: build.status.build_end.as_ref().map(|end| end.0),
            container: match (&failing, waiting) {
                (Some((_, container)), _) => Some((*container).to_owned()),
                (None, waiting) => waiting.map(|(container, _)| container.to_owned()),
            },
            waits_for: waiting.map(|(_, reason)| reason.to_owned()),
            pod: match (failing, pods.last().copied()) {
                (Some((pod, _)), _) | (None, Some(pod)) => Some(name(&pod.metadata).to_owned()),
                (None, None) => None,
            },
        }
    }

    fn seconds_since(&self, time: Timestamp) -> i64 {
        self.snapshot
            .now
            .as_second()
            .saturating_sub(time.as_second())
    }
}

/// The secrets that a build needs.
fn secrets(config: &LayeredConfig) -> Vec<String> {
    let push = &config.spec.rendered_image_push_secret.name;
    let pull = config.spec.base_image_pull_secret.as_ref();
    // What the operator takes where none is named.
    let pull = pull.map_or("global-pull-secret-copy", |pull| &*pull.name);
    vec![push.clone(), pull.to_owned()]
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let first = status.and_then(|status| status.init_container_statuses.as_ref());
    let then = status.and_then(|status| status.container_statuses.as_ref());
    first.into_iter().chain(then).flatten()
}

fn failed_container(pod: &Pod) -> Option<&str> {
    containers(pod).find_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then_some(&*container.name)
    })
}

fn is_degraded(node: &ObjectMeta) -> bool {
    // `Unreconcilable` is the other state in which the daemon gives up.
    matches!(annotation(node, STATE), Some("Degraded" | "Unreconcilable"))
}

fn has_image(node: &ObjectMeta) -> bool {
    annotation(node, CURRENT_IMAGE).is_some() || annotation(node, DESIRED_IMAGE).is_some()
}
