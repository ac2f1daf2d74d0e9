//! A cluster's API that says what a real one said: recorded stories, played at any moment of theirs.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Objects by kind, namespace and name.
type Objects = BTreeMap<(String, String, String), Value>;

/// A recorded story.
#[derive(Clone)]
pub struct Story {
    lines: Vec<Value>,
    began: Timestamp,
}

/// What a cluster holds at one moment.
#[derive(Clone)]
pub struct Moment {
    pub objects: Objects,
    /// Logs by pod and container.
    pub logs: BTreeMap<(String, String), String>,
    pub now: Timestamp,
    /// What the user may not: verb and resource.
    pub forbidden: Vec<(String, String)>,
    /// Kinds that the API doesn't have.
    pub absent: Vec<String>,
    /// Answers everything so, if there is one.
    pub refusal: Option<u16>,
}

/// Where kinds are in the API.
const PATHS: [(&str, &str); 9] = [
    ("/api/v1/nodes", "Node"),
    (
        "/apis/config.openshift.io/v1/clusterversions",
        "ClusterVersion",
    ),
    (
        "/apis/machineconfiguration.openshift.io/v1/machineconfigpools",
        "MachineConfigPool",
    ),
    (
        "/apis/machineconfiguration.openshift.io/v1/machineconfigs",
        "MachineConfig",
    ),
    (
        "/apis/machineconfiguration.openshift.io/v1/machineosconfigs",
        "MachineOSConfig",
    ),
    (
        "/apis/machineconfiguration.openshift.io/v1/machineosbuilds",
        "MachineOSBuild",
    ),
    (
        "/apis/batch/v1/namespaces/openshift-machine-config-operator/jobs",
        "Job",
    ),
    (
        "/api/v1/namespaces/openshift-machine-config-operator/pods",
        "Pod",
    ),
    (
        "/apis/apps/v1/namespaces/openshift-machine-config-operator/deployments",
        "Deployment",
    ),
];

impl Story {
    pub fn read(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ocl-stories");
        let file = std::fs::File::open(directory.join(format!("{name}.jsonl.zst"))).unwrap();
        let text = zstd::decode_all(file).unwrap();
        let lines = text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        // What happens first carries the time of it, at the latest.
        let first = lines
            .iter()
            .find(|line| line.get("type").is_some())
            .unwrap();
        let text = first["object"].to_string();
        let times = text
            .split('"')
            .filter_map(|text| text.parse::<Timestamp>().ok());
        let t = first["t"].as_f64().unwrap();
        let began = times.max().unwrap() - SignedDuration::from_millis((t * 1000.0) as i64);
        Self { lines, began }
    }

    /// What there was `t` seconds after the story began.
    pub fn at(&self, t: f64) -> Moment {
        let mut objects = Objects::new();
        let mut logs = BTreeMap::new();
        for line in &self.lines {
            if let Some(kind) = line["list"].as_str() {
                for object in line["items"].as_array().unwrap() {
                    objects.insert(key(kind, object), object.clone());
                }
                continue;
            }
            if line["t"].as_f64().unwrap() > t {
                break;
            }
            if let Some(log) = line.get("log") {
                let part = |name: &str| log[name].as_str().unwrap_or_default().to_owned();
                logs.insert((part("pod"), part("container")), part("text"));
            }
            if let Some(kind) = line["kind"].as_str() {
                let key = key(kind, &line["object"]);
                match line["type"] == "DELETED" {
                    true => objects.remove(&key),
                    false => objects.insert(key, line["object"].clone()),
                };
            }
        }
        Moment {
            objects,
            logs,
            now: self.began + SignedDuration::from_millis((t * 1000.0) as i64),
            forbidden: Vec::new(),
            absent: Vec::new(),
            refusal: None,
        }
    }
}

fn key(kind: &str, object: &Value) -> (String, String, String) {
    let part = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (kind.to_owned(), part("namespace"), part("name"))
}

