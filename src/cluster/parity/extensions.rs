//! Packages of a Containerfile that nodes are given by their MachineConfig.
//!
//! The operator installs extensions before the lines of the Containerfile are run, and the daemon verifies
//! them on nodes; packages that only the image has are verified by nobody, and those of another kernel are in
//! the way of the operator's own change of it.

use serde_json::Value;

use crate::containerfile::{Package, contents, has_extension};
use crate::openshift::{MachineConfig, ObjectError};

/// What belongs into a MachineConfig.
#[derive(Clone, Debug, PartialEq)]
pub struct Extensions {
    /// The packages, in the order of the Containerfile.
    pub packages: Vec<Package>,
    /// Names for `spec.extensions`, sorted, without those that the pool has already.
    pub names: Vec<String>,
    /// `spec.kernelType`, if the pool doesn't have it already.
    pub kernel_type: Option<&'static str>,
    /// Those of the extensions that the release doesn't have; the MachineConfig is without them.
    pub missing: Vec<String>,
}

/// What of `containerfile` belongs into a MachineConfig of a pool whose rendered MachineConfig has `spec`, in a
/// cluster of `release`, as in (4, 20); None is the newest. None if there is nothing.
pub fn extensions(
    containerfile: &str,
    spec: &Value,
    release: Option<(u16, u16)>,
) -> Option<Extensions> {
    let contents = contents(containerfile.as_bytes());
    let mut packages = contents.packages;
    packages.retain(|package| {
        package.is_in_image && (package.extension.is_some() || package.kernel_type.is_some())
    });
    if packages.is_empty() {
        return None;
    }
    let there = spec["extensions"].as_array();
    let is_there = |name: &str| {
        let mut there = there.into_iter().flatten();
        there.any(|known| known == name)
    };
    let mut wanted: Vec<&str> = packages
        .iter()
        .filter_map(|package| package.extension)
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let newest = (u16::MAX, u16::MAX);
    let release = release.unwrap_or(newest);
    let (names, missing): (Vec<&str>, Vec<&str>) = wanted
        .into_iter()
        .filter(|name| !is_there(name))
        .partition(|name| has_extension(release, name));
    let mut kinds = packages.iter().filter_map(|package| package.kernel_type);
    let kernel_type = kinds.next().filter(|kind| spec["kernelType"] != **kind);
    Some(Extensions {
        packages,
        names: owned(names),
        kernel_type,
        missing: owned(missing),
    })
}

impl Extensions {
    /// The MachineConfig that has it instead; None if the pool has all of it already, or can't have it.
    ///
    /// # Errors
    /// A name of a pool that none can have.
    pub fn machine_config(&self, pool: &str) -> Result<Option<Value>, ObjectError> {
        if self.names.is_empty() && self.kernel_type.is_none() {
            return Ok(None);
        }
        let config = MachineConfig {
            role: pool.to_owned(),
            about: "extensions".to_owned(),
            extensions: self.names.clone(),
            kernel_type: self.kernel_type.map(str::to_owned),
            ..MachineConfig::default()
        };
        config.object().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONTAINERFILE: &str = "FROM other AS make\nRUN dnf install -y kernel-devel\n\
        FROM configs AS final\nRUN dnf install -y usbguard acme krb5-workstation && \\\n  rpm-ostree install sysstat \
        kernel-rt-core-5.14.0-427.el9\n";

    #[test]
    fn what_belongs_into_a_machine_config_is_put_there() {
        let found = extensions(CONTAINERFILE, &json!({}), Some((4, 18))).unwrap();
        let lines: Vec<(u32, &str)> = found
            .packages
            .iter()
            .map(|package| (package.line, &*package.text))
            .collect();
        assert_eq!(
            lines,
            [
                (4, "usbguard"),
                (4, "krb5-workstation"),
                (5, "sysstat"),
                (5, "kernel-rt-core-5.14.0-427.el9"),
            ]
        );
        let object = found.machine_config("worker").unwrap().unwrap();
        assert_eq!(
            object["metadata"]["name"],
            "99-worker-coreos-bake-extensions"
        );
        let expected =
            json!({ "extensions": ["kerberos", "sysstat", "usbguard"], "kernelType": "realtime" });
        assert_eq!(object["spec"], expected);
        assert!(found.missing.is_empty());
        // What the release does not know would keep the pool from being rendered.
        let found = extensions(CONTAINERFILE, &json!({}), Some((4, 17))).unwrap();
        assert_eq!(
            (&*found.names, &*found.missing),
            (
                &["kerberos".into(), "usbguard".into()][..],
                &["sysstat".into()][..]
            )
        );
    }

    #[test]
    fn what_the_pool_has_is_not_asked_for_again() {
        let spec =
            json!({ "extensions": ["usbguard", "kerberos", "sysstat"], "kernelType": "realtime" });
        let found = extensions(CONTAINERFILE, &spec, None).unwrap();
        assert_eq!(found.packages.len(), 4);
        assert_eq!(found.machine_config("worker").unwrap(), None);
        let plain = "FROM configs\nRUN dnf install -y acme\n";
        assert_eq!(extensions(plain, &spec, None), None);
        // Gone since 4.22.
        let wasm = "FROM configs\nRUN dnf install -y crun-wasm\n";
        let in_release = |release| extensions(wasm, &json!({}), release).unwrap();
        assert_eq!(in_release(Some((4, 21))).names, ["wasm"]);
        assert_eq!(in_release(None).missing, ["wasm"]);
        assert_eq!(in_release(None).machine_config("worker").unwrap(), None);
        assert!(in_release(Some((4, 21))).machine_config("a/b").is_err());
    }
}
