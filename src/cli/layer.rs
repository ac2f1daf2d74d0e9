//! `coreos-bake layer`: put drivers into an image, or repair what keeps them from loading.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "help is written for terminals"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use clap_complete::{ArgValueCompleter, PathCompleter};
use indicatif::HumanBytes;
use serde_json::json;

use super::completion::Images;
use super::driver_names::each_once;
use super::image_args::ImageArgs;
use super::report::presences;
use super::terminal::Terminal;
use super::{Outcome, Usage};
use crate::foreign::visible;
use crate::image::{self, ImageRef, Target};
use crate::kernel::{DriverName, FILE_MAX_BYTES};
use crate::layer::{self, Added, Layer, Request};
use crate::limited;
use crate::os::{Glance, Opened};
use crate::paragraph::{Paragraph, hanging};
use crate::progress::Progress;
use crate::staging::{Room, clear_leftovers};

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
    #[arg(value_name = "IMAGE", value_parser = ImageRef::named, add = ArgValueCompleter::new(Images::SOURCE))]
    image: ImageRef,
    /// Where to store the new image
    ///
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker://NAME[:TAG]. A directory that is
    /// a layout keeps its other images.
    #[arg(short, long, value_name = "TARGET", value_parser = Target::named, add = ArgValueCompleter::new(Images::TARGET))]
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
        if let Some(directory) = self.output.directory()?.filter(|_| !self.dry_run) {
            clear_leftovers(directory)?;
        }
        self.output.check(self.force)?;
        let scratch = std::env::temp_dir();
        let scratch_room = Room::of(&scratch);
        let options = self.access.read_options(&scratch, None);
        let opened = Opened::new(&self.image, &options, &scratch)?;
        let place = self.output.room(&opened.image)?;
        if let Some((room, needed)) = &place {
            room.require(*needed, *needed)?;
        }
        let unpacked = opened.glance_bytes();
        if let Some(doubt) = scratch_room.doubt(unpacked) {
            terminal.warn(&doubt);
        }
        let source = opened
            .glance(&options, terminal)
            .map_err(|error| scratch_room.explain(error, unpacked))?;
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
            let new = layer::write_archive(&layer, tree, time, &self.created_by(), file, terminal)
                .map_err(|error| scratch_room.explain(error, unpacked))?;
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
            "needed-bytes": place.as_ref().map(|(_, needed)| needed),
            "free-bytes": place.as_ref().and_then(|(room, _)| room.free_bytes()),
            "stored": stored.as_ref().map(|(name, derived)| json!({
                "reference": name,
                "digest": derived.digest,
                "layer": { "digest": derived.layer.digest, "size": derived.layer.blob.len() },
            })),
        });
        let mut text = match layer.is_empty() {
            true => format!(
                "nothing to do: the drivers are in initramfs and root already\n\n{}",
                presences(&layer.after, terminal)
            ),
            false => summary(&layer, terminal),
        };
        if let Some((name, derived)) = &stored {
            let size = HumanBytes(derived.layer.blob.len());
            text += "\n";
            for (label, value) in [
                ("layer   ", format!("{} ({size})", derived.layer.digest)),
                ("digest  ", derived.digest.to_string()),
                ("stored  ", name.clone()),
            ] {
                text += &hanging(label, &value, terminal.columns());
            }
            text += "\nA Containerfile that would have done the same:\n\n";
            text += &containerfile;
        } else if !layer.is_empty()
            && let Some((room, needed)) = &place
        {
            let told = room.told(*needed, "and the new layer");
            text += &format!("\n{}", hanging("", &told, terminal.columns()));
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
        bytes: limited::whole(path, FILE_MAX_BYTES)?,
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
        bytes: limited::whole(path, FILE_MAX_BYTES)?,
    })
}

fn summary(layer: &Layer, terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let mut text = format!("before\n\n{}", presences(&layer.before, terminal));
    text += &format!(
        "\nwith the new layer\n\n{}",
        presences(&layer.after, terminal)
    );
    for (head, paths) in [
        ("files", layer.files.keys().map(String::as_str).collect()),
        ("removed", strs(&layer.removed)),
        ("in the initramfs", strs(&layer.initramfs)),
    ] {
        text += &by_directory(head, paths, columns);
    }
    text
}

fn strs<'a, T: AsRef<str> + 'a>(texts: impl IntoIterator<Item = &'a T>) -> Vec<&'a str> {
    texts.into_iter().map(AsRef::as_ref).collect()
}

/// Paths below a head; those of a directory with several are named in one paragraph.
fn by_directory(head: &str, paths: Vec<&str>, columns: usize) -> String {
    let paths: Vec<String> = paths.into_iter().map(visible).collect();
    let mut directories: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in &paths {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        directories.entry(directory).or_default().push(name);
    }
    let mut text = match paths.is_empty() {
        true => String::new(),
        false => format!("\n{head}\n"),
    };
    for (directory, names) in directories {
        text += &match (directory, &names[..]) {
            ("", names) => hanging("  ", &names.join(", "), columns),
            (_, [name]) => hanging("  ", &format!("{directory}/{name}"), columns),
            (_, names) => {
                let paragraph = Paragraph {
                    first: "  ",
                    rest: "    ",
                    columns,
                };
                paragraph.of(&format!("{directory}/: {}", names.join(", ")))
            }
        };
    }
    text
}
