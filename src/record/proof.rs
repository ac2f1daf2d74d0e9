//! Where drivers were proven to be, as it is recorded.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Record, Unknown};
use crate::kernel::canonical_name;
use crate::stages::{Presence, Stage};

/// One driver at one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DriverAtStage {
    /// The driver as it was named.
    pub driver: String,
    /// When it is needed.
    pub stage: Stage,
    /// The verdict.
    pub status: Status,
    /// The evidence for it, as `check --format json` has it: the module with its size, checksum and
    /// signer, its dependencies, what loads it, warnings; or `why` and `because`.
    #[serde(flatten)]
    pub evidence: Unknown,
}

/// A verdict on a driver at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It was found in the files.
    Present,
    /// It was not, or would not be loaded.
    Missing,
    /// It will be there, by the rules of the installer or the cluster.
    Holds,
    /// It will not.
    Fails,
    /// That depends on what nobody knew when the media were baked.
    Open,
}

/// Whether the drivers were judged at a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Proof {
    /// The stage.
    pub stage: Stage,
    /// Whether there is a verdict on each of the drivers.
    pub judged: bool,
    /// The media that were looked into, as `bake -f` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<String>,
    /// Why there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How to get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl DriverAtStage {
    /// A verdict, with its evidence.
    pub fn of(presence: &Presence) -> serde_json::Result<Self> {
        serde_json::from_value(serde_json::to_value(presence)?)
    }

    /// Whether a node would be lost.
    pub fn fails(&self) -> bool {
        matches!(self.status, Status::Missing | Status::Fails)
    }
}

impl Record {
    /// The drivers that were looked for, by the names that they were given.
    pub fn driver_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for DriverAtStage { driver, .. } in &self.drivers {
            if !names.contains(driver) {
                names.push(driver.clone());
            }
        }
        names
    }

    /// Whether anybody has looked for `driver`, however it is spelled.
    pub fn knows(&self, driver: &str) -> bool {
        self.verdicts(driver).next().is_some()
    }

    /// The stages at which `driver` is missing.
    pub fn missing(&self, driver: &str) -> Vec<Stage> {
        let failing = self.verdicts(driver).filter(|verdict| verdict.fails());
        failing.map(|verdict| verdict.stage).collect()
    }

    fn verdicts(&self, driver: &str) -> impl Iterator<Item = &DriverAtStage> {
        let name = canonical_name(driver);
        let all = self.drivers.iter();
        all.filter(move |verdict| canonical_name(&verdict.driver) == name)
    }
}
