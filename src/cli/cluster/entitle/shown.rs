//! What is told of entitlements.

use std::path::Path;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::super::words::{ago, counted};
use crate::cli::Outcome;
use crate::cli::table::Table;
use crate::cli::terminal::Terminal;
use crate::cluster::NAMESPACE;
use crate::cluster::entitlement::{
    Entitlement, Files, LastBuild, Material, Need, Paper, PoolCopy, PoolEntitlement, Problem,
    Source, Step, Work, copy_name,
};
use crate::foreign::visible;
use crate::paragraph::{Paragraph, hanging};

/// Packages that are named in a table.
const PACKAGES_MAX: usize = 3;
const SECONDS_PER_DAY: i64 = 86400;

/// Tells what the cluster has.
pub(super) fn show(
    found: &Entitlement,
    (requests, bytes): (u64, u64),
    terminal: &Terminal,
) -> Result<Outcome> {
    let problems = found.problems();
    let value = json!({
        "schema": "coreos-bake/cluster-entitlement/v1",
        "now": found.now.to_string(),
        "source": found.source.as_ref().map(|source| json!({
            "managers": source.managers,
            "certificate": source.paper.as_ref().map(paper_value),
            "has-key": source.has_key,
        })),
        "repositories": found.repositories.as_ref().map(|files| json!({
            "files": files.names, "are-entitled": files.are_entitled,
        })),
        "keys": found.keys.as_ref().map(|files| json!({ "files": files.names })),
        "pools": found.pools.iter().map(pool_value).collect::<Vec<_>>(),
        "problems": problems.iter().map(problem_value).collect::<Vec<_>>(),
        "requests": requests,
        "bytes": bytes,
    });
    terminal.result(&value, &text(found, &problems, terminal))?;
    Ok(match problems.is_empty() {
        true => Outcome::Done,
        false => Outcome::Doubtful,
    })
}

fn paper_value(paper: &Paper) -> Value {
    json!({
        "subject": paper.subject, "from": paper.from.to_string(), "until": paper.until.to_string(),
    })
}

fn pool_value(pool: &PoolEntitlement) -> Value {
    json!({
        "name": pool.name,
        "nodes": pool.nodes,
        "copy": match pool.copy {
            PoolCopy::NoSource => "no-source",
            PoolCopy::ByHand => "by-hand",
            PoolCopy::Missing => "missing",
            PoolCopy::Outdated => "outdated",
            PoolCopy::Current => "current",
        },
        "certificate": pool.paper.as_ref().map(paper_value),
        "last-build": pool.build.as_ref().map(|build| json!({
            "name": build.name, "began": build.began.to_string(), "had-copy": build.had_copy,
        })),
        "need": match pool.need {
            Need::Named { .. } => "named",
            Need::Likely => "likely",
            Need::Unlikely => "unlikely",
        },
        "packages": pool.packages,
    })
}

fn problem_value(problem: &Problem<'_>) -> Value {
    let (kind, pool) = match problem {
        Problem::Expired(_) => ("expired", None),
        Problem::Damaged => ("damaged", None),
        Problem::CopyExpired(pool, _) => ("copy-expired", Some(&pool.name)),
        Problem::Lacking(pool) => ("lacking", Some(&pool.name)),
    };
    json!({ "kind": kind, "pool": pool })
}

