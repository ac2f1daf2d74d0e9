//! `coreos-bake cluster retry`: have a pool's image built again, and see it to its end.

use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;

use super::patience::Follow;
use super::status::{self, Look};
use super::words::counted;
use super::{AccessArgs, print_roles, runtime};
use crate::cli::Outcome;
use crate::cli::terminal::Terminal;
use crate::cluster::{PoolReport, Server, State, Task};
use crate::failure::Failure;
use crate::foreign::visible;
use crate::progress::Progress;

/// Have the image of a pool built again, and see it to its end
///
/// For a build that failed for a reason outside of the Containerfile, such as a
/// repository that was down, and for an edit that is in no image. Says so if
/// something else helps. If all goes well, nodes go to the new image by themselves.
/// Exits with 3 if the build fails again.
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// The pool
    #[arg(value_name = "POOL", required_unless_present = "print_rbac")]
    pool: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
    /// Build a good image again, or begin a running build anew
    ///
    /// All nodes of the pool are drained and restarted, one after the other, for an
    /// image that may have the same content.
    #[arg(long)]
    rebuild: bool,
    /// Stop once the cluster was told
    #[arg(long)]
    no_wait: bool,
    /// Seconds between two looks at the build
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Keep the log of the build in DIR if it fails again
    #[arg(long, value_name = "DIR")]
    save_logs: Option<std::path::PathBuf>,
    /// Print the roles that this needs in the cluster, and stop
    #[arg(long)]
    print_rbac: bool,
}

impl RetryArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let Some(pool) = self.pool.as_deref().filter(|_| !self.print_rbac) else {
            return print_roles(Task::Retry, &[], terminal);
        };
        let access = self.access.access();
        runtime()?.block_on(async {
            let server = Server::new(&access, Task::Retry).await?;
            server.require_rights().await?;
            let before = status::look(&server).await?;
            let found = before.pool(pool)?;
            permit(found, self.rebuild)?;
            let nodes = found.nodes;
            let old = found.current_build.clone();
            terminal.way_on(
                "the build goes on in the cluster: `coreos-bake cluster status` tells how".to_owned(),
            );
            server.rebuild(before.config_of(pool).unwrap_or(pool)).await?;
            let name = visible(pool);
            if self.no_wait {
                let value = json!({ "schema": "coreos-bake/cluster-retry/v1", "pool": pool, "state": "told" });
                terminal.result(&value, &format!("{name}: the cluster was told to build\n"))?;
                return Ok(Outcome::Done);
            }
            let pause = Duration::from_secs(self.interval);
            let after = follow(&server, pool, old.as_deref(), pause, terminal).await?;
            let found = after.pool(pool)?;
            if found.state.needs_somebody() {
                return after.show(self.save_logs.as_deref(), &server, terminal).await;
            }
            let value = json!({
                "schema": "coreos-bake/cluster-retry/v1", "pool": pool, "state": "built", "image": found.image,
            });
            let text = format!(
                "{name}: built{}; {} go to it one after the other\n",
                if found.is_paused { ", and the pool is paused" } else { "" },
                counted(nodes, "node"),
            );
            terminal.result(&value, &text)?;
            Ok(Outcome::Done)
        })
    }
}

/// Refuses where a build would not help, or would cost more than was said.
fn permit(pool: &PoolReport, rebuild: bool) -> Result<()> {
    let name = visible(&pool.name);
    let refuse = |sentence: &str, hint: &str| {
        Err(Failure::new(format!("{name}: {sentence}"), hint.to_owned()).into())
    };
    let status = "`coreos-bake cluster status` tells more";
    match pool.state {
        _ if !pool.is_layered => refuse(
            "no image is built for this pool: it has no MachineOSConfig",
            status,
        ),
        State::BuildRefused => refuse(
            "the Containerfile was refused, and would be again",
            "`coreos-bake cluster handoff POOL --containerfile FILE` builds a mended one",
        ),
        State::BuildNotBegun => refuse(
            "the build is not begun, and another would not be either",
            "mend the secret or the builder; the build begins within a minute then. `coreos-bake cluster status` tells which",
        ),
        State::BuildNotRecorded => refuse(
            "the image's name can't be recorded, nor could that of another build",
            "`coreos-bake cluster handoff POOL --push-spec IMAGE` gives it another",
        ),
        State::BuildFailed | State::EditLost | State::BuildHangs | State::PodNotStarted => Ok(()),
        State::Building | State::EditBuilding if !rebuild => refuse(
            "a build is running",
            "wait for it, or begin it anew with --rebuild",
        ),
        _ if !rebuild => Err(Failure::new(
            format!(
                "{name}: the last build was good; another one restarts {}",
                counted(pool.nodes, "node")
            ),
            "say --rebuild if that is what you want",
        )
        .into()),
        _ => Ok(()),
    }
}

/// Looks until the build that takes the place of `old` has ended. It has the same name and another identity,
/// or another name if the pool's configuration changes meanwhile.
async fn follow(
    server: &Server,
    pool: &str,
    old: Option<&str>,
    pause: Duration,
    progress: &dyn Progress,
) -> Result<Look> {
    let mut told = None;
    progress.begin("waiting for the build to begin", 0);
    let mut follow = Follow::new(server, pause, progress, None);
    loop {
        let look = Look::of(follow.next().await?);
        let found = look.pool(pool)?;
        if !found.is_layered {
            return Err(anyhow!(
                "{}: its MachineOSConfig was removed meanwhile",
                visible(pool)
            ));
        }
        let is_new = found.current_build.is_some() && found.current_build.as_deref() != old;
        if is_new && !matches!(found.state, State::Building | State::EditBuilding) {
            progress.end();
            return Ok(look);
        }
        if is_new && told != found.current_build {
            told.clone_from(&found.current_build);
            progress.end();
            let build = found
                .build
                .as_ref()
                .map_or("an image", |build| &*build.name);
            progress.begin(&format!("building {}", visible(build)), 0);
        }
    }
}