impl Moment {
    pub fn object(&mut self, kind: &str, name: &str) -> &mut Value {
        let mut all = self.objects.iter_mut();
        let found = all.find(|((k, _, n), _)| k == kind && n == name);
        found
            .unwrap_or_else(|| panic!("there is no {kind} {name}"))
            .1
    }

    pub fn later(mut self, seconds: i64) -> Self {
        self.now += SignedDuration::from_secs(seconds);
        self
    }
}

/// A server that plays a moment.
pub struct Cluster {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    // Stops with it.
    _runtime: Runtime,
}

struct Shared {
    moment: Mutex<Moment>,
    asked: Mutex<Vec<String>>,
    next: Mutex<Option<Next>>,
}

/// What happens once a build was asked for.
struct Next {
    story: Story,
    /// Second of the story.
    from: f64,
    /// Seconds of the story in one of ours.
    speed: f64,
    began: Option<Instant>,
}

impl Shared {
    fn now(&self) -> Moment {
        let moment = self.moment.lock().unwrap().clone();
        match &*self.next.lock().unwrap() {
            Some(Next {
                story,
                from,
                speed,
                began: Some(began),
            }) => Moment {
                forbidden: moment.forbidden,
                ..story.at(from + began.elapsed().as_secs_f64() * speed)
            },
            _ => moment,
        }
    }
}

impl Cluster {
    pub fn play(moment: Moment) -> Self {
        Self::listen(moment, None)
    }

    /// With TLS, by a certificate and its key in PEM.
    pub fn play_with_tls(moment: Moment, certificate: &str, key: &str) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen(moment, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn listen(moment: Moment, tls: Option<TlsAcceptor>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            moment: Mutex::new(moment),
            asked: Mutex::default(),
            next: Mutex::default(),
        });
        let played = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let played = Arc::clone(&played);
                let service = service_fn(move |request| answer(Arc::clone(&played), request));
                let tls = tls.clone();
                // A client that has what it wants goes away.
                tokio::spawn(async move {
                    let builder = http1::Builder::new();
                    match tls {
                        None => drop(
                            builder
                                .serve_connection(TokioIo::new(stream), service)
                                .await,
                        ),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let stream = TokioIo::new(stream);
                                drop(builder.serve_connection(stream, service).await);
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            shared,
            _runtime: runtime,
        }
    }

    /// A kubeconfig for it, which names a token.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{ "name": "lab", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "me", "user": { "token": "sha256~a-token" } }],
            "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "me" } }],
        })
        .to_string()
    }

    /// Goes on with the story `from` a second of it once a build is asked for, `speed` times as fast.
    pub fn go_on_with(&self, story: Story, from: f64, speed: f64) {
        let began = None;
        *self.shared.next.lock().unwrap() = Some(Next {
            story,
            from,
            speed,
            began,
        });
    }

    /// Method and path of all requests.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let moment = shared.now();
    let (parts, body) = request.into_parts();
    let asked = format!("{} {}", parts.method, parts.uri);
    shared.asked.lock().unwrap().push(asked);
    let body = to_bytes(Body::new(body), 1 << 20).await.unwrap();
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if parts.method == Method::PATCH && moment.allows("patch", "machineosconfigs") {
        let patch: Value = serde_json::from_slice(&body).unwrap();
        let rebuild =
            &patch["metadata"]["annotations"]["machineconfiguration.openshift.io/rebuild"];
        let kind = parts.headers.get(header::CONTENT_TYPE).unwrap();
        assert_eq!(kind, "application/merge-patch+json");
        // The operator hears that the annotation comes, not that it was there.
        if !rebuild.is_null()
            && let Some(next) = shared.next.lock().unwrap().as_mut()
        {
            next.began = Some(Instant::now());
        }
    }
    let (status, kind, text) =
        moment.answer(&parts.method, &parts.uri, accept.unwrap_or(""), &body);
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
    let date = rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&moment.now)
        .unwrap();
    headers.insert(header::DATE, date.parse().unwrap());
    Ok(response)
}

fn refusal(status: u16, message: &str) -> (u16, &'static str, String) {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message,
    });
    (status, "application/json", body.to_string())
}

