//! The bootstrap node: does the release's node image come over this one, and what is lost then?
//!
//! Rules: openshift/installer `node-image-overlay-generator`, `node-image-pull.sh`,
//! `node-image-overlay.sh`; assisted-installer `startBootstrap`, which asks for `/usr/bin/oc` instead
//! of the package.

use anyhow::Result;

use super::{System, Verdict};
use crate::kernel::{self, Files, some_of};
use crate::os::has_package;
use crate::ostree::ContainerReference;

/// The package by which the installer knows an image that needs nothing put over it, and the file
/// by which the assisted installer does.
const CLIENTS: &str = "openshift-clients";
const CLIENT: &str = "usr/bin/oc";

/// With this, the installer's target never starts.
const DEFAULT_TARGET: &str = "etc/systemd/system/default.target";

/// Where `/etc` is in a system that has not run yet, and in one that has.
const ETC: [&str; 2] = ["usr/", ""];

/// Directories of `/usr` whose files are replaced, and what they are to a driver.
const REPLACED: [(&str, &str); 4] = [
    ("usr/lib/modprobe.d", "options"),
    ("usr/lib/modules-load.d", "the list of modules to load"),
    ("usr/lib/udev/rules.d", "udev rules"),
    ("usr/lib/systemd/system", "units"),
];

/// Largest file of those that is looked into.
const FILE_MAX_BYTES: usize = 256 << 10;

/// Whether an image has OpenShift in it, as a release's node image does; None if nothing tells.
pub fn has_openshift(root: &dyn Files) -> Result<Option<bool>> {
    let package = has_package(root, CLIENTS)?;
    Ok(match package {
        None if !root.exists(CLIENT)? => Some(false),
        known => known,
    })
}

/// What becomes of `driver` on a bootstrap node that boots `system`.
pub(super) fn judge(system: &System<'_>, driver: &str) -> Result<Verdict> {
    let root = system.root;
    let package = has_package(root, CLIENTS)?;
    let client = root.exists(CLIENT)?;
    match (package, client) {
        (Some(true), true) => {
            return Ok(Verdict::holds(
                format!(
                    "the image has {CLIENTS}, so nothing is put over its /usr; its version has to \
                     be the release's"
                ),
                Vec::new(),
            ));
        }
        (Some(true), false) => {
            return Ok(Verdict::fails(format!(
                "the package {CLIENTS} is installed, but /{CLIENT} is missing: the installer leaves \
                 the image as it is, and the bootstrap node has no client"
            )));
        }
        (Some(false), true) => {
            return Ok(Verdict::fails(format!(
                "/{CLIENT} is there, but the package {CLIENTS} is not installed: the installer puts \
                 the release's image over /usr, and the assisted installer does not"
            )));
        }
        (None, true) => {
            return Ok(Verdict::open(format!(
                "/{CLIENT} is there, but no rpm database that can be read says whether {CLIENTS} is \
                 installed"
            )));
        }
        (Some(false) | None, false) => {}
    }
    for parent in ETC {
        if !root.exists(&format!("{parent}{DEFAULT_TARGET}"))? {
            continue;
        }
        return Ok(Verdict::fails(format!(
            "the image has no {CLIENTS}, and its /{DEFAULT_TARGET} keeps the installer from putting \
             the release's node image over /usr: bootstrapping never begins"
        )));
    }
    let booted = system.origin.and_then(ContainerReference::registry_name);
    if booted.is_some() {
        return Ok(Verdict::fails(format!(
            "the image has no {CLIENTS} and comes from a registry: node-image-pull finds two \
             container images in the repository and gives up; bake from a node image, or with an \
             origin that is no registry's"
        )));
    }
    Ok(Verdict::holds(
        "the release's node image is put over /usr, but /usr/lib/modules stays",
        losses(system, driver)?,
    ))
}

/// What of the driver is below `/usr`, but not with the modules.
fn losses(system: &System<'_>, driver: &str) -> Result<Vec<String>> {
    let root = system.root;
    let mut lost = Vec::new();
    // What is wrong with the modules themselves is said where they boot.
    let closure = kernel::closure(root, system.release, &[driver.to_owned()]);
    let firmware: Vec<&str> = closure
        .iter()
        .flatten()
        .filter(|path| path.contains("lib/firmware/"))
        .map(String::as_str)
        .collect();
    if !firmware.is_empty() {
        lost.push(format!(
            "its firmware is replaced by the release's, for a device that is reset later: {}",
            some_of(&firmware)
        ));
    }
    let name = kernel::canonical_name(driver);
    let spelled = [name.clone(), name.replace('_', "-")];
    for (directory, what) in REPLACED {
        let mut files = Vec::new();
        for file in root.list(directory)? {
            let Some(bytes) = root.read(&format!("{directory}/{file}"))? else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(FILE_MAX_BYTES)]);
            let words = |text: &str| {
                text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
                    .any(|word| spelled.iter().any(|name| name == word))
            };
            let settings = text.lines().filter(|line| !line.starts_with(['#', ';']));
            if settings.into_iter().any(words) {
                files.push(file);
            }
        }
        if !files.is_empty() {
            lost.push(format!(
                "{what} in /{directory} are gone, keep them in /etc: {}",
                some_of(&files)
            ));
        }
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta, Node, Tree};

    #[test]
    fn without_packages_a_client_is_no_proof() {
        let mut tree = Tree::new(Meta::root(0o755));
        assert_eq!(has_openshift(&tree).unwrap(), Some(false));
        let bin = tree.make_directories("usr/bin", &Meta::root(0o755));
        let client = Node::File(Content::bytes(vec![1]));
        tree.create(bin, "oc", Meta::root(0o755), client);
        assert_eq!(has_openshift(&tree).unwrap(), None);
    }
}
