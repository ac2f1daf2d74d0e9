//! What commands that go on from a bake ask of its record first.

use anyhow::Result;
use clap::Args;

use super::Outcome;
use super::terminal::Terminal;
use crate::failure::Failure;
use crate::hosts::Host;
use crate::openshift::Role;
use crate::progress::Progress;
use crate::record::Record;
use crate::stages::Stage;

#[derive(Debug, Args)]
pub(super) struct BakedArgs {
    /// Go on if the media lack a driver, and exit with 3
    #[arg(long)]
    pub(super) allow_missing_driver: bool,
}

impl BakedArgs {
    /// Whether the media have all of `drivers`, by what their record says. `bootstraps` tells whether a
    /// bootstrap machine boots them.
    pub(super) fn check(
        &self,
        record: &Record,
        drivers: &[&str],
        bootstraps: bool,
        terminal: &Terminal,
    ) -> Result<Outcome> {
        if bootstraps && record.options.nodes_only {
            return Err(Failure::new(
                "the media were baked for nodes only, and a bootstrap machine is to boot them",
                "bake without --nodes-only, or name the machines that boot them (--role, or the inventory)",
            )
            .into());
        }
        let Some((fault, hint)) = fault(record, drivers, bootstraps) else {
            return Ok(Outcome::Done);
        };
        if self.allow_missing_driver {
            terminal.warn(&fault);
            return Ok(Outcome::Doubtful);
        }
        let hint = format!("{hint}, or take the media as they are with --allow-missing-driver");
        Err(Failure::new(fault, hint).into())
    }

    /// The same for all drivers that were looked for, and machines of an inventory.
    pub(super) fn check_hosts(
        &self,
        record: &Record,
        hosts: &[Host],
        terminal: &Terminal,
    ) -> Result<Outcome> {
        let drivers = record.driver_names();
        let drivers: Vec<&str> = drivers.iter().map(String::as_str).collect();
        let bootstraps = hosts
            .iter()
            .any(|host| host.role.as_deref() == Some(Role::Bootstrap.as_str()));
        self.check(record, &drivers, bootstraps, terminal)
    }
}

/// What is wrong with the drivers or with what roots are mounted with, and what can be done about it.
fn fault(record: &Record, drivers: &[&str], bootstraps: bool) -> Option<(String, String)> {
    let unmounted = record.mounts.iter().filter(|row| row.fails());
    let unmounted: Vec<String> = unmounted
        .map(|row| format!("{} at {}", row.driver, row.stage.name()))
        .collect();
    if !unmounted.is_empty() {
        return Some((
            format!("the media can't mount their root: {}", unmounted.join("; ")),
            "bake an image that can (coreos-bake check says what keeps it out)".to_owned(),
        ));
    }
    let mut missing = Vec::new();
    for driver in drivers {
        let stages = record.missing(driver).into_iter();
        let stages: Vec<&str> = stages
            .filter(|stage| bootstraps || *stage != Stage::Bootstrap)
            .map(Stage::name)
            .collect();
        if !stages.is_empty() {
            missing.push(format!("{driver} at {}", stages.join(", ")));
        }
    }
    if !missing.is_empty() {
        return Some((
            format!("the media lack drivers: {}", missing.join("; ")),
            "bake an image that has them (coreos-bake check says what is wrong)".to_owned(),
        ));
    }
    let mut unknown = drivers.iter().filter(|driver| !record.knows(driver));
    let driver = unknown.next()?;
    Some((
        format!("nobody looked for driver {driver} when the media were baked"),
        format!("bake again with --driver {driver}"),
    ))
}
