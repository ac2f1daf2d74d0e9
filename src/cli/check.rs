//! `coreos-bake check`: is the driver there, at every stage?

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::ArgValueCompleter;
use serde::Serialize;
use serde_json::json;

use super::completion::{Images, file_behind_at};
use super::consumers::{self, ConsumerArgs};
use super::driver_names::each_once;
use super::image_args::ImageArgs;
use super::report::{Whole, explanation, junit, presences, shown};
use super::terminal::Terminal;
use super::{Outcome, Usage, read_up_to};
use crate::containerfile::{self, Remark, Severity, Wanted};
use crate::failure::Failure;
use crate::foreign::visible;
use crate::image::{self, ImageRef};
use crate::kernel::{self, Device, DriverName, Files, Root};
use crate::media::live_root;
use crate::openshift::directory::read_objects;
use crate::openshift::reruns;
use crate::os::{Glance, Opened, Parts, mounts_composefs};
use crate::ostree::ContainerReference;
use crate::paragraph::{Paragraph, hanging};
use crate::readback::{Found, Medium, Place, Rootless, Soundness, unmatched};
use crate::stages::{self, Cluster, INSTALL, LIVE, Needed, Presence, Rerun, Stage, System};
use crate::staging::Room;

/// How much of a Containerfile is read: more than is taken, so that it is refused for its size.
const CONTAINERFILE_READ_BYTES: u64 = 2 << 20;

/// The same of a list of devices.
const DEVICES_READ_BYTES: u64 = 32 << 20;

/// Tell whether drivers are there, at each stage from the first boot to day 2
///
/// IMAGE is an image as for bake, or a medium: an ISO, a raw or qcow2 disk
/// image, or a directory of media, all of which are looked into. A minimal ISO
/// is judged with the root file system that it fetches, if that lies beside it
/// or is given. A Containerfile is read as on-cluster
/// layering would build it (spec.containerFile of a MachineOSConfig): what in
/// it loses drivers or breaks the build. Exits with 1 where a driver is missing
/// or a medium would not boot. Exits with 0 if nothing is known to be missing;
/// `complete` in JSON is true only if every stage was judged, none is open, and
/// the drivers are there at each.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Image or medium to look into
    #[arg(
        value_name = "IMAGE|MEDIUM",
        required_unless_present = "containerfile",
        add = ArgValueCompleter::new(Images::SUBJECT)
    )]
    subject: Option<String>,
    /// Kernel modules to look for
    #[arg(
        long = "driver",
        value_name = "LIST",
        value_delimiter = ',',
        env = "COREOS_BAKE_DRIVER",
        required_unless_present_any = ["containerfile", "devices", "consumers"]
    )]
    drivers: Vec<DriverName>,
    /// Device whose drivers to look for; @FILE reads what lspci -nn prints
    ///
    /// A modalias (pci:v00001000d…), vendor and device (1000:005b), or @FILE with
    /// the output of lspci -nn or of cat /sys/bus/*/devices/*/modalias on the
    /// target machine: of those, storage and network count. Vendor and device find
    /// drivers that name both; those of a whole class (AHCI, NVMe) take a modalias
    /// or a line of lspci -nn.
    #[arg(
        long = "device",
        value_name = "DEVICE",
        requires = "subject",
        add = ArgValueCompleter::new(file_behind_at)
    )]
    devices: Vec<Devices>,
    /// Containerfile of the pool that the node will be in
    #[arg(long, value_name = "FILE")]
    containerfile: Option<PathBuf>,
    /// Image that osImageURL of the pool names
    ///
    /// If it is not the one that boots, it is looked into as well: nodes pivot to
    /// it on their first boot in the cluster.
    #[arg(
        long,
        value_name = "IMAGE",
        requires = "subject",
        value_parser = ImageRef::named,
        add = ArgValueCompleter::new(Images::SOURCE)
    )]
    os_image: Option<ImageRef>,
    /// Manifests of the pool that the node will be in
    ///
    /// A file, or a directory such as the one of openshift-install. Objects that have
    /// the initramfs made anew on nodes are looked for: MachineConfigs that run
    /// rpm-ostree initramfs --enable, InitramfsModules.
    #[arg(long = "manifest", value_name = "FILE|DIR", requires = "subject")]
    manifests: Vec<PathBuf>,
    /// Tell what a stage is, and the facts behind its verdicts
    #[arg(
        long,
        value_name = "STAGE",
        value_parser = PossibleValuesParser::new(Stage::ALL.map(Stage::name)).try_map(|name| stage(&name))
    )]
    explain: Vec<Stage>,
    /// Write the verdicts as a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Root file system that a minimal ISO fetches
    #[arg(long, value_name = "FILE", requires = "subject")]
    rootfs: Option<PathBuf>,
    #[command(flatten)]
    consumers: ConsumerArgs,
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
    /// The same of the boots alone, as the cluster's stages go on with them: without what a later dracut
    /// would do to a node.
    boots: Vec<Presence>,
    /// What roots are mounted with.
    mounts: Vec<Presence>,
    /// Drivers that a later dracut would leave out.
    left_out: Vec<String>,
    /// Of a medium as a whole; an image has no parts that could be of another one.
    soundness: Option<Soundness>,
    /// What was not looked into, or would be known if more were known of the devices.
    notes: Vec<String>,
    /// The media, one by one; none of an image.
    media: Vec<Looked>,
    /// Those of an image; media have none.
    labels: BTreeMap<String, String>,
}

