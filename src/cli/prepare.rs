//! `coreos-bake prepare`: have openshift-install install what was baked.

mod bake;
#[cfg(test)]
mod commands;
mod paths;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::table::Table;
use super::terminal::Terminal;
use super::{Outcome, read_up_to};
use crate::failure::Failure;
use crate::openshift::directory::{Directory, Edit, Plan, undo};
use crate::openshift::{
    BootImages, DayTwo, Derivation, Driver, FIRMWARE_MAX_BYTES, Firmware, Note, Objects,
    PushSecret, PushSpec, Release, Request, RequestError, Role, Seed, objects,
};
use crate::staging::Staging;
use bake::Bake;
use paths::PathArgs;

/// A list of a driver's.
type ListOf = fn(&mut Driver) -> &mut Vec<String>;

/// Longest Containerfile and longest push secret that are read; the cluster takes less.
const INPUT_MAX_BYTES: u64 = 1 << 20;

/// Have openshift-install install what was baked
///
/// DIR is the directory that openshift-install was given. After `create manifests`,
/// adds MachineConfigs with the nodes' image, kernel arguments and drivers. After
/// `create ignition-configs` (of a single node: `create single-node-ignition-config`),
/// puts the drivers into the Ignition configs; run it both times. For an agent-based
/// installation, run it before `agent create image`. What the nodes could not come up
/// with is refused, and nothing is changed then. With --path, prints all steps of an
/// installation instead; DIR need not be there yet.
#[derive(Debug, Args)]
pub(super) struct PrepareArgs {
    /// Install directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Release of OpenShift, such as 4.19 or 4.19.3
    #[arg(long, required_unless_present = "undo")]
    release: Option<Release>,
    /// What bake has written: its directory, or bake.json
    ///
    /// Names the image and the drivers, unless the options below do.
    #[arg(long, value_name = "PATH")]
    bake: Option<PathBuf>,
    /// Image that nodes run, by digest: NAME@sha256:…
    #[arg(long, value_name = "IMAGE")]
    os_image: Option<String>,
    /// Machines that boot the media [default: all of DIR]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// Kernel argument of the nodes
    #[arg(long = "karg-append", value_name = "ARG")]
    kargs: Vec<String>,
    #[command(flatten)]
    path: PathArgs,
    #[command(flatten)]
    drivers: DriverArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// The image can be pulled without credentials
    #[arg(long)]
    anonymous_pull: bool,
    /// Write files for the running cluster, or those of --path, to DIR
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Show what would change as a diff, and stop
    #[arg(long)]
    dry_run: bool,
    /// Restore DIR as it was before
    #[arg(long, conflicts_with_all = ["release", "dry_run", "output"])]
    undo: bool,
    /// With --undo: drop changes made since; with --output: replace files
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct DriverArgs {
    /// Driver to look for at every boot [default: those of --bake]
    #[arg(long = "driver", value_name = "NAME")]
    names: Vec<String>,
    /// Driver to load by name, as no hardware asks for it
    #[arg(long = "load", value_name = "NAME")]
    load: Vec<String>,
    /// Option of a driver
    #[arg(long = "driver-option", value_name = "NAME:OPT=VALUE")]
    options: Vec<String>,
    /// Other module that must not take the driver's hardware
    #[arg(long = "instead-of", value_name = "NAME:OTHER")]
    instead_of: Vec<String>,
    /// Other module to load before the driver
    #[arg(long = "after", value_name = "NAME:OTHER")]
    after: Vec<String>,
    /// Firmware to bring along; NAME is what a driver asks for
    #[arg(long = "firmware", value_name = "NAME=FILE")]
    firmware: Vec<String>,
}

#[derive(Debug, Args)]
struct SeedArgs {
    /// Have the cluster build the image from day 2 on (4.21 and later)
    ///
    /// CONTAINERFILE is what is put on the release's image.
    #[arg(long = "seed", value_name = "CONTAINERFILE", requires_all = ["push_spec", "push_secret"])]
    containerfile: Option<PathBuf>,
    /// Where builds are pushed to: NAME:TAG
    #[arg(long, value_name = "IMAGE", requires = "containerfile")]
    push_spec: Option<PushSpec>,
    /// Secret for that; with FILE it is made
    #[arg(long, value_name = "NAME[=FILE]", requires = "containerfile")]
    push_secret: Option<String>,
    /// Secret with credentials for the images of FROM
    #[arg(long, value_name = "NAME", requires = "containerfile")]
    base_pull_secret: Option<String>,
}

impl PrepareArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        if self.undo {
            return self.undo(terminal);
        }
        if let Some(path) = self.path.path() {
            return self.tell(path, terminal);
        }
        let directory = Directory::read(&self.directory, SystemTime::now())?;
        let objects = self.objects(&directory)?;
        let plan = Plan::new(&directory, &objects)?;
        if !self.dry_run {
            let staged = self.stage_day_two(&objects.day_two)?;
            plan.execute()?;
            if let Some((staging, names)) = staged {
                staging.publish(&names)?;
            }
        }
        let value = self.value(&directory, &plan, &objects);
        let text = self.text(&directory, &plan, &objects);
        terminal.result(&value, &text)?;
        Ok(Outcome::Done)
    }

    fn undo(&self, terminal: &Terminal) -> Result<Outcome> {
        let undone = undo(&self.directory, self.force)?;
        let value = json!({
            "schema": "coreos-bake/prepare/v1",
            "directory": self.directory,
            "undone": {
                "restored": undone.restored,
                "removed": undone.removed,
                "consumed": undone.consumed,
            },
        });
        let restored = undone.restored.iter().map(|path| ("restored", path));
        let removed = undone.removed.iter().map(|path| ("removed", path));
        let lines = restored.chain(removed);
        let mut text: String = lines
            .map(|(what, path)| format!("{what:8} {path}\n"))
            .collect();
        let place = self.directory.display();
        text += &match undone.consumed {
            true => format!(
                "the record is removed; what openshift-install has consumed in {place} is not restored\n"
            ),
            false => format!("{place} is as it was\n"),
        };
        terminal.result(&value, &text)?;
        Ok(Outcome::Done)
    }

    /// What the directory needs, or why its machines would not come up.
    fn objects(&self, directory: &Directory) -> Result<Objects> {
        let bake = self.bake.as_deref().map(Bake::read).transpose()?;
        let release = self.release.context("no release is given")?;
        let media = bake.as_ref().map(|bake| bake.media.clone());
        let of_bake = bake.as_ref().and_then(|bake| bake.os_image.clone());
        let os_image = self.os_image.clone().or_else(|| of_bake.clone());
        let os_image_derivation = match (&bake, os_image == of_bake) {
            (Some(bake), true) => bake.media.derivation,
            _ => Derivation::Unknown,
        };
        let boot_images = bake.as_ref().and_then(|bake| {
            Some(BootImages {
                platform: directory.platform()?.parse().ok()?,
                os_version: bake.os_version.clone(),
            })
        });
        let roles: BTreeSet<Role> = self.roles.iter().copied().collect();
        let request = Request {
            release,
            roles: match roles.is_empty() {
                true => directory.roles().clone(),
                false => roles,
            },
            media,
            os_image,
            os_image_derivation,
            drivers: self.drivers.drivers(bake.as_ref())?,
            kernel_arguments: self.kargs.clone(),
            seed: self.seed.seed()?,
            boot_images,
            pull_secret: directory.pull_secret().cloned(),
            anonymous_pull: self.anonymous_pull,
            found: directory.found().to_vec(),
        };
        let mut objects = objects(&request).map_err(refused)?;
        if directory.names_image() {
            objects.notes.retain(|note| note.id != "no-os-image");
        }
        if objects.manifests.is_empty() && objects.fragments.is_empty() {
            return Err(Failure::new(
                "there is nothing to be prepared",
                "name an image with --os-image, a driver with --driver, or what was baked with --bake",
            )
            .into());
        }
        Ok(objects)
    }

    fn stage_day_two(&self, files: &[DayTwo]) -> Result<Option<(Staging, Vec<String>)>> {
        let Some(output) = self.output.as_ref().filter(|_| !files.is_empty()) else {
            return Ok(None);
        };
        let files = files.iter().map(|file| (file.name.clone(), file.text()));
        staged(output, self.force, files).map(Some)
    }

    fn value(&self, directory: &Directory, plan: &Plan, objects: &Objects) -> Value {
        let edits = plan.edits().iter().map(|edit| {
            json!({
                "path": edit.path,
                "action": action(edit),
                "size": edit.after.len(),
                "sha256": edit.sha256(),
            })
        });
        let notes = objects.notes.iter().chain(plan.notes()).map(
            |note| json!({ "id": note.id, "sentence": note.sentence, "commands": note.commands }),
        );
        json!({
            "schema": "coreos-bake/prepare/v1",
            "directory": self.directory,
            "state": directory.state(),
            "written": !self.dry_run,
            "already-done": plan.is_done(),
            "edits": edits.collect::<Vec<_>>(),
            "diff": self.dry_run.then(|| plan.diff()),
            "day-two": objects.day_two.iter().map(|f| &f.name).collect::<Vec<_>>(),
            "notes": notes.collect::<Vec<_>>(),
        })
    }

    fn text(&self, directory: &Directory, plan: &Plan, objects: &Objects) -> String {
        let mut text = String::new();
        if self.dry_run {
            text += &plan.diff();
        } else if !plan.edits().is_empty() {
            let mut table = Table::new(["", "FILE", "BYTES"]);
            for edit in plan.edits() {
                table.row([
                    action(edit).to_owned(),
                    edit.path.clone(),
                    edit.after.len().to_string(),
                ]);
            }
            text += &table.render();
        }
        for note in objects.notes.iter().chain(plan.notes()) {
            text += &told(note);
        }
        let place = self.directory.display();
        let files = match plan.edits().len() {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        let stage = directory.state().about();
        text += "\n";
        text += &match (plan.is_done(), self.dry_run, plan.edits().len()) {
            (true, ..) => format!("{place} is prepared already\n"),
            (_, _, 0) => format!("{place} ({stage}) needs nothing\n"),
            (_, true, _) => format!("{files} of {place} ({stage}) would change\n"),
            (_, false, _) => format!("{files} of {place} ({stage}) changed; --undo restores\n"),
        };
        text += &self.day_two_text(objects);
        if let Some(next) = next_step(directory) {
            text += &format!("next: {next}\n");
        }
        text
    }
}

