//! A look into the image that the cluster has built.

use std::io::Write;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::NamedTempFile;

use super::run::Handoff;
use crate::cli::cluster::drivers::{Looked, look_into};
use crate::cluster::handoff::{LABEL, Plan, fingerprint};
use crate::failure::sentence;
use crate::foreign::visible;
use crate::image::ImageRef;
use crate::media::ReadOptions;

/// The cluster's own registry, by the name that nodes have for it.
const INTERNAL: &str = "image-registry.openshift-image-registry.svc";

/// What a look into an image told.
pub(super) enum Proof {
    /// It is what was asked for.
    Proven,
    /// It could not be read.
    Unread(String),
    /// It is something else.
    Wrong(Vec<String>),
}

impl Handoff<'_> {
    /// Looks whether `image` has the Containerfile of the plan in it, and all drivers where an installed
    /// node needs them.
    pub(super) fn prove(&self, plan: &Plan, image: &str) -> Result<Proof> {
        match self.look_into(plan, image) {
            Ok(wrong) if wrong.is_empty() => Ok(Proof::Proven),
            Ok(wrong) => Ok(Proof::Wrong(wrong)),
            Err(error) => Ok(Proof::Unread(sentence(&*error))),
        }
    }

    fn look_into(&self, plan: &Plan, image: &str) -> Result<Vec<String>> {
        let mut name = image.to_owned();
        let mut credentials = None;
        let host = image.split(['/', ':']).next().unwrap_or_default();
        if host == INTERNAL {
            let Some(route) = self.runtime.block_on(self.server.registry_route())? else {
                anyhow::bail!(
                    "it is in the cluster's own registry, which has no route to reach it from here; \
                     spec.defaultRoute of configs.imageregistry.operator.openshift.io cluster makes one"
                );
            };
            let rest = image.split_once('/').map_or("", |(_, rest)| rest);
            name = format!("{route}/{rest}");
            if !self.options.image.has_authfile() {
                credentials = Some(self.credentials(&route)?);
            }
        }
        let reference: ImageRef = format!("docker://{name}").parse()?;
        let with = |options: &mut ReadOptions| {
            if let Some(file) = &credentials {
                options.access.authfile = Some(file.path().to_owned());
            }
        };
        let access = &self.options.image;
        let Looked { glance, missing } =
            look_into(&reference, &plan.drivers, access, with, self.terminal)?;
        let mut wrong = Vec::new();
        let asked = plan.containerfile().map(fingerprint).unwrap_or_default();
        match glance.image.labels.get(LABEL) {
            Some(built) if *built == asked => {}
            Some(built) => wrong.push(format!(
                "another Containerfile is in it (label {LABEL} is {}, not {asked})",
                visible(built)
            )),
            None => wrong.push(format!(
                "it has no label {LABEL}, so which Containerfile is in it is not known"
            )),
        }
        wrong.extend(missing);
        Ok(wrong)
    }

    /// The token of the kubeconfig, as the cluster's own registry takes it.
    fn credentials(&self, route: &str) -> Result<NamedTempFile> {
        let Some(token) = self.server.token() else {
            anyhow::bail!(
                "it is in the cluster's own registry, which takes a token, and the kubeconfig has none (`oc login` gets one)"
            );
        };
        // Any user name goes with a token.
        let auth = STANDARD.encode(format!("coreos-bake:{token}"));
        let auths = json!({ "auths": { route: { "auth": auth } } });
        let mut file = NamedTempFile::new().context("writing credentials")?;
        file.write_all(auths.to_string().as_bytes())
            .context("writing credentials")?;
        Ok(file)
    }
}
