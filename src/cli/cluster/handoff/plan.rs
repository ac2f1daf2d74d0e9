//! What is said before anything is done.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::cluster::asking::ask;
use crate::cli::cluster::words::counted;
use crate::cli::terminal::Terminal;
use crate::cluster::handoff::{Asked, HandoffError, Pause, PinningConfig, Plan, exposed};
use crate::cluster::parity;
use crate::cluster::{Credentials, NAMESPACE, Snapshot};
use crate::containerfile::{self, Severity, Wanted};
use crate::failure::Failure;
use crate::foreign::visible;
use crate::openshift::yaml;
use crate::paragraph::{Paragraph, hanging};
use crate::staging::Staging;

/// Fails on what a build would fail on, or boot a node without.
pub(super) fn lint(text: &str, drivers: &[String]) -> Result<()> {
    let wanted = Wanted {
        drivers,
        ..Wanted::default()
    };
    let remarks = containerfile::lint(text.as_bytes(), &wanted);
    let mut errors = remarks
        .iter()
        .filter(|remark| remark.severity == Severity::Error);
    let Some(first) = errors.next() else {
        return Ok(());
    };
    let at = first
        .line
        .map_or_else(String::new, |line| format!(", line {line}"));
    let more = match errors.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let hint = first.hint.clone();
    let all = "`coreos-bake check --containerfile FILE` tells all of it";
    Err(Failure::new(
        format!("the Containerfile{at}: {}{more}", visible(&first.message)),
        hint.map_or_else(|| all.to_owned(), |hint| format!("{hint}; {all}")),
    )
    .into())
}

/// Writes what would be applied, for those whose objects are in git.
pub(super) fn write(
    directory: &Path,
    force: bool,
    pools: &[String],
    asked: &Asked,
    rules: Option<String>,
    terminal: &Terminal,
) -> Result<Outcome> {
    let staging = Staging::new(directory, force)?;
    let mut names = Vec::new();
    for pool in pools {
        let object = Plan::offline(pool, asked).map_err(without_cluster)?;
        let name = format!("{pool}.machineosconfig.yaml");
        staging.create(&name)?.write_all(yaml(&object).as_bytes())?;
        names.push(name);
    }
    if let Some(rules) = rules {
        let name = "coreos-bake.alertingrule.yaml".to_owned();
        staging.create(&name)?.write_all(rules.as_bytes())?;
        names.push(name);
    }
    staging.publish(&names)?;
    let files: Vec<String> = names
        .iter()
        .map(|name| directory.join(name).display().to_string())
        .collect();
    let value =
        json!({ "schema": "coreos-bake/cluster-handoff/v1", "state": "written", "files": files });
    let mut text = String::new();
    let columns = terminal.columns();
    for file in &files {
        text += &hanging("wrote ", file, columns);
    }
    text += &hanging(
        "note: ",
        "the cluster was not asked. Apply them in this order, so that no node starts without its driver:",
        columns,
    );
    for pool in pools {
        let patch = |paused: bool| {
            format!("oc patch mcp {pool} --type merge -p '{{\"spec\":{{\"paused\":{paused}}}}}'")
        };
        text += &format!(
            "  {}\n  (apply {pool}.machineosconfig.yaml)\n  (take osImageURL out of 99-{pool}-coreos-bake-os, if there is one)\n  coreos-bake cluster status    (until {pool} is paused, with its image built)\n  {}\n",
            patch(true),
            patch(false),
        );
    }
    terminal.result(&value, &text)?;
    Ok(Outcome::Done)
}

/// What is missing for objects that are written without a look at the cluster.
fn without_cluster(error: HandoffError) -> anyhow::Error {
    let HandoffError::Missing { option, .. } = error else {
        return error.into();
    };
    Failure::new(
        format!("{option} has to be given"),
        "with -o, no cluster is asked for what it has already",
    )
    .into()
}

/// What is known of a pool before it is touched.
pub(super) struct Known {
    pub(super) plan: Plan,
    /// MachineConfigs that name an image for it.
    pub(super) pins: Vec<PinningConfig>,
    /// What of the Containerfile nodes won't keep, or belongs elsewhere.
    pub(super) remarks: Vec<String>,
    /// Whether monitoring is told.
    pub(super) alerts: bool,
    /// Whether the cluster has all of it, and nodes are not kept from it.
    pub(super) is_over: bool,
    /// The build that was the operator's last word; what it says is not about what is told now.
    pub(super) build_before: Option<String>,
}

