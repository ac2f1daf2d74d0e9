//! `coreos-bake check`: is the driver there, at every stage?

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::Outcome;
use super::image_args::ImageArgs;
use super::table::Table;
use super::terminal::Terminal;
use crate::containerfile::{self, Remark, Severity, Wanted};
use crate::kernel;
use crate::media::{LIVE, Medium, Presence, Source, check_drivers, repair};

/// How much of a Containerfile is read: more than is taken, so that it is refused for its size.
const CONTAINERFILE_READ_BYTES: u64 = 2 << 20;

/// Tell whether drivers are there, at each stage of a boot
///
/// IMAGE is an image as for bake, or a medium: an ISO, a raw or qcow2 disk
/// image, or a directory with a PXE set. A Containerfile is read as on-cluster
/// layering would build it (spec.containerFile of a MachineOSConfig): what in
/// it loses drivers or breaks the build.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Image or medium to look into
    #[arg(value_name = "IMAGE|MEDIUM", required_unless_present = "containerfile")]
    subject: Option<String>,
    /// Kernel module to look for
    #[arg(
        long = "driver",
        value_name = "NAME",
        required_unless_present = "containerfile"
    )]
    drivers: Vec<String>,
    /// Containerfile of the pool that the node will be in
    #[arg(long, value_name = "FILE")]
    containerfile: Option<PathBuf>,
    #[command(flatten)]
    access: ImageArgs,
}

/// Drivers in the files of a boot.
struct Boot {
    release: String,
    drivers: Vec<Presence>,
}

/// What is wrong with a Containerfile.
#[derive(Serialize)]
struct Lint {
    path: PathBuf,
    remarks: Vec<Remark>,
}

impl CheckArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let boot = match &self.subject {
            Some(subject) => Some(self.look_into(subject, terminal)?),
            None => None,
        };
        let release = boot.as_ref().map(|boot| &*boot.release);
        let lint = match &self.containerfile {
            Some(path) => Some(self.lint(path, release)?),
            None => None,
        };
        let drivers = boot.as_ref().map_or(&[][..], |boot| &boot.drivers);
        let hint = repair(drivers);
        let complete = drivers.iter().all(|p| p.finding.is_present())
            && lint.as_ref().is_none_or(Lint::is_harmless);
        let value = json!({
            "schema": "coreos-bake/check/v1",
            "subject": self.subject,
            "kernel": release,
            "complete": complete,
            "drivers": drivers,
            "hint": hint,
            "containerfile": lint,
        });
        let mut parts = Vec::new();
        if let Some(release) = release
            && !self.drivers.is_empty()
        {
            let table = presence_table(drivers, terminal);
            parts.push(format!("kernel {release}\n\n{table}"));
        }
        parts.extend(hint.map(|hint| format!("hint: {hint}\n")));
        parts.extend(lint.map(|lint| lint.text(terminal)));
        terminal.result(&value, &parts.join("\n"))?;
        Ok(match complete {
            true => Outcome::Done,
            false => Outcome::Failed,
        })
    }

    fn look_into(&self, subject: &str, terminal: &Terminal) -> Result<Boot> {
        let path = Path::new(subject);
        if Medium::is_medium(path) {
            let medium = Medium::open(path)?;
            let root = medium.root();
            let release = kernel::release_in(root)?;
            let (initrd, stages) = (medium.initrd(), medium.stages());
            let drivers = check_drivers(initrd, root, &release, &self.drivers, stages)?;
            return Ok(Boot { release, drivers });
        }
        let reference = subject
            .parse()
            .with_context(|| format!("{subject} is neither a medium nor an image"))?;
        let scratch = std::env::temp_dir();
        let options = self.access.read_options(&scratch, None);
        let source = Source::read(&reference, &options, &scratch, terminal)?;
        let kernel = &source.facts.kernel;
        let (initramfs, root) = (&kernel.initramfs, &source.imported.tree);
        let drivers = check_drivers(initramfs, root, &kernel.release, &self.drivers, &LIVE)?;
        let release = kernel.release.clone();
        Ok(Boot { release, drivers })
    }

    fn lint(&self, path: &Path, release: Option<&str>) -> Result<Lint> {
        let mut content = Vec::new();
        File::open(path)
            .and_then(|file| {
                file.take(CONTAINERFILE_READ_BYTES)
                    .read_to_end(&mut content)
            })
            .with_context(|| format!("reading {}", path.display()))?;
        let wanted = Wanted {
            drivers: &self.drivers,
            kernel: release,
        };
        Ok(Lint {
            path: path.to_owned(),
            remarks: containerfile::lint(&content, &wanted),
        })
    }
}

impl Lint {
    /// Whether the cluster would build from it, and keep the drivers.
    fn is_harmless(&self) -> bool {
        self.remarks.iter().all(|r| r.severity != Severity::Error)
    }

    /// A line for each remark, as compilers print them.
    fn text(&self, terminal: &Terminal) -> String {
        let path = self.path.display();
        let mut text = String::new();
        for remark in &self.remarks {
            let severity = match remark.severity {
                Severity::Error => terminal.bad("error"),
                Severity::Warning => "warning".to_owned(),
                Severity::Note => "note".to_owned(),
            };
            let line = remark
                .line
                .map_or_else(String::new, |line| format!(":{line}"));
            let Remark { message, rule, .. } = remark;
            text += &format!("{path}{line}: {severity}: {message} ({rule})\n");
            if let Some(hint) = &remark.hint {
                text += &format!("  hint: {hint}\n");
            }
        }
        if self.is_harmless() {
            let good = terminal.good("✓");
            text += &format!("{good} {path}: nothing keeps the cluster from building it\n");
        }
        text
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
