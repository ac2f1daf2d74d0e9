//! `coreos-bake check`: is the driver there, at every stage?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::image_args::ImageArgs;
use super::report::{explanation, junit, presence_table, shown};
use super::terminal::Terminal;
use super::{Outcome, read_up_to};
use crate::containerfile::{self, Remark, Severity, Wanted};
use crate::image::ImageRef;
use crate::kernel::{self, Files, Root};
use crate::media::{Glance, Medium, live_root};
use crate::openshift::directory::read_objects;
use crate::openshift::reruns;
use crate::stages::{
    self, Cluster, INSTALL, LIVE, Needed, Origin, Parts, Presence, Rerun, Stage, System,
};
use crate::sysroot;

/// How much of a Containerfile is read: more than is taken, so that it is refused for its size.
const CONTAINERFILE_READ_BYTES: u64 = 2 << 20;

/// The same of a list of devices.
const DEVICES_READ_BYTES: u64 = 32 << 20;

/// Tell whether drivers are there, at each stage from the first boot to day 2
///
/// IMAGE is an image as for bake, or a medium: an ISO, a raw or qcow2 disk
/// image, or a directory with a PXE set. A Containerfile is read as on-cluster
/// layering would build it (spec.containerFile of a MachineOSConfig): what in
/// it loses drivers or breaks the build. Exits with 1 where a driver is missing.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Image or medium to look into
    #[arg(value_name = "IMAGE|MEDIUM", required_unless_present = "containerfile")]
    subject: Option<String>,
    /// Kernel module to look for
    #[arg(
        long = "driver",
        value_name = "NAME",
        required_unless_present_any = ["containerfile", "devices"]
    )]
    drivers: Vec<String>,
    /// Device whose drivers to look for; @FILE reads what lspci -nn prints
    ///
    /// A modalias (pci:v00001000d…), vendor and device (1000:005b), or @FILE with
    /// the output of lspci -nn or of cat /sys/bus/*/devices/*/modalias on the
    /// target machine: of those, storage and network count.
    #[arg(long = "device", value_name = "DEVICE", requires = "subject")]
    devices: Vec<String>,
    /// Containerfile of the pool that the node will be in
    #[arg(long, value_name = "FILE")]
    containerfile: Option<PathBuf>,
    /// Image that osImageURL of the pool names
    ///
    /// If it is not the one that boots, it is looked into as well: nodes pivot to
    /// it on their first boot in the cluster.
    #[arg(long, value_name = "IMAGE", requires = "subject")]
    os_image: Option<ImageRef>,
    /// Manifests of the pool that the node will be in
    ///
    /// A file, or a directory such as the one of openshift-install. Objects that have
    /// the initramfs made anew on nodes are looked for: MachineConfigs that run
    /// rpm-ostree initramfs --enable, InitramfsModules.
    #[arg(long = "manifest", value_name = "FILE|DIR", requires = "subject")]
    manifests: Vec<PathBuf>,
    /// Tell what a stage is, and the facts behind its verdicts
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    explain: Vec<Stage>,
    /// Write the verdicts as a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    access: ImageArgs,
}

/// Drivers by stages.
struct Boot {
    release: String,
    drivers: Vec<Presence>,
    /// What roots are mounted with.
    mounts: Vec<Presence>,
    /// Drivers that a later dracut would leave out.
    left_out: Vec<String>,
}

/// What is known besides the subject.
struct Known<'a> {
    containerfile: Option<&'a [u8]>,
    /// What has initramfs made anew on nodes.
    reruns: Vec<Rerun>,
}

/// What is wrong with a Containerfile.
#[derive(Serialize)]
struct Lint {
    path: PathBuf,
    remarks: Vec<Remark>,
}

