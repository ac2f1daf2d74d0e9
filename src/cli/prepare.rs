//! `coreos-bake prepare`: have openshift-install install what was baked.

#[cfg(test)]
mod commands;
mod paths;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::baked::BakedArgs;
use super::driver_names::each_once;
use super::table::Table;
use super::terminal::Terminal;
use super::values::named;
use crate::failure::Failure;
use crate::kernel::DriverName;
use crate::limited;
use crate::openshift::directory::{Directory, Edit, Plan, undo};
use crate::openshift::{
    BootImages, DayTwo, Derivation, Driver, FIRMWARE_MAX_BYTES, Firmware, Media, Note, Objects,
    PushSecret, PushSpec, Release, Request, RequestError, Role, Seed, objects,
};
use crate::paragraph::{hanging, width};
use crate::record::Record;
use crate::staging::{Staged, Staging, clear_leftovers, publish};
use paths::PathArgs;

/// Takes what an option says of a driver.
type Take = fn(&mut Driver, &str) -> Result<()>;

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
    /// What openshift-install is told it by
    #[arg(long = "dir", hide = true, value_parser = no_dir)]
    _dir: Option<PathBuf>,
    /// Release of OpenShift, such as 4.19 or 4.19.3
    #[arg(
        long,
        value_name = "RELEASE",
        required_unless_present = "undo",
        env = "COREOS_BAKE_RELEASE"
    )]
    release: Option<Release>,
    /// What bake has written: its directory, or bake.json
    ///
    /// Names the image and the drivers, unless the options below do.
    #[arg(long, value_name = "PATH")]
    bake: Option<PathBuf>,
    /// Image that nodes run, by digest: NAME@sha256:…
    #[arg(long, value_name = "IMAGE")]
    os_image: Option<String>,
    /// Nodes may run the release's own image: it has the drivers
    #[arg(long)]
    allow_release_image: bool,
    /// DIR may be of another release than --release names
    #[arg(long)]
    allow_other_release: bool,
    #[command(flatten)]
    baked: BakedArgs,
    /// Machines that boot the media [default: all of DIR]
    #[arg(
        long = "role",
        value_name = "ROLE",
        value_parser = named::<Role>(Role::ALL.map(Role::as_str))
    )]
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
    /// Drivers to look for at every boot [default: those of --bake]
    #[arg(
        long = "driver",
        value_name = "LIST",
        value_delimiter = ',',
        env = "COREOS_BAKE_DRIVER"
    )]
    names: Vec<DriverName>,
    /// Drivers to load by name, as no hardware asks for them
    #[arg(long = "load", value_name = "LIST", value_delimiter = ',')]
    load: Vec<DriverName>,
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
        each_once(&self.drivers.names)?;
        each_once(&self.drivers.load)?;
        if let Some(path) = self.path.path() {
            return self.tell(path, terminal);
        }
        if !self.dry_run {
            clear_leftovers(&self.directory)?;
        }
        let directory = Directory::read(&self.directory, SystemTime::now())?;
        let record = self.bake.as_deref().map(Record::read).transpose()?;
        let request = self.request(Some(&directory), record.as_ref(), directory.roles())?;
        let objects = self.objects(&request, record.is_some())?;
        let outcome = self.check_baked(record.as_ref(), &request, terminal)?;
        let plan = Plan::new(&directory, &objects)?;
        let mut written = false;
        if !self.dry_run {
            let day_two = self.stage_day_two(&objects.day_two)?;
            written = !plan.edits().is_empty() || day_two.is_some();
            publish(plan.stage()?.into_iter().chain(day_two).collect())?;
        }
        let value = self.value(&directory, &plan, &objects, written);
        let text = self.text(&directory, &plan, &objects, terminal.columns());
        terminal.result(&value, &text)?;
        Ok(outcome)
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
        let end = match undone.consumed {
            true => format!(
                "the record is removed; what openshift-install has consumed in {place} is not restored"
            ),
            false => format!("{place} is as it was"),
        };
        text += &hanging("", &end, terminal.columns());
        terminal.result(&value, &text)?;
        Ok(Outcome::Done)
    }

    /// What is asked for, by the options, the record of the bake and the install directory. `roles` are
    /// those of whom no option names.
    fn request(
        &self,
        directory: Option<&Directory>,
        record: Option<&Record>,
        roles: &BTreeSet<Role>,
    ) -> Result<Request> {
        let media = record.map(media);
        let of_bake = || record.and_then(Record::os_image);
        let os_image = self.os_image.clone().or_else(of_bake);
        // By whatever name nodes pull it.
        let digest = os_image.as_deref().and_then(|image| image.split_once('@'));
        let is_baked = record
            .zip(digest)
            .is_some_and(|(record, (_, digest))| record.image.manifest_digest == digest);
        let os_image_derivation = match &media {
            Some(media) if is_baked => media.derivation,
            _ => Derivation::Unknown,
        };
        let boot_images = record.and_then(|record| {
            Some(BootImages {
                platform: directory?.platform()?.parse().ok()?,
                os_version: record.os.version.clone(),
            })
        });
        let told_release = directory.and_then(Directory::told_release).cloned();
        Ok(Request {
            release: self.release.context("no release is given")?,
            told_release: told_release.filter(|_| !self.allow_other_release),
            roles: match self.roles.is_empty() {
                true => roles.clone(),
                false => self.roles.iter().copied().collect(),
            },
            media,
            os_image,
            release_image: self.allow_release_image,
            imaged_pools: directory.map(Directory::imaged_pools).unwrap_or_default(),
            os_image_derivation,
            os_image_is_baked: is_baked,
            drivers: self.drivers.drivers(record)?,
            kernel_arguments: self.kargs.clone(),
            seed: self.seed.seed()?,
            boot_images,
            pull_secret: directory.and_then(Directory::pull_secret).cloned(),
            anonymous_pull: self.anonymous_pull,
            found: directory.map_or_else(Vec::new, |directory| directory.found().to_vec()),
        })
    }

    /// Whether the media have the drivers of the request.
    fn check_baked(
        &self,
        record: Option<&Record>,
        request: &Request,
        terminal: &Terminal,
    ) -> Result<Outcome> {
        let Some(record) = record else {
            return Ok(Outcome::Done);
        };
        let drivers: Vec<&str> = request.drivers.iter().map(|d| d.name.as_str()).collect();
        let bootstraps = request.roles.contains(&Role::Bootstrap);
        self.baked.check(record, &drivers, bootstraps, terminal)
    }

    /// What the directory needs, or why its machines would not come up.
    fn objects(&self, request: &Request, is_baked: bool) -> Result<Objects> {
        let mut objects = objects(request).map_err(refused)?;
        if is_baked && request.drivers.is_empty() {
            objects.notes.push(Note {
                id: "no-drivers",
                sentence:
                    "no driver was looked for when the media were baked, and none is named here; \
                           name those that the machines need with --driver, of bake and of this"
                        .to_owned(),
                commands: Vec::new(),
            });
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

    fn stage_day_two(&self, files: &[DayTwo]) -> Result<Option<Staged>> {
        let Some(output) = self.output.as_ref().filter(|_| !files.is_empty()) else {
            return Ok(None);
        };
        let files = files.iter().map(|file| (file.name.clone(), file.text()));
        staged(output, self.force, files).map(Some)
    }

    fn value(&self, directory: &Directory, plan: &Plan, objects: &Objects, written: bool) -> Value {
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
            "written": written,
            "already-done": plan.is_done(),
            "edits": edits.collect::<Vec<_>>(),
            "diff": self.dry_run.then(|| plan.patch()),
            "day-two": objects.day_two.iter().map(|f| &f.name).collect::<Vec<_>>(),
            "notes": notes.collect::<Vec<_>>(),
        })
    }

    fn text(
        &self,
        directory: &Directory,
        plan: &Plan,
        objects: &Objects,
        columns: usize,
    ) -> String {
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
            text += &table.render(columns);
        }
        for note in objects.notes.iter().chain(plan.notes()) {
            text += &told(note, columns);
        }
        let place = self.directory.display();
        let files = match plan.edits().len() {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        let stage = directory.state().about();
        text += "\n";
        let mut tell = |sentence: &str| text += &hanging("", sentence, columns);
        tell(&match (plan.is_done(), self.dry_run, plan.edits().len()) {
            (true, ..) => format!("{place} is prepared already"),
            (_, _, 0) => format!("{place} ({stage}) needs nothing"),
            (_, true, _) => format!("{files} of {place} ({stage}) would change"),
            (_, false, _) => format!("{files} of {place} ({stage}) changed; --undo restores"),
        });
        tell(&self.day_two_text(objects));
        if let Some(next) = next_step(directory) {
            // In one piece, to be pasted.
            text += &match width("next: ") + width(&next) > columns {
                true => format!("next:\n    {next}\n"),
                false => format!("next: {next}\n"),
            };
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
                false => "the files named day2-… are written with --output".to_owned(),
            };
        };
        let output = output.display();
        match (objects.day_two.is_empty(), self.dry_run) {
            (true, _) => format!("there are no files for day 2, so {output} is not written"),
            (false, true) => format!("the files named day2-… would go to {output}"),
            (false, false) => format!("the files named day2-… are in {output}"),
        }
    }
}

