//! `coreos-bake cluster status`: how each pool is, and what to do about it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{AccessArgs, print_roles, runtime};
use crate::cli::Outcome;
use crate::cli::table::Table;
use crate::cli::terminal::Terminal;
use crate::cluster::{
    Base, BuildReport, NAMESPACE, PoolReport, Report, Server, State, Step, Task, failing_step,
    judge,
};
use crate::containerfile;
use crate::foreign::visible;
use crate::paragraph::{Paragraph, hanging, shortened};
use crate::staging::Staging;

/// Lines of a failed build's log that are looked at for the step that failed. Package managers say
/// thousands in one step.
const LOG_LINES: u32 = 20_000;
/// The container that builds, where a pod doesn't say which one failed.
const BUILD_CONTAINER: &str = "image-build";
/// Digits of a digest that people tell images by.
const DIGEST_DIGITS: usize = 8;
/// Columns of a pool's and an image's name in the table.
const POOL_COLUMNS: usize = 16;
const IMAGE_COLUMNS: usize = 28;
/// Nodes that are named one by one.
const NODES_MAX: usize = 10;

/// Tell how each pool of a cluster is, and what to do about it
///
/// Pools, builds, images and nodes in one table: who runs what, on which release. A
/// failed build is told with the step that failed and its own words. So is what the
/// cluster doesn't tell: an edit of a Containerfile that is in no image although the
/// pool is green, a build that is never begun or never recorded, a pool that releases
/// don't reach, nodes that run something else. Reads only, and no secrets. Exits
/// with 3 if a pool needs somebody.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Keep the logs of failed builds in DIR; the cluster deletes them with the next change
    #[arg(long, value_name = "DIR")]
    save_logs: Option<PathBuf>,
    /// Print the roles that this needs in the cluster, and stop
    #[arg(long)]
    print_rbac: bool,
}

/// A pool with what its build's log told.
struct Told {
    pool: PoolReport,
    step: Option<Step>,
    /// The line of the Containerfile that the step is from.
    line: Option<u32>,
    /// Where the log was saved.
    saved: Option<PathBuf>,
}

/// A look at a cluster.
pub(super) struct Look {
    pub(super) report: Report,
    /// Containerfiles by pool.
    containerfiles: BTreeMap<String, String>,
}

impl StatusArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        if self.print_rbac {
            return print_roles(Task::Status, terminal);
        }
        let logs = self.save_logs;
        let access = self.access.access();
        runtime()?.block_on(async {
            let server = Server::new(&access, Task::Status).await?;
            let look = look(&server).await?;
            look.show(logs.as_deref(), &server, terminal).await
        })
    }
}

/// Asks the cluster.
pub(super) async fn look(server: &Server) -> Result<Look> {
    let snapshot = server.snapshot().await?;
    let texts = snapshot.configs.iter().filter_map(|config| {
        let pool = config.spec.machine_config_pool.name.clone();
        Some((pool, config.containerfile()?.to_owned()))
    });
    Ok(Look {
        report: judge(&snapshot),
        containerfiles: texts.collect(),
    })
}

impl Look {
    /// Tells all of it; `logs` is where logs of failed builds are kept.
    pub(super) async fn show(
        &self,
        logs: Option<&Path>,
        server: &Server,
        terminal: &Terminal,
    ) -> Result<Outcome> {
        let report = &self.report;
        let mut told = Vec::new();
        for pool in &report.pools {
            let containerfile = self.containerfiles.get(&pool.name).map(String::as_str);
            told.push(Told::of(pool, containerfile, logs, server).await?);
        }
        let value = value(report, &told, server.spent());
        terminal.result(&value, &text(report, &told, server.spent(), terminal))?;
        Ok(match report.needs_somebody() {
            true => Outcome::Doubtful,
            false => Outcome::Done,
        })
    }
}

