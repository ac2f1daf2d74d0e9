//! `coreos-bake check`: is the driver there, at every stage?

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::Outcome;
use super::image_args::ImageArgs;
use super::table::Table;
use super::terminal::Terminal;
use crate::kernel;
use crate::media::{LIVE, Medium, Presence, Source, check_drivers, repair};

/// Tell whether drivers are there, at each stage of a boot
///
/// IMAGE is an image as for bake, or a medium: an ISO, a raw or qcow2 disk
/// image, or a directory with a PXE set.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Image or medium to look into
    #[arg(value_name = "IMAGE|MEDIUM")]
    subject: String,
    /// Kernel module to look for
    #[arg(long = "driver", value_name = "NAME", required = true)]
    drivers: Vec<String>,
    #[command(flatten)]
    access: ImageArgs,
}

impl CheckArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let path = Path::new(&self.subject);
        let (release, table) = if Medium::is_medium(path) {
            let medium = Medium::open(path)?;
            let root = medium.root();
            let release = kernel::release_in(root)?;
            let table = check_drivers(
                medium.initrd(),
                root,
                &release,
                &self.drivers,
                medium.stages(),
            )?;
            (release, table)
        } else {
            let reference = self
                .subject
                .parse()
                .with_context(|| format!("{} is neither a medium nor an image", self.subject))?;
            let scratch = std::env::temp_dir();
            let options = self.access.read_options(&scratch, None);
            let source = Source::read(&reference, &options, &scratch, terminal)?;
            let kernel = &source.facts.kernel;
            let table = check_drivers(
                &kernel.initramfs,
                &source.imported.tree,
                &kernel.release,
                &self.drivers,
                &LIVE,
            )?;
            (kernel.release.clone(), table)
        };
        let complete = table.iter().all(|p| p.finding.is_present());
        let hint = repair(&table);
        let value = json!({
            "schema": "coreos-bake/check/v1",
            "subject": self.subject,
            "kernel": release,
            "complete": complete,
            "drivers": table,
            "hint": hint,
        });
        let mut text = format!("kernel {release}\n\n{}", presence_table(&table, terminal));
        if let Some(hint) = hint {
            text += &format!("\nhint: {hint}\n");
        }
        terminal.result(&value, &text)?;
        Ok(match complete {
            true => Outcome::Done,
            false => Outcome::Failed,
        })
    }
}

/// Drivers by stages, with what was found.
pub(super) fn presence_table(table: &[Presence], terminal: &Terminal) -> String {
    let mut lines = Table::new(["DRIVER", "STAGE", "", "FOUND"]);
    for presence in table {
        let mark = match presence.finding.is_present() {
            true => terminal.good("✓"),
            false => terminal.bad("✗"),
        };
        lines.row([
            presence.driver.clone(),
            presence.stage.name().to_owned(),
            mark,
            presence.finding.to_string(),
        ]);
    }
    lines.render()
}