/// A medium that was looked into.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Looked {
    /// What it is called beside others.
    medium: String,
    /// What it is, as `bake -f` names it, or `disk`.
    kind: &'static str,
    path: PathBuf,
    kernel: String,
    /// The file with the root that a minimal ISO fetches.
    rootfs: Option<PathBuf>,
    /// Why it does not boot.
    faults: Vec<String>,
    /// Stages of its boots at which a driver is missing, and those that are open.
    missing: Vec<Stage>,
    open: Vec<Stage>,
}

/// What is asked for, and what is known besides the subject.
struct Known<'a> {
    /// The drivers that were named.
    named: Vec<String>,
    containerfile: Option<&'a [u8]>,
    /// What has initramfs made anew on nodes.
    reruns: Vec<Rerun>,
}

/// Looks into a minimal ISO by itself.
fn look_into_rootless(rootless: &Rootless, wanted: &[String]) -> Result<Boot> {
    let initramfs = rootless.read_initramfs()?;
    let release = rootless.release(&initramfs)?;
    let arguments = rootless.arguments()?;
    let parts = Parts {
        initrd: rootless.initrd(),
        root: &initramfs,
        release: &release,
        arguments: &arguments,
    };
    let why =
        "the root file system that the ISO fetches was not looked into: give it with --rootfs FILE";
    let drivers = stages::check_rootless(&parts, &initramfs, wanted, why)?;
    let root = Root::Live {
        iso: false,
        compression: None,
    };
    let mounts = stages::mounts(&parts, &initramfs, root)?;
    let soundness = rootless.soundness(&release, &initramfs)?;
    Ok(Boot {
        boots: drivers.clone(),
        drivers,
        mounts,
        left_out: Vec::new(),
        soundness: Some(soundness),
        notes: Vec::new(),
        media: Vec::new(),
        labels: BTreeMap::new(),
        release,
    })
}

