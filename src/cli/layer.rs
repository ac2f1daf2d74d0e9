//! `coreos-bake layer`: put drivers into an image, or repair what keeps them from loading.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use clap_complete::{ArgValueCompleter, PathCompleter};
use indicatif::HumanBytes;
use serde_json::json;

use super::completion::Images;
use super::driver_names::each_once;
use super::image_args::ImageArgs;
use super::report::presence_table;
use super::terminal::Terminal;
use super::{Outcome, Usage, read_up_to};
use crate::image::{self, ImageRef, Target};
use crate::kernel::{DriverName, FILE_MAX_BYTES};
use crate::layer::{self, Added, Layer, Request};
use crate::media::Glance;
use crate::progress::Progress;

/// Put drivers into an image with one more layer
///
/// Adds kernel modules below /usr/lib/modules/<release>/extra, or repairs an
/// image whose drivers are not in every place they are needed: indexes modules
/// anew and appends drivers, firmware and indexes to the initramfs. Files in
/// /usr/lib/dracut/dracut.conf.d have every later run of dracut take the drivers,
/// on nodes as well. Layers of the image stay as they are, so that nodes download
/// the new one only.
#[derive(Debug, Args)]
pub(super) struct LayerArgs {
    /// Image to build on, as for bake
    #[arg(value_name = "IMAGE", add = ArgValueCompleter::new(Images::SOURCE))]
    image: ImageRef,
    /// Where to store the new image
    ///
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker://NAME[:TAG]. A directory that is
    /// a layout keeps its other images.
    #[arg(short, long, value_name = "TARGET", add = ArgValueCompleter::new(Images::TARGET))]
    output: Target,
    /// Kernel module to add
    #[arg(long = "add-driver", value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Firmware to add; NAME is what the driver asks for
    #[arg(
        long = "add-firmware",
        value_name = "FILE[:NAME]",
        add = ArgValueCompleter::new(PathCompleter::file())
    )]
    firmware: Vec<String>,
    /// Put drivers of the image where they are missing
    #[arg(long, requires = "drivers")]
    repair: bool,
    /// Drivers that shall be there at every boot
    #[arg(
        long = "driver",
        value_name = "LIST",
        value_delimiter = ',',
        env = "COREOS_BAKE_DRIVER"
    )]
    drivers: Vec<DriverName>,
    /// Load the drivers at boot, whatever the hardware
    #[arg(long)]
    load: bool,
    /// Replace an archive, or a tag in a layout
    #[arg(long)]
    force: bool,
    /// Compose the layer, tell what it does and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    access: ImageArgs,
}

