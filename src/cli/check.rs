//! `coreos-bake check`: is the driver there, at every stage?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::driver_names::each_once;
use super::image_args::ImageArgs;
use super::report::{Whole, explanation, junit, presence_table};
use super::terminal::Terminal;
use super::{Outcome, read_up_to};
use crate::containerfile::{self, Remark, Severity, Wanted};
use crate::image::ImageRef;
use crate::kernel::{self, Device, DriverName, Files, Initramfs};
use crate::media::{Glance, Medium, Soundness};
use crate::stages::{self, Cluster, INSTALL, LIVE, Needed, Origin, Parts, Presence, Stage, System};

/// How much of a Containerfile is read: more than is taken, so that it is refused for its size.
const CONTAINERFILE_READ_BYTES: u64 = 2 << 20;

/// The same of a list of devices.
const DEVICES_READ_BYTES: u64 = 32 << 20;

/// Tell whether drivers are there, at each stage from the first boot to day 2
///
/// IMAGE is an image as for bake, or a medium: an ISO, a raw or qcow2 disk
/// image, or a directory with a PXE set. A Containerfile is read as on-cluster
/// layering would build it (spec.containerFile of a MachineOSConfig): what in
/// it loses drivers or breaks the build. Exits with 1 where a driver is missing
/// or a medium would not boot. Exits with 0 if nothing is known to be missing;
/// `complete` in JSON is true only if every stage was judged, none is open, and
/// the drivers are there at each.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Image or medium to look into
    #[arg(value_name = "IMAGE|MEDIUM", required_unless_present = "containerfile")]
    subject: Option<String>,
    /// Kernel modules to look for
    #[arg(
        long = "driver",
        value_name = "LIST",
        value_delimiter = ',',
        required_unless_present_any = ["containerfile", "devices"]
    )]
    drivers: Vec<DriverName>,
    /// Device whose drivers to look for; @FILE reads what lspci -nn prints
    ///
    /// A modalias (pci:v00001000d…), vendor and device (1000:005b), or @FILE with
    /// the output of lspci -nn or of cat /sys/bus/*/devices/*/modalias on the
    /// target machine: of those, storage and network count. Vendor and device find
    /// drivers that name both; those of a whole class (AHCI, NVMe) take a modalias
    /// or a line of lspci -nn.
    #[arg(long = "device", value_name = "DEVICE", requires = "subject")]
    devices: Vec<Devices>,
    /// Containerfile of the pool that the node will be in
    #[arg(long, value_name = "FILE")]
    containerfile: Option<PathBuf>,
    /// Image that osImageURL of the pool names
    ///
    /// If it is not the one that boots, it is looked into as well: nodes pivot to
    /// it on their first boot in the cluster.
    #[arg(long, value_name = "IMAGE", requires = "subject")]
    os_image: Option<ImageRef>,
    /// Tell what a stage is, and the facts behind its verdicts
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    explain: Vec<Stage>,
    /// Write the verdicts as a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    access: ImageArgs,
}

/// What `--device` names.
#[derive(Clone, Debug)]
struct Devices(Vec<Device>);

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let devices = match text.strip_prefix('@') {
            Some(path) => read_up_to(Path::new(path), DEVICES_READ_BYTES)
                .and_then(|bytes| stages::booting_devices(&String::from_utf8_lossy(&bytes))),
            None => stages::booting_devices(text),
        };
        devices.map(Self).map_err(|error| {
            let advice = match Path::new(text).is_file() {
                true => format!("; a file is read with @ in front: @{text}"),
                false => String::new(),
            };
            format!("{error:#}{advice}")
        })
    }
}

/// Drivers by stages.
struct Boot {
    release: String,
    drivers: Vec<Presence>,
    /// Of a medium as a whole; an image has no parts that could be of another one.
    soundness: Option<Soundness>,
    /// What would be known if more were known of the devices.
    notes: Vec<String>,
}

/// What is wrong with a Containerfile.
#[derive(Serialize)]
struct Lint {
    path: PathBuf,
    remarks: Vec<Remark>,
}