impl Told {
    async fn of(
        pool: &PoolReport,
        containerfile: Option<&str>,
        logs: Option<&Path>,
        server: &Server,
    ) -> Result<Self> {
        let mut told = Self {
            pool: pool.clone(),
            step: None,
            line: None,
            saved: None,
        };
        let has_log = matches!(
            pool.state,
            State::BuildFailed | State::EditLost | State::BuildHangs
        );
        let build = pool.build.as_ref().filter(|_| has_log);
        let Some((build, pod)) = build.and_then(|build| Some((build, build.pod.as_deref()?)))
        else {
            return Ok(told);
        };
        let container = build.container.as_deref().unwrap_or(BUILD_CONTAINER);
        let mut log = tempfile::tempfile().context("making room for a log")?;
        let lines = logs.is_none().then_some(LOG_LINES);
        if !server.log(pod, container, lines, &mut log).await? {
            return Ok(told);
        }
        let log = Log(log);
        let step = failing_step(log.reader()?).context("reading a log")?;
        told.line = containerfile.and_then(|text| containerfile::line_of(text, &step.instruction));
        told.step = Some(step);
        if let Some(directory) = logs {
            told.saved = Some(log.save(directory, pod)?);
        }
        Ok(told)
    }
}

/// A log in a file that has no name.
struct Log(fs::File);

impl Log {
    fn reader(&self) -> Result<impl std::io::BufRead> {
        use std::io::{BufReader, Seek, SeekFrom};
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0)).context("reading a log")?;
        Ok(BufReader::new(file))
    }

    /// Under the name of the pod, which no other build has. What is there already is not written again.
    fn save(&self, directory: &Path, pod: &str) -> Result<PathBuf> {
        let name = format!("{pod}.log");
        let path = directory.join(&name);
        if path.exists() {
            return Ok(path);
        }
        let staging = Staging::new(directory, false)?;
        let mut file = staging.create(&name)?;
        std::io::copy(&mut self.reader()?, &mut file)
            .with_context(|| format!("writing {}", path.display()))?;
        staging.publish(&[name])?;
        Ok(path)
    }
}

fn value(report: &Report, told: &[Told], (requests, bytes): (u64, u64)) -> Value {
    let pools = told.iter().map(|told| {
        let mut pool = json!(told.pool);
        pool["step"] = json!(told.step);
        pool["containerfile-line"] = json!(told.line);
        pool["saved-log"] = json!(told.saved);
        pool
    });
    json!({
        "schema": "coreos-bake/cluster-status/v1",
        "release": report.release,
        "now": report.now,
        "needs-somebody": report.needs_somebody(),
        "pools": pools.collect::<Vec<_>>(),
        "requests": requests,
        "bytes": bytes,
    })
}

fn text(report: &Report, told: &[Told], spent: (u64, u64), terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let release = report.release.as_deref().unwrap_or("unknown");
    let mut text = format!(
        "release {}, {}; asked in {} requests\n\n",
        visible(release),
        counted(report.pools.len(), "pool"),
        spent.0,
    );
    let mut table = Table::new(["POOL", "NODES", "IMAGE", "BASE", "STATE"]);
    for Told { pool, .. } in told {
        table.row([
            shortened(&visible(&pool.name), POOL_COLUMNS),
            format!("{}/{}", pool.updated, pool.nodes),
            shortened(&image(pool), IMAGE_COLUMNS),
            base(&pool.base),
            marked(pool, report.now, terminal),
        ]);
    }
    text += &table.render(columns);
    for told in told {
        let details = details(told);
        if details.is_empty() {
            continue;
        }
        text.push('\n');
        for (at, line) in details.iter().enumerate() {
            let indent = if at == 0 { "" } else { "  " };
            let paragraph = Paragraph {
                first: indent,
                rest: "    ",
                columns,
            };
            match line {
                Line::Sentence(sentence) => text += &paragraph.of(sentence),
                Line::Said(said) => text += &hanging("    ", said, columns),
                Line::Command(about, command) => {
                    text += &paragraph.of(&format!("{about}:"));
                    text += &format!("    {command}\n");
                }
            }
        }
    }
    text
}