/// What was seen of several media as of one. There is at least one.
fn merged(boots: Vec<(&Found, Boot)>) -> Boot {
    let are_several = boots.len() > 1;
    let named = |name: &str, text: &String| match are_several {
        true => format!("{name}: {text}"),
        false => text.clone(),
    };
    let table = |of: fn(&Boot) -> &Vec<Presence>| {
        let tables: Vec<_> = boots
            .iter()
            .map(|(opened, boot)| (opened.name(), of(boot).clone()))
            .collect();
        stages::worst_of(&tables)
    };
    let mut soundness = Soundness::default();
    let mut media = Vec::new();
    let mut left_out = Vec::new();
    for (opened, boot) in &boots {
        let name = opened.name();
        let found = boot.soundness.iter();
        for found in found {
            let faults = found.faults.iter().map(|fault| named(&name, fault));
            soundness.faults.extend(faults);
            let notes = found.notes.iter().map(|note| named(&name, note));
            soundness.notes.extend(notes);
        }
        left_out.extend(boot.left_out.iter().cloned());
        media.push(Looked {
            medium: name,
            kind: opened.kind(),
            path: opened.path().to_owned(),
            kernel: boot.release.clone(),
            rootfs: opened.fetched_root().map(Path::to_owned),
            faults: boot
                .soundness
                .iter()
                .flat_map(|s| s.faults.clone())
                .collect(),
            missing: stages_where(&boot.boots, Presence::fails),
            open: stages_where(&boot.boots, |presence| presence.verdict.is_open()),
        });
    }
    left_out.sort_unstable();
    left_out.dedup();
    let release = media[0].kernel.clone();
    if let Some(other) = media.iter().find(|medium| medium.kernel != release) {
        soundness.faults.push(format!(
            "the media are not of one bake: {} has kernel {release}, and {} has {}",
            media[0].medium, other.medium, other.kernel
        ));
    }
    let looked_into = media.iter().map(|medium| match &medium.rootfs {
        Some(rootfs) => format!("{} with {}", medium.medium, rootfs.display()),
        None => medium.medium.clone(),
    });
    let looked_into: Vec<String> = looked_into.collect();
    let mut notes = Vec::new();
    if are_several || media.iter().any(|medium| medium.rootfs.is_some()) {
        notes.push(format!("what was looked into: {}", looked_into.join(", ")));
    }
    Boot {
        drivers: table(|boot| &boot.drivers),
        boots: table(|boot| &boot.boots),
        mounts: table(|boot| &boot.mounts),
        release,
        left_out,
        soundness: Some(soundness),
        notes,
        media,
        labels: BTreeMap::new(),
    }
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
        if let Some(path) = &self.junit {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
                let (path, parent) = (path.display(), parent.display());
                return Err(
                    Usage::new(format!("--junit {path}: there is no directory {parent}")).into(),
                );
            }
        }
        let containerfile = match &self.containerfile {
            Some(path) => Some(read_up_to(path, CONTAINERFILE_READ_BYTES)?),
            None => None,
        };
        let known = Known {
            named,
            containerfile: containerfile.as_deref(),
            reruns: self.reruns()?,
        };
        let verdicts = self.consumers.judge(self.subject.as_deref())?;
        // Without drivers to look for, only the ISO itself is looked into.
        let is_asked = verdicts.is_empty() || !(self.drivers.is_empty() && self.devices.is_empty());
        let boot = match &self.subject {
            Some(subject) if is_asked => Some(self.look_into(subject, &known, terminal)?),
            _ => None,
        };
        let boot = boot.as_ref();
        let release = boot.map(|boot| &*boot.release);
        let drivers = boot.map_or(&[][..], |boot| &boot.drivers);
        let mounts = boot.map_or(&[][..], |boot| &boot.mounts);
        let all = [drivers, mounts].concat();
        let lint = match (&self.containerfile, known.containerfile) {
            (Some(path), Some(content)) => Some(lint(path, content, &known.named, boot)),
            _ => None,
        };
        ensure!(
            !drivers.is_empty() || lint.is_some() || !verdicts.is_empty(),
            "no driver, no Containerfile and no program was judged"
        );
        let soundness = boot.and_then(|boot| boot.soundness.as_ref());
        let faults = soundness.map_or(&[][..], |soundness| &soundness.faults);
        let mut notes: Vec<&String> = Vec::new();
        notes.extend(soundness.iter().flat_map(|soundness| &soundness.notes));
        notes.extend(boot.into_iter().flat_map(|boot| &boot.notes));
        let not_judged = match boot.is_some() {
            true => "no driver is named, so none was looked for",
            false if lint.is_some() => {
                "only the Containerfile was read, and no image or medium was looked into"
            }
            false => "only whether programs take the ISO was judged, and no driver was looked for",
        };
        let not_judged = not_judged.to_owned();
        if drivers.is_empty() {
            notes.push(&not_judged);
        }
        let missing = stages_where(&all, Presence::fails);
        let open = stages_where(&all, |presence| presence.verdict.is_open());
        let fails = !missing.is_empty()
            || !faults.is_empty()
            || lint.as_ref().is_some_and(|lint| !lint.is_harmless())
            || verdicts.iter().any(|verdict| !verdict.taken);
        let complete = !fails && open.is_empty() && !drivers.is_empty();
        let hint = stages::repair(drivers)
            .or_else(|| stages::repair_mounts(mounts))
            .or_else(|| stages::repair_kept(&boot?.left_out));
        if let Some(path) = &self.junit {
            let wholes = [
                soundness.map(|soundness| Whole {
                    class: "medium",
                    name: self.subject.clone().unwrap_or_default(),
                    failures: soundness.faults.clone(),
                }),
                lint.as_ref().map(Lint::whole),
            ];
            let programs = verdicts.iter().map(consumers::whole);
            let wholes: Vec<Whole> = wholes.into_iter().flatten().chain(programs).collect();
            std::fs::write(path, junit(&all, &wholes))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        let value = json!({
            "schema": "coreos-bake/check/v1",
            "subject": self.subject,
            "kernel": release,
            "labels": boot.map(|boot| &boot.labels),
            "complete": complete,
            "missing": missing,
            "open": open,
            "faults": faults,
            "drivers": drivers,
            "mounts": mounts,
            "notes": notes,
            "hint": hint,
            "containerfile": lint,
            "for": verdicts,
            "media": boot.map_or(&[][..], |boot| &boot.media),
        });
        let mut parts = Vec::new();
        parts.extend(release.map(|release| format!("kernel {}\n", visible(release))));
        let mut rows = shown(drivers, mounts);
        // What is explained below is not told here as well.
        rows.retain(|row| !self.explain.contains(&row.stage));
        parts.extend(Some(presences(&rows, terminal)).filter(|rows| !rows.is_empty()));
        let mut rest = String::new();
        let mut tell = |first: &str, text: &str| rest += &hanging(first, text, terminal.columns());
        for fault in faults {
            let subject = self.subject.as_deref().unwrap_or_default();
            tell(
                &format!("{} ", terminal.bad("✗")),
                &visible(&format!("{subject}: {fault}")),
            );
        }
        if !open.is_empty() {
            let names: Vec<&str> = open.iter().map(|stage| stage.name()).collect();
            tell("open, so not known to be right: ", &names.join(", "));
        }
        notes.iter().for_each(|note| tell("note: ", &visible(note)));
        hint.iter().for_each(|hint| tell("hint: ", hint));
        parts.extend(Some(rest).filter(|rest| !rest.is_empty()));
        parts.extend(lint.map(|lint| lint.text(terminal)));
        parts.extend(consumers::text(&verdicts, terminal));
        let explained = self.explain.iter();
        parts.extend(explained.map(|stage| explanation(*stage, &all, terminal)));
        terminal.result(&value, &parts.join("\n"))?;
        Ok(match fails {
            true => Outcome::Failed,
            false => Outcome::Done,
        })
    }

    fn look_into(&self, subject: &str, known: &Known<'_>, terminal: &Terminal) -> Result<Boot> {
        let path = Path::new(subject);
        if let Some(error) = image::without_prefix(subject) {
            return Err(error.into());
        }
        if Medium::is_medium(path) {
            let place = Place::open(path, self.rootfs.as_deref())?;
            return self.look_into_media(place, known, terminal);
        }
        if let Some(mistake) = unmatched(subject) {
            return Err(mistake.into());
        }
        ensure!(
            self.rootfs.is_none(),
            "{subject} is not a minimal ISO, which --rootfs is for"
        );
        let reference = subject
            .parse()
            .with_context(|| format!("{subject} is neither a medium nor an image"))?;
        let source = self.read_image(&reference, terminal)?;
        let release = &source.facts.kernel.release;
        let (wanted, needed) = self.wanted(&known.named, &source.tree, release)?;
        let parts = source.parts();
        let initramfs = parts.read_initramfs()?;
        let mut drivers = stages::check(&parts, &initramfs, &wanted, &LIVE)?;
        let mut mounts = stages::mounts(&parts, &initramfs, live_root(&source.facts.image)?)?;
        let composefs = mounts_composefs(&initramfs)?;
        let disk = stages::mounts(&parts, &initramfs, Root::Disk { composefs })?;
        mounts.extend(disk);
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
        let boots = drivers.clone();
        let reruns = &known.reruns;
        let left_out = stages::keep(&mut drivers, &source.tree, &initramfs, release, reruns)?;
        let boot = Boot {
            release: release.clone(),
            drivers,
            boots,
            mounts,
            left_out,
            soundness: None,
            notes: Vec::new(),
            media: Vec::new(),
            labels: source.image.labels.clone(),
        };
        let system = System {
            root: &source.tree,
            release,
            origin: Some(&source.origin),
        };
        self.finish(&system, boot, &wanted, needed, known, terminal)
    }

    /// Looks into all media of a place. The cluster is asked about once, by what they have in common.
    fn look_into_media(
        &self,
        place: Place,
        known: &Known<'_>,
        terminal: &Terminal,
    ) -> Result<Boot> {
        let whole = place.media.iter().find_map(|opened| match opened {
            Found::Whole(medium) => Some(&**medium),
            Found::Rootless(_) => None,
        });
        let (wanted, needed) = match whole {
            Some(medium) => {
                let release = kernel::release_in(medium.root())?;
                self.wanted(&known.named, medium.root(), &release)?
            }
            None if self.devices.is_empty() => (known.named.clone(), Needed::default()),
            None => {
                return Err(Failure::new(
                    "which drivers devices need is told by the root file system, and a minimal ISO has none",
                    "give the root file system that it fetches with --rootfs FILE",
                )
                .into());
            }
        };
        let mut boots = Vec::new();
        for opened in &place.media {
            let boot = match opened {
                Found::Whole(medium) => {
                    self.look_into_medium(medium, &wanted, &needed, known, terminal)
                }
                Found::Rootless(rootless) => look_into_rootless(rootless, &wanted),
            };
            let boot = boot.with_context(|| format!("looking into {}", opened.name()))?;
            boots.push((opened, boot));
        }
        let mut boot = merged(boots);
        boot.notes.extend(place.notes);
        let Some(medium) = whole else {
            return Ok(boot);
        };
        let origin = medium.origin()?;
        let release = boot.release.clone();
        let system = System {
            root: medium.root(),
            release: &release,
            origin: origin.as_ref(),
        };
        self.finish(&system, boot, &wanted, needed, known, terminal)
    }

    fn look_into_medium(
        &self,
        medium: &Medium,
        wanted: &[String],
        needed: &Needed,
        known: &Known<'_>,
        terminal: &Terminal,
    ) -> Result<Boot> {
        let root = medium.root();
        let release = kernel::release_in(root)?;
        let arguments = medium.arguments()?;
        let parts = medium.parts(&release, &arguments);
        let initramfs = parts.read_initramfs()?;
        let threads = self.access.threads().get();
        let soundness = Soundness::of(medium, &release, &initramfs, threads, terminal)?;
        let mut drivers = stages::check(&parts, &initramfs, wanted, medium.stages())?;
        let mut mounts = stages::mounts(&parts, &initramfs, medium.boot_root(&initramfs)?)?;
        drivers.extend(needed.missing(medium.stages()));
        let mut installed = initramfs;
        if let Some(initrd) = &medium.installed_initrd(&release)? {
            // Arguments of a live boot are not those of what it installs.
            let parts = Parts {
                initrd,
                arguments: &medium.installed_arguments()?,
                ..parts
            };
            installed = parts.read_initramfs()?;
            drivers.extend(stages::check(&parts, &installed, wanted, &INSTALL)?);
            let composefs = mounts_composefs(&installed)?;
            let root = Root::Disk { composefs };
            mounts.extend(stages::mounts(&parts, &installed, root)?);
        }
        let boots = drivers.clone();
        let left_out = stages::keep(&mut drivers, root, &installed, &release, &known.reruns)?;
        Ok(Boot {
            release,
            drivers,
            boots,
            mounts,
            left_out,
            soundness: Some(soundness),
            notes: Vec::new(),
            media: Vec::new(),
            labels: BTreeMap::new(),
        })
    }

    /// Adds to the verdicts on the boots those on the cluster.
    fn finish(
        &self,
        system: &System<'_>,
        mut boot: Boot,
        wanted: &[String],
        needed: Needed,
        known: &Known<'_>,
        terminal: &Terminal,
    ) -> Result<Boot> {
        let in_cluster = self.in_cluster(system, wanted, &boot, known, terminal)?;
        boot.drivers.extend(in_cluster);
        needed.doubt(&mut boot.drivers);
        sort(&mut boot.drivers, wanted);
        boot.notes.extend(needed.notes);
        Ok(boot)
    }

    fn read_image(&self, reference: &ImageRef, terminal: &Terminal) -> Result<Glance> {
        let scratch = std::env::temp_dir();
        let options = self.access.read_options(&scratch, None);
        let room = Room::of(&scratch);
        let opened = Opened::new(reference, &options, &scratch)?;
        let needed = opened.glance_bytes();
        opened
            .glance(&options, terminal)
            .map_err(|error| room.explain(error, needed))
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
        boot: &Boot,
        known: &Known<'_>,
        terminal: &Terminal,
    ) -> Result<Vec<Presence>> {
        // Whoever names what the cluster does with it has a system that goes into one.
        let is_named = self.os_image.is_some() || known.containerfile.is_some();
        if !is_named && !system.is_openshift()? {
            return Ok(Vec::new());
        }
        let os_image = self.os_image.as_ref().map(|image| match image {
            ImageRef::Registry(name) => name.to_string(),
            other => other.to_string(),
        });
        let booted = system.origin.and_then(ContainerReference::registry_name);
        let mut os_image_drivers = Vec::new();
        let mut left_out = boot.left_out.clone();
        if let Some(image) = &self.os_image
            && os_image.as_deref() != booted
        {
            let source = self.read_image(image, terminal)?;
            let parts = source.parts();
            let initramfs = parts.read_initramfs()?;
            os_image_drivers = stages::check(&parts, &initramfs, wanted, &LIVE)?;
            left_out = stages::left_out(parts.root, &initramfs, parts.release, wanted)?;
        }
        let cluster = Cluster {
            os_image: os_image.as_deref(),
            os_image_drivers: &os_image_drivers,
            containerfile: known.containerfile,
            left_out: &left_out,
        };
        stages::in_cluster(system, wanted, &boot.boots, &cluster)
    }

    /// What in the manifests has initramfs made anew.
    fn reruns(&self) -> Result<Vec<Rerun>> {
        let mut found = Vec::new();
        for path in &self.manifests {
            let documents = read_objects(path)?;
            ensure!(
                documents.iter().any(|one| one.value["kind"].is_string()),
                "{} has no object of a cluster in it, which would have a kind",
                path.display()
            );
            for document in documents {
                found.extend(reruns(&document.file, &document.value));
            }
        }
        Ok(found)
    }
}

