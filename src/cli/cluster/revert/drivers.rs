//! Which drivers the nodes can't start without, and whether the release's own image has them.

use anyhow::Result;
use serde_json::Value;

use super::RevertArgs;
use super::under_way::Revert;
use crate::cli::cluster::drivers::look_into;
use crate::cli::cluster::words::counted;
use crate::cluster::{Kind, Snapshot};
use crate::failure::{Failure, sentence};
use crate::foreign::visible;
use crate::image::ImageRef;
use crate::openshift::named_in;
use crate::record::Record;

/// What is known of the drivers that nodes need.
pub(super) struct Drivers {
    /// Their names, sorted.
    pub(super) names: Vec<String>,
    /// What the release's own image lacks of them, in sentences; or why nobody knows.
    pub(super) verdict: Verdict,
}

/// Whether nodes come back.
pub(super) enum Verdict {
    /// The release's own image has all of them, or none is needed.
    Fine,
    /// It lacks these.
    Lost(Vec<String>),
    /// None is said to be needed, and the cluster says otherwise.
    Denied,
    /// Which ones are needed is not known.
    NobodyKnows,
    /// The release's own image could not be looked into.
    Unread(String),
}

/// The drivers that the user names; None if nothing is said of them.
pub(super) fn named(options: &RevertArgs) -> Result<Option<Vec<String>>> {
    let mut names: Vec<String> = options.drivers.iter().map(ToString::to_string).collect();
    if let Some(path) = &options.bake_json {
        let record = Record::read(path)?;
        names.extend(record.drivers.into_iter().map(|found| found.driver));
    }
    let is_said = options.no_driver || !names.is_empty();
    Ok(is_said.then_some(names))
}

impl Revert<'_> {
    /// The drivers that nodes need, and whether they keep them.
    pub(super) fn drivers(&self, snapshot: &Snapshot) -> Result<Drivers> {
        let mut names = self.named.clone().unwrap_or_default();
        if let Some(config) = snapshot.config_of(self.pool) {
            names.extend(config.drivers());
        }
        if let Some(pool) = snapshot.pool(self.pool) {
            let rendered = &pool.spec.configuration.name;
            let rendered = self.server.get(Kind::MACHINE_CONFIG, rendered);
            let rendered: Option<Value> = self.runtime.block_on(rendered)?;
            let config = rendered.unwrap_or_default();
            let of_prepare = named_in(&config["spec"]["config"]);
            names.extend(of_prepare.iter().map(ToString::to_string));
        }
        names.sort_unstable();
        names.dedup();
        let stream = snapshot.pool(self.pool);
        let stream = stream.and_then(|pool| pool.spec.os_image_stream.as_ref());
        let verdict = match (self.options.no_driver, names.is_empty()) {
            (true, true) => Verdict::Fine,
            (true, false) => Verdict::Denied,
            (false, true) => Verdict::NobodyKnows,
            (false, false) => self.look(&names, stream.map(|stream| &*stream.name))?,
        };
        Ok(Drivers { names, verdict })
    }

    fn look(&self, names: &[String], stream: Option<&str>) -> Result<Verdict> {
        let image = match (&self.options.stock_image, stream) {
            (Some(image), _) => image.clone(),
            // The release has one for each stream.
            (None, Some(stream)) => {
                return Ok(Verdict::Unread(format!(
                    "the pool is of the stream {stream}, whose image is not looked up"
                )));
            }
            (None, None) => {
                let name = "machine-config-controller";
                let config = self.server.get(Kind::CONTROLLER_CONFIG, name);
                let config: Option<Value> = self.runtime.block_on(config)?;
                let config = config.unwrap_or_default();
                let image = config["spec"]["baseOSContainerImage"].as_str();
                let Some(image) = image.filter(|image| !image.is_empty()) else {
                    return Ok(Verdict::Unread(
                        "the cluster does not say which it is".to_owned(),
                    ));
                };
                match format!("docker://{image}").parse::<ImageRef>() {
                    Ok(image) => image,
                    Err(error) => return Ok(Verdict::Unread(sentence(&error))),
                }
            }
        };
        let access = &self.options.image;
        Ok(
            match look_into(&image, names, access, |_| {}, self.terminal) {
                Ok(looked) if looked.missing.is_empty() => Verdict::Fine,
                Ok(looked) => Verdict::Lost(looked.missing),
                Err(error) => Verdict::Unread(sentence(&*error)),
            },
        )
    }
}

impl Drivers {
    /// What is told of them before anything is done.
    pub(super) fn told(&self) -> Vec<String> {
        let names = visible(&self.names.join(", "));
        match &self.verdict {
            Verdict::Fine if self.names.is_empty() => {
                vec!["no driver is needed (--no-driver)".to_owned()]
            }
            Verdict::Fine => vec![format!(
                "the release's own image has {names}, in its initramfs and its root"
            )],
            Verdict::Lost(missing) => {
                let all = missing.iter().map(|missing| visible(missing));
                all.collect()
            }
            Verdict::Denied => vec![format!("the cluster has it that nodes need {names}")],
            Verdict::NobodyKnows => {
                vec!["which driver the nodes' root disks need is not known".to_owned()]
            }
            Verdict::Unread(why) => vec![format!(
                "whether the release's own image has {names} is not known: {}",
                visible(why)
            )],
        }
    }

    /// Fails if nodes would not come back, or nobody knows.
    pub(super) fn refuse(&self, pool: &str, nodes: usize) -> Result<()> {
        let pool = visible(pool);
        let names = visible(&self.names.join(", "));
        let nodes = counted(nodes, "node");
        let (sentence, hint) = match &self.verdict {
            Verdict::Fine => return Ok(()),
            Verdict::Lost(_) => (
                format!("{pool}: {nodes} would not come back: the release's own image lacks {names} where they need it"),
                format!("mend the image instead: `coreos-bake cluster handoff {pool} --containerfile FILE`. --allow-driver-loss goes back all the same"),
            ),
            Verdict::Denied => (
                format!("{pool}: --no-driver is not so: the cluster has it that {nodes} need {names}"),
                "leave --no-driver out, and the release's own image is looked into; --allow-driver-loss goes back all the same".to_owned(),
            ),
            Verdict::NobodyKnows => (
                format!("{pool}: nobody knows which driver the root disks of {nodes} need"),
                "name it with --driver or --bake-json, or say --no-driver if the release's own image boots them".to_owned(),
            ),
            Verdict::Unread(_) => (
                format!("{pool}: nobody knows whether the release's own image has {names}"),
                "name the image with --stock-image, or its registry's credentials with --authfile (the cluster's pull secret works); --allow-driver-loss goes back all the same".to_owned(),
            ),
        };
        Err(Failure::new(sentence, hint).into())
    }
}