/// What is told of a pool below the table.
enum Line {
    Sentence(String),
    /// What a build said itself.
    Said(String),
    /// When to run a command, and it.
    Command(String, String),
}

pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Without the registry, and with the beginning of the digest.
fn image(pool: &PoolReport) -> String {
    match (&pool.image, pool.is_layered) {
        (Some(image), _) => short(image),
        (None, true) => "not built yet".to_owned(),
        (None, false) => "stock".to_owned(),
    }
}

fn short(image: &str) -> String {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    let name = name.split_once('/').map_or(name, |(_, name)| name);
    let digest = digest.split_once(':').map_or(digest, |(_, digest)| digest);
    let digest: String = digest.chars().take(DIGEST_DIGITS).collect();
    visible(&format!("{name}@{digest}"))
}

fn base(base: &Base) -> String {
    match base {
        Base::Seed => "seeded".to_owned(),
        Base::Pin => "pinned".to_owned(),
        Base::Release { version, is_old } => {
            let version = visible(version.as_deref().unwrap_or("unknown"));
            match is_old {
                true => format!("{version} (old)"),
                false => version,
            }
        }
    }
}

/// How long before `now` it was.
fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else {
        return "some time".to_owned();
    };
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

fn at(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "?".to_owned(),
        |time| time.strftime("%F %TZ").to_string(),
    )
}

fn marked(pool: &PoolReport, now: Timestamp, terminal: &Terminal) -> String {
    let state = state(pool, now);
    match pool.state {
        State::UpToDate => format!("{} {state}", terminal.good("✓")),
        bad if bad.needs_somebody() => format!("{} {state}", terminal.bad("✗")),
        _ => state,
    }
}

fn state(pool: &PoolReport, now: Timestamp) -> String {
    let build = pool.build.as_ref();
    let began = || ago(build.and_then(|build| build.began), now);
    let ended = || ago(build.and_then(|build| build.ended), now);
    let left = pool.nodes - pool.updated;
    match pool.state {
        State::EditLost => "up to date without the last edit".to_owned(),
        State::BuildFailed => format!("build failed {} ago", ended()),
        State::BuildRefused => "Containerfile refused".to_owned(),
        State::BuildNotBegun => format!("build not begun since {}", began()),
        State::BuildNotRecorded => "built, but not recorded".to_owned(),
        State::PodNotStarted => "build's pod can't start".to_owned(),
        State::BuildHangs => format!("building for {}", began()),
        State::NodesDegraded => format!("degraded: {}", counted(pool.apart.len(), "node")),
        State::BehindRelease => format!(
            "behind since {}: never rebuilt",
            visible(pool.behind_since.as_deref().unwrap_or_default())
        ),
        State::NodesDiffer => format!("other than it says: {}", counted(pool.apart.len(), "node")),
        State::EditBuilding => format!("building the last edit for {}", began()),
        State::Building => format!("building for {}", began()),
        State::Paused => format!("paused; {} to go", counted(left, "node")),
        State::RollingOut => format!("rolling out; {} to go", counted(left, "node")),
        State::Reverting => format!("going back to stock; {} to go", counted(left, "node")),
        State::UpToDate if pool.is_paused => "up to date; paused".to_owned(),
        State::UpToDate => "up to date".to_owned(),
    }
}

