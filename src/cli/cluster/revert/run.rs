//! The steps back, each of which finds out by itself whether it is done.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::plan;
use super::under_way::Revert;
use crate::cli::Outcome;
use crate::cli::cluster::patience::Follow;
use crate::cli::cluster::pools::{change_pool, take_away};
use crate::cli::cluster::status::Look;
use crate::cli::cluster::way_on;
use crate::cli::cluster::words::counted;
use crate::cluster::handoff::{PinningConfig, exposed, paused, unpaused};
use crate::cluster::revert::{Held, Plan, Way, identity, left, plan as planned, saved};
use crate::cluster::{Changed, Kind, Snapshot, State};
use crate::failure::Failure;
use crate::foreign::visible;
use crate::openshift::yaml;
use crate::paragraph::hanging;
use crate::progress::Progress;
use crate::staging::Staging;

/// Most of a saved file that is looked at: more than any object has.
const SAVED_MAX_BYTES: u64 = 4 << 20;

impl Revert<'_> {
    pub(super) fn run(&self) -> Result<Outcome> {
        let snapshot = self.runtime.block_on(self.server.snapshot())?;
        let Some(plan) = planned(&snapshot, self.pool) else {
            // It says which there are.
            Look::of(&snapshot).pool(self.pool)?;
            return Err(anyhow!("pool {} was removed meanwhile", visible(self.pool)));
        };
        if matches!(plan.way, Way::Reverting | Way::Stock) {
            self.resume(&plan)?;
            return self.finish(&plan, None);
        }
        let pins = self.pins(&snapshot, &plan)?;
        let drivers = self.drivers(&snapshot)?;
        let save = self.save_path();
        let costs = plan::costs(&plan, &drivers, &save);
        let text = plan::text(self.server.url(), &plan, &costs, self.terminal);
        if self.options.dry_run {
            let value = plan::value(&plan, &drivers, &costs, "planned");
            self.terminal.result(&value, &text)?;
        }
        if !self.options.allow_driver_loss {
            drivers.refuse(self.pool, plan.nodes)?;
        }
        let save = plan.way.is_layered().then_some(&*save);
        let config = match save {
            Some(path) => self.saved(&snapshot, path)?,
            None => None,
        };
        if self.options.dry_run {
            return Ok(Outcome::Done);
        }
        if !self.options.yes {
            plan::confirm(self.pool, &text)?;
        }
        if let (Some(path), Some(text)) = (save, config) {
            write(path, &text)?;
        }
        self.terminal.way_on(way_on("revert"));
        self.send_back(&snapshot, &plan, &pins)?;
        self.finish(&plan, save)
    }

    fn save_path(&self) -> PathBuf {
        match &self.options.save {
            Some(path) => path.clone(),
            None => PathBuf::from(format!("{}.machineosconfig.yaml", visible(self.pool))),
        }
    }

    /// The MachineConfigs that pin an image for the pool; all have to be ours, and needed by nobody else.
    fn pins(&self, snapshot: &Snapshot, plan: &Plan) -> Result<Vec<PinningConfig>> {
        let found = snapshot.pool(self.pool).filter(|_| plan.way.is_pinned());
        let Some(found) = found else {
            return Ok(Vec::new());
        };
        let pins = self.runtime.block_on(self.server.pins(found))?;
        let pool = visible(self.pool);
        for pin in &pins {
            let name = pin.metadata.name.as_deref().unwrap_or_default();
            let shown = visible(name);
            if !pin.is_ours(self.pool) {
                return Err(Failure::new(
                    format!("{pool}: MachineConfig {shown} pins the pool's image, and is not ours"),
                    format!("take osImageURL out of it yourself: `oc edit machineconfig {shown}`"),
                )
                .into());
            }
            let others = exposed(snapshot, name, &[self.pool.to_owned()]);
            if !others.is_empty() {
                let others: Vec<String> = others.into_iter().map(visible).collect();
                return Err(Failure::new(
                    format!("{pool}: MachineConfig {shown} pins the image of {} as well", others.join(", ")),
                    "give those pools an image of their own first (`coreos-bake cluster handoff`), or take osImageURL out of it yourself",
                )
                .into());
            }
        }
        Ok(pins)
    }

    /// What the MachineOSConfig is saved as; None if the file has it already. A file with something else is
    /// not written to.
    fn saved(&self, snapshot: &Snapshot, path: &Path) -> Result<Option<String>> {
        let Some((name, uid)) = identity(snapshot, self.pool) else {
            return Ok(None);
        };
        let config: Option<Value> = self
            .runtime
            .block_on(self.server.get(Kind::LAYERED_CONFIG, &name))?;
        let config = config.filter(|config| config["metadata"]["uid"] == *uid);
        let Some(config) = config else {
            return Err(self.changed_meanwhile("MachineOSConfig", &name));
        };
        let text = yaml(&saved(&config));
        match fs::metadata(path) {
            Err(_) => Ok(Some(text)),
            Ok(found) if found.len() <= SAVED_MAX_BYTES => {
                let there =
                    fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                match there == text.as_bytes() {
                    true => Ok(None),
                    false => Err(Self::in_the_way(path)),
                }
            }
            Ok(_) => Err(Self::in_the_way(path)),
        }
    }

    fn in_the_way(path: &Path) -> anyhow::Error {
        Failure::new(
            format!(
                "{} is there already, and says something else",
                path.display()
            ),
            "name another file with --save",
        )
        .into()
    }

    fn changed_meanwhile(&self, kind: &str, name: &str) -> anyhow::Error {
        Failure::new(
            format!(
                "{kind} {} was changed by somebody else meanwhile",
                visible(name)
            ),
            "say the same again: what it costs is told anew",
        )
        .into()
    }

    fn send_back(&self, snapshot: &Snapshot, plan: &Plan, pins: &[PinningConfig]) -> Result<()> {
        let is_held = plan.way == Way::LayeredAndPinned && plan.held != Held::Others;
        if is_held {
            // Without a pause, nodes would begin to go to the pinned image as soon as the MachineOSConfig is gone, or
            // to another build on the release's own as soon as the pin is. Each half was watched, both not.
            self.change_pool(|pool| (!pool.spec.paused).then(|| paused(pool, "revert")))?;
        }
        for pin in pins {
            if self.runtime.block_on(take_away(&self.server, pin))? == Changed::Stale {
                let name = pin.metadata.name.as_deref().unwrap_or_default();
                return Err(self.changed_meanwhile("MachineConfig", name));
            }
        }
        if let Some((name, uid)) = identity(snapshot, self.pool) {
            let delete = self.server.delete(Kind::LAYERED_CONFIG, &name, &uid);
            if self.runtime.block_on(delete)? == Changed::Stale {
                return Err(self.changed_meanwhile("MachineOSConfig", &name));
            }
        }
        self.resume(plan)
    }

    /// Lets the pool go on, if it was us who have paused it.
    fn resume(&self, _: &Plan) -> Result<()> {
        self.change_pool(|pool| pool.is_paused_by_us().then(|| unpaused(pool)))
    }

    fn change_pool(&self, change: impl Fn(&crate::cluster::Pool) -> Option<Value>) -> Result<()> {
        self.runtime
            .block_on(change_pool(&self.server, self.pool, change))
    }

    /// Waits until all nodes are back, and tells what is left of the image elsewhere.
    fn finish(&self, plan: &Plan, save: Option<&Path>) -> Result<Outcome> {
        let pool = visible(self.pool);
        let columns = self.terminal.columns();
        let first = format!("{pool}: ");
        let is_told = plan.way != Way::Stock;
        let mut value = serde_json::json!({
            "schema": "coreos-bake/cluster-revert/v1", "pool": self.pool, "saved": save, "image": plan.image,
        });
        if is_told && (self.options.no_wait || plan.held == Held::Others) {
            value["state"] = "told".into();
            let why = match plan.held {
                Held::Others => {
                    "the pool is paused by somebody else, and its nodes stay until that ends"
                }
                _ => "`coreos-bake cluster status` tells how far its nodes are",
            };
            let text = hanging(&first, &format!("the cluster was told; {why}"), columns);
            self.terminal.result(&value, &text)?;
            return Ok(Outcome::Done);
        }
        if let Some(look) = self.wait()? {
            return self
                .runtime
                .block_on(look.show(None, &self.server, self.terminal));
        }
        value["state"] = if is_told { "done" } else { "nothing-to-do" }.into();
        let nodes = counted(plan.nodes, "node");
        let mut text = hanging(
            &first,
            &format!("{nodes} on the release's own image"),
            columns,
        );
        if is_told {
            let mut left = Vec::new();
            if let Some(image) = &plan.image {
                left.push(format!(
                    "left in the registry, where nobody deletes it now: {}",
                    visible(image)
                ));
            }
            if let Some(path) = save {
                left.push(format!(
                    "to come back, by a whole build: `oc apply -f {}`",
                    path.display()
                ));
            }
            left.push(
                "boot media, boot images of machine sets and osImageURL in install directories are as they were: new nodes may still boot the old image"
                    .to_owned(),
            );
            for left in left {
                text += &hanging("  ", &left, columns);
            }
        }
        self.terminal.result(&value, &text)?;
        Ok(Outcome::Done)
    }

    /// Waits until all nodes are back. A look that shows what keeps them from it, if something does.
    fn wait(&self) -> Result<Option<Look>> {
        let pause = Duration::from_secs(self.options.interval);
        let progress: &dyn Progress = self.terminal;
        let mut told = String::new();
        let mut follow = Follow::new(&self.server, pause, self.terminal, None);
        loop {
            let snapshot = self.runtime.block_on(follow.next())?;
            let look = Look::of(snapshot);
            let report = look.pool(self.pool)?;
            let (state, nodes, updated) = (report.state, report.nodes, report.updated);
            // A configuration that still has the image in it is the one before.
            let is_rendered = !snapshot.is_pinned(self.pool);
            let is_back = is_rendered && left(snapshot, self.pool) == 0 && state == State::UpToDate;
            if is_back || state == State::NodesDegraded {
                if !told.is_empty() {
                    progress.end();
                }
                return Ok((!is_back).then_some(look));
            }
            let line = format!("{updated} of {} back", counted(nodes, "node"));
            if line != told {
                if !told.is_empty() {
                    progress.end();
                }
                progress.begin(&line, 0);
                told = line;
            }
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staging = Staging::new(directory, false)?;
    staging
        .create(&name)?
        .write_all(text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))?;
    staging.publish(&[name.into_owned()])?;
    Ok(())
}
