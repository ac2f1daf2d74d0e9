//! The steps of a hand-off, each of which finds out by itself whether it is done.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::end::{End, explained, standing};
use super::plan::{self, Known};
use super::prove::Proof;
use super::under_way::Handoff;
use crate::cli::Outcome;
use crate::cli::cluster::pools::take_away;
use crate::cli::cluster::status::Look;
use crate::cli::cluster::way_on;
use crate::cluster::alerts::{self, AlertOptions};
use crate::cluster::entitlement::{PoolCopy, pool_copy};
use crate::cluster::handoff::{Pause, Plan, built, is_proven, paused, proof, undo, unpaused};
use crate::cluster::parity::{Wanted, applied, change, is_for};
use crate::cluster::{Applied, Changed, Kind, Snapshot, State, is_in_own_registry, is_passing};
use crate::failure::{Failure, sentence};
use crate::foreign::visible;
use crate::openshift::directory::read_objects;
use crate::progress::Progress;

/// How long the operator takes to notice that a MachineOSConfig is gone: it looks after its pools one by one,
/// and for ten minutes at those that are degraded.
const UNSEEDED_MAX: Duration = Duration::from_secs(1800);
/// How long the operator takes for its copy of the entitlement, unless a pool is degraded.
const ENTITLED_MAX: Duration = Duration::from_secs(600);

