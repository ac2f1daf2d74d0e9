//! Requests to a cluster's API: few, bounded, and without anything that is secret.
//!
//! Connections, credentials, proxies and certificates are `kube`'s work.

mod access;
mod change;
mod look;
mod rights;
mod tunnel;
mod watch;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::{Request, Response, StatusCode, header};
use http_body::Body as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use k8s_openapi::jiff::{Timestamp, fmt::rfc2822};
use kube::client::Body;
use kube::{Client, Config};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

pub use access::Access;
pub(super) use change::MANAGER;
pub use change::{Applied, Changed, Conflict};
pub use tunnel::{OWN_REGISTRY, Tunnel, is_in_own_registry};

use super::kinds::Kind;
use super::rights::Task;
use crate::failure::{Failure, sentence};
use crate::foreign::percent_encoded;

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

/// What asks for the metadata of objects only.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// What asks for all of an object.
pub(super) const JSON: &str = "application/json";

/// The API of a cluster.
pub struct Server {
    client: Client,
    config: Config,
    /// What for.
    task: Task,
    /// The pools that it is about, once they are known.
    pools: OnceLock<Vec<String>>,
    /// Where it is.
    url: String,
    /// What the user is known by, if it is a token.
    token: Option<SecretString>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// An answer that is not what was asked for.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: String,
    causes: Vec<Cause>,
}

/// One of several reasons of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

/// Why there was no answer, which may be another the next time.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error("can't talk to the cluster at {url}")]
    Silent {
        url: String,
        #[source]
        why: Failure,
    },
    #[error("the cluster at {url} stopped in the middle of an answer")]
    Cut {
        url: String,
        #[source]
        why: Failure,
    },
}

/// Some objects of a kind.
#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

/// All objects of a kind.
pub(super) struct Answer<T> {
    pub(super) items: Vec<T>,
    /// The server's time.
    pub(super) now: Timestamp,
    /// The `resourceVersion`, from which on changes can be watched. All pages have the same.
    version: String,
}

