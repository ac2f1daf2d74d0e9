//! A look into the image that the cluster has built.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tempfile::NamedTempFile;

use super::under_way::Handoff;
use crate::cli::cluster::drivers::{Looked, look_into};
use crate::cluster::handoff::{LABEL, Plan, fingerprint};
use crate::cluster::{OWN_REGISTRY, Seen, ToolImage, Tunnel, Wanted, is_in_own_registry};
use crate::failure::sentence;
use crate::foreign::visible;
use crate::image::{Detour, ImageRef};
use crate::os::ReadOptions;
use crate::progress::Progress;

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
        let seen = match self.look_from_here(plan, image) {
            Ok(seen) => seen,
            Err(from_here) => match &self.options.tool_image {
                None => return Err(from_here),
                Some(tool) => {
                    let why = sentence(&*from_here);
                    self.terminal.warn(&format!(
                        "it can't be looked into from here, so a Job in the cluster does: {why}"
                    ));
                    self.look_from_within(plan, image, tool)?
                }
            },
        };
        let mut wrong = Vec::new();
        let asked = plan.containerfile().map(fingerprint).unwrap_or_default();
        match seen.labels.get(LABEL) {
            Some(built) if *built == asked => {}
            Some(built) => wrong.push(format!(
                "another Containerfile is in it (label {LABEL} is {}, not {asked})",
                visible(built)
            )),
            None => wrong.push(format!(
                "it has no label {LABEL}, so which Containerfile is in it is not known"
            )),
        }
        wrong.extend(seen.missing);
        Ok(wrong)
    }

    fn look_from_within(&self, plan: &Plan, image: &str, tool: &ToolImage) -> Result<Seen> {
        let wanted = Wanted {
            image,
            secret: push_secret(plan),
            drivers: &plan.drivers,
            tool,
        };
        let progress: &dyn Progress = self.terminal;
        progress.begin("waiting for a Job to look into the image", 0);
        let pause = Duration::from_secs(self.options.interval);
        let look = self.server.look_from_within(&wanted, pause);
        let seen = self.runtime.block_on(look);
        progress.end();
        seen
    }

    fn look_from_here(&self, plan: &Plan, image: &str) -> Result<Seen> {
        let way = match is_in_own_registry(image) {
            true => Some(self.way(plan, image)?),
            false => None,
        };
        let name = way.as_ref().map_or(image, |way| &way.name);
        let reference: ImageRef = format!("docker://{name}").parse()?;
        let with = |options: &mut ReadOptions| {
            let Some(way) = &way else { return };
            if let Some(file) = &way.credentials {
                options.access.authfile = Some(file.path().to_owned());
            }
            options.access.detour = way.tunnel.as_ref().map(|tunnel| Detour {
                host: OWN_REGISTRY.to_owned(),
                address: tunnel.address.ip(),
                certificates: tunnel.authorities.clone(),
            });
        };
        let access = &self.options.image;
        let Looked { glance, missing } =
            look_into(&reference, &plan.drivers, access, with, self.terminal)?;
        Ok(Seen {
            labels: glance.image.labels.clone(),
            missing,
        })
    }

    /// How to get at an image in the cluster's own registry: by its route if it has one, else through the API.
    fn way(&self, plan: &Plan, image: &str) -> Result<Way> {
        let rest = image.split_once('/').map_or("", |(_, rest)| rest);
        let (host, tunnel) = match self.runtime.block_on(self.server.registry_route())? {
            Some(route) => (route, None),
            None => {
                let tunnel = self.runtime.block_on(self.server.registry_tunnel());
                let tunnel = tunnel.context(
                    "it is in the cluster's own registry, which has no route, and can't be reached through the API",
                )?;
                (
                    format!("{OWN_REGISTRY}:{}", tunnel.address.port()),
                    Some(tunnel),
                )
            }
        };
        let credentials = match self.options.image.has_authfile() {
            true => None,
            false => Some(self.credentials(plan, image, &host)?),
        };
        Ok(Way {
            name: format!("{host}/{rest}"),
            credentials,
            tunnel,
        })
    }

    /// What the cluster's own registry knows us by, under the name `host`: the token of the kubeconfig, or else
    /// what builds push with.
    fn credentials(&self, plan: &Plan, image: &str, host: &str) -> Result<NamedTempFile> {
        let auth: SecretString = match self.server.token() {
            // Any user name goes with a token.
            Some(token) => STANDARD.encode(format!("coreos-bake:{token}")).into(),
            None => {
                let registry = image.split('/').next().unwrap_or_default();
                let login = self.server.login(push_secret(plan), registry);
                self.runtime.block_on(login)?.with_context(|| {
                    format!(
                        "it is in the cluster's own registry, for which the kubeconfig has no token and secret {} no password",
                        visible(push_secret(plan))
                    )
                })?
            }
        };
        let auths = json!({ "auths": { host: { "auth": auth.expose_secret() } } });
        let mut file = NamedTempFile::new().context("writing credentials")?;
        file.write_all(auths.to_string().as_bytes())
            .context("writing credentials")?;
        Ok(file)
    }
}

/// A way to an image in the cluster's own registry.
struct Way {
    /// The image, by the name that this way has for it.
    name: String,
    credentials: Option<NamedTempFile>,
    tunnel: Option<Tunnel>,
}

/// What builds push with.
fn push_secret(plan: &Plan) -> &str {
    let secret = &plan.object["spec"]["renderedImagePushSecret"];
    secret["name"].as_str().unwrap_or_default()
}