impl Known {
    /// What will be done, one step after the other.
    pub(super) fn steps(&self, unverified: bool) -> Vec<String> {
        let Plan {
            pool,
            nodes,
            at_a_time,
            pause,
            drivers,
            ..
        } = &self.plan;
        let pool = visible(pool);
        let mut steps = Vec::new();
        if self.is_over {
            return vec!["nothing is left to do: the cluster has all of it".to_owned()];
        }
        match pause {
            Pause::Ours => steps.push("the pool is paused: no node moves before its image was looked into".to_owned()),
            Pause::Others => steps.push("somebody has paused the pool, and it stays so: nodes move when he lets them".to_owned()),
            Pause::Costly => steps.push("the pool is not paused, because the operator would report itself degraded: nodes take the image as soon as it is built, before it is looked into (--pause has it paused all the same)".to_owned()),
            Pause::Refused => steps.push("the pool is not paused: nodes take the image as soon as it is built, before it is looked into".to_owned()),
        }
        if self.plan.is_seeded {
            steps.push(format!("MachineOSConfig {pool} of the installation is removed; the operator is expected to remove MachineConfig 10-prebuiltimage-osimageurl-{pool} then, which keeps releases away. Nodes keep their image under the pause"));
        }
        steps.push(match (self.plan.is_told, self.plan.is_layered && !self.plan.is_seeded) {
            (true, _) => format!("MachineOSConfig {pool} is as it should be already"),
            (false, true) => format!("MachineOSConfig {pool} is changed, and the cluster builds the image again"),
            (false, false) => format!("MachineOSConfig {pool} is made, and the cluster builds the image; a build takes tens of minutes"),
        });
        for pin in &self.pins {
            let name = visible(pin.metadata.name.as_deref().unwrap_or_default());
            steps.push(match pin.is_only_that() {
                true => format!("MachineConfig {name} is removed, which pins the image: the build is of the release's own then, and of each release's after it"),
                false => format!("osImageURL is taken out of MachineConfig {name}, which pins the image: the build is of the release's own then, and of each release's after it"),
            });
        }
        if self.alerts {
            steps.push(
                "AlertingRule coreos-bake is made: the cluster's monitoring calls somebody when a build fails"
                    .to_owned(),
            );
        }
        let needed = match drivers.is_empty() {
            true => "no driver is named, so none is looked for".to_owned(),
            false => format!("{} at each boot", drivers.join(", ")),
        };
        steps.push(match unverified {
            true => "nobody looks into the image (--unverified)".to_owned(),
            false => format!("the image is looked into: its Containerfile, and {needed}"),
        });
        let moves = match nodes {
            0 => "it has no nodes yet".to_owned(),
            1 => "its node is drained and restarted once".to_owned(),
            _ => format!(
                "each of {nodes} nodes is drained and restarted once, {at_a_time} at a time"
            ),
        };
        steps.push(match pause {
            Pause::Ours => format!("the pool goes on: {moves}"),
            _ => moves,
        });
        steps
    }
}

/// What of a Containerfile nodes won't keep, or belongs into a MachineConfig; `rendered` is that of the pool.
pub(super) fn remarks(
    plan: &Plan,
    rendered: &Value,
    release: Option<(u16, u16)>,
) -> Result<Vec<String>> {
    let containerfile = plan.containerfile().unwrap_or_default();
    let drift = parity::drift(containerfile, rendered);
    let mut remarks: Vec<String> = drift.iter().map(ToString::to_string).collect();
    let Some(found) = parity::extensions(containerfile, &rendered["spec"], release) else {
        return Ok(remarks);
    };
    let packages = found.packages.iter();
    let packages = packages.map(|package| format!("{} (line {})", package.text, package.line));
    let packages: Vec<String> = packages.collect();
    let mut remark = format!(
        "{} would be better taken from the release's own extensions",
        packages.join(", ")
    );
    if let Some(object) = found.machine_config(&plan.pool)? {
        let mut fields = Vec::new();
        if !found.names.is_empty() {
            fields.push(format!("spec.extensions [{}]", found.names.join(", ")));
        }
        fields.extend(
            found
                .kernel_type
                .map(|kind| format!("spec.kernelType {kind}")),
        );
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        remark += &format!(
            ": a MachineConfig such as {name} with {}",
            fields.join(" and ")
        );
    }
    if !found.missing.is_empty() {
        remark += &format!("; this release does not have {}", found.missing.join(", "));
    }
    remarks.push(visible(&remark));
    Ok(remarks)
}

