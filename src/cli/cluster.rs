//! `coreos-bake cluster`: pools that on-cluster layering builds.

mod retry;
mod status;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::Outcome;
use super::terminal::Terminal;
use crate::cluster::{Access, Task};

/// Look after pools that on-cluster layering builds
///
/// On-cluster layering has OpenShift build the image of a pool from a Containerfile,
/// again for each release. The cluster does that by itself; this tells what the
/// cluster doesn't tell.
#[derive(Debug, Args)]
pub(super) struct ClusterCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Status(status::StatusArgs),
    Retry(retry::RetryArgs),
}

impl ClusterCommand {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        match self.what {
            What::Status(args) => args.run(terminal),
            What::Retry(args) => args.run(terminal),
        }
    }
}

/// Which cluster
#[derive(Debug, Args)]
struct AccessArgs {
    /// Kubeconfig of the cluster
    ///
    /// Without it, what KUBECONFIG names, or ~/.kube/config; in a pod, its service
    /// account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig, if not its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl AccessArgs {
    fn access(self) -> Access {
        Access {
            kubeconfig: self.kubeconfig,
            context: self.context,
        }
    }
}

/// What requests run on. There are a few, one after the other.
fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .context("starting to talk to the cluster")
}

/// Prints the roles that a task needs.
fn print_roles(task: Task, terminal: &Terminal) -> Result<Outcome> {
    let roles = task.roles();
    let value = json!({ "schema": "coreos-bake/roles/v1", "items": roles });
    let documents = roles.iter().map(|role| {
        let yaml = serde_saphyr::to_string(role).context("writing YAML");
        yaml.map(|yaml| format!("---\n{yaml}"))
    });
    let text: String = documents.collect::<Result<_>>()?;
    terminal.result(&value, &text)?;
    Ok(Outcome::Done)
}
