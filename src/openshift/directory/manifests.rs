//! What the manifests of an install directory say that matters for the images of pools.
//!
//! Only what openshift-install reads: `*.yaml`, `*.yml`, `*.json` right below a folder. All of it has
//! to be YAML, as one file that isn't ends the bootstrap of the whole cluster.
//!
//! Rules: openshift/installer main 5f2b0d3dc3 (which files it takes) and openshift/machine-config-operator
//! main 7ff337a, `pkg/controller/bootstrap/bootstrap.go` (what becomes of them).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_saphyr::options;

use super::files::read_limited;
use crate::failure::Failure;
use crate::openshift::machine_config::ROLE_LABEL;
use crate::openshift::machine_os_config::PRE_BUILT;
use crate::openshift::{Folder, Found, PullSecret, Release, ToldRelease};

/// Endings of files that openshift-install takes for manifests.
pub(super) const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Largest manifest. What the cluster takes ends at 1.5 MiB.
const MANIFEST_MAX_BYTES: u64 = 16 << 20;

/// Most manifests of a folder. The installer writes some dozen, and three for each machine.
const MANIFESTS_MAX: usize = 20_000;

/// Folders of an install directory with manifests.
const FOLDERS: [&str; 2] = [Folder::Manifests.as_str(), Folder::Openshift.as_str()];

/// An object, and where it is from.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, as seen from the install directory, or as it was named.
    pub file: String,
    /// The object.
    pub value: Value,
}

/// All objects of a file, or of the files of a directory and its two folders of manifests.
pub fn read_objects(path: &Path) -> Result<Vec<Document>> {
    let shown = path.display();
    if !path.is_dir() {
        return parse(&shown.to_string(), &read_limited(path, MANIFEST_MAX_BYTES)?);
    }
    let mut documents = Vec::new();
    for folder in ["."].into_iter().chain(FOLDERS) {
        documents.extend(read_folder(path, folder, &ENDINGS)?);
    }
    for document in &mut documents {
        let name = document.file.trim_start_matches("./");
        document.file = path.join(name).display().to_string();
    }
    if documents.is_empty() {
        bail!("{shown} has no manifests in it");
    }
    Ok(documents)
}

/// All objects of a folder, in the order of its files. A folder that isn't there has none.
pub(super) fn read_folder(
    directory: &Path,
    folder: &str,
    endings: &[&str],
) -> Result<Vec<Document>> {
    let path = directory.join(folder);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let reading = || format!("reading {}", path.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let Ok(name) = name.into_string() else {
            continue;
        };
        if endings.iter().any(|ending| name.ends_with(ending)) {
            names.push(name);
        }
        if names.len() > MANIFESTS_MAX {
            bail!("{} has more than {MANIFESTS_MAX} manifests", path.display());
        }
    }
    names.sort();
    let mut documents = Vec::new();
    for name in names {
        let bytes = read_limited(&path.join(&name), MANIFEST_MAX_BYTES)?;
        documents.extend(parse(&format!("{folder}/{name}"), &bytes)?);
    }
    Ok(documents)
}

/// All objects of one file.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Document>> {
    let wrong = |reason: String| {
        Failure::new(
            format!("{file} is no YAML: {reason}"),
            "one such file keeps the whole cluster from coming up; mend it or take it away",
        )
    };
    let text = str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    // The parser would quote lines, and some have secrets.
    let options = options! { with_snippet: false };
    let values: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let said = error.to_string();
            wrong(said.split_whitespace().collect::<Vec<_>>().join(" "))
        })?;
    let documents = values.into_iter().filter(|value| !value.is_null());
    Ok(documents
        .map(|value| Document {
            file: file.to_owned(),
            value,
        })
        .collect())
}

impl Document {
    /// What it says of pools' images.
    pub(super) fn found(&self) -> Option<Found> {
        let value = &self.value;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let some = |value: &Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        let kind = some(&value["kind"])?;
        let (metadata, spec) = (&value["metadata"], &value["spec"]);
        let name = text(&metadata["name"]);
        let (pool, os_image, stream) = match kind.as_str() {
            "MachineConfig" => (
                text(&metadata["labels"][ROLE_LABEL]),
                some(&spec["osImageURL"]),
                None,
            ),
            "MachineOSConfig" => (
                text(&spec["machineConfigPool"]["name"]),
                some(&metadata["annotations"][PRE_BUILT]),
                None,
            ),
            "MachineConfigPool" => (name.clone(), None, some(&spec["osImageStream"]["name"])),
            _ => (name.clone(), None, None),
        };
        Some(Found {
            file: self.file.clone(),
            kind,
            name,
            pool,
            os_image,
            stream,
        })
    }

    /// The cluster's pull secret, if that is what it is.
    pub(super) fn pull_secret(&self) -> Result<Option<PullSecret>> {
        const KEY: &str = ".dockerconfigjson";
        let value = &self.value;
        if value["kind"] != "Secret" || value["metadata"]["name"] != "pull-secret" {
            return Ok(None);
        }
        let bytes = match (&value["data"][KEY], &value["stringData"][KEY]) {
            (Value::String(text), _) => STANDARD
                .decode(text.trim())
                .ok()
                .with_context(|| format!("{} has a {KEY} that is not base64", self.file))?,
            (_, Value::String(text)) => text.clone().into_bytes(),
            _ => bail!("{} has no {KEY}", self.file),
        };
        pull_secret(&self.file, &bytes).map(Some)
    }

    /// The release that the directory is of: that of the installer which made it, or the one that a
    /// ClusterImageSet names by its tag.
    ///
    /// Source: openshift/installer `pkg/asset/openshiftinstall/openshiftinstall.go`@4b6224ad2d.
    pub(super) fn told_release(&self) -> Option<ToldRelease> {
        let value = &self.value;
        let version = match value["kind"].as_str()? {
            "ConfigMap" if value["metadata"]["name"] == "openshift-install-manifests" => {
                value["data"]["version"].as_str()?
            }
            "ClusterImageSet" => {
                let image = value["spec"]["releaseImage"].as_str()?;
                let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
                tag
            }
            _ => return None,
        };
        Some(ToldRelease {
            file: self.file.clone(),
            minor: Release::minor_in(version)?,
        })
    }

    /// The install config, if the document is where `create manifests` keeps it:
    /// `manifests/cluster-config.yaml`.
    pub(super) fn install_config(&self) -> Option<Value> {
        if self.value["kind"] != "ConfigMap"
            || self.value["metadata"]["name"] != "cluster-config-v1"
        {
            return None;
        }
        let text = self.value["data"]["install-config"].as_str()?;
        let documents = parse(&self.file, text.as_bytes()).ok()?;
        Some(documents.into_iter().next()?.value)
    }
}

/// The platform that an install config is for.
pub(super) fn platform(install_config: &Value) -> Option<String> {
    let platforms = install_config["platform"].as_object()?;
    platforms.keys().next().cloned()
}

/// Whether an install config is for a single node that is its own bootstrap machine.
pub(super) fn bootstraps_in_place(install_config: &Value) -> bool {
    install_config["bootstrapInPlace"]
        .as_object()
        .is_some_and(|keys| !keys.is_empty())
}

/// A pull secret from a file.
pub(super) fn pull_secret(file: &str, bytes: &[u8]) -> Result<PullSecret> {
    PullSecret::parse(bytes).with_context(|| format!("reading {file}"))
}
