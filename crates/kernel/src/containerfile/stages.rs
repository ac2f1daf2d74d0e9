//! Stages, the build context that is not there, and values that everybody can read.

use super::heredoc::excerpt;
use super::parse::{Action, Copy, File, Run, Stage};
use super::remark::Remark;

/// Stages that the operator puts before the user's text.
const OPERATOR_STAGES: [&str; 2] = ["configs", "extract"];
/// What the last stage has to come from.
const BASE: &str = "configs";
/// Build arguments that buildah knows without a default.
const GIVEN_ARGUMENTS: [&str; 14] = [
    "ALL_PROXY",
    "BUILDARCH",
    "BUILDOS",
    "BUILDPLATFORM",
    "BUILDVARIANT",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SOURCE_DATE_EPOCH",
    "TARGETARCH",
    "TARGETOS",
    "TARGETPLATFORM",
    "TARGETVARIANT",
];
/// Parts of names whose values are usually secret.
const SECRET_PARTS: [&str; 9] = [
    "ACCESSKEY",
    "APIKEY",
    "CREDENTIAL",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PRIVATEKEY",
    "SECRET",
    "TOKEN",
];

pub(super) fn check(file: &File) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for &line in &file.global_arguments {
        remarks.push(
            Remark::warning(
                "arg-before-from",
                line,
                "this ARG stands behind the operator's own stages, so that no FROM can use it",
            )
            .hint("write the value into FROM"),
        );
    }
    for (index, stage) in file.stages.iter().enumerate() {
        remarks.extend(from(stage));
        for step in &stage.steps {
            match &step.action {
                Action::Copy(copy) => remarks.extend(copy_source(file, index, step.line, copy)),
                Action::Run(run) => remarks.extend(mounts(step.line, run)),
                Action::Env(pairs) => {
                    let values = pairs.iter().map(|(name, value)| (name, Some(value)));
                    remarks.extend(values.filter_map(|(n, v)| secret("ENV", step.line, n, v)));
                }
                Action::Arg(name, value) => {
                    remarks.extend(secret("ARG", step.line, name, value.as_ref()));
                    remarks.extend(argument(step.line, name, value.is_some()));
                }
                _ => {}
            }
        }
    }
    remarks.extend(last_stage(file));
    remarks
}

fn from(stage: &Stage) -> Option<Remark> {
    if let Some(name) = &stage.name
        && OPERATOR_STAGES
            .iter()
            .any(|taken| taken.eq_ignore_ascii_case(name))
    {
        return Some(
            Remark::warning(
                "stage-name-taken",
                stage.line,
                format!("the operator has a stage {name} of its own before this one"),
            )
            .hint("choose another name"),
        );
    }
    stage.platform.then(|| {
        Remark::warning(
            "from-platform",
            stage.line,
            "--platform asks for an architecture, but the build runs on whichever node it lands on and emulates none",
        )
        .hint("leave --platform out")
    })
}

fn last_stage(file: &File) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let chain = file.chain();
    let (Some(&first), Some(&last)) = (chain.first(), chain.last()) else {
        return remarks;
    };
    let base = &file.stages[first].base;
    if base != BASE {
        remarks.push(
            Remark::error(
                "final-stage-not-configs",
                file.stages[last].line,
                format!(
                    "the last stage is made from {}, not from the stage {BASE}: the image lacks what the MachineConfig brings",
                    excerpt(base)
                ),
            )
            .hint("begin the last stage with: FROM configs AS final"),
        );
    }
    let mut root = true;
    for step in chain.iter().flat_map(|&index| &file.stages[index].steps) {
        match &step.action {
            Action::Container(name) => remarks.push(
                Remark::note(
                    "container-instruction",
                    step.line,
                    format!(
                        "{name} is for containers; a node that boots the image does not know it"
                    ),
                )
                .hint("use a systemd unit if something has to run"),
            ),
            Action::User(user) => {
                let user = user.split(':').next().unwrap_or_default();
                root = matches!(user, "root" | "0");
            }
            Action::Run(_) if !root => {
                remarks.push(
                    Remark::error(
                        "run-not-as-root",
                        step.line,
                        "this RUN is not run as root, so that it cannot change the system",
                    )
                    .hint("put USER 0 before it"),
                );
                // One is enough.
                root = true;
            }
            _ => {}
        }
    }
    remarks
}

fn copy_source(file: &File, index: usize, line: u32, copy: &Copy) -> Option<Remark> {
    let Some(from) = &copy.from else {
        let remote = |s: &String| s.contains("://") || s.starts_with("git@");
        let local = copy
            .sources
            .iter()
            .find(|s| copy.name == "COPY" || !remote(s))?;
        return Some(no_context(
            line,
            &format!("{} of {}", copy.name, excerpt(local)),
        ));
    };
    if from.chars().all(|c| c.is_ascii_digit()) {
        return Some(
            Remark::error(
                "copy-from-number",
                line,
                format!("--from={} counts the operator's own stages too, so that it is another stage than meant", excerpt(from)),
            )
            .hint("name the stage with AS and use the name"),
        );
    }
    let is_stage = OPERATOR_STAGES.contains(&&**from) || file.stage_before(index, from).is_some();
    let short = !from.contains(['/', '.', ':', '$', '@']);
    (short && !is_stage).then(|| {
        Remark::error(
            "copy-from-short-name",
            line,
            format!(
                "{} is no earlier stage, and no full name of an image",
                excerpt(from)
            ),
        )
        .hint("name an earlier stage, or the image with its registry")
    })
}

fn no_context(line: u32, what: &str) -> Remark {
    Remark::error(
        "no-build-context",
        line,
        format!("{what} needs a build context, and on-cluster builds have none"),
    )
    .hint("put the files into an image and use COPY --from=<image>, or write them with a here-document")
}

fn mounts(line: u32, run: &Run) -> Option<Remark> {
    let local = run.mounts.iter().find(|mount| {
        let mut options = mount.split(',').map(|o| o.split('=').next().unwrap_or(o));
        let bind = mount.split(',').any(|o| o == "type=bind") || !mount.contains("type=");
        bind && !options.any(|name| name == "from")
    })?;
    Some(no_context(line, &format!("--mount={}", excerpt(local))))
}

fn argument(line: u32, name: &str, has_default: bool) -> Option<Remark> {
    let given = GIVEN_ARGUMENTS.iter().any(|g| g.eq_ignore_ascii_case(name));
    (!has_default && !given).then(|| {
        Remark::warning(
            "arg-without-value",
            line,
            format!("nothing gives build argument {} a value: an on-cluster build passes only the proxies", excerpt(name)),
        )
        .hint("write the value behind it: ARG NAME=value")
    })
}

fn secret(kind: &str, line: u32, name: &str, value: Option<&String>) -> Option<Remark> {
    let letters: String = name
        .to_ascii_uppercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    let named = SECRET_PARTS.iter().any(|part| letters.contains(part));
    let value = value.filter(|v| !v.is_empty() && !v.starts_with('/'))?;
    // A variable that stands for another is looked at where that one is set.
    (named && !value.starts_with('$')).then(|| {
        Remark::warning(
            "secret-in-file",
            line,
            format!("{kind} {} looks like a secret, and everybody who can read the MachineOSConfig or the image reads it", excerpt(name)),
        )
        .hint("fetch it on the node, from a Secret or a file that a MachineConfig writes")
    })
}