impl PrepareArgs {
    /// Where the files for the running cluster are.
    fn day_two_text(&self, objects: &Objects) -> String {
        let Some(output) = &self.output else {
            return match objects.day_two.is_empty() {
                true => String::new(),
                false => "the files named day2-… are written with --output\n".to_owned(),
            };
        };
        let output = output.display();
        match (objects.day_two.is_empty(), self.dry_run) {
            (true, _) => format!("there are no files for day 2, so {output} is not written\n"),
            (false, true) => format!("the files named day2-… would go to {output}\n"),
            (false, false) => format!("the files named day2-… are in {output}\n"),
        }
    }
}

/// Files that wait to be published, and their names.
fn staged<T: AsRef<[u8]>>(
    output: &Path,
    force: bool,
    files: impl IntoIterator<Item = (String, T)>,
) -> Result<(Staging, Vec<String>)> {
    let staging = Staging::new(output, force)?;
    let (names, contents): (Vec<String>, Vec<T>) = files.into_iter().unzip();
    staging.check_free(names.iter().map(String::as_str))?;
    for (name, content) in names.iter().zip(contents) {
        let written = std::io::Write::write_all(&mut staging.create(name)?, content.as_ref());
        written.with_context(|| format!("writing {name}"))?;
    }
    Ok((staging, names))
}

