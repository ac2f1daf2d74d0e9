//! `coreos-bake prepare --path`: what a way to install needs, before and after openshift-install.

use std::path::Path as FilePath;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::super::Outcome;
use super::super::terminal::Terminal;
use super::bake::Bake;
use super::{DriverArgs, PrepareArgs, refused, staged};
use crate::failure::Failure;
use crate::openshift::OsImage;
use crate::openshift::paths::{Facts, Path, Recipe, RecipeError, recipe};

#[derive(Debug, Args)]
pub(super) struct PathArgs {
    /// Print what this way to install needs, and change nothing
    ///
    /// upi-iso, upi-pxe: machines that you boot yourself. ipi: bare metal that
    /// openshift-install provisions. agent, assisted: those installers. sno: a single
    /// node, bootstrapped in place. scale-up: machines for a cluster that is there.
    /// Takes the media of --bake; with --output, its files are written there, and its
    /// commands are run there.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["undo", "dry_run", "containerfile"])]
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
        let recipe = recipe(path, &self.facts(path)?).map_err(with_hint)?;
        let output = self.output.as_deref().filter(|_| !recipe.files.is_empty());
        let place = absolute(output.unwrap_or(FilePath::new(".")))?;
        if let Some(output) = output {
            let files = recipe.files.iter();
            let files = files.map(|file| (file.name.clone(), file.content.as_bytes()));
            let (staging, names) = staged(output, self.force, files)?;
            staging.publish(&names)?;
        }
        let mut value = serde_json::to_value(&recipe).context("writing the recipe as JSON")?;
        value["schema"] = json!("coreos-bake/recipe/v1");
        value["directory"] = json!(self.directory);
        value["output"] = json!(output);
        value["working-directory"] = json!(place);
        terminal.result(&value, &self.recipe_text(&recipe, &place))?;
        Ok(Outcome::Done)
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

    /// What the options and the record of the bake say.
    fn facts(&self, path: Path) -> Result<Facts> {
        let Some(record) = &self.bake else {
            return Err(with_hint(RecipeError::Missing {
                path,
                what: "what bake has written",
                option: "--bake",
            }));
        };
        let bake = Bake::read(record)?;
        let media = match record.is_dir() {
            true => record.as_path(),
            false => match record.parent() {
                Some(parent) if parent != FilePath::new("") => parent,
                _ => FilePath::new("."),
            },
        };
        let release = self.release.context("no release is given")?;
        let os_image = self.os_image.clone().or(bake.os_image);
        let os_image = os_image
            .map(|text| text.parse::<OsImage>())
            .transpose()
            .map_err(|error| refused(error.into()))?;
        Ok(Facts {
            release,
            architecture: bake.architecture,
            os_version: bake.os_version,
            media: absolute(media)?,
            files: bake.files,
            url: self.path.url.clone(),
            media_are_os_image: os_image.as_ref().is_some_and(|image| bake.media.is(image)),
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
        if self.anonymous_pull {
            words.push("--anonymous-pull".to_owned());
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
        let lists = [
            ("driver", &self.names),
            ("load", &self.load),
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

/// A path that means the same wherever a command is run. Nothing needs to be there yet.
fn absolute(path: &FilePath) -> Result<String> {
    let naming = || format!("naming {}", path.display());
    let absolute = std::path::absolute(path).with_context(naming)?;
    let text = absolute.to_str().map(str::to_owned);
    text.with_context(|| format!("{} is not UTF-8", absolute.display()))
}

fn with_hint(error: RecipeError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => Failure::new(error.to_string(), hint).into(),
        None => error.into(),
    }
}
