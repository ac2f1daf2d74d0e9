//! Pods that run coreos-bake itself in a cluster.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::image::ImageRef;

/// Where a pod may write: what it unpacks and looks through.
const SCRATCH: &str = "/tmp";

/// An image with `coreos-bake` on its PATH, as a pod names it: with its registry, and a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolImage(String);

/// Why a text can't name an image for a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image in a registry: {reason}")]
pub struct ToolImageError {
    text: String,
    reason: &'static str,
}

impl FromStr for ToolImage {
    type Err = ToolImageError;

    fn from_str(text: &str) -> Result<Self, ToolImageError> {
        let wrong = |reason| ToolImageError {
            text: text.to_owned(),
            reason,
        };
        if text.contains("://") {
            return Err(wrong("pods name images without a transport"));
        }
        match format!("docker://{text}").parse() {
            Ok(ImageRef::Registry(name)) if name.to_string() == text => Ok(Self(text.to_owned())),
            Ok(_) => Err(wrong(
                "its registry, and a tag or a digest, have to be written out",
            )),
            Err(_) => Err(wrong("it is malformed")),
        }
    }
}

impl fmt::Display for ToolImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pod that runs `coreos-bake` once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool<'a> {
    /// What its container is called.
    pub name: &'a str,
    /// The image that it runs.
    pub image: &'a ToolImage,
    /// Whether it talks to the cluster.
    pub service_account: Option<&'a str>,
    /// Kubernetes quantities: room for what it unpacks, memory that it is promised, and that it may take.
    pub scratch: &'a str,
    pub memory: [&'a str; 2],
}

impl Tool<'_> {
    /// The template of its pods, for `arguments` and with more volumes, each with where it is mounted.
    ///
    /// Keeps to the "restricted" Pod Security Standard. User and group are the namespace's, as OpenShift has it.
    pub(super) fn template(&self, arguments: &[&str], more: &[(Value, &str)]) -> Value {
        let mut volumes =
            vec![json!({ "name": "scratch", "emptyDir": { "sizeLimit": self.scratch } })];
        let mut mounts = vec![json!({ "name": "scratch", "mountPath": SCRATCH })];
        for (volume, place) in more {
            volumes.push(volume.clone());
            mounts.push(json!({ "name": volume["name"], "mountPath": place }));
        }
        let [promised, most] = self.memory;
        let mut pod = json!({
            "automountServiceAccountToken": self.service_account.is_some(),
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": true,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": self.name,
                "image": self.image.0,
                "command": ["coreos-bake"],
                "args": arguments,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                    "readOnlyRootFilesystem": true,
                },
                "resources": {
                    "requests": { "cpu": "10m", "memory": promised },
                    "limits": { "memory": most },
                },
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        });
        if let Some(name) = self.service_account {
            pod["serviceAccountName"] = json!(name);
        }
        json!({
            "metadata": {
                "labels": { "app.kubernetes.io/name": "coreos-bake" },
                "annotations": { "openshift.io/required-scc": "restricted-v2" },
            },
            "spec": pod,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ToolImage;

    #[test]
    fn images_that_a_pod_could_not_name_are_refused() {
        let digest = format!("quay.io/me/coreos-bake@sha256:{}", "a".repeat(64));
        for image in ["quay.io/me/coreos-bake:1", "10.0.0.1:5000/bake:x", &digest] {
            assert!(image.parse::<ToolImage>().is_ok(), "{image}");
        }
        for image in [
            "",
            "coreos-bake",
            "coreos-bake:1",
            "quay.io/me/coreos-bake",
            "docker://quay.io/me/coreos-bake:1",
            "quay.io/me/coreos bake:1",
            "quay.io/Me/coreos-bake:1",
        ] {
            assert!(image.parse::<ToolImage>().is_err(), "{image}");
        }
    }
}