impl CheckArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let containerfile = match &self.containerfile {
            Some(path) => Some(read_up_to(path, CONTAINERFILE_READ_BYTES)?),
            None => None,
        };
        let known = Known {
            containerfile: containerfile.as_deref(),
            reruns: self.reruns()?,
        };
        let boot = match &self.subject {
            Some(subject) => Some(self.look_into(subject, &known, terminal)?),
            None => None,
        };
        let boot = boot.as_ref();
        let release = boot.map(|boot| &*boot.release);
        let lint = match (&self.containerfile, known.containerfile) {
            (Some(path), Some(content)) => Some(self.lint(path, content, boot)),
            _ => None,
        };
        let drivers = boot.map_or(&[][..], |boot| &boot.drivers);
        let mounts = boot.map_or(&[][..], |boot| &boot.mounts);
        let all = [drivers, mounts].concat();
        let hint = stages::repair(drivers)
            .or_else(|| stages::repair_mounts(mounts))
            .or_else(|| stages::repair_kept(&boot?.left_out));
        let complete =
            !all.iter().any(Presence::fails) && lint.as_ref().is_none_or(Lint::is_harmless);
        if let Some(path) = &self.junit {
            std::fs::write(path, junit(&all))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        let value = json!({
            "schema": "coreos-bake/check/v1",
            "subject": self.subject,
            "kernel": release,
            "complete": complete,
            "drivers": drivers,
            "mounts": mounts,
            "hint": hint,
            "containerfile": lint,
        });
        let mut parts = Vec::new();
        let rows = shown(drivers, mounts);
        if let Some(release) = release
            && !rows.is_empty()
        {
            let table = presence_table(&rows, terminal);
            parts.push(format!("kernel {release}\n\n{table}"));
        }
        parts.extend(hint.map(|hint| format!("hint: {hint}\n")));
        parts.extend(lint.map(|lint| lint.text(terminal)));
        let explained = self.explain.iter();
        parts.extend(explained.map(|stage| explanation(*stage, &all)));
        terminal.result(&value, &parts.join("\n"))?;
        Ok(match complete {
            true => Outcome::Done,
            false => Outcome::Failed,
        })
    }

    fn look_into(&self, subject: &str, known: &Known<'_>, terminal: &Terminal) -> Result<Boot> {
        let path = Path::new(subject);
        if Medium::is_medium(path) {
            return self.look_into_medium(&Medium::open(path)?, known, terminal);
        }
        let reference = subject
            .parse()
            .with_context(|| format!("{subject} is neither a medium nor an image"))?;
        let source = self.read_image(&reference, terminal)?;
        let release = &source.facts.kernel.release;
        let (wanted, without) = self.wanted(&source.tree, release)?;
        let parts = parts_of(&source);
        let initramfs = parts.read_initramfs()?;
        let mut boot = Boot {
            release: release.clone(),
            drivers: stages::check(&parts, &initramfs, &wanted, &LIVE)?,
            mounts: stages::mounts(&parts, &initramfs, live_root(&source.facts.image)?)?,
            left_out: Vec::new(),
        };
        let composefs = sysroot::mounts_composefs(&initramfs)?;
        let disk = stages::mounts(&parts, &initramfs, Root::Disk { composefs })?;
        boot.mounts.extend(disk);
        boot.drivers.extend(without.missing(&LIVE));
        // What is installed is what boots live.
        let installed = boot.drivers.clone().into_iter().map(|presence| Presence {
            stage: match presence.stage {
                Stage::LiveInitramfs => Stage::InstallInitramfs,
                _ => Stage::InstallRoot,
            },
            ..presence
        });
        boot.drivers.extend(installed);
        boot.left_out = stages::keep(
            &mut boot.drivers,
            &source.tree,
            &initramfs,
            release,
            &known.reruns,
        )?;
        let origin = source.origin.to_string();
        let system = System {
            root: &source.tree,
            release,
            origin: Some(&origin),
        };
        let in_cluster = self.in_cluster(&system, &wanted, &boot.left_out, known, terminal)?;
        boot.drivers.extend(in_cluster);
        sort(&mut boot.drivers, &wanted);
        Ok(boot)
    }

    fn look_into_medium(
        &self,
        medium: &Medium,
        known: &Known<'_>,
        terminal: &Terminal,
    ) -> Result<Boot> {
        let root = medium.root();
        let release = kernel::release_in(root)?;
        let (wanted, without) = self.wanted(root, &release)?;
        let arguments = medium.arguments()?;
        let parts = medium.parts(&release, &arguments);
        let initramfs = parts.read_initramfs()?;
        let mut drivers = stages::check(&parts, &initramfs, &wanted, medium.stages())?;
        let mut mounts = stages::mounts(&parts, &initramfs, medium.boot_root(&initramfs)?)?;
        drivers.extend(without.missing(medium.stages()));
        let mut installed = initramfs;
        if let Some(initrd) = &medium.installed_initrd(&release)? {
            // Arguments of a live boot are not those of what it installs.
            let parts = Parts {
                initrd,
                arguments: &[],
                ..parts
            };
            installed = parts.read_initramfs()?;
            drivers.extend(stages::check(&parts, &installed, &wanted, &INSTALL)?);
            let composefs = sysroot::mounts_composefs(&installed)?;
            mounts.extend(stages::mounts(
                &parts,
                &installed,
                Root::Disk { composefs },
            )?);
        }
        let reruns = &known.reruns;
        let left_out = stages::keep(&mut drivers, root, &installed, &release, reruns)?;
        let origin = medium.origin()?;
        let system = System {
            root,
            release: &release,
            origin: origin.as_deref(),
        };
        drivers.extend(self.in_cluster(&system, &wanted, &left_out, known, terminal)?);
        sort(&mut drivers, &wanted);
        Ok(Boot {
            release,
            drivers,
            mounts,
            left_out,
        })
    }

    fn read_image(&self, reference: &ImageRef, terminal: &Terminal) -> Result<Glance> {
        let scratch = std::env::temp_dir();
        let options = self.access.read_options(&scratch, None);
        Glance::read(reference, &options, &scratch, terminal)
    }

    /// The drivers that are named, and those that devices ask for; devices for which there is none.
    fn wanted(&self, root: &dyn Files, release: &str) -> Result<(Vec<String>, Needed)> {
        let mut wanted = self.drivers.clone();
        let mut all = Needed::default();
        for text in &self.devices {
            let text = match text.strip_prefix('@') {
                Some(path) => read_up_to(Path::new(path), DEVICES_READ_BYTES)?,
                None => text.clone().into_bytes(),
            };
            let needed = stages::needed(&String::from_utf8_lossy(&text), root, release)?;
            wanted.extend(needed.drivers.clone());
            all.without.extend(needed.without);
        }
        let mut seen = BTreeSet::new();
        wanted.retain(|driver| seen.insert(kernel::canonical_name(driver)));
        Ok((wanted, all))
    }

    /// The verdicts on what comes after installation; none for systems that go into no cluster.
    fn in_cluster(
        &self,
        system: &System<'_>,
        wanted: &[String],
        left_out: &[String],
        known: &Known<'_>,
        terminal: &Terminal,
    ) -> Result<Vec<Presence>> {
        if !system.is_openshift()? {
            return Ok(Vec::new());
        }
        let os_image = self.os_image.as_ref().map(|image| match image {
            ImageRef::Registry(name) => name.to_string(),
            other => other.to_string(),
        });
        let booted = system.origin.and_then(Origin::registry_name);
        let mut os_image_drivers = Vec::new();
        let mut left_out = left_out.to_vec();
        if let Some(image) = &self.os_image
            && os_image.as_deref() != booted
        {
            let source = self.read_image(image, terminal)?;
            let parts = parts_of(&source);
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
        stages::in_cluster(system, wanted, &cluster)
    }

    /// What in the manifests has initramfs made anew.
    fn reruns(&self) -> Result<Vec<Rerun>> {
        let mut found = Vec::new();
        for path in &self.manifests {
            for document in read_objects(path)? {
                found.extend(reruns(&document.file, &document.value));
            }
        }
        Ok(found)
    }

    fn lint(&self, path: &Path, content: &[u8], boot: Option<&Boot>) -> Lint {
        let wanted = Wanted {
            drivers: &self.drivers,
            kernel: boot.map(|boot| &*boot.release),
            left_out: boot.map_or(&[][..], |boot| &boot.left_out),
        };
        Lint {
            path: path.to_owned(),
            remarks: containerfile::lint(content, &wanted),
        }
    }
}

/// What boots from an image.
fn parts_of(source: &Glance) -> Parts<'_> {
    let kernel = &source.facts.kernel;
    Parts {
        initrd: &kernel.initramfs,
        root: &source.tree,
        release: &kernel.release,
        arguments: &source.facts.image.extra_kargs,
    }
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
        if self.is_harmless() {
            let good = terminal.good("✓");
            text += &format!("{good} {path}: nothing keeps the cluster from building it\n");
        }
        text
    }
}