/// What is wrong with the Containerfile at `path`, for drivers that are named or were looked for.
fn lint(path: &Path, content: &[u8], named: &[String], boot: Option<&Boot>) -> Lint {
    let mut drivers = named.to_vec();
    for presence in boot.iter().flat_map(|boot| &boot.drivers) {
        // Devices without a driver are rows as well.
        let is_name = presence.driver.parse::<DriverName>().is_ok();
        if is_name && !drivers.contains(&presence.driver) {
            drivers.push(presence.driver.clone());
        }
    }
    let wanted = Wanted {
        drivers: &drivers,
        kernel: boot.map(|boot| &*boot.release),
        left_out: boot.map_or(&[][..], |boot| &boot.left_out),
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

    /// A paragraph for each remark, which begins as those of compilers do.
    fn text(&self, terminal: &Terminal) -> String {
        let columns = terminal.columns();
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
            let paragraph = Paragraph {
                first: &format!("{path}{line}: {severity}: "),
                rest: "    ",
                columns,
            };
            text += &paragraph.of(&format!("{message} ({rule})"));
            if let Some(hint) = &remark.hint {
                text += &hanging("  hint: ", hint, columns);
            }
        }
        let warnings = self.sentences(Severity::Warning).len();
        if self.is_harmless() && warnings == 0 {
            let first = format!("{} ", terminal.good("✓"));
            let sentence = format!("{path}: nothing keeps the cluster from building it");
            text += &hanging(&first, &sentence, columns);
        } else if self.is_harmless() {
            let first = format!("{} ", terminal.doubtful("!"));
            let sentence = format!("{path}: whether it does what it should is not sure");
            text += &hanging(&first, &sentence, columns);
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
