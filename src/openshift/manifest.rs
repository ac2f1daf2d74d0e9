//! An object as a file of the install directory.
//!
//! openshift-install takes `*.yaml`, `*.yml` and `*.json` right below its two folders, agent-based
//! installations only `*.yaml` and `*.yml` below `openshift` (openshift/installer main 5f2b0d3dc3,
//! `pkg/asset/manifests/openshift.go`, `pkg/asset/agent/manifests/extramanifests.go`).

use serde_json::Value;

/// Folder of an install directory that openshift-install reads manifests from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// The installer's own, mostly.
    Manifests,
    /// The one for files of others, which agent-based installations read as well.
    Openshift,
}

impl Folder {
    /// Its name in the install directory.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifests => "manifests",
            Self::Openshift => "openshift",
        }
    }
}

/// A file for an install directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The folder it belongs to.
    pub folder: Folder,
    /// Its name there.
    pub name: String,
    /// The object in it.
    pub value: Value,
}

impl Manifest {
    /// The file's content, the same for the same object.
    pub fn text(&self) -> String {
        yaml(&self.value)
    }
}

/// A value as YAML that readers of 1.1 and of 1.2 understand alike.
pub(crate) fn yaml(value: &Value) -> String {
    let mut text = serde_saphyr::to_string(value).expect("JSON values can be written as YAML");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
