//! Requests to a cluster's API: few, bounded, and without anything that is secret.
//!
//! Connections, credentials, proxies and certificates are `kube`'s work.

use std::future::poll_fn;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use k8s_openapi::jiff::{Timestamp, fmt::rfc2822};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::judge::{State, judge};
use super::objects::{Conditions, NAMESPACE, ON_CLUSTER_LAYERING, REBUILD};
use super::rights::{Right, Task};
use super::snapshot::{Rendering, Snapshot};
use crate::failure::{Failure, sentence};
use crate::url::percent_encoded;

/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The longest without a byte of one.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Most bytes of one answer. 500 nodes have half a megabyte.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Objects in one answer; more are asked for in a further request.
const PAGE: usize = 500;
/// Most pages of one kind.
const PAGES_MAX: usize = 200;
/// How often a server that has no time is asked.
const ATTEMPTS: u32 = 4;
/// The longest pause that a server may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The kinds of the machine-config operator.
const MCO: &str = "/apis/machineconfiguration.openshift.io/v1";
/// What asks for the metadata of objects only.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const JSON: &str = "application/json";
/// What every pod has.
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
/// Whom fields belong to that we set.
const MANAGER: &str = "coreos-bake";

/// How to find the cluster, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A kubeconfig; `KUBECONFIG`, `~/.kube/config` or that of the pod without it.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it; its current one without it.
    pub context: Option<String>,
}

/// The API of a cluster.
pub struct Server {
    client: Client,
    /// What for.
    task: Task,
    /// Where it is.
    url: String,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// An answer that is not what was asked for.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: String,
}

/// Some objects of a kind.
#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
struct MetadataOnly {
    metadata: ObjectMeta,
}