impl Handoff<'_> {
    pub(super) fn run(&self) -> Result<Outcome> {
        let snapshot = self.look()?;
        let known = self.known(&snapshot)?;
        let unverified = self.options.unverified;
        let text = plan::text(self.server.url(), &known, unverified, self.terminal);
        if self.options.dry_run {
            let value = plan::value(&known, "planned", unverified);
            self.terminal.result(&value, &text)?;
            return Ok(Outcome::Done);
        }
        if !self.options.yes {
            plan::confirm(&text)?;
        }
        self.terminal.way_on(way_on("handoff"));
        for known in &known {
            self.pause(known)?;
        }
        for known in &known {
            self.unseed(&known.plan)?;
        }
        for known in &known {
            self.tell(&known.plan)?;
        }
        // Pools of one's own share those of workers.
        let mut done = BTreeSet::new();
        for known in &known {
            self.unpin(known, &mut done)?;
        }
        if !self.options.no_alerts && known.iter().any(|known| !known.is_over) {
            self.alert()?;
        }
        for known in &known {
            self.entitle(known)?;
        }
        self.finish(&known)
    }

    /// What is to be done, or what stands against it. Nothing is changed.
    fn known(&self, snapshot: &Snapshot) -> Result<Vec<Known>> {
        let pools = &self.options.pools;
        let mut all = Vec::new();
        for pool in pools {
            let plan = match self.options.undo {
                true => undo(snapshot, pool, self.pause),
                false => crate::cluster::handoff::plan(snapshot, pool, &self.asked, self.pause),
            };
            let plan = plan.map_err(|error| explained(error, snapshot))?;
            let place = plan.object["spec"]["renderedImagePushSpec"].as_str();
            if place.is_some_and(is_in_own_registry) {
                let task = self.options.task(true);
                self.runtime
                    .block_on(self.server.require_rights_for(task))?;
            }
            let containerfile = plan.containerfile().unwrap_or_default();
            plan::lint(containerfile, &plan.drivers)?;
            self.refuse_secrets(snapshot, &plan)?;
            let rendered = snapshot
                .pool(pool)
                .map(|pool| &*pool.spec.configuration.name);
            let rendered = self
                .server
                .get(Kind::MACHINE_CONFIG, rendered.unwrap_or_default());
            let rendered: Option<Value> = self.runtime.block_on(rendered)?;
            let mut remarks = Vec::new();
            if let Some(rendered) = rendered {
                remarks = plan::remarks(&plan, &rendered, snapshot.release())?;
                remarks.extend(self.costs(snapshot, &plan, &rendered)?);
            }
            let mut pins = Vec::new();
            if let Some(found) = snapshot.pool(pool).filter(|_| snapshot.is_pinned(pool)) {
                pins = self.runtime.block_on(self.server.pins(found))?;
            }
            let is_over = pins.is_empty() && self.is_over(snapshot, &plan);
            let look = Look::of(snapshot);
            let known = Known {
                plan,
                pins,
                remarks,
                is_over,
                alerts: !self.options.no_alerts,
                build_before: look.pool(pool)?.current_build.clone(),
            };
            plan::refuse_pins(snapshot, &known, pools)?;
            all.push(known);
        }
        Ok(all)
    }

    /// What it costs to apply more MachineConfigs once the pool is handed off.
    fn costs(&self, snapshot: &Snapshot, plan: &Plan, rendered: &Value) -> Result<Vec<String>> {
        let mut costs = Vec::new();
        for path in &self.options.manifests {
            for document in read_objects(path)? {
                let config = &document.value;
                if config["kind"] != Kind::MACHINE_CONFIG.name() || !is_for(config, &plan.pool) {
                    continue;
                }
                let after = applied(&rendered["spec"], &config["spec"]);
                let of = |config| Wanted {
                    layered: Some(&plan.object["spec"]),
                    config: Some(config),
                };
                let size = plan.size(snapshot);
                let cost = change(of(&rendered["spec"]), of(&after), size, snapshot.release());
                let name = config["metadata"]["name"].as_str().unwrap_or_default();
                let file = visible(&document.file);
                costs.push(format!(
                    "to apply MachineConfig {} ({file}) {cost}",
                    visible(name)
                ));
            }
        }
        Ok(costs)
    }

    fn refuse_secrets(&self, snapshot: &Snapshot, plan: &Plan) -> Result<()> {
        let spec = &plan.object["spec"];
        let name = |value: &Value| value["name"].as_str().map(str::to_owned);
        let mut found = Vec::new();
        if let Some(push) = name(&spec["renderedImagePushSecret"]) {
            let place = spec["renderedImagePushSpec"].as_str().unwrap_or_default();
            let place = place.parse()?;
            let look = self.server.credentials(&push, Some(&place));
            found.push((push.clone(), self.runtime.block_on(look)?, "push"));
        }
        // The operator makes its copy of the cluster's own some time after the first pool is layered.
        let mut pools = snapshot.configs.iter().map(|config| config.pool());
        let has_copy = pools.any(|pool| pool != plan.pool);
        let copy = has_copy.then(|| "global-pull-secret-copy".to_owned());
        if let Some(pull) = name(&spec["baseImagePullSecret"]).or(copy) {
            let look = self.server.credentials(&pull, None);
            found.push((pull.clone(), self.runtime.block_on(look)?, "pull"));
        }
        plan::refuse_secrets(&plan.pool, &found)
    }

    /// Pauses the pool, if that is ours to do and is not done.
    fn pause(&self, known: &Known) -> Result<()> {
        if known.plan.pause != Pause::Ours || known.is_over {
            return Ok(());
        }
        self.change_pool(&known.plan.pool, |pool| {
            (!pool.spec.paused).then(|| paused(pool, "handoff"))
        })
    }

    /// Whether nothing is left to wait for under a pause: the pool has its image, and that was looked into,
    /// nobody wants it to be, or nodes have it by now.
    fn is_over(&self, snapshot: &Snapshot, plan: &Plan) -> bool {
        let config = snapshot.config_of(&plan.pool);
        let Some((image, config)) = built(snapshot, &plan.pool).zip(config) else {
            return false;
        };
        let have_it = || {
            let look = Look::of(snapshot);
            let report = look.pool(&plan.pool);
            report.is_ok_and(|report| report.state == State::UpToDate)
        };
        plan.is_told && (is_proven(config, &image) || self.options.unverified || have_it())
    }

    /// Removes the MachineOSConfig of a pool whose image came with the installation, under the pause, and
    /// waits until the operator has taken back the MachineConfig that keeps the image.
    ///
    /// Truth: machine-config-operator pkg/operator/sync.go@7ff337a4f, which was read: no operator ran where the
    /// rest was watched. That nodes keep their image meanwhile, and move once afterwards, was seen.
    fn unseed(&self, plan: &Plan) -> Result<()> {
        if !plan.is_seeded {
            return Ok(());
        }
        let snapshot = self.look()?;
        if let Some(config) = snapshot.config_of(&plan.pool) {
            let metadata = &config.metadata;
            let name = metadata.name.as_deref().unwrap_or_default();
            let uid = metadata.uid.as_deref().unwrap_or_default();
            let delete = self.server.delete(Kind::LAYERED_CONFIG, name, uid);
            if self.runtime.block_on(delete)? == Changed::Stale {
                return Err(Failure::new(
                    format!(
                        "MachineOSConfig {} was made anew by somebody else meanwhile",
                        visible(name)
                    ),
                    format!("say the same again. {}", standing(plan)),
                )
                .into());
            }
        }
        let progress: &dyn Progress = self.terminal;
        progress.begin(
            "waiting for the operator to let go of the installation's image",
            0,
        );
        let began = Instant::now();
        let mut follow = self.follow();
        loop {
            let snapshot = self.runtime.block_on(follow.next())?;
            if snapshot
                .pool(&plan.pool)
                .is_none_or(|pool| !pool.is_seeded())
            {
                progress.end();
                return Ok(());
            }
            if began.elapsed() > UNSEEDED_MAX {
                let pool = visible(&plan.pool);
                return Err(Failure::new(
                    format!("{pool}: the operator has not removed MachineConfig 10-prebuiltimage-osimageurl-{pool}"),
                    format!("remove it yourself, and say the same again. {}", standing(plan)),
                )
                .into());
            }
        }
    }

    /// Tells the cluster what to build.
    fn tell(&self, plan: &Plan) -> Result<()> {
        if plan.is_told {
            return Ok(());
        }
        let force = self.options.force_conflicts;
        let apply = self.server.apply(Kind::LAYERED_CONFIG, &plan.object, force);
        match self.runtime.block_on(apply)? {
            Applied::Done(_) => Ok(()),
            Applied::Conflicts(conflicts) => {
                let fields: Vec<String> = conflicts
                    .iter()
                    .map(|conflict| {
                        format!(
                            "{} ({})",
                            visible(&conflict.field),
                            visible(&conflict.owner)
                        )
                    })
                    .collect();
                let pool = visible(&plan.pool);
                Err(Failure::new(
                    format!(
                        "MachineOSConfig {pool} has fields that somebody else has set: {}",
                        fields.join(", ")
                    ),
                    format!(
                        "if they come from git, change them there (`cluster handoff {pool} -o DIR` writes the object); --force-conflicts takes them over. {}",
                        standing(plan)
                    ),
                )
                .into())
            }
        }
    }

    /// Takes the pinned image out of the pool's configuration.
    fn unpin(&self, known: &Known, done: &mut BTreeSet<String>) -> Result<()> {
        for pin in &known.pins {
            let name = pin.metadata.name.as_deref().unwrap_or_default();
            if !done.insert(name.to_owned()) {
                continue;
            }
            let changed = self.runtime.block_on(take_away(&self.server, pin))?;
            if changed == Changed::Stale {
                return Err(Failure::new(
                    format!(
                        "MachineConfig {} was changed by somebody else meanwhile",
                        visible(name)
                    ),
                    format!("say the same again. {}", standing(&known.plan)),
                )
                .into());
            }
        }
        Ok(())
    }

    /// Waits for the pool's copy of the cluster's entitlement, if it has one. The operator makes it when it looks
    /// after its pools the next time, which may be after a first build has begun without it; so another one is
    /// begun then.
    fn entitle(&self, known: &Known) -> Result<()> {
        let pool = &known.plan.pool;
        let is_there = || -> Result<bool> {
            let copy = self.runtime.block_on(pool_copy(&self.server, pool))?;
            Ok(!matches!(copy, PoolCopy::Missing | PoolCopy::Outdated))
        };
        if known.is_over || is_there()? {
            return Ok(());
        }
        let progress: &dyn Progress = self.terminal;
        progress.begin(
            "waiting for the operator to copy the cluster's entitlement",
            0,
        );
        let began = Instant::now();
        let pause = Duration::from_secs(self.options.interval);
        while !is_there()? {
            if began.elapsed() > ENTITLED_MAX {
                progress.end();
                let name = visible(pool);
                progress.warn(&format!(
                    "the operator has not copied the cluster's entitlement for {name} yet; if the build fails for want of it: `coreos-bake cluster retry {name}`"
                ));
                return Ok(());
            }
            sleep(pause);
        }
        // Only a build that the MachineOSConfig names can be begun anew.
        let mut follow = self.follow();
        let name = loop {
            let snapshot = self.runtime.block_on(follow.next())?;
            match snapshot.config_of(pool) {
                Some(config) if config.is_observed() => break config.name().to_owned(),
                Some(_) if began.elapsed() <= ENTITLED_MAX => (),
                _ => {
                    progress.end();
                    return Ok(());
                }
            }
        };
        progress.end();
        self.runtime.block_on(self.server.rebuild(&name))
    }

    /// Has the cluster's monitoring call somebody when a build fails. A hand-off without that is better than
    /// none, so what stands against it is told, and no more.
    fn alert(&self) -> Result<()> {
        for rule in alerts::objects(&AlertOptions::default()) {
            let apply = self.server.apply(Kind::ALERTING_RULE, &rule, false);
            let why = match self.runtime.block_on(apply) {
                Ok(Applied::Done(_)) => continue,
                Ok(Applied::Conflicts(_)) => "somebody else has changed it".to_owned(),
                Err(error) if is_passing(&error) => return Err(error),
                Err(error) => sentence(&*error),
            };
            let name = visible(rule["metadata"]["name"].as_str().unwrap_or_default());
            self.terminal.warn(&format!(
                "AlertingRule {name} is not as it should be: {why}"
            ));
        }
        Ok(())
    }

    /// Waits for the builds, looks into the images, and lets the pools go on.
    fn finish(&self, known: &[Known]) -> Result<Outcome> {
        let mut ends: Vec<Option<End>> = known.iter().map(|_| None).collect();
        let mut told = String::new();
        let progress: &dyn Progress = self.terminal;
        let mut follow = self.follow();
        loop {
            let snapshot = self.runtime.block_on(follow.next())?;
            let look = Look::of(snapshot);
            for (known, end) in known.iter().zip(&mut ends) {
                if end.is_none() {
                    *end = self.end(known, snapshot, &look)?;
                }
            }
            if ends.iter().all(Option::is_some) {
                break;
            }
            let waiting = known.iter().zip(&ends).filter(|(_, end)| end.is_none());
            let waiting: Vec<String> = waiting
                .map(|(known, _)| visible(&known.plan.pool))
                .collect();
            let line = format!("building the image of {}", waiting.join(", "));
            if line != told {
                if !told.is_empty() {
                    progress.end();
                }
                progress.begin(&line, 0);
                told = line;
            }
        }
        if !told.is_empty() {
            progress.end();
        }
        let ends: Vec<End> = ends.into_iter().flatten().collect();
        self.report(known, &ends)
    }

    /// How it ended for a pool, if it has.
    fn end(&self, known: &Known, snapshot: &Snapshot, look: &Look) -> Result<Option<End>> {
        let plan = &known.plan;
        let config = snapshot.config_of(&plan.pool);
        let Some(config) = config else {
            return Err(anyhow!(
                "{}: its MachineOSConfig was removed meanwhile; {}",
                visible(&plan.pool),
                standing(plan)
            ));
        };
        let report = look.pool(&plan.pool)?;
        let is_stuck = report.state.needs_somebody() && report.state.is_of_a_build();
        let has_begun = config.is_observed() || report.current_build != known.build_before;
        if is_stuck && has_begun {
            return Ok(Some(End::Stuck(report.state)));
        }
        let Some(image) = built(snapshot, &plan.pool).filter(|_| !is_stuck) else {
            return Ok(None);
        };
        if !is_proven(config, &image) && !self.options.unverified {
            let held = match self.prove(plan, &image)? {
                Proof::Proven => None,
                Proof::Unread(why) => Some(vec![format!("it can't be looked into: {why}")]),
                Proof::Wrong(wrong) => Some(wrong),
            };
            if let Some(why) = held {
                return Ok(Some(End::Held { image, why }));
            }
            let patch = proof(config, &plan.object["spec"], &image);
            let merge = self
                .server
                .merge(Kind::LAYERED_CONFIG, config.name(), &patch);
            self.runtime.block_on(merge)?;
        }
        self.change_pool(&plan.pool, |pool| {
            pool.is_paused_by_us().then(|| unpaused(pool))
        })?;
        let is_paused = plan.pause == Pause::Others;
        Ok(Some(End::Done { image, is_paused }))
    }
}