/// What the objects for a cluster have to know of the media.
fn media(record: &Record) -> Media {
    Media {
        registry_name: record.options.origin.registry_name().map(str::to_owned),
        manifest_digest: Some(record.image.manifest_digest.clone()),
        derivation: match record.os.openshift_clients {
            Some(true) => Derivation::Node,
            Some(false) => Derivation::Base,
            None => Derivation::Unknown,
        },
    }
}

/// Files that wait to be published, and their names.
fn staged<T: AsRef<[u8]>>(
    output: &Path,
    force: bool,
    files: impl IntoIterator<Item = (String, T)>,
) -> Result<Staged> {
    let staging = Staging::new(output, force)?;
    let (names, contents): (Vec<String>, Vec<T>) = files.into_iter().unzip();
    staging.check_free(names.iter().map(String::as_str))?;
    let bytes = contents.iter().map(|content| content.as_ref().len() as u64);
    let bytes = bytes.sum();
    for (name, content) in names.iter().zip(contents) {
        let write = |mut file: File| Ok(file.write_all(content.as_ref())?);
        let written = staging.create(name).and_then(write);
        written
            .with_context(|| format!("writing {name}"))
            .map_err(|error| staging.room().explain(error, bytes))?;
    }
    Ok(Staged { staging, names })
}