/// An error with its advice.
fn refused(error: RequestError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => Failure::new(error.to_string(), hint).into(),
        None => error.into(),
    }
}

fn action(edit: &Edit) -> &'static str {
    match edit.before {
        Some(_) => "replace",
        None => "create",
    }
}

fn told(note: &Note) -> String {
    let commands = note.commands.iter().map(|c| format!("    {c}\n"));
    format!(
        "\nnote: {}\n{}",
        note.sentence,
        commands.collect::<String>()
    )
}

fn next_step(directory: &Directory) -> Option<String> {
    let command = directory.next_command()?;
    Some(format!(
        "openshift-install {command} --dir {}",
        directory.path().display()
    ))
}

impl DriverArgs {
    fn drivers(&self, bake: Option<&Bake>) -> Result<Vec<Driver>> {
        let named = self.names.iter().chain(&self.load);
        let mut names: Vec<String> = Vec::new();
        let of_bake = bake.filter(|_| self.names.is_empty());
        for name in of_bake.iter().flat_map(|b| &b.drivers).chain(named) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let mut drivers: Vec<Driver> = names
            .into_iter()
            .map(|name| Driver {
                load: self.load.contains(&name),
                name,
                ..Driver::default()
            })
            .collect();
        for (texts, field) in [
            (&self.options, (|d| &mut d.options) as ListOf),
            (&self.instead_of, |d| &mut d.instead_of),
            (&self.after, |d| &mut d.after),
        ] {
            for text in texts {
                let (name, value) = text
                    .split_once(':')
                    .with_context(|| format!("{text:?} has no colon behind a driver's name"))?;
                field(of_name(&mut drivers, name)?).push(value.to_owned());
            }
        }
        for text in &self.firmware {
            let (name, path) = text
                .split_once('=')
                .with_context(|| format!("{text:?} is not NAME=FILE"))?;
            let Some(driver) = drivers.first_mut() else {
                bail!("firmware {name} is for no driver; name it with --driver");
            };
            // The kernel looks for the files of all drivers in one place.
            driver.firmware.push(Firmware {
                name: name.to_owned(),
                content: read(Path::new(path), FIRMWARE_MAX_BYTES as u64)?,
            });
        }
        Ok(drivers)
    }
}