impl CheckArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let named = each_once(&self.drivers)?;
        let containerfile = match &self.containerfile {
            Some(path) => Some(read_up_to(path, CONTAINERFILE_READ_BYTES)?),
            None => None,
        };
        let containerfile = containerfile.as_deref();
        let boot = match &self.subject {
            Some(subject) => Some(self.look_into(subject, &named, containerfile, terminal)?),
            None => None,
        };
        let release = boot.as_ref().map(|boot| &*boot.release);
        let drivers = boot.as_ref().map_or(&[][..], |boot| &boot.drivers);
        let lint = match (&self.containerfile, containerfile) {
            (Some(path), Some(content)) => Some(lint(path, content, &named, drivers, release)),
            _ => None,
        };
        ensure!(
            !drivers.is_empty() || lint.is_some(),
            "no driver and no Containerfile was judged"
        );
        let soundness = boot.as_ref().and_then(|boot| boot.soundness.as_ref());
        let faults = soundness.map_or(&[][..], |soundness| &soundness.faults);
        let mut notes: Vec<&String> = Vec::new();
        notes.extend(soundness.iter().flat_map(|soundness| &soundness.notes));
        notes.extend(boot.iter().flat_map(|boot| &boot.notes));
        let not_judged = match boot.is_some() {
            true => "no driver is named, so none was looked for",
            false => "only the Containerfile was read, and no image or medium was looked into",
        };
        let not_judged = not_judged.to_owned();
        if drivers.is_empty() {
            notes.push(&not_judged);
        }
        let missing = stages_where(drivers, Presence::fails);
        let open = stages_where(drivers, |presence| presence.verdict.is_open());
        let fails = !missing.is_empty()
            || !faults.is_empty()
            || lint.as_ref().is_some_and(|lint| !lint.is_harmless());
        let complete = !fails && open.is_empty() && !drivers.is_empty();
        let hint = stages::repair(drivers);
        if let Some(path) = &self.junit {
            let wholes = [
                soundness.map(|soundness| Whole {
                    class: "medium",
                    name: self.subject.clone().unwrap_or_default(),
                    failures: soundness.faults.clone(),
                }),
                lint.as_ref().map(Lint::whole),
            ];
            let wholes: Vec<Whole> = wholes.into_iter().flatten().collect();
            std::fs::write(path, junit(drivers, &wholes))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        let value = json!({
            "schema": "coreos-bake/check/v1",
            "subject": self.subject,
            "kernel": release,
            "complete": complete,
            "missing": missing,
            "open": open,
            "faults": faults,
            "drivers": drivers,
            "notes": notes,
            "hint": hint,
            "containerfile": lint,
        });
        let mut parts = Vec::new();
        if let Some(release) = release {
            let mut text = format!("kernel {release}\n");
            if !drivers.is_empty() {
                text += &format!("\n{}", presence_table(drivers, terminal));
            }
            parts.push(text);
        }
        let mut rest = String::new();
        for fault in faults {
            let subject = self.subject.as_deref().unwrap_or_default();
            rest += &format!("{} {subject}: {fault}\n", terminal.bad("✗"));
        }
        if !open.is_empty() {
            let names: Vec<&str> = open.iter().map(|stage| stage.name()).collect();
            rest += &format!("open, so not known to be right: {}\n", names.join(", "));
        }
        rest.extend(notes.iter().map(|note| format!("note: {note}\n")));
        rest.extend(hint.map(|hint| format!("hint: {hint}\n")));
        parts.extend(Some(rest).filter(|rest| !rest.is_empty()));
        parts.extend(lint.map(|lint| lint.text(terminal)));
        let explained = self.explain.iter();
        parts.extend(explained.map(|stage| explanation(*stage, drivers)));
        terminal.result(&value, &parts.join("\n"))?;
        Ok(match fails {
            true => Outcome::Failed,
            false => Outcome::Done,
        })
    }

    fn look_into(
        &self,
        subject: &str,
        named: &[String],
        containerfile: Option<&[u8]>,
        terminal: &Terminal,
    ) -> Result<Boot> {
        let path = Path::new(subject);
        if Medium::is_medium(path) {
            let medium = Medium::open(path)?;
            return self.look_into_medium(&medium, named, containerfile, terminal);
        }
        let reference = subject
            .parse()
            .with_context(|| format!("{subject} is neither a medium nor an image"))?;
        let source = self.read_image(&reference, terminal)?;
        let release = &source.facts.kernel.release;
        let (wanted, needed) = self.wanted(named, &source.tree, release)?;
        let mut drivers = boot_of(&source, &wanted)?;
        drivers.extend(needed.missing(&LIVE));
        // What is installed is what boots live.
        let installed: Vec<Presence> = drivers
            .iter()
            .cloned()
            .map(|presence| Presence {
                stage: match presence.stage {
                    Stage::LiveInitramfs => Stage::InstallInitramfs,
                    _ => Stage::InstallRoot,
                },
                ..presence
            })
            .collect();
        drivers.extend(installed);
        let origin = source.origin.to_string();
        let system = System {
            root: &source.tree,
            release,
            origin: Some(&origin),
        };
        self.finish(&system, drivers, &wanted, needed, containerfile, terminal)
    }

    fn look_into_medium(
        &self,
        medium: &Medium,
        named: &[String],
        containerfile: Option<&[u8]>,
        terminal: &Terminal,
    ) -> Result<Boot> {
        let root = medium.root();
        let release = kernel::release_in(root)?;
        let (wanted, needed) = self.wanted(named, root, &release)?;
        let arguments = medium.arguments()?;
        let parts = medium.parts(&release, &arguments);
        let initramfs = Initramfs::read(parts.initrd.reader()).context("reading the initramfs")?;
        let threads = self.access.threads().get();
        let soundness = Soundness::of(medium, &release, &initramfs, threads, terminal)?;
        let mut drivers = stages::check_read(&parts, &initramfs, &wanted, medium.stages())?;
        drivers.extend(needed.missing(medium.stages()));
        if let Some(initrd) = &medium.installed_initrd(&release)? {
            // Arguments of a live boot are not those of what it installs.
            let parts = Parts {
                initrd,
                arguments: &medium.installed_arguments()?,
                ..parts
            };
            drivers.extend(stages::check(&parts, &wanted, &INSTALL)?);
        }
        let origin = medium.origin()?;
        let system = System {
            root,
            release: &release,
            origin: origin.as_deref(),
        };
        let boot = self.finish(&system, drivers, &wanted, needed, containerfile, terminal)?;
        Ok(Boot {
            soundness: Some(soundness),
            ..boot
        })
    }

    /// Adds to the verdicts on the boots those on the cluster.
    fn finish(
        &self,
        system: &System<'_>,
        mut drivers: Vec<Presence>,
        wanted: &[String],
        needed: Needed,
        containerfile: Option<&[u8]>,
        terminal: &Terminal,
    ) -> Result<Boot> {
        let in_cluster = self.in_cluster(system, wanted, &drivers, containerfile, terminal)?;
        drivers.extend(in_cluster);
        needed.doubt(&mut drivers);
        sort(&mut drivers, wanted);
        Ok(Boot {
            release: system.release.to_owned(),
            drivers,
            soundness: None,
            notes: needed.notes,
        })
    }

    fn read_image(&self, reference: &ImageRef, terminal: &Terminal) -> Result<Glance> {
        let scratch = std::env::temp_dir();
        let options = self.access.read_options(&scratch, None);
        Glance::read(reference, &options, &scratch, terminal)
    }

    /// The drivers that are `named`, and those that devices ask for; what else is known of devices.
    fn wanted(
        &self,
        named: &[String],
        root: &dyn Files,
        release: &str,
    ) -> Result<(Vec<String>, Needed)> {
        let devices = self.devices.iter().flat_map(|devices| &devices.0);
        let devices: Vec<Device> = devices.cloned().collect();
        let mut needed = stages::needed(&devices, root, release)?;
        // Whoever names a driver is sure of it.
        needed.possible.retain(|driver, _| !named.contains(driver));
        let mut wanted = named.to_vec();
        wanted.extend(needed.drivers.iter().cloned());
        wanted.extend(needed.possible.keys().cloned());
        let mut seen = BTreeSet::new();
        wanted.retain(|driver| seen.insert(driver.clone()));
        Ok((wanted, needed))
    }

    /// The verdicts on what comes after installation; none for systems that go into no cluster.
    fn in_cluster(
        &self,
        system: &System<'_>,
        wanted: &[String],
        boots: &[Presence],
        containerfile: Option<&[u8]>,
        terminal: &Terminal,
    ) -> Result<Vec<Presence>> {
        // Whoever names what the cluster does with it has a system that goes into one.
        let is_named = self.os_image.is_some() || containerfile.is_some();
        if !is_named && !system.is_openshift()? {
            return Ok(Vec::new());
        }
        let os_image = self.os_image.as_ref().map(|image| match image {
            ImageRef::Registry(name) => name.to_string(),
            other => other.to_string(),
        });
        let booted = system.origin.and_then(Origin::registry_name);
        let os_image_drivers = match &self.os_image {
            Some(image) if os_image.as_deref() != booted => {
                boot_of(&self.read_image(image, terminal)?, wanted)?
            }
            _ => Vec::new(),
        };
        let cluster = Cluster {
            os_image: os_image.as_deref(),
            os_image_drivers: &os_image_drivers,
            containerfile,
        };
        stages::in_cluster(system, wanted, boots, &cluster)
    }
}

