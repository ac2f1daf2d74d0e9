//! `coreos-bake prepare --path`: what a way to install needs, before and after openshift-install.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::super::Outcome;
use super::super::terminal::Terminal;
use super::super::values::{checked_url, named};
use super::{DriverArgs, PrepareArgs, refused, staged};
use crate::failure::Failure;
use crate::kernel::DriverName;
use crate::openshift::paths::{BakedFile, Facts, Path, Recipe, RecipeError, recipe};
use crate::openshift::{OsImage, Role, objects};
use crate::record::{Artifact, Record};
use crate::staging::publish;

#[derive(Debug, Args)]
pub(super) struct PathArgs {
    /// Print what this way to install needs, and change nothing
    ///
    /// upi-iso, upi-pxe: machines that you boot yourself. ipi: bare metal that
    /// openshift-install provisions. agent, assisted: those installers. sno: a single
    /// node, bootstrapped in place. scale-up: machines for a cluster that is there.
    /// Takes the media of --bake; with --output, its files are written there, and its
    /// commands are run there.
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with_all = ["undo", "dry_run", "containerfile"],
        value_parser = named::<Path>(Path::ALL.map(Path::as_str)),
        hide_possible_values = true
    )]
    path: Option<Path>,
    /// With --path: where machines will find the media
    #[arg(long, value_name = "URL", requires = "path")]
    url: Option<String>,
    /// With --path: disk that is installed to, and overwritten
    #[arg(long, value_name = "DEVICE", requires = "path")]
    disk: Option<String>,
    /// With --path: name of the cluster
    #[arg(long, value_name = "NAME", requires = "path")]
    cluster: Option<String>,
    /// With --path: domain that the cluster is in
    #[arg(long, value_name = "DOMAIN", requires = "path")]
    base_domain: Option<String>,
    /// With --path: kernel argument of the live system
    #[arg(long = "live-karg-append", value_name = "ARG", requires = "path")]
    live_kargs: Vec<String>,
}

impl PathArgs {
    /// The way to install that is asked about.
    pub(super) fn path(&self) -> Option<Path> {
        self.path
    }
}

impl PrepareArgs {
    /// Prints the recipe of a path, and writes its files if there is a place for them.
    pub(super) fn tell(&self, path: Path, terminal: &Terminal) -> Result<Outcome> {
        if let Some(url) = &self.path.url {
            checked_url(url)?;
        }
        let record = self.record(path)?;
        let outcome = self.check_path(path, &record, terminal)?;
        let recipe = recipe(path, &self.facts(record)?).map_err(with_hint)?;
        let output = self.output.as_deref().filter(|_| !recipe.files.is_empty());
        let place = absolute(output.unwrap_or(FilePath::new(".")))?;
        if let Some(output) = output {
            let files = recipe.files.iter();
            let files = files.map(|file| (file.name.clone(), file.content.as_bytes()));
            publish(vec![staged(output, self.force, files)?])?;
        }
        let mut value = serde_json::to_value(&recipe).context("writing the recipe as JSON")?;
        value["schema"] = json!("coreos-bake/recipe/v1");
        value["directory"] = json!(self.directory);
        value["output"] = json!(output);
        value["working-directory"] = json!(place);
        terminal.result(&value, &self.recipe_text(&recipe, &place))?;
        Ok(outcome)
    }

    fn recipe_text(&self, recipe: &Recipe, place: &str) -> String {
        let end = match (&self.output, recipe.files.is_empty()) {
            (None, true) => String::new(),
            (Some(output), true) => format!(
                "\n{} has no files, so {} was not written\n",
                recipe.path,
                output.display()
            ),
            (Some(_), false) => format!("\nthe files are in {place}\n"),
            (None, false) => "\nthe files are written with --output\n".to_owned(),
        };
        format!("{}{end}", recipe.text(place))
    }

    fn record(&self, path: Path) -> Result<Record> {
        match &self.bake {
            Some(place) => Record::read(place),
            None => Err(with_hint(RecipeError::Missing {
                path,
                what: "what bake has written",
                option: "--bake",
            })),
        }
    }

