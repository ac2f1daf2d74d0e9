//! `coreos-bake bake`: write media from an image.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "help is written for terminals"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use clap_complete::ArgValueCompleter;
use indicatif::HumanBytes;
use serde_json::json;

use super::Outcome;
use super::cache_args::CacheArgs;
use super::completion::Images;
use super::driver_names::each_once;
use super::image_args::ImageArgs;
use super::report::{presences, proofs, shown};
use super::size::size;
use super::table::Table;
use super::terminal::Terminal;
use super::values::{checked_rootfs_url, named};
use crate::format::qcow2;
use crate::image::ImageRef;
use crate::kernel::DriverName;
use crate::media::{
    Archive, Baked, Choice, Customization, Format, Plan, Request, Wanted, check_prefix,
    least_disk_bytes,
};
use crate::openshift::paths::{place, word};
use crate::os::{Opened, Source};
use crate::ostree::ContainerReference;
use crate::paragraph::hanging;
use crate::progress::Progress;
use crate::readback::IGNITION_AREA_BYTES;
use crate::stages::{Presence, System};
use crate::staging::{Room, Staging, check_free, check_writable};

/// Write media that boot from an image
///
/// Reads IMAGE once, verifies every layer, and writes live media and disk images
/// into the output directory. Files appear under their names only when all of them are
/// finished and every --driver was found in them.
#[derive(Debug, Args)]
pub(super) struct BakeArgs {
    /// Image to bake
    ///
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker://NAME[:TAG|@DIGEST],
    /// containers-storage:NAME
    #[arg(value_name = "IMAGE", value_parser = ImageRef::named, add = ArgValueCompleter::new(Images::SOURCE))]
    image: ImageRef,
    /// Directory to write to; made if missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Media to write: iso, minimal-iso, pxe, metal, metal4k, qcow2, or all
    ///
    /// iso, minimal-iso, pxe: boot a live system, which can install itself
    /// without a network. metal (or raw), metal4k: raw disks with sectors of 512 and
    /// 4096 bytes. qcow2: a disk for QEMU. all: what can be made of this image; a
    /// minimal ISO only with --rootfs-url.
    #[arg(
        short = 'f',
        long = "media",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "iso,pxe",
        value_parser = named::<Wanted>(Wanted::names()),
        hide_possible_values = true
    )]
    media: Vec<Wanted>,
    /// Kernel modules that must be there at every stage of the media
    #[arg(
        long = "driver",
        value_name = "LIST",
        value_delimiter = ',',
        env = "COREOS_BAKE_DRIVER"
    )]
    drivers: Vec<DriverName>,
    /// Bake even if a driver is missing, and exit with 3
    #[arg(long)]
    allow_missing_driver: bool,
    /// Only nodes boot the media, and no bootstrap machine
    #[arg(long)]
    nodes_only: bool,
    /// What installed systems take as their image
    #[arg(long, value_name = "REF")]
    target_imgref: Option<ContainerReference>,
    /// Live root: image, fast, zstd[:N], gzip[:N], xz
    #[arg(
        long,
        value_name = "HOW",
        default_value = "image",
        value_parser = named::<Choice>(Choice::NAMES),
        hide_possible_values = true
    )]
    compression: Choice,
    /// Metal images: none, gzip, xz, zstd
    #[arg(
        long,
        value_name = "HOW",
        default_value = "none",
        value_parser = named::<Archive>(Archive::ALL.map(Archive::name)),
        hide_possible_values = true
    )]
    compress: Archive,
    /// Clusters of qcow2 images: none, zlib, zstd
    #[arg(
        long,
        value_name = "HOW",
        default_value = "none",
        value_parser = named::<qcow2::Compression>(qcow2::Compression::ALL.map(|(name, _)| name)),
        hide_possible_values = true
    )]
    qcow2_compression: qcow2::Compression,
    /// Length of disk images, such as 16G or 4096M
    ///
    /// Without it, metal images have two fifths to spare, and the qcow2 image is
    /// as long as the OS image says. The first boot grows the root file system
    /// to the disk it finds.
    #[arg(long, value_name = "SIZE", value_parser = disk_size)]
    disk_size: Option<u64>,
    /// Room for Ignition configs and network settings in the ISO
    ///
    /// What is embedded is compressed; a bootstrap.ign fits the default. From 256K
    /// to 64M.
    #[arg(long, value_name = "SIZE", value_parser = ignition_area, default_value = "256K")]
    ignition_area: u64,
    /// Head of file names instead of OS name and version
    #[arg(long, value_name = "NAME", value_parser = prefix)]
    prefix: Option<String>,
    /// Where PXE clients fetch the root file system
    #[arg(long, value_name = "URL")]
    rootfs_url: Option<String>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Read the image, print the plan and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    access: ImageArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten, next_help_heading = "Customization options")]
    customization: Customization,
}

