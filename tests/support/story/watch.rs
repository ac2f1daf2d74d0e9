//! Watches: what changes after a list, as a line of JSON for each event.
//!
//! Truth: kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Response, header};
use http_body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;

use super::api;
use super::play::Shared;

/// How often it is looked whether something has changed.
const TICK: Duration = Duration::from_millis(50);
/// How often a watch on which nothing happens says up to where it has come; a real server waits a minute.
const BOOKMARK: Duration = Duration::from_millis(500);

/// What becomes of a watch that does not go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its version is too old, and it is refused.
    Gone,
    /// Its version becomes too old, and an event says so.
    GoneMeanwhile,
    /// The server ends it.
    Ended,
    /// The connection is cut.
    Cut,
    /// The server has no time.
    Busy,
    /// The server does not know watches of it.
    Unknown,
}

/// The versions of objects, by name.
type Versions = BTreeMap<String, String>;

/// What lists have said.
#[derive(Default)]
pub(super) struct History(Vec<Versions>);

impl History {
    /// A version for a list.
    fn note(&mut self, items: &[Value]) -> String {
        self.0.push(items.iter().map(version_of).collect());
        (1000 + self.0.len()).to_string()
    }

    fn at(&self, version: &str) -> Option<Versions> {
        let at = version.parse::<usize>().ok()?.checked_sub(1001)?;
        self.0.get(at).cloned()
    }

    /// Has a list say from when on it can be watched.
    pub(super) fn stamp(&mut self, text: &str) -> String {
        let mut list: Value = serde_json::from_str(text).unwrap();
        let Some(items) = list["items"].as_array() else {
            return text.to_owned();
        };
        list["metadata"]["resourceVersion"] = json!(self.note(items));
        list.to_string()
    }
}

fn version_of(object: &Value) -> (String, String) {
    let text = |name: &str| object["metadata"][name].as_str().unwrap().to_owned();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    (
        format!("{namespace}/{}", text("name")),
        text("resourceVersion"),
    )
}

fn refused(status: u16, message: &str) -> Response<Body> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "message": message, "code": status });
    let response = Response::builder().status(status);
    let response = match status {
        429 => response.header(header::RETRY_AFTER, "1"),
        _ => response,
    };
    response.body(Body::from(body.to_string())).unwrap()
}

/// The answer to a request that watches.
pub(super) fn answer(shared: &Arc<Shared>, parts: &Parts) -> Response<Body> {
    let query = parts.uri.query().unwrap();
    let faults = &mut *shared.faults.lock().unwrap();
    let fault = (!faults.is_empty()).then(|| faults.remove(0));
    if !api::may_watch(&shared.now(), parts) {
        return refused(403, "watch is forbidden");
    }
    assert_eq!(
        api::queried(query, "allowWatchBookmarks").as_deref(),
        Some("true")
    );
    let version = api::queried(query, "resourceVersion").unwrap();
    let known = shared.history.lock().unwrap().at(&version);
    match (fault, known) {
        (Some(Fault::Gone), _) | (_, None) => refused(410, "too old resource version"),
        (Some(Fault::Busy), _) => refused(429, "too many requests"),
        (Some(Fault::Unknown), _) => {
            refused(404, "the server could not find the requested resource")
        }
        (fault, Some(known)) => {
            let (sender, receiver) = channel(16);
            tokio::spawn(play(
                Arc::clone(shared),
                parts.clone(),
                known,
                sender,
                fault,
            ));
            let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
            response.body(Body::new(Events(receiver))).unwrap()
        }
    }
}

async fn play(
    shared: Arc<Shared>,
    parts: Parts,
    mut known: Versions,
    sender: Sender<Result<Bytes, std::io::Error>>,
    fault: Option<Fault>,
) {
    let query = parts.uri.query().unwrap();
    let most = api::queried(query, "timeoutSeconds").unwrap();
    let most = Duration::from_secs(most.parse().unwrap());
    let began = Instant::now();
    let mut told = began;
    if fault == Some(Fault::Cut) {
        let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let _ = sender.send(Err(cut)).await;
        return;
    }
    while began.elapsed() < most && fault != Some(Fault::Ended) {
        let mut events = Vec::new();
        if fault == Some(Fault::GoneMeanwhile) {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410,
            });
            events.push(json!({ "type": "ERROR", "object": status }));
        }
        let items = api::watched(&shared.now(), &parts);
        let now: Versions = items.iter().map(version_of).collect();
        for item in &items {
            let (name, version) = version_of(item);
            let what = match known.get(&name) {
                None => "ADDED",
                Some(known) if *known != version => "MODIFIED",
                Some(_) => continue,
            };
            events.push(json!({ "type": what, "object": item }));
        }
        for name in known.keys().filter(|name| !now.contains_key(*name)) {
            let (_, name) = name.split_once('/').unwrap();
            let object = json!({ "metadata": { "name": name, "resourceVersion": "1" } });
            events.push(json!({ "type": "DELETED", "object": object }));
        }
        known = now;
        if events.is_empty() && told.elapsed() > BOOKMARK {
            let version = shared.history.lock().unwrap().note(&items);
            let object = json!({ "metadata": { "resourceVersion": version } });
            events.push(json!({ "type": "BOOKMARK", "object": object }));
        }
        for event in events {
            told = Instant::now();
            if sender.send(Ok(format!("{event}\n").into())).await.is_err() {
                return;
            }
        }
        sleep(TICK).await;
    }
}

/// What is sent as it comes.
struct Events(Receiver<Result<Bytes, std::io::Error>>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let next = self.0.poll_recv(context);
        next.map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }
}
