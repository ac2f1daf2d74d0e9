//! `coreos-bake cluster revert`: back to the release's own image, unless a node would not come back.

mod drivers;
mod plan;
mod run;
mod under_way;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{AccessArgs, object_name, print_roles, runtime};
use crate::cli::Outcome;
use crate::cli::image_args::ImageArgs;
use crate::cli::terminal::Terminal;
use crate::cluster::{Server, Task};
use crate::image::ImageRef;
use crate::kernel::DriverName;

/// Send a pool back to the release's own image
///
/// Tells first what it costs, and looks whether the release's own image has the
/// drivers that the nodes can't start without; if it lacks one, or none is known,
/// nothing is done. The MachineOSConfig is saved, to come back by. Then it waits
/// until all nodes are back. Whatever stops it, the same command goes on from there.
/// Exits with 3 if a node can't take it.
#[derive(Debug, Args)]
pub(super) struct RevertArgs {
    /// The pool
    #[arg(value_name = "POOL", required_unless_present = "print_rbac", value_parser = object_name)]
    pool: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
    /// Kernel modules without which nodes can't start
    ///
    /// Those that `handoff` and `prepare` have left in the cluster are known.
    #[arg(
        long = "driver",
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "no_driver"
    )]
    drivers: Vec<DriverName>,
    /// The same from the record of a bake
    #[arg(long, value_name = "FILE", conflicts_with = "no_driver")]
    bake_json: Option<PathBuf>,
    /// No driver is needed that the release's own image could lack
    #[arg(long)]
    no_driver: bool,
    /// The release's own image, if it is not where the cluster has it
    #[arg(long, value_name = "IMAGE", value_parser = ImageRef::named)]
    stock_image: Option<ImageRef>,
    /// Go back although nodes lose a driver, or nobody knows
    #[arg(long)]
    allow_driver_loss: bool,
    /// Where the MachineOSConfig is saved; POOL.machineosconfig.yaml if not given
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Tell what it costs, and whether it would be done
    #[arg(long)]
    dry_run: bool,
    /// Don't ask for the pool's name
    #[arg(short, long)]
    yes: bool,
    /// Stop once the cluster was told
    #[arg(long)]
    no_wait: bool,
    /// Seconds between two looks at the nodes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print the roles that this needs in the cluster, and stop
    #[arg(long)]
    print_rbac: bool,
    #[command(flatten)]
    image: ImageArgs,
}

impl RevertArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let Some(pool) = self.pool.as_deref().filter(|_| !self.print_rbac) else {
            return print_roles(Task::Revert, &[], terminal);
        };
        let named = drivers::named(&self)?;
        let runtime = runtime()?;
        let server = runtime.block_on(Server::new(&self.access.access(), Task::Revert))?;
        runtime.block_on(server.require_rights())?;
        under_way::Revert {
            pool,
            named,
            options: &self,
            server,
            runtime,
            terminal,
        }
        .run()
    }
}