impl BakeArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let began = Instant::now();
        if let Some(url) = &self.rootfs_url {
            checked_rootfs_url(url)?;
        }
        let drivers = each_once(&self.drivers)?;
        let has_iso = self.media.iter().any(|wanted| {
            matches!(
                wanted,
                Wanted::All | Wanted::One(Format::Iso | Format::MinimalIso)
            )
        });
        let area = Some(self.ignition_area).filter(|_| has_iso);
        for sentence in self.customization.check(area)? {
            terminal.warn(&sentence);
        }
        let request = Request {
            formats: self
                .media
                .iter()
                .filter_map(|wanted| wanted.one())
                .collect(),
            all_formats: self.media.contains(&Wanted::All),
            drivers,
            allow_missing_driver: self.allow_missing_driver,
            nodes_only: self.nodes_only,
            compression: self.compression,
            archive: self.compress,
            qcow2: self.qcow2_compression,
            disk_bytes: self.disk_size,
            ignition_area_bytes: self.ignition_area,
            prefix: self.prefix,
            rootfs_url: self.rootfs_url,
            customization: self.customization,
            threads: self.access.threads(),
            cache: match self.dry_run {
                true => None,
                false => self.cache.open()?,
            },
        };
        request.check()?;
        if self.dry_run {
            check_writable(&self.output)?;
            let scratch = std::env::temp_dir();
            let (room, scratch_room) = (Room::of(&self.output), Room::of(&scratch));
            let free = |names: &[String]| {
                check_free(&self.output, names.iter().map(String::as_str), self.force)
            };
            free(&request.known_files(None))?;
            let options = self.access.read_options(&scratch, self.target_imgref);
            let opened = Opened::new(&self.image, &options, &scratch)?;
            free(&request.known_files(Some(&opened.image)))?;
            let unpacked = opened.read_bytes();
            let source = opened
                .read(&options, terminal)
                .map_err(|error| scratch_room.explain(error, unpacked))?;
            let plan = Plan::new(&source, &request, terminal)?;
            plan.check_disk(&source, &request)?;
            free(&plan.files)?;
            print_plan(&plan, &room, terminal)?;
            warn_of_room(&room, plan.estimate.needed_bytes(), terminal);
            room.require(plan.estimate.least_bytes, plan.estimate.needed_bytes())?;
            return Ok(outcome(plan.drivers.iter().chain(&plan.mounts)));
        }
        let staging = Staging::new(&self.output, self.force)?;
        let room = staging.room().clone();
        let free = |names: &[String]| {
            check_free(&self.output, names.iter().map(String::as_str), self.force)
        };
        free(&request.known_files(None))?;
        let scratch = staging.directory().to_owned();
        let options = self.access.read_options(&scratch, self.target_imgref);
        let opened = Opened::new(&self.image, &options, &scratch)?;
        free(&request.known_files(Some(&opened.image)))?;
        let needed = request.estimate(&opened.image).needed_bytes();
        let is_warned = warn_of_room(&room, needed, terminal);
        let source = opened
            .read(&options, terminal)
            .map_err(|error| room.explain(error, needed))?;
        let plan = Plan::new(&source, &request, terminal)?;
        let needed = plan.estimate.needed_bytes();
        if !is_warned {
            warn_of_room(&room, needed, terminal);
        }
        let baked = plan
            .execute(&source, &request, staging, terminal)
            .map_err(|error| room.explain(error, needed))?;
        let next = next_step(&source, &baked, &self.output)?;
        summary(&baked, &self.output, &next, began, terminal)?;
        Ok(outcome(baked.drivers.iter().chain(&baked.mounts)))
    }
}

/// How a bake ends, planned or done: what is missing was allowed to be.
fn outcome<'a>(mut found: impl Iterator<Item = &'a Presence>) -> Outcome {
    match found.any(Presence::fails) {
        true => Outcome::Doubtful,
        false => Outcome::Done,
    }
}

/// Length of a disk, in bytes. How much the image needs is seen when it is read.
fn disk_size(text: &str) -> Result<u64> {
    let (bytes, least) = (size(text)?, least_disk_bytes());
    if bytes <= least {
        let mib = least >> 20;
        bail!(
            "a disk of {bytes} bytes is too small: {mib} MiB go to other partitions than the root"
        );
    }
    if bytes > qcow2::SIZE_MAX_BYTES {
        bail!("a disk of {bytes} bytes is larger than a disk image can be: 64T");
    }
    Ok(bytes)
}

fn prefix(text: &str) -> Result<String> {
    check_prefix(text)?;
    Ok(text.to_owned())
}