impl Server {
    /// Finds out where the cluster is, and as whom it is to be asked. Asks nothing yet.
    ///
    /// # Errors
    /// No kubeconfig, one that can't be read, a context that is not in it.
    pub async fn new(access: &Access, task: Task) -> Result<Self> {
        // Fails when somebody has installed one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = access::config(access).await?;
        config.connect_timeout = Some(SILENCE_MAX);
        config.read_timeout = Some(SILENCE_MAX);
        // It goes on for minutes without a word; see `response`.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let url = url.trim_end_matches('/').to_owned();
        let token = config.auth_info.token.clone();
        let client = Client::try_from(config.clone())
            .with_context(|| format!("preparing to talk to the cluster at {url}"))?;
        Ok(Self {
            client,
            config,
            task,
            pools: OnceLock::new(),
            url,
            token,
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

    /// What the user is known by, if it is a token: the cluster's own registry takes it, too.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Tells which pools the task is about; where a right is needed for each of them, those are asked
    /// for. What is told first counts.
    pub fn for_pools<'a>(&self, pools: impl IntoIterator<Item = &'a str>) {
        let pools = pools.into_iter().map(str::to_owned);
        let _ = self.pools.set(pools.collect());
    }

    pub(super) fn pools(&self) -> &[String] {
        self.pools.get().map_or(&[], Vec::as_slice)
    }

    /// Requests that were made, and bytes that came back, uncompressed.
    pub fn spent(&self) -> (u64, u64) {
        (
            self.requests.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// An object; None if there is none of the name.
    ///
    /// # Errors
    /// As [`Server::snapshot`].
    pub async fn get<T: DeserializeOwned>(&self, kind: Kind, name: &str) -> Result<Option<T>> {
        let path = kind.path_of(name);
        match self.request(&path, JSON).await? {
            Ok((answer, _)) => Ok(Some(parsed(&answer, &format!("the {} {name}", kind.name))?)),
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(None),
            Err(refusal) => Err(self.explained(&path, refusal).await),
        }
    }

    /// All objects of a kind whose labels are as `selector` says.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        kind: Kind,
        selector: Option<&str>,
        accept: &str,
    ) -> Result<Answer<T>> {
        let what = format!("{}s", kind.name);
        let path = kind.path();
        let selector = selector.map(|labels| format!("&labelSelector={}", percent_encoded(labels)));
        let selector = selector.unwrap_or_default();
        let mut items = Vec::new();
        let mut from = String::new();
        for _ in 0..PAGES_MAX {
            let page = format!("{path}?limit={PAGE}{selector}{from}");
            let (answer, now) = self.answer(&page, accept).await?;
            let list: List<T> = parsed(&answer, &what)?;
            items.extend(list.items);
            let next = list.metadata.continue_.filter(|next| !next.is_empty());
            let Some(next) = next else {
                let version = list.metadata.resource_version.unwrap_or_default();
                return Ok(Answer {
                    items,
                    now,
                    version,
                });
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
        self.patiently(|| {
            Request::builder()
                .uri(path)
                .header(header::ACCEPT, accept)
                .body(Body::empty())
                .with_context(|| format!("asking for {path}"))
        })
        .await
    }

    /// Sends the request until the server has time for it.
    async fn patiently(
        &self,
        request: impl Fn() -> Result<Request<Body>>,
    ) -> Result<Response<Body>> {
        let mut attempts = 0;
        loop {
            let response = self.send(request()?).await?;
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
        let advice =
            "look at the server and the proxy of the kubeconfig (`oc whoami --show-server`)";
        Err(Interrupted::Silent {
            url: self.url.clone(),
            why: Failure::new(error, advice),
        }
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
        let cut = |error: String| Interrupted::Cut {
            url: self.url.clone(),
            why: Failure::new(
                error,
                "say it again: what is done already is not done twice",
            ),
        };
        loop {
            let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let frame = timeout(SILENCE_MAX, next).await;
            let frame = frame.map_err(|error| cut(error.to_string()))?;
            let Some(frame) = frame.transpose().map_err(|error| cut(sentence(&error)))? else {
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
            details: Details,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Details {
            causes: Vec<Cause>,
        }
        let status = response.status();
        let body = self.body(response).await?;
        let said: Status = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Refusal {
            status,
            message: said.message,
            causes: said.details.causes,
        })
    }

    /// Why a request for `path` was refused, and what to do.
    async fn explained(&self, path: &str, refusal: Refusal) -> anyhow::Error {
        let url = &self.url;
        let all = path.split_once('?').map_or(path, |(path, _)| path);
        let is = |kind: Kind| kind.path() == all;
        match refusal.status {
            StatusCode::UNAUTHORIZED => Failure::new(
                format!("the cluster at {url} does not take the credentials of the kubeconfig"),
                "log in again: `oc login`; tokens expire",
            )
            .into(),
            StatusCode::FORBIDDEN => match self.missing_rights(self.task).await {
                Ok(missing) if !missing.is_empty() => self.without_rights(self.task, &missing),
                _ => self.plain(&refusal),
            },
            StatusCode::NOT_FOUND if is(Kind::LAYERED_CONFIG) || is(Kind::BUILD) => Failure::new(
                format!("the cluster at {url} has no MachineOSConfigs"),
                "OpenShift has on-cluster layering of this kind from 4.18.21 and 4.19 on",
            )
            .into(),
            StatusCode::NOT_FOUND if is(Kind::POOL) => Failure::new(
                format!("the cluster at {url} is not OpenShift: it has no MachineConfigPools"),
                "name another context of the kubeconfig with --context",
            )
            .into(),
            _ => self.plain(&refusal),
        }
    }

    fn plain(&self, refusal: &Refusal) -> anyhow::Error {
        let Refusal {
            status, message, ..
        } = refusal;
        anyhow::anyhow!("the cluster at {} answers {status}: {message}", self.url)
    }
}

/// Whether `error` is about the way to a cluster, and not about what was asked of it: another attempt may
/// do better.
pub fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Interrupted>().is_some()
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
