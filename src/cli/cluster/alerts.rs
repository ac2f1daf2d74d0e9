//! `coreos-bake cluster alerts`: objects that have the cluster itself call somebody.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::terminal::Terminal;
use crate::cli::{Outcome, Usage};
use crate::cluster::ToolImage;
use crate::cluster::alerts::{AlertOptions, Claim, Namespace, Schedule, Watch, objects};
use crate::foreign::visible;
use crate::openshift::yaml;
use crate::progress::Progress;
use crate::staging::Staging;

/// Print objects with which the cluster's own monitoring calls somebody
///
/// An AlertingRule for what the cluster's Prometheus can tell: a build that failed or
/// is never over, and machines that are left behind. With --image also a CronJob that
/// looks for what has no metric, such as an edit that is in no image, and an alert on
/// what it finds. Asks the cluster nothing; `oc apply -f -` takes what is printed.
#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    /// Image with coreos-bake on its PATH, for a CronJob that runs `cluster status`
    ///
    /// None is published: docs/cluster.md has a Containerfile.
    #[arg(long, value_name = "NAME")]
    image: Option<ToolImage>,
    /// When the CronJob runs
    #[arg(
        long,
        value_name = "CRON",
        default_value = "*/15 * * * *",
        requires = "image"
    )]
    schedule: Schedule,
    /// Namespace for the CronJob that is there already
    ///
    /// Without it, the namespace coreos-bake is made.
    #[arg(long, value_name = "NAME", requires = "image")]
    namespace: Option<Namespace>,
    /// PersistentVolumeClaim that keeps the logs of failed builds
    #[arg(long, value_name = "CLAIM", requires = "image")]
    save_logs_claim: Option<Claim>,
    /// Write the objects to FILE instead
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

impl AlertsArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let options = AlertOptions {
            watch: self.image.map(|image| Watch {
                image,
                schedule: self.schedule,
                namespace: self.namespace,
                logs_claim: self.save_logs_claim,
            }),
        };
        let objects = objects(&options);
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let text: String = objects
            .iter()
            .map(|object| format!("---\n{}", yaml(object)))
            .collect();
        match &self.output {
            None => terminal.result(&list, &text)?,
            Some(path) => {
                let text = match terminal.is_json() {
                    true => serde_json::to_string_pretty(&list).context("writing JSON")? + "\n",
                    false => text,
                };
                write(path, &text, self.force)?;
                terminal.result(&told(path, &objects), &shown(path, &objects))?;
            }
        }
        if options.watch.is_none() {
            terminal.warn(
                "nothing looks for what has no metric: edits that are in no image, builds that are refused or not \
                 begun, nodes that differ, pools that releases don't reach. --image names an image for a CronJob that does",
            );
        }
        Ok(Outcome::Done)
    }
}

/// Writes the file whole, or not at all.
fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.map(str::to_owned) else {
        let shown = path.display();
        return Err(Usage::new(format!("{shown} can't be the name of a file")).into());
    };
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    let staging = Staging::new(directory.unwrap_or(Path::new(".")), force)?;
    staging.check_free([&*name])?;
    let write = |mut file: File| Ok(file.write_all(text.as_bytes())?);
    let written = staging.create(&name).and_then(write);
    written
        .with_context(|| format!("writing {}", path.display()))
        .map_err(|error| staging.room().explain(error, text.len() as u64))?;
    staging.publish(&[name])
}

fn told(path: &Path, objects: &[Value]) -> Value {
    json!({ "schema": "coreos-bake/cluster-alerts/v1", "file": path, "objects": objects.len() })
}

fn shown(path: &Path, objects: &[Value]) -> String {
    let count = super::words::counted(objects.len(), "object");
    let path = visible(&path.display().to_string());
    format!("{path} has {count}; `oc apply -f {path}` has the cluster take them\n")
}