fn text(found: &Entitlement, problems: &[Problem<'_>], terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let source = found.source.as_ref();
    let mut text = hanging(
        "entitlement   ",
        &source.map_or_else(no_source, |source| self::source(source, found.now)),
        columns,
    );
    let files = |files: Option<&Files>, object: &str, without: &str| match files {
        None => format!("{without}: there is no {object}"),
        Some(files) => {
            let names: Vec<String> = files.names.iter().map(|name| visible(name)).collect();
            format!("{}, of {object}; builds have no others", names.join(", "))
        }
    };
    let repositories = files(
        found.repositories.as_ref(),
        "ConfigMap etc-yum-repos-d",
        "those of the image",
    );
    text += &hanging("repositories  ", &repositories, columns);
    let keys = files(
        found.keys.as_ref(),
        "Secret etc-pki-rpm-gpg",
        "those of the image",
    );
    text += &hanging("keys          ", &keys, columns);
    text += "\n";
    if found.pools.is_empty() {
        text += "  no pool has a MachineOSConfig, so nothing is built\n";
    } else {
        let mut table = Table::new(["POOL", "COPY", "LAST BUILD", "NEEDS IT"]);
        for pool in &found.pools {
            let is_bad = problems.iter().any(|problem| problem.is_of(pool));
            let mark = match is_bad {
                true => terminal.bad("✗"),
                false if pool.has_copy() => terminal.good("✓"),
                false => " ".to_owned(),
            };
            table.row([
                visible(&pool.name),
                format!("{mark} {}", copy(pool.copy)),
                pool.build
                    .as_ref()
                    .map_or_else(|| "none".to_owned(), |build| last_build(build, found.now)),
                need(pool),
            ]);
        }
        text += &table.render(columns);
    }
    for problem in problems {
        text += "\n";
        text += &told(problem, found, columns);
    }
    for pool in found.pools.iter().filter(|pool| ran_without(pool)) {
        text += "\n";
        let name = visible(&pool.name);
        text += &sentence(
            &format!("{name}: its last build began before the copy was there, and had none"),
            columns,
        );
        text += &rebuild(pool, columns);
    }
    text
}

/// Whether the pool's last build lacked what the next one would have.
fn ran_without(pool: &PoolEntitlement) -> bool {
    let had_copy = pool.build.as_ref().and_then(|build| build.had_copy);
    pool.need != Need::Unlikely && pool.has_copy() && had_copy == Some(false)
}

fn no_source() -> String {
    "none: there is no Secret etc-pki-entitlement in openshift-config-managed".to_owned()
}

fn source(source: &Source, now: Timestamp) -> String {
    let by = match source.managers.first() {
        Some(manager) => format!(", by {}", visible(manager)),
        None => String::new(),
    };
    let paper = match &source.paper {
        Some(paper) => format!("{}: {}", visible(&paper.subject), validity(paper, now)),
        None => "it has no certificate".to_owned(),
    };
    format!("Secret etc-pki-entitlement in openshift-config-managed{by}; {paper}")
}

fn validity(paper: &Paper, now: Timestamp) -> String {
    let days = (paper.until.as_second() - now.as_second()).div_euclid(SECONDS_PER_DAY);
    let date = paper.until.strftime("%F");
    match days {
        ..0 => format!("expired on {date}"),
        0 => format!("valid until {date}, less than a day"),
        days => {
            let days = usize::try_from(days).unwrap_or(usize::MAX);
            format!("valid until {date}, {}", counted(days, "day"))
        }
    }
}

fn copy(copy: PoolCopy) -> &'static str {
    match copy {
        PoolCopy::NoSource => "none",
        PoolCopy::ByHand => "made by hand",
        PoolCopy::Missing => "missing",
        PoolCopy::Outdated => "outdated",
        PoolCopy::Current => "current",
    }
}

fn last_build(build: &LastBuild, now: Timestamp) -> String {
    let had = match build.had_copy {
        Some(true) => ", with it",
        Some(false) => ", without it",
        None => "",
    };
    format!("{} ago{had}", ago(Some(build.began), now))
}

fn need(pool: &PoolEntitlement) -> String {
    match pool.need {
        Need::Named { line } => format!("yes: line {line} of its Containerfile"),
        Need::Likely => format!("probably: installs {}", packages(pool)),
        Need::Unlikely if pool.packages.is_empty() => "no: installs nothing by name".to_owned(),
        Need::Unlikely => "no: other repositories are known".to_owned(),
    }
}

