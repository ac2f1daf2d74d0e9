//! What has happened in a pool, and what to do about it.

use super::told::{BUILD_CONTAINER, Told};
use crate::cli::cluster::words::{at, short};
use crate::cluster::{BuildReport, NAMESPACE, PoolReport, State};
use crate::foreign::visible;

/// Nodes that are named one by one.
const NODES_MAX: usize = 10;

/// What is told of a pool below the table.
pub(super) enum Line {
    Sentence(String),
    /// What a build said itself.
    Said(String),
    /// When to run a command, and it.
    Command(String, String),
}

/// What is told of a pool; nothing of one that is well.
pub(super) fn details(told: &Told) -> Vec<Line> {
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
            ways(pool, &name, &mut lines);
        }
        State::EditLost => {
            say(format!(
                "{name}: nodes run an image without the last edit. {}; then another change of the pool's \
                 configuration took the old image over, so that the pool is green",
                capital(&failed(build, &build_name))
            ));
            failed_build(told, &mut lines);
            ways(pool, &name, &mut lines);
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
                "once that is known, with a mended Containerfile",
                handoff(&name, "--containerfile FILE"),
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
                "with another name",
                handoff(&name, "--push-spec IMAGE"),
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
            lines.push(command(
                "to have it built for each release from now on",
                handoff(
                    &name,
                    "--containerfile FILE --push-spec IMAGE --push-secret NAME",
                ),
            ));
        }
        State::HandoffOpen => {
            let what = visible(pool.paused_for.as_deref().unwrap_or("handoff"));
            say(format!(
                "{name}: `cluster {what}` has paused it, and has not let it go on; nodes stay as they are"
            ));
            lines.push(command(
                "if none is running now, the same command goes on from there",
                format!("coreos-bake cluster {what} {name}"),
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
fn ways(pool: &PoolReport, name: &str, lines: &mut Vec<Line>) {
    lines.push(command(
        "if the cause is outside (a repository, a registry, a secret's content) and mended",
        retry(name),
    ));
    lines.push(command(
        "if it is in the Containerfile, with a mended one",
        handoff(name, "--containerfile FILE"),
    ));
    if pool.can_undo {
        lines.push(command(
            "to give the edit up, without a build",
            handoff(name, "--undo"),
        ));
    }
}

fn handoff(name: &str, options: &str) -> String {
    format!("coreos-bake cluster handoff {name} {options}")
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