/// What is wrong with the Containerfile at `path`, for drivers that are named or were looked for.
fn lint(
    path: &Path,
    content: &[u8],
    named: &[String],
    table: &[Presence],
    release: Option<&str>,
) -> Lint {
    let mut drivers = named.to_vec();
    for presence in table {
        // Devices without a driver are rows as well.
        let is_name = presence.driver.parse::<DriverName>().is_ok();
        if is_name && !drivers.contains(&presence.driver) {
            drivers.push(presence.driver.clone());
        }
    }
    let wanted = Wanted {
        drivers: &drivers,
        kernel: release,
    };
    Lint {
        path: path.to_owned(),
        remarks: containerfile::lint(content, &wanted),
    }
}

/// The stages of rows for which something is so, each once, in their order.
fn stages_where(table: &[Presence], is_so: impl Fn(&Presence) -> bool) -> Vec<Stage> {
    let rows = table.iter().filter(|presence| is_so(presence));
    let stages: BTreeSet<Stage> = rows.map(|presence| presence.stage).collect();
    stages.into_iter().collect()
}

/// The drivers in an image's initramfs and root.
fn boot_of(source: &Glance, wanted: &[String]) -> Result<Vec<Presence>> {
    let kernel = &source.facts.kernel;
    let parts = Parts {
        initrd: &kernel.initramfs,
        root: &source.tree,
        release: &kernel.release,
        arguments: &source.facts.image.extra_kargs,
    };
    stages::check(&parts, wanted, &LIVE)
}

