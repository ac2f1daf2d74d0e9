//! Packages: what is installed, and what that takes from the cluster.

use super::heredoc::excerpt;
use super::parse::{Action, File, Run};
use super::remark::Remark;
use super::shell::Command;

/// A part of the OS that nodes are given by `spec.extensions` of a MachineConfig.
struct Extension {
    name: &'static str,
    packages: &'static [&'static str],
    /// The first release that has it.
    since: (u16, u16),
    /// The last one, if a later one hasn't.
    until: Option<(u16, u16)>,
}

/// All of them: machine-config-operator pkg/controller/common/helpers.go `SupportedExtensions`, main 7ff337a4f
/// and its release branches.
const EXTENSIONS: [Extension; 8] = [
    Extension::new(
        "two-node-ha",
        (4, 19),
        &["pacemaker", "pcs", "fence-agents-all"],
    ),
    Extension::new(
        "ipsec",
        (4, 14),
        &[
            "NetworkManager-libreswan",
            "libreswan",
            "openvswitch3.5-ipsec",
        ],
    ),
    Extension::new("usbguard", OLDEST, &["usbguard"]),
    Extension::new("kerberos", OLDEST, &["krb5-workstation", "libkadm5"]),
    Extension::new("kernel-devel", OLDEST, &["kernel-devel", "kernel-headers"]),
    Extension::new("sandboxed-containers", OLDEST, &["kata-containers"]),
    Extension::new("sysstat", (4, 18), &["sysstat"]),
    Extension {
        until: Some((4, 21)),
        ..Extension::new("wasm", (4, 14), &["crun-wasm"])
    },
];

/// The oldest release that was looked at.
const OLDEST: (u16, u16) = (4, 12);

impl Extension {
    const fn new(name: &'static str, since: (u16, u16), packages: &'static [&'static str]) -> Self {
        let until = None;
        Self {
            name,
            packages,
            since,
            until,
        }
    }
}

/// Whether a release, such as (4, 19), has an extension.
pub(super) fn has_extension(release: (u16, u16), name: &str) -> bool {
    let mut all = EXTENSIONS.iter();
    all.any(|extension| {
        let is_before = |until| release <= until;
        extension.name == name
            && extension.since <= release
            && extension.until.is_none_or(is_before)
    })
}

/// Options whose value is the next word.
const VALUED: [&str; 14] = [
    "-c",
    "-x",
    "--arch",
    "--config",
    "--disablerepo",
    "--enablerepo",
    "--exclude",
    "--experimental-from",
    "--forcearch",
    "--from",
    "--installroot",
    "--releasever",
    "--repo",
    "--setopt",
];

/// An installation of packages.
pub(super) struct Install<'a> {
    /// Packages, files and URLs.
    pub(super) packages: Vec<&'a str>,
    /// By rpm-ostree.
    pub(super) rpm_ostree: bool,
}

/// What a command installs.
pub(super) fn install(command: &Command) -> Option<Install<'_>> {
    let rpm_ostree = command.name() == "rpm-ostree";
    let mut plain = Vec::new();
    let mut skip = false;
    for word in command.arguments() {
        if std::mem::take(&mut skip) {
            continue;
        }
        match word.strip_prefix("--install=") {
            Some(package) if rpm_ostree => plain.push(package),
            _ if word.starts_with('-') => skip = VALUED.contains(&&**word),
            _ => plain.push(word),
        }
    }
    let packages = match command.name() {
        "dnf" | "dnf5" | "microdnf" | "yum" => {
            let verbs = [
                "install",
                "localinstall",
                "reinstall",
                "swap",
                "update",
                "upgrade",
                "downgrade",
            ];
            let (verb, packages) = plain.split_first()?;
            verbs.contains(verb).then(|| packages.to_vec())?
        }
        "rpm-ostree" => match plain.as_slice() {
            ["install", packages @ ..] | ["override", "replace", packages @ ..] => {
                packages.to_vec()
            }
            _ => return None,
        },
        "rpm" => {
            let installs = |word: &String| match word.strip_prefix("--") {
                Some(long) => ["install", "upgrade", "freshen", "reinstall"].contains(&long),
                None => {
                    word.starts_with('-')
                        && word.contains(['i', 'U', 'F'])
                        && !word.contains(['q', 'V', 'e'])
                }
            };
            command.arguments().iter().any(installs).then_some(plain)?
        }
        _ => return None,
    };
    Some(Install {
        packages,
        rpm_ostree,
    })
}

/// The name of a package in `NAME`, `NAME-VERSION…` or the path or URL of an rpm.
pub(super) fn name(package: &str) -> &str {
    let file = package.rsplit('/').next().unwrap_or(package);
    let stem = file.strip_suffix(".rpm").unwrap_or(file);
    let version = stem.match_indices('-').find(|&(at, _)| {
        stem[at + 1..].starts_with(|c: char| c.is_ascii_digit() || "$*".contains(c))
    });
    match version {
        Some((at, _)) => &stem[..at],
        None => stem,
    }
}