fn details(told: &Told) -> Vec<Line> {
    let Told { pool, .. } = told;
    let name = visible(&pool.name);
    let mut lines = Vec::new();
    let mut say = |sentence: String| lines.push(Line::Sentence(sentence));
    let build = pool.build.as_ref();
    let build_name = build.map_or_else(String::new, |build| visible(&build.name));
    match pool.state {
        State::BuildFailed => {
            say(format!("{name}: {}", failed(build, &build_name)));
            failed_build(told, &mut lines);
            lines.push(Line::Sentence(match &pool.image {
                Some(image) => format!("nodes keep {} until a build ends well", short(image)),
                None => "nodes stay as they are until a build ends well".to_owned(),
            }));
            ways(&name, &mut lines);
        }
        State::EditLost => {
            say(format!(
                "{name}: nodes run an image without the last edit. {}; then another change of the pool's \
                 configuration took the old image over, so that the pool is green",
                capital(&failed(build, &build_name))
            ));
            failed_build(told, &mut lines);
            ways(&name, &mut lines);
        }
        State::EditBuilding => say(format!(
            "{name}: the pool is green on an image without the last edit; {build_name} builds it"
        )),
        State::BuildRefused => {
            say(format!(
                "{name}: the Containerfile was refused before the build {build_name} had a pod"
            ));
            say("an instruction that buildah doesn't know, or one without arguments; only the builder's log tells which".into());
            lines.push(command(
                "which one",
                format!("oc -n {NAMESPACE} logs deployment/machine-os-builder"),
            ));
            lines.push(command(
                "once that is known",
                format!("oc edit machineosconfig {name}"),
            ));
        }
        State::BuildNotBegun => not_begun(pool, &name, &build_name, &mut lines),
        State::BuildNotRecorded => {
            say(format!(
                "{name}: the Job of {build_name} has ended well, and its image is pushed, but the build doesn't end"
            ));
            let spec = visible(pool.push_spec.as_deref().unwrap_or_default());
            match is_nested(&spec) {
                true => say(format!(
                    "its name by digest has more than two path segments ({spec}), which the API refuses"
                )),
                false => say(
                    "the operator can't record the image; only the builder's log tells why".into(),
                ),
            }
            lines.push(command(
                "what the builder says",
                format!("oc -n {NAMESPACE} logs deployment/machine-os-builder"),
            ));
            lines.push(command(
                "with another spec.renderedImagePushSpec",
                format!("oc edit machineosconfig {name}"),
            ));
        }
        State::PodNotStarted => {
            let container = build.and_then(|build| build.container.as_deref());
            let reason = build.and_then(|build| build.waits_for.as_deref());
            say(format!(
                "{name}: container {} of build {build_name} is not started: {}",
                visible(container.unwrap_or(BUILD_CONTAINER)),
                visible(reason.unwrap_or("unknown"))
            ));
            if let Some(pod) = build.and_then(|build| build.pod.as_deref()) {
                lines.push(command(
                    "why",
                    format!("oc -n {NAMESPACE} describe pod {}", visible(pod)),
                ));
            }
        }
        State::BuildHangs => {
            say(format!(
                "{name}: build {build_name} runs since {}",
                at(build.and_then(|build| build.began))
            ));
            failed_build(told, &mut lines);
            lines.push(command("to begin again", retry(&name)));
        }
        State::BehindRelease => {
            say(format!(
                "{name}: its image came with the installation, and MachineConfig 10-prebuiltimage-osimageurl-{name} \
                 keeps it: releases after it build nothing and move no node, and the pool says that it is up to date"
            ));
        }
        State::NodesDegraded | State::NodesDiffer => nodes(pool, &name, &mut lines),
        _ => {}
    }
    lines
}

fn failed(build: Option<&BuildReport>, name: &str) -> String {
    let Some(build) = build else {
        return "the build failed".to_owned();
    };
    let evicted = match build.evicted {
        0 => String::new(),
        count => format!(", {count} of them evicted"),
    };
    format!(
        "build {name} failed, {} of {} attempts{evicted} ({} to {})",
        build.failed_attempts,
        build.attempts,
        at(build.began),
        at(build.ended),
    )
}

