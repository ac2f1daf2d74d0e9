//! A server that plays a moment, and goes on with a story when it is told what the admin of the story told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::fmt::rfc2822;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::api::{self, Asked};
use super::forward;
use super::watch::{self, Fault, History};
use super::{Moment, Story};

/// A server that plays a moment.
pub struct Cluster {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    // Stops with it.
    _runtime: Runtime,
}

/// A request that changes something, as an admin of a story made it.
#[derive(Clone)]
pub struct Cue {
    pub method: Method,
    pub kind: &'static str,
    pub name: &'static str,
    /// Whether this body is meant.
    pub says: fn(&Value) -> bool,
}

impl Cue {
    pub fn new(method: Method, kind: &'static str, name: &'static str) -> Self {
        let says = |_: &Value| true;
        Self {
            method,
            kind,
            name,
            says,
        }
    }

    pub fn saying(mut self, says: fn(&Value) -> bool) -> Self {
        self.says = says;
        self
    }

    /// The annotation that has an image built again.
    pub fn rebuild(name: &'static str) -> Self {
        Self::new(Method::PATCH, "MachineOSConfig", name).saying(|body| {
            body["metadata"]["annotations"]["machineconfiguration.openshift.io/rebuild"].is_string()
        })
    }

    /// What becomes of a pool's nodes when they are let go on.
    pub fn unpause(name: &'static str) -> Self {
        Self::new(Method::PATCH, "MachineConfigPool", name)
            .saying(|body| body["spec"]["paused"] == false)
    }

    fn is(&self, asked: &Asked, body: &Value) -> bool {
        self.method == asked.method
            && self.kind == asked.kind
            && self.name == asked.name
            && (self.says)(body)
    }
}

/// A part of a story, which a request begins.
#[derive(Clone)]
pub struct Scene {
    pub cue: Cue,
    pub story: Story,
    /// Second of the story at which it begins.
    pub from: f64,
    /// Where it waits for the next one.
    pub until: f64,
    /// Seconds of the story in one of ours.
    pub speed: f64,
}

/// Where the server stops answering, as if the client had been killed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Before it does what the request (counted from 0) of those that change something tells.
    Before(usize),
    /// When it has done it, and before it says so.
    After(usize),
}

/// Kind, namespace and name.
type Key = (String, String, String);

/// What is told by clients, on top of what is played.
#[derive(Default)]
pub(super) struct Told {
    /// Merge patches by object.
    pub patches: BTreeMap<Key, Value>,
    pub removed: BTreeSet<Key>,
}

pub(super) struct Shared {
    moment: Mutex<Moment>,
    told: Mutex<Told>,
    asked: Mutex<Vec<String>>,
    scenes: Mutex<Vec<Scene>>,
    /// The one that is played, and since when.
    playing: Mutex<Option<(Scene, Instant)>>,
    /// Requests that changed something.
    changes: Mutex<usize>,
    stop: Mutex<Option<Stop>>,
    /// Requests whose connections are cut.
    cut: Mutex<Range<usize>>,
    /// What somebody else does, and before which request.
    meanwhile: Mutex<Option<(usize, Key, Value)>>,
    has_stopped: AtomicBool,
    /// What the pods of the cluster's own registry forward to.
    registry: Mutex<Option<SocketAddr>>,
    pub history: Mutex<History>,
    /// What becomes of the next watches.
    pub faults: Mutex<Vec<Fault>>,
}

impl Shared {
    /// What is so now by the story, and by what clients told.
    pub(super) fn now(&self) -> Moment {
        let moment = self.moment.lock().unwrap().clone();
        let mut now = match &*self.playing.lock().unwrap() {
            Some((scene, began)) => {
                let t = scene.from + began.elapsed().as_secs_f64() * scene.speed;
                let played = scene.story.at(t.min(scene.until));
                let mut objects = played.objects;
                // What a test has put beside the story's objects stays.
                for (key, object) in moment.objects {
                    if !Story::KINDS.contains(&&*key.0) {
                        objects.insert(key, object);
                    }
                }
                let mut logs = moment.logs;
                logs.extend(played.logs);
                Moment {
                    objects,
                    logs,
                    now: played.now,
                    ..moment
                }
            }
            None => moment,
        };
        self.told.lock().unwrap().apply(&mut now.objects);
        now
    }
}