/// Room in the ISO, in bytes.
fn ignition_area(text: &str) -> Result<u64> {
    let bytes = size(text)?;
    if !IGNITION_AREA_BYTES.contains(&bytes) {
        bail!("the area can have from 256K to 64M");
    }
    Ok(bytes)
}

fn print_plan(plan: &Plan, room: &Room, terminal: &Terminal) -> Result<()> {
    let mut value = serde_json::to_value(plan)?;
    value["schema"] = json!("coreos-bake/plan/v1");
    let columns = terminal.columns();
    let mut text = String::new();
    let root = format!(
        "{} of files, {} in blocks of {}",
        HumanBytes(plan.content_bytes),
        plan.compressor,
        HumanBytes(u64::from(plan.block_size)),
    );
    for (name, value) in [
        ("kernel", &plan.kernel),
        ("volume id", &plan.volume_id),
        ("live root", &root),
        ("live kargs", &plan.live_kargs),
        ("origin", &plan.origin.to_string()),
    ] {
        text += &hanging(&format!("{name:<10}  "), value, columns);
    }
    text += "\n";
    let needed = plan.estimate.needed_bytes();
    value["estimate"]["needed-bytes"] = json!(needed);
    value["estimate"]["free-bytes"] = json!(room.free_bytes());
    text += "would write, of about these sizes\n\n";
    text += &estimates(plan).render(columns);
    let told = room.told(needed, "with what is unpacked meanwhile");
    text += &format!("\n{}", hanging("", &told, columns));
    text += &blocks(&plan.drivers, &plan.mounts, terminal);
    terminal.result(&value, &text)
}

/// Warns where it isn't certain that there is too little room; tells whether it did.
fn warn_of_room(room: &Room, needed_bytes: u64, terminal: &Terminal) -> bool {
    let doubt = room.doubt(needed_bytes);
    if let Some(doubt) = &doubt {
        terminal.warn(doubt);
    }
    doubt.is_some()
}

fn estimates(plan: &Plan) -> Table {
    let mut table = Table::new(["FILE", "SIZE"]);
    for name in &plan.files {
        let mut known = plan.estimate.files.iter();
        let bytes = known.find(|file| file.name == *name).map(|file| file.bytes);
        let size = match bytes {
            None | Some(0) => "small".to_owned(),
            Some(bytes) => HumanBytes(bytes).to_string(),
        };
        table.row([name.clone(), size]);
    }
    table
}

/// The drivers, and what a root can't be mounted for, if there is any of that.
fn blocks(drivers: &[Presence], mounts: &[Presence], terminal: &Terminal) -> String {
    let rows = shown(drivers, mounts);
    match rows.is_empty() {
        true => String::new(),
        false => format!("\n{}", presences(&rows, terminal)),
    }
}

fn summary(
    baked: &Baked,
    output: &Path,
    next: &str,
    began: Instant,
    terminal: &Terminal,
) -> Result<()> {
    let mut table = Table::new(["FILE", "SIZE"]);
    for artifact in &baked.record.files {
        table.row([artifact.name.clone(), HumanBytes(artifact.size).to_string()]);
    }
    let columns = terminal.columns();
    let mut text = table.render(columns);
    let is_judged = |stage| {
        let mut proofs = baked.record.stages.iter();
        proofs.any(|proof| proof.stage == stage && proof.judged)
    };
    let drivers = baked.drivers.iter().filter(|p| is_judged(p.stage));
    let drivers: Vec<Presence> = drivers.cloned().collect();
    text += &blocks(&drivers, &baked.mounts, terminal);
    text += "\n";
    text += &proofs(&baked.record, columns);
    let end = format!(
        "baked into {} in {:.1} s{}",
        output.display(),
        began.elapsed().as_secs_f64(),
        match baked.remembered {
            (0, _) => String::new(),
            (found, asked) => format!("; {found} of {asked} blocks of the root were in the cache"),
        },
    );
    text += &format!("\n{}", hanging("", &end, columns));
    text += next;
    terminal.result(&serde_json::to_value(&baked.record)?, &text)
}

/// What to do with the media: those of a cluster go to `prepare`, and others are ready.
fn next_step(source: &Source, baked: &Baked, output: &Path) -> Result<String> {
    let system = System {
        root: &source.imported.tree,
        release: &source.facts.kernel.release,
        origin: None,
    };
    let output = word(&place(&output.display().to_string()));
    Ok(if system.is_openshift()? {
        format!(
            "next: coreos-bake prepare DIR --release RELEASE --bake {output} --path PATH\n      \
             DIR is openshift-install's, PATH how you install: upi-iso, upi-pxe, ipi, ...\n"
        )
    } else if baked.record.network_boot().is_ok() {
        format!("next: boot them; coreos-bake serve {output} offers them to the network\n")
    } else {
        String::new()
    })
}
