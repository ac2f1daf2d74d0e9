//! How a hand-off ends, and what is told then.

use anyhow::Result;
use serde_json::{Value, json};

use super::plan::Known;
use super::under_way::Handoff;
use crate::cli::Outcome;
use crate::cli::cluster::status::Look;
use crate::cli::cluster::words::{counted, short};
use crate::cluster::handoff::{HandoffError, Pause, Plan};
use crate::cluster::{Snapshot, State, judge};
use crate::failure::Failure;
use crate::foreign::visible;
use crate::paragraph::hanging;

/// How it ended for a pool.
pub(super) enum End {
    /// Its nodes have the image, or go to it.
    Done { image: String, is_paused: bool },
    /// The image is there; somebody has to look at it, or let the pool go on.
    Held { image: String, why: Vec<String> },
    /// Its build needs somebody.
    Stuck(State),
}

impl Handoff<'_> {
    /// Tells how it ended.
    pub(super) fn report(&self, known: &[Known], ends: &[End]) -> Result<Outcome> {
        let columns = self.terminal.columns();
        let mut text = String::new();
        let mut pools = Vec::new();
        let mut is_well = true;
        for (known, end) in known.iter().zip(ends) {
            let plan = &known.plan;
            let pool = visible(&plan.pool);
            let first = format!("{pool}: ");
            match end {
                End::Done { image, is_paused } => {
                    let nodes = counted(plan.nodes, "node");
                    let goes = match is_paused {
                        true => "the pool is paused by somebody else, and its nodes stay until that ends".to_owned(),
                        false => format!("{nodes} go to it one after the other; `coreos-bake cluster status` tells how far they are"),
                    };
                    let how = match (self.options.unverified, plan.drivers.is_empty()) {
                        (true, _) => "built, and not looked into".to_owned(),
                        (false, true) => {
                            "built of the Containerfile, and no driver was looked for".to_owned()
                        }
                        (false, false) => format!(
                            "built of the Containerfile, with {} at each boot",
                            visible(&plan.drivers.join(", "))
                        ),
                    };
                    text += &hanging(&first, &format!("{how}: {}; {goes}", short(image)), columns);
                    pools.push(json!({ "pool": plan.pool, "state": "done", "image": image }));
                }
                End::Held { image, why } => {
                    is_well = false;
                    let nodes = match (known.is_over, plan.pause) {
                        (false, Pause::Ours | Pause::Others) => "nodes don't get it",
                        _ => "nodes have it, or go to it",
                    };
                    text += &hanging(
                        &first,
                        &format!("{} is built; {nodes}", short(image)),
                        columns,
                    );
                    for why in why {
                        text += &hanging("  ", &visible(why), columns);
                    }
                    text += &hanging(
                        "  ",
                        &format!(
                            "{} With --unverified it goes on without a look into the image; with a mended Containerfile, on a new one",
                            standing(plan)
                        ),
                        columns,
                    );
                    pools.push(
                        json!({ "pool": plan.pool, "state": "held", "image": image, "why": why }),
                    );
                }
                End::Stuck(state) => {
                    is_well = false;
                    pools.push(json!({ "pool": plan.pool, "state": state }));
                }
            }
        }
        let mut status = Value::Null;
        if ends.iter().any(|end| matches!(end, End::Stuck(_))) {
            let look = Look::of(&self.look()?);
            let logs = self.options.save_logs.as_deref();
            let told = look.tell(logs, &self.server, self.terminal);
            let (value, words) = self.runtime.block_on(told)?;
            status = value;
            text += &words;
        }
        let value = json!({
            "schema": "coreos-bake/cluster-handoff/v1", "state": "ended", "pools": pools, "status": status,
        });
        self.terminal.result(&value, &text)?;
        Ok(match is_well {
            true => Outcome::Done,
            false => Outcome::Doubtful,
        })
    }
}

/// What is so if it stops here.
pub(super) fn standing(plan: &Plan) -> String {
    match plan.pause {
        Pause::Ours => "The pool stays paused: its nodes are as they were.".to_owned(),
        _ => "The pool is not paused by us.".to_owned(),
    }
}

/// Why nothing is handed off, and what to do.
pub(super) fn explained(error: HandoffError, snapshot: &Snapshot) -> anyhow::Error {
    let report = judge(snapshot);
    let names: Vec<String> = report
        .pools
        .iter()
        .map(|pool| visible(&pool.name))
        .collect();
    let hint = match &error {
        HandoffError::NoPool(_) => format!("it has {}", names.join(", ")),
        HandoffError::Missing { .. } => {
            "the first time, --containerfile, --push-spec and --push-secret are needed".to_owned()
        }
        HandoffError::Blocked { .. } => {
            "`coreos-bake cluster status` tells more; mend that first".to_owned()
        }
        HandoffError::Seeded(_) => {
            "--pause has it paused, although the operator reports itself degraded then".to_owned()
        }
        HandoffError::TooLong(_) => "put what is long into an image, and COPY --from it".to_owned(),
        HandoffError::NothingToUndo(pool) => format!(
            "`coreos-bake cluster revert {}` goes back to the release's own image",
            visible(pool)
        ),
    };
    Failure::new(error.to_string(), hint).into()
}
