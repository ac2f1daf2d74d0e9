//! What is said before anything is done.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::drivers::Drivers;
use crate::cli::cluster::asking::ask;
use crate::cli::cluster::words::{counted, short};
use crate::cli::terminal::Terminal;
use crate::cluster::revert::{Held, Plan, Way};
use crate::foreign::visible;
use crate::paragraph::{Paragraph, hanging};

/// What it costs, in sentences.
pub(super) fn costs(plan: &Plan, drivers: &Drivers, save: &Path) -> Vec<String> {
    let pool = visible(&plan.pool);
    let mut costs = Vec::new();
    let times = match plan.way {
        Way::Pinned => "once",
        _ => "twice",
    };
    costs.push(format!(
        "each node is drained and restarted {times}, {} at a time; an estimate of the time is {} min",
        plan.at_a_time, plan.minutes
    ));
    if plan.way != Way::Pinned {
        costs.push(
            "between the two restarts a node runs the release's kernel, with nothing of your image and without the files of its MachineConfig"
                .to_owned(),
        );
    }
    costs.extend(drivers.told());
    if plan.way.is_layered() {
        costs.push(format!(
            "MachineOSConfig {pool} is removed. It is saved to {}, which comes back by a whole build",
            visible(&save.display().to_string())
        ));
        costs.push(match &plan.image {
            Some(image) => format!(
                "the cluster deletes the images of its other builds from the registry; {} stays there, and nobody deletes it",
                short(image)
            ),
            None => "no image was built yet".to_owned(),
        });
    }
    match plan.way {
        Way::Seeded => costs.push(format!(
            "the operator is expected to remove MachineConfig 10-prebuiltimage-osimageurl-{pool} as well"
        )),
        Way::Pinned => costs.push("the image is taken out of the MachineConfig that pins it".to_owned()),
        Way::LayeredAndPinned => costs.push(
            "a MachineConfig pins an image, too. It is taken out first, while the pool is paused, so that nodes go one way only"
                .to_owned(),
        ),
        _ => {}
    }
    match plan.held {
        Held::Nobody => {}
        Held::Us => costs
            .push("the pool is paused by a command of ours that was stopped; that ends".to_owned()),
        Held::Others => costs.push(
            "somebody has paused the pool, and it stays so: nodes move when that ends".to_owned(),
        ),
    }
    costs
}

pub(super) fn text(url: &str, plan: &Plan, costs: &[String], terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let mut text = format!("cluster {}\n", visible(url));
    let from = match (&plan.image, plan.way) {
        (Some(image), _) => format!(" from {}", short(image)),
        (None, Way::Pinned) => " from the image that a MachineConfig pins".to_owned(),
        _ => String::new(),
    };
    let goes = match plan.nodes {
        1 => "goes",
        _ => "go",
    };
    text += &hanging(
        &format!("{}: ", visible(&plan.pool)),
        &format!(
            "{} {goes}{from} to the release's own image",
            counted(plan.nodes, "node")
        ),
        columns,
    );
    for cost in costs {
        let paragraph = Paragraph {
            first: "  - ",
            rest: "    ",
            columns,
        };
        text += &paragraph.of(cost);
    }
    text
}

pub(super) fn value(plan: &Plan, drivers: &Drivers, costs: &[String], state: &str) -> Value {
    let mut value = json!(plan);
    value["schema"] = json!("coreos-bake/cluster-revert/v1");
    value["state"] = json!(state);
    value["drivers"] = json!(drivers.names);
    value["costs"] = json!(costs);
    value
}

/// Has the pool's name typed.
pub(super) fn confirm(pool: &str, told: &str) -> Result<()> {
    match ask(told, "Type the pool's name to go on:")? == pool {
        true => Ok(()),
        false => Err(anyhow::anyhow!(
            "nothing was changed: that is not the pool's name"
        )),
    }
}
