//! `coreos-bake cluster status`: how each pool is, and what to do about it.

mod details;
mod table;
mod told;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use table::{text, value};
use told::Told;

use super::patience::Follow;
use super::{AccessArgs, print_roles, runtime};
use crate::cli::Outcome;
use crate::cli::terminal::Terminal;
use crate::cluster::{PoolReport, Report, Server, Snapshot, Task, judge};
use crate::failure::Failure;
use crate::foreign::visible;

/// Tell how each pool of a cluster is, and what to do about it
///
/// Pools, builds, images and nodes in one table: who runs what, on which release. A
/// failed build is told with the step that failed and its own words. So is what the
/// cluster doesn't tell: an edit of a Containerfile that is in no image although the
/// pool is green, a build that is never begun or never recorded, a pool that releases
/// don't reach, nodes that run something else. Reads only, and no secrets. Exits
/// with 3 if a pool needs somebody.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Keep the logs of failed builds in DIR; the cluster deletes them with the next change
    #[arg(long, value_name = "DIR")]
    save_logs: Option<PathBuf>,
    /// Look again until no pool is on its way any more, and tell what has changed
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two looks at least; where nothing changes, there is one a minute
    #[arg(long, value_name = "N", default_value_t = 10, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print the roles that this needs in the cluster, and stop
    #[arg(long)]
    print_rbac: bool,
}

/// A look at a cluster.
pub(super) struct Look {
    pub(super) report: Report,
    /// Containerfiles by pool.
    containerfiles: BTreeMap<String, String>,
    /// Names of MachineOSConfigs by pool.
    configs: BTreeMap<String, String>,
}

impl StatusArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        if self.print_rbac {
            return print_roles(self.task(), &[], terminal);
        }
        let task = self.task();
        let logs = self.save_logs;
        let access = self.access.access();
        let pause = Duration::from_secs(self.interval);
        runtime()?.block_on(async {
            let server = Server::new(&access, task).await?;
            let snapshot = server.snapshot().await?;
            let look = Look::of(&snapshot);
            let mut outcome = look.show(logs.as_deref(), &server, terminal).await?;
            if !self.watch {
                return Ok(outcome);
            }
            let mut shown = look.report.in_short();
            let mut follow = Follow::new(&server, pause, terminal, Some(snapshot));
            while shown.is_on_its_way() {
                let look = Look::of(follow.next().await?);
                let now = look.report.in_short();
                if now != shown {
                    outcome = look.show(logs.as_deref(), &server, terminal).await?;
                    shown = now;
                }
            }
            Ok(outcome)
        })
    }

    fn task(&self) -> Task {
        match self.watch {
            true => Task::Watch,
            false => Task::Status,
        }
    }
}

/// Asks the cluster once.
pub(super) async fn look(server: &Server) -> Result<Look> {
    Ok(Look::of(&server.snapshot().await?))
}

impl Look {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let texts = snapshot.configs.iter().filter_map(|config| {
            let pool = config.spec.machine_config_pool.name.clone();
            Some((pool, config.containerfile()?.to_owned()))
        });
        let names = snapshot.configs.iter();
        let names = names.map(|config| (config.pool().to_owned(), config.name().to_owned()));
        Self {
            report: judge(snapshot),
            containerfiles: texts.collect(),
            configs: names.collect(),
        }
    }

    /// What the MachineOSConfig of a pool is called.
    pub(super) fn config_of(&self, pool: &str) -> Option<&str> {
        self.configs.get(pool).map(String::as_str)
    }

    /// A pool by its name.
    pub(super) fn pool(&self, name: &str) -> Result<&PoolReport> {
        let mut pools = self.report.pools.iter();
        pools.find(|pool| pool.name == name).ok_or_else(|| {
            let pools = self.report.pools.iter();
            let names: Vec<String> = pools.map(|pool| visible(&pool.name)).collect();
            Failure::new(
                format!("the cluster has no pool {name:?}"),
                format!("it has {}", names.join(", ")),
            )
            .into()
        })
    }

    /// Tells all of it; `logs` is where logs of failed builds are kept.
    pub(super) async fn show(
        &self,
        logs: Option<&Path>,
        server: &Server,
        terminal: &Terminal,
    ) -> Result<Outcome> {
        let (value, text) = self.tell(logs, server, terminal).await?;
        terminal.result(&value, &text)?;
        Ok(match self.report.needs_somebody() {
            true => Outcome::Doubtful,
            false => Outcome::Done,
        })
    }

    /// All of it, for machines and for people.
    pub(super) async fn tell(
        &self,
        logs: Option<&Path>,
        server: &Server,
        terminal: &Terminal,
    ) -> Result<(Value, String)> {
        let report = &self.report;
        let mut told = Vec::new();
        for pool in &report.pools {
            let containerfile = self.containerfiles.get(&pool.name).map(String::as_str);
            told.push(Told::of(pool, containerfile, logs, server).await?);
        }
        let value = value(report, &told, server.spent());
        let text = text(report, &told, server.spent(), terminal);
        Ok((value, text))
    }
}