impl Server {
    /// Finds out where the cluster is, and as whom it is to be asked. Asks nothing yet.
    ///
    /// # Errors
    /// No kubeconfig, one that can't be read, a context that is not in it.
    pub async fn new(access: &Access, task: Task) -> Result<Self> {
        // Fails when somebody has installed one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = config(access).await?;
        config.connect_timeout = Some(SILENCE_MAX);
        config.read_timeout = Some(SILENCE_MAX);
        // It goes on for minutes without a word; see `response`.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let url = url.trim_end_matches('/').to_owned();
        let client = Client::try_from(config)
            .with_context(|| format!("preparing to talk to the cluster at {url}"))?;
        Ok(Self {
            client,
            task,
            url,
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// Where the cluster's API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn task(&self) -> Task {
        self.task
    }

    /// Requests that were made, and bytes that came back, uncompressed.
    pub fn spent(&self) -> (u64, u64) {
        (
            self.requests.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// What is so now: six requests for a cluster whose builds are well, up to three more for others.
    ///
    /// # Errors
    /// A cluster that can't be reached or is not OpenShift, credentials that it does not take, missing
    /// rights.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let pools = format!("{MCO}/machineconfigpools");
        let (pools, now) = self.list(&pools, JSON, "MachineConfigPools").await?;
        let version = "/apis/config.openshift.io/v1/clusterversions/version";
        let (version, _) = self.answer(version, JSON).await?;
        let metadata = |items: Vec<MetadataOnly>| {
            let metadata = items.into_iter().map(|item| item.metadata);
            metadata.collect::<Vec<_>>()
        };
        let (nodes, _) = self.list("/api/v1/nodes", METADATA_ONLY, "nodes").await?;
        let renderings = format!("{MCO}/machineconfigs");
        let (renderings, _) = self
            .list(&renderings, METADATA_ONLY, "MachineConfigs")
            .await?;
        let renderings = metadata(renderings).into_iter().map(|metadata| {
            let rendering = Rendering::of(&metadata);
            (metadata.name.unwrap_or_default(), rendering)
        });
        let mut snapshot = Snapshot {
            now,
            version: parsed(&version, "the ClusterVersion")?,
            pools,
            configs: self
                .list(&format!("{MCO}/machineosconfigs"), JSON, "MachineOSConfigs")
                .await?
                .0,
            builds: self
                .list(&format!("{MCO}/machineosbuilds"), JSON, "MachineOSBuilds")
                .await?
                .0,
            nodes: metadata(nodes),
            renderings: renderings.collect(),
            ..Snapshot::default()
        };
        if snapshot
            .builds
            .iter()
            .any(|build| build.when("Succeeded").is_none())
        {
            let jobs = format!(
                "/apis/batch/v1/namespaces/{NAMESPACE}/jobs?labelSelector={ON_CLUSTER_LAYERING}"
            );
            snapshot.jobs = self.list(&jobs, JSON, "Jobs").await?.0;
        }
        if !snapshot.jobs.is_empty() {
            let pods = format!(
                "/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=batch.kubernetes.io%2Fjob-name"
            );
            snapshot.pods = self.list(&pods, JSON, "pods").await?.0;
        }
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

    /// Whether the operator's builder runs.
    async fn builder_runs(&self) -> Result<bool> {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/machine-os-builder");
        let answer = match self.request(&path, JSON).await? {
            Ok((answer, _)) => answer,
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => return Ok(false),
            Err(refusal) => return Err(self.explained(&path, refusal).await),
        };
        let deployment: Deployment = parsed(&answer, "the Deployment machine-os-builder")?;
        let ready = deployment.status.and_then(|status| status.ready_replicas);
        Ok(ready.unwrap_or(0) > 0)
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
        let mut path =
            format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log?container={container}");
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

    /// Has the image of the MachineOSConfig `config` built again. The operator takes the annotation away when
    /// it begins; it hears only that it comes, so one that was left is taken away first.
    ///
    /// Truth: machine-config-operator pkg/controller/build/reconciler.go@7ff337a4f, and seen.
    ///
    /// # Errors
    /// As [`Server::snapshot`]; a MachineOSConfig that is not there any more.
    pub async fn rebuild(&self, config: &str) -> Result<()> {
        let path = format!("{MCO}/machineosconfigs/{}", percent_encoded(config));
        for value in [Value::Null, json!("")] {
            let patch = json!({ "metadata": { "annotations": { REBUILD: value } } });
            let request = Request::patch(format!("{path}?fieldManager={MANAGER}"))
                .header(header::CONTENT_TYPE, "application/merge-patch+json")
                .header(header::ACCEPT, JSON)
                .body(Body::from(serde_json::to_vec(&patch)?))
                .context("asking for a build")?;
            let response = self.send(request).await?;
            if !response.status().is_success() {
                let refusal = self.refusal(response).await?;
                return Err(self.explained(&path, refusal).await);
            }
            self.body(response).await?;
        }
        Ok(())
    }

    /// Whether the user may do this.
    pub(super) async fn may(&self, right: &Right) -> Result<bool> {
        #[derive(Deserialize)]
        struct Review {
            status: Verdict,
        }
        #[derive(Deserialize)]
        struct Verdict {
            allowed: bool,
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": right.attributes() },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, JSON)
            .body(Body::from(serde_json::to_vec(&review)?))
            .context("asking for rights")?;
        let response = self.send(request).await?;
        if !response.status().is_success() {
            let refusal = self.refusal(response).await?;
            return Err(self.plain(&refusal));
        }
        let answer = self.body(response).await?;
        let review: Review = parsed(&answer, "the answer about rights")?;
        Ok(review.status.allowed)
    }

    /// All objects of a kind, and the server's time.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &str,
        what: &str,
    ) -> Result<(Vec<T>, Timestamp)> {
        let mut items = Vec::new();
        let mut from = String::new();
        for _ in 0..PAGES_MAX {
            let join = if path.contains('?') { '&' } else { '?' };
            let page = format!("{path}{join}limit={PAGE}{from}");
            let (answer, now) = self.answer(&page, accept).await?;
            let list: List<T> = parsed(&answer, what)?;
            items.extend(list.items);
            let next = list.metadata.continue_.filter(|next| !next.is_empty());
            let Some(next) = next else {
                return Ok((items, now));
            };
            from = format!("&continue={}", percent_encoded(&next));
        }
        let most = PAGE * PAGES_MAX;
        Err(anyhow::anyhow!(
            "the cluster at {} has more than {most} {what}",
            self.url
        ))
    }

    /// The answer to a request, or why there is none.
    async fn answer(&self, path: &str, accept: &str) -> Result<(Vec<u8>, Timestamp)> {
        match self.request(path, accept).await? {
            Ok(answer) => Ok(answer),
            Err(refusal) => Err(self.explained(path, refusal).await),
        }
    }

    async fn request(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<Result<(Vec<u8>, Timestamp), Refusal>> {
        let response = self.response(path, accept).await?;
        if !response.status().is_success() {
            return Ok(Err(self.refusal(response).await?));
        }
        let now = server_time(&response);
        Ok(Ok((self.body(response).await?, now)))
    }

    /// Asks until the server has time.
    async fn response(&self, path: &str, accept: &str) -> Result<Response<Body>> {
        let mut attempts = 0;
        loop {
            let request = Request::builder()
                .method(Method::GET)
                .uri(path)
                .header(header::ACCEPT, accept)
                .body(Body::empty())
                .with_context(|| format!("asking for {path}"))?;
            let response = self.send(request).await?;
            attempts += 1;
            let is_busy = matches!(
                response.status(),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            );
            if !is_busy || attempts == ATTEMPTS {
                return Ok(response);
            }
            let pause = response.headers().get(header::RETRY_AFTER);
            let pause = pause.and_then(|pause| pause.to_str().ok()?.parse().ok());
            sleep(Duration::from_secs(pause.unwrap_or(1)).min(PAUSE_MAX)).await;
        }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answered = timeout(ANSWER_MAX, self.client.send(request)).await;
        let error = match answered {
            Ok(Ok(response)) => return Ok(response),
            // Whose name tells nothing.
            Ok(Err(kube::Error::Service(error))) => sentence(&*error),
            Ok(Err(error)) => sentence(&error),
            Err(_) => format!("no answer within {} s", ANSWER_MAX.as_secs()),
        };
        Err(Failure::new(
            format!("can't talk to the cluster at {}: {error}", self.url),
            "look at the server and the proxy of the kubeconfig (`oc whoami --show-server`)",
        )
        .into())
    }

    async fn body(&self, mut response: Response<Body>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(response.body_mut()).await? {
            let len = bytes.len() + chunk.len();
            anyhow::ensure!(
                len <= ANSWER_BYTES_MAX,
                "the cluster at {} answers with more than {ANSWER_BYTES_MAX} bytes",
                self.url
            );
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    async fn chunk(&self, body: &mut Body) -> Result<Option<bytes::Bytes>> {
        let cut = || format!("reading an answer of the cluster at {}", self.url);
        loop {
            let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let frame = timeout(SILENCE_MAX, next).await.with_context(cut)?;
            let Some(frame) = frame.transpose().with_context(cut)? else {
                return Ok(None);
            };
            if let Ok(chunk) = frame.into_data() {
                let len = u64::try_from(chunk.len())?;
                self.bytes.fetch_add(len, Ordering::Relaxed);
                return Ok(Some(chunk));
            }
        }
    }

    async fn refusal(&self, response: Response<Body>) -> Result<Refusal> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Status {
            message: String,
        }
        let status = response.status();
        let body = self.body(response).await?;
        let said: Status = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Refusal {
            status,
            message: said.message,
        })
    }

    /// Why a request for `path` was refused, and what to do.
    async fn explained(&self, path: &str, refusal: Refusal) -> anyhow::Error {
        let url = &self.url;
        match refusal.status {
            StatusCode::UNAUTHORIZED => Failure::new(
                format!("the cluster at {url} does not take the credentials of the kubeconfig"),
                "log in again: `oc login`; tokens expire",
            )
            .into(),
            StatusCode::FORBIDDEN => match self.missing_rights().await {
                Ok(missing) if !missing.is_empty() => self.without_rights(&missing),
                _ => self.plain(&refusal),
            },
            StatusCode::NOT_FOUND if path.starts_with(MCO) && path.contains("machineos") => {
                Failure::new(
                    format!("the cluster at {url} has no MachineOSConfigs"),
                    "OpenShift has on-cluster layering of this kind from 4.18.21 and 4.19 on",
                )
                .into()
            }
            StatusCode::NOT_FOUND if path.starts_with(MCO) => Failure::new(
                format!("the cluster at {url} is not OpenShift: it has no MachineConfigPools"),
                "name another context of the kubeconfig with --context",
            )
            .into(),
            _ => self.plain(&refusal),
        }
    }

    fn plain(&self, refusal: &Refusal) -> anyhow::Error {
        let Refusal { status, message } = refusal;
        anyhow::anyhow!("the cluster at {} answers {status}: {message}", self.url)
    }
}

/// The cluster that the user means: that of the kubeconfig, or in a pod without one, the pod's.
async fn config(access: &Access) -> Result<Config> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let found = match &access.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(&options).await,
    };
    let is_named = access.kubeconfig.is_some() || access.context.is_some();
    let reason = match found {
        Ok(config) => return Ok(config),
        Err(_) if !is_named && std::env::var_os(POD_VARIABLE).is_some() => {
            match Config::incluster() {
                Ok(config) => return Ok(config),
                Err(error) => sentence(&error),
            }
        }
        // Their texts show lines of the file, which may have a token in them.
        Err(KubeconfigError::Parse(_)) => "the kubeconfig is not one, or is damaged".to_owned(),
        Err(error) => sentence(&error),
    };
    Err(Failure::new(
        format!("no cluster to talk to: {reason}"),
        "`oc login` makes a kubeconfig; --kubeconfig or KUBECONFIG names another",
    )
    .into())
}

/// What the server's clock says; ages are told by it, since that of a workstation may be wrong.
fn server_time(response: &Response<Body>) -> Timestamp {
    let date = response.headers().get(header::DATE);
    let date = date.and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
    date.map_or_else(Timestamp::now, |date| date.timestamp())
}

fn parsed<T: DeserializeOwned>(answer: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(answer)
        .with_context(|| format!("reading what the cluster says of {what}"))
}
