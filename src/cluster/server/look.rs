//! What a cluster is asked.

use std::io::Write;

use anyhow::{Context, Result};
use axum::http::StatusCode;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::credentials::{Credentials, credentials, login};
use super::super::handoff::PinningConfig;
use super::super::judge::judge;
use super::super::kinds::Kind;
use super::super::names::REGISTRY_ROUTE;
use super::super::objects::{Conditions, ON_CLUSTER_LAYERING, Pool, is_seed};
use super::super::report::State;
use super::super::snapshot::{Listed, Rendering, Snapshot};
use super::watch::accepting;
use super::{Answer, JSON, METADATA_ONLY, Server, parsed};
use crate::openshift::PushSpec;

#[derive(Deserialize)]
struct MetadataOnly {
    metadata: ObjectMeta,
}

impl Server {
    /// What is so now: six requests for a cluster whose builds are well, up to three more for others.
    ///
    /// # Errors
    /// A cluster that can't be reached or is not OpenShift, credentials that it does not take, missing
    /// rights.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let mut listed = Vec::new();
        let pools = self.list_to_watch(Kind::POOL, None, JSON, &mut listed);
        let Answer {
            items: pools, now, ..
        } = pools.await?;
        let version = Kind::CLUSTER_VERSION.path_of("version");
        let (version, _) = self.answer(&version, JSON).await?;
        let metadata = |items: Vec<MetadataOnly>| {
            let metadata = items.into_iter().map(|item| item.metadata);
            metadata.collect::<Vec<_>>()
        };
        let nodes = self.list_to_watch(Kind::NODE, None, METADATA_ONLY, &mut listed);
        let nodes = metadata(nodes.await?.items);
        let renderings = self.list(Kind::MACHINE_CONFIG, None, METADATA_ONLY).await?;
        let renderings = metadata(renderings.items).into_iter().map(|metadata| {
            let rendering = Rendering::of(&metadata);
            (metadata.name.unwrap_or_default(), rendering)
        });
        let configs = self.list_to_watch(Kind::LAYERED_CONFIG, None, JSON, &mut listed);
        let configs = configs.await?.items;
        let builds = self.list_to_watch(Kind::BUILD, None, JSON, &mut listed);
        let mut snapshot = Snapshot {
            now,
            version: parsed(&version, "the ClusterVersion")?,
            pools,
            configs,
            builds: builds.await?.items,
            nodes,
            renderings: renderings.collect(),
            ..Snapshot::default()
        };
        if snapshot
            .builds
            .iter()
            .any(|build| build.when("Succeeded").is_none())
        {
            let of_builds = Some(ON_CLUSTER_LAYERING);
            let jobs = self.list_to_watch(Kind::JOB, of_builds, JSON, &mut listed);
            snapshot.jobs = jobs.await?.items;
        }
        if !snapshot.jobs.is_empty() {
            let of_jobs = Some("batch.kubernetes.io/job-name");
            let pods = self.list_to_watch(Kind::POD, of_jobs, JSON, &mut listed);
            snapshot.pods = pods.await?.items;
        }
        snapshot.listed = listed;
        let is_silent = |state| state == State::BuildNotBegun;
        if judge(&snapshot)
            .pools
            .iter()
            .any(|pool| is_silent(pool.state))
        {
            snapshot.builder_runs = Some(self.builder_runs().await?);
        }
        Ok(snapshot)
    }

    /// All objects of a kind, and into `listed` from when on they can be watched.
    async fn list_to_watch<T: DeserializeOwned>(
        &self,
        kind: Kind,
        selector: Option<&'static str>,
        accept: &'static str,
        listed: &mut Vec<Listed>,
    ) -> Result<Answer<T>> {
        let answer = self.list(kind, selector, accept).await?;
        listed.push(Listed {
            kind,
            selector,
            accept: accepting(accept),
            version: answer.version.clone(),
        });
        Ok(answer)
    }

    /// Whether the operator's builder runs.
    async fn builder_runs(&self) -> Result<bool> {
        let deployment = self.get(Kind::DEPLOYMENT, "machine-os-builder").await?;
        let Some(Deployment { status, .. }) = deployment else {
            return Ok(false);
        };
        let ready = status.and_then(|status| status.ready_replicas);
        Ok(ready.unwrap_or(0) > 0)
    }

    /// Whether a secret of the operator's namespace will do for a build; `place` is where it is to push to,
    /// if that is what it is for.
    ///
    /// # Errors
    /// As [`Server::snapshot`].
    pub async fn credentials(&self, name: &str, place: Option<&PushSpec>) -> Result<Credentials> {
        let secret = self.get(Kind::SECRET, name).await?;
        Ok(credentials(secret.as_ref(), place))
    }

    /// User and password that a secret of the operator's namespace has for the registry at `host`, as base64 of
    /// `USER:PASSWORD`.
    ///
    /// # Errors
    /// As [`Server::snapshot`].
    pub async fn login(&self, secret: &str, host: &str) -> Result<Option<SecretString>> {
        let secret = self.get(Kind::SECRET, secret).await?;
        Ok(secret.and_then(|secret| login(&secret, host)))
    }

    /// The host under which the cluster's own registry is reached from outside, if there is one.
    ///
    /// # Errors
    /// As [`Server::snapshot`].
    pub async fn registry_route(&self) -> Result<Option<String>> {
        let route: Option<Value> = self.get(Kind::REGISTRY_ROUTE, REGISTRY_ROUTE).await?;
        let host = route.and_then(|route| route["spec"]["host"].as_str().map(str::to_owned));
        Ok(host.filter(|host| !host.is_empty()))
    }

    /// The MachineConfigs in a pool's configuration that name an image for its nodes, but for the operator's
    /// own.
    ///
    /// # Errors
    /// As [`Server::snapshot`].
    pub async fn pins(&self, pool: &Pool) -> Result<Vec<PinningConfig>> {
        let mut pins = Vec::new();
        let sources = pool.spec.configuration.source.iter();
        for source in sources.filter(|source| !is_seed(&source.name)) {
            let config = self.get(Kind::MACHINE_CONFIG, &source.name).await?;
            pins.extend(config.filter(|config: &PinningConfig| config.image().is_some()));
        }
        Ok(pins)
    }

    /// Copies the log of a container to `sink`, its last `lines` lines or all of it. False if there is none
    /// any more.
    ///
    /// # Errors
    /// As [`Server::snapshot`]; what `sink` does not take.
    pub async fn log(
        &self,
        pod: &str,
        container: &str,
        lines: Option<u32>,
        sink: &mut dyn Write,
    ) -> Result<bool> {
        let mut path = format!("{}/log?container={container}", Kind::POD.path_of(pod));
        if let Some(lines) = lines {
            path += &format!("&tailLines={lines}");
        }
        let mut response = self.response(&path, "*/*").await?;
        if !response.status().is_success() {
            let refusal = self.refusal(response).await?;
            // The pod is gone, or its container never ran.
            return match refusal.status {
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(false),
                _ => Err(self.explained(&path, refusal).await),
            };
        }
        while let Some(chunk) = self.chunk(response.body_mut()).await? {
            sink.write_all(&chunk).context("writing a log")?;
        }
        Ok(true)
    }
}
