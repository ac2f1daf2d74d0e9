//! MachineConfigs, which tell the pools of a cluster what their nodes are.
//!
//! Source: openshift/machine-config-operator main 7ff337a, `pkg/controller/common/helpers.go` (names,
//! limits, and what of Ignition they may hold); API `machineconfiguration.openshift.io/v1`.

use serde_json::{Map, Value, json};

use super::image_reference::{OsImage, OsImageError};
use crate::kernel::{ArgumentError, check_argument};

/// A rendered MachineConfig that is larger ends the bootstrap (machine-config operator, `render`).
pub const MACHINE_CONFIG_MAX_BYTES: usize = 1_572_864;

/// From here on the operator warns: 80 % of it.
pub const MACHINE_CONFIG_WARN_BYTES: usize = MACHINE_CONFIG_MAX_BYTES / 5 * 4;

/// The pool that a MachineConfig is for.
pub(super) const ROLE_LABEL: &str = "machineconfiguration.openshift.io/role";

/// What is wrong with an object that is to be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// Not what a pool is called.
    #[error("{0:?} is no name of a machine config pool, such as master or worker")]
    Role(String),
    /// Not what comes behind the role in a name.
    #[error("{0:?} can't be part of an object's name")]
    Name(String),
    /// Not an image with a registry and a digest, and without a tag.
    #[error(transparent)]
    OsImage(#[from] OsImageError),
    /// An argument that nodes' boot loader would misread.
    #[error(transparent)]
    KernelArgument(#[from] ArgumentError),
    /// Something of Ignition that the operator refuses, or takes at installation and never again.
    #[error("{0} can't be in a MachineConfig")]
    NotAllowed(String),
    /// Larger than the operator takes.
    #[error("MachineConfig {name} has {bytes} bytes, and {MACHINE_CONFIG_MAX_BYTES} are taken")]
    TooLarge {
        /// The object's name.
        name: String,
        /// Its length as JSON.
        bytes: usize,
    },
}

/// What the nodes of one pool shall be. Other MachineConfigs of the pool are merged with it by name,
/// later ones over earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineConfig {
    /// The pool: `master`, `worker`, `arbiter`, or one of the cluster's own.
    pub role: String,
    /// What it is about: the end of its name.
    pub about: String,
    /// The image that nodes run, by registry and digest.
    pub os_image: Option<OsImage>,
    /// Kernel arguments, one an item.
    pub kernel_arguments: Vec<String>,
    /// Extensions of the OS; those of other MachineConfigs are added.
    pub extensions: Vec<String>,
    /// The kind of kernel, if it is not the usual one.
    pub kernel_type: Option<String>,
    /// Files and units, as an Ignition config.
    pub ignition: Option<Value>,
}

impl MachineConfig {
    /// Its name, which sorts behind those that the installer and the operator give.
    pub fn name(&self) -> String {
        format!("99-{}-coreos-bake-{}", self.role, self.about)
    }

    /// The object, if the operator would take it.
    pub fn object(&self) -> Result<Value, ObjectError> {
        if !is_label(&self.role) {
            return Err(ObjectError::Role(self.role.clone()));
        }
        if !is_label(&self.about) {
            return Err(ObjectError::Name(self.about.clone()));
        }
        let mut spec = Map::new();
        if let Some(config) = &self.ignition {
            allowed(config)?;
            spec.insert("config".to_owned(), config.clone());
        }
        if !self.kernel_arguments.is_empty() {
            for argument in &self.kernel_arguments {
                check_argument(argument)?;
            }
            spec.insert("kernelArguments".to_owned(), json!(self.kernel_arguments));
        }
        if !self.extensions.is_empty() {
            spec.insert("extensions".to_owned(), json!(self.extensions));
        }
        if let Some(kind) = &self.kernel_type {
            spec.insert("kernelType".to_owned(), json!(kind));
        }
        if let Some(image) = &self.os_image {
            spec.insert("osImageURL".to_owned(), json!(image.to_string()));
        }
        let name = self.name();
        let object = json!({
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineConfig",
            "metadata": { "name": name, "labels": { ROLE_LABEL: self.role } },
            "spec": spec,
        });
        let bytes = size_bytes(&object);
        match bytes > MACHINE_CONFIG_MAX_BYTES {
            true => Err(ObjectError::TooLarge { name, bytes }),
            false => Ok(object),
        }
    }
}

/// The length by which the operator measures an object.
pub fn size_bytes(object: &Value) -> usize {
    object.to_string().len()
}