fn capital(sentence: &str) -> String {
    let mut characters = sentence.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The step, what it said, and where there is more.
fn failed_build(told: &Told, lines: &mut Vec<Line>) {
    let build = told.pool.build.as_ref();
    if let Some(step) = &told.step {
        let number = step
            .number
            .as_deref()
            .map_or_else(String::new, |number| format!(" {number}"));
        let line = told
            .line
            .map_or_else(String::new, |line| format!(" (Containerfile line {line})"));
        match step.instruction.is_empty() {
            true => lines.push(Line::Sentence("what it said last".to_owned())),
            false => lines.push(Line::Sentence(format!(
                "step{}  {}{line}",
                visible(&number),
                visible(&step.instruction)
            ))),
        }
        let said = step
            .said
            .iter()
            .map(|said| Line::Said(visible(said.trim())));
        lines.extend(said);
    }
    let Some(job) = build.and_then(|build| build.job.as_deref()) else {
        lines.push(Line::Sentence(
            "its Job is gone, and its log with it".to_owned(),
        ));
        return;
    };
    let container = build.and_then(|build| build.container.as_deref());
    let container = visible(container.unwrap_or(BUILD_CONTAINER));
    let about = match &told.saved {
        Some(path) => format!("whole log, saved to {}", path.display()),
        None => "whole log, until the pool's configuration changes".to_owned(),
    };
    let log = format!("oc -n {NAMESPACE} logs job/{} -c {container}", visible(job));
    lines.push(command(&about, log));
}

/// How a failed build goes on.
fn ways(name: &str, lines: &mut Vec<Line>) {
    lines.push(command(
        "if the cause is outside (a repository, a registry, a secret's content) and mended",
        retry(name),
    ));
    lines.push(command(
        "if it is in the Containerfile",
        format!("oc edit machineosconfig {name}"),
    ));
}

fn retry(name: &str) -> String {
    format!("coreos-bake cluster retry {name}")
}

fn command(about: &str, command: String) -> Line {
    Line::Command(about.to_owned(), command)
}

fn not_begun(pool: &PoolReport, name: &str, build: &str, lines: &mut Vec<Line>) {
    lines.push(Line::Sentence(format!(
        "{name}: build {build} has no Job, and says nothing"
    )));
    let secrets: Vec<String> = pool.secrets.iter().map(|secret| visible(secret)).collect();
    let about = match pool.builder_runs {
        Some(false) => {
            "the operator's builder does not run; it ends when the base image's pull secret can't be read"
        }
        _ => "the operator's builder runs, so a secret is missing, or is not a dockerconfigjson",
    };
    lines.push(Line::Sentence(about.to_owned()));
    lines.push(command(
        "whether they are there",
        format!("oc -n {NAMESPACE} get secret {}", secrets.join(" ")),
    ));
    lines.push(command(
        "what the builder says",
        format!("oc -n {NAMESPACE} logs deployment/machine-os-builder"),
    ));
}

fn nodes(pool: &PoolReport, name: &str, lines: &mut Vec<Line>) {
    let about = match pool.state {
        State::NodesDegraded => "these nodes can't take what they should",
        _ => "the pool says that it is up to date, but these nodes run something else",
    };
    lines.push(Line::Sentence(format!("{name}: {about}")));
    for node in pool.apart.iter().take(NODES_MAX) {
        let image = node
            .image
            .as_deref()
            .map_or_else(|| "stock".to_owned(), short);
        let reason = node
            .reason
            .as_deref()
            .map_or_else(String::new, |reason| format!(": {}", visible(reason)));
        lines.push(Line::Sentence(format!(
            "{} on {image}{reason}",
            visible(&node.name)
        )));
    }
    if let Some(more @ 1..) = pool.apart.len().checked_sub(NODES_MAX) {
        lines.push(Line::Sentence(format!("and {more} more")));
    }
}

/// Whether the name of an image in `spec`, by digest, has more path segments than the API takes: a registry,
/// at most one namespace, and a name (openshift/api machineconfiguration/v1/types_machineosbuild.go@2a3d73913).
fn is_nested(spec: &str) -> bool {
    spec.split('/').count() > 3
}