/// An error with its advice.
fn refused(error: RequestError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => Failure::new(error.to_string(), hint).into(),
        None => error.into(),
    }
}

/// Whoever comes from openshift-install names the directory as it wants to have it.
fn no_dir(directory: &str) -> Result<PathBuf, String> {
    Err(format!(
        "the directory is named without an option: coreos-bake prepare {directory} …"
    ))
}

fn action(edit: &Edit) -> &'static str {
    match edit.before {
        Some(_) => "replace",
        None => "create",
    }
}

fn told(note: &Note, columns: usize) -> String {
    let commands = note.commands.iter().map(|c| format!("    {c}\n"));
    let sentence = hanging("note: ", &note.sentence, columns);
    format!("\n{sentence}{}", commands.collect::<String>())
}

fn next_step(directory: &Directory) -> Option<String> {
    let command = directory.next_command()?;
    Some(format!(
        "openshift-install {command} --dir {}",
        directory.path().display()
    ))
}

impl DriverArgs {
    /// The drivers that are named, or those of the bake.
    fn drivers(&self, record: Option<&Record>) -> Result<Vec<Driver>> {
        let of_bake = match record {
            Some(record) if self.names.is_empty() => record.driver_names(),
            _ => Vec::new(),
        };
        let of_bake: Vec<DriverName> = of_bake
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()
            .context("reading the drivers of the bake")?;
        let mut drivers: Vec<Driver> = Vec::new();
        for name in of_bake.iter().chain(&self.names).chain(&self.load) {
            if !drivers.iter().any(|driver| driver.name == *name) {
                drivers.push(Driver {
                    load: self.load.contains(name),
                    ..Driver::named(name.clone())
                });
            }
        }
        let takes: [(&[String], Take); 3] = [
            (&self.options, |driver, option| {
                driver.options.push(option.to_owned());
                Ok(())
            }),
            (&self.instead_of, |driver, other| {
                driver.instead_of.push(other.parse()?);
                Ok(())
            }),
            (&self.after, |driver, other| {
                driver.after.push(other.parse()?);
                Ok(())
            }),
        ];
        for (texts, take) in takes {
            for text in texts {
                let (name, value) = text
                    .split_once(':')
                    .with_context(|| format!("{text:?} has no colon behind a driver's name"))?;
                take(of_name(&mut drivers, &name.parse()?)?, value)?;
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
                content: limited::whole(Path::new(path), FIRMWARE_MAX_BYTES as u64)?,
            });
        }
        Ok(drivers)
    }
}

fn of_name<'a>(drivers: &'a mut [Driver], name: &DriverName) -> Result<&'a mut Driver> {
    let mut all = drivers.iter_mut();
    all.find(|driver| driver.name == *name).ok_or_else(|| {
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
            Some((name, file)) => (
                name,
                Some(limited::whole(Path::new(file), INPUT_MAX_BYTES)?),
            ),
            None => (secret.as_str(), None),
        };
        let containerfile = String::from_utf8(limited::whole(path, INPUT_MAX_BYTES)?)
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
