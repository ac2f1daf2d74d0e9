//! What is told of a cluster.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

/// How a pool is, the worst first. Those up to [`State::NodesDiffer`] need somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The pool is green, on an image that the last edit is not in: the edit's build failed, and a later
    /// change of a file took the old image over.
    EditLost,
    /// A build failed in a pod.
    BuildFailed,
    /// The Containerfile was refused before there was a pod.
    BuildRefused,
    /// A build is not begun: a secret is missing, or the operator's builder does not run.
    BuildNotBegun,
    /// The image was built and pushed, but its name can't be recorded.
    BuildNotRecorded,
    /// A build's pod can't be started.
    PodNotStarted,
    /// A build takes longer than any should.
    BuildHangs,
    /// Nodes can't take what they should.
    NodesDegraded,
    /// The pool's image came with the installation, and releases after it don't rebuild it.
    BehindRelease,
    /// A command of ours has paused the pool, and no build is running: the command was stopped, or looks into
    /// the image just now.
    HandoffOpen,
    /// Nodes run something else than their pool, which is said to be up to date, should have.
    NodesDiffer,
    /// The last edit is being built, while the pool is green on the old image.
    EditBuilding,
    /// An image is being built.
    Building,
    /// What is to be taken is there, but the pool is paused.
    Paused,
    /// Nodes go to another image or configuration, one after the other.
    RollingOut,
    /// Nodes go back to the release's own image.
    Reverting,
    /// All nodes have what they should.
    UpToDate,
}

impl State {
    /// Whether it goes on by itself.
    pub fn needs_somebody(self) -> bool {
        self <= Self::NodesDiffer
    }

    /// Whether it is about a build, and not about nodes.
    pub fn is_of_a_build(self) -> bool {
        matches!(
            self,
            Self::EditLost
                | Self::BuildFailed
                | Self::BuildRefused
                | Self::BuildNotBegun
                | Self::BuildNotRecorded
                | Self::PodNotStarted
                | Self::BuildHangs
                | Self::EditBuilding
                | Self::Building
        )
    }
}

/// What a pool's image was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Base {
    /// A release's own image; None if it is not known which.
    #[serde(rename_all = "kebab-case")]
    Release {
        /// As in `4.21.3`.
        version: Option<String>,
        /// Whether the pool is to go to another one.
        is_old: bool,
    },
    /// The image that the installation came with; the cluster's releases don't reach it.
    Seed,
    /// What a MachineConfig names; the cluster's releases don't reach it.
    Pin,
}

/// A build that is not well, or not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildReport {
    /// The MachineOSBuild.
    pub name: String,
    /// Its Job, if it is there: its logs can be read.
    pub job: Option<String>,
    /// Pods that failed.
    pub failed_attempts: u32,
    /// Pods that may fail before the build has.
    pub attempts: u32,
    /// Pods that were evicted; they count as failed.
    pub evicted: u32,
    /// When its pod began, or else when it was made.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The container that failed, or can't be started.
    pub container: Option<String>,
    /// Why a container can't be started.
    pub waits_for: Option<String>,
    /// The last pod that failed, or else the last one.
    pub pod: Option<String>,
}

/// A node that is not what its pool should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// What it runs: an image by digest, or None for that of its configuration.
    pub image: Option<String>,
    /// What its daemon says is wrong.
    pub reason: Option<String>,
}

/// How a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Nodes.
    pub nodes: usize,
    /// Nodes that have what they should.
    pub updated: usize,
    /// The last image that was built well for it, by digest; None for pools that are not layered.
    pub image: Option<String>,
    /// Whether on-cluster layering builds it.
    pub is_layered: bool,
    /// What the image that nodes run was made of.
    pub base: Base,
    /// Whether the pool is paused.
    pub is_paused: bool,
    /// The command of ours that has paused it, if one has.
    pub paused_for: Option<String>,
    /// Whether an image is known that was good, and that the cluster is told no more.
    pub can_undo: bool,
    /// The release that the pool did not follow, for [`State::BehindRelease`].
    pub behind_since: Option<String>,
    /// The last word of the operator on the pool's image: the identity of a build, which one that takes its
    /// place under the same name doesn't have.
    pub current_build: Option<String>,
    /// The build that [`PoolReport::state`] speaks of.
    pub build: Option<BuildReport>,
    /// Where images are pushed to; for builds that are not well.
    pub push_spec: Option<String>,
    /// The secrets that a build needs, for those that are not begun.
    pub secrets: Vec<String>,
    /// Whether the operator's builder runs, where that was asked.
    pub builder_runs: Option<bool>,
    /// Nodes that are not what they should be, for [`State::NodesDegraded`] and [`State::NodesDiffer`].
    pub apart: Vec<NodeReport>,
}

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The release that the cluster is to run.
    pub release: Option<String>,
    /// When this was so, by the server's clock.
    pub now: Timestamp,
    /// In the order of the API.
    pub pools: Vec<PoolReport>,
}

impl Report {
    /// Whether a pool needs somebody.
    pub fn needs_somebody(&self) -> bool {
        self.pools.iter().any(|pool| pool.state.needs_somebody())
    }

    /// What is told anew when it changes: not how long something lasts.
    pub fn in_short(&self) -> Short {
        let pools = self.pools.iter().map(|pool| {
            let build = pool.current_build.clone();
            (pool.state, pool.updated, pool.nodes, build)
        });
        Short(pools.collect())
    }
}

/// What a report says that is not a matter of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short(Vec<(State, usize, usize, Option<String>)>);

impl Short {
    /// Whether something goes on by itself.
    pub fn is_on_its_way(&self) -> bool {
        let mut states = self.0.iter().map(|(state, ..)| *state);
        states.any(|state| {
            matches!(
                state,
                State::Building | State::EditBuilding | State::RollingOut | State::Reverting
            )
        })
    }
}