/// All pools' steps, as people read them.
pub(super) fn text(url: &str, known: &[Known], unverified: bool, terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let mut text = format!("cluster {}\n", visible(url));
    for known in known {
        let nodes = counted(known.plan.nodes, "node");
        text += &format!("{}: {nodes}\n", visible(&known.plan.pool));
        for (at, step) in known.steps(unverified).iter().enumerate() {
            let first = format!("  {}. ", at + 1);
            let paragraph = Paragraph {
                first: &first,
                rest: "     ",
                columns,
            };
            text += &paragraph.of(step);
        }
        for remark in &known.remarks {
            text += &hanging("  note: ", remark, columns);
        }
    }
    text
}

pub(super) fn value(known: &[Known], state: &str, unverified: bool) -> Value {
    let pools = known.iter().map(|known| {
        let mut pool = json!(known.plan);
        pool["steps"] = json!(known.steps(unverified));
        pool["remarks"] = json!(known.remarks);
        pool["object"] = known.plan.object.clone();
        pool
    });
    json!({
        "schema": "coreos-bake/cluster-handoff/v1",
        "state": state,
        "pools": pools.collect::<Vec<_>>(),
    })
}

/// Asks on the terminal whether to go on with what is planned.
pub(super) fn confirm(plan: &str) -> Result<()> {
    match ask(plan, "Go on? [y/N]")?.eq_ignore_ascii_case("y") {
        true => Ok(()),
        false => Err(anyhow::anyhow!("nothing was changed")),
    }
}

/// Fails on what the cluster would take, and never get on with.
pub(super) fn refuse_secrets(
    pool: &str,
    found: &[(String, Credentials, &'static str)],
) -> Result<()> {
    let pool = visible(pool);
    for (name, credentials, what) in found {
        let name = visible(name);
        let sentence = match credentials {
            Credentials::Fit => continue,
            Credentials::Absent => format!("{pool}: there is no secret {name} in {NAMESPACE}"),
            Credentials::Unusable(why) => format!(
                "{pool}: builds can't use the secret {name}: {}",
                visible(why)
            ),
            Credentials::NotFor => {
                format!("{pool}: the secret {name} has nothing for the registry that is pushed to")
            }
        };
        let hint = match *what {
            "push" => format!(
                "`oc -n {NAMESPACE} create secret docker-registry NAME --docker-server=…` makes one"
            ),
            _ => "without it the operator's builder ends at once, again and again".to_owned(),
        };
        return Err(Failure::new(sentence, hint).into());
    }
    Ok(())
}

/// Fails if taking a pin away sent other pools' nodes to the release's own image.
pub(super) fn refuse_pins(snapshot: &Snapshot, known: &Known, pools: &[String]) -> Result<()> {
    let pool = visible(&known.plan.pool);
    for pin in &known.pins {
        let name = pin.metadata.name.as_deref().unwrap_or_default();
        let shown = visible(name);
        if !pools.iter().any(|pool| pin.is_ours(pool)) {
            return Err(Failure::new(
                format!("{pool}: MachineConfig {shown} pins the pool's image, and is not ours"),
                format!(
                    "as long as it does, builds are of that image, and releases don't reach the pool; take osImageURL out of it yourself once the pool is paused: `oc edit machineconfig {shown}`"
                ),
            )
            .into());
        }
        let others = exposed(snapshot, name, pools);
        if !others.is_empty() {
            let others: Vec<String> = others.into_iter().map(visible).collect();
            return Err(Failure::new(
                format!(
                    "{pool}: MachineConfig {shown} pins the image of {} as well, whose nodes would go to the release's own",
                    others.join(", ")
                ),
                format!("hand them off together: `coreos-bake cluster handoff {} …`", [&[pool.clone()][..], &others].concat().join(" ")),
            )
            .into());
        }
    }
    Ok(())
}
