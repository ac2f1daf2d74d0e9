//! All pools in one table.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::details::{Line, details};
use super::told::Told;
use crate::cli::cluster::words::{ago, counted, short};
use crate::cli::table::Table;
use crate::cli::terminal::Terminal;
use crate::cluster::{Base, PoolReport, Report, State};
use crate::foreign::visible;
use crate::paragraph::{Paragraph, hanging, shortened};

/// Columns of a pool's and an image's name in the table.
const POOL_COLUMNS: usize = 16;
const IMAGE_COLUMNS: usize = 28;

pub(super) fn value(report: &Report, told: &[Told], (requests, bytes): (u64, u64)) -> Value {
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

pub(super) fn text(
    report: &Report,
    told: &[Told],
    spent: (u64, u64),
    terminal: &Terminal,
) -> String {
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

fn image(pool: &PoolReport) -> String {
    match (&pool.image, pool.is_layered) {
        (Some(image), _) => short(image),
        (None, true) => "not built yet".to_owned(),
        (None, false) => "stock".to_owned(),
    }
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
        State::HandoffOpen => format!(
            "paused by cluster {}",
            visible(pool.paused_for.as_deref().unwrap_or_default())
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
