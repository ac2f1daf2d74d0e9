//! `coreos-bake hosts`: media for each machine of an inventory.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use serde_json::json;

use super::Outcome;
use super::baked::BakedArgs;
use super::table::Table;
use super::terminal::Terminal;
use super::values::checked_url;
use crate::failure::Failure;
use crate::hosts::Inventory;
use crate::kernel::some_of;
use crate::media::{HostFile, HostsPlan, HostsRequest};
use crate::paragraph::hanging;
use crate::progress::Progress;
use crate::record::Record;
use crate::staging::{Room, Staging, check_writable};

/// Make media for each machine of an inventory
///
/// Takes what bake has written to DIR and the machines in FILE, and writes an ISO
/// for each machine, or one tree for network boot that tells machines apart by
/// their hardware addresses. FILE is YAML or CSV: name, mac, role, disk, ignition,
/// network settings and kernel arguments of each; see docs/hosts.md. Large files
/// share their blocks with those in DIR where the file system can.
#[derive(Debug, Args)]
pub(super) struct HostsArgs {
    /// Directory that bake has written
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Inventory of machines: .yaml or .csv
    #[arg(value_name = "FILE")]
    inventory: PathBuf,
    /// What to make: iso, pxe, or all
    ///
    /// iso: NAME.iso for each machine. pxe: one tree for web and TFTP servers, with
    /// files for iPXE, GRUB and PXELINUX.
    #[arg(
        short = 'f',
        long = "media",
        value_name = "LIST",
        value_delimiter = ',',
        ignore_case = true,
        default_value = "pxe",
        hide_possible_values = true
    )]
    media: Vec<Medium>,
    /// Where machines will find the tree: http://… or https://…
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    baked: BakedArgs,
    /// Directory to write to [default: DIR]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Check everything, print what would be written and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Medium {
    All,
    Iso,
    Pxe,
}

impl HostsArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let (directory, inventory) = (&self.directory, &self.inventory);
        if directory.is_file() && inventory.is_dir() {
            return Err(Failure::new(
                format!(
                    "{} is a directory, and an inventory is a file",
                    inventory.display()
                ),
                format!(
                    "the directory comes first: coreos-bake hosts {} {}",
                    inventory.display(),
                    directory.display()
                ),
            )
            .into());
        }
        let wants = |medium| self.media.contains(&medium) || self.media.contains(&Medium::All);
        let (iso, pxe) = (wants(Medium::Iso), wants(Medium::Pxe));
        if pxe && self.url.is_none() {
            return Err(Failure::new(
                "a tree for network boot needs --url: machines fetch files by it",
                "say where a web server will offer the output directory, or make ISOs with `-f iso`",
            )
            .into());
        }
        if let Some(url) = &self.url {
            checked_url(url)?;
        }
        let output = self.output.unwrap_or_else(|| self.directory.clone());
        let request = HostsRequest {
            directory: self.directory,
            inventory: Inventory::read(&self.inventory)?,
            iso,
            pxe_url: self.url.filter(|_| pxe),
            force: self.force,
        };
        let hosts = &request.inventory.hosts;
        let record = Record::read(&request.directory)?;
        let outcome = self.baked.check_hosts(&record, hosts, terminal)?;
        let room = Room::of(&output);
        let staging = match self.dry_run {
            true => {
                check_writable(&output)?;
                None
            }
            false => Some(Staging::new(&output, self.force)?),
        };
        let plan = HostsPlan::new(&request, &output)?;
        let installing = || hosts.iter().filter(|host| host.disk.is_some());
        let erased = installing().count();
        let without: Vec<&str> = installing()
            .filter(|host| host.ignition.is_none())
            .map(|host| host.name.as_str())
            .collect();
        let warnings = warnings(erased, &without);
        let needed = plan.needed_bytes();
        let files = match staging {
            None => plan.files,
            Some(staging) => plan.execute(staging, terminal)?,
        };
        let value = json!({
            "schema": "coreos-bake/hosts/v1",
            "output": output,
            "written": !self.dry_run,
            "files": files,
            "installed-without-ignition": without,
            "warnings": warnings,
            "needed-bytes": needed,
            "free-bytes": room.free_bytes(),
        });
        let verb = match self.dry_run {
            true => "would be written to",
            false => "written to",
        };
        let columns = terminal.columns();
        let end = format!("{} files {verb} {}", files.len(), output.display());
        let mut text = format!(
            "{}\n{}",
            table(&files).render(columns),
            hanging("", &end, columns)
        );
        if self.dry_run {
            let what = "if no file shares its blocks with the bake's";
            text += &hanging("", &room.told(needed, what), columns);
        }
        terminal.result(&value, &text)?;
        for warning in &warnings {
            terminal.warn(warning);
        }
        Ok(outcome)
    }
}

/// What somebody should know before machines boot: how many are erased, and which are installed without an
/// Ignition config.
fn warnings(erased: usize, without: &[&str]) -> Vec<String> {
    let mut warnings = Vec::new();
    if !without.is_empty() {
        warnings.push(format!(
            "the inventory has no Ignition config for machines that install, so they join no cluster \
             unless the media have one: {}",
            some_of(without)
        ));
    }
    match erased {
        0 => {}
        1 => warnings.push(
            "one machine installs when it boots from these, and erases its disk without asking"
                .to_owned(),
        ),
        _ => warnings.push(format!(
            "{erased} machines install when they boot from these, and erase their disks without asking"
        )),
    }
    warnings
}

fn table(files: &[HostFile]) -> Table {
    let mut table = Table::new(["HOST", "FILE", "SIZE", "WHAT"]);
    for file in files {
        let what = match file.shares_blocks {
            Some(true) => format!("{}, shares blocks", file.role),
            _ => file.role.clone(),
        };
        let host = file.host.as_deref().unwrap_or("all");
        table.row([
            host.to_owned(),
            file.name.clone(),
            HumanBytes(file.size).to_string(),
            what,
        ]);
    }
    table
}
