//! Pools are handed off to on-cluster layering, and no node ever starts without its driver.

#[path = "handoff/edits.rs"]
mod edits;
#[path = "handoff/order.rs"]
mod order;
#[path = "handoff/refused.rs"]
mod refused;
#[path = "support/story/mod.rs"]
mod story;
mod support;
#[path = "handoff/told.rs"]
mod told;

use std::fs;
use std::time::Duration;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use story::{Cue, Lab, Moment, Scene, Story, pool, rights};

const CONTAINERFILE: &str = "FROM configs AS final\nRUN dnf install -y acme-storage-driver && dnf clean all && ostree container commit\n";

const PUSH: &str = "quay.example.com/ocp/os:any";

const PIN: &str = "99-worker-coreos-bake-os";

const NAMESPACE: &str = "openshift-machine-config-operator";

fn secret(name: &str, registry: &str) -> Value {
    let content = json!({ "auths": { registry: { "auth": STANDARD.encode("me:hunter2") } } });
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "data": { ".dockerconfigjson": STANDARD.encode(content.to_string()) },
    })
}

/// The story of a hand-off from a pinned image. What the MachineConfig says beside the image is not recorded.
fn hand_off(beside: &Value) -> Story {
    let mut spec = json!({ "osImageURL": "quay.example.com/ocp/layered@sha256:11" });
    spec.as_object_mut()
        .unwrap()
        .extend(beside.as_object().unwrap().clone());
    Story::read("05-hand-off").with_spec("MachineConfig", PIN, &spec)
}

/// Where the story stands before anything is done, with a secret to push by, and with the rights that the
/// command prints and no others.
fn pinned(story: &Story) -> Moment {
    let mut moment = story.at(42.0).with(secret("os-push", "quay.example.com"));
    moment.only = Some(rights("handoff"));
    moment
}

fn part(cue: Cue, story: &Story, from: f64, until: f64) -> Scene {
    Scene {
        cue,
        story: story.clone(),
        from,
        until,
        speed: 30.0,
    }
}

/// What the admin of the story did, and what came of it.
fn scenes(story: &Story) -> Vec<Scene> {
    let create = Cue::new(Method::PATCH, "MachineOSConfig", "worker");
    let unpin = Cue::new(Method::DELETE, "MachineConfig", PIN);
    vec![
        part(create, story, 42.95, 63.6),
        part(unpin, story, 63.64, 116.3),
        part(Cue::unpause("worker"), story, 116.57, 160.0),
    ]
}

fn lab() -> Lab {
    let story = hand_off(&json!({}));
    let lab = Lab::play(pinned(&story));
    lab.cluster.then(scenes(&story));
    fs::write(lab.path("Containerfile"), CONTAINERFILE).unwrap();
    lab
}

const HAND_OFF: [&str; 11] = [
    "worker",
    "--containerfile",
    "Containerfile",
    "--push-spec",
    PUSH,
    "--push-secret",
    "os-push",
    "--unverified",
    "--yes",
    "--interval",
    "1",
];

/// Waits until the played cluster's pool is as wanted.
fn pool_ends(lab: &Lab, state: &str) {
    for _ in 0..100 {
        if pool(&lab.json(), "worker")["state"] == state {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{}", lab.json());
}