pub(super) fn check(file: &File) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = file
        .stages
        .iter()
        .flat_map(|stage| &stage.steps)
        .filter_map(|step| match &step.action {
            Action::Run(run) => Some(run.commands.iter().find_map(entitled)),
            _ => None,
        })
        .flatten()
        .take(1)
        .collect();
    let chain = file.chain();
    let steps = || chain.iter().flat_map(|&index| &file.stages[index].steps);
    let mut uncleaned: Option<u32> = None;
    let mut changed = None;
    let mut committed = false;
    for step in steps() {
        match &step.action {
            Action::Run(run) => {
                changed.get_or_insert(step.line);
                let cached = caches_elsewhere(run);
                for command in &run.commands {
                    committed |= finishes(command);
                    if cleans(command) {
                        uncleaned = None;
                    }
                    let Some(install) = install(command) else {
                        continue;
                    };
                    remarks.extend(
                        install
                            .packages
                            .iter()
                            .filter_map(|p| extension(command.line, p)),
                    );
                    if command.name() != "rpm" && !cached {
                        uncleaned.get_or_insert(command.line);
                    }
                }
            }
            Action::Copy(_) => {
                changed.get_or_insert(step.line);
            }
            _ => {}
        }
    }
    if let Some(line) = uncleaned {
        remarks.push(
            Remark::note(
                "package-caches",
                line,
                "what the package manager downloaded stays in /var of the image",
            )
            .hint("end the RUN with: && dnf clean all && rm -rf /var/cache/*"),
        );
    }
    if changed.is_some() && !committed {
        remarks.push(
            Remark::note(
                "commit-missing",
                None,
                "nothing checks the result at the end: neither ostree container commit nor bootc container lint is run",
            )
            .hint("end the last RUN with: && ostree container commit"),
        );
    }
    remarks
}

fn finishes(command: &Command) -> bool {
    let first = command
        .arguments()
        .iter()
        .map(String::as_str)
        .filter(|w| !w.starts_with('-'));
    let first: Vec<&str> = first.take(2).collect();
    match command.name() {
        "ostree" => first == ["container", "commit"],
        "bootc" => first == ["container", "lint"],
        _ => false,
    }
}

fn cleans(command: &Command) -> bool {
    let has = |word: &str| command.arguments().iter().any(|w| w == word);
    match command.name() {
        "dnf" | "dnf5" | "microdnf" | "yum" => has("clean"),
        "rpm-ostree" => has("cleanup"),
        "rm" => command
            .arguments()
            .iter()
            .any(|w| w.starts_with("/var/cache") || w == "/var" || w == "/var/*"),
        // It empties /var/cache itself.
        "ostree" => finishes(command),
        _ => false,
    }
}

/// A mount holds the caches, so that they are not of the image.
fn caches_elsewhere(run: &Run) -> bool {
    run.mounts.iter().any(|mount| {
        let parts = || mount.split(',');
        let kept = parts().any(|o| matches!(o, "type=cache" | "type=tmpfs"));
        kept && parts().any(|o| {
            let target = ["target=", "dst=", "destination="]
                .iter()
                .find_map(|p| o.strip_prefix(p));
            target.is_some_and(|t| t == "/var" || t.starts_with("/var/cache"))
        })
    })
}

/// The extension that a package is of.
pub(super) fn extension_of(package: &str) -> Option<&'static str> {
    let wanted = name(package);
    let mut all = EXTENSIONS.iter();
    let found = all.find(|extension| extension.packages.contains(&wanted))?;
    Some(found.name)
}

/// `spec.kernelType` of the kernel that a package is of, if that is not the usual one.
pub(super) fn kernel_type_of(package: &str) -> Option<&'static str> {
    let wanted = name(package);
    match wanted {
        _ if wanted.starts_with("kernel-rt") => Some("realtime"),
        _ if wanted.starts_with("kernel-64k") => Some("64k-pages"),
        _ => None,
    }
}

fn extension(line: u32, package: &str) -> Option<Remark> {
    let wanted = name(package);
    if kernel_type_of(package).is_some() {
        return Some(
            Remark::warning(
                "kernel-type-package",
                line,
                format!(
                    "{} changes the kind of kernel, which is for the MachineConfig to say",
                    excerpt(wanted)
                ),
            )
            .hint("set spec.kernelType of a MachineConfig to realtime or 64k-pages"),
        );
    }
    let name = extension_of(package)?;
    Some(
        Remark::warning(
            "extension-package",
            line,
            format!("package {wanted} is of the extension {name}, which the operator installs and verifies itself"),
        )
        .hint(format!("add {name} to spec.extensions of a MachineConfig")),
    )
}

pub(super) fn entitled(command: &Command) -> Option<Remark> {
    let red_hat =
        |id: &str| id.starts_with("rhel-") || id.starts_with("codeready-builder-for-rhel");
    let by_option = command.words.iter().enumerate().find_map(|(at, word)| {
        let (option, value) = word.split_once('=').unwrap_or((word, ""));
        let value = match value {
            "" => command.words.get(at + 1).map_or("", String::as_str),
            value => value,
        };
        let chooses = matches!(
            option,
            "--enablerepo" | "--repo" | "--repoid" | "--enable-repo"
        );
        (chooses && value.split(',').any(red_hat)).then_some(value)
    });
    let what = match command.name() {
        "subscription-manager" => "subscription-manager",
        _ if command.words.iter().any(|w| w.contains("cdn.redhat.com")) => "cdn.redhat.com",
        _ => by_option?,
    };
    Some(
        Remark::warning(
            "entitled-repository",
            command.line,
            format!(
                "{} needs an entitlement: the build has one only if the Secret etc-pki-entitlement of the cluster was there when it began",
                excerpt(what)
            ),
        )
        .hint("check: oc -n openshift-config-managed get secret etc-pki-entitlement (4.16 and 4.17: copy it to openshift-machine-config-operator by hand)"),
    )
}