impl LayerArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let drivers = each_once(&self.drivers)?;
        if self.add.is_empty() && !self.repair {
            let sentence = match drivers.is_empty() {
                true => "nothing is to be put into the image",
                false => "--driver alone puts nothing into the image",
            };
            let hint = "--repair puts drivers of the image (--driver NAME) where they are missing, \
                        --add-driver FILE adds a module";
            return Err(Usage::new(sentence).with_hint(hint).into());
        }
        let request = Request {
            modules: self
                .add
                .iter()
                .map(|path| module(path))
                .collect::<Result<_>>()?,
            firmware: self
                .firmware
                .iter()
                .map(|text| firmware(text))
                .collect::<Result<_>>()?,
            drivers,
            load: self.load,
        };
        let scratch = std::env::temp_dir();
        let options = self.access.read_options(&scratch, None);
        let source = Glance::read(&self.image, &options, &scratch, terminal)?;
        let (tree, facts) = (&source.tree, &source.facts);
        let layer = layer::compose(tree, facts, &request, terminal)?;
        for warning in &layer.warnings {
            terminal.warn(warning);
        }
        let containerfile = self.containerfile(&request, &source);
        let mut stored = None;
        if !layer.is_empty() && !self.dry_run {
            let file = tempfile::tempfile_in(&scratch)
                .with_context(|| format!("making a scratch file in {}", scratch.display()))?;
            let time = source.image.created.unwrap_or(0);
            let new = layer::write_archive(&layer, tree, time, &self.created_by(), file, terminal)?;
            let derived = source.image.derive(new)?;
            let name = image::write(
                &source.image,
                &derived,
                &self.output,
                &options.access,
                self.force,
                terminal,
            )?;
            stored = Some((name, derived));
        }
        let value = json!({
            "schema": "coreos-bake/layer/v1",
            "image": self.image.to_string(),
            "files": layer.files.keys().collect::<Vec<_>>(),
            "removed": layer.removed,
            "initramfs": layer.initramfs,
            "before": layer.before,
            "drivers": layer.after,
            "containerfile": containerfile,
            "stored": stored.as_ref().map(|(name, derived)| json!({
                "reference": name,
                "digest": derived.digest,
                "layer": { "digest": derived.layer.digest, "size": derived.layer.blob.len() },
            })),
        });
        let mut text = summary(&layer, terminal);
        match &stored {
            Some((name, derived)) => {
                text += &format!(
                    "\nlayer   {} ({})\ndigest  {}\nstored  {name}\n",
                    derived.layer.digest,
                    HumanBytes(derived.layer.blob.len()),
                    derived.digest,
                );
                text += "\nA Containerfile that would have done the same:\n\n";
                text += &containerfile;
            }
            None if layer.is_empty() => {
                text += "\nnothing to do: the drivers are in initramfs and root already\n"
            }
            None => {}
        }
        terminal.result(&value, &text)?;
        Ok(Outcome::Done)
    }

    /// What the image's history says of the layer; nothing that depends on this machine.
    fn created_by(&self) -> String {
        let mut words = vec!["coreos-bake layer".to_owned()];
        for path in &self.add {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            words.push(format!("--add-driver {name}"));
        }
        words.extend(self.repair.then(|| "--repair".to_owned()));
        words.extend(self.drivers.iter().map(|name| format!("--driver {name}")));
        words.extend(self.load.then(|| "--load".to_owned()));
        words.join(" ")
    }

    /// The same by a builder, for day 2.
    fn containerfile(&self, request: &Request, source: &Glance) -> String {
        let release = &source.facts.kernel.release;
        let from = match &source.image.reference {
            ImageRef::Registry(name) => {
                format!("{}@{}", name.name(), source.image.manifest_digest)
            }
            other => other.to_string(),
        };
        let mut text = format!("FROM {from}\n");
        for module in &request.modules {
            text += &format!("COPY {} /usr/lib/modules/{release}/extra/\n", module.name);
        }
        for firmware in &request.firmware {
            let file = firmware.name.rsplit('/').next().unwrap_or_default();
            text += &format!("COPY {file} /usr/lib/firmware/{}\n", firmware.name);
        }
        let drivers: Vec<&str> = self
            .drivers
            .iter()
            .map(DriverName::as_str)
            .chain(
                request
                    .modules
                    .iter()
                    .filter_map(|m| m.name.split(".ko").next()),
            )
            .collect();
        if self.load {
            let words = drivers.join(" ");
            text += &format!(
                "RUN for d in {words}; do echo $d > /usr/lib/modules-load.d/$d.conf; done\n"
            );
        }
        text += &format!("{}\n", crate::stages::rebuild_instruction(&drivers));
        text
    }
}

fn module(path: &Path) -> Result<Added> {
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(Added {
        name: name
            .with_context(|| format!("{} is no name of a module", path.display()))?
            .to_owned(),
        bytes: read(path)?,
    })
}

/// `FILE[:NAME]`
fn firmware(text: &str) -> Result<Added> {
    let (path, name) = match text.rsplit_once(':') {
        Some((path, name)) => (Path::new(path), name),
        None => {
            let path = Path::new(text);
            let name = path.file_name().and_then(|name| name.to_str());
            (
                path,
                name.with_context(|| format!("{text} is no name of firmware"))?,
            )
        }
    };
    Ok(Added {
        name: name.to_owned(),
        bytes: read(path)?,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_up_to(path, FILE_MAX_BYTES + 1)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        bail!("{} has more than {FILE_MAX_BYTES} bytes", path.display());
    }
    Ok(bytes)
}

fn summary(layer: &Layer, terminal: &Terminal) -> String {
    let mut text = String::from("before\n\n");
    text += &presence_table(&layer.before, terminal);
    text += "\nwith the new layer\n\n";
    text += &presence_table(&layer.after, terminal);
    let initramfs = layer
        .initramfs
        .iter()
        .map(|path| format!("  initramfs: {path}\n"));
    let files = layer.files.keys().map(|path| format!("  {path}\n"));
    let removed = layer
        .removed
        .iter()
        .map(|path| format!("  {path} (removed)\n"));
    text += "\nchanges\n";
    text.extend(files.chain(removed).chain(initramfs));
    text
}