/// Fails on what the operator refuses, and on what it can't change on a node that is there.
fn allowed(config: &Value) -> Result<(), ObjectError> {
    let refused = |what: &str| Err(ObjectError::NotAllowed(what.to_owned()));
    for (part, key) in [
        ("storage", "directories"),
        ("storage", "links"),
        ("storage", "disks"),
        ("storage", "raid"),
        ("storage", "luks"),
        ("storage", "filesystems"),
        ("ignition", "config"),
        ("passwd", "groups"),
    ] {
        if config[part].get(key).is_some_and(|value| !value.is_null()) {
            return refused(&format!("{part}.{key}"));
        }
    }
    if config.get("kernelArguments").is_some() {
        return refused("kernelArguments of Ignition");
    }
    for file in config["storage"]["files"].as_array().into_iter().flatten() {
        let path = file["path"].as_str().unwrap_or_default();
        let source = &file["contents"]["source"];
        if source.as_str().is_some_and(|url| !url.starts_with("data:")) {
            return refused(&format!("file {path} with contents from elsewhere"));
        }
        if file.get("append").is_some() {
            return refused(&format!("file {path} with contents to append"));
        }
        if file["mode"].as_u64().is_some_and(|mode| mode > 0o777) {
            return refused(&format!(
                "file {path} with set-user-ID, set-group-ID or sticky bit"
            ));
        }
    }
    Ok(())
}

/// A DNS label (RFC 1123), as pools have it for their names.
pub(super) fn is_label(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn config(change: impl FnOnce(&mut MachineConfig)) -> Result<Value, ObjectError> {
        let mut config = MachineConfig {
            role: "worker".to_owned(),
            about: "os".to_owned(),
            ..MachineConfig::default()
        };
        change(&mut config);
        config.object()
    }

    #[test]
    fn the_image_is_named_by_registry_and_digest() {
        let good = format!("quay.io/me/os@{DIGEST}");
        let object = config(|c| c.os_image = Some(good.parse().unwrap())).unwrap();
        assert_eq!(object["spec"]["osImageURL"], good);
        assert_eq!(object["metadata"]["name"], "99-worker-coreos-bake-os");
        assert_eq!(object["metadata"]["labels"][ROLE_LABEL], "worker");
    }

    #[test]
    fn kernel_arguments_are_one_an_item() {
        let object =
            config(|c| c.kernel_arguments = vec!["a=1".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(object["spec"]["kernelArguments"], json!(["a=1", "b"]));
        for bad in ["", "a b", "a\nb", "a;b", &"a".repeat(2048)] {
            let error = config(|c| c.kernel_arguments = vec![bad.to_owned()]).unwrap_err();
            assert!(matches!(error, ObjectError::KernelArgument(_)), "{bad:?}");
        }
    }

    #[test]
    fn names_are_names() {
        for bad in ["", "Worker", "a_b", "-a", "a-", "a.b", &"a".repeat(64)] {
            let role = config(|c| c.role = bad.to_owned()).unwrap_err();
            assert!(matches!(role, ObjectError::Role(_)), "{bad:?}");
            let about = config(|c| c.about = bad.to_owned()).unwrap_err();
            assert!(matches!(about, ObjectError::Name(_)), "{bad:?}");
        }
    }

    #[test]
    fn what_the_operator_refuses_is_refused_here() {
        let ignition = json!({ "version": "3.2.0" });
        let with_file =
            |file: Value| json!({ "ignition": ignition, "storage": { "files": [file] } });
        assert!(
            config(|c| c.ignition = Some(with_file(json!({
                "path": "/etc/a", "mode": 0o644, "contents": { "source": "data:,a" },
            }))))
            .is_ok()
        );
        for bad in [
            with_file(json!({ "path": "/etc/a", "contents": { "source": "https://x.example/a" } })),
            with_file(json!({ "path": "/etc/a", "append": [{ "source": "data:,a" }] })),
            with_file(json!({ "path": "/etc/a", "mode": 0o4755 })),
            json!({ "ignition": ignition, "storage": { "links": [] } }),
            json!({ "ignition": ignition, "kernelArguments": { "shouldExist": ["a"] } }),
            json!({ "ignition": { "version": "3.2.0", "config": { "merge": [] } } }),
        ] {
            let error = config(|c| c.ignition = Some(bad.clone())).unwrap_err();
            assert!(matches!(error, ObjectError::NotAllowed(_)), "{bad}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let of = |bytes: usize| {
            let source = format!("data:,{}", "a".repeat(bytes));
            let file = json!({ "path": "/etc/a", "contents": { "source": source } });
            let ignition =
                json!({ "ignition": { "version": "3.2.0" }, "storage": { "files": [file] } });
            config(|c| c.ignition = Some(ignition))
        };
        let around = of(0).unwrap().to_string().len();
        assert!(of(MACHINE_CONFIG_MAX_BYTES - around).is_ok());
        assert!(matches!(
            of(MACHINE_CONFIG_MAX_BYTES - around + 1),
            Err(ObjectError::TooLarge { .. })
        ));
    }
}
