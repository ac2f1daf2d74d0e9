//! `coreos-bake cluster handoff`: have on-cluster layering build a pool's image, so that no node ever starts
//! without its driver.

mod end;
mod plan;
mod prove;
mod run;
mod under_way;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::{AccessArgs, object_name, print_roles, runtime};
use crate::cli::image_args::ImageArgs;
use crate::cli::terminal::Terminal;
use crate::cli::{Outcome, Usage};
use crate::cluster::alerts::{self, AlertOptions};
use crate::cluster::handoff::{Asked, WantedPause};
use crate::cluster::{Looking, Server, Task, ToolImage, is_in_own_registry};
use crate::kernel::DriverName;
use crate::limited;
use crate::openshift::{PushSpec, yaml};
use crate::record::Record;

/// How much of a Containerfile is read: more than is taken, so that it is refused for its size.
const CONTAINERFILE_READ_BYTES: u64 = 2 << 20;

/// Have on-cluster layering build the image of pools
///
/// Looks first at what the cluster would let pass and fail on later. Then it pauses
/// the pool, makes its MachineOSConfig, takes the image away that `prepare` pinned,
/// waits for the build, looks into the image for the Containerfile and the drivers,
/// and lets the pool go on: each node restarts once. With a mended Containerfile it
/// is the edit of a pool that is layered already. Whatever stops it, the same
/// command goes on from there. Exits with 3 if a build fails or an image is not as
/// it should be; the pool stays paused then.
#[derive(Debug, Args)]
pub(super) struct HandoffArgs {
    /// Pools to hand off
    #[arg(value_name = "POOL", required_unless_present = "print_rbac", value_parser = object_name)]
    pools: Vec<String>,
    #[command(flatten)]
    access: AccessArgs,
    /// What is put on top of the release's image; what the cluster has if not given
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    containerfile: Option<PathBuf>,
    /// Where images go, HOST/NAMESPACE/NAME:TAG; the cluster puts its own tag there
    #[arg(long, value_name = "IMAGE", conflicts_with = "undo")]
    push_spec: Option<PushSpec>,
    /// Secret for that, in the operator's namespace
    #[arg(long, value_name = "NAME", conflicts_with = "undo", value_parser = object_name)]
    push_secret: Option<String>,
    /// Secret for the images of FROM, if the cluster's own has nothing for them
    #[arg(long, value_name = "NAME", conflicts_with = "undo", value_parser = object_name)]
    pull_secret: Option<String>,
    /// Kernel modules without which nodes can't start
    #[arg(
        long = "driver",
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "undo"
    )]
    drivers: Vec<DriverName>,
    /// The same from the record of a bake
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    bake_json: Option<PathBuf>,
    /// Go back to the last image that was proven, or from that to the one before; built already
    #[arg(long)]
    undo: bool,
    /// Pause also pools for which the operator reports itself degraded then (master)
    #[arg(long, conflicts_with = "no_pause")]
    pause: bool,
    /// Pause no pool: nodes take the image as soon as it is built
    #[arg(long)]
    no_pause: bool,
    /// Make no AlertingRule; see `cluster alerts`
    #[arg(long)]
    no_alerts: bool,
    /// Let a pool go on without a look into its image
    #[arg(long)]
    unverified: bool,
    /// Image with coreos-bake on its PATH, for a look from within the cluster
    ///
    /// A Job looks into an image whose registry can't be reached from here, with the
    /// push secret. None is published: docs/cluster.md has a Containerfile.
    #[arg(long, value_name = "NAME")]
    tool_image: Option<ToolImage>,
    /// Take fields over that somebody else has set
    #[arg(long)]
    force_conflicts: bool,
    /// Tell what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Tell also what it costs to apply the MachineConfigs of a file or directory afterwards
    #[arg(long = "manifest", value_name = "FILE|DIR", requires = "dry_run")]
    manifests: Vec<PathBuf>,
    /// Don't ask whether to go on
    #[arg(short, long)]
    yes: bool,
    /// Write the objects to DIR, for GitOps, and ask no cluster
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["undo", "dry_run"])]
    output: Option<PathBuf>,
    /// Replace files of DIR
    #[arg(long, requires = "output")]
    force: bool,
    /// Seconds between two looks at the build
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Keep the log of a failed build in DIR
    #[arg(long, value_name = "DIR")]
    save_logs: Option<PathBuf>,
    /// Print the roles that this needs in the cluster, and stop
    #[arg(long)]
    print_rbac: bool,
    #[command(flatten)]
    image: ImageArgs,
}

impl HandoffArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        if self.print_rbac {
            let is_own = |place: &PushSpec| is_in_own_registry(place.name());
            let own_registry = self.push_spec.as_ref().is_none_or(is_own);
            return print_roles(self.task(own_registry), &self.pools, terminal);
        }
        let mut named = BTreeSet::new();
        if let Some(twice) = self.pools.iter().find(|pool| !named.insert(*pool)) {
            return Err(Usage::new(format!("pool {twice} is named twice")).into());
        }
        let asked = self.asked()?;
        if let Some(containerfile) = &asked.containerfile {
            plan::lint(containerfile, &asked.drivers)?;
        }
        if let Some(directory) = &self.output {
            let rules = (!self.no_alerts).then(|| {
                let rules = alerts::objects(&AlertOptions::default());
                rules.iter().map(yaml).collect()
            });
            return plan::write(directory, self.force, &self.pools, &asked, rules, terminal);
        }
        let runtime = runtime()?;
        let server = runtime.block_on(Server::new(&self.access.access(), self.task(false)))?;
        runtime.block_on(server.require_rights())?;
        under_way::Handoff {
            asked,
            pause: self.wanted_pause(),
            options: &self,
            server,
            runtime,
            terminal,
        }
        .run()
    }

    /// What is wanted of the cluster; some of the images may be in its own registry.
    fn task(&self, own_registry: bool) -> Task {
        Task::Handoff(Looking {
            own_registry: own_registry && !self.unverified,
            from_within: self.tool_image.is_some() && !self.unverified,
        })
    }

    fn wanted_pause(&self) -> WantedPause {
        match (self.pause, self.no_pause) {
            (true, _) => WantedPause::Always,
            (_, true) => WantedPause::Never,
            _ => WantedPause::Free,
        }
    }

    fn asked(&self) -> Result<Asked> {
        let containerfile = match &self.containerfile {
            Some(path) => {
                let text = String::from_utf8(limited::head(path, CONTAINERFILE_READ_BYTES)?);
                Some(text.with_context(|| format!("reading {}", path.display()))?)
            }
            None => None,
        };
        let mut drivers: Vec<String> = self.drivers.iter().map(ToString::to_string).collect();
        if let Some(path) = &self.bake_json {
            let record = Record::read(path)?;
            drivers.extend(record.drivers.into_iter().map(|found| found.driver));
        }
        drivers.sort_unstable();
        drivers.dedup();
        Ok(Asked {
            containerfile,
            push_spec: self.push_spec.clone(),
            push_secret: self.push_secret.clone(),
            pull_secret: self.pull_secret.clone(),
            drivers,
        })
    }
}