impl Shared {
    /// Whether somebody else was quicker than the request `at`.
    fn is_forestalled(&self, at: usize) -> bool {
        let mut meanwhile = self.meanwhile.lock().unwrap();
        let Some((_, key, patch)) = meanwhile.take_if(|(request, ..)| *request == at) else {
            return false;
        };
        self.told.lock().unwrap().add(key, &patch);
        true
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
            told: Mutex::default(),
            asked: Mutex::default(),
            scenes: Mutex::default(),
            playing: Mutex::default(),
            changes: Mutex::default(),
            stop: Mutex::default(),
            cut: Mutex::new(0..0),
            meanwhile: Mutex::default(),
            has_stopped: AtomicBool::new(false),
            registry: Mutex::default(),
            history: Mutex::default(),
            faults: Mutex::default(),
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
                                .with_upgrades()
                                .await,
                        ),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let stream = TokioIo::new(stream);
                                let served = builder.serve_connection(stream, service);
                                drop(served.with_upgrades().await);
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

    /// What was told before, and stays on top of what is played: a merge patch.
    pub fn told(&self, kind: &str, name: &str, patch: Value) {
        let key = (kind.to_owned(), String::new(), name.to_owned());
        self.shared.told.lock().unwrap().patches.insert(key, patch);
    }

    /// Somebody else merges `patch` into an object right before the request (counted from 0) of those that change
    /// something is looked at.
    pub fn meanwhile(&self, request: usize, kind: &str, name: &str, patch: Value) {
        let key = (kind.to_owned(), String::new(), name.to_owned());
        *self.shared.meanwhile.lock().unwrap() = Some((request, key, patch));
    }

    /// An object that is there from now on.
    pub fn put(&self, object: &Value) {
        let part = |name: &str| {
            let part = object["metadata"][name].as_str();
            part.unwrap_or_default().to_owned()
        };
        let kind = object["kind"].as_str().unwrap().to_owned();
        let key = (kind, part("namespace"), part("name"));
        self.shared
            .told
            .lock()
            .unwrap()
            .patches
            .insert(key, object.clone());
    }

    /// The same, and nothing of what was there under its name.
    pub fn replace(&self, object: &Value) {
        let kind = object["kind"].as_str().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap();
        let mut moment = self.shared.moment.lock().unwrap();
        moment
            .objects
            .retain(|key, _| key.0 != kind || key.2 != name);
        drop(moment);
        self.put(object);
    }

    /// The user may not do this any more.
    pub fn forbid(&self, right: (String, String)) {
        self.shared.moment.lock().unwrap().forbidden.push(right);
    }

    /// Pods of the cluster's own registry forward their port to `address`.
    pub fn forward_to(&self, address: SocketAddr) {
        *self.shared.registry.lock().unwrap() = Some(address);
    }

    /// What a container says, whatever is played.
    pub fn says(&self, pod: &str, container: &str, log: String) {
        let key = (pod.to_owned(), container.to_owned());
        self.shared.moment.lock().unwrap().logs.insert(key, log);
    }

    /// What becomes of the next watches, each by itself.
    pub fn fault(&self, faults: &[Fault]) {
        *self.shared.faults.lock().unwrap() = faults.to_vec();
    }

    /// What happens next, each when its cue comes. A request that changes what a story plays and is no
    /// cue of the next scene is taken as told beside it.
    pub fn then(&self, scenes: Vec<Scene>) {
        *self.shared.scenes.lock().unwrap() = scenes;
    }

