//! Waits until something has changed, so that a cluster on which nothing happens is asked little.
//!
//! Truth: kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes: a watch begins after
//! the `resourceVersion` of a list, is a line of JSON for each event, may be ended by the server at any time, and
//! is refused with 410, as an answer or as an event, if that version is too old.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum::http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::super::kinds::Kind;
use super::super::snapshot::{Listed, Snapshot};
use super::{ANSWER_BYTES_MAX, JSON, METADATA_ONLY, Server};
use crate::foreign::percent_encoded;

/// The longest without a look: what builds and nodes don't do is seen by the time that has passed.
const UNSEEN_MAX: Duration = Duration::from_secs(60);
/// How long a server is asked to watch, in seconds: less than connections may be silent.
const WATCH: u64 = 25;
/// A watch that ends sooner is begun again only after it, and not more often than this in a row: a proxy may let
/// none through.
const WATCH_MIN: Duration = Duration::from_secs(1);
const SHORT_MAX: u32 = 3;

/// Names, and what tells one state of an object from another where its version does not.
type Known = BTreeMap<String, ObjectMeta>;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    what: String,
    object: Object,
}

/// Of a bookmark, the metadata is nothing but a version; a refusal has none in its.
#[derive(Deserialize)]
struct Object {
    metadata: ObjectMeta,
}

impl Server {
    /// Waits until something may be otherwise than `seen` has it: for `pause` at least, and a minute at most. A
    /// server that can't be watched is waited for no longer than `pause`.
    pub async fn wait_for_change(&self, seen: &Snapshot, pause: Duration) {
        sleep(pause).await;
        let nodes = seen.nodes.iter().map(|node| {
            let name = node.name.clone().unwrap_or_default();
            (name, told(node.clone()))
        });
        let nodes: Known = nodes.collect();
        let mut watches: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        for listed in &seen.listed {
            let known = (listed.kind == Kind::NODE).then_some(&nodes);
            watches.push(Box::pin(self.watch(listed, known)));
        }
        let first = poll_fn(|context| {
            let mut watches = watches.iter_mut();
            match watches.any(|watch| watch.as_mut().poll(context).is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        let _ = timeout(UNSEEN_MAX, first).await;
    }

    /// Ends when an object of the list has changed, or when that can't be known.
    async fn watch(&self, listed: &Listed, known: Option<&Known>) {
        let mut version = listed.version.clone();
        let mut short = 0;
        while short < SHORT_MAX {
            let began = Instant::now();
            if self.watch_from(listed, &mut version, known).await {
                return;
            }
            match WATCH_MIN.checked_sub(began.elapsed()) {
                Some(left) => {
                    short += 1;
                    sleep(left).await;
                }
                None => short = 0,
            }
        }
    }

    /// One request's part of it. False if the server ended it, or the connection, and nothing had changed
    /// after `version` then.
    async fn watch_from(
        &self,
        listed: &Listed,
        version: &mut String,
        known: Option<&Known>,
    ) -> bool {
        let selector = listed.selector.map(percent_encoded);
        let selector = selector.map(|labels| format!("&labelSelector={labels}"));
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH}&resourceVersion={}{}",
            listed.kind.path(),
            percent_encoded(version),
            selector.unwrap_or_default(),
        );
        let Ok(mut response) = self.response(&path, listed.accept).await else {
            return true;
        };
        if response.status() != StatusCode::OK {
            return true;
        }
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = self.chunk(response.body_mut()).await {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                if is_change(&text[..end], version, known) {
                    return true;
                }
                text.drain(..=end);
            }
            if text.len() > ANSWER_BYTES_MAX {
                return true;
            }
        }
        false
    }
}

/// Whether an event says that something has changed, or may have. If not, `version` is that of the event.
fn is_change(line: &[u8], version: &mut String, known: Option<&Known>) -> bool {
    let Ok(event) = serde_json::from_slice::<Event>(line) else {
        return true;
    };
    let metadata = event.object.metadata;
    if let Some(now) = &metadata.resource_version {
        version.clone_from(now);
    }
    match (&*event.what, known) {
        ("BOOKMARK", _) => false,
        // What nodes tell of themselves every few minutes is not looked at.
        ("MODIFIED", Some(known)) => {
            let name = metadata.name.clone().unwrap_or_default();
            known.get(&name) != Some(&told(metadata))
        }
        _ => true,
    }
}

/// What is looked at of a node.
fn told(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        resource_version: None,
        managed_fields: None,
        generation: None,
        ..metadata
    }
}

/// What asks for a watch where `accept` asks for a list.
pub(super) fn accepting(accept: &'static str) -> &'static str {
    match accept {
        METADATA_ONLY => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        _ => JSON,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn heard(event: &Value, known: Option<&Known>) -> (bool, String) {
        let mut version = "7".to_owned();
        let is_change = is_change(event.to_string().as_bytes(), &mut version, known);
        (is_change, version)
    }

    #[test]
    fn only_what_is_looked_at_is_a_change() {
        let node = |version: &str, state: &str| {
            json!({ "metadata": {
                "name": "a", "resourceVersion": version, "annotations": { "state": state },
                "managedFields": [{ "manager": version }],
            } })
        };
        let event = |what: &str, object: Value| json!({ "type": what, "object": object });
        let first: Object = serde_json::from_value(node("7", "Done")).unwrap();
        let known: Known = [("a".to_owned(), told(first.metadata))].into();
        let modified = event("MODIFIED", node("9", "Done"));
        assert_eq!(heard(&modified, Some(&known)), (false, "9".to_owned()));
        assert!(heard(&modified, None).0);
        for changed in [
            event("MODIFIED", node("9", "Working")),
            event("ADDED", node("9", "Done")),
            event("DELETED", node("9", "Done")),
            event(
                "ERROR",
                json!({ "kind": "Status", "metadata": {}, "code": 410, "reason": "Expired" }),
            ),
            json!("what"),
        ] {
            assert!(heard(&changed, Some(&known)).0, "{changed}");
        }
        let bookmark = event(
            "BOOKMARK",
            json!({ "metadata": { "resourceVersion": "12" } }),
        );
        assert_eq!(heard(&bookmark, None), (false, "12".to_owned()));
    }
}
