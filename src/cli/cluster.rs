//! `coreos-bake cluster`: pools that on-cluster layering builds.

mod alerts;
mod asking;
mod drivers;
mod entitle;
mod handoff;
mod patience;
mod pools;
mod retry;
mod revert;
mod status;
mod words;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::Outcome;
use super::terminal::Terminal;
use crate::cluster::{Access, Task};
use crate::openshift::is_subdomain;

/// Look after pools that on-cluster layering builds
///
/// On-cluster layering has OpenShift build the image of a pool from a Containerfile,
/// again for each release. The cluster does that by itself. These commands set it
/// up so that no node starts without its driver, tell what the cluster doesn't tell,
/// have a failed build go on, and go back.
#[derive(Debug, Args)]
pub(super) struct ClusterCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Handoff(Box<handoff::HandoffArgs>),
    Status(status::StatusArgs),
    Retry(retry::RetryArgs),
    Revert(Box<revert::RevertArgs>),
    Alerts(alerts::AlertsArgs),
    Entitle(entitle::EntitleArgs),
}

impl ClusterCommand {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        match self.what {
            What::Handoff(args) => args.run(terminal),
            What::Status(args) => args.run(terminal),
            What::Retry(args) => args.run(terminal),
            What::Revert(args) => args.run(terminal),
            What::Alerts(args) => args.run(terminal),
            What::Entitle(args) => args.run(terminal),
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
    fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }
}

/// A name that an object of a cluster can have; it may become that of a file.
fn object_name(text: &str) -> Result<String, String> {
    match is_subdomain(text) {
        true => Ok(text.to_owned()),
        false => Err("small letters, digits, and - and . between them make a name".to_owned()),
    }
}

/// What to do where a signal has ended a command that changes a cluster.
fn way_on(command: &str) -> String {
    format!(
        "the cluster keeps what it was told (`coreos-bake cluster status`); the same `cluster {command}` goes on from there"
    )
}

/// What requests run on. There are a few, one after the other.
fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .context("starting to talk to the cluster")
}

/// Prints the roles that a task needs for the pools that it is about.
fn print_roles(task: Task, pools: &[String], terminal: &Terminal) -> Result<Outcome> {
    let roles = task.roles(pools);
    let value = json!({ "schema": "coreos-bake/roles/v1", "items": roles });
    let documents = roles.iter().map(|role| {
        let yaml = serde_saphyr::to_string(role).context("writing YAML");
        yaml.map(|yaml| format!("---\n{yaml}"))
    });
    let text: String = documents.collect::<Result<_>>()?;
    terminal.result(&value, &text)?;
    Ok(Outcome::Done)
}