/// By driver as they were named, and then as a machine goes through the stages.
fn sort(table: &mut [Presence], wanted: &[String]) {
    let place = |name: &String| wanted.iter().position(|driver| driver == name);
    table.sort_by_key(|presence| (place(&presence.driver), presence.stage));
}

fn stage(name: &str) -> Result<Stage, String> {
    let names = Stage::ALL.map(Stage::name);
    let position = names.iter().position(|known| *known == name);
    position
        .map(|at| Stage::ALL[at])
        .ok_or_else(|| format!("there are {}", names.join(", ")))
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
        let warnings = self.sentences(Severity::Warning).len();
        if self.is_harmless() && warnings == 0 {
            let good = terminal.good("✓");
            text += &format!("{good} {path}: nothing keeps the cluster from building it\n");
        } else if self.is_harmless() {
            let doubtful = terminal.doubtful("!");
            text += &format!("{doubtful} {path}: whether it does what it should is not sure\n");
        }
        text
    }

    /// What is said with a severity.
    fn sentences(&self, severity: Severity) -> Vec<String> {
        let remarks = self.remarks.iter().filter(|r| r.severity == severity);
        remarks.map(|remark| remark.message.clone()).collect()
    }

    /// As a test of a report.
    fn whole(&self) -> Whole {
        Whole {
            class: "containerfile",
            name: self.path.display().to_string(),
            failures: self.sentences(Severity::Error),
        }
    }
}
