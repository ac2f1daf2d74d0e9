//! Where instructions write, and places whose content a node does not keep or the machine-config
//! operator owns.

use super::parse::{Action, Copy, File, Run};
use super::remark::Remark;
use super::shell::Command;

/// Files and directories that the rendered MachineConfig fills.
const MANAGED: [&str; 14] = [
    "/etc/containers/policy.json",
    "/etc/containers/registries.conf",
    "/etc/crio",
    "/etc/ignition-machine-config-encapsulated.json",
    "/etc/kubernetes",
    "/etc/machine-config-daemon",
    "/etc/mco",
    "/etc/pki/ca-trust/source/anchors/openshift-config-user-ca-bundle.crt",
    "/etc/systemd/system/crio.service",
    "/etc/systemd/system/crio.service.d",
    "/etc/systemd/system/kubelet.service",
    "/etc/systemd/system/kubelet.service.d",
    "/usr/lib/systemd/system/kubelet.service",
    "/var/lib/kubelet",
];

/// Below `/etc`, but only of the build, or with a rule of its own.
const OF_THE_BUILD: [&str; 4] = [
    "/etc/pki/entitlement",
    "/etc/pki/rpm-gpg",
    "/etc/rhsm-host",
    "/etc/yum.repos.d",
];

/// Links into `/var`, and `/var`.
const VARIABLE: [&str; 6] = ["/home", "/opt", "/root", "/srv", "/usr/local", "/var"];

/// Below `/var`, but emptied before the image is complete.
const EMPTIED: [&str; 3] = ["/var/cache", "/var/log", "/var/tmp"];

/// The path with `/lib` as what it links to, and without repeated slashes.
pub(super) fn normal(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && out.ends_with('/')) {
            out.push(c);
        }
    }
    match out.strip_prefix("/lib/") {
        Some(rest) => format!("/usr/lib/{rest}"),
        None => out,
    }
}

/// Is a normal path `directory`, or below it?
pub(super) fn below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Paths that a `COPY` or `ADD` fills.
pub(super) fn copied(copy: &Copy) -> Vec<String> {
    let destination = normal(&copy.destination);
    match destination.strip_suffix('/') {
        None => vec![destination],
        Some(directory) => copy
            .sources
            .iter()
            .map(|source| {
                let source = source.trim_end_matches('/');
                let name = source.rsplit('/').next().unwrap_or(source);
                format!("{directory}/{name}")
            })
            .collect(),
    }
}

/// Paths that a command writes, as far as its words tell.
pub(super) fn written(command: &Command) -> Vec<String> {
    let mut paths: Vec<&str> = command.writes.iter().map(String::as_str).collect();
    let arguments = command.arguments();
    let mut plain = arguments
        .iter()
        .map(String::as_str)
        .filter(|w| !w.starts_with('-'));
    let after = |flags: &[&str]| {
        arguments
            .iter()
            .zip(arguments.iter().skip(1))
            .filter(|(flag, _)| flags.contains(&&***flag))
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
    };
    match command.name() {
        "cp" | "install" | "ln" | "mv" | "rsync" => match after(&["-t", "--target-directory"]) {
            into if !into.is_empty() => paths.extend(into),
            _ => paths.extend(plain.next_back()),
        },
        "mkdir" | "tee" | "touch" | "truncate" => paths.extend(plain),
        "sed"
            if arguments
                .iter()
                .any(|w| w.starts_with("-i") || w == "--in-place") =>
        {
            paths.extend(plain.skip(1));
        }
        "curl" => paths.extend(after(&["-o", "--output"])),
        "wget" => paths.extend(after(&["-O", "--output-document"])),
        "tar" => paths.extend(after(&["-C", "--directory"])),
        "unzip" => paths.extend(after(&["-d"])),
        _ => {}
    }
    paths
        .into_iter()
        .filter(|path| path.starts_with('/'))
        .map(normal)
        .collect()
}

pub(super) fn check(file: &File) -> Vec<Remark> {
    let steps = || {
        file.chain()
            .into_iter()
            .flat_map(|index| &file.stages[index].steps)
    };
    let removed: Vec<String> = steps()
        .filter_map(|step| match &step.action {
            Action::Run(run) => Some(removed_by(run)),
            _ => None,
        })
        .flatten()
        .collect();
    let mut remarks = Vec::new();
    for step in steps() {
        let paths: Vec<(u32, String)> = match &step.action {
            Action::Copy(copy) => copied(copy).into_iter().map(|p| (step.line, p)).collect(),
            Action::Run(run) => run
                .commands
                .iter()
                .flat_map(|c| written(c).into_iter().map(|p| (c.line, p)))
                .collect(),
            _ => continue,
        };
        for (line, path) in paths {
            if !removed.iter().any(|directory| below(&path, directory)) {
                remarks.extend(place(line, &path));
            }
        }
    }
    remarks
}

fn removed_by(run: &Run) -> Vec<String> {
    let removals = run.commands.iter().filter(|command| command.name() == "rm");
    removals
        .flat_map(Command::arguments)
        .filter(|word| word.starts_with('/'))
        .map(|word| normal(word.trim_end_matches(['/', '*'])))
        .filter(|path| !path.is_empty())
        .collect()
}

/// Does a node keep its own, whatever the image has there?
pub(super) fn is_variable(path: &str) -> bool {
    VARIABLE.iter().any(|directory| below(path, directory))
}

fn place(line: u32, path: &str) -> Option<Remark> {
    let is_in = |list: &[&str]| list.iter().any(|directory| below(path, directory));
    if is_in(&MANAGED) {
        Some(
            Remark::warning(
                "managed-path",
                line,
                format!("{path} belongs to the machine-config operator: a node whose file differs from its MachineConfig becomes degraded"),
            )
            .hint("set it with a MachineConfig, KubeletConfig or ContainerRuntimeConfig"),
        )
    } else if below(path, "/etc/yum.repos.d") {
        Some(
            Remark::note(
                "repository-file",
                line,
                format!("{path} is hidden during the build if the ConfigMap etc-yum-repos-d exists, and repositories are switched off on nodes"),
            )
            .hint("put repositories that the build needs into the ConfigMap etc-yum-repos-d"),
        )
    } else if is_variable(path) && !is_in(&EMPTIED) {
        Some(
            Remark::warning(
                "var-content",
                line,
                format!("{path} is in /var, which nodes keep as their own: they do not get it with an update"),
            )
            .hint("put files below /usr, and create directories in /var with tmpfiles.d"),
        )
    } else if below(path, "/etc") && !is_in(&OF_THE_BUILD) {
        Some(
            Remark::note(
                "etc-file",
                line,
                format!("{path} is written after the MachineConfig was applied: if a MachineConfig has this file too, the node becomes degraded"),
            )
            .hint("prefer the place for defaults below /usr/lib where there is one"),
        )
    } else {
        None
    }
}
