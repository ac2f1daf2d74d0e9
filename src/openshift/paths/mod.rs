//! The ways to install OpenShift from baked media, each as files and steps for one cluster.
//!
//! ```text
//! recipes/    what is said on each path, as templates
//!    │
//! templates   makes recipes of them ◄── terms   values and conditions that they name
//!    │                                    ▲
//! text        words of a shell, and     facts   what is known of the media and the cluster, and whether
//!             lines for people                  that is enough for a path
//! ```
//!
//! Plain data in, plain data out: nothing is read, written or fetched. The sections of the paths in
//! `docs/install.md` are made of the same templates, for people who have no cluster at hand yet.
//!
//! Left out on purpose: clouds, where nothing boots these media, and image-based installation, where the
//! seed image decides what is on the disk.
//!
//! Each template names the programs and revisions that its rules are of. `docs/verified.md` says what of it
//! real programs have confirmed; what nobody has is a warning in the recipe.

mod facts;
mod templates;
mod terms;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

pub use facts::{BakedFile, Facts, RecipeError};
use terms::Terms;
pub(crate) use text::{place, word};

/// A way to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// User-provisioned, from an ISO.
    UpiIso,
    /// User-provisioned, over the network.
    UpiPxe,
    /// Bare metal that the installer provisions.
    Ipi,
    /// Agent-based installer.
    Agent,
    /// Assisted installer.
    Assisted,
    /// A single node, bootstrapped in place.
    Sno,
    /// Machines that join a cluster that is there.
    ScaleUp,
}

/// A text that names no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an install path; there are upi-iso, upi-pxe, ipi, agent, assisted, sno and scale-up"
)]
pub struct PathError(String);

impl Path {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::UpiIso,
        Self::UpiPxe,
        Self::Ipi,
        Self::Agent,
        Self::Assisted,
        Self::Sno,
        Self::ScaleUp,
    ];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpiIso => "upi-iso",
            Self::UpiPxe => "upi-pxe",
            Self::Ipi => "ipi",
            Self::Agent => "agent",
            Self::Assisted => "assisted",
            Self::Sno => "sno",
            Self::ScaleUp => "scale-up",
        }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::ALL
            .into_iter()
            .find(|path| path.as_str() == text)
            .ok_or_else(|| PathError(text.to_owned()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// When a step comes. openshift-install reads the files of one command at the next and deletes them, so
/// that a step at another time changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before anything is generated.
    First,
    /// After `create manifests`, before Ignition configs are made.
    Manifests,
    /// After `create ignition-configs`, or its like for a single node.
    IgnitionConfigs,
    /// Before `agent create image` or `agent create pxe-files`.
    AgentInput,
    /// When these have been made.
    AgentImage,
    /// On the hub cluster, before a host boots.
    Hub,
    /// When machines boot.
    Boot,
    /// When the cluster is up.
    Cluster,
}

impl When {
    /// In a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::First => "first, before openshift-install makes anything",
            Self::Manifests => "when there are manifests, before Ignition configs are made",
            Self::IgnitionConfigs => "when there are Ignition configs",
            Self::AgentInput => "before agent create image",
            Self::AgentImage => "after agent create image",
            Self::Hub => "on the hub, before a host boots",
            Self::Boot => "when the machines boot",
            Self::Cluster => "when the cluster is up",
        }
    }
}

/// A file that the admin is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecipeFile {
    /// Its name; commands expect it in the directory that they are run in.
    pub name: String,
    /// All of it.
    pub content: String,
    /// What it is for.
    pub what: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its time.
    pub when: When,
    /// What is done, and why.
    pub text: String,
    /// What to run, in this order and all in one directory, in a shell like Bash.
    pub commands: Vec<String>,
}

/// How a cluster is installed from baked media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The way.
    pub path: Path,
    /// What the steps need.
    pub files: Vec<RecipeFile>,
    /// In their order.
    pub steps: Vec<Step>,
    /// What goes wrong quietly, and what nobody has tried.
    pub warnings: Vec<String>,
}

/// The files and steps of a path, or what is missing for them.
pub fn recipe(path: Path, facts: &Facts) -> Result<Recipe, RecipeError> {
    facts.check()?;
    facts.check_for(path)?;
    Ok(templates::recipe(path, Terms::of(facts)))
}

impl Recipe {
    /// All of it for people, in lines of at most 80 columns; commands and longer words stand as they are.
    /// `place` is where the commands are run: the directory that the recipe's files are written to.
    pub fn text(&self, place: &str) -> String {
        text::recipe(self, place)
    }
}
