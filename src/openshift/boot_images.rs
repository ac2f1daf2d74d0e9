//! Keeping the cluster from replacing boot images of one's own, and from waiting for newer ones.
//!
//! ```text
//! 1  MachineConfiguration/cluster  bootImageSkewEnforcement: which boot image there is   4.22
//! 2  MachineConfiguration/cluster  managedBootImages: leave the machine sets alone       4.19
//! ```
//!
//! The second is refused as long as the status says that the enforcement is automatic, and the object
//! is the operator's, so both are patches for a running cluster, in this order.
//!
//! Source: openshift/machine-config-operator main 7ff337a, `pkg/controller/bootimage`; API
//! `operator.openshift.io/v1`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::manifest::yaml;
use super::release::Release;

/// Where a cluster runs, as far as boot images are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Azure, but not Azure Stack.
    Azure,
    /// VMware vSphere.
    Vsphere,
    /// Bare metal and all others, where boot images are never managed.
    Unmanaged,
}

/// A text that names no platform of install-config.yaml.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform of OpenShift, such as baremetal, none or vsphere")]
pub struct PlatformError(String);

/// The other platforms of install-config.yaml.
const UNMANAGED: [&str; 7] = [
    "baremetal",
    "external",
    "ibmcloud",
    "none",
    "nutanix",
    "openstack",
    "powervs",
];

impl Platform {
    /// Whether a release manages boot images there without being asked.
    pub fn is_managed(self, release: Release) -> bool {
        match self {
            Self::Aws | Self::Gcp => release.minor() >= (4, 19),
            Self::Azure | Self::Vsphere => release.minor() >= (4, 22),
            Self::Unmanaged => false,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        match text {
            "aws" => Ok(Self::Aws),
            "gcp" => Ok(Self::Gcp),
            "azure" => Ok(Self::Azure),
            "vsphere" => Ok(Self::Vsphere),
            other if UNMANAGED.contains(&other) => Ok(Self::Unmanaged),
            other => Err(PlatformError(other.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::Vsphere => "vsphere",
            Self::Unmanaged => "unmanaged",
        })
    }
}

/// What the cluster is told about the age of its boot images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkewRecord {
    /// The version of the OS, such as `9.6.20250402-0`.
    Os(String),
    /// The release that came with it, such as `4.19.3`.
    Release(String),
    /// Nothing: it doesn't look.
    Unwatched,
}

/// The boot images of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootImages {
    /// Where it runs.
    pub platform: Platform,
    /// The version of the OS in the images, as they have it.
    pub os_version: String,
}

/// A file for a running cluster, with what is to be done with it.
#[derive(Clone, Debug, PartialEq)]
pub struct DayTwo {
    /// Its name, by which files sort into their order.
    pub name: String,
    /// The object, which is a patch for the one that is there.
    pub value: Value,
    /// What it does, in a sentence.
    pub sentence: String,
    /// What to run, with the file in the current directory.
    pub commands: Vec<String>,
}

impl DayTwo {
    /// The file's content.
    pub fn text(&self) -> String {
        yaml(&self.value)
    }
}

impl BootImages {
    /// What the release can be told about them: the OS, if its version is one that the cluster takes,
    /// and otherwise the release.
    pub fn record(&self, release: Release) -> SkewRecord {
        if is_os_version(&self.os_version) {
            return SkewRecord::Os(self.os_version.clone());
        }
        match release.exact().filter(|exact| is_exact(exact)) {
            Some(exact) => SkewRecord::Release(exact),
            None => SkewRecord::Unwatched,
        }
    }

    /// What has to be done once the cluster is up, in this order.
    pub fn day_two(&self, release: Release) -> Vec<DayTwo> {
        let mut steps = Vec::new();
        if release.enforces_skew() {
            let (mode, spec, sentence) = match self.record(release) {
                SkewRecord::Os(version) => (
                    "Manual",
                    json!({ "mode": "Manual", "manual": { "mode": "RHCOSVersion", "rhcosVersion": version } }),
                    format!("the cluster is told that its boot images are of {version}; repeat it with the new version whenever you bake new media"),
                ),
                SkewRecord::Release(version) => (
                    "Manual",
                    json!({ "mode": "Manual", "manual": { "mode": "OCPVersion", "ocpVersion": version } }),
                    format!("the cluster is told that its boot images are those of {version}; repeat it with the new version whenever you bake new media"),
                ),
                SkewRecord::Unwatched => (
                    "None",
                    json!({ "mode": "None" }),
                    "the cluster no longer looks at the age of its boot images, because their version is none that it takes; it shows an alert about that".to_owned(),
                ),
            };
            let name = "day2-1-boot-image-skew.yaml";
            steps.push(DayTwo {
                name: name.to_owned(),
                value: machine_configuration("bootImageSkewEnforcement", spec),
                sentence,
                commands: vec![
                    patch(name),
                    format!(
                        "oc wait machineconfiguration.operator.openshift.io/cluster --timeout=10m \
                         --for=jsonpath='{{.status.bootImageSkewEnforcementStatus.mode}}'={mode}"
                    ),
                ],
            });
        }
        if self.platform.is_managed(release) {
            let name = "day2-2-managed-boot-images.yaml";
            let none = json!({ "machineManagers": [{
                "resource": "machinesets",
                "apiGroup": "machine.openshift.io",
                "selection": { "mode": "None" },
            }] });
            steps.push(DayTwo {
                name: name.to_owned(),
                value: machine_configuration("managedBootImages", none),
                sentence:
                    "the cluster leaves the boot images of machine sets alone; do this before a \
                    machine set names an image of yours"
                        .to_owned(),
                commands: vec![patch(name)],
            });
        }
        steps
    }
}

fn machine_configuration(field: &str, value: Value) -> Value {
    json!({
        "apiVersion": "operator.openshift.io/v1",
        "kind": "MachineConfiguration",
        "metadata": { "name": "cluster" },
        "spec": { field: value },
    })
}

fn patch(name: &str) -> String {
    format!(
        "oc patch machineconfiguration.operator.openshift.io/cluster --type=merge --patch-file={name}"
    )
}

/// `MAJOR.MINOR.YYYYMMDD-N` or `MAJOR.MINOR.YYYYMMDDHHmm-N`, 14 to 21 characters
/// (`machineconfigurations` definition, `rhcosVersion`).
fn is_os_version(text: &str) -> bool {
    let Some((version, build)) = text.split_once('-') else {
        return false;
    };
    let parts: Vec<&str> = version.split('.').collect();
    let [major, minor, date] = parts[..] else {
        return false;
    };
    (14..=21).contains(&text.len())
        && [major, minor, date, build].into_iter().all(is_digits)
        && [8, 12].contains(&date.len())
}

/// Five to ten characters (`machineconfigurations` definition, `ocpVersion`).
fn is_exact(text: &str) -> bool {
    (5..=10).contains(&text.len())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