impl Moment {
    fn answer(
        &self,
        method: &Method,
        uri: &Uri,
        accept: &str,
        body: &[u8],
    ) -> (u16, &'static str, String) {
        if let Some(status) = self.refusal {
            return refusal(status, "no");
        }
        let path = uri.path();
        if method == Method::POST && path.ends_with("/selfsubjectaccessreviews") {
            let mut review: Value = serde_json::from_slice(body).unwrap();
            let wanted = &review["spec"]["resourceAttributes"];
            let resource = match wanted["subresource"].as_str().unwrap_or("") {
                "" => wanted["resource"].as_str().unwrap().to_owned(),
                sub => format!("{}/{sub}", wanted["resource"].as_str().unwrap()),
            };
            let is_allowed = self.allows(wanted["verb"].as_str().unwrap(), &resource);
            review["status"] = json!({ "allowed": is_allowed });
            return (201, "application/json", review.to_string());
        }
        assert!(
            method == Method::GET || method == Method::PATCH,
            "{method} {uri}"
        );
        let Some((prefix, kind)) = PATHS.iter().find(|(prefix, _)| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }) else {
            return refusal(404, "the server could not find the requested resource");
        };
        if self.absent.iter().any(|absent| absent == kind) {
            return refusal(404, "the server could not find the requested resource");
        }
        let resource = prefix.rsplit('/').next().unwrap();
        let rest = path[prefix.len()..].trim_start_matches('/');
        let (verb, resource) = match rest.split_once('/') {
            _ if method == Method::PATCH => ("patch", resource.to_owned()),
            Some((_, sub)) => ("get", format!("{resource}/{sub}")),
            None if rest.is_empty() => ("list", resource.to_owned()),
            None => ("get", resource.to_owned()),
        };
        if !self.allows(verb, &resource) {
            return refusal(
                403,
                &format!("{resource} is forbidden: User \"me\" cannot {verb}"),
            );
        }
        let query = uri.query().unwrap_or_default();
        let queried = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .into_iter()
                .find_map(|(key, value)| (key == name).then_some(value))
        };
        if let Some((pod, "log")) = rest.split_once('/') {
            let container = queried("container").unwrap().to_owned();
            return match self.logs.get(&(pod.to_owned(), container)) {
                Some(log) => (200, "text/plain", log.clone()),
                None => refusal(404, "pods not found"),
            };
        }
        let of_kind = self.objects.iter().filter(|((k, _, _), _)| k == kind);
        if !rest.is_empty() {
            let mut found = of_kind.filter(|((_, _, name), _)| name == rest);
            return match found.next() {
                Some((_, object)) => (200, "application/json", object.to_string()),
                None => refusal(404, "not found"),
            };
        }
        // `key` alone is a selector too: the label exists.
        let label = queried("labelSelector").map(|label| label.replace("%2F", "/"));
        let mut items: Vec<Value> = of_kind
            .map(|(_, object)| object.clone())
            .filter(|object| match &label {
                Some(label) => object["metadata"]["labels"].get(label).is_some(),
                None => true,
            })
            .collect();
        let is_metadata = accept.contains("as=PartialObjectMetadataList");
        if is_metadata {
            for item in &mut items {
                *item = json!({ "kind": "PartialObjectMetadata", "metadata": item["metadata"] });
            }
        }
        let limit: usize = queried("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let from: usize = queried("continue").map_or(0, |from| from.parse().unwrap());
        let rest = items.split_off(from.min(items.len()));
        let is_more = rest.len() > limit;
        let page: Vec<Value> = rest.into_iter().take(limit).collect();
        let next = if is_more {
            (from + limit).to_string()
        } else {
            String::new()
        };
        let list = json!({ "kind": format!("{kind}List"), "metadata": { "continue": next }, "items": page });
        (200, "application/json", list.to_string())
    }

    fn allows(&self, verb: &str, resource: &str) -> bool {
        !self
            .forbidden
            .iter()
            .any(|(v, r)| v == verb && r == resource)
    }
}