fn of_name<'a>(drivers: &'a mut [Driver], name: &str) -> Result<&'a mut Driver> {
    let mut all = drivers.iter_mut();
    all.find(|driver| driver.name == name).ok_or_else(|| {
        Failure::new(
            format!("no driver {name} is to be prepared"),
            format!("name it with --driver {name}"),
        )
        .into()
    })
}

impl SeedArgs {
    fn seed(&self) -> Result<Option<Seed>> {
        let (Some(path), Some(push_spec), Some(secret)) =
            (&self.containerfile, &self.push_spec, &self.push_secret)
        else {
            return Ok(None);
        };
        let (name, content) = match secret.split_once('=') {
            Some((name, file)) => (name, Some(read(Path::new(file), INPUT_MAX_BYTES)?)),
            None => (secret.as_str(), None),
        };
        let containerfile = String::from_utf8(read(path, INPUT_MAX_BYTES)?)
            .with_context(|| format!("{} is not UTF-8", path.display()))?;
        Ok(Some(Seed {
            containerfile,
            push_spec: push_spec.clone(),
            push_secret: PushSecret {
                name: name.to_owned(),
                content,
            },
            base_pull_secret: self.base_pull_secret.clone(),
        }))
    }
}

fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let bytes = read_up_to(path, limit_bytes.saturating_add(1))?;
    if bytes.len() as u64 > limit_bytes {
        bail!("{} has more than {limit_bytes} bytes", path.display());
    }
    Ok(bytes)
}