    /// Refuses what the commands of the recipe would refuse.
    fn check_path(&self, path: Path, record: &Record, terminal: &Terminal) -> Result<Outcome> {
        let joins = path == Path::ScaleUp;
        let roles = match joins {
            true => BTreeSet::from([Role::Worker]),
            false => BTreeSet::from([Role::Bootstrap, Role::Master, Role::Worker]),
        };
        let mut request = self.request(None, Some(record), &roles)?;
        // A cluster that is there has its image already.
        request.release_image |= joins;
        objects(&request).map_err(refused)?;
        self.check_baked(Some(record), &request, terminal)
    }

    /// What the options and the record of the bake say.
    fn facts(&self, record: Record) -> Result<Facts> {
        let place = self.bake.as_deref().unwrap_or(FilePath::new("."));
        let media = match place.is_dir() {
            true => place,
            false => match place.parent() {
                Some(parent) if parent != FilePath::new("") => parent,
                _ => FilePath::new("."),
            },
        };
        let release = self.release.context("no release is given")?;
        let os_image = self.os_image.clone().or_else(|| record.os_image());
        let os_image = os_image
            .map(|text| text.parse::<OsImage>())
            .transpose()
            .map_err(|error| refused(error.into()))?;
        let baked = super::media(&record);
        Ok(Facts {
            release,
            architecture: record.architecture().to_owned(),
            media: absolute(media)?,
            os_version: record.os.version,
            files: record.files.into_iter().map(baked_file).collect(),
            url: self.path.url.clone(),
            media_are_os_image: os_image.as_ref().is_some_and(|image| baked.is(image)),
            os_image,
            directory: absolute(&self.directory)?,
            cluster: self.path.cluster.clone(),
            base_domain: self.path.base_domain.clone(),
            roles: self.roles.clone(),
            disk: self.path.disk.clone(),
            live_kargs: self.path.live_kargs.clone(),
            dest_kargs: self.kargs.clone(),
            prepare_options: self.prepare_options()?,
        })
    }

    /// The options that the recipe hands on.
    fn prepare_options(&self) -> Result<Vec<String>> {
        let mut words = self.drivers.words()?;
        for (option, is_given) in [
            ("--anonymous-pull", self.anonymous_pull),
            ("--allow-release-image", self.allow_release_image),
            ("--allow-other-release", self.allow_other_release),
            ("--allow-missing-driver", self.baked.allow_missing_driver),
        ] {
            if is_given {
                words.push(option.to_owned());
            }
        }
        Ok(words)
    }
}

impl DriverArgs {
    /// The same options as words of a command line that may be run anywhere.
    fn words(&self) -> Result<Vec<String>> {
        let mut firmware = Vec::new();
        for text in &self.firmware {
            firmware.push(match text.split_once('=') {
                Some((name, path)) => format!("{name}={}", absolute(FilePath::new(path))?),
                None => text.clone(),
            });
        }
        let texts = |names: &[DriverName]| names.iter().map(ToString::to_string).collect();
        let (names, load): (Vec<String>, Vec<String>) = (texts(&self.names), texts(&self.load));
        let lists = [
            ("driver", &names),
            ("load", &load),
            ("driver-option", &self.options),
            ("instead-of", &self.instead_of),
            ("after", &self.after),
            ("firmware", &firmware),
        ];
        let words = lists
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| format!("--{name}={value}")));
        Ok(words.collect())
    }
}

fn baked_file(file: Artifact) -> BakedFile {
    BakedFile {
        role: file.role,
        name: file.name,
        size: file.size,
        sha256: file.sha256,
        uncompressed_sha256: file.uncompressed_sha256,
    }
}

/// A path that means the same wherever a command is run. Nothing needs to be there yet.
fn absolute(path: &FilePath) -> Result<String> {
    let naming = || format!("naming {}", path.display());
    let absolute = std::path::absolute(path).with_context(naming)?;
    let text = absolute.to_str();
    let text = text.with_context(|| format!("{} is not UTF-8", absolute.display()))?;
    // Names are put behind it.
    Ok(match text.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    })
}

fn with_hint(error: RecipeError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => Failure::new(error.to_string(), hint).into(),
        None => error.into(),
    }
}