    /// Goes on with a story at once.
    pub fn play_on(&self, story: &Story, from: f64, speed: f64) {
        let scene = Scene {
            cue: Cue::new(Method::GET, "", ""),
            story: story.clone(),
            from,
            until: f64::MAX,
            speed,
        };
        *self.shared.playing.lock().unwrap() = Some((scene, Instant::now()));
    }

    /// Cuts the connections of these requests, counted from 0.
    pub fn cut(&self, requests: Range<usize>) {
        *self.shared.cut.lock().unwrap() = requests;
    }

    /// Stops answering, so that the client can be killed there.
    pub fn stop(&self, stop: Option<Stop>) {
        *self.shared.changes.lock().unwrap() = 0;
        self.shared.has_stopped.store(false, Ordering::SeqCst);
        *self.shared.stop.lock().unwrap() = stop;
    }

    /// Waits until it has stopped answering. False if that is not within `most`.
    pub fn has_stopped(&self, most: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < most {
            if self.shared.has_stopped.load(Ordering::SeqCst) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Method and path of all requests.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Method and path of the requests that were to change something; questions about rights don't.
    pub fn changes(&self) -> Vec<String> {
        let all = self.asked().into_iter();
        all.filter(|asked| !asked.starts_with("GET ") && !asked.contains("/selfsubject"))
            .collect()
    }

    /// What there is now.
    pub fn now(&self) -> Moment {
        self.shared.now()
    }

    /// Scenes that were not played yet.
    pub fn scenes_left(&self) -> usize {
        self.shared.scenes.lock().unwrap().len()
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let line = format!("{} {}", request.method(), request.uri());
    let at = {
        let mut asked = shared.asked.lock().unwrap();
        asked.push(line);
        asked.len() - 1
    };
    if shared.cut.lock().unwrap().contains(&at) {
        return Err(io::Error::from(io::ErrorKind::ConnectionReset));
    }
    let mut now = shared.now();
    if let Some(port) = api::forwarded(&now, request.uri()) {
        let target = *shared.registry.lock().unwrap();
        return Ok(forward::answer(request, port, target));
    }
    let (parts, body) = request.into_parts();
    if parts
        .uri
        .query()
        .is_some_and(|query| query.starts_with("watch=true"))
    {
        return Ok(watch::answer(&shared, &parts));
    }
    let body = to_bytes(Body::new(body), 4 << 20).await.unwrap();
    let is_change = parts.method != Method::GET && !parts.uri.path().contains("/selfsubject");
    let mut stop_after = false;
    if is_change {
        let at = {
            let mut changes = shared.changes.lock().unwrap();
            *changes += 1;
            *changes - 1
        };
        if shared.is_forestalled(at) {
            now = shared.now();
        }
        let stop = *shared.stop.lock().unwrap();
        if stop == Some(Stop::Before(at)) {
            return never(&shared).await;
        }
        stop_after = stop == Some(Stop::After(at));
    }
    let (reply, change) = api::answer(&now, &parts, &body);
    if let Some(change) = change {
        let mut scenes = shared.scenes.lock().unwrap();
        let is_cue = scenes
            .first()
            .is_some_and(|next| next.cue.is(&change.asked, &change.said));
        if is_cue {
            let scene = scenes.remove(0);
            *shared.playing.lock().unwrap() = Some((scene, Instant::now()));
        }
        shared.moment.lock().unwrap().owners = change.owners.clone();
        shared.told.lock().unwrap().hear(change);
    }
    if stop_after {
        return never(&shared).await;
    }
    let mut text = reply.text;
    if parts.method == Method::GET && reply.content == "application/json" {
        text = shared.history.lock().unwrap().stamp(&text);
    }
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply.content.parse().unwrap());
    let date = rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&now.now)
        .unwrap();
    headers.insert(header::DATE, date.parse().unwrap());
    Ok(response)
}

async fn never(shared: &Shared) -> Result<Response<Body>, io::Error> {
    shared.has_stopped.store(true, Ordering::SeqCst);
    std::future::pending().await
}