fn packages(pool: &PoolEntitlement) -> String {
    let named = pool.packages.iter().take(PACKAGES_MAX);
    let mut named: Vec<String> = named.map(|package| visible(package)).collect();
    if let Some(more @ 1..) = pool.packages.len().checked_sub(PACKAGES_MAX) {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

fn told(problem: &Problem<'_>, found: &Entitlement, columns: usize) -> String {
    let source = found.source.as_ref();
    let is_of_insights = source.is_some_and(Source::is_of_insights);
    let give = "coreos-bake cluster entitle --from-host";
    let renew = |text: &mut String| match is_of_insights {
        true => {
            *text += &command(
                "why the Insights operator has not renewed it",
                "oc -n openshift-insights logs deployment/insights-operator",
                columns,
            );
        }
        false => *text += &command("on a registered RHEL host", give, columns),
    };
    match problem {
        Problem::Expired(paper) => {
            let date = paper.until.strftime("%F %TZ");
            let mut text = sentence(
                &format!(
                    "the cluster's entitlement expired on {date}: builds can't install RHEL packages"
                ),
                columns,
            );
            renew(&mut text);
            text
        }
        Problem::Damaged => {
            let mut text = sentence(
                "the cluster's entitlement is damaged: entitlement.pem with a certificate and entitlement-key.pem \
                 have to be in it",
                columns,
            );
            renew(&mut text);
            text
        }
        Problem::CopyExpired(pool, paper) => {
            let (name, date) = (visible(&pool.name), paper.until.strftime("%F %TZ"));
            let secret = visible(&copy_name(&pool.name));
            let mut text = sentence(
                &format!(
                    "{name}: the entitlement that its builds have, {secret}, expired on {date}"
                ),
                columns,
            );
            match pool.copy {
                PoolCopy::ByHand => {
                    text += &command("on a registered RHEL host", give, columns);
                }
                _ => text += &sync(columns),
            }
            text
        }
        Problem::Lacking(pool) => {
            let name = visible(&pool.name);
            let mut text = sentence(
                &format!(
                    "{name}: its Containerfile seems to need an entitlement, and builds have none"
                ),
                columns,
            );
            match pool.copy {
                PoolCopy::Missing => text += &sync(columns),
                _ => text += &command("on a registered RHEL host", give, columns),
            }
            text
        }
    }
}

/// Who copies, and when.
fn sync(columns: usize) -> String {
    let mut text = sentence(
        "the machine-config operator copies the cluster's entitlement with its next sync, which waits while a \
         pool is degraded",
        columns,
    );
    text += &command(
        "whether it works",
        &format!("oc -n {NAMESPACE} logs deployment/machine-config-operator"),
        columns,
    );
    text
}

fn rebuild(pool: &PoolEntitlement, columns: usize) -> String {
    let name = visible(&pool.name);
    let nodes = usize::try_from(pool.nodes).unwrap_or(usize::MAX);
    command(
        &format!("to build again, which restarts {}", counted(nodes, "node")),
        &format!("coreos-bake cluster retry {name} --rebuild"),
        columns,
    )
}

fn sentence(text: &str, columns: usize) -> String {
    let paragraph = Paragraph {
        first: "  ",
        rest: "    ",
        columns,
    };
    paragraph.of(text)
}

/// When to run a command, and it.
fn command(about: &str, command: &str, columns: usize) -> String {
    format!(
        "{}      {command}\n",
        sentence(&format!("{about}:"), columns)
    )
}

/// What was set up, or would be.
pub(super) struct Set<'a> {
    pub(super) steps: &'a [Step],
    pub(super) remarks: &'a [String],
    pub(super) found: &'a Entitlement,
    pub(super) is_dry: bool,
    /// The host's entitlement is not taken, because the cluster has another.
    pub(super) is_left_out: bool,
    /// Neither the host nor the cluster has one.
    pub(super) is_none_there: bool,
}

impl Set<'_> {
    pub(super) fn show(&self, terminal: &Terminal) -> Result<Outcome> {
        let steps = self.steps.iter().map(|step| {
            json!({
                "kind": step.kind(), "namespace": step.namespace(), "name": step.name(),
                "files": step.files(),
                "work": match step.work {
                    Work::Make => "make",
                    Work::Change => "change",
                    Work::Nothing => "nothing",
                },
            })
        });
        let value = json!({
            "schema": "coreos-bake/cluster-entitlement-set/v1",
            "is-dry-run": self.is_dry,
            "objects": steps.collect::<Vec<_>>(),
            "is-entitlement-left-out": self.is_left_out,
            "is-without-entitlement": self.is_none_there,
            "remarks": self.remarks,
            "pools-to-build": self.to_build().map(|pool| &pool.name).collect::<Vec<_>>(),
        });
        terminal.result(&value, &self.text(terminal))?;
        Ok(Outcome::Done)
    }

    /// Pools whose images would be others.
    fn to_build(&self) -> impl Iterator<Item = &PoolEntitlement> {
        let is_new = self.steps.iter().any(|step| step.work != Work::Nothing);
        let pools = self.found.pools.iter();
        let takes =
            |pool: &&PoolEntitlement| pool.need != Need::Unlikely || !pool.packages.is_empty();
        pools.filter(takes).filter(move |_| is_new)
    }

    fn text(&self, terminal: &Terminal) -> String {
        let columns = terminal.columns();
        let mut text = String::new();
        for step in self.steps {
            let work = match (step.work, self.is_dry) {
                (Work::Nothing, _) => "as it is",
                (Work::Make, true) => "would be made",
                (Work::Change, true) => "would be changed",
                (Work::Make, false) => "made",
                (Work::Change, false) => "changed",
            };
            let files: Vec<String> = step.files().iter().map(|name| visible(name)).collect();
            text += &hanging(
                "",
                &format!("{}: {work} ({})", step.object(), files.join(", ")),
                columns,
            );
        }
        if self.is_left_out {
            text += &hanging(
                "",
                "the cluster has an entitlement of its own, so that of the host is left out",
                columns,
            );
        }
        if self.is_none_there {
            text += &hanging(
                "",
                "the host has no entitlement, and neither has the cluster: builds can't install RHEL packages",
                columns,
            );
        }
        text += &remarks(self.remarks, columns);
        let mut to_build = self.to_build().peekable();
        if to_build.peek().is_some() {
            text += "\nno build begins for this; the next one has it\n";
        }
        let is_copied = self
            .steps
            .iter()
            .any(|step| step.name() == "etc-pki-entitlement" && step.work != Work::Nothing);
        if is_copied {
            text += &hanging(
                "",
                "the machine-config operator copies the entitlement for each pool with its next sync; \
                 `coreos-bake cluster entitle` tells whether it has",
                columns,
            );
        }
        for pool in to_build {
            text += &sentence(
                &format!("{}: installs {}", visible(&pool.name), packages(pool)),
                columns,
            );
            text += &rebuild(pool, columns);
        }
        text
    }
}

fn remarks(remarks: &[String], columns: usize) -> String {
    let lines = remarks.iter().map(|remark| sentence(remark, columns));
    lines.collect()
}

/// What was written to a file.
pub(super) fn written(material: &Material, path: &Path, terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let path = path.display().to_string();
    let mut text = hanging(
        "",
        &format!(
            "{}: oc apply --server-side -f {}",
            visible(&path),
            visible(&path)
        ),
        columns,
    );
    if material.has_entitlement() {
        text += &hanging(
            "",
            "it has a private key, so only you can read it: encrypt it before it goes into git. If the cluster has an \
             entitlement of its own, name only files with --repo and --gpg-key",
            columns,
        );
    }
    text + &remarks(material.remarks(), columns)
}
